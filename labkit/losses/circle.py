"""The circle loss (lab 07)."""

import torch
from torch.nn.functional import softplus

from labkit import checks
from labkit.distances import cosine_similarities


class CircleLoss(torch.nn.Module):
    """Raises the cosines s_p of an anchor with its own class, lowers its cosines s_n with the other classes:

        softplus( log Σ_n exp(γ α_n (s_n - Δ_n)) + log Σ_p exp(-γ α_p (s_p - Δ_p)) )

        α_p = [1 + m - s_p]₊    Δ_p = 1 - m         α_n = [s_n + m]₊    Δ_n = m

    The mean over the anchors that have a positive and a negative (Sun et al. 2020, eq. 6 to 8; Nosrat 2022 lost the
    minus sign before γ α_p). The weights α are constants to the gradient, as in equation 10.

    margin: m, default 0.25, at least 0. gamma: γ, default 256, above 0. Sun et al. take m = 0.25, γ = 256 for faces,
        and m = 0.4, γ = 80 for retrieval. Values of 20 to 300 are normal for this loss.

    O(B²) time and memory. Embeddings need not have unit length: only their directions count.

    >>> points, labels = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> CircleLoss(margin=0.25, gamma=8)(points, labels)
    tensor(3.1237)
    """

    def __init__(self, margin: float = 0.25, gamma: float = 256.0):
        super().__init__()
        self.margin = checks.non_negative("margin", margin)
        self.gamma = checks.positive("gamma", gamma)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        checks.embeddings_and_labels(embeddings, labels)
        s, m = cosine_similarities(embeddings), self.margin
        of_positive = (1 + m - s).detach().relu() * (1 - m - s)
        of_negative = (s + m).detach().relu() * (s - m)
        negative = labels[:, None] != labels[None, :]
        positive = (~negative).fill_diagonal_(False)
        # Not -inf for what is left out: of a row without any partner, logsumexp and its gradient would be NaN.
        nothing = torch.finfo(s.dtype).min
        join_positive = (self.gamma * of_positive).masked_fill(~positive, nothing).logsumexp(1)
        join_negative = (self.gamma * of_negative).masked_fill(~negative, nothing).logsumexp(1)
        # An anchor that lacks one of the two has softplus(about `nothing`) = 0, with gradient 0.
        anchors = (positive.any(1) & negative.any(1)).sum()
        # From the threshold on torch takes z for softplus(z), with slope 1: at its default, 20, that is off by 2e-9.
        return softplus(join_positive + join_negative, threshold=40).sum() / anchors.clamp(min=1)
