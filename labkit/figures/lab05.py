"""Picture of lab 05: the plane during training, under a choice of the weight of the center loss and of the epoch."""

import numpy as np
from numpy.typing import ArrayLike

from labkit.figures.drawing import array, items
from labkit.figures.embedding import embedding_scene
from labkit.figures.live import Live, live


def center_explorer(embeddings: dict[str, list[ArrayLike]], labels: ArrayLike, classes: list[str]) -> Live:
    """Shows the plane during training, under a choice of the weight λ and a slider for the epoch.

    embeddings: {name of the weight: a sequence of (N, 2), the one before training first}, all of the same length.
    labels: (N,) indices into `classes`.

    Every plane is divided by its own size (root mean square of all coordinates), which stands in the title: the shape
    can be compared, while the size falls by orders of magnitude with the weight.

    >>> center_explorer({"λ = 0": [[[1, 1]], [[2, 2]]], "λ = 1": [[[1, 1]], [[1, 0]]]}, [0], ["A"]).values
    {'weight': 0, 'epoch': 1}
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
    return live(lambda weight, epoch: plane(weight + epoch), alt, weight=names, epoch=(0, count - 1, count - 1))
