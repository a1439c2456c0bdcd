"""The losses of the course, one file a family. Each is a module: loss(embeddings (B, D), labels (B,)) -> scalar."""

from labkit.losses.contrastive import ContrastiveLoss
from labkit.losses.triplet import TripletCounts, TripletLoss, count_triplets

__all__ = ["ContrastiveLoss", "TripletCounts", "TripletLoss", "count_triplets"]
