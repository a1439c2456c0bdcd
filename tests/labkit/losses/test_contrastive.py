import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import DEVICES, with_gradient

from labkit.losses import ContrastiveLoss

F64 = torch.float64


def batch(n=12, dim=3, classes=4, seed=0, scale=0.5):
    generator = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(n, dim, generator=generator, dtype=F64)
    return x, torch.randint(classes, (n,), generator=generator)


def test_hand_example():
    # d(0,1) = 3 in one class; d(0,2) = 5 and d(1,2) = 4, other class, margin 4.5
    x = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
    loss = ContrastiveLoss(margin=4.5)(x, torch.tensor([7, 7, 1]))
    assert loss.item() == pytest.approx((9 / 2 + 0 + 0.5**2 / 2) / 3)
    assert ContrastiveLoss().margin == 1.0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("margin", [0.0, 0.4, 1.0, 3.0])
def test_value_and_gradient_equal_the_loop(device, margin):
    for seed in range(5):
        x, y = batch(seed=seed)
        value, gradient = with_gradient(ContrastiveLoss(margin).to(device), x.to(device), y.to(device))
        assert value.item() == pytest.approx(oracles.contrastive(x.tolist(), y.tolist(), margin), rel=1e-10)
        expected = torch.tensor(oracles.contrastive_gradient(x.tolist(), y.tolist(), margin), dtype=F64)
        torch.testing.assert_close(gradient.cpu(), expected, rtol=1e-10, atol=1e-13)


def test_gradient_is_that_of_finite_differences():
    x, y = batch()
    assert torch.autograd.gradcheck(lambda x: ContrastiveLoss()(x, y), x.requires_grad_())


def test_float32_agrees_with_float64_on_a_large_batch():
    x, y = batch(1024, 128, 10, scale=0.06)
    loss = ContrastiveLoss()
    value, gradient = with_gradient(loss, x.float(), y)
    reference, reference_gradient = with_gradient(loss, x.float().double(), y)
    assert value.dtype == torch.float32 and value.item() == pytest.approx(reference.item(), rel=1e-6)
    assert (gradient - reference_gradient).norm() / reference_gradient.norm() < 1e-6


@pytest.mark.parametrize("labels", [[], [3], [3, 3, 3], [0, 1, 2]])
def test_batches_that_lack_a_kind_of_pair(labels):
    x, _ = batch(len(labels))
    value, gradient = with_gradient(ContrastiveLoss(), x, torch.tensor(labels, dtype=torch.int64))
    assert value.item() == pytest.approx(oracles.contrastive(x.tolist(), labels))
    assert gradient.shape == x.shape and torch.isfinite(gradient).all()


def test_collapsed_embeddings_have_a_loss_and_a_zero_gradient():
    for x in (torch.zeros(4, 3), torch.full((4, 3), 0.7)):
        value, gradient = with_gradient(ContrastiveLoss(), x, torch.tensor([0, 0, 1, 1]))
        assert value.item() == pytest.approx(4 / 6 / 2)
        assert torch.equal(gradient, torch.zeros_like(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(dtype):
    x, y = batch(32, 8)
    loss = ContrastiveLoss()
    value, gradient = with_gradient(loss, x.to(dtype), y)
    expected, expected_gradient = with_gradient(loss, x.to(dtype).float(), y)
    assert value.dtype == torch.float32 and torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient.to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(with_gradient(loss, x.to(dtype), y)[0], expected)


@given(seed=st.integers(0, 2**20), n=st.integers(2, 12), dim=st.integers(1, 5), classes=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_invariances(seed, n, dim, classes):
    x, y = batch(n, dim, classes, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    loss = ContrastiveLoss()
    value = loss(x, y)
    torch.testing.assert_close(value.item(), oracles.contrastive(x.tolist(), y.tolist()), rtol=1e-9, atol=1e-12)
    order = torch.randperm(n, generator=generator)
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=F64)).Q
    names = torch.randperm(classes, generator=generator) * 5 - 3
    for x_changed, y_changed in ((x[order], y[order]), (x @ rotation, y), (x + x[0] + 1, y), (x, names[y])):
        torch.testing.assert_close(loss(x_changed, y_changed), value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(ContrastiveLoss(3.0)(3 * x, y), 9 * value, rtol=1e-9, atol=1e-12)


def test_bad_input():
    x, y = batch()
    with pytest.raises(ValueError, match=r"^margin: got -1, expected"):
        ContrastiveLoss(-1)
    with pytest.raises(ValueError, match=r"^labels: got .*, expected an int64"):
        ContrastiveLoss()(x, y.int())
    x[1, 1] = float("nan")
    with pytest.raises(ValueError, match=r"^embeddings: got nan, expected finite numbers"):
        ContrastiveLoss()(x, y)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_the_gpu_is_not_waited_for():
    x, y = batch()
    x, y = x.float().cuda().requires_grad_(), y.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        ContrastiveLoss()(x, y).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
