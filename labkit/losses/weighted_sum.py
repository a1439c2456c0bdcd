"""A sum of losses, such as the composite of Urtans 2020: exponential triplet, center and class loss (equation 10)."""

import torch

from labkit import checks
from labkit.distances import result_dtype


class WeightedSum(torch.nn.Module):
    """Σ weight · loss(embeddings, labels), a loss like any other.

    losses: {loss: weight}, at least one; weights are finite numbers of at least 0. A loss with weight 0 is not
        computed, but it is updated. Parameters and buffers of the losses are those of the sum.

    >>> from labkit.losses import CenterLoss, ContrastiveLoss
    >>> loss = WeightedSum({ContrastiveLoss(margin=1): 1.0, CenterLoss(2, 1): 0.1})
    >>> loss(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 0]))  # 2 + 0.1·0.5
    tensor(2.0500)
    """

    def __init__(self, losses: dict[torch.nn.Module, float]):
        super().__init__()
        if not isinstance(losses, dict) or not losses or not all(isinstance(k, torch.nn.Module) for k in losses):
            raise ValueError(f"losses: got {losses!r}, expected a dictionary {{loss: weight}} with at least one loss")
        self.weights = [checks.non_negative("losses", weight) for weight in losses.values()]
        self.losses = torch.nn.ModuleList(losses)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        checks.matrix("embeddings", embeddings)
        zero = embeddings[:0].to(result_dtype(embeddings)).sum()  # connected to the graph, also if all weights are 0
        pairs = zip(self.losses, self.weights, strict=True)
        return sum((weight * loss(embeddings, labels) for loss, weight in pairs if weight), zero)

    def scores(self, embeddings: torch.Tensor) -> torch.Tensor:
        """The class scores, (B, C), of the first loss that gives scores."""
        return next(loss for loss in self.losses if hasattr(loss, "scores")).scores(embeddings)

    def update(self, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        """Passes the batch on to the losses that have an `update`."""
        for loss in self.losses:
            if hasattr(loss, "update"):
                loss.update(embeddings, labels)
