"""Pictures of lab 04: distances of pairs and their ROC curve, a triplet in the plane, the triplet loss as a surface."""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike
from traitlets import Bool, Float, List

from labkit import checks
from labkit.figures.drawing import Draw, array, items, new_axes
from labkit.figures.embedding import PLANE
from labkit.figures.hands import Hand
from labkit.figures.live import Live, live
from labkit.figures.style import BLUE, DIFFERENT, GRAY, INK, NAME, ORANGE, OUTLINE, SAME, looks, styled


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
LIMIT = 2.0  # half the width of the plane; the largest distance of the surface
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


def triplet_playground() -> TripletPlane:
    """Shows a triplet to drag about the plane.

    >>> triplet_playground().margin
    0.4
    """
    return TripletPlane()


KEPT = {  # what a mining keeps, by FaceNet's definitions; the exponential triplet paper prints them reversed
    "all": "all triplets",
    "active": "kept: d(a,n) < d(a,p) + margin",
    "semihard": "kept: d(a,p) < d(a,n) < d(a,p) + margin",
    "hard": "kept: d(a,n) < d(a,p)",
}


@styled
def surface_scene() -> Draw:
    """Returns draw(margin, constraint="all") -> Figure: the triplet loss over its two distances.

    constraint: which triplets are kept, of KEPT; where the others lie is hatched (Figures 2 and 3 of the exponential
        triplet paper).

    >>> surface_scene()(0.4).axes[0].get_title().splitlines()[0]
    'loss = [d(a,p) − d(a,n) + 0.40]₊'
    """
    figure, axes = new_axes(6.4, 5.6, xlabel="d(a,p), anchor to positive", ylabel="d(a,n), anchor to negative")
    axes.set(xlim=(0, LIMIT), ylim=(0, LIMIT), aspect="equal")
    axes.title.set_animated(True)
    levels = np.linspace(0, 1.25 * LIMIT, 11)
    colors = colormaps["YlOrBr"](np.linspace(0.08, 0.85, 10))
    scale = ScalarMappable(BoundaryNorm(levels, 10), ListedColormap(colors))
    figure.colorbar(scale, ax=axes, label="loss", shrink=0.85)
    bands = [axes.add_patch(Polygon([[0, 0]], facecolor=color, linewidth=0)) for color in colors]
    hatched = {"facecolor": "#eeeeee", "edgecolor": GRAY, "hatch": "//", "linewidth": 0}
    hidden = [axes.add_patch(Polygon([[0, 0]], **hatched)) for _ in range(2)]
    (equal,) = axes.plot([0, LIMIT], [0, LIMIT], color=INK, linewidth=1.8)
    (border,) = axes.plot([], [], color=INK, linewidth=1.8, linestyle="--")
    names = [axes.text(0, 0, name, rotation_mode="anchor", **NAME) for name in ("hard", "semi-hard", "easy: no loss")]
    names[1].set_rotation(45)
    for order, artist in enumerate([*bands, *hidden, equal, border, *names]):
        artist.set(animated=True, zorder=2 + order / 100)

    def below(shift):
        """The part of the plane with d(a,n) < d(a,p) + shift."""
        return [[0, shift], [LIMIT, LIMIT + shift], [LIMIT, -LIMIT], [0, -LIMIT]]

    def draw(margin, constraint="all"):
        for band, level in zip(bands, levels, strict=False):
            band.set_xy(below(margin - level))
        easy = [[0, margin], [LIMIT, LIMIT + margin], [LIMIT, 3 * LIMIT], [0, 3 * LIMIT]]
        not_hard = [[0, 0], [LIMIT, LIMIT], [LIMIT, 3 * LIMIT], [0, 3 * LIMIT]]
        covers = {"all": [], "active": [easy], "semihard": [easy, below(0)], "hard": [not_hard]}[constraint]
        for n, patch in enumerate(hidden):
            patch.set_visible(n < len(covers))
            patch.set_xy(covers[n] if n < len(covers) else [[0, 0]])
        border.set_data([0, LIMIT], [margin, LIMIT + margin])
        names[0].set_position((0.68 * LIMIT, 0.32 * LIMIT))
        names[1].set_position((0.45 * LIMIT - margin / 4, 0.45 * LIMIT + margin / 4))
        names[2].set_position((0.28 * LIMIT, 0.86 * LIMIT))
        names[1].set_visible(margin > 0.06 * LIMIT)
        axes.set_title(f"loss = [d(a,p) − d(a,n) + {margin:.2f}]₊\n{KEPT[constraint]}")
        return figure

    return draw


def surface_explorer() -> Live:
    """Shows the triplet loss over its two distances, under a slider for the margin and a choice of what is kept.

    >>> surface_explorer().values
    {'margin': 0.4, 'constraint': 'all'}
    """
    choices = {"none: all": "all", "active": "active", "semi-hard": "semihard", "hard": "hard"}
    alt = (
        "The triplet loss as bands of color over the distance of anchor and positive and that of anchor and negative. "
        "Hard triplets lie below the diagonal, semi-hard ones in a strip above it as wide as the margin, easy ones "
        "without loss above the strip. What the chosen constraint leaves out is hatched."
    )
    return live(surface_scene(), alt, margin=(0.0, 1.0, 0.4, 0.05), constraint=choices)
