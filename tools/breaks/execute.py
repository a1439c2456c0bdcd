"""Executes a lab, whole or broken, in a process of its own, and collects its claims instead of stopping at the first.

The process is forked from one that has imported torch and what else every lab imports: that saves some ten seconds a
break. Cells run in IPython without a kernel; widgets and pictures are made, but shown nowhere.
"""

import contextlib
import importlib
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from course import notebooks
from tools.breaks import Break, pairs

PRELOADED = [
    "torch",
    "torch.optim",
    "sklearn.datasets",
    "matplotlib.figure",
    "ipywidgets",
    "IPython",
    "course.notebooks",
]


def run_all(path: Path, breaks: list[Break | None], jobs: int = 1):
    """Yield (break, outcome) as each execution of the lab ends; None stands for the lab as it is. See `run`."""
    os.environ.update(notebooks.KERNEL_ENVIRONMENT, MPLBACKEND="agg")
    start = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(start)
    if start == "forkserver":
        context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(jobs, context, max_tasks_per_child=1) as pool:
        number = path.stem[:2]
        waiting = {pool.submit(_run_named, path, number, one and one.name): one for one in breaks}
        for done in as_completed(waiting):
            yield waiting[done], done.result()


def _run_named(path: Path, number: str, name: str | None) -> dict:
    """`run` by a break's name: what replaces a function cannot always be sent to another process."""
    from tools.breaks import breaks_of

    return run(path, next((one for one in breaks_of(number) if one.name == name), None))


def run(path: Path, broken: Break | None = None) -> dict:
    """Execute a lab in this process, which must not be used for anything else afterwards.

    Returns {"red": {statement: what was measured}, "green": [statement], "errors": [text], "seconds": number}. A cell
    that fails ends there; the next one is tried all the same, as claims further down may not depend on it.
    """
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    started = time.perf_counter()
    sources = cells_of(path, broken)
    red, green, errors = {}, [], []
    _collect_claims(red, green)
    for name, change in (broken.replaces if broken else {}).items():
        replace(name, change)
    os.chdir(path.parent)
    sys.path.insert(0, str(notebooks.ROOT))
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    with contextlib.redirect_stderr(open(os.devnull, "w", encoding="utf-8")):  # tracebacks and progress bars
        for name, source in sources:
            with capture_output():
                result = shell.run_cell(source, store_history=False)
            error = result.error_before_exec or result.error_in_exec
            if error is not None:
                errors.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    green = [statement for statement in green if statement not in red]
    return {"red": red, "green": green, "errors": errors, "seconds": round(time.perf_counter() - started, 1)}


def cells_of(path: Path, broken: Break | None) -> list[tuple[str, str]]:
    """(id, source) of the code cells that are executed, with a break's edits made.

    Checks of exercises are left out, and cells that are meant to fail. ValueError for an edit that does not fit.
    """
    cells = [cell for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    edits, until = (dict(broken.edits), broken.until) if broken else ({}, None)
    for name in [*edits, *([until] if until else [])]:
        if name not in {cell.id for cell in cells}:
            raise ValueError(f"cell: got {name!r}, expected the id of a code cell of {path.name}")
    found = []
    for cell in cells:
        source = cell.source
        for old, new in pairs(edits[cell.id]) if cell.id in edits else ():
            if source.count(old) != 1:
                raise ValueError(f"edit: {old!r} stands {source.count(old)} times in cell {cell.id}, expected once")
            source = source.replace(old, new)
        if not notebooks.tags(cell) & {"check", "raises-exception"}:
            found.append((cell.id, source))
        if cell.id == until:
            break
    return found


def _collect_claims(red: dict, green: list) -> None:
    """From now on claim() notes what holds and what does not, and raises nothing but errors of its arguments."""
    from labkit import claims

    original = claims.claim

    def claim(statement, measured, **bound):
        try:
            original(statement, measured, **bound)
            green.append(statement)
        except claims.ClaimFailed as error:
            red[statement] = str(error)[len(statement) + 2 :]

    claims.claim = claim


def replace(name: str, change) -> None:
    """Put `change(original)` wherever labkit, course or experiments hold the function, method or class `name`."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            module = importlib.import_module(".".join(parts[:length]))
            break
    else:
        raise ValueError(f"replaces: got {name!r}, expected the dotted name of something in labkit")
    owner = module
    for part in parts[length:-1]:
        owner = getattr(owner, part)
    original = vars(owner)[parts[-1]] if isinstance(owner, type) else getattr(owner, parts[-1])
    replacement = change(original)
    setattr(owner, parts[-1], replacement)
    for package in ("labkit", "experiments", "course"):
        for other in [m for n, m in list(sys.modules.items()) if n.split(".")[0] == package and m is not None]:
            for attribute, value in list(vars(other).items()):
                if value is original:
                    setattr(other, attribute, replacement)


def outcome_kept(one: Break, outcome: dict) -> dict:
    """What data/measured/breaks.json keeps of one execution."""
    kept = {"digest": one.digest(), "red": sorted(outcome["red"]), "seconds": outcome["seconds"]}
    return kept | ({"errors": outcome["errors"]} if outcome["errors"] else {})
