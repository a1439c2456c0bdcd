"""The course's notebooks: finding them, running them in a fresh kernel, storing their outputs, full-size runs.

`Kernel` runs cells as nbval does: this environment's Python, no history, no input, one thread, the same environment
variables. `refresh` and the grading (course.grading) stand on it, `run_lab` on papermill.
"""

import ast
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty

import nbformat
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager, KernelManager
from nbformat.v4 import output_from_msg
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
BUILD = ROOT / "build"

KERNEL_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # sums over threads differ in the last digit from machine to machine
    "OMP_WAIT_POLICY": "PASSIVE",  # two kernels at a time must not wait for each other spinning
    "PYTHONHASHSEED": "0",  # the order of a set is printed the same
    "COLUMNS": "80",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
"""For every kernel whose outputs are stored or compared: refresh, nbval (through conftest.py), grading."""

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""A course notebook's metadata, complete: nothing of the machine that wrote it."""


class CellFailed(Exception):
    """A cell of a notebook raised. The message says which cell, and what."""


class KernelDied(Exception):
    """The kernel ended, or cannot be brought to stop what it does."""


# ------------------------------------------------------------------------------------------------------------- finding


def labs():
    """Paths of the course's notebooks, in the order in which they are read."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def find_lab(name):
    """The path of a lab by its number ("04" or "4"), its name, or its path. ValueError when there is not just one."""
    text = str(name)
    if text.endswith(".ipynb") and Path(text).is_file():
        return Path(text).resolve()
    wanted = text.zfill(2) if text.isdigit() else Path(text).name.removesuffix(".ipynb")
    found = [path for path in labs() if path.stem == wanted or path.stem.startswith(f"{wanted}_")]
    if len(found) != 1:
        known = ", ".join(path.stem for path in labs()) or f"none in {NOTEBOOKS}"
        raise ValueError(f"lab: got {text!r}, expected the number, name or path of one notebook ({known})")
    return found[0]


def read(path):
    """The notebook in a file, as nbformat's nested dictionaries. ValueError when it is not a notebook."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise ValueError(f"notebook: {path} cannot be read as a notebook: {error}") from error


def tags(cell):
    """The tags of a cell, as a set."""
    return set(cell.metadata.get("tags", ()))


# ------------------------------------------------------------------------------------------------------------- running


class ThisPython(KernelSpecManager):
    """Knows one kernel, this environment's, whatever else is registered on the machine under the name python3."""

    def get_kernel_spec(self, kernel_name):
        """The kernel that runs on sys.executable, silent on the terminal unless something is wrong."""
        spec = KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())
        spec.argv = [*spec.argv, "--log-level=ERROR"]
        return spec


class ThisPythonManager(AsyncKernelManager):
    """Starts the kernel of ThisPython."""

    def __init__(self, **options):
        super().__init__(kernel_spec_manager=ThisPython(), **options)


@dataclass
class Run:
    """What one cell did: its outputs, as a notebook stores them; whether it was stopped for taking too long."""

    outputs: list
    stopped: bool = False

    @property
    def error(self):
        """The error output, or None."""
        return next((output for output in self.outputs if output.output_type == "error"), None)


class Kernel:
    """A fresh kernel that runs one cell after another, just as nbval does.

    with Kernel(folder) as kernel:
        run = kernel.run("print(1)", seconds=60)
    """

    MOST_TEXT = 10**7  # characters of a stream that are kept: a cell that prints without end must not fill the memory
    OUTPUTS = ("stream", "display_data", "execute_result", "error")
    GRACE = 5  # seconds that an interrupted cell has until the kernel counts as dead

    def __init__(self, folder):
        self.folder = Path(folder)

    def __enter__(self):
        # The user's IPython profile must not take part.
        self.profile = tempfile.TemporaryDirectory(prefix="labkit-ipython-", ignore_cleanup_errors=True)
        environment = {**os.environ, **KERNEL_ENVIRONMENT, "IPYTHONDIR": self.profile.name}
        self.manager = KernelManager(kernel_name="python3", kernel_spec_manager=ThisPython())
        try:
            self.manager.start_kernel(cwd=str(self.folder), env=environment)
            self.client = self.manager.blocking_client()
            self.client.start_channels()
            self.client.wait_for_ready(timeout=120)
        except BaseException:  # Ctrl-C too must leave no kernel behind
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if hasattr(self, "client"):
            self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)
        self.profile.cleanup()

    def run(self, source, seconds=None):
        """Run one cell and return a Run; one that takes longer than `seconds` is interrupted.

        Raises KernelDied when the kernel ends, or goes on after the interrupt.
        """
        request = self.client.execute(source, store_history=False, allow_stdin=False, stop_on_error=False)
        deadline = time.monotonic() + (seconds or float("inf"))
        run = Run([])
        while True:
            if time.monotonic() > deadline:
                if run.stopped:
                    raise KernelDied("the cell went on after it was interrupted")
                run.stopped, deadline = True, time.monotonic() + self.GRACE
                self.manager.interrupt_kernel()
            try:
                message = self.client.get_iopub_msg(timeout=max(0.01, min(1, deadline - time.monotonic())))
            except Empty:
                if not self.manager.is_alive():
                    raise KernelDied("the kernel died") from None
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] in self.OUTPUTS:
                _add(run.outputs, output_from_msg(message))
            elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return run


def _add(outputs, output):
    """Append an output; text of a stream joins what that stream has printed before."""
    same = [old for old in outputs if output.output_type == old.output_type == "stream" and old.name == output.name]
    if same and len(same[0].text) < Kernel.MOST_TEXT:
        same[0].text += output.text
    elif not same:
        outputs.append(output)


# ---------------------------------------------------------------------------------------------------------- refreshing


def refresh(path):
    """Execute a notebook in a fresh kernel and store its outputs in place; True when the file has changed.

    Nothing is written, and CellFailed is raised, when a cell fails that is not tagged `raises-exception`.
    """
    path = Path(path)
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    with Kernel(path.parent) as kernel:
        for number, cell in enumerate(tqdm(code, desc=path.stem, unit="cell", leave=False, disable=None), 1):
            try:
                run = kernel.run(cell.source)
            except KernelDied as error:
                raise CellFailed(_failure(path, number, cell, error)) from error
            if run.error and "raises-exception" not in tags(cell):
                raise CellFailed(_failure(path, number, cell, f"{run.error.ename}: {run.error.evalue}"))
            cell.outputs, cell.execution_count = run.outputs, number
    text = canonical(notebook)
    changed = text != path.read_text(encoding="utf-8")
    if changed:
        path.write_text(text, encoding="utf-8", newline="\n")
    return changed


def _failure(path, number, cell, reason):
    first_line = next(iter(cell.source.splitlines()), "")
    return f"{path.name}, code cell {number}, which begins with `{first_line}`\n{reason}\nNothing was written."


def canonical(notebook):
    """The text of a notebook in the form that the repository keeps: small differences stay small.

    No metadata but kernel, language, the cells' own and the alternative texts of pictures; no widget models; no
    tracebacks. The notebook is changed in place.
    """
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        keep = {name: cell.metadata[name] for name in ("labkit", "slideshow", "tags") if cell.metadata.get(name)}
        cell.metadata = nbformat.from_dict(keep)
        for output in cell.get("outputs", ()):
            _normalize(output, cell.execution_count)
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def _normalize(output, count):
    if output.output_type == "execute_result":
        output.execution_count = count  # the kernel says 0 when it keeps no history
    if output.output_type == "error":
        output.traceback = []  # paths and colors
    if "data" in output:
        output.data.pop("application/vnd.jupyter.widget-view+json", None)  # ids differ at every run
        pictures = {kind: about for kind, about in output.metadata.items() if kind.startswith("image/")}
        output.metadata = nbformat.from_dict(pictures)


# ----------------------------------------------------------------------------------------------------- full-size runs


def parameters(notebook):
    """The parameters of a lab and their defaults: names and source text in the cell tagged `parameters`."""
    cell = next((cell for cell in notebook.cells if cell.cell_type == "code" and "parameters" in tags(cell)), None)
    statements = ast.parse(cell.source).body if cell else ()
    found = [statement for statement in statements if isinstance(statement, ast.Assign | ast.AnnAssign)]
    targets = [(one.target if isinstance(one, ast.AnnAssign) else one.targets[0], one.value) for one in found]
    return {target.id: ast.unparse(value) for target, value in targets}


def typed(text):
    """A parameter's value from the command line: a number, truth value, None or list as Python writes it, else text."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text


def run_lab(path, values=None, out=None):
    """Execute a lab with other parameters, showing progress, and return the path of the executed copy.

    values  parameter's name -> value; the names are those of the cell tagged `parameters`
    out     where to write; by default build/<name>-<date>-<time>.ipynb

    All threads and the accelerator are used, unlike in `refresh`. Raises ValueError for an unknown parameter and for
    an `out` among the course's notebooks, CellFailed when a cell fails (the copy then holds what was reached).
    """
    import papermill

    path, values = Path(path), dict(values or {})
    known = parameters(read(path))
    for name in values:
        if name not in known:
            names = ", ".join(f"{name} = {default}" for name, default in known.items()) or "none"
            raise ValueError(f"parameter: got {name!r}, expected one of those that {path.stem} knows: {names}")
    out = Path(out) if out else BUILD / f"{path.stem}-{time.strftime('%Y%m%d-%H%M%S')}.ipynb"
    if out.resolve() == path.resolve() or out.resolve().is_relative_to(NOTEBOOKS):
        raise ValueError(f"out: got {str(out)!r}, expected a place outside {NOTEBOOKS}: the course's notebooks stay")
    out.parent.mkdir(parents=True, exist_ok=True)
    template = str(out.resolve()).replace("{", "{{").replace("}", "}}")  # papermill fills in parameters there
    python = {"kernel_name": "python3", "language": "python", "kernel_manager_class": ThisPythonManager}
    try:
        papermill.execute_notebook(read(path), template, values, cwd=path.parent, **python)
    except papermill.PapermillExecutionError as error:
        raise CellFailed(
            f"{path.name}, cell {error.cell_index + 1}: {error.ename}: {error.evalue}\nUp to there: {out}"
        ) from error
    return out
