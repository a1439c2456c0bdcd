"""Pictures of lab 08: charges on a sphere, and targets with a margin and what they decide."""

from collections.abc import Callable
from functools import partial

import ipywidgets
import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from labkit.centroids import energy
from labkit.figures.drawing import Arrays, array, arrays, items, new_axes, new_panels
from labkit.figures.embedding import gallery, globe, graticule, project
from labkit.figures.live import Live, live
from labkit.figures.style import BLUE, INK, ORANGE, OUTLINE, RED, looks, styled
from labkit.losses.softmax import additive, additive_angle, psi

REGIONS = ListedColormap(["#e4e6e9", "#b3d3ef", "#f3c4ba"])  # the gap, class 1, class 2


def cosines_of(points: ArrayLike) -> np.ndarray:
    """Returns the cosines of all pairs of the rows of (N, D), sorted from the smallest.

    >>> cosines_of([[1, 0], [0, 2], [-3, 0]])
    array([-1.,  0.,  0.])
    """
    points = array("points", points, None, None)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    return np.sort((unit @ unit.T)[np.triu_indices(len(points), 1)])


@styled
def charge_strip(positions: ArrayLike, steps: list[int]) -> Figure:
    """Draws charges on the circle or the sphere at some steps of a simulation, side by side, with the energy above.

    positions: (T, N, D), D of 2 or 3. Charges behind the sphere are hollow.
    steps: which of the T to show.

    >>> charge_strip([[[1, 0], [-1, 0]]], steps=[0]).axes[0].get_title()
    'step 0\\nenergy 0.500'
    """
    positions = array("positions", positions, None, None, None)
    figure, panels = new_panels(len(steps), len(steps), 2.6, 3.0)
    for axes, step in zip(panels, steps, strict=True):
        lines = globe(axes)
        if positions.shape[2] > 2:
            lines.set_data(graticule(0))
        flat, near = project(positions[step])
        axes.plot(*flat[near < 0].T, "o", color=BLUE, markerfacecolor="white", markersize=7)
        axes.plot(*flat[near >= 0].T, "o", color=BLUE, markersize=10)
        axes.set_title(f"step {step}\nenergy {energy(torch.tensor(positions[step])):.3f}")
    return figure


@styled
def _charge_scene(runs):
    """Returns draw(charges, step, turn): charges at a step, and the cosines of all their pairs."""
    runs = arrays("runs", runs, None, None, None)
    if len({len(p) for p in runs.values()}) > 1:
        raise ValueError(f"runs: got {[len(p) for p in runs.values()]} steps, expected the same number in each")
    figure, (left, right) = new_axes(10, 4.8, columns=2)
    lines = globe(left, animated=True)
    (back,) = left.plot([], [], "o", color=BLUE, markerfacecolor="white", markersize=8, animated=True)
    (front,) = left.plot([], [], "o", color=BLUE, markersize=12, animated=True)
    (ideal,) = right.plot([0, 1], [0, 0], color=ORANGE, linestyle="--", animated=True, label="regular simplex")
    (pairs,) = right.plot([], [], ".", color=RED, animated=True, label="pairs of charges")
    right.set(xlim=(-0.03, 1.03), ylim=(-1.05, 1.05), xlabel="share of pairs", ylabel="cosine of a pair, at most")
    right.legend(loc="upper left")
    left.set_title(" \n ")
    left.title.set_animated(True)

    def draw(charges, step, turn):
        points = runs[charges][step]
        flat, near = project(points, turn)
        lines.set_data(graticule(turn) if points.shape[1] > 2 else ([], []))
        back.set_data(flat[near < 0].T)
        front.set_data(flat[near >= 0].T)
        cosines = cosines_of(points)
        pairs.set_data(np.linspace(0, 1, len(cosines)), cosines)
        ideal.set_ydata([-1 / (len(points) - 1)] * 2)
        seen = "" if points.shape[1] <= 3 else f" (3 of {points.shape[1]} dimensions are drawn)"
        left.set_title(
            f"step {step}: energy {energy(torch.tensor(points)):.3f}\nlargest cosine {cosines[-1]:.3f}{seen}"
        )
        return figure

    return draw


def charge_explorer(runs: Arrays) -> Live:
    """Shows charges at a step of a simulation, and the cosines of their pairs, with a button to play.

    runs: {name: positions (T, N, D)}, all with the same T; of more than three dimensions the first three are drawn.

    >>> charge_explorer({"two": [[[1, 0], [0, 1]], [[1, 0], [-1, 0]]]}).values
    {'charges': 'two', 'step': 1, 'turn': 0}
    """
    draw = _charge_scene(runs)
    last = len(next(iter(runs.values()))) - 1
    alt = (
        "Left, charges on a circle or a turning sphere, from random places at step 0 to where they come to rest. "
        "Right, the cosines of all pairs in order of size: a wide curve at first, which becomes level, at the dashed "
        "line of the regular simplex, when there are at most one more charges than dimensions."
    )
    widget = live(draw, alt, charges=list(runs), step=(0, last, last), turn=(-180, 180, 0, 5))
    play = ipywidgets.Play(value=0, min=0, max=last, step=2, interval=150)
    ipywidgets.jslink((play, "value"), (widget.controls["step"], "value"))
    controls = widget.children[-1]
    controls.children = (*controls.children, play)
    return widget


def margin_rules(times: int = 4, cosine: float = 0.35, angle: float = 0.5) -> dict[str, Callable]:
    """Returns what replaces the cosine of the label's row, as functions of a tensor of cosines, by name.

    times: the m of L- and A-Softmax.
    cosine: the m of AM-Softmax.
    angle: the m of ArcFace, in radians.

    >>> margin_rules(cosine=0.25)["AM-Softmax: cos θ - 0.25"](torch.tensor(0.5)).item()
    0.25
    """
    rules = {
        "softmax: cos θ": torch.clone,
        f"L-, A-Softmax: ψ(θ), m = {times}": partial(psi, margin=times),
        f"AM-Softmax: cos θ - {cosine:g}": partial(additive, margin=cosine),
        f"ArcFace: cos(θ + {angle:g})": partial(additive_angle, margin=angle),
    }
    return rules


@styled
def _target_curves(times, cosine, angle, scale, apart):
    """Target logits over the angle to the own row; and the loss of an embedding between two rows, `apart` degrees."""
    figure, (left, right) = new_axes(11, 4.8, columns=2)
    theta, between = np.linspace(0, 180, 721), np.linspace(0, apart, 361)
    other = scale * np.cos(np.radians(apart - between))
    for (name, rule), (color, line) in zip(margin_rules(times, cosine, angle).items(), looks(), strict=False):
        left.plot(theta, scale * _on_angles(rule, theta), color=color, linestyle=line, label=name)
        loss = np.logaddexp(0, other - scale * _on_angles(rule, between))
        right.plot(between, loss, color=color, linestyle=line)
    left.set(xlabel="angle θ to the own row (degrees)", ylabel=f"target logit, s = {scale:g}", xlim=(0, 180))
    right.set(xlabel=f"θ, with another row at {apart:g}° (degrees)", ylabel="loss, two classes", ylim=(0, 2.2 * scale))
    right.axvline(apart / 2, color=INK, linestyle=":", linewidth=1.2)
    left.legend(loc="lower left")
    return figure


def _on_angles(rule, degrees):
    return rule(torch.cos(torch.deg2rad(torch.as_tensor(degrees)))).numpy()


def target_explorer() -> Live:
    """Shows the target logits of `margin_rules` and the loss between two rows, under sliders.

    >>> target_explorer().set(scale=30.0).values["scale"]
    30.0
    """
    alt = (
        "Left, target logits over the angle: the cosine for softmax; with a margin every curve lies below it, L- and "
        "A-Softmax in steps down to 1 - 2m times s. Right, the loss of an embedding on the way from its own row to "
        "another: with a margin it begins to rise long before the middle, and the larger s, the more abruptly."
    )
    margins = {"times": (1, 4, 4), "cosine": (0.0, 1.0, 0.35, 0.05), "angle": (0.0, 1.5, 0.5, 0.05)}
    return live(_target_curves, alt, **margins, scale=(1.0, 64.0, 15.0, 1.0), apart=(20.0, 180.0, 90.0, 5.0))


def _regions(rule, points, rows):
    """Where embeddings (N, 2) lie by a rule of `margin_rules`: 1 or 2, the class that wins with its margin, else 0."""
    lengths = np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    cosines = np.clip(points @ rows.T / lengths, -1, 1)
    targets = rule(torch.tensor(cosines)).numpy()
    return np.where(targets[:, 0] > cosines[:, 1], 1, np.where(targets[:, 1] > cosines[:, 0], 2, 0))


@styled
def decision_regions(rules: dict[str, Callable]) -> Figure:
    """Draws the plane of embeddings, two classes: which class wins even with its margin, and the gap where none does.

    rules: {name: function}, as from `margin_rules`. The two rows, 80° apart, are drawn as arrows.

    >>> len(decision_regions(margin_rules()).axes)
    4
    """
    figure, panels = new_panels(len(items("rules", rules)), len(rules), 3.3, 3.8)
    half = np.radians(40)
    rows = np.array([[np.sin(-half), np.cos(half)], [np.sin(half), np.cos(half)]])
    side = np.linspace(-1.4, 1.4, 281)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    for axes, (name, rule) in zip(panels, rules.items(), strict=True):
        regions = _regions(rule, grid, rows).reshape(len(side), -1)
        axes.imshow(regions, cmap=REGIONS, vmin=0, vmax=2, extent=(-1.4, 1.4, -1.4, 1.4), origin="lower")
        for number, row, color in ((1, rows[0], BLUE), (2, rows[1], RED)):
            axes.contour(side, side, regions == number, [0.5], colors=INK, linewidths=1)
            axes.annotate("", row, (0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2.4})
            label = {"ha": "center", "color": color, "fontweight": "bold", "path_effects": OUTLINE}
            axes.text(*(1.16 * row), f"class {number}", **label)
        axes.set(title=name.replace(": ", "\n"), xlabel="x₁", ylabel="x₂")
    return figure


def space_explorer(embeddings: Arrays, labels: ArrayLike, classes: list[str], rows: Arrays | None = None) -> Live:
    """Shows one of the spheres of `labkit.figures.gallery` under a choice of the loss and a slider that turns it.

    >>> space_explorer({"softmax": [[1, 0, 0], [0, 0, 1]]}, [0, 1], ["A", "B"]).values
    {'loss': 'softmax', 'turn': 0}
    """

    def draw(loss, turn):
        return gallery({loss: embeddings[loss]}, labels, classes, rows, turn=turn)

    alt = (
        f"Points of {len(classes)} classes on a sphere that can be turned, with a line from the middle for the row of "
        "each class. A choice of the loss: with given centroids they are spread evenly, with learned rows they are not."
    )
    return live(draw, alt, loss=list(embeddings), turn=(-180, 180, 0, 5))
