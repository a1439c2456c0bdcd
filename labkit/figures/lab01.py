"""Pictures of lab 01: small matrices with their numbers, photographs, and a kernel that slides over an image."""

from collections.abc import Callable

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from labkit.figures.drawing import Arrays, array, arrays, items, new_axes, new_panels
from labkit.figures.live import Live, live
from labkit.figures.style import GRAY, INK, ORANGE, OUTLINE, styled
from labkit.filters import correlate2d

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


MOST_PADDING = 5
MOST_NUMBERS = 5  # a kernel with more rows or columns is drawn without its numbers


@styled
def _filter_scene(image):
    """Returns draw(weights, name, stride, padding, place): padded image, kernel and result side by side.

    Image and result are drawn to one scale: a larger stride shows as a smaller result. Frames are round the pixels
    under the kernel and the pixel that they give. place, 0 to 1, is how far the kernel has come, line by line.
    """
    image = torch.from_numpy(array("image", image, None, None))
    height, width = image.shape
    figure, (left, middle, right) = new_axes(11, 3.9, columns=3, widths=[1, 0.62, 1])
    for axes in (left, right):
        edge = MOST_PADDING + 0.5
        axes.set(xlim=(-edge, width + edge), ylim=(height + edge, -edge), aspect="equal")
    middle.set(xlim=(0, 1), ylim=(1, 0), aspect="equal")
    blank = np.zeros((1, 1))
    shown = [axes.imshow(blank, cmap=colors, animated=True, interpolation="nearest", aspect="equal") for axes, colors in
             ((left, "gray"), (middle, "PuOr"), (right, "gray"))]  # fmt: skip
    frames = [_frame(axes, 0, 0, 1, 1) for axes in (left, right)]
    for frame in frames:
        frame.set(animated=True, edgecolor=ORANGE)
    centered = {"ha": "center", "va": "center", "fontsize": 11, "path_effects": OUTLINE, "animated": True}
    numbers = [middle.text(0, 0, "", **centered) for _ in range(MOST_NUMBERS**2)]
    for axes in (left, middle, right):
        axes.axis("off")
        axes.set_title(" \n ")  # room for the titles that `draw` writes
        axes.title.set_animated(True)

    def draw(weights, name, stride, padding, place):
        weights = torch.from_numpy(array("weights", weights, None, None))
        padded = torch.nn.functional.pad(image, (padding,) * 4)
        result = correlate2d(image, weights, stride, padding)
        row, column = divmod(round(place * (result.numel() - 1)), result.shape[1])

        _show(shown[0], padded, (-padding, width + padding, height + padding, -padding), (0, 1))
        _show(shown[1], weights, (0, 1, 1, 0), (-weights.abs().max(), weights.abs().max()))
        limits = (0, 1) if weights.min() >= 0 else (-result.abs().max(), result.abs().max())
        # The first result stands where the first pixel was, so that one sees what the border costs.
        _show(shown[2], result, (0, result.shape[1], result.shape[0], 0), limits)

        frames[0].set_bounds(stride * column - padding, stride * row - padding, weights.shape[1], weights.shape[0])
        frames[1].set_bounds(column, row, 1, 1)
        _write_numbers(numbers, weights)
        left.set_title(f"image {height}×{width}" + (f"\nwith {padding} of padding" if padding else "\nno padding"))
        middle.set_title(f"{name}\n{weights.shape[0]}×{weights.shape[1]}, sum {weights.sum():.2f}")
        right.set_title(f"result {result.shape[0]}×{result.shape[1]}\nin the frame: {result[row, column]:.2f}")
        return figure

    return draw


def _show(artist, values, extent, limits):
    artist.set_data(values.numpy())
    artist.set_extent(extent)
    artist.set_clim(float(limits[0]), float(limits[1]) or 1.0)


def _write_numbers(texts, weights):
    """Writes a small kernel's weights into its cells."""
    rows, columns = weights.shape
    small = max(rows, columns) <= MOST_NUMBERS
    for place, text in enumerate(texts):
        row, column = divmod(place, columns)
        text.set_visible(small and row < rows)
        if text.get_visible():
            text.set_position(((column + 0.5) / columns, (row + 0.5) / rows))
            text.set_text(f"{weights[row, column]:.2f}")


def kernel_editor(image: ArrayLike, kernels: dict[str, Callable]) -> Live:
    """Shows a kernel that slides over an image, under sliders for sigma, size, stride, padding and the place.

    image: (H, W), values from 0 to 1.
    kernels: {name: function(sigma, size) -> (h, w)}.

    >>> from labkit.filters import gaussian_kernel
    >>> kernel_editor(np.eye(8), {"Gaussian": gaussian_kernel}).set(size=5).values["size"]
    5
    """
    scene = _filter_scene(image)

    def draw(kernel, sigma, size, stride, padding, place):
        return scene(kernels[kernel](sigma, size), kernel, stride, padding, place)

    alt = (
        "Left an image with a frame round the pixels under the kernel, in the middle the weights of the kernel, right "
        "the result with a frame round the pixel that those give. Sliders choose the kernel, its sigma and size, "
        "stride and padding, and move the kernel over the image line by line."
    )
    sliders = {"sigma": (0.5, 4.0, 1.0, 0.1), "size": (1, 11, 3, 2), "stride": (1, 4, 1)}
    rest = {"padding": (0, MOST_PADDING, 0), "place": (0.0, 1.0, 0.4, 0.005)}
    return live(draw, alt, kernel=list(kernels), **sliders, **rest)
