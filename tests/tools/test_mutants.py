"""python lab.py mutants: what mutmut is given, what is read from it, what is printed, and with which status it ends."""

import sys

import pytest
from click.testing import CliRunner

from tools import mutants
from tools.__main__ import main

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="mutmut needs fork")


def run(*arguments):
    done = CliRunner().invoke(main, ["mutants", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two modules: the tests of one notice every change, those of the other let some pass."""
    for folder in ("labkit/losses", "tests/labkit/losses"):
        (tmp_path / folder).mkdir(parents=True)
    for package in ("labkit", "labkit/losses"):
        (tmp_path / package / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "labkit/losses/tight.py").write_text("def half(x):\n    return x / 2\n", encoding="utf-8")
    (tmp_path / "labkit/evaluation.py").write_text(
        "def largest(x, y):\n    return x if x > y else y\n\n\ndef never_called(x):\n    return x + 1\n",
        encoding="utf-8",
    )
    (tmp_path / "tests/labkit/losses/test_tight.py").write_text(
        "from labkit.losses.tight import half\n\n\ndef test_half():\n    assert half(4) == 2\n", encoding="utf-8"
    )
    (tmp_path / "tests/labkit/test_evaluation.py").write_text(
        "from labkit.evaluation import largest\n\n\ndef test_largest():\n    assert largest(1, 2) == 2\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(mutants, "CONFTEST", "")  # without torch it is quick
    return tmp_path


@POSIX
def test_what_the_tests_do_not_notice_survives(course):
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    status, text = run("--processes", "2")
    assert status == 1
    # /2 → *2 and → /3 fail. In largest: > → >= makes no difference; never_called is never called.
    lines = [line.split() for line in text.splitlines()]
    assert ["losses/tight", "2", "2", "2", "0", "100.0%"] in lines
    assert ["evaluation", "5", "5", "1", "4", "20.0%"] in lines
    assert ["all", "7", "7", "3", "4", "42.9%"] in lines
    assert "-    return x if x > y else y\n+    return x if x >= y else y" in text
    assert "-    return x + 1\n+    return x - 1" in text and "-    return x / 2" not in text
    assert before == {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}


@POSIX
def test_a_module_alone_a_sample_and_the_goal(course):
    status, text = run("tight", "--sample", "1", "--seed", "3")
    assert status == 0 and "evaluation" not in text
    assert ["losses/tight", "2", "1", "1", "0", "100.0%"] in [line.split() for line in text.splitlines()]
    assert text.endswith("A random sample of at most 1 mutants of each module (seed 3).\n")


@POSIX
def test_tests_that_fail_by_themselves_are_no_kill(course):
    path = course / "tests/labkit/losses/test_tight.py"
    path.write_text(path.read_text(encoding="utf-8") + "    assert False\n", encoding="utf-8")
    status, text = run("tight")
    assert status == 1 and "Error: mutmut could not run" in text and "failed to collect stats" in text
    assert "test_tight.py::test_half FAILED" in text


def test_modules_are_found_by_name(course):
    names = [path.relative_to(course / "labkit").as_posix() for path in mutants.modules()]
    assert names == ["losses/tight.py", "evaluation.py"]
    assert mutants.modules(["tight"]) == mutants.modules(["losses/tight"]) == [course / "labkit/losses/tight.py"]
    assert run("loose") == (1, "Error: module: got loose, expected one of losses/tight, evaluation, ...\n")
    (course / "tests/labkit/losses/test_tight.py").unlink()
    if sys.platform != "win32":
        status, text = run("tight")
        assert status == 1 and "Error: losses/tight has no tests of its own: there is no tests" in text


def test_every_module_that_is_mutated_has_tests():
    for path in mutants.modules():
        assert mutants.tests_of(path).exists(), path.stem


def test_the_share_and_the_goal(monkeypatch):
    path = mutants.ROOT / "labkit" / "embeddings.py"
    monkeypatch.setattr(mutants, "modules", lambda names: [path])
    for survivors, status in ((10, 0), (11, 1)):
        result = mutants.Result("embeddings", 200, 100, {f"mutant{n}": f"diff {n}" for n in range(survivors)})
        monkeypatch.setattr(mutants, "measure", lambda *arguments, result=result: result)
        assert run()[0] == status
        assert mutants.share([result]) == 1 - survivors / 100
    nothing = mutants.Result("losses/empty", 0, 0, {})
    assert mutants.share([nothing]) == 1
    assert list(mutants.table([nothing, result]))[-1].split() == ["all", "200", "100", "89", "11", "89.0%"]


def test_windows_is_told_so(course, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    status, text = run("tight")
    assert status == 1 and text.endswith("Error: mutmut needs fork, which Windows does not have; it runs in WSL\n")
