"""The exercises of lab 00, start here: right answers, cases, and the mistakes people make."""

import torch

from course.exercises import Answer, Case, Exercise, Mistake

POINTS = torch.tensor([[0.0, 3.0], [-3.0, -1.0], [3.0, 3.0], [1.0, 0.0], [-2.0, 2.5], [4.0, -1.0], [0.5, -2.0]])
LABELS = torch.tensor([1, 0, 1, 2, 0, 2, 2])
CENTERS = torch.tensor([[-2.5, 1.0], [1.5, 3.0], [2.0, -1.0]])


# --- 1: all distances at once -------------------------------------------------------------------------------------


def all_distances(a, b):
    return _differences(a, b).square().sum(dim=2).sqrt()


def _differences(a, b):
    return a[:, None, :] - b[None, :, :]


distances = Exercise(
    "all distances at once",
    all_distances,
    [
        Case("one point and two centers", POINTS[:1], POINTS[1:3]),
        Case("two points and one center", POINTS[3:5], POINTS[:1]),
        Case("as many points as centers", POINTS[:3], POINTS[3:6]),
        Case("three dimensions, a point on a center", torch.eye(3), torch.ones(2, 3).tril()),
    ],
    [
        Mistake(
            "squared distance",
            "These are the squares of the distances: the root is missing.",
            "_differences(a, b).square().sum(dim=2)",
        ),
        Mistake(
            "sum of the absolute differences",
            "These are the absolute differences, summed: a walk along the axes. Straight: square, sum, one root.",
            "_differences(a, b).abs().sum(dim=2)",
        ),
        Mistake(
            "largest difference",
            "This keeps the one coordinate that differs most; all of them count: square, sum, root.",
            "_differences(a, b).abs().amax(dim=2)",
        ),
        Mistake(
            "mean instead of sum",
            "The squares are averaged over the coordinates; the distance takes their sum.",
            "_differences(a, b).square().mean(dim=2).sqrt()",
        ),
        Mistake(
            "rows and columns swapped",
            "Row i is to hold the distances of row i of a, column j those to row j of b; yours is turned.",
            "all_distances(b, a)",
        ),
        Mistake(
            "row by row only",
            "This compares the first row with the first, the second with the second. Every row of a is to meet every "
            "row of b: give a a new axis with a[:, None, :].",
            "(a - b).square().sum(dim=1).sqrt()",
        ),
        Mistake(
            "summed over the wrong axis",
            "The differences have three axes: row of a, row of b, coordinate. Sum over the coordinates, the last axis.",
            "_differences(a, b).square().sum(dim=1).sqrt()",
        ),
    ],
)


# --- 2: the centers of the classes --------------------------------------------------------------------------------


def class_centers(embeddings, labels, num_classes):
    return torch.stack([embeddings[labels == label].mean(dim=0) for label in range(num_classes)])


def _per_class(reduce):
    """The same, with something else than the mean of a class's rows."""
    return lambda embeddings, labels, num_classes: torch.stack(
        [reduce(embeddings[labels == label]) for label in range(num_classes)]
    )


def _sums_over_all(embeddings, labels, num_classes):
    return _per_class(lambda rows: rows.sum(dim=0))(embeddings, labels, num_classes) / len(embeddings)


centers = Exercise(
    "class centers",
    class_centers,
    [
        Case("two classes of two points", POINTS[[1, 4, 0, 2]], LABELS[[1, 4, 0, 2]], 2),
        Case("three classes of different size, mixed", POINTS, LABELS, 3),
        Case("one point a class, last class first", POINTS[[3, 0, 1]], LABELS[[3, 0, 1]], 3),
    ],
    [
        Mistake(
            "mean over all",
            "This is one mean over all rows; each class has a center of its own.",
            "embeddings.mean(dim=0).expand(num_classes, -1)",
        ),
        Mistake(
            "sum instead of mean",
            "These are the sums of the classes: divide each by the number of its members.",
            _per_class(lambda rows: rows.sum(dim=0)),
        ),
        Mistake(
            "divided by the number of all rows",
            "The sum over a class is divided by the number of all rows; divide by the number of rows in the class.",
            _sums_over_all,
        ),
        Mistake(
            "divided by the number of classes",
            "The sum over a class is divided by the number of classes; divide by the number of rows in the class.",
            "_sums_over_all(embeddings, labels, num_classes) * len(embeddings) / num_classes",
        ),
        Mistake(
            "one member instead of the mean",
            "This is the first member of each class; the center is the mean of all its members.",
            _per_class(lambda rows: rows[0]),
        ),
        Mistake(
            "mean over the wrong axis",
            "The mean is to go over the rows (dim=0) and leave the coordinates; yours goes over the coordinates.",
            _per_class(lambda rows: rows.mean(dim=1)),
        ),
        Mistake(
            "median instead of mean",
            "This is the median; the center is the mean.",
            _per_class(lambda rows: rows.median(dim=0).values),
        ),
    ],
)


# --- 3: closest accuracy ------------------------------------------------------------------------------------------


def accuracy_of_nearest(points, labels, centers):
    return (all_distances(points, centers).argmin(dim=1) == labels).double().mean().item()


closest = Exercise(
    "closest accuracy",
    accuracy_of_nearest,
    [
        Case("three of four right", POINTS[:4], torch.tensor([1, 0, 1, 1]), CENTERS),
        Case("one point, wrong", POINTS[[5]], torch.tensor([0]), CENTERS),
        Case("a center far away", POINTS[:3], torch.tensor([0, 0, 0]), torch.tensor([[-2.0, 0.0], [30.0, 40.0]])),
        Case("all right", POINTS, LABELS, CENTERS),
    ],
    [
        Mistake(
            "percent",
            "This is in percent; an accuracy is a share between 0 and 1.",
            "100 * accuracy_of_nearest(points, labels, centers)",
        ),
        Mistake(
            "error instead of accuracy",
            "This is the share of wrong answers; the accuracy is the share of right ones.",
            "1 - accuracy_of_nearest(points, labels, centers)",
        ),
        Mistake(
            "farthest instead of nearest",
            "This takes the farthest center (argmax, or the sign turned); the answer is the nearest one.",
            "(all_distances(points, centers).argmax(dim=1) == labels).double().mean().item()",
        ),
        Mistake(
            "number instead of share",
            "This counts the right answers; divide by the number of points.",
            "float(len(points)) * accuracy_of_nearest(points, labels, centers)",
        ),
        Mistake(
            "largest dot product instead of smallest distance",
            "The largest dot product favors long centers; the nearest center is the one at the smallest distance.",
            "((points @ centers.T).argmax(dim=1) == labels).double().mean().item()",
        ),
        Mistake(
            "nearest point of each center",
            "This asks each center for its nearest point (dim=0); each point is to ask for its nearest center (dim=1).",
            lambda points, labels, centers: (
                (labels[all_distances(points, centers).argmin(dim=0)] == torch.arange(len(centers)))
                .double()
                .mean()
                .item()
            ),
        ),
        Mistake(
            "one answer for each point",
            "These are the single answers, right or wrong; the accuracy is their mean.",
            "all_distances(points, centers).argmin(dim=1) == labels",
        ),
    ],
)


# --- 4: what a network that says nothing gets ---------------------------------------------------------------------

collapse = Answer(
    "a network that says nothing",
    0.1,
    {
        0.0: "All ten distances are equal, but one answer is given for every picture all the same, the first of the "
        "nearest: for whom is it right?",
        0.5: "There are ten answers to choose from, not two.",
        1.0: "All pictures lie exactly on their center, but on all the other centers too.",
        0.9: "This is the share of wrong answers.",
        10.0: "An accuracy is a share between 0 and 1, not a percentage.",
        100.0: "This counts the right answers; the accuracy is their share of the 1,000 pictures.",
    },
)
