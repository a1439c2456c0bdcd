"""Pictures of lab 03: surfaces in two dimensions, the paths of optimizers across them, a race, and momentum's plane."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from traitlets import Dict, Enum, Float, Int, List, default

from labkit import optimizers
from labkit.figures.drawing import Arrays, arrays, new_axes
from labkit.figures.hands import Hand
from labkit.figures.style import BLUE, GRAY, INK, MARKERS, RED, YELLOW, looks, styled


@dataclass(frozen=True)
class Surface:
    """A function of two numbers to be minimized.

    function: (x, y), two tensors -> their height, a tensor.
    start: (x, y) where a path begins.
    limits: (left, right, bottom, top) of the part that is drawn.
    minima: (M, 2) places of its minima.

    >>> Surface(lambda x, y: x**2 + y**2 + 1, (1, 1), (-2, 2, -2, 2), ((0, 0),)).lowest
    1.0
    """

    function: Callable
    start: tuple[float, float]
    limits: tuple[float, float, float, float]
    minima: tuple[tuple[float, float], ...]

    @property
    def lowest(self) -> float:
        """The height of the lowest minimum."""
        return min(self.height(x, y) for x, y in self.minima)

    def height(self, x: ArrayLike, y: ArrayLike) -> float | np.ndarray:
        """The height at (x, y), numbers or arrays, in float64."""
        result = self.function(torch.as_tensor(x, dtype=torch.float64), torch.as_tensor(y, dtype=torch.float64))
        return result.item() if result.ndim == 0 else result.numpy()


def bowl(curvatures: tuple[float, float] = (1.0, 100.0), degrees: float = 0.0) -> Surface:
    """Returns the bowl ½(λ₁u² + λ₂v²), where u and v are the axes x and y turned by so many degrees, and its start too.

    curvatures: (λ₁, λ₂), the eigenvalues of its Hessian.

    >>> bowl((1.0, 20.0)).height(2.0, 1.0)
    12.0
    """
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def function(x, y):
        u, v = cosine * x + sine * y, cosine * y - sine * x
        return (curvatures[0] * u**2 + curvatures[1] * v**2) / 2

    start = (-1.5 * cosine - sine, cosine - 1.5 * sine)  # u = -1.5, v = 1
    return Surface(function, start, (-2.0, 2.0, -1.5, 1.5), ((0.0, 0.0),))


SURFACES = {
    "valley": bowl(),
    "tilted valley": bowl(degrees=30),
    "Rosenbrock": Surface(
        lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2, (-1.2, 1.0), (-1.8, 1.8, -0.7, 2.0), ((1.0, 1.0),)
    ),
    "saddle": Surface(
        lambda x, y: x**2 / 2 - y**2 / 2 + y**4 / 4, (1.0, 1e-3), (-1.3, 1.3, -1.5, 1.5), ((0.0, -1.0), (0.0, 1.0))
    ),
    "Himmelblau": Surface(
        lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
        (0.0, 0.0),
        (-5.0, 5.0, -5.0, 5.0),
        ((3.0, 2.0), (-2.805118, 3.131313), (-3.779310, -3.283186), (3.584428, -1.848127)),
    ),
}


def descend(surface: Surface, optimizer: Callable, steps: int, start: tuple[float, float] | None = None) -> np.ndarray:
    """Returns the path of an optimizer down a surface, float64 (steps+1, 2), from the start on.

    optimizer: parameters -> Optimizer.
    start: (x, y), by default the surface's.

    The path ends early, with the last point at which the height is a number below 1e6, when the optimizer diverges.

    >>> descend(bowl((1.0, 2.0)), lambda p: optimizers.SGD(p, 0.5), steps=1).tolist()
    [[-1.5, 1.0], [-0.75, 0.0]]
    """
    place = torch.nn.Parameter(torch.tensor(surface.start if start is None else start, dtype=torch.float64))
    made, path = optimizer([place]), []
    for _ in range(steps + 1):
        height = surface.function(place[0], place[1])
        if not height.item() < 1e6:
            break
        path.append(place.tolist())
        (place.grad,) = torch.autograd.grad(height, place)
        made.step()
    return np.array(path)


def _draw_surface(axes, surface, start=None):
    """Height lines, closer together where it is low, and a star at each minimum."""
    left, right, bottom, top = surface.limits
    x, y = np.meshgrid(np.linspace(left, right, 161), np.linspace(bottom, top, 161))
    above = surface.height(x, y) - surface.lowest
    levels = above.max() * np.linspace(0, 1, 15)[1:] ** 4
    axes.contourf(x, y, above, [0, *levels], colors=colormaps["Greys"](np.linspace(0.02, 0.4, 14)))
    axes.contour(x, y, above, levels, colors=GRAY, linewidths=0.6)
    axes.plot(*np.array(surface.minima).T, "*", color=YELLOW, markeredgecolor=INK, markersize=16, zorder=4)
    axes.plot(*(start or surface.start), "o", color="white", markeredgecolor=INK, markersize=9, zorder=4)
    axes.set(xlim=(left, right), ylim=(bottom, top))


@styled
def paths(surface: Surface, lines: Arrays) -> Figure:
    """Draws paths across a surface: a circle at its start, a star at each minimum, a dot for every step.

    lines: {name: (T, 2)} such as `descend` returns; what leaves the picture is cut off.

    >>> paths(SURFACES["saddle"], {"by hand": [[1, 0], [0, 1]]}).axes[0].lines[-1].get_label()
    'by hand'
    """
    figure, axes = new_axes(7.4, 5, xlabel="parameter x", ylabel="parameter y")
    _draw_surface(axes, surface)
    lines = arrays("lines", lines, None, 2)
    for (name, path), (color, line), marker in zip(lines.items(), looks(), MARKERS, strict=False):
        axes.plot(*path.T, color=color, linestyle=line, linewidth=1.6, marker=marker, markersize=4, label=name)
    axes.legend()
    return figure


# What the sliders mean to each: learning rate and momentum, which is β₁ of Adam and RAdam, and of no use to the others.
RACERS = {
    "gradient descent": lambda lr, momentum: lambda p: optimizers.SGD(p, lr),
    "momentum": lambda lr, momentum: lambda p: optimizers.SGD(p, lr, momentum),
    "RMSProp": lambda lr, momentum: lambda p: optimizers.RMSProp(p, lr, decay=0.9),
    "Adam": lambda lr, momentum: lambda p: optimizers.Adam(p, lr, (momentum, 0.999)),
    "RAdam": lambda lr, momentum: lambda p: optimizers.RAdam(p, lr, (momentum, 0.999)),
}


class Race(Hand):
    """Optimizers racing down a surface of SURFACES, from a start that is dragged or clicked.

    shown, rates: name of an optimizer -> whether it runs, and its learning rate. momentum: that of momentum, β₁ of the
    Adams.

    >>> Race(surface="saddle", start=[1.0, 0.5]).state["surface"]
    'saddle'
    """

    module = "race"
    surface = Enum(list(SURFACES), "valley").tag(sync=True)
    start = List().tag(sync=True)
    shown = Dict({name: name in ("momentum", "Adam") for name in RACERS}).tag(sync=True)
    rates = Dict(dict(zip(RACERS, (0.01, 0.01, 0.03, 0.03, 0.03), strict=True))).tag(sync=True)
    momentum = Float(0.9).tag(sync=True)
    steps = Int(100).tag(sync=True)

    @default("start")
    def _its_own(self):
        return list(SURFACES[self.surface].start)

    @styled
    def figure(self) -> Figure:
        """The paths across the surface, and the height of each over the steps."""
        surface = SURFACES[self.surface]
        figure, (left, right) = new_axes(10.5, 4.8, columns=2, widths=[1.35, 1])
        left.set(xlabel="parameter x", ylabel="parameter y")
        right.set(xlabel="step", ylabel="height above the lowest minimum", yscale="log")
        right.set(xlim=(0, 200), ylim=(1e-6, 1e4))
        right.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _draw_surface(left, surface, self.start)
        for name, (color, line), marker in zip(RACERS, looks(), MARKERS, strict=False):
            if not self.shown[name]:
                continue
            path = descend(surface, RACERS[name](self.rates[name], self.momentum), self.steps, tuple(self.start))
            above = np.maximum(surface.height(*path.T) - surface.lowest, 1e-12)
            look = {"color": color, "linestyle": line, "linewidth": 1.6}
            left.plot(*path.T, marker=marker, markersize=3.5, **look)
            ended = f"{above[-1]:.2g} after step {self.steps}" if len(path) > self.steps else "diverged"
            right.plot(above, label=f"{name}: {ended}", **look)
        right.legend()
        return figure

    alt = (
        "Left, a surface as height lines with a circle at the start and stars at the minima, and the paths of "
        "optimizers across it. Right, how high each still is above the lowest minimum, over the steps. The start can "
        "be dragged; surface, optimizers, learning rates, momentum and number of steps can be chosen."
    )


def contraction(x: ArrayLike, momentum: ArrayLike) -> np.ndarray:
    """Returns by what a step with momentum multiplies the distance in a bowl in the long run; at least 1: it diverges.

    x: learning rate times curvature. The larger root of r² - (1 + α - x) r + α, in absolute value (Polyak 1964).

    >>> contraction([0.5, 2.5], 0.0).tolist()
    [0.5, 1.5]
    """
    half = (1 + np.asarray(momentum) - np.asarray(x)) / 2
    inside = half**2 - momentum  # below 0 the roots are complex, and both have the absolute value √α
    return np.where(inside < 0, np.sqrt(momentum), np.abs(half) + np.sqrt(np.maximum(inside, 0)))


class MomentumPlane(Hand):
    """The plane of learning rate times curvature and momentum, beside the path down a bowl with curvatures 1 and kappa.

    >>> MomentumPlane(kappa=9.0).state["kappa"]
    9.0
    """

    module = "momentum"
    kappa = Float(30.0).tag(sync=True)
    rate = Float(0.02).tag(sync=True)
    momentum = Float(0.6).tag(sync=True)
    steps = Int(60).tag(sync=True)

    @styled
    def figure(self) -> Figure:
        """The plane with both curvatures, and the path across the bowl."""
        figure, (left, right) = new_axes(10.5, 4.8, columns=2)
        x, alpha = np.meshgrid(np.logspace(-3.5, 0.7, 211), np.linspace(0, 0.999, 201))
        left.contourf(x, alpha, contraction(x, alpha), [0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1], cmap="Greens_r")
        alpha = alpha[:, 0]
        left.plot(2 * (1 + alpha), alpha, color=RED, label="diverges to the right of it")
        left.plot((1 - np.sqrt(alpha)) ** 2, alpha, color=BLUE, linestyle="--", label="monotone to the left of it")
        root = math.sqrt(self.kappa)
        best = np.array([1, self.kappa]) * 4 / (root + 1) ** 2  # Polyak 1964
        left.plot(best, [((root - 1) / (root + 1)) ** 2] * 2, "D", color=YELLOW, markeredgecolor=INK, label="best")
        left.plot([self.rate, self.rate * self.kappa], [self.momentum] * 2, "o-", color=INK, label="flat and steep")
        left.set(xscale="log", xlim=(10**-3.5, 10**0.7), ylim=(0, 1), ylabel="momentum α")
        left.set(xlabel="learning rate η times curvature λ")
        left.legend(loc="lower left")
        surface = bowl((1.0, self.kappa))
        _draw_surface(right, surface)
        right.plot(*descend(surface, RACERS["momentum"](self.rate, self.momentum), self.steps).T, "o-", color=RED, ms=3)
        right.set(xlabel="parameter x, curvature 1", ylabel=f"parameter y, curvature {self.kappa:g}")
        return figure

    alt = (
        "Left, the plane of learning rate times curvature, logarithmic, and momentum. To the right of a curve descent "
        "diverges, to the left of another it is monotone, between them it swings; two dots at the height of the "
        "momentum stand for the flat and the steep direction of a bowl, two diamonds for where they are best. Right, "
        "the path across the bowl. The dots can be dragged; the condition number and the steps can be chosen."
    )
