"""Grading one submission: it is run, and its checks are scored. Many of them: course.classroom.

A submission is a program by somebody else. It is run with limits of time, memory and file size, in a folder of its own
and without the environment of whoever grades; on Linux confined where the system allows it (course.confine), else with
their rights. Checks are put back from the lab before they run, and earn their points only when the kernel itself says
that they ran to their end (course.kernels). No more is promised against cheating.

Cells that are tagged `slow` in the lab are not run: no exercise needs them.
"""

import ast
import json
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat

from course.kernels import Kernel, KernelDied, Nursery
from course.notebooks import about, find_lab, first_line, read, tags
from course.student import points_of

LARGEST = 20  # MB of a submission; a lab with all its pictures has one or two
MOST_CELLS = 5000  # of a submission
LONGEST = 2000  # characters of feedback on one exercise
MOST_KERNELS = 6  # started for one submission
ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[ -/]*.)?")
WORTH_A_LOOK = re.compile(
    r"course\.exercises|\.reference\b|\bos\.(kill|fork|_exit|environ)\b|\bsubprocess\b|\bgetppid\b|/proc/|\bsocket\b"
)

# ----------------------------------------------------------------------------------------------------------- results


@dataclass
class Score:
    """What one exercise has earned, and the feedback where that is not everything."""

    exercise: str
    earned: int = 0
    points: int = 0
    feedback: str = ""


@dataclass
class Grade:
    """The scores of one submission.

    notes   what a human should know: cells that were left out, code that is worth a look
    """

    file: str
    lab: str
    scores: list[Score]
    notes: list[str] = field(default_factory=list)

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
        lines += [f"  {one.earned}/{one.points}  {one.exercise}  {first_line(one.feedback)}" for one in self.scores]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(line.rstrip() for line in lines)


# ----------------------------------------------------------------------------------------------- reading what came in


def read_submission(path):
    """The code of a submission: a notebook of code cells that hold a source and where it comes from, nothing else.

    Raises ValueError, in one sentence with the file, for what is not a notebook. What is not needed may be damaged.
    """
    try:
        size = path.stat().st_size / 2**20
        if size > LARGEST:
            raise ValueError(f"it has {size:.0f} MB, expected at most {LARGEST}: clear its outputs and save it again")
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
        cells = content.get("cells") if isinstance(content, dict) else None
        if not isinstance(cells, list) or len(cells) > MOST_CELLS:
            raise ValueError(f"it holds no list of at most {MOST_CELLS} cells")
        noted = _noted(content)
        lab = {"lab": noted["lab"]} if isinstance(noted.get("lab"), str) else {}
        cells = [_cell(number, cell) for number, cell in enumerate(cells, 1)]
        return nbformat.from_dict({"cells": [cell for cell in cells if cell], "metadata": {"labkit": lab}})
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "its text is not UTF-8"
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = first_line(cleaned(error, 200))
    raise ValueError(f"{path} cannot be read as a notebook: {reason}")


def _cell(number, cell):
    """What is used of a cell; None for one that holds no code."""
    if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
        raise ValueError(f"cell {number} has no type")
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise ValueError(f"cell {number} has no source")
    origin = _noted(cell).get("cell")
    origin = origin if isinstance(origin, str) else cell.get("id")
    used = {"cell_type": "code", "source": source, "metadata": {"labkit": {"cell": str(origin)}}}
    return used if cell["cell_type"] == "code" else None


def _noted(node):
    """What labkit has noted in the metadata of a notebook or cell, where all of it may be anything."""
    metadata = node.get("metadata")
    noted = metadata.get("labkit") if isinstance(metadata, dict) else None
    return noted if isinstance(noted, dict) else {}


def lab_of(file, submission):
    """The lab that a submission answers, from its metadata, or else from the two digits in its name."""
    name = about(submission).get("lab") or re.search(r"(?<!\d)(\d\d)_|\Z", Path(file).name).group(1)
    if not name:
        raise ValueError(f"file: {file} does not say which lab it answers; name the lab (--lab)")
    return find_lab(re.match(r"\w*", str(name)[:100]).group())  # never a path: a submission does not bring its own lab


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
    return str(about(cell).get("cell") or cell.get("id"))


def _untagged(cell):
    return nbformat.v4.new_code_cell(cell.source)


def answers(source, submission):
    """What a submission holds for each exercise: {name of the exercise: source of its cells}."""
    given, written, found = {_origin(cell): cell.source for cell in submission.cells}, [], {}
    for cell in source.cells:
        if "exercise" in tags(cell):
            written.append(given.get(cell.id, ""))
        if "check" in tags(cell):
            name = about(cell)["exercise"]
            found[name] = "\n\n".join(filter(None, [found.get(name), *written]))
            written = []
    return found


def modules(source):
    """The modules that the cells of a lab import which are run when it is graded."""
    found = set()
    for cell in source.cells:
        if cell.cell_type != "code" or "slow" in tags(cell):
            continue
        try:
            nodes = ast.walk(ast.parse(cell.source))
        except SyntaxError:
            continue
        for node in nodes:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found | {"torch._dynamo"}  # which the first optimizer imports, and which takes long


# ------------------------------------------------------------------------------------------------------------ running


def grade(file, lab=None, cell_seconds=60, seconds=600, nursery=None):
    """Run a filled-in notebook and score it.

    file          the submission; it is not changed
    lab           path of the lab that it answers; by default what the submission says, then what its name says
    cell_seconds  after which a cell is stopped; the next one goes on
    seconds       after which the whole is stopped; checks not reached by then earn nothing
    nursery       where kernels come from; by default one for this submission alone

    A cell that fails does not stop the next. One that ends the kernel is left out: another kernel runs the cells before
    it once more, and goes on behind it. An exercise earns the points of each check that the kernel ran to its end.
    Raises ValueError when the file is not a notebook, belongs to no lab, or the lab has no checks.
    """
    submission = read_submission(Path(file))
    lab = Path(lab) if lab else lab_of(file, submission)
    source, scores = read(lab), {}
    original = {cell.source for cell in source.cells}
    if not any("check" in tags(cell) for cell in source.cells):
        raise ValueError(f"lab: {lab.stem} has no cell tagged `check`, so that there is nothing to grade")
    cells = plan(source, submission)
    if nursery is None:
        with Nursery(modules(source), [Path(file).resolve().parent]) as nursery:
            reasons, notes = _Performance(cells, nursery, cell_seconds, seconds).reasons()
    else:
        reasons, notes = _Performance(cells, nursery, cell_seconds, seconds).reasons()
    for number, cell in enumerate(cells):
        if "check" in tags(cell):
            name, points = points_of(cell, lab.stem)
            score = scores.setdefault(name, Score(name))
            score.points += points
            reason = reasons[number] and _cause(number, cells, reasons)
            score.earned += 0 if reason else points
            score.feedback = score.feedback or cleaned(reason)
        elif cell.source not in original and (found := WORTH_A_LOOK.search(cell.source)):
            notes.append(f"worth a look: {found.group()} in {_named(cell)}")
    return Grade(str(file), lab.stem, list(scores.values()), [cleaned(note, 200) for note in notes])


class _Performance:
    """A submission's cells, run one after another, in as many kernels as it takes."""

    def __init__(self, cells, nursery, cell_seconds, seconds):
        self.cells, self.nursery, self.cell_seconds, self.seconds = cells, nursery, cell_seconds, seconds
        self.found = {}  # number of a cell -> why it failed, or ""
        self.left_out = set()  # cells that ended a kernel, or had to be stopped: they are not run twice
        self.notes = []

    def reasons(self):
        """({number of a cell: why it failed, or ""}, what to note)."""
        deadline, ended = time.monotonic() + self.seconds, ""
        for _ in range(MOST_KERNELS):
            try:
                with Kernel(self.nursery) as kernel:
                    ended = self._run_all(kernel, deadline)
                break
            except _Ends as end:
                self._leave_out(end.number, end.why)
                ended = f"not run: {MOST_KERNELS} kernels were lost"
            except KernelDied as error:
                ended = f"not run: the kernel {error}"
        return {number: self.found.get(number, ended) for number in range(len(self.cells))}, self.notes

    def _run_all(self, kernel, deadline):
        """Run all cells that may run; returns why the rest was not, or ""."""
        last = None  # the cell before this one
        for number, cell in enumerate(self.cells):
            if number in self.left_out:
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return f"not run: the notebook has taken more than {self.seconds:g} s"
            try:
                run = kernel.run(cell.source, min(self.cell_seconds, left))
            except KernelDied as error:
                raise _Ends(number, str(error)) from error
            if run.end == "unknown" and kernel.run("", self.cell_seconds).end == "unknown":
                guilty = number if last is None else last  # this cell has not run, for what the one before left behind
                raise _Ends(guilty, "left a kernel that runs nothing any more")
            if run.end == "stopped":
                self.left_out.add(number)
            self.found.setdefault(number, self._reason(run))
            if run.quits:
                raise _Ends(number, "ended the kernel")
            last = number
        return ""

    def _leave_out(self, number, why):
        self.left_out.add(number)
        self.notes.append(f"{_named(self.cells[number])} {why}, and was left out")
        if not (number in self.found and "check" in tags(self.cells[number])):  # a check that was right stays so
            self.found[number] = f"{_named(self.cells[number])} {why}"

    def _reason(self, run):
        if run.end == "ok":
            return ""
        if run.end == "unknown":
            return "the kernel did not say that this ran to its end: is a message endless?"
        if run.end == "stopped":
            return f"stopped after {self.cell_seconds:g} s: is there an endless loop?"
        if run.error == "NotImplementedError":
            return "not filled in yet"
        if run.error == "StdinNotImplementedError":
            return "asks for input(), which nobody can give here"
        return run.message if run.error == "ExerciseFailed" else f"{run.error}: {first_line(run.message)}"


class _Ends(Exception):
    """A cell has ended the kernel, or made it unfit for more."""

    def __init__(self, number, why):
        super().__init__(why)
        self.number, self.why = number, why


def _cause(number, cells, reasons):
    """Why a check failed. One that lacks a name failed because the cell that was to define it did."""
    missing = re.match(r"NameError: name '(\w+)' is not defined", reasons[number])
    if not missing:
        return reasons[number]
    failed = [before for before in range(number) if reasons[before]]
    checks = [before for before in range(number) if "check" in tags(cells[before])]
    named = [before for before in failed if re.search(rf"\b{missing.group(1)}\b", cells[before].source)]
    own = [before for before in failed if before > max(checks, default=-1)]
    return next((reasons[before] for before in [*named[::-1], *own[::-1]] if before not in checks), reasons[number])


def _named(cell):
    return f"the cell that begins with `{first_line(cell.source)[:80]}`"


def cleaned(text, longest=LONGEST):
    """A text that a terminal and a table can bear: no escape codes, nothing unprintable, not too long."""
    text = ESCAPES.sub("", str(text)[: 10 * longest]).expandtabs(4)
    text = "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return text if len(text) <= longest else f"{text[:longest]} ..."
