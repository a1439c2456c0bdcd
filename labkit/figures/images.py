"""Small images side by side."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from labkit.figures.drawing import Arrays, items, new_axes
from labkit.figures.style import styled


@styled
def image_grid(images: ArrayLike, titles: list | None = None, columns: int = 8) -> Figure:
    """Draws images in rows of `columns`.

    images: (N, H, W), (N, 1, H, W) or (N, 3, H, W); uint8, or floats, which are scaled to their smallest and largest.
    titles: (N,) texts above the images.

    >>> len(image_grid(np.zeros((20, 8, 8), np.uint8), columns=10).axes[0].images)
    20
    """
    pictures = _pictures("images", images)
    columns = min(columns, len(pictures))
    height = 1.0 if titles is None else 1.28
    figure, axes = new_axes(1.05 * columns, 1.05 * height * -(-len(pictures) // columns))
    corners = [(n % columns, n // columns * height) for n in range(len(pictures))]
    _draw_tiles(axes, pictures, corners, titles)
    return figure


@styled
def image_rows(rows: Arrays, titles: list | None = None) -> Figure:
    """Draws one row of images per name: pairs as two rows, triplets as three. What stands in a column belongs together.

    rows: {name: images}, each as for `image_grid`, all of the same number N.
    titles: (N,) texts above the columns.

    >>> digits = np.zeros((5, 8, 8), np.uint8)
    >>> [text.get_text() for text in image_rows({"anchor": digits, "positive": digits}).axes[0].texts]
    ['anchor', 'positive']
    """
    stacked = {name: _pictures(f"rows[{name!r}]", images) for name, images in items("rows", rows)}
    counts = {len(pictures) for pictures in stacked.values()}
    if len(counts) > 1:
        raise ValueError(f"rows: got rows of {sorted(counts)} images, expected the same number in each")
    (count,) = counts
    figure, axes = new_axes(1.1 * count + 0.13 * max(map(len, stacked)), 1.1 * len(stacked) + 0.3)
    for row, (name, pictures) in enumerate(stacked.items()):
        axes.text(-0.1, row + 0.5, name, ha="right", va="center", fontweight="bold")
        _draw_tiles(axes, pictures, [(n, row) for n in range(count)], None if row else titles)
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


def _draw_tiles(axes, pictures, corners, titles=None):
    """Draws pictures into unit squares with the given upper left corners; much quicker than axes for each of them."""
    for n, (picture, (left, top)) in enumerate(zip(pictures, corners, strict=True)):
        box = left + 0.03, left + 0.97, top + 0.97, top + 0.03
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, extent=box, interpolation="nearest")
        if titles is not None:
            axes.text(left + 0.5, top, str(titles[n]), ha="center", va="bottom", fontsize=12)
    axes.set(xlim=(0, max(left for left, _ in corners) + 1), ylim=(max(top for _, top in corners) + 1, 0))
    axes.set_aspect("equal")
    axes.axis("off")
