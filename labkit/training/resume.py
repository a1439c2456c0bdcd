"""Saving a run, every random state included, and going on with it: on a CPU bit for bit as if nothing had happened."""

import dataclasses
import glob
import io
import os
import random
import signal
import threading
import time
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import nn

from labkit import checks
from labkit.training.device import place_of, world_size
from labkit.training.history import History
from labkit.training.sharded import of_all_processes, rank

FORMAT = "labkit checkpoint 2"


class Resume:
    """Where `fit` saves a run, and from where it goes on.

    path: of the file. A run that is finished there returns at once; with more epochs it goes on, if it has no schedule.
    every: steps between two saves; default: the end of every epoch, as always with batches that are not labkit's.
    run_id: what makes this run the run it is beside its arguments, {name: plain value}.
    The first Ctrl-C waits for the end of the step and saves the run; a second one leaves the file as it was.
    Raises ValueError for arguments that do not fit. `fit` raises it for a file that is damaged or of another run, and
    OSError, with the file's name, for one that cannot be written.

    >>> Resume("build/run.ckpt", every=50, run_id={"table": "center"}).path.name
    'run.ckpt'
    """

    def __init__(self, path: str | Path, every: int | None = None, run_id: dict | None = None):
        self.path, self.run_id = Path(path), run_id or {}
        self.every = every if every is None else checks.whole("every", every)
        if self.path.is_dir():
            raise ValueError(f"path: got the folder {self.path}, expected the name of a file")

    def begin(
        self, modules: nn.Module, made: dict, batches: Iterable, epochs: int, settings: dict
    ) -> tuple[History, int, dict | None]:
        """The run so far, or a new one: its history, the steps done in the epoch that runs, the best weights."""
        optimizer, schedule = made["optimizer"], made["schedule"]
        self.parts = {"modules": modules, "optimizer": optimizer} | ({"schedule": schedule} if schedule else {})
        self.exact = hasattr(batches, "iterate")
        if self.every is not None and not self.exact:
            raise ValueError(f"every: got {self.every}, expected None for batches that are not labkit.data.Batches")
        known = {"schedule": schedule and type(schedule).__name__, "epochs": epochs if schedule else "any"}
        known |= {"modules": described(modules), "optimizer": optimizer, "processes": world_size(), **settings}
        inner = {"batches": batches.describe() if hasattr(batches, "describe") else {}, "run_id": self.run_id}
        known |= {f"{part}.{name}": value for part, values in inner.items() for name, value in values.items()}
        self.known = {name: str(value) for name, value in known.items()}
        self.device, self.asked, self.saved, self.begun = place_of(modules)[0], 0, None, time.perf_counter()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.tmp"):
            leftover.unlink(missing_ok=True)  # of a writer that was killed
        return self._restored(load(self.path), epochs) if self.path.exists() else (History(), 0, None)

    def after(self, history: History, number: int, best: dict | None) -> None:
        """After step `number` of an epoch, or with number 0 after it: save where it is time to, stop if asked to."""
        if number:
            due = self.exact and (self.asked or (self.every is not None and history.steps % self.every == 0))
        else:
            due = self.asked or self.every is None or history.stopped
        if due:
            self._write(history, number, best)
        if number == 0:
            self.begun = time.perf_counter()
        if self.asked:
            raise KeyboardInterrupt

    def __enter__(self) -> "Resume":
        """From here on, a first Ctrl-C, which Python gives to the main thread alone, waits for `after`."""
        self.before = signal.getsignal(signal.SIGINT)
        main = threading.current_thread() is threading.main_thread()
        if not main or self.before in (None, signal.SIG_IGN) or world_size() > 1:  # torchrun stops all its processes
            self.before = None
        else:
            signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(self, *error) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def left(self, history: History) -> str:
        """What a stopped run says of its file."""
        if self.saved is None:
            return f"nothing was saved to {self.path} yet; the network holds the weights so far"
        there = "saved" if self.saved == history.steps else f"step {self.saved} is saved"
        return f"{there} to {self.path}; call fit again with the same arguments to go on"

    def _interrupted(self, *signal_and_frame) -> None:
        self.asked += 1
        if self.asked > 1:
            raise KeyboardInterrupt

    def _restored(self, state: dict, epochs: int) -> tuple[History, int, dict | None]:
        if state["known"] != self.known:
            other = f"save: {self.path} belongs to another run. {_difference(state['known'], self.known)}"
            raise ValueError(f"{other}. Give this run a file of its own, or delete that one")
        history, number = History(**state["history"]), state["number"]
        begun = len(history.epoch_loss) + (number > 0)
        if begun > epochs:
            raise ValueError(f"epochs: got {epochs}, but the run in {self.path} is already in epoch {begun}")
        if history.stopped != "patience":
            history.stopped = "epochs" if len(history.epoch_loss) == epochs else ""
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"save: {self.path} belongs to another run: {error}") from error
        set_random_states(state["random"][rank()], self.device)
        self.saved = history.steps
        return history, number, state["best"]

    def _write(self, history: History, number: int, best: dict | None) -> None:
        if number:
            history.fetch(number)
        so_far = dataclasses.asdict(history)
        for name in ("seconds", "training_seconds") if number else ():  # of the epoch that runs
            so_far[name] += time.perf_counter() - self.begun
        states = {name: part.state_dict() for name, part in self.parts.items()}
        random_of_all = of_all_processes(random_states(self.device))
        if rank() == 0:
            rest = {"known": self.known, "random": random_of_all, "number": number, "history": so_far, "best": best}
            save({**states, **rest}, self.path)
        of_all_processes(None)  # nobody goes on to read a file that is still being written
        self.saved = history.steps


def described(module: nn.Module) -> str:
    """A module, and line by line the plain values that it and those in it hold, which its repr may leave out."""
    held = [(name, *item) for name, part in module.named_modules() for item in vars(part).items()]
    plain = [one for one in held if isinstance(one[2], int | float | str | tuple | list) and one[1] != "training"]
    return "\n".join([str(module), *(f"{name} {key}={value}".strip() for name, key, value in plain if key[0] != "_")])


def _difference(made_with: dict[str, str], now: dict[str, str]) -> str:
    """The first line in which two runs differ."""
    name = next(name for name in {**made_with, **now} if made_with.get(name) != now.get(name))
    lines = zip_longest(*(known.get(name, "nothing").splitlines() for known in (made_with, now)), fillvalue="nothing")
    before, after = next((before.strip(), after.strip()) for before, after in lines if before != after)
    return f"{name}: it was made with {before}, this call has {after}"


def save(state: dict, path: Path) -> None:
    """Write `state` to `path`, which holds the old file or the new one, never half of one. OSError names the file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    content = io.BytesIO()  # torch would say nothing of a full disk
    torch.save({"format": FORMAT, **_plain(state)}, content)
    try:
        with open(temporary, "wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, f"the run cannot be saved: {error.strerror}", str(path)) from error
        raise


def _plain(value):
    """The same with Python's numbers instead of numpy's (a rate from np.logspace), which would not be read back."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if type(value) is list else value


def load(path: Path) -> dict:
    """Read a file of `save` onto the CPU. Raises ValueError when it is damaged or something else."""
    advice = "Use another file name, or delete the file to start anew"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises half a dozen kinds, depending on where the file is broken
        reason = f"{type(error).__name__} {error}".splitlines()[0].strip()
        raise ValueError(f"save: {path} cannot be read, it is damaged or no checkpoint ({reason}). {advice}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"save: {path} was not written by this version of fit. {advice}")
    return state


def random_states(device: torch.device) -> dict:
    """The states of all generators that training may draw from: torch's, Python's, numpy's and the device's."""
    return {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()],
        "device": None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(),
    }


def set_random_states(states: dict, device: torch.device) -> None:
    """Put all generators back into the `states` that `random_states` returned."""
    torch.set_rng_state(states["torch"])
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))
    if states["device"] is not None and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states["device"])
