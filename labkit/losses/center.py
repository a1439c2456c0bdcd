"""The center loss (lab 05)."""

import torch

from labkit import checks
from labkit.distances import paired_distances


class CenterLoss(torch.nn.Module):
    """Pulls every embedding towards the center of its class:

        ½ · mean_i [‖x_i - c_yi‖ - radius]₊²

    (Wen, Zhang, Li, Qiao 2016, equation 2, as a mean over the batch; paper 000, equation 9, which compares a squared
    distance with an unsquared radius). Alone it is least when all embeddings are equal: use it beside a loss that keeps
    the classes apart.

    num_classes, dim: number of classes C and length D of an embedding. rate: of `update`, the paper's α, default 0.5,
        between 0 and 1. radius: embeddings within it are left alone, default 0.
    centers: a buffer (C, D), at first 0.

    >>> loss, points, labels = CenterLoss(num_classes=2, dim=2), torch.tensor([[3.0, 4.0]]), torch.tensor([1])
    >>> loss(points, labels)
    tensor(12.5000)
    >>> loss.update(points, labels)
    >>> loss.centers
    tensor([[0.0000, 0.0000],
            [0.7500, 1.0000]])
    """

    def __init__(self, num_classes: int, dim: int, rate: float = 0.5, radius: float = 0.0):
        super().__init__()
        self.num_classes = checks.whole("num_classes", num_classes)
        self.dim = checks.whole("dim", dim)
        self.rate = checks.non_negative("rate", rate, at_most=1)  # beyond 1, centers would jump past the embeddings
        self.radius = checks.non_negative("radius", radius)
        self.register_buffer("centers", torch.zeros(num_classes, dim))

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        checks.embeddings_and_classes(embeddings, labels, self.num_classes, self.dim)
        if self.radius == 0:
            squares = paired_distances(embeddings, self.centers[labels], squared=True)
        else:
            squares = torch.relu(paired_distances(embeddings, self.centers[labels]) - self.radius).square()
        return squares.sum() / 2 / max(len(labels), 1)

    @torch.no_grad()
    def update(self, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        """Moves the centers of the classes in the batch, whatever weight the loss has in a sum (equation 4):

            c_j ← c_j - rate · Σ_{i: y_i = j} (c_j - x_i) / (1 + n_j),      n_j: how many rows have label j

        In several processes every one must give the whole batch, as `fit` does.
        """
        checks.embeddings_and_classes(embeddings, labels, self.num_classes, self.dim)
        difference = self.centers[labels] - embeddings.to(self.centers.dtype)
        pull = torch.zeros_like(self.centers).index_add_(0, labels, difference)
        ones = torch.ones_like(difference[:, :1])  # not bincount, for which a GPU would be waited for
        counts = torch.zeros_like(self.centers[:, :1]).index_add_(0, labels, ones)
        self.centers -= self.rate * pull / (1 + counts)
        if torch.distributed.is_available() and torch.distributed.is_initialized():  # or rounding sets them apart
            torch.distributed.broadcast(self.centers, src=0)
