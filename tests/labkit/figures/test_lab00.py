"""labkit.figures.lab00: the slider goes over the epochs."""

import numpy as np
import pytest
from pictures import pixels

from labkit import figures
from labkit.figures.lab00 import embedding_explorer

RANDOM = np.random.default_rng(0)
CLOUDS = [RANDOM.normal(size=(60, 2)) * scale for scale in (1, 2, 3)]
LABELS = np.arange(60) % 3


def test_embedding_explorer_slides_over_the_epochs():
    widget = embedding_explorer(CLOUDS, LABELS, "abc")
    slider = widget.controls["epoch"]
    assert (slider.min, slider.max, slider.value) == (0, 2, 2)
    widget.set(epoch=0).set(epoch=1)
    limit = 1.08 * max(np.abs(cloud).max() for cloud in CLOUDS)
    whole = figures.embedding_plane(CLOUDS[1], LABELS, "abc", "after epoch 1", limit)
    assert np.abs(pixels(widget) - pixels(whole)).mean() < 2, "the whole picture has fewer colors, else the same"
    assert widget.set(epoch=0)._figure.axes[0].get_title() == "before training"


def test_embedding_explorer_needs_two_moments():
    with pytest.raises(ValueError, match="embeddings: got 1"):
        embedding_explorer(CLOUDS[:1], LABELS, "abc")
