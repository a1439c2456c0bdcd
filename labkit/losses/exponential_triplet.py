"""The exponential triplet loss of paper 000, a logarithmic barrier on normalized distances (lab 06)."""

import math
import warnings

import torch

from labkit import checks
from labkit.distances import pairwise_distances

DELTA = 1e-2  # how far before 1 the barrier goes over to its tangent


class ExponentialTripletLoss(torch.nn.Module):
    """Keeps every class within a small diameter, and every two classes half of the largest distance apart.

    Every distance of two rows is divided by the largest that there can be, 2·radius; call it p for a pair of one class,
    q for a pair of two classes. With the diameter c_n = overlap/num_classes that a class may have, and the barrier
    φ(t) = -log(1 - t),

        reduction="pair"   positive_weight·mean φ([p - c_n]₊/(1 - c_n)) + negative_weight·mean φ([½ - q]₊/½)
        reduction="batch"  positive_weight·φ(mean [p - c_n]₊/(1 - c_n)) + negative_weight·φ(mean [½ - q]₊/½)

    where the first mean is over all positive pairs, the second over all negative ones. "pair" weights a pair by
    1/(1 - t), the more the worse it is, as the text of the paper says; "batch" is the authors' code, where all active
    pairs of one kind have the same weight. Despite its name, the loss knows no triplets.

    num_classes: how many classes there are, K.
    overlap: the coefficient c_o of the paper, default 1.5, at least 0, below K; beyond K/2, where c_n > ½, a warning
        says so.
    radius: the radius of the ball or sphere in which the embeddings lie, c_s, default 1 (labkit.embeddings).
    positive_weight, negative_weight: C_pos and C_neg, default 1, at least 0.

    Source: paper 000, equations 2 and 3, corrected: equation 2 normalizes the distances, not the embeddings, and the
    diameter of equation 3 is overlap·2·radius/num_classes.

    >>> points, labels = torch.tensor([[0.0], [1.0], [0.4]]), torch.tensor([3, 3, 0])
    >>> ExponentialTripletLoss(num_classes=4, overlap=1)(points, labels)  # p = 0.5, q = 0.2 and 0.3, c_n = 0.25
    tensor(1.1190)
    """

    def __init__(
        self,
        num_classes: int,
        overlap: float = 1.5,
        radius: float = 1.0,
        positive_weight: float = 1.0,
        negative_weight: float = 1.0,
        reduction: str = "pair",
    ):
        super().__init__()
        self.num_classes = checks.whole("num_classes", num_classes)
        self.overlap = checks.non_negative("overlap", overlap)
        self.diameter = self.overlap / self.num_classes  # c_n
        if self.diameter >= 1:
            raise ValueError(
                f"overlap: got {overlap!r}, expected less than num_classes, {self.num_classes}: a class may then be as "
                "wide as the largest distance there is, so that the positive term is 0 for every batch"
            )
        if self.diameter > 0.5:
            warnings.warn(
                f"overlap {overlap!r} lets one of {self.num_classes} classes be wider than the distance at which "
                "another class is far enough (overlap/num_classes > 0.5)",
                stacklevel=2,
            )
        self.radius = checks.positive("radius", radius)
        self.positive_weight = checks.non_negative("positive_weight", positive_weight)
        self.negative_weight = checks.non_negative("negative_weight", negative_weight)
        self.reduction = checks.one_of("reduction", reduction, ("pair", "batch"))

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        checks.embeddings_and_classes(embeddings, labels, self.num_classes)
        d = pairwise_distances(embeddings) / (2 * self.radius)
        same = labels[:, None] == labels[None, :]
        # How far each pair is from where it should be. The matrix holds every pair twice, and the diagonal adds 0.
        t = torch.where(same, (d - self.diameter) / (1 - self.diameter), (0.5 - d) / 0.5).relu()
        positives = same.sum() - len(labels)
        negatives = same.numel() - same.sum()
        if self.reduction == "pair":
            t = barrier(t)
        pull = t.masked_fill(~same, 0).sum() / positives.clamp(min=1)
        push = t.masked_fill(same, 0).sum() / negatives.clamp(min=1)
        if self.reduction == "batch":
            pull, push = barrier(pull), barrier(push)
        return self.positive_weight * pull + self.negative_weight * push


def barrier(t: torch.Tensor) -> torch.Tensor:
    """φ(t) = -log(1 - t) up to t = 1 - δ, then its tangent there, -log δ + (t - (1 - δ))/δ, with δ = 0.01.

    t: floating-point tensor of any shape; ValueError for others. No slope is steeper than 1/δ, while the authors'
        log(1 - t + 1e-20) has slope 1e20 at t = 1 in float64, and is NaN beyond.

    >>> barrier(torch.tensor([0.0, 0.5, 1.0]))  # 0, log 2, and on the tangent log 100 + 1
    tensor([0.0000, 0.6931, 5.6052])
    """
    if not isinstance(t, torch.Tensor) or not t.is_floating_point():
        raise ValueError(f"t: got {checks.describe(t)}, expected a floating-point tensor")
    inside = t <= 1 - DELTA
    logarithm = -torch.log1p(-t.masked_fill(~inside, 0))  # no gradient of 1/0 may enter the branch that is not taken
    return torch.where(inside, logarithm, -math.log(DELTA) + (t - (1 - DELTA)) / DELTA)
