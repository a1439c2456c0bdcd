"""Every conclusion of a lab points to what carries it: <!-- claim: start of a statement --> or <!-- source: ... -->.

The marks are comments, which no reader sees. Conclusions are bold sentences, items of a summary, answers of a quiz and
rows of a table of verdicts. Terms in bold (at most three words) and questions need no mark.
"""

import re

import nbformat
import pytest
from nbformat import v4

from course.notebooks import labs, read
from tools.breaks import breaks_of, claims_of

MARK = re.compile(r"<!--\s*(claim|source):\s*(.*?)\s*-->", re.S)
BOLD = re.compile(r"\*\*(?=\S)(.+?)\*\*(?!:)", re.S)  # what a colon follows leads in, and concludes nothing
MOST_WORDS_OF_A_TERM = 3
MARKED = [path for path in labs() if breaks_of(path.stem[:2])]


def passages(source):
    """The parts of a Markdown cell that need a mark of their own if they draw a conclusion.

    Yields (kind, text): items of a summary, rows of a table of verdicts, folded answers of a quiz; else paragraphs.
    """
    heading = "\n".join(re.findall(r"^#+ (.*)$", source, re.M))
    if re.search(r"quiz", heading, re.I):
        yield from (("answer", text) for text in re.findall(r"<details>.*?</details>", source, re.S))
        return
    summary = re.search("summary", heading, re.I)
    verdict = re.search(r"verdict|what was found|thesis expects", source, re.I)
    for paragraph in re.split(r"\n\s*\n", source):
        lines = paragraph.splitlines()
        if summary and re.match(r"1\. ", paragraph):
            yield from (("summary", item) for item in re.split(r"\n(?=\d+\. )", paragraph))
        elif verdict and len(lines) > 2 and re.match(r"\|[ :|-]+\|$", lines[1]):
            yield from (("verdict", row) for row in lines[2:])
        elif lines and not lines[0].startswith("#"):
            yield from (("paragraph", part) for part in re.split(r"\n(?=[-*] |\d+\. |\|)", paragraph))


def concludes(kind, text):
    """Whether a passage draws a conclusion."""
    if kind != "paragraph":
        return True
    bold = [span.strip() for span in BOLD.findall(text)]
    return any(len(span.split()) > MOST_WORDS_OF_A_TERM and not span.endswith(("?", ":")) for span in bold)


def faults(notebook, claims):
    """Conclusions without a mark, and marks that lead nowhere, in words. The title card and the exercises draw none."""
    found = []
    exercises = False
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "markdown":
            continue
        if re.search(r"^## .*Exercises", cell.source, re.M | re.I):
            exercises = True
        elif re.match(r"## ", cell.source) and not re.match(r"##+ (Exercise )?\d", cell.source):
            exercises = False
        for kind, text in MARK.findall(cell.source):
            if not text or (kind == "claim" and not any(statement.startswith(text) for statement in claims)):
                found.append(f"cell {number}: the mark {kind}: {text!r} leads nowhere")
        if number == 0 or exercises or "instructor" in cell.metadata.get("tags", ()):
            continue
        for kind, text in passages(cell.source):
            if concludes(kind, text) and not MARK.search(text):
                found.append(f"cell {number}: {kind} without a mark: {' '.join(text.split())[:90]}")
    return found


@pytest.mark.parametrize("path", MARKED, ids=[path.stem for path in MARKED])
def test_conclusions_are_marked(path):
    assert faults(read(path), claims_of(path)) == []


PARTS = {
    "plain": ("A network has **weights**, and **three small words** are a term.", 0),
    "bold": ("The table shows it: **the second loss is never the better one.**", 1),
    "marked bold": ("**The second loss is never the better one.** <!-- claim: The second -->", 0),
    "source": ("**Adam divides by the root of a mean.** <!-- source: Kingma and Ba 2015, Algorithm 1 -->", 0),
    "stale mark": ("**The second loss is never the better one.** <!-- claim: The third -->", 1),
    "empty mark": ("**The second loss is never the better one.** <!-- source: -->", 1),
    "summary": (
        "## Summary\n\n1. One thing. <!-- claim: The second -->\n2. Another thing.\n\n## Reading\n\n- A book",
        1,
    ),
    "quiz": ("## Quiz\n\n**1. Is it so that four words ask?**\n<details><summary>Answer</summary>No.</details>", 1),
    "verdict": (
        "## The verdict\n\n| says | verdict |\n|---|---|\n| this | yes <!-- claim: The second --> |\n| that | no |",
        1,
    ),
    "lead-in": ("**Look down each column**: what do you see?", 0),
    "question": ("**Which of the four losses wins here?**", 0),
    "exercise": ("## Exercises\n\n**The likely mistake is a sum here.**", 0),
}


@pytest.mark.parametrize(("text", "expected"), PARTS.values(), ids=PARTS)
def test_what_lacks_a_mark_is_found(text, expected):
    notebook = v4.new_notebook(
        cells=[v4.new_markdown_cell("# Title **with many bold words here**"), v4.new_markdown_cell(text)]
    )
    nbformat.validate(notebook)
    assert len(faults(notebook, ["The second loss minus the first, accuracy"])) == expected
