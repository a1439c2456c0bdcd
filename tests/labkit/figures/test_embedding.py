"""labkit.figures.embedding: every point in its place, in the plane, on the sphere and during training."""

import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from pictures import pixels

from labkit import figures
from labkit.figures import embedding, style

RANDOM = np.random.default_rng(0)
POINTS, LABELS, CLASSES = RANDOM.normal(size=(40, 2)), np.arange(40) % 4, ("zero", "one", "two", "three")


# --- One plane ----------------------------------------------------------------------------------------------------


def test_embedding_plane_shows_each_class_with_its_name_at_its_center():
    axes = figures.embedding_plane(torch.tensor(POINTS), torch.tensor(LABELS), CLASSES, "title").axes[0]
    for c, (points, name) in enumerate(zip(axes.lines, axes.texts, strict=True)):
        assert np.array_equal(points.get_xydata(), POINTS[LABELS == c])
        assert name.get_text() == CLASSES[c]
        assert name.get_position() == pytest.approx(tuple(POINTS[LABELS == c].mean(0)))
    looks = {(points.get_color(), points.get_marker()) for points in axes.lines}
    assert len(looks) == 4 and len({marker for _, marker in looks}) == 4
    assert axes.get_xlim() == axes.get_ylim() and axes.get_xlim()[1] > np.abs(POINTS).max()
    assert axes.get_title() == "title"


def test_every_title_of_a_scene_has_room():
    draw = embedding.embedding_scene([POINTS] * 2, LABELS, CLASSES, ["", "two\nlines"])
    figure = draw(0)
    pixels(figure)
    draw(1)
    assert figure.axes[0].title.get_window_extent().y1 <= figure.bbox.y1


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        (POINTS[:, :1], LABELS, r"embeddings\[0\]: got shape \(40, 1\)"),
        (POINTS, LABELS[:5], r"embeddings\[0\]: got shape"),
        (POINTS * np.inf, LABELS, "not finite"),
        (POINTS, LABELS + 1, "labels: got"),
        (POINTS, LABELS - 1, "labels: got"),
    ],
)
def test_embedding_plane_refuses_bad_input(points, labels, message):
    with pytest.raises(ValueError, match=message):
        figures.embedding_plane(points, labels, CLASSES)


# --- Galleries ----------------------------------------------------------------------------------------------------

FEW = np.array([0, 1, 1, 0, 0])  # no row of the other classes
SPACES = {"plane": RANDOM.normal(size=(5, 2)), "space": torch.tensor(RANDOM.normal(size=(5, 3)))}
ROWS = {"plane": RANDOM.normal(size=(3, 2)), "space": RANDOM.normal(size=(3, 3))}


def drawn(axes, c):
    """The points of class c, and whether each is filled."""
    mine = [line for line in axes.lines if line.get_color() == style.COLORS[c] and line.get_linestyle() == "None"]
    assert {line.get_marker() for line in mine} == {style.MARKERS[c]}
    filled = [to_hex(line.get_markerfacecolor()) == style.COLORS[c] for line in mine for _ in line.get_xdata()]
    return np.concatenate([np.transpose(line.get_data()) for line in mine]), np.array(filled)


def test_the_gallery_holds_the_points_and_the_rows():
    plane, space = figures.gallery(SPACES, FEW, CLASSES, ROWS, turn=25).axes
    assert (plane.get_title(), space.get_title()) == ("plane", "space")
    assert plane.get_xlabel() == "embedding, first dimension" and not space.axison and plane.get_aspect() == 1
    unit = np.asarray(SPACES["space"]) / np.linalg.norm(SPACES["space"], axis=1, keepdims=True)
    flat, near = embedding.project(unit, 25)
    for axes, points, front in ((plane, SPACES["plane"], np.full(5, True)), (space, flat, near >= 0)):
        for c in (0, 1):
            own = points[FEW == c]
            shown, filled = drawn(axes, c)
            assert np.allclose(np.sort(shown, 0), np.sort(own, 0))
            assert filled.sum() == front[FEW == c].sum(), "what lies behind the sphere is hollow"
        names = {text.get_text(): text.get_position() for text in axes.texts}
        assert set(names) == {"zero", "one"}
        assert np.allclose(names["one"], points[FEW == 1].mean(0))
    lines = [line for line in plane.lines if len(line.get_xdata()) == 2 and line.get_color() == style.GRAY]
    ends = np.array([[line.get_xdata()[1], line.get_ydata()[1]] for line in lines])
    assert np.allclose(
        ends / np.linalg.norm(ends, axis=1)[:, None],
        ROWS["plane"] / np.linalg.norm(ROWS["plane"], axis=1)[:, None],
    )


def test_each_plane_of_the_gallery_has_a_scale_of_its_own():
    figure = figures.gallery({"small": SPACES["plane"], "large": 100 * SPACES["plane"]}, FEW, CLASSES)
    small, large = (np.abs(axes.get_xlim()).max() for axes in figure.axes)
    assert large > 10 * small


@pytest.mark.parametrize(("number", "columns", "inches"), [(1, 3, (5, 5)), (4, 2, (10, 10)), (4, 3, (12, 8))])
def test_the_gallery_stands_in_columns(number, columns, inches):
    figure = figures.gallery({f"{n}": SPACES["plane"] for n in range(number)}, FEW, CLASSES, columns=columns)
    assert len(figure.axes) == number and tuple(figure.get_size_inches()) == inches


def test_a_bad_gallery():
    with pytest.raises(ValueError, match="embeddings: got nothing"):
        figures.gallery({}, FEW, CLASSES)
    with pytest.raises(ValueError, match=r"embeddings\['plane'\]: got shape \(5, 2\), expected \(2, any\)"):
        figures.gallery(SPACES, FEW[:2], CLASSES)


# --- Spheres ------------------------------------------------------------------------------------------------------


def test_the_plane_is_seen_as_it_is():
    points = RANDOM.normal(size=(4, 2))
    flat, near = embedding.project(points, turn=77)
    assert np.array_equal(flat, points) and not near.any()


def test_a_sphere_is_seen_turned():
    points = RANDOM.normal(size=(6, 3))
    flat, near = embedding.project(points, turn=30)
    seen = np.column_stack([flat, near])
    assert np.allclose(seen @ seen.T, points @ points.T), "a rotation"
    (pole, _), front = embedding.project([[0, 0, 1], [0, -1, 0]], turn=0)
    assert np.allclose(pole, [0, math.cos(math.radians(embedding.LEAN))]), "the upper pole leans towards the viewer"
    assert (front > 0).all()
    turned, still = embedding.project([[0, -1, 0]], turn=90)[0], embedding.project([[1, 0, 0]], turn=0)[0]
    assert np.allclose(turned, still)
    more = np.column_stack([points, RANDOM.normal(size=(6, 2))])
    assert np.allclose(embedding.project(more, 30)[0], flat), "the first three of more dimensions"
    with pytest.raises(ValueError, match="points: got 1 dimensions, expected at least 2"):
        embedding.project([[1.0]])
