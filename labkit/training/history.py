"""What `labkit.training.fit` is asked for, a Job, and what comes of it, a History."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from labkit.training import resume as checkpoints


@dataclass(repr=False)
class History:
    """What happened during training.

    loss              the loss of every step
    epoch_loss        its mean over every epoch
    learning_rate     the first parameter group's, at every step
    metrics           {name: one value for every epoch}, as `validate` gave them
    best_epoch        the epoch, counted from 1, with the best watched metric (None without `validate`)
    seconds           time spent in epochs, validation included, over all sittings
    training_seconds  the same without validation
    images            how many images went through the network in training
    stopped           why training ended: "epochs" (all done), "patience", or "" (interrupted)
    """

    loss: list[float] = field(default_factory=list)
    epoch_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int | None = None
    seconds: float = 0.0
    training_seconds: float = 0.0
    images: int = 0
    stopped: str = ""

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self.loss)

    @property
    def images_per_second(self) -> float:
        """Training speed, validation left out."""
        return self.images / self.training_seconds if self.training_seconds else 0.0

    def to_dict(self) -> dict:
        """Everything as lists, numbers and text, fit for a JSON file."""
        return {**dataclasses.asdict(self), "steps": self.steps, "images_per_second": self.images_per_second}

    def plot(self):
        """A matplotlib Figure of loss and metrics."""
        from labkit import figures

        return figures.history(self)

    def __repr__(self) -> str:
        last = [f"loss {self.epoch_loss[-1]:.4g}"] if self.epoch_loss else []
        last += [f"{name} {values[-1]:.4g}" for name, values in self.metrics.items()]
        return f"History({self.steps} steps, {len(self.epoch_loss)} epochs: {', '.join(last)})"


@dataclass  # not frozen: Fabric looks for modules in it, so that each process gets weights of its own
class Job:
    """The arguments of `fit`, on their way to the processes that do the work."""

    network: nn.Module
    loss: nn.Module
    batches: Iterable
    epochs: int
    optimizer: Callable
    schedule: Callable | None
    validate: Callable | None
    patience: int | None
    path: Path | None  # of the checkpoint
    every: int | None  # checkpoint_every
    resume: bool
    precision: str
    compile: bool
    clip: float | None
    penalty: object | None
    progress: bool
    keep: bool = True  # False: the checkpoint is written at the end only, to bring the result to the caller's process

    def check(self) -> None:
        """Raises ValueError for arguments that do not fit."""
        for name in ("network", "loss"):
            if not isinstance(getattr(self, name), nn.Module):
                raise ValueError(f"{name}: got {type(getattr(self, name)).__name__}, expected a torch.nn.Module")
        for name, value in (("epochs", self.epochs), ("patience", self.patience), ("checkpoint_every", self.every)):
            if not (value is None and name != "epochs") and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name}: got {value!r}, expected a whole number of at least 1")
        for name in ("optimizer", "schedule", "validate"):
            if not callable(value := getattr(self, name)) and value is not None:
                hint = "a function that makes one, such as torch.optim.SGD" if name == "optimizer" else "a function"
                raise ValueError(f"{name}: got {type(value).__name__}, expected {hint}")
        if self.patience is not None and self.validate is None:
            raise ValueError(f"patience: got {self.patience} without validate, which gives the number to be watched")
        if self.every is not None and self.path is None:
            raise ValueError(f"checkpoint_every: got {self.every} without checkpoint, the file to write")
        if self.path is not None and self.path.is_dir():
            raise ValueError(f"checkpoint: got the folder {self.path}, expected the name of a file")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip: got {self.clip!r}, expected a positive number")
        if self.penalty is not None and not callable(getattr(self.penalty, "add_gradient", None)):
            got = type(self.penalty).__name__
            raise ValueError(f"penalty: got {got}, expected an object with the method add_gradient(network)")
        if not isinstance(self.batches, Iterable) or isinstance(self.batches, Iterator):
            raise ValueError(
                f"batches: got {type(self.batches).__name__}, expected something that can be gone through once an "
                "epoch: labkit.data.Batches, a DataLoader, or a list of (images, labels)"
            )
        if self.schedule is not None and self.total_steps is None:
            raise ValueError(f"schedule: needs the number of steps, but {type(self.batches).__name__} has no length")

    @property
    def total_steps(self) -> int | None:
        """Steps in the whole run, or None where `batches` does not know its length."""
        try:
            return self.epochs * len(self.batches)
        except TypeError:
            return None

    def share(self, rank: int, processes: int) -> Iterable:
        """What process number `rank` goes through: all batches, or its slice of each."""
        if processes == 1:
            return self.batches
        if not hasattr(self.batches, "share"):
            raise ValueError(
                f"batches: got {type(self.batches).__name__} for {processes} processes, expected labkit.data.Batches "
                "or something else whose share(rank, world_size) gives each process its slice of every batch"
            )
        return self.batches.share(rank, processes)

    def optimizer_and_schedule(self) -> tuple:
        """New ones for the parameters of network and loss; the schedule may be None."""
        parameters = [p for module in (self.network, self.loss) for p in module.parameters() if p.requires_grad]
        if not parameters:
            raise ValueError("network: has no parameter that requires a gradient, so there is nothing to train")
        optimizer = self.optimizer(list(dict.fromkeys(parameters)))  # a loss may share some with the network
        return optimizer, None if self.schedule is None else self.schedule(optimizer, self.total_steps)

    def fingerprint(self, optimizer, schedule, processes: int) -> dict[str, str]:
        """All that makes this run the run it is; the number of epochs only where a schedule depends on it."""
        return checkpoints.fingerprint(
            network=self.network,
            loss=self.loss,
            batches=self.batches.describe() if hasattr(self.batches, "describe") else self.batches,
            optimizer=optimizer,
            schedule=schedule,
            epochs=self.epochs if self.schedule is not None else "any",
            validate=self.validate is not None,
            patience=self.patience,
            clip=self.clip,
            penalty=self.penalty.describe() if hasattr(self.penalty, "describe") else self.penalty,
            precision=self.precision,
            processes=processes,
        )

    def saved_state(self) -> dict | None:
        """The state in the checkpoint file, or None where there is none to go on from."""
        return checkpoints.load(self.path) if self.resume and self.path is not None and self.path.exists() else None


def check_same_run(job: Job, state: dict, fingerprint: dict[str, str]) -> None:
    """ValueError unless the run in `state` is the one that `job` describes."""
    if different := checkpoints.differences(state["fingerprint"], fingerprint):
        lines = "\n  ".join(different)
        raise ValueError(
            f"checkpoint: {job.path} belongs to another run.\n  {lines}\n"
            "Give this run a file of its own, or pass resume=False to start anew and overwrite the old one"
        )
    if begun(state) > job.epochs:
        raise ValueError(f"epochs: got {job.epochs}, but the run in {job.path} is already in epoch {begun(state)}")


def begun(state: dict) -> int:
    """Epochs that the run in `state` has begun."""
    return state["epoch"] + (state["step"] > 0)


def finished(job: Job, state: dict) -> bool:
    """Whether the run in `state` has done all that `job` asks for."""
    return state["history"]["stopped"] == "patience" or state["epoch"] == job.epochs
