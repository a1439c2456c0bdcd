"""Networks that turn images (B, C, H, W) into embeddings (B, dim).

All work on 8×8, 28×28 and 32×32 images. `normalize=True` puts every embedding on the unit sphere. Convolutional and
hidden layers start from He's initialization (He et al. 2015), the last layer with the gain of a linear one.
"""

import torch
import torch.nn.functional as F
from torch import nn

from labkit import checks


class _EmbeddingNetwork(nn.Module):
    """What the networks have in common: check the images, compute `embed(images)`, normalize if asked to."""

    def __init__(self, dim: int, in_channels: int, image_size: int | None, normalize: bool, smallest: int = 1):
        super().__init__()
        checks.whole("dim", dim)
        checks.whole("in_channels", in_channels)
        if image_size is not None:
            checks.whole("image_size", image_size, at_least=smallest)
        self.dim, self.in_channels, self.image_size, self.normalize = dim, in_channels, image_size, normalize

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W), float -> embeddings (B, dim). Raises ValueError when the shape does not fit."""
        side = [self.image_size] * 2 if self.image_size else list(images.shape[2:])
        if images.ndim != 4 or list(images.shape[1:]) != [self.in_channels, *side]:
            expected = f"(B, {self.in_channels}, {self.image_size or 'H'}, {self.image_size or 'W'})"
            raise ValueError(f"images: got shape {tuple(images.shape)}, expected {expected} for {type(self).__name__}")
        embeddings = self.embed(images)
        return F.normalize(embeddings, dim=1) if self.normalize else embeddings


class LeNet(_EmbeddingNetwork):
    """A LeNet (LeCun et al. 1998) in today's form; 0.5 million parameters at 28×28. image_size: at least 4.

    >>> LeNet(dim=2, image_size=8)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 2])
    """

    def __init__(self, dim: int = 64, in_channels: int = 1, image_size: int = 28, normalize: bool = False):
        super().__init__(dim, in_channels, image_size, normalize, smallest=4)
        # ReLU and max pooling may change places with the same result; pooling first leaves ReLU a quarter of the work.
        layers = [nn.Conv2d(in_channels, 32, 5, padding=2), nn.MaxPool2d(2), nn.ReLU()]
        layers += [nn.Conv2d(32, 64, 5, padding=2), nn.MaxPool2d(2), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Linear(64 * (image_size // 4) ** 2, 128)
        self.embedding = nn.Linear(128, dim)
        _he_initialization(self, last=self.embedding)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        features = self.convolutions(images).flatten(1)
        return self.embedding(F.relu(self.hidden(features)))


class FeatureNet(_EmbeddingNetwork):
    """The net of the center-loss paper (Wen et al. 2016, Table 1), whose two-dimensional embedding can be drawn.

    Three stages of two 5×5 convolutions with PReLU and 2×2 max pooling, then a linear layer. image_size: at least 8.

    >>> FeatureNet(image_size=8)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 2])
    """

    def __init__(self, dim: int = 2, in_channels: int = 1, image_size: int = 28, normalize: bool = False):
        super().__init__(dim, in_channels, image_size, normalize, smallest=8)
        layers = []
        for channels, width in ((in_channels, 32), (32, 64), (64, 128)):
            # Pooling stays behind PReLU: its slope is learned, and with a negative one they must not change places.
            layers += [nn.Conv2d(channels, width, 5, padding=2), nn.PReLU()]
            layers += [nn.Conv2d(width, width, 5, padding=2), nn.PReLU(), nn.MaxPool2d(2)]
        self.convolutions = nn.Sequential(*layers)
        self.embedding = nn.Linear(128 * (image_size // 8) ** 2, dim)
        _he_initialization(self, last=self.embedding, slope=0.25)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.embedding(self.convolutions(images).flatten(1))


class _ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch normalization beside a shortcut (He et al. 2016, Figure 2)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(out_channels)
        self.stride, self.shortcut = stride, nn.Identity()
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        # Every stride-th pixel is taken before the 1×1 convolution: oneDNN 3.13's strided one writes beside its memory.
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x[:, :, :: self.stride, :: self.stride]))


class SmallResNet(_EmbeddingNetwork):
    """A residual net for images of any size: a block each with 1, 2 and 4 times `width` channels, then the mean.

    The smallest of the CIFAR family in He et al. 2016 (8 layers; 81 thousand parameters at width 16).

    >>> SmallResNet(dim=2, in_channels=3, width=4)(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 2])
    """

    def __init__(self, dim: int = 64, in_channels: int = 1, width: int = 16, normalize: bool = False):
        super().__init__(dim, in_channels, None, normalize)
        checks.whole("width", width)
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(
            _ResidualBlock(width, width, stride=1),
            _ResidualBlock(width, 2 * width, stride=2),
            _ResidualBlock(2 * width, 4 * width, stride=2),
        )
        self.embedding = nn.Linear(4 * width, dim)
        _he_initialization(self, last=self.embedding)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        features = self.blocks(F.relu(self.stem_norm(self.stem(images))))
        return self.embedding(features.mean(dim=(2, 3)))


class SignatureNet(_EmbeddingNetwork):
    """The siamese network's half for signature verification (the lecture), for small images. image_size: at least 8.

    The lecture lists the parts; their order and the rates of dropout are those of SigNet (Dey et al. 2017). Ours has
    padded convolutions, fewer channels, and a linear embedding: ReLU would keep every embedding inside one orthant.

    >>> SignatureNet(dim=2, image_size=8)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 2])
    """

    def __init__(self, dim: int = 64, in_channels: int = 1, image_size: int = 28, normalize: bool = False):
        super().__init__(dim, in_channels, image_size, normalize, smallest=8)
        norm = dict(size=5, alpha=1e-4, beta=0.75, k=2.0)
        layers = [nn.Conv2d(in_channels, 32, 11, padding=5), nn.ReLU(), nn.LocalResponseNorm(**norm), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.LocalResponseNorm(**norm), nn.MaxPool2d(2)]
        layers += [nn.Dropout(0.3), nn.Conv2d(64, 96, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.3)]
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Linear(96 * (image_size // 8) ** 2, 256)
        self.dropout = nn.Dropout(0.5)
        self.embedding = nn.Linear(256, dim)
        _he_initialization(self, last=self.embedding)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        features = self.convolutions(images).flatten(1)
        return self.embedding(self.dropout(F.relu(self.hidden(features))))


class MaxOut(nn.Linear):
    """Features (B, in_features) -> (B, dim): for each output the largest of 16 linear units (the head of Urtans 2020).

    >>> MaxOut(in_features=8, dim=2)(torch.zeros(5, 8)).shape
    torch.Size([5, 2])
    """

    def __init__(self, in_features: int, dim: int):
        super().__init__(in_features, 16 * dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return super().forward(features).unflatten(1, (-1, 16)).amax(dim=2)


CLASSIFIERS = {"resnet18": "fc", "densenet121": "classifier", "mobilenet_v2": "classifier"}  # torchvision's names


class Backbone(_EmbeddingNetwork):
    """A network of torchvision with an embedding head instead of its classifier.

    name: "resnet18", "densenet121" (Urtans 2020) or "mobilenet_v2" (the thesis).
    head: "linear", or "maxout" (Urtans 2020): the largest of 16 linear units for each dimension.
    in_channels: 3, or 1: a gray image goes in as three equal channels. One below 32×32 is enlarged to that first.
    Raises ValueError for an unknown name or head. The weights are torchvision's random ones.

    >>> Backbone("mobilenet_v2", dim=2, in_channels=1).eval()(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        name: str = "resnet18",
        dim: int = 128,
        head: str = "linear",
        in_channels: int = 3,
        normalize: bool = False,
    ):
        from torchvision import models

        super().__init__(dim, in_channels, None, normalize)
        checks.one_of("name", name, tuple(CLASSIFIERS))
        checks.one_of("head", head, ("linear", "maxout"))
        if in_channels not in (1, 3):
            raise ValueError(f"in_channels: got {in_channels}, expected 1 (gray) or 3 (RGB)")
        self.name, self.features = name, models.get_model(name)
        classifier = getattr(self.features, CLASSIFIERS[name])
        in_features = [layer for layer in classifier.modules() if isinstance(layer, nn.Linear)][-1].in_features
        setattr(self.features, CLASSIFIERS[name], nn.Identity())
        self.embedding = (MaxOut if head == "maxout" else nn.Linear)(in_features, dim)
        _he_initialization(self.embedding, last=self.embedding)  # the rest keeps torchvision's initialization

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        if min(images.shape[2:]) < 32:
            images = F.interpolate(images, size=(32, 32), mode="bilinear", align_corners=False)
        if self.in_channels == 1:
            images = images.expand(-1, 3, -1, -1)
        return self.embedding(self.features(images))


def _he_initialization(network: nn.Module, last: nn.Linear, slope: float = 0.0) -> None:
    """Normal weights of variance 2/((1+slope²)·fan_in), zero biases; `last`, which no ReLU follows, gets 1/fan_in."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            follows = "linear" if layer is last else "leaky_relu"
            nn.init.kaiming_normal_(layer.weight, a=slope, nonlinearity=follows)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
