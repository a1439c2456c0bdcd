"""Colors, markers and matplotlib's settings of all pictures.

The ten colors can be told apart with every common color blindness; what they mean is also said by a marker, a line
style or a name in the picture. Some of them are too light for white paper (contrast below 3:1): points therefore have
a dark edge, and lines have the six darkest colors. Pairs of the same class are blue, of different classes red,
everywhere.
"""

from collections.abc import Iterator
from itertools import cycle

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke

# Petroff, "Accessible color sequences for data visualization", 2021.
COLORS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
BLUE, YELLOW, RED, _, PURPLE, BROWN, ORANGE, _, GRAY, _ = COLORS
SAME, DIFFERENT, INK = BLUE, RED, "#222222"
LINES = ((BLUE, "-"), (RED, "--"), (PURPLE, "-."), (ORANGE, ":"), (GRAY, (0, (6, 1, 1, 1, 1, 1))), (BROWN, (0, (9, 2))))

STYLE = {
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.labelsize": 14,
    "legend.fontsize": 12,
    "legend.title_fontsize": 11,
    "legend.edgecolor": "none",
    "legend.facecolor": "white",
    "legend.framealpha": 0.8,
    "lines.linewidth": 2.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.1,
    **dict.fromkeys(["text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor"], INK),
}
styled = rc_context(STYLE)  # a decorator; the user's own settings of matplotlib stay as they are
OUTLINE = [withStroke(linewidth=3.5, foreground="white")]  # keeps text readable on top of points
NAME = {"ha": "center", "va": "center", "fontweight": "bold", "path_effects": OUTLINE}  # a class's, at its center


def looks() -> Iterator[tuple]:
    """Yields (color, line style) pairs without end.

    >>> next(looks())
    ('#3f90da', '-')
    """
    return cycle(LINES)


def class_look(number: int, size: float = 5.5) -> dict:
    """Returns the style of a class's points: color, marker, and an edge that is dark enough for white paper.

    number: of the class; 100 classes look different.
    size: of the markers, in points.

    >>> class_look(0)["color"], class_look(0)["marker"]
    ('#3f90da', 'o')
    """
    color, marker = COLORS[number % 10], MARKERS[(number + number // 10) % 10]
    size *= 1.4 if marker == "*" else 1
    edge = {"markeredgecolor": np.array(to_rgb(color)) * 0.55, "markeredgewidth": 0.6}
    return {"color": color, "marker": marker, "linestyle": "", "markersize": size, **edge}
