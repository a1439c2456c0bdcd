"""labkit.figures.images: every image in its place."""

import numpy as np
import pytest
import torch
from pictures import texts

from labkit import figures

DIGITS = np.random.default_rng(0).integers(0, 255, (12, 1, 8, 8)).astype(np.uint8)


def test_image_grid_places_and_scales():
    floats = torch.linspace(-1, 1, 3 * 4).reshape(3, 1, 2, 2)
    axes = figures.image_grid(floats, titles=["a", "b", "c"], columns=2).axes[0]
    assert [image.get_extent()[0] // 1 for image in axes.images] == [0, 1, 0]
    assert axes.images[2].get_extent()[3] > 1
    assert axes.images[0].get_array().min() == 0 and axes.images[2].get_array().max() == 1
    assert [text.get_text() for text in axes.texts] == ["a", "b", "c"]
    colors = figures.image_grid(np.full((2, 3, 5, 5), 255, np.uint8)).axes[0].images[0].get_array()
    assert colors.shape == (5, 5, 3) and colors.max() == 1


def test_image_rows_name_the_rows():
    figure = figures.image_rows({"anchor": DIGITS[:3], "positive": DIGITS[3:6], "negative": DIGITS[6:9]}, titles="xyz")
    assert {"anchor", "positive", "negative", "x", "y", "z"} <= set(texts(figure))
    assert len(figure.axes[0].images) == 9
    with pytest.raises(ValueError, match="rows: got rows of"):
        figures.image_rows({"left": DIGITS[:2], "right": DIGITS[:3]})


@pytest.mark.parametrize("shape", [(4, 4), (2, 2, 4, 4), (0, 1, 4, 4)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="images: got"):
        figures.image_grid(np.zeros(shape))
