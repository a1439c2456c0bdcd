"""Pictures of lab 06: losses over two distances, and where Unit-Range and Unit-Bounce put a point."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from traitlets import Bool, Enum, Float, List

from labkit.embeddings import l2, unit_bounce, unit_range
from labkit.figures.drawing import array, items, new_axes, new_panels
from labkit.figures.hands import Hand
from labkit.figures.style import BLUE, INK, ORANGE, PURPLE, RED, looks, styled
from labkit.losses.exponential_triplet import barrier

MAPS = {  # name -> f(x, radius), a map of rows (..., D)
    "L2": l2,
    "Unit-Range": unit_range,
    "Unit-Bounce": unit_bounce,
    "Unit-Bounce, authors' code": partial(unit_bounce, bounce="authors"),
    "Unit-Bounce, authors' limit": partial(unit_bounce, bounce="limit"),
}
HIGHEST = 6.0  # of the surfaces, which are cut off there
FINE = np.linspace(0, 1, 101)  # distances at which a surface is computed, divided by the largest one


def triplet_height(p: ArrayLike, q: ArrayLike, margin: float = 0.2, semihard: bool = False) -> np.ndarray:
    """Returns [p - q + margin]₊ for arrays of distances; with `semihard` NaN outside p < q < p + margin.

    >>> triplet_height(0.5, np.array([0.25, 0.75]))
    array([0.45, 0.  ])
    """
    height = np.maximum(p - q + margin, 0)
    return np.where((p < q) & (q < p + margin), height, np.nan) if semihard else height


def exponential_height(
    p: ArrayLike, q: ArrayLike, c_n: float = 0.15, positive_weight: float = 1.0, negative_weight: float = 1.0
) -> np.ndarray:
    """Returns the exponential triplet loss of a positive pair at distance p and a negative at q, divided by d_max.

    c_n: diameter of a class, 0 ≤ c_n < 1.

    >>> exponential_height(np.array([0.1, 0.575]), np.array([0.6, 0.6])).round(3)
    array([0.   , 0.693])
    """
    pull = barrier(torch.as_tensor(np.maximum(p - c_n, 0) / (1 - c_n), dtype=torch.float64)).numpy()
    push = barrier(torch.as_tensor(np.maximum(0.5 - q, 0) / 0.5, dtype=torch.float64)).numpy()
    return positive_weight * pull + negative_weight * push


@styled
def surfaces(heights: dict[str, Callable]) -> Figure:
    """Draws losses as surfaces over the distance of a positive and of a negative pair, side by side.

    heights: {title: function of two arrays p and q in 0..1 that returns the loss; NaN leaves a hole}.

    >>> surfaces({"standard": triplet_height}).axes[0].get_zlabel()
    'loss'
    """
    figure = Figure(figsize=(4.4 * len(items("heights", heights)), 4.4), dpi=100, layout="constrained")
    p, q = np.meshgrid(FINE, FINE, indexing="ij")
    for place, (title, height) in enumerate(heights.items(), 1):
        axes = figure.add_subplot(1, len(heights), place, projection="3d")
        axes.set(xlabel="positive pair, p", ylabel="negative pair, q", zlabel="loss", xlim=(0, 1), ylim=(0, 1))
        axes.tick_params(labelsize=9, color=INK, labelcolor=INK)
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.label.set_size(10)
        axes.view_init(elev=28, azim=-60)
        axes.set_box_aspect(None, zoom=0.85)  # room for the labels, which the layout does not count
        axes.plot_surface(p, q, np.minimum(height(p, q), HIGHEST), cmap="YlOrBr", rstride=1, cstride=1, linewidth=0)
        axes.set_zlim(0, max(1.0, axes.get_zlim()[1]))  # a low surface shall look low
        axes.set_title(title)
    return figure


class Barrier(Hand):
    """The exponential triplet loss, for ten classes, of a positive pair at distance p and a negative one at q.

    loss: or the triplet loss, to compare. overlap: c_o, ten times c_n.

    >>> Barrier(p=0.6, q=0.3).figure().axes[0].get_title()
    'loss 1.26'
    """

    module = "barrier"
    loss = Enum(["exponential", "triplet, margin 0.2"], "exponential").tag(sync=True)
    p = Float(0.6).tag(sync=True)
    q = Float(0.3).tag(sync=True)
    overlap = Float(1.5).tag(sync=True)
    positive_weight = Float(1.0).tag(sync=True)
    negative_weight = Float(1.0).tag(sync=True)

    @styled
    def figure(self) -> Figure:
        """The loss over both distances, and over each of them where the other is as it is."""
        constants = self.overlap / 10, self.positive_weight, self.negative_weight
        height = triplet_height if self.loss != "exponential" else lambda p, q: exponential_height(p, q, *constants)
        figure, (left, right) = new_axes(10, 4.6, columns=2)
        left.set(xlabel="positive pair, p", ylabel="negative pair, q", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        levels = np.linspace(0, HIGHEST, 19)
        left.contourf(FINE, FINE, np.minimum(height(*np.meshgrid(FINE, FINE)), HIGHEST), levels, cmap="YlOrBr")
        left.axhline(self.q, color=BLUE)
        left.axvline(self.p, color=RED, linestyle="--")
        left.plot(self.p, self.q, "o", color=INK, markersize=10)
        here = height(np.array(self.p), np.array(self.q))
        left.set_title(f"loss {here:.2f}")
        right.plot(FINE, height(FINE, np.full(101, self.q)), color=BLUE, label=f"over p, q = {self.q:.2f}")
        right.plot(FINE, height(np.full(101, self.p), FINE), "--", color=RED, label=f"over q, p = {self.p:.2f}")
        right.plot(self.p, here, "s", self.q, here, "^", color=INK, markersize=9)
        right.set(xlabel="distance / d_max", ylabel="loss (cut off at 6)", xlim=(0, 1), ylim=(0, HIGHEST))
        right.legend(loc="upper center")
        return figure

    alt = (
        "Left, the exponential triplet loss as shades over the distances of a positive and a negative pair: zero where "
        "the positive is within c_n and the negative beyond one half, ever darker away from there. Right, the loss "
        "over each distance while the other stays. Both distances and c_n can be dragged."
    )


def landing(name: str, length: ArrayLike, radius: float = 1.0) -> np.ndarray:
    """Returns where a map puts points that lie `length` along a direction: signed coordinates in that direction.

    name: of MAPS.
    length: (N,); negative results lie on the opposite side.

    >>> landing("Unit-Bounce", [0.5, 1.5, 2.5])
    array([ 0.5,  0.5, -0.5])
    """
    return MAPS[name](torch.as_tensor(array("length", length, None))[:, None], radius)[:, 0].numpy()


@styled
def length_maps(names: list[str]) -> Figure:
    """Draws the length of a point before and after each map; below zero it lies on the opposite side.

    names: of MAPS. Where a map jumps, its curve is open.

    >>> length_maps(["L2"]).axes[0].get_xlabel()
    'length before'
    """
    figure, axes = new_axes(8, 4.4, xlabel="length before", ylabel="place after, along its direction")
    lengths = np.linspace(0.001, 5, 2000)  # in radii
    for name, (color, line) in zip(names, looks(), strict=False):
        curve = _open_jumps(lengths, landing(name, lengths))
        axes.plot(*curve, color=color, linestyle=line, label=name)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def _open_jumps(x, y, radius=1.0):
    """The curve with a gap (NaN) wherever it jumps by more than half a radius."""
    jumps = np.flatnonzero(np.abs(np.diff(y)) > radius / 2) + 1
    return np.insert(x, jumps, np.nan), np.insert(y, jumps, np.nan)


@styled
def plane_maps(names: list[str]) -> Figure:
    """Draws the plane, every point in the color of the place to which a map brings it: hue is direction.

    names: of MAPS. Strength is length; what is brought to the center is white.

    >>> [axes.get_title() for axes in plane_maps(["L2", "Unit-Range"]).axes]
    ['L2', 'Unit-Range']
    """
    figure, panels = new_panels(len(names), len(names), 3.6, 3.9)
    side = np.linspace(-4, 4, 240)
    x, y = np.meshgrid(side, side)
    points = torch.as_tensor(np.stack([x, y], axis=-1))
    turn = np.linspace(0, 2 * np.pi, 181)
    for name, one in zip(names, panels, strict=True):
        mapped = MAPS[name](points, 1.0).numpy()
        one.imshow(_place_colors(mapped), extent=(-4, 4, -4, 4), origin="lower")
        one.plot(np.cos(turn), np.sin(turn), color=INK, linestyle=":", linewidth=1.5)
        one.set(title=name, xlabel="x₁ before", ylabel="x₂ before")
    return figure


def _place_colors(points):
    """RGB (..., 3) of places (..., 2): hue by direction, saturation by length, white at the center, full at 1."""
    hue = np.arctan2(points[..., 1], points[..., 0]) / (2 * np.pi) % 1
    length = np.linalg.norm(points, axis=-1)
    return hsv_to_rgb(np.stack([hue, np.clip(length, 0, 1), np.full_like(hue, 0.92)], axis=-1))


class RangePlane(Hand):
    """A point, the place to which one of MAPS brings it, and a target that pulls at this place: what comes back to it?

    >>> RangePlane(map="L2", point=[3.0, 0.0]).figure().axes[0].get_title()
    'L2: length 3.00 goes to 1.00'
    """

    module = "range"
    map = Enum(list(MAPS), "Unit-Bounce").tag(sync=True)
    point = List([1.5, -0.6]).tag(sync=True)
    target = List([-0.5, 0.6]).tag(sync=True)
    radius = Float(1.0).tag(sync=True)
    detached = Bool(False).tag(sync=True)

    @styled
    def figure(self) -> Figure:
        """Point, place and target in the plane, and the place over the length."""
        point = torch.tensor(self.point, dtype=torch.float64, requires_grad=True)
        how = {"grad": "detached"} if self.detached and self.map != "L2" else {}
        place = MAPS[self.map](point, self.radius, **how)
        force = torch.tensor(self.target) - place.detach()
        (back,) = torch.autograd.grad(place, point, force)
        figure, (left, right) = new_axes(10, 4.8, columns=2, widths=[1.2, 1])
        left.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xlabel="x₁", ylabel="x₂")
        turn = np.linspace(0, 2 * np.pi, 121)
        left.plot(self.radius * np.cos(turn), self.radius * np.sin(turn), color=INK, linestyle=":", linewidth=1.5)
        arrow = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.009, "zorder": 4}
        places = {"before": self.point, "after": place.detach(), "target": self.target}
        for (name, at), color, marker in zip(places.items(), (RED, ORANGE, PURPLE), "soD", strict=True):
            left.plot(*at, marker, color=color, markersize=10, label=name, zorder=3)
        left.quiver(*place.detach(), *force, color=PURPLE, **arrow)
        left.quiver(*point.detach(), *back, color=RED, **arrow)
        left.legend(loc="upper left")
        lengths, length = np.linspace(0.001, 4.5, 2000), np.linalg.norm(self.point)
        side = landing(self.map, [length], self.radius)
        left.set_title(f"{self.map}: length {length:.2f} goes to {side[0]:.2f}")
        right.set(xlabel="length before", ylabel="place after, along its direction", ylim=(-2.2, 2.2))
        right.axhline(0, color=INK, linewidth=0.8)
        right.plot(*_open_jumps(lengths, landing(self.map, lengths, self.radius), self.radius), color=BLUE)
        right.plot(length, side, "o", color=ORANGE, markersize=11)
        return figure

    alt = (
        "Left, a point in the plane, the circle of the radius, the place to which a map brings the point, and a target "
        "that pulls at this place; a red arrow shows what comes back to the point. Right, the place over the length. "
        "Point and target can be dragged."
    )
