"""Pictures of lab 05: points, their centers and what pulls them; the plane during training, by weight and by epoch."""

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch.nn.functional import cross_entropy
from traitlets import Enum, Float, List

from labkit.figures.drawing import array, items, new_axes
from labkit.figures.embedding import PLANE, embedding_scene
from labkit.figures.hands import Hand
from labkit.figures.live import Live, live
from labkit.figures.style import INK, NAME, PURPLE, class_look, styled
from labkit.losses import CenterLoss

WEIGHTS = {"softmax + λ · center loss": (1, 1), "softmax alone": (1, 0), "center loss alone": (0, 1)}
PLACES = np.array([1.2, 0.5, 0.4, -0.9, 2.2, -0.1, -0.6, 0.6, -1.6, 1.4, 0.3, 1.5, -0.5, -1.7, -1.9, -0.9, 0.5, -1.9])
STEP = 0.5  # of a point, times its forces: what the arrows show


class Centers(Hand):
    """Three classes of points and their centers, to be dragged, and to be moved by softmax and center loss.

    loss: of WEIGHTS. weight: λ. rate: α. The softmax layer stays as it is: its rows point to 0°, 120° and 240°.

    >>> Centers(loss="center loss alone").state["weight"]
    1.0
    """

    module = "centers"
    points = List(PLACES.reshape(9, 2).tolist()).tag(sync=True)
    centers = List([[0.4, 0.2], [-0.3, 0.3], [-0.2, -0.4]]).tag(sync=True)
    loss = Enum(list(WEIGHTS), next(iter(WEIGHTS))).tag(sync=True)
    weight = Float(1.0).tag(sync=True)
    rate = Float(0.5).tag(sync=True)

    @styled
    def figure(self) -> Figure:
        """The points and centers as they are, and the step of each point by each loss."""
        points = torch.tensor(self.points, dtype=torch.float64, requires_grad=True)
        turn, labels = 2 * torch.pi / 3 * torch.arange(3), torch.arange(3).repeat_interleave(len(points) // 3)
        rows, pull = torch.stack([turn.cos(), turn.sin()], 1).double(), CenterLoss(3, 2).double()
        pull.centers.copy_(torch.tensor(self.centers))
        figure, axes = new_axes(9, 5.6, **PLANE)
        axes.set(xlim=(-5, 5), ylim=(-2.7, 2.7), aspect="equal")
        for j, center in enumerate(self.centers):
            axes.plot(*points[labels == j].detach().T, **class_look(j, 9))
            axes.plot(*center, "D", color=class_look(j)["color"], markersize=12, markeredgecolor=INK)
            axes.annotate(f"$c_{j}$", center, (14, -12), textcoords="offset points", **NAME)
        on_softmax, on_center = WEIGHTS[self.loss]
        softmax = on_softmax * cross_entropy(points @ rows.T, labels)
        center = on_center * self.weight * pull(points, labels)
        for loss, color in ((softmax, INK), (center, PURPLE)):
            steps = -STEP * len(points) * torch.autograd.grad(loss, points)[0]
            arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.004, "zorder": 3}
            axes.quiver(*points.detach().T, *steps.T, color=color, **arrows)
        axes.set_title(f"softmax {softmax:.2f} + λ × center loss {center:.2f}; arrows: a step, black and purple")
        return figure

    alt = (
        "Three classes of points in the plane, each with its center, all to be dragged. Black arrows show where "
        "softmax pushes each point, outward along the direction of its class; purple arrows are springs of the center "
        "loss, from each point to the center of its class. The centers follow the means of their points."
    )


def center_explorer(embeddings: dict[str, list[ArrayLike]], labels: ArrayLike, classes: list[str]) -> Live:
    """Shows the plane during training, under a choice of the weight λ and a slider for the epoch.

    embeddings: {name of the weight: a sequence of (N, 2), the one before training first}, all of the same length.
    labels: (N,) indices into `classes`.

    Every plane is divided by its own size (root mean square of all coordinates), which stands in the title: the shape
    can be compared, while the size falls by orders of magnitude with the weight.

    >>> center_explorer({"λ = 0": [[[1, 1]], [[2, 2]]], "λ = 1": [[[1, 1]], [[1, 0]]]}, [0], ["A"]).values
    {'weight': 0, 'epoch': 1}
    """
    moments = {len(sequence) for _, sequence in items("embeddings", embeddings)}
    if len(moments) > 1 or min(moments) < 2:
        raise ValueError(f"embeddings: got sequences of {sorted(moments)}, expected one length of at least 2")
    (count,) = moments
    scaled, titles = [], []
    for name, sequence in embeddings.items():
        for epoch, points in enumerate(sequence):
            points = array(f"embeddings[{name!r}][{epoch}]", points, None, 2)
            size = np.sqrt(np.mean(points**2))
            scaled.append(points / (size or 1.0))
            titles.append(f"{name}, {f'after epoch {epoch}' if epoch else 'before training'}\nsize {size:.2g}")
    plane = embedding_scene(scaled, labels, classes, titles)
    alt = (
        f"Points of {len(classes)} classes in the plane, followed from before training to the last epoch for each "
        "weight of the center loss. Under softmax alone the classes become long rays from the middle; the larger the "
        "weight, the rounder and tighter the heaps. The size of the plane, by which it is divided, stands above it."
    )
    names = {name: number * count for number, name in enumerate(embeddings)}
    return live(lambda weight, epoch: plane(weight + epoch), alt, weight=names, epoch=(0, count - 1, count - 1))
