"""Picture of lab 00: an embedding during training, under a slider for the epoch."""

from numpy.typing import ArrayLike

from labkit.figures.embedding import embedding_scene
from labkit.figures.live import Live, live


def embedding_explorer(embeddings: list[ArrayLike], labels: ArrayLike, classes: list[str]) -> Live:
    """Shows a two-dimensional embedding during training, under a slider for the epoch; at first the last one.

    embeddings: a sequence of (N, 2), the one before training first.
    labels: (N,) indices into `classes`.
    classes: names.

    >>> embedding_explorer([[[0, 1]], [[1, 1]], [[2, 1]]], [0], ["A"]).values
    {'epoch': 2}
    """
    if len(embeddings) < 2:
        raise ValueError(f"embeddings: got {len(embeddings)}, expected at least 2 to slide between")
    titles = ["before training", *(f"after epoch {n}" for n in range(1, len(embeddings)))]
    plane = embedding_scene(embeddings, labels, classes, titles)
    alt = (
        f"Points of {len(classes)} classes in the plane of a two-dimensional embedding, each class with its own color "
        "and marker and its name at its center. The slider goes from before training to after the last epoch."
    )
    last = len(embeddings) - 1
    return live(lambda epoch: plane(epoch), alt, epoch=(0, last, last))
