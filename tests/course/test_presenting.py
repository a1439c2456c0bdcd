"""course.presenting: slides made from a notebook, and a server that keeps to itself and leaves nothing behind."""

import ast
import contextlib
import importlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from unittest.mock import MagicMock

import nbformat
import psutil
import pytest
from browser import LIMIT, Server
from IPython.core.interactiveshell import InteractiveShell

from course import presenting
from course.notebooks import labs, read, tags
from labkit.figures.hands import Hand
from labkit.figures.live import Live


def listening(process):
    """The addresses at which a process listens; none if it is gone, as helpers that a server starts soon are."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
    return set()


@pytest.fixture
def notebook(tmp_path):
    """A notebook with every type of slide."""
    cells = [nbformat.v4.new_markdown_cell(f"# {kind}") for kind in SLIDE_TYPES]
    for cell, kind in zip(cells, SLIDE_TYPES, strict=True):
        cell.metadata["slideshow"] = {"slide_type": kind}
    cells += [nbformat.v4.new_code_cell("1 + 1", outputs=[nbformat.v4.new_output("stream", text="kept")])]
    path = tmp_path / "a lab.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


SLIDE_TYPES = ("slide", "subslide", "fragment", "skip", "notes", "-")


def test_slides_are_a_copy_that_leaves_notes_out(notebook, tmp_path):
    before = notebook.read_bytes()
    (tmp_path / "here").mkdir()
    copy = presenting.write_slides(notebook, tmp_path / "here")
    assert notebook.read_bytes() == before
    assert copy.name == notebook.name and copy.is_relative_to(tmp_path / "here")
    old, new = nbformat.read(notebook, 4), nbformat.read(copy, 4)
    assert [(cell.id, cell.source, cell.get("outputs")) for cell in new.cells] == [
        (cell.id, cell.source, cell.get("outputs")) for cell in old.cells
    ]
    kinds = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in new.cells]
    assert kinds == ["slide", "subslide", "fragment", "skip", "skip", None, None]
    assert [cell.source for cell in new.cells if cell.metadata.get("labkit", {}).get("notes")] == ["# notes"]
    settings = tmp_path / "here" / "user_settings"
    written = {path.relative_to(settings).as_posix(): json.loads(path.read_text()) for path in settings.rglob("*.*")}
    assert written["jupyterlab-slideshow/plugin.jupyterlab-settings"] == {"active": True}
    assert written["@jupyterlab/apputils-extension/notification.jupyterlab-settings"]["fetchNews"] == "false"
    assert written["@jupyterlab/notebook-extension/tracker.jupyterlab-settings"] == {"windowingMode": "none"}
    assert new.metadata.kernelspec.name == "slides" and (tmp_path / "here" / "kernels" / "slides").is_dir()


def test_skipped_code_runs_once_before_the_next_cell_and_shows_nothing(tmp_path, capfd):
    sources = ["x = [1]; print('set-up')", "x.append(2)", "x.append(3)", "1 / 0", "x.append(4)"]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    for cell in (cells[0], cells[2], cells[3]):
        cell.metadata["slideshow"] = {"slide_type": "skip"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "lab.ipynb")
    shell = InteractiveShell()
    presenting.run_skipped_code(shell, tmp_path / "lab.ipynb")
    shell.run_cell("'typed into a console'", cell_id=None)
    assert "x" not in shell.user_ns
    shell.run_cell(cells[1].source, cell_id=cells[1].id)
    assert shell.user_ns["x"] == [1, 2]
    shell.run_cell(cells[1].source, cell_id=cells[1].id)
    assert shell.user_ns["x"] == [1, 2, 2]
    assert "set-up" not in capfd.readouterr().out
    shell.run_cell(cells[4].source, cell_id=cells[4].id)
    assert shell.user_ns["x"] == [1, 2, 2, 3, 4]


def test_skipped_code_that_is_run_openly_is_not_run_again(tmp_path):
    cells = [nbformat.v4.new_code_cell("runs = globals().get('runs', 0) + 1"), nbformat.v4.new_code_cell("runs")]
    cells[0].metadata["slideshow"] = {"slide_type": "skip"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "lab.ipynb")
    shell = InteractiveShell()
    presenting.run_skipped_code(shell, tmp_path / "lab.ipynb")
    for cell in cells:
        shell.run_cell(cell.source, cell_id=cell.id)
    assert shell.user_ns["runs"] == 1


def test_a_picture_alone_joins_the_sentence_before_it():
    def slide(kind, picture):
        if not picture:
            cell = nbformat.v4.new_markdown_cell("words")
        else:
            cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", {"image/png": "AAAA"})])
        cell.metadata["slideshow"] = {"slide_type": kind}
        return cell

    cells = [slide("slide", False), slide("subslide", True), slide("subslide", True), slide("fragment", False)]
    presenting.join_pictures(nbformat.v4.new_notebook(cells=cells))
    kinds = [cell.metadata.slideshow.slide_type for cell in cells]
    assert kinds == ["slide", "fragment", "subslide", "fragment"], "the last picture has a sentence below it"


def test_our_extension_is_where_jupyterlab_looks_for_it(tmp_path):
    (argument,) = (one for one in presenting.slide_arguments(tmp_path) if "extra_labextensions_path" in one)
    (package,) = Path(argument.partition("=")[2]).glob("*/package.json")
    about = json.loads(package.read_text())
    script = (package.parent / about["jupyterlab"]["_build"]["load"]).read_text(encoding="utf-8")
    assert f'window._JUPYTERLAB ||= {{}})["{about["name"]}"]' in script
    assert not re.search(r"fetch\(|XMLHttp|WebSocket|https?:|\beval\b", script), "it asks nobody for anything"


# --- Speaker's notes ----------------------------------------------------------------------------------------------


def moves(call, number):
    """Whether a call in a lab's code makes a figure that moves: it returns sliders or a hand."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name == "live":
        return True
    function = getattr(importlib.import_module(f"labkit.figures.lab{number}"), name, None)
    made = inspect.get_annotations(function, eval_str=True).get("return") if inspect.isfunction(function) else function
    return inspect.isclass(made) and issubclass(made, Live | Hand)


def slides_of(lab):
    """The cells of each slide."""
    slides = [[]]
    for cell in read(lab).cells:
        if cell.metadata.slideshow.slide_type in ("slide", "subslide"):
            slides.append([])
        slides[-1].append(cell)
    return slides


@pytest.mark.parametrize("lab", labs(), ids=lambda lab: lab.stem[:2])
def test_the_speaker_has_notes_at_every_figure_that_moves(lab):
    moving, without = 0, []
    for slide in slides_of(lab):
        code = [cell for cell in slide if cell.cell_type == "code"]
        nodes = [node for c in code for node in ast.walk(ast.parse(c.source))]
        still = [node.value for node in nodes if isinstance(node, ast.Attribute) and node.attr == "figure"]
        calls = [node for node in nodes if isinstance(node, ast.Call) and node not in still]
        if any(moves(call, lab.name[:2]) for call in calls):
            moving += 1
            notes = [cell for cell in slide if cell.metadata.slideshow.slide_type == "notes"]
            if not any(len(cell.source.split()) > 15 for cell in notes):
                without.append(code[0].source)
    assert moving and without == []


@pytest.mark.parametrize("lab", labs(), ids=lambda lab: lab.stem[:2])
def test_notes_are_for_the_instructor_alone(lab):
    notes = [cell for cell in read(lab).cells if cell.metadata.slideshow.slide_type == "notes"]
    assert notes and all("instructor" in tags(cell) and cell.cell_type == "markdown" for cell in notes)


def test_arguments_keep_to_loopback_and_ask_the_network_nothing(notebook, monkeypatch):
    monkeypatch.delattr(os, "geteuid", raising=False)
    arguments = presenting.server_arguments(notebook, open_browser=False)
    assert "--ServerApp.ip=127.0.0.1" in arguments and "--ServerApp.open_browser=False" in arguments
    assert f"--ServerApp.root_dir={notebook.parent}" in arguments
    assert "--LabApp.default_url=/lab/tree/a%20lab.ipynb" in arguments
    assert {
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    } <= set(arguments)
    assert "--MappingKernelManager.transport_encryption=auto" in arguments
    assert not any("token" in argument or "App.port" in argument or "root=" in argument for argument in arguments)


def test_arguments_take_a_port_and_a_folder_above(notebook, tmp_path):
    arguments = presenting.server_arguments(notebook, root=notebook.parents[1], port=1234)
    assert "--ServerApp.port=1234" in arguments and "--ServerApp.port_retries=0" in arguments
    assert f"--LabApp.default_url=/lab/tree/{notebook.parent.name}/a%20lab.ipynb" in arguments
    assert f"--FileContentsManager.preferred_dir={notebook.parent.name}" in arguments
    elsewhere = presenting.server_arguments(notebook, root=Path(__file__).parent)
    assert f"--ServerApp.root_dir={notebook.parent}" in elsewhere, "a notebook elsewhere is opened all the same"


def test_what_is_not_a_notebook_is_refused(notebook, tmp_path):
    broken, text = tmp_path / "broken.ipynb", tmp_path / "text.txt"
    broken.write_text("{}")
    text.write_text("text")
    for path in (tmp_path / "none.ipynb", tmp_path, text):
        with pytest.raises(ValueError, match=r"notebook: got .* expected the path of an existing"):
            presenting.present(path)
    with pytest.raises(ValueError, match=r"notebook: .* cannot be read"):
        presenting.open_lab(broken)


def status(url, **headers):
    """The HTTP status of a GET, redirects followed, and the address where they end."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=LIMIT) as answer:
            return answer.status, answer.url
    except urllib.error.HTTPError as error:
        return error.code, error.url


@pytest.mark.parametrize("function", ["open_lab", "present"])
def test_the_server_wants_a_token_listens_here_alone_and_leaves_nothing_behind(function, notebook, tmp_path):
    for folder in ("server", "tmp"):
        (tmp_path / folder).mkdir()
    with Server(function, notebook, tmp_path / "server", temporary=tmp_path / "tmp") as server:
        token = {"Authorization": "token " + server.token}
        for address in ("/api/contents", "/api/kernels", "/api/contents?token=wrong"):
            assert status(server.url + address)[0] == 403
        assert "/login" in status(f"{server.url}/lab")[1]
        assert status(f"{server.url}/api/kernels", **token)[0] == 200
        start = urllib.request.Request(f"{server.url}/api/kernels", b"{}", token, method="POST")
        urllib.request.urlopen(start, timeout=LIMIT).read()
        process = psutil.Process(server.process.pid)
        family = [process, *process.children(recursive=True)]
        assert len(family) > 1, "the kernel runs"
        assert {address for one in family for address in listening(one)} == {"127.0.0.1"}
        assert list((tmp_path / "tmp").glob("labkit-*"))
        if function == "present" and os.name == "posix":  # one ends by Ctrl-C, the other as from JupyterLab's menu
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(LIMIT) == 0
    assert not psutil.wait_procs(family, timeout=LIMIT)[1], "server and kernel are gone"
    assert not list((tmp_path / "tmp").glob("labkit-*"))
    said = server.log.read_text(errors="replace").splitlines()
    opened = (
        f"Opened {server.url}/lab/tree/a%20lab.ipynb?token=... (Ctrl-C stops it)"  # a token of our own is not shown
    )
    keys = len(presenting.HELP.splitlines()) if function == "present" else 0
    assert said[keys] == opened, "nothing comes before but the keys of the slides"
    assert not list((tmp_path / "server").rglob("*.jupyterlab-settings")), "the user's own settings are not touched"


def test_an_empty_token_in_the_environment_does_not_switch_it_off_and_one_line_is_printed(monkeypatch, capsys):
    from jupyterlab.labapp import LabApp

    server = MagicMock(local_url="http://127.0.0.1:8888/lab?token=x")
    monkeypatch.setattr(LabApp, "initialize_server", lambda arguments: server if arguments == ["an argument"] else None)
    monkeypatch.setenv("JUPYTER_TOKEN", "")
    presenting.serve(["an argument"])
    assert server.start.called and "JUPYTER_TOKEN" not in os.environ
    assert capsys.readouterr().out == "Opened http://127.0.0.1:8888/lab?token=x (Ctrl-C stops it)\n"


def test_importing_presenting_is_quick():
    code = "import sys, course.presenting; assert not {'jupyterlab', 'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
