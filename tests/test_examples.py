"""The examples in docstrings give what they say."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [*sorted((ROOT / "labkit").rglob("*.py")), ROOT / "course" / "notebook_help.py"]
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an example may write a file
    assert doctest.testmod(importlib.import_module(name)).failed == 0


# What labs never call: readers of official files, and what large runs alone need. Results and what an argument must be
# have their example where a function returns or takes them.
INNER = ("labkit/data/sources/", "labkit/training/device.py", "labkit/training/resume.py", "labkit/training/sharded.py")
ELSEWHERE = {"RangeAccuracy", "Scatter", "TripletCounts", "Step", "Penalty"}


def public(nodes):
    return [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]


def faults(source):
    """Public functions and classes without an example, and public signatures that are not annotated."""
    found = []
    for node in public(ast.parse(source).body):
        if node.name not in ELSEWHERE and ">>> " not in (ast.get_docstring(node) or ""):
            found.append(f"{node.name} has no example")
        within = [node] if isinstance(node, ast.FunctionDef) else public(node.body)
        for each in within:
            arguments = [*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs]
            bare = [one.arg for one in arguments if one.annotation is None and one.arg not in ("self", "cls")]
            if bare or each.returns is None:
                found.append(f"{each.name} lacks annotations: {', '.join(bare) or 'of what it returns'}")
    return found


@pytest.mark.parametrize("path", [path for path in FILES if ROOT / "labkit" in path.parents], ids=str)
def test_public_names_have_an_example_and_annotated_signatures(path):
    inner = path.relative_to(ROOT).as_posix().startswith(INNER)
    assert [one for one in faults(path.read_text(encoding="utf-8")) if not (inner and "example" in one)] == []


def test_a_name_without_example_or_annotation_is_found():
    source = 'def f(x: int, y) -> int: ...\nclass C:\n    """>>> C()"""\n    def g(self, x: int): ...\n'
    found = ["f has no example", "f lacks annotations: y", "g lacks annotations: of what it returns"]
    assert faults(source + "def _h(x): ...\n") == found
