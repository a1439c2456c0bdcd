"""course.running: parameters by type, copies that are written where nothing is lost, what is said on the way."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course import notebooks, running
from course.notebooks import CellFailed, is_untouched, read
from course.running import Bar, parameter_values, run_lab

DEFAULTS = """\
DATASET = "digits"
EPOCHS = 3
SEEDS = [0, 1]
GOAL = 0.95
RECORD = False
SIZES: tuple = (1.5, 2)
BEST = None
COUNT = 0
"""


def lab_with_parameters(folder, *more):
    cell = new_code_cell(DEFAULTS, metadata={"tags": ["parameters"]})
    path = folder / "04_triplet.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [new_code_cell("import sys, os"), cell, *map(new_code_cell, more)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "course")
    monkeypatch.setattr(running, "NOTEBOOKS", tmp_path / "course")
    monkeypatch.setattr(running, "BUILD", tmp_path / "build")
    return tmp_path / "course"


# -------------------------------------------------------------------------------------------------- parameters


def meant(name, text):
    cell = new_code_cell(DEFAULTS, metadata={"tags": ["parameters"]})
    return parameter_values(new_notebook(cells=[cell]), {name: text})[name]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("DATASET", "mnist", "mnist"),
        ("DATASET", "5", "5"),
        ("DATASET", "'a b'", "a b"),
        ("EPOCHS", " 5 ", 5),
        ("COUNT", "-2", -2),
        ("GOAL", "1e-3", 0.001),
        ("GOAL", "1", 1.0),
        ("SEEDS", "[4, 5]", [4, 5]),
        ("SEEDS", "(4,)", [4]),
        ("SIZES", "[1, 2.5]", (1, 2.5)),
        ("BEST", "[1, 'a']", [1, "a"]),
        *(("RECORD", text, True) for text in ("true", "True", "yes", "on", "1")),
        *(("RECORD", text, False) for text in ("false", "False", "no", "off", "0")),
    ],
)
def test_values_get_the_type_of_the_default(name, text, value):
    assert meant(name, text) == value and type(meant(name, text)) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("EPOCHS", "many", "a whole number, at least 1 (default: 3)"),
        ("EPOCHS", "1.5", "a whole number"),
        ("EPOCHS", "0", "at least 1"),
        ("EPOCHS", "True", "a whole number"),
        ("SEEDS", "0", "a list of such, as [0, 1]"),
        ("SEEDS", "[]", "a list of such"),
        ("SEEDS", "[1.5]", "a list of such"),
        ("SEEDS", "['a']", "a list of such"),
        ("SEEDS", "__import__('os')", "a list of such"),
        ("GOAL", "high", "a number"),
        ("GOAL", "nan", "a number"),
        ("RECORD", "maybe", "true or false"),
        ("RECORD", "2", "true or false"),
    ],
)
def test_what_is_no_value_of_that_type_is_refused_before_anything_runs(name, text, words):
    with pytest.raises(ValueError) as refused:
        meant(name, text)
    assert str(refused.value).startswith(f"{name}: got {text!r}, expected ") and words in str(refused.value)


def test_an_unknown_parameter_lists_the_known_ones_and_what_may_be_meant():
    with pytest.raises(ValueError, match=r"(?s)parameter: got 'EPOCH', expected .*SEEDS = \[0, 1\].*mean EPOCHS = 3"):
        meant("EPOCH", "5")


# ------------------------------------------------------------------------------------------------------ running


def test_a_lab_runs_with_other_parameters_and_stays_as_it_is(course, tmp_path):
    picture = (
        "from IPython.display import display\n"
        "data = {'text/plain': 'x', 'image/png': 'aVZC'}\n"
        "data['application/vnd.jupyter.widget-view+json'] = {'model_id': '1'}\n"
        "display(data, raw=True)"
    )
    path = lab_with_parameters(course, "print(DATASET, SEEDS, EPOCHS, sys.executable)\nos.getcwd()", picture)
    before = path.read_bytes()
    out = run_lab(path, {"DATASET": "mnist", "SEEDS": [4], "EPOCHS": 9}, tmp_path / "new" / "{out}.ipynb")
    assert out == tmp_path / "new" / "{out}.ipynb" and path.read_bytes() == before
    *_, values, shown = read(out).cells
    assert values.outputs[0].text == f"mnist [4] 9 {sys.executable}\n"
    assert values.outputs[1].data["text/plain"] == repr(str(course))
    assert shown.outputs[0].data == {"text/plain": "x", "image/png": "aVZC"}, "a page shows the picture, not the widget"
    assert run_lab(path, {}, out) == out, "an earlier run may be replaced"
    assert is_untouched(out)


def test_a_cell_that_fails_is_named_and_what_was_reached_is_kept(course, tmp_path):
    path = lab_with_parameters(course, "print('so far')", "1 / 0", "print('never')")
    with pytest.raises(CellFailed, match=r"(?s)04_triplet.ipynb, cell .*ZeroDivisionError.*Up to there: ") as caught:
        run_lab(path)
    [out] = (tmp_path / "build").glob("04_triplet-*.ipynb")
    assert str(out) in str(caught.value)
    assert "so far" in out.read_text(encoding="utf-8")


def test_an_exercise_that_is_not_solved_yet_is_no_failure(course, tmp_path):
    path = lab_with_parameters(course, "raise NotImplementedError", "print('the end')")
    notebook = read(path)
    notebook.cells[-2].metadata["tags"] = ["raises-exception"]
    nbformat.write(notebook, path)
    copy = read(run_lab(path, {}, tmp_path / "out.ipynb"))
    assert copy.cells[-1].outputs[0].text == "the end\n" and len(copy.cells) == len(notebook.cells)


def test_nothing_but_an_earlier_run_is_overwritten(course, tmp_path):
    path = lab_with_parameters(course)
    for out in (path, course / "new.ipynb", course / "x" / ".." / "04_triplet.ipynb"):
        with pytest.raises(ValueError, match="the course's notebooks stay"):
            run_lab(path, {}, out)
    text, filled_in, changed = tmp_path / "README.md", tmp_path / "mine.ipynb", tmp_path / "run.ipynb"
    text.write_text("text")
    nbformat.write(new_notebook(cells=[new_code_cell("my work")]), filled_in)
    changed.write_text(notebooks.marked(new_notebook(cells=[new_code_cell("1")])).replace("1", "my work"))
    for out, words in ((text, "ends in .ipynb"), (filled_in, "no earlier run"), (changed, "no earlier run")):
        before = out.read_bytes()
        with pytest.raises(ValueError, match=words):
            run_lab(path, {}, out)
        assert out.read_bytes() == before
    with pytest.raises(ValueError, match="parameter: got 'EPOCH'"):
        run_lab(path, {"EPOCH": 3})


@pytest.mark.skipif(os.name != "posix", reason="signals of terminals are another matter there")
def test_ctrl_c_says_where_the_copy_lies_and_nothing_more(course, tmp_path):
    path = lab_with_parameters(course, "print('so far')", "open('../here', 'w').close()\nimport time; time.sleep(600)")
    out = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "course", "lab", str(path), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not (tmp_path / "here").exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert said == f"Error: stopped; what was reached: {out}\n" and process.returncode == 1
    assert "so far" in out.read_text(encoding="utf-8") and is_untouched(out)


def test_the_bar_shows_how_far_a_long_cell_is(monkeypatch):
    cells = [new_code_cell("1"), new_code_cell("2", metadata={"tags": ["slow"]})]
    bar = Bar(new_notebook(cells=cells), "04_triplet")

    def message(kind, number, **state):
        return {"msg_type": kind, "content": {"comm_id": number, "data": {"state": state}}}

    clock = iter([0.0, 30.0])
    with bar:
        monkeypatch.setattr(running.time, "monotonic", lambda: next(clock))
        bar.done(cells[0])
        bar.hear(message("comm_open", "text", _model_name="HTMLModel"))
        bar.hear(message("comm_open", "bar", _model_name="FloatProgressModel", max=40.0))
        bar.hear(message("comm_msg", "text", value="epoch"))
        bar.hear({"msg_type": "stream", "content": {"name": "stdout", "text": "x"}})
        bar.hear(message("comm_msg", "bar", value=10.0))
        assert bar.line.postfix == "the bar of this cell: 25%, 90 s left"
        bar.done(cells[1])
        assert bar.line.postfix == ""
