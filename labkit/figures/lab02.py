"""Pictures of lab 02: histograms layer by layer, and a deep net whose gain, depth and activation a slider moves."""

from functools import cache

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from labkit.figures.drawing import array, items, new_axes
from labkit.figures.live import Live, live
from labkit.figures.style import BLUE, INK, RED, styled

DEEPEST = 100  # layers of the net that the sliders move
UNITS, INPUTS = 96, 24  # width of its layers, and how many inputs go through it
LIMITS = 1e-8, 1e8  # of its picture; sizes beyond are drawn at the border

ACTIVATIONS = {  # name -> (function, its slope)
    "linear": (lambda x: x, np.ones_like),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    "leaky relu (0.2)": (lambda x: np.where(x > 0, x, 0.2 * x), lambda x: np.where(x > 0, 1, 0.2)),
}


@styled
def histogram_grid(
    rows: dict[str, list[ArrayLike]], columns: list[str], xlabel: str, limits: tuple[float, float]
) -> Figure:
    """Draws histograms in rows and columns, all over the same axis, each scaled to its own highest bar.

    rows: {name of the row: a sequence of values (any shape), one for each column}.
    columns: their names.
    limits: (low, high) of the axis; values beyond are counted in the first or last bar.

    The standard deviation stands above each. Raises ValueError for rows of another length, an empty histogram, values
    that are not finite, and limits that are not in order.

    >>> histogram_grid({"tanh": [[-1, 1]]}, ["layer 1"], "output of a unit", (-2, 2)).axes[0].get_title()
    'layer 1\\nstd 1'
    """
    low, high = limits
    if not low < high:
        raise ValueError(f"limits: got {limits!r}, expected (low, high) with low < high")
    edges = np.linspace(low, high, 42)
    width, height = 1.9 * len(columns) + 1.6, 1.25 * len(items("rows", rows)) + 0.9
    figure, axes = new_axes(width, height, len(columns), len(rows))
    grid = np.reshape(axes, (len(rows), len(columns)))
    for (name, values), line in zip(rows.items(), grid, strict=True):
        if len(values) != len(columns):
            raise ValueError(f"rows[{name!r}]: got {len(values)} histograms, expected {len(columns)}, one per column")
        for column, one, axes in zip(columns, values, line, strict=True):
            numbers = array(f"rows[{name!r}], {column}", one).ravel()
            if not len(numbers):
                raise ValueError(f"rows[{name!r}], {column}: got no value, expected at least one")
            counts, _ = np.histogram(np.clip(numbers, low, high), edges)
            axes.stairs(counts / counts.max(), edges, fill=True, facecolor=(BLUE, 0.5), edgecolor=INK, linewidth=0.8)
            axes.set_title(f"std {numbers.std():.2g}", fontsize=11, pad=3)
            axes.set(yticks=[], ylim=(0, 1.05), xlim=(low, high))
            axes.tick_params(labelsize=11, labelbottom=line is grid[-1])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for column, axes in zip(columns, grid[0], strict=True):
        axes.set_title(f"{column}\n{axes.get_title()}", fontsize=11, pad=3)
    figure.supxlabel(xlabel, fontsize=13)
    return figure


def _send(depth, gain, activation, seed=0):
    """Sends inputs through `depth` layers of random weights, and gradients of size 1 back.

    Weights are normal with standard deviation gain/√fan_in; the last layer has its activation too. Returns
    (forward, backward, last): root mean squares of the outputs of layers 0 (the inputs) to depth, (depth + 1,), of the
    gradients to them, (depth + 1,), and the outputs of the last layer (INPUTS, UNITS). The same seed gives the same
    weights, whatever the other arguments.
    """
    weights, inputs, gradient = _drawn(seed)
    function, slope = ACTIVATIONS[activation]
    x, sums = inputs, []
    forward = [_rms(x)]
    for weight in weights[:depth]:
        sums.append(x @ (gain * weight).T)
        x = function(sums[-1])
        forward.append(_rms(x))
    backward = [_rms(gradient)]
    for weight, z in zip(weights[depth - 1 :: -1] if depth else [], sums[::-1], strict=True):
        gradient = (gradient * slope(z)) @ (gain * weight)
        backward.append(_rms(gradient))
    return np.array(forward), np.array(backward[::-1]), x


@cache
def _drawn(seed):
    random = np.random.default_rng(seed)
    inputs, gradient = random.normal(size=(2, INPUTS, UNITS))
    weights = random.normal(size=(DEEPEST, UNITS, UNITS)) / np.sqrt(UNITS)
    return weights, inputs / _rms(inputs), gradient / _rms(gradient)


def _rms(x):
    return np.sqrt(np.mean(x**2))


@styled
def _signal_scene():
    """Returns draw(depth, gain, activation): signal and gradient over the layers, and the last layer's outputs."""
    figure, (left, right) = new_axes(10, 4.6, columns=2, widths=[1.5, 1])
    left.set(xlim=(0, DEEPEST), ylim=LIMITS, yscale="log")
    left.set(xlabel="layer (0: the inputs)", ylabel="size (root mean square)")
    left.axhline(1, color=INK, linewidth=0.8)
    (signal,) = left.plot([], [], color=BLUE, animated=True, label="signal, forward")
    (gradient,) = left.plot([], [], color=RED, linestyle="--", animated=True, label="gradient, backward")
    (end,) = left.plot([], [], color=INK, linestyle=":", linewidth=1.2, animated=True)
    left.legend(loc="upper left")
    right.set(xlabel="unit of the last layer", ylabel="input", xticks=[], yticks=[])
    picture = right.imshow(np.zeros((INPUTS, UNITS)), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", animated=True)
    figure.colorbar(picture, ax=right, label="output (beyond ±1: full color)", extend="both")
    for axes in (left, right):
        axes.set_title(" \n ")
        axes.title.set_animated(True)

    def draw(depth, gain, activation):
        forward, backward, last = _send(depth, gain, activation)
        layers = np.arange(depth + 1)
        signal.set_data(layers, np.clip(forward, *LIMITS))
        gradient.set_data(layers, np.clip(backward, *LIMITS))
        end.set_data([depth, depth], LIMITS)
        picture.set_data(last)
        left.set_title(
            f"after {depth} layers: signal × {forward[-1]:.1e}\nback at the inputs: gradient × {backward[0]:.1e}"
        )
        directions = last / np.maximum(np.linalg.norm(last, axis=1, keepdims=True), 1e-300)
        cosines = (directions @ directions.T)[~np.eye(INPUTS, dtype=bool)]
        right.set_title(f"{INPUTS} different inputs:\nmean cosine of their outputs {cosines.mean():.2f}")
        return figure

    return draw


def signal_explorer() -> Live:
    """Shows the sizes of signal and gradient over a deep net's layers, beside what its last layer makes of each input.

    Depth, gain (standard deviation of the weights, times √fan_in) and activation stand under controls.

    >>> signal_explorer().values
    {'depth': 50, 'gain': 1.0, 'activation': 'tanh'}
    """
    alt = (
        "Left, over the layers of a deep net and on a logarithmic axis, the size of the signal going forward and of "
        "the gradient coming back: straight lines that rise, fall or stay level with the gain. Right, the outputs of "
        "the last layer as an image, a row for each input: with ReLU and many layers all rows look alike."
    )
    choices = ["tanh", *(name for name in ACTIVATIONS if name != "tanh")]
    return live(_signal_scene(), alt, depth=(1, DEEPEST, 50), gain=(0.5, 2.5, 1.0, 0.01), activation=choices)
