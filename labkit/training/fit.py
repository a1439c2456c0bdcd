"""fit(): the one training loop of the course, for every network, loss and dataset.

It stands on Lightning Fabric, used thinly: Fabric sets up device and precision, starts processes and connects them.
The loop itself is written out in `labkit.training.loop`. `labkit.training.history` holds the arguments and the History,
`labkit.training.resume` what is written to disk, `labkit.training.device` devices, processes, the progress bar and Ctrl-C.
"""

import atexit
import dataclasses
import functools
import math
import numbers
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import nn

from labkit.training import device as running
from labkit.training import resume as checkpoints
from labkit.training.device import METRIC, STOP
from labkit.training.history import History, Job, begun, check_same_run, finished
from labkit.training.loop import Run

__all__ = ["History", "closest", "embed", "fit"]


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
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = True,
    device: str | torch.device = "auto",
    precision: str = "auto",
    processes: int | None = None,
    compile: bool = False,
    clip: float | None = None,
    penalty: object | None = None,
    progress: bool = True,
) -> History:
    """Train `network` so that `loss(network(images), labels)` becomes small.

    Afterwards network and loss hold the trained weights, are in evaluation mode, and lie on the device where they lay.

    network, loss  any nn.Module; the loss takes embeddings (B, D) and labels (B,) and returns a scalar. Its parameters
                   are trained too; its method `update(embeddings, labels)`, if it has one, is called after each step
    batches        `labkit.data.Batches`, or any iterable of (images, labels) that can be gone through once an epoch,
                   such as a DataLoader. A Batches gives its epochs 0, 1, ..., whatever was drawn from it before
    lr             learning rate of Adam, which trains unless there is another `optimizer`; default 1e-3
    optimizer      parameters -> torch Optimizer, instead of `lr`; default Adam(lr=lr, fused=True)
    schedule       (optimizer, total_steps) -> torch LRScheduler, stepped after every step
    validate       network -> number or {name: number}, called after every epoch, in evaluation mode. The first number
                   is watched; higher is better
    patience       stop after so many epochs without a better watched number. The best epoch's weights come back
    checkpoint     file in which the run is saved at the end of every epoch, or every `checkpoint_every` steps, and from
                   which it goes on (`resume`): on a CPU bit for bit as if it had not been interrupted. A finished run
                   returns at once; with more `epochs` it continues, unless a schedule makes that another run
    device         "auto" (CUDA, else MPS, else CPU), or a name such as "cpu" or "cuda:1"
    precision      "32-true", "bf16-mixed", or "auto": bf16-mixed on CUDA where the GPU computes in it, else 32-true.
                   The embeddings reach the loss in float32 at least. A float64 network is trained in float64
    processes      how many processes, each with its slice of the same global batches (on CUDA: each with its GPU).
                   The loss sees the embeddings of all, with gradients; batch normalization sees its slice only. A
                   script calls fit under `if __name__ == "__main__":`. Under torchrun, leave it None
    compile        use torch.compile: pays for large networks and long runs
    clip           the largest norm of the gradient over all parameters; a longer one is scaled down to it
    penalty        an object whose `add_gradient(network)` adds to the gradients of the network in every step, after the
                   backward pass and before clipping, such as labkit.distancing.DistancePenalty. The losses in the
                   History are without it. It must not change during the run; change it between two calls of fit
    progress       show a bar with loss, watched number and images a second

    Raises ValueError for arguments that do not fit and for a checkpoint that is damaged or belongs to another run (it
    names what differs); FloatingPointError when the loss stops being a finite number. Ctrl-C, or the notebook's stop
    button, ends the run between two steps: the checkpoint is written, and KeyboardInterrupt says where training stands.
    """
    if lr is not None and optimizer is not None:
        raise ValueError(
            f"lr: got {lr!r} together with optimizer, expected one of them: the optimizer has a rate of its own"
        )
    if lr is not None and not (isinstance(lr, numbers.Real) and 0 < lr < math.inf):
        raise ValueError(f"lr: got {lr!r}, expected a finite number above 0")
    job = Job(
        network=network,
        loss=loss,
        batches=batches,
        epochs=epochs,
        optimizer=optimizer or functools.partial(_adam, lr=1e-3 if lr is None else float(lr)),
        schedule=schedule,
        validate=validate,
        patience=patience,
        path=None if checkpoint is None else Path(checkpoint),
        every=checkpoint_every,
        resume=resume,
        precision=precision,
        compile=compile,
        clip=clip,
        penalty=penalty,
        progress=progress,
    )
    job.check()
    place = running.place(network, device, precision, processes)
    homes = [(module, running.device_of(module)) for module in (network, loss)]
    try:
        return _fit(job, place)
    finally:
        for module, home in homes:
            # Weights in rows again: torch.nn.utils.parameters_to_vector, for one, cannot take them otherwise.
            module.eval().to(home, memory_format=torch.contiguous_format)


def embed(network: nn.Module, images, batch_size: int = 1024, device: str | torch.device = "auto") -> torch.Tensor:
    """Embeddings (N, D) of `images`, a labkit.data.Images of N: float32 on the CPU (float64 from a float64 network).

    Computed in evaluation mode; the network's mode and device are as before afterwards.
    """
    mode, home, dtype = network.training, running.device_of(network), running.dtype_of(network)
    device = running.choose_device(device, dtype)
    try:
        network.eval().to(device)
        with torch.no_grad():
            starts = range(0, len(images), batch_size)
            chunks = [images.floats(torch.arange(i, min(i + batch_size, len(images)))) for i in starts]
            embeddings = torch.cat([network(chunk.to(device, dtype)).cpu() for chunk in chunks])
    finally:
        network.train(mode).to(home)
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()


def closest(reference, query) -> Callable[[nn.Module], dict[str, float]]:
    """A `validate` for `fit`: how many images of `query` lie closest to the center of their own class in `reference`.

    Both are labkit.data.Images; the centers are means of the reference's embeddings (paper 000, section 4).
    """
    return functools.partial(_closest_accuracy, reference=reference, query=query)


def _closest_accuracy(network: nn.Module, reference, query) -> dict[str, float]:
    from labkit.evaluation import closest_accuracy

    device = running.device_of(network)  # inside fit the network already is where it computes fastest
    embeddings = [embed(network, images, device=device) for images in (query, reference)]
    accuracy = closest_accuracy(embeddings[0], query.labels.cpu(), embeddings[1], reference.labels.cpu())
    return {"closest accuracy": float(accuracy)}


def _adam(parameters, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=lr, fused=True)


# ---- where it is done


def _fit(job: Job, place: running.Place) -> History:
    link = torch.zeros(6, dtype=torch.float64)
    link[METRIC] = math.nan
    if job.path is not None:
        job.path.parent.mkdir(parents=True, exist_ok=True)
        checkpoints.remove_leftovers(job.path)
    with running.interruptible(link):
        history = _fit_in_processes(job, place, link) if place.launches else _fit_here(job, place, link)
    if link[STOP]:
        raise KeyboardInterrupt(_stop_message(job, history))
    return history


def _fit_here(job: Job, place: running.Place, link: torch.Tensor) -> History:
    fabric = place.fabric()
    fabric.launch()
    run = Run(fabric, job, link)
    if (state := job.saved_state()) is not None:
        run.restore(state)
    show = job.progress and fabric.is_global_zero
    with running.ProgressBar(show, job.epochs, job.total_steps, (run.steps, run.begun)) as run.bar:
        run.train()
    if place.start == "torchrun":
        atexit.register(running.disconnect)  # only at the end: more runs may follow
    return run.history


def _fit_in_processes(job: Job, place: running.Place, link: torch.Tensor) -> History:
    """Train in other processes; what comes back from them is a checkpoint file."""
    link.share_memory_()
    job.share(0, place.processes)  # raises ValueError here, and not in another process, where that is not possible
    state = job.saved_state()
    if state is not None:
        check_same_run(job, state, job.fingerprint(*job.optimizer_and_schedule(), place.processes))
    if state is None or not finished(job, state):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "result" if job.path is None else job.path
            done = (0, 0) if state is None else (len(state["history"]["loss"]), begun(state))
            with running.ProgressBar(job.progress, job.epochs, job.total_steps, done) as bar, bar.following(link):
                sent = dataclasses.replace(job, path=path, keep=job.path is not None)
                running.launch(place, _train_in_process, link, sent)
            state = checkpoints.load(path)
    weights = state["best"] if finished(job, state) and state["best"] else state
    job.network.load_state_dict(weights["network"])
    job.loss.load_state_dict(weights["loss"])
    return History(**state["history"])


def _train_in_process(fabric, link: torch.Tensor, job: Job) -> None:
    run = Run(fabric, job, link)
    if (state := job.saved_state()) is not None:
        run.restore(state)
    run.train()


def _stop_message(job: Job, history: History) -> str:
    total = "" if job.total_steps is None else f" of {job.total_steps}"
    epoch = min(len(history.epoch_loss) + 1, job.epochs)
    where = f"stopped after step {history.steps}{total} (epoch {epoch})"
    if job.path is None:
        return f"{where}; nothing was saved, as checkpoint=None; the network holds the weights so far"
    return f"{where}; saved to {job.path}; call fit again with the same arguments to go on"
