"""labkit.figures.lab06: surfaces, maps and widgets show the numbers of the losses and of the maps."""

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from pictures import pixels

from labkit.embeddings import l2, unit_bounce, unit_range
from labkit.figures import drawing
from labkit.figures import lab06 as plots
from labkit.losses.exponential_triplet import ExponentialTripletLoss

# --- surfaces -----------------------------------------------------------------------------------------------------


def test_the_triplet_surface():
    p, q = np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.1, 0.6, 0.7, 0.9])
    assert np.allclose(plots.triplet_height(p, q, margin=0.2), [0.6, 0.1, 0, 0])
    kept = plots.triplet_height(p, q, margin=0.2, semihard=True)
    assert kept[1] == pytest.approx(0.1) and np.isnan(kept[[0, 3]]).all()


@pytest.mark.parametrize(("p", "q"), [(0.05, 0.6), (0.4, 0.6), (0.05, 0.2), (0.7, 0.1), (0.999, 0.001)])
def test_the_exponential_surface_is_the_loss(p, q):
    # An anchor at 0, its positive at distance p and a negative at q, on a line; d_max = 1. The pair positive-negative
    # is a negative pair too, so the negatives are weighed apart.
    points = torch.tensor([[0.0], [p]], dtype=torch.float64)
    loss = ExponentialTripletLoss(10, overlap=1.5, radius=0.5)
    pull = loss(points, torch.tensor([0, 0])).item()
    push = loss(torch.tensor([[0.0], [q]], dtype=torch.float64), torch.tensor([0, 1])).item()
    assert plots.exponential_height(np.array(p), np.array(q)) == pytest.approx(pull + push, abs=1e-12)
    weighted = plots.exponential_height(np.array(p), np.array(q), 0.15, 2.0, 3.0)
    assert weighted == pytest.approx(2 * pull + 3 * push, abs=1e-12)


def test_no_surface_is_refused():
    with pytest.raises(ValueError, match="heights: got nothing"):
        plots.surfaces({})


def test_surfaces_are_drawn_side_by_side(monkeypatch):
    drawn, plot_surface = [], Axes3D.plot_surface
    monkeypatch.setattr(
        Axes3D, "plot_surface", lambda axes, *xyz, **k: drawn.append(xyz) or plot_surface(axes, *xyz, **k)
    )
    figure = plots.surfaces({"plane": lambda p, q: p + 2 * q, "high": lambda p, q: 100 * p})
    assert isinstance(figure, Figure)
    assert [axes.get_title() for axes in figure.axes] == ["plane", "high"]
    (p, q, plane), (_, _, high) = drawn
    assert np.allclose(plane, p + 2 * q) and np.allclose(high, np.minimum(100 * p, plots.HIGHEST))
    assert (p.min(), p.max(), q.min(), q.max()) == (0, 1, 0, 1)
    low = plots.surfaces({"low": lambda p, q: 0.1 * p}).axes[0]
    assert low.get_zlim() == (0, 1) and figure.axes[0].get_zlim()[1] >= 3
    for axes in figure.axes:
        assert axes.azim == -60 and axes.get_zlabel() == "loss"
        assert axes.get_xlabel() == "positive pair, p" and axes.get_ylabel() == "negative pair, q"


def test_the_cuts_lie_on_the_surface():
    space, flat = plots._cut_surface(0.2, 1.5, 0.5, turn=10, cut=0.3).axes
    assert space.azim == 10
    fine = np.linspace(0, 1, 201)
    over_p = np.minimum(plots.exponential_height(fine, np.full(201, 0.3), 0.2, 1.5, 0.5), plots.HIGHEST)
    over_q = np.minimum(plots.exponential_height(np.full(201, 0.3), fine, 0.2, 1.5, 0.5), plots.HIGHEST)
    lines = {line.get_label(): line for line in flat.lines}
    assert np.allclose(lines["q = 0.30, over p"].get_ydata(), over_p)
    assert np.allclose(lines["p = 0.30, over q"].get_ydata(), over_q)
    (first, second) = space.lines
    assert np.allclose(first.get_data_3d(), [fine, np.full(201, 0.3), over_p])
    assert np.allclose(second.get_data_3d(), [np.full(201, 0.3), fine, over_q])
    assert {0.2, 0.5} <= {line.get_xdata()[0] for line in flat.lines if len(line.get_xdata()) == 2}
    assert flat.get_xlabel() == "distance / d_max" and flat.get_ylabel() == "loss (cut off at 6)"


def test_sliders_move_the_surface():
    widget = plots.surface_explorer()
    for change in ({"c_n": 0.5}, {"positive_weight": 3.0}, {"negative_weight": 0.0}, {"turn": 40}, {"cut": 0.1}):
        before = pixels(widget)
        widget.set(**change)
        assert (pixels(widget) != before).any(), change
        assert not widget.error.value


# --- maps ---------------------------------------------------------------------------------------------------------


def test_landing_is_the_map_along_one_direction():
    lengths = np.array([0.4, 1.0, 1.6, 2.5, 3.7])
    x = torch.as_tensor(lengths)[:, None] * torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    direction = torch.tensor([0.6, 0.8], dtype=torch.float64)
    for name, function in {"L2": l2, "Unit-Range": unit_range, "Unit-Bounce": unit_bounce}.items():
        assert np.allclose(plots.landing(name, lengths, 1.5), (function(x, 1.5) @ direction).numpy())
    assert np.allclose(
        plots.landing("Unit-Bounce, authors' code", [1.999, 2.001, 2.999, 3.001]), [1e-3, -0.999, -1e-3, 0.999]
    )
    assert np.allclose(plots.landing("Unit-Bounce, authors' limit", [1.5, 2.5]), [0.5, 0])
    assert np.allclose(plots.landing("Unit-Bounce", [0.5, 1.5, 2.5, 4.5]), [0.5, 0.5, -0.5, 0.5])


def test_curves_of_lengths():
    names = ["Unit-Bounce", "Unit-Bounce, authors' code"]
    (axes,) = plots.length_maps(names).axes
    ours, theirs = axes.lines[:2]
    assert ours.get_label() == names[0] and theirs.get_label() == names[1]
    x, y = ours.get_data()
    assert not np.isnan(y).any() and x[-1] == 5.0
    assert np.allclose(y, plots.landing(names[0], x))
    x, y = theirs.get_data()
    gaps = x[np.flatnonzero(np.isnan(y)) + 1]
    assert np.allclose(gaps, [2, 3, 4, 5], atol=0.01), "the jumps stay open"
    drawn = ~np.isnan(y)
    assert np.allclose(y[drawn], plots.landing(names[1], x[drawn]))
    assert axes.get_xlabel() == "length before" and axes.get_ylabel() == "place after, along its direction"


def test_colors_of_places():
    colors = plots._place_colors(np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [2.0, 0.0], [0.5, 0.0]]))
    assert np.allclose(colors[0], 0.92), "the center is white"
    assert np.allclose(colors[1], [0.92, 0, 0]) and np.allclose(colors[2], [0, 0.92, 0.92])
    assert np.allclose(colors[3], colors[1])
    assert np.allclose(colors[4], [0.92, 0.46, 0.46])


def test_the_plane_is_colored_by_where_it_goes():
    figure = plots.plane_maps(["L2", "Unit-Bounce"])
    assert [axes.get_title() for axes in figure.axes] == ["L2", "Unit-Bounce"]
    side = np.linspace(-4, 4, 240)
    for axes, function in zip(figure.axes, (l2, unit_bounce), strict=True):
        (image,) = axes.images
        assert image.origin == "lower" and list(image.get_extent()) == [-4, 4, -4, 4]
        for row, column in ((20, 30), (150, 200), (200, 7)):
            place = function(torch.tensor([side[column], side[row]])).numpy()
            assert np.allclose(image.get_array()[row, column], plots._place_colors(place), atol=1e-6)
        assert np.hypot(*axes.lines[0].get_data()) == pytest.approx(1.0)
        assert axes.get_xlabel() == "x₁ before" and axes.get_ylabel() == "x₂ before"


def test_the_scene_shows_the_point_before_and_after():
    draw = plots._range_scene()
    figure = draw("Unit-Bounce", 2.6, 1.0)
    left, right = figure.axes
    curve, dot = left.lines[1:3]
    sphere, before, after = right.lines
    assert dot.get_xdata() == [2.6] and dot.get_ydata() == pytest.approx([-0.6])
    assert np.allclose(curve.get_ydata(), plots.landing("Unit-Bounce", curve.get_xdata()))
    direction = np.array([math.cos(0.5), math.sin(0.5)])
    assert np.allclose(np.ravel(before.get_data()), 2.6 * direction)
    assert np.allclose(np.ravel(after.get_data()), -0.6 * direction)
    assert left.get_title() == "Unit-Bounce, radius 1.00\nlength 2.60 goes to -0.60"
    assert draw("L2", 3.0, 1.5) is figure
    assert np.hypot(*sphere.get_data()) == pytest.approx(1.5)
    assert dot.get_ydata() == pytest.approx([1.5])
    assert set(drawing.moving_artists(figure)) >= {curve, dot, sphere, before, after, left.title}


def test_sliders_move_the_point():
    widget = plots.range_explorer()
    for change in ({"length": 3.0}, {"radius": 1.5}, {"map": "L2"}, {"map": "Unit-Bounce, authors' code"}):
        before = pixels(widget)
        widget.set(**change)
        assert (pixels(widget) != before).any(), change
        assert not widget.error.value
