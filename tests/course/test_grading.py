"""course.grading: stubs score nothing, solutions everything; no submission fools it, ends it or floods it."""

import copy
import json
import os
import sys
from types import SimpleNamespace

import hypothesis
import nbformat
import pytest
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook
from small_lab import CHECK_THAT_KNOWS, SOLUTIONS, cell, make_lab, submission

from course import confine, grading, kernels, notebooks
from course.grading import cleaned, grade, lab_of, plan, read_submission
from course.kernels import Run
from course.notebooks import labs, read, tags
from course.student import write_student_versions


@pytest.fixture
def lab(tmp_path):
    path = tmp_path / "course" / "05_demo.ipynb"
    path.parent.mkdir()
    nbformat.write(make_lab(), path)
    return path


@pytest.fixture(scope="module")
def nursery():
    with kernels.Nursery(["course.exercises"]) as nursery:
        yield nursery


@pytest.fixture
def graded(lab, nursery):
    """A function that grades a notebook: {exercise: Score}; the whole Grade is its attribute `last`."""

    def graded(submitted, **limits):
        path = lab.parent.parent / "handed_in.ipynb"
        nbformat.write(submitted, path)
        graded.last = grade(path, lab, nursery=nursery, **limits)
        return {score.exercise: score for score in graded.last.scores}

    return graded


def hurry(monkeypatch, *words, seconds=1):
    """Give the cells with some words little time, and all others more than a busy machine can need."""
    run = kernels.Kernel.run
    patient = {True: seconds, False: 300}
    monkeypatch.setattr(
        kernels.Kernel, "run", lambda self, source, _: run(self, source, patient[any(w in source for w in words)])
    )


def earned(scores):
    return {name: score.earned for name, score in scores.items()}


ALL = {"double": 3, "half": 1, "answer": 3}


def with_front(source, **filled):
    """A submission, solved unless told otherwise, with a cell before everything else."""
    student = submission(**(filled or SOLUTIONS))
    student.cells.insert(0, new_code_cell(source))
    return student


# ------------------------------------------------------------------------------------------------------------- grading


def test_the_untouched_students_version_scores_nothing(graded):
    scores = graded(submission())
    assert earned(scores) == {"double": 0, "half": 0, "answer": 0}
    assert {name: score.points for name, score in scores.items()} == {"double": 3, "half": 1, "answer": 3}
    assert {score.feedback for score in scores.values()} == {"not filled in yet"}


def test_the_solutions_score_everything_in_a_folder_of_their_own(lab, nursery, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = read(lab)
    cell(source, "setup").source += "\nopen('here', 'w').close()"
    nbformat.write(source, lab)
    result = grade(lab, lab, nursery=nursery)
    assert (result.earned, result.points) == (7, 7)
    assert all(score.feedback == "" for score in result.scores)
    assert str(result).splitlines()[1:] == ["  3/3  double", "  1/1  half", "  3/3  answer"]
    assert not list(tmp_path.rglob("here"))


def test_known_mistakes_are_named_and_a_cell_that_fails_stops_no_other(lab, graded):
    source = read(lab)
    cell(source, "check-answer").source = CHECK_THAT_KNOWS
    nbformat.write(source, lab)
    wrong = {
        "double": "def double(x):\n    return x + 3\n1 / 0",
        "half": "def half(x)\n    return x / 2",
        "answer": "answer = 41\nanswer.nonsense",
    }
    scores = graded(submission(**wrong))
    assert earned(scores) == {"double": 0, "half": 0, "answer": 0}
    assert scores["double"].feedback == "AssertionError: not for large numbers"
    assert scores["half"].feedback.startswith("SyntaxError: ")
    assert scores["answer"].feedback == "✗ answer: 41 is not right. One too few."


def test_tampering_with_the_checks_does_not_help(graded):
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
    scores = graded(student)
    assert earned(scores) == {"double": 0, "half": 0, "answer": 0}
    assert sum(score.points for score in scores.values()) == 7


def test_a_loop_without_end_is_stopped_and_the_rest_is_scored(graded, monkeypatch):
    hurry(monkeypatch, "half(3)", "while True: pass")
    endless = "def half(x):\n    while True:\n        print(x)"
    student = submission(**SOLUTIONS | {"half": endless, "answer": "answer = 42\nwhile True: pass"})
    scores = graded(student, cell_seconds=7)
    assert earned(scores) == {"double": 3, "half": 0, "answer": 3}
    assert scores["half"].feedback == "stopped after 7 s: is there an endless loop?"


STUBBORN = "import time\nwhile True:\n    try:\n        time.sleep(1)\n    except KeyboardInterrupt:\n        pass"
QUITTERS = {
    "quits": ("quit()", "ended the kernel"),
    "exits": ("import os; os._exit(1)", "ended the kernel"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "ended the kernel"),
    "silences": ("import sys; sys.stdout = None", "left a kernel that runs nothing any more"),
    "deafens": ("get_ipython().run_cell = None", "left a kernel that runs nothing any more"),
    "cannot be stopped": (STUBBORN, "went on after it was interrupted"),
}
if sys.platform == "linux" and not confine.works():  # a confined one sees no parent
    QUITTERS["kills its parent"] = ("import os, signal; os.kill(os.getppid(), signal.SIGKILL)", "ended the kernel")


@pytest.mark.parametrize("name", QUITTERS)
def test_a_cell_that_takes_the_kernel_away_is_left_out_and_costs_nothing_else(graded, monkeypatch, name):
    source, words = QUITTERS[name]
    hurry(monkeypatch, STUBBORN)
    monkeypatch.setattr(kernels.Kernel, "GRACE", 3)
    assert earned(graded(with_front(source))) == ALL
    first = source.splitlines()[0]
    assert f"the cell that begins with `{first}` {words}, and was left out" in graded.last.notes


@pytest.mark.parametrize("name", ["quits", "silences", "deafens"])
def test_and_it_earns_nothing(graded, name):
    assert earned(graded(with_front(QUITTERS[name][0], half="pass"))) == dict.fromkeys(ALL, 0)


def test_an_answer_in_a_cell_that_takes_the_kernel_away_is_lost_and_its_check_says_why(graded):
    scores = graded(submission(**SOLUTIONS | {"half": SOLUTIONS["half"] + "\nquit()"}))
    assert earned(scores) == ALL | {"half": 0}
    assert scores["half"].feedback == "the cell that begins with `def half(x):` ended the kernel"


def test_a_check_that_ends_the_kernel_earns_nothing(graded):
    scores = graded(submission(**SOLUTIONS | {"half": "import os\ndef half(x):\n    os._exit(0)"}))
    assert earned(scores) == ALL | {"half": 0}
    assert scores["half"].feedback.endswith("ended the kernel")


def test_who_ends_every_kernel_does_not_go_on_for_ever(graded, monkeypatch):
    monkeypatch.setattr(grading, "MOST_KERNELS", 2)
    student = submission(**SOLUTIONS)
    student.cells[0:0] = [new_code_cell(f"{number}; quit()") for number in range(3)]
    scores = graded(student)
    assert earned(scores) == dict.fromkeys(ALL, 0)
    assert {score.feedback for score in scores.values()} == {"not run: 2 kernels were lost"}


@pytest.mark.parametrize(
    "flood",
    ["i = 0\nwhile True:\n    i += 1\n    print('step', i, flush=True)", "while True: display('x' * 10_000)"],
    ids=["prints", "displays"],
)
def test_a_cell_that_shows_things_without_end_is_stopped_and_costs_nothing_else(graded, monkeypatch, flood):
    hurry(monkeypatch, flood)
    assert earned(graded(with_front(flood))) == ALL
    assert graded.last.notes == []


def test_an_endless_message_is_not_read(graded):
    """A failing check's own message is cut, and one too large for a line of the kernel is not read at all."""
    scores = graded(submission(**SOLUTIONS | {"half": "def half(x):\n    raise ValueError('x' * 10_000)"}))
    assert earned(scores) == ALL | {"half": 0} and len(scores["half"].feedback) < 2100
    scores = graded(submission(**SOLUTIONS | {"half": "def half(x):\n    raise ValueError('x' * 10**8)"}))
    assert earned(scores) == ALL | {"half": 0}


def test_asking_for_input_is_called_that(graded):
    scores = graded(submission(**SOLUTIONS | {"half": "def half(x):\n    return input()"}))
    assert earned(scores) == ALL | {"half": 0}
    assert scores["half"].feedback == "asks for input(), which nobody can give here"


def test_the_reason_for_a_missing_name_is_that_of_the_cell_which_was_to_define_it(graded):
    wrong = {"double": "def double(x)\n    return 2", "half": SOLUTIONS["half"], "answer": "1 / 0"}
    scores = graded(submission(**wrong))
    assert scores["double"].feedback.startswith("SyntaxError: ")
    assert scores["answer"].feedback == "ZeroDivisionError: division by zero"
    student = submission(**SOLUTIONS)
    student.cells.remove(cell(student, "write-half"))
    assert graded(student)["half"].feedback == "NameError: name 'half' is not defined"


def test_code_that_reaches_for_more_is_pointed_out_but_not_the_labs_own(lab, graded):
    source = read(lab)
    cell(source, "setup").source = "import math, subprocess"
    nbformat.write(source, lab)
    student = submission(**SOLUTIONS)
    cell(student, "setup").source = "import math, subprocess"
    assert earned(graded(student)) == ALL and graded.last.notes == []
    cell(student, "write-half").source += "\n# subprocess"
    graded(student)
    assert graded.last.notes == ["worth a look: subprocess in the cell that begins with `def half(x):`"]


def test_only_harmless_variables_reach_a_submission(graded, monkeypatch):
    monkeypatch.setenv("MY_API_TOKEN", "hunter2")
    look = "import os\nassert 'hunter2' not in str(os.environ) and os.environ['HOME'] == os.getcwd()\nanswer = 42"
    if sys.platform == "linux":
        look = (
            "assert b'hunter2' not in open(f'/proc/{__import__(\"os\").getppid() or 1}/environ', 'rb').read()\n" + look
        )
    assert earned(graded(submission(**SOLUTIONS | {"answer": look}))) == ALL


def test_checks_know_that_they_grade(graded):
    look = "import os\nfrom course.exercises.exercise import GRADING\nanswer = 42 if os.environ.get(GRADING) else 0"
    assert earned(graded(submission(**SOLUTIONS | {"answer": look}))) == ALL


def test_what_comes_after_the_time_for_the_whole_scores_nothing(lab, monkeypatch):
    ran = []
    clock = SimpleNamespace(monotonic=lambda: len(ran))

    class Kernel:
        def __init__(self, nursery):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run(self, source, seconds):
            ran.append(source)
            return Run("ok")

    monkeypatch.setattr(grading, "time", clock)
    monkeypatch.setattr(grading, "Kernel", Kernel)
    path = lab.with_name("handed_in.ipynb")
    nbformat.write(submission(**SOLUTIONS), path)
    scores = {score.exercise: score for score in grade(path, lab, seconds=7).scores}  # one second for each cell
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


def test_a_lab_without_checks_is_refused(lab, tmp_path):
    plain = tmp_path / "07_plain.ipynb"
    nbformat.write(new_notebook(), plain)
    with pytest.raises(ValueError, match="no cell tagged `check`"):
        grade(lab, plain)


def test_feedback_is_fit_for_a_terminal():
    assert cleaned("\x1b[31mred\x1b[0m \x1b]0;title\x07and\x1b(B \x07bell\r\tend") == "red and �bell�    end"
    assert cleaned("✓ ½ ε 漢\nnext") == "✓ ½ ε 漢\nnext"
    assert cleaned("a" * 50, 10) == "a" * 10 + " ..."


# --------------------------------------------------------------------------------------------- damaged files, no kernel

CELL = {"cell_type": "code", "metadata": {}, "source": "x", "outputs": [], "execution_count": None}
DAMAGED = {
    "null": ("null", "holds no list of"),
    "a list": ("[]", "holds no list of"),
    "a text": ('"text"', "holds no list of"),
    "no JSON": ("{", "Expecting property name"),
    "nothing": ("", "Expecting value"),
    "cells that are null": (json.dumps({"cells": None}), "holds no list of"),
    "a cell that is none": (json.dumps({"cells": [3]}), "cell 1 has no type"),
    "a cell without source": (json.dumps({"cells": [CELL, {**CELL, "source": None}]}), "cell 2 has no source"),
    "a source of numbers": (json.dumps({"cells": [{**CELL, "source": [1]}]}), "cell 1 has no source"),
    "deep nesting": ("[" * 100_000, "nested too deeply"),
    "a long number": ('{"cells": [' + "1" * 10_000 + "]}", "Exceeds the limit"),
    "too many cells": (json.dumps({"cells": [{}] * 6000}), "at most 5000"),
    "another encoding": ('{"cells": "Ä"}'.encode("utf-16"), "not UTF-8"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_in_one_sentence_that_names_it(tmp_path, name):
    content, words = DAMAGED[name]
    path = tmp_path / "05_broken.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=words) as refused:
        read_submission(path)
    assert str(refused.value).startswith(f"{path} cannot be read as a notebook: ") and "\n" not in str(refused.value)


def test_a_large_or_missing_file_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="No such file"):
        read_submission(tmp_path / "none.ipynb")
    with pytest.raises(ValueError, match=r"Is a directory|Permission"):
        read_submission(tmp_path)
    monkeypatch.setattr(grading, "LARGEST", 0.01)
    (tmp_path / "large.ipynb").write_text(" " * 20_000)
    with pytest.raises(ValueError, match="clear its outputs"):
        read_submission(tmp_path / "large.ipynb")


def test_what_grading_does_not_need_may_be_damaged(tmp_path):
    path = tmp_path / "05_odd.ipynb"
    odd = {**CELL, "source": ["a = '\ud800'\n", "b"], "outputs": 7, "metadata": [], "id": "own"}
    cells = [odd, {"cell_type": "raw", "source": ""}]
    content = {"cells": cells, "metadata": {"labkit": {"lab": ["05"]}}, "nbformat": "x"}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    read = read_submission(path)
    assert [(one.source, one.metadata.labkit.cell) for one in read.cells] == [("a = '\ud800'\nb", "own")]
    assert read.metadata == {"labkit": {}}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["code", "05_demo"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def damaged_notebooks(draw):
    """The bytes of a submission in which some values were replaced or removed, and then some bytes."""
    content = json.loads(nbformat.writes(submission(**SOLUTIONS)))
    for _ in range(draw(st.integers(0, 3))):
        node = content
        while isinstance(node, dict | list) and node:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = draw(st.sampled_from(keys))
            if draw(st.booleans()) or not isinstance(node[key], dict | list):
                if draw(st.booleans()):
                    node[key] = draw(VALUES)
                else:
                    del node[key]
                break
            node = node[key]
    data = bytearray(json.dumps(content, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 30))] = draw(st.binary(max_size=8))
    return bytes(data)


def never_runs(self):
    """Stands for the kernels: every check fails."""
    return dict.fromkeys(range(len(self.cells)), "not run"), []


@hypothesis.settings(  # no health check of speed: how quick the machine is says nothing of the strategy
    max_examples=int(os.environ.get("LABKIT_EXAMPLES", 200)),
    deadline=20_000,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(content=damaged_notebooks())
def test_any_damaged_notebook_is_scored_or_refused_in_one_sentence(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    lab, path = folder / "05_demo.ipynb", folder / "05_damaged.ipynb"
    if not lab.exists():
        nbformat.write(make_lab(), lab)
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grading._Performance, "reasons", never_runs)
        try:
            result = grade(path, lab, nursery=object())
        except ValueError as error:
            hypothesis.event("refused")
            assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 500
        else:
            hypothesis.event("scored")
            assert (result.earned, result.points) == (0, 7)
            json.dumps(result.as_dict())


# --------------------------------------------------------------------------------------------------- the real notebooks


@pytest.mark.parametrize("path", labs(), ids=lambda path: path.stem)
def test_the_labs_themselves(path, tmp_path):
    """Untouched, a lab scores nothing; with its solutions, everything."""
    [untouched] = write_student_versions([path], tmp_path)
    with kernels.Nursery(grading.modules(read(path))) as nursery:
        nothing, everything = grade(untouched.path, nursery=nursery), grade(path, path, nursery=nursery)
    assert nothing.points == everything.points > 0
    assert nothing.earned == 0
    assert everything.earned == everything.points, str(everything)
