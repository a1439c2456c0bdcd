"""labkit.figures.lab01: every number of a matrix, every pixel of a photograph, and a kernel that slides."""

import itertools
import re

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle
from pictures import pixels

from labkit.figures.lab01 import _filter_scene as filter_scene
from labkit.figures.lab01 import kernel_editor, matrices, photographs
from labkit.filters import correlate2d, gaussian_kernel

IMAGE = torch.rand(9, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
EDGE = torch.tensor([[-1.0, 0.0, 1.0]] * 3, dtype=torch.float64)
KERNELS = {"Gaussian": gaussian_kernel, "edge": lambda sigma, size: EDGE}


def written(figure):
    """The visible texts of a figure, from its first axes on."""
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_visible() and text.get_text()]


def cells(figure):
    """The colored cells and the frames of `matrices`."""
    patches = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    return [p for p in patches if p.get_fill()], [p for p in patches if not p.get_fill()]


# --- Matrices ------------------------------------------------------------------------------------------------------


def test_every_number_stands_in_its_cell():
    figure = matrices({"image": [[1, -2], [0.125, 3]], "kernel": [[5]]}, symbols=("⋆",))
    assert written(figure) == ["1", "-2", "0.12", "3", "image", "⋆", "5", "kernel"]
    filled, frames = cells(figure)
    assert len(filled) == 5 and not frames
    numbers = [text for text in figure.axes[0].texts if re.fullmatch(r"[-\d.]+", text.get_text())]
    for cell, text in zip(filled, numbers, strict=True):
        assert text.get_position() == pytest.approx((cell.get_x() + 0.5, cell.get_y() + 0.5))
    upper_left, upper_right, lower_left = filled[:3]
    assert upper_right.get_x() == upper_left.get_x() + 1 and lower_left.get_y() == upper_left.get_y() + 1


def test_numbers_are_written_short():
    figure = matrices({"m": [[-0.0, 10, 1.5, 1 / 3, -0.0001, 200]]})
    assert written(figure)[:6] == ["0", "10", "1.5", "0.33", "0", "200"]


def test_the_sign_is_in_the_color_and_every_number_can_be_read():
    filled, _ = cells(matrices({"m": [[-4, 0, 4]], "other": [[1, 0]]}))
    negative, zero, positive, one, other_zero = (np.array(cell.get_facecolor()[:3]) for cell in filled)
    assert negative[0] > negative[2] + 0.2, "orange"
    assert positive[2] > positive[0] + 0.1 and np.allclose(one, positive), "purple; each matrix has its own scale"
    assert np.allclose(zero, other_zero) and zero.min() > 0.9
    luminance = [c @ [0.2126, 0.7152, 0.0722] for c in (negative, zero, positive)]
    assert min(luminance) > 0.45, "dark text needs a light ground"


def test_frames_are_round_the_cells_that_were_asked_for():
    figure = matrices({"a": np.eye(3), "b": np.eye(2)}, frames={"a": (1, 0, 2, 3), "b": (0, 1, 1, 1)})
    filled, (first, second) = cells(figure)
    assert (first.get_x(), first.get_y()) == (filled[3].get_x(), filled[3].get_y())
    assert (first.get_width(), first.get_height()) == (3, 2)
    assert (second.get_x(), second.get_y()) == (filled[10].get_x(), filled[10].get_y())
    assert (second.get_width(), second.get_height()) == (1, 1)


def test_matrices_lie_side_by_side_without_overlap():
    figure = matrices({"a very long title": [[1]], "b": np.eye(4), "c": [[1, 2]]})
    filled, _ = cells(figure)
    edges = [(cell.get_x(), cell.get_x() + 1) for cell in (filled[0], filled[1], filled[4], filled[-2], filled[-1])]
    assert all(right <= left for (_, right), (left, _) in itertools.pairwise(edges))
    low, high = figure.axes[0].get_xlim()
    assert low <= min(left for left, _ in edges) and max(right for _, right in edges) <= high
    figure.canvas.draw()
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text() in ("a very long title", "b", "c")]
    assert all(one.x1 <= two.x0 for one, two in itertools.pairwise(boxes))
    assert boxes[0].x0 >= 0 and boxes[-1].x1 <= figure.bbox.width


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), "values: got nothing"),
        (({"a": [1, 2]},), r"values\['a'\]: got shape \(2,\)"),
        (({"a": [[np.nan]]},), r"values\['a'\]: got values that are not finite"),
        (({"a": [[1]], "b": [[1]]}, ("+", "=")), "longer"),
    ],
)
def test_matrices_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        matrices(*arguments)


# --- Photographs ---------------------------------------------------------------------------------------------------


def test_photographs_show_every_pixel():
    color = torch.rand(3, 6, 8)
    figure = photographs({"gray": IMAGE, "color": color, "bright": IMAGE + 0.5, "last": IMAGE}, columns=3)
    assert [axes.get_title() for axes in figure.axes] == ["gray", "color", "bright", "last"]
    shown = [axes.images[0] for axes in figure.axes]
    np.testing.assert_allclose(shown[0].get_array(), IMAGE)
    np.testing.assert_allclose(shown[1].get_array(), color.permute(1, 2, 0), rtol=1e-6)
    assert shown[2].get_array().max() == 1, "what is brighter than white is white"
    assert {image.get_clim() for image in shown} == {(0, 1)} and shown[0].get_cmap().name == "gray"
    assert {axes.get_subplotspec().get_geometry()[:2] for axes in figure.axes} == {(2, 3)}


def test_signed_photographs_have_gray_in_the_middle_and_one_scale():
    figure = photographs({"a": IMAGE - 0.5, "b": 4 * (IMAGE - 0.5)}, signed=True)
    first, second = (axes.images[0].get_array() for axes in figure.axes)
    largest = 4 * (IMAGE - 0.5).abs().max()
    np.testing.assert_allclose(first, 0.5 + (IMAGE - 0.5) / (2 * largest))
    np.testing.assert_allclose(second - 0.5, 4 * (first - 0.5))
    assert max(abs(second.min() - 0.5), abs(second.max() - 0.5)) == pytest.approx(0.5)
    flat = photographs({"zero": torch.zeros(2, 2)}, signed=True)
    assert (flat.axes[0].images[0].get_array() == 0.5).all()


def test_the_width_is_that_of_one_photograph():
    narrow, wide = photographs({"a": IMAGE, "b": IMAGE}, width=2), photographs({"a": IMAGE, "b": IMAGE}, width=4)
    assert wide.get_size_inches()[0] - narrow.get_size_inches()[0] == pytest.approx(4)
    assert photographs({"a": IMAGE}, columns=3, width=2).get_size_inches()[0] == pytest.approx(2)


@pytest.mark.parametrize("shape", [(4,), (2, 4, 4), (1, 3, 4, 4)])
def test_photographs_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"images\['a'\]: got shape"):
        photographs({"a": torch.zeros(shape)})
    with pytest.raises(ValueError, match="images: got nothing"):
        photographs({})


# --- The kernel that slides ----------------------------------------------------------------------------------------


def parts(figure):
    """The three pictures, and the frames in the first and the last of them."""
    return [axes.images[0] for axes in figure.axes], [figure.axes[n].patches[0] for n in (0, 2)]


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (1, 1), (3, 4)])
@pytest.mark.parametrize("name", KERNELS)
def test_the_scene_shows_image_kernel_and_result(name, stride, padding):
    weights = KERNELS[name](1.0, 3)
    figure = filter_scene(IMAGE)(weights, name, stride, padding, 0.6)
    result = correlate2d(IMAGE, weights, stride, padding)
    (image, kernel, filtered), (window, pixel) = parts(figure)
    np.testing.assert_allclose(image.get_array(), torch.nn.functional.pad(IMAGE, (padding,) * 4))
    np.testing.assert_allclose(kernel.get_array(), weights)
    np.testing.assert_allclose(filtered.get_array(), result)
    assert image.get_extent() == [-padding, 12 + padding, 9 + padding, -padding]
    assert filtered.get_extent() == [0, result.shape[1], result.shape[0], 0]

    row, column = divmod(round(0.6 * (result.numel() - 1)), result.shape[1])
    assert pixel.get_bbox().bounds == (column, row, 1, 1)
    assert window.get_bbox().bounds == (stride * column - padding, stride * row - padding, 3, 3)
    left, top = (int(v) + padding for v in window.get_xy())
    under = image.get_array()[top : top + 3, left : left + 3]
    assert (under * weights.numpy()).sum() == pytest.approx(result[row, column].item()), "the window gives the pixel"
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0].startswith("image 9×12") and (f"with {padding} of padding" in titles[0]) == (padding > 0)
    assert titles[1] == f"{name}\n3×3, sum {weights.sum():.2f}"
    assert titles[2] == f"result {result.shape[0]}×{result.shape[1]}\nin the frame: {result[row, column]:.2f}"


def test_the_window_goes_from_the_first_place_to_the_last():
    draw = filter_scene(IMAGE)
    _, (window, pixel) = parts(draw(EDGE, "edge", 2, 1, 0.0))
    assert window.get_xy() == (-1, -1) and pixel.get_xy() == (0, 0)
    _, (window, pixel) = parts(draw(EDGE, "edge", 2, 1, 1.0))
    assert pixel.get_xy() == (5, 4) and window.get_xy() == (9, 7)


def test_gray_levels_of_averages_and_of_differences():
    draw = filter_scene(IMAGE)
    images, _ = parts(draw(gaussian_kernel(1.0, 3), "Gaussian", 1, 0, 0.5))
    largest = gaussian_kernel(1.0, 3).max().item()
    assert images[0].get_clim() == images[2].get_clim() == (0, 1)
    assert images[1].get_clim() == pytest.approx((-largest, largest))
    images, _ = parts(draw(EDGE, "edge", 1, 0, 0.5))
    strongest = correlate2d(IMAGE, EDGE).abs().max().item()
    assert images[2].get_clim() == pytest.approx((-strongest, strongest))
    images, _ = parts(filter_scene(torch.zeros(4, 4))(EDGE, "edge", 1, 0, 0.5))
    assert images[2].get_clim() == (0, 1), "a result of zeros can be drawn"


def test_small_kernels_have_their_numbers_written_in():
    draw = filter_scene(IMAGE)
    weights = torch.tensor([[0.5, -1.0, 2.0], [3.0, 4.0, 5.25]], dtype=torch.float64)
    figure = draw(weights, "mine", 1, 0, 0.5)
    assert written(figure) == ["0.50", "-1.00", "2.00", "3.00", "4.00", "5.25"]
    places = [text.get_position() for text in figure.axes[1].texts if text.get_visible()]
    assert places[0] == pytest.approx((1 / 6, 1 / 4)) and places[5] == pytest.approx((5 / 6, 3 / 4))
    assert len(written(draw(gaussian_kernel(1.0, 5), "Gaussian", 1, 0, 0.5))) == 25
    assert written(draw(gaussian_kernel(1.0, 7), "Gaussian", 1, 0, 0.5)) == []
    assert len(written(draw(EDGE, "edge", 1, 0, 0.5))) == 9


def test_the_scene_refuses():
    with pytest.raises(ValueError, match=r"image: got shape \(3,\)"):
        filter_scene(torch.zeros(3))
    with pytest.raises(ValueError, match=r"^kernel"):
        filter_scene(IMAGE)(torch.ones(11, 11), "mine", 1, 0, 0.5)


def test_each_slider_changes_the_picture_as_a_new_figure_would():
    widget = kernel_editor(IMAGE, KERNELS)
    assert widget.values == {
        "kernel": "Gaussian", "sigma": 1.0, "size": 3, "stride": 1, "padding": 0, "place": pytest.approx(0.4)
    }  # fmt: skip
    frames = [widget.picture.value]
    for change in ({"sigma": 2.0}, {"size": 5}, {"stride": 2}, {"padding": 3}, {"place": 0.8}, {"kernel": "edge"}):
        frames.append(widget.set(**change).picture.value)
        assert not widget.error.value
    assert len(set(frames)) == 7
    still = filter_scene(IMAGE)(EDGE, "edge", 2, 3, 0.8)
    assert np.abs(pixels(still) - pixels(widget)).mean() < 2, "the still frame has fewer colors, else the same"


def test_text_is_large_enough_for_a_projector():
    for figure in (matrices({"a": np.eye(2)}), photographs({"a": IMAGE}), filter_scene(IMAGE)(EDGE, "edge", 1, 0, 0.5)):
        figure.canvas.draw()
        texts = figure.findobj(lambda a: hasattr(a, "get_fontsize") and hasattr(a, "get_text") and a.get_text().strip())
        assert texts and min(text.get_fontsize() for text in texts) >= 11
