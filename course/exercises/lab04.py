"""The exercises of lab 04, siamese and triplet networks: right answers, cases, and the mistakes people make."""

import torch

from course.exercises import Answer, Case, Exercise, Mistake

POINTS = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0], [0.0, 2.0], [0.5, 0.0], [6.0, 8.0]])
DISTANCES = torch.tensor([0.0, 0.3, 0.8, 1.0, 1.4, 0.3, 0.8, 0.0])
SAME = torch.tensor([True, True, True, True, True, False, False, False])


def _norm(x, squared=False):
    """Length of each row; the small constant keeps the gradient finite where two points coincide."""
    squares = x.pow(2).sum(dim=-1)
    return squares if squared else (squares + 1e-12).sqrt()


# --- 1: the contrastive loss of a pair ---------------------------------------------------------------------------


def contrastive_pairs(distance, same, margin):
    return torch.where(same, 0.5 * distance**2, 0.5 * (margin - distance).clamp(min=0) ** 2)


contrastive = Exercise(
    "contrastive loss of pairs",
    contrastive_pairs,
    [
        Case("near, far and equal pairs of both kinds", DISTANCES, SAME, 1.0),
        Case(
            "a pair exactly at the margin, one beyond it", torch.tensor([0.5, 2.0]), torch.tensor([False, False]), 0.5
        ),
    ],
    [
        Mistake(
            "kinds swapped",
            "Pairs of the same class are to be pulled together: their loss grows with the distance.",
            "contrastive_pairs(distance, ~same, margin)",
        ),
        Mistake(
            "no one half",
            "Everything is twice too large: both parts carry a factor ½, which the derivative of the square cancels.",
            "2 * contrastive_pairs(distance, same, margin)",
        ),
        Mistake(
            "no hinge",
            "A pair of different classes beyond the margin must cost nothing; without [.]₊ it is pulled back in.",
            "torch.where(same, 0.5 * distance ** 2, 0.5 * (margin - distance) ** 2)",
        ),
        Mistake(
            "hinge not squared",
            "The hinge is squared too (Hadsell 2006). The linear hinge is another loss: pytorch-metric-learning's.",
            "torch.where(same, 0.5 * distance ** 2, 0.5 * (margin - distance).clamp(min=0))",
        ),
        Mistake(
            "margin compared with the squared distance",
            "The margin is a distance: it is the distance that it is compared with; the square comes after the hinge.",
            "torch.where(same, 0.5 * distance ** 2, 0.5 * (margin - distance ** 2).clamp(min=0))",
        ),
    ],
    gradients=("distance",),
)


# --- 2: the triplet loss -----------------------------------------------------------------------------------------


def _violations(anchor, positive, negative, margin, squared=False):
    return _norm(anchor - positive, squared) - _norm(anchor - negative, squared) + margin


def triplet_mean(anchor, positive, negative, margin):
    losses = _violations(anchor, positive, negative, margin).clamp(min=0)
    return losses.sum() / (losses > 0).sum().clamp(min=1)


def _mean_over_all(anchor, positive, negative, margin):
    return _violations(anchor, positive, negative, margin).clamp(min=0).mean()


def _squared_distances(anchor, positive, negative, margin):
    losses = _violations(anchor, positive, negative, margin, squared=True).clamp(min=0)
    return losses.sum() / (losses > 0).sum().clamp(min=1)


def _zero_by_zero(anchor, positive, negative, margin):
    losses = _violations(anchor, positive, negative, margin).clamp(min=0)
    return losses.sum() / (losses > 0).sum()


triplet = Exercise(
    "triplet loss, mean over the active triplets",
    triplet_mean,
    [
        Case("hard, semi-hard and easy", POINTS[[0, 0, 0]], POINTS[[1, 2, 4]], POINTS[[2, 3, 5]], 1.0),
        Case("two easy triplets", POINTS[[0, 0]], POINTS[[4, 2]], POINTS[[5, 1]], 0.2),
        Case("positive on the anchor", POINTS[[2, 3]], POINTS[[2, 3]], POINTS[[3, 2]], 2.0),
    ],
    [
        Mistake(
            "mean over all triplets",
            "This is the mean over all triplets; the text asks for the active ones, those whose loss is not zero.",
            _mean_over_all,
        ),
        Mistake(
            "squared distances",
            "These are squared distances; this exercise compares the distances themselves.",
            _squared_distances,
        ),
        Mistake(
            "positive and negative swapped",
            "It is d(a,p) - d(a,n) + margin: the loss grows when the positive goes away, not the negative.",
            "triplet_mean(anchor, negative, positive, margin)",
        ),
        Mistake(
            "no hinge",
            "Without [.]₊ easy triplets get a negative loss and pay for the hard ones.",
            "_violations(anchor, positive, negative, margin).mean()",
        ),
        Mistake(
            "margin subtracted",
            "The margin is added: a triplet is at rest only when the negative is farther by the whole margin.",
            "triplet_mean(anchor, positive, negative, -margin)",
        ),
        Mistake(
            "zero divided by zero",
            "When no triplet is active this is 0/0 = NaN, and one NaN ruins all weights. Divide by at least one.",
            _zero_by_zero,
        ),
    ],
    gradients=("anchor", "positive", "negative"),
)


# --- 3: easy, semi-hard, hard ------------------------------------------------------------------------------------


def kind_of_triplet(d_ap, d_an, margin):
    if d_an < d_ap:
        return "hard"
    return "semi-hard" if d_an < d_ap + margin else "easy"


def _as_printed(d_ap, d_an, margin):
    if d_ap + margin < d_an:
        return "hard"
    return "semi-hard" if d_an < d_ap else "easy"


kinds = Exercise(
    "easy, semi-hard, hard",
    kind_of_triplet,
    [
        Case("negative nearer than positive", 1.0, 0.6, 0.2),
        Case("negative a little farther", 1.0, 1.1, 0.2),
        Case("negative far away", 1.0, 1.5, 0.2),
        Case("both equally far", 1.0, 1.0, 0.25),
        Case("negative farther by exactly the margin", 1.0, 1.25, 0.25),
        Case("everything at one point", 0.0, 0.0, 0.2),
        Case("negative nearer by more than the margin", 1.0, 0.5, 0.2),
    ],
    [
        Mistake(
            "inequalities as the paper prints them",
            "The paper prints these signs, and they are reversed: d(a,p) + margin < d(a,n) describes an easy triplet, "
            "d(a,n) < d(a,p) a hard one.",
            _as_printed,
        ),
        Mistake(
            "hard and easy swapped",
            "Hard means: the negative is nearer than the positive.",
            "{'hard': 'easy', 'easy': 'hard'}.get(kind_of_triplet(d_ap, d_an, margin), 'semi-hard')",
        ),
        Mistake(
            "margin on the wrong side",
            "The semi-hard band begins at d(a,p) and ends a margin beyond it; yours lies in front of the positive.",
            "kind_of_triplet(d_ap - margin, d_an, margin)",
        ),
        Mistake(
            "no semi-hard triplets",
            "Every active triplet is called hard; those with d(a,n) ≥ d(a,p) are semi-hard: in order, but too tight.",
            "'hard' if d_an < d_ap + margin else 'easy'",
        ),
        Mistake(
            "ties called hard",
            "Both equally far is semi-hard here: hard begins where the negative is strictly nearer.",
            "'hard' if d_an <= d_ap else kind_of_triplet(d_ap, d_an, margin)",
        ),
    ],
)


# --- 4: batch-hard mining ----------------------------------------------------------------------------------------


def hardest_distances(distances, labels):
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool)
    positive = distances.masked_fill(~same | itself, -torch.inf).amax(dim=1)
    negative = distances.masked_fill(same, torch.inf).amin(dim=1)
    return positive, negative


def _masked(distances, labels, positive, negative):
    """The same with other choices: each is a pair (reduction, filling) over the positives and over the negatives."""
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool)
    return (
        positive(distances.masked_fill(~same | itself, torch.nan)),
        negative(distances.masked_fill(same, torch.nan)),
    )


def _largest(x):
    return x.nan_to_num(nan=-torch.inf).amax(dim=1)


def _smallest(x):
    return x.nan_to_num(nan=torch.inf).amin(dim=1)


def _products(distances, labels):
    """Masking by multiplication, which turns what is masked into distance zero, the smallest of all."""
    same = (labels[:, None] == labels[None, :]).to(distances.dtype)
    return (distances * same).amax(dim=1), (distances * (1 - same)).amin(dim=1)


CLOUD = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.5, 0.5], [1.0, 3.0], [2.5, 2.0], [0.2, 1.0], [4.0, 0.0]])
LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 1])

mining = Exercise(
    "batch-hard mining",
    hardest_distances,
    [
        Case("two classes", torch.cdist(CLOUD, CLOUD), LABELS),
        Case("two points of one class coincide", torch.cdist(POINTS[[0, 0, 1, 2]], POINTS[[0, 0, 1, 2]]), LABELS[1:5]),
    ],
    [
        Mistake(
            "easiest positive",
            "You take the nearest positive; the hardest positive is the farthest one.",
            "_masked(distances, labels, _smallest, _smallest)",
        ),
        Mistake(
            "easiest negative",
            "You take the farthest negative; the hardest negative is the nearest one.",
            "_masked(distances, labels, _largest, _largest)",
        ),
        Mistake(
            "both easiest",
            "Both are the easiest: hard is the farthest positive and the nearest negative.",
            "_masked(distances, labels, _smallest, _largest)",
        ),
        Mistake(
            "masked by multiplication",
            "Multiplied by a mask, what is masked becomes 0, and then the smallest is always 0. Fill it with ∞.",
            _products,
        ),
        Mistake(
            "labels ignored",
            "Farthest and nearest of all points: whether a point has the anchor's label decides what it may be.",
            "(distances.amax(dim=1), _smallest(distances.clone().fill_diagonal_(torch.nan)))",
        ),
        Mistake(
            "one triplet for the whole batch",
            "Batch-hard picks a positive and a negative for each anchor, not one pair for the whole batch.",
            lambda distances, labels: tuple(
                pick(column).expand(len(labels))
                for pick, column in zip((torch.amax, torch.amin), hardest_distances(distances, labels), strict=True)
            ),
        ),
    ],
    gradients=("distances",),
)


# --- 5: the loss of a collapsed network --------------------------------------------------------------------------

collapse = Answer(
    "loss of a collapsed network",
    0.3,
    {
        0.0: "Zero would be rest. All distances are zero: put that into d(a,p) - d(a,n) + margin.",
        0.6: "The margin is counted once for a triplet.",
        0.09: "No square is left to take: the hinge of the triplet loss is linear.",
        0.15: "The ½ belongs to the contrastive loss.",
    },
)
