"""The center loss (lab 05)."""

import torch

from labkit import checks
from labkit.distances import paired_distances


class CenterLoss(torch.nn.Module):
    """Pulls every embedding towards the center of its class:

        ½ · mean_i [‖x_i - c_yi‖ - radius]₊²

    (Wen, Zhang, Li, Qiao 2016, equation 2, as a mean over the batch). With radius 0 this is half the squared distance.
    With a radius, embeddings within it are left alone; the distance in the hinge is not squared (paper 000, equation 9,
    which compares a squared distance with an unsquared radius, put right).

    The centers are no parameters. They follow the embeddings by the paper's own rule (equation 4), in `update`, which
    `fit` calls after each step:

        c_j ← c_j - rate · Σ_{i: y_i = j} (c_j - x_i) / (1 + n_j),      n_j: how many rows of the batch have label j

    So the weight of this loss in a sum (the paper's λ; see WeightedSum) does not change how fast the centers move.
    Alone, the loss is least when all embeddings are equal: use it beside a loss that keeps the classes apart.

    num_classes, dim: number of classes C and length D of an embedding. rate: the paper's α, default 0.5, between 0 and
        1. radius: default 0, at least 0.

    The buffer `centers` (C, D) starts at zero, so that all processes start from the same.
    """

    def __init__(self, num_classes, dim, rate=0.5, radius=0.0):
        super().__init__()
        self.num_classes = checks.whole("num_classes", num_classes)
        self.dim = checks.whole("dim", dim)
        self.rate = checks.non_negative("rate", rate)
        if self.rate > 1:
            raise ValueError(f"rate must be at most 1, got {rate!r}: the centers would jump past the embeddings")
        self.radius = checks.non_negative("radius", radius)
        self.register_buffer("centers", torch.zeros(num_classes, dim))

    def forward(self, embeddings, labels):
        """Returns a scalar: float64 for float64 embeddings, else float32.

        embeddings: (B, D) floating point. labels: (B,) int64 in 0..C-1. An empty batch gives a zero that is connected
        to the graph. Raises ValueError for bad input (labkit.checks).
        """
        checks.embeddings_and_labels(embeddings, labels, num_classes=self.num_classes, dim=self.dim)
        own_centers = self.centers[labels]
        if self.radius == 0:
            squares = paired_distances(embeddings, own_centers, squared=True)
        else:
            squares = torch.relu(paired_distances(embeddings, own_centers) - self.radius).square()
        return squares.sum() / 2 / max(len(labels), 1)

    def update(self, embeddings, labels):
        """Moves the centers of the classes that occur in the batch; the others stay.

        embeddings: (B, D). labels: (B,) int64 in 0..C-1. In several processes every one must give the whole batch, as
        `fit` does; the centers of the first process then are everybody's, so that rounding cannot set them apart.
        """
        with torch.no_grad():
            checks.embeddings_and_labels(embeddings, labels, num_classes=self.num_classes, dim=self.dim)
            difference = self.centers[labels] - embeddings.to(self.centers.dtype)
            pull = torch.zeros_like(self.centers).index_add_(0, labels, difference)
            ones = torch.ones_like(difference[:, :1])  # not bincount, for which a GPU would be waited for
            counts = torch.zeros_like(self.centers[:, :1]).index_add_(0, labels, ones)
            self.centers -= self.rate * pull / (1 + counts)
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.broadcast(self.centers, src=0)

    def extra_repr(self):
        return f"num_classes={self.num_classes}, dim={self.dim}, rate={self.rate}, radius={self.radius}"
