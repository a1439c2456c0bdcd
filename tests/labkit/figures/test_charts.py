"""labkit.figures.charts: what is in the charts and tables."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pictures import texts

from labkit import figures


def test_curves_draw_the_mean_in_a_band_of_the_seeds():
    x, y = np.arange(3), torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]], requires_grad=True)
    axes = figures.curves({"one": (x, [5, 6, 7]), "many": (x, y)}, "epoch", "loss", "title").axes[0]
    one, many = axes.lines
    assert one.get_ydata().tolist() == [5, 6, 7] and many.get_ydata().tolist() == [2, 3, 5.5]
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert {(0, 1), (0, 3), (2, 3), (2, 8)} <= {tuple(corner) for corner in corners}
    assert one.get_linestyle() != many.get_linestyle() and one.get_color() != many.get_color()
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("epoch", "loss", "title")
    assert [text.get_text() for text in axes.get_legend().texts] == ["one", "many"]


def test_the_legend_explains_a_band_where_there_is_one():
    def legend(y, **options):
        return figures.curves({"a": ([0, 1], y)}, "x", "y", **options).axes[0].get_legend()

    assert legend([1, 2]) is None
    assert legend([[1, 2], [3, 4]]).get_title().get_text() == "band: lowest to highest seed"
    assert legend([[1, 2], [3, 4]], band="mean ± std").get_title().get_text() == "band: mean ± std"
    two = figures.curves({"a": ([0, 1], [1, 2]), "b": ([0, 1], [2, 3])}, "x", "y").axes[0].get_legend()
    assert two.get_title().get_text() in ("", "None") and not two.get_title().get_visible()


@pytest.mark.parametrize("y", [[1, 2], [[1, 2, 3], [1, 2, np.nan]], [[[1, 2, 3]]]])
def test_curves_refuse_what_does_not_fit(y):
    with pytest.raises(ValueError, match=r"lines\['a'\] y: got"):
        figures.curves({"a": ([0, 1, 2], y)}, "x", "y")
    with pytest.raises(ValueError, match="lines: got nothing"):
        figures.curves({}, "x", "y")


def test_bars_show_mean_standard_error_and_seeds():
    figure = figures.bars({"pixels": 0.5, "triplet": [0.7, 0.8, 0.9]}, "accuracy", start=0.4)
    axes = figure.axes[0]
    assert [bar.get_x() + bar.get_width() for bar in axes.patches] == pytest.approx([0.5, 0.8])
    (error,) = axes.collections  # of the row with several seeds
    (left, right) = error.get_segments()[0][:, 0]
    assert (right - left) / 2 == pytest.approx(0.1 / np.sqrt(3))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["pixels", "triplet"]
    assert "0.500" in texts(figure) and "0.800" in texts(figure)
    assert axes.get_xlim()[0] == 0.4 and "axis begins at 0.4" in axes.get_xlabel()


def test_table_is_markdown_with_standard_errors():
    rows = {"softmax": {"accuracy": [0.9, 0.92, 0.94], "auc": 0.5}, "triplet": {"accuracy": 1}}
    assert figures.table(rows, ["accuracy", "auc"], digits=2).split("\n") == [
        "| | accuracy | auc |",
        "|:--|--:|--:|",
        "| softmax | 0.92 ± 0.01 | 0.50 |",
        "| triplet | 1.00 | – |",
    ]


def test_history_draws_steps_epochs_metrics_and_the_best():
    metrics = {"accuracy": [0.5, 0.9], "recall": [0.4, 0.8]}
    run = SimpleNamespace(loss=[4.0, 2.0, 1.5, 0.5], epoch_loss=[3.0, 1.0], metrics=metrics, best_epoch=2)
    left, right = figures.history(run).axes
    steps, epochs = left.lines
    assert steps.get_xydata().tolist() == [[0.25, 4], [0.75, 2], [1.25, 1.5], [1.75, 0.5]]
    assert epochs.get_xydata().tolist() == [[0.5, 3], [1.5, 1]]
    assert [line.get_label() for line in right.lines] == ["accuracy", "recall", "best: 0.900"]
    assert right.lines[-1].get_xydata().tolist() == [[2, 0.9]]
