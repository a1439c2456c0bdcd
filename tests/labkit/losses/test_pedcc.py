import math

import pytest
import torch
from pytorch_metric_learning import losses as pml
from tensors import DEVICES, with_gradient

from labkit import training
from labkit.data import Batches, Images
from labkit.losses import PEDCCLoss

F64 = torch.float64
C, D = 5, 6


def unit_rows(n=C, dim=D, seed=0):
    rows = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return rows / rows.norm(dim=1, keepdim=True)


def simplex(classes):
    """Unit rows with cosines -1/(C-1): the corners of the standard simplex, about their mean."""
    rows = torch.eye(classes, dtype=F64) - 1 / classes
    return rows / rows.norm(dim=1, keepdim=True)


def batch(n=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, D, generator=generator, dtype=F64), torch.randint(C, (n,), generator=generator)


def by_loop(x, y, p, m=0.35, s=7.5, root=1, normalize=True):
    angular = distance = 0.0
    for row, label in zip(x.tolist(), y.tolist(), strict=True):
        length = math.hypot(*row)
        cosines = [math.fsum(u * v for u, v in zip(row, q, strict=True)) / length for q in p.tolist()]
        scores = [s * (c - m * (j == label)) for j, c in enumerate(cosines)]
        angular += math.log(math.fsum(math.exp(f) for f in scores)) - scores[label]
        point = [u / length for u in row] if normalize else row
        distance += math.dist(point, p[label].tolist()) ** 2 / 2
    mean = distance / len(y)
    return angular / len(y) + (mean + 1e-6) ** (1 / root) - 1e-6 ** (1 / root)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"root": 2},
        {"root": 3},
        {"m": 0.5, "s": 15.0},
        {"normalize": False},
    ],
)
def test_value_equals_the_loop(device, settings):
    options = {{"m": "margin", "s": "scale"}.get(name, name): value for name, value in settings.items()}
    for seed in range(3):
        (x, y), p = batch(seed=seed), unit_rows(seed=seed)
        loss = PEDCCLoss(p, **options).to(device)
        assert loss(x.to(device), y.to(device)).item() == pytest.approx(by_loop(x, y, p, **settings), rel=1e-11)


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("root", [1, 2, 3])
def test_gradients_are_those_of_finite_differences(root, learnable):
    x, y = batch(5)
    loss = PEDCCLoss(unit_rows(), root=root, learnable=learnable)
    names = [name for name, _ in loss.named_parameters()]
    assert names == ["centroids"] * learnable

    def function(x, *p):
        return torch.func.functional_call(loss, dict(zip(names, p, strict=True)), (x, y))

    inputs = (x.requires_grad_(), *loss.parameters())
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_its_first_term_is_cosface_on_frozen_centroids():
    (x, y), p = batch(), unit_rows()
    peer = pml.CosFaceLoss(C, D, margin=0.35, scale=7.5).double()
    peer.W.data.copy_(p.T)
    loss = PEDCCLoss(p)
    value, gradient = with_gradient(lambda x, y: loss(x, y) - loss.mean_distance(x, y), x, y)
    expected, expected_gradient = with_gradient(peer, x, y)
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("classes", "s", "m", "floor"), [(100, 7.5, 0.35, 0.531), (100, 15, 0.5, 0.046), (10, 64, 0.35, 0)]
)
@pytest.mark.parametrize("root", [1, 2, 3])
def test_the_floor_on_a_simplex(classes, s, m, floor, root):
    p = simplex(classes)
    y = torch.arange(classes)
    value = PEDCCLoss(p, m, s, root)(3 * p, y).item()
    exact = math.log1p((classes - 1) * math.exp(-s * (classes / (classes - 1) - m)))
    assert value == pytest.approx(exact, rel=1e-10, abs=1e-12)
    assert value == pytest.approx(floor, abs=1e-3)


def test_the_second_term():
    p = unit_rows()
    y = torch.arange(C)
    loss = PEDCCLoss(p)
    assert loss.mean_distance(p, y).item() == pytest.approx(0, abs=1e-15)
    assert loss.mean_distance(-p, y).item() == pytest.approx(2)  # 1 - cos 180°: not below 1, as paper 003 says
    assert loss.mean_distance(torch.zeros(C, D), y).item() == pytest.approx(0.5)
    assert PEDCCLoss(p, normalize=False).mean_distance(3 * p, y).item() == pytest.approx(2)
    x, y = batch()
    cosines = (x / x.norm(dim=1, keepdim=True) * p[y]).sum(1)
    assert loss.mean_distance(x, y).item() == pytest.approx((1 - cosines).mean().item())


@pytest.mark.parametrize("root", [1, 2, 3, 5])
def test_the_gradient_is_finite_at_the_centroids(root):
    p, y = unit_rows(), torch.arange(C)
    for x in (p, torch.zeros(C, D, dtype=F64), -p):
        value, gradient = with_gradient(PEDCCLoss(p, root=root), x, y)
        assert torch.isfinite(value) and torch.isfinite(gradient).all()


def test_frozen_and_learnable_centroids():
    p = unit_rows().float()
    frozen, learnable = PEDCCLoss(p), PEDCCLoss(p, learnable=True)
    assert list(frozen.parameters()) == []
    assert set(frozen.state_dict()) == set(learnable.state_dict()) == {"centroids", "start"}
    x, y = batch()
    for loss in (frozen, learnable):
        with torch.no_grad():
            loss.centroids[0] *= 3
        loss.update(x, y)
    assert frozen.centroids[0].norm().item() == pytest.approx(3)
    torch.testing.assert_close(learnable.centroids.detach(), p)
    assert p[0].norm().item() == pytest.approx(1)  # its own copy was changed
    assert learnable.centroids.requires_grad


def test_drift():
    p = unit_rows()
    loss = PEDCCLoss(p, learnable=True)
    assert torch.equal(loss.drift(), torch.zeros(C, dtype=F64))
    side = unit_rows(seed=1)[0]
    side -= (side @ p[0]) * p[0]
    with torch.no_grad():
        loss.centroids[0] = 2 * (p[0] * math.cos(0.3) + side / side.norm() * math.sin(0.3))
        loss.centroids[1] = -p[1]
    assert not loss.drift().requires_grad
    expected = torch.tensor([math.degrees(0.3), 180, 0, 0, 0], dtype=F64)
    torch.testing.assert_close(loss.drift(), expected, rtol=1e-6, atol=1e-6)


def test_drift_of_opposite_float32_rows_is_180_degrees():
    # By rounding some of these chords are longer than the diameter.
    p = unit_rows(500).float()
    loss = PEDCCLoss(p / p.norm(dim=1, keepdim=True), learnable=True)
    with torch.no_grad():
        loss.centroids.neg_()
    torch.testing.assert_close(loss.drift(), torch.full((500,), 180.0), rtol=0, atol=0.1)


def test_the_mean_distance_of_half_precision_is_computed_in_float32():
    (x, y), loss = batch(), PEDCCLoss(unit_rows().float())
    assert torch.equal(loss.mean_distance(x.half(), y), loss.mean_distance(x.half().float(), y))


def test_fit_learns_the_centroids_on_the_sphere():
    generator = torch.Generator().manual_seed(0)
    images = Images(
        torch.randint(256, (40, 1, 3, 3), generator=generator, dtype=torch.uint8), torch.arange(40) % C, tuple("abcde")
    )
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, D))
    loss = PEDCCLoss(unit_rows().float(), learnable=True)
    training.fit(network, loss, Batches(images, batch_size=10), 3, device="cpu", progress=False)
    torch.testing.assert_close(loss.centroids.detach().norm(dim=1), torch.ones(C))
    assert loss.drift().min() > 0.01


@pytest.mark.parametrize("labels", [[], [2], [1, 1, 1]])
def test_edges(labels):
    x, _ = batch(len(labels))
    value, gradient = with_gradient(PEDCCLoss(unit_rows()), x, torch.tensor(labels, dtype=torch.int64))
    assert gradient.shape == x.shape and torch.isfinite(gradient).all()
    assert value.item() == (pytest.approx(by_loop(x, torch.tensor(labels), unit_rows())) if labels else 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(dtype):
    (x, y), loss = batch(), PEDCCLoss(unit_rows().float())
    expected, expected_gradient = with_gradient(loss, x.to(dtype).float(), y)
    value, gradient = with_gradient(loss, x.to(dtype), y)
    assert value.dtype == torch.float32 and torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient.to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(x.to(dtype), y), expected)
    torch.testing.assert_close(loss(x.T.contiguous().T, y), loss(x, y))


def test_settings():
    loss = PEDCCLoss(unit_rows())
    assert (loss.margin, loss.scale, loss.root, loss.learnable, loss.normalize) == (0.35, 7.5, 1, False, True)
    x, _ = batch()
    torch.testing.assert_close(loss.scores(x), 7.5 * (x / x.norm(dim=1, keepdim=True)) @ unit_rows().T)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"centroids": [[1.0]]}, "centroids: got list [[1.0]], expected a floating-point tensor"),
        ({"centroids": torch.tensor([[float("nan"), 1.0]])}, "centroids: got nan, expected finite numbers"),
        (
            {"centroids": torch.tensor([[1.0, 0.0], [0.0, 1.01]])},
            "centroids: got a row of length 1.01, expected",
        ),
        (
            {"centroids": torch.tensor([[1.001, 0.0], [0.0, 0.25]])},
            "centroids: got a row of length 0.25, expected",
        ),
        ({"margin": -1}, "margin: got -1, expected a finite number of at least 0"),
        ({"scale": 0}, "scale: got 0, expected a finite number above 0"),
        ({"root": 0}, "root: got 0, expected a whole number of at least 1"),
        ({"root": 1.5}, "root: got 1.5, expected a whole number of at least 1"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError) as failure:
        PEDCCLoss(**{"centroids": unit_rows(), **options})
    assert str(failure.value).startswith(message)


def test_centroids_in_float16_precision_are_taken():
    PEDCCLoss(unit_rows().half().float())


def test_bad_input():
    loss, (x, y) = PEDCCLoss(unit_rows()), batch()
    with pytest.raises(ValueError, match=r"^labels: got 5, expected numbers in 0..4"):
        loss(x, torch.full_like(y, C))
    with pytest.raises(ValueError, match=r"^embeddings: got 3 columns, expected 6$"):
        loss(x[:, :3], y)
    with pytest.raises(ValueError, match=r"^embeddings: got nan, expected finite numbers"):
        loss(x * float("nan"), y)
