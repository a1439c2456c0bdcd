"""Pictures of lab 08: charges on a sphere, targets with a margin and what they decide, embeddings in two and three
dimensions; and the sliders on them.

A sphere is seen from a point to which it is turned: `turn` degrees round its axis, and the axis leans towards us. What
lies behind is drawn pale.
"""

from functools import partial

import numpy as np
import torch
from matplotlib.colors import ListedColormap

from labkit.centroids import energy
from labkit.figures import live as widgets
from labkit.figures.drawing import (
    BLUE,
    COLORS,
    GRAY,
    INK,
    MARKERS,
    ORANGE,
    OUTLINE,
    RED,
    array,
    items,
    looks,
    new_axes,
    styled,
)
from labkit.losses.softmax import additive, additive_angle, psi

LEAN = np.radians(20)  # of a sphere's axis towards the viewer
REGIONS = ListedColormap(["#e4e6e9", "#b3d3ef", "#f3c4ba"])  # the gap, class 1, class 2


def project(points, turn=0.0):
    """Points (N, D) as seen on paper: (N, 2), and how near they are to the viewer, (N,).

    turn  degrees. In two dimensions the points stay as they are, all equally near; of more than three dimensions the
          first three are seen.
    """
    points = array("points", points, None, None)
    if points.shape[1] < 2:
        raise ValueError(f"points: got {points.shape[1]} dimensions, expected at least 2")
    if points.shape[1] == 2:
        return points, np.zeros(len(points))
    angle = np.radians(turn)
    x = points[:, 0] * np.cos(angle) - points[:, 1] * np.sin(angle)
    away = points[:, 0] * np.sin(angle) + points[:, 1] * np.cos(angle)
    z = points[:, 2]
    return np.stack([x, z * np.cos(LEAN) + away * np.sin(LEAN)], 1), z * np.sin(LEAN) - away * np.cos(LEAN)


def _globe(axes, animated=False):
    """Draw the outline of the unit circle or sphere, and return an empty line for its equator and meridians."""
    turn = np.linspace(0, 2 * np.pi, 121)
    axes.plot(np.cos(turn), np.sin(turn), color=GRAY, linewidth=1.2)
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
    axes.axis("off")
    return axes.plot([], [], color=GRAY, linewidth=0.7, alpha=0.8, animated=animated)[0]


def _graticule(turn):
    """The front of the equator and of three meridians, (2, M) with gaps."""
    t = np.linspace(0, 2 * np.pi, 121)
    circles = [np.stack([np.cos(t), np.sin(t), 0 * t], 1)]
    for around in np.radians([0, 60, 120]):
        circles.append(np.stack([np.cos(t) * np.cos(around), np.cos(t) * np.sin(around), np.sin(t)], 1))
    parts = []
    for circle in circles:
        flat, near = project(circle, turn)
        flat = np.where(near[:, None] >= 0, flat, np.nan)
        parts += [flat, [[np.nan, np.nan]]]
    return np.concatenate(parts).T


def cosines_of(points):
    """The cosines of all pairs of the rows of (N, D), sorted from the smallest."""
    points = array("points", points, None, None)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    return np.sort((unit @ unit.T)[np.triu_indices(len(points), 1)])


# --- Charges ------------------------------------------------------------------------------------------------------


@styled
def charge_strip(positions, steps, turn=0.0):
    """Charges on the circle or the sphere at some steps of a simulation, side by side, with the energy above each.

    positions  (T, N, D), D of 2 or 3
    steps      which of the T to show
    """
    positions = array("positions", positions, None, None, None)
    figure, every = new_axes(2.6 * len(steps), 3.0, len(steps))
    for axes, step in zip(np.atleast_1d(every), steps, strict=True):
        globe = _globe(axes)
        if positions.shape[2] > 2:
            globe.set_data(_graticule(turn))
        flat, near = project(positions[step], turn)
        for front, alpha, size in ((near < 0, 0.35, 7), (near >= 0, 1, 10)):
            axes.plot(*flat[front].T, "o", color=BLUE, alpha=alpha, markersize=size)
        axes.set_title(f"step {step}\nenergy {energy(torch.tensor(positions[step])):.3f}")
    return figure


@styled
def charge_scene(runs):
    """Return draw(charges, step, turn) -> Figure: charges at a step, and the cosines of all their pairs.

    runs  {name: positions (T, N, D)}, all with the same T; of more than three dimensions the first three are drawn
    """
    runs = {name: array(f"runs[{name!r}]", p, None, None, None) for name, p in items("runs", runs)}
    if len({len(p) for p in runs.values()}) > 1:
        raise ValueError(f"runs: got {[len(p) for p in runs.values()]} steps, expected the same number in each")
    figure, (left, right) = new_axes(10, 4.8, columns=2)
    globe = _globe(left, animated=True)
    (back,) = left.plot([], [], "o", color=BLUE, alpha=0.35, markersize=8, animated=True)
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
        globe.set_data(_graticule(turn) if points.shape[1] > 2 else ([], []))
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


def charge_explorer(runs):
    """The picture of `charge_scene` under a choice of the charges, sliders for step and turn, and a button to play."""
    import ipywidgets

    draw = charge_scene(runs)
    last = len(next(iter(runs.values()))) - 1
    alt = (
        "Left, charges on a circle or a turning sphere, from random places at step 0 to where they come to rest. "
        "Right, the cosines of all pairs in order of size: a wide curve at first, which becomes level, at the dashed "
        "line of the regular simplex, when there are at most one more charges than dimensions."
    )
    widget = widgets.live(draw, alt, charges=list(runs), step=(0, last, last), turn=(-180, 180, 0, 5))
    play = ipywidgets.Play(value=0, min=0, max=last, step=2, interval=150)
    ipywidgets.jslink((play, "value"), (widget.controls["step"], "value"))
    controls = widget.children[-1]
    controls.children = (*controls.children, play)
    return widget


# --- Targets with a margin ----------------------------------------------------------------------------------------


def margin_rules(times=4, cosine=0.35, angle=0.5):
    """What stands in the place of the label's cosine, as functions of a tensor of cosines, by name.

    times   the m of L- and A-Softmax. cosine: that of AM-Softmax. angle: that of ArcFace, in radians.
    """
    rules = {
        "softmax: cos θ": torch.clone,
        f"L-, A-Softmax: ψ(θ), m = {times}": partial(psi, margin=times),
        f"AM-Softmax: cos θ - {cosine:g}": partial(additive, margin=cosine),
        f"ArcFace: cos(θ + {angle:g})": partial(additive_angle, margin=angle),
    }
    return rules


@styled
def target_curves(times=4, cosine=0.35, angle=0.5, scale=15.0, apart=90.0):
    """Target logits over the angle θ to the own row; and the loss of an embedding between two rows.

    times, cosine, angle  the margins, see `margin_rules`
    scale                 s, the length that all logits are multiplied by
    apart                 degrees between the two rows of the right picture
    """
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


def target_explorer():
    """The picture of `target_curves` under sliders."""
    alt = (
        "Left, target logits over the angle: the cosine for softmax; with a margin every curve lies below it, L- and "
        "A-Softmax in steps down to 1 - 2m times s. Right, the loss of an embedding on the way from its own row to "
        "another: with a margin it begins to rise long before the middle, and the larger s, the more abruptly."
    )
    margins = {"times": (1, 4, 4), "cosine": (0.0, 1.0, 0.35, 0.05), "angle": (0.0, 1.5, 0.5, 0.05)}
    return widgets.live(target_curves, alt, **margins, scale=(1.0, 64.0, 15.0, 1.0), apart=(20.0, 180.0, 90.0, 5.0))


def region_of(rule, points, rows):
    """Where embeddings (N, 2) lie by a rule of `margin_rules`: 1 or 2, the class that wins with its margin, else 0.

    rows  (2, 2) unit rows of the two classes
    """
    points, rows = array("points", points, None, 2), array("rows", rows, 2, 2)
    lengths = np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    cosines = np.clip(points @ rows.T / lengths, -1, 1)
    targets = rule(torch.tensor(cosines)).numpy()
    return np.where(targets[:, 0] > cosines[:, 1], 1, np.where(targets[:, 1] > cosines[:, 0], 2, 0))


@styled
def decision_regions(rules, apart=80.0):
    """The plane of embeddings, two classes: which class wins even with its margin, and the gap where none does.

    rules  {name: function}, as from `margin_rules`
    apart  degrees between the two rows, which are drawn as arrows
    """
    figure, every = new_axes(3.3 * len(items("rules", rules)), 3.8, len(rules))
    half = np.radians(apart / 2)
    rows = np.array([[np.sin(-half), np.cos(half)], [np.sin(half), np.cos(half)]])
    side = np.linspace(-1.4, 1.4, 281)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    for axes, (name, rule) in zip(np.atleast_1d(every), rules.items(), strict=True):
        regions = region_of(rule, grid, rows).reshape(len(side), -1)
        axes.imshow(regions, cmap=REGIONS, vmin=0, vmax=2, extent=(-1.4, 1.4, -1.4, 1.4), origin="lower")
        for row, color, label in zip(rows, (BLUE, RED), ("class 1", "class 2"), strict=True):
            axes.annotate("", row, (0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2.4})
            axes.text(*(1.16 * row), label, ha="center", color=color, fontweight="bold", path_effects=OUTLINE)
        axes.set(title=name.replace(": ", "\n"), xlabel="x₁", ylabel="x₂")
    return figure


# --- Embeddings of two and three dimensions -----------------------------------------------------------------------


@styled
def gallery(embeddings, labels, classes, rows=None, columns=3, turn=0.0):
    """Embeddings side by side, each in its own scale, with the class names at their centers.

    embeddings  {title: (N, D)}, D of 2 or 3; three dimensions are drawn as directions, on the unit sphere
    labels      (N,) indices into `classes`
    rows        {title: (C, D)}: directions of the classes' weight rows, drawn as lines from the middle, or None
    turn        degrees by which spheres are turned
    """
    labels = array("labels", labels, None).astype(int)
    chosen = {name: array(f"embeddings[{name!r}]", e, len(labels), None) for name, e in items("embeddings", embeddings)}
    columns = min(columns, len(chosen))
    height = -(-len(chosen) // columns)
    figure, _ = new_axes(3.9 * columns, 4.1 * height)
    figure.clear()
    grid = figure.subplots(height, columns, squeeze=False).ravel()
    for axes in grid[len(chosen) :]:
        axes.remove()
    for axes, (title, points) in zip(grid, chosen.items(), strict=False):
        axes.set_title(title)
        size = np.abs(points).max()
        if points.shape[1] > 2:
            points, size = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12), 1.0
            _globe(axes).set_data(_graticule(turn))
        for row in () if rows is None else array(f"rows[{title!r}]", rows[title], None, points.shape[1]):
            far = size * row / np.linalg.norm(row)
            axes.plot(*project(np.stack([0 * far, far]), turn)[0].T, color=GRAY, linewidth=1.1, zorder=1)
        _draw_classes(axes, points, labels, classes, turn)
        if points.shape[1] == 2:
            axes.set(aspect="equal", adjustable="datalim", xlabel="embedding, 1st number", ylabel="2nd number")
            axes.tick_params(labelsize=10)
    return figure


def _draw_classes(axes, points, labels, classes, turn):
    flat, near = project(points, turn)
    for c, name in enumerate(classes):
        look = {"color": COLORS[c % 10], "marker": MARKERS[c % 10], "linestyle": "", "markersize": 3.2}
        for part, alpha in ((near < 0, 0.25), (near >= 0, 1)):
            chosen = (labels == c) & part
            axes.plot(*flat[chosen].T, alpha=alpha, **look)
        if (labels == c).any():
            bold = {"ha": "center", "va": "center", "fontweight": "bold", "path_effects": OUTLINE}
            axes.text(*flat[labels == c].mean(0), str(name), **bold)


def space_explorer(embeddings, labels, classes, rows=None):
    """One of the spheres of `gallery` under a choice of the loss and a slider that turns it."""

    def draw(loss, turn):
        return gallery({loss: embeddings[loss]}, labels, classes, rows, turn=turn)

    alt = (
        f"Points of {len(classes)} classes on a sphere that can be turned, with a line from the middle for the row of "
        "each class. A choice of the loss: with given centroids they are spread evenly, with learned rows they are not."
    )
    return widgets.live(draw, alt, loss=list(embeddings), turn=(-180, 180, 0, 5))
