"""course.handout: what students get runs on its own, and holds no solution and no reference answer that can be read."""

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from course import handout
from course.notebooks import ROOT, labs, read, tags
from course.student import SOLUTION

ANSWER_OF_THE_LIBRARY = {"06": "labkit/embeddings.py"}  # lab 06 asks for what labkit itself is built with


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A hand-out of all labs: the folder and the zip."""
    return handout.write(labs(), tmp_path_factory.mktemp("out") / "course")


def squeezed(text):
    return re.sub(r"\s+", "", text)


def text_of(path):
    if path.suffix == ".ipynb":
        return "\n".join(cell.source for cell in read(path).cells)
    return path.read_text(encoding="utf-8")


def solutions():
    """(lab's number, the solution without blanks) of every exercise."""
    for path in labs():
        for cell in read(path).cells:
            if "exercise" in tags(cell):
                lines = "\n".join(match.group() for match in SOLUTION.finditer(cell.source)).splitlines()
                yield path.stem[:2], squeezed("".join(line for line in lines if "###" not in line))


def references():
    """The body of every function in the files of the checks, without blanks; short ones say nothing."""
    for file in sorted((ROOT / "course" / "exercises").glob("lab[0-9][0-9].py")):
        source = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                body = squeezed("\n".join(ast.get_source_segment(source, line) for line in node.body))
                if len(body) > 40:
                    yield file.stem, body


def test_no_file_of_the_folder_or_the_zip_holds_a_solution_or_a_reference_answer(made):
    folder, archive = made
    files = [path for path in folder.rglob("*") if path.is_file()]
    texts = {path.relative_to(folder).as_posix(): squeezed(text_of(path)) for path in files}
    found = {(lab, name) for lab, text in solutions() for name, content in texts.items() if text in content}
    assert found <= set(ANSWER_OF_THE_LIBRARY.items())
    # What labkit is built with, and what a lab itself shows, is taught; the checks give away nothing beyond it.
    rest = {name: content for name, content in texts.items() if not name.startswith(("labkit/", "notebooks/"))}
    assert [(lab, name) for lab, text in references() for name, content in rest.items() if text in content] == []
    assert not any("BEGINSOLUTION" in content for name, content in texts.items() if name.endswith(".ipynb"))
    with zipfile.ZipFile(archive) as packed:
        zipped = {name.removeprefix("course/"): packed.read(name) for name in packed.namelist()}
    assert zipped == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_search_for_solutions_finds_one(made):
    """The search above is worth something: it finds the same texts in the course itself."""
    text = squeezed(text_of(ROOT / "course" / "exercises" / "lab04.py"))
    assert any(body in text for lab, body in references() if lab == "lab04")
    lab = next(path for path in labs() if path.stem.startswith("04"))
    found = [text in squeezed(text_of(lab)) for number, text in solutions() if number == "04"]
    assert len(found) >= 4 and all(found)


def run(folder, code):
    """Run Python code as a student would, with this environment's packages and the hand-out's own modules."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_checks_run_from_the_folder_and_know_right_from_wrong(made):
    cells = {cell.id: cell for cell in read(labs()[0]).cells}
    [check, *_] = [cell.source for cell in cells.values() if "check" in tags(cell)]
    [answer, *_] = [cell.source for cell in cells.values() if "exercise" in tags(cell)]
    answers = [answer, SOLUTION.sub(r"\1raise NotImplementedError", answer), SOLUTION.sub(r"\1return a", answer)]
    code = f"""
import course, labkit, torch
assert course.__file__.startswith({str(made[0])!r}) and labkit.__file__.startswith({str(made[0])!r})
for answer in {answers!r}:
    space = {{"torch": torch}}
    exec(answer, space)
    try:
        exec({check!r}, space)
    except AssertionError as error:
        print(str(error).splitlines()[0])
from course.exercises import lab00
print(sorted(name for name in vars(lab00) if not name.startswith("_")))
"""
    right, untouched, wrong, names = run(made[0], code).splitlines()
    assert right.startswith("✓ ") and "not filled in yet" in untouched and wrong.startswith("✗ ")
    used = set(re.findall(r"lab00\.(\w+)", " ".join(cell.source for cell in cells.values())))
    assert set(ast.literal_eval(names)) == used | {"base64", "zlib"}, "no reference answer under its own name"


def test_its_command_line_opens_copies_to_work_on(made, tmp_path):
    code = """
from click.testing import CliRunner
from course import presenting
from course.cli import main
presenting.open_lab = lambda path, **_: print(path)
print(CliRunner().invoke(main, ["open", "4"]).output)
print(CliRunner().invoke(main, ["--help"]).output)
"""
    said = run(made[0], code)
    try:
        assert f"{made[0]}/work/04_siamese_and_triplet.ipynb" in said
        assert "without solutions.\n" in said, "and it does not say where they are"
        assert "  doctor " in said and "  grade " not in said and "  student " not in said
        assert len(list((made[0] / "work").iterdir())) == len(labs())
        with pytest.raises(ValueError, match=r"has been used \(work/00_"):
            handout.write(labs()[:1], made[0])
    finally:
        for path in (made[0] / "work").iterdir():
            path.unlink()
        (made[0] / "work").rmdir()


def test_lab_py_names_the_commands_that_are_there(made):
    done = subprocess.run([sys.executable, made[0] / "lab.py", "--help"], capture_output=True, text=True, check=True)
    assert "python lab.py doctor" in done.stdout and "python lab.py   " in done.stdout
    assert "grade" not in done.stdout and "refresh" not in done.stdout
    readme = (made[0] / "README.md").read_text(encoding="utf-8")
    assert "python lab.py  " in readme and "python lab.py doctor" in readme


def test_one_lab_is_handed_out_without_dead_links_and_the_same_twice(tmp_path):
    lab = next(path for path in labs() if path.stem.startswith("05"))
    folder, archive = handout.write([lab], tmp_path / "lab05")
    assert [path.name for path in (folder / "notebooks").iterdir()] == [lab.name]
    assert [path.name for path in (folder / "course/exercises").glob("lab*.py")] == ["lab05.py"]
    for cell in read(folder / "notebooks" / lab.name).cells:
        for link in handout.LINK.findall(cell.source) if cell.cell_type == "markdown" else ():
            assert (folder / "notebooks" / link).exists(), link
    first = archive.read_bytes()
    assert handout.write([lab], tmp_path / "lab05") == (folder, archive) and archive.read_bytes() == first


def test_only_an_unchanged_hand_out_is_replaced(tmp_path):
    lab = labs()[0]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="is there and is not a hand-out"):
        handout.write([lab], tmp_path / "mine")
    folder, _ = handout.write([lab], tmp_path / "h")
    (folder / "notebooks" / lab.name).write_text("filled in")
    with pytest.raises(ValueError, match=rf"has been used \(notebooks/{lab.name}\)"):
        handout.write([lab], tmp_path / "h")
    assert (folder / "notebooks" / lab.name).read_text() == "filled in"
    for out in (ROOT, ROOT / "notebooks", ROOT / "new"):
        with pytest.raises(ValueError, match="expected a folder outside the course"):
            handout.write([lab], out)


def test_the_manifest_lists_every_file(made):
    folder = Path(made[0])
    known = json.loads((folder / "handout.json").read_text())
    assert set(known) == {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"handout.json"}
