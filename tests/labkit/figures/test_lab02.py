"""labkit.figures.lab02: what the histograms and the deep net's picture show."""

import itertools

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from pictures import pixels, texts
from torch import nn

from labkit.figures import lab02 as plots
from labkit.initialization import initialize, signal_statistics

RANDOM = np.random.default_rng(0)
ROWS = {"large": [RANDOM.normal(size=(20, 30)), RANDOM.normal(size=500) / 10], "small": [torch.zeros(7), [0.5, -0.5]]}


# --- histograms ---------------------------------------------------------------------------------------------------


def test_histograms_hold_the_numbers():
    figure = plots.histogram_grid(ROWS, ["layer 1", "layer 9"], "output", (-1, 1))
    assert isinstance(figure, Figure) and len(figure.axes) == 4
    cells = [np.asarray(values).ravel() for row in ROWS.values() for values in row]
    for axes, values in zip(figure.axes, cells, strict=True):
        (shown,) = (patch.get_data() for patch in axes.patches)
        counts, edges = np.histogram(np.clip(values, -1, 1), shown.edges)
        assert (edges[0], edges[-1]) == (-1, 1) and len(counts) == 41
        assert np.allclose(shown.values, counts / counts.max())
        assert f"std {values.std():.2g}" in axes.get_title()
        assert axes.get_xlim() == (-1, 1) and not axes.get_yticks().size
    assert [axes.get_title().split("\n")[0] for axes in figure.axes[:2]] == ["layer 1", "layer 9"]
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["large", "small"]
    assert figure.get_supxlabel() == "output"


def test_a_histogram_of_one_cell():
    (axes,) = plots.histogram_grid({"only": [[1.0, 2.0, 2.0]]}, ["column"], "x", (0, 4)).axes
    assert axes.get_title() == f"column\nstd {np.std([1, 2, 2]):.2g}"


@pytest.mark.parametrize(
    ("rows", "limits", "words"),
    [
        ({}, (-1, 1), "rows: got nothing"),
        ({"a": [[1.0]]}, (-1, 1), r"rows\['a'\]: got 1 histograms, expected 2, one per column"),
        ({"a": [[1.0], []]}, (-1, 1), r"rows\['a'\], second: got no value"),
        ({"a": [[1.0], [np.nan]]}, (-1, 1), r"rows\['a'\], second: got values that are not finite"),
        ({"a": [[1.0], [1.0]]}, (1, 1), r"limits: got \(1, 1\), expected \(low, high\) with low < high"),
    ],
)
def test_bad_histograms(rows, limits, words):
    with pytest.raises(ValueError, match=words):
        plots.histogram_grid(rows, ["first", "second"], "x", limits)


# --- the deep net -------------------------------------------------------------------------------------------------

MODULES = {"linear": nn.Identity, "tanh": nn.Tanh, "relu": nn.ReLU, "leaky relu (0.2)": lambda: nn.LeakyReLU(0.2)}


@pytest.mark.parametrize("activation", plots.ACTIVATIONS)
def test_signal_and_gradient_are_those_of_autograd(activation):
    forward, backward, found = plots._send(6, 1.3, activation)
    inputs, gradient, weights = plots._net(0)
    network = nn.Sequential()
    for weight in weights[:6]:
        layer = nn.Linear(plots.UNITS, plots.UNITS, bias=False, dtype=torch.float64)
        layer.weight.data = torch.tensor(1.3 * weight)
        network.extend([layer, MODULES[activation]()])
    assert set(MODULES) == set(plots.ACTIVATIONS)
    outputs = [torch.tensor(inputs, requires_grad=True)]
    for layer in network:
        outputs.append(layer(outputs[-1]))
    kept = outputs[::2]
    gradients = torch.autograd.grad(kept[-1], kept, torch.tensor(gradient))
    assert np.allclose(forward, [x.detach().pow(2).mean().sqrt() for x in kept], rtol=1e-12)
    assert np.allclose(backward, [g.pow(2).mean().sqrt() for g in gradients], rtol=1e-12)
    assert len(found) == 7 and all(np.allclose(x, y.detach(), rtol=1e-12) for x, y in zip(found, kept, strict=True))
    assert forward[0] == pytest.approx(1) and backward[-1] == pytest.approx(1)


def test_the_weights_have_the_size_that_the_gain_is_measured_in():
    for activation, gain in (("linear", 1.0), ("relu", 2**0.5)):
        last = [plots._send(10, gain, activation, seed)[0][-1] for seed in range(10)]
        assert np.mean(np.log(last)) == pytest.approx(0, abs=0.25)
    reference = initialize(nn.Linear(plots.UNITS, plots.UNITS, bias=False), "he_normal", "linear", generator=0)
    (layer,) = signal_statistics(reference, torch.randn(500, plots.UNITS, generator=torch.Generator().manual_seed(1)))
    assert plots._send(1, 1.0, "linear")[0][-1] == pytest.approx(layer.std, rel=0.1)


def test_the_drawn_numbers_are_random():
    numbers = plots._drawn(0, 200_000)
    assert abs(numbers.mean()) < 0.01 and abs(numbers.std() - 1) < 0.01 and np.abs(numbers).max() <= np.sqrt(3)
    counts, _ = np.histogram(numbers, 50)
    assert np.allclose(counts / counts.mean(), 1, atol=0.08), "evenly spread"
    for apart in (1, 2, plots.UNITS, plots.UNITS**2):
        assert abs(np.corrcoef(numbers[apart:], numbers[:-apart])[0, 1]) < 0.01
    assert np.array_equal(plots._drawn(7, 5), numbers[7:12])


def test_seeds_differ_and_depth_does_not_change_the_first_layers():
    short, long = plots._send(3, 1.0, "tanh")[0], plots._send(9, 1.0, "tanh")[0]
    assert np.array_equal(short, long[:4])
    assert not np.array_equal(short, plots._send(3, 1.0, "tanh", seed=1)[0])


def test_the_picture_shows_the_numbers():
    figure = plots.SignalExplorer(depth=40, gain=0.7, activation="relu", layer=30).figure()
    sizes, bars, spread, rows = figure.axes
    forward, backward, outputs = plots._send(40, 0.7, "relu")
    lines = {line.get_label(): line for line in sizes.lines}
    assert np.array_equal(lines["signal, forward"].get_xdata(), np.arange(41))
    assert np.allclose(lines["signal, forward"].get_ydata(), np.clip(forward, *plots.LIMITS))
    assert np.allclose(lines["gradient, backward"].get_ydata(), np.clip(backward, *plots.LIMITS))
    assert sizes.get_ylim() == plots.LIMITS and sizes.get_yscale() == "log"
    assert f"signal × {forward[-1]:.1e}, gradient × {backward[0]:.1e}" in sizes.get_title()
    assert all([30, 30] == list(axes.lines[-1].get_xdata()) for axes in (sizes, spread)), "the layer that is looked at"
    counts, edges = np.histogram(outputs[30], 41, (-3, 3))
    (shown,) = (patch.get_data() for patch in bars.patches)
    assert np.allclose(shown.values, 100 * counts / outputs[30].size) and np.allclose(shown.edges, edges)
    assert bars.get_title() == f"layer 30: std {outputs[30].std():.2g}"
    columns = np.asarray(spread.images[0].get_array())
    assert columns.shape == (41, 41) and np.allclose(columns[:, 30], counts / counts.max())
    assert np.array_equal(rows.images[0].get_array(), outputs[30])


@pytest.mark.parametrize("gain", [0.5, 2.5])
def test_sizes_beyond_the_picture_are_drawn_at_its_border(gain):
    low, high = plots.LIMITS
    border = low if gain < 1 else high
    for line in plots.SignalExplorer(depth=100, gain=gain, activation="relu").figure().axes[0].lines[:2]:
        sizes = line.get_ydata()
        assert border in sizes and 1 in sizes.round(9) and low <= sizes.min() and sizes.max() <= high


def test_the_layer_is_at_most_the_last():
    assert plots.SignalExplorer(depth=7).figure().axes[1].get_title().startswith("layer 7: std")


def test_the_mean_cosine():
    last = plots._send(30, 1.4, "relu")[2][-1]
    mean = np.mean([u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in itertools.combinations(last, 2)])
    assert plots._mean_cosine(last) == pytest.approx(mean)
    assert plots._mean_cosine(plots._send(100, 0.5, "relu")[2][-1]) > 0.97, "tiny outputs have directions too"
    assert abs(plots._mean_cosine(plots._send(1, 1.0, "linear")[2][-1])) < 0.1
    assert plots._mean_cosine(np.zeros((3, 5))) == 0


def test_pictures_can_be_written_and_say_what_they_show():
    explorer = plots.signal_explorer()
    for figure in (plots.histogram_grid(ROWS, ["a", "b"], "x", (-1, 1)), explorer.figure()):
        assert pixels(figure, 0.5).min() < 60
    words = " ".join(texts(explorer.figure()))
    for text in ("signal, forward", "gradient, backward", "layer (0: the inputs)", "output of a unit", "units (%)"):
        assert text in words
