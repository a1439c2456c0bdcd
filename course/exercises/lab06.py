"""The exercises of lab 06, exponential triplet loss: right answers, cases, and the mistakes people make."""

import math

import torch

from course.exercises import Answer, Case, Exercise, Mistake

# --- 1: the loss of a pair ---------------------------------------------------------------------------------------


def _shortfall(distance, same, c_n, d_max):
    """How far each pair is from where it should be: 0 or less where it costs nothing, 1 at the worst distance."""
    d = distance / d_max
    return torch.where(same, (d - c_n) / (1 - c_n), (0.5 - d) / 0.5)


def _hinge(distance, same, c_n, d_max):
    return _shortfall(distance, same, c_n, d_max).clamp(min=0)


def exponential_pairs(distance, same, c_n, d_max):
    return -torch.log(1 - _hinge(distance, same, c_n, d_max))


def _hinges(distance, c_n, d_max):
    """Both hinges of each pair, whatever its kind."""
    d = distance / d_max
    return (d - c_n).clamp(min=0) / (1 - c_n), (0.5 - d).clamp(min=0) / 0.5


def _widths(distance, same, c_n, d_max, positive, negative):
    """The loss with hinges divided by other widths."""
    d = distance / d_max
    return -torch.log(1 - torch.where(same, (d - c_n) / positive, (0.5 - d) / negative).clamp(min=0))


def _mean_inside(distance, same, c_n, d_max):
    t = _hinge(distance, same, c_n, d_max)
    return -torch.log(1 - t[same].mean()) - torch.log(1 - t[~same].mean())


def _means_of_kinds(distance, same, c_n, d_max):
    loss = exponential_pairs(distance, same, c_n, d_max)
    return loss[same].mean() + loss[~same].mean()


def _both_kinds(distance, same, c_n, d_max):
    pull, push = _hinges(distance, c_n, d_max)
    return -torch.log(1 - pull) - torch.log(1 - push)


def _masked(distance, same, c_n, d_max):
    pull, push = _hinges(distance, c_n, d_max)
    return -same.to(distance.dtype) * torch.log(1 - pull) - (~same).to(distance.dtype) * torch.log(1 - push)


def _chosen_late(distance, same, c_n, d_max):
    pull, push = _hinges(distance, c_n, d_max)
    return torch.where(same, -torch.log(1 - pull), -torch.log(1 - push))


def _sorted_by_kind(distance, same, c_n, d_max):
    loss = exponential_pairs(distance, same, c_n, d_max)
    return torch.cat([loss[same], loss[~same]])


def _tangent(distance, same, c_n, d_max):
    t, start = _hinge(distance, same, c_n, d_max), 0.99
    return -torch.log(1 - t.clamp(max=start)) + (t - start).clamp(min=0) / (1 - start)


F64 = torch.float64
DISTANCES = torch.tensor([0.0, 0.26, 0.75, 1.6, 2.2, 0.3, 0.9, 1.4, 2.2], dtype=F64)
SAME = torch.tensor([True, False, True, True, True, False, False, False, False])
STEEP = torch.tensor([0.01, 2.98, 2.9, 0.002, 2.0, 1.2, 0.5], dtype=F64)  # t up to 0.9987
STEEP_SAME = torch.tensor([False, True, True, False, True, False, True])
WORST = torch.tensor([4.0, 0.0, 0.0, 4.0, 2.0, 1.0, 3.0], dtype=F64)  # both ends and both thresholds
WORST_SAME = torch.tensor([True, False, True, False, False, True, True])

pairs = Exercise(
    "exponential triplet loss of pairs",
    exponential_pairs,
    [
        Case("near and far pairs of both kinds", DISTANCES, SAME, 0.2, 2.3),
        Case("steep places", STEEP, STEEP_SAME, 0.35, 3.0),
        Case("distances below 1", DISTANCES / 4, SAME, 0.1, 0.6),
        Case("pairs of one class only", DISTANCES, SAME | True, 0.3, 2.5),
        Case(
            "at the worst distances and at the thresholds",
            WORST,
            WORST_SAME,
            0.25,
            4.0,
            gradients=False,
        ),
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
            "c_n and ½ are shares of the largest distance: divide every distance by the given d_max first.",
            "exponential_pairs(distance, same, c_n, 1.0)",
            "exponential_pairs(distance, same, c_n, distance.max())",
        ),
        Mistake(
            "thresholds not as given",
            "The threshold of a pair of one class is the given c_n, that of a pair of two classes is ½.",
            "exponential_pairs(distance, same, 0.15, d_max)",
            "exponential_pairs(distance, same, 0.0, d_max)",
            "exponential_pairs(distance, same, 0.5, d_max)",
            lambda distance, same, c_n, d_max: (
                -torch.log(
                    1
                    - torch.where(same, (distance / d_max - c_n) / (1 - c_n), (c_n - distance / d_max) / c_n).clamp(
                        min=0
                    )
                )
            ),
        ),
        Mistake(
            "no hinge",
            "A pair that is where it should be must cost nothing; without [.]₊ it gets a negative loss.",
            "-torch.log(1 - _shortfall(distance, same, c_n, d_max))",
        ),
        Mistake(
            "hinge not divided",
            "Each hinge is divided by its largest value, 1 - c_n or ½, so that the barrier begins at 0 and ends at 1.",
            "_widths(distance, same, c_n, d_max, 1, 1)",
            "_widths(distance, same, c_n, d_max, 1 - c_n, 1)",
            "_widths(distance, same, c_n, d_max, 1, 0.5)",
            "_widths(distance, same, c_n, d_max, 1 - c_n, 1 - c_n)",
            "_widths(distance, same, c_n, d_max, c_n, 0.5)",
        ),
        Mistake(
            "mean inside the logarithm",
            "The mean is taken before the logarithm, as in the authors' code: one number, where all active pairs "
            "weigh the same. Asked is each pair's loss.",
            _mean_inside,
            "-torch.log(1 - _hinge(distance, same, c_n, d_max).mean())",
        ),
        Mistake(
            "one number for all pairs",
            "This is a mean or a sum over the pairs; the loss of each pair is asked for, (N,).",
            "exponential_pairs(distance, same, c_n, d_max).mean()",
            "exponential_pairs(distance, same, c_n, d_max).sum()",
            _means_of_kinds,
        ),
        Mistake(
            "sign forgotten",
            "log(1 - t) is negative: the loss is minus that.",
            "-exponential_pairs(distance, same, c_n, d_max)",
        ),
        Mistake(
            "another function than the barrier",
            "φ(t) = -log(1 - t), with the natural logarithm of 1 - t; yours is another function of t.",
            "_hinge(distance, same, c_n, d_max)",
            "torch.exp(_hinge(distance, same, c_n, d_max)) - 1",
            "torch.exp(_hinge(distance, same, c_n, d_max))",
            "torch.log(1 + _hinge(distance, same, c_n, d_max))",
            "-torch.log(1 + _hinge(distance, same, c_n, d_max))",
            "-torch.log(_hinge(distance, same, c_n, d_max))",
            "-torch.log10(1 - _hinge(distance, same, c_n, d_max))",
            "-torch.log2(1 - _hinge(distance, same, c_n, d_max))",
            "1 - torch.log(1 - _hinge(distance, same, c_n, d_max))",
        ),
        Mistake(
            "something that keeps the logarithm finite",
            "No ε, no tangent, no clamp: near the worst distance the loss grows without end, and there it is infinite.",
            *(
                f"-torch.log(1 - _hinge(distance, same, c_n, d_max) + {eps})"
                for eps in (1e-6, 1e-7, 1e-8, 1e-10, 1e-12, 1e-20)
            ),
            *(
                f"-torch.log((1 - _hinge(distance, same, c_n, d_max)).clamp(min={eps}))"
                for eps in (1e-2, 1e-3, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12, 1e-20)
            ),
            _tangent,
        ),
        Mistake(
            "both kinds for every pair",
            "Each pair has one term, that of its kind; yours adds both.",
            _both_kinds,
        ),
        Mistake(
            "zero times infinity",
            "Each pair gets both logarithms, one of them times 0; but where it is infinite, 0 · ∞ is NaN. Choose the "
            "hinge first, and take the logarithm once.",
            _masked,
        ),
        Mistake(
            "logarithm before the choice",
            "The values are right. But where the logarithm not chosen is infinite, the gradient is 0 · ∞ = NaN. "
            "Choose the hinge first, and take the logarithm once.",
            _chosen_late,
        ),
        Mistake(
            "another order",
            "The pairs of one class come first, then the others: keep the order of the pairs.",
            _sorted_by_kind,
        ),
    ],
    gradients=("distance",),
)


# --- 2: Unit-Range -----------------------------------------------------------------------------------------------


def unit_range(x, radius):
    return x * (radius / x.norm(dim=-1, keepdim=True).clamp(min=radius))


def _length(x):
    return x.norm(dim=-1, keepdim=True)


def _threshold_one(x, radius):
    return torch.where(_length(x) >= 1, radius * x / _length(x).clamp(min=1e-12), x)


def _outside_zero(x, radius):
    return torch.where(_length(x) <= radius, x, torch.zeros_like(x))


def _chosen(x, radius):
    return torch.where(_length(x) > radius, x * radius / _length(x), x)


def _smooth(x, radius):
    length = _length(x).clamp(min=1e-12)
    return x / length * radius * torch.tanh(length / radius)


POINTS = torch.tensor(
    [[0.3, -0.4, 0.1], [3.0, 4.0, -1.0], [0.0, 0.0, 0.0], [-0.9, 1.1, 0.6], [0.2, -2.5, 0.0], [-0.05, 0.0, 0.1]]
)

ball = Exercise(
    "Unit-Range",
    unit_range,
    [
        Case("inside, outside and at the center", POINTS, 2.0),
        Case("a small ball", POINTS, 0.7),
        Case("as many rows as numbers", POINTS[1:4], 1.3),
        Case("far outside", 100 * POINTS, 3.0),
        Case("one row on the sphere", torch.tensor([[3.0, 4.0], [-6.0, 8.0], [1.0, 0.5]]), 5.0, gradients=False),
    ],
    [
        Mistake(
            "threshold as the paper prints it",
            "Compared with 1, as in the paper's equation 4: with another radius, points between 1 and the radius jump.",
            _threshold_one,
        ),
        Mistake(
            "everything on the sphere",
            "This is L2 (of some radius): it moves the points inside the ball too.",
            "radius * x / _length(x).clamp(min=1e-12)",
            "radius * x / _length(x)",
            "x / _length(x).clamp(min=1e-12)",
            "x / _length(x)",
        ),
        Mistake(
            "squared norm",
            "The paper writes |x|² for the norm; divided by the square, points do not end on the sphere.",
            "x * (radius / _length(x).square().clamp(min=radius))",
            "x * (radius / _length(x).square().clamp(min=radius**2))",
            "x * (radius / _length(x).square()).clamp(max=1)",
        ),
        Mistake(
            "another norm",
            "The length of a row is the Euclidean one, the root of the sum of the squares; yours is another norm.",
            "x * (radius / x.abs().sum(dim=-1, keepdim=True).clamp(min=radius))",
            "x * (radius / x.abs().amax(dim=-1, keepdim=True).clamp(min=radius))",
        ),
        Mistake(
            "every entry clamped",
            "That is a cube, and it turns the points: a ball limits the length of a row.",
            "x.clamp(-radius, radius)",
            "x.clamp(max=radius)",
        ),
        Mistake(
            "radius wrong",
            "A row outside comes to lie at the given radius, a row inside stays: its factor is the smaller of 1 and "
            "radius/‖x‖.",
            "x / _length(x).clamp(min=radius)",
            "x / _length(x).clamp(min=radius) / radius",
            "x / _length(x).clamp(min=1)",
            "radius * x / _length(x).clamp(min=1)",
        ),
        Mistake(
            "norm detached",
            "The values are right, the gradient is the authors': the length depends on x, too, and must not be "
            "detached.",
            "x * (radius / _length(x.detach()).clamp(min=radius))",
        ),
        Mistake(
            "one length for the whole batch",
            "Every row has its own length: norm(dim=-1, keepdim=True).",
            "x * (radius / x.norm().clamp(min=radius))",
            "x * (radius / _length(x).max())",
            "x * (radius / _length(x).max().clamp(min=radius))",
            "x * (radius / _length(x).mean().clamp(min=radius))",
        ),
        Mistake(
            "norm of the columns",
            "These are the lengths of the columns, over all rows: each row has its own, dim=-1.",
            "x * (radius / x.norm(dim=0, keepdim=True).clamp(min=radius))",
        ),
        Mistake(
            "axis of the norm lost",
            "The lengths have the shape (N,) and do not stand beside the rows: keepdim=True makes it (N, 1).",
            "x * (radius / x.norm(dim=-1).clamp(min=radius))",
            "x * (radius / x.norm(dim=-1)).clamp(max=1)",
            "x * radius / x.norm(dim=-1).clamp(min=radius)",
        ),
        Mistake(
            "largest for smallest",
            "Rows inside are pushed outwards, rows outside stay: the factor is the smaller one of 1 and radius/‖x‖.",
            "x * (radius / _length(x)).clamp(min=1)",
            "x * (radius / _length(x).clamp(max=radius))",
        ),
        Mistake(
            "rows outside set to zero",
            "A row outside the ball goes to the nearest point of the ball, on the sphere, and not to its center.",
            _outside_zero,
        ),
        Mistake(
            "a smooth limit",
            "This shortens every row; rows inside the ball stay as they are.",
            _smooth,
            "x * (radius / (radius + _length(x)))",
        ),
        Mistake(
            "NaN at the zero row",
            "radius / 0 is infinite at the zero row, and 0 · ∞ is NaN, in the result or in the gradient. Make the "
            "length at least the radius before you divide.",
            "x * (radius / _length(x)).clamp(max=1)",
            "x * torch.where(_length(x) > radius, radius / _length(x), torch.ones_like(x))",
            _chosen,
        ),
        Mistake(
            "no gradient at the zero row",
            "The values are right. But the gradient of the zero row is 0 here; inside the ball the result is x "
            "itself, so that the gradient passes as it is.",
            "F.normalize(x, dim=-1) * _length(x).clamp(max=radius)",
        ),
    ],
    gradients=("x",),
)


# --- 3: Unit-Bounce ----------------------------------------------------------------------------------------------


def bounced_length(length, radius):
    return _wave(torch.remainder(length + radius, 4 * radius), radius)


def _wave(phase, radius):
    return torch.where(phase < 2 * radius, phase - radius, 3 * radius - phase)


def _authors(length, radius):
    k = torch.floor(length / radius)
    back = radius - (length - k * radius)
    return torch.where(k == 0, length, torch.where(k % 2 == 1, back, -back))


def _at_once(length, radius):
    phase = torch.remainder(length + radius, 4 * radius)
    if phase < 2 * radius:
        return phase - radius
    return 3 * radius - phase


def _two_bounces(length, radius):
    back = torch.where(length < 3 * radius, 2 * radius - length, length - 4 * radius)
    return torch.where(length < radius, length, back)


LENGTHS = torch.tensor([0.0, 0.4, 0.9, 1.7, 2.3, 2.9, 3.4, 3.9, 4.7, 5.3, 6.1], dtype=F64)

bounce = Exercise(
    "Unit-Bounce",
    bounced_length,
    [
        Case("up to the sphere and back", LENGTHS[:6], 1.5),
        Case("far beyond", 3 * LENGTHS + 0.13, 1.2),
        Case("a small radius", LENGTHS[5:], 0.45),
        Case("a large radius", 2 * LENGTHS, 3.7),
        Case("on the sphere and at the center", 0.75 * torch.arange(14, dtype=F64), 1.5, gradients=False),
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
            "no third bounce",
            "It goes on to and fro, however large the length is: yours turns back twice only.",
            _two_bounces,
        ),
        Mistake(
            "clamped",
            "That is Unit-Range: here a point that reaches the sphere turns back.",
            "length.clamp(max=radius)",
            "length.clamp(-radius, radius)",
        ),
        Mistake(
            "jumps instead of turning",
            "At the sphere it turns back; yours jumps to another place, because every period only rises.",
            "torch.remainder(length + radius, 2 * radius) - radius",
            "torch.remainder(length, radius)",
            "torch.remainder(length, 2 * radius) - radius",
            "torch.remainder(length, 2 * radius)",
            "torch.remainder(length + radius, 4 * radius) - radius",
        ),
        Mistake(
            "period not 4r",
            "It takes 4r to come back: up to r, through the center to -r, and up again. Yours has another period.",
            lambda length, radius: -(torch.remainder(length + radius, 2 * radius) - radius).abs(),
            "_wave(torch.remainder(length + radius, 4), radius)",
            "_wave(torch.remainder(length + radius, 3 * radius), radius)",
        ),
        Mistake(
            "phase not shifted",
            "The length 0 should stay 0, and the first turn should be at r: your wave begins elsewhere.",
            "_wave(torch.remainder(length, 4 * radius), radius)",
            "_wave(torch.remainder(length + 2 * radius, 4 * radius), radius)",
        ),
        Mistake(
            "signs turned",
            "Everything is on the opposite side: up to the radius a point stays where it is.",
            "-bounced_length(length, radius)",
        ),
        Mistake(
            "radius of 1",
            "This takes 1 for the radius, or leaves the result in units of it; r is given.",
            "bounced_length(length, 1)",
            "bounced_length(length / radius, 1)",
            "radius * bounced_length(length, 1)",
        ),
        Mistake(
            "a sine",
            "The way up and down is straight, with slope ±1; a sine is rounded.",
            "radius * torch.sin(length * math.pi / (2 * radius))",
            "radius * torch.cos(length * math.pi / (2 * radius))",
            "radius * torch.sin(length / radius)",
        ),
        Mistake(
            "one decision for all lengths",
            "`if` decides once, and there are many lengths: torch.where decides for each of them.",
            _at_once,
        ),
    ],
    gradients=("length",),
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
        0.1: "The overlap is missing, and the largest distance is 2·radius.",
        0.6: "The largest distance is 2·radius, counted once.",
        30: "The number of classes divides: the more classes, the less space for each. This multiplies by it.",
        15: "The number of classes divides: the more classes, the less space for each. This multiplies by it.",
        3: "This is the overlap times the largest distance: divide it by the number of classes.",
        2: "This is the largest distance in the ball. A class gets a tenth of it, times the overlap.",
        1.5: "This is the overlap. Multiply it by d_max/K.",
        2 / 15: "The overlap makes a class wider: multiply by it.",
        20 / 3: "The number of classes divides, the overlap multiplies; here it is the other way round.",
        0.075: "Divided by 2; but the largest distance is 2·radius, and c_d is c_n times that.",
        10 / 1.5 * 2: "The number of classes divides, the overlap multiplies; here it is the other way round.",
    },
)

classes_in_the_disk = Answer(
    "classes that fit into the disk",
    4,
    {
        7: "That is right for ½. At 0.7 the hexagon's neighbors, ½ of the largest distance apart, are too near.",
        6: "Neighbors of the hexagon are ½ of the largest distance apart; here 0.7 is needed.",
        5: "Five on the circle are 0.59 of the largest distance apart, and the center is 0.5 of it away from the "
        "circle; 0.7 is needed.",
        3: "There is more room: how far apart are neighbors of a square on the circle?",
        2: "There is more room: two need not lie on one diameter.",
        1: "There is more room: two at the ends of a diameter are 1 apart, as a share.",
        8: "The more on the circle, the nearer they are: with seven, neighbors are less than ½ apart already.",
        12: "Twelve touch a ball in three dimensions, at ½; this is the plane, and 0.7.",
        math.inf: "Every class needs a place of its own, away from all others by a share of 0.7.",
    },
)
