"""labkit.figures.live: the frames that sliders draw, errors in their place, outputs that nbval finds the same."""

import base64
import io
import subprocess
import sys

import IPython.display
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from pictures import pixels
from PIL import Image

from labkit import figures
from labkit.figures.live import live


def line(slope):
    return figures.curves({"line": ([0, 1], [0, 1 / slope])}, "x", "y")


def outputs(widget, monkeypatch):
    """What the widget displays as the last line of a cell."""
    shown = []
    monkeypatch.setattr(
        IPython.display, "display", lambda data, metadata=None, raw=True: shown.append((data, metadata))
    )
    widget._ipython_display_()
    return shown


# --- live ---------------------------------------------------------------------------------------------------------


def test_controls_follow_their_specification():
    widget = live(
        lambda **values: line(1),
        "a line",
        real=(0.0, 2.0, 0.5),
        whole=(1, 9),
        fine=(0.0, 1.0, 0.25, 0.125),
        list=["a", "b"],
        names={"x": 3, "y": 4},
    )
    assert widget.values == {"real": 0.5, "whole": 1, "fine": 0.25, "list": "a", "names": 3}
    kinds = [type(control).__name__ for control in widget.controls.values()]
    assert kinds == ["FloatSlider", "IntSlider", "FloatSlider", "Dropdown", "Dropdown"]
    assert (widget.controls["real"].min, widget.controls["real"].max, widget.controls["real"].step) == (0, 2, 0.02)
    assert widget.controls["fine"].step == 0.125
    assert all(control.description == name for name, control in widget.controls.items())


def test_what_a_slider_shows_is_rounded_to_its_step():
    widget = live(lambda **values: line(1), "a line", a=(0.0, 1.0, 0.5, 0.05), b=(0.0, 9.0, 1.0, 1.0), c=(0.0, 1.0))
    shown = [format(0.8999999999999999, control.readout_format) for control in widget.controls.values()]
    assert shown == ["0.90", "1", "0.90"]


def test_the_picture_has_a_name_that_a_screen_reader_says():
    picture = live(line, "A line. It rises.", slope=(1.0, 2.0)).picture
    assert picture.tooltip == "A line" and picture.description == "", "both are needed for a title on the page"
    assert {"tooltip", "description"} <= set(picture.get_state())


def test_live_needs_controls():
    with pytest.raises(ValueError, match="controls: got nothing"):
        live(lambda: line(1), "a line")


def test_a_moved_control_draws_the_figure_of_its_value():
    calls = []

    def draw(slope):
        calls.append(slope)
        return line(slope)

    widget = live(draw, "a line", slope=(1.0, 4.0))
    first = widget.picture.value
    assert widget.set(slope=2.0) is widget
    assert calls == [1, 2] and widget.values == {"slope": 2}
    assert widget.picture.value != first
    assert np.array_equal(pixels(widget), pixels(live(line, "a line", slope=(2.0, 3.0))))
    assert widget.picture.layout.width == f"{Image.open(io.BytesIO(first)).width}px"
    with pytest.raises(KeyError, match="steepness"):
        widget.set(steepness=1)


def test_a_figure_that_is_changed_in_place_without_marks_is_drawn_whole():
    figure = line(1)

    def draw(height):
        figure.axes[0].lines[0].set_ydata([height, height])
        return figure

    widget = live(draw, "a line", height=(0.0, 1.0))
    first = widget.picture.value
    assert widget.set(height=0.5).picture.value != first
    assert widget.set(height=0.0).picture.value == first


def test_an_error_while_drawing_stands_in_the_pictures_place_until_the_next_frame():
    widget = live(line, "a line", slope=(-2, 2, 1))
    first = widget.picture.value
    widget.set(slope=0)
    assert "ZeroDivisionError" in widget.error.value and "in line" in widget.error.value
    assert widget.error.layout.display == "block" and widget.picture.layout.display == "none"
    widget.set(slope=1)
    assert widget.error.value == "" and widget.error.layout.display == "none"
    assert widget.picture.layout.display is None and widget.picture.value == first


def test_an_error_in_the_first_frame_is_an_error_of_the_cell():
    with pytest.raises(ZeroDivisionError):
        live(line, "a line", slope=(0, 2))


def test_the_output_holds_widget_first_frame_and_words(monkeypatch):
    widget = live(line, "a line through <0, 0>", slope=(1.0, 2.0))
    (data, metadata), (words, _) = outputs(widget, monkeypatch)
    assert data["text/plain"] == "Figure: a line through <0, 0>"
    assert "application/vnd.jupyter.widget-view+json" in data
    assert metadata["image/png"]["alt"] == "a line through <0, 0>"
    still = pixels(base64.b64decode(data["image/png"]))
    assert np.abs(still - pixels(widget)).mean() < 2, "the still frame has fewer colors, else the same"
    assert "a line through &lt;0, 0&gt;" in words["text/html"]


# --- Under nbval --------------------------------------------------------------------------------------------------

CELLS = """\
from labkit import figures
from labkit.figures import lab04
from labkit.figures.live import live
---
figures.show(figures.bars({"a": 1, "b": 2}, "value"), "Two bars")
---
lab04.TripletPlane()
---
playground = live(lambda x: figures.bars({"x": x}, "value"), "One bar", x=(1.0, 2.0))
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
    widget = live(line, "a line", slope=(1.0, 2.0))
    monkeypatch.setattr(IPython.display, "display", lambda *a, **k: pytest.fail("displayed"))
    widget.set(slope=1.8)
    assert capfd.readouterr() == ("", "")
