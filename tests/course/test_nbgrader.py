"""nbgrader 0.9 itself takes what `labkit student --nbgrader` writes, and gives the points that `labkit grade` gives.

Only where LABKIT_NBGRADER names a folder, in which an environment for nbgrader is made once (some hundred packages,
from the package index): never in CI.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest
from ipykernel.kernelspec import get_kernel_dict

from course import grading
from course.notebooks import ROOT, labs, read, tags
from course.student import write_nbgrader

pytestmark = pytest.mark.skipif(
    "LABKIT_NBGRADER" not in os.environ or "CI" in os.environ, reason="LABKIT_NBGRADER names no folder"
)
GRADEBOOK = """\
import json
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db") as book:
    print(json.dumps({one.student.id: [one.score, one.max_score] for one in book.assignment_submissions(LAB)}))
"""


@pytest.fixture(scope="module")
def programs():
    """The folder with nbgrader's programs."""
    folder = Path(os.environ["LABKIT_NBGRADER"]).resolve()
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    if not (programs / "nbgrader").exists():
        venv.EnvBuilder(with_pip=True).create(folder)
        install = [programs / "python", "-m", "pip", "install", "--quiet", "nbgrader>=0.9,<0.10"]
        if subprocess.run(install).returncode:
            pytest.skip("nbgrader cannot be installed")
    return programs


@pytest.mark.parametrize("lab", [path for path in labs() if path.stem[:2] in ("00", "04")], ids=lambda path: path.stem)
def test_nbgrader_assigns_grades_and_gives_feedback_with_the_same_points(programs, lab, tmp_path):
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps(get_kernel_dict()), encoding="utf-8")  # labkit lives in this environment
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    environment = {**os.environ, "JUPYTER_PATH": str(tmp_path / "jupyter"), "PATH": path, "PYTHONPATH": str(ROOT)}

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def nbgrader(command, *options):
        run(programs / "nbgrader", command, lab.stem, *options)

    [source] = write_nbgrader([lab], tmp_path)
    nbgrader("generate_assignment")
    released = tmp_path / "release" / lab.stem / lab.name
    assert "BEGIN SOLUTION" not in released.read_text(encoding="utf-8")
    exercises = [cell.id for cell in read(lab).cells if "exercise" in tags(cell)]
    handed_in = {}
    for student in ("nobody", "half", "all"):
        notebook = read(released)
        notebook.cells = [cell for cell in notebook.cells if "slow" not in tags(cell)]  # no exercise needs them
        solved = {cell.id: cell.source for cell in read(source.path).cells}
        for cell in notebook.cells:
            if cell.id in exercises[: {"nobody": 0, "half": 2, "all": None}[student]]:
                cell.source = solved[cell.id]
        handed_in[student] = tmp_path / "submitted" / student / lab.stem / lab.name
        handed_in[student].parent.mkdir(parents=True)
        nbformat.write(notebook, handed_in[student])
    nbgrader("autograde", "--ExecutePreprocessor.timeout=300")
    nbgrader("generate_feedback")
    points = json.loads(run(programs / "python", "-c", GRADEBOOK.replace("LAB", repr(lab.stem))))
    with grading.Nursery(grading.modules(read(lab))) as nursery:
        ours = {student: grading.grade(file, nursery=nursery) for student, file in handed_in.items()}
    assert points == {student: [grade.earned, grade.points] for student, grade in ours.items()}
    assert 0 == ours["nobody"].earned < ours["half"].earned < ours["all"].earned == ours["all"].points
    assert len(list((tmp_path / "feedback").rglob("*.html"))) == 3
    assert sys.executable in kernel.read_text(encoding="utf-8")
