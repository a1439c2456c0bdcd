"""The exercises of lab 08, PEDCC: right answers, cases, and the mistakes people make."""

import math
from functools import partial

import torch
from torch.nn import functional as F

from course.exercises import Answer, Case, Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(8)


def _random(*shape):
    return torch.randn(*shape, generator=GENERATOR)


def _axes(number, dim):
    """Rows of length 1 at right angles to each other, turned at random."""
    return torch.linalg.qr(_random(dim, dim)).Q[:number]


# --- 1: the simplex ------------------------------------------------------------------------------------------------


def simplex(axes):
    return F.normalize(axes - axes.mean(dim=0), dim=1)


simplex_of = Exercise(
    "simplex",
    simplex,
    [
        Case("two axes of the plane", torch.tensor([[0.6, 0.8], [-0.8, 0.6]])),
        Case("three axes of the room", torch.eye(3)[[1, 2, 0]]),
        Case("three turned axes in five dimensions", _axes(3, 5)),
        Case("four turned axes", _axes(4, 4)),
    ],
    [
        Mistake(
            "mean not subtracted",
            "These are still the axes, with cosines 0. Subtracting their mean turns them away from each other.",
            "axes",
        ),
        Mistake(
            "mean of the coordinates",
            "You subtract means over the coordinates, one number for each axis. The mean axis is a row, the mean over "
            "dim=0.",
            "F.normalize(axes - axes.mean(dim=1, keepdim=True), dim=1)",
            "F.normalize(axes - axes.mean(dim=1), dim=1)",
            "axes - axes.mean(dim=1, keepdim=True)",
            "axes - axes.mean(dim=1)",
        ),
        Mistake(
            "not normalized",
            "The mean is subtracted, but the rows that are handed back have not the length 1.",
            "axes - axes.mean(dim=0)",
        ),
        Mistake(
            "columns normalized",
            "Every row is a point: normalize along dim=1.",
            "F.normalize(axes - axes.mean(dim=0), dim=0)",
        ),
        Mistake(
            "one length for all of the matrix",
            "Here the whole matrix has the length 1. Each row must have it by itself.",
            "(axes - axes.mean(dim=0)) / (axes - axes.mean(dim=0)).norm()",
        ),
        Mistake(
            "squared length",
            "A row is divided by its squared length; its length is the root of that.",
            "(axes - axes.mean(dim=0)) / (axes - axes.mean(dim=0)).square().sum(dim=1, keepdim=True)",
        ),
        Mistake(
            "factor turned round",
            "After the subtraction a row is too short, so the factor must be above 1; this one is below.",
            "(axes - axes.mean(dim=0)) * ((len(axes) - 1) / len(axes)) ** 0.5",
            "(axes - axes.mean(dim=0)) * (len(axes) - 1) / len(axes)",
        ),
        Mistake(
            "sum subtracted",
            "The sum of the axes is C times their mean: too much is taken away.",
            "F.normalize(axes - axes.sum(dim=0), dim=1)",
        ),
        Mistake(
            "mean added",
            "The mean is what the axes have in common. Added, it turns them towards each other.",
            "F.normalize(axes + axes.mean(dim=0), dim=1)",
        ),
        Mistake(
            "one number for the mean",
            "axes.mean() is a single number, the mean of all entries. The mean of the rows is a row.",
            "F.normalize(axes - axes.mean(), dim=1)",
            "axes - axes.mean()",
        ),
        Mistake(
            "turned to the other side",
            "The cosines are right, but every point looks away from its own axis.",
            "-simplex(axes)",
        ),
        Mistake(
            "simplex of other axes",
            "This is the simplex of the coordinate axes. Asked for is that of the axes given, which are turned.",
            "simplex(torch.eye(*axes.shape))",
            "simplex(torch.eye(len(axes)))",
        ),
        Mistake(
            "cosines of the points",
            "These are the cosines (C, C). The points themselves are asked for, (C, D).",
            "simplex(axes) @ simplex(axes).T",
        ),
    ],
    fixed=("axes",),  # orthonormal
)


# --- 2: AM-Softmax -------------------------------------------------------------------------------------------------


def am_logits(cosines, labels, margin, scale):
    return scale * (cosines - margin * F.one_hot(labels, cosines.shape[1]))


def _where(cosines, labels, own, others):
    """`own` at the labels, `others` elsewhere."""
    return torch.where(F.one_hot(labels, cosines.shape[1]).bool(), own, others)


def _columns(cosines, labels, margin, scale):
    cosines = cosines.clone()
    cosines[:, labels] -= margin
    return scale * cosines


def _cosines(rows, classes):
    return 1.9 * torch.rand(rows, classes, generator=GENERATOR) - 0.95


logits = Exercise(
    "logits of AM-Softmax",
    am_logits,
    [
        Case("one row, its cosine negative", torch.tensor([[0.4, -0.7]]), torch.tensor([1]), 0.2, 3.0),
        Case("five rows, three classes, the last one absent", _cosines(5, 3), torch.tensor([0, 1, 0, 0, 1]), 0.35, 7.5),
        Case("three rows, six classes", _cosines(3, 6), torch.tensor([4, 0, 3]), 0.5, 15.0),
        Case("six rows, four classes, one absent", _cosines(6, 4), torch.tensor([3, 0, 3, 1, 1, 0]), 0.15, 30.0),
    ],
    [
        Mistake(
            "margin added",
            "You add the margin: the label's score grows, and the loss asks for less than softmax. Subtract it.",
            "am_logits(cosines, labels, -margin, scale)",
        ),
        Mistake(
            "margin after the scale",
            "The margin is a cosine: subtract it before everything is multiplied by s.",
            "am_logits(cosines, labels, margin / scale, scale)",
        ),
        Mistake(
            "margin forgotten",
            "The label's cosine has no margin here: these are the logits of softmax, times s.",
            "scale * cosines",
        ),
        Mistake(
            "margin for all classes",
            "All classes have the margin, so it cancels in the softmax. Only the label's cosine has it.",
            "scale * (cosines - margin)",
        ),
        Mistake(
            "margin for the others",
            "The others have the margin, the label has not: that makes the task easier.",
            "scale * (cosines - margin * (1 - F.one_hot(labels, cosines.shape[1])))",
        ),
        Mistake(
            "margin on both sides",
            "The label has a lower score, and the others a higher one. The margin comes in once, at the label.",
            "scale * (cosines + _where(cosines, labels, -margin, margin))",
        ),
        Mistake(
            "scale on the label only",
            "Every logit is multiplied by s, those of the other classes too.",
            "_where(cosines, labels, scale * (cosines - margin), cosines)",
            "_where(cosines, labels, scale * cosines - margin, cosines)",
        ),
        Mistake(
            "scale not on the label",
            "Every logit is multiplied by s, that of the label too.",
            "_where(cosines, labels, cosines - margin, scale * cosines)",
        ),
        Mistake(
            "scale forgotten",
            "Without s the logits lie between -1 - m and 1, and the loss has a high floor.",
            "am_logits(cosines, labels, margin, 1.0)",
        ),
        Mistake(
            "divided by the scale",
            "s multiplies. A temperature, by which one divides, is 1/s.",
            "am_logits(cosines, labels, margin, 1 / scale)",
        ),
        Mistake(
            "margin and scale swapped",
            "The margin m is subtracted, the scale s multiplies; here it is the other way round.",
            "am_logits(cosines, labels, scale, margin)",
        ),
        Mistake(
            "margin as a factor",
            "The margin is subtracted from the cosine; a factor would lower only positive cosines.",
            "_where(cosines, labels, scale * cosines * (1 - margin), scale * cosines)",
            "_where(cosines, labels, scale * cosines * margin, scale * cosines)",
        ),
        Mistake(
            "margin on the angle",
            "cos(θ + m) is ArcFace; AM-Softmax subtracts from the cosine.",
            "scale * _where(cosines, labels, torch.cos(torch.acos(cosines) + margin), cosines)",
            "scale * _where(cosines, labels, torch.cos(torch.acos(cosines) - margin), cosines)",
        ),
        Mistake(
            "cut off at zero",
            "Cosines and logits may be negative; here something is cut off at 0.",
            "scale * _where(cosines, labels, (cosines - margin).clamp(min=0), cosines)",
            "scale * (cosines - margin * F.one_hot(labels, cosines.shape[1])).clamp(min=0)",
        ),
        Mistake(
            "columns for entries",
            "`[:, labels]` means these columns in every row, so other rows get the margin, too. Each row has one entry "
            "of its own.",
            _columns,
        ),
        Mistake(
            "classes counted from the labels",
            "The number of classes is that of the columns: a batch need not hold an example of each. `F.one_hot` must "
            "be told.",
            "scale * (cosines - margin * F.one_hot(labels))",
            "scale * (cosines - margin * F.one_hot(labels, len(labels.unique())))",
        ),
        Mistake(
            "softmax taken",
            "The logits are asked for: cross entropy takes the softmax itself.",
            "am_logits(cosines, labels, margin, scale).softmax(dim=1)",
            "am_logits(cosines, labels, margin, scale).log_softmax(dim=1)",
        ),
        Mistake(
            "the loss",
            "This is the loss. The logits (B, C) that go into it are asked for.",
            "F.cross_entropy(am_logits(cosines, labels, margin, scale), labels)",
        ),
        Mistake(
            "the label's logits only",
            "One number for each row comes back, the label's. Cross entropy needs the logits of all classes.",
            "am_logits(cosines, labels, margin, scale)[torch.arange(len(labels)), labels]",
        ),
        Mistake(
            "numbers of the paper",
            "Margin and scale are arguments; this uses numbers of its own.",
            "am_logits(cosines, labels, 0.35, 7.5)",
            "am_logits(cosines, labels, 0.35, scale)",
            "am_logits(cosines, labels, margin, 7.5)",
            "am_logits(cosines, labels, 0.35, 30.0)",
            "am_logits(cosines, labels, 0.5, 15.0)",
        ),
    ],
    gradients=("cosines",),
)


# --- 3: the second term --------------------------------------------------------------------------------------------

EPSILON = 1e-6
CENTROIDS = F.normalize(_random(4, 3), dim=1)
POINTS = 3 * _random(7, 3)  # of lengths below and above 1
SHORT = 0.2 * _random(5, 3)
UNIT64 = F.normalize(CENTROIDS.double(), dim=1)  # float32 is too coarse near a centroid, where the root is steep
NEAR = 3 * UNIT64[[2, 0]] + 0.04 * _random(2, 3).double()
LABELS = torch.tensor([0, 3, 1, 3, 0, 0, 1])  # class 2 is absent


def distance_term(embeddings, labels, centroids, root, epsilon=EPSILON):
    return _root(_squares(embeddings, labels, centroids).mean() / 2, root, epsilon)


def _squares(embeddings, labels, centroids):
    return (F.normalize(embeddings, dim=1) - centroids[labels]).square().sum(dim=1)


def _root(mean, root, epsilon=EPSILON):
    return (mean + epsilon) ** (1 / root) - epsilon ** (1 / root)


def _unscaled(points, labels, centroids, root):
    """The term of points that are taken as they are."""
    return _root((points - centroids[labels]).square().sum(dim=1).mean() / 2, root)


second_term = Exercise(
    "second term of the PEDCC loss",
    distance_term,
    [
        Case("one embedding, root 2", POINTS[:1], torch.tensor([2]), CENTROIDS, 2),
        Case("root 1", POINTS, LABELS, CENTROIDS, 1),
        Case("short embeddings, root 3", SHORT, LABELS[1:6], CENTROIDS, 3),
        Case(
            "root 4, five dimensions", 2 * _random(3, 5), torch.tensor([1, 5, 0]), F.normalize(_random(6, 5), dim=1), 4
        ),
        Case("opposite to their centroids, root 2", -3 * CENTROIDS[[3, 1]] - 0.1, torch.tensor([3, 1]), CENTROIDS, 2),
        Case("near their centroids, root 3, float64", NEAR, torch.tensor([2, 0]), UNIT64, 3),
    ],
    [
        Mistake(
            "not normalized",
            "The embeddings must be brought to length 1 first: the centroids lie on the unit sphere.",
            "_unscaled(embeddings, labels, centroids, root)",
        ),
        Mistake(
            "normalized along the wrong dimension",
            "Every row is an embedding and gets the length 1 by itself: normalize along dim=1.",
            "_unscaled(F.normalize(embeddings, dim=0), labels, centroids, root)",
            "_unscaled(embeddings / embeddings.norm(), labels, centroids, root)",
        ),
        Mistake(
            "mean over the coordinates",
            "This takes the mean over the coordinates, as `F.mse_loss` does by default. Their squares are added up; "
            "the mean is over the rows only.",
            "_root(_squares(embeddings, labels, centroids).mean() / 2 / centroids.shape[1], root)",
            "_root(_squares(embeddings, labels, centroids).mean() / centroids.shape[1], root)",
        ),
        Mistake(
            "sum over the batch",
            "This is the sum, as the paper prints it: the weight then depends on the batch size. Take the mean.",
            "_root(_squares(embeddings, labels, centroids).sum() / 2, root)",
            "_root(_squares(embeddings, labels, centroids).sum(), root)",
        ),
        Mistake(
            "half forgotten",
            "The ½ is missing. With it the term is 1 - cos θ for n = 1.",
            "_root(_squares(embeddings, labels, centroids).mean(), root)",
        ),
        Mistake(
            "half after the root",
            "The ½ belongs to the squared distance, under the root.",
            "_root(_squares(embeddings, labels, centroids).mean(), root) / 2",
        ),
        Mistake(
            "distance not squared",
            "The distances are not squared here: M is the mean of half the *squared* distances.",
            "_root(_squares(embeddings, labels, centroids).sqrt().mean() / 2, root)",
            "_root(_squares(embeddings, labels, centroids).sqrt().mean(), root)",
        ),
        Mistake(
            "squared twice",
            "The mean distance is squared here; M is the mean of the squared distances.",
            "_root(_squares(embeddings, labels, centroids).sqrt().mean() ** 2 / 2, root)",
        ),
        Mistake(
            "whole-number division",
            "`1 // n` is 0 for every n above 1, and anything to the power 0 is 1. Write `1 / n`.",
            "(_squares(embeddings, labels, centroids).mean() / 2 + EPSILON) ** (1 // root) - EPSILON ** (1 // root)",
        ),
        Mistake(
            "root forgotten",
            "This is M itself, without the n-th root.",
            "_root(_squares(embeddings, labels, centroids).mean() / 2, 1)",
        ),
        Mistake(
            "square root always",
            "n is an argument; this takes the square root whatever n is.",
            "_root(_squares(embeddings, labels, centroids).mean() / 2, 2)",
        ),
        Mistake(
            "power for root",
            "This is the n-th power, as in the authors' code; the paper writes the n-th root, the power 1/n.",
            "_root(_squares(embeddings, labels, centroids).mean() / 2, 1 / root)",
        ),
        Mistake(
            "root of every row",
            "You take the root row by row, then the mean. First the mean, then one root.",
            "_root(_squares(embeddings, labels, centroids) / 2, root).mean()",
        ),
        Mistake(
            "ε not subtracted",
            "At distance 0 the term must be 0: subtract what ε alone contributes there. That is ε^(1/n), not ε.",
            "_root(_squares(embeddings, labels, centroids).mean() / 2, root) + EPSILON ** (1 / root)",
            "(_squares(embeddings, labels, centroids).mean() / 2 + EPSILON) ** (1 / root) - EPSILON",
        ),
        Mistake(
            "ε outside the root",
            "ε is added to M, under the root: there it keeps the slope at M = 0 finite.",
            "(_squares(embeddings, labels, centroids).mean() / 2) ** (1 / root) + EPSILON - EPSILON ** (1 / root)",
            "(_squares(embeddings, labels, centroids).mean() / 2) ** (1 / root) - EPSILON ** (1 / root)",
        ),
        Mistake(
            "no ε",
            "This is M^(1/n). The ε is missing, under the root and in what is subtracted.",
            "(_squares(embeddings, labels, centroids).mean() / 2) ** (1 / root)",
        ),
        Mistake(
            "another ε",
            "ε is 10^(-6); another number is used here.",
            *(partial(distance_term, epsilon=epsilon) for epsilon in (1e-4, 1e-5, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)),
        ),
        Mistake(
            "cosine for distance",
            "The cosine is high where the distance is low: ½‖x̂ - p‖² is 1 minus the cosine.",
            "_root(1 - _squares(embeddings, labels, centroids).mean() / 2, root)",
            "_root((1 - _squares(embeddings, labels, centroids).mean() / 2).abs(), root)",
        ),
        Mistake(
            "distances to all centroids",
            "Each embedding is compared with the centroid of its own label only, `centroids[labels]`.",
            "_root((F.normalize(embeddings, dim=1)[:, None] - centroids).square().sum(dim=2).mean() / 2, root)",
        ),
        Mistake(
            "length held constant",
            "The values are right, but the length that you divide by has no gradient, so the term pulls on it, too. "
            "Let the gradient flow through the normalization.",
            "_unscaled(embeddings / embeddings.norm(dim=1, keepdim=True).detach(), labels, centroids, root)",
        ),
    ],
    gradients=("embeddings",),
    fixed=("centroids",),  # unit rows
)


# --- 4: the scale --------------------------------------------------------------------------------------------------


def scale_for(classes, margin, floor):
    return _scale(classes - 1, math.expm1(floor), classes / (classes - 1) - margin)


def _scale(others, bound, gap):
    """Solves others * exp(-scale * gap) = bound."""
    return math.log(others / bound) / gap


scale = Exercise(
    "scale for a floor",
    scale_for,
    [
        Case("two classes", 2, 0.2, 0.5),
        Case("three classes, a large margin", 3, 0.8, 0.9),
        Case("ten classes", 10, 0.35, 0.1),
        Case("a hundred classes", 100, 0.5, 0.01),
        Case("a thousand classes, a high floor", 1000, 0.15, 2.5),
    ],
    [
        Mistake(
            "classes at right angles",
            "You have cosine 0 to the other classes; on the simplex it is -1/(C - 1), so the gap is C/(C - 1) - m.",
            "_scale(classes - 1, math.expm1(floor), 1 - margin)",
            "_scale(classes - 1, math.expm1(floor), classes // (classes - 1) - margin)",
        ),
        Mistake(
            "gap with another fraction",
            "The gap is 1 + 1/(C - 1) - m = C/(C - 1) - m: the cosine to the others is *minus* 1/(C - 1).",
            "_scale(classes - 1, math.expm1(floor), (classes - 1) / classes - margin)",
            "_scale(classes - 1, math.expm1(floor), 1 - 1 / (classes - 1) - margin)",
        ),
        Mistake(
            "margin with the wrong sign",
            "The margin makes the label's score smaller, so the gap is C/(C - 1) minus m.",
            "scale_for(classes, -margin, floor)",
        ),
        Mistake(
            "margin forgotten",
            "The margin is missing: the gap is C/(C - 1) - m.",
            "scale_for(classes, 0, floor)",
        ),
        Mistake(
            "one class too many",
            "There are C - 1 other classes, not C.",
            "_scale(classes, math.expm1(floor), classes / (classes - 1) - margin)",
            "_scale(classes, math.expm1(floor), (classes + 1) / classes - margin)",
        ),
        Mistake(
            "C - 1 forgotten",
            "C - 1 other classes add up in the formula: (C - 1) stands before the exponential and must stay.",
            "_scale(1, math.expm1(floor), classes / (classes - 1) - margin)",
        ),
        Mistake(
            "exponential without minus one",
            "log(1 + z) = floor gives z = exp(floor) - 1: the 1 is missing.",
            "_scale(classes - 1, math.exp(floor), classes / (classes - 1) - margin)",
        ),
        Mistake(
            "floor for exp(floor) - 1",
            "log(1 + z) = floor gives z = exp(floor) - 1. z is nearly the floor only where that is very low.",
            "_scale(classes - 1, floor, classes / (classes - 1) - margin)",
            "_scale(classes - 1, math.log1p(floor), classes / (classes - 1) - margin)",
        ),
        Mistake(
            "exp(floor) + 1",
            "log(1 + z) = floor gives z = exp(floor) - 1: the 1 changes its sign when it changes sides.",
            "_scale(classes - 1, math.exp(floor) + 1, classes / (classes - 1) - margin)",
        ),
        Mistake(
            "negative scale",
            "The sign is turned: the exponent is -s·(…), so s = log((C - 1)/z)/(…), with C - 1 above.",
            "-scale_for(classes, margin, floor)",
        ),
        Mistake(
            "multiplied by the gap",
            "The logarithm is s times the gap, so s is the logarithm *divided* by the gap.",
            "math.log((classes - 1) / math.expm1(floor)) * (classes / (classes - 1) - margin)",
        ),
        Mistake(
            "not divided by the gap",
            "This is s times the gap.",
            "math.log((classes - 1) / math.expm1(floor))",
        ),
        Mistake(
            "brackets missing",
            "Python divides and multiplies from left to right, before it subtracts: put brackets round C/(C - 1) - m.",
            "math.log((classes - 1) / math.expm1(floor)) / classes / (classes - 1) - margin",
            "math.log((classes - 1) / math.expm1(floor)) / classes * (classes - 1) - margin",
            "math.log((classes - 1) / math.expm1(floor)) / (classes / (classes - 1)) - margin",
        ),
        Mistake(
            "another logarithm",
            "The loss is made of natural logarithms, `math.log`.",
            "math.log10((classes - 1) / math.expm1(floor)) / (classes / (classes - 1) - margin)",
            "math.log2((classes - 1) / math.expm1(floor)) / (classes / (classes - 1) - margin)",
        ),
        Mistake(
            "logarithm forgotten",
            "s stands in an exponent: the logarithm brings it down.",
            "(classes - 1) / math.expm1(floor) / (classes / (classes - 1) - margin)",
        ),
        Mistake(
            "the floor, not the scale",
            "This is the formula of the floor, with your floor put in for s. Solve it for s.",
            "math.log1p((classes - 1) * math.exp(-floor * (classes / (classes - 1) - margin)))",
        ),
        Mistake(
            "a rule of thumb",
            "log(C - 1) knows nothing of margin and floor.",
            "math.log(max(classes - 1, 1))",
        ),
        Mistake(
            "inverse",
            "This is 1/s.",
            "1 / scale_for(classes, margin, floor)",
        ),
        Mistake(
            "rounded",
            "The scale is rounded; return it as it comes.",
            *(f"round(scale_for(classes, margin, floor), {digits})" for digits in (0, 1, 2, 3)),
        ),
    ],
)


# --- 5: by hand ----------------------------------------------------------------------------------------------------

_DIAGONAL = "The axes of four dimensions, both ways, are eight directions, and they are farther apart than that."

eight = Answer(
    "eight classes in four dimensions",
    0.0,
    {
        -1 / 7: "A simplex of eight corners needs seven dimensions; here are four.",
        1 / 7: "A simplex of eight corners needs seven dimensions, and its cosines are negative.",
        -1 / 3: "-1/(d - 1) is not it: ask how many classes fit at which cosine.",
        -1 / 4: "-1/d is the cosine of a simplex of d + 1 = 5 corners. Here are eight classes.",
        1 / 4: f"1/d is not a cosine of this arrangement. {_DIAGONAL}",
        1 / 3: f"That is the cosine of neighbors of a cube in three dimensions. {_DIAGONAL}",
        -1.0: "Only two points can be opposite to each other; some other pair is nearer.",
        1.0: "Two of the eight would lie at one place. A point with itself is not a pair.",
        0.5: "They can be farther apart: up to 2d points fit at right angles or more.",
        0.5**0.5: f"That is for eight directions of a plane, 45° apart. {_DIAGONAL}",
        90.0: "Right angle, but the cosine was asked for.",
        math.pi / 2: "That is the angle, in radians. The cosine was asked for.",
        45.0: f"That is an angle, and the one of eight directions of a plane. {_DIAGONAL}",
        180.0: "The cosine was asked for, and of the pair that is nearest, not of opposite points.",
    },
)
