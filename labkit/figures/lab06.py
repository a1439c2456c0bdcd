"""Pictures of lab 06: losses as surfaces over two distances, and where Unit-Range and Unit-Bounce put a point."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from labkit.embeddings import l2, unit_bounce, unit_range
from labkit.figures.drawing import array, items, new_axes, new_panels
from labkit.figures.live import Live, live
from labkit.figures.style import BLUE, INK, ORANGE, RED, looks, styled
from labkit.losses.exponential_triplet import barrier

MAPS = {  # name -> f(x, radius), a map of rows (..., D)
    "L2": l2,
    "Unit-Range": unit_range,
    "Unit-Bounce": unit_bounce,
    "Unit-Bounce, authors' code": partial(unit_bounce, bounce="authors"),
    "Unit-Bounce, authors' limit": partial(unit_bounce, bounce="limit"),
}
HIGHEST = 6.0  # of the surfaces; the barrier's tangent is cut off there
GRID = np.linspace(0, 1, 41)  # distances at which the surface that turns is computed, divided by the largest one
FINE = np.linspace(0, 1, 101)  # those of the still surfaces


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
        _surface_axes(axes)
        axes.plot_surface(p, q, np.minimum(height(p, q), HIGHEST), cmap="YlOrBr", rstride=1, cstride=1, linewidth=0)
        axes.set_zlim(0, max(1.0, axes.get_zlim()[1]))  # a low surface shall look low
        axes.set_title(title)
    return figure


def _surface_axes(axes, turn=-60):
    axes.set(xlabel="positive pair, p", ylabel="negative pair, q", zlabel="loss", xlim=(0, 1), ylim=(0, 1))
    axes.tick_params(labelsize=9, color=INK, labelcolor=INK)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.label.set_size(10)
    axes.view_init(elev=28, azim=turn)
    axes.set_box_aspect(None, zoom=0.85)  # room for the labels, which the layout does not count


@styled
def _cut_surface(c_n, positive_weight, negative_weight, turn, cut):
    """The exponential triplet loss as a surface, and the two curves along which it is cut at q = cut and at p = cut."""
    height = partial(exponential_height, c_n=c_n, positive_weight=positive_weight, negative_weight=negative_weight)
    figure = Figure(figsize=(10, 4.6), dpi=100, layout="constrained")
    space = figure.add_subplot(1, 2, 1, projection="3d")
    _surface_axes(space, turn)
    p, q = np.meshgrid(GRID, GRID, indexing="ij")
    space.plot_surface(p, q, np.minimum(height(p, q), HIGHEST), cmap="YlOrBr", alpha=0.6, linewidth=0)
    space.set_zlim(0, HIGHEST)
    flat = figure.add_subplot(1, 2, 2)
    flat.tick_params(labelsize=12, color=INK, labelcolor=INK)
    fine, constant = np.linspace(0, 1, 201), np.full(201, float(cut))
    over_p = f"q = {cut:.2f}, over p", BLUE, "-", fine, constant
    over_q = f"p = {cut:.2f}, over q", RED, "--", constant, fine
    for name, color, line, x, y in (over_p, over_q):
        values = np.minimum(height(x, y), HIGHEST)
        space.plot(x, y, values, color=color, linestyle=line, zorder=10)
        flat.plot(fine, values, color=color, linestyle=line, label=name)
    for place, name in ((c_n, "c_n"), (0.5, "½")):
        flat.axvline(place, color=INK, linestyle=":", linewidth=1.2)
        flat.annotate(name, (place, 0.72 * HIGHEST), (4, 0), textcoords="offset points")
    flat.set(xlabel="distance / d_max", ylabel="loss (cut off at 6)", xlim=(0, 1), ylim=(0, HIGHEST))
    flat.legend(loc="upper center")
    return figure


def surface_explorer() -> Live:
    """Shows the exponential triplet loss as a surface that can be turned and cut, under sliders.

    >>> surface_explorer().values["c_n"]
    0.15
    """
    alt = (
        "Left, the exponential triplet loss as a surface over the distances of a positive and a negative pair: flat "
        "and zero where the positive is within c_n and the negative beyond one half, rising ever more steeply to both "
        "sides. Right, the two curves along which the surface is cut."
    )
    weights = dict.fromkeys(("positive_weight", "negative_weight"), (0.0, 3.0, 1.0, 0.25))
    view = {"turn": (-180, 180, -60, 5), "cut": (0.0, 1.0, 0.3, 0.05)}
    return live(_cut_surface, alt, c_n=(0.0, 0.95, 0.15, 0.05), **weights, **view)


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


@styled
def _range_scene():
    """Returns draw(map, length, radius): a point of that length, where the map puts it, and all lengths."""
    figure, (left, right) = new_axes(10, 4.6, columns=2, widths=[1.5, 1])
    left.set(xlim=(0, 6), ylim=(-2.2, 2.2), xlabel="length before", ylabel="place after, along its direction")
    left.axhline(0, color=INK, linewidth=0.8)
    (curve,) = left.plot([], [], color=BLUE, animated=True)
    (dot,) = left.plot([], [], "o", color=ORANGE, markersize=11, animated=True, zorder=4)
    right.set(xlim=(-6, 6), ylim=(-6, 6), aspect="equal", xlabel="x₁", ylabel="x₂")
    (sphere,) = right.plot([], [], color=INK, linestyle=":", linewidth=1.5, animated=True)
    (before,) = right.plot([], [], "s", color=RED, markersize=9, animated=True, label="before", zorder=3)
    (after,) = right.plot([], [], "o", color=ORANGE, markersize=11, animated=True, label="after", zorder=4)
    right.legend(loc="upper left")
    left.set_title(" \n ")
    left.title.set_animated(True)
    turn, lengths = np.linspace(0, 2 * np.pi, 121), np.linspace(0.001, 6, 2000)
    direction = np.array([np.cos(0.5), np.sin(0.5)])

    def draw(map, length, radius):
        place = landing(map, np.array([length]), radius)[0]
        curve.set_data(*_open_jumps(lengths, landing(map, lengths, radius), radius))
        dot.set_data([length], [place])
        sphere.set_data(radius * np.cos(turn), radius * np.sin(turn))
        before.set_data(*(length * direction)[:, None])
        after.set_data(*(place * direction)[:, None])
        left.set_title(f"{map}, radius {radius:.2f}\nlength {length:.2f} goes to {place:.2f}")
        return figure

    return draw


def range_explorer() -> Live:
    """Shows where a map puts a point, under sliders for its length and the radius and a choice of the map.

    >>> range_explorer().values
    {'map': 'Unit-Bounce', 'length': 1.6, 'radius': 1.0}
    """
    alt = (
        "Left, the place of a point after a map over its length before. L2 puts all on the sphere, Unit-Range only "
        "those outside, Unit-Bounce runs to and fro between both sides, the authors' code jumps. Right, the point "
        "in the plane before and after, and the sphere."
    )
    choices = ["Unit-Bounce", *(name for name in MAPS if name != "Unit-Bounce")]
    return live(_range_scene(), alt, map=choices, length=(0.05, 6.0, 1.6, 0.05), radius=(0.5, 2.0, 1.0, 0.05))
