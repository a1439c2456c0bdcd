"""The contrastive loss of siamese networks (lab 04)."""

import torch

from labkit import checks
from labkit.distances import pairwise_distances


class ContrastiveLoss(torch.nn.Module):
    """Pulls the pairs of one class together, pushes the pairs of two classes to at least the margin apart.

    The mean over all B(B-1)/2 unordered pairs of a batch of

        ½ d²              if both have the same label,
        ½ [margin - d]₊²  if not,

    with d the Euclidean distance (Hadsell, Chopra, LeCun 2006, equations 1 and 4). Every pair counts, also one that
    adds 0; pytorch-metric-learning's loss of the same name is another one, with linear hinges. Two rows in the same
    place have no direction to be pushed in: their gradient is 0.

    margin: distance from which on two classes push each other no more, default 1, at least 0.

    >>> points, labels = torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.5, 0.0]]), torch.tensor([0, 0, 1])
    >>> ContrastiveLoss(margin=1)(points, labels)  # (½·1² + ½·(1 - 0.5)² + ½·(1 - 0.806)²)/3
    tensor(0.2146)
    """

    def __init__(self, margin: float = 1.0):
        super().__init__()
        self.margin = checks.non_negative("margin", margin)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        checks.embeddings_and_labels(embeddings, labels)
        d = pairwise_distances(embeddings)
        same = labels[:, None] == labels[None, :]
        # How far each pair is from where it should be. The matrix holds every pair twice, and the diagonal adds 0.
        error = torch.where(same, d, (self.margin - d).relu())
        return error.square().sum() / 2 / max(len(labels) * (len(labels) - 1), 1)
