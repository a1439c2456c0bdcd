"""course.notebooks: finding labs, running cells, storing outputs, full-size runs."""

import json
import os
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course import notebooks
from course.notebooks import (
    CellFailed,
    Kernel,
    KernelDied,
    canonical,
    find_lab,
    parameters,
    read,
    refresh,
    run_lab,
    typed,
)


def write(path, *cells):
    cells = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of three labs."""
    folder = tmp_path / "course"
    for name in ("00_start", "04_triplet", "10_more"):
        write(folder / f"{name}.ipynb", "print(1)")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", folder)
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "build")
    return folder


@pytest.mark.parametrize("name", ["04", "4", 4, "04_triplet", "04_triplet.ipynb", "notebooks/04_triplet.ipynb"])
def test_a_lab_is_found_by_number_name_and_path(course, name):
    assert find_lab(name) == course / "04_triplet.ipynb"


def test_a_notebook_elsewhere_is_found_by_its_path(course, tmp_path):
    path = write(tmp_path / "my lab.ipynb", "1")
    assert find_lab(path) == path


@pytest.mark.parametrize("name", ["05", "", "triplet", "04_", "x.ipynb"])
def test_an_unknown_lab_is_refused_with_the_known_ones(course, name):
    with pytest.raises(ValueError, match=r"lab: got .*, expected .*\(00_start, 04_triplet, 10_more\)"):
        find_lab(name)


# ------------------------------------------------------------------------------------------------------------- kernels


def test_the_kernel_is_this_python_in_a_known_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", "/nowhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    names = sorted(notebooks.KERNEL_ENVIRONMENT)
    with Kernel(tmp_path) as kernel:
        run = kernel.run(
            "import sys, os, json\n"
            f"values = [os.environ[name] for name in {names}]\n"
            "print(json.dumps([sys.executable, os.getcwd(), values, os.environ['IPYTHONDIR']]))"
        )
        executable, folder, values, profile = json.loads(run.outputs[0].text)
        assert kernel.run("len(In)").outputs[0].data["text/plain"] == "1"  # no history
        assert "StdinNotImplementedError" in kernel.run("input()").error.ename
        joined = kernel.run("import sys\nfor i in 'ab':\n    print(i); print(i, file=sys.stderr, flush=True)").outputs
        assert [(output.name, output.text) for output in joined] in (
            [("stdout", "a\nb\n"), ("stderr", "a\nb\n")],
            [("stderr", "a\nb\n"), ("stdout", "a\nb\n")],
        )
        with pytest.raises(KernelDied, match="died"):
            kernel.run("import os; os._exit(0)")
    assert os.path.samefile(executable, sys.executable) and os.path.samefile(folder, tmp_path)
    assert values == [notebooks.KERNEL_ENVIRONMENT[name] for name in names]
    assert "labkit-ipython" in profile and not os.path.exists(profile)


# ---------------------------------------------------------------------------------------------------------- refreshing


def test_refresh_stores_outputs_in_a_form_that_does_not_change(tmp_path):
    picture = (
        "from IPython.display import display\n"
        "data = {'text/plain': 'x', 'image/png': 'aVZC'}\n"
        "data['application/vnd.jupyter.widget-view+json'] = {'model_id': '1'}\n"
        "display(data, raw=True, metadata={'image/png': {'alt': 'A cat'}, 'scrap': 1})"
    )
    failing = new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})
    path = write(tmp_path / "05_x.ipynb", new_markdown_cell("# T"), "print('a')\n3", picture, failing)
    ids = [cell.id for cell in read(path).cells]
    assert refresh(path) is True
    first = path.read_bytes()
    assert refresh(path) is False and path.read_bytes() == first
    assert first.endswith(b"}\n") and b"\r" not in first
    notebook = read(path)
    assert [cell.id for cell in notebook.cells] == ids
    assert notebook.metadata == notebooks.METADATA
    _, value, shown, error = notebook.cells
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3]
    assert [output.output_type for output in value.outputs] == ["stream", "execute_result"]
    assert value.outputs[1].execution_count == 1
    assert shown.outputs[0].data == {"text/plain": "x", "image/png": "aVZC"}
    assert shown.outputs[0].metadata == {"image/png": {"alt": "A cat"}}
    assert (error.outputs[0].ename, error.outputs[0].traceback) == ("ZeroDivisionError", [])


@pytest.mark.parametrize(
    ("bad", "words"), [("1 / 0", "ZeroDivisionError: division by zero"), ("import os; os._exit(1)", "died")]
)
def test_refresh_writes_nothing_when_a_cell_fails_and_says_which(tmp_path, bad, words):
    path = write(tmp_path / "05_x.ipynb", "print('new')", bad, "print('never')")
    before = path.read_bytes()
    with pytest.raises(CellFailed) as caught:
        refresh(path)
    assert path.read_bytes() == before
    message = str(caught.value)
    assert f"05_x.ipynb, code cell 2, which begins with `{bad}`" in message
    assert words in message and message.endswith("Nothing was written.")


def test_the_canonical_form_drops_what_editors_leave_behind():
    cell = new_code_cell(
        "1", execution_count=1, metadata={"tags": [], "collapsed": True, "slideshow": {"slide_type": "-"}}
    )
    cell.outputs = [new_output("execute_result", {"text/plain": "1"}, execution_count=0)]
    notebook = new_notebook(
        cells=[cell], metadata={"widgets": {}, "language_info": {"name": "python", "version": "3.12"}}
    )
    stored = nbformat.reads(canonical(notebook), 4)
    assert stored.cells[0].metadata == {"slideshow": {"slide_type": "-"}}
    assert stored.cells[0].outputs[0].execution_count == 1
    assert stored.metadata == notebooks.METADATA


# ------------------------------------------------------------------------------------------------------ full-size runs


def lab_with_parameters(folder, *more):
    cell = new_code_cell('DATASET = "digits"\nSEEDS: tuple = (0, 1)\nEPOCHS = 3', metadata={"tags": ["parameters"]})
    return write(folder / "04_triplet.ipynb", "import sys, os", cell, *more)


def test_parameters_are_those_of_the_tagged_cell(tmp_path):
    notebook = read(lab_with_parameters(tmp_path, "OTHER = 1"))
    assert parameters(notebook) == {"DATASET": "'digits'", "SEEDS": "(0, 1)", "EPOCHS": "3"}
    assert parameters(new_notebook()) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("1e-3", 0.001),
        ("-2", -2),
        ("True", True),
        ("None", None),
        ("[0, 1]", [0, 1]),
        ("mnist", "mnist"),
        ("a/b c", "a/b c"),
        ("3x", "3x"),
        ("", ""),
        ("'5'", "5"),
        ("__import__('os')", "__import__('os')"),
    ],
)
def test_values_get_their_type(text, value):
    assert typed(text) == value and type(typed(text)) is type(value)


def test_a_lab_runs_with_other_parameters_and_stays_as_it_is(course, tmp_path):
    path = lab_with_parameters(course, "print(DATASET, SEEDS, EPOCHS, sys.executable)\nos.getcwd()")
    before = path.read_bytes()
    out = run_lab(path, {"DATASET": "mnist", "SEEDS": [4], "EPOCHS": 9}, tmp_path / "new" / "{out}.ipynb")
    assert out == tmp_path / "new" / "{out}.ipynb" and path.read_bytes() == before
    printed, folder = read(out).cells[-1].outputs
    assert printed.text == f"mnist [4] 9 {sys.executable}\n"
    assert folder.data["text/plain"] == repr(str(course))


def test_a_cell_that_fails_is_named_and_what_was_reached_is_kept(course, tmp_path):
    path = lab_with_parameters(course, "print('so far')", "1 / 0", "print('never')")
    with pytest.raises(CellFailed, match=r"(?s)04_triplet.ipynb, cell .*ZeroDivisionError.*Up to there: ") as caught:
        run_lab(path)
    [out] = (tmp_path / "build").glob("04_triplet-*.ipynb")
    assert str(out) in str(caught.value)
    assert "so far" in out.read_text(encoding="utf-8")


def test_unknown_parameters_and_the_course_as_target_are_refused(course):
    path = lab_with_parameters(course)
    with pytest.raises(
        ValueError, match=r"parameter: got 'EPOCH', expected one of .*DATASET = 'digits', SEEDS = \(0, 1\)"
    ):
        run_lab(path, {"EPOCH": 3})
    for out in (path, course / "new.ipynb", course / "x" / ".." / "04_triplet.ipynb"):
        with pytest.raises(ValueError, match="out: got"):
            run_lab(path, {}, out)
