"""Small functions that several labs use and no lab is about: comparing two computations, measuring embeddings.

What a lab teaches is in labkit. What is here only keeps its cells short.
"""

import warnings
from unittest import mock

import torch
from IPython.display import Markdown, display
from torch import Tensor
from torch.nn import functional as F

from labkit import evaluation, figures
from labkit.data import Images

__all__ = [
    "auc",
    "by_measure",
    "cluster_measures",
    "compare",
    "gradient",
    "gradients_apart",
    "minus",
    "pixels",
    "show_table",
    "umap_plane",
]


def compare(name: str, mine: Tensor, theirs: Tensor, digits: int = 10) -> str:
    """A line that says whether two tensors of float64 are equal to so many digits behind the point.

    >>> print(compare("half, two ways", torch.tensor(0.5), torch.tensor(1) / 2))
    half, two ways                         largest difference below 1e-10: True
    """
    largest = (mine - theirs).abs().max().item()
    return f"{name:38s} largest difference below 1e-{digits}: {largest < 10.0**-digits}"


def gradient(function, points: Tensor, *arguments) -> Tensor:
    """The gradient of function(points, *arguments), a number, with respect to the points.

    >>> gradient(lambda x, power: (x**power).sum(), torch.tensor([1.0, 2.0]), 3)
    tensor([ 3., 12.])
    """
    points = points.clone().requires_grad_()
    function(points, *arguments).backward()
    return points.grad


def gradients_apart(one, other, points: Tensor, *arguments) -> Tensor:
    """The largest difference of the gradients of two functions of the points, as `gradient` takes them.

    >>> gradients_apart(torch.sum, lambda x: 3 * x.sum(), torch.zeros(2))
    tensor(2.)
    """
    return (gradient(one, points, *arguments) - gradient(other, points, *arguments)).abs().max()


def pixels(images: Images, side: int | None = None) -> Tensor:
    """One row of normalized pixels per image, (N, C·H·W); with a side, averaged down to side × side pixels first."""
    floats = images.floats()
    return (floats if side is None else F.adaptive_avg_pool2d(floats, side)).flatten(1)


def auc(points: Tensor, labels: Tensor) -> float:
    """The area under the ROC curve of "same class or not?" on 4,000 pairs of points, half of them of the same class.

    points: (N, D). labels: (N,). The pairs are the same in each call with the same labels.
    """
    first, second, same = evaluation.verification_pairs(labels, 4000, seed=0)
    return evaluation.verification(points[first], points[second], same).auc


def cluster_measures(query: Tensor, labels: Tensor, reference: Tensor, reference_labels: Tensor) -> dict:
    """How well the classes of embeddings are separated, one value per network: {measure: list}.

    query: (networks, N, D), to be judged. reference: (networks, M, D), from which the class centers are taken.
    """
    pairs = zip(query, reference, strict=True)
    spread = [evaluation.scatter(embeddings, labels) for embeddings in query]
    return {
        "closest accuracy": [evaluation.closest_accuracy(q, labels, r, reference_labels) for q, r in pairs],
        "S_W / S_B": [one.within / one.between for one in spread],
    }


def by_measure(runs: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, Tensor]]:
    """Runs of each row, {row: [{measure: value}]}, as `figures.table` takes them: {row: {measure: values}}.

    >>> by_measure({"softmax": [{"accuracy": 0.5}, {"accuracy": 0.75}]})
    {'softmax': {'accuracy': tensor([0.5000, 0.7500], dtype=torch.float64)}}
    """
    return {
        row: {measure: torch.tensor([run[measure] for run in seeds], dtype=torch.float64) for measure in seeds[0]}
        for row, seeds in runs.items()
    }


def minus(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Tensor]:
    """A row of a table minus another, run by run: {measure: difference}.

    >>> minus({"accuracy": torch.tensor([0.5, 0.75])}, {"accuracy": torch.tensor([0.25, 0.25])})
    {'accuracy': tensor([0.2500, 0.5000])}
    """
    return {measure: one[measure] - other[measure] for measure in one}


def show_table(rows: dict[str, dict], columns: list[str] | None = None, digits: int = 3) -> None:
    """Shows `figures.table` of the rows below the cell; the columns, unless given, are those of the first row.

    >>> show_table({"pixels": {"AUC": 0.9}})
    <IPython.core.display.Markdown object>
    """
    columns = list(next(iter(rows.values()))) if columns is None else columns
    display(Markdown(figures.table(rows, columns, digits)))


def umap_plane(points: Tensor) -> Tensor:
    """Where UMAP puts points (N, D) in a plane, (N, 2), from their 15 nearest neighbors; the same in each call.

    Two of its functions run as plain Python: for some hundred points that is quicker than to compile them.
    """
    with warnings.catch_warnings(action="ignore"):  # of old habits in its code
        from umap import UMAP, umap_

        names = ("smooth_knn_dist", "compute_membership_strengths")
        distances, numbers = torch.cdist(points, points).topk(15, largest=False)
        near = numbers.numpy(), distances.numpy()
        with mock.patch.multiple(umap_, **{name: getattr(umap_, name).py_func for name in names}):
            plane = UMAP(n_epochs=200, random_state=0, precomputed_knn=near).fit_transform(points.numpy())
    return torch.tensor(plane)
