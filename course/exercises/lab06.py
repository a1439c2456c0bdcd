"""The exercises of lab 06, the exponential triplet loss: right answers, cases, and the mistakes people make."""

import torch

from course.exercises import Answer, Case, Exercise, Mistake

DISTANCES = torch.tensor([0.0, 0.2, 0.3, 0.9, 1.6, 0.2, 0.9, 1.0, 1.7])
SAME = torch.tensor([True, True, True, True, True, False, False, False, False])
POINTS = torch.tensor([[0.3, 0.4], [3.0, 4.0], [0.0, 0.0], [-0.9, 1.2], [0.0, -2.5]])


# --- 1: the loss of a pair ---------------------------------------------------------------------------------------


def _shortfall(distance, same, c_n, d_max):
    """How far each pair is from where it should be, 0 to 1."""
    d = distance / d_max
    return torch.where(same, (d - c_n) / (1 - c_n), (0.5 - d) / 0.5)


def exponential_pairs(distance, same, c_n, d_max):
    return -torch.log(1 - _shortfall(distance, same, c_n, d_max).clamp(min=0))


def _undivided(distance, same, c_n, d_max):
    d = distance / d_max
    return -torch.log(1 - torch.where(same, d - c_n, 0.5 - d).clamp(min=0))


def _mean_inside(distance, same, c_n, d_max):
    t = _shortfall(distance, same, c_n, d_max).clamp(min=0)
    return -torch.log(1 - t[same].mean()) - torch.log(1 - t[~same].mean())


pairs = Exercise(
    "exponential triplet loss of pairs",
    exponential_pairs,
    [
        Case("near and far pairs of both kinds", DISTANCES, SAME, 0.15, 2.0),
        Case("a larger space", DISTANCES, SAME, 0.1, 4.0),
    ],
    [
        Mistake(
            "kinds swapped",
            "A pair of one class costs when it is farther apart than c_n, a pair of two classes when it is nearer "
            "than one half.",
            "exponential_pairs(distance, ~same, c_n, d_max)",
        ),
        Mistake(
            "distance not normalized",
            "c_n and ½ are shares of the largest distance: divide every distance by d_max first.",
            "exponential_pairs(distance, same, c_n, 1.0)",
        ),
        Mistake(
            "no hinge",
            "A pair that is where it should be must cost nothing; without [.]₊ it gets a negative loss.",
            "-torch.log(1 - _shortfall(distance, same, c_n, d_max))",
        ),
        Mistake(
            "hinge not divided",
            "Each hinge is divided by its largest value, 1 - c_n or ½, so that the barrier begins at 0 and ends at 1.",
            _undivided,
        ),
        Mistake(
            "mean inside the logarithm",
            "This is the authors' code: one number, where all active pairs weigh the same. Asked is each pair's loss.",
            _mean_inside,
        ),
        Mistake(
            "sign forgotten",
            "log(1 - t) is negative: the loss is minus that.",
            "-exponential_pairs(distance, same, c_n, d_max)",
        ),
    ],
    gradients=("distance",),
)


# --- 2: Unit-Range -----------------------------------------------------------------------------------------------


def unit_range(x, radius):
    return x * (radius / x.norm(dim=-1, keepdim=True).clamp(min=radius))


def _threshold_one(x, radius):
    length = x.norm(dim=-1, keepdim=True)
    return torch.where(length >= 1, radius * x / length.clamp(min=1e-12), x)


ball = Exercise(
    "Unit-Range",
    unit_range,
    [
        Case("inside, outside and at the center", POINTS, 2.0),
        Case("a small ball", POINTS, 0.5),
    ],
    [
        Mistake(
            "threshold as the paper prints it",
            "Compared with 1, as in the paper's equation 4: with another radius, points between 1 and the radius jump.",
            _threshold_one,
        ),
        Mistake(
            "everything on the sphere",
            "This is L2: it moves the points inside the ball too.",
            "radius * x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)",
        ),
        Mistake(
            "squared norm",
            "The paper writes |x|² for the norm; divided by the square, points do not end on the sphere.",
            "x * (radius / x.pow(2).sum(dim=-1, keepdim=True).clamp(min=radius))",
        ),
        Mistake(
            "every entry clamped",
            "That is a cube, and it turns the points: a ball limits the length of a row.",
            "x.clamp(-radius, radius)",
        ),
        Mistake(
            "norm detached",
            "The values are right, the gradient is the authors': the length depends on x, too, and must not be "
            "detached.",
            "x * (radius / x.detach().norm(dim=-1, keepdim=True).clamp(min=radius))",
        ),
        Mistake(
            "one length for the whole batch",
            "Every row has its own length: norm(dim=-1, keepdim=True).",
            "x * (radius / x.norm().clamp(min=radius))",
        ),
    ],
    gradients=("x",),
)


# --- 3: Unit-Bounce ----------------------------------------------------------------------------------------------


def bounced_length(length, radius):
    phase = torch.remainder(length + radius, 4 * radius)
    return torch.where(phase < 2 * radius, phase - radius, 3 * radius - phase)


def _authors(length, radius):
    k = torch.floor(length / radius)
    back = radius - (length - k * radius)
    return torch.where(k == 0, length, torch.where(k % 2 == 1, back, -back))


bounce = Exercise(
    "Unit-Bounce",
    bounced_length,
    [
        Case("up to the sphere and back", torch.tensor([0.0, 0.4, 1.0, 1.6, 2.2, 2.9]), 1.0),
        Case("far beyond", torch.tensor([3.1, 3.9, 4.2, 5.5, 7.3, 8.6]), 1.0),
        Case("another radius", torch.tensor([0.5, 2.5, 4.5, 6.5, 8.5]), 1.5),
    ],
    [
        Mistake(
            "the authors' jumps",
            "This is the authors' code: it jumps by a whole radius at 2, 3, 4 ... radii.",
            _authors,
        ),
        Mistake(
            "stuck at the center",
            "At the center it goes on to the opposite side, it does not stop.",
            "torch.where(length < radius, length, (2 * radius - length).clamp(min=0))",
        ),
        Mistake(
            "back from the center",
            "It turns back at the sphere only: past the center it is on the opposite side, and negative.",
            "bounced_length(length, radius).abs()",
        ),
        Mistake(
            "no second bounce",
            "On the opposite side it has to turn back as well, at -radius: the place must stay within ±radius.",
            "torch.where(length < radius, length, 2 * radius - length)",
        ),
        Mistake(
            "clamped",
            "That is Unit-Range: here a point that reaches the sphere turns back.",
            "length.clamp(max=radius)",
        ),
    ],
)


# --- 4 and 5: numbers --------------------------------------------------------------------------------------------

diameter = Answer(
    "diameter of a class",
    0.3,
    {
        0.15: "This is c_n, a share of the largest distance: multiply it by d_max.",
        7.5: "This is equation 3 as printed, c_o·K/d_max, wider than the whole space. Its text says: d_max divided by "
        "the number of classes, times c_o.",
        0.2: "The overlap is missing: this is d_max/K.",
        0.6: "The largest distance is 2·radius, counted once.",
    },
)

classes_in_the_disk = Answer(
    "classes that fit into the disk",
    7,
    {
        6: "Six fit on the circle. In the disk there is one more place.",
        12: "Twelve fit on the sphere in three dimensions; this is the plane.",
        4: "There is more room: on the circle, points at 60° from each other are one radius apart.",
        8: "With seven on the circle, neighbors are less than one radius apart (51°).",
    },
)
