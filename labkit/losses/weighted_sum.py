"""A sum of losses, such as paper 000's composite of exponential triplet, center and class loss (its equation 10)."""

import torch

from labkit import checks
from labkit.distances import result_dtype


class WeightedSum(torch.nn.Module):
    """Σ weight · loss(embeddings, labels), a loss like any other:

        WeightedSum({SoftmaxLoss(10, 2): 1.0, CenterLoss(10, 2): 0.01})

    losses: {loss: weight}, at least one; weights are finite numbers of at least 0. A loss with weight 0 is not
        computed, but it is updated. Parameters and buffers of the losses are those of the sum.
    """

    def __init__(self, losses):
        super().__init__()
        if not isinstance(losses, dict) or not losses or not all(isinstance(k, torch.nn.Module) for k in losses):
            raise ValueError(f"losses must be a dictionary {{loss: weight}} with at least one loss, got {losses!r}")
        self.weights = [checks.non_negative("losses", weight) for weight in losses.values()]
        self.losses = torch.nn.ModuleList(losses)

    def forward(self, embeddings, labels):
        """Returns a scalar. embeddings: (B, D). labels: (B,) int64. Raises what the losses raise."""
        checks.matrix("embeddings", embeddings)
        zero = embeddings[:0].to(result_dtype(embeddings)).sum()  # connected to the graph, also if all weights are 0
        pairs = zip(self.losses, self.weights, strict=True)
        return sum((weight * loss(embeddings, labels) for loss, weight in pairs if weight), zero)

    def terms(self, embeddings, labels):
        """The value of each loss, without weight, in their order: a list of floats. A GPU is waited for."""
        with torch.no_grad():
            return [loss(embeddings, labels).item() for loss in self.losses]

    def update(self, embeddings, labels):
        """Passes the batch on to the losses that have an `update`."""
        for loss in self.losses:
            if hasattr(loss, "update"):
                loss.update(embeddings, labels)

    def extra_repr(self):
        return f"weights={self.weights}"
