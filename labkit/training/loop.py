"""The training loop behind `labkit.training.fit`: images -> embeddings -> loss -> gradients -> step."""

import dataclasses
import math
import time
import warnings
from collections.abc import Iterator
from itertools import islice

import torch
from torch import nn

from labkit.training import device as running
from labkit.training import resume as checkpoints
from labkit.training.device import EPOCH, LOSS, METRIC, SPEED, STEP, STOP
from labkit.training.history import History, Job, check_same_run


class Run:
    """A run in one process: what a checkpoint holds, and the steps that change it."""

    REFRESH = 0.25  # seconds between two reports of progress, for which a GPU must wait
    AGREE = 10  # steps after which several processes ask each other whether to stop

    def __init__(self, fabric, job: Job, link: torch.Tensor):
        self.fabric, self.job, self.link = fabric, job, link
        self.device, self.world, self.dtype = fabric.device, fabric.world_size, running.dtype_of(job.network)
        self.network, self.loss = job.network.to(self.device), job.loss.to(self.device)
        if any(isinstance(layer, nn.Conv2d) for layer in self.network.modules()):
            self.network.to(memory_format=torch.channels_last)  # what such weights meet becomes channels_last too
        self.optimizer, self.schedule = job.optimizer_and_schedule()
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        module = torch.compile(self.network) if job.compile else self.network
        self.module = fabric.setup_module(module, move_to_device=False)
        batches = job.share(fabric.global_rank, self.world)
        self.batches = batches.to(self.device) if hasattr(batches, "to") else batches
        update = getattr(type(self.loss), "update", None)
        self.has_update = update is not None and not update.__module__.startswith("torch.")  # as ModuleDict has one
        self.fingerprint = job.fingerprint(self.optimizer, self.schedule, self.world)
        self.history = History()
        self.epoch = 0  # epochs done
        self.step = 0  # steps done in the epoch that runs
        self.best = None  # the weights of the best epoch, kept when there is `patience`
        self.epoch_random = None  # the random states with which the epoch began, for iterables other than Batches
        self.pending = []  # losses that are still on the device
        self.stopping = False
        self.bar = None
        self.reported = 0.0
        if self.world > 1:
            # Fabric gathers with a function that torch wants to replace by one that is not public yet.
            deprecated = "torch.distributed.nn.functional.all_gather is deprecated"
            warnings.filterwarnings("ignore", message=deprecated, category=FutureWarning)
        if fabric.global_rank > 0:
            torch.manual_seed(torch.initial_seed() + fabric.global_rank)  # other dropout for other images

    # -- training

    def train(self) -> None:
        """Train until the epochs are done, patience ends or a stop is asked for."""
        self.clock = time.perf_counter()
        while not (self.history.stopped or self.stopping):
            self._train_epoch()
            if not self.stopping:
                self._end_epoch()
        self._report(last=True)
        if self.history.stopped and self.best:
            self.network.load_state_dict(self.best["network"])
            self.loss.load_state_dict(self.best["loss"])
        elif self.stopping and self.job.path is not None:
            self.save()

    def _train_epoch(self) -> None:
        self.network.train()
        self.loss.train()
        for batch in self._batches_of_epoch():
            try:
                self._train_step(*self._placed(batch))
            except ValueError as error:
                error.add_note(f"This happened in step {self.steps + 1} (epoch {self.epoch + 1}) of fit.")
                raise
            self.step += 1
            if self.device.type == "cpu":
                self._fetch_losses()
            self._report()
            if self.job.every is not None and self.steps % self.job.every == 0:
                self.save()
            if self._stop_asked():
                return

    def _batches_of_epoch(self) -> Iterator:
        """This epoch's batches from position `step` on."""
        if hasattr(self.batches, "iterate"):
            yield from self.batches.iterate(self.epoch, self.step)
        elif self.step == 0:
            self.epoch_random = checkpoints.random_states(self.device, self.batches)
            yield from self.batches
        else:  # go through what was seen as it was then, and take up the states of the checkpoint
            states = checkpoints.random_states(self.device, self.batches)
            checkpoints.set_random_states(self.epoch_random, self.device, self.batches)
            iterator = iter(self.batches)
            for _ in islice(iterator, self.step):
                pass
            checkpoints.set_random_states(states, self.device, self.batches)
            yield from iterator

    def _placed(self, batch) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch, checked and brought to the device."""
        if not (
            isinstance(batch, list | tuple) and len(batch) == 2 and all(isinstance(t, torch.Tensor) for t in batch)
        ):
            raise ValueError(f"batches: gave {type(batch).__name__}, expected pairs of tensors (images, labels)")
        images, labels = batch
        if not images.is_floating_point():
            raise ValueError(f"batches: gave images of {images.dtype}, expected floats (normalized, not 0 to 255)")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            got = f"{labels.dtype} {tuple(labels.shape)}"
            raise ValueError(f"batches: gave labels {got}, expected torch.int64 ({len(images)},), one for each image")
        return images.to(self.device, self.dtype, non_blocking=True), labels.to(self.device, non_blocking=True)

    def _train_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        embeddings = self.module(images)
        if embeddings.dtype in (torch.float16, torch.bfloat16):
            embeddings = embeddings.float()
        if self.world > 1:
            embeddings = self.fabric.all_gather(embeddings, sync_grads=True).flatten(0, 1)
            labels = self.fabric.all_gather(labels).flatten()
        try:
            value = self.loss(embeddings, labels)
        except ValueError:
            if not embeddings.isfinite().all():
                raise self._diverged("the embeddings are not finite numbers", self.steps + 1) from None
            raise
        self.optimizer.zero_grad()
        self.fabric.backward(value)
        if self.world > 1:  # every process has the whole gradient of the loss's parameters, up to rounding
            for parameter in self.loss.parameters():
                if parameter.grad is not None:
                    self.fabric.all_reduce(parameter.grad)
        if self.job.penalty is not None:
            self.job.penalty.add_gradient(self.network)
        if self.job.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.job.clip)
        self.history.learning_rate.append(float(self.optimizer.param_groups[0]["lr"]))
        self.optimizer.step()
        if self.has_update:
            with torch.no_grad():
                self.loss.update(embeddings.detach(), labels)
        if self.schedule is not None:
            self.schedule.step()
        self.pending.append(value.detach())
        self.history.images += len(labels)

    def _end_epoch(self) -> None:
        if self.step == 0:
            raise ValueError(f"batches: {type(self.job.batches).__name__} gave no batch in epoch {self.epoch + 1}")
        self._fetch_losses()
        self._tick(training=True)
        self.history.epoch_loss.append(sum(self.history.loss[-self.step :]) / self.step)
        self.epoch, self.step = self.epoch + 1, 0
        if self.job.validate is not None:
            self._validate()
        self._tick(training=False)
        if self.epoch == self.job.epochs:
            self.history.stopped = self.history.stopped or "epochs"
        self._report()
        if self.job.path is not None and (self.history.stopped or (self.job.keep and self.job.every is None)):
            self.save()
        self._stop_asked()

    def _validate(self) -> None:
        """Ask `validate` in one process, tell all, and remember the best epoch."""
        self.network.eval()
        numbers = None
        if self.fabric.is_global_zero:
            with torch.no_grad():
                numbers = self.job.validate(self.network)
            numbers = _metrics(numbers)
        if self.world > 1:
            numbers = self.fabric.broadcast(numbers)
        for name, number in numbers.items():
            self.history.metrics.setdefault(name, []).append(number)
        watched = next(iter(self.history.metrics.values()))
        self.link[METRIC] = watched[-1]
        best = self.history.best_epoch
        if watched[-1] > (watched[best - 1] if best else -math.inf):
            self.history.best_epoch = self.epoch
            if self.job.patience is not None:
                self.best = {"network": _copy(self.network.state_dict()), "loss": _copy(self.loss.state_dict())}
        elif self.job.patience is not None and self.epoch - (best or 0) >= self.job.patience:
            self.history.stopped = "patience"

    # -- bookkeeping

    @property
    def steps(self) -> int:
        """Steps done in the whole run."""
        return len(self.history.learning_rate)

    @property
    def begun(self) -> int:
        """Epochs begun, the one that runs included."""
        return self.epoch + (self.step > 0)

    def _fetch_losses(self) -> None:
        """Bring the pending losses to the CPU, for which a GPU must wait, and stop if one is not finite."""
        values = torch.stack(self.pending).tolist() if self.pending else []
        self.pending.clear()
        for value in values:
            self.history.loss.append(value)
            if not math.isfinite(value):
                raise self._diverged(f"the loss is {value}", self.history.steps)

    def _diverged(self, what: str, step: int) -> FloatingPointError:
        rate = self.optimizer.param_groups[0]["lr"]
        return FloatingPointError(
            f"{what} in step {step} (epoch {self.epoch + 1}). Look at the learning rate first (it is {rate:g}: try a "
            "tenth, or clip=1.0), then for images that are not normalized and for a root or logarithm of 0 in the loss"
        )

    def _tick(self, training: bool) -> None:
        """Account for the time since the last tick."""
        now = time.perf_counter()
        self.history.seconds += now - self.clock
        self.history.training_seconds += (now - self.clock) * training
        self.clock = now

    def _report(self, last: bool = False) -> None:
        """Tell the progress bar, here or in the process that shows it, how far the run is: a few times a second."""
        now = time.monotonic()
        if not self.job.progress or not self.steps or (now - self.reported < self.REFRESH and not last):
            return
        self._fetch_losses()
        self.reported = now
        seconds = self.history.training_seconds + (time.perf_counter() - self.clock)
        recent = self.history.loss[-50:]
        self.link[EPOCH], self.link[STEP] = self.begun, self.steps
        self.link[LOSS], self.link[SPEED] = sum(recent) / len(recent), self.history.images / max(seconds, 1e-9)
        if self.bar is not None:
            self.bar.show(self.link, next(iter(self.history.metrics), ""))

    def _stop_asked(self) -> bool:
        """Whether to stop here; several processes must all stop at the same step."""
        if self.world == 1:
            self.stopping = bool(self.link[STOP])
        elif self.step % self.AGREE == 0:
            asked = self.link[STOP].to(self.device, torch.float32)
            self.stopping = bool(self.fabric.all_reduce(asked, reduce_op="max"))
        return self.stopping

    def save(self) -> None:
        """Write the checkpoint (one process does)."""
        self._fetch_losses()
        self._tick(training=self.step > 0)
        random = self._of_all_processes(checkpoints.random_states(self.device, self.batches))
        epoch_random = self._of_all_processes(self.epoch_random)
        if self.fabric.is_global_zero:
            state = {
                "fingerprint": self.fingerprint,
                "network": self.network.state_dict(),
                "loss": self.loss.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": None if self.schedule is None else self.schedule.state_dict(),
                "random": random,
                "epoch_random": epoch_random,
                "epoch": self.epoch,
                "step": self.step,
                "history": dataclasses.asdict(self.history),
                "best": self.best,
            }
            checkpoints.save(state, self.job.path)
        if self.world > 1:
            self.fabric.barrier()  # no process goes on to read a file that is still being written
        self.clock = time.perf_counter()  # writing is no training time

    def restore(self, state: dict) -> None:
        """Go on from a saved state. ValueError if it belongs to another run."""
        check_same_run(self.job, state, self.fingerprint)
        self.network.load_state_dict(state["network"])
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.history = History(**state["history"])
        self.epoch, self.step, self.best = state["epoch"], state["step"], state["best"]
        if self.history.stopped != "patience":
            self.history.stopped = "epochs" if self.epoch == self.job.epochs else ""
        rank = self.fabric.global_rank
        self.epoch_random = state["epoch_random"][rank]
        checkpoints.set_random_states(state["random"][rank], self.device, self.batches)

    def _of_all_processes(self, value) -> list:
        """The values of all processes, by rank."""
        if self.world == 1:
            return [value]
        values = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values


def _metrics(returned) -> dict[str, float]:
    """What `validate` returned, as {name: number}."""
    numbers = returned if isinstance(returned, dict) else {"metric": returned}
    try:
        numbers = {str(name): float(number) for name, number in numbers.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"validate: returned {returned!r}, expected a number or {{name: number}}") from error
    if not numbers:
        raise ValueError("validate: returned an empty dict, expected a number or {name: number}")
    return numbers


def _copy(state: dict) -> dict:
    return {name: tensor.clone() for name, tensor in state.items()}
