"""Many small networks, trained at once over several seeds and settings: the loop of labkit.training, one axis more."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR


class SideBySide(nn.Module):
    """Many small fully connected networks, trained at the same time as one: ReLU between the layers, none at the end.

    seeds: one network per seed; what a network starts from depends on its own seed alone.
    widths: the sizes of the layers, at least two, such as (64, 32, 2): 64 numbers → 32 hidden units → 2.
    classes: puts a linear layer with so many class scores on top of each network, for `scores`.
    Five networks of this size cost little more than one. A sum of their losses trains each as if it were alone, if the
    optimizer treats each number by itself, as SGD and Adam do (clipping by the norm of all gradients does not).
    Raises ValueError for no seed or fewer than two widths.

    >>> SideBySide([0, 1, 2], (64, 32, 2))(torch.zeros(10, 64)).shape
    torch.Size([3, 10, 2])
    """

    def __init__(self, seeds: Sequence[int], widths: Sequence[int], classes: int | None = None):
        super().__init__()
        if not len(seeds) or len(widths) < 2:
            raise ValueError(f"seeds, widths: got {list(seeds)} and {list(widths)}, expected a seed and two widths")
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        sizes = [*widths] if classes is None else [*widths, classes]
        self.seeds, self.layers = tuple(seeds), len(widths) - 1
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer, (rows, columns) in enumerate(pairwise(sizes), start=1):
            gain = 2.0 if layer < self.layers else 1.0  # He's start before a ReLU
            drawn = torch.stack([torch.randn(rows, columns, generator=generator) for generator in generators])
            self.weights.append(nn.Parameter(drawn * math.sqrt(gain / rows)))
            self.biases.append(nn.Parameter(torch.zeros(len(seeds), 1, columns)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (networks, B, widths[0]), or (B, widths[0]) for all -> embeddings (networks, B, widths[-1])."""
        for layer in range(self.layers):
            inputs = F.relu(inputs) if layer else inputs
            inputs = inputs @ self.weights[layer] + self.biases[layer]
        return inputs

    def scores(self, embeddings: Tensor) -> Tensor:
        """Embeddings (networks, B, widths[-1]) -> class scores (networks, B, classes), if made with classes."""
        return embeddings @ self.weights[self.layers] + self.biases[self.layers]


class PerNetwork(nn.Module):
    """One loss of `labkit.losses` for each network, as one loss for all: embeddings (networks, B, D) -> (networks,).

    losses: as many as there are networks. Their parameters are trained, and their `update` is called.

    >>> from labkit.losses import TripletLoss
    >>> PerNetwork([TripletLoss(), TripletLoss()])(torch.zeros(2, 4, 3), torch.tensor([[0, 0, 1, 1]] * 2)).shape
    torch.Size([2])
    """

    def __init__(self, losses: Iterable[nn.Module]):
        super().__init__()
        self.losses = nn.ModuleList(losses)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Embeddings (networks, B, D), labels (networks, B) -> losses (networks,)."""
        return torch.stack([loss(*batch) for loss, *batch in zip(self.losses, embeddings, labels, strict=True)])

    def scores(self, embeddings: Tensor) -> Tensor:
        """Embeddings (networks, B, D) -> class scores (networks, B, classes), of losses that give scores."""
        return torch.stack([loss.scores(points) for loss, points in zip(self.losses, embeddings, strict=True)])

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Passes each network's batch on to its loss, if that has an `update`."""
        for loss, *batch in zip(self.losses, embeddings, labels, strict=True):
            if hasattr(loss, "update"):
                loss.update(*batch)


def cross_entropies(scores: Tensor, labels: Tensor, **options) -> Tensor:
    """Mean cross-entropy of the batch, one number per network: (networks,).

    scores: (networks, B, classes). labels: (networks, B), or (B,) for all networks. options: of torch's cross_entropy.

    >>> cross_entropies(torch.zeros(2, 5, 10), torch.arange(5))
    tensor([2.3026, 2.3026])
    """
    shape = scores.shape[:2]
    each = F.cross_entropy(scores.flatten(0, 1), labels.expand(shape).flatten(), reduction="none", **options)
    return each.view(shape).mean(1)


def train_side_by_side(
    networks: SideBySide,
    loss: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    steps: int,
    batch_size: int = 64,
    lr: float = 1e-3,
    *,
    optimizer: Callable | None = None,
    schedule: Callable[[int], float] | None = None,
    rows: Tensor | None = None,
    after_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Trains all networks at once, each on minibatches of its own. Returns their losses: (networks, steps).

    networks: trained in place. Those with the same seed see the same minibatches: SideBySide(seeds * 2, ...) compares
        two settings of a loss on equal terms.
    loss: (embeddings (networks, B, D), labels (networks, B)) -> (networks,), such as `cross_entropies` or `PerNetwork`.
        Its parameters are trained too; its `update(embeddings, labels)`, if any, is called after each step.
    images, labels: (N, widths[0]) and (N,); labels can be any tensor with one row per image.
    batch_size: rows drawn per network and step, with replacement, from a generator with seed 0.
    optimizer: parameters -> torch Optimizer; default Adam(lr=lr, fused=True). lr is for the default alone.
    schedule: step (from 0) -> factor on the learning rate; default 1.
    rows: int64 (steps, different seeds, B), the rows to take in each step instead of random ones.
    after_step: called with the number of the step (from 1) when that is done.
    Raises ValueError when there is not one label per image, or when the loss does not give one number per network.

    >>> networks, x, y = SideBySide([0, 1], (2, 8, 2)), torch.eye(2), torch.arange(2)
    >>> curve = train_side_by_side(networks, cross_entropies, x, y, steps=50, batch_size=4, lr=0.1)
    >>> curve.shape, bool((curve[:, -1] < curve[:, 0]).all())
    (torch.Size([2, 50]), True)
    """
    if len(labels) != len(images):
        raise ValueError(f"labels: got {len(labels)}, expected one for each of the {len(images)} images")
    parameters = [*networks.parameters(), *(loss.parameters() if isinstance(loss, nn.Module) else ())]
    made = torch.optim.Adam(parameters, lr=lr, fused=True) if optimizer is None else optimizer(parameters)
    scheduler = LambdaLR(made, schedule or (lambda step: 1.0))
    different = list(dict.fromkeys(networks.seeds))
    stream = torch.tensor([different.index(seed) for seed in networks.seeds])  # which minibatches each network sees
    generator, curve = torch.Generator().manual_seed(0), []
    for step in range(steps):
        size = (len(different), batch_size)
        drawn = torch.randint(len(images), size, generator=generator) if rows is None else rows[step]
        embeddings, targets = networks(images[drawn[stream]]), labels[drawn[stream]]
        each = loss(embeddings, targets)
        if each.shape != stream.shape:
            raise ValueError(f"loss: got a result of shape {tuple(each.shape)}, expected one number per network")
        made.zero_grad()
        each.sum().backward()
        made.step()
        if hasattr(loss, "update"):
            loss.update(embeddings.detach(), targets)
        scheduler.step()
        curve.append(each.detach())
        if after_step is not None:
            after_step(step + 1)
    return torch.stack(curve, dim=1)
