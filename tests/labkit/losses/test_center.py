import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import DEVICES, with_gradient

from labkit.losses import CenterLoss

F64 = torch.float64


def batch(n=12, dim=3, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator, dtype=F64), torch.randint(classes, (n,), generator=generator)


def center_loss(classes=4, dim=3, seed=1, **options):
    """A loss whose centers are not at zero."""
    loss = CenterLoss(classes, dim, **options).double()
    loss.centers.copy_(torch.randn(classes, dim, generator=torch.Generator().manual_seed(seed), dtype=F64))
    return loss


def value_by_loop(x, y, centers, radius):
    total = 0.0
    for row, label in zip(x.tolist(), y.tolist(), strict=True):
        total += max(math.dist(row, centers[label].tolist()) - radius, 0) ** 2 / 2
    return total / len(y)


def updated_by_loop(x, y, centers, rate):
    """Wen et al., equation 4, class by class."""
    result = centers.clone()
    for j in range(len(centers)):
        members = [row for row, label in zip(x, y.tolist(), strict=True) if label == j]
        delta = sum((centers[j] - row for row in members), torch.zeros_like(centers[j])) / (1 + len(members))
        result[j] = centers[j] - rate * delta
    return result


def test_hand_example():
    x = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    y = torch.tensor([0, 1, 1])
    assert CenterLoss(2, 2)(x, y).item() == pytest.approx((25 + 1 + 4) / 2 / 3)
    assert CenterLoss(2, 2, radius=1.5)(x, y).item() == pytest.approx((3.5**2 + 0 + 0.5**2) / 2 / 3)
    loss = CenterLoss(3, 2)  # rate ½
    loss.update(x, y)
    # class 0: ½·(3, 4)/2; class 1: ½·((1, 0) + (0, 2))/3; class 2 stays
    torch.testing.assert_close(loss.centers, torch.tensor([[0.75, 1.0], [1 / 6, 1 / 3], [0.0, 0.0]]))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("radius", [0.0, 0.5, 1.0, 2.5])
def test_value_and_gradient_equal_the_loop(device, radius):
    for seed in range(3):
        x, y = batch(seed=seed)
        loss = center_loss(radius=radius)
        expected = value_by_loop(x, y, loss.centers, radius)
        difference = x - loss.centers[y]
        d = difference.norm(dim=1, keepdim=True)
        gradient = (d - radius).clamp(min=0) * difference / d / len(y)
        value, got = with_gradient(loss.to(device), x.to(device), y.to(device))
        assert value.item() == pytest.approx(expected, rel=1e-12)
        torch.testing.assert_close(got.cpu(), gradient, rtol=1e-12, atol=1e-15)


def test_gradient_is_that_of_finite_differences():
    x, y = batch()
    for radius in (0.0, 0.7):
        loss = center_loss(radius=radius)
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, y), x.requires_grad_())
        assert torch.autograd.gradgradcheck(lambda x, loss=loss: loss(x, y), x.requires_grad_())


@pytest.mark.parametrize("device", DEVICES)
@given(
    seed=st.integers(0, 2**20),
    n=st.integers(0, 9),
    classes=st.integers(1, 5),
    rate=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
@settings(max_examples=25, deadline=None)
def test_update_equals_the_loop(device, seed, n, classes, rate):
    x, y = batch(n, 3, classes, seed)
    loss = center_loss(classes, rate=rate)
    expected = updated_by_loop(x, y, loss.centers, rate)
    loss = loss.to(device)
    loss.update(x.to(device).requires_grad_(), y.to(device))
    torch.testing.assert_close(loss.centers.cpu(), expected, rtol=1e-12, atol=1e-14)
    assert not loss.centers.requires_grad


def test_one_row_and_other_precisions():
    x = torch.tensor([[3.0, 4.0]])
    assert CenterLoss(1, 2)(x, torch.tensor([0])).item() == 12.5
    loss = CenterLoss(1, 2)
    loss.update(x.double(), torch.tensor([0]))
    torch.testing.assert_close(loss.centers, x / 4)


def test_the_weight_of_the_loss_and_the_gradient_do_not_move_the_centers():
    loss = center_loss()
    before = loss.centers.clone()
    x, y = batch()
    (1000 * loss(x.requires_grad_(), y)).backward()
    assert torch.equal(loss.centers, before)
    assert list(loss.parameters()) == [] and list(loss.state_dict()) == ["centers"]


def test_centers_converge_to_the_class_means_of_the_same_batch():
    x, y = batch(40)
    loss = center_loss()
    for _ in range(300):
        loss.update(x, y)
    for j in range(4):
        torch.testing.assert_close(loss.centers[j], x[y == j].mean(0), rtol=1e-10, atol=1e-12)


def test_defaults_and_start():
    loss = CenterLoss(3, 5)
    assert (loss.rate, loss.radius) == (0.5, 0.0)
    assert torch.equal(loss.centers, torch.zeros(3, 5))


@pytest.mark.parametrize("radius", [0.0, 0.5])
def test_edges(radius):
    loss = CenterLoss(2, 3, radius=radius)
    for labels in ([], [1], [1, 1, 1], [0, 1]):
        x = torch.zeros(len(labels), 3)  # on the centers
        value, gradient = with_gradient(loss, x, torch.tensor(labels, dtype=torch.int64))
        assert value.item() == 0 and torch.equal(gradient, torch.zeros_like(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_views(dtype):
    x, y = batch(32)
    loss = center_loss().float()
    twin = copy.deepcopy(loss)
    value, gradient = with_gradient(loss, x.to(dtype), y)
    expected, expected_gradient = with_gradient(loss, x.to(dtype).float(), y)
    assert value.dtype == torch.float32 and torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient.to(dtype))
    loss.update(x.to(dtype), y)
    twin.update(x.to(dtype).float().T.contiguous().T, y)
    assert loss.centers.dtype == torch.float32
    torch.testing.assert_close(loss.centers, twin.centers)


def test_bad_input():
    with pytest.raises(ValueError, match=r"^num_classes: got 0, expected a whole number of at least 1"):
        CenterLoss(0, 2)
    with pytest.raises(ValueError, match=r"^dim: got 2.0, expected a whole number of at least 1"):
        CenterLoss(2, 2.0)
    with pytest.raises(ValueError, match=r"^rate: got -1, expected a number from 0 to 1"):
        CenterLoss(2, 2, rate=-1)
    with pytest.raises(ValueError, match=r"^rate: got 1.5, expected a number from 0 to 1"):
        CenterLoss(2, 2, rate=1.5)
    with pytest.raises(ValueError, match=r"^radius: got .*, expected a finite number of at least 0"):
        CenterLoss(2, 2, radius=-0.5)
    loss, (x, y) = center_loss(), batch()
    for call in (loss, loss.update):
        with pytest.raises(ValueError, match=r"^labels: got 4, expected numbers in 0..3"):
            call(x, torch.full_like(y, 4))
        with pytest.raises(ValueError, match=r"^embeddings: got 2 columns, expected 3$"):
            call(x[:, :2], y)
        with pytest.raises(ValueError, match=r"^embeddings: got .*, expected finite numbers"):
            call(x / 0, y)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("radius", [0.0, 0.5])
def test_the_gpu_is_not_waited_for(radius):
    x, y = batch()
    loss, x, y = center_loss(radius=radius).float().cuda(), x.float().cuda().requires_grad_(), y.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(x, y).backward()
        loss.update(x.detach(), y)
    finally:
        torch.cuda.set_sync_debug_mode("default")
