"""fit: a training run from beginning to end, around the loop in labkit.training.loop."""

import functools
import operator
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import nn
from tqdm.auto import tqdm

from labkit import checks
from labkit.training.device import choose_device, place_of
from labkit.training.history import History
from labkit.training.loop import steps
from labkit.training.resume import Resume
from labkit.training.sharded import large_run


@runtime_checkable
class Penalty(Protocol):
    """What adds to the gradients of a network in every step, such as a labkit.distancing.DistancePenalty."""

    def add_gradient(self, network: nn.Module) -> None: ...


KINDS = {  # what `fit` takes, and how that is said
    "network": (nn.Module, "a torch.nn.Module"),
    "loss": (nn.Module, "a torch.nn.Module"),
    "batches": (Iterable, "what gives pairs (images, labels) anew in every epoch, such as labkit.data.Batches"),
    "optimizer": (Callable | None, "a function that makes one, such as torch.optim.SGD"),
    "schedule": (Callable | None, "a function that makes one"),
    "validate": (Callable | None, "a function of the network"),
    "penalty": (Penalty | None, "an object with the method add_gradient(network)"),
    "save": (Resume | None, "a labkit.training.Resume"),
}
NUMBERS = {"epochs": checks.whole, "patience": checks.whole, "lr": checks.positive, "clip": checks.positive}


def fit(
    network: nn.Module,
    loss: nn.Module,
    batches: Iterable,
    epochs: int,
    lr: float | None = None,
    optimizer: Callable | None = None,
    schedule: Callable | None = None,
    validate: Callable | None = None,
    patience: int | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    clip: float | None = None,
    penalty: Penalty | None = None,
    save: Resume | None = None,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> History:
    """Train `network` so that `loss(network(images), labels)` becomes small: labkit.training.steps, epoch after epoch.

    network, loss: trained in place, the loss's parameters too; left in evaluation mode, where the network lay.
    batches, clip, penalty: as of `steps`. progress: show a bar. schedule: (optimizer, total steps) -> LRScheduler.
    lr: learning rate of Adam, default 1e-3. optimizer: instead of it, parameters -> Optimizer.
    validate: network -> number or {name: number}, after every epoch; the first is watched, and higher is better.
    patience: stop after so many epochs without a better watched number; the best epoch's weights come back.
    device: "auto" (CUDA, else MPS, else CPU) or a name. precision: "32-true", "bf16-mixed", "auto" (bf16 on CUDA).
    save: a Resume(file), which saves the run and goes on with it. checkpoint: a file, short for save=Resume(file).
    Raises ValueError, FloatingPointError for a loss that is not finite, KeyboardInterrupt at Ctrl-C; the weights stay.

    >>> fit(nn.Linear(3, 2), nn.CrossEntropyLoss(), [(torch.eye(3), torch.arange(3) % 2)], 5, progress=False).steps
    5
    """
    _check(locals())
    both, (home, dtype) = nn.ModuleList([network, loss]), place_of(network)
    device, total = choose_device(device, dtype), epochs * operator.length_hint(batches) or None
    history, number, best = History(), 0, None
    save = save if checkpoint is None else Resume(checkpoint)
    after = (lambda *run: None) if save is None else save.after
    try:
        if any(isinstance(layer, nn.Conv2d) for layer in both.to(device).modules()):
            network.to(memory_format=torch.channels_last)  # what such weights meet becomes channels_last too
        batches = batches.to(device) if hasattr(batches, "to") else _Pairs(batches)
        make = optimizer or functools.partial(torch.optim.Adam, lr=lr or 1e-3, fused=True)
        optimizer = make([parameter for parameter in both.parameters() if parameter.requires_grad])
        made = {"optimizer": optimizer, "schedule": schedule and schedule(optimizer, total)}
        run = {"network": network, "loss": loss, "batches": batches, "clip": clip, "penalty": penalty, **made}
        if device.type != "cpu" or precision != "auto" or dtype.itemsize < 4 or "TORCHELASTIC_RUN_ID" in os.environ:
            run, validate, progress = large_run(run, validate, progress, device, precision)
        if save is not None:
            history, number, best = save.begin(both, made, batches, epochs, {"clip": clip, "patience": patience})
        bar = tqdm(desc=f"epoch 1/{epochs}", total=total, initial=len(history.loss), unit="step", disable=not progress)
        with save or nullcontext(), bar:
            while not history.stopped:
                epoch, begun = len(history.epoch_loss), time.perf_counter()
                bar.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
                for step in steps(**run, start=(epoch, number), epochs=epoch + 1):
                    history.add(step)
                    number = step.number + 1
                    bar.update()
                    after(history, number, best)
                history.epoch_loss.append(history.fetch(number))
                history.training_seconds += time.perf_counter() - begun
                if validate is not None:
                    with torch.no_grad():
                        history.watch(validate(network.eval()))
                if patience is not None:
                    best = _best(both, history, patience, best)
                number, history.seconds = 0, history.seconds + time.perf_counter() - begun
                history.stopped = history.stopped or ("epochs" if epoch + 1 == epochs else "")
                bar.set_postfix({"loss": history.epoch_loss[-1]} | {name: v[-1] for name, v in history.metrics.items()})
                after(history, number, best)
        if best is not None:
            both.load_state_dict(best)
        return history
    except (ValueError, KeyboardInterrupt) as error:
        raise _explained(error, history, epochs, total, save) from error.__cause__
    finally:
        both.eval().to(home, memory_format=torch.contiguous_format)


def _check(given: dict) -> None:
    for name, (kind, expected) in KINDS.items():
        if not isinstance(given[name], kind):
            raise ValueError(f"{name}: got {type(given[name]).__name__}, expected {expected}")
    for name, check in NUMBERS.items():
        if given[name] is not None or name == "epochs":
            check(name, given[name])
    for name, other in (("lr", "optimizer"), ("checkpoint", "save")):
        if given[name] is not None and given[other] is not None:
            raise ValueError(f"{name}: got {given[name]} together with {other}, expected one of them")
    if given["schedule"] is not None and not operator.length_hint(given["batches"]):
        raise ValueError("schedule: got one for batches without a length, expected labkit.data.Batches or a DataLoader")
    if given["patience"] is not None and given["validate"] is None:
        raise ValueError(f"patience: got {given['patience']} without validate, expected a number to watch")


class _Pairs:
    """Batches that are not labkit's: each is looked at before it is used."""

    def __init__(self, batches: Iterable):
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in self.batches:
            pair = list(batch) if isinstance(batch, list | tuple) else [batch]
            if len(pair) != 2 or not all(isinstance(part, torch.Tensor) for part in pair):
                raise ValueError(f"batches: got {type(batch).__name__}, expected pairs of tensors (images, labels)")
            (images, labels), got = pair, " and ".join(map(checks.describe, pair))
            if not images.is_floating_point() or labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
                raise ValueError(f"batches: got {got}, expected floats (B, ...), normalized, and int64 (B,)")
            yield images, labels


def _best(both: nn.Module, history: History, patience: int, best: dict | None) -> dict | None:
    """The best epoch's weights. Ends the run when patience does."""
    epoch = len(history.epoch_loss)
    if history.best_epoch == epoch:
        return {name: tensor.clone() for name, tensor in both.state_dict().items()}
    if epoch - (history.best_epoch or 0) >= patience:
        history.stopped = "patience"
    return best


def _explained(error: BaseException, history: History, epochs: int, total: int | None, save: Resume | None):
    """What to raise for an error: it says where training stands."""
    epoch = min(len(history.epoch_loss) + 1, epochs)
    if isinstance(error, KeyboardInterrupt):
        of = "" if total is None else f" of {total}"
        left = "nothing was saved, as save=None; the network holds the weights so far"
        left = left if save is None else save.left(history)
        return KeyboardInterrupt(f"stopped after step {history.steps}{of} (epoch {epoch}); {left}")
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code is steps.__code__]
    if not frames:  # it did not come from a step
        return error
    embeddings = frames[0].f_locals.get("embeddings")
    if embeddings is not None and not embeddings.isfinite().all():
        return history.diverged("the embeddings are not finite numbers", history.steps + 1)
    error.add_note(f"This happened in step {history.steps + 1} (epoch {epoch}) of fit.")
    return error
