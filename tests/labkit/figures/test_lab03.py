"""labkit.figures.lab03: the surfaces and paths of lab 03, what is in its pictures, and the race under sliders."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from labkit.figures import lab03 as plots
from labkit.optimizers import SGD


def drawn(figure):
    """A figure that can be drawn, and its axes."""
    FigureCanvasAgg(figure).draw()
    return figure.axes


def points(line):
    return np.stack([np.asarray(part, dtype=float) for part in line.get_data()], axis=-1)


# --- Surfaces and paths -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", plots.SURFACES)
def test_minima_are_minima_and_lie_in_the_picture(name):
    surface = plots.SURFACES[name]
    left, right, bottom, top = surface.limits
    for x, y in (*surface.minima, surface.start):
        assert left < x < right and bottom < y < top
    for x, y in surface.minima:
        assert surface.height(x, y) == pytest.approx(surface.lowest, abs=1e-9)
        place = torch.tensor([x, y], dtype=torch.float64)
        hessian = torch.autograd.functional.hessian(lambda p, f=surface.function: f(p[0], p[1]), place)
        gradient = torch.autograd.functional.jacobian(lambda p, f=surface.function: f(p[0], p[1]), place)
        assert gradient.abs().max() < 1e-3 and torch.linalg.eigvalsh(hessian).min() > 0.3
    assert surface.height(*surface.start) > surface.lowest + 0.1


def test_the_lowest_minimum_counts_and_heights_are_float64():
    surface = plots.Surface(lambda x, y: x + 0 * y, (0, 0), (-2, 2, -2, 2), ((1.0, 0.0), (-1.0, 0.0)))
    assert surface.lowest == -1
    assert surface.height(0.1, 0) == 0.1
    assert surface.height(np.array([0.1, 0.2]), np.zeros(2)).tolist() == [0.1, 0.2]


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_a_bowl_has_its_curvatures_along_the_turned_axes(degrees):
    surface = plots.bowl((2.0, 8.0), degrees)
    turn = np.radians(degrees)
    assert surface.height(3 * np.cos(turn), 3 * np.sin(turn)) == pytest.approx(2 * 9 / 2)
    assert surface.height(-3 * np.sin(turn), 3 * np.cos(turn)) == pytest.approx(8 * 9 / 2)
    assert plots.bowl().height(1, 1) == pytest.approx((1 + 100) / 2)


@pytest.mark.parametrize("degrees", [30, 90])
def test_a_turned_bowl_starts_at_the_turned_start(degrees):
    straight, turned = plots.bowl(), plots.bowl(degrees=degrees)
    assert turned.height(*turned.start) == pytest.approx(straight.height(*straight.start))
    paths = [plots.descend(surface, lambda p: SGD(p, 0.01, 0.9), 50) for surface in (straight, turned)]
    assert np.linalg.norm(paths[0], axis=1) == pytest.approx(np.linalg.norm(paths[1], axis=1))


def test_descend_goes_step_by_step_from_the_start():
    path = plots.descend(plots.bowl((1.0, 4.0)), lambda p: SGD(p, 0.1), 5)
    assert path.dtype == np.float64 and path.shape == (6, 2)
    expected = np.array([[-1.5 * 0.9**t, 0.6**t] for t in range(6)])
    assert path == pytest.approx(expected)
    other = plots.descend(plots.bowl((1.0, 4.0)), lambda p: SGD(p, 0.1), 1, start=(2.0, 0.0))
    assert other == pytest.approx(np.array([[2.0, 0.0], [1.8, 0.0]]))


def test_descend_ends_where_the_optimizer_diverges():
    path = plots.descend(plots.bowl((1.0, 4.0)), lambda p: SGD(p, 1.0), 100)
    heights = plots.bowl((1.0, 4.0)).height(*path.T)
    assert len(path) < 20 and heights.max() < 1e6 and heights[-1] * 9 > 1e6
    assert np.isfinite(path).all()


# --- Pictures -----------------------------------------------------------------------------------------------------


def test_paths_start_minima_and_steps_are_drawn():
    surface = plots.SURFACES["saddle"]
    lines = {"a": plots.descend(surface, lambda p: SGD(p, 0.1), 9), "b": np.zeros((2, 2))}
    (axes,) = drawn(plots.paths(surface, lines))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("parameter x", "parameter y")
    assert (*axes.get_xlim(), *axes.get_ylim()) == surface.limits
    stars, start, *drawn_lines = axes.lines
    assert points(stars) == pytest.approx(np.array(surface.minima)) and stars.get_marker() == "*"
    assert points(start).ravel() == pytest.approx(surface.start)
    for line, (name, path) in zip(drawn_lines, lines.items(), strict=True):
        assert points(line) == pytest.approx(path) and line.get_label() == name
    assert drawn_lines[0].get_color() != drawn_lines[1].get_color()
    assert drawn_lines[0].get_linestyle() != drawn_lines[1].get_linestyle()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]


def test_paths_need_points():
    with pytest.raises(ValueError, match=r"lines\['a'\]: got shape \(3,\), expected \(any, 2\)"):
        plots.paths(plots.bowl(), {"a": [1, 2, 3]})
    with pytest.raises(ValueError, match="lines: got nothing"):
        plots.paths(plots.bowl(), {})


# --- The race -----------------------------------------------------------------------------------------------------


def test_the_still_picture_of_the_race_shows_paths_and_heights():
    hand = plots.Race(surface="saddle", start=[1.0, 0.5], steps=30)
    hand.shown = {**hand.shown, "RMSProp": True}
    left, right = drawn(hand.figure())
    names = ["momentum", "RMSProp", "Adam"]
    surface = plots.SURFACES["saddle"]
    for name, track, curve in zip(names, left.lines[-3:], right.lines, strict=True):
        path = plots.descend(surface, plots.RACERS[name](hand.rates[name], 0.9), 30, (1.0, 0.5))
        above = surface.height(*path.T) + 0.25
        assert points(track) == pytest.approx(path)
        assert points(curve) == pytest.approx(np.stack([np.arange(31), above], axis=1))
        assert (track.get_color(), track.get_linestyle()) == (curve.get_color(), curve.get_linestyle())
        assert curve.get_label() == f"{name}: {above[-1]:.2g} after step 30"
    assert len({track.get_color() for track in left.lines[-3:]}) == 3
    assert right.get_xlim() == (0, 200) and right.get_yscale() == "log"
    assert right.get_xlabel() == "step" and right.get_ylabel() == "height above the lowest minimum"


def test_a_run_that_diverges_is_called_so():
    hand = plots.Race()
    hand.rates = {**hand.rates, "momentum": 1.0}
    momentum, adam = drawn(hand.figure())[1].lines
    assert momentum.get_label() == "momentum: diverged" and adam.get_label().endswith("after step 100")


@pytest.mark.parametrize("name", plots.RACERS)
def test_every_racer_runs_on_every_surface(name):
    for surface in plots.SURFACES.values():
        path = plots.descend(surface, plots.RACERS[name](0.003, 0.9), 20)
        assert len(path) > 1 and np.isfinite(path).all()


def test_the_momentum_slider_is_beta_1_of_adam_and_radam():
    for name in ("Adam", "RAdam"):
        made = plots.RACERS[name](0.1, 0.6)([torch.nn.Parameter(torch.zeros(1))])
        assert made.param_groups[0]["betas"] == (0.6, 0.999)


def test_contraction_is_the_largest_eigenvalue_of_a_step():
    for x, alpha in np.random.default_rng(0).uniform(0, [5, 1], (200, 2)):
        step = np.array([[1 + alpha - x, -alpha], [1, 0]])  # (w_t, w_t-1) -> (w_t+1, w_t)
        assert plots.contraction(x, alpha) == pytest.approx(np.abs(np.linalg.eigvals(step)).max(), abs=1e-6)


def test_momentums_plane_shows_the_bowls_two_curvatures_and_the_path():
    hand = plots.MomentumPlane(kappa=9.0, rate=0.1, momentum=0.5, steps=7)
    left, right = hand.figure().axes
    best, here = left.lines[2:]
    assert np.allclose(best.get_xydata(), [[0.25, 0.25], [2.25, 0.25]]), "Polyak's for the condition number 9"
    assert np.allclose(here.get_xydata(), [[0.1, 0.5], [0.9, 0.5]])
    assert np.allclose(plots.contraction(*best.get_xydata().T), 0.5), "equally fast in both directions"
    path = plots.descend(plots.bowl((1.0, 9.0)), plots.RACERS["momentum"](0.1, 0.5), 7)
    assert np.allclose(right.lines[-1].get_xydata(), path)
