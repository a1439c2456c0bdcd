"""Opening notebooks in JupyterLab: as pages to work on, and as live slides in front of a room.

The server listens on this computer alone and asks for a token. Neither it nor the page asks the network for anything:
no news, no look for updates, no catalogue of extensions.

Slides are stacked by jupyterlab-slideshow from the standard metadata of each cell (`slideshow.slide_type`):

    slide, subslide   start a new slide
    fragment          appears with the next press of the arrow key or of Shift+Enter
    (none)            stands under the cell before it
    skip              is not shown
    notes             is read by the speaker, beside the slide before it

Our own extension, slides/labkit-slides/slides.js, fits each slide to the screen, numbers them, lists them, folds code
under its figure, shows notes, and keeps JupyterLab's editing keys from a hand that meant the next slide.

Skipped code is run all the same, or the slides would lack the imports: just before the next code cell that is run.
"""

import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import nbformat

ROOT = Path(__file__).resolve().parents[1]
EXTENSIONS = Path(__file__).resolve().with_name("slides")
QUIET = (
    "--Application.log_level=ERROR",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)
# The page asks whether it may fetch news, whatever the server says.
QUIET_SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
SLIDE_SETTINGS = QUIET_SETTINGS | {
    "jupyterlab-slideshow:plugin": {"active": True},
    # At zoom 1, before the slides are scaled to the screen: text, code, and the labels of sliders alike.
    "@jupyterlab/apputils-extension:themes": {
        "overrides": {"content-font-size1": "16px", "code-font-size": "15px", "ui-font-size1": "15px"}
    },
    # Slides need every cell on the page; JupyterLab stumbles when that is changed while it opens the notebook.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}

HELP = """The slides are a copy: what is changed on them is gone when the server stops. Press ? on them for all keys.
    Space, arrows, PageDown, PageUp   next step and back     Ctrl+Enter, Shift+Enter   run the cell and stay, or go on
    o   contents     b   blank screen     c   folded code    s, n   notes in a window of their own, or below the slide
    r   run all cells from the top        f   full screen    Escape   leave the slides for the notebook"""


def server_arguments(notebook, root=None, port=None, open_browser=True):
    """Return the command-line arguments with which JupyterLab opens `notebook`.

    The server is bound to 127.0.0.1, makes its own token, and is quiet towards the network.

    notebook      path of the notebook to open
    root          folder that the file browser can reach; the notebook's own if it does not lie in `root`
    port          port to listen on, or an error if it is taken; by default 8888 or the next free one
    open_browser  open a browser window on the notebook
    """
    notebook, _ = read_notebook(notebook)
    root = Path(root or notebook.parent).resolve()
    if not notebook.is_relative_to(root):
        root = notebook.parent
    arguments = [
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.allow_remote_access=False",
        "--ServerApp.answer_yes=True",  # Ctrl-C stops at once
        f"--ServerApp.open_browser={bool(open_browser)}",
        f"--ServerApp.root_dir={root}",
        f"--FileContentsManager.preferred_dir={notebook.parent.relative_to(root).as_posix()}",
        "--MappingKernelManager.transport_encryption=auto",  # others on the machine cannot listen to the kernels
        "--LabApp.default_url=/lab/tree/" + quote(notebook.relative_to(root).as_posix()),
        *QUIET,
    ]
    if port is not None:
        arguments += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--ServerApp.allow_root=True")  # containers and CI; JupyterLab refuses without it
    return arguments


def open_lab(notebook, root=ROOT, port=None, open_browser=True):
    """Open `notebook` in JupyterLab and serve it until Ctrl-C (arguments as for `server_arguments`)."""
    arguments = server_arguments(notebook, root, port, open_browser)
    with tempfile.TemporaryDirectory(prefix="labkit-", ignore_cleanup_errors=True) as folder:
        # Defaults for this run: what the user has chosen in JupyterLab's settings still holds.
        write_json(Path(folder, "labconfig", "default_setting_overrides.json"), QUIET_SETTINGS)
        search_first("JUPYTER_CONFIG_PATH", folder)
        serve(arguments)


def present(notebook, port=None, open_browser=True):
    """Open `notebook` as live slides and serve them until Ctrl-C.

    The slides are a copy in a temporary folder: cells run, widgets answer, code may be changed before the audience,
    and the notebook of the course stays as it is. What `HELP` says is printed.

    port, open_browser: as for `server_arguments`. Raises ValueError if `notebook` is not a notebook.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-", ignore_cleanup_errors=True) as folder:
        slides = write_slides(notebook, Path(folder))
        search_first("JUPYTER_PATH", folder)
        print(HELP, flush=True)
        serve([*server_arguments(slides, port=port, open_browser=open_browser), *slide_arguments(folder)])


def slide_arguments(folder):
    """The arguments with which JupyterLab takes its settings from `folder` and loads our extension."""
    own = [f"--LabApp.{name}_dir={Path(folder, name)}" for name in ("user_settings", "workspaces")]
    return [*own, f"--LabServerApp.extra_labextensions_path={EXTENSIONS}"]


def write_slides(notebook, folder):
    """Write what `present` needs into `folder`: a copy of `notebook`, JupyterLab's settings, and a kernel for the copy.

    Returns the path of the copy.
    """
    path, notebook = read_notebook(notebook)
    join_pictures(notebook)
    for cell in notebook.cells:
        show = cell.metadata.get("slideshow", {})
        if show.get("slide_type") == "notes":
            cell.metadata["labkit"] = {**cell.metadata.get("labkit", {}), "notes": True}
        # jupyterlab-slideshow stops before an empty page at notes, and knows "-" as no type at all.
        show["slide_type"] = {"notes": "skip", "-": None}.get(show.get("slide_type"), show.get("slide_type"))
    notebook.metadata["kernelspec"] = {"name": "slides", "display_name": "Slides", "language": "python"}
    slides = folder / "slides" / path.name
    slides.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, slides)
    for name, values in SLIDE_SETTINGS.items():
        package, plugin = name.split(":")
        write_json(folder / "user_settings" / package / f"{plugin}.jupyterlab-settings", values)
    at_start = f"from course.presenting import run_skipped_code; run_skipped_code(get_ipython(), {str(slides)!r})"
    kernel = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": [*kernel, f"--IPKernelApp.exec_lines={at_start}"], "display_name": "Slides", "language": "python"}
    kernel["metadata"] = {"supported_encryption": ["curve"]}
    write_json(folder / "kernels" / "slides" / "kernel.json", kernel)
    return slides


def join_pictures(notebook):
    """Put a slide that shows a picture but has no text below the one before it, so that each picture has its sentence.

    What is then too much for the screen leaves it: slides.js keeps the picture and the text nearest to it.
    """
    slides = [[]]
    for cell in notebook.cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type")
        if kind in ("slide", "subslide"):
            slides.append([])
        if kind not in ("skip", "notes"):
            slides[-1].append(cell)
    for slide in slides[1:]:
        outputs = [output for cell in slide for output in cell.get("outputs", ())]
        pictured = any("image/png" in output.get("data", {}) for output in outputs)
        if pictured and all(cell.cell_type == "code" for cell in slide) and slide is not slides[1]:
            slide[0].metadata["slideshow"]["slide_type"] = "fragment"


def run_skipped_code(shell, notebook):
    """Make an IPython shell run the skipped code of `notebook` as well, without showing its output.

    Before a cell of the notebook is run, the skipped code cells above it are, once each. If one of them fails, its
    error is shown, and the cell is run all the same.
    """
    from IPython.utils.capture import capture_output

    cells = nbformat.read(notebook, as_version=4).cells
    place = {cell.id: n for n, cell in enumerate(cells)}
    skipped = [
        c for c in cells if c.cell_type == "code" and c.metadata.get("slideshow", {}).get("slide_type") == "skip"
    ]

    def run_those_above(info):
        if skipped and skipped[0].id == info.cell_id:
            skipped.pop(0)  # somebody runs it openly
        while skipped and place[skipped[0].id] < place.get(info.cell_id, -1):
            with capture_output():
                shell.run_cell(skipped.pop(0).source)

    shell.events.register("pre_run_cell", run_those_above)


def serve(arguments):
    """Run JupyterLab in this process until it is stopped, saying where; its kernels stop with it."""
    from jupyterlab.labapp import LabApp

    if not os.environ.get("JUPYTER_TOKEN"):
        os.environ.pop("JUPYTER_TOKEN", None)  # an empty one would switch the token off
    server = LabApp.initialize_server(arguments)
    server.log.addFilter(lambda record: record.levelno == logging.ERROR)  # "critical" is how it says that it stops
    print(f"Opened {server.local_url} (Ctrl-C stops it)", flush=True)
    server.start()


def search_first(variable, folder):
    """Put `folder` before the others in an environment variable that holds a search path."""
    os.environ[variable] = os.pathsep.join(filter(None, [str(folder), os.environ.get(variable)]))


def write_json(path, content):
    """Write a JSON file and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def read_notebook(path):
    """Return the resolved path of a notebook and the notebook; ValueError if there is none or it cannot be read."""
    path = Path(path).resolve()
    if path.suffix != ".ipynb" or not path.is_file():
        raise ValueError(f"notebook: got {str(path)!r}, expected the path of an existing .ipynb file")
    try:
        return path, nbformat.read(path, as_version=4)
    except Exception as error:
        raise ValueError(f"notebook: {str(path)!r} cannot be read as a notebook: {error}") from error
