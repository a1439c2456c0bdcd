"""Many networks side by side: each is what it would be alone, from its start to the last step of its training."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.losses import CenterLoss, SoftmaxLoss, TripletLoss, WeightedSum
from labkit.side_by_side import PerNetwork, SideBySide, cross_entropies, train_side_by_side


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def blobs():
    """Sixty points of three classes in five dimensions, float64."""
    labels = torch.arange(60) % 3
    return torch.randn(60, 5).double() + 3 * F.one_hot(labels, 5).double(), labels


def test_side_by_side_is_a_list_of_plain_networks():
    """The same numbers and gradients as each network written out alone, whether or not they share their inputs."""
    many = SideBySide([3, 8], (5, 7, 4, 2), classes=3).double()
    own, shared = torch.randn(2, 6, 5).double(), torch.randn(6, 5).double()
    assert many(shared).shape == (2, 6, 2) and many.scores(many(shared)).shape == (2, 6, 3)
    many.scores(many(own)).square().sum().backward()
    for n in range(2):
        alone = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 2), nn.Linear(2, 3))
        layers = [layer.double() for layer in alone if isinstance(layer, nn.Linear)]
        for layer, weight, bias in zip(layers, many.weights, many.biases, strict=True):
            layer.weight.data, layer.bias.data = weight.data[n].T.clone(), bias.data[n, 0].clone()
        torch.testing.assert_close(many(own)[n], alone[:-1](own[n]))
        torch.testing.assert_close(many(shared)[n], alone[:-1](shared))
        torch.testing.assert_close(many.scores(many(own))[n], alone(own[n]))
        alone(own[n]).square().sum().backward()
        for layer, weight, bias in zip(layers, many.weights, many.biases, strict=True):
            torch.testing.assert_close(weight.grad[n].T, layer.weight.grad)
            torch.testing.assert_close(bias.grad[n, 0], layer.bias.grad)


def test_side_by_side_starts_each_network_from_its_own_seed():
    together, alone = SideBySide([1, 2, 1], (400, 300, 200), classes=50), SideBySide([2], (400, 300, 200))
    for drawn, own, gain in zip(together.weights, alone.weights, (2, 1), strict=False):
        assert drawn[1].equal(own[0]) and drawn[0].equal(drawn[2]) and not drawn[0].equal(drawn[1])
        assert drawn.var().item() * drawn.shape[1] == pytest.approx(gain, rel=0.03)
    assert together.weights[2].var().item() * 200 == pytest.approx(1, rel=0.05)
    assert not any(bias.any() for bias in together.biases) and len(alone.weights) == 2


@pytest.mark.parametrize("seeds, widths", [([], (3, 2)), ([0], (3,))])
def test_side_by_side_needs_a_seed_and_two_widths(seeds, widths):
    with pytest.raises(ValueError, match=r"seeds, widths: got .*expected a seed and two widths"):
        SideBySide(seeds, widths)


def test_cross_entropies_are_those_of_each_network():
    scores, labels = torch.randn(3, 7, 4), torch.randint(4, (3, 7))
    for options in ({}, {"label_smoothing": 0.2}):
        alone = torch.stack([F.cross_entropy(s, y, **options) for s, y in zip(scores, labels, strict=True)])
        torch.testing.assert_close(cross_entropies(scores, labels, **options), alone)
    shared = torch.stack([F.cross_entropy(s, labels[0]) for s in scores])
    torch.testing.assert_close(cross_entropies(scores, labels[0]), shared)


def test_scores_are_those_of_each_network():
    losses, points = [SoftmaxLoss(4, 5), SoftmaxLoss(4, 5)], torch.randn(2, 7, 5)
    scores = PerNetwork(losses).scores(points)
    assert torch.equal(scores, torch.stack([losses[0].scores(points[0]), losses[1].scores(points[1])]))
    assert not torch.equal(scores[0], losses[1].scores(points[0]))


def alone(seed, x, y, loss, rows, steps, lr, decay):
    """A network trained without any of the others, by a loop written out: (its weights, its losses)."""
    network, curve = SideBySide([seed], (5, 8, 3)).double(), []
    optimizer = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=lr)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * decay(step)
        embeddings = network(x[rows[step]])[0]
        value = loss(embeddings, y[rows[step]])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if hasattr(loss, "update"):
            loss.update(embeddings.detach(), y[rows[step]])
        curve.append(value.item())
    return [parameter.detach()[0] for parameter in network.parameters()], curve


def made(name):
    torch.manual_seed(1)
    if name == "center":
        return WeightedSum({SoftmaxLoss(3, 3).double(): 1.0, CenterLoss(3, 3).double(): 0.5})
    return TripletLoss(margin=5.0)


@pytest.mark.parametrize("name", ["center", "triplet"])
def test_each_network_is_trained_as_if_it_were_alone(name, blobs):
    """Same weights and losses, with its own loss, the loss's parameters, its `update`, schedule and optimizer."""
    x, y = blobs
    rows, decay = torch.randint(60, (20, 3, 16)), lambda step: 1 - step / 20
    networks, each = SideBySide([4, 7, 2], (5, 8, 3)).double(), PerNetwork([made(name) for _ in range(3)])
    plain = lambda parameters: torch.optim.SGD(parameters, lr=0.1)  # noqa: E731
    curves = train_side_by_side(networks, each, x, y, 20, optimizer=plain, schedule=decay, rows=rows)
    assert curves.shape == (3, 20) and not curves.requires_grad
    for n, seed in enumerate([4, 7, 2]):
        loss = made(name)
        weights, curve = alone(seed, x, y, loss, rows[:, n], 20, 0.1, decay)
        torch.testing.assert_close(curves[n], torch.tensor(curve).double())
        for mine, theirs in zip((p.detach()[n] for p in networks.parameters()), weights, strict=True):
            torch.testing.assert_close(mine, theirs)
        for mine, theirs in zip(each.losses[n].state_dict().values(), loss.state_dict().values(), strict=True):
            torch.testing.assert_close(mine, theirs)


def test_minibatches_are_drawn_from_one_stream_and_shared_by_equal_seeds(blobs):
    """The stream is part of the labs' figures: torch.randint of (different seeds, batch) in each step, seed 0."""
    x, y = blobs
    seen = []
    networks = SideBySide([5, 9, 5, 9], (5, 3)).double()

    def loss(embeddings, labels):
        seen.append(labels)
        return cross_entropies(embeddings, labels)

    curves = train_side_by_side(networks, loss, x, torch.arange(60) % 3, 4, batch_size=6)
    generator = torch.Generator().manual_seed(0)
    for labels in seen:
        assert torch.equal(labels, y[torch.randint(60, (2, 6), generator=generator)].repeat(2, 1))
    assert torch.equal(curves[:2], curves[2:]) and not torch.equal(curves[0], curves[1])


def test_the_default_is_adam_and_after_step_counts_from_one(blobs):
    x, y = blobs
    one, other, counted = SideBySide([0], (5, 3)).double(), SideBySide([0], (5, 3)).double(), []
    train_side_by_side(one, cross_entropies, x, y, 5, lr=0.05, after_step=counted.append)
    train_side_by_side(
        other, cross_entropies, x, y, 5, optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.05, fused=True)
    )
    assert counted == [1, 2, 3, 4, 5]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_training_works(blobs):
    x, y = blobs
    networks = SideBySide([0, 1], (5, 8, 3)).double()
    before = (networks(x).argmax(2) == y).double().mean(1)
    train_side_by_side(networks, cross_entropies, x, y, 100, lr=0.05)
    after = (networks(x).argmax(2) == y).double().mean(1)
    assert (after > 0.95).all() and (before < 0.8).all()


@pytest.mark.parametrize(
    "labels, loss, message",
    [
        (torch.zeros(59).long(), cross_entropies, "labels: got 59, expected one for each of the 60 images"),
        (
            torch.zeros(60).long(),
            lambda e, y: cross_entropies(e, y).mean(),
            r"loss: got a result of shape \(\), expected one number per network",
        ),
    ],
)
def test_bad_input_is_named(labels, loss, message, blobs):
    with pytest.raises(ValueError, match=message):
        train_side_by_side(SideBySide([0], (5, 3)).double(), loss, blobs[0], labels, 2)
