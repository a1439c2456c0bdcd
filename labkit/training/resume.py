"""Checkpoint files: what `labkit.training.fit` writes so that an interrupted run goes on as if nothing had happened.

Three things make that exact. The file is written atomically: a process killed in the middle of writing leaves the old
checkpoint whole. It holds every random state beside weights, optimizer and schedule. And it holds a fingerprint of the
run, so that it is never continued with another network, loss or dataset. It is read without running code from the
file (`weights_only=True`).
"""

import functools
import glob
import inspect
import os
import random
import zlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

FORMAT = "labkit checkpoint 1"


def save(state: dict, path: Path) -> None:
    """Write `state` (tensors, numbers, text, lists, dicts) to `path`.

    The file is the old one or the new one, never half of one: the new one is written beside the old one, forced onto
    the disk, and put in its place by one renaming.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save({"format": FORMAT, **_plain(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the renaming itself must reach the disk too; Windows cannot open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _plain(value):
    """The same with Python's numbers in place of numpy's (a rate from np.logspace), which would not be read back."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if type(value) is list else value


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files that killed writers of `path` have left."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        leftover.unlink(missing_ok=True)


def load(path: Path) -> dict:
    """Read a checkpoint onto the CPU. Raises ValueError when the file is damaged or is no checkpoint of `fit`."""
    advice = "Use another file name, delete the file, or pass resume=False to start anew"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises half a dozen kinds, depending on where the file is broken
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"checkpoint: {path} cannot be read: it is damaged or no checkpoint ({reason}). {advice}"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"checkpoint: {path} was not written by this version of fit. {advice}")
    return state


# ---- random states


def random_states(device: torch.device, batches: Iterable = ()) -> dict:
    """The states of all generators that training may draw from: of torch, Python, numpy, the device, the loader."""
    numpy_state = np.random.get_state(legacy=False)
    key = torch.from_numpy(numpy_state["state"]["key"].astype(np.int64))  # a numpy array would not be read back
    return {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": {**numpy_state, "state": {**numpy_state["state"], "key": key}},
        "device": None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(),
        "loader": [generator.get_state() for generator in _generators(batches)],
    }


def set_random_states(states: dict, device: torch.device, batches: Iterable = ()) -> None:
    """Put all generators back into the `states` that `random_states` returned."""
    numpy_state = states["numpy"]
    key = numpy_state["state"]["key"].numpy().astype(np.uint32)
    torch.set_rng_state(states["torch"])
    random.setstate(states["python"])
    np.random.set_state({**numpy_state, "state": {**numpy_state["state"], "key": key}})
    if states["device"] is not None and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states["device"])
    for generator, state in zip(_generators(batches), states["loader"], strict=True):
        generator.set_state(state)


def _generators(batches: Iterable) -> list[torch.Generator]:
    """A DataLoader's own generators: its own, its sampler's, its batch sampler's."""
    owners = (batches, getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None))
    found = {
        id(g): g for g in (getattr(owner, "generator", None) for owner in owners) if isinstance(g, torch.Generator)
    }
    return list(found.values())


# ---- fingerprints


def fingerprint(**parts) -> dict[str, str]:
    """What a run is made of, in words: {"network": "LeNet", "loss.margin": "0.2", "optimizer.0.lr": "0.001", ...}.

    Describes modules (their layers' settings, their parameters' shapes), optimizers, schedules, DataLoaders, functions
    (with the constants inside them), tensors (with a checksum), containers and plain values. Weights are left out:
    a run may be continued from a network with other weights, since the checkpoint brings its own.
    """
    words = {}
    for name, value in parts.items():
        _describe(name, value, words)
    return words


def differences(made_with: dict[str, str], now: dict[str, str]) -> list[str]:
    """One line for each point in which two fingerprints differ, the more general one where one contains the other."""
    names = [name for name in {**made_with, **now} if made_with.get(name) != now.get(name)]
    inner = {name for name in names if any(name.startswith(f"{outer}.") for outer in names)}
    return [
        f"{name}: the checkpoint was made with {made_with.get(name, 'none')}, this call has {now.get(name, 'none')}"
        for name in names
        if name not in inner
    ]


def _describe(name: str, value, words: dict[str, str]) -> None:
    if value is None or isinstance(value, bool | int | float | complex | str | torch.dtype):
        words[name] = repr(value)
    elif isinstance(value, torch.Tensor | np.ndarray):
        tensor = torch.as_tensor(value).detach().cpu().contiguous()
        words[name] = f"{_shape(tensor)}, checksum {zlib.crc32(tensor.flatten().view(torch.uint8).numpy()):08x}"
    elif isinstance(value, nn.Module):
        for path, module in value.named_modules(prefix=name):
            words[path] = type(module).__name__
            _describe_fields(path, vars(module), words, leave_out=("training",))
        for path, tensor in chain(value.named_parameters(prefix=name), value.named_buffers(prefix=name)):
            words[path] = _shape(tensor)
    elif isinstance(value, torch.optim.Optimizer):
        words[name] = type(value).__name__
        for number, group in enumerate(value.param_groups):
            _describe(f"{name}.{number}", {**group, "params": len(group["params"])}, words)
    elif isinstance(value, torch.optim.lr_scheduler.LRScheduler):
        words[name] = type(value).__name__
        _describe_fields(name, vars(value), words, leave_out=("optimizer",))
        _describe(f"{name}.schedulers", getattr(value, "_schedulers", []), words)  # of SequentialLR and the like
    elif isinstance(value, DataLoader):
        words[name] = type(value).__name__
        words[f"{name}.sampler"] = type(value.sampler).__name__
        words[f"{name}.generators"] = str(len(_generators(value)))
        for field in ("batch_size", "drop_last", "dataset"):
            _describe(f"{name}.{field}", getattr(value, field), words)
    elif isinstance(value, Dataset):
        words[name] = f"{type(value).__name__} of {len(value) if hasattr(value, '__len__') else 'unknown'} items"
        for field in ("tensors", "data", "targets", "classes", "indices", "dataset"):
            if hasattr(value, field):
                _describe(f"{name}.{field}", getattr(value, field), words)
    elif isinstance(value, functools.partial):
        _describe(name, [value.func, *value.args, value.keywords], words)
    elif inspect.isfunction(value):  # the constants inside it and the variables it uses make the run what it is
        used = inspect.getclosurevars(value)
        inside = [*value.__code__.co_consts, *used.nonlocals.values(), *used.globals.values()]
        plain = [
            item for item in inside if isinstance(item, bool | int | float | str | tuple) and item != value.__doc__
        ]
        words[name] = f"{value.__qualname__} with {plain}"
    elif isinstance(value, dict):
        for key, item in value.items():
            _describe(f"{name}.{key}", item, words)
    elif isinstance(value, list | tuple):
        if len(value) > 32:
            words[name] = f"{len(value)} values, checksum {zlib.crc32(repr(value).encode()):08x}"
        else:
            for number, item in enumerate(value):
                _describe(f"{name}.{number}", item, words)
    else:
        words[name] = type(value).__name__


def _describe_fields(name: str, fields: dict, words: dict[str, str], leave_out: tuple[str, ...]) -> None:
    for field, item in fields.items():
        if not field.startswith("_") and field not in leave_out:
            _describe(f"{name}.{field}", item, words)


def _shape(tensor: torch.Tensor) -> str:
    frozen = ", frozen" if isinstance(tensor, nn.Parameter) and not tensor.requires_grad else ""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}{frozen}"
