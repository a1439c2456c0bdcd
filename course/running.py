"""Full-size runs: a lab executed with other parameters, as a copy that shows what it does while it runs."""

import ast
import contextlib
import logging
import math
import re
import threading
import time
from pathlib import Path

from tqdm import tqdm

from course.notebooks import (
    BUILD,
    NOTEBOOKS,
    CellFailed,
    ThisPythonManager,
    is_untouched,
    marked,
    one_of,
    parameters,
    read,
    tags,
)
from experiments.records import write_whole

SLOW = 20  # a cell tagged `slow` takes some twenty times as long as another one
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
BAR = "{desc}: {percentage:3.0f}%|{bar:20}| {elapsed} gone, about {remaining} left{postfix}"


class Stopped(Exception):
    """Ctrl-C ended a run. The message says where the copy lies that holds what was reached."""


# -------------------------------------------------------------------------------------------------- parameters


def parameter_values(notebook, texts):
    """The values that are meant by {parameter: text}, by the type of each parameter's default in the notebook.

    Raises ValueError for a parameter that the lab does not know, and for a text that is not a value of its type.
    """
    known = parameters(notebook)
    for name in texts:
        if name not in known:
            names = [f"{known_name} = {default}" for known_name, default in known.items()]
            raise ValueError(f"parameter: got {name!r}, expected {one_of(name, names)}")
    return {name: _value(name, text, known[name]) for name, text in texts.items()}


def _value(name, text, default):
    """The value of one parameter; `default` is the source text of what it is otherwise."""
    usual, text = ast.literal_eval(default), text.strip()
    with contextlib.suppress(ValueError, SyntaxError):
        if isinstance(usual, bool):
            if text.lower() in TRUE + FALSE:
                return text.lower() in TRUE
        elif isinstance(usual, int):
            value = int(text)
            if value >= 1 or usual < 1:
                return value
        elif isinstance(usual, float):
            if math.isfinite(value := float(text)):
                return value
        elif isinstance(usual, str):
            return _unquoted(text)
        elif isinstance(usual, list | tuple):
            values = ast.literal_eval(text)
            kinds = {type(one) for one in usual} | ({int} if float in map(type, usual) else set())
            if isinstance(values, list | tuple) and values and all(type(one) in kinds for one in values):
                return type(usual)(values)
        else:
            return ast.literal_eval(text)
    kind = {bool: "true or false", float: "a number", int: "a whole number, at least 1", str: "a text"}
    several = f"a list of such, as {default}"
    raise ValueError(f"{name}: got {text!r}, expected {kind.get(type(usual), several)} (default: {default})")


def _unquoted(text):
    quoted = re.fullmatch(r"(['\"])(.*)\1", text)
    return quoted[2] if quoted else text


# ------------------------------------------------------------------------------------------------------ running


def run_lab(path, values=None, out=None):
    """Execute a lab with other parameters, showing progress, and return the path of the executed copy.

    values  parameter's name -> value; the names are those of the cell tagged `parameters`
    out     where to write; by default build/<name>-<date>-<time>.ipynb

    All threads and the accelerator are used, unlike in `refresh`. Raises ValueError for an unknown parameter, and for
    an `out` that is not free (an earlier run that nobody has changed since is); CellFailed when a cell fails; Stopped
    at Ctrl-C. In the last two cases the copy holds what was reached.
    """
    import papermill

    path, values = Path(path), dict(values or {})
    lab = read(path)
    parameter_values(lab, dict.fromkeys(set(values) - set(parameters(lab)), ""))  # refuses unknown ones
    out = Path(out) if out else BUILD / f"{path.stem}-{time.strftime('%Y%m%d-%H%M%S')}.ipynb"
    _refuse_what_is_not_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    template = str(out.resolve()).replace("{", "{{").replace("}", "}}")  # papermill fills in parameters there
    python = {"kernel_name": "python3", "language": "python", "kernel_manager_class": ThisPythonManager}
    try:
        papermill.execute_notebook(
            lab,
            template,
            values,
            cwd=path.parent,
            engine_name=_engine(),
            progress_bar=False,
            bar=Bar(lab, path.stem),
            **python,
        )
    except papermill.PapermillExecutionError as error:
        if not _unexpected_errors(out):  # a student's copy with exercises that are not solved yet: all of it has run
            return out
        where = f"{path.name}, cell {error.cell_index + 1}: {error.ename}: {error.evalue}"
        raise CellFailed(f"{where}\nUp to there: {out}") from error
    except OSError as error:
        error.filename = error.filename or str(out)  # a full disk does not say
        raise
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it would tell of the kernel that was stopped
        raise Stopped(f"stopped; what was reached: {out}") from None
    finally:
        if out.is_file():
            _finish(out)
    return out


def _refuse_what_is_not_free(out):
    """Raise ValueError for a place among the course's notebooks, another kind of file, or somebody's work."""
    if out.resolve().is_relative_to(NOTEBOOKS):
        raise ValueError(f"out: got {str(out)!r}, expected a place outside {NOTEBOOKS}: the course's notebooks stay")
    if out.suffix != ".ipynb":
        raise ValueError(f"out: got {str(out)!r}, expected a name that ends in .ipynb")
    if out.exists() and not is_untouched(out):
        raise ValueError(f"out: {str(out)!r} is there, and no earlier run as it was written; move it, or name another")


def _unexpected_errors(out):
    """The cells of a copy that raised and were not meant to go on then; papermill counts all that raised."""
    cells = [cell for cell in read(out).cells if "raises-exception" not in tags(cell)]
    return [cell for cell in cells if any(output.output_type == "error" for output in cell.get("outputs", ()))]


def _finish(out):
    """Make an executed copy fit for reading without a kernel, and note in it as what it was written."""
    with contextlib.suppress(ValueError):  # cut off while it was written
        notebook = read(out)
        for output in [output for cell in notebook.cells for output in cell.get("outputs", ())]:
            if "data" in output:  # a widget goes before its picture, and needs a network and a kernel
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
        notebook.metadata.pop("widgets", None)
        if not _unexpected_errors(out):  # papermill's headline about a failure that is none
            notebook.cells = [cell for cell in notebook.cells if "papermill-error-cell-tag" not in tags(cell)]
        write_whole(out, marked(notebook))


# ----------------------------------------------------------------------------------------------------- progress


class Bar:
    """One line on the terminal: cells done, how far the bar of the running cell is, and an estimate of what is left."""

    def __init__(self, notebook, title):
        self.weights = [SLOW if "slow" in tags(cell) else cell.cell_type == "code" for cell in notebook.cells]
        self.title = title

    def __enter__(self):
        self.line = tqdm(total=sum(self.weights), desc=self.title, bar_format=BAR, smoothing=0, disable=None)
        self.inner, self.ended = None, threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.line.close()

    def _tick(self):
        while not self.ended.wait(1):
            self.line.refresh()

    def done(self, cell):
        """A cell has ended."""
        self.inner = None
        self.line.set_postfix_str("", refresh=False)
        weight = SLOW if "slow" in tags(cell) else 1
        self.line.update(min(weight, self.line.total - self.line.n))  # the cell of given values was not counted

    def hear(self, message):
        """A message of the kernel; those of a progress bar in the notebook say how far its cell is."""
        state = message["content"].get("data", {}).get("state", {})
        if message["msg_type"] == "comm_open" and state.get("_model_name") in (
            "FloatProgressModel",
            "IntProgressModel",
        ):
            self.inner = (message["content"]["comm_id"], state.get("max") or 1, time.monotonic())
        elif self.inner and message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == self.inner[0]:
            share = state.get("value", 0) / self.inner[1]
            if share > 0:
                left = (time.monotonic() - self.inner[2]) * (1 - share) / share
                self.line.set_postfix_str(f"the bar of this cell: {share:.0%}, {left:.0f} s left", refresh=False)


def _engine():
    """The name under which papermill knows the engine that shows a Bar."""
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    class Client(PapermillNotebookClient):
        def process_message(self, message, cell, cell_index):
            self.bar.hear(message)
            return super().process_message(message, cell, cell_index)

    class WithBar(Engine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, bar, kernel_manager_class, start_timeout=60, **_):
            options = {"kernel_name": kernel_name, "kernel_manager_class": kernel_manager_class, "timeout": None}
            with bar:
                client = Client(
                    nb_man, startup_timeout=start_timeout, on_cell_executed=lambda cell, **_: bar.done(cell), **options
                )
                client.bar = bar
                return client.execute()

    papermill_engines.register("labkit", WithBar)
    return "labkit"
