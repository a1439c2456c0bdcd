"""Pictures of lab 09: a ball and the hill under it, a plane through weight space, and how sure networks are."""

import math
from functools import cache

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator

from labkit.figures.drawing import (
    BLUE,
    GRAY,
    INK,
    MARKERS,
    ORANGE,
    OUTLINE,
    PURPLE,
    RED,
    YELLOW,
    array,
    items,
    looks,
    new_axes,
    styled,
)
from labkit.figures.live import live

__all__ = ["VALLEYS", "ball_and_hill", "ball_scene", "plane_explorer", "plane_scene", "reliability", "roll"]


# --- A ball in one dimension --------------------------------------------------------------------------------------

MINIMUM = 2 / 3
VALLEYS = {
    # name: height, slope, both of x; each has a minimum at 2/3
    "two valleys": (lambda x: x**4 / 4 + x**3 / 9 - x**2 / 3, lambda x: x * (x - 2 / 3) * (x + 1)),
    "bowl": (lambda x: 5 / 9 * (x - 2 / 3) ** 2, lambda x: 10 / 9 * (x - 2 / 3)),
}


def roll(slope, strength, sigma, beside=0.0, steps=400, lr=0.05, center=MINIMUM):
    """The places of a ball that rolls down from center + beside, with a Gaussian hill at the center: (steps+1,).

    slope  of the valley, a function of x; the hill is strength·exp(-(x-center)²/(2σ²)). Plain gradient descent.
    """
    x, path = center + beside, [center + beside]
    for _ in range(steps):
        apart = x - center
        push = strength / sigma**2 * apart * math.exp(-(apart**2) / (2 * sigma**2))
        x = x - lr * (slope(x) - push)
        path.append(x)
    return np.array(path)


@styled
def ball_scene(valley):
    """Return draw(strength, sigma, beside) -> Figure: the valley with and without the hill, and where the ball goes.

    valley  a name of VALLEYS
    """
    height, slope = VALLEYS[valley]
    x = np.linspace(-1.7, 1.7, 400)
    figure, axes = new_axes(8, 5, xlabel="place x (one weight)", ylabel="height (loss)")
    axes.plot(x, height(x), color=INK, label="the valley")
    axes.axvline(MINIMUM, color=GRAY, linewidth=0.8, linestyle=":")
    axes.set(xlim=(-1.7, 1.7), ylim=(-0.3, 1.6))
    moving = {"animated": True}
    (hilled,) = axes.plot([], [], color=RED, linestyle="--", label="with the hill", **moving)
    (track,) = axes.plot([], [], color=BLUE, linewidth=4, alpha=0.4, label="way of the ball", **moving)
    (start,) = axes.plot([], [], "o", color="white", markeredgecolor=INK, markersize=10, label="start", **moving)
    (end,) = axes.plot([], [], "o", color=ORANGE, markeredgecolor=INK, markersize=13, label="rest", **moving)
    title = axes.set_title("\n", loc="left", fontsize=12)
    title.set_animated(True)
    axes.legend(loc="upper center", ncols=2)

    def draw(strength, sigma, beside):
        def lifted(x):
            return height(x) + strength * np.exp(-((x - MINIMUM) ** 2) / (2 * sigma**2))

        path = roll(slope, strength, sigma, beside)
        hilled.set_data(x, lifted(x))
        track.set_data(path, lifted(path))
        start.set_data(path[:1], lifted(path[:1]))
        end.set_data(path[-1:], lifted(path[-1:]))
        # at x = 2/3 both valleys have the curvature 10/9
        verdict = "a top: the ball is free" if strength / sigma**2 > 10 / 9 else "still a bottom: the ball stays"
        title.set_text(
            f"s/σ² = {strength / sigma**2:.2f}, curvature 1.11: the checkpoint is {verdict}\n"
            f"the ball comes to rest at x = {path[-1]:.2f}, {abs(path[-1] - MINIMUM):.2f} from the checkpoint"
        )
        return figure

    return draw


def ball_and_hill(strength=0.5, sigma=0.5):
    """A ball in its valley under sliders for the hill's strength and width, and for where beside the top it starts."""
    scene = cache(ball_scene)

    def draw(valley, strength, sigma, beside):
        return scene(valley)(strength, sigma, beside)

    alt = (
        "A valley with its minimum at x = 2/3, and the same valley with a Gaussian hill on that place. A ball starts "
        "on the hill and rolls down. Sliders choose the strength and the width of the hill and where the ball starts."
    )
    return live(
        draw,
        alt,
        valley=list(VALLEYS),
        strength=(0.0, 1.5, float(strength), 0.05),
        sigma=(0.1, 1.5, float(sigma), 0.05),
        beside=(-0.1, 0.1, -0.01, 0.01),
    )


# --- A plane through weight space ---------------------------------------------------------------------------------


def _draw_plane(axes, x, y, losses, places):
    x, y = array("x", x, None), array("y", y, None)
    height = np.maximum(array("losses", losses, len(y), len(x)), 1e-8)
    low, high = np.log10(height.min()), np.log10(height.max())
    levels = np.logspace(low - 1e-6, max(high, low + 0.1) + 1e-6, 13)
    axes.contourf(x, y, height, levels, colors=colormaps["Greys"](np.linspace(0.02, 0.55, 12)))
    lines = axes.contour(x, y, height, levels[1::2], colors=GRAY, linewidths=0.8)
    axes.clabel(lines, fmt=lambda level: f"{level:.2g}", fontsize=10, colors=INK)
    for (name, place), marker in zip(items("places", places), MARKERS, strict=False):
        across, up = array(f"places[{name!r}]", place, 2)
        axes.plot(across, up, marker, color=YELLOW, markeredgecolor=INK, markersize=13, label=name, zorder=5)
        beside = {"textcoords": "offset points", "path_effects": OUTLINE, "zorder": 6}
        axes.annotate(name, (across, up), (0, -22), ha="center", fontweight="bold", **beside)
    axes.set(aspect="equal", xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))
    axes.set(xlabel="distance in weight space", ylabel="distance across")


@styled
def plane_scene(x, y, losses, places, path):
    """Return draw(moment) -> Figure: a plane through weight space as a map of the loss, and a path up to a moment.

    Shades and lines of the map are one factor apart.

    x, y     (X,), (Y,) coordinates in the plane; losses  (Y, X), above 0
    places   {name: (2,)} networks that lie in the plane
    path     (T, 2) a network in training, as labkit.landscape.Plane.coordinates gives it
    """
    path = array("path", path, None, 2)
    figure, axes = new_axes(7.6, 6.4)
    _draw_plane(axes, x, y, losses, places)
    (track,) = axes.plot([], [], ".-", color=BLUE, linewidth=1.6, markersize=6, animated=True)
    (head,) = axes.plot([], [], "o", color=PURPLE, markeredgecolor=INK, markersize=12, animated=True)
    title = axes.set_title("", loc="left", fontsize=12)
    title.set_animated(True)

    def draw(moment):
        track.set_data(path[: moment + 1].T)
        head.set_data(path[moment : moment + 1].T)
        walked = np.linalg.norm(path[moment] - path[0])
        title.set_text(f"moment {moment} of {len(path) - 1}: {walked:.2f} from the checkpoint, as seen in this plane")
        return figure

    return draw


def plane_explorer(x, y, losses, places, path):
    """The plane under a slider for the moment of training; arguments as for `plane_scene`."""
    scene = plane_scene(x, y, losses, places, path)
    alt = (
        f"A map of the loss over a plane in weight space, with {' and '.join(places)} marked. The path of a network "
        "in training, as the plane shows it, is drawn up to the moment that a slider chooses."
    )
    return live(scene, alt, moment=(0, len(path) - 1, len(path) - 1))


# --- Calibration --------------------------------------------------------------------------------------------------


@styled
def reliability(rows):
    """How often networks are right when they are so sure: a reliability diagram, one curve a name.

    rows  {name: (bins, 3)} as labkit.ensembles.reliability gives them; empty bins are left out
    """
    figure, axes = new_axes(7, 5, xlabel="confidence (probability of the class named)", ylabel="accuracy")
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=1.2, label="as sure as right")
    for (name, bins), (color, line), marker in zip(items("rows", rows), looks(), MARKERS, strict=False):
        share, sure, right = array(f"rows[{name!r}]", bins, None, 3).T
        axes.plot(sure[share > 0], right[share > 0], color=color, linestyle=line, marker=marker, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.legend()
    return figure
