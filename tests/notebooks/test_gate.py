"""The gate can fail: nbval goes red for a broken loss, a false claim, another output, a new warning, a dead kernel.

Each pytest here runs in a process of its own on a copy of the project, with its conftest.py, settings and nbval.cfg.
"""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course.notebooks import NOTEBOOKS, read, refresh

ROOT = Path(__file__).resolve().parents[2]
LAB = NOTEBOOKS / "04_siamese_and_triplet.ipynb"
LIMIT = 500  # seconds after which a run that hangs is given up


@pytest.fixture
def project(tmp_path):
    """The project without notebooks and tests."""
    for name in ("pyproject.toml", "conftest.py", "tests/nbval.cfg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


@pytest.fixture
def conftest(request):
    """The module conftest.py of the repository."""
    return request.config.pluginmanager.get_plugin(str(ROOT / "conftest.py"))


def run_pytest(project, *arguments, **environment):
    """Run pytest in a project, as from a terminal; returns the finished process."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", *arguments]
    return subprocess.run(
        command,
        cwd=project,
        env=inherited | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LIMIT,
    )


def verdicts(project, *arguments, **environment):
    """Cell's name -> why it failed, "" where it did not."""
    done = run_pytest(project, "--junitxml=result.xml", *arguments, **environment)
    assert done.returncode in (0, 1), done.stdout + done.stderr  # anything else means that pytest itself went wrong
    cases = ElementTree.parse(project / "result.xml").iter("testcase")
    return {case.get("name"): "".join(failure.text for failure in case.iter("failure")) for case in cases}


CLAIM = "from labkit.claims import claim\n\nclaim('Two is more', {}, at_least=2)"


def test_what_the_course_says_must_be_what_the_code_does(project):
    path = project / "notebooks" / "05_gate.ipynb"
    sources = [CLAIM.format(2), CLAIM.format(2), CLAIM.format(2), "print(1 / 4)", "print('quiet')", "print('alive')"]
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
    refresh(path)
    notebook = read(path)
    _, another, false, changed, warning, dead = notebook.cells
    another.source = CLAIM.format(3.5)
    false.source = CLAIM.format(1.5)
    changed.outputs = [new_output("stream", text="0.26\n")]
    warning.source = "import warnings\nwarnings.warn('new', UserWarning)\n" + warning.source
    dead.source = "import os\nos._exit(1)"
    nbformat.write(notebook, path)

    found = verdicts(project)
    assert found.pop("Cell 0") == ""
    assert found.pop("Cell 1") == "", "another measured value is no failure as long as the claim holds"
    assert "ClaimFailed: Two is more: expected at least 2, measured 1.5" in found.pop("Cell 2")
    assert "0.26" in found["Cell 3"] and "0.25" in found.pop("Cell 3")
    assert "stderr" in found.pop("Cell 4")
    assert "the notebook's kernel died" in found.pop("Cell 5")
    assert not found


def test_a_cell_never_runs_without_those_before_it(project):
    nbformat.write(new_notebook(cells=[new_code_cell("a") for _ in range(4)]), project / "notebooks" / "05_order.ipynb")
    listed = run_pytest(project, "--collect-only", "-q", "notebooks/05_order.ipynb::Cell 2").stdout
    assert [line.partition("::")[2] for line in listed.splitlines() if "::" in line] == ["Cell 0", "Cell 1", "Cell 2"]


def test_the_cells_of_a_notebook_are_not_spread_over_processes(conftest):
    options = {"nbval": True, "dist": "load"}
    with pytest.raises(pytest.UsageError, match="add --dist loadfile"):
        conftest.pytest_configure(SimpleNamespace(getoption=lambda name, _=None: options[name]))


def test_another_nbval_is_noticed(conftest, monkeypatch):
    from nbval.kernel import RunningKernel

    monkeypatch.setattr(RunningKernel, "get_message", lambda self, channel, timeout, block: None)
    with pytest.raises(pytest.UsageError, match=r"conftest.py does not fit nbval 0\..*get_message takes"):
        conftest.notice_dead_kernels()


BREAK = """

_right = TripletLoss.forward
TripletLoss.forward = lambda self, embeddings, labels: -_right(self, embeddings, labels)
"""


@pytest.mark.skipif(not LAB.exists(), reason="lab 04 is not written yet")
def test_a_broken_loss_turns_its_lab_red(project):
    """The same lab on the labkit of the repository is green: nbval runs it in the same session as this test."""
    for folder in ("labkit", "experiments", "course", "data"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__", "cache"))
    shutil.copy(LAB, project / "notebooks")
    triplet = project / "labkit" / "losses" / "triplet.py"
    triplet.write_text(triplet.read_text(encoding="utf-8") + BREAK, encoding="utf-8")
    found = verdicts(project, "-x", PYTHONPATH=str(project))
    failures = {name: text for name, text in found.items() if text}
    assert found["Cell 0"] == "" and len(failures) == 1
    [reason] = failures.values()
    assert "TripletLoss" in reason and ("Cell outputs differ" in reason or "ClaimFailed" in reason)
