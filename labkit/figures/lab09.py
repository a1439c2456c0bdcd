"""Pictures of lab 09: a ball and the hill under it, a plane through weight space, and how sure networks are."""

import math
from collections.abc import Callable

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from traitlets import Enum, Float, Int

from labkit.figures.drawing import Arrays, array, arrays, new_axes
from labkit.figures.hands import Hand
from labkit.figures.live import Live, live
from labkit.figures.style import BLUE, GRAY, INK, MARKERS, ORANGE, OUTLINE, PURPLE, RED, YELLOW, looks, styled

MINIMUM = 2 / 3
VALLEYS = {
    # name: height, slope, both of x; each has a minimum at 2/3
    "two valleys": (lambda x: x**4 / 4 + x**3 / 9 - x**2 / 3, lambda x: x * (x - 2 / 3) * (x + 1)),
    "bowl": (lambda x: 5 / 9 * (x - 2 / 3) ** 2, lambda x: 10 / 9 * (x - 2 / 3)),
}


def roll(
    slope: Callable, strength: float, sigma: float, beside: float, steps: int, lr: float = 0.05, center: float = MINIMUM
) -> np.ndarray:
    """Returns the places (steps+1,) of a ball that rolls down from center + beside, with a Gaussian hill at the center.

    slope: of the valley, a function of x; the hill is strength·exp(-(x-center)²/(2σ²)). Plain gradient descent.

    >>> roll(lambda x: x, strength=0.0, sigma=1.0, beside=1.0, steps=2, lr=0.5, center=0.0)
    array([1.  , 0.5 , 0.25])
    """
    x, path = center + beside, [center + beside]
    for _ in range(steps):
        apart = x - center
        push = strength / sigma**2 * apart * math.exp(-(apart**2) / (2 * sigma**2))
        x = x - lr * (slope(x) - push)
        path.append(x)
    return np.array(path)


class BallAndHill(Hand):
    """A ball in its valley and a hill under it: the ball is dragged, the hill pulled, and both let go.

    >>> BallAndHill(valley="bowl", strength=0.1).figure().axes[0].get_title("left").splitlines()[0]
    's/σ² = 0.40, curvature 1.11: the checkpoint is still a bottom: the ball stays'
    """

    module = "ball"
    valley = Enum(list(VALLEYS), "two valleys").tag(sync=True)
    strength = Float(0.5).tag(sync=True)
    sigma = Float(0.5).tag(sync=True)
    beside = Float(-0.01).tag(sync=True)
    steps = Int(400).tag(sync=True)

    @styled
    def figure(self) -> Figure:
        """The valley with and without the hill, and where the ball goes."""
        height, slope = VALLEYS[self.valley]

        def lifted(x):
            return height(x) + self.strength * np.exp(-((x - MINIMUM) ** 2) / (2 * self.sigma**2))

        x, path = np.linspace(-1.7, 1.7, 400), roll(slope, self.strength, self.sigma, self.beside, self.steps)
        figure, axes = new_axes(8, 5, xlabel="place x (one weight)", ylabel="height (loss)")
        axes.plot(x, height(x), color=INK, label="the valley")
        axes.axvline(MINIMUM, color=GRAY, linewidth=0.8, linestyle=":")
        axes.set(xlim=(-1.7, 1.7), ylim=(-0.3, 1.6))
        axes.plot(x, lifted(x), color=RED, linestyle="--", label="with the hill")
        axes.plot(path, lifted(path), color=BLUE, linewidth=5, zorder=1.5, label="way of the ball")
        ball = {"marker": "o", "linestyle": "", "markeredgecolor": INK}
        axes.plot(path[:1], lifted(path[:1]), color="white", markersize=10, label="start", **ball)
        axes.plot(path[-1:], lifted(path[-1:]), color=ORANGE, markersize=13, label="rest", **ball)
        # at x = 2/3 both valleys have the curvature 10/9
        bend = self.strength / self.sigma**2
        verdict = "a top: the ball is free" if bend > 10 / 9 else "still a bottom: the ball stays"
        axes.set_title(
            f"s/σ² = {bend:.2f}, curvature 1.11: the checkpoint is {verdict}\n"
            f"after {self.steps} steps the ball is at x = {path[-1]:.2f}, "
            f"{abs(path[-1] - MINIMUM):.2f} from the checkpoint",
            loc="left",
            fontsize=12,
        )
        axes.legend(loc="upper center", ncols=2)
        return figure

    alt = (
        "A valley with its minimum at x = 2/3, and the same valley with a Gaussian hill on that place. A ball starts "
        "on the hill and rolls down. The ball and the side of the hill can be dragged."
    )


def ball_and_hill() -> BallAndHill:
    """Shows a ball in its valley with a hill under it.

    >>> ball_and_hill().valley
    'two valleys'
    """
    return BallAndHill()


@styled
def _plane_scene(x, y, losses, places, path):
    """Returns draw(moment): a plane through weight space as a map of the loss, and a path up to a moment."""
    x, y, path = array("x", x, None), array("y", y, None), array("path", path, None, 2)
    figure, axes = new_axes(7.6, 6.4, xlabel="distance in weight space", ylabel="distance across")
    height = np.maximum(array("losses", losses, len(y), len(x)), 1e-8)
    low, high = np.log10(height.min()), np.log10(height.max())
    levels = np.logspace(low - 1e-6, max(high, low + 0.1) + 1e-6, 13)
    axes.contourf(x, y, height, levels, colors=colormaps["Greys"](np.linspace(0.02, 0.55, 12)))
    lines = axes.contour(x, y, height, levels[1::2], colors=GRAY, linewidths=0.8)
    axes.clabel(lines, fmt=lambda level: f"{level:.2g}", fontsize=10, colors=INK)
    for (name, (across, up)), marker in zip(arrays("places", places, 2).items(), MARKERS, strict=False):
        axes.plot(across, up, marker, color=YELLOW, markeredgecolor=INK, markersize=13, label=name, zorder=5)
        beside = {"textcoords": "offset points", "path_effects": OUTLINE, "zorder": 6}
        axes.annotate(name, (across, up), (0, -22), ha="center", fontweight="bold", **beside)
    axes.set(aspect="equal", xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))
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


def plane_explorer(x: ArrayLike, y: ArrayLike, losses: ArrayLike, places: Arrays, path: ArrayLike) -> Live:
    """Shows a plane through weight space as a map of the loss, and a path up to a moment that a slider chooses.

    Shades and lines of the map are one factor apart.

    x, y: (X,) and (Y,) coordinates in the plane.
    losses: (Y, X), above 0.
    places: {name: (2,)}, networks that lie in the plane.
    path: (T, 2), a network in training, as labkit.landscape.Plane.coordinates gives it.

    >>> plane_explorer([0, 1], [0, 1], [[1, 2], [3, 4]], {"start": (0, 0)}, [[0, 0], [1, 0]]).values
    {'moment': 1}
    """
    scene = _plane_scene(x, y, losses, places, path)
    alt = (
        f"A map of the loss over a plane in weight space, with {' and '.join(places)} marked. The path of a network "
        "in training, as the plane shows it, is drawn up to the moment that a slider chooses."
    )
    return live(scene, alt, moment=(0, len(path) - 1, len(path) - 1))


@styled
def reliability(rows: Arrays) -> Figure:
    """Draws a reliability diagram: how often networks are right when they are so sure, one curve per name.

    rows: {name: (bins, 3)} as labkit.ensembles.reliability gives them; bins below 2 % of the images are left out.

    >>> reliability({"one": [[0.5, 0.6, 0.7], [0.5, 0.9, 0.8]]}).axes[0].lines[1].get_ydata()
    array([0.7, 0.8])
    """
    figure, axes = new_axes(7, 5, xlabel="confidence (probability of the class named)", ylabel="accuracy")
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=1.2, label="perfect calibration")
    rows = arrays("rows", rows, None, 3)
    for (name, bins), (color, line), marker in zip(rows.items(), looks(), MARKERS, strict=False):
        share, sure, right = bins.T
        kept = share >= 0.02
        axes.plot(sure[kept], right[kept], color=color, linestyle=line, marker=marker, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.legend()
    return figure
