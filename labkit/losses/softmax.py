"""Softmax and its variants with a margin: losses that learn one weight row a class (lab 08).

All are the cross entropy of scores (HingeLoss: a hinge of them), the mean over the batch. They differ in the scores.
With θ_j the angle between the embedding x and the weight row w_j, and y the label:

    SoftmaxLoss       f_j = w_j·x + b_j
    L2SoftmaxLoss     f_j = w_j·(s x̂) + b_j           x̂ = x/‖x‖
    LSoftmaxLoss      f_j = ‖w_j‖ ‖x‖ cos θ_j          and for the label    ‖w_y‖ ‖x‖ ψ(θ_y)
    ASoftmaxLoss      f_j = ‖x‖ cos θ_j                                     ‖x‖ ψ(θ_y)
    AMSoftmaxLoss     f_j = s cos θ_j                                       s (cos θ_y - m)
    ArcFaceLoss       f_j = s cos θ_j                                       s cos(θ_y + m)

The last four are one loss, `margin_loss`: only the target, instead of the label's cosine, and the length in front
change. num_classes: C, the number of classes. dim: D, the length of an embedding.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, linear, multi_margin_loss

from labkit import checks
from labkit.distances import cosine_similarities, result_dtype
from labkit.embeddings import l2


class SoftmaxLoss(torch.nn.Module):
    """Plain softmax cross entropy on a linear layer with bias.

    `weight` (C, D), one row a class, starts by Glorot's uniform rule, `bias` (C,) at 0.

    >>> SoftmaxLoss(num_classes=10, dim=2)(torch.zeros(4, 2), torch.arange(4)).detach()  # all scores are equal: log 10
    tensor(2.3026)
    """

    def __init__(self, num_classes: int, dim: int):
        super().__init__()
        self.num_classes = checks.whole("num_classes", num_classes)
        self.dim = checks.whole("dim", dim)
        self.weight = torch.nn.Parameter(torch.nn.init.xavier_uniform_(torch.empty(num_classes, dim)))
        self.bias = torch.nn.Parameter(torch.zeros(num_classes))

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        checks.embeddings_and_classes(embeddings, labels, self.num_classes, self.dim)
        x = embeddings.to(result_dtype(embeddings))
        return self.loss_of(x, labels) if len(labels) else self.scores(x).sum()

    def scores(self, embeddings: torch.Tensor) -> torch.Tensor:
        """The scores without a margin, for prediction: (B, C)."""
        dtype = result_dtype(embeddings, self.weight)
        with torch.autocast(embeddings.device.type, enabled=False):
            return linear(embeddings.to(dtype), self.weight.to(dtype), self.bias.to(dtype))

    def loss_of(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch that is not empty."""
        return cross_entropy(self.scores(embeddings), labels)


class HingeLoss(SoftmaxLoss):
    """The multi-class hinge on a linear layer with bias: mean_i 1/C Σ_{j≠y} [margin - f_y + f_j]₊.

    margin: default 1, above 0. Source: Weston and Watkins 1999, as torch.nn.MultiMarginLoss has it.

    >>> HingeLoss(num_classes=10, dim=2)(torch.zeros(4, 2), torch.arange(4)).detach()  # nine hinges of 1
    tensor(0.9000)
    """

    def __init__(self, num_classes: int, dim: int, margin: float = 1.0):
        super().__init__(num_classes, dim)
        self.margin = checks.positive("margin", margin)

    def loss_of(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return multi_margin_loss(self.scores(embeddings), labels, margin=self.margin)


class L2SoftmaxLoss(SoftmaxLoss):
    """Softmax on embeddings of length `scale` (Ranjan, Castillo, Chellappa 2017; paper 000, equation 7).

    scale: above 0. Where it is small the loss has a high floor; `smallest_scale` tells what a wanted probability takes.

    >>> L2SoftmaxLoss(num_classes=10, dim=2, scale=8).scores(torch.zeros(1, 2)).shape
    torch.Size([1, 10])
    """

    def __init__(self, num_classes: int, dim: int, scale: float):
        super().__init__(num_classes, dim)
        self.scale = checks.positive("scale", scale)

    def scores(self, embeddings: torch.Tensor) -> torch.Tensor:
        return super().scores(l2(embeddings.to(result_dtype(embeddings)), self.scale))


def smallest_scale(num_classes: int, probability: float = 0.9) -> float:
    """The scale from which softmax on unit rows can give the label this probability: log(p (C - 2)/(1 - p)).

    num_classes: C, at least 3. probability: p, between 0 and 1. Source: Ranjan et al. 2017.

    >>> round(smallest_scale(10), 2)
    4.28
    """
    checks.whole("num_classes", num_classes, at_least=3)
    if not 0 < probability < 1:
        raise ValueError(f"probability: got {probability!r}, expected a number between 0 and 1")
    return math.log(probability * (num_classes - 2) / (1 - probability))


# Targets: functions of a tensor of cosines and the margin


def psi(cosine: torch.Tensor, margin: int = 4) -> torch.Tensor:
    """ψ(θ) = (-1)^k cos(mθ) - 2k for θ in [kπ/m, (k+1)π/m]: it falls all the way from 1 to 1 - 2m.

    >>> psi(torch.tensor([1.0, 0.0, -1.0]), margin=2)
    tensor([ 1., -1., -3.])
    """
    # Without acos, whose slope is infinite at ±1: cos((i+1)θ) follows from cos(iθ) and cos((i-1)θ).
    before, multiple = torch.ones_like(cosine), cosine
    for _ in range(margin - 1):
        before, multiple = multiple, 2 * cosine * multiple - before
    bounds = [math.cos(i * math.pi / margin) for i in range(1, margin)]
    k = sum(((cosine <= bound).to(cosine.dtype) for bound in bounds), torch.zeros_like(cosine))
    return (1 - 2 * (k % 2)) * multiple - 2 * k


def additive(cosine: torch.Tensor, margin: float = 0.35) -> torch.Tensor:
    """cos θ - m.

    >>> additive(torch.tensor(1.0), margin=0.25)
    tensor(0.7500)
    """
    return cosine - margin


def additive_angle(cosine: torch.Tensor, margin: float = 0.5) -> torch.Tensor:
    """cos(θ + m) = cos θ cos m - sin θ sin m; beyond θ = π - m, where that would rise again, cos θ - m sin m.

    >>> additive_angle(torch.tensor(0.5), margin=0.5)  # θ = 60°, m = 28.6°: cos 88.6°
    tensor(0.0236)
    """
    square = 1 - cosine.square()
    flat = square <= 0  # at θ = 0 and π, where the root would have an infinite slope; rounding may lead beyond
    sine = square.masked_fill(flat, 1).sqrt().masked_fill(flat, 0)
    rotated = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine >= -math.cos(margin), rotated, cosine - margin * math.sin(margin))


def margin_loss(
    target: Callable, front: float | torch.Tensor, cosines: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The cross entropy of front·cosines, with target(cosine) instead of the label's cosine.

    target: a function of a tensor. front: a number, or a tensor that fits. cosines: (B, C). labels: (B,), B at least 1.

    >>> margin_loss(lambda cosine: cosine - 0.5, 2, torch.tensor([[0.5, 0.5]]), torch.tensor([0]))  # of scores 0 and 1
    tensor(1.3133)
    """
    own = labels[:, None]
    return cross_entropy(front * cosines.scatter(1, own, target(cosines.gather(1, own))), labels)


class MarginSoftmaxLoss(SoftmaxLoss):
    """`margin_loss` with one learned row for each class, no bias.

    target: a function of a tensor of cosines and the margin, such as `psi`. margin: a number.
    front: a number s above 0, "x" for ‖x‖, or "wx" for ‖w_j‖ ‖x‖.

    >>> loss = MarginSoftmaxLoss(10, 2, target=lambda cosine, m: m * cosine - (m - 1), margin=2, front=15)
    >>> loss.target_cosine(torch.tensor(0.5))
    tensor(0.)
    """

    def __init__(self, num_classes: int, dim: int, target: Callable, margin: float, front: float | str):
        super().__init__(num_classes, dim)
        self.bias = None
        self.target, self.margin, self.front = target, margin, front
        if not isinstance(front, str):
            self.scale = checks.positive("scale", front)

    def scores(self, embeddings: torch.Tensor) -> torch.Tensor:
        return self._front(embeddings) * cosine_similarities(embeddings, self.weight)

    def loss_of(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        cosines = cosine_similarities(embeddings, self.weight)
        return margin_loss(self.target_cosine, self._front(embeddings), cosines, labels)

    def target_cosine(self, cosine: torch.Tensor) -> torch.Tensor:
        """What stands instead of the label's cosine."""
        return self.target(cosine, self.margin)

    def _front(self, embeddings):
        if not isinstance(self.front, str):
            return self.scale
        x, w = (torch.linalg.vector_norm(rows.to(result_dtype(rows)), dim=1) for rows in (embeddings, self.weight))
        return x[:, None] if self.front == "x" else x[:, None] * w


class AMSoftmaxLoss(MarginSoftmaxLoss):
    """Additive margin softmax (Wang, Cheng, Liu, Liu 2018, equation 6), or CosFace: target s·(cos θ - m).

    margin: m, a cosine, default 0.35. scale: s, default 30.

    >>> AMSoftmaxLoss(num_classes=10, dim=2).target_cosine(torch.tensor(1.0))
    tensor(0.6500)
    """

    def __init__(self, num_classes: int, dim: int, margin: float = 0.35, scale: float = 30.0):
        super().__init__(num_classes, dim, additive, checks.non_negative("margin", margin), scale)


class ArcFaceLoss(MarginSoftmaxLoss):
    """Additive angular margin (Deng, Guo, Xue, Zafeiriou 2019, equation 3): target s·cos(θ + m).

    Beyond θ = π - m the target is s·(cos θ - m sin m), as in the authors' code: it goes on falling, after a jump.

    margin: m in radians, default 0.5, at most π. scale: s, default 64.

    >>> ArcFaceLoss(num_classes=10, dim=2).target_cosine(torch.tensor(1.0))  # cos 0.5
    tensor(0.8776)
    """

    def __init__(self, num_classes: int, dim: int, margin: float = 0.5, scale: float = 64.0):
        super().__init__(num_classes, dim, additive_angle, checks.non_negative("margin", margin), scale)
        if self.margin > math.pi:
            raise ValueError(f"margin: got {margin!r}, expected at most π, in radians")


@dataclass(frozen=True)
class Annealing:
    """λ over the iterations of training: max(lowest, base/(1 + rate·iteration)), all three at least 0.

    While λ is large, the target (λ cos θ + ψ(θ))/(1 + λ) is nearly plain softmax, from which training can start.
    Source: the public A-Softmax code (clcarwin).

    >>> Annealing()(torch.tensor([0.0, 10.0, 1e6]))
    tensor([1500.,  750.,    5.])
    """

    lowest: float = 5.0
    base: float = 1500.0
    rate: float = 0.1

    def __post_init__(self):
        for name in ("lowest", "base", "rate"):
            checks.non_negative(name, getattr(self, name))

    def __call__(self, iteration: torch.Tensor) -> torch.Tensor:
        return (self.base * (1 + self.rate * iteration).reciprocal()).clamp(min=self.lowest)


class LSoftmaxLoss(MarginSoftmaxLoss):
    """Large-margin softmax (Liu, Wen, Yu, Yang 2016, equations 4 to 6). Margin 1 is softmax without bias.

    margin: m, a whole number, default 4. annealing: an Annealing over the calls of `update`, default None, with which
        a margin of 4 seldom trains from scratch.

    >>> LSoftmaxLoss(num_classes=10, dim=2, margin=3).target_cosine(torch.tensor(0.0))  # θ = 90°, k = 1: -cos 270° - 2
    tensor(-2.)
    """

    def __init__(self, num_classes: int, dim: int, margin: int = 4, annealing: Annealing | None = None):
        super().__init__(num_classes, dim, psi, checks.whole("margin", margin), front="wx")
        self.annealing = annealing
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))

    def target_cosine(self, cosine: torch.Tensor) -> torch.Tensor:
        target = super().target_cosine(cosine)
        if self.annealing is None:
            return target
        weight = self.annealing(self.iteration.to(cosine.dtype))
        return (weight * cosine + target) / (1 + weight)

    @torch.no_grad()
    def update(self, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        """Counts one iteration; the batch does not matter."""
        self.iteration += 1


class ASoftmaxLoss(LSoftmaxLoss):
    """Angular softmax, SphereFace (Liu, Wen, Yu, Li, Raj, Song 2017, equations 6 and 7): weight rows of length 1.

    margin: m, a whole number, default 4. annealing: default Annealing(); None for none.

    >>> ASoftmaxLoss(num_classes=10, dim=2).annealing
    Annealing(lowest=5.0, base=1500.0, rate=0.1)
    """

    def __init__(self, num_classes: int, dim: int, margin: int = 4, annealing: Annealing | None = Annealing()):
        super().__init__(num_classes, dim, margin, annealing)
        self.front = "x"
