"""What every picture of the course shares: showing with words, PNG, axes, arrays of numbers. pyplot stays untouched."""

import base64
import html
import io
from collections.abc import Callable, ItemsView

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from labkit.figures.style import INK

Arrays = dict[str, ArrayLike]  # numpy arrays, lists or tensors by name
Draw = Callable[..., Figure]  # a scene: a function that moves parts of its one figure and returns this figure


def show(figure: Figure, alt: str) -> None:
    """Displays `figure` in the notebook, with its description `alt` for readers who do not see it.

    Neither JupyterLab 4.6 nor nbconvert gives a picture an alt text: the words stand folded under it, as text.

    >>> show(new_axes()[0], alt="")
    Traceback (most recent call last):
    ValueError: alt: got '', expected a description of the figure in words
    """
    display_with_words(png(figure, scale=2), alt, width=round(figure.bbox.width))


def display_with_words(
    picture: bytes, alt: str, width: int, live: dict | None = None, about: dict | None = None
) -> None:
    """Displays a PNG, `width` pixels wide on the page, and below it `alt`, folded; ValueError if `alt` says nothing.

    live: what a page with a running kernel shows instead of the PNG, as a MIME bundle. about: metadata to keep with it.

    >>> display_with_words(png(new_axes()[0]), "Empty axes.", 700)  # doctest: +ELLIPSIS
    {'text/plain': 'Figure: Empty axes.', 'image/png': ...
    {'text/plain': 'Empty axes.', 'text/html': '<details><summary>Figure in words</summary>Empty axes.</details>'}
    """
    from IPython.display import display

    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt: got {alt!r}, expected a description of the figure in words")
    data = {"text/plain": f"Figure: {alt}", "image/png": base64.b64encode(picture).decode()}
    metadata = {"image/png": {"alt": alt, "width": width}, **(about or {})}
    display({**(live or {}), **data}, metadata=metadata, raw=True)
    words = f"<details><summary>Figure in words</summary>{html.escape(alt)}</details>"
    display({"text/plain": alt, "text/html": words}, raw=True)


def png(figure: Figure, scale: float = 1) -> bytes:
    """Returns `figure` as PNG of 256 colors; scale=2 draws twice as many pixels each way, for print and projectors.

    >>> png(new_axes()[0])[1:4]
    b'PNG'
    """
    from PIL import Image

    dpi = figure.dpi
    figure.dpi = dpi * scale
    try:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for artist in moving_artists(figure):
            artist.draw(canvas.get_renderer())
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    finally:
        figure.dpi = dpi
    file = io.BytesIO()
    image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, "png")
    return file.getvalue()


def moving_artists(figure: Figure) -> list[Artist]:
    """Returns what a scene moves in `figure`, from back to front: the artists with matplotlib's `animated` mark.

    >>> moving_artists(new_axes()[0])
    []
    """
    return sorted((artist for artist in figure.findobj() if artist.get_animated()), key=lambda a: a.get_zorder())


def new_axes(
    width: float = 7, height: float = 4.6, columns: int = 1, rows: int = 1, widths: list | None = None, **labels: str
) -> tuple[Figure, Axes | np.ndarray]:
    """Returns a Figure, in inches of 100 pixels, and its axes: one, or an array (columns,) or (rows, columns).

    widths: of the columns, relative to each other.
    labels: xlabel and ylabel of all axes.

    >>> new_axes(columns=3, rows=2)[1].shape
    (2, 3)
    """
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    axes = figure.subplots(rows, columns, width_ratios=widths)
    for one in np.ravel(axes):
        one.tick_params(labelsize=12, color=INK, labelcolor=INK)  # ticks are made when drawing, outside `styled`
        one.set(**labels)
    return figure, axes


def new_panels(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Returns a Figure and the `count` axes on it, in rows of at most `columns`, each so many inches wide and high.

    >>> len(new_panels(4, columns=3, width=2, height=2)[1])
    4
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = new_axes(columns * width, rows * height, columns, rows)
    for unused in np.ravel(axes)[count:]:
        unused.remove()
    return figure, list(np.ravel(axes)[:count])


def array(name: str, values: ArrayLike, *shape: int | None) -> np.ndarray:
    """Returns `values` (numpy, list or tensor) as a float array of `shape`, where None stands for any length.

    Raises ValueError naming `name` for another shape and for values that are not finite; no shape: any shape.

    >>> array("points", [[1, 2, 3]], None, 2)
    Traceback (most recent call last):
    ValueError: points: got shape (1, 3), expected (any, 2)
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu().double()
    result = np.asarray(values, dtype=float)
    fits = len(shape) == result.ndim and all(s in (None, n) for s, n in zip(shape, result.shape, strict=True))
    if shape and not fits:
        expected = ", ".join("any" if s is None else str(s) for s in shape)
        raise ValueError(f"{name}: got shape {result.shape}, expected ({expected})")
    if not np.isfinite(result).all():
        raise ValueError(f"{name}: got values that are not finite, expected numbers")
    return result


def arrays(name: str, values: Arrays, *shape: int | None) -> dict[str, np.ndarray]:
    """Returns a dict of arrays, each as `array` returns it; raises ValueError naming `name` and the key.

    >>> arrays("planes", {"PCA": [[0, 1]]}, None, 2)
    {'PCA': array([[0., 1.]])}
    """
    return {key: array(f"{name}[{key!r}]", value, *shape) for key, value in items(name, values)}


def items(name: str, values: dict) -> ItemsView:
    """Returns the items of a dict; raises ValueError naming `name` if there are none.

    >>> items("lines", {})
    Traceback (most recent call last):
    ValueError: lines: got nothing, expected at least one entry
    """
    if not values:
        raise ValueError(f"{name}: got nothing, expected at least one entry")
    return values.items()
