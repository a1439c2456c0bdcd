"""course.kernels and course.warm: only what a kernel itself says counts, and nothing outlives it."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from course import confine, kernels
from course.kernels import Kernel, KernelDied, Nursery, Run

KINDS = ["fresh", *(["forked"] if kernels.CAN_FORK else [])]


@pytest.fixture(scope="module", params=KINDS)
def nursery(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "CAN_FORK", request.param == "forked")
        patch.setenv("MY_API_TOKEN", "hunter2")
        with Nursery(["json", "a_module_that_is_not_there"]) as nursery:
            yield nursery


def test_how_cells_end(nursery):
    with Kernel(nursery) as kernel:
        assert kernel.run("x = 1", 60) == Run("ok")
        assert kernel.run("1 / 0", 60) == Run("error", "ZeroDivisionError", "division by zero")
        assert kernel.run("x = = 1", 60).error == "SyntaxError"
        assert kernel.run("input()", 60).error == "StdinNotImplementedError"
        assert kernel.run("x = '\ud800'", 60) == Run("ok"), "half of a surrogate pair cannot be sent"
        assert kernel.run("while True: pass", 1).end == "stopped"
        assert kernel.run("assert x == '?'", 60) == Run("ok"), "and the kernel goes on"
        assert kernel.run("quit()", 60) == Run("ok", quits=True)
    with Kernel(nursery) as kernel, pytest.raises(KernelDied, match="ended the kernel"):
        kernel.run("import os; os._exit(0)", 60)


def test_a_kernel_that_answers_nothing_any_more_is_told_from_one_that_does(nursery):
    with Kernel(nursery) as kernel:
        assert kernel.run("import sys; sys.stdout = None", 60) == Run("ok")
        assert kernel.run("x = 1", 60).end == "unknown"


def test_each_kernel_has_a_home_of_its_own_and_none_of_our_secrets(nursery):
    look = (
        "import os\n"
        "assert os.environ['HOME'] == os.environ['TMPDIR'] == os.getcwd()\n"
        "assert os.environ['OMP_NUM_THREADS'] == '1' and 'hunter2' not in str(os.environ)\n"
        "open('mine', 'x').close()"
    )
    with Kernel(nursery) as one, Kernel(nursery) as other:
        assert one.run(look, 60) == other.run(look, 60) == Run("ok")
        assert one.run(
            "import course, labkit; raise ValueError(course.__file__)", 60
        ).message == kernels.__file__.replace("kernels", "__init__")


def attempt(source):
    """A cell that raises ValueError with what became of an attempt."""
    lines = ["try:", f"    found = {source}", "except Exception as error:", "    found = type(error).__name__"]
    return "\n".join([*lines, "raise ValueError(found)"])


@pytest.mark.skipif(not confine.works(), reason="this system lets nobody be confined")
def test_a_confined_kernel_reaches_nothing_that_is_not_its_own(tmp_path):
    other = tmp_path / "other.ipynb"
    other.write_text("another student's work")
    with socket.create_server(("127.0.0.1", 0)) as server, Nursery(["json"], [tmp_path]) as nursery:
        port = server.getsockname()[1]
        tried = {
            f"__import__('socket').create_connection(('127.0.0.1', {port}), 5)": "OSError",
            f"open({str(other)!r}).read()": "FileNotFoundError",
            f"__import__('os').listdir({str(tmp_path)!r})": "FileNotFoundError",
            f"__import__('os').listdir({str(kernels.ROOT / 'notebooks')!r})": "[]",
            f"open({kernels.__file__!r}, 'a')": "OSError",
            f"open({str(kernels.ROOT / 'mine')!r}, 'w')": "OSError",
            f"__import__('os').kill({os.getpid()}, 9)": "ProcessLookupError",
            "[name for name in __import__('os').listdir('/proc') if name.isdigit()]": "['1']",
            "open('mine', 'w').write('x')": "1",
            "__import__('tempfile').TemporaryFile().write(b'x')": "1",
        }
        with Kernel(nursery) as kernel, Kernel(nursery):
            assert nursery.confined
            assert {source: kernel.run(attempt(source), 60).message for source in tried} == tried
            assert kernel.run("import course.exercises.lab04, labkit.losses", 60) == Run("ok")


@pytest.mark.skipif(not kernels.CAN_FORK, reason="kernels are not forked here")
def test_where_nobody_can_be_confined_kernels_run_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("from course import confine\nconfine.works = lambda: False\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(kernels.ROOT), str(tmp_path)]))
    with Nursery(["json"]) as nursery, Kernel(nursery) as kernel:
        assert kernel.run("import os; assert os.getpid() > 1", 60) == Run("ok") and not nursery.confined


def children(token):
    """Processes whose command line holds a token."""
    return [one for one in psutil.process_iter(["cmdline"]) if token in (one.info["cmdline"] or ())]


def wait_until(condition, what):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.skipif(not kernels.CAN_FORK, reason="kernels are not forked here")
@pytest.mark.parametrize("end", ["leaves", "quits", "nursery"])
def test_what_a_submission_leaves_running_ends_with_its_kernel(end):
    token = f"labkit-{os.getpid()}-{end}"
    command = [sys.executable, "-c", "import time; time.sleep(1000)", token]
    start = f"import subprocess; p = subprocess.Popen({command}, start_new_session=True)"
    with Nursery() as nursery:
        with Kernel(nursery) as kernel:
            assert kernel.run(start, 60) == Run("ok")
            wait_until(lambda: children(token), "it runs")
            if end == "quits":
                kernel.run("quit()", 60)
                wait_until(lambda: not children(token), "it ends with the kernel")
            if end == "nursery":
                nursery.__exit__()
                wait_until(lambda: not children(token), "it ends with the nursery")
                with pytest.raises(KernelDied):
                    kernel.run("1", 60)
        wait_until(lambda: not children(token), "it ends when the kernel is left")
        folder = nursery.folder
    assert not folder.exists()


@pytest.mark.skipif(not kernels.CAN_FORK, reason="kernels are not forked here")
def test_who_kills_its_parent_kills_nobody_else():
    with Nursery() as nursery, Kernel(nursery) as other:
        with Kernel(nursery) as kernel, contextlib.suppress(KernelDied):  # a confined one sees no parent
            kernel.run("import os, signal; os.kill(os.getppid(), signal.SIGKILL)", 60)
        assert other.run("1", 60) == Run("ok")
        nursery.warm.kill()
        with Kernel(nursery) as third:
            assert third.run("1", 60) == other.run("1", 60) == Run("ok"), "and the forking process is started again"


@pytest.mark.skipif(not kernels.CAN_FORK, reason="kernels are not forked here")
def test_kernels_end_with_whoever_started_them():
    code = (
        "import os, signal\nfrom course.kernels import Kernel, Nursery\n"
        "with Nursery() as nursery, Kernel(nursery) as kernel:\n"
        "    print(nursery.folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    commands = lambda: [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]  # noqa: E731
    wait_until(lambda: not any(done.stdout.strip() in command for command in commands()), "the kernel is gone")


def test_a_closed_nursery_starts_no_kernel():
    nursery = Nursery()
    nursery.__enter__()
    nursery.__exit__()
    with pytest.raises(KernelDied, match="not wanted"):
        nursery.start()


@pytest.mark.skipif(not kernels.CAN_FORK, reason="limits of memory")
def test_memory_and_files_are_limited(nursery):
    with Kernel(nursery) as kernel:
        if isinstance(kernel.process, kernels.Fresh):
            pytest.skip("fresh kernels have no limits")
        assert kernel.run("x = bytearray(9 * 2**30)", 60).error == "MemoryError"
        big = "f = open('big', 'wb'); f.truncate(2**30 + 1)"
        assert kernel.run(big, 60).error == "OSError"
        assert kernel.run("1", 60) == Run("ok")


def test_threads_may_share_a_nursery(nursery):
    said = []

    def work(number):
        with Kernel(nursery) as kernel:
            said.append(kernel.run(f"raise ValueError({number})", 60).message)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(said) == ["0", "1", "2"]
