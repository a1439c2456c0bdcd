import pytest
import torch

from labkit.losses import CenterLoss, ContrastiveLoss, ExponentialTripletLoss, L2SoftmaxLoss, SoftmaxLoss, WeightedSum

F64 = torch.float64


def batch(n=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=generator, dtype=F64), torch.randint(4, (n,), generator=generator)


def composite(*weights):
    """The composite of paper 000, equation 10, and its parts."""
    parts = ExponentialTripletLoss(4, radius=3.0), CenterLoss(4, 3).double(), L2SoftmaxLoss(4, 3, 8.0).double()
    return WeightedSum(dict(zip(parts, weights, strict=True))), parts


def test_value_and_gradients_are_the_weighted_sums():
    x, y = batch()
    loss, parts = composite(1.0, 0.01, 0.5)
    x.requires_grad_()
    value = loss(x, y)
    gradients = torch.autograd.grad(value, [x, parts[2].weight])
    values = [part(x, y) for part in parts]
    expected = values[0] + 0.01 * values[1] + 0.5 * values[2]
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    for got, right in zip(gradients, torch.autograd.grad(expected, [x, parts[2].weight]), strict=True):
        torch.testing.assert_close(got, right, rtol=1e-12, atol=1e-14)


def test_parameters_buffers_and_updates_are_those_of_the_parts():
    x, y = batch()
    loss, (_, center, classes) = composite(1.0, 0.0, 1.0)
    assert {id(p) for p in loss.parameters()} == {id(p) for p in classes.parameters()}
    assert any(key.endswith("centers") for key in loss.state_dict())
    alone = CenterLoss(4, 3).double()
    alone.update(x, y)
    loss.update(x, y)  # also with weight 0
    assert torch.equal(center.centers, alone.centers)


def test_a_loss_of_weight_zero_is_not_computed():
    class Raises(torch.nn.Module):
        def forward(self, embeddings, labels):
            raise AssertionError

    x, y = batch()
    value = WeightedSum({Raises(): 0, ContrastiveLoss(): 2})(x, y)
    torch.testing.assert_close(value, 2 * ContrastiveLoss()(x, y))
    x.requires_grad_()
    zero = WeightedSum({Raises(): 0})(x, y)
    zero.backward()
    assert zero.item() == 0 and torch.equal(x.grad, torch.zeros_like(x))


def test_scores_are_those_of_the_first_part_that_gives_any():
    x, _ = batch()
    loss, (_, _, classes) = composite(1.0, 0.01, 0.5)
    assert torch.equal(loss.scores(x), classes.scores(x)) and loss.scores(x).shape == (10, 4)


def test_half_precision_does_not_overflow():
    x = torch.full((4, 3), 6e4, dtype=torch.float16)
    value = WeightedSum({SoftmaxLoss(4, 3): 1.0})(x, torch.arange(4))
    assert value.dtype == torch.float32 and torch.isfinite(value)
    assert WeightedSum({SoftmaxLoss(4, 3): 0})(x, torch.arange(4)).dtype == torch.float32


def test_settings_and_bad_input():
    for bad in ({}, [ContrastiveLoss()], {"contrastive": 1.0}, None):
        with pytest.raises(
            ValueError, match=r"^losses: got .*, expected a dictionary \{loss: weight\} with at least one loss"
        ):
            WeightedSum(bad)
    for weight in (-1, float("nan"), "1"):
        with pytest.raises(ValueError, match=r"^losses: got .*, expected a finite number of at least 0"):
            WeightedSum({ContrastiveLoss(): weight})
    with pytest.raises(ValueError, match=r"^embeddings: got .*, expected a floating-point tensor"):
        WeightedSum({ContrastiveLoss(): 1.0})([[1.0]], torch.tensor([0]))
