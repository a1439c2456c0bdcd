"""The course's pictures: numbers in, a matplotlib Figure out; `show` displays it with its description in words.

labNN holds what one lab alone draws, `live` puts a picture under sliders.
"""

from labkit.figures.charts import (
    COLORS,
    DIFFERENT,
    MARKERS,
    SAME,
    bars,
    collapse,
    contrastive_curves,
    curves,
    distance_histogram,
    embedding_plane,
    history,
    image_grid,
    image_rows,
    loss_surface,
    one_shot,
    png,
    roc,
    show,
    table,
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
