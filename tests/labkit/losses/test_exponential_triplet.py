import itertools
import math
import warnings
from pathlib import Path

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import DEVICES, with_gradient
from torch.autograd import gradcheck, gradgradcheck

from labkit.embeddings import l2, unit_range
from labkit.losses.exponential_triplet import ExponentialTripletLoss, barrier

F64 = torch.float64
REDUCTIONS = ("pair", "batch")


def batch(n=12, dim=3, classes=4, seed=0):
    """Rows in the unit ball, classes of uneven sizes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dim, generator=generator, dtype=F64)
    return unit_range(x), torch.randint(classes, (n,), generator=generator)


def polygon(corners):
    angle = 2 * math.pi * torch.arange(corners, dtype=F64) / corners
    return torch.stack([angle.cos(), angle.sin()], dim=1)


# The formula, pair by pair


def phi(t, delta=1e-2):
    if t <= 1 - delta:
        return -torch.log(1 - t)
    return -math.log(delta) + (t - (1 - delta)) / delta


def loop(x, labels, num_classes, overlap, radius, weights, reduction):
    c_n = overlap / num_classes
    positive, negative = [], []
    for i, j in itertools.combinations(range(len(labels)), 2):
        d = (x[i] - x[j]).norm() / (2 * radius)
        if labels[i] == labels[j]:
            positive.append(max((d - c_n) / (1 - c_n), 0 * d))
        else:
            negative.append(max((0.5 - d) / 0.5, 0 * d))
    total = 0 * x.sum()
    for weight, terms in zip(weights, (positive, negative), strict=True):
        if not terms:
            continue
        if reduction == "pair":
            total = total + weight * sum(phi(t) for t in terms) / len(terms)
        else:
            total = total + weight * phi(sum(terms) / len(terms))
    return total


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_value_and_gradient_equal_the_loop(reduction, device):
    cases = [  # the last two have pairs beyond the bend of the barrier, or even beyond d_max
        (4, 1.5, 1.0, (1.0, 1.0)),
        (5, 0.0, 1.0, (0.3, 2.0)),
        (9, 4.4, 0.8, (2.0, 0.7)),
        (4, 0.5, 0.45, (1.0, 1.5)),
    ]
    for seed, (classes, overlap, radius, weights) in enumerate(cases):
        x, y = batch(seed=seed)
        loss = ExponentialTripletLoss(classes, overlap, radius, *weights, reduction).to(device)
        value, gradient = with_gradient(loss, x.to(device), y.to(device))
        wanted, wanted_gradient = with_gradient(
            lambda x, y, a=(classes, overlap, radius, weights, reduction): loop(x, y, *a), x, y
        )
        assert wanted > 0.01
        torch.testing.assert_close(value.cpu(), wanted, rtol=1e-10, atol=0)
        torch.testing.assert_close(gradient.cpu(), wanted_gradient, rtol=1e-10, atol=1e-12)


def test_defaults():
    x, y = batch()
    value = ExponentialTripletLoss(4)(x, y)
    same = ExponentialTripletLoss(4, 1.5, 1.0, 1.0, 1.0, "pair")
    assert torch.equal(value, same(x, y))
    assert value.item() == pytest.approx(loop(x, y, 4, 1.5, 1.0, (1.0, 1.0), "pair").item())


def test_hand_example():
    # On a line of length 2, K = 4: c_n = 0.25. Positives: 1 apart (p = 0.5). Negatives: 0.4, 0.6 apart (q = 0.2, 0.3).
    x, y = torch.tensor([[0.0], [1.0], [0.4]]), torch.tensor([3, 3, 0])
    p, q = (0.5 - 0.25) / 0.75, (0.3 / 0.5, 0.2 / 0.5)
    pair = -math.log(1 - p) - (math.log(1 - q[0]) + math.log(1 - q[1])) / 2
    assert ExponentialTripletLoss(4, 1.0)(x, y).item() == pytest.approx(pair, rel=1e-6)
    in_batch = -math.log(1 - p) - math.log(1 - 0.5)
    assert ExponentialTripletLoss(4, 1.0, reduction="batch")(x, y).item() == pytest.approx(in_batch, rel=1e-6)
    # With twice the radius, half of every p and q; with weights 0, one term at a time.
    half = ExponentialTripletLoss(4, 0.0, radius=2.0, negative_weight=0.0)(x, y)
    assert half.item() == pytest.approx(-math.log(1 - 0.25), rel=1e-6)
    half = ExponentialTripletLoss(4, 0.0, radius=2.0, positive_weight=0.0, reduction="batch")(x, y)
    assert half.item() == pytest.approx(-math.log(1 - (0.8 + 0.7) / 2), rel=1e-6)


def test_the_mean_inside_the_logarithm_is_another_loss():
    # Positive pairs with p = 0 and p = 0.9, c_n = 0.15: three rows make three pairs, so two batches of two are used.
    p = torch.tensor([0.0, 0.9], dtype=F64)
    t = ((p - 0.15) / 0.85).relu()
    assert barrier(t).mean().item() == pytest.approx(1.070, abs=5e-4)
    assert barrier(t.mean()).item() == pytest.approx(0.582, abs=5e-4)
    # The same two among the pairs of a batch: class 0 is collapsed, class 1 at distance 1.8; negatives are not counted.
    x = torch.tensor([[0.0, 0.3], [0.0, 0.3], [-0.9, 0.0], [0.9, 0.0]], dtype=F64)
    y = torch.tensor([0, 0, 1, 1])
    for reduction, wanted in (("pair", 1.070), ("batch", 0.582)):
        loss = ExponentialTripletLoss(10, 1.5, negative_weight=0.0, reduction=reduction)
        assert loss(x, y).item() == pytest.approx(wanted, abs=5e-4)


def test_only_a_loss_by_pairs_weights_the_hard_ones_more():
    # Two positive pairs, one farther apart than the other, in two classes.
    angle = torch.tensor([0.0, 0.8, 0.0, 1.6], dtype=F64)
    x, y = torch.stack([angle.cos(), angle.sin()], dim=1).requires_grad_(), torch.tensor([0, 0, 1, 1])
    slopes = {}
    for reduction in REDUCTIONS:
        loss = ExponentialTripletLoss(4, 0.1, negative_weight=0.0, reduction=reduction)
        (gradient,) = torch.autograd.grad(loss(x, y), x)
        # Divided by the gradient of the pair's own distance: the weight of the pair.
        slopes[reduction] = [
            (gradient[i].norm() / torch.autograd.grad((x[i] - x[i - 1]).norm() / 2, x)[0][i].norm()) for i in (1, 3)
        ]
    torch.testing.assert_close(slopes["batch"][0], slopes["batch"][1], rtol=1e-9, atol=0)
    assert slopes["pair"][1] > 1.2 * slopes["pair"][0]


# What is known of the optimum


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_hexagon_and_center_in_the_ball_have_no_loss(reduction):
    # Seven classes, two rows each, all at least one radius apart: the ball has room for one more than the circle.
    corners = torch.cat([3 * polygon(6), torch.zeros(1, 2, dtype=F64)]).repeat_interleave(2, dim=0)
    y = torch.arange(7).repeat_interleave(2)
    loss = ExponentialTripletLoss(7, overlap=0.0, radius=2.5, reduction=reduction)
    at_best = loss(unit_range(corners, 2.5), y)
    assert at_best.item() == pytest.approx(0, abs=1e-15)
    for step in (0.01, -0.3):
        moved = corners.clone()
        moved[12:, 0] += step  # the center class as a whole: still collapsed, but nearer to one corner
        assert loss(unit_range(moved, 2.5), y) > 1e-4
        moved = corners.clone()
        moved[13, 0] += step  # one of its rows alone: now the class is wider than overlap 0 allows
        assert loss(unit_range(moved, 2.5), y) > 1e-4
    # On the sphere the center has no place: its rows land on the circle, among the corners.
    assert loss(l2(corners + torch.tensor([1e-3, 1e-3], dtype=F64), 2.5), y) > 1e-2


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_so_many_classes_find_room_on_the_circle_and_no_more(reduction):
    # On the circle, ½·d_max is 60 degrees.
    def loss_of(corners):
        loss = ExponentialTripletLoss(corners, 0.1, reduction=reduction)
        return loss(polygon(corners).repeat_interleave(2, dim=0), torch.arange(corners).repeat_interleave(2)).item()

    assert loss_of(6) == pytest.approx(0, abs=1e-14) and loss_of(5) == pytest.approx(0, abs=1e-14)
    assert loss_of(7) > 1e-3


def test_a_class_may_be_as_wide_as_its_diameter():
    # c_n = 1/4 of d_max = 2·3, so 1.5; the classes are farther apart than 3.
    y = torch.tensor([0, 0, 1, 1])
    for width, zero in ((1.5, True), (1.4, True), (1.52, False)):
        x = torch.tensor([[-3.0, 0.0], [-3.0, width], [3.0, 0.0], [3.0, width]], dtype=F64)
        for reduction in REDUCTIONS:
            value, gradient = with_gradient(ExponentialTripletLoss(8, 2.0, radius=3.0, reduction=reduction), x, y)
            assert (value == 0) == zero and torch.equal(gradient, torch.zeros_like(x)) == zero


# The barrier


@given(t=st.floats(0, 3))
@settings(max_examples=100, deadline=None)
def test_barrier_is_exact(t):
    delta = 1e-2
    with mpmath.workdps(50):
        bend = mpmath.mpf(1 - delta)  # as rounded
        x = mpmath.mpf(t)
        wanted = -mpmath.log1p(-x) if x <= bend else -mpmath.log(mpmath.mpf(delta)) + (x - bend) / mpmath.mpf(delta)
        slope = 1 / (1 - x) if x <= bend else 1 / mpmath.mpf(delta)
    at = torch.tensor(t, dtype=F64, requires_grad=True)
    value = barrier(at)
    value.backward()
    assert value.item() == pytest.approx(float(wanted), rel=1e-10, abs=1e-300)
    assert at.grad.item() == pytest.approx(float(slope), rel=1e-9)


def test_small_values_of_the_barrier_keep_their_digits():
    for t in (1e-30, 1e-12, 1e-5):
        with mpmath.workdps(50):
            wanted = float(-mpmath.log1p(-mpmath.mpf(t)))
        assert barrier(torch.tensor(t, dtype=F64)).item() == pytest.approx(wanted, rel=1e-15)
        assert barrier(torch.tensor(t)).item() == pytest.approx(wanted, rel=2e-7)


def test_barrier_is_smooth_at_the_bend_and_no_steeper_than_the_bound():
    assert barrier(torch.tensor([0.0, 0.5, 0.99, 1.0, 2.0], dtype=F64)).tolist() == pytest.approx(
        [0, math.log(2), math.log(100), math.log(100) + 1, math.log(100) + 101]
    )
    around = torch.tensor([0.99 - 1e-9, 0.99, 0.99 + 1e-9], dtype=F64, requires_grad=True)
    value = barrier(around)
    (slope,) = torch.autograd.grad(value.sum(), around)
    assert (value - value[1]).abs().max() < 2e-9 / 0.01
    torch.testing.assert_close(slope, torch.full((3,), 100, dtype=F64), rtol=1e-6, atol=0)
    t = torch.tensor([-5.0, 0.3, 0.7, 1.0, 7.0, 1e30]).requires_grad_()
    with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either
        value = barrier(t)
        (slope,) = torch.autograd.grad(value.sum(), t)
    assert torch.isfinite(value).all() and (value.diff() > 0).all() and (slope.diff() >= 0).all() and slope.max() <= 101
    smooth = torch.tensor([-0.5, 0.2, 0.8, 1.3], dtype=F64, requires_grad=True)
    assert gradcheck(barrier, smooth) and gradgradcheck(barrier, smooth)
    assert barrier(torch.ones(2, 3, dtype=torch.float32)).shape == (2, 3)


# Gradients and properties


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_is_that_of_finite_differences(reduction):
    x, y = batch(8)
    loss = ExponentialTripletLoss(4, 0.7, 0.8, 1.3, 0.6, reduction)
    assert gradcheck(lambda x: loss(x, y), x.requires_grad_())


@given(seed=st.integers(0, 2**20), n=st.integers(2, 12), dim=st.integers(1, 5), classes=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_invariances(seed, n, dim, classes):
    x, y = batch(n, dim, classes, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    order = torch.randperm(n, generator=generator)
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=F64)).Q
    names = torch.randperm(classes, generator=generator)
    close = dict(rtol=1e-8, atol=1e-10)
    for reduction in REDUCTIONS:
        settings = dict(overlap=0.4, reduction=reduction)
        loss = ExponentialTripletLoss(classes, **settings)
        value, gradient = with_gradient(loss, x, y)
        permuted, permuted_gradient = with_gradient(loss, x[order], y[order])
        torch.testing.assert_close(permuted, value, **close)
        torch.testing.assert_close(permuted_gradient, gradient[order], **close)
        torch.testing.assert_close(loss(x @ rotation, y), value, **close)
        torch.testing.assert_close(loss(x, names[y]), value, **close)
        torch.testing.assert_close(ExponentialTripletLoss(classes, radius=3.0, **settings)(3 * x, y), value, **close)
        torch.testing.assert_close(loss(x + x[0] + 1, y), value, **close)
        if reduction == "batch":
            by_pairs = ExponentialTripletLoss(classes, overlap=0.4)(x, y)
            assert value <= by_pairs * (1 + 1e-12) + 1e-12


# Batches with little in them


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("labels", [[], [3], [3, 3], [0, 1], [3, 3, 3], [0, 1, 2]])
def test_batches_that_lack_a_kind_of_pair(labels, reduction):
    x, _ = batch(len(labels))
    y = torch.tensor(labels, dtype=torch.int64)
    value, gradient = with_gradient(ExponentialTripletLoss(4, 0.2, reduction=reduction), x, y)
    wanted = loop(x, y, 4, 0.2, 1.0, (1.0, 1.0), reduction).item()
    assert value.shape == () and value.item() == pytest.approx(wanted, rel=1e-10, abs=1e-14)
    assert gradient.shape == x.shape and torch.isfinite(gradient).all()
    if len(labels) < 2:
        assert value == 0 and torch.equal(gradient, torch.zeros_like(x))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_collapsed_embeddings_have_a_finite_loss_and_a_zero_gradient(reduction):
    # Every q is 0: the barrier at 1, on its tangent.
    for dtype in (torch.float32, F64):
        loss = ExponentialTripletLoss(4, reduction=reduction)
        value, gradient = with_gradient(loss, torch.full((6, 3), 0.7, dtype=dtype), torch.tensor([0, 0, 0, 1, 1, 2]))
        assert value.item() == pytest.approx(1 - math.log(0.01))
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-15)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_is_finite_where_the_barrier_is_saturated(reduction):
    # Positives on opposite sides of the ball (p = 1), negatives all but on top of each other (q = 0).
    x = torch.tensor([[1.0, 0.0], [-1.0, 1e-6], [1.0, 1e-6], [-1.0, 0.0]])
    loss = ExponentialTripletLoss(4, reduction=reduction)
    value, gradient = with_gradient(loss, x, torch.tensor([0, 0, 1, 1]))
    assert torch.isfinite(value) and value > 4 and torch.isfinite(gradient).all() and gradient.abs().max() < 1e3
    # Farther apart than d_max, as without unit_range: the loss grows on, along the tangent.
    farther, gradient = with_gradient(loss, 3 * x, torch.tensor([0, 0, 1, 1]))
    assert farther > value + 100 and torch.isfinite(gradient).all()


def test_zero_rows():
    y = torch.tensor([0, 0, 1, 1])
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.8, 0.6]], dtype=F64)
    for reduction in REDUCTIONS:
        loss = ExponentialTripletLoss(4, 1.2, reduction=reduction)
        value, gradient = with_gradient(loss, x, y)
        assert torch.isfinite(value) and torch.isfinite(gradient).all()


# Numbers


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_float32_agrees_with_float64_on_a_large_batch(reduction):
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(10, 64, generator=generator)
    y = torch.arange(512) % 10
    x = unit_range(0.12 * (centers[y] + 0.5 * torch.randn(512, 64, generator=generator)))
    loss = ExponentialTripletLoss(10, 1.5, reduction=reduction)
    value, gradient = with_gradient(loss, x, y)
    wanted, wanted_gradient = with_gradient(loss, x.double(), y)
    assert value.dtype == torch.float32 and wanted.dtype == F64 and wanted > 0.02
    assert value.item() == pytest.approx(wanted.item(), rel=2e-6)
    assert (gradient - wanted_gradient).norm() / wanted_gradient.norm() < 1e-5


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(reduction, dtype):
    x, y = batch(32, 8)
    loss = ExponentialTripletLoss(4, reduction=reduction)
    value, gradient = with_gradient(loss, x.to(dtype), y)
    wanted, wanted_gradient = with_gradient(loss, x.to(dtype).float(), y)
    assert value.dtype == torch.float32 and torch.equal(value, wanted)
    torch.testing.assert_close(gradient, wanted_gradient.to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(with_gradient(loss, x.to(dtype), y)[0], wanted)
        assert with_gradient(loss, x, y)[0].dtype == F64


def test_rows_that_are_not_contiguous():
    x, y = batch()
    for reduction in REDUCTIONS:
        loss = ExponentialTripletLoss(4, reduction=reduction)
        value, gradient = with_gradient(loss, x, y)
        turned = x.T.contiguous().T.requires_grad_()
        assert not turned.is_contiguous()
        labels = torch.stack([y, y], dim=1)[:, 0]
        (turned_gradient,) = torch.autograd.grad(loss(turned, labels), turned)
        torch.testing.assert_close(loss(turned, labels).detach(), value, rtol=1e-12, atol=0)
        torch.testing.assert_close(turned_gradient, gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_gpu_is_not_waited_for(reduction):
    x, y = batch()
    x, y = x.float().cuda().requires_grad_(), y.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        ExponentialTripletLoss(4, reduction=reduction)(x, y).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# Settings


@pytest.mark.parametrize("overlap", [10, 10.0, 40, 80])
def test_an_overlap_that_kills_the_positive_term_is_refused_and_the_reason_told(overlap):
    # The published grids hold 40 and 80 for ten classes.
    message = (
        f"^overlap: got {overlap}, expected less than num_classes, 10: a class may then be as wide as the largest "
        "distance there is, so that the positive term is 0 for every batch$"
    )
    with pytest.raises(ValueError, match=message):
        ExponentialTripletLoss(10, overlap)


def test_a_wide_overlap_is_warned_of_where_it_is_asked_for():
    message = (
        r"^overlap 5.5 lets one of 10 classes be wider than the distance at which another class is far enough "
        r"\(overlap/num_classes > 0.5\)$"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        ExponentialTripletLoss(10, 5.5)
    assert Path(caught[0].filename).name in (
        Path(__file__).name,
        "trampoline.py",
    )  # what mutmut makes all calls through
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ExponentialTripletLoss(10, 5.0)
        ExponentialTripletLoss(3)


def test_bad_input():
    x, y = batch()
    for name, value, wanted in (
        ("num_classes", 0, "a whole number of at least 1"),
        ("num_classes", 2.5, "a whole number of at least 1"),
        ("overlap", -0.1, "a finite number of at least 0"),
        ("radius", 0, "a finite number above 0"),
        ("positive_weight", -1, "a finite number of at least 0"),
        ("negative_weight", -2, "a finite number of at least 0"),
        ("reduction", "mean", "one of 'pair', 'batch'"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: got {value!r}, expected {wanted}$"):
            ExponentialTripletLoss(**{"num_classes": 4, name: value})
    loss = ExponentialTripletLoss(4)
    for label in (-1, 4):
        with pytest.raises(ValueError, match=rf"^labels: got {label}, expected numbers in 0\.\.3$"):
            loss(x, y.clone().index_fill(0, torch.tensor([2]), label))
    with pytest.raises(ValueError, match=r"^labels: got .*, expected an int64"):
        loss(x, y.float())
    with pytest.raises(ValueError, match=r"^embeddings: got inf, expected finite numbers"):
        loss(x.index_fill(0, torch.tensor([2]), float("inf")), y)
    with pytest.raises(ValueError, match=r"^t: got float 0.5, expected a floating-point tensor$"):
        barrier(0.5)
    with pytest.raises(ValueError, match=r"^t: got int64 of shape \(2,\), expected a floating-point tensor$"):
        barrier(torch.tensor([0, 1]))
