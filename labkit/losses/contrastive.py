"""The contrastive loss of siamese networks (lab 04)."""

import torch

from labkit import checks
from labkit.distances import pairwise_distances


class ContrastiveLoss(torch.nn.Module):
    """Pulls the pairs of one class together, pushes the pairs of two classes to at least the margin apart.

    The mean over all B(B-1)/2 unordered pairs of a batch of

        ½ d²              if both have the same label,
        ½ [margin - d]₊²  if not,

    with d the Euclidean distance of the two embeddings (Hadsell, Chopra, LeCun 2006, equations 1 and 4). Every pair
    counts, also one that adds 0; pytorch-metric-learning's loss of the same name is another one, with linear hinges.

    margin: distance from which on two classes push each other no more, default 1, at least 0.
    """

    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = checks.non_negative("margin", margin)

    def forward(self, embeddings, labels):
        """Returns a scalar: float64 for float64 embeddings, else float32.

        embeddings: (B, D) floating point. labels: (B,) int64. A batch with fewer than two rows gives a zero that is
        connected to the graph. Two rows in the same place have no direction to be pushed in: their gradient is 0 even
        if their labels differ. Raises ValueError for bad input (labkit.checks).
        """
        checks.embeddings_and_labels(embeddings, labels)
        d = pairwise_distances(embeddings)
        same = labels[:, None] == labels[None, :]
        # The distance that a pair should have: 0, or the margin, or, beyond the margin, the one that it has. This is a
        # constant to the gradient: the slope of both squares is d - target.
        target = d.detach().clamp(min=self.margin).masked_fill_(same, 0)
        # The matrix holds every pair twice, and the diagonal adds 0.
        return torch.nn.functional.mse_loss(d, target, reduction="sum") / 2 / max(len(labels) * (len(labels) - 1), 1)

    def extra_repr(self):
        return f"margin={self.margin}"
