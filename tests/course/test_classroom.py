"""course.classroom: whose submission is whose, several at a time, going on where it stopped, tables, feedback."""

import csv
import json
import threading
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from small_lab import SOLUTIONS, make_lab, submission

from course import classroom, grading, notebooks
from course.classroom import CourseChanged, Submission, grade_all, submissions, tables, write_csv, write_feedback


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two labs, 04_pairs and 05_demo."""
    folder = tmp_path / "course"
    folder.mkdir()
    for name in ("04_pairs", "05_demo"):
        nbformat.write(make_lab(), folder / f"{name}.ipynb")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", folder)
    monkeypatch.setattr(classroom, "NOTEBOOKS", folder)
    monkeypatch.setattr(classroom, "CODE", [folder])
    return folder


# ------------------------------------------------------------------------------------------------------ submissions

PLACES = {
    "a folder a student": {"ada/04_pairs.ipynb": "ada", "bob/04_pairs.ipynb": "bob", "bob/05_demo.ipynb": "bob"},
    "folders of labs": {"lab 4/ada/04_pairs.ipynb": "ada", "lab 4/bob/04_pairs.ipynb": "bob",
                        "Week-5/bob/x.ipynb": "bob"},
    "folders named as labs": {"05_demo/ada.ipynb": "ada", "05_demo/bob.ipynb": "bob"},
    "nbgrader's": {"ada/05_demo/05_demo.ipynb": "ada", "bob/05_demo/05_demo.ipynb": "bob"},
    "groups": {f"group {g}/{name}/05_demo.ipynb": name for g, name in ((1, "ada"), (1, "bob"), (2, "eva"), (2, "ian"))},
    "files alone": {"ada_05_demo.ipynb": "ada", "05_demo_bob-1.ipynb": "bob-1", "05_demo (2).ipynb": "2"},
    "a lab's own name": {"05_demo.ipynb": "05_demo"},
    "hidden ones": {"ada/05_demo.ipynb": "ada", "ada/.ipynb_checkpoints/05_demo-checkpoint.ipynb": None,
                    "__MACOSX/ada/05_demo.ipynb": None, ".git/x.ipynb": None},
    "two of one name": {"g1/ada/05_demo.ipynb": "g1/ada/05_demo", "g2/ada/05_demo.ipynb": "g2/ada/05_demo",
                        "g2/bob/05_demo.ipynb": "bob", "g2/eva/05_demo.ipynb": "eva"},
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_students_are_told_apart_in_any_nesting(course, tmp_path, name):
    root = tmp_path / "handed in"
    for place in PLACES[name]:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text("{}")
    found = {one.file.relative_to(root).as_posix(): one.student for one in submissions([root])}
    assert found == {place: student for place, student in PLACES[name].items() if student}


def test_files_keep_their_order_and_what_is_not_there_is_refused(course, tmp_path):
    for name in ("b.ipynb", "a.ipynb"):
        (tmp_path / name).write_text("{}")
    found = submissions([tmp_path / "b.ipynb", tmp_path / "a.ipynb"])
    assert [one.student for one in found] == ["b", "a"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no notebook in this folder"):
        submissions([tmp_path / "empty"])
    with pytest.raises(ValueError, match="no such file or folder"):
        submissions([tmp_path / "none"])


# ---------------------------------------------------------------------------------------------------------- grading


@pytest.fixture
def handed_in(course, tmp_path):
    """Submissions of three students: all right, half right, no notebook at all."""
    root = tmp_path / "handed in"
    for student, filled in (("ada", SOLUTIONS), ("bob", {"half": SOLUTIONS["half"]})):
        (root / student).mkdir(parents=True)
        nbformat.write(submission(**filled), root / student / "05_demo.ipynb")
    (root / "eva").mkdir()
    (root / "eva" / "05_demo.ipynb").write_text("null")
    return root


@pytest.fixture
def runs(monkeypatch):
    """Replaces the kernels: the last answer of a submission is right if its source is the solution. Collects calls."""
    ran = []

    def reasons(self):
        ran.append(threading.current_thread())
        solved = "\n".join(cell.source for cell in self.cells)
        names = {"double": "return 2 * x", "again": "return 2 * x", "half": "return x / 2", "answer": "answer = 42"}
        wrong = {name: "" if line in solved else "not filled in yet" for name, line in names.items()}
        ids = [cell.get("id", "").removeprefix("check-") for cell in self.cells]
        return {number: wrong.get(name, "") for number, name in enumerate(ids)}, ["a note"]

    monkeypatch.setattr(grading._Performance, "reasons", reasons)
    return ran


def results(root, **options):
    return {one.student: result for one, result in grade_all(submissions([root]), **options)}


def test_a_class_is_graded_and_one_bad_file_is_not_its_end(handed_in, runs):
    got = results(handed_in, jobs=2)
    assert {name: result.get("earned") for name, result in got.items()} == {"ada": 7, "bob": 1, "eva": None}
    assert "eva/05_demo.ipynb cannot be read as a notebook" in got["eva"]["error"]
    assert "\n" not in got["eva"]["error"]


def test_the_unforeseen_costs_one_submission(handed_in, monkeypatch):
    def unlucky(self):
        raise RecursionError("too\ndeep")

    monkeypatch.setattr(grading._Performance, "reasons", unlucky)
    got = results(handed_in)
    assert got["ada"]["error"].endswith("05_demo.ipynb: RecursionError: too")


def test_a_second_run_goes_on_and_runs_what_is_new(handed_in, runs, tmp_path, course):
    kept = tmp_path / "build" / "grades.jsonl"
    iterator = grade_all(submissions([handed_in]), kept=kept)
    next(iterator), next(iterator)
    iterator.close()  # stopped after two
    assert len(kept.read_text().splitlines()) == 2
    with kept.open("a") as file:
        file.write('{"key": "cut off')
    before = len(runs)
    assert results(handed_in, kept=kept)["ada"]["earned"] == 7
    assert len(runs) - before <= 1
    before = len(runs)
    first = results(handed_in, kept=kept)
    assert len(runs) == before, "nothing is run twice"
    nbformat.write(submission(**SOLUTIONS), handed_in / "bob" / "05_demo.ipynb")
    assert results(handed_in, kept=kept)["bob"]["earned"] == 7 and len(runs) == before + 1
    assert first["bob"]["earned"] == 1
    results(handed_in, kept=kept, again=True)
    assert len(runs) == before + 3
    results(handed_in, kept=kept, cell_seconds=30)
    assert len(runs) == before + 5, "another limit is another grading"
    (course / "06_more.ipynb").write_bytes((course / "05_demo.ipynb").read_bytes())
    results(handed_in, kept=kept)
    assert len(runs) == before + 7, "and so is another course"


def test_a_submission_that_changes_the_course_stops_everything_and_counts_nothing(
    handed_in, course, tmp_path, monkeypatch
):
    def reasons(self):
        (course / "lab04.py").write_text("everybody = 0")
        return dict.fromkeys(range(len(self.cells)), ""), []

    (course / "lab04.py").write_text("everybody = 1")
    monkeypatch.setattr(grading._Performance, "reasons", reasons)
    kept = tmp_path / "grades.jsonl"
    with pytest.raises(CourseChanged, match=r"lab04.py: changed while \w+'s submission was graded"):
        list(grade_all([one for one in submissions([handed_in]) if one.student != "eva"], kept=kept))
    assert not kept.exists()


def test_a_submission_that_another_changes_meanwhile_gets_no_score(handed_in, runs, monkeypatch):
    reasons = grading._Performance.reasons

    def hostile(self):
        nbformat.write(submission(**SOLUTIONS), handed_in / "bob" / "05_demo.ipynb")
        return reasons(self)

    monkeypatch.setattr(grading._Performance, "reasons", hostile)
    got = results(handed_in)
    assert got["ada"]["earned"] == 7 and got["bob"]["error"].endswith("was changed while the class was graded")


# ----------------------------------------------------------------------------------------------------------- tables


def result(lab, *earned, notes=()):
    scores = [{"exercise": name, "earned": got, "points": of, "feedback": "" if got == of else f"<{name}> is\nwrong"}
              for (name, of), got in zip([("double", 3), ("half", 1)], earned, strict=True)]  # fmt: skip
    return {"file": "x", "lab": lab, "scores": scores, "notes": list(notes), "earned": sum(earned), "points": 4}


CLASS = [
    (Submission(Path("b4"), "bob"), result("04_pairs", 3, 1)),
    (Submission(Path("a4"), "ada"), result("04_pairs", 0, 1)),
    (Submission(Path("a5"), "ada"), result("05_demo", 3, 0)),
    (Submission(Path("e5"), "=eva"), {"file": "e5", "error": "e5 cannot be read"}),
]


def test_tables_on_the_screen():
    assert tables(CLASS).splitlines() == [
        "04_pairs",
        "  1  double (3)",
        "  2  half (1)",
        "",
        "     1  2  all",
        "ada  0  1  1/4",
        "bob  3  1  4/4",
        "",
        "05_demo",
        "  1  double (3)",
        "  2  half (1)",
        "",
        "     1  2  all",
        "ada  3  0  3/4",
        "",
        "     04  05  all",
        "ada   1   3    4",
        "bob   4        4",
        "",
        "not graded:",
        "  e5 cannot be read",
    ]


def test_a_table_for_other_programs(tmp_path):
    file = tmp_path / "new" / "points.csv"
    write_csv([*CLASS, (Submission(Path("x5"), "=1+1"), result("05_demo", 0, 0))], file)
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    assert list(rows[0]) == ["student", "04 double", "04 half", "04 of 4", "05 double", "05 half", "05 of 4", "all"]
    assert [list(row.values()) for row in rows] == [
        ["'=1+1", "", "", "", "0", "0", "0", "0"],
        ["ada", "0", "1", "1", "3", "0", "3", "4"],
        ["bob", "3", "1", "4", "", "", "", "4"],
    ]


def test_a_page_for_the_student(handed_in, course, tmp_path):
    [ada, bob, eva] = submissions([handed_in])
    right = write_feedback(ada, result("05_demo", 3, 1), tmp_path / "feedback")
    assert right == tmp_path / "feedback" / "ada" / "05_demo.html"
    notes = ["the cell that begins with `quit()` ended the kernel, and was left out", "worth a look: subprocess"]
    text = write_feedback(bob, result("05_demo", 0, 1, notes=notes), tmp_path / "feedback").read_text(encoding="utf-8")
    assert "<strong>1 of 4 points</strong>" in text and "&lt;double&gt; is\nwrong" in text and "✓ right" in text
    assert "return x / 2" in text and "YOUR CODE HERE" in text, "his own code"
    assert "quit()" in text and "worth a look" not in text, "which is for the instructor"
    text = write_feedback(eva, {"file": "x", "error": "it is <no> notebook"}, tmp_path / "feedback").read_text()
    assert "it is &lt;no&gt; notebook" in text
    odd = [
        write_feedback(Submission(ada.file, name), result("05_demo", 3, 1), tmp_path) for name in ("../a b", "../a_b")
    ]
    assert len(set(odd)) == 2 and all(path.parent.parent == tmp_path for path in odd)


def test_results_are_kept_whole(tmp_path):
    kept = tmp_path / "new" / "grades.jsonl"
    classroom._keep(kept, {"key": "k", "student": "ä", "file": "x"})
    assert json.loads(kept.read_text(encoding="utf-8")) == {"key": "k", "student": "ä", "file": "x"}
    assert classroom._read_kept(kept) == {"k": {"file": "x"}} and classroom._read_kept(tmp_path / "none") == {}


# ------------------------------------------------------------------------------------------------------ with kernels


def test_a_class_with_real_kernels(handed_in):
    before = sorted(handed_in.rglob("*"))
    student = submission(**SOLUTIONS)
    student.cells.insert(0, new_code_cell("open('mine', 'w').close(); quit()"))
    nbformat.write(student, handed_in / "ada" / "05_demo.ipynb")
    got = results(handed_in, jobs=2)
    assert got["ada"]["earned"] == 7 and got["bob"]["earned"] == 1 and "error" in got["eva"]
    assert "ended the kernel" in got["ada"]["notes"][0]
    assert sorted(handed_in.rglob("*")) == before
