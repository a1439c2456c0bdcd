"""The course's notebooks: finding and reading them, running them in a fresh kernel, storing their outputs.

Kernels run this environment's Python, whatever else is registered on the machine, with the environment variables that
nbval gets too. Full-size runs are in course.running, kernels for code by other people in course.kernels.
"""

import ast
import contextlib
import difflib
import hashlib
import json
import os
import tempfile
from pathlib import Path

import nbformat
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from tqdm import tqdm

from experiments.records import write_whole

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
        known = [path.stem for path in labs()] or [f"none in {NOTEBOOKS}"]
        raise ValueError(f"lab: got {text!r}, expected the number, name or path of {one_of(wanted, known)}")
    return found[0]


def one_of(wrong, known):
    """The end of a sentence that begins "expected": what is known, one a line, and which of it may have been meant."""
    likely = difflib.get_close_matches(str(wrong), known, n=1, cutoff=0.5)
    guess = f"\nDid you mean {likely[0]}?" if likely else ""
    return "one of these:" + "".join(f"\n    {name}" for name in known) + guess


def read(path):
    """The notebook in a file, as nbformat's nested dictionaries. ValueError when it is not a notebook."""
    try:
        notebook = nbformat.read(path, as_version=4)
        for number, cell in enumerate(notebook.cells, 1):
            if not (isinstance(cell.get("source"), str) and isinstance(cell.get("metadata"), dict)):
                raise ValueError(f"cell {number} lacks its source or metadata")
    except OSError as error:
        raise ValueError(f"notebook: {path} cannot be read: {error.strerror}") from error
    except Exception as error:  # what a damaged file can do to a parser is not to be foreseen
        reason = first_line(str(error)) or type(error).__name__
        raise ValueError(f"notebook: {path} cannot be read as a notebook: {reason}") from error
    return notebook


def marked(notebook):
    """The text of a notebook that notes, in `metadata.labkit.written`, as what it was written."""
    notebook.metadata["labkit"] = {**about(notebook), "written": digest(notebook)}
    return nbformat.writes(notebook) + "\n"


def digest(notebook):
    """A few letters that change when anything in a notebook does, but for what `marked` notes in it."""
    content = json.loads(nbformat.writes(notebook))
    content["metadata"] = {**content["metadata"], "labkit": {**about(notebook), "written": None}}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def is_untouched(path):
    """Whether a file is a notebook as it was written by the course, unchanged since."""
    with contextlib.suppress(ValueError):
        notebook = read(path)
        return about(notebook).get("written") == digest(notebook)
    return False  # whatever it is, it is not ours to overwrite


def tags(cell):
    """The tags of a cell, as a set."""
    return set(cell.metadata.get("tags", ()))


def about(node):
    """What labkit has noted in the metadata of a notebook or a cell; a submission may hold anything there."""
    noted = node.metadata.get("labkit", {})
    return noted if isinstance(noted, dict) else {}


def first_line(text):
    """The first line of a text that has any, else ""."""
    return next(iter(text.strip().splitlines()), "")


# ------------------------------------------------------------------------------------------------------------- running


class ThisPython(KernelSpecManager):
    """Knows one kernel, this environment's, whatever else is registered on the machine under the name python3."""

    def get_kernel_spec(self, kernel_name):
        """The kernel that runs on sys.executable, silent on the terminal unless it cannot go on."""
        spec = KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())
        spec.argv = [*spec.argv, "--log-level=CRITICAL"]
        return spec


class ThisPythonManager(AsyncKernelManager):
    """Starts the kernel of ThisPython; nobody else on the machine can listen to what it says."""

    def __init__(self, **options):
        super().__init__(kernel_spec_manager=ThisPython(), transport_encryption="auto", **options)


@contextlib.contextmanager
def kernel_for(notebook, folder):
    """A fresh kernel that works in `folder`, as a function that runs a code cell of `notebook`: run(cell, number).

    Cells run just as nbval runs them: without history, without input. The function puts outputs and number into the
    cell, and raises nbclient's CellExecutionError when the cell does, DeadKernelError when the kernel ends.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-ipython-", ignore_cleanup_errors=True) as profile:
        # The user's IPython profile must not take part.
        environment = {**os.environ, **KERNEL_ENVIRONMENT, "IPYTHONDIR": profile}
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            kernel_manager_class=ThisPythonManager,
            resources={"metadata": {"path": str(folder)}},
            startup_timeout=120,
            timeout=None,
            iopub_timeout=60,
            coalesce_streams=True,
            store_widget_state=False,
        )

        def run(cell, number):
            cell.execution_count, cell.outputs = number, []
            client.execute_cell(cell, notebook.cells.index(cell), execution_count=number, store_history=False)

        with client.setup_kernel(env=environment):
            yield run


# ---------------------------------------------------------------------------------------------------------- refreshing


def refresh(path):
    """Execute a notebook in a fresh kernel and store its outputs in place; True when the file has changed.

    Nothing is written, and CellFailed is raised, when a cell fails that is not tagged `raises-exception`.
    """
    path = Path(path)
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    with kernel_for(notebook, path.parent) as run:
        for number, cell in enumerate(tqdm(code, desc=path.stem, unit="cell", leave=False, disable=None), 1):
            try:
                run(cell, number)
            except (CellExecutionError, DeadKernelError) as error:
                reason = (
                    f"{error.ename}: {error.evalue}" if isinstance(error, CellExecutionError) else "the kernel died"
                )
                raise CellFailed(
                    f"{path.name}, code cell {number}, which begins with `{first_line(cell.source)}`\n{reason}\n"
                    "Nothing was written."
                ) from error
    text = canonical(notebook)
    changed = text != path.read_text(encoding="utf-8")
    if changed:
        write_whole(path, text)
    return changed


def canonical(notebook):
    """The text of a notebook in the form that the repository keeps: small differences stay small.

    No metadata but kernel, language, the cells' own, the alternative texts of pictures and the states of hands; no
    widget models; no tracebacks. The notebook is changed in place.
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
        kept = {kind: noted for kind, noted in output.metadata.items() if kind.startswith(("image/", "labkit"))}
        output.metadata = nbformat.from_dict(kept)


# ---------------------------------------------------------------------------------------------------------- parameters


def parameters(notebook):
    """The parameters of a lab and their defaults: names and source text in the cell tagged `parameters`."""
    cell = next((cell for cell in notebook.cells if cell.cell_type == "code" and "parameters" in tags(cell)), None)
    statements = ast.parse(cell.source).body if cell else ()
    found = [statement for statement in statements if isinstance(statement, ast.Assign | ast.AnnAssign)]
    targets = [(one.target if isinstance(one, ast.AnnAssign) else one.targets[0], one.value) for one in found]
    return {target.id: ast.unparse(value) for target, value in targets}
