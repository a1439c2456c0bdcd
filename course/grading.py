"""Students' versions of the labs, and scoring what comes back. Solutions, stubs and checks have one source: the lab.

In a lab's notebook, nbgrader's markers and three tags say what is what (nbgrader itself can use the same files):

    exercise      the lines from `### BEGIN SOLUTION` to `### END SOLUTION` become a stub
    check         scored; its metadata: {"labkit": {"exercise": "name", "points": 2}}. It imports what it calls, so that
                  nothing that a student defines stands in its way. The lines from `### BEGIN HIDDEN TESTS` to
                  `### END HIDDEN TESTS` are left out
    instructor    left out
    slow          not run when grading: no exercise needs it

A submission is a program by somebody else: it is run with time limits and in a temporary folder, but with the rights
of whoever grades. Checks are put back from the source before they run. No more is promised against cheating.
"""

import copy
import os
import re
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import nbformat

from course.notebooks import BUILD, METADATA, NOTEBOOKS, Kernel, KernelDied, find_lab, read, tags

SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION[ \t]*\n.*?^[ \t]*### END SOLUTION[ \t]*$", re.DOTALL | re.MULTILINE)
HIDDEN = re.compile(
    r"^[ \t]*### BEGIN HIDDEN TESTS[ \t]*\n.*?^[ \t]*### END HIDDEN TESTS[ \t]*(\n|\Z)", re.DOTALL | re.MULTILINE
)
MARKER = re.compile(r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS)")
STUB = r"\1# YOUR CODE HERE\n\1raise NotImplementedError"
LINK = re.compile(r"(?<=\]\()(?![a-zA-Z][\w+.-]*:|[#/])[^)#\s]+")

# ------------------------------------------------------------------------------------------------- students' version


def student_version(notebook, lab):
    """A lab without solutions, hidden tests, instructor's cells and outputs.

    Each cell remembers from which cell of the source it comes, and the notebook from which lab: editors may drop a
    cell's id, but keep metadata. Raises ValueError for a cell whose markers or metadata are not in order.
    """
    student = copy.deepcopy(notebook)
    student.cells = [cell for cell in student.cells if "instructor" not in tags(cell)]
    student.metadata = nbformat.from_dict({**METADATA, "labkit": {"lab": lab}})
    student.nbformat, student.nbformat_minor = 4, 5
    for cell in student.cells:
        cell.metadata["labkit"] = {**_about(cell), "cell": cell.id}
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        if "exercise" in tags(cell):
            cell.source, stubs = SOLUTION.subn(STUB, cell.source)
            if not stubs:
                raise ValueError(f"{lab}, cell {cell.id}: an exercise without BEGIN SOLUTION and END SOLUTION")
        if "check" in tags(cell):
            _points(cell, lab)
            cell.source = HIDDEN.sub("", cell.source).rstrip("\n")
            cell.metadata["editable"] = cell.metadata["deletable"] = False
        if left := MARKER.search(cell.source):
            raise ValueError(f"{lab}, cell {cell.id}: {left.group()!r} has no partner, or its cell lacks the tag")
    nbformat.validate(student)
    return student


def write_student_versions(labs, out=None):
    """Write the students' versions of some labs into a folder, build/student by default; returns the paths written."""
    out = Path(out or BUILD / "student").resolve()
    if out.is_relative_to(NOTEBOOKS):
        raise ValueError(f"out: got {out}, expected a folder outside {NOTEBOOKS}, which holds the solutions")
    out.mkdir(parents=True, exist_ok=True)
    for lab in labs:
        student = student_version(read(lab), lab.stem)
        moved = partial(_moved, old=lab.parent, new=out)
        for cell in student.cells:
            if cell.cell_type == "markdown":
                cell.source = LINK.sub(moved, cell.source)
        (out / lab.name).write_text(nbformat.writes(student) + "\n", encoding="utf-8", newline="\n")
    return [out / lab.name for lab in labs]


def _moved(link, old, new):
    """A relative link as it must read in another folder. Links to labs stay: they move together."""
    target = (old / unquote(link.group())).resolve()
    if not target.exists() or (target.parent == old and target.suffix == ".ipynb"):
        return link.group()
    return Path(os.path.relpath(target, new)).as_posix().replace(" ", "%20")


def _points(cell, lab):
    """(exercise's name, points) of a check cell."""
    about = _about(cell)
    name, points = about.get("exercise"), about.get("points")
    if not (isinstance(name, str) and name and isinstance(points, int) and points > 0):
        raise ValueError(f"{lab}, check cell {cell.id}: got labkit = {about}, expected an exercise and its points")
    return name, points


# ------------------------------------------------------------------------------------------------------------- grading


@dataclass
class Score:
    """What one exercise has earned, and the first line of the feedback where that is not everything."""

    exercise: str
    earned: int = 0
    points: int = 0
    feedback: str = ""


@dataclass
class Grade:
    """The scores of one submission."""

    file: str
    lab: str
    scores: list[Score]

    @property
    def earned(self):
        """Points earned in all exercises."""
        return sum(score.earned for score in self.scores)

    @property
    def points(self):
        """Points that could be earned."""
        return sum(score.points for score in self.scores)

    def as_dict(self):
        """All of it as plain values, for JSON."""
        return {**asdict(self), "earned": self.earned, "points": self.points}

    def __str__(self):
        lines = [f"{self.file} ({self.lab}): {self.earned} of {self.points} points"]
        lines += [f"  {score.earned}/{score.points}  {score.exercise}  {score.feedback}" for score in self.scores]
        return "\n".join(line.rstrip() for line in lines)


def grade(file, lab=None, cell_seconds=60, seconds=600):
    """Run a filled-in notebook and score it.

    file          the submission; it is not changed
    lab           path of the lab that it answers; by default what the submission says, then what its name says
    cell_seconds  after which a cell is stopped; the next one goes on
    seconds       after which the whole is stopped; checks not reached by then earn nothing

    A cell that fails does not stop the next. An exercise earns the points of each check that runs without an error.
    Raises ValueError when the file is not a notebook, belongs to no lab, or the lab has no checks.
    """
    submission = read(file)
    lab = Path(lab) if lab else lab_of(file, submission)
    source, scores = read(lab), {}
    if not any("check" in tags(cell) for cell in source.cells):
        raise ValueError(f"lab: {lab.stem} has no cell tagged `check`, so that there is nothing to grade")
    with tempfile.TemporaryDirectory(prefix="labkit-grade-", ignore_cleanup_errors=True) as folder:
        for cell, reason in _executed(plan(source, submission), Path(folder), cell_seconds, seconds):
            if "check" in tags(cell):
                name, points = _points(cell, lab.stem)
                score = scores.setdefault(name, Score(name))
                score.points += points
                score.earned += 0 if reason else points
                score.feedback = score.feedback or reason
    return Grade(str(file), lab.stem, list(scores.values()))


def lab_of(file, submission):
    """The lab that a submission answers, from its metadata, or else from the first part of its name."""
    name = _about(submission).get("lab") or re.match(r"(\d\d)_|", Path(file).name).group(1)
    if not name:
        raise ValueError(f"file: {file} does not say which lab it answers; name the lab (--lab)")
    return find_lab(re.match(r"\w*", str(name)).group())  # never a path: a submission does not bring its own lab


def plan(source, submission):
    """The cells to run: the submission's code, but every check as the source has it.

    A check stands where the submission has it (the last copy, if there are several), and where it was deleted, at its
    place in the source's order. Cells that are tagged `slow` in the source are left out.
    """
    place = {cell.id: number for number, cell in enumerate(source.cells)}
    checks = {cell.id: cell for cell in source.cells if "check" in tags(cell)}
    slow = {cell.id for cell in source.cells if "slow" in tags(cell)}
    cells = [(_origin(cell), cell) for cell in submission.cells if cell.cell_type == "code"]
    cells = [(origin, cell) for origin, cell in cells if origin not in slow]
    for origin, check in checks.items():
        own = [number for number, (other, _) in enumerate(cells) if other == origin]
        later = [number for number, (other, _) in enumerate(cells) if place.get(other, -1) > place[origin]]
        at = own[-1] + 1 if own else min(later, default=len(cells))
        cells.insert(at, (origin, check))
        cells = [pair for number, pair in enumerate(cells) if number not in own]
    # A tag that a student has put on a cell of their own must not make it count.
    return [checks[origin] if origin in checks else _untagged(cell) for origin, cell in cells]


def _origin(cell):
    """The id of the source's cell from which a submission's cell comes."""
    return str(_about(cell).get("cell") or cell.get("id"))


def _about(node):
    """What labkit has noted in the metadata of a notebook or a cell; a submission may hold anything there."""
    about = node.metadata.get("labkit", {})
    return about if isinstance(about, dict) else {}


def _untagged(cell):
    return nbformat.v4.new_code_cell(cell.source)


def _executed(cells, folder, cell_seconds, seconds):
    """Run cells one after another; yields each with the reason why it failed, or with ""."""
    deadline = time.monotonic() + seconds
    ended, last_failure = "", ""
    with Kernel(folder) as kernel:
        for cell in cells:
            left = deadline - time.monotonic()
            if left <= 0:
                ended = ended or f"not run: the notebook has taken more than {seconds:g} s"
            if ended:
                yield cell, ended
                continue
            try:
                run = kernel.run(cell.source, min(cell_seconds, left))
            except KernelDied as error:
                ended = f"not run: {error} (cell that begins with `{_first_line(cell.source)}`)"
                yield cell, ended
                continue
            reason = _reason(run, cell_seconds)
            # The check of an answer that was never given fails for want of its name; what is wrong happened before.
            missing = "check" in tags(cell) and run.error and run.error.ename == "NameError"
            yield cell, last_failure if missing and last_failure else reason
            last_failure = reason


def _reason(run, cell_seconds):
    if run.stopped:
        return f"stopped after {cell_seconds:g} s: is there an endless loop?"
    if run.error is None:
        return ""
    if run.error.ename == "NotImplementedError":
        return "not filled in yet"
    message = _first_line(run.error.evalue)
    return message if run.error.ename == "ExerciseFailed" else f"{run.error.ename}: {message}"


def _first_line(text):
    return next(iter(text.strip().splitlines()), "")
