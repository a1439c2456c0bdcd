"""Pictures of lab 01: small matrices with their numbers, photographs, and a kernel at work, to be painted on."""

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike
from traitlets import Bool, Enum, Float, Int, List

from labkit.figures.drawing import Arrays, array, arrays, items, new_axes, new_panels
from labkit.figures.hands import Hand
from labkit.figures.style import GRAY, INK, ORANGE, styled
from labkit.filters import PADDING_MODES, correlate2d

CELL = 0.46  # inches, of one number of a matrix


@styled
def matrices(values: Arrays, symbols: list[str] | None = None, frames: dict[str, tuple] | None = None) -> Figure:
    """Draws small matrices side by side, each number in its cell: negative on orange, positive on purple.

    values: {title: (H, W)}.
    symbols: what stands between neighbors, such as ("⋆", "="); nothing by default.
    frames: {title: (top, left, height, width)}, cells of a matrix to be framed.

    >>> [text.get_text() for text in matrices({"kernel": [[1, 0.125]]}).axes[0].texts][:3]
    ['1', '0.12', 'kernel']
    """
    grids = arrays("values", values, None, None)
    symbols = ("",) * (len(grids) - 1) if symbols is None else symbols
    tallest = max(len(grid) for grid in grids.values())
    width = sum(_width(title, grid) for title, grid in grids.items()) + len(symbols)
    figure, axes = new_axes(CELL * width + 0.3, CELL * (tallest + 1.2) + 0.2)
    left, corners = 0.0, {}
    for (title, grid), symbol in zip(grids.items(), (*symbols, ""), strict=True):
        room = _width(title, grid)
        corners[title] = x, y = left + (room - grid.shape[1]) / 2, (tallest - len(grid)) / 2
        _draw_matrix(axes, grid, (x, y))
        axes.text(left + room / 2, y - 0.15, title, ha="center", va="bottom", fontweight="bold")
        left += room + 1
        axes.text(left - 0.5, tallest / 2, symbol, ha="center", va="center", fontsize=18)
    for title, (top, start, rows, columns) in (frames or {}).items():
        _frame(axes, corners[title][0] + start, corners[title][1] + top, columns, rows)
    axes.set(xlim=(-0.1, width + 0.1), ylim=(tallest + 0.1, -1.1), aspect="equal")
    axes.axis("off")
    return figure


def _width(title, grid):
    """Cells that a matrix takes with the title above it."""
    return max(grid.shape[1], 0.27 * len(title))


def _draw_matrix(axes, grid, corner):
    strongest = np.abs(grid).max() or 1.0
    for (row, column), value in np.ndenumerate(grid):
        # The paler part of the color map at each side of its white middle: dark text stays readable.
        color = colormaps["PuOr"](0.5 + 0.2 * value / strongest)
        place = corner[0] + column, corner[1] + row
        axes.add_patch(Rectangle(place, 1, 1, facecolor=color, edgecolor=GRAY, linewidth=0.8))
        text = f"{round(float(value), 2) + 0.0:g}"  # + 0.0: no "-0"
        axes.text(place[0] + 0.5, place[1] + 0.5, text, ha="center", va="center", fontsize=11)


def _frame(axes, left, top, width, height):
    """A frame of cells, drawn over them."""
    return axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=INK, linewidth=3, zorder=3))


@styled
def photographs(images: Arrays, columns: int = 3, width: float = 3.6, signed: bool = False) -> Figure:
    """Draws images with a title above each, pixel for pixel.

    images: {title: (H, W) or (3, H, W)} with values from 0, black, to 1, white; what lies outside is cut off.
    columns: images in a row.
    width: of one image, in inches.
    signed: the values have both signs: 0 is drawn middle gray, the largest size in all images black or white.

    >>> photographs({"dark": np.zeros((4, 6)), "light": np.ones((4, 6))}, width=2).axes[1].get_title()
    'light'
    """
    pictures = {title: _picture(title, image) for title, image in items("images", images)}
    height = max(width * picture.shape[0] / picture.shape[1] for picture in pictures.values())
    figure, panels = new_panels(len(pictures), columns, width, height + 0.42)
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.04)
    largest = max(np.abs(picture).max() for picture in pictures.values()) or 1.0
    for axes, (title, picture) in zip(panels, pictures.items(), strict=True):
        shown = picture / (2 * largest) + 0.5 if signed else picture.clip(0, 1)
        axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title)
        axes.axis("off")
    return figure


def _picture(title, image):
    """(H, W), or (H, W, 3) from (3, H, W)."""
    picture = array(f"images[{title!r}]", image)
    if picture.ndim == 3 and picture.shape[0] == 3:
        return np.moveaxis(picture, 0, -1)
    if picture.ndim != 2:
        raise ValueError(f"images[{title!r}]: got shape {picture.shape}, expected (H, W) or (3, H, W)")
    return picture


class KernelEditor(Hand):
    """A picture, a kernel, and what the kernel makes of the picture: one paints on both, and walks over the result.

    image, kernel: rows of numbers, of the image from 0 to 1. convolution: the kernel is turned by 180° first.
    stride, padding, border: `correlate2d`'s stride, padding, padding_mode. sigma: of the slider's Gaussian.
    place, weight, pixel: [row, column] looked at in result, kernel and image. lower: whether painting lowers.

    >>> KernelEditor(kernel=[[0, 0, 1]], padding=1).state["kernel"]
    [[0, 0, 1]]
    """

    module = "kernel"
    image = List(np.pad(np.ones((6, 6)), 5).tolist()).tag(sync=True)
    kernel = List([[1, 0, 1], [0, 1, 0], [1, 0, 1]]).tag(sync=True)
    convolution, lower = Bool(False).tag(sync=True), Bool(False).tag(sync=True)
    stride, padding = Int(1).tag(sync=True), Int(0).tag(sync=True)
    border, sigma = Enum(PADDING_MODES, "zeros").tag(sync=True), Float(1.0).tag(sync=True)
    place, weight, pixel = List([4, 4]).tag(sync=True), List([0, 0]).tag(sync=True), List([7, 7]).tag(sync=True)

    @styled
    def figure(self) -> Figure:
        """Image, kernel, products and result, with frames round the pixels under the kernel and the one they give."""
        image, kernel = (torch.from_numpy(array(name, getattr(self, name), None, None)) for name in ("image", "kernel"))
        used, border = kernel.flip(0, 1) if self.convolution else kernel, {"padding_mode": self.border}
        padded = correlate2d(image, torch.ones(1, 1), padding=self.padding, **border)
        result = correlate2d(padded, used, self.stride)
        place = [min(at, size - 1) for at, size in zip(self.place, result.shape, strict=True)]
        top, left, rows, columns = *(self.stride * at for at in place), *kernel.shape
        products = used * padded[top : top + rows, left : left + columns]
        figure, axes = new_axes(11, 3.4, columns=4, widths=[1.5, 1, 1, 1.5])
        largest = result.abs().max().item()
        limits = (-largest, largest) if kernel.min() < 0 else (0, max(largest, 1))
        for one, values, (low, high) in (axes[0], padded, (0, 1)), (axes[3], result, limits):
            one.imshow(values.numpy(), "gray", vmin=low, vmax=high, extent=(0, values.shape[1], values.shape[0], 0))
        for one, values in zip(axes[1:3], (kernel, products), strict=True):
            _draw_matrix(one, values.numpy(), (0, 0))
            one.set(xlim=(-0.1, columns + 0.1), ylim=(rows + 0.1, -0.1), aspect="equal")
        _frame(axes[0], left, top, columns, rows).set_edgecolor(ORANGE)
        _frame(axes[3], place[1], place[0], 1, 1).set_edgecolor(ORANGE)
        titles = ("picture", "turned by 180°: kernel" if self.convolution else "kernel", "products", "result")
        for one, title, total in zip(axes, titles, (None, kernel.sum(), products.sum(), None), strict=True):
            one.set_title(title if total is None else f"{title}\nsum {total:.2f}", fontsize=12)
            one.axis("off")
        return figure

    alt = (
        "A picture with a frame round the pixels under the kernel, the kernel's weights, their products with those "
        "pixels, and the result with a frame round the pixel that is the products' sum. Picture and kernel can be "
        "painted on; the frame can be moved over the result. Kernels, stride and padding can be chosen."
    )


def kernel_editor(image: ArrayLike, kernel: ArrayLike) -> KernelEditor:
    """Shows a kernel at work on an image, rounded to two digits; both can be painted on.

    image: (H, W), values from 0 to 1, at least 7 each way. kernel: (h, w), at most 7 each way.

    >>> kernel_editor(np.eye(8), [[1, 2, 1]]).kernel
    [[1.0, 2.0, 1.0]]
    """
    image = array("image", image, None, None)
    if min(image.shape) < 7:
        raise ValueError(f"image: got shape {image.shape}, expected at least 7 pixels each way")
    return KernelEditor(image=image.round(2).tolist(), kernel=array("kernel", kernel, None, None).tolist())
