"""Pictures of lab 03: surfaces in two dimensions, the paths of optimizers across them, and a race of two of them."""

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
from labkit.figures.style import GRAY, INK, MARKERS, YELLOW, looks, styled


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


def race() -> Race:
    """Shows optimizers racing down a surface.

    >>> race().surface
    'valley'
    """
    return Race()
