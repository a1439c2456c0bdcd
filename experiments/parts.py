"""What the recipes name: the networks, the optimizer and the schedule.

They stand apart from labkit.networks, because a change to this file makes all records of the tables out of date. The
networks of the full size have files of their own: a change to one leaves the records of the reduced size alone.
"""

import functools

import torch
from torch import nn

from experiments.large import SevenConvolutions
from experiments.photographs import TenConvolutions
from experiments.recipe import Recipe
from labkit.data import Images
from labkit.networks import LeNet

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


def network(name: str, images: Images, dim: int) -> nn.Module:
    """The network `name` to be trained on `images`; embeddings (B, dim)."""
    channels, side, _ = images.shape
    if name == "lenet":
        return LeNet(dim, channels, side)
    if name == "seven convolutions":
        return SevenConvolutions(images, dim)
    if name == "ten convolutions":
        return TenConvolutions(images, dim)
    if name == "three convolutions":
        return ThreeConvolutions(dim, channels, side)
    known = "'ten convolutions', 'seven convolutions', 'three convolutions' or 'lenet'"
    raise ValueError(f"network: got {name!r}, expected {known}")


def _convolution(inputs, outputs, size=3, stride=1):
    return [
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


class ThreeConvolutions(nn.Sequential):
    """For two cores: 16, 32 and 64 channels, strides 2, 2 and 1, then a linear layer. 0.3 million parameters at 28×28.

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
