"""The pages beside the labs: start page, the papers' tables as measured, labkit's modules, the repository's own."""

import re
import shutil
from pathlib import Path

from course.notebooks import ROOT, find_lab, labs, read
from course.site.lab_page import first_hand, write
from experiments import report, store
from experiments.definitions import TABLES
from labkit.figures.hands import FOLDER, source

HAND_ON_START = "04"
ABOUT_TABLES = {"docs/tables.md": "How, and on a cluster", "experiments/README.md": "What a record holds"}
ABOUT_USE = (
    "docs/setup.md",
    "docs/teaching.md",
    "docs/term-plan.md",
    "data/README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
)
FILES = ("LICENSE", "docs/embedding.png")
TO_CODE = re.compile(r"\[([^\]]+)\]\((?:\.\./)?(labkit/[\w/]+)(?:\.py)?\)")
START = """
{hand}

*Drag the anchor, the positive, the negative: this is a figure of [lab {number}](notebooks/{name}).*

"""
MEASURED = """# The tables, as measured

What `labkit report` says about each table of the papers that was measured here, with the published figures beside it.
[How this was done, and how to repeat it](tables.md).
"""


def write_pages(folder, extra):
    """Write all pages but the labs to `folder`, what they need as it is to `extra`."""
    for name in (*ABOUT_TABLES, *ABOUT_USE):
        write(folder / name, _to_api((ROOT / name).read_text(encoding="utf-8")))
    for name in FILES:
        write(folder / name, (ROOT / name).read_bytes())
    for hand in sorted(FOLDER.glob("*.js")):
        if hand.stem != "common":
            write(extra / "hands" / hand.name, script(hand.stem))
    write(folder / "docs" / "measured.md", measured(extra))
    modules = api(folder / "api")
    write(folder / "index.md", start_page(extra, modules))


def script(module):
    """A hand's module as a plain script, which pages opened as files may load too: it joins window.hands."""
    code = re.sub(r"^export (?=function|const|class)", "", source(module), flags=re.MULTILINE)
    code = re.sub(r"^export default", "return", code, flags=re.MULTILINE)
    return f'window.hands = {{ ...window.hands, {module}: (() => {{ "use strict";\n{code}\n}})() }};\n'


def start_page(extra, modules):
    """README, with a hand above its first heading of second rank, and the whole course in the margin."""
    text = _to_api((ROOT / "README.md").read_text(encoding="utf-8"))
    lab = find_lab(HAND_ON_START)
    hand = first_hand(read(lab), extra / "pictures" / "start.png", "pictures")
    words = START.format(hand=hand, number=HAND_ON_START, name=lab.name)
    text = re.sub(r"^(?=## )", lambda _: words, text, count=1, flags=re.MULTILINE)
    chapters = {
        "The labs": [f"notebooks/{lab.stem}" for lab in labs()],
        "The papers' tables": ["docs/measured", *(f"{title} <{page}>" for page, title in ABOUT_TABLES.items())],
        "Using the course": ABOUT_USE,
        "labkit, module by module": modules,
    }
    for caption, pages in chapters.items():
        listed = "\n".join(page.replace(".md", "") for page in pages)
        text += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"
    return text


def _to_api(text):
    """Links to files of labkit become links to what their docstrings say."""
    return TO_CODE.sub(lambda link: f"{{py:mod}}`{link[1]} <{link[2].strip('/').replace('/', '.')}>`", text)


def measured(extra):
    """The page with every table that has records: the table, its notes, where its records are."""
    text, texts = MEASURED, {lab: lab.read_text(encoding="utf-8") for lab in labs()}
    for name, table in TABLES.items():
        size = report.measured_size(name)
        found = [result for result in report.results(name, size) if result.values]
        if not found:
            continue
        title = table.title[0].upper() + table.title[1:]
        kept = dict.fromkeys(table.first if result.edition == 1 else table.file(name) for result in found)
        files = [shutil.copy(store.path_of(one, size), extra / "downloads") for one in kept]
        links = [f'<a href="../downloads/{Path(file).name}" download>{Path(file).name}</a>' for file in files]
        text += f"\n## {title}\n\nThe records of every run: {', '.join(links)}"
        using = [lab for lab, notebook in texts.items() if f'\\"{name}\\"' in notebook]
        meaning = ", ".join(f"[lab {lab.stem[:2]}](../notebooks/{lab.name})" for lab in using)
        text += f"; what they mean: {meaning}\n" if using else "\n"
        for result in found:
            text += f"\n{report.markdown(result)}\n"
    return text


def api(folder):
    """A page for each module and package of labkit; returns their names, for the list of contents."""
    pages = {}
    for path in sorted((ROOT / "labkit").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__main__" or parts == ("labkit", "__init__"):
            continue
        module = ".".join(parts).removesuffix(".__init__")
        pages.setdefault(".".join(parts[:2]), []).append((module, parts[-1] != "__init__"))
    for page, modules in pages.items():
        text = f"{page}\n{'=' * len(page)}\n"
        for module, has_members in sorted(modules):
            below = "" if module == page else f"\n{module}\n{'-' * len(module)}\n"
            text += f"{below}\n.. automodule:: {module}\n" + ("   :members:\n" if has_members else "")
        write(folder / f"{page}.rst", text)
    return [f"api/{page}" for page in pages]
