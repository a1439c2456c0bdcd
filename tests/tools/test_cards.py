"""The minutes on title cards and in the term plan are those that tools.cards counts."""

import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course import notebooks
from tools import cards

LABS = notebooks.labs()


def numbers(text):
    return [int(number) for number in re.findall(r"\d+", text)]


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_the_card_says_what_is_counted(path):
    """To a tenth, and to the five minutes of rounding. `python -m tools cards` writes it anew."""
    notebook = notebooks.read(path)
    sittings, optional = cards.counted(notebook)
    wanted = [sum(map(cards.minutes, sittings)), sum(one["exercises"] for one in sittings)]
    if len(sittings) > 1:
        wanted[1:1] = [cards.minutes(one, exercises=False) for one in sittings]
    wanted += [cards.minutes(optional)] * (round(cards.minutes(optional)) > 2)
    [card] = cards.CARD.finditer(notebook.cells[0].source)
    said = numbers(card[0].removesuffix(f"{card[2] or ''} |"))
    assert len(said) == len(wanted) and said == pytest.approx(wanted, rel=0.1, abs=4)
    assert said[0] == pytest.approx(wanted[0], rel=0.1)


@pytest.mark.parametrize("path", LABS[1:], ids=lambda path: path.stem)
def test_a_lab_has_three_sittings(path):
    sittings, _ = cards.counted(notebooks.read(path))
    assert len(sittings) == 3 and all(cards.minutes(one, exercises=False) > 10 for one in sittings)


def test_the_term_plan_has_every_lab_with_its_minutes():
    text = cards.PLAN.read_text(encoding="utf-8")
    rows, counted = (cards.ROW.finditer(one) for one in (text, cards.plan(text)))
    for said, wanted in zip(rows, counted, strict=True):
        assert said[0].rpartition("|")[0].count("|") == wanted[0].rpartition("|")[0].count("|")
        assert said[0].split("|")[-2] == wanted[0].split("|")[-2]
        assert numbers(said[0].split("|")[2]) == pytest.approx(numbers(wanted[0].split("|")[2]), rel=0.1)
    assert cards.ROW.findall(text) == [path.stem[:2] for path in LABS]


def lab():
    """120 words, 12 lines and a figure in the first sitting; 240 words in the second; 60 optional; 5 + 3 minutes."""
    picture = new_output("display_data", data={"image/png": "iVBORw0KGgo="})
    instructor = {"tags": ["instructor"]}
    cells = [
        new_markdown_cell("# Lab\n\n| time | about 0 minutes; a minute of a CPU's |\n|---|---|\n" + "word " * 110),
        new_markdown_cell("never read " * 50, metadata=instructor),
        new_code_cell("import this\nfrom here import that\n\n" + "x = 1\n" * 12, outputs=[picture]),
        new_markdown_cell("*First sitting ends here.*\n\n## Next\n\n" + "[a](b-c.md) " * 238 + "<!-- claim: d -->"),
        new_markdown_cell("## Aside (optional)\n\n" + "word " * 28 + "\n\n### Still aside\n\n" + "word " * 8),
        new_markdown_cell("## Back\n\n<details><summary>In the paper</summary>" + " word" * 17 + "</details>"),
        new_markdown_cell("*Second sitting ends here.*"),
        new_markdown_cell("## Exercises\n\n### 1 · One (warm-up, 5 minutes)\n\n" + "word " * 99),
        new_code_cell("x = 1\n" * 99, outputs=[picture]),
        new_markdown_cell("### 2 · Two (3 minutes)"),
        new_markdown_cell("### 3 · Open: three (as long as you like)"),
        new_markdown_cell("## Quiz\n\n" + "word " * 59),
    ]
    return new_notebook(cells=cells)


def test_counting():
    sittings, optional = cards.counted(lab())
    first, second, third = (dict(+one) for one in sittings)
    assert first == {"words": 120, "lines": 12, "figures": 1} and second == {"words": 240}
    assert third == {"words": 60, "exercises": 8} and dict(+optional) == {"words": 60}


def test_the_card_is_written_and_keeps_what_it_says_of_the_computer():
    card = cards.with_minutes(lab()).cells[0].source
    wanted = "about 15 minutes: three sittings of 5, 0 and 0 (stops are marked), and 8 for the exercises"
    assert f"| time | {wanted}; a minute of a CPU's |" in card
