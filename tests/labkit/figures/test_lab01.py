"""labkit.figures.lab01: every number of a matrix, every pixel of a photograph, and a kernel at work."""

import itertools
import re

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from labkit.figures.lab01 import KernelEditor, kernel_editor, matrices, photographs
from labkit.filters import PADDING_MODES, convolve2d, correlate2d, gaussian_kernel

IMAGE = torch.rand(9, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
UNEVEN = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, -0.25]], dtype=torch.float64)


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


# --- The kernel editor ---------------------------------------------------------------------------------------------


def shown(editor):
    """The two pictures of the editor's figure, the numbers in kernel and products, and the frames in the pictures."""
    left, kernel, products, right = editor.figure().axes
    numbers = [[float(text.get_text()) for text in axes.texts] for axes in (kernel, products)]
    return (left.images[0], right.images[0]), numbers, (left.patches[0], right.patches[0])


@pytest.mark.parametrize("border", PADDING_MODES)
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (1, 1), (3, 3)])
@pytest.mark.parametrize("convolution", [False, True])
def test_the_editor_draws_what_labkit_computes(convolution, stride, padding, border):
    how = {"stride": stride, "padding": padding}
    editor = KernelEditor(
        image=IMAGE.tolist(), kernel=UNEVEN.tolist(), convolution=convolution, border=border, place=[1, 2], **how
    )
    (image, result), (weights, products), (window, pixel) = shown(editor)
    right = (convolve2d if convolution else correlate2d)(IMAGE, UNEVEN, **how, padding_mode=border)
    np.testing.assert_allclose(result.get_array(), right)
    assert image.get_array().shape == (9 + 2 * padding, 12 + 2 * padding)
    assert weights == UNEVEN.flatten().tolist()
    assert sum(products) == pytest.approx(right[1, 2].item(), abs=0.005 * len(products) + 1e-9)
    assert window.get_bbox().bounds == (2 * stride, stride, 3, 2) and pixel.get_bbox().bounds == (2, 1, 1, 1)
    under = image.get_array()[stride : stride + 2, 2 * stride : 2 * stride + 3]
    used = UNEVEN.flip(0, 1) if convolution else UNEVEN
    assert np.allclose(products, (used.numpy() * under).ravel(), atol=0.0051), "the window gives the products"


def test_gray_levels_of_averages_and_of_differences():
    edge = kernel_editor(IMAGE, [[-1, 0, 1]] * 3)
    strongest = correlate2d(torch.tensor(edge.image), torch.tensor(edge.kernel)).abs().max().item()
    assert shown(edge)[0][1].get_clim() == pytest.approx((-strongest, strongest))
    (image, result), *_ = shown(kernel_editor(IMAGE, gaussian_kernel(1.0, 3)))
    assert image.get_clim() == result.get_clim() == (0, 1)
    assert shown(kernel_editor(IMAGE, torch.ones(2, 2)))[0][1].get_clim()[1] > 1, "nothing is cut off"


def test_a_place_beyond_the_result_is_its_last():
    editor = kernel_editor(IMAGE, UNEVEN)
    editor.place, editor.stride = [99, 99], 2
    assert shown(editor)[2][1].get_xy() == (4, 3)


def test_the_editor_rounds_the_image_and_refuses():
    assert kernel_editor(np.full((7, 7), 1 / 3), UNEVEN).image[0][0] == 0.33
    with pytest.raises(ValueError, match=r"image: got shape \(6, 9\), expected at least 7 pixels each way"):
        kernel_editor(torch.zeros(6, 9), UNEVEN)
    with pytest.raises(ValueError, match=r"kernel: got shape \(3,\)"):
        kernel_editor(IMAGE, [1, 2, 1])


def test_text_is_large_enough_for_a_projector():
    for figure in (matrices({"a": np.eye(2)}), photographs({"a": IMAGE}), kernel_editor(IMAGE, UNEVEN).figure()):
        figure.canvas.draw()
        texts = figure.findobj(lambda a: hasattr(a, "get_fontsize") and hasattr(a, "get_text") and a.get_text().strip())
        assert texts and min(text.get_fontsize() for text in texts) >= 11
