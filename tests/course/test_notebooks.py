"""course.notebooks: finding labs, running cells, storing outputs."""

import json
import os
import sys

import nbformat
import pytest
import zmq
from jupyter_client.manager import KernelManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course import notebooks
from course.notebooks import (
    CellFailed,
    ThisPython,
    canonical,
    find_lab,
    is_untouched,
    kernel_for,
    marked,
    parameters,
    read,
    refresh,
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
    return folder


@pytest.mark.parametrize("name", ["04", "4", 4, "04_triplet", "04_triplet.ipynb", "notebooks/04_triplet.ipynb"])
def test_a_lab_is_found_by_number_name_and_path(course, name):
    assert find_lab(name) == course / "04_triplet.ipynb"


def test_a_notebook_elsewhere_is_found_by_its_path(course, tmp_path):
    path = write(tmp_path / "my lab.ipynb", "1")
    assert find_lab(path) == path


@pytest.mark.parametrize("name", ["05", "", "triplet", "04_", "x.ipynb"])
def test_an_unknown_lab_is_refused_with_the_known_ones_one_a_line(course, name):
    with pytest.raises(ValueError, match=r"lab: got .*, expected .*:\n    00_start\n    04_triplet\n    10_more"):
        find_lab(name)


def test_a_name_that_is_nearly_right_brings_a_guess(course):
    with pytest.raises(ValueError, match=r"Did you mean 04_triplet\?"):
        find_lab("04_tripet")


@pytest.mark.parametrize("text", ["", "null", "[]", '{"cells": null}', '{"cells": [{}], "nbformat": 4}', "[" * 100_000])
def test_what_is_no_notebook_is_refused_in_one_sentence(tmp_path, text):
    path = tmp_path / "x.ipynb"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^notebook: {path} cannot be read as a notebook: .+$"):
        read(path)


# ------------------------------------------------------------------------------------------------------------- writing


def test_a_notebook_knows_whether_anybody_has_changed_it(tmp_path):
    path = tmp_path / "x.ipynb"
    path.write_text(marked(new_notebook(cells=[new_code_cell("1\n2"), new_markdown_cell("a")])), encoding="utf-8")
    assert is_untouched(path)
    for change in ("source", "metadata", "outputs"):
        notebook = read(path)
        new = {"source": "3", "metadata": {"x": 1}, "outputs": [new_output("stream", text="x")]}
        notebook.cells[0][change] = nbformat.from_dict(new[change])
        nbformat.write(notebook, tmp_path / "changed.ipynb")
        assert not is_untouched(tmp_path / "changed.ipynb")
    write(tmp_path / "other.ipynb", "1")
    (tmp_path / "text.ipynb").write_text("text")
    assert not is_untouched(tmp_path / "other.ipynb") and not is_untouched(tmp_path / "text.ipynb")


# ------------------------------------------------------------------------------------------------------------- kernels


def test_the_kernel_is_this_python_in_a_known_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", "/nowhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    names = sorted(notebooks.KERNEL_ENVIRONMENT)
    cells = [
        "import sys, os, json\n"
        f"values = [os.environ[name] for name in {names}]\n"
        "print(json.dumps([sys.executable, os.getcwd(), values, os.environ['IPYTHONDIR']]))",
        "len(In)",
        "import sys\nfor i in 'ab':\n    print(i); print(i, file=sys.stderr, flush=True)",
    ]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    with kernel_for(notebook, tmp_path) as run:
        for number, cell in enumerate(notebook.cells, 1):
            run(cell, number)
    first, history, joined = [cell.outputs for cell in notebook.cells]
    executable, folder, values, profile = json.loads(first[0].text)
    assert os.path.samefile(executable, sys.executable) and os.path.samefile(folder, tmp_path)
    assert values == [notebooks.KERNEL_ENVIRONMENT[name] for name in names]
    assert "labkit-ipython" in profile and not os.path.exists(profile)
    assert history[0].data["text/plain"] == "1"
    assert [(output.name, output.text) for output in joined] == [("stdout", "a\nb\n"), ("stderr", "a\nb\n")]


def test_nobody_else_on_the_machine_can_listen(tmp_path):
    """Somebody who knows the port of a kernel's outputs, but not its key, hears nothing."""
    manager = KernelManager(kernel_spec_manager=ThisPython(), transport_encryption="auto")
    manager.start_kernel(cwd=str(tmp_path))
    with zmq.Context() as context, context.socket(zmq.SUB) as ear:
        try:
            ear.setsockopt(zmq.SUBSCRIBE, b"")
            ear.connect(f"tcp://{manager.ip}:{manager.iopub_port}")
            client = manager.blocking_client()
            client.start_channels()
            client.wait_for_ready(timeout=120)
            heard = []
            client.execute_interactive("print('SECRET')", output_hook=lambda message: heard.append(message["content"]))
            assert "SECRET" in str(heard)
            assert ear.poll(1000) == 0
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


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


# ---------------------------------------------------------------------------------------------------------- parameters


def test_parameters_are_those_of_the_tagged_cell():
    cell = new_code_cell('DATASET = "digits"\nSEEDS: tuple = (0, 1)\nEPOCHS = 3', metadata={"tags": ["parameters"]})
    notebook = new_notebook(cells=[cell, new_code_cell("OTHER = 1")])
    assert parameters(notebook) == {"DATASET": "'digits'", "SEEDS": "(0, 1)", "EPOCHS": "3"}
    assert parameters(new_notebook()) == {}
