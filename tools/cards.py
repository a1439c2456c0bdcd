"""How long a lab takes, by one stated measure: a student reads 120 words or 12 lines of code a minute, looks at each
figure for a minute, and needs the minutes that each exercise names.

`python -m tools cards` prints the counts of every lab and writes the minutes to its title card and docs/term-plan.md.
A line in italics that names the first or second sitting ends it. Sections whose heading ends with "(optional)", and
boxes called "In the paper", are counted separately. Imports, the instructor's notes, and all of the exercises but their
minutes are not counted; an open exercise names none.
"""

import re
from collections import Counter
from pathlib import Path

from course import notebooks
from experiments.records import write_whole
from tools.anywhere import CELL, LINKS

PLAN = Path(__file__).resolve().parents[1] / "docs" / "term-plan.md"
PER_MINUTE = {"words": 120, "lines": 12, "figures": 1, "exercises": 1}
CARD = re.compile(r"^\| ([Tt]ime) \| [^|]*?(; [^|;]*CPU[^|;]*?)? \|$", re.MULTILINE)
NEEDS = re.compile(r"^\| builds on \|.*$", re.IGNORECASE | re.MULTILINE)
ROW = re.compile(r"^\| \[(\d\d)\].*$", re.MULTILINE)
STOP = re.compile(r"^\*+[^*|\n]*\b(?:first|second) sitting\b.*$", re.IGNORECASE | re.MULTILINE)
SECTION = re.compile(r"^(?=#+ )", re.MULTILINE)
BOX = re.compile(r"<details>\s*<summary>In the paper.*?</details>", re.DOTALL)
UNSEEN = re.compile(rf"<!--.*?-->|\]\([^)]*\)|<[^>]*>|{LINKS.pattern}", re.DOTALL | re.MULTILINE)
UNREAD = re.compile(r"\s*(import .*|from .* import .*)?")


def words(text):
    """How many words of a Markdown text a reader sees, those of formulas among them."""
    return sum(bool(re.search(r"\w", word)) for word in UNSEEN.sub(" ", text).split())


def counted(notebook):
    """What each sitting holds, and what all optional parts hold: a list of Counters and a Counter, as in PER_MINUTE."""
    sittings, optional, exercising, skipping = [Counter()], Counter(), False, 0
    for cell in notebook.cells:
        if cell.cell_type == "code" and not exercising and cell.id != CELL:
            here = optional if skipping else sittings[-1]
            here["lines"] += sum(not UNREAD.fullmatch(line) for line in cell.source.splitlines())
            here["figures"] += any("image/png" in output.get("data", {}) for output in cell.outputs)
        elif cell.cell_type == "markdown" and "instructor" not in notebooks.tags(cell):
            for number, sitting in enumerate(STOP.split(cell.source)):
                sittings += [Counter()] if number else []
                for text in SECTION.split(sitting):
                    level, _, heading = text.partition("\n")[0].partition(" ")
                    if level.strip("#") == "" != level:
                        exercising = heading != "Quiz" and (exercising or bool(re.match(r"Exercises?( \d|$)", heading)))
                        still = len(level) > skipping > 0
                        skipping = skipping if still else len(level) * heading.endswith("(optional)")
                    if exercising:
                        sittings[-1]["exercises"] += sum(map(int, re.findall(r"(\d+) minutes\)$", heading)))
                        continue
                    (optional if skipping else sittings[-1])["words"] += words(BOX.sub("", text))
                    optional["words"] += sum(map(words, BOX.findall(text)))
    return sittings, optional


def minutes(counts, exercises=True):
    """The minutes that counts stand for, with or without the exercises."""
    return sum(counts[what] / rate for what, rate in PER_MINUTE.items() if exercises or what != "exercises")


def times(notebook):
    """Minutes of the lab, of each sitting without exercises, of the exercises, of optional parts if over 2."""
    sittings, optional = counted(notebook)
    reading = [5 * round(minutes(one, exercises=False) / 5) for one in sittings]
    exercises, more = sum(one["exercises"] for one in sittings), round(minutes(optional))
    return 5 * round(sum(map(minutes, sittings)) / 5), reading, exercises, more * (more > 2)


def with_minutes(notebook):
    """The notebook with its minutes on the title card."""
    total, reading, exercises, optional = times(notebook)
    said = f"about {total} minutes, {exercises} of them for the exercises"
    if len(reading) > 1:
        parts = f"{', '.join(map(str, reading[:-1]))} and {reading[-1]}"
        said = f"about {total} minutes: three sittings of {parts} (stops are marked), and {exercises} for the exercises"
    said += f"; {optional} more for what is optional" * bool(optional)
    card = notebook.cells[0]
    card.source = CARD.sub(lambda row: f"| {row[1]} | {said}{row[2] or ''} |", card.source, count=1)
    return notebook


def plan(text):
    """The term plan with each lab's row written again, from its text and its title card."""

    def row(found):
        path = notebooks.find_lab(found[1])
        notebook = notebooks.read(path)
        total, reading, exercises, optional = times(notebook)
        needs = ", ".join(re.findall(r"\((\d\d)_", NEEDS.search(notebook.cells[0].source)[0]))
        sittings = " + ".join(map(str, reading))
        linked = f"[{found[1]}](../notebooks/{path.name})"
        return f"| {linked} | {total} | {sittings} | {exercises} | {optional or '–'} | {needs or '–'} |"

    return ROW.sub(row, text)


def table():
    """The counts of every lab, a line for each: the whole, its sittings, what is optional."""
    yield "words, lines of code, figures, minutes of exercises: minutes"
    for path in notebooks.labs():
        sittings, optional = counted(notebooks.read(path))
        parts = {path.stem: sum(sittings, Counter())} | {f"   sitting {n}": one for n, one in enumerate(sittings, 1)}
        for name, one in (parts | {"   optional": optional}).items():
            yield f"{name:36}" + "".join(f"{one[what]:6}" for what in PER_MINUTE) + f"{minutes(one):8.0f}"


def write():
    """Write the minutes to every title card and to the term plan; the paths of the files that have changed."""
    texts = {path: notebooks.canonical(with_minutes(notebooks.read(path))) for path in notebooks.labs()}
    texts[PLAN] = plan(PLAN.read_text(encoding="utf-8"))
    changed = {path: text for path, text in texts.items() if text != path.read_text(encoding="utf-8")}
    for path, text in changed.items():
        write_whole(path, text)
    return list(changed)
