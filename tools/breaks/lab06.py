"""Breaks of lab 06: what its sentences credit, taken away."""

import dataclasses
import math

import torch

from tools.breaks import Break


def undivided(original):
    """An exponential triplet loss whose hinge of the positives is not divided by 1 - c_n."""

    def forward(self, embeddings, labels):
        d = (embeddings[:, None] - embeddings[None]).square().sum(-1).clamp(min=1e-24).sqrt() / (2 * self.radius)
        same = labels[:, None] == labels[None, :]
        positive = same & ~torch.eye(len(labels), dtype=torch.bool)
        pull = -torch.log(1 - (d[positive] - self.diameter).relu()).mean()
        return pull - torch.log(1 - (0.5 - d[~same]).relu() / 0.5).sum() / (~same).sum().clamp(min=1)

    return forward


def pushes_only(original):
    """An exponential triplet loss without its positive term."""

    def forward(self, embeddings, labels):
        self.positive_weight = 0.0
        return original(self, embeddings, labels)

    return forward


def from_the_center(original):
    """Unit-Bounce that turns back at the center, in every version: no row gets to the opposite side."""

    def unit_bounce(x, radius=1.0, grad="true", bounce="triangle"):
        y = original(x, radius, grad)
        return y * (x * y).sum(-1, keepdim=True).sign()

    return unit_bounce


def blind_ranges(original):
    """Range accuracy that is the same whatever the embedding."""
    return lambda *sets: dataclasses.replace(original(*sets), soft=0.5, coverage=0.5)


def always(number):
    """A measure that is the same number whatever the embedding."""
    return lambda original: lambda *sets: number


def all_classes(original):
    """The least scale of softmax with C - 1 for C - 2."""
    return lambda num_classes, probability=0.9: math.log(probability * (num_classes - 1) / (1 - probability))


def flat(original):
    """A record in which every measured value is ½."""
    return lambda *names: {row: values * 0 + 0.5 for row, values in original(*names).items()}


def swapped(original):
    """A record in which the two losses, and the shortest and the longest embedding, have changed places."""
    names = {"L_exp": "L_std", "L_std": "L_exp"}
    lengths = {"2": "512", "512": "2"}

    def row_of(row):
        if row.endswith("dimensions"):
            loss, length, unit = row.rsplit(" ", 2)
            return f"{loss} {lengths.get(length, length)} {unit}"
        return names.get(row[:5], row[:5]) + row[5:]

    return lambda *table: {row_of(row): values for row, values in original(*table).items()}


PARAMETERS, TRAINED = "8a895844", "a0ccbba7"
ONE_SEED = ("SEEDS = [0, 1, 2]", "SEEDS = [0]")  # enough for what breaks in every network
SHORT = [ONE_SEED, ("STEPS = 120", "STEPS = 20")]
SHORTEST = [*SHORT, ("IMAGES = 1500", "IMAGES = 400")]  # for claims that no training decides
FORWARD = "labkit.losses.exponential_triplet.ExponentialTripletLoss.forward"

BREAKS = [
    Break(
        "the hinge of the positives is not divided by its largest value",
        ["Four points", "Pencil check"],
        replaces={FORWARD: undivided},
        quick=True,
        until="342392ea",
    ),
    Break(
        "the two reductions change places",
        ["Mean inside the logarithm", "Mean outside the logarithm"],
        edits={"dce96a34": ("outside, inside = (", "inside, outside = (")},
        until="dce96a34",
    ),
    Break(
        "a hundred classes",
        ["Authors' code, ten classes"],
        edits={"6e8fbee4": ("c_o / 10)", "c_o / 100)")},
        until="6e8fbee4",
    ),
    Break(
        "Unit-Bounce turns back at the center",
        ["Unit-Bounce: places", "Unit-Bounce, authors' code"],
        replaces={"labkit.embeddings.unit_bounce": from_the_center},
        until="957999b8",
    ),
    Break(
        "the seven points of the disk and of the circle change places",
        ["Seven classes"],
        edits={
            "120386e4": [
                ("loss(seven.repeat", "loss(ring(7).repeat"),
                ("loss(ring(7).repeat(2, 1), twice), at_least", "loss(seven.repeat(2, 1), twice), at_least"),
            ]
        },
        until="120386e4",
    ),
    Break(
        "nothing is learned",
        [
            "After 20 steps",
            "At the end: accuracy, squared",
            "Separation, exponential minus squared",
            "Separation, exponential minus standard, both tuned",
            "Mean MAP@R, exponential as advised",
            "Mean MAP@R, both tuned",
            "Uniformity, exponential minus",
            "Effective rank, exponential minus squared",
            "Unit-Range: share inside",
            "Unit-Bounce: accuracy, true",
            "Soft range accuracy",
        ],
        edits={
            PARAMETERS: SHORT,
            TRAINED: ("lr=lr, after_step", "lr=1e-9, after_step"),
        },
    ),
    Break(
        "nothing pulls a class together",
        ["At the end: accuracy, exponential", "Four rows"],
        replaces={FORWARD: pushes_only},
        edits={PARAMETERS: [ONE_SEED, ("STEPS = 120", "STEPS = 60")]},
        until="ee308a86",
    ),
    Break(
        "the start is always the usual one, L2 and the detached Unit-Range are Unit-Bounce, margin 1 is 0.2",
        [
            "Effective rank, Unit-Range minus L2",
            "Accuracy, Unit-Range minus L2",
            "Unit-Range: effective rank",
            "Small start: accuracy",
            "Unit-Bounce: accuracy, small",
            "Unit-Range: accuracy, true",
            "Separation, exponential minus margin 1",
        ],
        edits={
            PARAMETERS: ONE_SEED,
            "3733783f": ("TripletLoss(margin=1.0)", "TripletLoss(margin=0.2)"),
            "8f3fa927": [
                ("(l2, 1.0)", "(unit_bounce, 1.0)"),
                ("(unit_range, 0.1),", "(unit_range, 1.0),"),
                ("(unit_bounce, 0.1)", "(unit_bounce, 1.0)"),
            ],
            "e1dd4f84": ("partial(unit_range", "partial(unit_bounce"),
        },
        until="47636b91",
    ),
    Break(
        "the measures are blind, the record is flat, pixels are noise, and the softmax scale counts one class too many",
        [
            "Record, Fashion-MNIST",
            "Record, MNIST",
            "Record, faces: closest",
            "Record, faces, with",
            "Record, Omniglot",
            "Record, mnist",
            "Record, fashion_mnist: accuracy",
            "Record, fashion_mnist, L_exp: 8 minus",
            "Record, fashion_mnist, cross-entropy: 8 minus",
            "Softmax scale",
            "MAP@R of four points",
            "Noise",
            "Unseen classes, two",
        ],
        replaces={
            "labkit.evaluation.closest_accuracy": always(0.3),
            "labkit.evaluation.map_at_r": always(0.5),
            "labkit.evaluation.range_accuracy": blind_ranges,
            "experiments.measured": flat,
            "experiments.curves": flat,
            "labkit.losses.softmax.smallest_scale": all_classes,
        },
        edits={PARAMETERS: SHORTEST, "a3e8653d": ("auc(pixels(new),", "auc(torch.randn(len(new), 8),")},
        until="1c951e41",
    ),
    Break(
        "the limits of the push and the record's losses change places, batch-hard is batch-all, the floor is lost",
        [
            "Uniformity minus its floor",
            "Mean MAP@R, the best aligned",
            "Uniformity, exponential pushed",
            "Mean MAP@R, exponential pushed",
            "Record, faces: EER",
            "Record, fashion_mnist, L_exp: 8 to",
            "Record, fashion_mnist, cross-entropy: 8 to",
        ],
        replaces={"experiments.measured": swapped, "experiments.curves": swapped},
        edits={
            PARAMETERS: ONE_SEED,
            "3733783f": (', mining="hard")', ")"),
            "e06a1a01": ("(-2 * between).exp()", "(-2 * alignment).exp()"),
            "e06a1a04": [
                ('PUSHED, EXP, "uniformity"', 'EXP, PUSHED, "uniformity"'),
                ('PUSHED, EXP, "MAP@R"', 'EXP, PUSHED, "MAP@R"'),
            ],
        },
        until="e06a1a04",
    ),
]
