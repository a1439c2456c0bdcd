"""The losses of the course, one file a family. Each is a module: loss(embeddings, labels) -> scalar.

embeddings: floating-point tensor (B, D). labels: int64 tensor (B,) on the same device; for a loss with num_classes, C,
    they lie in 0..C-1.
Returns a tensor of shape (): float64 for float64 embeddings, else float32, also for half precision and under autocast.

A batch without a pair, triplet or row that the loss could count gives a zero that is connected to the graph, never NaN.
Bad input raises ValueError, `name: got X, expected Y`; on CUDA bad values fail an assert on the device (labkit.checks).
A loss with an `update(embeddings, labels)` wants to be told the batch after each step of the optimizer, as `fit` does.

>>> import torch
>>> loss = TripletLoss(margin=0.2)
>>> loss(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]))  # 5 - 1 + 0.2, and 5 - √18 + 0.2
tensor(2.5787)
"""

from labkit.losses.center import CenterLoss
from labkit.losses.circle import CircleLoss
from labkit.losses.contrastive import ContrastiveLoss
from labkit.losses.exponential_triplet import ExponentialTripletLoss, barrier
from labkit.losses.pedcc import PEDCCLoss
from labkit.losses.softmax import (
    AMSoftmaxLoss,
    Annealing,
    ArcFaceLoss,
    ASoftmaxLoss,
    HingeLoss,
    L2SoftmaxLoss,
    LSoftmaxLoss,
    MarginSoftmaxLoss,
    SoftmaxLoss,
    smallest_scale,
)
from labkit.losses.triplet import TripletCounts, TripletLoss, count_triplets
from labkit.losses.weighted_sum import WeightedSum

__all__ = [
    "AMSoftmaxLoss",
    "ASoftmaxLoss",
    "Annealing",
    "ArcFaceLoss",
    "CenterLoss",
    "CircleLoss",
    "ContrastiveLoss",
    "ExponentialTripletLoss",
    "HingeLoss",
    "L2SoftmaxLoss",
    "LSoftmaxLoss",
    "MarginSoftmaxLoss",
    "PEDCCLoss",
    "SoftmaxLoss",
    "TripletCounts",
    "TripletLoss",
    "WeightedSum",
    "barrier",
    "count_triplets",
    "smallest_scale",
]
