"""The circle loss, and the unified pair loss that it grew from (lab 07)."""

import torch
from torch.nn.functional import softplus

from labkit import checks
from labkit.distances import cosine_similarities


class CircleLoss(torch.nn.Module):
    """Raises the cosines s_p of an anchor with its own class, lowers its cosines s_n with the other classes:

        softplus( log Σ_n exp(γ α_n (s_n - Δ_n)) + log Σ_p exp(-γ α_p (s_p - Δ_p)) )

        α_p = [1 + m - s_p]₊    Δ_p = 1 - m         α_n = [s_n + m]₊    Δ_n = m

    for every anchor of the batch that has a positive and a negative; the mean over these (Sun et al. 2020, equations 6
    to 8; paper 001 lost the minus sign before γ α_p). With the error t of a pair, 1 - s_p or s_n, which is to become
    small, both exponents are γ [t + m]₊ (t - m). The weights α are constants to the gradient, as in the paper's own
    gradient (equation 10). With one positive and one negative the loss is softplus(γ(s_n² + (1 - s_p)² - 2m²)): it
    decides on a circle of radius √2·m.

    margin: m, default 0.25, at least 0. gamma: γ, default 256, above 0. Sun et al. take m = 0.25, γ = 256 for faces,
        and m = 0.4, γ = 80 for retrieval. Values of 20 to 300 are normal for this loss.
    weighting: "circle", or "none" for the paper's unified pair loss (equation 1), softplus(log ΣΣ exp(γ(s_n - s_p +
        m))), which weighs all pairs alike; as γ grows, 1/γ of it tends to the triplet loss of the hardest pairs.

    O(B²) time and memory. Embeddings need not have unit length: only their directions count.
    """

    def __init__(self, margin=0.25, gamma=256.0, weighting="circle"):
        super().__init__()
        self.margin = checks.non_negative("margin", margin)
        self.gamma = checks.positive("gamma", gamma)
        self.weighting = checks.one_of("weighting", weighting, ("circle", "none"))

    def forward(self, embeddings, labels):
        """Returns a scalar: float64 for float64 embeddings, else float32. It can be differentiated once.

        embeddings: (B, D) floating point. labels: (B,) int64. A batch without an anchor that has both a positive and a
        negative gives a zero that is connected to the graph. Raises ValueError for bad input (labkit.checks).
        """
        checks.embeddings_and_labels(embeddings, labels)
        if len(labels) == 0:
            return cosine_similarities(embeddings).sum()
        return _Circle.apply(
            cosine_similarities(embeddings), labels, self.margin, self.gamma, self.weighting == "circle"
        )

    def extra_repr(self):
        return f"margin={self.margin}, gamma={self.gamma}, weighting={self.weighting!r}"


class _Circle(torch.autograd.Function):
    """The loss of a matrix of cosines. The gradient is computed with it: most of its B×B terms occur in both."""

    @staticmethod
    def forward(ctx, cosines, labels, margin, gamma, weighted):
        loss, gradient = _loss_and_gradient(cosines, labels, margin, gamma, weighted)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx, grad):
        checks.differentiated_once("CircleLoss")
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None, None, None


def _loss_and_gradient(cosines, labels, margin, gamma, weighted):
    """The loss, and its gradient to the cosines (B, B). In place where it can be: memory costs more than arithmetic."""
    same = labels[:, None] == labels[None, :]
    sign = torch.where(same, -1.0, 1.0).to(cosines.dtype)  # dt/ds
    error = (cosines - 0.5).mul_(sign).add_(0.5)  # t: 1 - s where same, else s
    if weighted:
        pull = (error + margin).clamp_(min=0).mul_(gamma)  # γα
        exponent = error.sub_(margin).mul_(pull)
    else:
        pull = gamma
        exponent = error.sub_((1 - margin) / 2).mul_(gamma)  # each kind has half of s_n - s_p + m
    # Not -inf: of a row that is all -inf, logsumexp and the gradient would be NaN.
    nothing = torch.finfo(exponent.dtype).min
    exponent.fill_diagonal_(nothing)
    of_positives = exponent.masked_fill(~same, nothing).logsumexp(1, keepdim=True)
    of_negatives = exponent.masked_fill(same, nothing).logsumexp(1, keepdim=True)
    both = of_positives + of_negatives
    # An anchor without a positive, or without a negative, has softplus(about `nothing`) = 0, with gradient 0.
    mined = ((same.sum(1) > 1) & ~same.all(1)).sum().clamp(min=1)
    # d softplus(z)/dz = sigmoid(z), and d logsumexp/d exponent = exp(exponent - logsumexp).
    share = exponent.sub_(torch.where(same, of_positives, of_negatives)).exp_()
    return softplus(both).sum() / mined, share.mul_(sign.mul_(pull)).mul_(both.sigmoid().div_(mined))
