"""The whole of training, in one loop: images -> embeddings -> loss -> gradients -> step."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import nn

from labkit.training.device import place_of


class Step(NamedTuple):
    """What `steps` tells of the step that it has just made."""

    epoch: int  # counted from 0
    number: int  # in its epoch, counted from 0
    loss: torch.Tensor  # a scalar without gradient, still on the device
    rate: float  # the learning rate of the optimizer's first group
    images: int  # in the batch


def steps(
    network: nn.Module,
    loss: nn.Module,
    batches: Iterable,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    clip: float | None = None,
    penalty: object | None = None,
    start: tuple[int, int] = (0, 0),
    epochs: int | None = None,
) -> Iterator[Step]:
    """Train so that `loss(network(images), labels)` becomes small: one step each time that the caller asks for a Step.

    network: images (B, C, H, W) -> embeddings (B, D). batches: gives its pairs (images, labels) anew in every epoch.
    loss: embeddings, labels (B,) -> scalar; its method `update(embeddings, labels)`, if any, is called after the step.
    clip: the largest norm of the whole gradient. penalty: its `add_gradient(network)` adds to the gradient before that.
    start: epoch and number of the first step. epochs: in all, default no end. ValueError for an empty epoch.

    >>> network, batches = nn.Linear(3, 2), [(torch.eye(3), torch.tensor([0, 1, 1]))]
    >>> next(steps(network, nn.CrossEntropyLoss(), batches, torch.optim.SGD(network.parameters(), lr=0.1))).images
    3
    """
    device, dtype = place_of(network)
    for epoch in itertools.count(start[0]) if epochs is None else range(start[0], epochs):
        number, first = None, start[1] if epoch == start[0] else 0
        drawn = batches.iterate(epoch, first) if hasattr(batches, "iterate") else itertools.islice(batches, first, None)
        for number, (images, labels) in enumerate(drawn, first):
            images, labels = images.to(device, dtype, non_blocking=True), labels.to(device, non_blocking=True)
            network.train(), loss.train()
            embeddings = network(images)
            value = loss(embeddings, labels)
            optimizer.zero_grad()
            value.backward()
            if penalty is not None:
                penalty.add_gradient(network)
            if clip is not None:
                nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip)
            rate = float(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if getattr(type(loss), "update", nn.ModuleDict.update) is not nn.ModuleDict.update:  # torch's is no hook
                with torch.no_grad():
                    loss.update(embeddings.detach(), labels)
            if schedule is not None:
                schedule.step()
            yield Step(epoch, number, value.detach(), rate, len(labels))
        if number is None and first == 0:
            raise ValueError(f"batches: got none in epoch {epoch + 1}, expected some anew in every epoch")
