"""labkit.figures.style, and what it promises of every picture: colors that everybody can see and tell apart."""

import itertools
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import rc_context, rcParams
from matplotlib.collections import Collection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.contour import ContourSet
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from pictures import pixels

from labkit import figures
from labkit.centroids import charge_simulation
from labkit.figures import lab00, lab01, lab02, lab03, lab04, lab05, lab06, lab07, lab08, lab09, style
from labkit.figures.hands import Hand

RANDOM = np.random.default_rng(0)
DIGITS = RANDOM.integers(0, 255, (12, 1, 8, 8)).astype(np.uint8)
PLANE, SPACE, LABELS = RANDOM.normal(size=(80, 2)), RANDOM.normal(size=(80, 3)), np.arange(80) % 10
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HISTORY = SimpleNamespace(
    loss=[4.0, 2.0, 1.5, 0.5],
    epoch_loss=[3.0, 1.0],
    metrics={"accuracy": [0.5, 0.9], "recall": [0.4, 0.8]},
    best_epoch=2,
)
VERIFICATION = SimpleNamespace(fpr=np.array([0, 0.1, 1]), tpr=np.array([0, 0.9, 1]), auc=0.9, eer=0.1)
CURVES = {name: ([0, 1], [[1, n], [2, n + 2]]) for n, name in enumerate("abcdefg")}
ROWS = {"softmax": RANDOM.normal(size=(10, 3))}

CHARTS = {
    "curves": lambda: figures.curves(CURVES, "epoch", "loss"),
    "bars": lambda: figures.bars({"pixels": 0.9, "triplet": [0.95, 0.97]}, "accuracy"),
    "history": lambda: figures.history(HISTORY),
    "history of a loss": lambda: figures.history(
        SimpleNamespace(loss=[1.0], epoch_loss=[1.0], metrics={}, best_epoch=None)
    ),
    "image_grid": lambda: figures.image_grid(DIGITS, titles=range(12)),
    "image_rows": lambda: figures.image_rows({"anchor": DIGITS[:4], "positive": DIGITS[4:8]}, titles="abcd"),
    "embedding_plane": lambda: figures.embedding_plane(PLANE, LABELS, CLASSES),
    "gallery": lambda: figures.gallery({"softmax": PLANE}, LABELS, CLASSES, {"softmax": ROWS["softmax"][:, :2]}),
    "distance_histogram": lambda: lab04.distance_histogram(RANDOM.uniform(0, 1, 300), RANDOM.uniform(0.5, 2, 300)),
    "roc": lambda: lab04.roc({"triplet": VERIFICATION}),
    "triplet_picture": lambda: lab04.triplet_picture([0, 0], [1, 0], [0, 1.2], 0.4),
}
PICTURES = CHARTS | {
    "gallery of spheres": lambda: figures.gallery({"softmax": SPACE}, LABELS, CLASSES, ROWS),
    "embedding_explorer": lambda: lab00.embedding_explorer([PLANE, 2 * PLANE], LABELS, CLASSES),
    "matrices": lambda: lab01.matrices({"kernel": [[-1, 0], [0.5, 2]]}, frames={"kernel": (0, 0, 1, 1)}),
    "photographs": lambda: lab01.photographs({"photograph": np.eye(5)}),
    "kernel_editor": lambda: lab01.kernel_editor(np.eye(9), [[1, -1]]),
    "histogram_grid": lambda: lab02.histogram_grid({"tanh": [PLANE]}, ["layer 1"], "output", (-1, 1)),
    "signal_explorer": lab02.signal_explorer,
    "paths": lambda: lab03.paths(lab03.SURFACES["saddle"], {"a": PLANE[:9]}),
    "race": lab03.Race,
    "momentum": lab03.MomentumPlane,
    "batch": lab04.Batch,
    "centers": lab05.Centers,
    "center_explorer": lambda: lab05.center_explorer({"λ = 1": [PLANE, PLANE]}, LABELS, CLASSES),
    "surfaces": lambda: lab06.surfaces({"exponential": lab06.exponential_height}),
    "barrier": lab06.Barrier,
    "length_maps": lambda: lab06.length_maps(list(lab06.MAPS)),
    "plane_maps": lambda: lab06.plane_maps(["L2"]),
    "range": lab06.RangePlane,
    "gradient_fields": lab07.gradient_fields,
    "field_explorer": lab07.field_explorer,
    "arcs": lambda: lab07.arcs({"hard": (0.2, 0.8, 1, 1)}),
    "clouds": lambda: lab07.clouds({"one": ([0.1, 0.2], [0.9, 0.8])}),
    "projections": lambda: lab07.projections({"PCA": PLANE}, LABELS, CLASSES, LABELS > 4),
    "charges": lambda: lab08.Charges(points=charge_simulation(9, 3, steps=2)[2].tolist()),
    "margins": lab08.Margins,
    "space_explorer": lambda: lab08.space_explorer({"softmax": SPACE}, LABELS, CLASSES, ROWS),
    "ball_and_hill": lab09.ball_and_hill,
    "plane_explorer": lambda: lab09.plane_explorer([0, 1], [0, 1], [[1, 2], [3, 4]], {"end": (1, 0)}, PLANE),
    "reliability": lambda: lab09.reliability({"one": [[0.5, 0.6, 0.7], [0.5, 0.9, 0.8]]}),
}


# --- Contrast -----------------------------------------------------------------------------------------------------


def contrast(color):
    """WCAG's contrast of a color, drawn on white, with white: 1 to 21."""
    red, green, blue, alpha = to_rgba(color)
    rgb = np.array([red, green, blue]) * alpha + 1 - alpha
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)


def drawn_colors(figure):
    """Of everything drawn in a picture (what, its color and its edge's), but images and the areas of color scales."""
    paper = {figure.patch, *(axes.patch for axes in figure.axes)}
    for artist in figure.findobj(lambda a: a.get_visible() and a not in paper):
        name = f"{type(artist).__name__} {artist.get_label()}"
        if isinstance(artist, Line2D) and len(artist.get_xdata()):
            fade = artist.get_alpha() or 1
            if artist.get_linestyle() not in ("None", "", " ") and artist.get_linewidth():
                yield name, [to_rgba(artist.get_color(), fade)]
            if artist.get_marker() not in ("None", "", None):
                edge = [to_rgba(artist.get_markeredgecolor(), fade)] * (artist.get_markeredgewidth() > 0)
                yield name, [to_rgba(artist.get_markerfacecolor(), fade), *edge]
        elif isinstance(artist, Patch):
            edged = artist.get_linewidth() > 0 or artist.get_hatch()
            white = artist.get_facecolor()[:3] == (1, 1, 1)
            if not white and (edged or not any(axes.get_label() == "<colorbar>" for axes in figure.axes)):
                yield name, [artist.get_facecolor(), artist.get_edgecolor()][: 2 if edged else 1]
        elif isinstance(artist, ContourSet) and not artist.filled:
            yield from ((name, [color]) for color in artist.get_edgecolor())
        elif isinstance(artist, Collection) and not isinstance(artist, (ContourSet, Poly3DCollection)):
            if artist.get_array() is not None:
                continue
            yield from ((name, [color, *artist.get_edgecolor()]) for color in artist.get_facecolor())
        elif isinstance(artist, Text) and artist.get_text().strip():
            yield f"{name} {artist.get_text()}", [artist.get_color()]


@pytest.mark.parametrize("name", PICTURES)
def test_everything_drawn_has_contrast_with_the_paper_or_a_dark_edge(name):
    picture = PICTURES[name]()
    picture = picture.figure() if isinstance(picture, Hand) else getattr(picture, "_figure", picture)
    colors = list(drawn_colors(picture))
    assert colors, "nothing is drawn"
    assert [(what, fills) for what, fills in colors if max(map(contrast, fills)) < 3] == []


def test_contrast_is_measured():
    assert contrast("black") == pytest.approx(21) and contrast("white") == pytest.approx(1)
    assert contrast((0, 0, 0, 0)) == pytest.approx(1), "what is transparent shows the paper"
    assert sorted(round(contrast(color), 1) for color in style.COLORS)[:4] == [1.6, 1.9, 2.3, 2.6]
    pale = figures.curves({"a": ([0, 1], [0, 1])}, "x", "y")
    pale.axes[0].lines[0].set_color("#92dadd")
    assert min(max(map(contrast, fills)) for _, fills in drawn_colors(pale)) < 3


# Machado, Oliveira, Fernandes 2009, severity 1: what the three kinds of dichromats see, for linear RGB.
BLINDNESS = {
    "normal sight": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab_color(linear):
    """CIELAB of linear RGB colors (N, 3)."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = np.clip(linear, 0, 1) @ to_xyz.T / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("kind", BLINDNESS)
def test_ten_colors_are_told_apart_with_every_color_blindness(kind):
    rgb = np.array([to_rgb(color) for color in style.COLORS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = lab_color(linear @ np.array(BLINDNESS[kind]).T)
    differences = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert len(style.COLORS) == len(set(style.MARKERS)) == 10
    assert min(differences) > 15  # 2.3 can just be noticed


def test_a_hundred_classes_look_different():
    looks = {(look["color"], look["marker"]) for look in map(style.class_look, range(100))}
    assert len(looks) == 100


# --- All pictures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHARTS)
def test_every_axis_has_a_label_and_text_is_large_enough_for_a_projector(name):
    figure = CHARTS[name]()
    for axes in figure.axes:
        if axes.axison and axes.get_label() != "<colorbar>":
            assert axes.get_xlabel()
            assert axes.get_ylabel() or name == "bars", "it names its rows instead"
    figure.canvas.draw()
    written = figure.findobj(lambda a: hasattr(a, "get_fontsize") and hasattr(a, "get_text") and a.get_text().strip())
    assert written and min(text.get_fontsize() for text in written) >= 11


@pytest.mark.parametrize("name", CHARTS)
def test_a_picture_is_a_pure_function_on_white(name):
    before = {key: rcParams[key] for key in style.STYLE}
    RANDOM.bit_generator.state = np.random.default_rng(0).bit_generator.state
    first = pixels(CHARTS[name](), 0.5)
    RANDOM.bit_generator.state = np.random.default_rng(0).bit_generator.state
    assert np.array_equal(first, pixels(CHARTS[name](), 0.5))
    assert (first[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert first.min() < 60, "nothing dark is drawn"
    assert {key: rcParams[key] for key in style.STYLE} == before, "the user's settings are changed"


def test_the_users_dark_style_does_not_reach_the_pictures():
    light = pixels(CHARTS["curves"]())
    with rc_context({"figure.facecolor": "black", "axes.facecolor": "black", "text.color": "white", "font.size": 5}):
        assert np.array_equal(pixels(CHARTS["curves"]()), light)


def loaded(code):
    names = "'matplotlib', 'matplotlib.pyplot', 'ipywidgets'"
    code = f"import sys; {code}; print(*(name for name in ({names},) if name in sys.modules))"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_what_is_imported_when():
    assert loaded("import labkit") == []
    assert loaded("from labkit import figures; figures.bars({'a': 1}, 'x')") == ["matplotlib"]
    assert loaded("from labkit.figures import lab04; lab04.triplet([0], [1], [2], 0.2)") == ["matplotlib", "ipywidgets"]
