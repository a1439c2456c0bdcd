"""A lab as a page: solutions folded, instructors' cells left out, pictures with their words, hands, finished bars."""

import base64
import html
import json
import re

import nbformat

from course.notebooks import read, tags
from course.student import HIDDEN, MARKER, SOLUTION, STUB, student_version
from experiments.records import write_whole

BAR = re.compile(r"^(?P<before>.*?)\d+%\|.*?\| \d+/(?P<all>\d+) \[.*\]$", re.DOTALL)
FOLDED = """[Solve it in your own copy](#solve) and let the check below it say what is wrong.

<details class="solution"><summary>A solution</summary>

:::{{container}} no-search
```python
{code}
```
:::

</details>"""
SOLVE = """(solve)=
:::{{admonition}} Where to solve these
:class: solve

`python lab.py open {number}` opens your own copy of this lab in JupyterLab, where each exercise has a check below it
that says *what* is wrong ([setting up](../docs/setup.md) takes two commands and a few minutes). With everything set up,
the <a href="../downloads/student/{name}" download>student's notebook</a> works anywhere.
:::"""
DOWNLOADS = """<p class="downloads"><a href="../downloads/{name}" download>Notebook, executed</a>
<a href="../downloads/student/{name}" download>Student's notebook</a>
<button type="button" class="print">Print, or save as PDF</button></p>"""


def write_lab(lab, folder, extra):
    """Write a lab's page to folder/notebooks, its pictures and both its notebooks to `extra`."""
    notebook = read(lab)
    student = nbformat.writes(student_version(notebook, lab.stem)) + "\n"
    for place, text in (("downloads", lab.read_text(encoding="utf-8")), ("downloads/student", student)):
        write(extra / place / lab.name, text)
    pictures = extra / "pictures"
    pictures.mkdir(exist_ok=True)
    write(folder / "notebooks" / lab.name, nbformat.writes(web_version(notebook, lab, pictures)))


def write(path, content):
    """Write a text or bytes to a file, and its folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def web_version(notebook, lab, pictures):
    """The notebook as the page shows it; its pictures are written to the folder `pictures`."""
    cells = []
    for number, cell in enumerate(notebook.cells):
        if "instructor" in tags(cell):
            continue
        if cell.cell_type == "markdown":
            cells.append(_words(cell, lab, first=not cells))
            continue
        cell.outputs = [shown for part, output in enumerate(cell.outputs)
                        if (shown := _output(output, f"{lab.stem[:2]}-{number}-{part}", pictures))]  # fmt: skip
        if "exercise" in tags(cell):
            stub = nbformat.v4.new_code_cell(SOLUTION.sub(STUB, cell.source))
            solved = re.sub(rf"^[ \t]*{MARKER.pattern}[ \t]*\n?", "", cell.source, flags=re.MULTILINE)
            cells += [stub, nbformat.v4.new_markdown_cell(FOLDED.format(code=solved.rstrip()))]
            continue
        if "check" in tags(cell):
            cell.source, cell.outputs = HIDDEN.sub("", cell.source).rstrip(), []
        cell.metadata = nbformat.from_dict({"tags": ["hide-input"]} if _is_for_later(cell) else {})
        cells.append(cell)
    notebook.cells = cells
    return notebook


def _is_for_later(cell):
    """Whether the page folds the cell: it shows nothing, and slides skip it."""
    return cell.metadata.get("slideshow", {}).get("slide_type") == "skip" and not cell.outputs


def _words(cell, lab, first):
    """A Markdown cell; the first one gets the downloads below its title, the exercises' where they can be solved."""
    if first:
        title, rest = cell.source.split("\n", 1)
        cell.source = f"{title}\n\n{DOWNLOADS.format(name=lab.name)}\n{rest}"
    where = SOLVE.format(number=lab.stem[:2], name=lab.name)
    cell.source = re.sub(r"^## Exercises.*$", lambda found: f"{found[0]}\n\n{where}", cell.source, flags=re.MULTILINE)
    cell.metadata = nbformat.from_dict({})
    return cell


def _output(output, name, pictures):
    """An output as the page shows it, or None."""
    data = output.get("data", {})
    if "image/png" in data:
        write_whole(pictures / f"{name}.png", base64.b64decode(data["image/png"]))
        return _as_html(picture(pictures / f"{name}.png", output.metadata, "../pictures"))
    if data.get("text/html", "").startswith("<details><summary>Figure in words"):
        return None  # the picture has these words as its alternative text
    if set(data) == {"text/plain"} and (bar := BAR.match(data["text/plain"])):
        total, before = bar["all"], re.sub(r"\d+/(\d+)(: *)$", r"\1/\1\2", bar["before"])
        return nbformat.v4.new_output("stream", text=f"{before}100%|{'█' * 10}| {total}/{total}\n")
    return output


def _as_html(text):
    return nbformat.v4.new_output("display_data", {"text/html": text})


def picture(path, metadata, folder):
    """A PNG on a page, in HTML: with its words, and alive where it is the still picture of a hand.

    metadata: of the output: image/png: {alt, width}; labkit: {hand, state}. folder: where the page finds pictures.
    """
    head = path.read_bytes()[16:24]
    size = [int.from_bytes(head[at : at + 4], "big") for at in (0, 4)]
    noted = metadata["image/png"]
    height = round(size[1] * noted["width"] / size[0])
    image = (
        f'<img class="figure" src="{folder}/{path.name}" alt="{html.escape(noted["alt"])}" '
        f'width="{noted["width"]}" height="{height}" loading="lazy">'
    )
    if not (hand := metadata.get("labkit")):
        return image
    state = html.escape(json.dumps(hand["state"]))
    return f'<div class="hand-place" data-hand="{hand["hand"]}" data-state="{state}">{image}</div>'


def first_hand(notebook, path, folder):
    """The first hand of a notebook as `picture` gives it, its PNG written to `path`; "" where there is none."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "labkit" in output.get("metadata", {}):
                write(path, base64.b64decode(output.data["image/png"]))
                return picture(path, output.metadata, folder)
    return ""
