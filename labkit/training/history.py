"""What happened during training."""

import math
from dataclasses import dataclass, field

from labkit.training.loop import Step


@dataclass(repr=False)
class History:
    """What `fit` returns.

    loss: of every step; epoch_loss: its mean over every epoch.
    learning_rate: that of the optimizer's first group, at every step.
    metrics: {name: one value for every epoch}, as `validate` gave them.
    best_epoch: the epoch, counted from 1, with the best watched metric; None without `validate`.
    seconds: time spent in epochs, over all sittings; training_seconds: the same without validation.
    images: how many went through the network in training.
    stopped: why training ended: "epochs" (all done), "patience", or "" (interrupted).

    >>> History(epoch_loss=[2.0], metrics={"accuracy": [0.5]})
    History(0 steps, 1 epochs: loss 2, accuracy 0.5)
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
        return len(self.learning_rate)

    @property
    def images_per_second(self) -> float:
        """Training speed, validation left out."""
        return self.images / self.training_seconds if self.training_seconds else 0.0

    def plot(self) -> "Figure":  # noqa: F821 (of matplotlib, for which training need not wait)
        """A matplotlib Figure of loss and metrics."""
        from labkit import figures

        return figures.history(self)

    def __repr__(self) -> str:
        latest = {"loss": self.epoch_loss, **self.metrics}
        words = ", ".join(f"{name} {values[-1]:.4g}" for name, values in latest.items() if values)
        return f"History({self.steps} steps, {len(self.epoch_loss)} epochs: {words})"

    def add(self, step: Step) -> None:
        """Take up a step. Its loss stays on the device until the epoch ends, so that nothing waits for a GPU."""
        self.loss.append(step.loss), self.learning_rate.append(step.rate)
        self.images += step.images

    def fetch(self, count: int) -> float:
        """Make numbers of the last `count` losses; returns their mean. FloatingPointError if one is not finite."""
        recent = self.loss[-count:] = [float(value) for value in self.loss[-count:]]
        for step, value in enumerate(recent, len(self.loss) - count + 1):
            if not math.isfinite(value):
                raise self.diverged(f"the loss is {value}", step)
        return sum(recent) / count

    def watch(self, found: object) -> None:
        """Take up what `validate` has found after an epoch; the first number is watched."""
        numbers = found if isinstance(found, dict) else {"metric": found}
        if not numbers or not all(hasattr(number, "__float__") for number in numbers.values()):
            raise ValueError(f"validate: returned {found!r}, expected a number or {{name: number}}")
        for name, number in numbers.items():
            self.metrics.setdefault(name, []).append(float(number))
        watched = next(iter(self.metrics.values()))
        if watched[-1] > (watched[self.best_epoch - 1] if self.best_epoch else -math.inf):
            self.best_epoch = len(watched)

    def diverged(self, what: str, step: int) -> FloatingPointError:
        """What to raise when a number is not finite in `step`, counted from 1."""
        rate = self.learning_rate[min(step, self.steps) - 1] if self.steps else math.nan
        return FloatingPointError(
            f"{what} in step {step} (epoch {len(self.epoch_loss) + 1}). Look at the learning rate first (it is "
            f"{rate:g}: try a tenth, or clip=1.0), then for unnormalized images and a root or logarithm of 0"
        )
