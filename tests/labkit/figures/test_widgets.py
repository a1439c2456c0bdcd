"""labkit.figures.live: the frames that sliders draw, errors in the picture's place, outputs that nbval finds the same."""

import base64
import io
import subprocess
import sys

import IPython.display
import ipywidgets
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from labkit import figures
from labkit.figures import embedding as scenes
from labkit.figures import live as widgets

RANDOM = np.random.default_rng(0)
CLOUDS = [RANDOM.normal(size=(60, 2)) * scale for scale in (1, 2, 3)]
LABELS = np.arange(60) % 3
SAME, DIFFERENT = np.abs(RANDOM.normal(0.5, 0.2, 300)), np.abs(RANDOM.normal(1.5, 0.3, 300))


def line(slope):
    return figures.curves({"line": ([0, 1], [0, 1 / slope])}, "x", "y")


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def outputs(widget, monkeypatch):
    """What the widget displays as the last line of a cell."""
    shown = []
    monkeypatch.setattr(widgets, "display", lambda data, metadata=None, raw=False: shown.append((data, metadata)))
    widget._ipython_display_()
    return shown


# --- live ---------------------------------------------------------------------------------------------------------


def test_controls_follow_their_specification():
    widget = widgets.live(
        lambda **values: line(1),
        "a line",
        real=(0.0, 2.0, 0.5),
        whole=(1, 9),
        fine=(0.0, 1.0, 0.25, 0.125),
        truth=True,
        list=["a", "b"],
        names={"x": 3, "y": 4},
        own=ipywidgets.IntText(7),
    )
    assert widget.values == {"real": 0.5, "whole": 1, "fine": 0.25, "truth": True, "list": "a", "names": 3, "own": 7}
    kinds = [type(control).__name__ for control in widget.controls.values()]
    assert kinds == ["FloatSlider", "IntSlider", "FloatSlider", "Checkbox", "Dropdown", "Dropdown", "IntText"]
    assert (widget.controls["real"].min, widget.controls["real"].max, widget.controls["real"].step) == (0, 2, 0.02)
    assert widget.controls["fine"].step == 0.125
    assert all(control.description == name for name, control in widget.controls.items() if name != "own")


@pytest.mark.parametrize(
    "spec", [3, "text", (1,), (2.0, 1.0), (0, 1, 2), (0, 1, 0, 1, 1), [], {}, None, (0.0, 1.0, -0.5)]
)
def test_a_control_of_another_form_is_refused(spec):
    with pytest.raises(ValueError, match="slope: got"):
        widgets.live(line, "a line", slope=spec)


def test_live_needs_words_and_controls():
    with pytest.raises(ValueError, match="alt: got"):
        widgets.live(line, " ", slope=(1.0, 2.0))
    with pytest.raises(ValueError, match="controls: got nothing"):
        widgets.live(lambda: line(1), "a line")


def test_a_moved_control_draws_the_figure_of_its_value():
    calls = []

    def draw(slope):
        calls.append(slope)
        return line(slope)

    widget = widgets.live(draw, "a line", slope=(1.0, 4.0))
    first = widget.picture.value
    assert widget.set(slope=2.0) is widget
    assert calls == [1, 2] and widget.values == {"slope": 2}
    assert widget.picture.value != first
    assert np.array_equal(
        pixels(widget.picture.value), pixels(widgets.live(line, "a line", slope=(2.0, 3.0)).picture.value)
    )
    assert widget.picture.layout.width == f"{Image.open(io.BytesIO(first)).width}px"
    with pytest.raises(ValueError, match=r"set: got \['steepness'\], expected names among \['slope'\]"):
        widget.set(steepness=1)


def test_a_figure_that_is_changed_in_place_without_marks_is_drawn_whole():
    figure = line(1)

    def draw(height):
        figure.axes[0].lines[0].set_ydata([height, height])
        return figure

    widget = widgets.live(draw, "a line", height=(0.0, 1.0))
    first = widget.picture.value
    assert widget.set(height=0.5).picture.value != first
    assert widget.set(height=0.0).picture.value == first


def test_an_error_while_drawing_stands_in_the_pictures_place_until_the_next_frame():
    widget = widgets.live(line, "a line", slope=(-2, 2, 1))
    first = widget.picture.value
    widget.set(slope=0)
    assert "ZeroDivisionError" in widget.error.value and "in line" in widget.error.value
    assert widget.error.layout.display == "block" and widget.picture.layout.display == "none"
    widget.set(slope=1)
    assert widget.error.value == "" and widget.error.layout.display == "none"
    assert widget.picture.layout.display is None and widget.picture.value == first


def test_an_error_in_the_first_frame_is_an_error_of_the_cell():
    with pytest.raises(ZeroDivisionError):
        widgets.live(line, "a line", slope=(0, 2))


def test_the_output_holds_widget_first_frame_and_words(monkeypatch):
    widget = widgets.live(line, "a line through <0, 0>", slope=(1.0, 2.0))
    (data, metadata), (words, _) = outputs(widget, monkeypatch)
    assert data["text/plain"] == "Figure: a line through <0, 0>"
    assert "application/vnd.jupyter.widget-view+json" in data
    assert metadata["image/png"]["alt"] == "a line through <0, 0>"
    still = pixels(base64.b64decode(data["image/png"]))
    assert np.abs(still - pixels(widget.picture.value)).mean() < 2, "the still frame has fewer colors, else the same"
    assert "a line through &lt;0, 0&gt;" in words["text/html"]


# --- The widgets of the labs ---------------------------------------------------------------------------------------


def still(widget, figure):
    """The frame that the widget shows, and the same figure drawn on its own."""
    own = widgets.live(lambda unused: figure, "still", unused=(0, 1))
    return pixels(widget.picture.value), pixels(own.picture.value)


def test_a_frame_drawn_over_the_background_is_the_figure_drawn_whole():
    playground = widgets.triplet_playground().set(positive_x=-1.0, negative_y=-0.5, margin=0.9, squared=True)
    whole = figures.triplet_plane([0, 0], [-1, 0.5], [-0.5, -0.5], 0.9, squared=True)
    assert np.array_equal(*still(playground, whole))
    surface = widgets.surface_explorer(points=[[1, 1]]).set(margin=0.7, constraint="hard").set(constraint="semihard")
    assert np.array_equal(*still(surface, figures.loss_surface(0.7, "semihard", points=[[1, 1]])))
    embedding = widgets.embedding_explorer(CLOUDS, LABELS, "abc").set(epoch=0).set(epoch=1)
    limit = 1.08 * max(np.abs(cloud).max() for cloud in CLOUDS)
    whole = figures.embedding_plane(CLOUDS[1], LABELS, "abc", "after epoch 1", limit)
    assert np.array_equal(*still(embedding, whole))
    threshold = widgets.threshold_explorer(SAME, DIFFERENT).set(threshold=0.3).set(threshold=1.2)
    value = threshold.values["threshold"]
    assert np.array_equal(*still(threshold, scenes.threshold_scene(SAME, DIFFERENT)(value)))


def test_triplet_playground_has_a_slider_for_every_coordinate():
    controls = widgets.triplet_playground(margin=0.2, squared=True).controls
    points = [f"{point}_{axis}" for point in ("anchor", "positive", "negative") for axis in "xy"]
    assert list(controls) == [*points, "margin", "squared"]
    assert controls["margin"].value == 0.2 and controls["squared"].value is True


def test_every_constraint_of_the_surface_can_be_chosen():
    widget = widgets.surface_explorer()
    frames = {widget.set(constraint=value).picture.value for value in ("all", "active", "semihard", "hard")}
    assert len(frames) == 4 and not widget.error.value
    assert widget.controls["constraint"].label == "hard"


def test_embedding_explorer_slides_over_the_epochs():
    widget = widgets.embedding_explorer(CLOUDS, LABELS, "abc")
    slider = widget.controls["epoch"]
    assert (slider.min, slider.max, slider.value) == (0, 2, 2)
    assert widgets.embedding_explorer(CLOUDS, LABELS, "abc", start=0).values == {"epoch": 0}
    with pytest.raises(ValueError, match="embeddings: got 1"):
        widgets.embedding_explorer(CLOUDS[:1], LABELS, "abc")
    with pytest.raises(ValueError, match="titles: got 2, expected 3"):
        widgets.embedding_explorer(CLOUDS, LABELS, "abc", titles="xy")


def test_threshold_explorer_starts_where_both_errors_are_equal():
    threshold = widgets.threshold_explorer(SAME, DIFFERENT).values["threshold"]
    assert (SAME > threshold).mean() == pytest.approx((DIFFERENT <= threshold).mean(), abs=0.02)


# --- Under nbval --------------------------------------------------------------------------------------------------

CELLS = """\
from labkit import figures
from labkit.figures import live as widgets
---
figures.show(figures.contrastive_curves(), "Two curves")
---
widgets.triplet_playground()
---
playground = widgets.live(lambda x: figures.bars({"x": x}, "value"), "One bar", x=(1.0, 2.0))
playground.set(x=1.5)
---
playground.set(x=2.0).values"""


def test_a_second_run_gives_the_output_that_nbval_compares(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS.split("\n---\n")])
    NotebookClient(notebook, timeout=120).execute()
    kinds = [output.output_type for cell in notebook.cells for output in cell.outputs]
    assert kinds == ["display_data"] * 6 + ["execute_result"], "two outputs a picture, nothing on stderr"
    nbformat.write(notebook, tmp_path / "same.ipynb")
    notebook.cells[2].outputs[0].data["text/plain"] = "Figure: other words"
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    (tmp_path / "empty.ini").touch()
    pytest_nbval = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", "-c", "empty.ini"]
    run = subprocess.run([*pytest_nbval, "-p", "no:cacheprovider", "."], cwd=tmp_path, capture_output=True, text=True)
    assert "FAILED changed.ipynb::Cell 2" in run.stdout and "1 failed, 9 passed" in run.stdout, run.stdout


def test_nothing_is_displayed_while_a_slider_moves(monkeypatch, capfd):
    widget = widgets.triplet_playground()
    for module in (IPython.display, widgets):
        monkeypatch.setattr(module, "display", lambda *a, **k: pytest.fail("displayed"))
    widget.set(margin=0.8)
    assert capfd.readouterr() == ("", "")
