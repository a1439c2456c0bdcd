"""One run in several processes, each with its slice of every batch; torchrun starts them.

    torchrun --standalone --nproc-per-node 2 script.py      the script calls `fit` as it would in one process

The loss sees the embeddings of all processes, with their gradients, so that the steps are those of one process.
"""

import atexit
import logging
import os
import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from labkit.training.device import world_size


def of_all_processes(value) -> list:
    """The values of all processes, by rank; also a moment at which each waits for all others."""
    if not connected():
        return [value]
    values = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def rank() -> int:
    """The number of this process among those that share the run; 0 where there is one."""
    return torch.distributed.get_rank() if connected() else 0


def connected() -> bool:
    """Whether this process belongs to a group."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def disconnect() -> None:
    """Leave the group, if there is one, while Python still runs.

    A thread of Gloo may hold the tensors of the last exchange a little longer than the exchange takes. If it lets go of
    them while Python is shutting down, the process is aborted (SIGABRT) although all its work is done.
    """
    if connected():
        torch.distributed.destroy_process_group()


class Shared:
    """This process's part of a run that several share."""

    def __init__(self, device: torch.device):
        """Connects the processes. `device`: what `choose_device` chose; self.device is this process's own."""
        from lightning_fabric import Fabric  # takes a second that only these runs need

        for speaker in ("distributed", "rank_zero"):  # they announce processes on stderr, where errors belong
            logging.getLogger(f"lightning_fabric.utilities.{speaker}").setLevel(logging.WARNING)
        # Fabric gathers with a function that torch wants to replace by one that is not public yet.
        warnings.filterwarnings("ignore", message="torch.distributed.nn.functional.all_gather is deprecated")
        nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
        count = world_size() // nodes
        self.fabric = Fabric(accelerator=device.type, devices=count, num_nodes=nodes, strategy="ddp")
        self.fabric.launch()
        atexit.register(disconnect)  # only at the end: more runs may follow
        self.device = self.fabric.device
        if rank():
            torch.manual_seed(torch.initial_seed() + rank())  # other dropout for other images

    def share(self, run: dict) -> dict:
        """What `steps` takes in this process: network, loss, batches and penalty of the run. Raises ValueError."""
        network, loss, batches, penalty = (run[name] for name in ("network", "loss", "batches", "penalty"))
        if not hasattr(batches, "share"):
            got = type(getattr(batches, "batches", batches)).__name__
            raise ValueError(f"batches: got {got} for {world_size()} processes, expected labkit.data.Batches")
        if any(
            isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm) for layer in network.modules()
        ):
            raise ValueError(
                f"network: got batch normalization for {world_size()} processes, each of which would normalize its "
                "slice of the batch; expected none, or on GPUs torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)"
            )
        return {
            "network": self.fabric.setup_module(network, move_to_device=False),
            "loss": _LossOfAll(self.fabric, loss),
            "batches": batches.share(rank(), world_size()),
            "penalty": _Penalty(self.fabric, loss, penalty, network),
        }

    def once(self, validate: Callable) -> Callable:
        """A `validate` that runs in the first process and tells all."""
        return lambda network: self.fabric.broadcast(validate(network) if rank() == 0 else None)


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


class _Penalty:
    """Makes the gradients of the loss the same in all processes, which they are up to rounding; then penalizes."""

    def __init__(self, fabric, loss: nn.Module, penalty: object | None, network: nn.Module):
        self.fabric, self.loss, self.penalty, self.network = fabric, loss, penalty, network

    def add_gradient(self, wrapper: nn.Module) -> None:
        for parameter in self.loss.parameters():
            if parameter.grad is not None:
                self.fabric.all_reduce(parameter.grad)
        if self.penalty is not None:
            self.penalty.add_gradient(self.network)
