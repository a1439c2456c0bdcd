"""Pictures that a slider moves.

A scene draws what stands still once and returns a function draw(...) -> Figure that moves the rest. What moves has
matplotlib's `animated` mark, so that labkit.figures.live redraws it alone, which is several times quicker than a new figure.
The still forms, `embedding_plane`, `triplet_plane` and `loss_surface`, are pure: each call makes a figure of its own.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, to_rgb
from matplotlib.patches import Circle, Polygon
from matplotlib.ticker import PercentFormatter

from labkit.figures.drawing import (
    BLUE,
    COLORS,
    DIFFERENT,
    GRAY,
    INK,
    MARKERS,
    ORANGE,
    OUTLINE,
    SAME,
    SLATE,
    YELLOW,
    array,
    new_axes,
    not_negative,
    styled,
)

PLANE = {"xlabel": "embedding, first dimension", "ylabel": "embedding, second dimension"}


# --- Embeddings in the plane --------------------------------------------------------------------------------------


def embedding_plane(embeddings, labels, classes, title="", limit=None):
    """Two-dimensional embeddings as points, each class with a color and a marker and its name at its center.

    embeddings  (N, 2)
    labels      (N,) indices into `classes`
    classes     names
    limit       half the width of the picture; by default all points fit
    """
    return embedding_scene([embeddings], labels, classes, [title], limit)(0)


@styled
def embedding_scene(embeddings, labels, classes, titles, limit=None):
    """Return draw(index) -> Figure: an embedding at several moments of its training, see `embedding_plane`.

    embeddings  a sequence of (N, 2)
    titles      a text for each of them
    """
    labels = array("labels", labels, None).astype(int)
    embeddings = [array(f"embeddings[{n}]", one, len(labels), 2) for n, one in enumerate(embeddings)]
    if not embeddings:
        raise ValueError("embeddings: got none, expected at least one array of shape (N, 2)")
    if len(titles) != len(embeddings):
        raise ValueError(f"titles: got {len(titles)}, expected {len(embeddings)}, one for each of the embeddings")
    if not len(labels) or labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"labels: got {np.unique(labels)}, expected indices into {len(classes)} classes")
    limit = limit or 1.08 * max(np.abs(one).max() for one in embeddings) or 1.0
    figure, axes = new_axes(6, 6, **PLANE)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.title.set_animated(True)
    lines = max(title.count("\n") for title in titles)
    points, names = [], []
    for c, name in enumerate(classes):
        color, marker = COLORS[c % 10], MARKERS[(c + c // 10) % 10]
        edge = np.array(to_rgb(color)) * 0.55  # a dark edge, so that light colors stand out against white
        style = {"markersize": 8 if marker == "*" else 5.5, "markeredgecolor": edge, "markeredgewidth": 0.4}
        points += axes.plot([], [], marker, color=color, animated=True, label=str(name), **style)
        text = axes.text(0, 0, str(name), ha="center", va="center", fontweight="bold", path_effects=OUTLINE)
        text.set(animated=True, zorder=3, clip_on=True)
        names.append(text)

    def draw(index):
        for c, (cloud, name) in enumerate(zip(points, names, strict=True)):
            chosen = embeddings[index][labels == c]
            cloud.set_data(chosen.T)
            name.set_visible(len(chosen) > 0)
            if len(chosen):
                name.set_position(chosen.mean(0))
        # As many lines each time, so that every title has its room from the first frame on.
        axes.set_title((titles[index] or " " * any(titles)) + "\n" * (lines - titles[index].count("\n")))
        return figure

    return draw


# --- Verification -------------------------------------------------------------------------------------------------


@styled
def threshold_scene(same, different):
    """Return draw(threshold) -> Figure: distances of pairs beside their ROC curve, the threshold in both.

    same, different  (P,) distances of pairs of the same class and of different classes
    """
    same, different = pair_distances(same, different)
    figure, (left, right) = new_axes(9.6, 4.6, columns=2, width_ratios=[1.15, 1])
    draw_histogram(left, same, different)
    draw_roc_axes(right)
    thresholds = np.unique(np.concatenate([[0], same, different]))
    accepted = [np.searchsorted(np.sort(d), thresholds, side="right") / len(d) for d in (different, same)]
    right.plot(*accepted, color=INK)
    line = left.axvline(0, color=INK, linestyle="--", animated=True)
    (dot,) = right.plot([], [], "o", color=YELLOW, markeredgecolor=INK, markersize=14, clip_on=False, animated=True)
    left.title.set_animated(True)

    def draw(threshold):
        line.set_xdata([threshold, threshold])
        dot.set_data([(different <= threshold).mean()], [(same <= threshold).mean()])
        left.set_title(error_rates(same, different, threshold))
        return figure

    return draw


def pair_distances(same, different):
    """Return both as float arrays (P,); ValueError if one is empty or of another shape."""
    both = array("same", same, None), array("different", different, None)
    for name, distances in zip(("same", "different"), both, strict=True):
        if not len(distances):
            raise ValueError(f"{name}: got no distance, expected at least one")
    return both


def draw_histogram(axes, same, different):
    """Draw the distances (P,) of both kinds of pairs, each kind adding up to 100 %."""
    highest = max(same.max(), different.max())
    edges = np.linspace(0, highest if highest > 0 else 1, 50)
    kinds = (same, "same class", SAME, ""), (different, "different classes", DIFFERENT, "//")
    for distances, name, color, hatch in kinds:
        share = {"weights": np.full(len(distances), 100 / len(distances)), "color": color}
        axes.hist(distances, edges, alpha=0.35, **share)
        axes.hist(distances, edges, histtype="step", hatch=hatch, linewidth=1.6, label=name, **share)
    axes.set(xlabel="distance of the pair", ylabel="pairs of that kind (%)")
    axes.legend(loc="upper right")


def draw_roc_axes(axes):
    """Draw the empty axes of a ROC curve, with the diagonal of guessing."""
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=1.2)
    axes.text(0.62, 0.59, "guessing", color=SLATE, rotation=45, rotation_mode="anchor", va="top", fontsize=11)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set(xlabel="different classes, yet accepted", ylabel="same class and accepted")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))


def error_rates(same, different, threshold):
    """Return both error rates of a threshold in words."""
    rejected, accepted = (same > threshold).mean(), (different <= threshold).mean()
    return (
        f"threshold {threshold:.2f} rejects {rejected:.1%} of the same,\naccepts {accepted:.1%} of the different pairs"
    )


# --- A triplet in the plane ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Triplet:
    """One triplet: its two distances (squared ones if asked for), loss, kind, and gradients (3, D) of its points."""

    d_ap: float
    d_an: float
    loss: float
    kind: str
    gradients: np.ndarray


def triplet(anchor, positive, negative, margin, squared=False):
    """Return the `Triplet` of three points (D,): loss [d(a,p) - d(a,n) + margin]₊, its gradients worked out by hand.

    Kinds as in FaceNet: hard d(a,n) < d(a,p), semi-hard d(a,p) ≤ d(a,n) < d(a,p) + margin, easy, without loss, else.
    """
    margin = not_negative("margin", margin)
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


def triplet_plane(anchor, positive, negative, margin=0.2, squared=False, limit=2.0):
    """A triplet in the plane: where the negative would be hard, semi-hard or easy, and how descent moves each point.

    anchor, positive, negative  (2,)
    margin, squared             of the triplet loss
    limit                       half the width of the picture
    """
    return triplet_scene(limit)(anchor, positive, negative, margin, squared)


STEP = 0.3  # length of the step of gradient descent that the arrows show


@styled
def triplet_scene(limit=2.0):
    """Return draw(anchor, positive, negative, margin, squared=False) -> Figure, the moving form of `triplet_plane`."""
    figure, axes = new_axes(6, 6.2, **PLANE)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.title.set_animated(True)
    semihard = Circle((0, 0), facecolor="#fff0cc", edgecolor=ORANGE, linestyle="--", linewidth=1.5, zorder=1)
    hard = Circle((0, 0), facecolor="#f8dcd6", edgecolor=BLUE, linewidth=1.5, zorder=1.1)
    for circle in (semihard, hard):
        axes.add_patch(circle).set_animated(True)
    small = {"ha": "center", "va": "center", "fontsize": 11, "path_effects": OUTLINE, "clip_on": True}
    regions = [axes.text(0, 0, name, animated=True, zorder=2, **small) for name in ("hard", "semi-hard", "easy")]
    looks = ("anchor", INK, "o"), ("positive", SAME, "s"), ("negative", DIFFERENT, "^")
    points, names, sides = [], [], []
    for name, color, marker in looks:
        sides += axes.plot([], [], color=color, linewidth=1.2, animated=True, zorder=2.5)
        points += axes.plot([], [], marker, color=color, markersize=13, markeredgecolor="white", zorder=4)
        points[-1].set_animated(True)
        bold = {"color": color, "fontweight": "bold", "path_effects": OUTLINE, "ha": "center", "va": "center"}
        names.append(axes.annotate(name, (0, 0), (0, 0), textcoords="offset points", animated=True, zorder=5, **bold))
    true_length = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.009}
    arrows = axes.quiver(*np.zeros((4, 3)), color=[color for _, color, _ in looks], zorder=4.5, **true_length)
    arrows.set_animated(True)

    def draw(anchor, positive, negative, margin, squared=False):
        t = triplet(anchor, positive, negative, margin, squared)
        corners = np.array([anchor, positive, negative], dtype=float)
        inner, outer = np.array([t.d_ap, t.d_ap + margin]) ** (0.5 if squared else 1)
        hard.set(center=corners[0], radius=inner)
        semihard.set(center=corners[0], radius=outer)
        for text, below in zip(regions, (0.6 * inner, (inner + outer) / 2, outer + 0.1 * limit), strict=True):
            text.set_position(corners[0] - [0, below])
        regions[0].set_visible(inner > 0.3 * limit)
        regions[1].set_visible(outer - inner > 0.08 * limit)
        steps = -STEP * t.gradients
        for n, corner in enumerate(corners):
            sides[n].set_data(np.array([corners[0], corner]).T)
            points[n].set_data(corner[:, None])
            names[n].xy = corner
            names[n].set_position((0, -20 if steps[n, 1] > 0 else 20))  # out of the arrow's way
        arrows.set_offsets(corners)
        arrows.set_UVC(*steps.T)
        d = "d²" if squared else "d"
        sum_in_words = f"{d}(a,p) − {d}(a,n) + margin = {t.d_ap:.2f} − {t.d_an:.2f} + {margin:.2f}"
        arrows_in_words = f"arrows: a step of −{STEP:g} × gradient" if t.loss else "no gradient"
        axes.set_title(f"{sum_in_words}\nloss {t.loss:.2f}, {t.kind}; {arrows_in_words}")
        return figure

    return draw


# --- The triplet loss over its two distances ----------------------------------------------------------------------

KEPT = {  # what a mining keeps, by FaceNet's definitions; the exponential triplet paper prints them reversed
    None: "all triplets",
    "active": "kept: {d}(a,n) < {d}(a,p) + margin",
    "semihard": "kept: {d}(a,p) < {d}(a,n) < {d}(a,p) + margin",
    "hard": "kept: {d}(a,n) < {d}(a,p)",
}


def loss_surface(margin=0.2, constraint=None, squared=False, limit=2.0, points=None):
    """The triplet loss over its two distances (Figures 2 and 3 of the exponential triplet paper).

    constraint  which triplets are kept: None (all), "active", "semihard" or "hard"; where the others lie is hatched
    squared     the axes hold squared distances, as in the paper
    limit       largest distance shown
    points      (N, 2) distances d(a,p) and d(a,n) of triplets to draw, or None
    """
    return surface_scene(squared, limit, points)(margin, constraint)


@styled
def surface_scene(squared=False, limit=2.0, points=None):
    """Return draw(margin, constraint=None) -> Figure, the moving form of `loss_surface`."""
    d = "d²" if squared else "d"
    figure, axes = new_axes(6.4, 5.6, xlabel=f"{d}(a,p), anchor to positive", ylabel=f"{d}(a,n), anchor to negative")
    axes.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
    axes.title.set_animated(True)
    levels = np.linspace(0, 1.25 * limit, 11)
    colors = colormaps["YlOrBr"](np.linspace(0.08, 0.85, 10))
    scale = ScalarMappable(BoundaryNorm(levels, 10), ListedColormap(colors))
    figure.colorbar(scale, ax=axes, label="loss", shrink=0.85)
    bands = [axes.add_patch(Polygon([[0, 0]], facecolor=color, linewidth=0)) for color in colors]
    hatched = {"facecolor": "#eeeeee", "edgecolor": GRAY, "hatch": "//", "linewidth": 0}
    hidden = [axes.add_patch(Polygon([[0, 0]], **hatched)) for _ in range(2)]
    (equal,) = axes.plot([0, limit], [0, limit], color=INK, linewidth=1.8)
    (border,) = axes.plot([], [], color=INK, linewidth=1.8, linestyle="--")
    drawn = array("points", np.empty((0, 2)) if points is None else points, None, 2)
    (dots,) = axes.plot(*drawn.T, "o", color=BLUE, markeredgecolor="white", markeredgewidth=0.5, markersize=5)
    bold = {"ha": "center", "va": "center", "rotation_mode": "anchor", "path_effects": OUTLINE, "fontweight": "bold"}
    names = [axes.text(0, 0, name, **bold) for name in ("hard", "semi-hard", "easy: no loss")]
    names[1].set_rotation(45)
    for order, artist in enumerate([*bands, *hidden, equal, border, dots, *names]):
        artist.set(animated=True, zorder=2 + order / 100)

    def below(shift):
        """The part of the plane with d(a,n) < d(a,p) + shift."""
        return [[0, shift], [limit, limit + shift], [limit, -limit], [0, -limit]]

    def draw(margin, constraint=None):
        margin = not_negative("margin", margin)
        if constraint not in KEPT:
            raise ValueError(f"constraint: got {constraint!r}, expected one of {list(KEPT)}")
        for band, level in zip(bands, levels, strict=False):
            band.set_xy(below(margin - level))
        easy = [[0, margin], [limit, limit + margin], [limit, 3 * limit], [0, 3 * limit]]
        not_hard = [[0, 0], [limit, limit], [limit, 3 * limit], [0, 3 * limit]]
        covers = {None: [], "active": [easy], "semihard": [easy, below(0)], "hard": [not_hard]}[constraint]
        for n, patch in enumerate(hidden):
            patch.set_visible(n < len(covers))
            patch.set_xy(covers[n] if n < len(covers) else [[0, 0]])
        border.set_data([0, limit], [margin, limit + margin])
        names[0].set_position((0.68 * limit, 0.32 * limit))
        names[1].set_position((0.45 * limit - margin / 4, 0.45 * limit + margin / 4))
        names[2].set_position((0.28 * limit, 0.86 * limit))
        names[1].set_visible(margin > 0.06 * limit)
        axes.set_title(f"loss = [{d}(a,p) − {d}(a,n) + {margin:.2f}]₊\n" + KEPT[constraint].format(d=d))
        return figure

    return draw
