"""The command line: what each command is called with, what it prints, and with which status it ends."""

import json
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook

from course import classroom, doctor, grading, handout, notebooks, presenting, running, student
from course import site as building
from course.cli import main
from course.doctor import Finding
from course.grading import Grade, Score


def run(*arguments):
    """(status, what was printed on both streams); an unexpected exception comes through."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two small labs in a temporary folder."""
    folder = tmp_path / "course"
    folder.mkdir()
    for name in ("00_start", "04_triplet"):
        parameters = new_code_cell("EPOCHS = 1\nDATASET = 'digits'", metadata={"tags": ["parameters"]})
        nbformat.write(new_notebook(cells=[parameters, new_code_cell("print(EPOCHS)")]), folder / f"{name}.ipynb")
    for module in (notebooks, running, student, classroom):
        monkeypatch.setattr(module, "NOTEBOOKS", folder)
    monkeypatch.setattr(student, "WORK", tmp_path / "work")
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "build")
    return folder


@pytest.fixture
def calls(monkeypatch):
    """Records calls of functions that are replaced."""
    made = []

    def replace(module, name, answer=None):
        def function(*arguments, **keywords):
            made.append((name, arguments, keywords))
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(module, name, function)

    return SimpleNamespace(made=made, replace=replace)


COMMANDS = ["open", "lab", "data", "doctor", "measure", "report"]
COMMANDS += ["present", "student", "site", "handout", "grade", "refresh"]


def test_help_lists_every_command_and_each_has_its_own():
    status, text = run("--help")
    assert status == 0
    assert [line.split()[0] for line in text.split("Commands:")[1].splitlines() if line] == COMMANDS
    assert "..." not in text.split("Commands:")[1], "no line is cut"
    for command in [*COMMANDS, "data list", "data get"]:
        status, text = run(*command.split(), "-h")
        assert status == 0 and "Usage:" in text


def test_site_says_where_it_is_and_what_sphinx_says(calls, tmp_path):
    calls.replace(building, "build", (tmp_path, "WARNING: a link\n"))
    status, text = run("site", "--out", tmp_path)
    assert status == 0 and calls.made == [("build", (tmp_path,), {})]
    assert "WARNING: a link\n" in text and f"written: {tmp_path / 'index.html'}" in text
    calls.replace(building, "build", building.Failed("no such theme"))
    status, text = run("site")
    assert status == 1 and "no such theme" in text


def test_python_m_labkit_is_the_same_and_starts_without_heavy_imports():
    code = (
        "import sys, runpy; sys.argv = ['labkit', '--version']\n"
        "try: runpy.run_module('course', run_name='__main__')\n"
        "except SystemExit as end: print(end.code)\n"
        "print(sorted({'torch', 'numpy', 'nbformat', 'IPython', 'jupyter_client'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["labkit, version 0.1.0", "0", "[]"], done.stderr


# --------------------------------------------------------------------------------------------------------- for everyone


def test_a_wrong_name_brings_a_guess():
    assert "Did you mean 'grade'?" in run("grad")[1]
    assert "Did you mean 00_start?" not in run("grade")[1]


def test_open_makes_copies_to_work_on_and_says_what_is_new(course, calls, tmp_path):
    calls.replace(presenting, "open_lab")
    work = tmp_path / "work"
    assert run("open") == (0, f"Your copies of the labs are in {work}, without solutions; those are in notebooks/.\n")
    assert run("open", "4", "--port", 9, "--no-browser") == (0, "")
    assert calls.made == [
        ("open_lab", (work / "00_start.ipynb",), {"port": None, "open_browser": True}),
        ("open_lab", (work / "04_triplet.ipynb",), {"port": 9, "open_browser": False}),
    ]
    mine = nbformat.read(work / "04_triplet.ipynb", 4)
    mine.cells[-1].source = "mine"
    nbformat.write(mine, work / "04_triplet.ipynb")
    lab = nbformat.read(course / "04_triplet.ipynb", 4)
    lab.cells[-1].source = "the course's new version"
    nbformat.write(lab, course / "04_triplet.ipynb")
    status, text = run("open")
    [new] = work.glob("04_triplet-new-*.ipynb")
    assert (status, text) == (
        0,
        f"04_triplet.ipynb has changed in the course. Yours is as you left it; new: {new}\n",
    )
    assert "mine" in (work / "04_triplet.ipynb").read_text() and "new version" in new.read_text()


def test_where_no_copies_can_be_made_the_lab_itself_is_opened(course, calls, tmp_path):
    calls.replace(presenting, "open_lab")
    calls.replace(student, "write_copy", PermissionError(13, "Permission denied", "/x"))
    words = f"No copies can be made in {tmp_path / 'work'} (Permission denied): this is the lab itself.\n"
    assert run("open", "4") == (0, words)
    assert calls.made[-1][1] == (course / "04_triplet.ipynb",)


def test_a_notebook_anywhere_is_opened_and_presented_itself(course, calls, tmp_path):
    calls.replace(presenting, "open_lab")
    calls.replace(presenting, "present")
    other = tmp_path / "hw00.ipynb"
    nbformat.write(new_notebook(), other)
    assert run("open", other) == run("open", course / "00_start.ipynb") == run("present", other) == (0, "")
    assert run("present", "04_triplet") == (0, "")
    assert [arguments[0] for _, arguments, _ in calls.made] == [
        other,
        course / "00_start.ipynb",
        other,
        course / "04_triplet.ipynb",
    ]
    assert not (tmp_path / "work").exists()


def test_a_port_that_cannot_be_is_refused_at_once():
    for command in ("open", "present"):
        status, text = run(command, "00", "--port", 99999)
        assert status == 2 and "99999 is not in the range 1<=x<=65535" in text


@pytest.mark.parametrize("command", ["open", "present", "lab", "refresh", "student", "handout"])
def test_an_unknown_lab_is_told_and_status_1(course, command):
    status, text = run(command, "07")
    assert status == 1
    assert text.startswith("Error: lab: got '07', expected the number") and "\n    04_triplet" in text


def test_errors_of_the_system_are_one_line(course, calls):
    calls.replace(running, "run_lab", OSError(28, "No space left on device", "/x/out.ipynb"))
    assert run("lab", "04") == (1, "Error: /x/out.ipynb: No space left on device\n")
    calls.replace(student, "write_copy", PermissionError(13, "Permission denied", "/x/04.ipynb"))
    assert run("student") == (1, "Error: /x/04.ipynb: Permission denied\n")


def test_lab_passes_typed_parameters(course, calls, tmp_path):
    calls.replace(running, "run_lab", tmp_path / "out.ipynb")
    status, text = run("lab", "04", "-p", "DATASET", "mnist", "-p", "EPOCHS", "5", "--out", tmp_path / "out.ipynb")
    assert (status, text) == (0, f"written: {tmp_path / 'out.ipynb'}\n")
    values = {"DATASET": "mnist", "EPOCHS": 5}
    assert calls.made == [("run_lab", (course / "04_triplet.ipynb", values, tmp_path / "out.ipynb"), {})]


def test_lab_tells_what_went_wrong(course, calls):
    status, text = run("lab", "04", "-p", "EPOCH", "5")
    assert (
        status == 1 and "Error: parameter: got 'EPOCH', expected one of" in text and "Did you mean EPOCHS = 1" in text
    )
    assert run("lab", "04", "-p", "EPOCHS", "many")[0] == 1
    for error in (notebooks.CellFailed("04_triplet.ipynb, cell 3: E"), running.Stopped("stopped")):
        calls.replace(running, "run_lab", error)
        assert run("lab", "04") == (1, f"Error: {error}\n")


def test_data_list_and_get_find_what_is_there(tmp_path):
    status, text = run("data", "list", "--root", tmp_path)
    assert status == 0 and str(tmp_path) in text
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()[1:]}
    assert lines["digits"] == "train and test" and lines["mnist"] == "not there: labkit data get mnist"
    status, text = run("data", "get", "digits", "--root", tmp_path)
    assert status == 0
    assert "digits train: " in text and "digits test: " in text and "images 1×8×8, 10 classes" in text
    status, text = run("data", "get", "nothing", "--root", tmp_path)
    assert status == 1 and text.startswith("Error: name: got 'nothing'")


def test_doctor_ends_with_1_only_when_something_is_broken(monkeypatch):
    findings = [Finding("ok", "Python 3.12"), Finding("note", "no Chromium", "sudo apt install chromium")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    status, text = run("doctor")
    assert status == 0
    assert text.splitlines() == [
        "ok      Python 3.12",
        "note    no Chromium",
        "        sudo apt install chromium",
        "",
        "Nothing is broken.",
    ]
    findings.append(Finding("broken", "disk full", "Make room."))
    status, text = run("doctor")
    assert status == 1
    assert text.splitlines()[-4:] == ["BROKEN  disk full", "        Make room.", "", "1 broken."]


# ------------------------------------------------------------------------------------------------------ for instructors


def test_student_writes_all_labs_or_those_named(course, tmp_path):
    status, text = run("student", "--out", tmp_path / "all")
    assert status == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["00_start.ipynb", "04_triplet.ipynb"]
    assert text == "".join(f"written: {tmp_path / 'all' / name}.ipynb\n" for name in ("00_start", "04_triplet"))
    assert run("student", "4", "--out", tmp_path / "one")[0] == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["04_triplet.ipynb"]
    assert run("student", "4", "--out", tmp_path / "one") == (
        0,
        f"as it was: {tmp_path / 'one' / '04_triplet.ipynb'}\n",
    )


def test_student_keeps_work_and_says_so(course, tmp_path):
    path = tmp_path / "00_start.ipynb"
    path.write_text("my work")
    status, text = run("student", "0", "--out", tmp_path)
    assert status == 1 and path.read_text() == "my work"
    assert text.startswith(f"kept, for it has been changed: {path} (the new version: ") and "--force" in text
    status, text = run("student", "0", "--out", tmp_path, "--force")
    [aside] = tmp_path.glob("00_start-old-*.ipynb")
    assert (status, text) == (0, f"written: {path} (what was there: {aside})\n")
    assert aside.read_text() == "my work"


def test_student_writes_nbgraders_sources(course, tmp_path):
    path = tmp_path / "source" / "04_triplet" / "04_triplet.ipynb"
    assert run("student", "4", "--nbgrader", "--out", tmp_path) == (0, f"written: {path}\n")


def test_handout_prints_the_folder_and_the_zip(course, calls, tmp_path):
    calls.replace(handout, "write", (tmp_path / "h", tmp_path / "h.zip"))
    assert run("handout", "4", "--out", tmp_path / "h") == (0, f"written: {tmp_path}/h\nwritten: {tmp_path}/h.zip\n")
    assert calls.made == [("write", ([course / "04_triplet.ipynb"], tmp_path / "h"), {})]


@pytest.fixture
def graded(monkeypatch, course, tmp_path):
    """Replaces the running of submissions; a folder with two of them, of which one is no notebook."""

    def grade(file, lab, cell_seconds, seconds, nursery):
        if file.name == "bad.ipynb":
            raise ValueError("bad.ipynb cannot be read as a notebook")
        scores = [Score("mining", 0, 2, "✗ mining: the easiest\nof all"), Score("loss", 1, 1)]
        return Grade(file.name, lab.stem if lab else f"found {cell_seconds} {seconds}", scores)

    monkeypatch.setattr(grading, "grade", grade)
    folder = tmp_path / "handed in"
    folder.mkdir()
    for name in ("ada", "bad"):
        nbformat.write(new_notebook(), folder / f"{name}.ipynb")
    monkeypatch.chdir(folder)
    return folder


def test_grade_prints_scores_and_ends_with_0_for_low_ones(graded):
    done = CliRunner().invoke(main, ["grade", "ada.ipynb", "--cell-seconds", "5"])
    assert done.exit_code == 0 and done.stderr == "[1/1] ada: 1 of 3\n"
    assert done.stdout.splitlines() == [
        "ada.ipynb (found 5 600): 1 of 3 points",
        "  0/2  mining  ✗ mining: the easiest",
        "  1/1  loss",
    ]


def test_grade_goes_on_after_a_file_that_cannot_be_graded_and_ends_with_1(graded):
    status, text = run("grade", "bad.ipynb", "ada.ipynb", "--lab", "04")
    assert status == 1
    assert "] bad: bad.ipynb cannot be read as a notebook\n" in text
    assert "ada.ipynb (04_triplet): 1 of 3 points" in text


def test_grade_makes_tables_of_a_folder(graded, tmp_path):
    points, pages = tmp_path / "points.csv", tmp_path / "pages"
    done = CliRunner().invoke(main, f"grade . --lab 04 --csv {points} --feedback {pages}".split())
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "04_triplet",
        "  1  mining (2)",
        "  2  loss (1)",
        "",
        "     1  2  all",
        "ada  0  1  1/3",
        "",
        "not graded:",
        "  bad.ipynb cannot be read as a notebook",
    ]
    assert points.read_text().splitlines() == ["student,04 mining,04 loss,04 of 3,all", "ada,0,1,1,1"]
    assert sorted(page.relative_to(pages).as_posix() for page in pages.rglob("*.html")) == [
        "ada/04_triplet.html",
        "bad/bad.html",
    ]


def test_grade_keeps_results_and_takes_them_again(graded, monkeypatch, course):
    assert run("grade", "ada.ipynb", "--lab", "04")[0] == 0
    monkeypatch.setattr(grading, "grade", None)
    status, text = run("grade", "ada.ipynb", "--lab", "04")
    assert status == 0 and "ada.ipynb (04_triplet): 1 of 3 points" in text
    assert "TypeError" in run("grade", "ada.ipynb", "--lab", "04", "--again")[1]


def test_grade_prints_json_for_programs(graded):
    done = CliRunner().invoke(main, ["grade", "--json", "ada.ipynb", "bad.ipynb"])
    ada, bad = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (ada["student"], ada["file"], ada["earned"], ada["points"]) == ("ada", "ada.ipynb", 1, 3)
    feedback = "✗ mining: the easiest\nof all"
    assert ada["scores"][0] == {"exercise": "mining", "earned": 0, "points": 2, "feedback": feedback}
    assert bad == {"student": "bad", "file": "bad.ipynb", "error": "bad.ipynb cannot be read as a notebook"}


def test_grade_says_when_it_was_stopped_and_when_the_course_was_changed(graded, monkeypatch):
    for error, words in (
        (KeyboardInterrupt(), "stopped after 0 of 2; the same command goes on"),
        (classroom.CourseChanged("labkit/x.py: changed"), "labkit/x.py: changed\nBring the course back"),
    ):

        def stopped(*_, error=error, **__):
            raise error
            yield

        monkeypatch.setattr(classroom, "grade_all", stopped)
        status, text = run("grade", ".")
        assert status == 1 and text.startswith(f"Error: {words}")


def test_grade_of_nothing_is_one_line(graded, tmp_path):
    assert run("grade", tmp_path / "none.ipynb") == (
        1,
        f"Error: {tmp_path}/none.ipynb: there is no such file or folder\n",
    )


def test_grade_says_that_submissions_are_untrusted():
    assert "SUBMISSIONS ARE PROGRAMS BY OTHER PEOPLE" in run("grade", "--help")[1]


# -------------------------------------------------------------------------------------------------- the papers' tables


def test_report_of_an_unknown_dataset_lists_the_known_ones():
    status, text = run("report", "center", "--datasets", "mnits")
    assert status == 1 and text.startswith("Error: datasets: got mnits, expected one of these:\n    ")
    assert text.endswith("Did you mean mnist?\n")


def test_report_replaces_no_picture_that_it_was_not_told_to(tmp_path):
    file = tmp_path / "mine.png"
    file.write_bytes(b"mine")
    status, text = run("report", "center", "--figure", file)
    assert (status, text) == (1, f"Error: {file}: is there already; --force replaces it\n")
    assert file.read_bytes() == b"mine"
    status, text = run("report", "center", "--figure", file, "--force")
    assert status == 0 and file.read_bytes().startswith(b"\x89PNG")


# ------------------------------------------------------------------------------------------------------- for developers


def test_refresh_goes_on_after_a_failure_and_ends_with_1(course, monkeypatch):
    def refresh(path):
        if path.stem == "00_start":
            raise notebooks.CellFailed("code cell 2 fails")
        return True

    monkeypatch.setattr(notebooks, "refresh", refresh)
    status, text = run("refresh")
    assert status == 1
    assert "00_start: FAILED\ncode cell 2 fails\n" in text and "04_triplet: changed\n" in text
    monkeypatch.setattr(notebooks, "refresh", lambda path: False)
    assert run("refresh", "00") == (0, "00_start: as it was\n")


# --------------------------------------------------------------------------------------------------------------- doctor


def found(look, *arguments):
    return [(finding.state, finding.text) for finding in look(*arguments)]


def test_packages_are_compared_with_their_pins(tmp_path):
    pins = tmp_path / "requirements.txt"
    pytest_version = pytest.__version__
    pins.write_text(f"pytest=={pytest_version}\nnot-there==1 ; sys_platform == 'other'\n", encoding="utf-8")
    assert found(doctor.packages, pins) == [("ok", "all 2 packages have the pinned versions")]
    pins.write_text("pytest==1.0\n", encoding="utf-8")
    assert found(doctor.packages, pins) == [("note", f"not as pinned: pytest {pytest_version} (pinned: 1.0)")]
    pins.write_text("not-there==1\n", encoding="utf-8")
    assert found(doctor.packages, pins) == [("broken", "not as pinned: not-there missing (pinned: 1)")]
    assert found(doctor.packages, tmp_path / "none.txt")[0][0] == "note"


def test_doctor_sees_an_old_python_a_full_disk_and_a_wrong_data_folder(monkeypatch, tmp_path):
    assert found(doctor.python)[0][0] in ("ok", "note")
    monkeypatch.setattr(doctor, "OLDEST", (4, 0))
    assert found(doctor.python)[0][0] == "broken"
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e9))
    assert found(doctor.disk) == [("broken", "1 GB free where the course lies")]
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    assert [state for state, _ in found(doctor.data)] == ["ok"]
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "none"))
    assert [state for state, _ in found(doctor.data)] == ["broken", "ok"]


def test_doctor_sees_which_browser_there_is(monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert found(doctor.browser)[0][0] == "note"
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    assert found(doctor.browser)[0][0] == "broken"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name)
    assert found(doctor.browser) == [("ok", "browser for the browser tests: /nowhere/chromium")]


def test_doctor_sees_a_pair_that_does_not_fit(monkeypatch):
    assert found(doctor.torch_pair)[0][0] == "ok"
    monkeypatch.setitem(sys.modules, "torchvision", None)
    [(state, text)] = found(doctor.torch_pair)
    assert state == "broken" and text.startswith("torchvision cannot be used with torch ")


def test_doctor_goes_on_when_something_cannot_be_looked_at(monkeypatch):
    def fail():
        raise OSError("no such thing")

    for name in ("packages", "torch_pair", "device", "threads", "data", "disk", "browser", "kernel"):
        monkeypatch.setattr(doctor, name, lambda: ())
    fail.__name__ = "disk"
    monkeypatch.setattr(doctor, "disk", fail)
    assert [finding.text for finding in doctor.examine()][1:] == ["disk: OSError: no such thing"]


def test_doctor_sees_another_labkit(monkeypatch, tmp_path):
    assert found(doctor.kernel) == [("ok", "a notebook kernel starts and finds labkit")]
    (tmp_path / "labkit.py").write_text("", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [(state, text)] = found(doctor.kernel)
    assert state == "broken" and text.startswith(f"notebooks find another labkit: {tmp_path}")


def test_doctor_names_the_device_and_the_threads(monkeypatch):
    assert found(doctor.device)[0][1].startswith("training uses ")
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    [finding] = doctor.threads()
    assert finding.state == "note" and "OMP_NUM_THREADS=1 is set" in finding.mend
