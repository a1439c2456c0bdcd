"""labkit.figures.drawing: how pictures are shown, and the checks of what they are given."""

import base64
import io

import IPython.display
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from pictures import pixels
from PIL import Image

from labkit import figures
from labkit.figures import drawing, style


def test_show_displays_the_picture_and_its_words(monkeypatch):
    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: shown.append((data, options)))
    figure = figures.bars({"a": 1}, "x")
    figures.show(figure, "Two curves: <same> & different")
    (picture, options), (words, _) = shown
    assert picture["text/plain"] == "Figure: Two curves: <same> & different"
    image = Image.open(io.BytesIO(base64.b64decode(picture["image/png"])))
    assert options["metadata"] == {"image/png": {"alt": "Two curves: <same> & different", "width": image.width // 2}}
    assert "Two curves: &lt;same&gt; &amp; different" in words["text/html"]
    assert figure.dpi == 100
    assert "image" not in words["text/html"], "nbval compares HTML: pixels do not belong into it"


@pytest.mark.parametrize("alt", ["", "  ", None, 3])
def test_show_refuses_a_figure_without_words(alt):
    with pytest.raises(ValueError, match="alt: got"):
        figures.show(figures.bars({"a": 1}, "x"), alt)


def test_png_draws_what_a_scene_moves_and_scales():
    random = np.random.default_rng(0)
    figure = figures.embedding_plane(random.normal(size=(40, 2)), np.arange(40) % 4, "abcd")
    assert pixels(figure, 1).shape == (600, 600, 3) and pixels(figure, 2).shape == (1200, 1200, 3)
    blue = np.array(to_rgb(style.BLUE)) * 255
    assert (np.abs(pixels(figure, 1) - blue).max(axis=2) < 8).sum() > 50


@pytest.mark.parametrize(("count", "columns", "grid"), [(1, 3, (1, 1)), (4, 3, (2, 3)), (6, 3, (2, 3)), (4, 2, (2, 2))])
def test_panels_stand_in_rows(count, columns, grid):
    figure, panels = drawing.new_panels(count, columns, 2, 3)
    assert panels == figure.axes and len(panels) == count
    assert tuple(figure.get_size_inches()) == (2 * grid[1], 3 * grid[0])
    assert {axes.get_subplotspec().get_geometry()[:2] for axes in panels} == {grid}


def test_array_names_what_is_wrong():
    assert drawing.array("x", torch.ones(2, 3, requires_grad=True), 2, None).shape == (2, 3)
    with pytest.raises(ValueError, match=r"x: got shape \(2, 3\), expected \(any, 2\)"):
        drawing.array("x", np.ones((2, 3)), None, 2)
    with pytest.raises(ValueError, match=r"x\['a'\]: got values that are not finite"):
        drawing.arrays("x", {"a": [np.nan]})
    with pytest.raises(ValueError, match="x: got nothing"):
        drawing.arrays("x", {})
