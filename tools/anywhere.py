"""The labs' way into the cloud: a first cell and a line of links, the same in all, from the address in pyproject.toml.

`python -m tools anywhere` writes them again; nothing is executed, as the cell does nothing on one's own machine.
"""

import re
import tomllib
from pathlib import Path

from nbformat.v4 import new_code_cell

from course import notebooks
from experiments.records import write_whole

ROOT = Path(__file__).resolve().parents[1]
CELL = "anywhere"
LINKS = re.compile(r"^Open in \[Colab\].*\n\n?", re.MULTILINE)
# os.getenv: whoever reaches for os.environ in a submission is pointed out to the instructor.
SOURCE = """\
import os
import sys

if "google.colab" in sys.modules or os.getenv("KAGGLE_KERNEL_RUN_TYPE"):  # elsewhere: nothing
    source = "{address} -b v{version}"
    get_ipython().system(f"git clone --quiet --depth 1 {{source}} labs")
    get_ipython().run_line_magic("run", "labs/course/cloud.py")"""


def project():
    """What pyproject.toml says of the course."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def address():
    """Where the repository is: https://github.com/OWNER/REPOSITORY."""
    return project()["urls"]["Repository"]


def source():
    """The text of the first cell."""
    return SOURCE.format(address=address(), version=project()["version"])


def links(name):
    """The line that opens a notebook elsewhere."""
    at = address().removeprefix("https://")
    where = at.removeprefix("github.com/")
    return (
        f"Open in [Colab](https://colab.research.google.com/github/{where}/blob/main/notebooks/{name})"
        f" · [Kaggle](https://kaggle.com/kernels/welcome?src=https://{at}/blob/main/notebooks/{name})"
        f" · [Binder](https://mybinder.org/v2/gh/{where}/main?urlpath=lab/tree/notebooks/{name})"
    )


def with_way(notebook, name):
    """The notebook, with the cell before its first code cell and the links below its title."""
    title = notebook.cells[0]
    heading, _, rest = LINKS.sub("", title.source).partition("\n")
    title.source = f"{heading}\n\n{links(name)}\n\n{rest.lstrip()}"
    notebook.cells = [cell for cell in notebook.cells if cell.id != CELL]
    cell = new_code_cell(source(), id=CELL, metadata={"slideshow": {"slide_type": "skip"}})
    first = next(number for number, one in enumerate(notebook.cells) if one.cell_type == "code")
    notebook.cells.insert(first, cell)
    for number, one in enumerate((one for one in notebook.cells if one.cell_type == "code"), 1):
        one.execution_count = number
    return notebook


def written():
    """{path: its text with cell and links} of every lab, and of README."""
    texts = {path: notebooks.canonical(with_way(notebooks.read(path), path.name)) for path in notebooks.labs()}
    readme = ROOT / "README.md"
    first = links(notebooks.labs()[0].name) + "\n\n"
    return texts | {readme: LINKS.sub(lambda found: first, readme.read_text(encoding="utf-8"))}


def write():
    """Write cell and links into every lab, and README's links; the paths of the files that have changed."""
    changed = []
    for path, text in written().items():
        if text != path.read_text(encoding="utf-8"):
            write_whole(path, text)
            changed.append(path)
    return changed
