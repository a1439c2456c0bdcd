"""The words of labs, pages and messages: spelling by codespell, and those rules of style that a machine can hold.

A rule is here only if it raises no false alarm in the whole course. Whether each sentence has an actor, and each cell
one idea, only a reader can tell.
"""

import ast
import re

import pytest
from codespell_lib import main as codespell

from course.notebooks import ROOT, labs, read

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "data" / "README.md", ROOT / "experiments" / "README.md"]
PYTHON = [
    ROOT / "lab.py",
    *(path for part in ("course", "experiments", "labkit") for path in (ROOT / part).rglob("*.py")),
]
MANY = (
    "once|(?:coordinate|epoch|example|figure|image|kernel|line|minute|multiplication|network|number|operation|picture|"
    "pixel|point|row|run|sample|second|seed|step|table|unit|value|weight|word)s|(?:one|two|three|ten|a) "
    "(?:coordinate|file|line|minute|number|row|table|value)"
)
ONE = (
    "batch|cell|class|dataset|epoch|figure|image|lab|layer|line|network|picture|pixel|row|run|seed|slide|step|student|"
    "weight"
)
RULES = {
    "what is, not where it stands": r"\b[Ww]hat (?:is|was|may be) \w+ stands\b",
    "per, not a": rf"\b(?:{MANY}) an? (?:{ONE})\b(?! (?:can|has|is|may|must|should|will|\w+s)\b)",
    "instead of": r"\b[Ii]n place of\b",
    "is not a": r"(?<![Tt]here )\b(?:is|are|was|were) no (?!(?:less|longer|more)\b|\w+(?:er|se)\b)\w+",
    "corrected": r"\bput right\b",
    "published, or in the paper": r"\b(?:is|are|was|were|stands?|as) in print\b",
    "similar ones": r"\bthe like\b",
    "forever": r"\bfor ever\b",
    "subject before verb": r"\b(?:Why|That), the \w+ \w+\.|\bTuned was\b",
    "should, will or must": r"\b[Ss]hall\b",
    "cluster": r"\b[Hh]eaps?\b",
    "authors, not the number of a paper": r"\b[Pp]apers? 00\d\b",
}
KNOWN = {
    "experiments/": {"authors, not the number of a paper"},  # the tables' titles, which the labs' outputs show
    "experiments/definitions.py": {"per, not a", "instead of"},  # as above
    "experiments/report.py": {"is not a"},  # as above
    "docs/tables.md": {"authors, not the number of a paper"},  # it says whose the numbers in the titles are
    "labkit/figures/lab05.py": {"cluster"},  # lab 05's outputs show it
    "02_initialization b71b1511": {"forever"},
    "02_initialization 5442abd0": {"forever"},
    "03_optimizers b3139c55": {"published, or in the paper"},
    "03_optimizers 091f2d5d": {"forever"},
    "03_optimizers 3f8c98c1": {"forever"},
}
"""{where a text begins: rules that it may break}."""
NOT_PROSE = (
    r"<!--.*?-->",
    r"```.*?```",
    r"`[^`\n]*`",
    r"\$\$.*?\$\$",
    r"\$[^$\n]*\$",
    r"\]\([^)]*\)",
    r"<code>.*?</code>",
)
NOT_PROSE = re.compile("|".join(NOT_PROSE), re.DOTALL)


def faults(text, allowed=()):
    """The rules that a text breaks outside of its code and formulas, each with the words that break it."""
    text = NOT_PROSE.sub("‥", text)
    found = [(rule, at) for rule, pattern in RULES.items() for at in re.finditer(pattern, text)]
    return [f"{rule}: {at[0]!r}" for rule, at in found if rule not in allowed]


def strings(source):
    """(line, text) of each string in a Python text that is more than a name."""
    constants = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return [(node.lineno, node.value) for node in constants if isinstance(node.value, str) and " " in node.value]


def cells(path):
    """{id: what a reader reads of a cell}: its Markdown, or the strings of its code."""
    notebook = read(path)
    markdown = {cell.id: cell.source for cell in notebook.cells if cell.cell_type == "markdown"}
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return markdown | {cell.id: "\n".join(text for _, text in strings(cell.source)) for cell in code}


def allowed(name):
    """The rules that a file may break."""
    return {rule for begin, rules in KNOWN.items() if name.startswith(begin) for rule in rules}


@pytest.mark.parametrize("path", labs(), ids=lambda path: path.stem)
def test_labs_keep_the_rules(path):
    found = {f"cell {name}": faults(text, allowed(f"{path.stem} {name}")) for name, text in cells(path).items()}
    assert len(found) > 50 and not {name: broken for name, broken in found.items() if broken}


def test_pages_and_messages_keep_the_rules():
    found = []
    for path in [*PAGES, *PYTHON]:
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        for line, words in [(1, text)] if path.suffix == ".md" else strings(text):
            found += [f"{name}:{line}: {fault}" for fault in faults(words, allowed(name))]
    assert not found


def test_spelling(tmp_path, capsys):
    """codespell finds nothing; the course's own words are in pyproject.toml."""
    for path in labs():
        (tmp_path / f"{path.stem}.txt").write_text("\n\n".join(cells(path).values()), encoding="utf-8")
    wrong = codespell(*(["--toml", str(ROOT / "pyproject.toml")]), *map(str, [tmp_path, *PAGES, *PYTHON]))
    assert not wrong, capsys.readouterr().out


def test_a_wrong_spelling_is_found(tmp_path, capsys):
    (tmp_path / "lab.txt").write_text("A seperate cell.", encoding="utf-8")
    assert codespell(str(tmp_path)) and "separate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("What was measured stands in brackets.", "what is, not where it stands"),
        ("## Two numbers a picture: a first try", "per, not a"),
        ("The sums are made once a row.", "per, not a"),
        ("It writes one row a student.", "per, not a"),
        ("Take the median in place of the mean.", "instead of"),
        ("A small loss is no proof.", "is not a"),
        ("The formula was put right.", "corrected"),
        ("Four recipes for that are in print.", "published, or in the paper"),
        ("Figures 2 and 3 show the like.", "similar ones"),
        ("It grows for ever.", "forever"),
        ("Why, the Hessian tells.", "subject before verb"),
        ("Tuned was the learning rate.", "subject before verb"),
        ("It says what the distance shall be.", "should, will or must"),
        ("Each class is a round heap.", "cluster"),
        ("Paper 004 has it right.", "authors, not the number of a paper"),
    ],
)
def test_each_rule_finds_what_it_is_for(text, rule):
    assert [fault.split(":")[0] for fault in faults(text)] == [rule]


def test_rules_pass_what_is_right():
    right = (
        "A column times a row. The convolution sees a picture; the table has a row for each point. There is no limit "
        "to the numbers a network should start with, and the net is no worse, no less than the mean. "
        "`in place of` $heap$ <!-- claim: shall -->"
    )
    assert not faults(right)
