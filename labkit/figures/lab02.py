"""Pictures of lab 02: histograms layer by layer, and a deep net whose gain, depth and activation answer the hand."""

from functools import cache

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from traitlets import Enum, Float, Int

from labkit.figures.drawing import array, items, new_axes
from labkit.figures.hands import Hand
from labkit.figures.style import BLUE, INK, ORANGE, RED, styled

DEEPEST = 100  # layers of the net
UNITS, INPUTS = 96, 4  # width of its layers, and how many inputs go through it
LIMITS = 1e-8, 1e8  # of its picture; sizes beyond are drawn at the border
BARS = 41  # of a histogram

ACTIVATIONS = {  # name -> (function, its slope, half the width of its histograms)
    "linear": (lambda x: x, np.ones_like, 3),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2, 1),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float), 3),
    "leaky relu (0.2)": (lambda x: np.where(x > 0, x, 0.2 * x), lambda x: np.where(x > 0, 1, 0.2), 3),
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
    edges = np.linspace(low, high, BARS + 1)
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

    Weights have the standard deviation gain/√fan_in; the last layer has its activation too. Returns (forward, backward,
    outputs): root mean squares of the outputs of layers 0 (the inputs) to depth, (depth + 1,), of the gradients to
    them, (depth + 1,), and the outputs themselves, each (INPUTS, UNITS). The same seed gives the same weights, whatever
    the other arguments, here and in hands/signal.js.
    """
    x, gradient, weights = _net(seed)
    function, slope, _ = ACTIVATIONS[activation]
    outputs, sums = [x], []
    for weight in weights[:depth]:
        sums.append(outputs[-1] @ (gain * weight).T)
        outputs.append(function(sums[-1]))
    backward = [_rms(gradient)]
    for weight, z in zip(weights[:depth][::-1], sums[::-1], strict=True):
        gradient = (gradient * slope(z)) @ (gain * weight)
        backward.append(_rms(gradient))
    return np.array([_rms(x) for x in outputs]), np.array(backward[::-1]), outputs


@cache
def _net(seed):
    """Inputs and gradients (INPUTS, UNITS) of size 1, and weights (DEEPEST, UNITS, UNITS) of variance 1/UNITS."""
    numbers = _drawn(seed * 2**20, 2 * INPUTS * UNITS + DEEPEST * UNITS**2)
    inputs, gradient = numbers[: 2 * INPUTS * UNITS].reshape(2, INPUTS, UNITS)
    weights = numbers[2 * INPUTS * UNITS :].reshape(DEEPEST, UNITS, UNITS) / np.sqrt(UNITS)
    return inputs / _rms(inputs), gradient / _rms(gradient), weights


def _drawn(first, count):
    """Uniform random numbers of mean 0 and variance 1: the last mixing of MurmurHash3, of first, first + 1, ...

    Each is made from its place alone, in whole numbers of 32 bits: so JavaScript draws the very same.
    """
    h = np.arange(first, first + count).astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = (h ^ (h >> shift)) * np.uint32(factor)
    return np.sqrt(12) * ((h ^ (h >> 16)) + 0.5) / 2**32 - np.sqrt(3)


def _rms(x):
    return np.sqrt(np.mean(x**2))


def _mean_cosine(outputs):
    """Of the rows of `outputs` with each other."""
    rows = outputs / np.maximum(np.linalg.norm(outputs, axis=1, keepdims=True), 1e-300)
    return (rows @ rows.T)[~np.eye(len(rows), dtype=bool)].mean()


class SignalExplorer(Hand):
    """A signal on its way through a deep net, and the gradient on its way back: sizes and histograms of the layers.

    gain: standard deviation of the weights, times √fan_in. layer: that is looked at, at most `depth`. seed: of weights.

    >>> SignalExplorer(activation="relu", gain=1.41).state["depth"]
    50
    """

    module = "signal"
    activation = Enum(list(ACTIVATIONS), "tanh").tag(sync=True)
    gain = Float(1.0).tag(sync=True)
    depth, layer, seed = Int(50).tag(sync=True), Int(DEEPEST).tag(sync=True), Int(0).tag(sync=True)

    @styled
    def figure(self) -> Figure:
        """Left sizes and histograms over the layers, right histogram and outputs of the layer that is looked at."""
        forward, backward, outputs = _send(self.depth, self.gain, self.activation, self.seed)
        layer, reach = min(self.layer, self.depth), ACTIVATIONS[self.activation][2]
        edges = np.linspace(-reach, reach, BARS + 1)
        counts = np.stack([np.histogram(np.clip(x, -reach, reach), edges)[0] for x in outputs])
        figure, ((sizes, bars), (spread, rows)) = new_axes(10.5, 5.4, 2, 2, widths=[1.6, 1])
        sizes.plot(np.clip(forward, *LIMITS), color=BLUE, label="signal, forward")
        sizes.plot(np.clip(backward, *LIMITS), color=RED, linestyle="--", label="gradient, backward")
        sizes.legend(loc="upper left")
        sizes.set(yscale="log", ylim=LIMITS, ylabel="size (rms)")
        sizes.set_title(f"{self.activation}: signal × {forward[-1]:.1e}, gradient × {backward[0]:.1e}")
        shares, extent = counts / counts.max(axis=1, keepdims=True), (-0.5, self.depth + 0.5, -reach, reach)
        spread.imshow(shares.T, "Blues", aspect="auto", origin="lower", extent=extent, interpolation="nearest")
        for axes in (sizes, spread):
            axes.axvline(layer, color=ORANGE)
            axes.set_xlim(-0.5, DEEPEST + 0.5)
        spread.set(xlabel="layer (0: the inputs)", ylabel="output")
        bars.stairs(100 * counts[layer] / outputs[0].size, edges, fill=True, color=BLUE)
        bars.set(xlabel="output of a unit", ylabel="units (%)", xlim=(-reach, reach))
        bars.set_title(f"layer {layer}: std {outputs[layer].std():.2g}")
        largest = np.abs(outputs[layer]).max()
        rows.imshow(outputs[layer], "RdBu", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest")
        rows.set(xlabel="unit", ylabel="input", xticks=[], yticks=[])
        rows.set_title(f"outputs of {INPUTS} inputs, mean cosine {_mean_cosine(outputs[layer]):.2f}")
        return figure

    alt = (
        "Left, over the layers of a deep net, the size of the signal going forward and of the gradient coming back, on "
        "a logarithmic axis: lines that rise, fall or stay level with the gain; below them the histogram of each "
        "layer's outputs as a column. Right, the histogram of one layer, and its outputs as an image, a row for each "
        "input. Gain, depth and activation can be chosen; the layer that is looked at can be dragged."
    )


def signal_explorer() -> SignalExplorer:
    """Shows a signal on its way through a deep net, and the gradient on its way back.

    >>> signal_explorer().gain
    1.0
    """
    return SignalExplorer()
