"""Networks: shapes, errors, initialization, heads, weights from torch's cache."""

from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.networks import Backbone, FeatureNet, LeNet, SignatureNet, SmallResNet

SIZED = {"LeNet": LeNet, "FeatureNet": FeatureNet, "SignatureNet": SignatureNet}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("channels, side", [(1, 8), (1, 28), (3, 32)])
@pytest.mark.parametrize("kind", [*SIZED, "SmallResNet"])
def test_every_network_embeds_digits_mnist_and_cifar_sizes(kind, channels, side):
    options = {"dim": 5, "in_channels": channels, "normalize": True}
    network = SmallResNet(width=4, **options) if kind == "SmallResNet" else SIZED[kind](image_size=side, **options)
    embeddings = network(torch.randn(6, channels, side, side))
    assert embeddings.shape == (6, 5)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(6))
    embeddings[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2"])
def test_backbones_embed_small_gray_and_color_images(name):
    with torch.inference_mode():
        gray = Backbone(name, dim=7, in_channels=1).eval()
        assert gray(torch.randn(2, 1, 8, 8)).shape == gray(torch.randn(2, 1, 28, 28)).shape == (2, 7)
        gray.in_channels = 3  # a gray image gives what the same image in three equal channels gives
        images = torch.randn(2, 1, 32, 32)
        in_color = gray(images.expand(-1, 3, -1, -1))
        gray.in_channels = 1
        torch.testing.assert_close(gray(images), in_color)


def test_a_backbone_has_lost_its_classifier_and_gained_a_head():
    network = Backbone(dim=10)
    names = [name for name, _ in network.named_parameters()]
    assert not any("features.fc" in name for name in names) and network.embedding.in_features == 512
    assert Backbone("densenet121", dim=3).embedding.in_features == 1024
    assert Backbone("mobilenet_v2", dim=3).embedding.in_features == 1280


def test_feature_net_is_the_one_of_the_paper():
    layers = [layer for layer in FeatureNet().convolutions if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in layers] == [
        (1, 32, (5, 5)),
        (32, 32, (5, 5)),
        (32, 64, (5, 5)),
        (64, 64, (5, 5)),
        (64, 128, (5, 5)),
        (128, 128, (5, 5)),
    ]
    assert FeatureNet().embedding.in_features == 128 * 3 * 3 and FeatureNet().dim == 2
    assert sum(isinstance(layer, nn.PReLU) for layer in FeatureNet().modules()) == 6


def test_signature_net_has_the_ingredients_of_paper_002():
    network = SignatureNet()
    kernels = [layer.kernel_size[0] for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert kernels == [11, 5, 3]
    assert sum(isinstance(layer, nn.LocalResponseNorm) for layer in network.modules()) == 2
    images = torch.randn(2, 1, 28, 28)
    assert not torch.equal(network(images), network(images))  # dropout
    network.eval()
    assert torch.equal(network(images), network(images))


def test_pooling_before_relu_is_relu_before_pooling():
    network = LeNet()
    images = torch.randn(3, 1, 28, 28)
    first, second = (layer for layer in network.convolutions if isinstance(layer, nn.Conv2d))
    usual = F.max_pool2d(F.relu(second(F.max_pool2d(F.relu(first(images)), 2))), 2)
    assert torch.equal(network.convolutions(images), usual)


def test_initialization_keeps_the_signal():
    network = LeNet()
    first, second = (layer for layer in network.convolutions if isinstance(layer, nn.Conv2d))
    for layer, variance in [
        (first, 2 / 25),
        (second, 2 / 800),
        (network.hidden, 2 / 3136),
        (network.embedding, 1 / 128),
    ]:
        assert layer.weight.var().item() == pytest.approx(variance, rel=0.15)
        assert layer.bias.abs().max() == 0
    convolution = FeatureNet().convolutions[2]
    assert convolution.weight.var().item() == pytest.approx(2 / (1 + 0.25**2) / 800, rel=0.1)


def test_float64_networks_give_float64_embeddings():
    assert LeNet(image_size=8).double()(torch.randn(2, 1, 8, 8, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: LeNet(dim=0), "dim: got 0, expected a whole number of at least 1"),
        (lambda: LeNet(in_channels=1.5), "in_channels: got 1.5"),
        (lambda: LeNet(image_size=3), "image_size: got 3, expected a whole number of at least 4"),
        (lambda: FeatureNet(image_size=7), "image_size: got 7, expected a whole number of at least 8"),
        (lambda: SmallResNet(width=0), "width: got 0"),
        (lambda: Backbone("resnet19"), "name: got 'resnet19', expected one of 'resnet18', 'densenet121', 'mob"),
        (lambda: Backbone(in_channels=4), "in_channels: got 4, expected 1"),
        (
            lambda: LeNet()(torch.zeros(2, 1, 8, 8)),
            r"images: got shape \(2, 1, 8, 8\), expected \(B, 1, 28, 28\) for LeN",
        ),
        (lambda: LeNet()(torch.zeros(28, 28)), r"images: got shape \(28, 28\)"),
        (lambda: SmallResNet()(torch.zeros(2, 3, 8, 8)), r"expected \(B, 1, H, W\) for SmallResNet"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_pretrained_weights_come_from_torchs_cache(tmp_path, monkeypatch):
    from torchvision import models

    name = models.MobileNet_V2_Weights.DEFAULT.url.rsplit("/", 1)[-1]
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    weights = models.mobilenet_v2().state_dict()
    torch.save(weights, tmp_path / "checkpoints" / name)
    network = Backbone("mobilenet_v2", pretrained=True)
    assert torch.equal(network.features.features[0][0].weight, weights["features.0.0.weight"])


def test_missing_pretrained_weights_say_what_to_put_where(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(FileNotFoundError, match=r"no route to host.*weights in .*checkpoints.resnet18-\w+\.pth"):
        Backbone("resnet18", pretrained=True)
