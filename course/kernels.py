"""Kernels for code by other people: course.grading runs submissions in them.

A `Kernel` runs one cell after another and believes only what the kernel itself replies: a cell has run to its end when
the reply to it says so, whatever was or was not printed. Nobody reads what cells print, so that a flood of it costs
nothing here.

On Linux kernels are forked from one process that has imported what labs import (course.warm): such a kernel is there in
a fraction of a second. Elsewhere each is a fresh process.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty

import zmq
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from jupyter_client.manager import KernelManager

from course.notebooks import KERNEL_ENVIRONMENT, ROOT, ThisPython

CAN_FORK = sys.platform == "linux"
LONGEST_FOLDER = 80  # characters; the path of a Unix socket has at most 107
LARGEST_REPLY = 2**24  # bytes; a larger one is never read
ENVIRONMENT = (
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LABKIT_DATA"),
    *("SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "NUMBER_OF_PROCESSORS"),
)
"""The environment variables that are passed on; no other, for some hold passwords."""


class KernelDied(Exception):
    """The kernel ended, or cannot be brought to stop what it does. The message goes on after "the cell"."""


@dataclass
class Run:
    """How a cell ended.

    end      "ok" or "error", as the kernel said; "stopped" after too long; "unknown" where it said nothing
    error    name of the exception
    message  text of the exception
    quits    whether the cell has asked the kernel to end
    """

    end: str
    error: str = ""
    message: str = ""
    quits: bool = False


class Kernel:
    """A kernel that runs one cell after another.

    with Nursery(["torch"]) as nursery, Kernel(nursery) as kernel:
        run = kernel.run("print(1)", seconds=60)
    """

    START = 120  # seconds until a kernel must be there
    GRACE = 20  # seconds that a cell has to end once it is interrupted; what it has printed is sent in them

    def __init__(self, nursery):
        self.nursery = nursery

    def __enter__(self):
        self.process = self.nursery.start()
        try:
            self.client = self.process.client
            self.client.context.setsockopt(zmq.MAXMSGSIZE, LARGEST_REPLY)
            self.client.context.setsockopt(zmq.SNDTIMEO, 1000)  # a kernel that cannot be reached must not hold us
            self.client.start_channels(iopub=False, stdin=False, hb=False, control=False)
            if self._reply(None, self.START) is None:
                raise KernelDied(f"was not there after {self.START} s")
        except BaseException:  # Ctrl-C too must leave no kernel behind
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.client.stop_channels()
        self.client.context.destroy(linger=0)
        self.process.end()
        self.nursery.living.discard(self.process)

    def run(self, source, seconds):
        """Run one cell and return a Run; a cell that takes longer than `seconds` is interrupted.

        Raises KernelDied when the kernel ends, or goes on after the interrupt.
        """
        source = source.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair cannot be sent
        request = self._send("execute", source, store_history=False, allow_stdin=False, stop_on_error=False)
        reply = self._reply(request, seconds)
        stopped = reply is None
        if stopped:
            self.process.interrupt()
            reply = self._reply(request, self.GRACE)
            if reply is None:
                raise KernelDied("went on after it was interrupted")
        if not self.process.alive():  # asked now, so that no later cell is blamed
            raise KernelDied("ended the kernel")
        end = "stopped" if stopped else {"ok": "ok", "error": "error"}.get(reply.get("status"), "unknown")
        payload = reply.get("payload")
        quits = isinstance(payload, list) and any(one.get("source") == "ask_exit" for one in payload)
        return Run(end, str(reply.get("ename", "")), str(reply.get("evalue", "")), quits)

    def _reply(self, request, seconds):
        """What the kernel replies to a request: {} if it goes on without a reply, None if it does not go on in time."""
        reply, deadline = {}, time.monotonic() + seconds
        questions = [self._send("kernel_info")]  # answered when the request has ended, whatever became of its reply
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = self.client.get_shell_msg(timeout=min(1, left))
                answered, content = message["parent_header"].get("msg_id"), message["content"]
            except Empty:
                if not self.process.alive():
                    raise KernelDied("ended the kernel") from None
                questions.append(self._send("kernel_info"))  # a reply that is too large takes others with it
                continue
            except Exception:  # a submission may write anything on the kernel's sockets
                continue
            if answered == request:
                reply = content
            if answered in questions:
                return reply
        return None

    def _send(self, kind, *arguments, **options):
        """Send a request and return its id."""
        try:
            return getattr(self.client, kind)(*arguments, **options)
        except zmq.Again:
            raise KernelDied("cut the kernel off") from None


class Nursery:
    """Where kernels come from; at its end, none is left.

    modules   imported before the first kernel starts, where kernels are forked
    hidden    folders that no kernel may see, where kernels can be confined

    confined  whether the last kernel was kept from the network, from other processes and from files (course.confine)
    """

    def __init__(self, modules=(), hidden=()):
        self.modules, self.hidden, self.confined = sorted(modules), hidden, False
        self.lock, self.warm, self.started, self.living, self.closed = threading.Lock(), None, 0, set(), False

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="labkit-")).resolve()
        self.cache = self.folder / "cache"
        self.cache.mkdir()
        return self

    def __exit__(self, *_):
        self.closed = True
        with self.lock:
            pass  # a kernel that is just being started is there now, or never will be
        for process in list(self.living):
            process.end()
        if self.warm:
            self.warm.stdin.close()
            self.warm.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Start a kernel in a folder of its own, which is its home."""
        with self.lock:
            if self.closed:
                raise KernelDied("was not wanted any more")
            self.started += 1
            folder = self.folder / f"kernel{self.started}"
            folder.mkdir()
            own = dict.fromkeys(("HOME", "USERPROFILE", "IPYTHONDIR", "TMPDIR", "TEMP", "TMP"), str(folder))
            if CAN_FORK and len(str(folder)) <= LONGEST_FOLDER:
                process = Forked(folder, own, self._order, self._kept_from())
            else:
                process = Fresh(folder, self._environment() | own)
            self.living.add(process)
        return process

    def _environment(self):
        """What kernels start with. No accelerator: a score must not depend on the machine. Checks are told to grade."""
        named = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        caches = {"MPLCONFIGDIR": str(self.cache), "NUMBA_CACHE_DIR": str(self.cache)}
        return {
            **named,
            **KERNEL_ENVIRONMENT,
            **caches,
            "PYTHONPATH": path,
            "CUDA_VISIBLE_DEVICES": "",
            "LABKIT_GRADING": "1",
        }

    def _kept_from(self):
        """What course.confine.arrange is told: what is the grader's, other people's, or holds solutions is not seen."""
        from labkit.data import data_folder

        inside = [ROOT / name for name in ("notebooks", "tests", "work", "build", ".git")]
        hidden = {os.path.realpath(place) for place in (tempfile.gettempdir(), Path.home(), *inside, *self.hidden)}
        shown = [os.path.realpath(place) for place in (ROOT, sys.prefix, sys.base_prefix, data_folder())]
        hidden = [place for place in hidden - {"/", *shown} if os.path.isdir(place)]
        return {"hidden": sorted(hidden), "shown": shown, "scratch": [str(self.cache)]}

    def _order(self, order):
        """Order a kernel from the process that forks, and return the line to its keeper.

        The process is started where none runs (any more).
        """
        for address in (self.folder / f"warm{self.started}-{trial}" for trial in range(3)):
            if self.warm is None or self.warm.poll() is not None:
                command = [sys.executable, "-P", "-m", "course.warm", str(address), *self.modules]
                self.warm = subprocess.Popen(command, env=self._environment(), stdin=subprocess.PIPE)
                self.address = address
            while self.warm.poll() is None and not self.closed:
                line = socket.socket(socket.AF_UNIX)
                with contextlib.suppress(OSError):  # it is still importing, or has just ended
                    line.connect(str(self.address))
                    line.sendall(json.dumps(order).encode() + b"\n")
                    if answer := line.recv(1):
                        self.confined = answer == b"c"
                        return line
                line.close()
                time.sleep(0.05)
        raise KernelDied(f"cannot be forked: course.warm ended with status {self.warm.poll()}")


class Forked:
    """A kernel that course.warm has forked; it lives as long as the line to its keeper."""

    def __init__(self, folder, environment, place_order, kept_from):
        self.folder = folder
        file = folder / "kernel.json"
        _, addresses = write_connection_file(
            str(file), ip=str(folder / "kernel"), transport="ipc", key=os.urandom(32).hex().encode()
        )
        order = {"file": str(file), "folder": str(folder), "environment": environment, "kept_from": kept_from}
        self.line = place_order(order)
        self.client = BlockingKernelClient(context=zmq.Context())
        self.client.load_connection_info(addresses)

    def alive(self):
        with contextlib.suppress(OSError):
            self.line.settimeout(10)
            self.line.sendall(b"?")
            return bool(self.line.recv(1))
        return False

    def interrupt(self):
        with contextlib.suppress(OSError):
            self.line.sendall(b"i")

    def end(self):
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_WR)
            self.line.settimeout(10)
            self.line.recv(1)  # comes back when the keeper has ended everything
        self.line.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Fresh:
    """A kernel in a process that has imported nothing yet."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.manager = KernelManager(
            context=zmq.Context(), kernel_spec_manager=ThisPython(), transport_encryption="auto"
        )
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.manager.start_kernel(cwd=str(folder), env=environment, **quiet)
        self.client = self.manager.blocking_client()

    def alive(self):
        return self.manager.is_alive()

    def interrupt(self):
        self.manager.interrupt_kernel()

    def end(self):
        self.manager.shutdown_kernel(now=True)
        shutil.rmtree(self.folder, ignore_errors=True)
