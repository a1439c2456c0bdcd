"""labkit.figures.lab05: the arrows are the losses' gradients; the choice of weight and the slider choose the plane."""

import numpy as np
import pytest
import torch
from pictures import pixels

from labkit.figures import lab05 as plots

RANDOM = np.random.default_rng(0)
CLASSES = ["zero", "one", "two"]
LABELS = np.array([0, 1, 1, 0, 0])  # no row of class two
POINTS = {"small": RANDOM.normal(size=(5, 2)), "large": torch.tensor(100 * RANDOM.normal(size=(5, 2)))}


SEQUENCES = {
    "λ = 0": [RANDOM.normal(size=(5, 2)) for _ in range(3)],
    "λ = 1": [np.zeros((5, 2)), *[POINTS["large"]] * 2],
}


@pytest.mark.parametrize(("loss", "shown"), [("center loss alone", (0, 1)), ("softmax alone", (1, 0))])
def test_the_arrows_are_the_steps_of_descent(loss, shown):
    hand = plots.Centers(points=[[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]], centers=[[0.0, 0.0]] * 3, weight=0.5, loss=loss)
    (axes,) = hand.figure().axes
    push, pull = ([arrows.U[0], arrows.V[0]] for arrows in axes.collections)
    scores = np.array([1.0, -0.5 + np.sqrt(3), -0.5 - np.sqrt(3)])
    chance = np.exp(scores) / np.exp(scores).sum()
    away = [1.5 * (chance[1] + chance[2]), np.sqrt(0.75) * (chance[2] - chance[1])]
    assert np.allclose(push, shown[0] * plots.STEP * np.array(away))
    assert np.allclose(pull, shown[1] * plots.STEP * 0.5 * np.array([-1, -2]))
    softmax, center = shown[0] * (np.log(3) * 2 - np.log(chance[0])) / 3, shown[1] * 2.5 / 3 * 0.5
    assert f"softmax {softmax:.2f} + λ × center loss {center:.2f};" in axes.get_title()


def cloud(widget, c=0):
    line = widget._figure.axes[0].lines[c]
    return np.stack(line.get_data(), 1)


def test_weight_and_epoch_choose_the_plane():
    widget = plots.center_explorer(SEQUENCES, LABELS, CLASSES)
    assert widget.values == {"weight": 0, "epoch": 2}
    assert dict(widget.controls["weight"].options) == {"λ = 0": 0, "λ = 1": 3}
    assert (widget.controls["epoch"].min, widget.controls["epoch"].max) == (0, 2)
    for weight, (name, sequence) in zip((0, 3), SEQUENCES.items(), strict=True):
        for epoch, points in enumerate(sequence):
            widget.set(weight=weight, epoch=epoch)
            points = np.asarray(points)
            size = np.sqrt(np.mean(points**2))
            assert np.allclose(cloud(widget), points[LABELS == 0] / (size or 1))
            when = ["before training", "after epoch 1", "after epoch 2"][epoch]
            assert widget._figure.axes[0].get_title() == f"{name}, {when}\nsize {size:.2g}"
            assert widget.error.value == ""
    widest = max(
        np.abs(p).max() / np.sqrt(np.mean(np.square(p)))
        for s in SEQUENCES.values()
        for p in map(np.asarray, s)
        if p.any()
    )
    assert widget._figure.axes[0].get_xlim()[1] == pytest.approx(1.08 * widest), "the same plane at every moment"


def test_the_picture_changes():
    widget = plots.center_explorer(SEQUENCES, LABELS, CLASSES)
    before = pixels(widget)
    assert np.abs(pixels(widget.set(weight=3)) - before).max() > 50
    assert "Points of 3 classes" in widget.alt and "size of the plane" in widget.alt


@pytest.mark.parametrize(
    ("sequences", "words"),
    [
        ({}, "embeddings: got nothing"),
        ({"a": [POINTS["small"]]}, r"embeddings: got sequences of \[1\], expected one length of at least 2"),
        ({"a": [POINTS["small"]] * 2, "b": [POINTS["small"]] * 3}, r"got sequences of \[2, 3\]"),
        ({"a": [POINTS["small"], np.zeros((5, 3))]}, r"embeddings\['a'\]\[1\]: got shape \(5, 3\)"),
    ],
)
def test_bad_sequences(sequences, words):
    with pytest.raises(ValueError, match=words):
        plots.center_explorer(sequences, LABELS, CLASSES)
