"""labkit.ensembles: measures against loops and hand-worked numbers, and what each way to an ensemble trains on."""

import itertools

import pytest
import torch
from torch import nn

from labkit import ensembles
from labkit.data import Images
from labkit.distancing import Checkpoint

RANDOM = torch.Generator().manual_seed(0)
THREE = torch.rand(3, 20, 4, generator=RANDOM, dtype=torch.float64)
THREE = THREE / THREE.sum(2, keepdim=True)
LABELS = torch.randint(4, (20,), generator=RANDOM)


# --- Measures ----------------------------------------------------------------------------------------------------


def test_average_by_hand():
    two = torch.tensor([[[0.9, 0.1]], [[0.2, 0.8]]])
    assert ensembles.average(two).tolist() == [pytest.approx([0.55, 0.45])]


def test_disagreement_against_a_loop():
    named = THREE.argmax(2).tolist()
    pairs = list(itertools.combinations(named, 2))
    expected = sum(a != b for one, other in pairs for a, b in zip(one, other, strict=True)) / (20 * len(pairs))
    assert ensembles.disagreement(THREE) == pytest.approx(expected)
    assert ensembles.disagreement(THREE[:1].repeat(4, 1, 1)) == 0
    with pytest.raises(ValueError, match="at least two"):
        ensembles.disagreement(THREE[:1])


def errors(k, image):
    return [THREE[k, image, c].item() - (c == LABELS[image].item()) for c in range(4)]


def test_error_moments_against_loops_and_equation_1_14():
    def product(i, j):
        return sum(a * b for image in range(20) for a, b in zip(errors(i, image), errors(j, image), strict=True)) / 20

    v, c = ensembles.error_moments(THREE, LABELS)
    assert v == pytest.approx(sum(product(i, i) for i in range(3)) / 3)
    assert c == pytest.approx(sum(product(i, j) for i in range(3) for j in range(3) if i != j) / 6)
    of_the_mean = ensembles.error_moments(THREE.mean(0, keepdim=True), LABELS)[0]
    assert of_the_mean == pytest.approx(v / 3 + 2 / 3 * c)


def test_calibration_by_hand():
    sure = torch.tensor([0.95, 0.85, 0.6, 0.5, 0.55], dtype=torch.float64)
    probabilities = torch.stack([sure, 1 - sure], dim=1)
    labels = torch.tensor([0, 1, 0, 0, 0])  # the second is wrong
    rows = ensembles.reliability(probabilities, labels, bins=5)
    assert rows[:, 0].tolist() == pytest.approx([0, 0, 0.6, 0, 0.4])  # 0.6 is in (0.4, 0.6]
    assert rows[2, 1:].tolist() == pytest.approx([0.55, 1.0])
    assert rows[4, 1:].tolist() == pytest.approx([0.9, 0.5])
    assert ensembles.calibration_error(probabilities, labels, bins=5) == pytest.approx(0.6 * 0.45 + 0.4 * 0.4)


def test_calibration_against_a_loop():
    for bins in (1, 7, 15):
        expected = 0.0
        for number in range(bins):
            own = [i for i in range(20) if number / bins < THREE[0, i].max().item() <= (number + 1) / bins]
            if own:
                right = sum((THREE[0, i].argmax() == LABELS[i]).item() for i in own) / len(own)
                expected += len(own) / 20 * abs(right - sum(THREE[0, i].max().item() for i in own) / len(own))
        assert ensembles.calibration_error(THREE[0], LABELS, bins) == pytest.approx(expected)


def test_judge_gathers_them():
    judged = ensembles.judge(THREE, LABELS)
    v, c = ensembles.error_moments(THREE, LABELS)
    mean = THREE.mean(0)
    assert judged == {
        "accuracy": pytest.approx((mean.argmax(1) == LABELS).double().mean().item()),
        "accuracy of a member": pytest.approx((THREE.argmax(2) == LABELS).double().mean().item()),
        "log loss": pytest.approx(-mean[torch.arange(20), LABELS].log().mean().item()),
        "calibration error": pytest.approx(ensembles.calibration_error(mean, LABELS)),
        "disagreement": pytest.approx(ensembles.disagreement(THREE)),
        "shared error c/v": pytest.approx(c / v),
    }
    alone = ensembles.judge(THREE[:1], LABELS)
    assert alone["disagreement"] == 0 and alone["shared error c/v"] == 1


# --- Ways to several networks ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images():
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    pictures = torch.randint(0, 100, (40, 1, 2, 2), generator=random, dtype=torch.uint8)
    pictures[labels == 1] += 100
    return Images(pictures, labels, ("dark", "bright"))


def make_network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


SETTINGS = {"batch_size": 10, "hill": {"strength": 5.0, "sigma": 0.1, "measure": "mean"}, "device": "cpu"}


class Spy:
    """In place of fit: notes what it was called with, and moves the weights a little."""

    def __init__(self):
        self.calls = []

    def __call__(self, network, loss, batches, epochs, optimizer, schedule, penalty, **_):
        hills = None if penalty is None else len(penalty.checkpoints)
        parts = {tuple(image.flatten().tolist()) for image in batches.images.images}
        made = optimizer(network.parameters())
        self.calls.append((id(network), len(batches) * epochs, schedule is not None, hills, parts, made.defaults))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(1e-3)


@pytest.mark.parametrize(
    ("method", "runs", "starts", "decays", "hills"),
    [
        ("one long run", 1, 1, [True], [None]),
        ("independent starts", 3, 3, [True] * 3, [None] * 3),
        ("bagging", 3, 3, [True] * 3, [None] * 3),
        ("k-fold", 3, 3, [True] * 3, [None] * 3),
        ("restarts", 3, 1, [True] * 3, [None] * 3),
        ("restarts and hills", 3, 1, [True] * 3, [None, 1, 2]),
        ("no restarts", 3, 1, [True, False, False], [None] * 3),
        ("hills", 3, 1, [True, False, False], [None, 1, 2]),
    ],
)
def test_all_methods_cost_the_same(monkeypatch, images, method, runs, starts, decays, hills):
    spy, made = Spy(), []
    monkeypatch.setattr(ensembles, "fit", spy)
    members = ensembles.train_members(
        method, lambda seed: made.append(make_network(seed)) or made[-1], images, 6, 3, seed=1, **SETTINGS
    )
    assert len(members) == len(spy.calls) == runs and len(made) == starts
    assert sum(call[1] for call in spy.calls) == 6 * 4, "steps in all: six epochs of four batches"
    assert [call[2] for call in spy.calls] == decays
    assert [call[3] for call in spy.calls] == hills
    assert len({id(member) for member in members}) == runs, "copies, not one network that goes on changing"
    everything = {tuple(image.flatten().tolist()) for image in images.images}
    parts = [call[4] for call in spy.calls]
    if method == "k-fold":
        assert all(len(everything - part) in (13, 14) for part in parts)
        assert set.union(*(everything - part for part in parts)) == everything, "each image is left out once"
    elif method == "bagging":
        assert all(0.45 < len(part) / 40 < 0.8 for part in parts) and len(set(map(frozenset, parts))) == 3
    else:
        assert all(part == everything for part in parts)


def test_the_thesis_configuration_is_the_default(monkeypatch, images):
    spy = Spy()
    monkeypatch.setattr(ensembles, "fit", spy)
    ensembles.train_members("one long run", make_network, images, 1, 1, seed=0)
    defaults = spy.calls[0][5]
    assert (defaults["lr"], defaults["momentum"], defaults["weight_decay"]) == (0.01, 0.9, 2e-3)


def test_hills_drive_snapshots_apart(images):
    def apart(method):
        members = ensembles.train_members(method, make_network, images, 12, 3, seed=0, **SETTINGS)
        return Checkpoint.of(members[0]).distance(members[2]).rms

    assert apart("restarts and hills") > 2 * apart("restarts")
    assert apart("hills") > 2 * apart("no restarts")


def test_compare_is_members_judged_and_repeats_itself(images):
    figures = ensembles.compare("independent starts", make_network, images, images, 6, 3, seed=2, **SETTINGS)
    members = ensembles.train_members("independent starts", make_network, images, 6, 3, seed=2, **SETTINGS)
    assert figures == ensembles.judge(ensembles.probabilities(members, images), images.labels)
    assert ensembles.probabilities(members, images).sum(2).allclose(torch.ones(3, 40))


def test_bad_arguments(images):
    with pytest.raises(ValueError, match="method: got 'boosting', expected one of 'one long run'"):
        ensembles.train_members("boosting", make_network, images, 6, 3, seed=0)
    with pytest.raises(ValueError, match="epochs: got 7, expected a multiple of the 3 members"):
        ensembles.train_members("restarts", make_network, images, 7, 3, seed=0)
    with pytest.raises(ValueError, match="hill: got None"):
        ensembles.train_members("hills", make_network, images, 6, 3, seed=0)
