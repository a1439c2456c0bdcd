"""How good an embedding is: accuracy against a reference set, retrieval, verification, scatter.

embeddings: floating-point tensor (N, D), or query (Q, D) and reference (N, D). labels: int64 tensors, one a row. All on
    one device, which is waited for. Distances are Euclidean.
Returns Python numbers and numpy arrays. Of equally distant rows the one with the lower index comes first, so that every
result is determined. Raises ValueError for bad input, also if there is no row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from labkit import checks
from labkit.distances import paired_distances, pairwise_distances
from labkit.neighbors import blocks, nearest
from labkit.verification import Verification, verification, verification_pairs

__all__ = [
    "RangeAccuracy", "Scatter", "Verification", "closest_accuracy", "map_at_r", "nearest_neighbor_accuracy",
    "range_accuracy", "recall_at_k", "scatter", "verification", "verification_pairs"
]  # fmt: skip


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
    return _mean(_closest(query, means) == target)


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
    parts = blocks(len(query), len(means))
    within = torch.cat([pairwise_distances(query[rows].double(), means) <= radius for rows in parts])
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
    return _mean(reference_labels[_closest(query, reference)] == query_labels)


@torch.no_grad()
def recall_at_k(embeddings: Tensor, labels: Tensor, ks: int | Sequence[int]) -> dict[int, float]:
    """Recall@k: the share of rows that have one of their own class among their k nearest other rows.

    ks: one whole number of at least 1, or several. Returns {k: recall}. Rows that are alone in their class could not be
    found; they are left out as queries, as in pytorch-metric-learning. Raises ValueError also if all rows are.
    Time grows as N²·D: under 20 s for 60,000 rows of 128 numbers on two cores (labkit.neighbors.nearest).

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
    Time grows as N²·D, and as N·R·log R for the largest class: about 20 s for 60,000 rows of 128 numbers on two cores.

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
    checks.embeddings_and_labels(embeddings, labels, names=names, wait=True)
    if len(embeddings) == 0:
        raise ValueError(f"{names[0]}: got no row, expected at least one")
    if embeddings.device.type == "mps":
        return embeddings.detach().cpu(), labels.cpu()
    return embeddings.detach(), labels


def _two_sets(query, query_labels, reference, reference_labels):
    query, query_labels = _one_set(query, query_labels, names=("query", "query_labels"))
    reference, reference_labels = _one_set(reference, reference_labels, names=("reference", "reference_labels"))
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


def _closest(query, reference):
    """The reference row that is nearest to each query, (Q,)."""
    return torch.cat([found.squeeze(1) for _, found in nearest(query, reference, 1)])


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
