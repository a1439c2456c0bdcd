"""Pictures of lab 08: charges on a sphere, and targets with a margin and what they decide."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from traitlets import Bool, Enum, Float, Int, List

from labkit.centroids import charge_simulation, energy
from labkit.figures.drawing import Arrays, array, new_axes
from labkit.figures.embedding import LEAN, gallery, globe, graticule, project
from labkit.figures.hands import Hand
from labkit.figures.live import Live, live
from labkit.figures.style import BLUE, INK, NAME, ORANGE, RED, class_look, looks, styled
from labkit.losses.softmax import additive, additive_angle, psi


def cosines_of(points: ArrayLike) -> np.ndarray:
    """Returns the cosines of all pairs of the rows of (N, D), sorted from the smallest.

    >>> cosines_of([[1, 0], [0, 2], [-3, 0]])
    array([-1.,  0.,  0.])
    """
    points = array("points", points, None, None)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    return np.sort((unit @ unit.T)[np.triu_indices(len(points), 1)])


class Charges(Hand):
    """Charges that repel each other on a circle or a sphere, moved as by `charge_simulation`.

    points: (N, D), D of 2 or 3; at random at first. turn, lean: how the sphere is seen, degrees.

    >>> len(Charges().points)
    5
    """

    module = "charges"
    points = List(charge_simulation(5, 2, steps=0, seed=1)[0].tolist()).tag(sync=True)
    damping = Float(0.5).tag(sync=True)
    transport = Bool(True).tag(sync=True)
    turn = Float(0.0).tag(sync=True)
    lean = Float(LEAN).tag(sync=True)

    @styled
    def figure(self) -> Figure:
        """The charges, and the cosines of all their pairs."""
        points = np.array(self.points)
        cosines = cosines_of(points)
        figure, (left, right) = new_axes(10, 4.8, columns=2)
        lines = globe(left)
        if points.shape[1] > 2:
            lines.set_data(graticule(self.turn, self.lean))
        flat, near = project(points, self.turn, self.lean)
        left.plot(*flat[near < 0].T, "o", color=BLUE, markerfacecolor="white", markersize=8)
        left.plot(*flat[near >= 0].T, "o", color=BLUE, markersize=12)
        left.set_title(f"energy {energy(torch.tensor(points)):.3f}, largest cosine {cosines[-1]:.3f}")
        right.plot(np.linspace(0, 1, len(cosines)), cosines, "o", color=RED, label="pairs of charges")
        right.axhline(-1 / (len(points) - 1), color=ORANGE, linestyle="--", label="regular simplex")
        right.set(xlim=(-0.03, 1.03), ylim=(-1.05, 1.05), xlabel="share of pairs", ylabel="cosine of a pair, at most")
        right.legend(loc="upper left")
        return figure

    alt = (
        "Left, charges on a circle or a sphere, to be dragged, shaken and let run until they are spread evenly; the "
        "sphere can be turned. Right, the cosines of all pairs in order of size: a wide curve at first, which becomes "
        "level, at the dashed line of the regular simplex, when there are at most one more charges than dimensions."
    )


def margin_rules(times: int = 4, cosine: float = 0.35, angle: float = 0.5) -> dict[str, Callable]:
    """Returns what replaces the cosine of the label's row, as functions of a tensor of cosines, by name.

    times: the m of L- and A-Softmax.
    cosine: the m of AM-Softmax.
    angle: the m of ArcFace, in radians.

    >>> margin_rules(cosine=0.25)["AM-Softmax: cos θ - 0.25"](torch.tensor(0.5)).item()
    0.25
    """
    rules = {
        "softmax: cos θ": torch.clone,
        f"L-, A-Softmax: ψ(θ), m = {times}": partial(psi, margin=times),
        f"AM-Softmax: cos θ - {cosine:g}": partial(additive, margin=cosine),
        f"ArcFace: cos(θ + {angle:g})": partial(additive_angle, margin=angle),
    }
    return rules


def _regions(rule, points, rows):
    """Where embeddings (N, 2) lie by a rule of `margin_rules`: c, the class that wins with its margin, else 0."""
    lengths = np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    cosines = np.clip(points @ rows.T / lengths, -1, 1)
    others = np.stack([np.delete(cosines, c, 1).max(1) for c in range(len(rows))], 1)
    wins = rule(torch.tensor(cosines)).numpy() > others
    return np.where(wins.any(1), wins.argmax(1) + 1, 0)


class Margins(Hand):
    """Classes as directions on a circle, in degrees, and where each wins by a rule of `margin_rules`.

    rows: directions of the classes. point: that of an embedding of class 1. times, cosine, angle: the margins of
    L- and A-Softmax, AM-Softmax and ArcFace. scale: s, the same for all.

    >>> Margins(rule="ArcFace").state["rows"]
    [130.0, 50.0]
    """

    module = "margins"
    rows = List([130.0, 50.0]).tag(sync=True)
    point = Float(115.0).tag(sync=True)
    rule = Enum(["softmax", "L-, A-Softmax", "AM-Softmax", "ArcFace"], "AM-Softmax").tag(sync=True)
    times = Int(4).tag(sync=True)
    cosine = Float(0.35).tag(sync=True)
    angle = Float(0.5).tag(sync=True)
    scale = Float(15.0).tag(sync=True)

    @styled
    def figure(self) -> Figure:
        """The circle with the class that wins in each direction; and the logit of class 1 over the angle to its row."""
        rules = margin_rules(self.times, self.cosine, self.angle)
        name = next(name for name in rules if name.startswith(self.rule))
        figure, (left, right) = new_axes(10, 4.8, columns=2)
        globe(left)
        around = _direction(np.arange(0.25, 360, 0.5))
        winners = _regions(rules[name], around, _direction(self.rows))
        for number, row in enumerate(_direction(self.rows), 1):
            left.plot(*around[winners == number].T, **class_look(number - 1, 7))
            left.annotate("", row, (0, 0), arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.6})
            left.text(*(1.12 * row), str(number), **NAME)
        left.plot(*np.stack([0 * around[0], 0.6 * _direction([self.point])[0]]).T, "o-", color=INK)
        theta = torch.linspace(0, 180, 721)
        for (name, rule), (color, line) in zip(rules.items(), looks(), strict=False):
            right.plot(
                theta, self.scale * rule(torch.cos(torch.deg2rad(theta))), color=color, linestyle=line, label=name
            )
        right.set(xlabel="angle θ to the own row (degrees)", ylabel=f"target logit, s = {self.scale:g}", xlim=(0, 180))
        right.legend(loc="lower left")
        return figure

    alt = (
        "Left, a circle with the directions of the classes, to be dragged, and a colored rim where a class wins even "
        "with its margin; between two classes is a gap where none does. Right, the target logits over the angle: the "
        "cosine for softmax; with a margin every curve lies below it, L- and A-Softmax in steps down to 1 - 2m times s."
    )


def _direction(degrees):
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], -1)


def space_explorer(embeddings: Arrays, labels: ArrayLike, classes: list[str], rows: Arrays | None = None) -> Live:
    """Shows one of the spheres of `labkit.figures.gallery` under a choice of the loss and a slider that turns it.

    >>> space_explorer({"softmax": [[1, 0, 0], [0, 0, 1]]}, [0, 1], ["A", "B"]).values
    {'loss': 'softmax', 'turn': 0}
    """

    def draw(loss, turn):
        return gallery({loss: embeddings[loss]}, labels, classes, rows, turn=turn)

    alt = (
        f"Points of {len(classes)} classes on a sphere that can be turned, with a line from the middle for the row of "
        "each class. A choice of the loss: with given centroids they are spread evenly, with learned rows they are not."
    )
    return live(draw, alt, loss=list(embeddings), turn=(-180, 180, 0, 5))
