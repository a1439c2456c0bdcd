"""Makes nbval dependable: the same kernel and environment everywhere, every cell after those before it, no long waits.

nbval compares what a notebook's cells print with what is stored in it. It starts a kernel for each notebook; here that
kernel gets this environment's Python, the environment variables with which `labkit refresh` has stored the outputs,
and an IPython profile that nobody has changed. tests/nbval.cfg says what is not compared.
"""

import inspect
import os
import tempfile
import time
from importlib.metadata import version
from queue import Empty

import pytest

from course.notebooks import KERNEL_ENVIRONMENT

OUTPUT_TIMEOUT = 60  # seconds; nbval's own 5 are too few on a busy machine
HEARTBEAT = 1  # seconds after which a dead kernel is noticed; nbval waits for the cell's whole time, 2000 s

PROFILE = tempfile.TemporaryDirectory(prefix="labkit-ipython-", ignore_cleanup_errors=True)
os.environ.update(KERNEL_ENVIRONMENT, IPYTHONDIR=PROFILE.name)


def pytest_configure(config):
    if not config.getoption("nbval", False):
        return
    if config.getoption("dist", "no") not in ("no", "loadfile", "loadscope"):
        raise pytest.UsageError("the cells of a notebook share a kernel: with -n, add --dist loadfile")
    config.option.nbval_current_env = True
    config.option.nbval_sanitize_with = str(config.rootpath / "tests" / "nbval.cfg")
    notice_dead_kernels()
    if not hasattr(config, "workerinput"):
        import matplotlib.font_manager  # noqa: F401  builds its cache now: its notice must not land in a cell's output


def expect(condition, what):
    """End the run when nbval is not what is mended here, rather than mend nothing and say nothing."""
    if not condition:
        raise pytest.UsageError(f"conftest.py does not fit nbval {version('nbval')}: {what}")


def notice_dead_kernels():
    """Have nbval's kernel look, while it waits for a message, whether it is still alive."""
    from nbval.kernel import RunningKernel

    wait = RunningKernel.get_message
    if getattr(wait, "notices_dead_kernels", False):
        return
    parameters = list(inspect.signature(wait).parameters)
    expect(parameters == ["self", "stream", "timeout"], f"RunningKernel.get_message takes {parameters}")
    expect(hasattr(RunningKernel, "is_alive"), "RunningKernel has no is_alive")

    def get_message(self, stream, timeout=None):
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            try:
                return wait(self, stream, timeout=max(0.01, min(HEARTBEAT, deadline - time.monotonic())))
            except Empty:
                if not self.is_alive():
                    raise RuntimeError("the notebook's kernel died") from None
                if time.monotonic() >= deadline:
                    raise

    get_message.notices_dead_kernels = True
    RunningKernel.get_message = get_message


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session):
    """Give every notebook its cells in order, up to the last one selected: -k and --lf may have left some out."""
    if not session.config.getoption("nbval", False):
        return
    from nbval.plugin import IPyNbCell

    last = {}
    for item in session.items:
        if isinstance(item, IPyNbCell):
            last[item.parent] = max(item.cell_num, last.get(item.parent, 0))
    items = [item for item in session.items if not isinstance(item, IPyNbCell)]
    for notebook, number in last.items():
        cells = [cell for cell in notebook.collect() if cell.cell_num <= number]
        for cell in cells:
            expect(getattr(cell, "output_timeout", None) == 5, "a cell's output_timeout is not 5 s")
            cell.output_timeout = OUTPUT_TIMEOUT
        items += cells
    session.items[:], session.testscollected = items, len(items)
