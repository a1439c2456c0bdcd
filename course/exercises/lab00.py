"""The exercises of lab 00, start here: right answers, cases, and the mistakes people make."""

import torch

from course.exercises import Answer, Case, Exercise, Mistake

POINTS = torch.tensor([[0.0, 3.0], [-3.0, -1.0], [3.0, 3.0], [1.0, 0.0], [-2.0, 2.5], [4.0, -1.0], [0.5, -2.0]])
LABELS = torch.tensor([1, 0, 1, 2, 0, 2, 2])
CENTERS = torch.tensor([[-2.5, 1.0], [1.5, 3.0], [2.0, -1.0]])
CLOUD = torch.rand(18, 3, generator=torch.Generator().manual_seed(0)) - 0.5


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
        Case("four dimensions, a point on a center", torch.eye(3, 4), torch.ones(2, 4).tril()),
        Case("the distances of points to themselves are 0", CLOUD, CLOUD),
    ],
    [
        Mistake(
            "squared distance",
            "These are the squares of the distances: the root is missing.",
            "_differences(a, b).square().sum(dim=2)",
        ),
        Mistake(
            "summed before squaring",
            "The differences are summed as they are, so positive and negative ones cancel: square, sum, root.",
            "_differences(a, b).sum(dim=2)",
            "_differences(a, b).sum(dim=2).abs()",
            "_differences(a, b).sum(dim=2) ** 2",
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
            "_differences(a, b).square().mean(dim=2)",
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
            "(a - b).square().sum(dim=1)",
            "(a - b).square().sum().sqrt()",
        ),
        Mistake(
            "summed over the wrong axis",
            "The differences have three axes: row of a, row of b, coordinate. Sum over the coordinates, the last axis.",
            "_differences(a, b).square().sum(dim=1).sqrt()",
            "_differences(a, b).square().sum(dim=0).sqrt()",
        ),
        Mistake(
            "not summed over the coordinates",
            "One axis too many: the squares of the coordinates are to be summed, over the last axis, before the root.",
            "_differences(a, b)",
            "_differences(a, b).abs()",
            "_differences(a, b).square()",
        ),
        Mistake(
            "dot product",
            "These are dot products, large where points lie in the same direction; a distance is small there.",
            "a @ b.T",
        ),
        Mistake(
            "cosine",
            "Cosines compare directions only; a distance knows how far out the points lie as well.",
            "F.normalize(a) @ F.normalize(b).T",
            "1 - F.normalize(a) @ F.normalize(b).T",
        ),
        Mistake(
            "diagonal set to zero",
            "Entry (i, i) is the distance of row i of a to row i of b, two different points: it is not zero by itself.",
            "all_distances(a, b).fill_diagonal_(0)",
        ),
        Mistake(
            "half of the table",
            "Only one side of the diagonal is filled. Entries (i, j) and (j, i) are distances of different pairs.",
            "all_distances(a, b).triu()",
            "all_distances(a, b).tril()",
            "all_distances(a, b).triu(1)",
        ),
        Mistake(
            "root of a negative number",
            "|a|² + |b|² - 2 a·b is right on paper. In floating point it can be a little below 0 where two points "
            "coincide, and its root is NaN: bring it to 0 before the root, or subtract the points first.",
            "(a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.T).sqrt()",
            "(a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)[None] - 2 * (a @ b.T)).sqrt()",
            "(a.square().sum(dim=1)[:, None] - 2 * a @ b.T + b.square().sum(dim=1)).sqrt()",
            "((a**2).sum(dim=1, keepdim=True) + (b**2).sum(dim=1) - 2 * torch.mm(a, b.T)) ** 0.5",
        ),
    ],
    tolerance=1e-3,  # the expansion |a|² + |b|² - 2 a·b, cut off at 0, is right to about this
)


# --- 2: the centers of the classes --------------------------------------------------------------------------------


def class_centers(embeddings, labels, num_classes):
    return _per_class(embeddings, labels, num_classes, lambda rows: rows.mean(dim=0))


def _per_class(embeddings, labels, num_classes, reduce):
    """Something of each class's rows, class after class."""
    return torch.stack([reduce(embeddings[labels == label]) for label in range(num_classes)])


def _sums(embeddings, labels, num_classes):
    return _per_class(embeddings, labels, num_classes, lambda rows: rows.sum(dim=0))


def _by_appearance(embeddings, labels, num_classes):
    return torch.stack([embeddings[labels == label].mean(dim=0) for label in dict.fromkeys(labels.tolist())])


centers = Exercise(
    "class centers",
    class_centers,
    [
        Case("two classes of two points", POINTS[[1, 4, 0, 2]], LABELS[[1, 4, 0, 2]], 2),
        Case("three classes of different size, mixed", POINTS, LABELS, 3),
        Case("one point of each class, last class first", POINTS[[3, 0, 1]], LABELS[[3, 0, 1]], 3),
        Case(
            "four coordinates",
            torch.cat([CLOUD[:9], CLOUD[9:, :1]], dim=1),
            torch.tensor([1, 0, 0, 1, 1, 0, 1, 1, 1]),
            2,
        ),
    ],
    [
        Mistake(
            "mean over all",
            "This is one mean over all rows; each class has a center of its own.",
            "embeddings.mean(dim=0).expand(num_classes, -1)",
            "embeddings.mean(dim=0)",
            "embeddings.mean(dim=0, keepdim=True)",
            "embeddings.mean()",
        ),
        Mistake(
            "mean without dim",
            "A mean without `dim` is one number for all coordinates together; `dim=0` keeps one for each coordinate.",
            "_per_class(embeddings, labels, num_classes, lambda rows: rows.mean())",
            "_per_class(embeddings, labels, num_classes, lambda rows: rows.mean()).expand(-1, 1)",
            "_per_class(embeddings, labels, num_classes, lambda rows: rows.mean().expand(embeddings.shape[1]))",
        ),
        Mistake(
            "sum instead of mean",
            "These are the sums of the classes: divide each by the number of its members.",
            "_sums(embeddings, labels, num_classes)",
        ),
        Mistake(
            "divided by the number of all rows",
            "The sum over a class is divided by the number of all rows; divide by the number of rows in the class.",
            "_sums(embeddings, labels, num_classes) / len(embeddings)",
        ),
        Mistake(
            "divided by the number of classes",
            "The sum over a class is divided by the number of classes; divide by the number of rows in the class.",
            "_sums(embeddings, labels, num_classes) / num_classes",
        ),
        Mistake(
            "equal sizes assumed",
            "The sum over a class is divided by the number of rows that it would have if all classes had the same.",
            "_sums(embeddings, labels, num_classes) * num_classes / len(embeddings)",
            "_sums(embeddings, labels, num_classes) / (len(embeddings) // num_classes)",
            "embeddings[labels.argsort(stable=True)].reshape(num_classes, -1, embeddings.shape[1]).mean(dim=1)",
        ),
        Mistake(
            "divided by one too few or too many",
            "The sum over a class is divided by the number of its rows, not by one less or one more.",
            "_per_class(embeddings, labels, num_classes, lambda rows: rows.sum(dim=0) / (len(rows) - 1))",
            "_per_class(embeddings, labels, num_classes, lambda rows: rows.sum(dim=0) / (len(rows) + 1))",
        ),
        Mistake(
            "one member instead of the mean",
            "This is a single member of each class; the center is the mean of all its members.",
            "_per_class(embeddings, labels, num_classes, lambda rows: rows[0])",
            "_per_class(embeddings, labels, num_classes, lambda rows: rows[-1])",
        ),
        Mistake(
            "mean over the wrong axis",
            "The mean is to go over the rows (dim=0) and leave the coordinates; yours goes over the coordinates.",
            "_per_class(embeddings, labels, num_classes, lambda rows: rows.mean(dim=1))",
            "_per_class(embeddings, labels, num_classes, lambda rows: rows.mean(dim=1)[: embeddings.shape[1]])",
            "_per_class(embeddings, labels, num_classes, lambda rows: rows.mean(dim=1)[:1])",
        ),
        Mistake(
            "median instead of mean",
            "This is the median; the center is the mean.",
            "_per_class(embeddings, labels, num_classes, lambda rows: rows.median(dim=0).values)",
        ),
        Mistake(
            "classes in order of appearance",
            "The first row is to be the center of class 0, the second that of class 1, and so on; yours come in the "
            "order in which the labels appear.",
            _by_appearance,
        ),
        Mistake(
            "rows of the classes' numbers",
            "A label picks a row of `embeddings` by its number here. Which rows *have* it? `labels == label` says.",
            "embeddings[:num_classes]",
            "torch.stack([embeddings[labels[k]] for k in range(num_classes)])",
            "embeddings[labels][:num_classes]",
            "embeddings[labels]",
        ),
        Mistake(
            "a class left out",
            "Labels go from 0 to num_classes - 1, which is `range(num_classes)`; yours starts or ends elsewhere.",
            "torch.stack([embeddings[labels == k].mean(dim=0) for k in range(1, num_classes + 1)])",
            "torch.stack([embeddings[labels == k].mean(dim=0) for k in range(num_classes - 1)])",
            "torch.stack([embeddings[labels == k].mean(dim=0) for k in range(1, num_classes)])",
            "torch.stack([embeddings[labels == k].mean(dim=0) for k in range(num_classes + 1)])",
        ),
        Mistake(
            "made length 1",
            "The centers are brought to length 1; the mean is asked for as it is.",
            "F.normalize(class_centers(embeddings, labels, num_classes))",
        ),
    ],
)


# --- 3: closest accuracy ------------------------------------------------------------------------------------------


def accuracy_of_nearest(points, labels, centers):
    return _share(all_distances(points, centers).argmin(dim=1) == labels)


def _share(mask):
    return mask.double().mean().item()


def _of_smallest(table, labels):
    return _share(table.argmin(dim=1) == labels)


SEVEN = torch.tensor([[1.8, 1.4], [3.3, -3.6], [-3.2, -0.9], [-0.4, 1.7], [-3.1, -2.6], [3.8, -0.7], [-3.7, 3.7]])
AROUND = torch.tensor([[1.0, -3.2], [-2.9, -1.0], [0.9, 0.3], [1.9, 3.0]])

closest = Exercise(
    "closest accuracy",
    accuracy_of_nearest,
    [
        Case("one point, wrong", POINTS[[5]], torch.tensor([0]), CENTERS),
        Case("three of four right", POINTS[:4], torch.tensor([1, 0, 1, 1]), CENTERS),
        Case("a center far away", POINTS[:3], torch.tensor([0, 0, 0]), torch.tensor([[-2.0, 0.0], [30.0, 40.0]])),
        Case("five of seven right", SEVEN, torch.tensor([2, 0, 3, 3, 1, 2, 1]), AROUND),
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
            "number instead of share",
            "This counts the right answers; divide by the number of points.",
            "len(points) * accuracy_of_nearest(points, labels, centers)",
        ),
        Mistake(
            "divided by the number of centers",
            "The right answers are divided by the number of centers; divide by the number of points.",
            "len(points) * accuracy_of_nearest(points, labels, centers) / len(centers)",
        ),
        Mistake(
            "rounded",
            "The share is rounded: return it as it is.",
            "round(accuracy_of_nearest(points, labels, centers))",
            "round(accuracy_of_nearest(points, labels, centers), 1)",
            "round(accuracy_of_nearest(points, labels, centers), 2)",
            "round(accuracy_of_nearest(points, labels, centers), 3)",
            "int(accuracy_of_nearest(points, labels, centers))",
        ),
        Mistake(
            "farthest instead of nearest",
            "This takes the farthest center (argmax, or the sign turned); the answer is the nearest one.",
            "_of_smallest(-all_distances(points, centers), labels)",
        ),
        Mistake(
            "largest dot product instead of smallest distance",
            "The largest dot product favors long centers; the nearest center is the one at the smallest distance.",
            "_of_smallest(-points @ centers.T, labels)",
        ),
        Mistake(
            "largest cosine instead of smallest distance",
            "The cosine compares directions only; the nearest center is the one at the smallest distance.",
            "_of_smallest(-F.normalize(points) @ F.normalize(centers).T, labels)",
        ),
        Mistake(
            "another distance",
            "The center is nearest by another distance than the Euclidean one, √Σ(xᵢ - yᵢ)².",
            "_of_smallest(torch.cdist(points, centers, p=1), labels)",
            "_of_smallest(torch.cdist(points, centers, p=torch.inf), labels)",
            "_of_smallest(_differences(points, centers).sum(dim=2).abs(), labels)",
            "_of_smallest(_differences(points, centers).sum(dim=2), labels)",
            "_of_smallest((points.norm(dim=1)[:, None] - centers.norm(dim=1)).abs(), labels)",
        ),
        Mistake(
            "nearest point of each center",
            "This asks each center for its nearest point (dim=0); each point is to ask for its nearest center (dim=1).",
            "_share(all_distances(points, centers).argmin(dim=0) == labels)",
            "_share(labels[all_distances(points, centers).argmin(dim=0)] == torch.arange(len(centers)))",
            "_share(labels[all_distances(points, centers).argmin(dim=0)] == labels)",
            "_share(labels[all_distances(points, centers).argmin(dim=0)] == labels[: len(centers)])",
        ),
        Mistake(
            "one center for all points",
            "An argmin without `dim` is one place in the whole table; each row has its own smallest entry (dim=1).",
            "_share(all_distances(points, centers).argmin() == labels)",
        ),
        Mistake(
            "nearest other point",
            "This asks the nearest other point for its label; asked for is the nearest center.",
            "_share(labels[(all_distances(points, points) + torch.eye(len(points)) * 1e9).argmin(dim=1)] == labels)",
        ),
        Mistake(
            "the distances themselves",
            "This is made of distances. They only serve to find the nearest center; then right answers are counted.",
            "all_distances(points, centers).amin(dim=1).mean()",
            "all_distances(points, centers).mean()",
            "all_distances(points, centers)",
            "all_distances(points, centers).amin(dim=1)",
        ),
        Mistake(
            "one answer for each point",
            "These are the single answers, right or wrong; the accuracy is their mean.",
            "all_distances(points, centers).argmin(dim=1) == labels",
            "(all_distances(points, centers).argmin(dim=1) == labels).double()",
            "(all_distances(points, centers).argmin(dim=1) == labels).tolist()",
        ),
        Mistake(
            "the nearest centers themselves",
            "These are the numbers of the nearest centers; compare them with the labels, and take the mean.",
            "all_distances(points, centers).argmin(dim=1)",
        ),
        Mistake(
            "mean of truth values",
            "torch takes no mean of True and False: turn them into numbers first, by `.double()`.",
            "(all_distances(points, centers).argmin(dim=1) == labels).mean()",
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
        0.01: "A hundred of the 1,000 answers are right: is that one in a hundred?",
        0.001: "More than one picture gets the right answer: how many belong to the class that all are given?",
        900.0: "This counts the wrong answers; the accuracy is the share of the right ones.",
    },
)
