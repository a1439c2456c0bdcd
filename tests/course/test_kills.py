"""Every command that writes, killed at every moment or out of disk space: what was there is there, or the whole new."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sys
from collections import namedtuple
from types import SimpleNamespace

import nbformat
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from small_lab import SOLUTIONS, make_lab, submission

from course import classroom, grading, handout, notebooks
from course.cli import main
from experiments import golden, records, report
from tools import bench
from tools import map as mapping
from tools.breaks import __main__ as breaks

resource = pytest.importorskip("resource", reason="limits of files")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")

MOMENTS = 12  # tried of a command that has more
NEVER = 0
ROOM = 150  # bytes that a file may have on a full disk


def files(folder, hidden=False):
    """{path below a folder: content}; with or without what a killed writer may leave beside."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if hidden or not re.search(r"(^|/)\.", name)}


def changes(event, arguments):
    """Whether an audited event changes files."""
    if event == "open":
        return isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    return event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "shutil.copyfile")


def tried(command, folder, moment, fault):
    """Run a command in a fork; before change number `moment` in a folder, `fault` happens. Returns the exit status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        null = os.open(os.devnull, os.O_RDWR)
        [os.dup2(null, stream) for stream in (0, 1, 2)]
        seen = []

        def hook(event, arguments):
            if changes(event, arguments) and str(arguments[0]).startswith(str(folder)):
                seen.append(event)
                if len(seen) == moment:
                    fault()

        sys.addaudithook(hook)
        with contextlib.suppress(SystemExit):
            command()
        if moment == NEVER:
            folder.with_name("changes").write_text(str(len(seen)))
        os._exit(0)
    except BaseException:
        os._exit(1)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def killed_while_writing():
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))


def full_disk():
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))  # Python ignores the signal: OSError


def labkit(*words):
    return lambda: CliRunner().invoke(
        main, [str(word) for word in words], catch_exceptions=False, standalone_mode=False
    )


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A course of one small lab in a folder of its own, and its name."""
    course = tmp_path / "course" / "notebooks"
    course.mkdir(parents=True)
    nbformat.write(make_lab(), course / "05_demo.ipynb")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", course)
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "work" / "build")
    return tmp_path


@pytest.fixture
def executed(monkeypatch):
    """Cells are not executed but get an output, so that a command does nothing but write."""

    def run(cell, number):
        cell.execution_count, cell.outputs = number, [nbformat.v4.new_output("stream", text=f"{number}\n" * 99)]

    monkeypatch.setattr(notebooks, "kernel_for", lambda *_: notebooks.contextlib.nullcontext(run))


def old_student(small):
    """A student's version of an earlier edition, which nobody has changed."""
    out = small / "work" / "out"
    labkit("student", "05", "--out", out)()
    lab = notebooks.labs()[0]
    notebook = notebooks.read(lab)
    notebook.cells[0].source += "\nA new edition."
    nbformat.write(notebook, lab)
    return out


def student_renewed(small, monkeypatch):
    return labkit("student", "05", "--out", old_student(small))


def student_beside_work(small, monkeypatch):
    out = old_student(small)
    copy = out / "05_demo.ipynb"
    copy.write_text(copy.read_text(encoding="utf-8").replace("# YOUR CODE HERE", "mine = 1"), encoding="utf-8")
    return labkit("student", "05", "--out", out)


def student_forced(small, monkeypatch):
    return labkit(*"student 05 --force --out".split(), student_beside_work(small, monkeypatch) and small / "work/out")


def nbgrader(small, monkeypatch):
    return labkit("student", "05", "--nbgrader", "--out", small / "work" / "nbgrader")


def refreshed(small, monkeypatch):
    shutil.copytree(notebooks.NOTEBOOKS, small / "work" / "notebooks")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", small / "work" / "notebooks")
    return labkit("refresh", "05")


def handed_out(small, monkeypatch):
    course = small / "course"
    for name in ("labkit", "experiments", "data/measured", "data/published"):
        (course / name).mkdir(parents=True)
        (course / name / "file.py").write_text("x = 1\n" * 99)
    for name in ("lab.py", *handout.FILES):
        shutil.copy(handout.ROOT / name, course / name)
    (course / "course" / "exercises").mkdir(parents=True)
    (course / "course" / "exercises" / "lab05.py").write_text("x = 1\n")
    for module, name in ((handout, "ROOT"), (handout, "NOTEBOOKS")):
        monkeypatch.setattr(module, name, course / ("notebooks" if name == "NOTEBOOKS" else ""))
    out = small / "work" / "handout"
    labkit("handout", "05", "--out", out)()
    (course / "labkit" / "file.py").write_text("x = 2\n" * 99)
    return labkit("handout", "05", "--out", out)


def graded(small, monkeypatch):
    handed_in = small / "course" / "handed_in" / "ada"
    handed_in.mkdir(parents=True)
    nbformat.write(submission(**SOLUTIONS), handed_in / "05_demo.ipynb")
    scores = [grading.Score("half", 1, 1)]
    monkeypatch.setattr(grading, "grade", lambda file, *_: grading.Grade(str(file), "05_demo", scores))
    monkeypatch.setattr(classroom, "NOTEBOOKS", notebooks.NOTEBOOKS)
    monkeypatch.setattr(classroom, "fingerprints", dict)
    place = small / "work"
    (place / "feedback" / "ada").mkdir(parents=True)
    (place / "feedback" / "ada" / "05_demo.html").write_text("earlier " * 99)
    (place / "points.csv").write_text("earlier " * 99)
    return labkit("grade", handed_in.parent, "--csv", place / "points.csv", "--feedback", place / "feedback")


def reported(small, monkeypatch):
    (small / "work").mkdir()
    (small / "work" / "table.png").write_bytes(b"earlier " * 99)
    found = report.results("circle", "reduced")
    monkeypatch.setattr(report, "results", lambda *_: found)
    monkeypatch.setattr(report, "figure", lambda _: Figure())
    return labkit("report", "circle", "--size", "reduced", "--figure", small / "work" / "table.png", "--force")


def benchmarked(small, monkeypatch):
    path = small / "work" / "benchmarks.json"
    bench_record = lambda rows: bench.record({"losses": [{"name": "x", "ratio": rows}] * 9}, path)  # noqa: E731
    bench_record(1)
    return lambda: bench_record(2)


def recorded(small, monkeypatch):
    monkeypatch.setattr(records, "DATA", small / "work")
    records.record("trial", {"x": [1.0] * 99})
    return lambda: records.record("trial", {"x": [2.0] * 99})


def breaks_recorded(small, monkeypatch):
    path = small / "work" / "breaks.json"
    records.write_whole(path, json.dumps({"00": {"claims": ["kept " * 99], "breaks": {}}}))
    monkeypatch.setattr(breaks, "RECORD", path)
    monkeypatch.setattr(breaks, "records", lambda: json.loads(path.read_text(encoding="utf-8")))
    one = SimpleNamespace(name="x")
    monkeypatch.setattr(breaks, "breaks_of", lambda _: [one])
    monkeypatch.setattr(breaks, "claims_of", lambda _: ["c " * 99])
    monkeypatch.setattr(breaks, "cells_of", lambda *_: [])
    monkeypatch.setattr(breaks, "measure", lambda *_: [(one, {})])
    monkeypatch.setattr(breaks, "outcome_kept", lambda *_: {})
    monkeypatch.setattr(breaks, "faults_of", lambda *_: [])
    return lambda: breaks.main(["05"], standalone_mode=False)


def golden_written(small, monkeypatch):
    place = small / "work" / "golden"
    shutil.copytree(golden.FOLDER, place)
    monkeypatch.setattr(golden, "FOLDER", place)
    run = namedtuple("Run", "file name")("losses", "x")
    return lambda: golden.write({run: [0.5] * 99})


def map_written(small, monkeypatch):
    place = small / "work"
    (place / "labkit").mkdir(parents=True)
    (place / "README.md").write_text("| 00 | Start | [x](labkit/__init__.py) | 7 |\n" * 9)
    (place / "labkit" / "__init__.py").write_text("x = 1\n" * 99)
    monkeypatch.setattr(mapping, "ROOT", place)
    return mapping.write


COMMANDS = [
    *(student_renewed, student_beside_work, student_forced, nbgrader, refreshed, handed_out, graded, reported),
    *(benchmarked, recorded, breaks_recorded, golden_written, map_written),
]


@pytest.mark.parametrize("fault", [killed, killed_while_writing, full_disk], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("prepare", COMMANDS, ids=lambda prepare: prepare.__name__)
def test_what_was_there_is_there_or_the_whole_new(prepare, fault, small, executed, monkeypatch):
    command, place, kept = prepare(small, monkeypatch), small / "work", small / "kept"
    place.mkdir(exist_ok=True)
    shutil.copytree(place, kept)

    before = files(place)
    assert os.waitstatus_to_exitcode(tried(command, place, NEVER, None)) == 0
    whole, changed = files(place), int(place.with_name("changes").read_text())
    assert whole != before
    outcomes = set()
    for moment in random.sample(range(1, changed + 1), min(changed, MOMENTS)):
        shutil.rmtree(place)
        shutil.copytree(kept, place)
        status = os.waitstatus_to_exitcode(tried(command, place, moment, fault))
        outcomes.add(status)
        after, everything = files(place), files(place, hidden=True).values()
        damaged = [name for name, content in after.items() if not fits(content, name, before, whole)]
        assert not damaged, f"{damaged} after {status} at change {moment} of {changed}"
        lost = [name for name, content in before.items() if name not in after and content not in everything]
        assert not lost, f"{lost} after {status} at change {moment} of {changed}"
    assert outcomes - {0}, "nothing failed"
    print(f"{prepare.__name__}, {fault.__name__}: {min(changed, MOMENTS)} of {changed} moments")


def fits(content, name, before, whole):
    """Whether a file is what it was, or the whole new one; of results that are appended, a beginning will do."""
    if name.endswith(".jsonl"):
        return whole[name].startswith(content)
    return content in [*before.values(), *whole.values()]
