"""labkit.figures.lab08: charges, targets, regions and galleries show the numbers; sliders move the pictures."""

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
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


def test_the_strip_shows_the_steps():
    run = RUNS["sphere"]
    figure = plots.charge_strip(run, [0, 5, 20])
    assert isinstance(figure, Figure) and len(figure.axes) == 3
    for axes, step in zip(figure.axes, (0, 5, 20), strict=True):
        assert axes.get_title() == f"step {step}\nenergy {energy(run[step]):.3f}"
        flat, near = project(run[step])
        hollow, filled = axes.lines[-2:]
        assert np.allclose(np.transpose(hollow.get_data()), flat[near < 0])
        assert np.allclose(np.transpose(filled.get_data()), flat[near >= 0])
        assert hollow.get_markerfacecolor() == "white" != filled.get_markerfacecolor()


def test_the_scene_shows_charges_and_all_their_pairs():
    draw = plots._charge_scene(RUNS)
    for name, step in (("sphere", 0), ("circle", 20), ("sphere", 13)):
        figure = draw(name, step, 40)
        left, right = figure.axes
        points = np.asarray(RUNS[name][step])
        flat, near = project(points, 40)
        _, globe, back, front = left.lines
        assert np.allclose(np.transpose(back.get_data()), flat[near < 0])
        assert np.allclose(np.transpose(front.get_data()), flat[near >= 0])
        assert (len(globe.get_xdata()) > 0) == (name == "sphere")
        ideal, pairs = right.lines
        assert np.allclose(pairs.get_ydata(), plots.cosines_of(points))
        assert np.allclose(ideal.get_ydata(), -1 / (len(points) - 1))
        assert f"step {step}: energy {energy(torch.tensor(points)):.3f}" in left.get_title()
        assert f"largest cosine {plots.cosines_of(points)[-1]:.3f}" in left.get_title()
    assert right.get_ylabel() == "cosine of a pair, at most" and right.get_xlabel() == "share of pairs"


def test_more_than_three_dimensions_are_named():
    figure = plots._charge_scene({"many": charge_simulation(6, 5, steps=2)})("many", 1, 0)
    assert "(3 of 5 dimensions are drawn)" in figure.axes[0].get_title()


def test_bad_runs():
    with pytest.raises(ValueError, match=r"runs: got \[21, 3\] steps, expected the same number in each"):
        plots._charge_scene({"a": RUNS["sphere"], "b": RUNS["sphere"][:3]})
    with pytest.raises(ValueError, match="runs: got nothing"):
        plots._charge_scene({})


def test_the_charge_explorer():
    widget = plots.charge_explorer(RUNS)
    assert widget.values == {"charges": "sphere", "step": 20, "turn": 0}
    frames = [pixels(widget)]
    for change in ({"step": 0}, {"turn": 60}, {"charges": "circle"}):
        frames.append(pixels(widget.set(**change)))
        assert (frames[-1] != frames[-2]).any(), change
    (play,) = [one for one in widget.children[-1].children if type(one).__name__ == "Play"]
    assert (play.min, play.max) == (0, 20)


# --- targets ------------------------------------------------------------------------------------------------------


def test_rules_are_the_losses():
    cosine = torch.cos(torch.tensor([0.3, 1.2, 2.9], dtype=torch.float64))
    softmax, psi, additive, angular = (rule(cosine) for rule in plots.margin_rules(2, 0.2, 0.3).values())
    assert torch.equal(softmax, cosine)
    assert torch.allclose(psi, torch.tensor([math.cos(0.6), math.cos(2.4), -math.cos(5.8) - 2]).double())
    assert torch.allclose(additive, cosine - 0.2)
    assert torch.allclose(angular[:2], torch.tensor([math.cos(0.6), math.cos(1.5)]).double())
    assert list(plots.margin_rules(2, 0.2, 0.3))[2:] == ["AM-Softmax: cos θ - 0.2", "ArcFace: cos(θ + 0.3)"]


def test_curves_of_target_and_loss():
    left, right = plots._target_curves(4, 0.25, 0.5, scale=10, apart=60).axes
    additive = next(line for line in left.lines if "AM" in line.get_label())
    theta, height = additive.get_data()
    assert np.allclose(height, 10 * (np.cos(np.radians(theta)) - 0.25))
    assert (theta[0], theta[-1]) == (0, 180)
    assert [line.get_label() for line in left.lines] == list(plots.margin_rules(cosine=0.25))
    softmax = right.lines[0]
    middle = len(softmax.get_xdata()) // 2
    assert softmax.get_ydata()[middle] == pytest.approx(math.log(2)), "both rows are equally near in the middle"
    cosines = torch.tensor([[1.0, 0.5]]) - torch.tensor([[0.25, 0.0]])
    loss = torch.nn.functional.cross_entropy(10 * cosines, torch.tensor([0])).item()
    assert right.lines[2].get_ydata()[0] == pytest.approx(loss, rel=1e-4), "AM-Softmax on its own row"
    assert "degrees" in left.get_xlabel() and "s = 10" in left.get_ylabel()


def test_the_target_explorer():
    widget = plots.target_explorer()
    for change in ({"times": 2}, {"cosine": 0.6}, {"angle": 1.0}, {"scale": 30.0}, {"apart": 40.0}):
        before = pixels(widget)
        assert (pixels(widget.set(**change)) != before).any(), change


def test_regions_with_and_without_a_gap():
    rows = np.eye(2)
    points = np.array([[1, 0.1], [1, 0.9], [0.9, 1], [0.1, 2], [-1, -1.1]])
    rules = plots.margin_rules()
    softmax = plots._regions(rules["softmax: cos θ"], points, rows)
    assert softmax.tolist() == [1, 1, 2, 2, 1]
    additive = plots._regions(rules["AM-Softmax: cos θ - 0.35"], points, rows)
    assert additive.tolist() == [1, 0, 0, 2, 0]


def test_decision_regions_are_drawn():
    rules = plots.margin_rules()
    figure = plots.decision_regions(rules)
    assert len(figure.axes) == len(rules)
    gaps = []
    for axes, (name, rule) in zip(figure.axes, rules.items(), strict=True):
        assert axes.get_title() == name.replace(": ", "\n")
        shown = axes.images[0].get_array()
        gaps.append((shown == 0).mean())
        # The point straight above, where class 1's row leans to the left.
        half = math.radians(40)
        rows = np.array([[-math.sin(half), math.cos(half)], [math.sin(half), math.cos(half)]])
        column, line = 40, 200
        side = np.linspace(-1.4, 1.4, 281)
        assert shown[line, column] == plots._regions(rule, np.array([[side[column], side[line]]]), rows)[0]
    assert gaps[0] < 0.02 < min(gaps[1:])


def test_the_space_explorer():
    spheres = {name: RANDOM.normal(size=(5, 3)) for name in ("one", "other")}
    widget = plots.space_explorer(spheres, LABELS, CLASSES, {name: RANDOM.normal(size=(3, 3)) for name in spheres})
    for change in ({"turn": 90}, {"loss": "other"}):
        before = pixels(widget)
        assert (pixels(widget.set(**change)) != before).any(), change
