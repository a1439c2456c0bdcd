"""The course's pictures: pure functions, numbers in, a matplotlib Figure out. pyplot is never touched.

Arrays may be numpy arrays, lists or tensors. `show(figure, alt)` displays a figure together with its description in
words. `embedding_plane`, `triplet_plane` and `loss_surface`, which sliders move too, are drawn in labkit.figures.embedding.
"""

import numpy as np
from matplotlib.ticker import MaxNLocator

from labkit.figures.drawing import (
    BLUE,
    COLORS,
    DIFFERENT,
    GRAY,
    INK,
    MARKERS,
    ORANGE,
    SAME,
    YELLOW,
    array,
    items,
    looks,
    new_axes,
    not_negative,
    png,
    show,
    styled,
)
from labkit.figures.embedding import (
    draw_histogram,
    draw_roc_axes,
    embedding_plane,
    error_rates,
    loss_surface,
    pair_distances,
    triplet_plane,
)

__all__ = [
    "COLORS",
    "DIFFERENT",
    "MARKERS",
    "SAME",
    "bars",
    "collapse",
    "contrastive_curves",
    "curves",
    "distance_histogram",
    "embedding_plane",
    "history",
    "image_grid",
    "image_rows",
    "loss_surface",
    "one_shot",
    "png",
    "roc",
    "show",
    "table",
    "triplet_plane",
]


# --- Charts ------------------------------------------------------------------------------------------------------


@styled
def curves(lines, xlabel, ylabel, title=""):
    """Curves by name. Several seeds are drawn as their mean, in a band from the smallest to the largest.

    lines   {name: (x, y)} with x (T,) and y (T,) or (seeds, T)
    """
    figure, axes = new_axes(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title)
    for (name, (x, y)), (color, line) in zip(items("lines", lines), looks(), strict=False):
        x = array(f"lines[{name!r}] x", x, None)
        y = array(f"lines[{name!r}] y", np.atleast_2d(array(f"lines[{name!r}] y", y)), None, len(x))
        axes.plot(x, y.mean(0), color=color, linestyle=line, label=name)
        if len(y) > 1:
            axes.fill_between(x, y.min(0), y.max(0), color=color, alpha=0.2, linewidth=0)
    if len(lines) > 1:
        axes.legend()
    return figure


@styled
def bars(values, xlabel, title="", start=0.0):
    """One bar a name: the mean over seeds with its standard error, and a dot for every seed.

    values   {name: number or (seeds,)}
    start    where the bars begin; anything but 0 exaggerates differences, so the axis says it
    """
    values = {name: np.atleast_1d(array(f"values[{name!r}]", v)) for name, v in items("values", values)}
    figure, axes = new_axes(7, 1.5 + min(0.55, 5 / len(values)) * len(values))  # many bars: thinner ones
    for row, seeds in enumerate(values.values()):
        mean, error = mean_and_error(seeds)
        axes.barh(row, mean - start, left=start, height=0.62, color=BLUE, alpha=0.55)
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


def table(rows, columns, digits=3):
    """Return a Markdown table: mean ± standard error over seeds, or the number alone where there is one seed.

    rows     {name of the row: {name of the column: number or (seeds,)}}; a dash stands where a column is missing
    columns  names of the columns, in order
    """
    lines = ["| | " + " | ".join(columns) + " |", "|:--|" + "--:|" * len(columns)]
    for name, values in items("rows", rows):
        cells = [_cell(f"rows[{name!r}]", values[c], digits) if c in values else "–" for c in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(name, values, digits):
    seeds = np.atleast_1d(array(name, values))
    mean, error = mean_and_error(seeds)
    return f"{mean:.{digits}f} ± {error:.{digits}f}" if len(seeds) > 1 else f"{mean:.{digits}f}"


def mean_and_error(seeds):
    """Return the mean of (seeds,) values and its standard error, 0 for one seed."""
    return seeds.mean(), seeds.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else 0.0


@styled
def history(history, title=""):
    """Loss and metrics of a training run, over epochs.

    history  what `fit` returns: loss of every step, epoch_loss, metrics {name: a value an epoch}, best_epoch or None
    """
    epochs = np.arange(1, len(history.epoch_loss) + 1)
    figure, axes = new_axes(10 if history.metrics else 6, 4, 2 if history.metrics else 1, xlabel="epoch")
    left, right = np.atleast_1d(axes)[0], np.atleast_1d(axes)[-1]
    figure.suptitle(title)
    if len(history.loss) > len(epochs) > 0:
        steps = (np.arange(len(history.loss)) + 0.5) * len(epochs) / len(history.loss)
        left.plot(steps, history.loss, color=GRAY, linewidth=0.8, label="one step")
    left.plot(epochs - 0.5, history.epoch_loss, "-o", color=INK, markersize=4, label="mean of the epoch")
    left.set(ylabel="loss", ylim=(0, None))
    left.legend()
    for (name, values), (color, line) in zip(history.metrics.items(), looks(), strict=False):
        right.plot(epochs, values, marker="o", markersize=4, color=color, linestyle=line, label=name)
    if history.metrics:
        if history.best_epoch:
            best = next(iter(history.metrics.values()))[history.best_epoch - 1]
            star = {"color": YELLOW, "markeredgecolor": INK, "markersize": 16, "linestyle": ""}
            right.plot(history.best_epoch, best, marker="*", label=f"best: {best:.3f}", **star)
        right.set_ylabel("metric" if len(history.metrics) > 1 else next(iter(history.metrics)))
        right.legend()
    for one in (left, right):
        one.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


# --- Images ------------------------------------------------------------------------------------------------------


@styled
def image_grid(images, titles=None, columns=8, frames=None):
    """Images in rows of `columns`.

    images  (N, H, W), (N, 1, H, W) or (N, 3, H, W); uint8, or floats, which are scaled to their smallest and largest
    titles  (N,) texts above the images
    frames  (N,) colors of frames round the images
    """
    pictures = _pictures("images", images)
    columns = min(columns, len(pictures))
    height = 1.0 if titles is None else 1.28
    figure, axes = new_axes(1.05 * columns, 1.05 * height * -(-len(pictures) // columns))
    corners = [(n % columns, n // columns * height) for n in range(len(pictures))]
    _draw_tiles(axes, pictures, corners, titles, frames)
    return figure


@styled
def image_rows(rows, titles=None, frames=None):
    """One row of images a name: pairs as two rows, triplets as three. What stands in a column belongs together.

    rows    {name: images}, each as for `image_grid`, all of the same number N
    titles  (N,) texts above the columns
    frames  (N,) colors of frames round the images of a column
    """
    stacked = {name: _pictures(f"rows[{name!r}]", images) for name, images in items("rows", rows)}
    counts = {len(pictures) for pictures in stacked.values()}
    if len(counts) > 1:
        raise ValueError(f"rows: got rows of {sorted(counts)} images, expected the same number in each")
    (count,) = counts
    figure, axes = new_axes(1.1 * count + 0.13 * max(map(len, stacked)), 1.1 * len(stacked) + 0.3)
    for row, (name, pictures) in enumerate(stacked.items()):
        axes.text(-0.1, row + 0.5, name, ha="right", va="center", fontweight="bold")
        _draw_tiles(axes, pictures, [(n, row) for n in range(count)], None if row else titles, frames)
    return figure


@styled
def one_shot(query, examples, classes, distances, truth=None):
    """Recognition from one example a class: the query and its distance to each example. The nearest is the answer.

    query      (H, W), (1, H, W) or (3, H, W)
    examples   (N, ...), one a class, as for `image_grid`
    classes    N names
    distances  (N,) from the query to each example
    truth      index of the right class, or None
    """
    pictures = _pictures("examples", examples)
    distances = array("distances", distances, len(pictures))
    if len(classes) != len(pictures):
        raise ValueError(f"classes: got {len(classes)} names, expected {len(pictures)}, one for each example")
    nearest = int(distances.argmin())
    figure, (left, right) = new_axes(9, 0.9 + 0.8 * len(pictures), columns=2, width_ratios=[1, 2.4])
    _draw_tiles(left, _pictures("query", np.asarray(query)[None]), [(0, 0)], ["query"])
    for row, (name, picture, distance) in enumerate(zip(classes, pictures, distances, strict=True)):
        right.barh(row, distance, height=0.5, color=SAME if row == nearest else GRAY)
        notes = " nearest" * (row == nearest) + " (the right class)" * (row == truth)
        weight = "bold" if notes else "normal"
        text = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontweight": weight}
        right.annotate(f"{distance:.2f}{notes}", (distance, row), **text)
        right.text(-0.23, row, name, ha="right", va="center", transform=right.get_yaxis_transform())
        thumbnail = right.inset_axes((-0.2, row - 0.44, 0.17, 0.88), transform=right.get_yaxis_transform())
        thumbnail.imshow(picture, cmap="gray", vmin=0, vmax=1)
        thumbnail.axis("off")
    right.set_yticks([])
    right.set(xlabel="distance to the query", xlim=(0, 1.7 * max(distances.max(), 1e-9)))
    right.set_ylim(len(pictures) - 0.5, -0.5)
    return figure


def _pictures(name, images):
    """(N, H, W) or (N, 1 | 3, H, W) to (N, H, W) or (N, H, W, 3), floats from 0 to 1."""
    images = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
    if images.ndim == 4 and images.shape[1] in (1, 3):
        images = np.moveaxis(images, 1, -1) if images.shape[1] == 3 else images[:, 0]
    elif images.ndim != 3:
        raise ValueError(f"{name}: got shape {images.shape}, expected (N, H, W), (N, 1, H, W) or (N, 3, H, W)")
    if not len(images):
        raise ValueError(f"{name}: got no image, expected at least one")
    if images.dtype == np.uint8:
        return images / 255
    low, high = images.min(), images.max()
    return (images - low) / (high - low if high > low else 1)


def _draw_tiles(axes, pictures, corners, titles=None, frames=None):
    """Draw pictures into unit squares with the given upper left corners; much quicker than axes for each of them."""
    for n, (picture, (left, top)) in enumerate(zip(pictures, corners, strict=True)):
        box = left + 0.03, left + 0.97, top + 0.97, top + 0.03
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, extent=box, interpolation="nearest")
        if frames is not None:
            x, y = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]).T * 0.94 + 0.03
            axes.plot(left + x, top + y, color=frames[n], linewidth=4, solid_joinstyle="miter")
        if titles is not None:
            axes.text(left + 0.5, top, str(titles[n]), ha="center", va="bottom", fontsize=12)
    axes.set(xlim=(0, max(left for left, _ in corners) + 1), ylim=(max(top for _, top in corners) + 1, 0))
    axes.set_aspect("equal")
    axes.axis("off")


# --- Distances, verification, losses ------------------------------------------------------------------------------


@styled
def distance_histogram(same, different, threshold=None, title=""):
    """Distances between pairs of the same class and of different classes, and what a threshold makes of them.

    same, different  (P,) distances
    threshold        pairs up to this distance are accepted as the same class
    """
    same, different = pair_distances(same, different)
    figure, axes = new_axes(7, 4.8)
    draw_histogram(axes, same, different)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linestyle="--")
        title = f"{title}\n{error_rates(same, different, threshold)}".strip()
    axes.set_title(title)
    return figure


@styled
def roc(results, title=""):
    """How many right pairs are accepted for how many wrong ones, at every threshold; a dot at the equal error rate.

    results  {name: verification}, each with fpr (T,), tpr (T,), auc and eer (labkit.evaluation.verification)
    """
    figure, axes = new_axes(6, 5.8)
    draw_roc_axes(axes)
    axes.set_title(title)
    for (name, result), (color, line) in zip(items("results", results), looks(), strict=False):
        fpr, tpr = array(f"results[{name!r}] fpr", result.fpr), array(f"results[{name!r}] tpr", result.tpr)
        label = f"{name}: AUC {result.auc:.3f}, EER {result.eer:.1%}"
        axes.plot(fpr, tpr, color=color, linestyle=line, label=label)
        axes.plot(result.eer, 1 - result.eer, "o", color=color, markersize=8, clip_on=False)
    axes.legend(loc="lower right")
    return figure


@styled
def collapse(steps, same, different, loss=None, margin=None, title=""):
    """Mean distances in and between classes during training. In a collapse both go to 0, and the loss to the margin.

    steps            (T,)
    same, different  (T,) mean distance of pairs of the same class and of different classes
    loss             (T,) or None
    margin           the loss of a triplet network that puts everything in one place, or None
    """
    steps = array("steps", steps, None)
    figure, axes = new_axes(6 if loss is None else 10, 4, 1 if loss is None else 2, xlabel="training step")
    left, right = np.atleast_1d(axes)[0], np.atleast_1d(axes)[-1]
    figure.suptitle(title)
    same, different = array("same", same, len(steps)), array("different", different, len(steps))
    left.plot(steps, same, color=SAME, label="same class")
    left.plot(steps, different, color=DIFFERENT, linestyle="--", label="different classes")
    left.set(ylabel="mean distance", ylim=(0, None))
    left.legend()
    if loss is not None:
        right.plot(steps, array("loss", loss, len(steps)), color=INK, label="loss")
        if margin is not None:
            right.axhline(margin, color=ORANGE, linestyle=":", label=f"margin {margin:g}: all in one place")
        right.set(ylabel="loss", ylim=(0, None))
        right.legend()
    return figure


@styled
def contrastive_curves(margin=1.0, limit=None):
    """The contrastive loss of a pair over its distance d: ½d² for the same class, ½[margin - d]₊² for different ones.

    limit   largest distance shown, 1.6 margins by default
    """
    margin = not_negative("margin", margin)
    distance = np.linspace(0, limit or 1.6 * margin or 1.0, 201)
    figure, axes = new_axes(xlabel="distance d of the pair", ylabel="loss of the pair")
    axes.plot(distance, distance**2 / 2, color=SAME, label="same class: ½ d²")
    hinge = np.maximum(margin - distance, 0)
    axes.plot(distance, hinge**2 / 2, color=DIFFERENT, linestyle="--", label="different: ½ [margin − d]₊²")
    axes.axvline(margin, color=INK, linestyle=":", linewidth=1.5)
    axes.annotate(f"margin {margin:g}", (margin, 0), (6, 8), textcoords="offset points")
    axes.set(xlim=(0, distance[-1]), ylim=(0, None))
    axes.legend(loc="upper left", bbox_to_anchor=(0.08, 1))
    return figure
