"""A process that imports once what labs import, and forks a kernel for whoever asks. Linux; course.kernels starts it.

    python -P -m course.warm ADDRESS MODULE ...

listens at the Unix socket ADDRESS until its standard input ends. Whoever connects sends one line of JSON: the kernel's
connection file, its folder, environment variables to add, and what it is to be kept from (course.confine). A keeper is
forked, which forks the kernel and stays its parent. The connection is the kernel's life: an "i" on it interrupts the
kernel, a "?" is answered while it lives; when either end closes the connection, the kernel and everything that it has
started are ended. So nothing outlives a submission, and whoever kills its own parent process kills its keeper, and with
it only itself.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path

from course import confine

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
LIMITS = {  # a kernel's own; generous for every lab
    resource.RLIMIT_DATA: 8 * 2**30,
    resource.RLIMIT_FSIZE: 2**30,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NPROC: 4096,  # of the user, threads too
}


def main(address, *modules):
    """Import, then fork for every connection."""
    for name in modules:
        with contextlib.suppress(Exception):  # what is missing is told where a cell needs it
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # pages that the garbage collector does not touch stay shared
    confined = confine.works()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers that end leave nothing behind
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                try:
                    keep(connection, confined)
                finally:
                    os._exit(0)
            connection.close()


def keep(connection, confined):
    """Fork a kernel and stay beside it until it ends or the connection is closed; leave no process behind.

    The first byte that is sent says whether the kernel is confined.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # what the kernel starts comes back to this process when its parent ends
    with connection.makefile("r", encoding="utf-8") as lines:
        order = json.loads(lines.readline())
    for stream in (0, 1, 2):  # a kernel that is not confined can write to those of its parent
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    kept_from = order.pop("kept_from")
    if confined:
        confine.leave(os.getuid(), os.getgid())
    kernel = os.fork()
    if kernel == 0:
        try:
            connection.close()
            if confined:
                confine.arrange(order["folder"], **kept_from)
            run_kernel(**order)
        finally:
            os._exit(1)
    connection.send(b"c" if confined else b"!")
    ended = os.pidfd_open(kernel)
    while True:
        ready, _, _ = select.select([connection, ended], [], [])
        if ended in ready:
            break
        word = connection.recv(1)
        if word == b"?":
            connection.send(word)
        elif word == b"i":
            os.killpg(kernel, signal.SIGINT)
        else:
            break
    end_children()


def run_kernel(file, folder, environment):
    """Become the kernel that answers at the addresses in the connection file."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for stream in (1, 2):
        os.dup2(0, stream)
    os.chdir(folder)
    os.environ.update(environment)
    for limit, most in LIMITS.items():
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    IPKernelApp.launch_instance(["-f", file, "--log-level=CRITICAL", "--HistoryManager.enabled=False"])


def end_children():
    """Kill all children, those that come back from ended ones too, until there is none."""
    while True:
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def prctl(option, value):
    """Set an option of this process (man 2 prctl)."""
    ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # some of the modules complain when they are taken down
