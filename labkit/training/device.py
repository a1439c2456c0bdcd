"""Where and how a training run runs: its device, precision and processes, its progress bar, and Ctrl-C.

Serves `labkit.training.fit`. What runs in other processes talks to the caller through a `link`, a small tensor in
memory that all of them see: one number asks the run to stop, the others say how far it is.
"""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

STOP, STEP, EPOCH, LOSS, METRIC, SPEED = range(6)  # what the numbers of a link mean

# Fabric announces processes and GPUs on stderr, where a notebook shows errors. Said here, since a new process imports
# this module before Fabric speaks.
for _speaker in ("distributed", "rank_zero"):
    logging.getLogger(f"lightning_fabric.utilities.{_speaker}").setLevel(logging.WARNING)


# ---- device, precision, processes


@dataclass(frozen=True)
class Place:
    """Where a run takes place.

    start: how its processes come to be. "here": there is only this one; "spawn": anew, from a script; "fork": as copies
    of this one, from a notebook; "torchrun": that has started them already.
    """

    device: torch.device
    precision: str
    processes: int
    start: str

    @property
    def launches(self) -> bool:
        return self.start in ("spawn", "fork")

    def fabric(self):
        """The Fabric for this place."""
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments import LightningEnvironment

        options = {"accelerator": self.device.type, "precision": self.precision}
        if self.start == "torchrun":
            nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
            return Fabric(devices=self.processes // nodes, num_nodes=nodes, strategy="ddp", **options)
        strategy = {"here": "auto", "spawn": "ddp_spawn", "fork": "ddp_notebook"}[self.start]
        devices = self.processes if self.device.index is None else [self.device.index]
        # Naming the environment keeps Fabric from looking for a cluster's job manager.
        return Fabric(devices=devices, strategy=strategy, plugins=[LightningEnvironment()], **options)


def place(network: nn.Module, device: str | torch.device, precision: str, processes: int | None) -> Place:
    """Choose the place for a run of `fit` from its arguments. Raises ValueError for what this machine cannot do."""
    import lightning_fabric  # noqa: F401  sets PyTorch's fork-safe way to look for GPUs

    device = choose_device(device, dtype_of(network))
    if processes is not None and (not isinstance(processes, int) or processes < 1):
        raise ValueError(f"processes: got {processes!r}, expected a whole number of at least 1, or None")
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        world = int(os.environ["WORLD_SIZE"])
        if processes not in (None, world):
            raise ValueError(f"processes: got {processes}, but torchrun has started {world}; leave it None")
        processes, start = world, "torchrun"
    elif processes in (None, 1):
        processes, start = 1, "here"
    else:
        start = "fork" if hasattr(sys, "ps1") else "spawn"  # what a notebook defines, a new process cannot import
        _check_launch(device, processes, start)
    return Place(device, choose_precision(precision, device, start), processes, start)


def choose_device(device: str | torch.device, dtype: torch.dtype = torch.float32) -> torch.device:
    """The device meant by `device`; "auto": CUDA, else MPS (which has no float64), else the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    usable = found is not None and found.type in ("cuda", "mps")
    if device == "auto":
        return found if usable and not (found.type == "mps" and dtype == torch.float64) else torch.device("cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device: got {device!r}, expected 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'") from error
    if chosen.type != "cpu" and not (usable and found.type == chosen.type):
        raise ValueError(f"device: got {device!r}, but this machine has {found.type if usable else 'only a CPU'}")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device: got {device!r}, but this machine has {torch.cuda.device_count()} CUDA devices")
    return chosen


def choose_precision(precision: str, device: torch.device, start: str = "here") -> str:
    """ "32-true" or "bf16-mixed"; "auto": bf16-mixed on CUDA where the GPU computes in it, elsewhere 32-true."""
    if precision not in ("auto", "32-true", "bf16-mixed"):
        raise ValueError(f"precision: got {precision!r}, expected 'auto', '32-true' or 'bf16-mixed'")
    if precision != "auto":
        return precision
    # Asking the GPU starts CUDA in this process, after which it must not be forked.
    asks = device.type == "cuda" and start != "fork"
    return "bf16-mixed" if asks and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"


def dtype_of(network: nn.Module) -> torch.dtype:
    """The floating point type of a network's parameters."""
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)


def device_of(module: nn.Module) -> torch.device:
    """The device on which a module's first parameter or buffer lies."""
    return next((t.device for tensors in (module.parameters(), module.buffers()) for t in tensors), torch.device("cpu"))


def _check_launch(device: torch.device, processes: int, start: str) -> None:
    if device.type == "mps" or (device.type == "cuda" and processes > torch.cuda.device_count()):
        available = torch.cuda.device_count() if device.type == "cuda" else 1
        raise ValueError(
            f"processes: got {processes}, but there are {available} of {device.type}; device='cpu' takes any number"
        )
    if device.index is not None:
        raise ValueError(
            f"device: got '{device}' with processes={processes}, expected '{device.type}' without a number"
        )
    if start == "fork" and start not in multiprocessing.get_all_start_methods():
        raise ValueError("processes: several processes cannot be started from a notebook on this system; use a script")
    if start == "fork" and device.type == "cuda" and torch.cuda.is_initialized():
        raise ValueError("processes: this notebook has used the GPU already; restart its kernel and call fit first")


# ---- starting processes


def launch(place: Place, function: Callable, link: torch.Tensor, job) -> None:
    """Run `function(fabric, link, job)` in `place.processes` new processes and wait for their end.

    Results do not come back that way (a returned tensor can hang the launcher): leave them in a file.
    """
    if place.start == "spawn":
        for name, value in vars(job).items():
            _check_picklable(name, value)
    others = set(multiprocessing.active_children())
    environment = dict(os.environ)
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all on this machine, whatever its host name leads to
    try:
        place.fabric().launch(_in_process, function, link, job)
    except KeyboardInterrupt:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    except Exception as error:
        if link[STOP]:  # Ctrl-C has met processes that were just starting
            raise KeyboardInterrupt("stopped while the processes were not ready for it; see the error above") from error
        raise
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]  # the port of this run, for one: the next shall find a free one


def _in_process(fabric, function: Callable, link: torch.Tensor, job) -> None:
    """What a new process does first."""
    parent = os.getppid()

    def leave_with_parent(number, frame):
        """Ctrl-C is left to the caller's process, which asks through the link; its death is told by this signal too."""
        if os.getppid() != parent:
            os._exit(1)

    signal.signal(signal.SIGINT, leave_with_parent)
    if fabric.device.type == "cpu":
        torch.set_num_threads(1)  # the processes are the threads; a forked one can hang with more
    function(fabric, link, job)
    disconnect()


def disconnect() -> None:
    """Leave the process group, if there is one, while Python still runs.

    A thread of Gloo may hold the tensors of the last exchange a little longer than the exchange takes. If it lets go of
    them while Python is shutting down, the process is aborted (SIGABRT) although all its work is done.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _check_picklable(name: str, value) -> None:
    """Lambdas and functions defined inside functions cannot be sent to a new process; say which argument has one."""
    try:
        pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{name}: cannot be sent to other processes ({error}); use a function defined at the top of a module, "
            "or functools.partial of one, instead of a lambda or an inner function"
        ) from error


# ---- Ctrl-C


@contextmanager
def interruptible(link: torch.Tensor):
    """Within this, the first Ctrl-C (or stop button) only sets link[STOP], and the second one interrupts at once.

    Python handles signals in the main thread only; in another one, nothing changes. Nor where Ctrl-C is ignored.
    """

    def handle(number, frame):
        if link[STOP]:
            raise KeyboardInterrupt("stopped at once; the checkpoint, if there is one, is as it was saved last")
        link[STOP] = 1

    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (None, signal.SIG_IGN):
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# ---- progress


class ProgressBar:
    """A bar over all steps of a run, with loss, watched number and images a second; silent unless `show`."""

    def __init__(self, show: bool, epochs: int, steps: int | None, done: tuple[int, int]):
        """`steps`: of the whole run, None if unknown; `done`: steps made and epochs begun before."""
        self.epochs = epochs
        self.bar = None
        if show:
            from tqdm.auto import tqdm

            options = {"total": steps, "initial": done[0], "unit": "step", "mininterval": 0, "miniters": 1}
            self.bar = tqdm(desc=self._epoch(done[1]), **options)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *error) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, link: torch.Tensor, metric: str = "metric") -> None:
        """Draw what the `link` says."""
        if self.bar is None:
            return
        words = [f"loss {link[LOSS]:.4g}"]
        words += [] if link[METRIC].isnan() else [f"{metric} {link[METRIC]:.4g}"]
        words += [f"{link[SPEED]:,.0f} images/s"]
        self.bar.set_description(self._epoch(int(link[EPOCH])), refresh=False)
        self.bar.set_postfix_str(", ".join(words), refresh=False)
        self.bar.update(int(link[STEP]) - self.bar.n)

    def _epoch(self, begun: int) -> str:
        return f"epoch {max(begun, 1)}/{self.epochs}"

    @contextmanager
    def following(self, link: torch.Tensor):
        """Within this, draw again and again what other processes write into the `link`."""
        ended = threading.Event()

        def follow():
            last = False
            while not last:
                last = ended.wait(0.25)
                if link[STEP]:
                    self.show(link)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
