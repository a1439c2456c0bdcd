"""Students' versions of the labs. Solutions, stubs and checks have one source: the lab.

In a lab's notebook, nbgrader's markers and three tags say what is what:

    exercise      the lines from `### BEGIN SOLUTION` to `### END SOLUTION` become a stub
    check         scored; its metadata: {"labkit": {"exercise": "name", "points": 2}}. It imports what it calls, so that
                  nothing that a student defines stands in its way. The lines from `### BEGIN HIDDEN TESTS` to
                  `### END HIDDEN TESTS` are left out
    instructor    left out: what is said to the instructor, or of the solutions

What a student has changed is never overwritten: every copy knows as what it was written (`metadata.labkit.written`).
"""

import contextlib
import copy
import os
import re
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import nbformat

from course.notebooks import (
    BUILD,
    METADATA,
    NOTEBOOKS,
    ROOT,
    about,
    digest,
    is_untouched,
    marked,
    read,
    tags,
)
from experiments.records import write_whole

WORK = ROOT / "work"
"""Where a student works: copies of the labs that git does not see."""

SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION[ \t]*\n.*?^[ \t]*### END SOLUTION[ \t]*$", re.DOTALL | re.MULTILINE)
HIDDEN = re.compile(
    r"^[ \t]*### BEGIN HIDDEN TESTS[ \t]*\n.*?^[ \t]*### END HIDDEN TESTS[ \t]*(\n|\Z)", re.DOTALL | re.MULTILINE
)
MARKER = re.compile(r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS)")
STUB = r"\1# YOUR CODE HERE\n\1raise NotImplementedError"
LINK = re.compile(r"(?<=\]\()(?![a-zA-Z][\w+.-]*:|[#/])[^)#\s]+")

HANDED_OUT = (
    "**This is your copy of the lab**, without solutions: write in it whatever you like. Nothing of it is overwritten."
)
IN_WORK = (
    f"{HANDED_OUT} When the course is updated, the new version is put beside it. "
    "The [lab with its solutions]({solved}) stands in `notebooks/`. "
    "`python lab.py grade work/{name}` scores what you have."
)

# ------------------------------------------------------------------------------------------------- one notebook


def student_version(notebook, lab, note=HANDED_OUT):
    """A lab without solutions, hidden tests, instructor's cells and outputs; what is one already stays as it is.

    Each cell remembers from which cell of the source it comes, and the notebook from which lab: editors may drop a
    cell's id, but keep metadata. Raises ValueError for a cell whose markers or metadata are not in order.

    note   said in a cell below the first one, for the first screen
    """
    student = copy.deepcopy(notebook)
    if about(notebook).get("lab"):
        return student
    student.cells = [cell for cell in student.cells if "instructor" not in tags(cell)]
    student.metadata = nbformat.from_dict({**METADATA, "labkit": {"lab": lab}})
    student.nbformat, student.nbformat_minor = 4, 5
    for cell in student.cells:
        cell.metadata["labkit"] = {**about(cell), "cell": cell.id}
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        if tags(cell) & {"exercise", "check"}:  # what is not solved yet must not stop "Run All"
            cell.metadata["tags"] = [*cell.metadata["tags"], "raises-exception"]
        if "exercise" in tags(cell):
            cell.source, stubs = SOLUTION.subn(STUB, cell.source)
            if not stubs:
                raise ValueError(f"{lab}, cell {cell.id}: an exercise without BEGIN SOLUTION and END SOLUTION")
        if "check" in tags(cell):
            points_of(cell, lab)
            cell.source = HIDDEN.sub("", cell.source).rstrip("\n")
            cell.metadata["editable"] = cell.metadata["deletable"] = False
        if left := MARKER.search(cell.source):
            raise ValueError(f"{lab}, cell {cell.id}: {left.group()!r} has no partner, or its cell lacks the tag")
    own = {"slideshow": {"slide_type": "skip"}, "labkit": {"cell": "your-copy"}}
    student.cells.insert(1, nbformat.v4.new_markdown_cell(note, id="your-copy", metadata=own))
    nbformat.validate(student)
    return student


def nbgrader_version(notebook, lab):
    """A lab as nbgrader 0.9 takes it for `generate_assignment`, with its solutions and the points of its checks."""
    source = copy.deepcopy(notebook)
    source.cells = [cell for cell in source.cells if "instructor" not in tags(cell)]
    source.metadata["labkit"] = {"lab": lab}
    for cell in source.cells:
        graded = {"schema_version": 3, "grade_id": cell.id, "task": False}
        if "exercise" in tags(cell):
            cell.metadata["nbgrader"] = graded | {"grade": False, "solution": True, "locked": False}
        if "check" in tags(cell):
            points = points_of(cell, lab)[1]
            cell.metadata["nbgrader"] = graded | {"grade": True, "solution": False, "locked": True, "points": points}
    nbformat.validate(source)
    return source


def points_of(cell, lab):
    """(exercise's name, points) of a check cell."""
    name, points = about(cell).get("exercise"), about(cell).get("points")
    if not (isinstance(name, str) and name and isinstance(points, int) and points > 0):
        raise ValueError(
            f"{lab}, check cell {cell.id}: got labkit = {about(cell)}, expected an exercise and its points"
        )
    return name, points


def with_links(notebook, old, new):
    """The notebook, with its relative links as they must read in another folder; those to labs stay: they move too."""
    moved = partial(_moved, old=old, new=new)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(moved, cell.source)
    return notebook


def _moved(link, old, new):
    target = (old / unquote(link.group())).resolve()
    if not target.exists() or (target.parent == old and target.suffix == ".ipynb"):
        return link.group()
    return Path(os.path.relpath(target, new)).as_posix().replace(" ", "%20")


# ------------------------------------------------------------------------------------- writing, and losing nothing


class Written(NamedTuple):
    """What became of a copy.

    path     the copy
    state    "new", "as it was", "renewed" (an older version that nobody had changed), "kept" (somebody's work)
    beside   where the newer version lies, or what was there before, where there is such a file
    """

    path: Path
    state: str
    beside: Path | None = None


def write_copy(path, notebook, force=False):
    """Write a student's version to `path`, and return a Written; work that is there already stays.

    A copy that somebody has worked on is kept. If the lab has changed since it was written, its new version is put
    beside the copy, under a name of its own. With `force` it is the copy that is moved aside.
    """
    version, text = digest(notebook), marked(notebook)
    if not path.exists():
        write_whole(path, text)
        return Written(path, "new")
    if is_untouched(path):
        old = path.read_text(encoding="utf-8")
        if old != text:
            write_whole(path, text)
        return Written(path, "as it was" if old == text else "renewed")
    if force:
        aside = path.with_name(f"{path.stem}-old-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}")
        path.rename(aside)
        write_whole(path, text)
        return Written(path, "new", aside)
    if _written_as(path) == version:
        return Written(path, "kept")
    beside = path.with_name(f"{path.stem}-new-{version[:6]}{path.suffix}")
    if not beside.exists():
        write_whole(beside, text)
    return Written(path, "kept", beside)


def _written_as(path):
    """The digest of the version that was copied to a file, or None where it says nothing of the kind."""
    with contextlib.suppress(ValueError):
        return about(read(path)).get("written")
    return None


def write_student_versions(labs, out=None, force=False, note=HANDED_OUT):
    """Write the students' versions of some labs into a folder, build/student by default; a Written for each."""
    out = Path(out or BUILD / "student").resolve()
    if out.is_relative_to(NOTEBOOKS):
        raise ValueError(f"out: got {out}, expected a folder outside {NOTEBOOKS}, which holds the solutions")
    written = []
    for lab in labs:
        solved = Path(os.path.relpath(lab, out)).as_posix().replace(" ", "%20")
        student = student_version(read(lab), lab.stem, note.format(solved=solved, name=lab.name))
        written.append(write_copy(out / lab.name, with_links(student, lab.parent, out), force))
    return written


def write_nbgrader(labs, out=None, force=False):
    """Write labs as nbgrader's sources, OUT/source/LAB/LAB.ipynb, build/nbgrader by default; a Written for each."""
    out = Path(out or BUILD / "nbgrader").resolve()
    written = []
    for lab in labs:
        path = out / "source" / lab.stem / lab.name
        source = nbgrader_version(read(lab), lab.stem)
        written.append(write_copy(path, with_links(source, lab.parent, path.parent), force))
    return written
