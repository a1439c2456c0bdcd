"""The map, lab → notebook → code → lines: README's table is kept by hand, and all else is counted from it.

A row of that table links the lab's notebook and the files that it teaches; rows called "all" have what all labs share.
A path that ends in / stands for the Python files below it. `python -m tools map` counts the lines again, and writes the
same map into the docstring of labkit/__init__.py.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from experiments.records import write_whole

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(
    r"^\| (?P<lab>\d\d|all) \| (?P<title>.+?) \| (?P<code>.*labkit/.*) \| (?P<lines>[\d,]+) \|$", re.MULTILINE
)
DOCSTRING = '''"""labkit: the small package under the course. Its files, lab by lab:

{rows}

Lines are counted with docstrings; `python -m tools map` counts them again. Nothing is imported here, so that
`import labkit` costs nothing; write `from labkit import data, training`.
"""
'''


@dataclass(frozen=True)
class Row:
    """One row of the map. lab: its number, or "all". paths: of the code, below the root. lines: as written."""

    lab: str
    title: str
    notebook: str | None
    paths: tuple[str, ...]
    lines: int

    def files(self):
        """The Python files behind the paths."""
        for path in self.paths:
            yield from sorted((ROOT / path).rglob("*.py")) if path.endswith("/") else [ROOT / path]

    def counted(self):
        """How many lines the files have now."""
        return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in self.files())


def rows(text):
    """The rows of the map in README's text."""
    found = []
    for one in ROW.finditer(text):
        link = re.match(r"\[(.+?)\]\((.+?)\)", one["title"])
        title, notebook = link.groups() if link else (one["title"], None)
        code = tuple(re.findall(r"\]\(([^)]+)\)", one["code"]))
        found.append(Row(one["lab"], title, notebook, code, int(one["lines"].replace(",", ""))))
    return found


def counted_anew(text):
    """README's text with the lines counted again."""
    counts = iter([row.counted() for row in rows(text)])
    return ROW.sub(lambda row: f"{row[0].rsplit('|', 2)[0]}| {next(counts):,} |", text)


def docstring(text):
    """The text of labkit/__init__.py with README's map."""
    lines = []
    for row in rows(text):
        lines.append(f"{row.lab:3}  {row.title}, {row.lines:,} lines")
        lines.append("     " + " ".join(path.removeprefix("labkit/") for path in row.paths))
    return DOCSTRING.format(rows="\n".join(lines))


def write():
    """Writes what has changed; returns the paths of the two files."""
    readme, package = ROOT / "README.md", ROOT / "labkit" / "__init__.py"
    text = counted_anew(readme.read_text(encoding="utf-8"))
    write_whole(readme, text)
    write_whole(package, docstring(text))
    return readme, package
