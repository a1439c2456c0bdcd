"""The triplet loss, three ways to choose the triplets of a batch, and a count of them (lab 04).

A triplet is an anchor a, a positive p (another row with a's label) and a negative n (a row with another label). Its
loss is the hinge [d(a,p) - d(a,n) + margin]₊, and it is active where that is above 0. A batch holds up to B³ triplets;
nothing here builds them. All work is done on the B×B distances, with the negatives of every anchor sorted.
"""

import math
from dataclasses import dataclass

import torch

from labkit import checks
from labkit.distances import pairwise_distances


class TripletLoss(torch.nn.Module):
    """The mean hinge over the active ones of the triplets that `mining` takes from the batch.

    margin: by how much a negative shall be farther than a positive, default 0.2, at least 0.
    mining:
        "all"       every triplet (Hermans, Beyer, Leibe 2017: batch all, the mean over those above 0).
        "hard"      for every anchor its farthest positive and its nearest negative (the same paper: batch hard, with
                    the mean over all anchors; here an anchor whose hinge is 0 does not count).
        "semihard"  for every anchor and positive the nearest negative that is farther than the positive (FaceNet:
                    Schroff, Kalenichenko, Philbin 2015, section 3.2). Where none is, the farthest one, as in TensorFlow
                    Addons and sentence-transformers: a hard triplet, which FaceNet would leave out.
    squared: squared distances in the hinge, as in FaceNet (section 3.1).

    The number of active triplets is a constant to the gradient. O(B² log B) time and O(B²) memory whatever the mining.

    >>> points, labels = torch.tensor([[0.0], [1.0], [1.5], [3.0]]), torch.tensor([0, 0, 1, 1])
    >>> TripletLoss(margin=1)(points, labels)  # five of eight triplets are active: (0.5 + 1.5 + 1 + 2 + 0.5)/5
    tensor(1.1000)
    """

    def __init__(self, margin: float = 0.2, mining: str = "all", squared: bool = False):
        super().__init__()
        self.margin = checks.non_negative("margin", margin)
        self.mining = checks.one_of("mining", mining, tuple(_MINING))
        self.squared = squared

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        checks.embeddings_and_labels(embeddings, labels)
        return self.of_distances(pairwise_distances(embeddings, squared=self.squared), labels)

    def of_distances(self, distances: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch with these distances (B, B); its gradient is above 0 for pairs that it pulls together."""
        if len(labels) == 0:
            return distances.sum()
        positive, negative = _partners(labels)
        total, active = _MINING[self.mining](distances, positive, negative, self.margin)
        return total / active.clamp(min=1)


@dataclass(frozen=True)
class TripletCounts:
    """How many triplets of a batch are easy, semi-hard and hard: the result of count_triplets."""

    easy: int
    semihard: int
    hard: int


@torch.no_grad()
def count_triplets(
    embeddings: torch.Tensor, labels: torch.Tensor, margin: float = 0.2, squared: bool = False
) -> TripletCounts:
    """Counts the triplets of a batch by how far the negative is (FaceNet, section 3.2). Each is of exactly one kind:

        hard       d(a,n) < d(a,p)                    the negative is nearer than the positive
        semihard   d(a,p) ≤ d(a,n) < d(a,p) + margin  it is not, but within the margin; a tie counts here
        easy       d(a,p) + margin ≤ d(a,n)           the loss is 0

    squared: compare squared distances. O(B² log B) time; a GPU is waited for.

    >>> count_triplets(torch.tensor([[0.0], [1.0], [1.5], [3.0]]), torch.tensor([0, 0, 1, 1]), margin=1)
    TripletCounts(easy=3, semihard=3, hard=2)
    """
    checks.embeddings_and_labels(embeddings, labels, wait=True)
    margin = checks.non_negative("margin", margin)
    positive, negative = _partners(labels)
    distances = pairwise_distances(embeddings, squared=squared)
    negatives = _sorted_negatives(distances, negative)
    hard = _number_below(negatives, distances, positive).sum().item()
    not_easy = _number_below(negatives, distances + margin, positive).sum().item()
    number = (positive.sum(1) * negative.sum(1)).sum().item()
    return TripletCounts(easy=number - not_easy, semihard=not_easy - hard, hard=hard)


def _partners(labels):
    """Two masks (B, B): which columns are positives of the anchor in a row, and which are its negatives."""
    same = labels[:, None] == labels[None, :]
    return same.clone().fill_diagonal_(False), ~same


def _sorted_negatives(distances, negative):
    """Every anchor's distances to its negatives, ascending; then infinity."""
    return distances.masked_fill(~negative, math.inf).sort(dim=1, stable=True).values


def _number_below(negatives, limits, positive, or_equal=False):
    """How many sorted negatives have d(a,n) < limits[a,p] (≤ if or_equal), for every anchor and positive; else 0."""
    limits = limits.detach().masked_fill(~positive, -math.inf)
    return torch.searchsorted(negatives.detach(), limits, right=or_equal)


# The minings: functions of the distances, the two masks and the margin, all (B, B). They return the sum of the hinges
# and how many of them are above 0.


def _all(distances, positive, negative, margin):
    """The active negatives of a positive are the first k of the sorted ones. Their hinges, k·(d(a,p) + margin) minus
    the sum of the k distances, need no triplets: only that sum, for every k once an anchor."""
    negatives = _sorted_negatives(distances, negative)
    limits = distances + margin
    k = _number_below(negatives, limits, positive)
    sums = torch.nn.functional.pad(negatives.cumsum(dim=1), (1, 0))
    return (k * limits - sums.gather(1, k)).sum(), k.sum()


def _hard(distances, positive, negative, margin):
    found = distances.detach()  # which two rows are chosen is a constant to the gradient
    farthest_positive = found.masked_fill(~positive, -math.inf).argmax(dim=1, keepdim=True)
    nearest_negative = found.masked_fill(~negative, math.inf).argmin(dim=1, keepdim=True)
    anchors = positive.any(1, keepdim=True) & negative.any(1, keepdim=True)
    differences = distances.gather(1, farthest_positive) - distances.gather(1, nearest_negative)
    return _hinges(differences + margin, anchors)


def _semihard(distances, positive, negative, margin):
    negatives = _sorted_negatives(distances, negative)
    not_farther = _number_below(negatives, distances, positive, or_equal=True)
    last = (negative.sum(1, keepdim=True) - 1).clamp(min=0)
    chosen = negatives.gather(1, not_farther.minimum(last))
    return _hinges(distances - chosen + margin, positive)


def _hinges(values, mined):
    """The sum of [value]₊ over the mined ones, and how many are above 0."""
    hinges = values.relu().masked_fill(~mined, 0)
    return hinges.sum(), (hinges > 0).sum()


_MINING = {"all": _all, "hard": _hard, "semihard": _semihard}
