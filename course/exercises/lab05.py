"""The exercises of lab 05, center loss: right answers, cases, and the mistakes people make."""

import torch
import torch.nn.functional as F

from course.exercises import Answer, Case, Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(5)
POINTS = torch.tensor([[3.0, 4.0, -1.0], [1.0, 0.0, 0.5], [0.0, -2.0, 1.0], [2.0, 2.0, -0.3]])
LABELS = torch.tensor([3, 0, 3, 4])  # classes 1 and 2 are absent
CENTERS = torch.tensor([[0.5, 0.0, -2.0], [0.0, 1.0, 3.0], [2.0, -1.0, 0.4], [-4.0, 3.0, 0.1], [1.5, 0.7, -0.9]])
MANY, MANY_LABELS = torch.randn(9, 4, generator=GENERATOR), torch.tensor([2, 0, 2, 2, 0, 3, 2, 0, 2])  # 1, 4, 5 absent
MANY_CENTERS = torch.randn(6, 4, generator=GENERATOR)


def _squares(embeddings, labels, centers):
    return (embeddings - centers[labels]).square().sum(dim=1)


def _class_means(embeddings, labels, number):
    """The mean of the rows of each class; zero for an absent class."""
    rows = F.one_hot(labels, number).to(embeddings.dtype)
    return rows.T @ embeddings / rows.sum(dim=0).clamp(min=1)[:, None]


# --- 1: the loss -------------------------------------------------------------------------------------------------


def center_loss(embeddings, labels, centers):
    return _squares(embeddings, labels, centers).mean() / 2


def _mean_of_classes(embeddings, labels, centers):
    squares = _squares(embeddings, labels, centers)
    return torch.stack([squares[labels == j].mean() for j in labels.unique()]).mean() / 2


def _all(embeddings, centers):
    """Squared distances of all rows to all centers, (B, C)."""
    return (embeddings[:, None] - centers).square().sum(dim=2)


def _masked(embeddings, labels, centers):
    return _all(embeddings, centers) * F.one_hot(labels, len(centers))


loss = Exercise(
    "center loss",
    center_loss,
    [
        Case("four rows, two of five classes absent", POINTS, LABELS, CENTERS),
        Case("nine rows, unequal classes", MANY, MANY_LABELS, MANY_CENTERS),
        Case("a single row", POINTS[:1], LABELS[:1], CENTERS),
        Case("a row on its center", CENTERS[[3, 1]], LABELS[:2], CENTERS, gradients=False),
    ],
    [
        Mistake(
            "half forgotten",
            "The ½ is missing. It is what makes the gradient (x - c)/m; without it your λ is twice that of the paper.",
            "2 * center_loss(embeddings, labels, centers)",
        ),
        Mistake(
            "sum",
            "This is the sum over the batch: λ would then mean something else for every batch size. Take the mean.",
            "center_loss(embeddings, labels, centers) * len(labels)",
            "2 * center_loss(embeddings, labels, centers) * len(labels)",
        ),
        Mistake(
            "mean over the coordinates",
            "The squares of the coordinates are added up; the mean is over the rows of the batch only.",
            "center_loss(embeddings, labels, centers) / embeddings.shape[1]",
            "2 * center_loss(embeddings, labels, centers) / embeddings.shape[1]",
        ),
        Mistake(
            "distance not squared",
            "This is made of distances, without their squares; the loss takes the squared distance.",
            "(embeddings - centers[labels]).norm(dim=1).mean() / 2",
            "(embeddings - centers[labels]).norm(dim=1).mean()",
            "(embeddings - centers[labels]).abs().sum(dim=1).mean() / 2",
            "(embeddings - centers[labels]).abs().sum(dim=1).mean()",
        ),
        Mistake(
            "norm of the whole batch",
            "The norm of all entries is not a mean of squared distances: square, add up over each row, then take "
            "the mean.",
            "(embeddings - centers[labels]).norm() / 2",
            "(embeddings - centers[labels]).norm() / (2 * len(labels))",
            "(embeddings - centers[labels]).norm()",
        ),
        Mistake(
            "squared after the sum",
            "The coordinates' differences are added before they are squared, so that their signs cancel. Square first.",
            "(embeddings - centers[labels]).sum(dim=1).square().mean() / 2",
        ),
        Mistake(
            "mean of the classes' means",
            "Each row counts the same, and not each class: take the mean over the rows.",
            _mean_of_classes,
            "2 * _mean_of_classes(embeddings, labels, centers)",
        ),
        Mistake(
            "another number of rows",
            "The sum over the rows is divided by 2m, with m the number of rows; yours is divided by something else.",
            "_squares(embeddings, labels, centers).sum() / 2 / len(centers)",
            "_masked(embeddings, labels, centers).mean() / 2",
            "_masked(embeddings, labels, centers).mean()",
        ),
        Mistake(
            "nearest center",
            "Each row belongs to the center of its own class, centers[labels], however near another one is.",
            "_all(embeddings, centers).amin(dim=1).mean() / 2",
            "_all(embeddings, centers).amin(dim=1).mean()",
        ),
        Mistake(
            "all centers",
            "Only the own center counts. Pulling a row to all centers moves every class to the middle.",
            "_all(embeddings, centers).mean() / 2",
            "_all(embeddings, centers).mean()",
            "_all(embeddings, centers).sum(dim=1).mean() / 2",
        ),
        Mistake(
            "class means for centers",
            "The centers are given: `centers`. Yours are the means of the rows in the batch.",
            "(embeddings - _class_means(embeddings, labels, len(centers))[labels]).square().sum(dim=1).mean() / 2",
        ),
        Mistake(
            "labels not used as places",
            "A label is the row of its class in `centers`, also where some classes are absent: centers[labels].",
            "center_loss(embeddings, labels.unique(return_inverse=True)[1], centers)",
            "(embeddings - centers[: len(embeddings)]).square().sum(dim=1).mean() / 2",
            "(embeddings - centers).square().sum(dim=1).mean() / 2",
        ),
        Mistake(
            "one number for each row",
            "One number is asked for, the mean over the rows.",
            "_squares(embeddings, labels, centers) / 2",
            "_squares(embeddings, labels, centers)",
        ),
        Mistake(
            "embeddings detached",
            "The values are right, but the embeddings are cut off from the gradient, so that nothing would be pulled.",
            "center_loss(embeddings.detach(), labels, centers)",
            "center_loss(embeddings, labels, centers).item()",
        ),
    ],
    gradients=("embeddings",),
)


# --- 2: the update -----------------------------------------------------------------------------------------------


def moved(centers, embeddings, labels, rate):
    return centers - rate * _pull(centers, embeddings, labels) / (1 + _counts(centers, labels))


def _pull(centers, embeddings, labels):
    """The sum of c_j - x_i over the rows of each class, (C, D)."""
    return torch.zeros_like(centers).index_add(0, labels, centers[labels] - embeddings)


def _counts(centers, labels):
    """The number of rows of each class, (C, 1)."""
    return torch.bincount(labels, minlength=len(centers))[:, None]


def _sums(centers, embeddings, labels):
    """The sum of the rows of each class, (C, D)."""
    return torch.zeros_like(centers).index_add(0, labels, embeddings)


def _last_row_wins(centers, embeddings, labels, rate, counts):
    result = centers.clone()
    for x, j in zip(embeddings, labels.tolist(), strict=True):
        result[j] = centers[j] - rate * (centers[j] - x) / counts[j]
    return result


def _one_after_the_other(centers, embeddings, labels, rate, counts):
    result = centers.clone()
    for x, j in zip(embeddings, labels.tolist(), strict=True):
        result[j] = result[j] - rate * (result[j] - x) / counts[j]
    return result


def _by_position(centers, embeddings, labels, rate):
    result = centers.clone()
    for j in range(len(labels.unique())):
        own = embeddings[labels == j]
        result[j] -= rate * (centers[j] - own).sum(dim=0) / (1 + len(own))
    return result


def _enumerated(centers, embeddings, labels, rate):
    result = centers.clone()
    for place, j in enumerate(labels.unique()):
        own = embeddings[labels == j]
        result[place] -= rate * (centers[place] - own).sum(dim=0) / (1 + len(own))
    return result


update = Exercise(
    "update of the centers",
    moved,
    [
        Case("four rows, two of five classes absent", CENTERS, POINTS, LABELS, 0.3),
        Case("unequal classes, the last ones absent", MANY_CENTERS, MANY, MANY_LABELS, 0.8),
        Case("another rate", MANY_CENTERS, MANY, MANY_LABELS, 0.2),
    ],
    [
        Mistake(
            "division by n",
            "You divide by n_j, so that a single row moves its center by the whole rate, and a class that is not in "
            "the batch would have 0/0. The rule divides by 1 + n_j.",
            "centers - rate * _pull(centers, embeddings, labels) / _counts(centers, labels)",
            "centers - rate * _pull(centers, embeddings, labels) / _counts(centers, labels).clamp(min=1)",
        ),
        Mistake(
            "away from the embeddings",
            "The centers flee: the sum is over c_j - x_i, and it is subtracted.",
            "moved(centers, embeddings, labels, -rate)",
        ),
        Mistake(
            "plain gradient",
            "You divide by one number for all classes, as the gradient of the mean does: a rare class then hardly "
            "moves. Each class has its own n_j.",
            "centers - rate * _pull(centers, embeddings, labels) / len(labels)",
            "centers - rate * _pull(centers, embeddings, labels) / (1 + len(labels))",
            "centers - rate * _pull(centers, embeddings, labels) / len(centers)",
        ),
        Mistake(
            "sum without division",
            "Without 1 + n_j a class with many rows in the batch jumps past its mean.",
            "centers - rate * _pull(centers, embeddings, labels)",
        ),
        Mistake(
            "rate wrong",
            "The sum is multiplied by `rate`, once; yours by something else: 1, a fixed number, the square, 1 - rate.",
            "moved(centers, embeddings, labels, 1.0)",
            "moved(centers, embeddings, labels, 0.5)",
            "moved(centers, embeddings, labels, rate**2)",
            "moved(centers, embeddings, labels, 1 - rate)",
            "centers - (1 - rate) * _pull(centers, embeddings, labels) / _counts(centers, labels).clamp(min=1)",
        ),
        Mistake(
            "repeated index",
            "Of several rows of a class only the last one counts: `centers[labels] -= ...` writes one over the other.",
            "_last_row_wins(centers, embeddings, labels, rate, 1 + _counts(centers, labels))",
            "_last_row_wins(centers, embeddings, labels, rate, torch.ones(len(centers)))",
            "_last_row_wins(centers, embeddings, labels, rate, torch.full((len(centers),), 2.0))",
        ),
        Mistake(
            "one row after the other",
            "Each row pulls a center that the rows before it have moved already. All pull at the center as it was.",
            "_one_after_the_other(centers, embeddings, labels, rate, torch.full((len(centers),), 2.0))",
            "_one_after_the_other(centers, embeddings, labels, rate, 1 + _counts(centers, labels))",
            "_one_after_the_other(centers, embeddings, labels, rate, torch.ones(len(centers)))",
        ),
        Mistake(
            "the change alone",
            "This is by how much the centers move; the new centers are asked for.",
            "moved(centers, embeddings, labels, rate) - centers",
            "centers - moved(centers, embeddings, labels, rate)",
        ),
        Mistake(
            "a mean drawn toward zero",
            "The sum over c_j - x_i has n_j times c_j in it: with c_j once only, the center of an absent class is "
            "drawn toward zero.",
            "(1 - rate) * centers + rate * _sums(centers, embeddings, labels) / (1 + _counts(centers, labels))",
            "centers - rate * (centers - _sums(centers, embeddings, labels)) / (1 + _counts(centers, labels))",
        ),
        Mistake(
            "every row pulls every center",
            "A center is pulled by the rows of its own class only.",
            "centers - rate * (centers[:, None] - embeddings).sum(dim=1) / (1 + _counts(centers, labels))",
            "centers - rate * (centers[:, None] - embeddings).sum(dim=1) / (1 + len(embeddings))",
        ),
        Mistake(
            "classes counted by position",
            "Classes may be absent from the batch: go by the label itself, not by its place among those that occur.",
            _by_position,
            _enumerated,
        ),
        Mistake(
            "as many counts as labels occur",
            "`bincount` and `one_hot` stop at the largest label that occurs, `unique` leaves absent classes out: all "
            "len(centers) classes need a count.",
            "centers - rate * _pull(centers, embeddings, labels) / (1 + torch.bincount(labels))[:, None]",
            "centers - rate * _pull(centers, embeddings, labels) / (1 + labels.unique(return_counts=True)[1])[:, None]",
            "centers - rate * (F.one_hot(labels).float().T @ (centers[labels] - embeddings)) "
            "/ (1 + F.one_hot(labels).sum(dim=0))[:, None]",
        ),
        Mistake(
            "brackets missing",
            "`a / 1 + n` divides by 1 and adds n: write `a / (1 + n)`.",
            "centers - rate * _pull(centers, embeddings, labels) / 1 + _counts(centers, labels)",
            "centers - (rate * _pull(centers, embeddings, labels) / 1 + _counts(centers, labels))",
        ),
    ],
    dtype=True,
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


def _parts(embeddings, labels, classes=None):
    """For each class: share, mean, scatter around that mean."""
    groups = [embeddings[labels == j] for j in (labels.unique() if classes is None else classes)]
    shares = embeddings.new_tensor([len(own) / len(labels) for own in groups])
    within = torch.stack([(own - own.mean(dim=0)).square().sum(dim=1).mean() for own in groups])
    return shares, torch.stack([own.mean(dim=0) for own in groups]), within


def _unweighted(embeddings, labels, middle=None, reduce=torch.mean):
    _, means, within = _parts(embeddings, labels)
    middle = means.mean(dim=0) if middle is None else middle
    return reduce(within), reduce((means - middle).square().sum(dim=1))


def _around(embeddings, labels, middle):
    """Within as it should be, between around another middle."""
    shares, means, _ = _parts(embeddings, labels)
    return scatters(embeddings, labels)[0], (shares * (means - middle).square().sum(dim=1)).sum()


def _of_classes(embeddings, labels, classes):
    """The sums over these classes, which need not occur."""
    shares, means, within = _parts(embeddings, labels, classes)
    return (shares * within).sum(), (shares * (means - embeddings.mean(dim=0)).square().sum(dim=1)).sum()


def _each_coordinate(embeddings, labels):
    """The two scatters of each coordinate, (2, D)."""
    return torch.stack([torch.stack(scatters(column[:, None], labels)) for column in embeddings.T], dim=1)


def _total(embeddings):
    return (embeddings - embeddings.mean(dim=0)).square().sum(dim=1).mean()


def _unbiased(embeddings, labels):
    groups = [embeddings[labels == j] for j in labels.unique()]
    within = sum(len(own) / len(labels) * own.var(dim=0).sum() for own in groups)
    return within, scatters(embeddings, labels)[1]


def _distances(embeddings, labels):
    shares, means, _ = _parts(embeddings, labels)
    own = means[labels.unique(return_inverse=True)[1]]
    between = (shares * (means - embeddings.mean(dim=0)).norm(dim=1)).sum()
    return (embeddings - own).norm(dim=1).mean(), between


def _last_class(embeddings, labels):
    shares, means, within = _parts(embeddings, labels)
    return shares[-1] * within[-1], shares[-1] * (means[-1] - embeddings.mean(dim=0)).square().sum()


def _shares_squared(embeddings, labels):
    shares, means, within = _parts(embeddings, labels)
    distances = (means - embeddings.mean(dim=0)).square().sum(dim=1)
    return (shares**2 * within).sum(), (shares**2 * distances).sum()


scatter = Exercise(
    "scatter within and between classes",
    scatters,
    [
        Case("four rows, three of the classes 0 to 4", POINTS, LABELS),
        Case("nine rows, labels with a gap", MANY, MANY_LABELS),
        Case("labels from 2 on", MANY + 1, MANY_LABELS + 2),
        Case("pairs of rows", MANY[:6, :3], torch.tensor([7, 7, 2, 2, 2, 4])),
    ],
    [
        Mistake(
            "swapped",
            "The two are the wrong way round, as in Zhu 2019: *within* is around the class means.",
            "scatters(embeddings, labels)[::-1]",
        ),
        Mistake(
            "classes not weighted",
            "Each class counts by its share of the rows; otherwise the two do not add up to the whole scatter.",
            "_unweighted(embeddings, labels)",
            "_unweighted(embeddings, labels, embeddings.mean(dim=0))",
            "_unweighted(embeddings, labels, reduce=torch.sum)",
            "_unweighted(embeddings, labels, embeddings.mean(dim=0), torch.sum)",
            "(_unweighted(embeddings, labels)[0], scatters(embeddings, labels)[1])",
            "(scatters(embeddings, labels)[0], _unweighted(embeddings, labels)[1])",
            "(scatters(embeddings, labels)[0], _unweighted(embeddings, labels, embeddings.mean(dim=0))[1])",
        ),
        Mistake(
            "middle of the class means",
            "The middle is the mean of all rows. That of the class means is another one where classes differ in size.",
            "_around(embeddings, labels, _parts(embeddings, labels)[1].mean(dim=0))",
        ),
        Mistake(
            "middle at the origin",
            "The class means are measured from the mean of all rows, and not from 0.",
            "_around(embeddings, labels, torch.zeros(()))",
        ),
        Mistake(
            "the whole for between",
            "The second is the scatter of all rows, which is within + between.",
            "(scatters(embeddings, labels)[0], _total(embeddings))",
        ),
        Mistake(
            "the whole for within",
            "The first is the scatter of all rows around their mean: *within* is around the mean of each class.",
            "(_total(embeddings), scatters(embeddings, labels)[1])",
        ),
        Mistake(
            "sums",
            "At least one of these is a sum over the rows; both scatters are means.",
            "tuple((len(labels) * s for s in scatters(embeddings, labels)))",
            "(len(labels) * scatters(embeddings, labels)[0], scatters(embeddings, labels)[1])",
            "(scatters(embeddings, labels)[0], len(labels) * scatters(embeddings, labels)[1])",
        ),
        Mistake(
            "mean over the coordinates",
            "The squares of the coordinates are added up, ‖x - μ‖²; the mean is over the rows only.",
            "tuple((s / embeddings.shape[1] for s in scatters(embeddings, labels)))",
            "(scatters(embeddings, labels)[0] / embeddings.shape[1], scatters(embeddings, labels)[1])",
            "(scatters(embeddings, labels)[0], scatters(embeddings, labels)[1] / embeddings.shape[1])",
        ),
        Mistake(
            "one number for each coordinate",
            "The squares of the coordinates are added up, ‖x - μ‖², so that one number is left.",
            "tuple(_each_coordinate(embeddings, labels))",
        ),
        Mistake(
            "division by n - 1",
            "`var` divides by n - 1 unless you say `correction=0`: NaN for a class with one row, and the two do not "
            "add up to the whole scatter.",
            _unbiased,
        ),
        Mistake(
            "no squares",
            "These are distances or roots; the scatter is the mean *squared* distance.",
            "tuple((s.sqrt() for s in scatters(embeddings, labels)))",
            _distances,
        ),
        Mistake(
            "share counted twice",
            "The mean over all rows is Σ share · mean of the class: each share counts once.",
            _shares_squared,
        ),
        Mistake(
            "only the last class",
            "Each class overwrites the one before: add them up.",
            _last_class,
        ),
        Mistake(
            "the ratio",
            "This is one of the ratios, S_W/S_B or S_B/S_W; the two numbers themselves are asked for.",
            "scatters(embeddings, labels)[0] / scatters(embeddings, labels)[1]",
            "scatters(embeddings, labels)[1] / scatters(embeddings, labels)[0]",
        ),
        Mistake(
            "labels taken for 0, 1, 2, ...",
            "Not every number up to the largest label is a class, and the mean of no rows is NaN: go through the "
            "labels that occur.",
            "_of_classes(embeddings, labels, range(int(labels.max()) + 1))",
            "_of_classes(embeddings, labels, range(10))",
            "_of_classes(embeddings, labels, range(len(labels.unique())))",
        ),
    ],
)


# --- 4: the radius -----------------------------------------------------------------------------------------------


def radius_loss(embeddings, labels, centers, radius):
    distance = _distance(embeddings, labels, centers)
    return (distance - radius).clamp(min=0).square().mean() / 2


def _distance(embeddings, labels, centers):
    return (_squares(embeddings, labels, centers) + 1e-12).sqrt()


def _active(distance, radius):
    """The hinge's rows alone: NaN if there is none."""
    return (distance[distance > radius] - radius).square().mean() / 2


def _root(embeddings, labels, centers):
    return _squares(embeddings, labels, centers).sqrt()


ON_CENTER = torch.cat([CENTERS[[3, 0]], POINTS])
ON_CENTER_LABELS = torch.tensor([3, 0, 3, 0, 3, 4])

radius = Exercise(
    "center loss with a radius",
    radius_loss,
    [
        Case("a small radius", POINTS, LABELS, CENTERS, 0.3),
        Case("some rows inside", POINTS, LABELS, CENTERS, 2.7),
        Case("nine rows", MANY, MANY_LABELS, MANY_CENTERS, 1.8),
        Case("two rows on their centers", ON_CENTER, ON_CENTER_LABELS, CENTERS, 0.7),
        Case("all rows inside", MANY, MANY_LABELS, MANY_CENTERS, 20.0),
    ],
    [
        Mistake(
            "square against radius",
            "You compare a squared distance with a radius, as Urtans 2020 prints it. A radius is a distance.",
            "(_squares(embeddings, labels, centers) - radius).clamp(min=0).mean() / 2",
            "(_squares(embeddings, labels, centers) - radius).clamp(min=0).mean()",
            "(_squares(embeddings, labels, centers) - radius).clamp(min=0).square().mean() / 2",
        ),
        Mistake(
            "difference of the squares",
            "[d² - r²]₊ is not [d - r]₊²: take the root first, then the hinge, then the square.",
            "(_squares(embeddings, labels, centers) - radius**2).clamp(min=0).mean() / 2",
            "(_squares(embeddings, labels, centers) - radius**2).clamp(min=0).square().mean() / 2",
        ),
        Mistake(
            "no hinge",
            "Without the hinge, rows inside the ball are pushed outwards, onto its surface.",
            "(_distance(embeddings, labels, centers) - radius).square().mean() / 2",
        ),
        Mistake(
            "hinge not squared",
            "Square what is left of the hinge: then the force starts from 0 at the radius.",
            "(_distance(embeddings, labels, centers) - radius).clamp(min=0).mean() / 2",
            "(_distance(embeddings, labels, centers) - radius).clamp(min=0).mean()",
        ),
        Mistake(
            "mean over the active rows",
            "The mean is over all rows of the batch, also those inside the ball.",
            "_active(_distance(embeddings, labels, centers), radius)",
            lambda embeddings, labels, centers, radius: (
                radius_loss(embeddings, labels, centers, radius)
                * len(labels)
                / (_squares(embeddings, labels, centers) > radius**2).sum().clamp(min=1)
            ),
        ),
        Mistake(
            "half forgotten",
            "The ½ is missing.",
            "2 * radius_loss(embeddings, labels, centers, radius)",
        ),
        Mistake(
            "sum",
            "This is a sum over the rows; the loss is their mean.",
            "radius_loss(embeddings, labels, centers, radius) * len(labels)",
            "2 * radius_loss(embeddings, labels, centers, radius) * len(labels)",
        ),
        Mistake(
            "radius not used",
            "The radius does not come in as it is given: yours is another one, 0, 1, a half or the double of it.",
            "radius_loss(embeddings, labels, centers, 0)",
            "radius_loss(embeddings, labels, centers, 1)",
            "radius_loss(embeddings, labels, centers, radius / 2)",
            "radius_loss(embeddings, labels, centers, 2 * radius)",
        ),
        Mistake(
            "inside and outside exchanged",
            "This costs rows that are inside the ball; those outside should be pulled in: distance minus radius.",
            "(radius - _distance(embeddings, labels, centers)).clamp(min=0).square().mean() / 2",
        ),
        Mistake(
            "radius added",
            "The radius is subtracted from the distance.",
            "(_distance(embeddings, labels, centers) + radius).square().mean() / 2",
        ),
        Mistake(
            "radius not subtracted",
            "The whole distance is squared; only what reaches beyond the radius should be.",
            "_distance(embeddings, labels, centers).clamp(min=radius).square().mean() / 2",
            "(_squares(embeddings, labels, centers) * (_distance(embeddings, labels, centers) > radius)).mean() / 2",
        ),
        Mistake(
            "hinge of the mean distance",
            "Each row has a hinge of its own; a mean distance lets rows inside make up for rows outside.",
            "(_distance(embeddings, labels, centers).mean() - radius).clamp(min=0).square() / 2",
        ),
        Mistake(
            "a hinge for each coordinate",
            "That is a cube around the center. The radius limits the distance, not each coordinate.",
            "((embeddings - centers[labels]).abs() - radius).clamp(min=0).square().sum(dim=1).mean() / 2",
        ),
        Mistake(
            "distance detached",
            "The values are right, but the distance is cut off from the gradient: the rows would not be pulled.",
            "radius_loss(embeddings.detach(), labels, centers, radius)",
        ),
        Mistake(
            "infinite slope at the center",
            "The values are right; but the derivative of a root at 0 is infinite, and times 0 that is NaN: one row on "
            "its center spoils its gradient. Add 1e-12 under the root.",
            "(_root(embeddings, labels, centers) - radius).clamp(min=0).square().mean() / 2",
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
        0.75: "That would be one row in the batch; there are three.",
        1.375: "The center moves toward the rows, not away from them: subtract.",
        0.390625: "That is what two updates leave.",
        62.5: "A distance is asked for, where it was 1 before; this is percent.",
        0.63: "This is rounded: give all digits.",
        0.62: "This is rounded: give all digits.",
        0.6: "Rounded? Give all digits: the sum has three terms and is divided by 4.",
        1.875: "That is the distance of three rows together; asked for is that of the center from their one place.",
    },
)
