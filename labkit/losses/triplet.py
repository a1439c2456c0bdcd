"""The triplet loss, four ways to choose the triplets of a batch, and a count of them (lab 04).

A triplet is an anchor a, a positive p (another row with a's label) and a negative n (a row with another label). Its
loss is the hinge

    [d(a,p) - d(a,n) + margin]₊,

and the triplet is called active where that is above 0. A batch holds up to B³ triplets; nothing here builds them. All
work is done on the B×B distances, with the negatives of every anchor sorted.
"""

import math
from dataclasses import dataclass

import torch

from labkit import checks
from labkit.distances import paired_distances, pairwise_distances


class TripletLoss(torch.nn.Module):
    """The mean hinge over the triplets that `mining` takes from the batch.

    margin: by how much a negative shall be farther than a positive, default 0.2, at least 0; a squared distance if
        squared=True.
    mining:
        "all"           every triplet (Hermans, Beyer, Leibe 2017: batch all).
        "hard"          for every anchor its farthest positive and its nearest negative (the same paper: batch hard).
        "semihard"      for every anchor and positive the nearest negative that is farther than the positive; if none
                        is, the farthest negative (FaceNet as TensorFlow Addons and sentence-transformers read it; both
                        average over "all").
        "semihard_all"  every triplet with d(a,p) < d(a,n) < d(a,p) + margin (what pytorch-metric-learning calls
                        semihard).
    squared: squared distances in the hinge, as in FaceNet (Schroff, Kalenichenko, Philbin 2015, section 3.1).
    average: "active" divides by the number of mined triplets that are active, "all" by the number of all mined
        triplets. A divisor is a constant to the gradient.

    Exact in O(B² log B) time and O(B²) memory whatever the mining.
    """

    def __init__(self, margin=0.2, mining="all", squared=False, average="active"):
        super().__init__()
        self.margin = checks.non_negative("margin", margin)
        self.mining = checks.one_of("mining", mining, tuple(_MINING))
        self.squared = squared
        self.average = checks.one_of("average", average, ("active", "all"))

    def forward(self, embeddings, labels):
        """Returns a scalar: float64 for float64 embeddings, else float32.

        embeddings: (B, D) floating point. labels: (B,) int64. A batch without a triplet (one class, or one sample a
        class), or without an active one, gives a zero that is connected to the graph. Raises ValueError for bad input
        (labkit.checks).
        """
        checks.embeddings_and_labels(embeddings, labels)
        if len(labels) == 0:
            return pairwise_distances(embeddings).sum()
        positive, negative = _partners(labels)
        total, active, mined = _MINING[self.mining](embeddings, positive, negative, self.margin, self.squared)
        return total / (active if self.average == "active" else mined).clamp(min=1)

    def extra_repr(self):
        return f"margin={self.margin}, mining={self.mining!r}, squared={self.squared}, average={self.average!r}"


@dataclass(frozen=True)
class TripletCounts:
    """How many triplets of a batch are easy, semi-hard and hard. The three sum to the number of all triplets."""

    easy: int
    semihard: int
    hard: int


def count_triplets(embeddings, labels, margin=0.2, squared=False):
    """Counts the triplets of a batch by how far the negative is (FaceNet, section 3.2). Each is of exactly one kind:

        hard       d(a,n) < d(a,p)                    the negative is nearer than the positive
        semihard   d(a,p) ≤ d(a,n) < d(a,p) + margin  it is not, but within the margin; a tie counts here
        easy       d(a,p) + margin ≤ d(a,n)           the loss is 0

    embeddings: (B, D). labels: (B,) int64. squared: compare squared distances. Returns TripletCounts. O(B² log B) time;
    a GPU is waited for. Raises ValueError for bad input.
    """
    checks.embeddings_and_labels(embeddings, labels, wait=True)
    margin = checks.non_negative("margin", margin)
    positive, negative = _partners(labels)
    with torch.no_grad():
        distances = pairwise_distances(embeddings, squared=squared)
        negatives, _ = _sorted_negatives(distances, negative)
        hard = _number_below(negatives, distances, positive).sum().item()
        not_easy = _number_below(negatives, distances + margin, positive).sum().item()
    number = _number_of_triplets(positive, negative).item()
    return TripletCounts(easy=number - not_easy, semihard=not_easy - hard, hard=hard)


def _partners(labels):
    """Two masks (B, B): which columns are positives of the anchor in a row, and which are its negatives."""
    same = labels[:, None] == labels[None, :]
    return same.clone().fill_diagonal_(False), ~same


def _number_of_triplets(positive, negative):
    return (positive.sum(1) * negative.sum(1)).sum()


def _sorted_negatives(distances, negative):
    """Every anchor's distances to its negatives, ascending, then infinity; and the columns they are from."""
    # The bits of floats that are not negative, read as whole numbers, are in the same order, and a CPU sorts whole
    # numbers in half the time.
    whole = torch.int64 if distances.dtype == torch.float64 else torch.int32
    bits, columns = distances.masked_fill(~negative, math.inf).view(whole).sort(dim=1)
    return bits.view(distances.dtype), columns


def _number_below(negatives, limits, positive, or_equal=False):
    """How many sorted negatives have d(a,n) < limits[a,p] (≤ if or_equal), for every anchor and positive; else 0."""
    return torch.searchsorted(negatives, limits.masked_fill(~positive, -math.inf), right=or_equal)


# The four minings. Each returns the sum of the hinges, the number of active triplets and the number of mined ones.


def _all(embeddings, positive, negative, margin, squared):
    total, active = _sum_of_hinges(embeddings, positive, negative, margin, squared, farther_only=False)
    return total, active, _number_of_triplets(positive, negative)


def _semihard_all(embeddings, positive, negative, margin, squared):
    total, active = _sum_of_hinges(embeddings, positive, negative, margin, squared, farther_only=True)
    return total, active, active


def _sum_of_hinges(embeddings, positive, negative, margin, squared, farther_only):
    """The sum of the hinges of all active triplets, and their number; with farther_only, of those with d(a,n) > d(a,p).

    Among the sorted negatives of an anchor, those that are active with a given positive stand side by side: two binary
    searches find where they start and end. The sum of d(a,p) - d(a,n) + margin over all active triplets then needs no
    triplets, only how often each distance occurs in it: d(a,p) once for every negative in its range, d(a,n) once for
    every range that holds n. These counts are constants to the gradient, which is exact with them, because a hinge has
    slope 1 or 0.
    """
    distances = pairwise_distances(embeddings, squared=squared)
    with torch.no_grad():
        negatives, columns = _sorted_negatives(distances, negative)
        end = _number_below(negatives, distances + margin, positive)
        if farther_only:  # minimum: rounding may make d + margin = d, and then the range is empty
            start = _number_below(negatives, distances, positive, or_equal=True).minimum(end)
        else:
            start = torch.zeros_like(end)
        # How many ranges hold a place: +1 where a range starts, -1 where it ends, and their running sum.
        one = torch.ones((), dtype=torch.int32, device=end.device)
        steps = torch.zeros(len(end), len(end) + 1, dtype=torch.int32, device=end.device)
        steps.scatter_add_(1, start, one.expand_as(start)).scatter_add_(1, end, (-one).expand_as(end))
        ranges = steps.cumsum(1, dtype=torch.int32)[:, :-1]
        active = (end - start).sum()
        counts = (end - start).to(distances.dtype).scatter_add_(1, columns, -ranges.to(distances.dtype))
    return (counts * distances).sum() + margin * active.to(distances.dtype), active


def _hard(embeddings, positive, negative, margin, squared):
    with torch.no_grad():
        distances = pairwise_distances(embeddings)
        farthest_positive = distances.masked_fill(~positive, -math.inf).argmax(dim=1)
        nearest_negative = distances.masked_fill(~negative, math.inf).argmin(dim=1)
        mined = positive.any(1) & negative.any(1)
    # Only 2B of the B² distances are in the loss; computing them once more spares the gradient the others.
    embeddings = embeddings.to(distances.dtype)
    to_positive = paired_distances(embeddings, embeddings[farthest_positive], squared=squared)
    to_negative = paired_distances(embeddings, embeddings[nearest_negative], squared=squared)
    hinge = torch.relu(to_positive - to_negative + margin).masked_fill(~mined, 0)
    return hinge.sum(), (hinge > 0).sum(), mined.sum()


def _semihard(embeddings, positive, negative, margin, squared):
    distances = pairwise_distances(embeddings, squared=squared)
    with torch.no_grad():
        negatives, columns = _sorted_negatives(distances, negative)
        not_farther = _number_below(negatives, distances, positive, or_equal=True)
        last = (negative.sum(1, keepdim=True) - 1).clamp(min=0)
        chosen = columns.gather(1, not_farther.minimum(last))
        mined = positive & negative.any(1, keepdim=True)
    hinge = torch.relu(distances - distances.gather(1, chosen) + margin).masked_fill(~mined, 0)
    return hinge.sum(), (hinge > 0).sum(), mined.sum()


_MINING = {"all": _all, "hard": _hard, "semihard": _semihard, "semihard_all": _semihard_all}
