"""The house: which package may import which, what the map in README says, and what README and CONTRIBUTING name."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import click
import names
import pytest

from course.cli import main as course_commands
from tools import map as mapping
from tools import picture
from tools.__main__ import main as tools_commands

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "labkit": {"labkit"},
    "experiments": {"labkit", "experiments"},
    "course": {"labkit", "experiments", "course"},
    "tools": {"labkit", "experiments", "course", "tools"},
}
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(f"docs/{name}.md" for name in ("setup", "tables", "teaching", "term-plan")),
)


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


# -------------------------------------------------------------------------------------------------------------- imports


def against_the_direction(package, source):
    """Packages of the repository that a file of `package` imports, though it must not."""
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module.split(".")[0])
    return sorted((imported & set(MAY_IMPORT)) - MAY_IMPORT[package])


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package):
    files = sorted((ROOT / package).rglob("*.py"))
    wrong = {path.name: against_the_direction(package, path.read_text(encoding="utf-8")) for path in files}
    assert files and not {name: found for name, found in wrong.items() if found}


def test_an_import_against_the_direction_is_found():
    source = (
        "import torch\nfrom labkit import data\n\ndef f():\n    from experiments.store import x\n    import tools.map\n"
    )
    assert against_the_direction("labkit", source) == ["experiments", "tools"]
    assert against_the_direction("experiments", source) == ["tools"]
    assert against_the_direction("tools", source) == []


def test_labkit_without_its_figures_loads_no_plotting_library():
    files = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "labkit").rglob("*.py"))
    files = (path for path in files if "figures" not in path.parts and path.name != "__main__")
    modules = sorted(".".join(path.parts).removesuffix(".__init__") for path in files)
    assert {"labkit", "labkit.data", "labkit.losses", "labkit.training", "labkit.networks"} <= set(modules)
    code = (
        f"import sys, {', '.join(modules)}; print(sorted({{'matplotlib', 'ipywidgets', 'IPython'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# -------------------------------------------------------------------------------------------------------------- the map


def test_every_path_of_the_map_exists_and_the_lines_are_right():
    rows = mapping.rows(page("README.md"))
    assert [row.lab for row in rows] == [f"{lab:02}" for lab in range(10)] + ["all", "all"]
    for row in rows:
        assert row.notebook is None or (ROOT / row.notebook).name.startswith(row.lab)
        assert all((ROOT / path).exists() for path in (*row.paths, *([row.notebook] if row.notebook else [])))
        assert row.lines == pytest.approx(row.counted(), rel=0.1), f"{row.title}: python lab.py map counts again"


def test_every_file_of_labkit_is_on_the_map_once():
    mapped = [path for row in mapping.rows(page("README.md")) for path in row.files()]
    once = {path for path in mapped if path.name != "__init__.py"}
    twice = ROOT / "labkit" / "training" / "loop.py"  # lab 00 reads the loop that all labs train with
    assert len(once) == len([path for path in mapped if path.name != "__init__.py" and path != twice]) + 1
    assert once == {path for path in (ROOT / "labkit").rglob("*.py") if path.name not in ("__init__.py", "__main__.py")}


def test_labkit_has_the_same_map():
    assert (ROOT / "labkit" / "__init__.py").read_text(encoding="utf-8") == mapping.docstring(page("README.md"))


def test_the_lines_are_counted_again(tmp_path, monkeypatch):
    (tmp_path / "labkit" / "a").mkdir(parents=True)
    (tmp_path / "labkit" / "one.py").write_text("x = 1\n" * 3, encoding="utf-8")
    (tmp_path / "labkit" / "a" / "two.py").write_text("x = 1\n" * 1500, encoding="utf-8")
    readme = (
        "# T\n\n| lab | notebook | code | lines |\n|---|---|---|--:|\n"
        "| 01 | [One](notebooks/01_one.ipynb): first | [one](labkit/one.py) | {} |\n"
        "| all | the rest | [one](labkit/one.py), [a](labkit/a/) | {} |\n"
    )
    (tmp_path / "README.md").write_text(readme.format(9, 9), encoding="utf-8")
    monkeypatch.setattr(mapping, "ROOT", tmp_path)
    mapping.write()
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text == readme.format(3, "1,503")
    package = (tmp_path / "labkit" / "__init__.py").read_text(encoding="utf-8")
    assert "\n01   One, 3 lines\n     one.py\nall  the rest, 1,503 lines\n     one.py a/\n" in package
    assert all(row.lines == row.counted() for row in mapping.rows(text))


# ------------------------------------------------------------------------------------------------ README, CONTRIBUTING


def test_readmes_lines_train_an_embedding():
    """The ten lines work as printed, and put test images near those of their class, though they have not seen them."""
    source = picture.lines_of_python(page("README.md"))
    assert len([line for line in source.splitlines() if line.strip()]) <= 10
    left = picture.run(source)
    assert left["embeddings"].shape == (len(left["test"]), 2) and left["embeddings"].isfinite().all()
    score = left["training"].closest(left["train"], left["test"])(left["network"])
    assert score["closest accuracy"] > 0.9


def test_readme_shows_a_picture_and_says_what_is_on_it():
    [(alt, path)] = re.findall(r"!\[([^]]*)\]\(([^)]+)\)", page("README.md"))
    assert len(alt.split()) > 15 and (ROOT / path) == picture.PICTURE
    assert picture.PICTURE.read_bytes().startswith(b"\x89PNG") and picture.PICTURE.stat().st_size < 200_000


def test_readme_is_about_one_screen():
    assert len(page("README.md").splitlines()) <= 75


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page(name)) if not re.match(r"\w+:|#", link)]
    assert not [link for link in links if not ((ROOT / name).parent / link).exists()]


@pytest.mark.parametrize("name", PAGES)
def test_every_name_exists(name):
    assert not names.unknown(page(name))


@pytest.mark.parametrize("name", PAGES)
def test_every_path_in_backticks_exists(name):
    """A path is what has a slash inside and no blank; build/ and work/ are made, TABLE and FILE stand for something."""
    quoted = [text for text in re.findall(r"`([^`\n]+)`", page(name)) if re.fullmatch(r"[\w.]+(/[\w.]*)+", text)]
    assert not [path for path in quoted if not path.startswith(("build/", "work/")) and not (ROOT / path).exists()]


def command_faults(text):
    """Commands of labkit, lab.py and tools in the text that do not exist, or are given an option that they lack."""
    faults = []
    for door, words in re.findall(
        r"(?<![\w/.])(labkit|python lab\.py|python -m tools|-m course)((?: [-\w.,:/*]+)*)", text
    ):
        words = words.split()
        if not words or (door == "labkit" and not re.fullmatch(r"[a-z]+", words[0])):
            continue
        known = {**course_commands.commands, **tools_commands.commands}
        known |= {"test": None, "help": None} if "lab.py" in door else {}
        known = tools_commands.commands if "tools" in door else known
        if words[0] not in known:
            faults.append(f"{door} {words[0]}")
        elif isinstance(known[words[0]], click.Command) and not isinstance(known[words[0]], click.Group):
            options = {option for parameter in known[words[0]].params for option in parameter.opts}
            faults += [f"{door} {words[0]} {word}" for word in words if word.startswith("-") and word not in options]
    return faults


@pytest.mark.parametrize("name", PAGES)
def test_every_command_exists(name):
    code = re.findall(r"`([^`\n]+)`|^    (.*)$", page(name), re.MULTILINE)
    assert not command_faults("\n".join(quoted or indented for quoted, indented in code))


def test_a_command_that_does_not_exist_is_found():
    assert command_faults("python lab.py mutant 04\nlabkit measure circle --jobs 2 --core 3\npython -m tools map") == [
        "python lab.py mutant",
        "labkit measure --core",
    ]
