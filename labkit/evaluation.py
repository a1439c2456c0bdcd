"""How good an embedding is: accuracy against a reference set, retrieval, verification, scatter.

embeddings: floating-point tensor (N, D), or query (Q, D) and reference (N, D). labels: int64 tensors, one a row. All on
    one device, which is waited for. Distances are Euclidean.
Returns Python numbers and numpy arrays. Of equally distant rows the one with the lower index comes first, so that every
result is determined. Raises ValueError for bad input, also if there is no row.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from labkit import checks
from labkit.distances import paired_distances, pairwise_distances
from labkit.neighbors import nearest

QUERIES = 1024  # whose distances from all class means are held at a time


@torch.no_grad()
def closest_accuracy(query: Tensor, query_labels: Tensor, reference: Tensor, reference_labels: Tensor) -> float:
    """The share of queries whose nearest class mean is that of their own class (paper 000, "closest accuracy").

    The means come from the reference, as a rule the training set. The paper's code takes them from the set that is
    scored, which flatters the result. Raises ValueError also if a query's class is not in the reference.

    >>> train, test = torch.tensor([[0.0], [2.0], [8.0]]), torch.tensor([[3.0], [4.0]])
    >>> closest_accuracy(test, torch.tensor([0, 1]), train, torch.tensor([0, 0, 1]))  # the means are 1 and 8
    0.5
    """
    query, _, means, target, _ = _against_means(query, query_labels, reference, reference_labels)
    # In float32 means that are equally near tie, and argmin takes the first. A few queries at a time, to spare memory.
    closest = [pairwise_distances(some.double(), means).float().argmin(dim=1) for some in query.split(QUERIES)]
    return _mean(torch.cat(closest) == target)


@dataclass(frozen=True)
class RangeAccuracy:
    """The result of range_accuracy: shares of the queries, with S the set of classes whose range a query lies in."""

    soft: float  # mean of 1/|S| where the query's class is in S: how often a class drawn from S at random is right
    strict: float  # S is the query's class alone
    coverage: float  # S holds the query's class
    empty: float  # S is empty


@torch.no_grad()
def range_accuracy(query: Tensor, query_labels: Tensor, reference: Tensor, reference_labels: Tensor) -> RangeAccuracy:
    """Range accuracy (paper 000): a query is in the range of a class if it is no farther from the class mean than any
    reference row of that class (and a millionth, so that rounding does not shut out the farthest row itself).

    If the reference is scored itself, as the paper does, soft only tells how much the ranges overlap. Raises ValueError
    also if a query's class is not in the reference.

    >>> train, test = torch.tensor([[0.0], [2.0], [8.0]]), torch.tensor([[2.0], [4.0]])
    >>> range_accuracy(test, torch.tensor([0, 1]), train, torch.tensor([0, 0, 1]))  # the ranges are 0 to 2, and 8
    RangeAccuracy(soft=0.5, strict=0.5, coverage=0.5, empty=0.5)
    """
    query, reference, means, target, own = _against_means(query, query_labels, reference, reference_labels)
    to_mean = paired_distances(reference, means[own])
    radius = to_mean.new_zeros(len(means)).scatter_reduce_(0, own, to_mean, "amax") * (1 + 1e-6)
    within = torch.cat([pairwise_distances(some.double(), means) <= radius for some in query.split(QUERIES)])
    size, covered = within.sum(dim=1), within.gather(1, target[:, None]).squeeze(1)
    soft = covered / size.clamp(min=1).double()
    return RangeAccuracy(_mean(soft), _mean(covered & (size == 1)), _mean(covered), _mean(size == 0))


@torch.no_grad()
def nearest_neighbor_accuracy(
    query: Tensor, query_labels: Tensor, reference: Tensor, reference_labels: Tensor
) -> float:
    """The share of queries whose nearest reference row has their label. With one such row per class: one-shot learning.

    >>> train, test = torch.tensor([[0.0], [2.0], [8.0]]), torch.tensor([[3.0], [6.0]])
    >>> nearest_neighbor_accuracy(test, torch.tensor([0, 1]), train, torch.tensor([0, 0, 1]))
    1.0
    """
    query, query_labels, reference, reference_labels = _two_sets(query, query_labels, reference, reference_labels)
    closest = torch.cat([found.squeeze(1) for _, found in nearest(query, reference, 1)])
    return _mean(reference_labels[closest] == query_labels)


@torch.no_grad()
def recall_at_k(embeddings: Tensor, labels: Tensor, ks: int | Sequence[int]) -> dict[int, float]:
    """Recall@k: the share of rows that have one of their own class among their k nearest other rows.

    ks: one whole number of at least 1, or several. Returns {k: recall}. Rows that are alone in their class could not be
    found; they are left out as queries, as in pytorch-metric-learning. Raises ValueError also if all rows are.
    Time grows as N²·D: less than that of plain float32 blocks with topk (labkit.neighbors.nearest).

    >>> recall_at_k(torch.tensor([[0.0], [1.0], [3.0], [4.5]]), torch.tensor([0, 1, 0, 1]), [1, 2])
    {1: 0.0, 2: 0.5}
    """
    ks = [checks.whole("ks", k) for k in ([ks] if isinstance(ks, int) else ks)]
    if not ks:
        raise ValueError("ks: got no number, expected at least one")
    embeddings, labels = _one_set(embeddings, labels)
    queries, _ = _not_alone(labels)
    found = dict.fromkeys(ks, 0)
    for _, same in _nearest_are_same(embeddings, labels, queries, min(max(ks), len(labels) - 1)):
        for k in found:
            found[k] += same[:, :k].any(dim=1).sum().item()
    return {k: hits / len(queries) for k, hits in found.items()}


@torch.no_grad()
def map_at_r(embeddings: Tensor, labels: Tensor) -> float:
    """MAP@R (Musgrave, Belongie, Lim 2020, "A Metric Learning Reality Check", section 4.2): the mean over all rows of

        1/R · Σ_{i=1..R} P(i)·[the i-th nearest other row has the same label],

    with R the number of other rows of its class, and P(i) the share of such rows among the i nearest. Rows that are
    alone in their class are left out as queries. Raises ValueError also if all rows are.
    Time grows as N²·D, as that of recall_at_k, and as N·R·log R for the largest class: with ten classes of 2,000 rows
    of 128 numbers that adds two thirds, with 1000 classes little.

    >>> map_at_r(torch.tensor([[0.0], [1.0], [3.0], [4.5]]), torch.tensor([0, 1, 0, 0]))  # R = 2: ¼, -, ½ and ½
    0.4166666666666667
    """
    embeddings, labels = _one_set(embeddings, labels)
    queries, partners = _not_alone(labels)
    rank = torch.arange(1, int(partners.max()) + 1, dtype=torch.float64, device=labels.device)
    total = 0.0
    for rows, same in _nearest_are_same(embeddings, labels, queries, len(rank)):
        r = partners[rows, None]
        same &= rank <= r
        precision = same.cumsum(dim=1, dtype=torch.int32).mul_(same) / rank
        total += (precision.sum(dim=1) / r.squeeze(1)).sum().item()
    return total / len(queries)


@dataclass(frozen=True, eq=False)
class Verification:
    """How well a threshold on the distance tells pairs of one class from pairs of two: the result of `verification`.

    fpr, tpr: the ROC curve, the shares of different and of same pairs accepted at each of the thresholds (ascending
        distances; the first, -inf, accepts nothing).
    auc: the area under it: how often a same pair is closer than a different pair, a tie counting ½.
    eer: the equal error rate, where the curve, straight between its points, crosses fpr = 1 - tpr.
    best_threshold: has the highest accuracy on these pairs, the lowest if several have; halfway to the next distance.

    >>> verification(torch.zeros(4, 1), torch.tensor([[1.0], [2.0], [3.0], [5.0]]), torch.tensor([True, False] * 2))
    Verification(auc=0.75, eer=0.5, best_threshold=1.5)
    """

    fpr: np.ndarray = field(repr=False)
    tpr: np.ndarray = field(repr=False)
    thresholds: np.ndarray = field(repr=False)
    auc: float
    eer: float
    best_threshold: float

    def accuracy(self, a: Tensor, b: Tensor, same: Tensor) -> float:
        """The share of pairs that best_threshold accepts or rejects rightly. Pass other pairs than it was chosen on."""
        distances, same = _pairs(a, b, same)
        return float(np.mean((distances <= self.best_threshold) == same))


@torch.no_grad()
def verification(a: Tensor, b: Tensor, same: Tensor) -> Verification:
    """Scores pairs by distance: the pair (a_i, b_i) is accepted, as of one class, if ‖a_i - b_i‖ ≤ threshold.

    a, b: (N, D). same: bool (N,), True for the pairs of one class. Raises ValueError also unless both kinds occur.

    >>> verification(torch.zeros(2, 1), torch.tensor([[1.0], [2.0]]), torch.tensor([True, False])).auc
    1.0
    """
    distances, same = _pairs(a, b, same)
    of_same, of_different = np.sort(distances[same]), np.sort(distances[~same])
    if not len(of_same) or not len(of_different):
        raise ValueError(f"same: got {len(of_same)} True and {len(of_different)} False, expected both")
    thresholds = np.append(-np.inf, np.unique(distances))
    accepted_same, accepted_different = (d.searchsorted(thresholds, side="right") for d in (of_same, of_different))
    tpr, fpr = accepted_same / len(of_same), accepted_different / len(of_different)
    best = int(np.argmax(accepted_same - accepted_different))  # right decisions: these, and all the negatives
    eer = float(np.interp(0, tpr + fpr - 1, fpr))
    auc, threshold = float(np.trapezoid(tpr, fpr)), float(thresholds[best : best + 2].mean())
    return Verification(fpr, tpr, thresholds, auc, eer, threshold)


def _pairs(a, b, same):
    """Checks pairs for verification; returns their distances and same as arrays."""
    for name, rows in (("a", a), ("b", b)):
        checks.matrix(name, rows)
        checks.finite(name, rows, wait=True)
    if not isinstance(same, Tensor) or same.dtype != torch.bool or same.shape != a.shape[:1]:
        raise ValueError(f"same: got {checks.describe(same)}, expected a bool tensor of shape ({len(a)},)")
    if len(a) == 0:
        raise ValueError("a: got no row, expected at least one")
    return paired_distances(a.detach(), b.detach()).cpu().double().numpy(), same.cpu().numpy()


def verification_pairs(labels: Tensor, num_pairs: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Draws pairs of rows for verification: num_pairs // 2 with the same label, the others with different labels.

    labels: int64 (N,). num_pairs: at least 2. No pair is drawn twice, and all of a kind are equally likely.
    Returns i and j (int64) and same (bool), each (num_pairs,) on the device of labels, the same pairs first.
    Raises ValueError also if the labels do not have as many pairs of a kind.

    >>> i, j, same = verification_pairs(torch.tensor([0, 0, 1]), num_pairs=3)
    >>> same, {(0, 1), (0, 2), (1, 2)} == {tuple(sorted(pair)) for pair in zip(i.tolist(), j.tolist())}
    (tensor([ True, False, False]), True)
    """
    checks.label_vector("labels", labels)
    checks.whole("num_pairs", num_pairs, at_least=2)
    # With the rows sorted by class, the partners after a row are first those of its class, then those of other classes.
    sorted_labels, row = labels.cpu().sort(stable=True)
    class_end = torch.searchsorted(sorted_labels, sorted_labels, right=True)
    generator, half = random.Random(seed), num_pairs // 2
    same = _draw_pairs(torch.arange(len(row)) + 1, class_end, half, "same", generator)
    different = _draw_pairs(class_end, torch.full_like(class_end, len(row)), num_pairs - half, "different", generator)
    i, j = row[torch.cat([same, different], dim=1)].to(labels.device)
    return i, j, torch.arange(num_pairs, device=labels.device) < half


def _draw_pairs(start, end, count, kind, generator):
    """Draws count different pairs (place, partner) with start[place] ≤ partner < end[place]; returns (2, count)."""
    total = int((end - start).sum())
    if count > total:
        raise ValueError(f"num_pairs: got {count} {kind} pairs to draw, expected at most the {total} of the labels")
    # With all pairs numbered place by place, those of a place end where the running sum says.
    number = torch.tensor(generator.sample(range(total), count), dtype=torch.int64)
    numbers_end = (end - start).cumsum(0)
    place = torch.searchsorted(numbers_end, number, right=True)
    return torch.stack([place, end[place] - (numbers_end[place] - number)])


@dataclass(frozen=True, eq=False)
class Scatter:
    """The result of scatter: two mean squared distances, and the matrices (D, D), float64, whose traces they are."""

    within: float
    between: float
    within_matrix: np.ndarray = field(repr=False)
    between_matrix: np.ndarray = field(repr=False)


@torch.no_grad()
def scatter(embeddings: Tensor, labels: Tensor) -> Scatter:
    """Scatter within and between the classes. With P_c the share of class c, μ_c its mean and μ the mean of all rows:

        within = Σ_c P_c · mean of (x - μ_c)(x - μ_c)ᵀ over class c        between = Σ_c P_c (μ_c - μ)(μ_c - μ)ᵀ

    Their sum is the covariance of all rows (divided by N). Paper 003, equations 5 and 6, exchanges the two.

    >>> scatter(torch.tensor([[0.0], [2.0], [5.0], [7.0]]), torch.tensor([0, 0, 1, 1]))
    Scatter(within=1.0, between=6.25)
    """
    embeddings, labels = _one_set(embeddings, labels)
    _, means, own = _class_means(embeddings, labels)
    x = embeddings.double()
    within, between = ((v.T @ v / len(v)).cpu().numpy() for v in (x - means[own], means[own] - x.mean(dim=0)))
    return Scatter(float(np.trace(within)), float(np.trace(between)), within, between)


def _one_set(embeddings, labels, names=("embeddings", "labels")):
    """Checks a set of rows; returns it detached, on a device that has float64 (an Apple GPU has not)."""
    checks.embeddings_and_labels(embeddings, labels, names, wait=True)
    if len(embeddings) == 0:
        raise ValueError(f"{names[0]}: got no row, expected at least one")
    if embeddings.device.type == "mps":
        return embeddings.detach().cpu(), labels.cpu()
    return embeddings.detach(), labels


def _two_sets(query, query_labels, reference, reference_labels):
    query, query_labels = _one_set(query, query_labels, ("query", "query_labels"))
    reference, reference_labels = _one_set(reference, reference_labels, ("reference", "reference_labels"))
    checks.second_matrix("reference", reference, "query", query)
    return query, query_labels, reference, reference_labels


def _class_means(embeddings, labels):
    """The classes in ascending order, the mean of each in float64, and the place of every row's class among them."""
    classes, own, size = labels.unique(return_inverse=True, return_counts=True)
    sums = embeddings.new_zeros(len(classes), embeddings.shape[1], dtype=torch.float64)
    return classes, sums.index_add_(0, own, embeddings.double()) / size[:, None], own


def _against_means(query, query_labels, reference, reference_labels):
    """Both sets, the class means of the reference, and which of them is every query's and every reference row's own."""
    query, query_labels, reference, reference_labels = _two_sets(query, query_labels, reference, reference_labels)
    classes, means, own = _class_means(reference, reference_labels)
    target = torch.searchsorted(classes, query_labels).clamp(max=len(classes) - 1)
    unknown = query_labels[classes[target] != query_labels]
    if len(unknown):
        raise ValueError(f"query_labels: got {unknown[0].item()}, expected only labels that reference_labels have too")
    return query, reference, means, target, own


def _not_alone(labels):
    """The rows that have others of their class, and how many each has."""
    _, own, size = labels.unique(return_inverse=True, return_counts=True)
    partners = size[own] - 1
    rows = partners.nonzero().squeeze(1)
    if len(rows) == 0:
        raise ValueError("labels: got classes of one row only, expected one of at least two")
    return rows, partners[rows]


def _nearest_are_same(embeddings, labels, queries, depth):
    """Whether a query's nearest, second nearest, ... other row has its label: blocks of queries, masks (n, depth)."""
    for rows, found in nearest(embeddings[queries], embeddings, depth, own=queries):
        yield rows, labels.index_select(0, found.flatten()).view_as(found) == labels[queries[rows], None]


def _mean(values):
    return values.double().mean().item()
