"""labkit.figures.lab06: surfaces, maps and hands show the numbers of the losses and of the maps."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from labkit.embeddings import l2, unit_bounce, unit_range
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


@pytest.mark.parametrize("loss", ["exponential", "triplet, margin 0.2"])
def test_the_cuts_lie_on_the_surface(loss):
    hand = plots.Barrier(loss=loss, p=0.7, q=0.2, overlap=3.0, positive_weight=0.5, negative_weight=1.5)
    surface, cuts = hand.figure().axes

    def height(p, q):
        exponential = loss == "exponential"
        return plots.exponential_height(p, q, 0.3, 0.5, 1.5) if exponential else plots.triplet_height(p, q, 0.2)

    assert surface.get_title() == f"loss {height(np.array(0.7), np.array(0.2)):.2f}"
    lines = {line.get_label(): line for line in cuts.lines}
    fine = np.linspace(0, 1, 101)
    assert np.allclose(lines["over p, q = 0.20"].get_ydata(), height(fine, np.full(101, 0.2)))
    assert np.allclose(lines["over q, p = 0.70"].get_ydata(), height(np.full(101, 0.7), fine))


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


def test_the_point_before_and_after_and_what_comes_back():
    hand = plots.RangePlane(map="Unit-Bounce", point=[0.0, 2.6], target=[1.0, 0.0], radius=1.0)
    left, right = hand.figure().axes
    places = {line.get_label(): np.ravel(line.get_data()) for line in left.lines}
    assert np.allclose(places["before"], [0, 2.6]) and np.allclose(places["after"], [0, -0.6])
    force, back = (
        np.array([arrow.U, arrow.V])[:, 0] for arrow in left.collections
    )  # ρ' = -1 along the direction, ρ/ℓ across
    assert np.allclose(force, [1, 0.6]) and np.allclose(back, [-0.6 / 2.6, -0.6])
    assert left.get_title() == "Unit-Bounce: length 2.60 goes to -0.60"
    curve, dot = right.lines[1:]
    assert np.allclose(curve.get_ydata(), plots.landing("Unit-Bounce", curve.get_xdata()))
    assert dot.get_xdata() == [2.6] and dot.get_ydata() == pytest.approx([-0.6])
    hand.detached = True
    detached = hand.figure().axes[0].collections[1]
    assert np.allclose([detached.U, detached.V], [[-0.6 / 2.6], [-0.6 / 2.6 * 0.6]])
