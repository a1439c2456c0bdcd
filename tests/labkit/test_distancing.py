import copy
import io
import math
import pickle

import pytest
import torch
from tensors import DEVICES
from torch import nn

from labkit.distancing import Checkpoint, DistancePenalty, equilibrium

F64 = torch.float64


class Point(nn.Module):
    """A network of a few weights, in one tensor or several."""

    def __init__(self, *values, dtype=F64):
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.tensor(value, dtype=dtype)) for value in values])


def mixed(seed=0):
    """Convolution, batch normalization and a linear layer."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4))


def moved(network, by, seed=1):
    """The same network, every weight moved by a normal number times `by`."""
    network = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator, dtype=F64).to(parameter)
    return network


def gradients(network):
    return torch.cat([p.grad.flatten().double() for p in network.parameters() if p.grad is not None])


def autograd_and_in_place(penalty, network, start=0.0):
    """Both values and both gradients, on top of gradients that are `start` everywhere."""
    results = []
    for way in ("autograd", "in place"):
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, start) if parameter.requires_grad else None
        if way == "autograd":
            value = penalty(network)
            value.backward()
        else:
            value = penalty.add_gradient(network)
        assert way == "autograd" or not value.requires_grad
        results.append((value.detach(), gradients(network)))
    return results


# The value and its gradient


def test_hand_example():
    checkpoint = Checkpoint.of(Point([1.0, 2.0], [[0.0]]))
    network = Point([2.0, 0.0], [[2.0]])  # D² = 1 + 4 + 4
    assert checkpoint.size == 3
    assert checkpoint.distance(network) == (3.0, pytest.approx(math.sqrt(3)))
    assert checkpoint.distance(network).sum == 3.0 and checkpoint.distance(network).rms == pytest.approx(math.sqrt(3))
    penalty = DistancePenalty(checkpoint, strength=5, sigma=2)
    height = 5 * math.exp(-9 / 8)
    for value, gradient in autograd_and_in_place(penalty, network, start=10.0):
        assert value.item() == pytest.approx(height) and value.shape == () and value.dtype == F64
        expected = 10 - height / 4 * torch.tensor([1.0, -2.0, 2.0], dtype=F64)
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)
    mean = DistancePenalty(checkpoint, 5, 2, "mean")
    assert mean(network).item() == pytest.approx(5 * math.exp(-3 / 8))


@pytest.mark.parametrize("measure", ["sum", "mean"])
@pytest.mark.parametrize(("dtype", "limit"), [(F64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("jitter", [0.0, 0.1])
@pytest.mark.parametrize("device", DEVICES)
def test_autograd_and_in_place_agree(measure, dtype, limit, jitter, device):
    start = mixed().to(device, dtype)
    network = moved(start, 0.1)
    sigma = 0.15 if measure == "mean" else 1.0
    penalty = DistancePenalty([Checkpoint.of(start), Checkpoint.of(moved(start, 0.05, 7))], 2.0, sigma, measure)
    penalty.jitter = jitter
    (value, expected), (in_place, gradient) = autograd_and_in_place(penalty, network, start=1e-3)
    assert value.dtype == in_place.dtype == dtype
    assert (expected - 1e-3).norm() > 1e-3
    assert in_place.item() == pytest.approx(value.item(), rel=limit)
    assert (gradient - expected).norm() / expected.norm() < limit


def test_the_gradient_is_that_of_finite_differences():
    checkpoints = [Checkpoint.of(Point([0.0, 0.1], [0.3])), Checkpoint.of(Point([0.2, -0.1], [0.0]))]
    for measure, jitter in (("sum", 0.0), ("mean", 0.2)):
        penalty = DistancePenalty(checkpoints, 1.5, 0.7, measure, jitter=jitter)
        network = Point([0.5, -0.2], [0.4])
        names = [name for name, _ in network.named_parameters()]

        def value(*tensors, penalty=penalty, network=network, names=names):
            return torch.func.functional_call(Calls(network, penalty), dict(zip(names, tensors, strict=True)), ())

        start = [p.detach().clone().requires_grad_() for p in network.parameters()]
        assert torch.autograd.gradcheck(value, start)
        assert torch.autograd.gradgradcheck(value, start)


class Calls(nn.Module):
    """Gives a penalty the network's weights where functional_call has put other tensors."""

    def __init__(self, network, penalty):
        super().__init__()
        self.weights = network.weights
        self.penalty = penalty

    def forward(self):
        return self.penalty(self)


def test_descent_leads_away_from_the_checkpoint():
    checkpoint, network = Checkpoint.of(Point([0.0, 0.0])), Point([0.3, -0.1])
    before = checkpoint.distance(network).sum
    DistancePenalty(checkpoint, 1, 0.5).add_gradient(network)
    with torch.no_grad():
        network.weights[0] -= 0.1 * network.weights[0].grad
    assert checkpoint.distance(network).sum > before
    direction = network.weights[0].grad / network.weights[0].grad.norm()
    torch.testing.assert_close(direction, torch.tensor([-0.3, 0.1], dtype=F64) / math.sqrt(0.1))


def test_the_push_is_greatest_at_sigma():
    penalty = DistancePenalty(Checkpoint.of(Point([0.0])), 3, 0.8)
    push = {d: gradients_at(penalty, d) for d in (0.7, 0.8, 0.9)}
    assert push[0.8] == pytest.approx(-3 * math.exp(-0.5) / 0.8)
    assert push[0.8] < push[0.7] and push[0.8] < push[0.9]


def gradients_at(penalty, place, start=None):
    network = Point([place])
    if start is not None:
        network.weights[0].grad = torch.tensor([start], dtype=F64)
    penalty.add_gradient(network)
    return network.weights[0].grad.item()


def test_several_hills_sum():
    start = mixed().double()
    checkpoints = [Checkpoint.of(moved(start, 0.1, seed)) for seed in (2, 3, 4)]
    together = autograd_and_in_place(DistancePenalty(checkpoints, 2, 0.5), start)
    apart = [autograd_and_in_place(DistancePenalty(checkpoint, 2, 0.5), start) for checkpoint in checkpoints]
    for way in (0, 1):
        torch.testing.assert_close(together[way][0], sum(one[way][0] for one in apart))
        torch.testing.assert_close(together[way][1], sum(one[way][1] for one in apart))
    growing = DistancePenalty([], 2, 0.5)
    assert growing(start).item() == 0 and growing.add_gradient(start).item() == 0
    for checkpoint in checkpoints:
        growing.add_checkpoint(checkpoint)
        growing.add_gradient(start)  # it is used in between
    torch.testing.assert_close(growing(start).detach(), together[0][0])


def test_the_mean_measure_does_not_know_how_many_weights_there_are():
    one, two = Point([0.3, -0.2]), Point([0.3, -0.2], [0.3, -0.2])
    for measure, same in (("mean", True), ("sum", False)):
        values = [
            DistancePenalty(Checkpoint.of(there), 2, 0.3, measure)(here).item()
            for here, there in ((one, Point([0.0, 0.0])), (two, Point([0.0, 0.0], [0.0, 0.0])))
        ]
        assert (values[0] == pytest.approx(values[1], rel=1e-12)) is same
    # With N weights, sigma of the sum is sigma of the mean times √N.
    there = Checkpoint.of(Point([0.0, 0.0]))
    assert DistancePenalty(there, 2, 0.3, "mean")(one).item() == pytest.approx(
        DistancePenalty(there, 2, 0.3 * math.sqrt(2))(one).item(), rel=1e-12
    )


# Where it leads


def descend(penalty, start, curvature=1.0, steps=4000, rate=0.05):
    """Gradient descent in the bowl ½λx², with a hill."""
    network = Point(start)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    for _ in range(steps):
        network.weights[0].grad = curvature * network.weights[0].detach().clone()
        penalty.add_gradient(network)
        optimizer.step()
    return network.weights[0].detach()


def test_equilibrium_in_a_bowl():
    assert equilibrium(3, 0.8, 1) == pytest.approx(1.4062258783, abs=1e-10)
    assert equilibrium(3, 0.8, 2) == pytest.approx(0.8 * math.sqrt(2 * math.log(3 / (2 * 0.64))))
    penalty = DistancePenalty(Checkpoint.of(Point([0.0])), 3, 0.8)
    assert descend(penalty, [1e-3], steps=400).item() == pytest.approx(1.4062258783, abs=1e-9)
    assert descend(penalty, [3.0], steps=400).item() == pytest.approx(1.4062258783, abs=1e-9)


def test_a_flat_hill_does_not_free():
    assert equilibrium(0.6, 0.8, 1) == 0
    assert equilibrium(0.64, 0.8, 1) == 0 and equilibrium(0, 1, 1) == 0
    assert equilibrium(0.65, 0.8, 1) > 0
    penalty = DistancePenalty(Checkpoint.of(Point([0.0])), 0.5, 0.8)
    assert abs(descend(penalty, [1e-3], steps=1500).item()) < 1e-6


def test_at_the_checkpoint_only_jitter_frees():
    checkpoint = Checkpoint.of(Point([0.0, 0.0]))
    still = DistancePenalty(checkpoint, 3, 0.8)
    assert torch.equal(descend(still, [0.0, 0.0], steps=50), torch.zeros(2, dtype=F64))
    freed = descend(DistancePenalty(checkpoint, 3, 0.8, jitter=1e-3), [0.0, 0.0], steps=400)
    assert freed.norm().item() == pytest.approx(1.4062, abs=5e-3)


def test_the_hessian_at_the_checkpoint_is_shifted_down():
    penalty = DistancePenalty(Checkpoint.of(Point([0.0, 0.0, 0.0])), 3, 0.8)
    network = Point([0.0, 0.0, 0.0])
    weights = network.weights[0]
    scales = torch.tensor([1.0, 5.0, 9.0], dtype=F64)
    [slope] = torch.autograd.grad((scales * weights**2).sum() / 2 + penalty(network), weights, create_graph=True)
    hessian = torch.stack([torch.autograd.grad(s, weights, retain_graph=True)[0] for s in slope])
    torch.testing.assert_close(hessian, torch.diag(scales - 3 / 0.64))


# Jitter


@pytest.mark.parametrize("measure", ["sum", "mean"])
def test_jitter_moves_the_hill_by_its_share_of_sigma(measure):
    start = mixed().double()
    checkpoint = Checkpoint.of(start)
    width = 0.5 * (math.sqrt(checkpoint.size) if measure == "mean" else 1)
    value = DistancePenalty(checkpoint, 2, 0.5, measure, jitter=0.3)(start).item()
    assert value == pytest.approx(2 * math.exp(-0.09 / 2), rel=1e-9)
    [(_, gradient), _] = autograd_and_in_place(DistancePenalty(checkpoint, 2, 0.5, measure, jitter=0.3), start)
    assert gradient.norm().item() == pytest.approx(0.3 * value / width, rel=1e-9)
    assert abs(gradient.mean()) < 0.3 * gradient.std() and (gradient[:27].std() / gradient.std() - 1).abs() < 0.5


def test_jitter_follows_the_seed_alone():
    start = mixed()
    pushes = {}
    for seed in (0, 0, 1):
        torch.manual_seed(seed + 17)
        random = torch.get_rng_state()
        penalty = DistancePenalty([Checkpoint.of(start), Checkpoint.of(start)], 2, 0.5, jitter=0.1, seed=seed)
        _, (_, both) = autograd_and_in_place(penalty, start)
        assert torch.equal(torch.get_rng_state(), random)
        assert torch.equal(both, pushes.setdefault(seed, both))
    assert (pushes[0] - pushes[1]).norm() > 0.5 * pushes[0].norm()
    assert torch.equal(
        pushes[0],
        autograd_and_in_place(DistancePenalty([Checkpoint.of(start)] * 2, 2, 0.5, jitter=0.1), start)[1][1],
    )
    # The second hill of a seed stands where the first of the next seed does. The two stand on different sides.
    first = {
        s: autograd_and_in_place(DistancePenalty(Checkpoint.of(start), 2, 0.5, jitter=0.1, seed=s), start)[1][1]
        for s in (0, 1)
    }
    torch.testing.assert_close(pushes[0], first[0] + first[1])
    one = autograd_and_in_place(DistancePenalty(Checkpoint.of(start), 2, 0.5, jitter=0.1), start)[1][1]
    cosine = torch.nn.functional.cosine_similarity(one, pushes[0] - one, dim=0)
    assert abs(cosine) < 0.4
    # By in-place use no state moves on: what is asked twice is answered twice alike.
    again = autograd_and_in_place(penalty, start)[1][1]
    assert torch.equal(again, pushes[1])


# A strength that follows the gradient


# What belongs to a checkpoint


def test_a_checkpoint_is_a_copy():
    network = mixed()
    checkpoint = Checkpoint.of(network)
    assert list(checkpoint.tensors) == [name for name, _ in network.named_parameters()]
    before = copy.deepcopy(network.state_dict())
    assert all(not tensor.requires_grad for tensor in checkpoint.tensors.values())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert checkpoint.distance(network).rms == pytest.approx(1, rel=1e-6)
    assert checkpoint.distance(network).sum == pytest.approx(math.sqrt(checkpoint.size), rel=1e-6)
    network.load_state_dict(before)
    assert checkpoint.distance(network) == (0, 0)


def test_normalization_can_be_left_out():
    network = nn.Sequential(mixed(), nn.GroupNorm(1, 4), nn.LayerNorm(4), nn.RMSNorm(4))
    network.append(nn.MultiheadAttention(4, 1))
    everything = {name for name, _ in network.named_parameters()}
    norms = {"0.1.weight", "0.1.bias", "1.weight", "1.bias", "2.weight", "2.bias", "3.weight"}
    assert set(Checkpoint.of(network).tensors) == everything
    only = Checkpoint.of(network, normalization=False)
    assert set(only.tensors) == everything - norms
    assert only.size == 27 + 3 + 48 + 4 + 48 + 12 + 16 + 4
    # What is left out feels no push.
    other = moved(network, 0.1)
    DistancePenalty(only, 1, 1).add_gradient(other)
    assert {name for name, p in other.named_parameters() if p.grad is not None} == set(only.tensors)


def test_frozen_parameters():
    network = mixed()
    network[0].requires_grad_(False)
    checkpoint = Checkpoint.of(network)
    assert not any(name.startswith("0.") for name in checkpoint.tensors)
    # Frozen afterwards, they count in the distance and feel no push.
    other = moved(network, 0.1)
    free = DistancePenalty(checkpoint, 1, 1)(other)
    other[3].requires_grad_(False)
    (value, gradient), (in_place, pushes) = autograd_and_in_place(DistancePenalty(checkpoint, 1, 1), other)
    assert value.item() == free.item() == pytest.approx(in_place.item(), rel=1e-6)
    torch.testing.assert_close(gradient, pushes, rtol=1e-5, atol=1e-7)
    assert other[3].weight.grad is None and len(pushes) == 6
    other.requires_grad_(False)
    assert DistancePenalty(checkpoint, 1, 1).add_gradient(other).item() == pytest.approx(value.item(), rel=1e-6)


def test_saved_and_read_again(tmp_path):
    network = moved(mixed(), 0.1)
    checkpoint = Checkpoint.of(mixed())
    torch.save(checkpoint.tensors, tmp_path / "weights.pt")
    read = Checkpoint(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert read.distance(network) == checkpoint.distance(network)
    penalty = DistancePenalty(checkpoint, 1, 1, jitter=0.1)
    value = penalty.add_gradient(network)
    pickled = pickle.dumps(penalty)
    assert torch.equal(pickle.loads(pickled).add_gradient(network), value)
    assert torch.equal(copy.deepcopy(penalty).add_gradient(network), value)
    buffer = io.BytesIO()
    torch.save(penalty, buffer)


# Numbers


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    start = Point([0.0] * 70000, dtype=dtype)
    network = Point([1.0] * 70000, dtype=dtype)  # D² does not fit into float16
    checkpoint = Checkpoint.of(start)
    assert checkpoint.tensors["weights.0"].dtype == dtype
    assert checkpoint.distance(network).sum == pytest.approx(math.sqrt(70000))
    penalty = DistancePenalty(checkpoint, 70000, 1, "mean")
    (value, expected), (in_place, gradient) = autograd_and_in_place(penalty, network)
    assert value.dtype == in_place.dtype == torch.float32
    assert value.item() == pytest.approx(70000 * math.exp(-0.5)) and in_place.item() == pytest.approx(value.item())
    torch.testing.assert_close(gradient, expected, rtol=1e-2, atol=0)
    assert gradient[0].item() == pytest.approx(-math.exp(-0.5), rel=1e-2)
    # The jitter is smaller than the spacing of half numbers at 1, and not lost all the same.
    at_rest = DistancePenalty(Checkpoint.of(network), 70000, 1, "mean", jitter=1e-4)
    assert autograd_and_in_place(at_rest, network)[1][1].norm() > 0


def test_float32_sums_of_many_weights_are_right():
    start = nn.Linear(1500, 1500)
    network = moved(start, 0.01)
    value = DistancePenalty(Checkpoint.of(start), 1, 4).add_gradient(network)
    exact = sum(
        (p.detach().double() - q.detach().double()).square().sum().item()
        for p, q in zip(network.parameters(), start.parameters(), strict=True)
    )
    assert value.item() == pytest.approx(math.exp(-exact / 32), rel=5e-6)
    assert Checkpoint.of(start).distance(network).sum == pytest.approx(math.sqrt(exact), rel=1e-6)


def test_far_away_there_is_no_push():
    penalty = DistancePenalty(Checkpoint.of(Point([0.0])), 1, 1e-3)
    for value, gradient in autograd_and_in_place(penalty, Point([1e6]), start=1.0):
        assert value.item() == 0 and gradient.item() == 1


def test_the_network_may_change_dtype_layout_and_weights():
    start = mixed()
    penalty = DistancePenalty(Checkpoint.of(start), 1, 1, jitter=0.1)
    network = moved(start, 0.1)
    value = penalty.add_gradient(network)
    assert penalty.add_gradient(copy.deepcopy(network).double()).item() == pytest.approx(value.item(), rel=1e-5)
    assert penalty.add_gradient(copy.deepcopy(network).double()).dtype == F64
    assert torch.equal(penalty.add_gradient(network), value)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    (other, expected), (in_place, gradient) = autograd_and_in_place(penalty, last)
    assert other.item() == pytest.approx(value.item(), rel=1e-6) == in_place.item()
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_the_gpu_is_not_waited_for():
    start = mixed().cuda()
    network = moved(start, 0.1)
    penalty = DistancePenalty(Checkpoint.of(mixed()), 1.0, 1, jitter=0.1)
    autograd_and_in_place(penalty, network)  # brings the checkpoint to the GPU, once
    torch.cuda.set_sync_debug_mode("error")
    try:
        autograd_and_in_place(penalty, network, start=1.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# Bad input


def test_a_network_that_does_not_fit():
    checkpoint = Checkpoint.of(Point([0.0, 0.0], [1.0]))
    penalty = DistancePenalty(checkpoint, 1, 1)
    for network, what in (
        (Point([0.0, 0.0]), r"weights.1 None, not \(1,\)"),
        (Point([0.0], [1.0]), r"weights.0 \(1,\), not \(2,\)"),
        (nn.Linear(2, 2), r"weights.0 None, not \(2,\); weights.1 None, not \(1,\)"),
    ):
        for call in (penalty, penalty.add_gradient, checkpoint.distance):
            with pytest.raises(ValueError, match=rf"^network: got shapes {what}, expected those of the checkpoint$"):
                call(network)
    DistancePenalty(checkpoint, 1, 1)(Point([0.0, 0.0], [1.0], [5.0]))  # more may be there
    many = Checkpoint.of(Point(*[[0.0]] * 7))
    with pytest.raises(ValueError, match=r"weights.4 None, not \(1,\) and 2 more, expected"):
        many.distance(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"weights.4 None, not \(1,\), expected"):
        Checkpoint.of(Point(*[[0.0]] * 5)).distance(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"weights.4 None, not \(1,\) and 1 more, expected"):
        Checkpoint.of(Point(*[[0.0]] * 6)).distance(nn.Linear(2, 2))


def test_checkpoints_that_do_not_fit_together():
    penalty = DistancePenalty(Checkpoint.of(Point([0.0])), 1, 1)
    for network, what in (
        (Point([0.0], [1.0]), r"weights.1 \(1,\), not None"),
        (Point([0.0, 0.0]), r"weights.0 \(2,\), not \(1,\)"),
    ):
        with pytest.raises(ValueError, match=rf"^checkpoint: got shapes {what}, expected those of the checkpoint$"):
            penalty.add_checkpoint(Checkpoint.of(network))
    assert len(penalty.checkpoints) == 1
    with pytest.raises(ValueError, match=r"(?s)^checkpoint: got Point .*, expected a Checkpoint$"):
        penalty.add_checkpoint(Point([0.0]))


def test_bad_input():
    checkpoint = Checkpoint.of(Point([0.0]))
    for arguments, message in (
        ((-1, 1), "strength: got -1, expected a finite number of at least 0"),
        (("much", 1), "strength: got 'much', expected a finite number of at least 0"),
        ((1, 0), "sigma: got 0, expected a finite number above 0"),
        ((1, 1, "rms"), "measure: got 'rms', expected one of 'sum', 'mean'"),
        ((1, 1, "sum", -3), "jitter: got -3, expected a finite number of at least 0"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            DistancePenalty(checkpoint, *arguments)
    for arguments, message in (((-1, 1, 1), "strength"), ((1, 0, 1), "sigma"), ((1, 1, 0), "curvature")):
        with pytest.raises(ValueError, match=f"^{message}: got (-1|0), expected a finite number"):
            equilibrium(*arguments)
    with pytest.raises(ValueError, match=r"^tensors: got none, expected at least one trainable parameter$"):
        Checkpoint.of(nn.ReLU())
    with pytest.raises(ValueError, match=r"^tensors: got none, expected at least one trainable parameter$"):
        Checkpoint({})


def test_it_says_what_it_is():
    penalty = DistancePenalty(Checkpoint.of(Point([0.0])), 2.0, 0.5)
    assert repr(penalty) == "DistancePenalty(strength=2.0, sigma=0.5, measure='sum', jitter=0.0, seed=0)"
