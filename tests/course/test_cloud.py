"""The first cell of every lab: nothing on one's own machine; on Colab and Kaggle the course, and torch as it was."""

import runpy
import sys
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType, SimpleNamespace

import pytest

from course import notebooks
from tools import anywhere


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A notebook's machine: what the cell did with the shell, and what pip was asked for."""
    here = SimpleNamespace(shell=[], pip=[], kept=[], absent=set(), status=0)

    def call(command):
        here.pip.append(command[command.index("--constraint") + 2 :])
        here.kept.append(open(command[command.index("--constraint") + 1], encoding="utf-8").read().splitlines())
        return here.status

    def found(name):
        if name in here.absent:
            raise PackageNotFoundError(name)
        return version(name)

    def run(magic, path):
        assert magic == "run"
        runpy.run_path(str(notebooks.ROOT / path.removeprefix("labs/")), run_name="__main__")

    shell = SimpleNamespace(system=here.shell.append, run_line_magic=run)
    monkeypatch.setattr("subprocess.call", call)
    monkeypatch.setattr("importlib.metadata.version", found)
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(notebooks.ROOT)])
    monkeypatch.chdir(tmp_path)
    here.run = lambda: exec(compile(anywhere.source(), "cell", "exec"), {"get_ipython": lambda: shell})
    return here


def test_elsewhere_it_does_nothing(machine, capfd):
    before = list(sys.path)
    machine.run()
    assert machine.shell == machine.pip == [] and sys.path == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("place", ["Colab", "Kaggle"])
def test_it_fetches_the_course_and_installs_what_is_missing(machine, monkeypatch, place):
    if place == "Colab":
        monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    else:
        monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    machine.absent = {"umap-learn", "lightning-fabric", "pytorch-metric-learning", "jupyterlab"}
    machine.run()
    [fetched] = machine.shell
    assert fetched == f"git clone --quiet --depth 1 {anywhere.address()} -b v{anywhere.project()['version']} labs"
    [asked] = machine.pip
    pins = (notebooks.ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert set(asked) <= set(pins)
    assert {pin.split("==")[0] for pin in asked} == machine.absent - {"jupyterlab"}
    assert machine.kept == [[f"{name}=={version(name)}" for name in ("torch", "torchvision", "numpy")]]
    assert sys.path[0] == str(notebooks.ROOT)


def test_where_all_is_there_nothing_is_installed(machine, monkeypatch):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    machine.run()
    machine.run()  # once more, as people do
    assert len(machine.shell) == 2 and machine.pip == [] and sys.path.count(str(notebooks.ROOT)) == 1


def test_packages_that_cannot_be_had_are_said(machine, monkeypatch):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    machine.absent, machine.status = {"umap-learn"}, 1
    with pytest.raises(SystemExit, match="on Kaggle, switch on Internet"):
        machine.run()


def test_it_needs_python_alone():
    """It runs before anything is installed."""
    source = (notebooks.ROOT / "course" / "cloud.py").read_text(encoding="utf-8")
    imported = {line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert imported and imported <= set(sys.stdlib_module_names)
