"""course.student: versions without solutions, and copies of which nothing is ever lost."""

import copy

import nbformat
import pytest
from small_lab import cell, make_lab

from course import notebooks
from course.notebooks import read, tags
from course.student import IN_WORK, nbgrader_version, student_version, write_nbgrader, write_student_versions


@pytest.fixture
def lab(tmp_path):
    path = tmp_path / "course" / "05_demo.ipynb"
    path.parent.mkdir()
    nbformat.write(make_lab(), path)
    return path


def test_the_students_version_holds_no_solution_no_output_and_every_check():
    source = make_lab()
    student = student_version(source, "05_demo")
    nbformat.validate(student)
    text = nbformat.writes(student)
    for secret in ("SOLUTION", "math.floor", "answer = 42", "secret", "HIDDEN", "large numbers"):
        assert secret in nbformat.writes(source) and secret not in text
    assert cell(student, "write-double").source == (
        "def double(x):\n    '''Twice x.'''\n    # YOUR CODE HERE\n    raise NotImplementedError"
    )
    assert cell(student, "write-answer").source == "# YOUR CODE HERE\nraise NotImplementedError"
    code = [cell for cell in student.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    checks = [cell for cell in code if "check" in tags(cell)]
    assert len(checks) == 4 and not any(cell.metadata.deletable or cell.metadata.editable for cell in checks)
    going_on = [cell for cell in code if "raises-exception" in tags(cell)]
    assert going_on == [cell for cell in code if tags(cell) & {"exercise", "check"}], "Run All does not stop there"


def test_the_source_is_left_as_it_is():
    source = make_lab()
    before = copy.deepcopy(source)
    student_version(source, "05_demo")
    assert source == before


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("write-half", {"source": "def half(x):\n    return x / 2"}, "without BEGIN SOLUTION"),
        ("write-half", {"source": "### BEGIN SOLUTION\nx = 1"}, "without BEGIN SOLUTION and END SOLUTION"),
        ("write-half", {"source": make_lab().cells[4].source + "\n### END SOLUTION"}, "has no partner"),
        ("setup", {"source": make_lab().cells[4].source}, "its cell lacks the tag"),
        ("setup", {"source": "### BEGIN HIDDEN TESTS\nx\n### END HIDDEN TESTS"}, "its cell lacks the tag"),
        ("check-half", {"metadata": {"tags": ["check"]}}, "expected an exercise and its points"),
        ("check-half", {"metadata": {"tags": ["check"], "labkit": {"exercise": "x", "points": 0}}}, "and its points"),
    ],
)
def test_cells_that_are_not_in_order_are_named(name, change, words):
    source = make_lab()
    cell(source, name).update(nbformat.from_dict(change))
    with pytest.raises(ValueError, match=f"cell {name}.*{words}"):
        student_version(source, "05_demo")


def test_a_note_below_the_first_cell_says_what_the_copy_is():
    student = student_version(make_lab(), "05_demo", "**Yours.**")
    assert [one.source.split("\n")[0] for one in student.cells[:3]] == ["# Lab", "**Yours.**", "import math"]
    assert student_version(student, "05_demo", "**Another.**") == student, "what is a student's version stays as it is"


def test_files_are_written_and_links_still_lead_somewhere(lab, tmp_path):
    (lab.parent.parent / "labkit").mkdir()
    (lab.parent.parent / "labkit" / "x.py").touch()
    (lab.parent / "cat.png").touch()
    (lab.parent / "06_next.ipynb").touch()
    [written] = write_student_versions([lab], tmp_path / "build" / "student", note=IN_WORK)
    assert written == (tmp_path / "build" / "student" / "05_demo.ipynb", "new", None)
    first, note = read(written.path).cells[:2]
    assert first.source == (
        "# Lab\n[next](06_next.ipynb) [code](../../labkit/x.py#L3) ![cat](../../course/cat.png) [web](https://a.b/c)"
    )
    assert "(../../course/05_demo.ipynb)" in note.source and "grade work/05_demo.ipynb" in note.source
    assert written.path.read_bytes().endswith(b"}\n") and b"\r" not in written.path.read_bytes()


def test_solutions_are_never_overwritten(lab):
    with pytest.raises(ValueError, match="out: got"):
        write_student_versions([lab], notebooks.NOTEBOOKS)


# ------------------------------------------------------------------------------------------------- nothing is lost


def fill_in(path, source="answer = 42"):
    """Work on a copy as JupyterLab saves it."""
    notebook = read(path)
    cell(notebook, "write-answer").source = source
    notebook.metadata["kernelspec"]["display_name"] = "Python 3"
    nbformat.write(notebook, path)
    return path.read_bytes()


def change_the_lab(lab, source="print('the new end')"):
    notebook = read(lab)
    cell(notebook, "end").source = source
    nbformat.write(notebook, lab)


def test_a_copy_that_nobody_has_changed_follows_the_lab(lab, tmp_path):
    def states():
        return [(one.state, one.beside) for one in write_student_versions([lab], tmp_path / "work")]

    assert states() == [("new", None)]
    assert states() == [("as it was", None)]
    change_the_lab(lab)
    assert states() == [("renewed", None)]
    assert "the new end" in (tmp_path / "work" / "05_demo.ipynb").read_text(encoding="utf-8")


def test_work_stays_and_a_new_version_of_the_lab_is_put_beside_it(lab, tmp_path):
    [first] = write_student_versions([lab], tmp_path / "work")
    work = fill_in(first.path)
    assert write_student_versions([lab], tmp_path / "work") == [(first.path, "kept", None)]
    change_the_lab(lab)
    [second] = write_student_versions([lab], tmp_path / "work")
    assert second.state == "kept" and first.path.read_bytes() == work
    assert "the new end" in second.beside.read_text(encoding="utf-8")
    newer = fill_in(second.beside, "answer = 43")
    assert write_student_versions([lab], tmp_path / "work") == [second] and second.beside.read_bytes() == newer
    change_the_lab(lab, "print('a third end')")
    [third] = write_student_versions([lab], tmp_path / "work")
    assert third.beside not in (None, second.beside)
    assert first.path.read_bytes() == work and second.beside.read_bytes() == newer


def test_force_moves_work_aside(lab, tmp_path):
    [first] = write_student_versions([lab], tmp_path / "work")
    work = fill_in(first.path)
    [forced] = write_student_versions([lab], tmp_path / "work", force=True)
    assert forced.state == "new" and forced.beside.read_bytes() == work
    assert b"answer = 42" not in first.path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"text", b"{}", b"[]", b'{"metadata": {"labkit": {"written": 3}}}', b"\xff"])
def test_a_file_that_is_no_notebook_is_somebodys_work_too(lab, tmp_path, content):
    path = tmp_path / "05_demo.ipynb"
    path.write_bytes(content)
    [written] = write_student_versions([lab], tmp_path)
    assert written.state == "kept" and path.read_bytes() == content and written.beside.exists()


# -------------------------------------------------------------------------------------------------------- nbgrader


def test_nbgraders_cells_are_marked_as_it_wants_them(lab, tmp_path):
    source = nbgrader_version(make_lab(), "05_demo")
    marks = {one.id: one.metadata["nbgrader"] for one in source.cells if "nbgrader" in one.metadata}
    assert {name for name, mark in marks.items() if mark["solution"]} == {"write-double", "write-half", "write-answer"}
    points = {name: mark["points"] for name, mark in marks.items() if mark["grade"]}
    assert points == {"check-double": 2, "again": 1, "check-half": 1, "check-answer": 3}
    assert all(mark["locked"] == mark["grade"] and mark["grade_id"] == name for name, mark in marks.items())
    text = nbformat.writes(source)
    assert "BEGIN SOLUTION" in text and "BEGIN HIDDEN TESTS" in text and "teacher" not in text
    [written] = write_nbgrader([lab], tmp_path)
    assert written.path == tmp_path / "source" / "05_demo" / "05_demo.ipynb" and written.state == "new"
