"""How a run of the paper tables is trained: one recipe for a size and a dataset, the same for every loss.

Sizes: "full" for a GPU; "reduced" for two cores without one, with a smaller network and fewer steps; "tiny" tries the
machinery in seconds and says nothing about a loss. The size stands in every record.
"""

import functools
import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn

from labkit.augmentation import Augment

SIZES = ("full", "reduced", "tiny")


@dataclass(frozen=True)
class Recipe:
    """What all losses share on one dataset.

    network       "three convolutions" or "resnet9"
    dim           length of an embedding
    steps         steps of a run; a tuning run makes half as many
    batches       what `labkit.data.Batches` draws: {"batch_size": B}, or classes_per_batch and samples_per_class
    rate          the highest learning rate; a row of a table multiplies it by its own (`rate` in its settings)
    augment       random changes to the images, the same for all losses
    points        at how many moments, evenly spaced, the curve over the run is measured
    compile       whether to use torch.compile on a GPU
    momentum, weight_decay, warm_up: of SGD with Nesterov's momentum; the rate rises linearly over the first `warm_up` of
        the steps, then falls linearly to 0
    """

    network: str
    dim: int
    steps: int
    batches: dict
    rate: float
    augment: Augment | None
    points: int = 20
    compile: bool = False
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warm_up: float = 0.2

    def describe(self) -> dict:
        """As plain values, for a record."""
        return asdict(self)


DIGITS = Augment(shift=2)
CLOTHES = Augment(shift=2, flip=True)
PHOTOGRAPHS = Augment(shift=4, flip=True, erase=0.5)

# What is drawn a step: images at random where a batch then holds at least two images of every class or so; else P
# classes with K images each. Pair losses need positives, and every loss gets the same batches.
FEW = {"batch_size": 128}
MANY = {"classes_per_batch": 32, "samples_per_class": 4}
PEOPLE = {"classes_per_batch": 24, "samples_per_class": 5}

_REDUCED = {
    "mnist": dict(steps=1500, batches=FEW, augment=Augment(shift=1)),
    "fashion_mnist": dict(steps=1500, batches=FEW, augment=Augment(flip=True)),
    "kmnist": dict(steps=1500, batches=FEW, augment=Augment(shift=1)),
    "emnist": dict(steps=1500, batches=FEW, augment=Augment(shift=1)),
    "omniglot28": dict(steps=1500, batches=MANY, augment=DIGITS),
    "orl-faces": dict(steps=300, batches=PEOPLE, augment=Augment(shift=3, flip=True, contrast=0.2)),
    "olivetti": dict(steps=300, batches=PEOPLE, augment=Augment(shift=3, flip=True, contrast=0.2)),
}
_FULL = {  # steps: about 15 rounds of MNIST, 40 of the others
    "mnist": dict(steps=1800, batches={"batch_size": 512}, augment=Augment(shift=2, rotation=10, crop=0.9)),
    "fashion_mnist": dict(steps=4800, batches={"batch_size": 512}, augment=Augment(shift=2, flip=True, erase=0.3)),
    "kmnist": dict(steps=3600, batches={"batch_size": 512}, augment=Augment(shift=2, rotation=5)),
    "emnist": dict(steps=4800, batches={"batch_size": 512}, augment=Augment(shift=2, rotation=10, crop=0.9)),
    "cifar10": dict(steps=4400, batches={"batch_size": 512}, augment=PHOTOGRAPHS),
    "cifar10-jpeg75": dict(steps=4400, batches={"batch_size": 512}, augment=PHOTOGRAPHS),
    "cifar100": dict(steps=5800, batches={"batch_size": 512}, augment=PHOTOGRAPHS),
    "tiny-imagenet": dict(steps=6000, batches={"batch_size": 512}, augment=PHOTOGRAPHS),
    "omniglot28": dict(
        steps=6000,
        batches={"classes_per_batch": 64, "samples_per_class": 8},
        augment=Augment(shift=2, rotation=10, crop=0.9),
    ),
    "orl-faces": dict(steps=1000, batches=PEOPLE, augment=Augment(shift=4, flip=True, rotation=10, contrast=0.2)),
    "olivetti": dict(steps=1000, batches=PEOPLE, augment=Augment(shift=4, flip=True, rotation=10, contrast=0.2)),
    "lfw": dict(steps=3000, batches=PEOPLE, augment=Augment(shift=4, flip=True, rotation=10, contrast=0.2)),
}
_OF_SIZE = {
    "full": dict(network="resnet9", dim=128, rate=0.2, compile=True),
    "reduced": dict(network="three convolutions", dim=64, rate=0.1),
    "tiny": dict(network="three convolutions", dim=8, rate=0.1, points=2),
}


def recipe(size: str, dataset: str) -> Recipe:
    """The recipe for a dataset in a size. Raises ValueError where there is none."""
    if size not in SIZES:
        raise ValueError(f"size: got {size!r}, expected one of {', '.join(SIZES)}")
    if size == "tiny":
        return Recipe(steps=8, batches={"batch_size": 40}, augment=None, **_OF_SIZE[size])
    known = _FULL if size == "full" else _REDUCED
    if dataset not in known:
        raise ValueError(f"dataset: got {dataset!r}, expected one of {', '.join(known)} in size {size!r}")
    return Recipe(**_OF_SIZE[size], **known[dataset])


# ---- optimizer and schedule, as `fit` takes them


def optimizer(recipe: Recipe, rate: float, late: float | None = None):
    """parameters -> SGD with Nesterov's momentum.

    late: as for `schedule`; the last parameter then is PEDCC's centroids, with a learning rate of 1e-3 (paper 003), no
        momentum and no weight decay.
    """
    return functools.partial(
        _sgd, lr=recipe.rate * rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay, late=late is not None
    )


def _sgd(parameters, lr, momentum, weight_decay, late):
    groups = [{"params": parameters[:-1] if late else parameters}]
    if late:
        groups.append({"params": parameters[-1:], "lr": 1e-3, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0})
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=True, fused=True)


def schedule(recipe: Recipe, late: float | None = None):
    """(optimizer, total steps) -> LambdaLR: up over the first `warm_up` of the steps, then down to 0, linearly.

    late: the share of the run, at its end, in which the second group of parameters is trained, at its own rate.
    """
    return functools.partial(_one_cycle, warm_up=recipe.warm_up, late=late)


def _one_cycle(optimizer, total_steps, warm_up, late):
    def cycle(step):
        done = step / total_steps
        return (step + 1) / (warm_up * total_steps + 1) if done < warm_up else (1 - done) / (1 - warm_up)

    def in_the_end(step):
        return float(step >= (1 - late) * total_steps)

    parts = [cycle, in_the_end][: len(optimizer.param_groups)]
    return torch.optim.lr_scheduler.LambdaLR(optimizer, parts)


# ---- networks


def network(name: str, shape: tuple[int, int, int], dim: int) -> nn.Module:
    """The network `name` for images of `shape` (C, H, W); embeddings (B, dim)."""
    if name == "resnet9":
        return ResNet9(dim, shape[0])
    if name == "three convolutions":
        return ThreeConvolutions(dim, shape[0], shape[1])
    raise ValueError(f"network: got {name!r}, expected 'resnet9' or 'three convolutions'")


def _convolution(inputs, outputs, size=3, stride=1):
    return [
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


class ThreeConvolutions(nn.Sequential):
    """For two cores: 32, 64 and 64 channels, strides 2, 2 and 1, then a linear layer. 0.3 million parameters at 28×28.

    Images larger than 32 pixels are halved first.
    """

    def __init__(self, dim, in_channels, side, channels=(16, 32, 64)):
        a, b, c = channels
        shrink = 2 if side > 32 else 1
        last = -(-side // shrink // 4)
        super().__init__(
            nn.AvgPool2d(shrink) if shrink > 1 else nn.Identity(),
            *_convolution(in_channels, a, size=5, stride=2),
            *_convolution(a, b, stride=2),
            *_convolution(b, c),
            nn.Flatten(),
            nn.Linear(c * last**2, dim),
        )


class ResNet9(nn.Module):
    """For a GPU: the nine-layer residual net of fast CIFAR-10 training (David Page 2018, DAWNBench), 6.6 million weights.

    Four stages of 64 to 512 channels, residual blocks after the second and the fourth, the largest value of each
    channel, a linear layer. Takes images from 16×16 on; those larger than 32 pixels are halved first.
    """

    def __init__(self, dim, in_channels, width=64):
        super().__init__()
        w = width
        self.stages = nn.Sequential(
            *_convolution(in_channels, w),
            *_convolution(w, 2 * w),
            nn.MaxPool2d(2),
            _Residual(2 * w),
            *_convolution(2 * w, 4 * w),
            nn.MaxPool2d(2),
            *_convolution(4 * w, 8 * w),
            nn.MaxPool2d(2),
            _Residual(8 * w),
        )
        self.embedding = nn.Linear(8 * w, dim)

    def forward(self, images):
        """Images (B, C, H, W) -> embeddings (B, dim)."""
        if max(images.shape[2:]) > 32:
            images = F.avg_pool2d(images, 2)
        return self.embedding(self.stages(images).amax(dim=(2, 3)))


class _Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.block = nn.Sequential(*_convolution(channels, channels), *_convolution(channels, channels))

    def forward(self, x):
        return x + self.block(x)


def steps_of(recipe: Recipe, kind: str) -> tuple[int, int]:
    """(parts, steps a part) of a "final" or a "tuning" run: `fit` gets a part as an epoch, and measures after it."""
    total = recipe.steps if kind == "final" else math.ceil(recipe.steps / 2)
    parts = recipe.points if kind == "final" else 1
    return parts, max(1, round(total / parts))
