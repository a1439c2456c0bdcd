"""Softmax and its variants with a margin: losses that learn one weight row a class (lab 08).

All are the cross entropy of scores; they differ in the scores. With θ_j the angle between the embedding x and the
weight row w_j, and y the label:

    SoftmaxLoss       f_j = w_j·x + b_j
    HingeLoss         the same scores, another loss
    L2SoftmaxLoss     f_j = w_j·(s x̂) + b_j           x̂ = x/‖x‖
    LSoftmaxLoss      f_j = ‖w_j‖ ‖x‖ cos θ_j          and for the label    ‖w_y‖ ‖x‖ ψ(θ_y)
    ASoftmaxLoss      f_j = ‖x‖ cos θ_j                                     ‖x‖ ψ(θ_y)
    AMSoftmaxLoss     f_j = s cos θ_j                                       s (cos θ_y - m)
    ArcFaceLoss       f_j = s cos θ_j                                       s cos(θ_y + m)

The margin makes the label's score smaller than it is, so that the embedding must be nearer to its own row than softmax
alone asks for. Every loss has `scores(embeddings)`, (B, C) without a margin, for prediction.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, linear, multi_margin_loss

from labkit import checks
from labkit.distances import cosine_similarities, result_dtype
from labkit.embeddings import l2


class _Classifier(torch.nn.Module):
    """One weight row a class, `weight` (C, D), started by Glorot's uniform rule; with bias, `bias` (C,), started at 0.

    A loss on top gives `scores`, and what becomes of the scores in `loss_of`.
    """

    def __init__(self, num_classes, dim, bias=False):
        super().__init__()
        self.num_classes = checks.whole("num_classes", num_classes)
        self.dim = checks.whole("dim", dim)
        self.weight = torch.nn.Parameter(torch.nn.init.xavier_uniform_(torch.empty(num_classes, dim)))
        self.bias = torch.nn.Parameter(torch.zeros(num_classes)) if bias else None

    def forward(self, embeddings, labels):
        """Returns a scalar, the mean over the batch: float64 for float64 embeddings, else float32.

        embeddings: (B, D) floating point. labels: (B,) int64 in 0..C-1. An empty batch gives a zero that is connected
        to the graph. Raises ValueError for bad input (labkit.checks).
        """
        checks.embeddings_and_labels(embeddings, labels, num_classes=self.num_classes, dim=self.dim)
        x = embeddings.to(result_dtype(embeddings))
        return self.loss_of(x, labels) if len(labels) else self.scores(x).sum()

    def loss_of(self, embeddings, labels):
        return cross_entropy(self.scores(embeddings), labels)

    def _linear(self, x):
        """x·w_j + b_j for all rows and classes, not lowered by autocast."""
        dtype = result_dtype(x, self.weight)
        with torch.autocast(x.device.type, enabled=False):
            return linear(x.to(dtype), self.weight.to(dtype), self.bias.to(dtype))

    def extra_repr(self):
        return f"num_classes={self.num_classes}, dim={self.dim}"


class SoftmaxLoss(_Classifier):
    """Plain softmax cross entropy on a linear layer with bias. num_classes: C. dim: D."""

    def __init__(self, num_classes, dim):
        super().__init__(num_classes, dim, bias=True)

    def scores(self, embeddings):
        """w_j·x + b_j, (B, C)."""
        return self._linear(embeddings)


class HingeLoss(SoftmaxLoss):
    """The multi-class hinge on a linear layer with bias: mean_i 1/C Σ_{j≠y} [margin - f_y + f_j]₊.

    (Weston and Watkins 1999, as torch.nn.MultiMarginLoss has it.) num_classes: C. dim: D. margin: default 1, above 0.
    """

    def __init__(self, num_classes, dim, margin=1.0):
        super().__init__(num_classes, dim)
        self.margin = checks.positive("margin", margin)

    def loss_of(self, embeddings, labels):
        return multi_margin_loss(self.scores(embeddings), labels, margin=self.margin)

    def extra_repr(self):
        return f"{super().extra_repr()}, margin={self.margin}"


class L2SoftmaxLoss(_Classifier):
    """Softmax on embeddings of length `scale` (Ranjan, Castillo, Chellappa 2017; paper 000, equation 7).

    num_classes: C. dim: D. scale: above 0. Where it is small the loss has a high floor; `smallest_scale` tells what a
        wanted probability takes.
    """

    def __init__(self, num_classes, dim, scale):
        super().__init__(num_classes, dim, bias=True)
        self.scale = checks.positive("scale", scale)

    def scores(self, embeddings):
        """w_j·(scale x̂) + b_j, (B, C)."""
        return self._linear(l2(embeddings.to(result_dtype(embeddings)), self.scale))

    def extra_repr(self):
        return f"{super().extra_repr()}, scale={self.scale}"


def smallest_scale(num_classes, probability=0.9):
    """The scale from which softmax can give the label this probability: log(p (C - 2) / (1 - p)).

    A lower bound for unit weight rows that spread evenly (Ranjan et al. 2017), 4.28 for ten classes and 0.9.
    num_classes: C, at least 3. Raises ValueError for a probability that is not between 0 and 1.
    """
    checks.whole("num_classes", num_classes, at_least=3)
    if not 0 < probability < 1:
        raise ValueError(f"probability must lie between 0 and 1, got {probability!r}")
    return math.log(probability * (num_classes - 2) / (1 - probability))


class _MarginSoftmax(_Classifier):
    """Scores radius·cos θ_j, in which the label's cosine is replaced by `target_cosine` of it."""

    def scores(self, embeddings):
        """The scores without a margin, (B, C)."""
        return self.radius(embeddings) * cosine_similarities(embeddings, self.weight)

    def loss_of(self, embeddings, labels):
        return margin_cross_entropy(
            cosine_similarities(embeddings, self.weight), labels, self.target_cosine, self.radius(embeddings)
        )


def margin_cross_entropy(cosines, labels, target_cosine, radius):
    """The cross entropy of radius·cosines, with the label's cosine replaced by target_cosine(it).

    cosines: (B, C). labels: (B,). target_cosine: a function of a tensor. radius: a number, or a tensor that fits.
    """
    own = labels[:, None]
    return cross_entropy(radius * cosines.scatter(1, own, target_cosine(cosines.gather(1, own))), labels)


def _lengths(rows):
    """‖x_i‖ of every row as a column (B, 1); the gradient is 0 at a row of zeros."""
    return torch.linalg.vector_norm(rows.to(result_dtype(rows)), dim=1, keepdim=True)


@dataclass(frozen=True)
class Annealing:
    """λ over the iterations of training: max(lowest, base·(1 + rate·iteration)^-power).

    While λ is large, the target (λ cos θ + ψ(θ))/(1 + λ) is nearly plain softmax, from which training can start. The
    defaults are those of the public A-Softmax code (clcarwin); L-Softmax's own code has the power as well.
    """

    lowest: float = 5.0
    base: float = 1500.0
    rate: float = 0.1
    power: float = 1.0

    def __post_init__(self):
        for name in ("lowest", "base", "rate", "power"):
            checks.non_negative(name, getattr(self, name))

    def __call__(self, iteration):
        """λ at an iteration: a tensor of floats, counted from 0."""
        return (self.base * (1 + self.rate * iteration) ** -self.power).clamp(min=self.lowest)


class _AngularSoftmax(_MarginSoftmax):
    """The target ψ(θ) = (-1)^k cos(mθ) - 2k for θ in [kπ/m, (k+1)π/m]: it falls all the way from 1 to 1 - 2m.

    The buffer `iteration` counts calls of `update`; with `annealing` it sets λ.
    """

    def __init__(self, num_classes, dim, margin, annealing):
        super().__init__(num_classes, dim)
        self.margin = checks.whole("margin", margin)
        if annealing is not None and not isinstance(annealing, Annealing):
            raise ValueError(f"annealing must be an Annealing or None, got {annealing!r}")
        self.annealing = annealing
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))

    def target_cosine(self, cosine):
        """What stands in the place of the label's cos θ: ψ(θ), or with annealing (λ cos θ + ψ(θ))/(1 + λ)."""
        before, multiple = torch.ones_like(cosine), cosine  # cos(0θ) and cos(1θ); then cos((i+1)θ) from the two before
        for _ in range(self.margin - 1):
            before, multiple = multiple, 2 * cosine * multiple - before
        bounds = [math.cos(i * math.pi / self.margin) for i in range(1, self.margin)]
        k = sum(((cosine <= bound).to(cosine.dtype) for bound in bounds), torch.zeros_like(cosine))
        psi = (1 - 2 * (k % 2)) * multiple - 2 * k
        if self.annealing is None:
            return psi
        weight = self.annealing(self.iteration.to(cosine.dtype))
        return (weight * cosine + psi) / (1 + weight)

    def update(self, embeddings, labels):
        """Counts one iteration of training. `fit` calls it after each step; the batch does not matter."""
        with torch.no_grad():
            self.iteration += 1

    def extra_repr(self):
        return f"{super().extra_repr()}, margin={self.margin}, annealing={self.annealing}"


class LSoftmaxLoss(_AngularSoftmax):
    """Large-margin softmax (Liu, Wen, Yu, Yang 2016, equations 4 to 6). Margin 1 is softmax without bias.

    num_classes: C. dim: D. margin: m, a whole number, default 4. annealing: an Annealing, default None. Without it,
        a margin of 4 seldom trains from scratch.
    """

    def __init__(self, num_classes, dim, margin=4, annealing=None):
        super().__init__(num_classes, dim, margin, annealing)

    def radius(self, embeddings):
        """‖w_j‖ ‖x‖, (B, C)."""
        return _lengths(embeddings) * _lengths(self.weight).T


class ASoftmaxLoss(_AngularSoftmax):
    """Angular softmax, SphereFace (Liu, Wen, Yu, Li, Raj, Song 2017, equations 6 and 7): weight rows of length 1.

    num_classes: C. dim: D. margin: m, a whole number, default 4. annealing: default Annealing(); None for none.
    """

    def __init__(self, num_classes, dim, margin=4, annealing=Annealing()):
        super().__init__(num_classes, dim, margin, annealing)

    def radius(self, embeddings):
        """‖x‖, (B, 1)."""
        return _lengths(embeddings)


class _ScaledMarginSoftmax(_MarginSoftmax):
    """Scores scale·cos θ_j."""

    def __init__(self, num_classes, dim, margin, scale):
        super().__init__(num_classes, dim)
        self.margin = checks.non_negative("margin", margin)
        self.scale = checks.positive("scale", scale)

    def radius(self, embeddings):
        """The scale."""
        return self.scale

    def extra_repr(self):
        return f"{super().extra_repr()}, margin={self.margin}, scale={self.scale}"


class AMSoftmaxLoss(_ScaledMarginSoftmax):
    """Additive margin softmax (Wang, Cheng, Liu, Liu 2018, equation 6), or CosFace: target s·(cos θ - m).

    num_classes: C. dim: D. margin: m, a cosine, default 0.35. scale: s, default 30.
    """

    def __init__(self, num_classes, dim, margin=0.35, scale=30.0):
        super().__init__(num_classes, dim, margin, scale)

    def target_cosine(self, cosine):
        """cos θ - m."""
        return cosine - self.margin


class ArcFaceLoss(_ScaledMarginSoftmax):
    """Additive angular margin (Deng, Guo, Xue, Zafeiriou 2019, equation 3): target s·cos(θ + m).

    Beyond θ = π - m, where cos(θ + m) would rise again, the target is s·(cos θ - m sin m), as in the authors' code: it
    goes on falling, after a jump.

    num_classes: C. dim: D. margin: m in radians, default 0.5, at most π. scale: s, default 64.
    """

    def __init__(self, num_classes, dim, margin=0.5, scale=64.0):
        super().__init__(num_classes, dim, margin, scale)
        if self.margin > math.pi:
            raise ValueError(f"margin must be at most π, in radians, got {margin!r}")

    def target_cosine(self, cosine):
        """cos(θ + m) = cos θ cos m - sin θ sin m; beyond π - m, cos θ - m sin m."""
        m = self.margin
        square = 1 - cosine.square()
        flat = square <= 0  # at θ = 0 and π, where the root would have an infinite slope; rounding may lead beyond
        sine = square.masked_fill(flat, 1).sqrt().masked_fill(flat, 0)
        rotated = cosine * math.cos(m) - sine * math.sin(m)
        return torch.where(cosine >= -math.cos(m), rotated, cosine - m * math.sin(m))
