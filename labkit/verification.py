"""Verification: are these two of one class? Scored by the distance of pairs (part of labkit.evaluation)."""

import random
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from labkit import checks
from labkit.distances import paired_distances


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
    positives, negatives = int(same.sum()), int((~same).sum())
    if positives == 0 or negatives == 0:
        raise ValueError(f"same: got {positives} True and {negatives} False, expected both")
    values, place = np.unique(distances, return_inverse=True)
    accepted_same = np.append(0, np.bincount(place[same], minlength=len(values)).cumsum())
    accepted_different = np.append(0, np.bincount(place[~same], minlength=len(values)).cumsum())
    tpr, fpr = accepted_same / positives, accepted_different / negatives
    thresholds = np.append(-np.inf, values)
    best = int(np.argmax(accepted_same - accepted_different))  # right decisions: these, and all the negatives
    gap = 1 - tpr - fpr  # falls from 1 to -1
    after = int(np.argmax(gap <= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    eer = float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))
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
    partners = end - start
    total = int(partners.sum())
    if count > total:
        raise ValueError(f"num_pairs: got {count} {kind} pairs to draw, expected at most the {total} of the labels")
    # With all pairs numbered place by place, those of a place end where the running sum says.
    number = torch.tensor(generator.sample(range(total), count), dtype=torch.int64)
    numbers_end = partners.cumsum(0)
    place = torch.searchsorted(numbers_end, number, right=True)
    return torch.stack([place, end[place] - (numbers_end[place] - number)])
