"""labkit.figures.lab08: charges, targets, regions and galleries show the numbers; sliders move the pictures."""

import math

import numpy as np
import torch
from pictures import pixels

from labkit.centroids import charge_simulation, energy, evenly_distributed
from labkit.figures import lab08 as plots
from labkit.figures.embedding import project

LABELS = np.array([0, 1, 1, 0, 0])  # no row of class two
CLASSES = ["zero", "one", "two"]
RANDOM = np.random.default_rng(0)
RUNS = {"sphere": charge_simulation(4, 3, steps=20), "circle": charge_simulation(5, 2, steps=20).numpy()}


def test_cosines_of_pairs():
    assert np.allclose(plots.cosines_of([[2, 0], [0, 3], [-1, 0]]), [-1, 0, 0])
    assert np.allclose(plots.cosines_of(evenly_distributed(6, 9)), -1 / 5)


# --- charges ------------------------------------------------------------------------------------------------------


def test_charges_and_all_their_pairs():
    for points in (RUNS["sphere"][13].tolist(), RUNS["circle"][20].tolist()):
        hand = plots.Charges(points=points, turn=40.0, lean=-10.0)
        left, right = hand.figure().axes
        flat, near = project(points, 40, -10)
        globe, hollow, filled = left.lines[1:]
        assert np.allclose(np.transpose(hollow.get_data()), flat[near < 0])
        assert np.allclose(np.transpose(filled.get_data()), flat[near >= 0])
        assert (len(globe.get_xdata()) > 0) == (len(points[0]) == 3)
        pairs, ideal = right.lines
        assert np.allclose(pairs.get_ydata(), plots.cosines_of(points))
        assert np.allclose(ideal.get_ydata(), -1 / (len(points) - 1))
        assert f"energy {energy(torch.tensor(points)):.3f}, largest cosine" in left.get_title()


# --- targets ------------------------------------------------------------------------------------------------------


def test_rules_are_the_losses():
    cosine = torch.cos(torch.tensor([0.3, 1.2, 2.9], dtype=torch.float64))
    softmax, psi, additive, angular = (rule(cosine) for rule in plots.margin_rules(2, 0.2, 0.3).values())
    assert torch.equal(softmax, cosine)
    assert torch.allclose(psi, torch.tensor([math.cos(0.6), math.cos(2.4), -math.cos(5.8) - 2]).double())
    assert torch.allclose(additive, cosine - 0.2)
    assert torch.allclose(angular[:2], torch.tensor([math.cos(0.6), math.cos(1.5)]).double())
    assert list(plots.margin_rules(2, 0.2, 0.3))[2:] == ["AM-Softmax: cos θ - 0.2", "ArcFace: cos(θ + 0.3)"]


def test_margins_show_who_wins_and_the_logits():
    hand = plots.Margins(rows=[90.0, 0.0, 200.0], rule="AM-Softmax", cosine=0.25, scale=10.0)
    left, right = hand.figure().axes
    for number, rim in enumerate(left.lines[2:5]):
        points = rim.get_xydata()
        cosines = points @ plots._direction(hand.rows).T
        others = np.delete(cosines, number, 1).max(1)
        assert len(points) and (cosines[:, number] - 0.25 > others).all()
    additive = next(line for line in right.lines if "AM" in line.get_label())
    theta, height = additive.get_data()
    assert np.allclose(height, 10 * (np.cos(np.radians(theta)) - 0.25), atol=1e-5)
    assert [line.get_label() for line in right.lines] == list(plots.margin_rules(cosine=0.25))
    assert "degrees" in right.get_xlabel() and "s = 10" in right.get_ylabel()


def test_regions_with_and_without_a_gap():
    rows = np.eye(2)
    points = np.array([[1, 0.1], [1, 0.9], [0.9, 1], [0.1, 2], [-1, -1.1]])
    rules = plots.margin_rules()
    softmax = plots._regions(rules["softmax: cos θ"], points, rows)
    assert softmax.tolist() == [1, 1, 2, 2, 1]
    additive = plots._regions(rules["AM-Softmax: cos θ - 0.35"], points, rows)
    assert additive.tolist() == [1, 0, 0, 2, 0]
    assert plots._regions(rules["softmax: cos θ"], points, np.array([[1, 0], [0, 1], [-1, -1]]))[-1] == 3


def test_the_space_explorer():
    spheres = {name: RANDOM.normal(size=(5, 3)) for name in ("one", "other")}
    widget = plots.space_explorer(spheres, LABELS, CLASSES, {name: RANDOM.normal(size=(3, 3)) for name in spheres})
    for change in ({"turn": 90}, {"loss": "other"}):
        before = pixels(widget)
        assert (pixels(widget.set(**change)) != before).any(), change
