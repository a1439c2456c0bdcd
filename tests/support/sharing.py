"""What training ends with, in one process or, started by torchrun, in each of several: `python sharing.py FILE`."""

import atexit
import contextlib
import dataclasses
import functools
import glob
import sys
from pathlib import Path

import torch
from torch import nn

from labkit import data, distancing, losses, networks, training
from labkit.training.sharded import rank

sgd = functools.partial(torch.optim.SGD, lr=0.05)
BALANCED = {"classes_per_batch": 8, "samples_per_class": 4}


def vector(tensors):
    return torch.cat([tensor.detach().flatten().double() for tensor in tensors])


class GradientKeeper(torch.optim.SGD):
    """An optimizer that keeps the gradients and changes nothing."""

    def step(self):
        self.kept = vector(p.grad for p in self.param_groups[0]["params"])


class MovingLoss(nn.Module):
    """A loss with a parameter, a buffer and an update; it fails in its step number `fails`."""

    def __init__(self, fails=0):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("centers", torch.zeros(10, 4))
        self._fails, self._step = fails, 0

    def forward(self, embeddings, labels):
        self._step += 1
        if self._step == self._fails:
            raise RuntimeError("power cut")
        return (self.scale * (embeddings - self.centers[labels] - 1)).square().mean()

    def update(self, embeddings, labels):
        self.centers.index_add_(0, labels, embeddings, alpha=0.01)


class HalvesDiffer(nn.Module):
    """The share of numbers that the two halves of the batch have in common."""

    def forward(self, embeddings, labels):
        one, other = embeddings.detach().chunk(2)
        return (one == other).double().mean() + 0 * embeddings.sum()


def fit(*arguments, **options):
    return training.fit(*arguments, device="cpu", progress=False, **options)


def digits():
    return data.load("digits").take(torch.arange(320))


def gradient(dtype=torch.float32, sampling=None):
    torch.manual_seed(0)
    network, keepers = networks.LeNet(dim=16, image_size=8).to(dtype), []
    batches = data.Batches(digits(), **(sampling or {"batch_size": 32}), steps=1)
    fit(
        network,
        losses.TripletLoss(1.0),
        batches,
        1,
        optimizer=lambda p: keepers.append(GradientKeeper(p, 0)) or keepers[0],
    )
    return keepers[0].kept


def trained(loss=None, dropout=0.0, penalty=None, **options):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 4))
    loss, penalty = loss or MovingLoss(), penalty and penalty(network)
    batches = data.Batches(digits(), **BALANCED, seed=4)
    history = fit(network, loss, batches, **{"epochs": 3, "optimizer": sgd, "clip": 1.0, "penalty": penalty, **options})
    weights = vector([*network.state_dict().values(), *loss.state_dict().values()])
    return {"weights": weights, "history": {**dataclasses.asdict(history), "steps": history.steps}}


def hill(network):
    return distancing.DistancePenalty(distancing.Checkpoint.of(network), 5.0, 0.05, "mean", jitter=0.1)


def message(*arguments, **options):
    """What fit refuses them with."""
    try:
        fit(*arguments, **options)
    except ValueError as error:
        return str(error)


def in_any_number_of_processes():
    """What must not depend on how many processes there are."""
    score = {"validate": lambda network: -float(network[1].weight.sum()), "patience": 5}
    worse = {"validate": lambda network: -float(network[1].weight.norm()), "patience": 1}
    return {
        "gradients": [
            gradient(dtype, sampling) for dtype in (torch.float32, torch.float64) for sampling in (None, BALANCED)
        ],
        "trained": [trained(**score), trained(**worse), trained(penalty=hill, clip=None)],
    }


def in_two_processes(folder):
    """What is asked of two processes alone."""
    import lightning_fabric

    file = folder / "run.ckpt"
    calm = trained(dropout=0.3)
    with contextlib.suppress(RuntimeError):
        trained(MovingLoss(fails=15), dropout=0.3, save=training.Resume(file, every=3))
    cut = torch.load(file, weights_only=True)
    resumed = [trained(dropout=0.3, save=training.Resume(file)) for _ in range(2)]  # the second finds it finished
    same = data.Images(torch.full((8, 1, 2, 2), 255, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64), ("a",))
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Dropout(0.5))
    [shared] = fit(network, HalvesDiffer(), data.Batches(same, batch_size=8), 1).loss
    batches, lenet = data.Batches(digits(), batch_size=32), networks.LeNet(image_size=8)
    refused = [
        message(lenet, MovingLoss(), [(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))], 1),
        message(networks.SmallResNet(width=2), MovingLoss(), batches, 1),
        message(lenet, MovingLoss(), data.Batches(digits(), batch_size=33), 1),
    ]
    gather = lightning_fabric.Fabric.all_gather
    lightning_fabric.Fabric.all_gather = lambda self, tensor, sync_grads=False: tensor[None]
    alone = gradient()
    lightning_fabric.Fabric.all_gather = gather
    return {
        "calm": calm,
        "cut": cut["number"],
        "resumed": resumed,
        "dropout": shared,
        "refused": refused,
        "alone": alone,
    }


@atexit.register  # runs last, as the one that was registered first
def connected():
    names = []
    for name in glob.glob("/proc/self/task/*/comm"):  # only Linux has it
        with contextlib.suppress(OSError):  # the thread has ended meanwhile
            names.append(Path(name).read_text())
    if torch.distributed.is_initialized() or any("gloo" in name for name in names):
        print("still connected", names)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    found = in_any_number_of_processes() | in_two_processes(path.parent)
    torch.save(found, path.with_suffix(f".{rank()}"))
