"""labkit.figures, .drawing and .scenes: what is in the pictures, that everybody can read them, how they are shown."""

import base64
import io
import itertools
import subprocess
import sys
from types import SimpleNamespace

import IPython.display
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import rcParams
from matplotlib.colors import to_rgb
from PIL import Image

from labkit import figures
from labkit.figures import drawing
from labkit.figures import embedding as scenes
from labkit.figures.drawing import STYLE
from labkit.losses import ContrastiveLoss, count_triplets

RANDOM = np.random.default_rng(0)
DIGITS = RANDOM.integers(0, 255, (12, 1, 8, 8)).astype(np.uint8)
EMBEDDINGS, LABELS, CLASSES = RANDOM.normal(size=(40, 2)), np.arange(40) % 4, ("zero", "one", "two", "three")
SAME, DIFFERENT = np.abs(RANDOM.normal(0.5, 0.2, 300)), np.abs(RANDOM.normal(1.5, 0.3, 300))
HISTORY = SimpleNamespace(
    loss=[4.0, 2.0, 1.5, 0.5],
    epoch_loss=[3.0, 1.0],
    metrics={"accuracy": [0.5, 0.9], "recall": [0.4, 0.8]},
    best_epoch=2,
)
VERIFICATION = SimpleNamespace(fpr=np.array([0, 0.1, 1]), tpr=np.array([0, 0.9, 1]), auc=0.9, eer=0.1)

PICTURES = {
    "curves": lambda: figures.curves({"a": ([0, 1], [1, 2]), "b": ([0, 1], [[1, 2], [3, 5]])}, "epoch", "loss"),
    "bars": lambda: figures.bars({"pixels": 0.9, "triplet": [0.95, 0.97]}, "accuracy"),
    "history": lambda: figures.history(HISTORY),
    "history of a loss": lambda: figures.history(
        SimpleNamespace(loss=[1.0], epoch_loss=[1.0], metrics={}, best_epoch=None)
    ),
    "image_grid": lambda: figures.image_grid(DIGITS, titles=range(12), frames=["red"] * 12),
    "image_rows": lambda: figures.image_rows({"anchor": DIGITS[:4], "positive": DIGITS[4:8]}, titles="abcd"),
    "one_shot": lambda: figures.one_shot(DIGITS[0], DIGITS[1:4], ["7", "8", "9"], [0.4, 0.2, 0.9], truth=1),
    "embedding_plane": lambda: figures.embedding_plane(EMBEDDINGS, LABELS, CLASSES),
    "distance_histogram": lambda: figures.distance_histogram(SAME, DIFFERENT, threshold=1.0),
    "roc": lambda: figures.roc({"triplet": VERIFICATION}),
    "threshold_scene": lambda: scenes.threshold_scene(SAME, DIFFERENT)(1.0),
    "collapse": lambda: figures.collapse([1, 2], [1, 0], [2, 0], loss=[1, 0.2], margin=0.2),
    "contrastive_curves": lambda: figures.contrastive_curves(),
    "triplet_plane": lambda: figures.triplet_plane([0, 0], [1, 0], [0, 0.5]),
    "loss_surface": lambda: figures.loss_surface(0.4, "semihard", points=[[1, 1]]),
}


def pixels(figure, scale=0.5):
    return np.asarray(Image.open(io.BytesIO(figures.png(figure, scale))).convert("RGB"))


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")) if text.get_visible()]


# --- All pictures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PICTURES)
def test_every_axis_has_a_label_and_text_is_large_enough_for_a_projector(name):
    figure = PICTURES[name]()
    for axes in figure.axes:
        if axes.axison and axes.get_label() != "<colorbar>":
            assert axes.get_xlabel()
            assert axes.get_ylabel() or name in ("bars", "one_shot"), "those two name their rows instead"
    figure.canvas.draw()
    written = figure.findobj(lambda a: hasattr(a, "get_fontsize") and hasattr(a, "get_text") and a.get_text().strip())
    assert written and min(text.get_fontsize() for text in written) >= 11


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_a_pure_function_on_white(name):
    before = {key: rcParams[key] for key in STYLE}
    first, second = pixels(PICTURES[name]()), pixels(PICTURES[name]())
    assert np.array_equal(first, second)
    assert (first[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert first.min() < 60, "nothing dark is drawn"
    assert {key: rcParams[key] for key in STYLE} == before, "the user's settings are changed"


def test_the_users_dark_style_does_not_reach_the_pictures():
    light = pixels(PICTURES["contrastive_curves"]())
    from matplotlib import rc_context

    with rc_context({"figure.facecolor": "black", "axes.facecolor": "black", "text.color": "white", "font.size": 5}):
        assert np.array_equal(pixels(PICTURES["contrastive_curves"]()), light)


def test_pyplot_is_never_imported():
    code = (
        "import sys, labkit.figures as f; f.png(f.contrastive_curves()); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
    rgb = np.array([to_rgb(color) for color in figures.COLORS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = lab_color(linear @ np.array(BLINDNESS[kind]).T)
    differences = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert len(figures.COLORS) == len(set(figures.MARKERS)) == 10
    assert min(differences) > 15  # 2.3 can just be noticed


# --- Showing ------------------------------------------------------------------------------------------------------


def test_show_displays_the_picture_and_its_words(monkeypatch):
    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: shown.append((data, options)))
    figure = figures.contrastive_curves()
    figures.show(figure, "Two curves: <same> & different")
    (picture, options), (words, _) = shown
    assert picture["text/plain"] == "Figure: Two curves: <same> & different"
    image = Image.open(io.BytesIO(base64.b64decode(picture["image/png"])))
    assert options["metadata"] == {"image/png": {"alt": "Two curves: <same> & different", "width": image.width // 2}}
    assert "Two curves: &lt;same&gt; &amp; different" in words["text/html"]
    assert figure.dpi == 100
    assert "image" not in words["text/html"], "nbval compares HTML: pixels do not belong into it"


@pytest.mark.parametrize("alt", ["", "  ", None, 3])
def test_show_refuses_a_figure_without_words(alt):
    with pytest.raises(ValueError, match="alt: got"):
        figures.show(figures.contrastive_curves(), alt)


def test_png_draws_what_a_scene_moves_and_scales():
    figure = figures.embedding_plane(EMBEDDINGS, LABELS, CLASSES)
    assert pixels(figure, 1).shape == (600, 600, 3) and pixels(figure, 2).shape == (1200, 1200, 3)
    blue = np.array(to_rgb(figures.COLORS[0])) * 255
    assert (np.abs(pixels(figure, 1) - blue).max(axis=2) < 8).sum() > 50


# --- Charts -------------------------------------------------------------------------------------------------------


def test_curves_draw_the_mean_in_a_band_of_the_seeds():
    x, y = np.arange(3), torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]], requires_grad=True)
    axes = figures.curves({"one": (x, [5, 6, 7]), "many": (x, y)}, "epoch", "loss", "title").axes[0]
    one, many = axes.lines
    assert one.get_ydata().tolist() == [5, 6, 7] and many.get_ydata().tolist() == [2, 3, 5.5]
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert {(0, 1), (0, 3), (2, 3), (2, 8)} <= {tuple(corner) for corner in corners}
    assert one.get_linestyle() != many.get_linestyle() and one.get_color() != many.get_color()
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("epoch", "loss", "title")
    assert [text.get_text() for text in axes.get_legend().texts] == ["one", "many"]


@pytest.mark.parametrize("y", [[1, 2], [[1, 2, 3], [1, 2, np.nan]], [[[1, 2, 3]]]])
def test_curves_refuse_what_does_not_fit(y):
    with pytest.raises(ValueError, match=r"lines\['a'\] y: got"):
        figures.curves({"a": ([0, 1, 2], y)}, "x", "y")
    with pytest.raises(ValueError, match="lines: got nothing"):
        figures.curves({}, "x", "y")


def test_bars_show_mean_standard_error_and_seeds():
    figure = figures.bars({"pixels": 0.5, "triplet": [0.7, 0.8, 0.9]}, "accuracy", start=0.4)
    axes = figure.axes[0]
    assert [bar.get_x() + bar.get_width() for bar in axes.patches] == pytest.approx([0.5, 0.8])
    (error,) = axes.collections  # of the row with several seeds
    (left, right) = error.get_segments()[0][:, 0]
    assert (right - left) / 2 == pytest.approx(0.1 / np.sqrt(3))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["pixels", "triplet"]
    assert "0.500" in texts(figure) and "0.800" in texts(figure)
    assert axes.get_xlim()[0] == 0.4 and "axis begins at 0.4" in axes.get_xlabel()


def test_table_is_markdown_with_standard_errors():
    rows = {"softmax": {"accuracy": [0.9, 0.92, 0.94], "auc": 0.5}, "triplet": {"accuracy": 1}}
    assert figures.table(rows, ["accuracy", "auc"], digits=2).split("\n") == [
        "| | accuracy | auc |",
        "|:--|--:|--:|",
        "| softmax | 0.92 ± 0.01 | 0.50 |",
        "| triplet | 1.00 | – |",
    ]


def test_history_draws_steps_epochs_metrics_and_the_best():
    left, right = figures.history(HISTORY).axes
    steps, epochs = left.lines
    assert steps.get_xydata().tolist() == [[0.25, 4], [0.75, 2], [1.25, 1.5], [1.75, 0.5]]
    assert epochs.get_xydata().tolist() == [[0.5, 3], [1.5, 1]]
    assert [line.get_label() for line in right.lines] == ["accuracy", "recall", "best: 0.900"]
    assert right.lines[-1].get_xydata().tolist() == [[2, 0.9]]


# --- Images -------------------------------------------------------------------------------------------------------


def test_image_grid_places_and_scales():
    floats = torch.linspace(-1, 1, 3 * 4).reshape(3, 1, 2, 2)
    axes = figures.image_grid(floats, titles=["a", "b", "c"], columns=2).axes[0]
    assert [image.get_extent()[0] // 1 for image in axes.images] == [0, 1, 0]
    assert axes.images[2].get_extent()[3] > 1
    assert axes.images[0].get_array().min() == 0 and axes.images[2].get_array().max() == 1
    assert [text.get_text() for text in axes.texts] == ["a", "b", "c"]
    colors = figures.image_grid(np.full((2, 3, 5, 5), 255, np.uint8)).axes[0].images[0].get_array()
    assert colors.shape == (5, 5, 3) and colors.max() == 1


def test_image_rows_name_the_rows():
    figure = figures.image_rows({"anchor": DIGITS[:3], "positive": DIGITS[3:6], "negative": DIGITS[6:9]}, titles="xyz")
    assert {"anchor", "positive", "negative", "x", "y", "z"} <= set(texts(figure))
    assert len(figure.axes[0].images) == 9
    with pytest.raises(ValueError, match="rows: got rows of"):
        figures.image_rows({"left": DIGITS[:2], "right": DIGITS[:3]})


@pytest.mark.parametrize("shape", [(4, 4), (2, 2, 4, 4), (0, 1, 4, 4)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="images: got"):
        figures.image_grid(np.zeros(shape))


def test_one_shot_marks_the_nearest_and_the_truth():
    figure = figures.one_shot(DIGITS[0], DIGITS[1:4], ["7", "8", "9"], [0.4, 0.2, 0.9], truth=2)
    assert {"0.40", "0.20 nearest", "0.90 (the right class)", "query", "7", "8", "9"} <= set(texts(figure))
    assert [bar.get_width() for bar in figure.axes[1].patches] == [0.4, 0.2, 0.9]
    with pytest.raises(ValueError, match="distances: got shape"):
        figures.one_shot(DIGITS[0], DIGITS[1:4], ["7", "8", "9"], [0.4, 0.2])


# --- Embeddings, distances, verification --------------------------------------------------------------------------


def test_embedding_plane_shows_each_class_with_its_name_at_its_center():
    axes = figures.embedding_plane(torch.tensor(EMBEDDINGS), torch.tensor(LABELS), CLASSES, "title").axes[0]
    for c, (points, name) in enumerate(zip(axes.lines, axes.texts, strict=True)):
        assert np.array_equal(points.get_xydata(), EMBEDDINGS[LABELS == c])
        assert name.get_text() == CLASSES[c]
        assert name.get_position() == pytest.approx(tuple(EMBEDDINGS[LABELS == c].mean(0)))
    looks = {(points.get_color(), points.get_marker()) for points in axes.lines}
    assert len(looks) == 4 and len({marker for _, marker in looks}) == 4
    assert axes.get_xlim() == axes.get_ylim() and axes.get_xlim()[1] > np.abs(EMBEDDINGS).max()
    assert axes.get_title() == "title"


def test_every_title_of_a_scene_has_room():
    draw = scenes.embedding_scene([EMBEDDINGS] * 2, LABELS, CLASSES, ["", "two\nlines"])
    figure = draw(0)
    pixels(figure, 1)
    draw(1)
    top = figure.axes[0].title.get_window_extent().y1
    assert top <= figure.bbox.y1


def test_forty_seven_classes_still_look_different():
    labels = np.arange(94) % 47
    lines = figures.embedding_plane(RANDOM.normal(size=(94, 2)), labels, [str(n) for n in range(47)]).axes[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 47


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (EMBEDDINGS[:, :1], LABELS, r"embeddings\[0\]: got shape \(40, 1\)"),
        (EMBEDDINGS, LABELS[:5], r"embeddings\[0\]: got shape"),
        (EMBEDDINGS * np.inf, LABELS, "not finite"),
        (EMBEDDINGS, LABELS + 1, "labels: got"),
        (EMBEDDINGS, LABELS - 1, "labels: got"),
    ],
)
def test_embedding_plane_refuses_bad_input(embeddings, labels, message):
    with pytest.raises(ValueError, match=message):
        figures.embedding_plane(embeddings, labels, CLASSES)


def test_distance_histogram_counts_each_kind_to_100_percent_and_names_the_errors():
    figure = figures.distance_histogram([0.1, 0.2, 0.9], [0.3, 0.8, 1.0, 1.1], threshold=0.5)
    axes = figure.axes[0]
    filled = [bar.get_height() for bar in axes.patches if hasattr(bar, "get_height")]
    assert sum(filled[:49]) == sum(filled[49:]) == pytest.approx(100)
    assert axes.lines[0].get_xdata() == [0.5, 0.5]
    assert "rejects 33.3% of the same" in axes.get_title() and "accepts 25.0% of the different" in axes.get_title()


def test_distances_of_a_collapsed_network_are_drawn_and_no_distances_refused():
    assert pixels(figures.distance_histogram(np.zeros(5), np.zeros(5), threshold=0.0)).min() < 60
    with pytest.raises(ValueError, match="different: got no distance"):
        figures.distance_histogram([1.0], [])


@pytest.mark.parametrize("margin", [-0.1, np.nan, np.inf])
def test_a_margin_below_zero_is_refused(margin):
    for draw in (
        figures.contrastive_curves,
        figures.loss_surface,
        lambda m: figures.triplet_plane([0, 0], [1, 0], [0, 1], m),
    ):
        with pytest.raises(ValueError, match="margin: got"):
            draw(margin)


def test_roc_draws_the_curve_and_its_equal_error_rate():
    axes = figures.roc({"triplet": VERIFICATION}).axes[0]
    _, curve, dot = axes.lines
    assert curve.get_xydata().tolist() == [[0, 0], [0.1, 0.9], [1, 1]]
    assert dot.get_xydata().tolist() == [[0.1, 0.9]]
    assert curve.get_label() == "triplet: AUC 0.900, EER 10.0%"


def test_threshold_scene_moves_line_and_dot_together():
    draw = scenes.threshold_scene([0.1, 0.2, 0.9], [0.3, 0.8, 1.0, 1.1])
    for threshold, fpr, tpr in ((0.0, 0, 0), (0.5, 0.25, 2 / 3), (0.9, 0.5, 1), (2.0, 1, 1)):
        left, right = draw(threshold).axes
        _, curve, dot = right.lines
        assert dot.get_xydata().tolist() == [[fpr, tpr]]
        assert [fpr, tpr] in curve.get_xydata().tolist(), "the dot lies on the curve"
        assert left.lines[0].get_xdata() == [threshold, threshold]


def test_collapse_shows_distances_and_the_margin():
    left, right = figures.collapse([1, 2], [1, 0], [2, 0.1], loss=[1, 0.2], margin=0.2).axes
    assert [line.get_ydata().tolist() for line in left.lines] == [[1, 0], [2, 0.1]]
    assert right.lines[1].get_ydata() == [0.2, 0.2]
    assert len(figures.collapse([1, 2], [1, 0], [2, 0.1]).axes) == 1


# --- Losses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.5, 1.0])
def test_contrastive_curves_are_the_contrastive_loss(margin):
    same, different = figures.contrastive_curves(margin).axes[0].lines[:2]
    loss = ContrastiveLoss(margin)
    for line, labels in ((same, [0, 0]), (different, [0, 1])):
        for distance, drawn in line.get_xydata()[::20]:
            pair = torch.tensor([[0.0, 0.0], [distance, 0.0]], dtype=torch.float64)
            assert loss(pair, torch.tensor(labels)).item() == pytest.approx(drawn, abs=1e-12)


coordinates = st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=2)


@settings(max_examples=60, deadline=None)
@given(coordinates, coordinates, coordinates, st.floats(0, 1), st.booleans())
def test_gradients_of_a_triplet_are_those_of_autograd(a, p, n, margin, squared):
    t = scenes.triplet(a, p, n, margin, squared)
    corners = torch.tensor([a, p, n], dtype=torch.float64, requires_grad=True)
    ap, an = (corners[0] - corners[1]).square().sum(), (corners[0] - corners[2]).square().sum()
    if not squared:
        if min(ap, an) < 1e-6 or abs(t.loss) < 1e-9:
            return  # no direction, or the corner of the hinge
        ap, an = ap.sqrt(), an.sqrt()
    loss = torch.relu(ap - an + margin)
    (gradients,) = torch.autograd.grad(loss, corners)
    assert t.loss == pytest.approx(loss.item(), abs=1e-9)
    assert (t.d_ap, t.d_an) == pytest.approx((ap.item(), an.item()))
    if abs((ap - an + margin).item()) > 1e-9:
        assert t.gradients == pytest.approx(gradients.numpy(), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(coordinates, coordinates, coordinates, st.floats(0, 1), st.booleans())
def test_kinds_of_triplets_are_those_that_the_loss_counts(a, p, n, margin, squared):
    corners = torch.tensor([a, p, n], dtype=torch.float64)
    distances = [(corners[i] - corners[j]).norm().item() for i, j in ((0, 1), (0, 2), (1, 2))]
    if squared:
        distances = [distance**2 for distance in distances]
    ap, an, pn = distances
    if min(abs(ap - an), abs(ap - pn), abs(ap + margin - an), abs(ap + margin - pn)) < 1e-6:
        return  # a tie is decided by rounding
    counts = count_triplets(corners, torch.tensor([0, 0, 1]), margin, squared)
    kinds = [scenes.triplet(*points, margin, squared).kind for points in ((a, p, n), (p, a, n))]
    expected = (counts.easy, counts.semihard, counts.hard)
    assert tuple(kinds.count(kind) for kind in ("easy", "semi-hard", "hard")) == expected


def test_a_triplet_in_one_place_has_a_finite_gradient_of_zero():
    t = scenes.triplet([1, 1], [1, 1], [1, 1], 0.2)
    assert t.loss == 0.2 and not t.gradients.any()


@pytest.mark.parametrize("squared", [False, True])
def test_triplet_plane_draws_rings_points_and_descent(squared):
    anchor, positive, negative, margin = [0.1, 0.2], [1.1, 0.2], [0.1, 0.9], 0.44
    figure = figures.triplet_plane(anchor, positive, negative, margin, squared)
    axes = figure.axes[0]
    outer, inner = axes.patches
    assert list(inner.center) == list(outer.center) == anchor
    assert inner.radius == pytest.approx(1)
    assert outer.radius == pytest.approx(1.2 if squared else 1.44), "beyond it the loss is zero"
    drawn = {tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() != "None"}
    assert drawn == {tuple(anchor), tuple(positive), tuple(negative)}
    (arrows,) = axes.collections
    moves = np.stack([arrows.U, arrows.V], axis=1)
    before = scenes.triplet(anchor, positive, negative, margin, squared)
    assert moves == pytest.approx(-scenes.STEP * before.gradients)
    after = scenes.triplet(*(np.array([anchor, positive, negative]) + moves / 10), margin, squared)
    assert after.loss < before.loss, "the arrows go downhill"
    assert f"loss {before.loss:.2f}, hard" in axes.get_title()


def test_an_easy_triplet_has_no_arrows():
    axes = figures.triplet_plane([0, 0], [0.5, 0], [0, 1.5], 0.2).axes[0]
    assert not axes.collections[0].U.any() and not axes.collections[0].V.any()
    assert "loss 0.00, easy; no gradient" in axes.get_title()


KEPT = {
    None: lambda ap, an, margin: True,
    "active": lambda ap, an, margin: an < ap + margin,
    "semihard": lambda ap, an, margin: ap < an < ap + margin,
    "hard": lambda ap, an, margin: an < ap,
}


@pytest.mark.parametrize("constraint", KEPT)
@pytest.mark.parametrize("margin", [0.0, 0.2, 0.7])
def test_loss_surface_shades_the_loss_and_hatches_what_is_not_kept(constraint, margin):
    """FaceNet's definitions, not the paper's printed ones, which are reversed."""
    axes = figures.loss_surface(margin, constraint).axes[0]
    bands = [patch for patch in axes.patches if not patch.get_hatch()]
    hidden = [patch for patch in axes.patches if patch.get_hatch() and patch.get_visible()]
    for ap, an in RANDOM.uniform(0, 2, (200, 2)):
        loss = max(ap - an + margin, 0)
        covering = sum(patch.get_path().contains_point((ap, an)) for patch in bands)
        assert covering == min(np.ceil(loss / 0.25), 10)
        assert any(p.get_path().contains_point((ap, an)) for p in hidden) != KEPT[constraint](ap, an, margin)


@pytest.mark.parametrize("margin", [0.3, 0.6])
def test_loss_surface_writes_the_names_where_they_belong(margin):
    axes = figures.loss_surface(margin).axes[0]
    for name in axes.texts:
        ap, an = name.get_position()
        written = name.get_text().split(":")[0]
        assert written == ("hard" if an < ap else "semi-hard" if an < ap + margin else "easy")


def test_loss_surface_labels_squared_distances_and_draws_points():
    axes = figures.loss_surface(0.2, "hard", squared=True, points=[[0.5, 1.0]]).axes[0]
    assert "d²(a,p)" in axes.get_xlabel() and "d²(a,n)" in axes.get_ylabel()
    assert "kept: d²(a,n) < d²(a,p)" in axes.get_title()
    assert [0.5, 1.0] in axes.lines[-1].get_xydata().tolist()
    with pytest.raises(ValueError, match="constraint: got 'easy'"):
        figures.loss_surface(0.2, "easy")


def test_array_names_what_is_wrong():
    assert drawing.array("x", torch.ones(2, 3, requires_grad=True), 2, None).shape == (2, 3)
    with pytest.raises(ValueError, match=r"x: got shape \(2, 3\), expected \(any, 2\)"):
        drawing.array("x", np.ones((2, 3)), None, 2)
