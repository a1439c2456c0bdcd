"""The exercises of lab 04, siamese and triplet networks: right answers, cases, and the mistakes people make."""

import torch

from course.exercises import Answer, Case, Exercise, Mistake

POINTS = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0], [0.0, 2.0], [0.5, 0.0], [6.0, 8.0]])
CLOUD = 2 * torch.rand(12, 3, generator=torch.Generator().manual_seed(4)) - 1
DISTANCES = torch.tensor([0.0, 0.3, 1.9, 0.8, 1.4, 0.31, 0.85, 0.0, 3.2])
SAME = torch.tensor([True, False, True, True, False, False, True, False, False])


# --- 1: the contrastive loss of a pair ---------------------------------------------------------------------------


def contrastive_pairs(distance, same, margin):
    return torch.where(same, 0.5 * distance**2, 0.5 * (margin - distance).clamp(min=0) ** 2)


def _pull(distance):
    return 0.5 * distance**2


contrastive = Exercise(
    "contrastive loss of pairs",
    contrastive_pairs,
    [
        Case("near, far and equal pairs of both kinds", DISTANCES, SAME, 0.7),
        Case("a larger margin", DISTANCES, SAME, 1.6),
        Case("only pairs of different classes", torch.tensor([0.4, 0.1, 2.0]), torch.zeros(3, dtype=torch.bool), 0.25),
        Case("only pairs of the same class", torch.tensor([0.2, 2.6]), torch.ones(2, dtype=torch.bool), 3.5),
    ],
    [
        Mistake(
            "kinds swapped",
            "Pairs of the same class are to be pulled together: their loss grows with the distance.",
            "contrastive_pairs(distance, ~same, margin)",
        ),
        Mistake(
            "no one half",
            "The factor ½ is missing. Both parts carry it, and the derivative of the square cancels it.",
            "2 * contrastive_pairs(distance, same, margin)",
            "torch.where(same, distance ** 2, contrastive_pairs(distance, same, margin))",
            "torch.where(same, _pull(distance), 2 * contrastive_pairs(distance, same, margin))",
        ),
        Mistake(
            "no hinge",
            "A pair of different classes beyond the margin must cost nothing; without [.]₊ it is pulled back in.",
            "torch.where(same, 0.5 * distance ** 2, 0.5 * (margin - distance) ** 2)",
            "torch.where(same, 0.5 * distance ** 2, (0.5 * (margin - distance) ** 2).clamp(min=0))",
        ),
        Mistake(
            "hinge not squared",
            "The hinge is squared too (Hadsell 2006). The linear hinge is another loss: pytorch-metric-learning's.",
            "torch.where(same, 0.5 * distance ** 2, 0.5 * (margin - distance).clamp(min=0))",
            "torch.where(same, 0.5 * distance ** 2, (margin - distance).clamp(min=0))",
        ),
        Mistake(
            "pull not squared",
            "The pull on a pair of the same class is ½d², with the square of the distance.",
            "torch.where(same, 0.5 * distance, contrastive_pairs(distance, same, margin))",
            "torch.where(same, distance, contrastive_pairs(distance, same, margin))",
        ),
        Mistake(
            "squared before the subtraction",
            "The margin is a distance: subtract the distance from it, cut off what is negative, and square last.",
            "torch.where(same, 0.5 * distance ** 2, 0.5 * (margin - distance ** 2).clamp(min=0))",
            "torch.where(same, 0.5 * distance ** 2, 0.5 * (margin - distance ** 2).clamp(min=0) ** 2)",
            "torch.where(same, 0.5 * distance ** 2, 0.5 * (margin**2 - distance ** 2).clamp(min=0))",
        ),
        Mistake(
            "hinge the wrong way round",
            "It is [margin - distance]₊: pairs of different classes pay while they are too near, not when far.",
            "torch.where(same, 0.5 * distance ** 2, 0.5 * (distance - margin).clamp(min=0) ** 2)",
        ),
        Mistake(
            "margin fixed",
            "The margin is an argument; this uses a number of its own.",
            "contrastive_pairs(distance, same, 1.0)",
            "contrastive_pairs(distance, same, 0.2)",
            "contrastive_pairs(distance, same, 0.5)",
        ),
        Mistake(
            "mean or sum over the pairs",
            "The loss of each pair is asked for, one number per pair; yours is one number for all of them.",
            "contrastive_pairs(distance, same, margin).mean()",
            "contrastive_pairs(distance, same, margin).sum()",
        ),
        Mistake(
            "one kind of pairs only",
            "Every pair has a loss. Yours leaves a kind of pairs out, or gives it the loss zero.",
            "_pull(distance[same])",
            "torch.where(same, _pull(distance), torch.zeros_like(distance))",
            "torch.where(same, torch.zeros_like(distance), contrastive_pairs(distance, same, margin))",
            "torch.cat([_pull(distance[same]), contrastive_pairs(distance, same, margin)[~same]])",
        ),
        Mistake(
            "both parts for every pair",
            "A pair has one of the two losses: `same` says which. Yours adds both for every pair.",
            "_pull(distance) + 0.5 * (margin - distance).clamp(min=0) ** 2",
        ),
    ],
    gradients=("distance",),
)


# --- 2: the triplet loss -----------------------------------------------------------------------------------------


def _norm(x, squared=False):
    """Length of each row; the small constant keeps the gradient finite where two points coincide."""
    squares = x.pow(2).sum(dim=-1)
    return squares if squared else (squares + 1e-12).sqrt()


def _violations(anchor, positive, negative, margin, squared=False):
    return _norm(anchor - positive, squared) - _norm(anchor - negative, squared) + margin


def _over_active(losses):
    return losses.sum() / (losses > 0).sum().clamp(min=1)


def _nan_at_rest(losses):
    return losses.sum() / (losses > 0).sum()


def triplet_mean(anchor, positive, negative, margin):
    return _over_active(_violations(anchor, positive, negative, margin).clamp(min=0))


def _hinges(anchor, positive, negative, margin, squared=False):
    return _violations(anchor, positive, negative, margin, squared).clamp(min=0)


def _walk(x):
    return x.abs().sum(dim=-1)


def _in_wrong_order_only(anchor, positive, negative, margin):
    wrong = _norm(anchor - negative) < _norm(anchor - positive)
    return (_hinges(anchor, positive, negative, margin) * wrong).sum() / wrong.sum().clamp(min=1)


triplet = Exercise(
    "triplet loss, mean over the active triplets",
    triplet_mean,
    [
        Case("hard, semi-hard and easy", POINTS[[0, 0, 0]], POINTS[[1, 2, 4]], POINTS[[2, 3, 5]], 0.7),
        Case("four triplets in three dimensions", CLOUD[:4], CLOUD[4:8], CLOUD[8:], 0.6),
        Case("two easy triplets", POINTS[[0, 0]], POINTS[[4, 2]], POINTS[[5, 1]], 0.3, gradients=False),
        Case("positive on the anchor", POINTS[[2, 3]], POINTS[[2, 3]], POINTS[[3, 2]], 1.9),
        Case("far apart, a small margin", 9 * POINTS[[1, 2, 3]], 9 * POINTS[[3, 1, 5]], 9 * POINTS[[2, 4, 1]], 0.04),
    ],
    [
        Mistake(
            "mean over all triplets",
            "This is the mean over all triplets; the text asks for the active ones, those whose loss is not zero.",
            "_hinges(anchor, positive, negative, margin).mean()",
        ),
        Mistake(
            "sum instead of mean",
            "This is the sum over the triplets; divide it by the number of active ones.",
            "_hinges(anchor, positive, negative, margin).sum()",
        ),
        Mistake(
            "one number per triplet",
            "These are the losses of the single triplets; one number is asked for, their mean over the active ones.",
            "_hinges(anchor, positive, negative, margin)",
            "_violations(anchor, positive, negative, margin)",
        ),
        Mistake(
            "zero divided by zero",
            "When no triplet is active this is 0/0 = NaN, and one NaN ruins all weights. Divide by at least one.",
            "_nan_at_rest(_hinges(anchor, positive, negative, margin))",
        ),
        Mistake(
            "squared distances",
            "These are squared distances; this exercise compares the distances themselves.",
            "_over_active(_hinges(anchor, positive, negative, margin, squared=True))",
            "_hinges(anchor, positive, negative, margin, squared=True).mean()",
        ),
        Mistake(
            "positive and negative swapped",
            "It is d(a,p) - d(a,n) + margin: the loss grows when the positive goes away, not the negative.",
            "triplet_mean(anchor, negative, positive, margin)",
            "_hinges(anchor, negative, positive, margin).mean()",
        ),
        Mistake(
            "no hinge",
            "Without [.]₊ easy triplets get a negative loss and pay for the hard ones.",
            "_violations(anchor, positive, negative, margin).mean()",
            "_over_active(_violations(anchor, positive, negative, margin))",
        ),
        Mistake(
            "hinge of the mean",
            "The hinge is taken once, of the mean: easy triplets pay for hard ones. Each triplet has its own hinge.",
            "_violations(anchor, positive, negative, margin).mean().clamp(min=0)",
        ),
        Mistake(
            "margin subtracted or left out",
            "The margin is added: a triplet is at rest only when the negative is farther by the whole margin.",
            "triplet_mean(anchor, positive, negative, -margin)",
            "triplet_mean(anchor, positive, negative, 0)",
        ),
        Mistake(
            "margin fixed",
            "The margin is an argument; this uses a number of its own.",
            "triplet_mean(anchor, positive, negative, 0.2)",
            "triplet_mean(anchor, positive, negative, 1.0)",
        ),
        Mistake(
            "distance from the positive to the negative",
            "This takes d(p,n); both distances of a triplet start at the anchor.",
            "_over_active((_norm(anchor - positive) - _norm(positive - negative) + margin).clamp(min=0))",
        ),
        Mistake(
            "only triplets in wrong order",
            "Active are all triplets with a loss above zero, also those in the right order whose gap is too small.",
            _in_wrong_order_only,
        ),
        Mistake(
            "one distance for the whole batch",
            "A norm without `dim` is one number for all rows; with dim=-1 each row has its own.",
            "((anchor - positive).norm() - (anchor - negative).norm() + margin).clamp(min=0)",
        ),
        Mistake(
            "sum of the absolute differences",
            "These are the absolute differences, summed; the distance squares them, sums, and takes one root.",
            "_over_active((_walk(anchor - positive) - _walk(anchor - negative) + margin).clamp(min=0))",
        ),
    ],
    gradients=("anchor", "positive", "negative"),
)


# --- 3: easy, semi-hard, hard ------------------------------------------------------------------------------------


def kind_of_triplet(d_ap, d_an, margin):
    if d_an < d_ap:
        return "hard"
    return "semi-hard" if d_an < d_ap + margin else "easy"


def _named(hard, semihard):
    """The name of a triplet by two conditions, asked in this order."""
    return "hard" if hard else "semi-hard" if semihard else "easy"


kinds = Exercise(
    "easy, semi-hard, hard",
    kind_of_triplet,
    [  # binary fractions, so that sums are exact
        Case("negative nearer than positive", 1.0, 0.875, 0.25),
        Case("negative a little farther", 1.0, 1.125, 0.5),
        Case("negative far away", 1.0, 2.5, 0.25),
        Case("both equally far", 0.75, 0.75, 0.125),
        Case("negative farther by exactly the margin", 1.5, 1.75, 0.25),
        Case("everything at one point", 0.0, 0.0, 0.25),
        Case("negative nearer by more than the margin", 1.0, 0.5, 0.375),
        Case("large distances, a small gap", 3.0, 3.25, 0.5),
        Case("small distances, a wide gap", 0.25, 0.5, 0.1875),
        Case("a margin larger than both distances", 0.125, 0.5, 1.0),
    ],
    [
        Mistake(
            "inequalities as the paper prints them",
            "The paper prints these signs, and they are reversed: d(a,p) + margin < d(a,n) describes an easy triplet, "
            "d(a,n) < d(a,p) a hard one.",
            "_named(d_ap + margin < d_an, d_an < d_ap)",
            "_named(d_ap + margin <= d_an, d_an < d_ap)",
        ),
        Mistake(
            "arguments swapped",
            "The two distances have changed places: hard means that the negative is nearer than the positive.",
            "kind_of_triplet(d_an, d_ap, margin)",
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
            "margin not used",
            "Without the margin there are two kinds only. A negative that is farther, but by less, is semi-hard.",
            "'hard' if d_an < d_ap else 'easy'",
            "'hard' if d_an < d_ap else 'semi-hard'",
            "_named(d_an < d_ap, d_an == d_ap)",
        ),
        Mistake(
            "compared with the margin alone",
            "The band ends at d(a,p) + margin; yours compares d(a,n) with the margin itself.",
            "_named(d_an < d_ap, d_an < margin)",
        ),
        Mistake(
            "ties called hard",
            "Both equally far is semi-hard here: hard begins where the negative is strictly nearer.",
            "_named(d_an <= d_ap, d_an < d_ap + margin)",
        ),
        Mistake(
            "exactly the margin called semi-hard",
            "Farther by exactly the margin is easy: the loss is zero there.",
            "_named(d_an < d_ap, d_an <= d_ap + margin)",
        ),
        Mistake(
            "both ends of the band shifted",
            "Both borders are on the wrong side: equally far is semi-hard, farther by exactly the margin is easy.",
            "_named(d_an <= d_ap, d_an <= d_ap + margin)",
        ),
        Mistake(
            "squared distances",
            "The margin is added to the distances as they are; yours adds it to their squares.",
            "_named(d_an < d_ap, d_an**2 < d_ap**2 + margin)",
        ),
        Mistake(
            "margin fixed",
            "The margin is an argument; this uses a number of its own.",
            "kind_of_triplet(d_ap, d_an, 0.2)",
            "kind_of_triplet(d_ap, d_an, 1.0)",
        ),
    ],
)


# --- 4: batch-hard mining ----------------------------------------------------------------------------------------


def hardest_distances(distances, labels):
    positive = _partners(labels, distances)
    return (
        distances.masked_fill(~positive, -torch.inf).amax(dim=1),
        distances.masked_fill(_same(labels), torch.inf).amin(dim=1),
    )


def _same(labels):
    return labels[:, None] == labels[None, :]


def _partners(labels, distances):
    return _same(labels) & ~torch.eye(len(distances), dtype=torch.bool)


def _nearest_positive(distances, labels):
    return distances.masked_fill(~_partners(labels, distances), torch.inf).amin(dim=1)


def _farthest_negative(distances, labels):
    return distances.masked_fill(_same(labels), -torch.inf).amax(dim=1)


def _products(distances, labels):
    """Masking by multiplication, which turns what is masked into distance zero, the smallest of all."""
    same = _same(labels).to(distances.dtype)
    return (distances * same).amax(dim=1), (distances * (1 - same)).amin(dim=1)


def _whole_batch(distances, labels):
    positive, negative = hardest_distances(distances, labels)
    return positive.max().expand(len(labels)), negative.min().expand(len(labels))


CROWD = torch.tensor([[0.0, 0.0], [2.0, 0.1], [0.5, 0.5], [1.0, 3.0], [2.5, 2.0], [0.2, 1.0], [4.0, 0.3]])
LABELS = torch.tensor([0, 3, 0, 1, 3, 1, 3])
UNEVEN = torch.cdist(CROWD, CROWD) * torch.linspace(1, 2, 7)[:, None]  # not symmetric: d[i, j] is not d[j, i]

mining = Exercise(
    "batch-hard mining",
    hardest_distances,
    [
        Case("two classes", torch.cdist(CROWD[1:6], CROWD[1:6]), torch.tensor([1, 0, 1, 0, 1])),
        Case("three classes, mixed", torch.cdist(CROWD, CROWD), LABELS),
        Case("not symmetric", UNEVEN, LABELS),
        Case("distances in the hundreds", 400 * UNEVEN, torch.tensor([5, 5, 2, 2, 5, 2, 5])),
        Case(
            "two points of one class coincide",
            torch.cdist(POINTS[[0, 0, 1, 2]], POINTS[[0, 0, 1, 2]]),
            torch.tensor([7, 7, 4, 4]),
            gradients=False,
        ),
    ],
    [
        Mistake(
            "easiest positive",
            "You take the nearest positive; the hardest positive is the farthest one.",
            "(_nearest_positive(distances, labels), hardest_distances(distances, labels)[1])",
            "(distances.masked_fill(~_same(labels), torch.inf).amin(dim=1), hardest_distances(distances, labels)[1])",
        ),
        Mistake(
            "easiest negative",
            "You take the farthest negative; the hardest negative is the nearest one.",
            "(hardest_distances(distances, labels)[0], _farthest_negative(distances, labels))",
        ),
        Mistake(
            "both easiest",
            "Both are the easiest: hard is the farthest positive and the nearest negative.",
            "(_nearest_positive(distances, labels), _farthest_negative(distances, labels))",
        ),
        Mistake(
            "results exchanged",
            "The farthest positive comes first, the nearest negative second; yours are the other way round.",
            "hardest_distances(distances, labels)[::-1]",
        ),
        Mistake(
            "positives and negatives swapped",
            "This takes the farthest negative and the nearest positive: the mask is the other way round.",
            "(_farthest_negative(distances, labels), _nearest_positive(distances, labels))",
            "(_farthest_negative(distances, labels), distances.masked_fill(~_same(labels), torch.inf).amin(dim=1))",
        ),
        Mistake(
            "masked by multiplication",
            "Multiplied by a mask, what is masked becomes 0, and then the smallest is always 0. Fill it with ∞.",
            _products,
        ),
        Mistake(
            "filled with too small a number",
            "A distance can be larger than the number with which you fill what does not count; ∞ never loses.",
            "(hardest_distances(distances, labels)[0], distances.masked_fill(_same(labels), 10.0).amin(dim=1))",
            "(hardest_distances(distances, labels)[0], distances.masked_fill(_same(labels), 100.0).amin(dim=1))",
            "(hardest_distances(distances, labels)[0], distances.masked_fill(_same(labels), 1.0).amin(dim=1))",
            "(hardest_distances(distances, labels)[0], distances.masked_fill(_same(labels), 2.0).amin(dim=1))",
        ),
        Mistake(
            "labels ignored",
            "Farthest and nearest of all points: whether a point has the anchor's label decides what it may be.",
            "(distances.amax(dim=1), (distances + torch.diag(torch.full((len(labels),), torch.inf))).amin(dim=1))",
            "(distances.amax(dim=1), distances.amin(dim=1))",
        ),
        Mistake(
            "one triplet for the whole batch",
            "Batch-hard picks a positive and a negative for each anchor, not one pair for the whole batch.",
            _whole_batch,
            "(hardest_distances(distances, labels)[0].max(), hardest_distances(distances, labels)[1].min())",
        ),
        Mistake(
            "down the columns",
            "The anchor is the row: reduce over dim=1. Yours goes down the columns.",
            "hardest_distances(distances.T, labels)",
        ),
        Mistake(
            "places instead of distances",
            "These are the places of the hardest samples (argmax and argmin); the distances themselves are asked for.",
            "(distances.masked_fill(~_partners(labels, distances), -torch.inf).argmax(dim=1), "
            "distances.masked_fill(_same(labels), torch.inf).argmin(dim=1))",
        ),
        Mistake(
            "stacked into columns",
            "Two tensors of shape (B,) are asked for: `return positive, negative`. Yours is one of shape (B, 2).",
            "torch.stack(hardest_distances(distances, labels), dim=1)",
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
        -0.3: "The margin is added, not subtracted; and a hinge is never negative.",
        0.09: "No square is left to take: the hinge of the triplet loss is linear.",
        0.15: "The ½ belongs to the contrastive loss.",
        0.045: "½ and the square belong to the contrastive loss.",
        0.2: "That is the margin of the lab; this run has another one.",
        1.0: "The hinge has no size of its own: put the distances and this run's margin into it.",
        "the margin": "In words, yes. The check asks for the number.",
        "margin": "In words, yes. The check asks for the number.",
        float("inf"): "A collapse keeps every loss finite: all distances are zero.",
    },
)
