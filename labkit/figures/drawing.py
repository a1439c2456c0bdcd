"""What every picture of the course shares: colors and style, axes, checks of numbers, PNG, and showing with words.

The ten colors can be told apart with every common color blindness; what they mean is also said by a marker, a line
style or a name in the picture. Pairs of the same class are blue, of different classes red, everywhere.
"""

import base64
import html
import io
from itertools import cycle

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

# Petroff, "Accessible color sequences for data visualization", 2021.
COLORS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
BLUE, YELLOW, RED, GRAY, PURPLE, BROWN, ORANGE, _, SLATE, _ = COLORS
SAME, DIFFERENT, INK = BLUE, RED, "#222222"
# Lines need more contrast with white than points do: the six darkest colors.
LINES = (
    (BLUE, "-"),
    (RED, "--"),
    (PURPLE, "-."),
    (ORANGE, ":"),
    (SLATE, (0, (6, 1, 1, 1, 1, 1))),
    (BROWN, (0, (9, 2))),
)

STYLE = {
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.labelsize": 14,
    "legend.fontsize": 12,
    "legend.edgecolor": "none",
    "legend.facecolor": "white",
    "legend.framealpha": 0.8,
    "lines.linewidth": 2.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.1,
    **dict.fromkeys(["text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor"], INK),
}
styled = rc_context(STYLE)  # a decorator; the user's own settings of matplotlib stay as they are
OUTLINE = [withStroke(linewidth=3.5, foreground="white")]  # keeps text readable on top of points


# --- Showing -----------------------------------------------------------------------------------------------------


def show(figure, alt):
    """Display `figure` in the notebook, with its description `alt` for readers who do not see it.

    JupyterLab 4.6 gives no picture in an output an alt text, whatever its metadata say; nor does nbconvert. So the
    words stand on the page as text, folded, under the picture. They are in the picture's metadata too (`alt`).
    Raises ValueError if `alt` is empty.
    """
    from IPython.display import display

    data, metadata = picture_bundle(png(figure, scale=2), alt, width=round(figure.bbox.width))
    display(data, metadata=metadata, raw=True)
    display(words_bundle(alt), raw=True)


def picture_bundle(picture, alt, width):
    """Return mime bundle and metadata of a PNG (bytes) that is to stand `width` pixels wide on the page."""
    data = {"text/plain": f"Figure: {checked_alt(alt)}", "image/png": base64.b64encode(picture).decode()}
    return data, {"image/png": {"alt": alt, "width": width}}


def words_bundle(alt):
    """Return the mime bundle of a description that unfolds under a picture."""
    text = html.escape(checked_alt(alt))
    return {"text/plain": alt, "text/html": f"<details><summary>Figure in words</summary>{text}</details>"}


def checked_alt(alt):
    """Return `alt`; ValueError if it is not a text that says something."""
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt: got {alt!r}, expected a description of the figure in words")
    return alt


def png(figure, scale=1):
    """Return `figure` as PNG bytes; scale=2 draws twice as many pixels each way, for print and projectors."""
    dpi = figure.dpi
    figure.dpi = dpi * scale
    try:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for artist in moving_artists(figure):
            artist.draw(canvas.get_renderer())
        return encode(canvas, small=True)
    finally:
        figure.dpi = dpi


def encode(canvas, small=False):
    """Return what is drawn on a canvas as PNG bytes: quickly, or (small) with 256 colors in a third of the size."""
    from PIL import Image

    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    file = io.BytesIO()
    if small:
        image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, "png")
    else:
        image.save(file, "png", compress_level=1)
    return file.getvalue()


def moving_artists(figure):
    """Return what a scene moves in `figure`, from back to front: the artists with matplotlib's `animated` mark."""
    return sorted((artist for artist in figure.findobj() if artist.get_animated()), key=lambda a: a.get_zorder())


# --- Axes and numbers ---------------------------------------------------------------------------------------------


def new_axes(width=7, height=4.6, columns=1, xlabel="", ylabel="", **gridspec):
    """Return a Figure of so many inches (100 pixels an inch) and its axes, an array of them if columns > 1."""
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    axes = figure.subplots(1, columns, gridspec_kw=gridspec)
    for one in np.atleast_1d(axes):
        one.tick_params(labelsize=12, color=INK, labelcolor=INK)  # ticks are made when drawing, outside `styled`
        one.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def looks():
    """Yield (color, line style) pairs without end."""
    return cycle(LINES)


def array(name, values, *shape):
    """Return `values` (numpy, list or tensor) as a float array of `shape`, where None stands for any length.

    Raises ValueError naming `name` for another shape and for values that are not finite; no shape: any shape.
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


def not_negative(name, number):
    """Return `number` as a float; ValueError naming `name` if it is below 0 or not finite."""
    value = float(number)
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name}: got {number!r}, expected a number that is not negative")
    return value


def items(name, values):
    """Return the items of a dict; ValueError naming `name` if there are none."""
    if not values:
        raise ValueError(f"{name}: got nothing, expected at least one entry")
    return values.items()
