"""How good an embedding is: accuracy against a reference set, retrieval, verification, scatter.

Every function takes embeddings as floating-point tensors (N, D) and labels as int64 tensors (N,), on any device, and
answers with Python numbers, numpy arrays or a frozen dataclass of them. Distances are Euclidean. Of equally distant
rows the one with the lowest index comes first, so that every result is determined. Queries are taken a block at a time:
10,000 of them against 60,000 rows need a few hundred MiB. Bad input raises ValueError (labkit.checks); a GPU is waited
for.
"""

import random
from dataclasses import dataclass, field

import numpy as np
import torch

from labkit import checks
from labkit.distances import paired_distances, pairwise_distances

_BLOCK = 2**23  # distances that are computed at a time


# ---- Against a reference set


@torch.no_grad()
def closest_accuracy(query, query_labels, reference, reference_labels):
    """The share of queries whose nearest class mean is that of their own class (paper 000, "closest accuracy").

    The class means come from the reference, as a rule the training set. The paper's code takes them from the very set
    that is scored, which flatters the result; pass that set twice to reproduce it.
    Raises ValueError also if there is no query, or if a query's class is not in the reference.
    """
    query, _, means, target, _ = _against_means(query, query_labels, reference, reference_labels)
    nearest = torch.cat([d.argmin(dim=1) for _, d in _blocks(query, means)])
    return _mean(nearest == target)


@dataclass(frozen=True)
class RangeAccuracy:
    """The result of range_accuracy, shares of the queries. S is the set of classes whose range a query lies in."""

    soft: float  # mean of 1/|S| where the query's class is in S: how often a class drawn from S at random is right
    strict: float  # S is the query's class alone
    coverage: float  # S holds the query's class
    empty: float  # S is empty


@torch.no_grad()
def range_accuracy(query, query_labels, reference, reference_labels):
    """Range accuracy (paper 000): a query is in the range of a class if it is no farther from the class mean than any
    reference row of that class. Means and ranges come from the reference. A range is widened by a millionth, so that
    rounding does not shut out its own farthest row.

    Returns RangeAccuracy(soft, strict, coverage, empty). If the reference is scored itself, as the paper does, every
    row is in the range of its class, and soft only tells how much the ranges overlap. Raises ValueError as
    closest_accuracy does.
    """
    query, reference, means, target, own = _against_means(query, query_labels, reference, reference_labels)
    to_mean = paired_distances(reference, means[own])
    radius = to_mean.new_zeros(len(means)).scatter_reduce_(0, own, to_mean, "amax") * (1 + 1e-6)
    size, covered = [], []
    for rows, d in _blocks(query, means):
        within = d <= radius
        size.append(within.sum(dim=1))
        covered.append(within.gather(1, target[rows, None]).squeeze(1))
    size, covered = torch.cat(size), torch.cat(covered)
    return RangeAccuracy(
        soft=_mean(covered.double() / size.clamp(min=1)),
        strict=_mean(covered & (size == 1)),
        coverage=_mean(covered),
        empty=_mean(size == 0),
    )


@torch.no_grad()
def nearest_neighbor_accuracy(query, query_labels, reference, reference_labels):
    """The share of queries whose nearest reference row has their label. With one reference row a class: one-shot
    recognition.

    Raises ValueError also if there is no query or no reference row.
    """
    query, query_labels, reference, reference_labels = _two_sets(query, query_labels, reference, reference_labels)
    nearest = torch.cat([d.argmin(dim=1) for _, d in _blocks(query, reference)])
    return _mean(reference_labels[nearest] == query_labels)


# ---- Retrieval within one set


@torch.no_grad()
def recall_at_k(embeddings, labels, ks):
    """Recall@k: the share of rows that have one of their own class among their k nearest other rows.

    ks: one whole number of at least 1, or several. Returns {k: recall}. Rows that are alone in their class could not be
    found; they are left out as queries, as in pytorch-metric-learning. Raises ValueError also if all rows are.
    """
    ks = [ks] if isinstance(ks, int) else list(ks)
    if not ks or not all(isinstance(k, int) and k >= 1 for k in ks):
        raise ValueError(f"ks must be whole numbers of at least 1, got {ks}")
    embeddings, labels = _one_set(embeddings, labels)
    queries, _ = _not_alone(labels)
    depth = min(max(ks), len(labels) - 1)
    found = torch.cat([same.cummax(dim=1).values for _, same in _nearest_are_same(embeddings, labels, queries, depth)])
    return {k: _mean(found[:, min(k, depth) - 1]) for k in ks}


@torch.no_grad()
def map_at_r(embeddings, labels):
    """MAP@R (Musgrave, Belongie, Lim 2020, "A Metric Learning Reality Check", section 4.2): the mean over all rows of

        1/R · Σ_{i=1..R} P(i)·[the i-th nearest other row has the same label],

    with R the number of other rows of its class, and P(i) the share of such rows among the i nearest. Rows that are
    alone in their class are left out as queries. Raises ValueError also if all rows are.
    """
    embeddings, labels = _one_set(embeddings, labels)
    queries, partners = _not_alone(labels)
    rank = torch.arange(1, int(partners.max()) + 1, device=labels.device)
    total = 0.0
    for block, same in _nearest_are_same(embeddings, labels, queries, len(rank)):
        r = partners[block]
        precision = same.cumsum(dim=1).double() / rank
        total += ((precision * (same & (rank <= r[:, None]))).sum(dim=1) / r).sum().item()
    return total / len(queries)


# ---- Verification: are these two of one class?


@dataclass(frozen=True, eq=False)
class Verification:
    """How well a threshold on the distance tells pairs of one class from pairs of two; made by verification().

    fpr, tpr: float64 arrays, the shares of different and of same pairs accepted at each of the thresholds (ascending
        distances; the first, -inf, accepts nothing). This is the ROC curve.
    auc: the area under it: how often a same pair is closer than a different pair, a tie counting ½.
    eer: the equal error rate, where the curve, straight between its points, crosses fpr = 1 - tpr.
    best_threshold: has the highest accuracy on these pairs; halfway to the next larger distance, and the lowest where
        several are best.
    """

    fpr: np.ndarray = field(repr=False)
    tpr: np.ndarray = field(repr=False)
    thresholds: np.ndarray = field(repr=False)
    auc: float
    eer: float
    best_threshold: float

    def accuracy(self, a, b, same):
        """The share of pairs that best_threshold accepts or rejects rightly. Pass other pairs than it was chosen on."""
        distances, same = _pairs(a, b, same)
        return float(np.mean((distances <= self.best_threshold) == same))


@torch.no_grad()
def verification(a, b, same):
    """Scores pairs by distance: the pair (a_i, b_i) is accepted, as of one class, if ‖a_i - b_i‖ ≤ threshold.

    a, b: (N, D). same: bool (N,), True for the pairs of one class. Returns Verification.
    Raises ValueError also unless there are both same and different pairs.
    """
    distances, same = _pairs(a, b, same)
    positives, negatives = int(same.sum()), int((~same).sum())
    if positives == 0 or negatives == 0:
        raise ValueError(f"same must hold both True and False, got {positives} True and {negatives} False")
    values, place = np.unique(distances, return_inverse=True)
    accepted_same = np.append(0, np.bincount(place[same], minlength=len(values)).cumsum())
    accepted_different = np.append(0, np.bincount(place[~same], minlength=len(values)).cumsum())
    tpr, fpr = accepted_same / positives, accepted_different / negatives
    thresholds = np.append(-np.inf, values)
    best = int(np.argmax(accepted_same - accepted_different))  # right decisions: these, and all the negatives
    return Verification(
        fpr=fpr,
        tpr=tpr,
        thresholds=thresholds,
        auc=float(np.trapezoid(tpr, fpr)),
        eer=_equal_error_rate(fpr, 1 - tpr),
        best_threshold=float(thresholds[best : best + 2].mean()),
    )


def _equal_error_rate(fpr, fnr):
    after = int(np.argmax(fpr >= fnr))  # at least 1: the curve starts with fpr 0 and fnr 1
    before = after - 1
    gap = fnr - fpr
    share = gap[before] / (gap[before] - gap[after])
    return float(fpr[before] + share * (fpr[after] - fpr[before]))


def _pairs(a, b, same):
    """Checks pairs for verification; returns their distances and same as arrays."""
    checks.matrix("a", a)
    checks.matrix("b", b)
    checks.finite("a", a, wait=True)
    checks.finite("b", b, wait=True)
    if not isinstance(same, torch.Tensor) or same.dtype != torch.bool or same.shape != a.shape[:1]:
        raise ValueError(f"same must be a bool tensor of shape ({len(a)},), got {checks.describe(same)}")
    if len(a) == 0:
        raise ValueError("a must have at least one row, got none")
    return paired_distances(a.detach(), b.detach()).cpu().double().numpy(), same.cpu().numpy()


def verification_pairs(labels, num_pairs, seed=0):
    """Draws pairs of rows for verification: num_pairs // 2 with the same label, the others with different labels.

    labels: int64 (N,). No pair of rows is drawn twice, and all of a kind are equally likely. The same seed draws the
        same pairs.
    Returns i and j (int64) and same (bool), each (num_pairs,) on the device of labels, the same pairs first.
    Raises ValueError if num_pairs is below 2 or the labels do not have as many pairs of a kind.
    """
    checks.label_vector("labels", labels)
    if not isinstance(num_pairs, int) or num_pairs < 2:
        raise ValueError(f"num_pairs must be a whole number of at least 2, got {num_pairs!r}")
    # With the rows sorted by class, the partners after a row are first those of its class, then those of other classes.
    sorted_labels, row = labels.cpu().sort(stable=True)
    class_end = torch.searchsorted(sorted_labels, sorted_labels, right=True)
    all_end = torch.full_like(class_end, len(row))
    generator = random.Random(seed)
    num_same = num_pairs // 2
    same_pairs = _draw_pairs(torch.arange(len(row)) + 1, class_end, num_same, "same", generator)
    different_pairs = _draw_pairs(class_end, all_end, num_pairs - num_same, "different", generator)
    i, j = row[torch.cat([same_pairs, different_pairs], dim=1)].to(labels.device)
    return i, j, torch.arange(num_pairs, device=labels.device) < num_same


def _draw_pairs(start, end, count, kind, generator):
    """Draws count different pairs (place, partner) with start[place] ≤ partner < end[place]; returns (2, count)."""
    partners = end - start
    total = int(partners.sum())
    if count > total:
        raise ValueError(f"num_pairs asks for {count} {kind} pairs, but the labels have {total}")
    # With all pairs numbered place by place, those of a place end where the running sum says.
    number = torch.tensor(generator.sample(range(total), count), dtype=torch.int64)
    numbers_end = partners.cumsum(0)
    place = torch.searchsorted(numbers_end, number, right=True)
    return torch.stack([place, end[place] - (numbers_end[place] - number)])


# ---- Scatter


@dataclass(frozen=True, eq=False)
class Scatter:
    """The result of scatter: two mean squared distances, and the matrices (D, D), float64, whose traces they are."""

    within: float
    between: float
    within_matrix: np.ndarray = field(repr=False)
    between_matrix: np.ndarray = field(repr=False)


@torch.no_grad()
def scatter(embeddings, labels):
    """Scatter within and between the classes. With P_c the share of class c, μ_c its mean and μ the mean of all rows:

        within = Σ_c P_c · mean of (x - μ_c)(x - μ_c)ᵀ over class c        between = Σ_c P_c (μ_c - μ)(μ_c - μ)ᵀ

    Their sum is the covariance matrix of all rows (divided by N). Paper 003, equations 5 and 6, has the two the wrong
    way round.
    Returns Scatter. Raises ValueError also if there is no row.
    """
    embeddings, labels = _one_set(embeddings, labels)
    _, means, own = _class_means(embeddings, labels)
    x = embeddings.double()
    within, between = ((v.T @ v / len(v)).cpu().numpy() for v in (x - means[own], means[own] - x.mean(dim=0)))
    return Scatter(float(np.trace(within)), float(np.trace(between)), within, between)


# ---- What several of them need


def _one_set(embeddings, labels, names=("embeddings", "labels")):
    """Checks a set of rows; returns it detached, on a device that has float64 (an Apple GPU has not)."""
    checks.embeddings_and_labels(embeddings, labels, names=names, wait=True)
    if len(embeddings) == 0:
        raise ValueError(f"{names[0]} must have at least one row, got shape {tuple(embeddings.shape)}")
    if embeddings.device.type == "mps":
        return embeddings.detach().cpu(), labels.cpu()
    return embeddings.detach(), labels


def _two_sets(query, query_labels, reference, reference_labels):
    query, query_labels = _one_set(query, query_labels, names=("query", "query_labels"))
    reference, reference_labels = _one_set(reference, reference_labels, names=("reference", "reference_labels"))
    if query.shape[1] != reference.shape[1] or query.device != reference.device:
        raise ValueError(
            f"reference must have as many columns as query and be on its device, {query.shape[1]} and {query.device}, "
            f"got {reference.shape[1]} and {reference.device}"
        )
    return query, query_labels, reference, reference_labels


def _class_means(embeddings, labels):
    """The classes in ascending order, the mean of each in float64, and the place of every row's class among them."""
    classes, own, size = labels.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(classes), embeddings.shape[1], dtype=torch.float64, device=embeddings.device)
    return classes, sums.index_add_(0, own, embeddings.double()) / size[:, None], own


def _against_means(query, query_labels, reference, reference_labels):
    """Both sets, the class means of the reference, and which of them is every query's and every reference row's own."""
    query, query_labels, reference, reference_labels = _two_sets(query, query_labels, reference, reference_labels)
    classes, means, own = _class_means(reference, reference_labels)
    target = torch.searchsorted(classes, query_labels).clamp(max=len(classes) - 1)
    unknown = query_labels[classes[target] != query_labels]
    if len(unknown):
        raise ValueError(f"query_labels must all occur in reference_labels, got {unknown[0].item()}, which does not")
    return query, reference, means, target, own


def _blocks(query, reference):
    """Goes through the queries a block at a time: their indices, and their distances to all of the reference."""
    for rows in torch.arange(len(query), device=query.device).split(max(_BLOCK // len(reference), 1)):
        yield rows, pairwise_distances(query[rows], reference)


def _not_alone(labels):
    """The rows that have others of their class, and how many each has."""
    _, own, size = labels.unique(return_inverse=True, return_counts=True)
    partners = size[own] - 1
    rows = partners.nonzero().squeeze(1)
    if len(rows) == 0:
        raise ValueError("labels must hold a class with at least two rows, got none")
    return rows, partners[rows]


def _nearest_are_same(embeddings, labels, queries, depth):
    """Whether a query's nearest, second nearest, ... other row has its label: blocks of queries, masks (n, depth)."""
    index = torch.arange(len(labels), device=labels.device)
    for block, d in _blocks(embeddings[queries], embeddings):
        rows = queries[block, None]
        d = d.float().scatter_(1, rows, torch.inf)  # not itself
        # The bits of a float that is not negative, read as a whole number, are in the order of the floats. With the
        # index below them, no two numbers are the same, and ties go to the lowest index.
        order = (d.view(torch.int32).long() << 32 | index).topk(depth, largest=False).values & (2**32 - 1)
        yield block, labels[order] == labels[rows]


def _mean(values):
    return values.double().mean().item()
