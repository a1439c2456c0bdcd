"""The labs' first cell and their links: the same in all, and what pyproject.toml says."""

import pytest

from course import notebooks
from tools import anywhere

LABS = notebooks.labs()


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_every_lab_has_the_cell_and_the_links(path):
    """As `python -m tools anywhere` writes them: it would change nothing."""
    text = path.read_text(encoding="utf-8")
    assert notebooks.canonical(anywhere.with_way(notebooks.read(path), path.name)) == text
    code = [cell for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    assert code[0].source == anywhere.source() and code[0].id == anywhere.CELL and not code[0].outputs
    assert len(code[0].source.splitlines()) <= 7


def test_readme_has_the_links_of_the_first_lab():
    readme = anywhere.ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert anywhere.links(LABS[0].name) in text and anywhere.written()[readme] == text


def test_writing_twice_changes_nothing_and_a_new_address_reaches_everything(monkeypatch):
    path = LABS[4]
    once = notebooks.canonical(anywhere.with_way(notebooks.read(path), path.name))
    monkeypatch.setattr(anywhere, "address", lambda: "https://github.com/ada/labs")
    moved = anywhere.with_way(notebooks.read(path), path.name)
    assert f"/github/ada/labs/blob/main/notebooks/{path.name})" in moved.cells[0].source
    assert "https://github.com/ada/labs -b v" in next(cell for cell in moved.cells if cell.id == anywhere.CELL).source
    monkeypatch.undo()
    assert notebooks.canonical(anywhere.with_way(moved, path.name)) == once
