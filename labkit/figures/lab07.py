"""Pictures of lab 07: what a loss does to pairs of cosines, triplets on an arc, embeddings in several planes."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from traitlets import Enum, Float, List

from labkit import checks
from labkit.figures.drawing import Arrays, array, arrays, new_axes, new_panels
from labkit.figures.hands import Hand
from labkit.figures.style import BLUE, DIFFERENT, INK, NAME, SAME, class_look, styled

LOSSES = ("circle", "AM-softmax", "triplet")
LOW, HIGH = -0.5, 1.0  # limits of both similarities in the fields


def forces(
    loss: str, s_n: ArrayLike, s_p: ArrayLike, margin: float = 0.25, gamma: float = 32.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how hard gradient descent lowers s_n and raises s_p: minus the gradient by s_n, the one by s_p, over γ.

    For an anchor with one negative (cosine s_n) and one positive (s_p), both arrays of one shape. loss is one of

        "triplet"     [s_n - s_p + m]₊, whose gradient has length 1 or 0; γ has no part in it
        "AM-softmax"  softplus(γ (s_n - s_p + m))
        "circle"      softplus(γ (α_n (s_n - m) - α_p (s_p - 1 + m))), α constant, as in labkit.losses.CircleLoss

    >>> forces("triplet", np.array([0.5, 0.1]), np.array([0.5, 0.9]))
    (array([1., 0.]), array([1., 0.]))
    """
    checks.one_of("loss", loss, LOSSES)
    s_n, s_p = array("s_n", s_n), array("s_p", s_p)
    if loss == "circle":
        weight_n, weight_p = np.maximum(s_n + margin, 0), np.maximum(1 + margin - s_p, 0)
        gate = _sigmoid(gamma * (weight_n * (s_n - margin) - weight_p * (s_p - 1 + margin)))
        return gate * weight_n, gate * weight_p
    error = s_n - s_p + margin
    gate = _sigmoid(gamma * error) if loss == "AM-softmax" else (error > 0).astype(float)
    return gate, gate.copy()


def _sigmoid(x):
    return 0.5 * (1 + np.tanh(x / 2))  # exp(-x) would overflow


def _boundary(loss, margin=0.25):
    """The decision boundary in the plane of (s_n, s_p): two arrays.

    A line s_p = s_n + m; for "circle" the arc of radius √2·m round (0, 1) as far as s_n = -m, where the negative's
    weight ends, and from there on the level s_p = 1 - m.
    """
    if loss != "circle":
        return np.array([-1.0, 1.0]), np.array([-1.0, 1.0]) + margin
    radius, angle = np.sqrt(2) * margin, np.linspace(0, 0.75 * np.pi, 121)
    return np.append(radius * np.cos(angle), -1.0), np.append(1 - radius * np.sin(angle), 1 - margin)


def _grid(count):
    side = LOW + (np.arange(count) + 0.5) * (HIGH - LOW) / count
    return np.meshgrid(side, side)


ARROWS, CELLS = _grid(13), _grid(75)  # where an arrow starts; cells of the background


def _draw_plane(axes, loss, margin):
    """The plane of the similarities with the decision boundary."""
    ticks = [-0.5, 0, 0.5, 1]
    axes.set(xlim=(LOW, HIGH), ylim=(LOW, HIGH), aspect="equal", xticks=ticks, yticks=ticks)
    axes.set(xlabel="$s_n$, cosine with the negative", ylabel="$s_p$, cosine with the positive")
    axes.plot(*_boundary(loss, margin), color=BLUE, linewidth=3, zorder=4)


def _draw_field(axes, loss, margin, gamma):
    _draw_plane(axes, loss, margin)
    down, up = forces(loss, *CELLS, margin, gamma)
    strength, strongest = np.hypot(down, up), max(np.hypot(down, up).max(), 1e-12)
    area = {"extent": (LOW, HIGH, LOW, HIGH), "origin": "lower", "zorder": 0}
    axes.imshow(strength / strongest, cmap="YlOrBr", vmin=0, vmax=1.4, **area)
    down, up = forces(loss, *ARROWS, margin, gamma)
    longest = 0.9 * (HIGH - LOW) / len(ARROWS[0])  # of an arrow: it must not reach its neighbor
    scale = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.006}
    axes.quiver(*ARROWS, -down / strongest * longest, up / strongest * longest, color=INK, zorder=3, **scale)


@styled
def gradient_fields() -> Figure:
    """Draws where gradient descent takes (s_n, s_p) under each loss, and the decision boundaries; m = 0.25, γ = 32.

    Arrow and color are the strength, divided by the strongest of the field.

    >>> [axes.get_title() for axes in gradient_fields().axes]
    ['triplet, m = 0.25', 'AM-softmax, m = 0.25, γ = 32', 'circle, m = 0.25, γ = 32']
    """
    figure, panels = new_panels(3, 3, 4.5, 4.9)
    for name, one in zip(reversed(LOSSES), panels, strict=True):
        _draw_field(one, name, 0.25, 32)
        one.set_title(f"{name}, m = 0.25{', γ = 32' * (name != 'triplet')}")
    return figure


class FieldPlane(Hand):
    """The field of `gradient_fields` under one loss, and a pair of cosines to drag about it, or to let run.

    >>> FieldPlane(loss="triplet").state["pair"]
    [0.5, 0.5]
    """

    module = "field"
    loss = Enum(LOSSES, "circle").tag(sync=True)
    margin = Float(0.25).tag(sync=True)
    gamma = Float(32.0).tag(sync=True)
    pair = List([0.5, 0.5]).tag(sync=True)  # s_n, s_p

    @styled
    def figure(self) -> Figure:
        """The field as it is, with the pair."""
        figure, axes = new_axes(6, 6.2)
        _draw_field(axes, self.loss, self.margin, self.gamma)
        down, up = forces(self.loss, *self.pair, self.margin, self.gamma)
        axes.plot(*self.pair, "o", color=DIFFERENT, markersize=12, markeredgecolor="white", zorder=6)
        axes.set_title(
            f"{self.loss}, m = {self.margin:.2f}, γ = {self.gamma:g}\n"
            f"at ({self.pair[0]:g}, {self.pair[1]:g}): $s_n$ down {down:.2f}, $s_p$ up {up:.2f}"
        )
        return figure

    alt = (
        "The plane of the two cosines, s_n to the right and s_p upwards. Arrows show where gradient descent takes a "
        "pair, the color how hard. Triplet and AM-softmax push all pairs in one direction, to the left and up, as far "
        "as a slanted line. Circle loss aims at the upper left corner and stops at an arc round it, which grows with "
        "the margin; a small gamma blurs the border."
    )


def field_explorer() -> FieldPlane:
    """Shows the field of `gradient_fields` under a choice of the loss and sliders for m and γ, with a pair to drag.

    >>> field_explorer().loss
    'circle'
    """
    return FieldPlane()


@styled
def arcs(panels: Arrays) -> Figure:
    """Draws triplets on the unit circle, the anchor on top, the positive to the left of it, the negative to the right.

    panels: {title: (s_p, s_n, pull, push)}, the two cosines with the anchor, and how hard a loss pulls the positive to
        the anchor and pushes the negative away. Arrows are as long as these numbers, times one half.

    >>> [text.get_text() for text in arcs({"hard": (0.2, 0.8, 1, 1)}).axes[0].texts if text.get_text()]
    ['a', 'p', 'n']
    """
    panels = arrays("panels", panels, 4)
    figure, grid = new_panels(len(panels), 2, 4.6, 3.3)
    turn = np.linspace(-0.5, np.pi + 0.5, 181)
    for axes, (title, (s_p, s_n, pull, push)) in zip(grid, panels.items(), strict=True):
        axes.plot(np.cos(turn), np.sin(turn), color=INK, linewidth=1)
        _point(axes, np.pi / 2, 0, INK, "o", "a")
        _point(axes, np.pi / 2 + np.arccos(s_p), -pull, SAME, "o", "p")
        _point(axes, np.pi / 2 - np.arccos(s_n), -push, DIFFERENT, "s", "n")
        axes.set(title=title, aspect="equal", xlim=(-1.5, 1.5), ylim=(-0.6, 1.4))
        axes.axis("off")
    return figure


def _point(axes, angle, force, color, marker, name):
    """A point of the unit circle with its name, and its force along the circle (positive: counterclockwise)."""
    x, y = np.cos(angle), np.sin(angle)
    axes.plot(x, y, marker, color=color, markersize=11, zorder=3)
    axes.annotate(name, (1.17 * x, 1.17 * y), **NAME)
    if force:
        tip = (x - 0.5 * force * y, y + 0.5 * force * x)
        axes.annotate("", tip, (x, y), arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2.5})


@styled
def clouds(panels: Arrays, margin: float = 0.4) -> Figure:
    """Draws pairs of cosines as points (s_n, s_p), one panel per loss, and the decision circle of radius √2·margin.

    panels: {title: (s_n, s_p)}, each (N,).

    >>> [axes.get_title() for axes in clouds({"circle": ([0.1, 0.2], [0.9, 0.8])}).axes]
    ['circle']
    """
    panels = arrays("panels", panels, 2, None)
    figure, grid = new_panels(len(panels), 2, 4.5, 4.9)
    for axes, (title, points) in zip(grid, panels.items(), strict=True):
        _draw_plane(axes, "circle", margin)
        axes.plot(*points, ".", color=DIFFERENT, markersize=3, zorder=3)
        axes.set(title=title, xlim=(-0.2, 1), ylim=(-0.2, 1))
    return figure


@styled
def projections(planes: Arrays, labels: ArrayLike, classes: list[str], test: ArrayLike) -> Figure:
    """Draws embeddings in the plane by several methods side by side: training rows hollow, test rows filled.

    planes: {name of the method: (N, 2)}.
    labels: (N,) indices into `classes`.
    test: (N,) True for rows of the test split.

    >>> projections({"PCA": [[0, 1], [1, 0]]}, [0, 0], ["A"], [False, True]).axes[0].get_title()
    'PCA'
    """
    labels = array("labels", labels, None).astype(int)
    test = array("test", test, len(labels)).astype(bool)
    chosen = arrays("planes", planes, len(labels), 2)
    figure, grid = new_panels(len(chosen), len(chosen), 4.5, 4.9)
    for axes, (name, points) in zip(grid, chosen.items(), strict=True):
        for c, word in enumerate(classes):
            own = labels == c
            axes.plot(*points[own & ~test].T, **class_look(c, 3.5), markerfacecolor="white")
            axes.plot(*points[own & test].T, **class_look(c, 4.5))
            if own.any():  # the name stands above its class: there the island can be seen
                above = {"xytext": (0, 14), "textcoords": "offset points", **NAME}
                axes.annotate(str(word), np.median(points[own], axis=0), **above)
        axes.set(title=name, xlabel="first coordinate (no unit)", ylabel="second coordinate (no unit)")
        axes.set_aspect("equal", adjustable="datalim")
    return figure
