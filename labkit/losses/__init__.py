"""The losses of the course, one file a family. Each is a module: loss(embeddings (B, D), labels (B,)) -> scalar."""

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
    "PEDCCLoss",
    "SoftmaxLoss",
    "TripletCounts",
    "TripletLoss",
    "WeightedSum",
    "barrier",
    "count_triplets",
    "smallest_scale",
]
