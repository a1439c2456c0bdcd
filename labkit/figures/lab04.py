"""Pictures of lab 04: distances of pairs and their ROC curve, a triplet and a whole batch in the plane."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike
from traitlets import Bool, Enum, Float, Int, List

from labkit import checks
from labkit.distances import pairwise_distances
from labkit.figures.drawing import array, items, new_axes
from labkit.figures.embedding import PLANE
from labkit.figures.hands import Hand
from labkit.figures.style import BLUE, DIFFERENT, GRAY, INK, NAME, ORANGE, OUTLINE, SAME, class_look, looks, styled
from labkit.losses.triplet import TripletLoss


@styled
def distance_histogram(same: ArrayLike, different: ArrayLike) -> Figure:
    """Draws the distances of pairs of the same class and of different classes, each kind adding up to 100 %.

    same, different: (P,) distances.

    >>> distance_histogram([0.1, 0.9], [0.8, 1.2]).axes[0].get_xlabel()
    'distance of the pair'
    """
    same, different = array("same", same, None), array("different", different, None)
    for name, distances in (("same", same), ("different", different)):
        if not len(distances):
            raise ValueError(f"{name}: got no distance, expected at least one")
    figure, axes = new_axes(9, 4.8, xlabel="distance of the pair", ylabel="pairs of that kind (%)")
    edges = np.linspace(0, max(same.max(), different.max()) or 1, 50)
    kinds = (same, "same class", SAME, ""), (different, "different classes", DIFFERENT, "//")
    for distances, name, color, hatch in kinds:
        share = {"weights": np.full(len(distances), 100 / len(distances)), "label": name}
        look = {"facecolor": (color, 0.35), "edgecolor": color, "hatch": hatch, "linewidth": 1.6}
        axes.hist(distances, edges, histtype="stepfilled", **share, **look)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # beside the bars, which fill the axes to their top
    return figure


@styled
def roc(results: dict) -> Figure:
    """Draws how many right pairs are accepted for how many wrong ones, at every threshold.

    results: {name: labkit.evaluation.verification's result}; a dot stands at the equal error rate.

    >>> from types import SimpleNamespace
    >>> result = SimpleNamespace(fpr=[0, 0, 1], tpr=[0, 1, 1], auc=1.0, eer=0.0)
    >>> roc({"ours": result}).axes[0].get_legend().texts[0].get_text()
    'ours: AUC 1.000, EER 0.0%'
    """
    figure, axes = new_axes(6, 5.8, xlabel="different classes, yet accepted", ylabel="same class and accepted")
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=1.2)
    axes.text(0.62, 0.59, "guessing", color=GRAY, rotation=45, rotation_mode="anchor", va="top", fontsize=11)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    for (name, result), (color, line) in zip(items("results", results), looks(), strict=False):
        fpr, tpr = array(f"results[{name!r}] fpr", result.fpr), array(f"results[{name!r}] tpr", result.tpr)
        label = f"{name}: AUC {result.auc:.3f}, EER {result.eer:.1%}"
        axes.plot(fpr, tpr, color=color, linestyle=line, label=label)
        axes.plot(result.eer, 1 - result.eer, "o", color=color, markersize=8, clip_on=False)
    axes.legend(loc="lower right")
    return figure


@dataclass(frozen=True)
class Triplet:
    """One triplet: its two distances (squared ones if asked for), loss, kind, and gradients (3, D) of its points.

    >>> triplet([0, 0], [1, 0], [0, 2], margin=0.2).kind
    'easy'
    """

    d_ap: float
    d_an: float
    loss: float
    kind: str
    gradients: np.ndarray


def triplet(
    anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, margin: float, squared: bool = False
) -> Triplet:
    """Returns the `Triplet` of three points (D,): loss [d(a,p) - d(a,n) + margin]₊, its gradients worked out by hand.

    Kinds as in FaceNet: hard d(a,n) < d(a,p), semi-hard d(a,p) ≤ d(a,n) < d(a,p) + margin, easy, without loss, else.

    >>> triplet([0, 0], [1, 0], [0, 2], margin=1.5).gradients.tolist()
    [[-1.0, 1.0], [1.0, 0.0], [-0.0, -1.0]]
    """
    margin = checks.non_negative("margin", margin)
    anchor = array("anchor", anchor, None)
    to_positive = array("positive", positive, len(anchor)) - anchor
    to_negative = array("negative", negative, len(anchor)) - anchor
    d_ap, d_an = (v @ v if squared else np.sqrt(v @ v) for v in (to_positive, to_negative))
    loss = max(d_ap - d_an + margin, 0.0)
    kind = "hard" if d_an < d_ap else "semi-hard" if loss > 0 else "easy"
    if squared:
        p, n = 2 * to_positive, 2 * to_negative
    else:  # where two points coincide there is no direction: the gradient is taken as 0
        p, n = to_positive / (d_ap or 1.0), to_negative / (d_an or 1.0)
    return Triplet(float(d_ap), float(d_an), float(loss), kind, np.stack([n - p, p, -n]) * (loss > 0))


STEP = 0.3  # length of the step of gradient descent that the arrows show
LIMIT = 2.0  # half the width of the plane
CORNERS = {"anchor": (INK, "o"), "positive": (SAME, "s"), "negative": (DIFFERENT, "^")}


@styled
def triplet_picture(
    anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, margin: float, squared: bool = False
) -> Figure:
    """Draws a triplet in the plane: where the negative would be hard, semi-hard or easy, and how descent moves each.

    >>> triplet_picture([0, 0], [1, 0], [0, 2], margin=0.2).axes[0].get_title().splitlines()[1]
    'loss 0.00, easy; no gradient'
    """
    t = triplet(anchor, positive, negative, margin, squared)
    corners, steps = np.array([anchor, positive, negative], dtype=float), -STEP * t.gradients
    figure, axes = new_axes(6, 6.2, **PLANE)
    axes.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal")
    inner, outer = np.array([t.d_ap, t.d_ap + margin]) ** (0.5 if squared else 1)
    axes.add_patch(Circle(corners[0], outer, facecolor="#fff0cc", edgecolor=ORANGE, linestyle="--", linewidth=1.5))
    axes.add_patch(Circle(corners[0], inner, facecolor="#f8dcd6", edgecolor=BLUE, linewidth=1.5))
    small = {"ha": "center", "va": "center", "fontsize": 11, "path_effects": OUTLINE, "clip_on": True}
    for name, below, roomy in (
        ("hard", 0.6 * inner, inner > 0.3 * LIMIT),
        ("semi-hard", (inner + outer) / 2, outer - inner > 0.08 * LIMIT),
        ("easy", outer + 0.1 * LIMIT, True),
    ):
        if roomy:
            axes.text(*(corners[0] - [0, below]), name, **small)
    for n, (name, (color, marker)) in enumerate(CORNERS.items()):
        axes.plot(*corners[[0, n]].T, color=color, linewidth=1.2)
        axes.plot(*corners[n], marker, color=color, markersize=13, markeredgecolor="white", zorder=4)
        beside = (0, -20 if steps[n, 1] > 0 else 20)  # out of the arrow's way
        axes.annotate(name, corners[n], beside, color=color, textcoords="offset points", zorder=5, **NAME)
    true_length = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.009, "zorder": 4.5}
    axes.quiver(*corners.T, *steps.T, color=[color for color, _ in CORNERS.values()], **true_length)
    d = "d²" if squared else "d"
    sum_in_words = f"{d}(a,p) − {d}(a,n) + margin = {t.d_ap:.2f} − {t.d_an:.2f} + {margin:.2f}"
    arrows_in_words = f"arrows: a step of −{STEP:g} × gradient" if t.loss else "no gradient"
    axes.set_title(f"{sum_in_words}\nloss {t.loss:.2f}, {t.kind}; {arrows_in_words}")
    return figure


class TripletPlane(Hand):
    """A triplet to drag about the plane: loss, kind, rings of the margin, and where descent moves each point.

    >>> TripletPlane(negative=[1.0, 0.0], margin=1.0).state["negative"]
    [1.0, 0.0]
    """

    module = "triplet"
    anchor = List([0.0, 0.0]).tag(sync=True)
    positive = List([0.9, 0.5]).tag(sync=True)
    negative = List([-0.5, -0.6]).tag(sync=True)
    margin = Float(0.4).tag(sync=True)
    squared = Bool(False).tag(sync=True)

    def figure(self) -> Figure:
        """The triplet as it is."""
        return triplet_picture(**self.state)

    alt = (
        "An anchor, a positive and a negative point in the plane, to be dragged. A circle round the anchor through the "
        "positive bounds the hard negatives, a larger one by the margin bounds the semi-hard ones. Arrows show a step "
        "of gradient descent: the positive is pulled to the anchor, the negative pushed away, as long as there is a "
        "loss."
    )


START = [[-1.2, 0.4], [-0.5, -0.9], [0.3, 0.6], [0.9, 1.1], [1.4, 0.2], [-0.4, 0.2], [0.2, -1.3], [1, -0.7], [0.6, 0]]


class Batch(Hand):
    """A batch of three classes in the plane and all its triplets.

    points: (N, 2). labels: N of 0 to 2. mining: as in `TripletLoss`. alone: draw the triplets of one `anchor` only.

    >>> Batch(mining="hard").state["margin"]
    0.4
    """

    module = "batch"
    points = List(START).tag(sync=True)
    labels = List([0, 0, 0, 1, 1, 1, 2, 2, 2]).tag(sync=True)
    mining = Enum(["all", "hard", "semihard"], "all").tag(sync=True)
    margin = Float(0.4).tag(sync=True)
    anchor = Int(0).tag(sync=True)
    alone = Bool(False).tag(sync=True)

    @styled
    def figure(self) -> Figure:
        """The pairs that the loss pulls and pushes; and the two distances of every triplet."""
        points = torch.tensor(self.points, dtype=torch.float64, requires_grad=True)
        labels = torch.tensor(self.labels)
        distances = pairwise_distances(points)
        distances.retain_grad()
        TripletLoss(self.margin, self.mining).of_distances(distances, labels).backward()
        weights = distances.grad * (not self.alone or torch.arange(len(labels))[:, None] == self.anchor)
        weights, moves = (weights + weights.T).triu(), -2 * points.grad
        points, distances = points.detach(), distances.detach()
        figure, (left, right) = new_axes(10.5, 5.2, columns=2)
        for a, b in weights.nonzero().tolist():
            color, line = (SAME, "-") if weights[a, b] > 0 else (DIFFERENT, "--")
            left.plot(*points[[a, b]].T, color=color, linestyle=line, linewidth=1.2)
        for label, name in enumerate("ABC"):
            left.plot(*points[labels == label].T, label=f"class {name}", **class_look((0, 1, 4)[label], 11))
        left.quiver(*points.T, *moves.T, angles="xy", scale_units="xy", scale=1, width=0.009, color=INK, zorder=4)
        positive, negative = (labels[:, None] == labels).fill_diagonal_(False), labels[:, None] != labels
        a, p, n = (positive[:, :, None] & negative[:, None]).nonzero().T
        right.plot(distances[a, p], distances[a, n], ".", color=INK)
        right.plot([0, 4], [0, 4], color=INK, linewidth=1.8)
        right.plot([0, 4], [self.margin, 4 + self.margin], color=INK, linewidth=1.8, linestyle="--")
        left.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal", **PLANE)
        right.set(xlim=(0, 4), ylim=(0, 4), aspect="equal", xlabel="d(a,p)", ylabel="d(a,n)")
        left.legend(loc="lower left")
        return figure

    alt = (
        "Left, nine points of three classes in the plane, to be dragged; solid lines join the pairs that the loss "
        "pulls together, dashed ones those that it pushes apart, and arrows show the sum of the forces on each point. "
        "Right, each triplet as a dot over its two distances: hard ones lie below the diagonal, semi-hard ones in a "
        "strip above it as wide as the margin, easy ones above the strip. Mining and margin can be chosen."
    )
