"""labkit doctor: looks for what is wrong with this machine's set-up, and says how to mend it."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_GIGABYTES = 2
BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
SET_UP_ANEW = "Set up anew: delete .venv, then `python lab.py`; with conda, `conda env update -f environment.yml`."


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `state` is "ok", "note" (worth knowing) or "broken"; `mend` says what to do about it."""

    state: str
    text: str
    mend: str = ""


def examine():
    """Yield a Finding for each thing looked at, the quick ones first."""
    for look in (python, packages, torch_pair, device, threads, data, disk, browser, kernel):
        try:
            yield from look()
        except Exception as error:  # what is broken must not keep the rest from being looked at
            yield Finding("broken", f"{look.__name__}: {type(error).__name__}: {error}", SET_UP_ANEW)


def try_gpu(options):
    """Run everything that needs a GPU, with tests and benchmarks, which a hand-out lacks; the exit status."""
    if not (ROOT / "tools" / "gpu.py").is_file():
        raise ValueError(f"--gpu: got a course without tests and benchmarks in {ROOT}, expected its whole repository")
    return subprocess.call([sys.executable, "-m", "tools", "gpu", *options], cwd=ROOT)


def python():
    """The version of Python, and which one it is."""
    version = platform.python_version()
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        yield Finding("ok", f"Python {version} on {platform.system()} {platform.machine()}")
    elif sys.version_info[:2] < OLDEST:
        yield Finding("broken", f"Python {version} is too old", "Use Python 3.11, 3.12 or 3.13: python3.12 lab.py")
    else:
        yield Finding("note", f"Python {version} is newer than what the course is tested with (3.11-3.13)")


def packages(requirements=ROOT / "requirements.txt"):
    """The installed packages against the pinned ones."""
    if not requirements.is_file():
        yield Finding("note", "the course's requirements.txt is not there: versions are not compared")
        return
    wrong, right = [], 0
    for line in requirements.read_text(encoding="utf-8").splitlines():
        pin, _, only_where = line.partition(";")
        name, _, wanted = pin.strip().partition("==")
        try:
            installed = importlib.metadata.version(name).split("+")[0]  # 2.15.0+cpu is 2.15.0
        except importlib.metadata.PackageNotFoundError:
            installed = wanted if only_where else "missing"  # a package of another platform need not be here
        right += installed == wanted
        if installed != wanted:
            wrong.append(f"{name} {installed} (pinned: {wanted})")
    if not wrong:
        yield Finding("ok", f"all {right} packages have the pinned versions")
        return
    missing = any(" missing " in text for text in wrong)
    yield Finding("broken" if missing else "note", f"not as pinned: {', '.join(wrong)}", SET_UP_ANEW)


def torch_pair():
    """torch and torchvision, which fit each other only as a pair."""
    try:
        import torch
    except Exception as error:
        yield Finding("broken", f"torch cannot be imported: {error}", SET_UP_ANEW)
        return
    try:
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:
        mend = f"torch and torchvision must come from the same place, as a pair. {SET_UP_ANEW}"
        yield Finding("broken", f"torchvision cannot be used with torch {torch.__version__}: {error}", mend)
        return
    yield Finding("ok", f"torch {torch.__version__} and torchvision {torchvision.__version__} work together")


def device():
    """The device and precision that training will choose."""
    import torch

    from labkit.training import device as running

    chosen = running.choose_device("auto")
    name = f" ({torch.cuda.get_device_name()})" if chosen.type == "cuda" else ""
    yield Finding("ok", f"training uses {chosen.type}{name}, precision {running.choose_precision('auto', chosen)}")
    if chosen.type != "cuda" and shutil.which("nvidia-smi"):
        mend = "Renew the driver, or install a torch that is built for CUDA; `nvidia-smi` shows the driver's version."
        yield Finding("note", "there is an NVIDIA driver, but torch cannot use it", mend)


def threads():
    """How many of the processor's cores are used."""
    import torch

    used, there = torch.get_num_threads(), os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS")
    mend = f"OMP_NUM_THREADS={limit} is set; unset it to use all." if limit and used < there else ""
    yield Finding("note" if mend else "ok", f"{used} of {there} processor threads used", mend)


def data():
    """The folder with the datasets, and what lies there."""
    from labkit.data import available, data_folder, names

    folder = data_folder()
    if os.environ.get("LABKIT_DATA") and not folder.is_dir():
        mend = "Make the folder, or let LABKIT_DATA name another, or unset it."
        yield Finding("broken", f"LABKIT_DATA names {folder}, which is not there", mend)
    there = [name for name in names() if available(name, "train") and available(name, "test")]
    yield Finding("ok", f"datasets in {folder}: {', '.join(there)} (`labkit data get NAME` fetches more)")


def disk():
    """Room for outputs, checkpoints and datasets."""
    free = shutil.disk_usage(ROOT).free / 1e9
    mend = "" if free >= NEEDED_GIGABYTES else f"Make room: a full-size run may need {NEEDED_GIGABYTES} GB."
    yield Finding("broken" if mend else "ok", f"{free:.0f} GB free where the course lies", mend)


def browser():
    """A Chromium for the browser tests; nothing else needs one."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found and shutil.which(found):
        yield Finding("ok", f"browser for the browser tests: {found}")
    elif found:
        mend = "Set it to a browser's path, or unset it."
        yield Finding("broken", f"CHROMIUM names {found}, which cannot be run", mend)
    else:
        mend = "Only for the tests: `sudo apt install chromium`, or set CHROMIUM to a browser's path."
        yield Finding("note", "no Chromium: the browser tests are skipped", mend)


def kernel():
    """Whether a notebook can run here, and finds this labkit."""
    from nbclient.exceptions import CellExecutionError
    from nbformat.v4 import new_code_cell, new_notebook

    from course.notebooks import kernel_for

    notebook = new_notebook(cells=[new_code_cell("import labkit; print(labkit.__file__)")])
    [cell] = notebook.cells
    try:
        with kernel_for(notebook, Path.home()) as run:
            run(cell, 1)
    except CellExecutionError as error:
        yield Finding("broken", f"a notebook cannot import labkit: {error.ename}: {error.evalue}", SET_UP_ANEW)
        return
    except Exception as error:
        yield Finding("broken", f"no notebook kernel starts: {error}", SET_UP_ANEW)
        return
    found = cell.outputs[0].text.strip()
    if Path(found).resolve().parent != ROOT / "labkit":
        yield Finding("broken", f"notebooks find another labkit: {found}", "Look at PYTHONPATH; unset it if in doubt.")
    else:
        yield Finding("ok", "a notebook kernel starts and finds labkit")
