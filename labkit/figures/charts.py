"""Charts and tables: numbers in, a matplotlib Figure or a Markdown table out. Arrays may be numpy, lists or tensors."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from labkit.figures.drawing import Arrays, array, arrays, items, new_axes
from labkit.figures.style import BLUE, GRAY, INK, YELLOW, looks, styled
from labkit.training.history import History


@styled
def curves(
    lines: dict[str, tuple], xlabel: str, ylabel: str, title: str = "", band: str = "lowest to highest seed"
) -> Figure:
    """Draws curves by name. Several seeds are drawn as their mean, in a band from the smallest to the largest.

    lines: {name: (x, y)} with x (T,) and y (T,) or (seeds, T).
    band: what the legend says of the band.

    >>> curves({"two seeds": ([0, 1], [[1, 2], [3, 6]])}, "epoch", "loss").axes[0].lines[0].get_ydata()
    array([2., 4.])
    """
    figure, axes = new_axes(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title)
    for (name, (x, y)), (color, line) in zip(items("lines", lines), looks(), strict=False):
        x = array(f"lines[{name!r}] x", x, None)
        y = array(f"lines[{name!r}] y", np.atleast_2d(array(f"lines[{name!r}] y", y)), None, len(x))
        axes.plot(x, y.mean(0), color=color, linestyle=line, label=name)
        if len(y) > 1:
            axes.fill_between(x, y.min(0), y.max(0), facecolor=(color, 0.2), edgecolor=color, linewidth=0.8)
    if len(lines) > 1 or axes.collections:
        axes.legend(title=f"band: {band}" if axes.collections else None)
    return figure


@styled
def bars(values: Arrays, xlabel: str, title: str = "", start: float = 0.0) -> Figure:
    """Draws one bar per name: the mean over seeds with its standard error, and a dot for every seed.

    values: {name: number or (seeds,)}.
    start: where the bars begin; anything but 0 exaggerates differences, so the axis says it.

    >>> [text.get_text() for text in bars({"pixels": 0.9, "triplet": [0.95, 0.97]}, "accuracy").axes[0].texts]
    ['0.900', '0.960']
    """
    values = {name: np.atleast_1d(seeds) for name, seeds in arrays("values", values).items()}
    figure, axes = new_axes(7, 1.5 + min(0.55, 5 / len(values)) * len(values))  # many bars: thinner ones
    for row, seeds in enumerate(values.values()):
        mean, error = _mean_and_error(seeds)
        axes.barh(row, mean - start, left=start, height=0.62, facecolor=(BLUE, 0.55), edgecolor=BLUE)
        axes.plot(seeds, np.linspace(row - 0.16, row + 0.16, len(seeds)), ".", color=INK, markersize=5, alpha=0.6)
        if len(seeds) > 1:
            axes.errorbar(mean, row, xerr=error, color=INK, capsize=5, linewidth=2)
        place = max(mean + error, seeds.max()), row
        axes.annotate(f"{mean:.3f}", place, (8, 0), textcoords="offset points", va="center", fontweight="bold")
    axes.set(title=title, xlabel=xlabel if start == 0 else f"{xlabel} (axis begins at {start:g})")
    axes.set_yticks(range(len(values)), list(values))
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.16)
    axes.set_xlim(left=start)
    return figure


def table(rows: dict[str, Arrays], columns: list[str], digits: int = 3) -> str:
    """Returns a Markdown table: mean ± standard error over seeds, or the number alone where there is one seed.

    rows: {name of the row: {name of the column: number or (seeds,)}}; a dash stands where a column is missing.
    columns: their names, in order.
    digits: after the decimal point.

    >>> print(table({"pixels": {"AUC": 0.9}, "triplet": {"AUC": [0.95, 0.97]}}, ["AUC"], digits=2))
    | | AUC |
    |:--|--:|
    | pixels | 0.90 |
    | triplet | 0.96 ± 0.01 |
    """
    lines = ["| | " + " | ".join(columns) + " |", "|:--|" + "--:|" * len(columns)]
    for name, values in items("rows", rows):
        cells = [_cell(f"rows[{name!r}]", values[c], digits) if c in values else "–" for c in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(name, values, digits):
    seeds = np.atleast_1d(array(name, values))
    mean, error = _mean_and_error(seeds)
    return f"{mean:.{digits}f} ± {error:.{digits}f}" if len(seeds) > 1 else f"{mean:.{digits}f}"


def _mean_and_error(seeds):
    """The mean of (seeds,) values and its standard error, 0 for one seed."""
    error = seeds.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else 0.0
    return seeds.mean(), error


@styled
def history(run: History) -> Figure:
    """Draws loss and metrics of a training run over its epochs.

    run: what `fit` returns: loss of every step, epoch_loss, metrics {name: a value per epoch}, best_epoch or None.

    >>> from types import SimpleNamespace
    >>> run = SimpleNamespace(loss=[4.0, 2.0], epoch_loss=[3.0], metrics={}, best_epoch=None)
    >>> [line.get_label() for line in history(run).axes[0].lines]
    ['one step', 'mean of the epoch']
    """
    epochs = np.arange(1, len(run.epoch_loss) + 1)
    figure, axes = new_axes(10 if run.metrics else 6, 4, 2 if run.metrics else 1, xlabel="epoch")
    left, right = np.ravel(axes)[[0, -1]]
    if len(run.loss) > len(epochs) > 0:
        steps = (np.arange(len(run.loss)) + 0.5) * len(epochs) / len(run.loss)
        left.plot(steps, run.loss, color=GRAY, linewidth=0.8, label="one step")
    left.plot(epochs - 0.5, run.epoch_loss, "-o", color=INK, markersize=4, label="mean of the epoch")
    left.set(ylabel="loss", ylim=(0, None))
    left.legend()
    for (name, values), (color, line) in zip(run.metrics.items(), looks(), strict=False):
        right.plot(epochs, values, marker="o", markersize=4, color=color, linestyle=line, label=name)
    if run.metrics:
        if run.best_epoch:
            best = next(iter(run.metrics.values()))[run.best_epoch - 1]
            star = {"color": YELLOW, "markeredgecolor": INK, "markersize": 16, "linestyle": ""}
            right.plot(run.best_epoch, best, marker="*", label=f"best: {best:.3f}", **star)
        right.set_ylabel("metric" if len(run.metrics) > 1 else next(iter(run.metrics)))
        right.legend()
    for one in (left, right):
        one.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
