"""The exercises of lab 08, PEDCC: right answers, cases, and the mistakes people make."""

import math

import torch
from torch.nn import functional as F

from course.exercises import Answer, Case, Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(8)
TURNED = torch.linalg.qr(torch.randn(4, 4, generator=GENERATOR)).Q
COSINES = 2 * torch.rand(5, 3, generator=GENERATOR) - 1
POINTS, LABELS = 3 * torch.randn(6, 3, generator=GENERATOR), torch.tensor([0, 1, 2, 3, 0, 0])
CENTROIDS = F.normalize(torch.randn(4, 3, generator=GENERATOR), dim=1)
EPSILON = 1e-6


# --- 1: the simplex ----------------------------------------------------------------------------------------------


def simplex(axes):
    return F.normalize(axes - axes.mean(dim=0), dim=1)


simplex_of = Exercise(
    "simplex",
    simplex,
    [Case("two axes", torch.eye(2)), Case("three axes", torch.eye(3)), Case("four turned axes", TURNED)],
    [
        Mistake(
            "mean not subtracted",
            "These are still the axes, with cosines 0. Subtracting their mean turns them away from each other.",
            "F.normalize(axes, dim=1)",
        ),
        Mistake(
            "mean of the coordinates",
            "You subtract from each row the mean of its own coordinates. Subtract the mean row, axes.mean(dim=0).",
            "F.normalize(axes - axes.mean(dim=1, keepdim=True), dim=1)",
        ),
        Mistake(
            "not normalized",
            "The rows must have length 1; after the subtraction it is below.",
            "axes - axes.mean(dim=0)",
        ),
        Mistake(
            "columns normalized",
            "Every row is a point: normalize along dim=1.",
            "F.normalize(axes - axes.mean(dim=0), dim=0)",
        ),
        Mistake(
            "one number for the mean",
            "axes.mean() is a single number, the mean of all entries. The mean of the rows is a row.",
            "F.normalize(axes - axes.mean(), dim=1)",
        ),
    ],
)


# --- 2: AM-Softmax -----------------------------------------------------------------------------------------------


def am_logits(cosines, labels, margin, scale):
    return scale * (cosines - margin * F.one_hot(labels, cosines.shape[1]))


def _angular(cosines, labels, margin, scale):
    own = F.one_hot(labels, cosines.shape[1]).bool()
    return scale * torch.where(own, torch.cos(torch.acos(cosines) + margin), cosines)


logits = Exercise(
    "logits of AM-Softmax",
    am_logits,
    [
        Case("five rows", COSINES, torch.tensor([0, 1, 2, 0, 0]), 0.35, 7.5),
        Case("another margin", COSINES, torch.tensor([2, 2, 1, 0, 1]), 0.5, 15.0),
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
            "scale on the label only",
            "Every logit is multiplied by s, those of the other classes too.",
            "torch.where(F.one_hot(labels, cosines.shape[1]).bool(), scale * (cosines - margin), cosines)",
        ),
        Mistake(
            "scale forgotten",
            "Without s the logits lie between -1 - m and 1, and the loss has a high floor.",
            "am_logits(cosines, labels, margin, 1.0)",
        ),
        Mistake(
            "margin on the angle",
            "cos(θ + m) is ArcFace; AM-Softmax subtracts from the cosine.",
            _angular,
        ),
    ],
    gradients=("cosines",),
)


# --- 3: the second term ------------------------------------------------------------------------------------------


def distance_term(embeddings, labels, centroids, root, epsilon=EPSILON):
    return _root(_squares(F.normalize(embeddings, dim=1), labels, centroids).mean() / 2, root, epsilon)


def _squares(points, labels, centroids):
    return (points - centroids[labels]).square().sum(dim=1)


def _root(mean, root, epsilon=EPSILON):
    return (mean + epsilon) ** (1 / root) - epsilon ** (1 / root)


def _half_squares(embeddings, labels, centroids):
    return _squares(F.normalize(embeddings, dim=1), labels, centroids) / 2


second_term = Exercise(
    "second term of the PEDCC loss",
    distance_term,
    [
        Case("root 1", POINTS, LABELS, CENTROIDS, 1),
        Case("root 2", POINTS, LABELS, CENTROIDS, 2),
        Case("root 3", POINTS, LABELS, CENTROIDS, 3),
        Case("on the centroids, root 3", 2 * CENTROIDS, torch.arange(4), CENTROIDS, 3),
    ],
    [
        Mistake(
            "not normalized",
            "The embeddings must be brought to length 1 first: the centroids lie on the unit sphere.",
            lambda x, y, p, n: _root(_squares(x, y, p).mean() / 2, n),
        ),
        Mistake(
            "sum over the batch",
            "This is the sum, as the paper prints it: the weight then depends on the batch size. Take the mean.",
            lambda x, y, p, n: _root(_half_squares(x, y, p).sum(), n),
        ),
        Mistake(
            "mean over the coordinates",
            "The squares of the coordinates are added up; the mean is over the rows only.",
            lambda x, y, p, n: _root(_half_squares(x, y, p).mean() / x.shape[1], n),
        ),
        Mistake(
            "half forgotten",
            "The ½ is missing. With it the term is 1 - cos θ for n = 1.",
            lambda x, y, p, n: _root(2 * _half_squares(x, y, p).mean(), n),
        ),
        Mistake(
            "power for root",
            "This is the n-th power, as in the authors' code; the paper writes the n-th root, the power 1/n.",
            lambda x, y, p, n: _root(_half_squares(x, y, p).mean(), 1 / n),
        ),
        Mistake(
            "root of every row",
            "You take the root row by row, then the mean. First the mean, then one root.",
            lambda x, y, p, n: _root(_half_squares(x, y, p), n).mean(),
        ),
        Mistake(
            "ε not subtracted",
            "At distance 0 the term must be 0: subtract what ε alone contributes, ε^(1/n).",
            lambda x, y, p, n: _root(_half_squares(x, y, p).mean(), n) + EPSILON ** (1 / n),
        ),
    ],
    gradients=("embeddings",),
)


# --- 4: the scale ------------------------------------------------------------------------------------------------


def scale_for(classes, margin, floor, cosine=None):
    cosine = -1 / (classes - 1) if cosine is None else cosine
    return math.log((classes - 1) / math.expm1(floor)) / (1 - margin - cosine)


scale = Exercise(
    "scale for a floor",
    scale_for,
    [Case("ten classes", 10, 0.35, 0.1), Case("a hundred classes", 100, 0.5, 0.01), Case("two classes", 2, 0.2, 0.5)],
    [
        Mistake(
            "classes at right angles",
            "You have cosine 0 to the other classes; on the simplex it is -1/(C - 1), so the gap is C/(C - 1) - m.",
            lambda classes, margin, floor: scale_for(classes, margin, floor, cosine=0.0),
        ),
        Mistake(
            "margin with the wrong sign",
            "The margin makes the label's score smaller, so the gap is C/(C - 1) minus m.",
            lambda classes, margin, floor: scale_for(classes, -margin, floor),
        ),
        Mistake(
            "one class too many",
            "There are C - 1 other classes, not C.",
            lambda classes, margin, floor: math.log(classes / math.expm1(floor)) / (classes / (classes - 1) - margin),
        ),
        Mistake(
            "exponential without minus one",
            "log(1 + z) = floor gives z = exp(floor) - 1, which is far from exp(floor) when the floor is low.",
            lambda classes, margin, floor: (math.log(classes - 1) - floor) / (classes / (classes - 1) - margin),
        ),
        Mistake(
            "inverse",
            "This is 1/s.",
            lambda classes, margin, floor: 1 / scale_for(classes, margin, floor),
        ),
    ],
)


# --- 5: by hand --------------------------------------------------------------------------------------------------

eight = Answer(
    "eight classes in four dimensions",
    0.0,
    {
        -1 / 7: "A simplex of eight corners needs seven dimensions; here are four.",
        -1 / 3: "-1/(d - 1) is not it: ask how many classes fit at which cosine.",
        -1.0: "Only two points can be opposite to each other; some other pair is nearer.",
        90.0: "Right angle, but the cosine was asked for.",
        0.5: "They can be farther apart: up to 2d points fit at right angles or more.",
    },
)
