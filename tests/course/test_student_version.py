"""Students' versions and grading: stubs score nothing, solutions everything, tampering does not help."""

import copy
from types import SimpleNamespace
from unittest.mock import MagicMock

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course import grading, notebooks
from course.grading import grade, lab_of, plan, student_version, write_student_versions
from course.notebooks import labs, read, tags

CHECK_DOUBLE = """\
from math import isclose

assert isclose(double(3), 6), "twice three is six"
### BEGIN HIDDEN TESTS
assert isclose(double(1000), 2000), "not for large numbers"
### END HIDDEN TESTS"""
CHECK_AGAIN = "assert double(0) == 0"
CHECK_HALF = """\
from math import isclose

assert isclose(half(3), 1.5), 'half of three'"""
CHECK_ANSWER = """\
from math import isclose

assert isclose(answer, 42), 'not the answer'"""
CHECK_THAT_KNOWS = """\
from course.exercises import check_value

check_value("answer", answer, 42, {41: "One too few."})"""


def solved(before, solution, indent="    "):
    return f"{before}{indent}### BEGIN SOLUTION\n{indent}{solution}\n{indent}### END SOLUTION"


def make_lab():
    """A lab with three exercises, worth 2 + 1, 1 and 3 points."""

    def exercise(name, source):
        return new_code_cell(source, id=f"write-{name}", metadata={"tags": ["exercise"]})

    def check(name, points, source, id=None):
        about = {"tags": ["check"], "labkit": {"exercise": name, "points": points}}
        return new_code_cell(source, id=id or f"check-{name}", metadata=about, outputs=[new_output("stream", text="✓")])

    cells = [
        new_markdown_cell(
            "# Lab\n[next](06_next.ipynb) [code](../labkit/x.py#L3) ![cat](cat.png) [web](https://a.b/c)"
        ),
        new_code_cell("import math", id="setup", execution_count=1),
        new_code_cell("raise SystemError('slow cells are not for grading')", id="slow", metadata={"tags": ["slow"]}),
        new_code_cell("secret = 42", id="teacher", metadata={"tags": ["instructor"]}),
        exercise("double", solved("def double(x):\n    '''Twice x.'''\n", "return math.floor(2) * x")),
        check("double", 2, CHECK_DOUBLE),
        check(
            "double", 1, "from course.exercises import check_value\n\ncheck_value('zero', double(0), 0, {})", "again"
        ),
        exercise("half", solved("def half(x):\n", "return x / 2")),
        check("half", 1, CHECK_HALF),
        exercise("answer", solved("", "answer = 42", indent="")),
        check("answer", 3, CHECK_ANSWER),
        new_code_cell("print('the end')", id="end"),
    ]
    return new_notebook(cells=cells)


@pytest.fixture
def lab(tmp_path):
    path = tmp_path / "course" / "05_demo.ipynb"
    path.parent.mkdir()
    nbformat.write(make_lab(), path)
    return path


def cell(notebook, name):
    return next(cell for cell in notebook.cells if cell.id == name)


def submission(**filled):
    """The students' version with some stubs replaced."""
    student = student_version(make_lab(), "05_demo")
    for name, source in filled.items():
        cell(student, f"write-{name}").source = source
    return student


def graded(lab, submitted, **limits):
    path = lab.parent.parent / "handed_in.ipynb"
    nbformat.write(submitted, path)
    return {score.exercise: score for score in grade(path, lab, **limits).scores}


def hurry(monkeypatch, *words, seconds=1):
    """Give the cells with some words little time, and all others more than a busy machine can need."""
    run = notebooks.Kernel.run
    patient = {True: seconds, False: 300}
    monkeypatch.setattr(
        notebooks.Kernel, "run", lambda self, source, _: run(self, source, patient[any(w in source for w in words)])
    )


def earned(scores):
    return {name: score.earned for name, score in scores.items()}


SOLUTIONS = {
    "double": "def double(x):\n    return 2 * x",
    "half": "def half(x):\n    return x / 2",
    "answer": "answer = 42",
}

# ---------------------------------------------------------------------------------------------------- students' version


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


def test_files_are_written_and_links_still_lead_somewhere(lab, tmp_path):
    (lab.parent.parent / "labkit").mkdir()
    (lab.parent.parent / "labkit" / "x.py").touch()
    (lab.parent / "cat.png").touch()
    (lab.parent / "06_next.ipynb").touch()
    [written] = write_student_versions([lab], tmp_path / "build" / "student")
    assert written == tmp_path / "build" / "student" / "05_demo.ipynb"
    assert read(written).cells[0].source == (
        "# Lab\n[next](06_next.ipynb) [code](../../labkit/x.py#L3) ![cat](../../course/cat.png) [web](https://a.b/c)"
    )
    assert written.read_bytes().endswith(b"}\n") and b"\r" not in written.read_bytes()


def test_solutions_are_never_overwritten(lab):
    with pytest.raises(ValueError, match="out: got"):
        write_student_versions([lab], notebooks.NOTEBOOKS)


# ------------------------------------------------------------------------------------------------------------- grading


def test_the_untouched_students_version_scores_nothing(lab):
    scores = graded(lab, submission())
    assert earned(scores) == {"double": 0, "half": 0, "answer": 0}
    assert {name: score.points for name, score in scores.items()} == {"double": 3, "half": 1, "answer": 3}
    assert {score.feedback for score in scores.values()} == {"not filled in yet"}


def test_the_solutions_score_everything_in_a_folder_of_their_own(lab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = read(lab)
    cell(source, "setup").source += "\nopen('here', 'w').close()"
    nbformat.write(source, lab)
    result = grade(lab, lab)
    assert (result.earned, result.points) == (7, 7)
    assert all(score.feedback == "" for score in result.scores)
    assert str(result).splitlines()[1:] == ["  3/3  double", "  1/1  half", "  3/3  answer"]
    assert not list(tmp_path.rglob("here"))


def test_known_mistakes_are_named_and_a_cell_that_fails_stops_no_other(lab):
    source = read(lab)
    cell(source, "check-answer").source = CHECK_THAT_KNOWS
    nbformat.write(source, lab)
    wrong = {
        "double": "def double(x):\n    return x + 3\n1 / 0",
        "half": "def half(x)\n    return x / 2",
        "answer": "answer = 41\nanswer.nonsense",
    }
    scores = graded(lab, submission(**wrong))
    assert earned(scores) == {"double": 0, "half": 0, "answer": 0}
    assert scores["double"].feedback == "AssertionError: not for large numbers"
    assert scores["half"].feedback.startswith("SyntaxError: ")
    assert scores["answer"].feedback == "✗ answer: 41 is not right. One too few."


def test_tampering_with_the_checks_does_not_help(lab):
    """Checks edited, deleted, made text, given more points; their helpers redefined; checks of one's own."""
    student = submission()
    cell(student, "check-double").source = "pass"
    cell(student, "again").metadata.labkit["points"] = 1000
    student.cells.remove(cell(student, "check-half"))
    cell(student, "check-answer").cell_type = "markdown"
    for name in ("double", "half"):
        cell(student, f"write-{name}").source = f"def {name}(x):\n    return 0.1"
    cell(student, "write-answer").source = "answer = 0"
    student.cells.insert(0, new_code_cell("isclose = lambda *a, **k: True"))
    own = {"tags": ["check"], "labkit": {"exercise": "mine", "points": 1000}}
    student.cells.append(new_code_cell("print('✓ mine')", metadata=own))
    scores = graded(lab, student)
    assert earned(scores) == {"double": 0, "half": 0, "answer": 0}
    assert sum(score.points for score in scores.values()) == 7


def test_a_loop_without_end_is_stopped_and_the_rest_is_scored(lab, monkeypatch):
    hurry(monkeypatch, "half(3)", "while True: pass")
    endless = "def half(x):\n    while True:\n        print(x)"
    student = submission(**SOLUTIONS | {"half": endless, "answer": "answer = 42\nwhile True: pass"})
    scores = graded(lab, student, cell_seconds=7)
    assert earned(scores) == {"double": 3, "half": 0, "answer": 3}
    assert scores["half"].feedback == "stopped after 7 s: is there an endless loop?"


STUBBORN = "import time\nwhile True:\n    try:\n        time.sleep(1)\n    except KeyboardInterrupt:\n        pass"


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("import os; os._exit(1)", "not run: the kernel died (cell that begins with `answer = 42`)"),
        (STUBBORN, "not run: the cell went on after it was interrupted"),
    ],
    ids=["dies", "cannot be stopped"],
)
def test_what_the_end_of_a_kernel_leaves_out_scores_nothing(lab, monkeypatch, end, words):
    hurry(monkeypatch, STUBBORN)
    monkeypatch.setattr(notebooks.Kernel, "GRACE", 1)
    scores = graded(lab, submission(**SOLUTIONS | {"answer": f"answer = 42\n{end}"}))
    assert earned(scores) == {"double": 3, "half": 1, "answer": 0}
    assert scores["answer"].feedback.startswith(words)


def test_what_comes_after_the_time_for_the_whole_scores_nothing(lab, monkeypatch):
    kernel = MagicMock()
    kernel.__enter__().run.return_value = notebooks.Run([])
    clock = iter(range(1000))
    monkeypatch.setattr(grading, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(grading, "Kernel", lambda folder: kernel)
    scores = graded(lab, submission(**SOLUTIONS), seconds=7)  # one tick for each cell
    assert earned(scores) == {"double": 3, "half": 1, "answer": 0}
    assert scores["answer"].feedback == "not run: the notebook has taken more than 7 s"


# ---------------------------------------------------------------------------------------- where checks stand, no kernel


def order(submitted):
    """What would be run: the ids of the source's checks, and the first lines of everything else."""
    checks = {cell.source: cell.id for cell in make_lab().cells if "check" in tags(cell)}
    return [checks.get(cell.source, cell.source.split("\n")[0]) for cell in plan(make_lab(), submitted)]


EXPECTED = [
    "import math", "def double(x):", "check-double", "again", "def half(x):", "check-half", "# YOUR CODE HERE",
    "check-answer", "print('the end')",
]  # fmt: skip


def test_every_check_has_its_place_and_slow_cells_are_left_out():
    assert order(submission()) == EXPECTED


def test_a_deleted_check_comes_after_its_exercise_and_what_was_added_there():
    student = submission()
    student.cells.remove(cell(student, "check-half"))
    after = student.cells.index(cell(student, "write-half")) + 1
    student.cells.insert(after, new_code_cell("half = second_try"))
    assert order(student) == [*EXPECTED[:5], "half = second_try", *EXPECTED[5:]]


def test_the_last_copy_of_a_check_counts():
    student = submission()
    student.cells += [new_code_cell("better = 1"), copy.deepcopy(cell(student, "check-half"))]
    assert order(student) == [*EXPECTED[:5], *EXPECTED[6:], "better = 1", "check-half"]


def test_editors_that_drop_ids_or_metadata_do_no_harm():
    without_ids, bare = submission(), submission()
    for number, one in enumerate(without_ids.cells):
        one.id = f"new-{number}"
    assert order(without_ids) == EXPECTED
    for number, one in enumerate(bare.cells):
        one.id, one.metadata = f"new-{number}", nbformat.from_dict({"labkit": number})
    assert order(bare)[-4:] == ["check-double", "again", "check-half", "check-answer"]


def test_the_lab_is_found_by_what_the_submission_says_then_by_its_name(monkeypatch, tmp_path, lab):
    monkeypatch.setattr(notebooks, "NOTEBOOKS", lab.parent)
    assert lab_of("x.ipynb", submission()) == lab
    assert lab_of("05_ada (1).ipynb", new_notebook()) == lab
    with pytest.raises(ValueError, match="does not say which lab"):
        lab_of("x.ipynb", new_notebook())
    with pytest.raises(ValueError, match="lab: got '07'"):
        lab_of("07_x.ipynb", new_notebook())
    for own in (str(lab), f"./{lab.name}", ["05"], 3):
        with pytest.raises(ValueError, match="lab: got"):
            lab_of("05_x.ipynb", new_notebook(metadata={"labkit": {"lab": own}}))


def test_what_cannot_be_graded_is_refused(lab, tmp_path):
    broken = tmp_path / "broken.ipynb"
    broken.write_text("not JSON", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be read as a notebook"):
        grade(broken, lab)
    with pytest.raises(ValueError, match="cannot be read"):
        grade(tmp_path / "missing.ipynb", lab)
    plain = tmp_path / "07_plain.ipynb"
    nbformat.write(new_notebook(), plain)
    with pytest.raises(ValueError, match="no cell tagged `check`"):
        grade(lab, plain)


# --------------------------------------------------------------------------------------------------- the real notebooks


@pytest.mark.parametrize("path", labs(), ids=lambda path: path.stem)
def test_the_labs_themselves(path, tmp_path):
    """Untouched, a lab scores nothing; with its solutions, everything."""
    [untouched] = write_student_versions([path], tmp_path)
    nothing, everything = grade(untouched), grade(path, path)
    assert nothing.points == everything.points > 0
    assert nothing.earned == 0
    assert everything.earned == everything.points, str(everything)
