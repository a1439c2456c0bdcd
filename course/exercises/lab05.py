"""The exercises of lab 05, center loss: right answers, cases, and the mistakes people make."""

import torch

from course.exercises import Answer, Case, Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(5)
POINTS = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
LABELS = torch.tensor([0, 1, 1, 2])
CENTERS = torch.tensor([[0.5, 0.0], [0.0, 1.0], [2.0, 1.0], [-4.0, 3.0]])
MANY, MANY_LABELS = torch.randn(9, 3, generator=GENERATOR), torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2])
MANY_CENTERS = torch.randn(3, 3, generator=GENERATOR)


# --- 1: the loss -------------------------------------------------------------------------------------------------


def center_loss(embeddings, labels, centers):
    return (embeddings - centers[labels]).square().sum(dim=1).mean() / 2


def _nearest(embeddings, labels, centers):
    return (embeddings[:, None] - centers).square().sum(dim=2).amin(dim=1).mean() / 2


loss = Exercise(
    "center loss",
    center_loss,
    [Case("four points", POINTS, LABELS, CENTERS), Case("nine points", MANY, MANY_LABELS, MANY_CENTERS)],
    [
        Mistake(
            "half forgotten",
            "The ½ is missing. It is what makes the gradient x - c; without it your λ is twice that of the paper.",
            "2 * center_loss(embeddings, labels, centers)",
        ),
        Mistake(
            "sum",
            "This is the sum over the batch: λ would then mean something else for every batch size. Take the mean.",
            "center_loss(embeddings, labels, centers) * len(labels)",
        ),
        Mistake(
            "mean over the coordinates",
            "The squares of the coordinates are added up; the mean is over the rows of the batch only.",
            "center_loss(embeddings, labels, centers) / embeddings.shape[1]",
        ),
        Mistake(
            "distance not squared",
            "This is half the distance; the loss takes its square.",
            "(embeddings - centers[labels]).norm(dim=1).mean() / 2",
        ),
        Mistake(
            "nearest center",
            "Each row belongs to the center of its own class, centers[labels], however near another one is.",
            _nearest,
        ),
        Mistake(
            "all centers",
            "Only the own center counts. Pulling a row to all centers moves every class to the middle.",
            "(embeddings[:, None] - centers).square().sum(dim=2).mean() / 2",
        ),
    ],
    gradients=("embeddings",),
)


# --- 2: the update -----------------------------------------------------------------------------------------------


def moved(centers, embeddings, labels, rate=0.5, extra=1.0):
    pull = torch.zeros_like(centers).index_add(0, labels, centers[labels] - embeddings)
    counts = torch.bincount(labels, minlength=len(centers)).to(centers.dtype)
    return centers - rate * pull / (extra + counts)[:, None]


def _last_row_wins(centers, embeddings, labels, rate=0.5):
    counts = torch.bincount(labels, minlength=len(centers)).to(centers.dtype)
    result = centers.clone()
    for x, j in zip(embeddings, labels.tolist(), strict=True):
        result[j] = centers[j] - rate * (centers[j] - x) / (1 + counts[j])
    return result


update = Exercise(
    "update of the centers",
    moved,
    [
        Case("one class is absent", CENTERS, POINTS, LABELS, 0.5),
        Case("unequal classes", MANY_CENTERS, MANY, MANY_LABELS, 0.5),
        Case("another rate", MANY_CENTERS, MANY, MANY_LABELS, 0.2),
    ],
    [
        Mistake(
            "division by n",
            "You divide by n_j. A class that is not in the batch then has 0/0 = NaN; the 1 in 1 + n_j prevents it.",
            lambda c, x, y, rate: moved(c, x, y, rate, extra=0.0),
        ),
        Mistake(
            "away from the embeddings",
            "The centers flee: the sum is over c_j - x_i, and it is subtracted.",
            lambda c, x, y, rate: moved(c, x, y, -rate),
        ),
        Mistake(
            "plain gradient",
            "You divide by the batch size. That is the gradient of the mean: a rare class then hardly moves.",
            lambda c, x, y, rate: c - rate * torch.zeros_like(c).index_add(0, y, c[y] - x) / len(y),
        ),
        Mistake(
            "sum without division",
            "Without 1 + n_j a class with many rows in the batch jumps past its mean.",
            lambda c, x, y, rate: c - rate * torch.zeros_like(c).index_add(0, y, c[y] - x),
        ),
        Mistake(
            "rate forgotten",
            "The rate is missing: the centers would follow every batch at full speed.",
            lambda c, x, y, rate: moved(c, x, y, 1.0),
        ),
        Mistake(
            "repeated index",
            "centers[labels] -= ... writes one row of a class over the other: only the last counts. Use index_add.",
            _last_row_wins,
        ),
    ],
)


# --- 3: scatter --------------------------------------------------------------------------------------------------


def scatters(embeddings, labels):
    mean = embeddings.mean(dim=0)
    within = between = embeddings.new_zeros(())
    for j in labels.unique():
        own = embeddings[labels == j]
        share = len(own) / len(labels)
        within = within + share * (own - own.mean(dim=0)).square().sum(dim=1).mean()
        between = between + share * (own.mean(dim=0) - mean).square().sum()
    return within, between


def _unweighted(embeddings, labels):
    groups = [embeddings[labels == j] for j in labels.unique()]
    means = torch.stack([own.mean(dim=0) for own in groups])
    within = torch.stack([(own - own.mean(dim=0)).square().sum(dim=1).mean() for own in groups]).mean()
    return within, (means - means.mean(dim=0)).square().sum(dim=1).mean()


scatter = Exercise(
    "scatter within and between classes",
    scatters,
    [Case("four points", POINTS, LABELS), Case("nine points", MANY, MANY_LABELS)],
    [
        Mistake(
            "swapped",
            "The two are the wrong way round, as in paper 003: *within* is around the class means.",
            "scatters(embeddings, labels)[::-1]",
        ),
        Mistake(
            "classes not weighted",
            "Each class counts by its share of the rows; otherwise the two do not add up to the whole scatter.",
            _unweighted,
        ),
        Mistake(
            "the whole for between",
            "The second is the scatter of all rows, which is within + between.",
            "(scatters(embeddings, labels)[0], (embeddings - embeddings.mean(dim=0)).square().sum(dim=1).mean())",
        ),
        Mistake(
            "sums",
            "These are sums over the rows; the scatter is a mean.",
            "tuple((len(labels) * s for s in scatters(embeddings, labels)))",
        ),
    ],
)


# --- 4: the radius -----------------------------------------------------------------------------------------------


def radius_loss(embeddings, labels, centers, radius):
    distance = ((embeddings - centers[labels]).square().sum(dim=1) + 1e-12).sqrt()
    return (distance - radius).clamp(min=0).square().mean() / 2


def _squares(embeddings, labels, centers):
    return (embeddings - centers[labels]).square().sum(dim=1)


radius = Exercise(
    "center loss with a radius",
    radius_loss,
    [
        Case("radius one half", POINTS, LABELS, CENTERS, 0.5),
        Case("radius two", POINTS, LABELS, CENTERS, 2.0),
        Case("radius one", MANY, MANY_LABELS, MANY_CENTERS, 1.0),
    ],
    [
        Mistake(
            "square against radius",
            "You compare a squared distance with a radius, as paper 000 prints it. A radius is a distance.",
            "(_squares(embeddings, labels, centers) - radius).clamp(min=0).mean() / 2",
        ),
        Mistake(
            "no hinge",
            "Without the hinge, rows inside the ball are pushed outwards, onto its surface.",
            "((_squares(embeddings, labels, centers) + 1e-12).sqrt() - radius).square().mean() / 2",
        ),
        Mistake(
            "hinge not squared",
            "Square what is left of the hinge: then the force starts from 0 at the radius.",
            "((_squares(embeddings, labels, centers) + 1e-12).sqrt() - radius).clamp(min=0).mean() / 2",
        ),
        Mistake(
            "mean over the active rows",
            "The mean is over all rows of the batch, also those inside the ball.",
            lambda x, y, c, r: (
                radius_loss(x, y, c, r) * len(y) / (_squares(x, y, c) > r**2).sum().clamp(min=1).to(x.dtype)
            ),
        ),
        Mistake(
            "half forgotten",
            "The ½ is missing.",
            "2 * radius_loss(embeddings, labels, centers, radius)",
        ),
    ],
    gradients=("embeddings",),
)


# --- 5: by hand --------------------------------------------------------------------------------------------------

left = Answer(
    "distance that is left",
    0.625,
    {
        0.375: "This is the part that the center travels; what is left was asked for.",
        0.5: "You divided by n_j = 3; the rule divides by 1 + n_j = 4.",
        0.25: "That would be rate 1. The rate is ½.",
        -0.5: "You did not divide by 1 + n_j; the center would jump across.",
        0.875: "The sum has three terms, one for each row of the class.",
    },
)
