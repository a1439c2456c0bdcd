"""Embeddings in the plane and on the sphere, each class with its own color and marker and its name at its center.

A scene draws what stands still once and returns a function draw(...) -> Figure that moves the rest. What moves has
matplotlib's `animated` mark, so that labkit.figures.live redraws it alone, several times quicker than a new figure.

A sphere is seen from a point to which it is turned: `turn` degrees round its axis, and the axis leans towards us. What
lies behind is drawn hollow.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from labkit.figures.drawing import Arrays, Draw, array, arrays, new_axes, new_panels
from labkit.figures.style import GRAY, NAME, class_look, styled

PLANE = {"xlabel": "embedding, first dimension", "ylabel": "embedding, second dimension"}
LEAN = 20.0  # degrees of a sphere's axis towards the viewer


def embedding_plane(
    embeddings: ArrayLike, labels: ArrayLike, classes: list[str], title: str = "", limit: float | None = None
) -> Figure:
    """Draws two-dimensional embeddings as points, each class with a color and a marker and its name at its center.

    embeddings: (N, 2).
    labels: (N,) indices into `classes`, which are names.
    limit: half the width of the picture; by default all points fit.

    >>> embedding_plane([[0, 1], [2, 1], [1, 0]], [0, 0, 1], ["A", "B"]).axes[0].lines[0].get_xdata()
    array([0., 2.])
    """
    return embedding_scene([embeddings], labels, classes, [title], limit)(0)


@styled
def embedding_scene(
    embeddings: list[ArrayLike], labels: ArrayLike, classes: list[str], titles: list[str], limit: float | None = None
) -> Draw:
    """Returns draw(index) -> Figure: an embedding at several moments of its training, see `embedding_plane`.

    embeddings: at least one (N, 2).
    titles: a text for each of them.

    >>> draw = embedding_scene([[[0, 1]], [[1, 1]]], [0], ["A"], ["before", "after"])
    >>> draw(1).axes[0].get_title()
    'after'
    """
    labels = array("labels", labels, None).astype(int)
    embeddings = [array(f"embeddings[{n}]", one, len(labels), 2) for n, one in enumerate(embeddings)]
    if not len(labels) or labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"labels: got {np.unique(labels)}, expected indices into {len(classes)} classes")
    limit = limit or 1.08 * max(np.abs(one).max() for one in embeddings) or 1.0
    figure, axes = new_axes(6, 6, **PLANE)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.title.set_animated(True)
    lines = max(title.count("\n") for title in titles)
    points, names = [], []
    for c, name in enumerate(classes):
        points += axes.plot([], [], animated=True, label=str(name), **class_look(c))
        names.append(axes.text(0, 0, str(name), animated=True, zorder=3, clip_on=True, **NAME))

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


@styled
def gallery(
    embeddings: Arrays,
    labels: ArrayLike,
    classes: list[str],
    rows: Arrays | None = None,
    columns: int = 3,
    turn: float = 0,
) -> Figure:
    """Draws embeddings side by side, each in its own scale, with the class names at their centers.

    embeddings: {title: (N, D)}, D of 2 or 3; three dimensions are drawn as directions, on the unit sphere.
    labels: (N,) indices into `classes`.
    rows: {title: (C, D)}, directions of the classes' weight rows, drawn as lines from the middle.
    columns: pictures in a row.
    turn: degrees by which spheres are turned.

    >>> [axes.get_title() for axes in gallery({"softmax": [[1, 0], [0, 1]]}, [0, 1], ["A", "B"]).axes]
    ['softmax']
    """
    labels = array("labels", labels, None).astype(int)
    chosen = arrays("embeddings", embeddings, len(labels), None)
    side = min(5, 12 / min(columns, len(chosen)))
    figure, panels = new_panels(len(chosen), columns, side, side)
    for axes, (title, points) in zip(panels, chosen.items(), strict=True):
        axes.set_title(title)
        size = np.abs(points).max()
        if points.shape[1] > 2:
            points, size = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12), 1.0
            globe(axes).set_data(graticule(turn))
        else:
            axes.set(aspect="equal", adjustable="datalim", **PLANE)
        for row in () if rows is None else array(f"rows[{title!r}]", rows[title], None, points.shape[1]):
            far = size * row / np.linalg.norm(row)
            axes.plot(*project(np.stack([0 * far, far]), turn)[0].T, color=GRAY, linewidth=1.1, zorder=1)
        flat, near = project(points, turn)
        for c, name in enumerate(classes):
            own = labels == c
            axes.plot(*flat[own & (near < 0)].T, **class_look(c, 3.5), markerfacecolor="white")
            axes.plot(*flat[own & (near >= 0)].T, **class_look(c, 3.5))
            if own.any():
                axes.text(*flat[own].mean(0), str(name), **NAME)
    return figure


def project(points: ArrayLike, turn: float = 0.0, lean: float = LEAN) -> tuple[np.ndarray, np.ndarray]:
    """Returns points (N, D) as seen on paper, (N, 2), and how near they are to the viewer, (N,).

    turn, lean: degrees. In two dimensions the points stay as they are, all equally near; of more than three
        dimensions the first three are seen.

    >>> project([[3.0, 4.0]])
    (array([[3., 4.]]), array([0.]))
    """
    points = array("points", points, None, None)
    if points.shape[1] < 2:
        raise ValueError(f"points: got {points.shape[1]} dimensions, expected at least 2")
    if points.shape[1] == 2:
        return points, np.zeros(len(points))
    x, y, z = points.T[:3]
    angle, lean = np.radians([turn, lean])
    away = x * np.sin(angle) + y * np.cos(angle)
    across = x * np.cos(angle) - y * np.sin(angle)
    return np.stack([across, z * np.cos(lean) + away * np.sin(lean)], 1), z * np.sin(lean) - away * np.cos(lean)


def globe(axes: Axes, animated: bool = False) -> Line2D:
    """Draws the outline of the unit circle or sphere; returns an empty line for its equator and meridians.

    >>> globe(new_axes()[1]).set_data(graticule(turn=30))
    """
    angle = np.linspace(0, 2 * np.pi, 121)
    axes.plot(np.cos(angle), np.sin(angle), color=GRAY, linewidth=1.2)
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
    axes.axis("off")
    return axes.plot([], [], color=GRAY, linewidth=0.7, animated=animated)[0]


def graticule(turn: float, lean: float = LEAN) -> np.ndarray:
    """Returns the front of the equator and of three meridians, (2, M) with gaps.

    >>> graticule(0).shape
    (2, 488)
    """
    t = np.linspace(0, 2 * np.pi, 121)
    circles = [[np.cos(t), np.sin(t), 0 * t]]
    circles += [[np.cos(t) * np.cos(a), np.cos(t) * np.sin(a), np.sin(t)] for a in np.radians([0, 60, 120])]
    parts = []
    for circle in circles:
        flat, near = project(np.transpose(circle), turn, lean)
        parts += [np.where(near[:, None] >= 0, flat, np.nan), [[np.nan, np.nan]]]
    return np.concatenate(parts).T
