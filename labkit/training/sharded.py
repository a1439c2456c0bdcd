"""What only large runs need: bfloat16, and several processes, each with its slice of every batch.

    torchrun --standalone --nproc-per-node 2 script.py      the script calls `fit` as it would in one process

The loss sees the embeddings of all processes, with their gradients, so that the steps are those of one process.
"""

import atexit
import logging
import os
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from labkit.training.device import choose_precision, place_of, world_size


def large_run(
    run: dict, validate: Callable | None, progress: bool, device: torch.device, precision: str
) -> tuple[dict, Callable | None, bool]:
    """The arguments of `steps`, `validate` and `progress` for bfloat16, where that is wanted, and for torchrun."""
    network, dtype = run["network"], place_of(run["network"])[1]
    mixed = choose_precision(precision, device, dtype) == "bf16-mixed"
    if (penalty := run["penalty"]) is not None:  # inside the wrappers, its parameters have the names that it knows
        run = run | {"penalty": SimpleNamespace(add_gradient=lambda wrapper: penalty.add_gradient(network))}
    if mixed or dtype.itemsize < 4:
        run = run | {"network": _InFloat32(network, mixed)}
    return (run, validate, progress) if world_size() == 1 else _shared(run, validate, progress, device)


def of_all_processes(value: object) -> list:
    """The values of all processes, by rank; also a moment at which each waits for all others."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return [value]
    values = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def rank() -> int:
    """The number of this process among those that share the run."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def disconnect() -> None:
    """Leave the other processes while Python still runs: later a thread of Gloo might abort this one (SIGABRT)."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _shared(run: dict, validate: Callable | None, progress: bool, device: torch.device) -> tuple:
    network, loss, batches = run["network"], run["loss"], run["batches"]
    if not hasattr(batches, "share"):
        got = type(getattr(batches, "batches", batches)).__name__
        raise ValueError(f"batches: got {got} for {world_size()} processes, expected labkit.data.Batches")
    if any(isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm) for layer in network.modules()):
        expected = "none, or on GPUs torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)"
        raise ValueError(f"network: got batch normalization for {world_size()} processes, expected {expected}")
    fabric = _connected(device)
    shared = {
        "network": fabric.setup_module(network, move_to_device=False),
        "loss": _LossOfAll(fabric, loss),
        "batches": batches.share(rank(), world_size()),
        "penalty": _Shared(fabric, loss, run["penalty"]),
    }

    def once(network: nn.Module):
        try:
            found = validate(network) if rank() == 0 else None
        except FloatingPointError as error:  # all processes stop, not the first one alone
            found = error
        if isinstance(found := fabric.broadcast(found), FloatingPointError):
            raise found
        return found

    return run | shared, validate and once, progress and rank() == 0


def _connected(device: torch.device):
    """A Fabric that has connected this process with the others."""
    from lightning_fabric import Fabric  # takes a second that only these runs need

    for speaker in ("distributed", "rank_zero"):  # they announce processes on stderr, where errors belong
        logging.getLogger(f"lightning_fabric.utilities.{speaker}").setLevel(logging.WARNING)
    # Fabric gathers with a function that torch wants to replace by one that is not public yet.
    warnings.filterwarnings("ignore", message="torch.distributed.nn.functional.all_gather is deprecated")
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    fabric = Fabric(accelerator=device.type, devices=world_size() // nodes, num_nodes=nodes, strategy="ddp")
    fabric.launch()
    atexit.register(disconnect)  # only at the end: more runs may follow
    if rank():
        torch.manual_seed(torch.initial_seed() + rank())  # other dropout for other images
    return fabric


class _InFloat32(nn.Module):
    """A network whose embeddings leave in float32, although it computes in bfloat16: always, or where that is safe."""

    def __init__(self, network: nn.Module, mixed: bool):
        super().__init__()
        self.network, self.mixed = network, mixed

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.mixed):
            return self.network(images.bfloat16() if self.mixed else images).float()


class _LossOfAll(nn.Module):
    """The loss of the embeddings of all processes."""

    def __init__(self, fabric, loss: nn.Module):
        super().__init__()
        self.fabric, self.loss = fabric, loss

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        embeddings = self.fabric.all_gather(embeddings, sync_grads=True).flatten(0, 1)
        self.seen = embeddings.detach(), self.fabric.all_gather(labels).flatten()
        return self.loss(embeddings, self.seen[1])

    def update(self, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        if getattr(type(self.loss), "update", nn.ModuleDict.update) is not nn.ModuleDict.update:
            self.loss.update(*self.seen)


class _Shared:
    """Makes the gradients of the loss the same in all processes, which they are up to rounding; then penalizes."""

    def __init__(self, fabric, loss: nn.Module, penalty):
        self.fabric, self.loss, self.penalty = fabric, loss, penalty

    def add_gradient(self, network: nn.Module) -> None:
        for parameter in self.loss.parameters():
            if parameter.grad is not None:
                self.fabric.all_reduce(parameter.grad)
        if self.penalty is not None:
            self.penalty.add_gradient(network)
