import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses as pml
from tensors import DEVICES
from torch.nn.functional import multi_margin_loss

from labkit.losses import (
    AMSoftmaxLoss,
    Annealing,
    ArcFaceLoss,
    ASoftmaxLoss,
    HingeLoss,
    L2SoftmaxLoss,
    LSoftmaxLoss,
    SoftmaxLoss,
    smallest_scale,
)

F64 = torch.float64
C, D = 5, 4
LOSSES = {
    "softmax": SoftmaxLoss,
    "hinge": HingeLoss,
    "l2": partial(L2SoftmaxLoss, scale=6.0),
    "L-Softmax": partial(LSoftmaxLoss, margin=3),
    "L-Softmax annealed": partial(LSoftmaxLoss, annealing=Annealing(1.0, 3.0, 0.5)),
    "A-Softmax": partial(ASoftmaxLoss, annealing=None),
    "A-Softmax annealed": ASoftmaxLoss,
    "AM": partial(AMSoftmaxLoss, scale=5.0),
    "ArcFace": partial(ArcFaceLoss, scale=5.0),
}


def batch(n=12, dim=D, classes=C, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator, dtype=F64), torch.randint(classes, (n,), generator=generator)


def made(name, classes=C, dim=D, seed=0):
    """A loss in float64 whose weight, and bias if any, are not what they start from."""
    loss = LOSSES[name](classes, dim).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=F64))
    return loss


def with_gradients(loss, x, labels):
    """The value, and the gradients to the embeddings and to the parameters."""
    x = x.detach().clone().requires_grad_()
    value = loss(x, labels)
    return value.detach(), torch.autograd.grad(value, [x, *loss.parameters()])


# The losses in Python floats, from the formulas: angles by acos, and L-Softmax's pieces one by one


def length(u):
    return math.sqrt(math.fsum(p * p for p in u))


def dot(u, v):
    return math.fsum(p * q for p, q in zip(u, v, strict=True))


def psi(theta, m):
    k = min(int(theta * m / math.pi), m - 1)
    return (-1) ** k * math.cos(m * theta) - 2 * k


def annealed(theta, m, weight):
    return (weight * math.cos(theta) + psi(theta, m)) / (1 + weight)


def arcface(theta, m):
    return math.cos(theta + m) if theta <= math.pi - m else math.cos(theta) - m * math.sin(m)


def scores_by_loop(name, x, w, b, y):
    """The scores of one row, with the margin at the label."""
    if name in ("softmax", "hinge"):
        return [dot(x, row) + c for row, c in zip(w, b, strict=True)]
    if name == "l2":
        return [6 * dot(x, row) / length(x) + c for row, c in zip(w, b, strict=True)]
    theta = [math.acos(max(-1.0, min(1.0, dot(x, row) / length(x) / length(row)))) for row in w]
    radius = {"L": [length(x) * length(row) for row in w], "A": [length(x)] * len(w)}
    radius = radius.get(name[0] if "Softmax" in name else "", [5.0] * len(w))
    target = {
        "L-Softmax": lambda t: psi(t, 3),
        "L-Softmax annealed": lambda t: annealed(t, 4, 3.0),
        "A-Softmax": lambda t: psi(t, 4),
        "A-Softmax annealed": lambda t: annealed(t, 4, 1500.0),
        "AM": lambda t: math.cos(t) - 0.35,
        "ArcFace": lambda t: arcface(t, 0.5),
    }[name]
    return [r * (target(t) if j == y else math.cos(t)) for j, (r, t) in enumerate(zip(radius, theta, strict=True))]


def by_loop(name, loss, x, labels):
    w = loss.weight.tolist()
    b = None if loss.bias is None else loss.bias.tolist()
    total = 0.0
    for row, y in zip(x.tolist(), labels.tolist(), strict=True):
        f = scores_by_loop(name, row, w, b, y)
        if name == "hinge":
            total += sum(max(1 - f[y] + v, 0) for j, v in enumerate(f) if j != y) / len(f)
        else:
            total += max(f) + math.log(math.fsum(math.exp(v - max(f)) for v in f)) - f[y]
    return total / len(labels)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", LOSSES)
def test_value_equals_the_loop(name, device):
    for seed in range(4):
        x, y = batch(seed=seed)
        loss = made(name, seed=seed)
        expected = by_loop(name, loss, x, y)
        assert loss.to(device)(x.to(device), y.to(device)).item() == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name):
    x, y = batch(6)
    loss = made(name, seed=1)  # with seed 0 a row would lie on its weight, where ArcFace has a kink

    def function(x, *parameters):
        return torch.func.functional_call(
            loss, dict(zip(dict(loss.named_parameters()), parameters, strict=True)), (x, y)
        )

    inputs = (x.requires_grad_(), *loss.parameters())
    assert torch.autograd.gradcheck(function, inputs)
    if name != "hinge":
        assert torch.autograd.gradgradcheck(function, inputs)


PEERS = {
    "AM": lambda: pml.CosFaceLoss(C, D, margin=0.35, scale=5),
    "ArcFace": lambda: pml.ArcFaceLoss(C, D, margin=math.degrees(0.5), scale=5),
    "L-Softmax": lambda: pml.LargeMarginSoftmaxLoss(C, D, margin=3, scale=1),
    "A-Softmax": lambda: pml.SphereFaceLoss(C, D, margin=4, scale=1),
}


@pytest.mark.parametrize("name", PEERS)
def test_equal_to_pytorch_metric_learning(name):
    loss, peer = made(name), PEERS[name]().double()
    with torch.no_grad():
        peer.W.copy_(loss.weight.T)
    for seed in range(4):
        x, y = batch(40, seed=seed)
        value, (gradient, of_weight) = with_gradients(loss, x, y)
        expected, (expected_gradient, of_peer) = with_gradients(peer, x, y)
        assert value.item() == pytest.approx(expected.item(), rel=1e-10)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(of_weight, of_peer.T, rtol=1e-9, atol=1e-11)


def test_l2_softmax_is_normalized_softmax_for_unit_weights():
    loss = made("l2")
    peer = pml.NormalizedSoftmaxLoss(C, D, temperature=1 / 6).double()
    with torch.no_grad():
        loss.weight /= loss.weight.norm(dim=1, keepdim=True)
        loss.bias.zero_()
        peer.W.copy_(loss.weight.T)
    x, y = batch(20)
    assert loss(x, y).item() == pytest.approx(peer(x, y).item(), rel=1e-12)


def test_hinge_is_that_of_torch():
    x, y = batch()
    loss = HingeLoss(C, D, margin=2.0).double()
    expected = multi_margin_loss(x @ loss.weight.T + loss.bias, y, margin=2.0)
    assert loss(x, y).item() == pytest.approx(expected.item(), rel=1e-12)
    assert HingeLoss(C, D).margin == 1.0


def test_without_a_margin_they_are_softmax():
    x, y = batch()
    plain = SoftmaxLoss(C, D).double()
    unit = plain.weight.detach() / plain.weight.detach().norm(dim=1, keepdim=True)
    cosines = x @ unit.T / x.norm(dim=1, keepdim=True)
    entropy = torch.nn.functional.cross_entropy
    cases = {
        LSoftmaxLoss(C, D, margin=1): entropy(x @ plain.weight.T, y),
        ASoftmaxLoss(C, D, margin=1, annealing=None): entropy(x @ unit.T, y),
        AMSoftmaxLoss(C, D, margin=0, scale=7): entropy(7 * cosines, y),
        ArcFaceLoss(C, D, margin=0, scale=7): entropy(7 * cosines, y),
    }
    for loss, expected in cases.items():
        loss.double().weight.data.copy_(plain.weight.data)
        assert loss(x, y).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_scores_are_without_margin_and_predict(name):
    loss = made(name)
    x, _ = batch(20)
    scores = loss.scores(x)
    linear = x @ loss.weight.T
    lengths, own = x.norm(dim=1, keepdim=True), loss.weight.norm(dim=1)
    expected = {"s": linear, "h": linear, "L": linear, "l": 6 * linear / lengths}
    expected = expected.get(name[0], linear / own if name[:2] == "A-" else 5 * linear / lengths / own)
    bias = 0 if loss.bias is None else loss.bias
    torch.testing.assert_close(scores, expected + bias, rtol=1e-12, atol=1e-13)


# The label's score over the angle

TARGETS = {
    "L2": LSoftmaxLoss(2, 2, margin=2),
    "L4": LSoftmaxLoss(2, 2, margin=4),
    "A4": ASoftmaxLoss(2, 2, annealing=None),
    "A4 annealed": ASoftmaxLoss(2, 2),
    "AM": AMSoftmaxLoss(2, 2),
    "Arc": ArcFaceLoss(2, 2),
    "Arc 1.2": ArcFaceLoss(2, 2, margin=1.2),
}


@pytest.mark.parametrize("name", TARGETS)
def test_the_target_falls_all_the_way_and_lies_below_the_cosine(name):
    cosine = torch.cos(torch.linspace(0, math.pi, 2001, dtype=F64))
    target = TARGETS[name].target_cosine(cosine)
    assert (target.diff() < 0).all()
    assert (target <= cosine + 1e-12).all()


@pytest.mark.parametrize("margin", [1, 2, 3, 4, 5, 8])
def test_psi_is_continuous_where_its_pieces_meet(margin):
    theta = torch.linspace(0, math.pi, margin + 1, dtype=F64)
    loss = LSoftmaxLoss(2, 2, margin=margin)
    expected = torch.tensor([1.0 - 2 * k for k in range(margin + 1)], dtype=F64)  # falls by 2 from piece to piece
    for shift in (-1e-9, 0, 1e-9):
        cosine = torch.cos((theta + shift).clamp(0, math.pi))
        torch.testing.assert_close(loss.target_cosine(cosine), expected, rtol=0, atol=1e-12)


def test_arcface_beyond_its_range():
    loss = ArcFaceLoss(2, 2, margin=0.5)
    bound = math.pi - 0.5
    just_inside, just_beyond = (
        loss.target_cosine(torch.tensor(math.cos(bound + e), dtype=F64)).item() for e in (-1e-9, 1e-9)
    )
    assert just_inside == pytest.approx(-1, abs=1e-8)
    assert loss.target_cosine(torch.tensor(-math.cos(0.5), dtype=F64)).item() == pytest.approx(-1, abs=1e-8)
    assert just_beyond == pytest.approx(math.cos(bound) - 0.5 * math.sin(0.5), abs=1e-8)
    assert just_inside - just_beyond == pytest.approx(0.1173, abs=1e-4)  # the jump


# Annealing


def test_annealing_follows_its_formula():
    iterations = torch.tensor([0.0, 10.0, 1000.0, 1e6], dtype=F64)
    expected = torch.tensor([1500.0, 750.0, 1500 / 101, 5.0], dtype=F64)
    torch.testing.assert_close(Annealing()(iterations), expected)
    other = Annealing(lowest=0.0, base=1000.0, rate=0.5)(iterations[:2])
    torch.testing.assert_close(other, torch.tensor([1000.0, 1000 / 6], dtype=F64))
    for name in ("lowest", "base", "rate"):
        with pytest.raises(ValueError, match=rf"^{name}: got -1.0, expected a finite number of at least 0"):
            Annealing(**{name: -1.0})


@pytest.mark.parametrize("kind", [ASoftmaxLoss, LSoftmaxLoss])
def test_updates_let_the_margin_in(kind):
    x, y = batch()
    loss = kind(C, D, annealing=Annealing(0.0, 100.0, 1.0)).double()
    plain, full = kind(C, D, margin=1, annealing=None).double(), kind(C, D, annealing=None).double()
    for other in (plain, full):
        other.weight.data.copy_(loss.weight.data)
    values = []
    for _ in range(3):
        values.append(loss(x, y).item())
        loss.update(x, y)
    assert loss.iteration.item() == 3 and loss.state_dict()["iteration"].item() == 3
    assert plain(x, y).item() < values[0] < values[1] < values[2] < full(x, y).item()
    assert loss.iteration.dtype == torch.int64
    cosine = torch.tensor([0.3], dtype=F64)  # after three updates λ = 25
    expected = (25 * cosine + full.target_cosine(cosine)) / 26
    torch.testing.assert_close(loss.target_cosine(cosine), expected, rtol=1e-12, atol=0)
    slow = kind(C, D, annealing=Annealing(0.0, 100.0, 0.1))
    slow.update(x, y)
    expected = (100 / 1.1 * cosine + full.target_cosine(cosine)) / (1 + 100 / 1.1)
    torch.testing.assert_close(slow.target_cosine(cosine), expected, rtol=1e-12, atol=0)


# Edges


@pytest.mark.parametrize("name", LOSSES)
def test_empty_batch_and_one_class(name):
    loss = made(name)
    value, (gradient, *_) = with_gradients(loss, torch.zeros(0, D, dtype=F64), torch.zeros(0, dtype=torch.int64))
    assert value.item() == 0 and gradient.shape == (0, D)
    one = made(name, classes=1)
    value, gradients = with_gradients(one, batch(3)[0], torch.zeros(3, dtype=torch.int64))
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", LOSSES)
def test_zero_aligned_opposite_and_huge_rows_are_finite(name, dtype):
    loss = made(name).to(dtype)
    own = loss.weight.detach()[0]
    x = torch.stack([torch.zeros(D, dtype=dtype), own, -own, own / own.norm(), 1e-30 * own, 1e12 * own])
    value, gradients = with_gradients(loss, x, torch.zeros(6, dtype=torch.int64))
    assert torch.isfinite(value) and all(torch.isfinite(g).all() for g in gradients)
    assert all(g.abs().max() < 1e20 for g in gradients[1:])


@pytest.mark.parametrize("name", LOSSES)
def test_ten_thousand_classes(name):
    x, y = batch(8, classes=10_000)
    loss = LOSSES[name](10_000, D)
    value, gradients = with_gradients(loss, x.float(), y)
    assert torch.isfinite(value) and all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_autocast_and_views(name, dtype):
    loss = made(name).float()
    x, y = batch(16)
    x = x.to(dtype)
    expected, (gradient, *_) = with_gradients(loss, x.float(), y)
    value, (half_gradient, *_) = with_gradients(loss, x, y)
    assert value.dtype == torch.float32 and torch.equal(value, expected)
    assert torch.equal(half_gradient, gradient.to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(x, y), expected)
    torch.testing.assert_close(loss(x.float().T.contiguous().T, y), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_embeddings_and_weights_of_different_precision(name):
    x, y = batch()
    single, double = made(name).float(), made(name).float().double()
    for loss, rows in ((single, x), (double, x.float()), (double, x.half())):
        assert loss(rows, y).dtype == loss.scores(rows).dtype == F64
        torch.testing.assert_close(loss(rows, y), double(rows.double(), y), rtol=1e-6, atol=1e-6)
    half = single.scores(x.half())
    assert half.dtype == torch.float32 and torch.equal(half, single.scores(x.half().float()))


@given(seed=st.integers(0, 2**20), name=st.sampled_from(sorted(LOSSES)))
@settings(max_examples=30, deadline=None)
def test_invariances(seed, name):
    x, y = batch(seed=seed)
    loss, changed = made(name, seed=seed), made(name, seed=seed)
    value = loss(x, y)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=generator)
    torch.testing.assert_close(loss(x[order], y[order]), value)
    names = torch.randperm(C, generator=generator)  # class j is called names[j]
    rotation = torch.linalg.qr(torch.randn(D, D, generator=generator, dtype=F64)).Q
    with torch.no_grad():
        changed.weight[names] = loss.weight @ rotation
        if loss.bias is not None:
            changed.bias[names] = loss.bias
    torch.testing.assert_close(changed(x @ rotation, names[y]), value, rtol=1e-9, atol=1e-12)
    if name in ("l2", "AM", "ArcFace"):
        torch.testing.assert_close(loss(3 * x, y), value)


def test_start_and_settings():
    torch.manual_seed(0)
    loss = SoftmaxLoss(30, 50)
    bound = math.sqrt(6 / 80)
    assert loss.weight.shape == (30, 50) and torch.equal(loss.bias, torch.zeros(30))
    assert 0.95 * bound < loss.weight.abs().max() <= bound
    assert loss.weight.var().item() == pytest.approx(2 / 80, rel=0.1)
    assert LSoftmaxLoss(2, 2).margin == ASoftmaxLoss(2, 2).margin == 4
    assert LSoftmaxLoss(2, 2).annealing is None and ASoftmaxLoss(2, 2).annealing == Annealing(5.0, 1500.0, 0.1)


def test_smallest_scale():
    assert smallest_scale(10) == pytest.approx(math.log(0.9 * 8 / 0.1)) == pytest.approx(4.28, abs=0.005)
    assert smallest_scale(100, 0.5) == pytest.approx(math.log(98))
    assert smallest_scale(3, 0.5) == 0
    with pytest.raises(ValueError, match=r"^num_classes: got 2, expected a whole number of at least 3"):
        smallest_scale(2)
    for probability in (0, 1, 1.5):
        with pytest.raises(ValueError, match=r"^probability: got .*, expected a number between 0 and 1"):
            smallest_scale(10, probability)


@pytest.mark.parametrize("name", LOSSES)
def test_bad_input(name):
    with pytest.raises(ValueError, match=r"^num_classes: got 0, expected a whole number of at least 1"):
        LOSSES[name](0, D)
    with pytest.raises(ValueError, match=r"^dim: got True, expected a whole number of at least 1"):
        LOSSES[name](C, True)
    loss, (x, y) = made(name), batch()
    with pytest.raises(ValueError, match=r"^labels: got 5, expected numbers in 0..4"):
        loss(x, torch.full_like(y, C))
    with pytest.raises(ValueError, match=r"^embeddings: got 3 columns, expected 4$"):
        loss(x[:, :3], y)
    with pytest.raises(ValueError, match=r"^embeddings: got nan, expected finite numbers"):
        loss(x * float("nan"), y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HingeLoss(C, D, margin=0), "margin: got 0, expected a finite number above 0"),
        (lambda: L2SoftmaxLoss(C, D, 0), "scale: got 0, expected a finite number above 0"),
        (lambda: LSoftmaxLoss(C, D, margin=0), "margin: got 0, expected a whole number of at least 1"),
        (lambda: ASoftmaxLoss(C, D, margin=1.5), "margin: got 1.5, expected a whole number of at least 1"),
        (lambda: AMSoftmaxLoss(C, D, margin=-0.1), "margin: got -0.1, expected a finite number of at least 0"),
        (lambda: AMSoftmaxLoss(C, D, scale=-1), "scale: got -1, expected a finite number above 0"),
        (lambda: ArcFaceLoss(C, D, margin=28.6), "margin: got 28.6, expected at most π, in radians"),
        (lambda: ArcFaceLoss(C, D, scale=0), "scale: got 0, expected a finite number above 0"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError) as failure:
        make()
    assert str(failure.value) == message


def test_arcface_may_have_any_margin_up_to_pi():
    assert ArcFaceLoss(C, D, margin=math.pi).margin == math.pi


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("name", LOSSES)
def test_the_gpu_is_not_waited_for(name):
    x, y = batch()
    loss, x, y = made(name).float().cuda(), x.float().cuda().requires_grad_(), y.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(x, y).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
