"""lab.py without a network: what counts as a finished set-up, what is said when something is missing, what is run."""

import builtins
import importlib.util
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from tools.__main__ import main as tools_main

ROOT = Path(__file__).resolve().parents[1]
Version = namedtuple("Version", "major minor micro")


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """lab.py as a module whose root is an empty folder with a requirements.lock, and that installs nothing."""
    shutil.copy(ROOT / "lab.py", tmp_path / "lab.py")
    (tmp_path / "requirements.lock").write_text("torch==1\n", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("lab_under_test", tmp_path / "lab.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "GIGABYTES", 0)
    module.installs = []

    def install(*arguments):
        module.installs.append(arguments)
        site = module.VENV / ("Lib/site-packages" if sys.platform == "win32" else "lib/python3/site-packages")
        (site / f"package{len(module.installs)}-1.dist-info").mkdir(parents=True)
        return True

    monkeypatch.setattr(module, "install", install)
    monkeypatch.setattr("venv.EnvBuilder.create", lambda self, folder: make_venv(module, folder))
    return module


def make_venv(lab, folder):
    (folder / lab.PYTHON.relative_to(lab.VENV)).parent.mkdir(parents=True)  # fails where an old one is left
    lab.PYTHON.write_text("", encoding="utf-8")


def test_set_up_once_then_quick(lab):
    assert not lab.is_ready()
    lab.set_up()
    assert lab.is_ready()
    assert [arguments[0] for arguments in lab.installs] == ["--require-hashes", "--no-deps"]
    lab.set_up()
    assert len(lab.installs) == 2


@pytest.mark.parametrize("harm", ["stamp", "half a stamp", "package", "python", "requirements", "moved"])
def test_a_broken_or_outdated_set_up_is_noticed_and_mended(lab, harm):
    lab.set_up()
    if harm == "stamp":
        lab.STAMP.unlink()
    elif harm == "half a stamp":
        lab.STAMP.write_text('{"wanted": ', encoding="utf-8")
    elif harm == "package":
        shutil.rmtree(next(lab.VENV.rglob("*.dist-info")))
    elif harm == "python":
        lab.PYTHON.unlink()
    elif harm == "requirements":
        lab.LOCK.write_text("torch==2\n", encoding="utf-8")
    elif harm == "moved":
        lab.ROOT = lab.ROOT.parent
    assert not lab.is_ready()
    lab.set_up()
    assert lab.is_ready() and len(lab.installs) == 4


def test_a_package_of_the_users_own_does_not_matter(lab):
    lab.set_up()
    site = next(lab.VENV.rglob("*.dist-info")).parent
    (site / "extra-1.dist-info").mkdir()
    assert lab.is_ready()


def test_a_failed_installation_is_not_taken_for_a_good_one(lab, monkeypatch):
    monkeypatch.setattr(lab, "install", lambda *arguments: False)
    with pytest.raises(SystemExit, match=r"(?s)network.*again"):
        lab.set_up()
    assert not lab.STAMP.exists() and not lab.is_ready()


def test_a_set_up_that_is_cut_short_is_not_taken_for_a_good_one(lab, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lab.set_up()
    assert not lab.is_ready()


def test_python_too_old(lab, monkeypatch):
    monkeypatch.setattr(lab.sys, "version_info", Version(3, 10, 4))
    with pytest.raises(SystemExit, match=r"(?s)Python 3\.10 .*needs 3\.11, 3\.12 or 3\.13"):
        lab.set_up()


def test_python_newer_than_tested_is_said_but_tried(lab, monkeypatch, capsys):
    monkeypatch.setattr(lab.sys, "version_info", Version(3, 15, 0))
    lab.set_up()
    assert "newer" in capsys.readouterr().out and lab.STAMP.exists()


def test_no_venv_module(lab, monkeypatch):
    plain = builtins.__import__

    def without(name, *rest):
        if name == "ensurepip":
            raise ImportError(name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit, match=r"sudo apt install python3\.\d+-venv"):
        lab.set_up()


def test_no_disk(lab, monkeypatch):
    monkeypatch.setattr(lab, "GIGABYTES", 10**9)
    with pytest.raises(SystemExit, match=r"(?s)Make room.*again"):
        lab.set_up()


def test_disk_full_during_the_installation(lab, monkeypatch):
    monkeypatch.setattr(lab, "install", lambda *arguments: False)
    monkeypatch.setattr(lab, "free_gigabytes", lambda: 0.1)
    with pytest.raises(SystemExit, match="disk is full"):
        lab.set_up()


def test_venv_that_cannot_be_made(lab, monkeypatch):
    def busy(self, folder):
        raise PermissionError("in use")

    monkeypatch.setattr("venv.EnvBuilder.create", busy)
    with pytest.raises(SystemExit, match="in use"):
        lab.set_up()


def outdated(lab):
    """A finished set-up with a file of the user's, then other requirements."""
    lab.set_up()
    (lab.VENV / "mine.txt").write_text("mine", encoding="utf-8")
    lab.LOCK.write_text("torch==2\n", encoding="utf-8")


@pytest.mark.parametrize("fault", ["no network", "no environment"])
def test_an_old_set_up_goes_on_when_no_new_one_can_be_made(lab, monkeypatch, capsys, fault):
    outdated(lab)
    if fault == "no network":
        monkeypatch.setattr(lab, "install", lambda *arguments: False)
    else:
        monkeypatch.setattr("venv.EnvBuilder.create", lambda self, folder: make_half(folder))
    lab.set_up()
    assert "Going on with the old set-up" in capsys.readouterr().out
    assert (lab.VENV / "mine.txt").exists() and lab.PYTHON.exists() and not lab.is_ready()
    assert [path.name for path in lab.ROOT.glob(".venv*")] == [".venv"]
    with pytest.raises(SystemExit):
        lab.set_up(go_on=False)
    assert (lab.VENV / "mine.txt").exists()


def make_half(folder):
    folder.mkdir()
    raise OSError("no room")


def test_ctrl_c_brings_the_old_set_up_back(lab, monkeypatch):
    outdated(lab)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lab.set_up()
    assert (lab.VENV / "mine.txt").exists()


def test_an_old_set_up_is_gone_when_the_new_one_works(lab):
    outdated(lab)
    lab.set_up()
    assert lab.is_ready() and not (lab.VENV / "mine.txt").exists()
    assert [path.name for path in lab.ROOT.glob(".venv*")] == [".venv"]


def test_a_kill_in_the_middle_leaves_the_old_set_up_where_the_next_attempt_finds_it(lab, monkeypatch):
    outdated(lab)
    lab.VENV.rename(lab.ROOT / ".venv.old")
    lab.VENV.mkdir()
    monkeypatch.setattr(lab, "install", lambda *arguments: False)
    lab.set_up()
    assert (lab.VENV / "mine.txt").exists()


def test_too_little_room_for_two_is_said_and_deletes_nothing(lab, monkeypatch):
    outdated(lab)
    monkeypatch.setattr(lab, "GIGABYTES", 10**9)
    with pytest.raises(SystemExit, match=r"(?s)beside the old one.*delete the old one yourself"):
        lab.set_up()
    assert (lab.VENV / "mine.txt").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_linked_venv_stays_a_link(lab, tmp_path):
    place = tmp_path / "elsewhere" / "big"
    place.parent.mkdir()
    lab.VENV.symlink_to(place)
    lab.set_up()
    assert lab.is_ready() and lab.VENV.is_symlink() and (place / lab.STAMP.name).exists()
    lab.LOCK.write_text("torch==2\n", encoding="utf-8")
    lab.set_up()
    assert lab.is_ready() and lab.VENV.is_symlink() and [path.name for path in place.parent.iterdir()] == ["big"]


def test_pip_is_the_fallback_for_uv(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("lab_plain", ROOT / "lab.py")
    lab = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lab)
    calls = []

    def call(command):
        calls.append(command)
        return 1 if "uv" in command or str(lab.INSTALLER) in command else 0

    monkeypatch.setattr(lab.subprocess, "call", call)
    assert lab.install("-r", "requirements.txt")
    assert calls[-1][1:3] == ["-m", "pip"] and calls[-1][-2:] == ["-r", "requirements.txt"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [("course", "open")]),
        (["present", "04"], [("course", "present", "04")]),
        (["help"], [("course", "--help")]),
        (["bench", "losses"], [("tools", "bench", "losses")]),
        (["mutants", "--sample", "9"], [("tools", "mutants", "--sample", "9")]),
        (["breaks", "04"], [("tools", "breaks", "04")]),
        (["test", "-k", "claims"], [("pytest", "-k", "claims")]),
    ],
)
def test_commands_are_passed_on(lab, monkeypatch, arguments, expected):
    calls = []
    monkeypatch.setattr(lab, "run", lambda *command, folder=None: calls.append(command) or 0)
    assert lab.main(arguments) == 0
    assert calls == expected


def test_every_tool_is_a_command_of_lab_py(lab):
    assert sorted(lab.TOOLS) == sorted(tools_main.commands)


@pytest.mark.parametrize("failing", ["check", "format", "pytest", None])
def test_any_failing_part_fails_the_test_command(lab, monkeypatch, failing):
    calls = []

    def run(*command, folder=None):
        calls.append(command)
        return 3 if failing in command[:2] else 0

    monkeypatch.setattr(lab, "run", run)
    assert lab.main(["test"]) == (0 if failing is None else 3)
    assert [command[0] for command in calls] == ["ruff", "ruff", "pytest"]


def test_no_file_of_the_folder_is_run(lab, monkeypatch, tmp_path, capfd):
    """Somebody stands in a folder of submissions, or has a random.py of their own."""
    monkeypatch.setattr(lab, "PYTHON", Path(sys.executable))
    monkeypatch.chdir(tmp_path)
    for name in ("click", "random", "course"):
        Path(f"{name}.py").write_text("print('ran a file of the folder')", encoding="utf-8")
    assert lab.run("course", "--version") == 0
    assert "ran a file" not in capfd.readouterr().out


def test_the_exit_status_of_the_program_comes_back(lab, monkeypatch):
    monkeypatch.setattr(lab, "PYTHON", Path(sys.executable))
    assert lab.run("this_module_does_not_exist") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of terminals are another matter there")
def test_ctrl_c_waits_for_the_program_to_end(lab, tmp_path):
    """The program that gets Ctrl-C too ends in its own time; lab.py returns its status instead of dying first."""
    (tmp_path / "slow.py").write_text(
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(0.3)\n"
        "raise SystemExit(7)\n",
        encoding="utf-8",
    )
    code = (
        "import sys; sys.path.insert(0, '.'); import lab, pathlib;"
        "lab.PYTHON = pathlib.Path(sys.executable); sys.exit(lab.run('slow', folder='.'))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 7
