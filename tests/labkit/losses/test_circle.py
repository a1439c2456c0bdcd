import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses as pml
from tensors import DEVICES, with_gradient

from labkit.losses import CircleLoss

F64 = torch.float64


def batch(n=12, dim=3, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator, dtype=F64), torch.randint(classes, (n,), generator=generator)


def logsumexp(values):
    top = max(values)
    return top + math.log(math.fsum(math.exp(v - top) for v in values))


def softplus(z):
    return max(z, 0) + math.log1p(math.exp(-abs(z)))


def cosine(u, v):
    return sum(p * q for p, q in zip(u, v, strict=True)) / math.hypot(*u) / math.hypot(*v)


def by_loop(x, y, m, gamma, alphas=None):
    """The loss, anchor by anchor. alphas: {pair: weight} to hold the weights constant; what is used is put there."""
    x, y = x.tolist(), y.tolist()
    alphas = {} if alphas is None else alphas
    losses = []
    for a in range(len(y)):
        positive, negative = [], []
        for b in range(len(y)):
            if a == b:
                continue
            s = cosine(x[a], x[b])
            if y[a] == y[b]:
                alpha = alphas.setdefault((a, b), max(1 + m - s, 0))
                positive.append(-gamma * alpha * (s - (1 - m)))
            else:
                alpha = alphas.setdefault((a, b), max(s + m, 0))
                negative.append(gamma * alpha * (s - m))
        if positive and negative:
            losses.append(softplus(logsumexp(negative) + logsumexp(positive)))
    return sum(losses) / len(losses) if losses else 0.0


def gradient_by_differences(x, y, m, gamma, step=1e-5):
    """Central differences of the loop, with the weights of the point itself: they are constants to the gradient."""
    alphas = {}
    by_loop(x, y, m, gamma, alphas)
    gradient = torch.zeros_like(x)
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            ahead, behind = x.clone(), x.clone()
            ahead[i, k] += step
            behind[i, k] -= step
            up, down = (by_loop(z, y, m, gamma, dict(alphas)) for z in (ahead, behind))
            gradient[i, k] = (up - down) / (2 * step)
    return gradient


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("m", "gamma"), [(0.25, 2.0), (0.4, 80.0), (0.0, 1.0), (1.3, 5.0)])
def test_value_equals_the_loop(device, m, gamma):
    for seed in range(3):
        x, y = batch(seed=seed)
        got = CircleLoss(m, gamma)(x.to(device), y.to(device))
        assert got.item() == pytest.approx(by_loop(x, y, m, gamma), rel=1e-12)


def test_gradient_holds_the_weights_constant():
    x, y = batch(8)
    _, gradient = with_gradient(CircleLoss(0.25, 3.0), x, y)
    expected = gradient_by_differences(x, y, 0.25, 3.0)
    torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-9)


def test_large_losses_keep_the_digits_of_their_gradient():
    # torch.nn.functional.softplus has slope 1 beyond 20, where it is 1 - 2e-9.
    x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.2]], dtype=F64), torch.tensor([0, 0, 1])
    for gamma in (20.0, 24.0, 28.0):
        value, gradient = with_gradient(CircleLoss(0.25, gamma), x, y)
        assert 15 < value < 45
        s = [cosine(x[0].tolist(), x[i].tolist()) for i in (1, 2)] + [cosine(x[1].tolist(), x[2].tolist())]
        slope = [1 / (1 + math.exp(-gamma * ((1.25 - s[0]) * (0.75 - s[0]) + (n + 0.25) * (n - 0.25)))) for n in s[1:]]
        # Of anchor 0 and of anchor 1: the slope, times γα, along the derivative of the cosine.
        weights = [(-gamma * (1.25 - s[0]) * t, gamma * (n + 0.25) * t) for t, n in zip(slope, s[1:], strict=True)]
        z = x.clone().requires_grad_()
        unit = z / z.norm(dim=1, keepdim=True)
        c = unit @ unit.T
        linear = sum(p * c[a, 1 - a] + n * c[a, 2] for a, (p, n) in enumerate(weights)) / 2
        (expected,) = torch.autograd.grad(linear, z)
        torch.testing.assert_close(gradient, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("m", "gamma"), [(0.4, 80.0), (0.25, 256.0)])
def test_equal_to_pytorch_metric_learning(m, gamma):
    for seed in range(4):
        x, y = batch(24, 6, 5, seed)
        value, gradient = with_gradient(CircleLoss(m, gamma), x, y)
        expected, expected_gradient = with_gradient(pml.CircleLoss(m, gamma), x, y)
        assert value.item() == pytest.approx(expected.item(), rel=1e-10)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("s_n", "s_p"), [(0.2, 0.9), (-0.1, 0.3), (0.7, 0.7)])
def test_one_pair_of_each_kind_decides_on_a_circle(s_n, s_p):
    m, gamma = 0.25, 16.0
    x = torch.tensor(
        [[1, 0, 0], [s_p, math.sqrt(1 - s_p**2), 0], [s_n, 0, math.sqrt(1 - s_n**2)]], dtype=F64, requires_grad=True
    )
    # Rows 0 and 1 are of one class. Row 1's cosine with row 2 is s_n·s_p; row 2 has no positive and does not count.
    value = CircleLoss(m, gamma)(x, torch.tensor([0, 0, 1]))
    first, second = (softplus(gamma * (s**2 + (1 - s_p) ** 2 - 2 * m**2)) for s in (s_n, s_n * s_p))
    assert value.item() == pytest.approx((first + second) / 2, rel=1e-12)


@pytest.mark.parametrize("labels", [[], [3], [3, 3, 3], [0, 1, 2], [0, 0, 1]])
def test_batches_that_lack_a_kind_of_pair(labels):
    x, _ = batch(len(labels))
    y = torch.tensor(labels, dtype=torch.int64)
    with torch.autograd.set_detect_anomaly(True):
        value, gradient = with_gradient(CircleLoss(0.25, 8.0), x, y)
    assert value.item() == pytest.approx(by_loop(x, y, 0.25, 8.0), rel=1e-12)
    assert gradient.shape == x.shape and torch.isfinite(gradient).all()
    if labels != [0, 0, 1]:
        assert value.item() == 0 and torch.equal(gradient, torch.zeros_like(x))


@pytest.mark.parametrize("x", [torch.zeros(6, 3), torch.ones(6, 3), torch.eye(6)[:, :3], -torch.eye(6)[:, :3]])
@pytest.mark.parametrize("gamma", [1.0, 256.0, 1e6])
def test_collapse_zeros_and_duplicates_are_finite(x, gamma):
    y = torch.tensor([0, 0, 1, 1, 2, 2])
    for dtype in (torch.float32, F64):
        value, gradient = with_gradient(CircleLoss(0.4, gamma), x.to(dtype), y)
        assert torch.isfinite(value) and torch.isfinite(gradient).all()
    if not x.any():
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_opposite_rows_pull_on_nothing_where_the_weight_is_zero():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=F64)
    value, gradient = with_gradient(CircleLoss(0.25, 64.0), x, torch.tensor([0, 0, 1]))
    # s_p = 1: exponent -γ m·m; s_n = -1: weight [s_n + m]₊ = 0, exponent 0
    assert value.item() == pytest.approx(softplus(-64 * 0.25**2), rel=1e-12)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(dtype):
    x, y = batch(32, 8)
    loss = CircleLoss()
    value, gradient = with_gradient(loss, x.to(dtype), y)
    expected, expected_gradient = with_gradient(loss, x.to(dtype).float(), y)
    assert value.dtype == torch.float32 and torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient.to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(with_gradient(loss, x.to(dtype), y)[0], expected)


def test_float32_agrees_with_float64_on_a_large_batch():
    x, y = batch(512, 64, 10)
    value, gradient = with_gradient(CircleLoss(0.4, 80.0), x.float(), y)
    reference, reference_gradient = with_gradient(CircleLoss(0.4, 80.0), x.float().double(), y)
    assert value.item() == pytest.approx(reference.item(), rel=1e-5)
    assert (gradient - reference_gradient).norm() / reference_gradient.norm() < 1e-4


@given(seed=st.integers(0, 2**20), n=st.integers(2, 12), dim=st.integers(2, 5), classes=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_invariances(seed, n, dim, classes):
    x, y = batch(n, dim, classes, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    loss = CircleLoss(0.3, 10.0)
    value = loss(x, y)
    torch.testing.assert_close(value.item(), by_loop(x, y, 0.3, 10.0), rtol=1e-9, atol=1e-12)
    order = torch.randperm(n, generator=generator)
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=F64)).Q
    names = torch.randperm(classes, generator=generator) * 5 - 3
    lengths = torch.rand(n, 1, generator=generator, dtype=F64) + 0.1
    for x_changed, y_changed in (
        (x[order], y[order]),
        (x @ rotation, y),
        (x * lengths, y),
        (x, names[y]),
        (x.T.contiguous().T, y),
    ):
        torch.testing.assert_close(loss(x_changed, y_changed), value, rtol=1e-9, atol=1e-12)


def test_settings_and_bad_input():
    loss = CircleLoss()
    assert (loss.margin, loss.gamma) == (0.25, 256.0)
    with pytest.raises(ValueError, match=r"^margin: got -1, expected"):
        CircleLoss(-1)
    with pytest.raises(ValueError, match=r"^gamma: got 0, expected a finite number above 0"):
        CircleLoss(gamma=0)
    x, y = batch()
    with pytest.raises(ValueError, match=r"^labels: got .*, expected an int64"):
        CircleLoss()(x, y.int())
    with pytest.raises(ValueError, match=r"^embeddings: got nan, expected finite numbers"):
        CircleLoss()(x * float("nan"), y)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_the_gpu_is_not_waited_for():
    x, y = batch()
    x, y = x.float().cuda().requires_grad_(), y.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        CircleLoss()(x, y).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
