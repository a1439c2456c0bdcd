"""The PEDCC loss: softmax with a margin on class centroids that are given, not learned (lab 08, paper 003)."""

import torch

from labkit import checks
from labkit.distances import cosine_similarities, paired_distances, result_dtype
from labkit.embeddings import l2
from labkit.losses.softmax import margin_loss


class PEDCCLoss(torch.nn.Module):
    """Additive margin softmax on given centroids, plus a root of the mean distance to them:

        L = AM(s, m; P) + (M + ε)^(1/root) - ε^(1/root)         M = mean_i ½‖x̂_i - p_yi‖²,  ε = 1e-6

    AM is the additive margin softmax (labkit.losses.softmax) with the rows of P as its weight (paper 003, equations 7
    to 9, with its λ = 1; its equation 8 sums over the batch, which would make λ depend on the batch size).

    centroids: (C, D) floating point, rows of length 1, such as labkit.centroids.evenly_distributed gives.
    margin: m, default 0.35. scale: s, default 7.5. With small scales the loss has a high floor, even for perfect
        embeddings: log(1 + (C-1)·exp(-s (C/(C-1) - m))), 0.53 for C = 100.
    root: the paper's n, a whole number, default 1. ε keeps the slope finite at M = 0.
    learnable: whether the centroids are a parameter, which `update` brings back to length 1, or a buffer. Let the
        optimizer hold it without weight decay and momentum.
    normalize: whether the second term has x̂, or x itself.

    >>> loss = PEDCCLoss(torch.eye(2), margin=0, scale=1)
    >>> loss(torch.tensor([[0.0, 5.0]]), torch.tensor([0]))  # log(1 + e), and ½‖(0, 1) - (1, 0)‖² = 1
    tensor(2.3133)
    """

    EPSILON = 1e-6

    def __init__(
        self,
        centroids: torch.Tensor,
        margin: float = 0.35,
        scale: float = 7.5,
        root: int = 1,
        learnable: bool = False,
        normalize: bool = True,
    ):
        super().__init__()
        checks.matrix("centroids", centroids)
        checks.finite("centroids", centroids)
        lengths = torch.linalg.vector_norm(centroids, dim=1)
        if not torch.allclose(lengths, torch.ones_like(lengths), atol=1e-3):
            worst = lengths[(lengths - 1).abs().argmax()].item()
            raise ValueError(f"centroids: got a row of length {worst:.4g}, expected rows of length 1")
        self.margin = checks.non_negative("margin", margin)
        self.scale = checks.positive("scale", scale)
        self.root = checks.whole("root", root)
        self.learnable, self.normalize = learnable, normalize
        centroids = centroids.detach().clone()
        self.register_buffer("start", centroids.clone())
        if learnable:
            self.centroids = torch.nn.Parameter(centroids)
        else:
            self.register_buffer("centroids", centroids)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        checks.embeddings_and_classes(embeddings, labels, *self.centroids.shape)
        x = embeddings.to(result_dtype(embeddings))
        if len(labels) == 0:
            return self.scores(x).sum()
        cosines = cosine_similarities(x, self.centroids)
        angular = margin_loss(lambda cosine: cosine - self.margin, self.scale, cosines, labels)
        mean = self.mean_distance(x, labels)
        return angular + ((mean + self.EPSILON) ** (1 / self.root) - self.EPSILON ** (1 / self.root))

    def scores(self, embeddings: torch.Tensor) -> torch.Tensor:
        """scale·cos θ_j, (B, C), for prediction."""
        return self.scale * cosine_similarities(embeddings, self.centroids)

    def mean_distance(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """M, the mean over the batch of half the squared distance to the own centroid, a scalar."""
        x = embeddings.to(result_dtype(embeddings))
        return paired_distances(l2(x) if self.normalize else x, self.centroids[labels], squared=True).mean() / 2

    @torch.no_grad()
    def update(self, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        """Brings learnable centroids back to length 1; the batch does not matter."""
        if self.learnable:
            self.centroids.copy_(l2(self.centroids))

    @torch.no_grad()
    def drift(self) -> torch.Tensor:
        """How far each centroid has been learned away from where it started: the angle in degrees, (C,)."""
        chord = paired_distances(l2(self.centroids), l2(self.start))
        return 2 * torch.rad2deg(torch.asin((chord / 2).clamp(max=1)))
