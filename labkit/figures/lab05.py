"""Pictures of lab 05: the same plane under several weights of the center loss, and a slider for weight and epoch."""

import numpy as np

from labkit.figures import live as widgets
from labkit.figures.drawing import COLORS, MARKERS, OUTLINE, array, items, new_axes, styled
from labkit.figures.embedding import PLANE, embedding_scene


@styled
def planes(embeddings, labels, classes, columns=2):
    """Two-dimensional embeddings side by side, each on axes of its own scale, with the class names at their centers.

    embeddings  {title: (N, 2)}
    labels      (N,) indices into `classes`
    """
    labels = array("labels", labels, None).astype(int)
    chosen = {title: array(f"embeddings[{title!r}]", x, len(labels), 2) for title, x in items("embeddings", embeddings)}
    rows = -(-len(chosen) // columns)
    figure, _ = new_axes(5 * columns, 5 * rows)
    figure.clear()
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(chosen) :]:
        axes.remove()
    for axes, (title, points) in zip(grid, chosen.items(), strict=False):
        for c, name in enumerate(classes):
            own = points[labels == c]
            axes.plot(*own.T, MARKERS[c % 10], color=COLORS[c % 10], markersize=3.5, label=str(name))
            if len(own):
                bold = {"ha": "center", "va": "center", "fontweight": "bold", "path_effects": OUTLINE}
                axes.text(*own.mean(0), str(name), **bold)
        axes.set(title=title, aspect="equal", adjustable="datalim", **PLANE)
        axes.tick_params(labelsize=11)
    return figure


def center_explorer(embeddings, labels, classes):
    """The plane during training, under a choice of the weight λ and a slider for the epoch.

    embeddings  {name of the weight: a sequence of (N, 2), the one before training first}, all of the same length
    labels      (N,) indices into `classes`

    Every plane is divided by its own size (root mean square of all coordinates), which stands in the title: the shape
    can be compared, while the size falls by orders of magnitude with the weight.
    """
    moments = {len(sequence) for _, sequence in items("embeddings", embeddings)}
    if len(moments) > 1 or min(moments) < 2:
        raise ValueError(f"embeddings: got sequences of {sorted(moments)}, expected one length of at least 2")
    (count,) = moments
    scaled, titles = [], []
    for name, sequence in embeddings.items():
        for epoch, points in enumerate(sequence):
            points = array(f"embeddings[{name!r}][{epoch}]", points, None, 2)
            size = np.sqrt(np.mean(points**2))
            scaled.append(points / (size or 1.0))
            titles.append(f"{name}, {f'after epoch {epoch}' if epoch else 'before training'}\nsize {size:.2g}")
    plane = embedding_scene(scaled, labels, classes, titles)
    alt = (
        f"Points of {len(classes)} classes in the plane, followed from before training to the last epoch for each "
        "weight of the center loss. Under softmax alone the classes become long rays from the middle; the larger the "
        "weight, the rounder and tighter the heaps. The size of the plane, by which it is divided, stands above it."
    )
    names = {name: number * count for number, name in enumerate(embeddings)}
    return widgets.live(lambda weight, epoch: plane(weight + epoch), alt, weight=names, epoch=(0, count - 1, count - 1))
