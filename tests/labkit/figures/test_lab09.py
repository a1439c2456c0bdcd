"""labkit.figures.lab09: the pictures show the numbers, and the controls move the pictures."""

import math

import numpy as np
import pytest
import torch
from pictures import pixels

from labkit.distancing import equilibrium
from labkit.figures import lab09 as plots


def line(axes, label):
    [found] = [one for one in axes.lines if one.get_label() == label]
    return np.stack(found.get_data(), 1)


# --- The ball ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("valley", plots.VALLEYS)
def test_slopes_are_the_derivatives_and_both_valleys_bend_alike_at_their_minimum(valley):
    height, slope = plots.VALLEYS[valley]
    x = np.linspace(-1.5, 1.5, 31)
    assert np.allclose(slope(x), (height(x + 1e-6) - height(x - 1e-6)) / 2e-6, atol=1e-8)
    assert slope(plots.MINIMUM) == pytest.approx(0, abs=1e-12)
    step = 1e-5
    bend = (slope(plots.MINIMUM + step) - slope(plots.MINIMUM - step)) / (2 * step)
    assert bend == pytest.approx(10 / 9, abs=1e-6)


def test_a_ball_in_a_bowl_rests_where_the_formula_says():
    _, slope = plots.VALLEYS["bowl"]
    for strength, sigma in ((0.5, 0.5), (1.0, 0.8), (0.1, 0.5)):
        path = plots.roll(slope, strength, sigma, beside=0.01, steps=3000)
        assert path[0] == pytest.approx(plots.MINIMUM + 0.01)
        assert path[-1] - plots.MINIMUM == pytest.approx(equilibrium(strength, sigma, 10 / 9), abs=1e-6)


def test_a_step_of_the_ball_by_hand():
    path = plots.roll(lambda x: 3.0, 2.0, 0.5, beside=0.25, steps=1, lr=0.1, center=1.0)
    push = 2.0 / 0.25 * 0.25 * math.exp(-0.125)
    assert path.tolist() == pytest.approx([1.25, 1.25 - 0.1 * (3.0 - push)])


def test_the_still_picture_shows_valley_hill_and_path():
    [axes] = plots.ball_and_hill().figure().axes
    height, slope = plots.VALLEYS["two valleys"]
    valley, hilled = line(axes, "the valley"), line(axes, "with the hill")
    assert np.allclose(valley[:, 1], height(valley[:, 0]))
    lifted = height(hilled[:, 0]) + 0.5 * np.exp(-2 * (hilled[:, 0] - 2 / 3) ** 2)
    assert np.allclose(hilled[:, 1], lifted)
    path = plots.roll(slope, 0.5, 0.5, -0.01, 400)
    assert np.allclose(line(axes, "way of the ball")[:, 0], path)
    assert line(axes, "start")[0, 0] == pytest.approx(2 / 3 - 0.01)
    assert line(axes, "rest")[0, 0] == pytest.approx(path[-1]) and path[-1] < -0.9
    assert axes.get_xlabel() == "place x (one weight)" and axes.get_ylabel() == "height (loss)"
    assert "s/σ² = 2.00" in axes.get_title("left") and "the ball is free" in axes.get_title("left")


def test_the_still_picture_is_that_of_the_state():
    hand = plots.BallAndHill(strength=0.1)
    assert "the ball stays" in hand.figure().axes[0].get_title("left")
    hand.strength, hand.beside = 0.5, 0.0
    title = hand.figure().axes[0].get_title("left")
    assert "x = 0.67, 0.00 from the checkpoint" in title, "on the very top nothing moves it"
    hand.valley, hand.beside, hand.steps = "bowl", 0.01, 100
    place = plots.roll(plots.VALLEYS["bowl"][1], 0.5, 0.5, 0.01, 100)[-1]
    assert f"after 100 steps the ball is at x = {place:.2f}" in hand.figure().axes[0].get_title("left")


# --- The plane ---------------------------------------------------------------------------------------------------

X, Y = np.linspace(-1, 2, 7), torch.linspace(0, 1, 5, dtype=torch.float64)
LOSSES = np.abs(np.random.default_rng(0).normal(size=(5, 7))) + 0.01
PLACES = {"checkpoint": (0.0, 0.0), "end": torch.tensor([1.0, 0.5])}
PATH = np.array([[0.0, 0.0], [0.3, 0.1], [0.9, 0.6], [1.0, 0.5]])


def test_the_plane_shows_losses_places_and_the_path():
    figure = plots._plane_scene(X, Y, LOSSES, PLACES, PATH)(3)
    [axes] = figure.axes
    assert line(axes, "checkpoint").tolist() == [[0, 0]] and line(axes, "end").tolist() == [[1, 0.5]]
    names = {text.get_text(): text.xy for text in axes.texts if text.get_text() in PLACES}
    assert {name: tuple(map(float, xy)) for name, xy in names.items()} == {"checkpoint": (0, 0), "end": (1, 0.5)}
    assert np.allclose(np.stack(axes.lines[-2].get_data(), 1), PATH)
    assert (axes.get_xlim(), axes.get_ylim()) == ((-1, 2), (0, 1)) and axes.get_aspect() == 1
    assert "weight space" in axes.get_xlabel()
    levels = axes.collections[0].levels
    assert levels[0] <= LOSSES.min() and levels[-1] >= LOSSES.max()
    assert np.allclose(np.diff(np.log(levels)), np.diff(np.log(levels))[0]), "one factor apart"
    assert pixels(figure, 0.3).min() < 60


def test_a_flat_plane_can_be_drawn():
    assert pixels(plots._plane_scene(X, Y, np.ones((5, 7)), PLACES, PATH)(0), 0.3).min() < 60


def test_the_moment_chooses_how_much_of_the_path_is_drawn():
    widget = plots.plane_explorer(X, Y, LOSSES, PLACES, PATH)
    axes = widget._figure.axes[0]
    assert (widget.controls["moment"].max, widget.values) == (3, {"moment": 3})
    before = pixels(widget)
    for moment in range(4):
        widget.set(moment=moment)
        *_, track, head = axes.lines
        assert np.allclose(np.stack(track.get_data(), 1), PATH[: moment + 1])
        assert np.allclose(np.stack(head.get_data(), 1), PATH[moment : moment + 1])
        assert f"{np.linalg.norm(PATH[moment]):.2f} from the checkpoint" in axes.get_title("left")
    assert np.abs(pixels(widget.set(moment=0)) - before).max() > 50
    assert "checkpoint and end" in widget.alt and widget.error.value == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"losses": LOSSES.T}, r"losses: got shape \(7, 5\), expected \(5, 7\)"),
        ({"losses": LOSSES * np.nan}, "losses: got values that are not finite"),
        ({"places": {}}, "places: got nothing"),
        ({"path": PATH.T}, r"path: got shape \(2, 4\)"),
    ],
)
def test_bad_planes(change, words):
    arguments = {"x": X, "y": Y, "losses": LOSSES, "places": PLACES, "path": PATH}
    with pytest.raises(ValueError, match=words):
        plots._plane_scene(**arguments | change)


# --- Calibration -------------------------------------------------------------------------------------------------


def test_reliability_leaves_out_bins_that_are_nearly_empty():
    rows = {"one": [[0.5, 0.1, 0.2], [0.01, 0.5, 0.5], [0.49, 0.9, 0.7]], "two": torch.tensor([[1.0, 0.5, 0.6]] * 2)}
    [axes] = plots.reliability(rows).axes
    assert line(axes, "one").tolist() == [[0.1, 0.2], [0.9, 0.7]]
    assert np.allclose(line(axes, "two"), [[0.5, 0.6]] * 2)
    assert line(axes, "perfect calibration").tolist() == [[0, 0], [1, 1]]
    assert axes.get_xlabel().startswith("confidence") and axes.get_ylabel() == "accuracy"
    with pytest.raises(ValueError, match="rows: got nothing"):
        plots.reliability({})
