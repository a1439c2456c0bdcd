"""labkit.figures.lab07: fields, arcs, projections and the widget show the numbers of the losses."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from labkit.figures import lab07 as plots
from labkit.figures import style
from labkit.losses import CircleLoss

PAIRS = [(0.4, 0.7), (0.8, 0.9), (-0.1, 0.2), (0.2, 0.9), (0.6, 0.1)]


def gradients(loss, s_n, s_p):
    """Of a loss of two numbers: -its gradient by s_n and s_p, as autograd has it."""
    leaves = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (s_n, s_p)]
    down, up = torch.autograd.grad(loss(*leaves), leaves)
    return down.item(), -up.item()


# --- forces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("s_n", "s_p"), PAIRS)
def test_forces_of_circle_are_gradients_of_the_loss(s_n, s_p):
    # Rows 0 and 1 are of one class, with cosine s_p; both have cosine s_n with row 2. Two equal anchors, their mean.
    def loss(n, p):
        one = torch.ones((), dtype=torch.float64)
        gram = torch.stack([torch.stack(row) for row in ((one, p, n), (p, one, n), (n, n, one))])
        return CircleLoss(0.25, 8.0)(torch.linalg.cholesky(gram), torch.tensor([0, 0, 1])) / 8

    assert np.allclose(plots.forces("circle", s_n, s_p, 0.25, 8.0), gradients(loss, s_n, s_p))


@pytest.mark.parametrize(("s_n", "s_p"), PAIRS)
def test_forces_of_the_other_losses_are_gradients(s_n, s_p):
    soft = gradients(lambda n, p: torch.nn.functional.softplus(8 * (n - p + 0.25)) / 8, s_n, s_p)
    assert np.allclose(plots.forces("AM-softmax", s_n, s_p, 0.25, 8.0), soft)
    hard = gradients(lambda n, p: (n - p + 0.25).clamp(min=0), s_n, s_p)
    assert np.allclose(plots.forces("triplet", s_n, s_p, 0.25, 8.0), hard)


def test_forces_do_not_overflow_and_end_at_the_optimum():
    assert np.isfinite(plots.forces("circle", np.array([-1.0, 1.0]), np.array([1.0, -1.0]), 0.25, 1e6)).all()
    down, _ = plots.forces("circle", -0.3, 0.2, 0.25, 32.0)
    assert down == 0


def test_bad_forces():
    with pytest.raises(ValueError, match=r"^loss.*'square'"):
        plots.forces("square", 0.1, 0.2)


@pytest.mark.parametrize("loss", plots.LOSSES)
def test_on_the_boundary_the_gate_is_half_open(loss):
    s_n, s_p = plots._boundary(loss, 0.3)
    if loss == "triplet":
        assert np.allclose(s_n - s_p + 0.3, 0)
        return
    down, up = plots.forces(loss, s_n, s_p, 0.3, 32.0)
    if loss == "circle":
        down, up = down / np.maximum(s_n + 0.3, 1e-12), up / (1.3 - s_p)
        inside = s_n > -0.3 + 1e-9
        assert np.allclose(np.hypot(s_n, 1 - s_p)[inside], 2**0.5 * 0.3)
        assert np.allclose(down[inside], 0.5)
    assert np.allclose(up, 0.5)


# --- fields -------------------------------------------------------------------------------------------------------


def test_fields_side_by_side_show_forces_and_boundary():
    figure = plots.gradient_fields()
    assert isinstance(figure, Figure)
    for axes, loss in zip(figure.axes, ("triplet", "AM-softmax", "circle"), strict=True):
        assert axes.get_title() == f"{loss}, m = 0.25" + (", γ = 32" if loss != "triplet" else "")
        (image,), (arrows,), (line,) = axes.images, axes.collections, axes.lines
        strength = np.hypot(*plots.forces(loss, *plots.CELLS))
        assert np.allclose(image.get_array(), strength / strength.max())
        assert image.origin == "lower" and list(image.get_extent()) == [-0.5, 1, -0.5, 1]
        down, up = (np.ravel(part) for part in plots.forces(loss, *plots.ARROWS))
        assert np.allclose(arrows.get_offsets(), np.stack([np.ravel(part) for part in plots.ARROWS], axis=1))
        assert (arrows.U <= 0).all() and (arrows.V >= 0).all(), "s_n goes down, s_p up"
        assert np.allclose(-arrows.U * up, arrows.V * down), "the direction"
        assert np.hypot(arrows.U, arrows.V).max() <= 1.5 / 13, "no arrow reaches the next"
        assert np.allclose(line.get_data(), plots._boundary(loss))
        assert axes.get_xlabel() == "$s_n$, cosine with the negative"
        assert axes.get_ylabel() == "$s_p$, cosine with the positive"


def test_the_still_picture_of_the_hand_is_the_field_with_its_pair():
    (axes,) = plots.field_explorer().figure().axes
    assert axes.get_title() == "circle, m = 0.25, γ = 32\nat (0.5, 0.5): $s_n$ down 0.75, $s_p$ up 0.75"
    assert np.allclose(axes.lines[0].get_data(), plots._boundary("circle", 0.25))
    (axes,) = plots.FieldPlane(loss="triplet", margin=0.5, pair=[0.1, 0.9]).figure().axes
    assert np.allclose(axes.lines[0].get_data(), plots._boundary("triplet", 0.5))
    assert axes.lines[1].get_xydata().tolist() == [[0.1, 0.9]]


# --- arcs ---------------------------------------------------------------------------------------------------------


def test_arcs_place_points_by_their_cosines_and_forces_along_the_circle():
    figure = plots.arcs({"one": (0.9, 0.2, 0.4, 1.0), "two": (0.5, 0.5, 0.0, 0.0), "three": (0.1, 0.3, 1.0, 0.5)})
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "three"]
    one, two, _ = figure.axes
    _, anchor, positive, negative = one.lines
    place = {name: np.ravel(line.get_data()) for name, line in zip("apn", (anchor, positive, negative), strict=True)}
    assert np.allclose(place["a"], [0, 1])
    assert place["p"] @ place["a"] == pytest.approx(0.9) and place["n"] @ place["a"] == pytest.approx(0.2)
    assert place["p"][0] < 0 < place["n"][0]
    assert to_hex(positive.get_color()) == style.SAME and to_hex(negative.get_color()) == style.DIFFERENT
    assert positive.get_marker() != negative.get_marker()
    pull, push = (text for text in one.texts if text.arrow_patch)
    assert np.allclose(pull.xyann, place["p"]) and np.allclose(push.xyann, place["n"])
    step = np.array(pull.xy) - place["p"]
    assert np.hypot(*step) == pytest.approx(0.2) and step @ place["p"] == pytest.approx(0)
    assert np.array(pull.xy)[0] > place["p"][0], "the positive goes to the anchor"
    assert np.hypot(*(np.array(push.xy) - place["n"])) == pytest.approx(0.5)
    assert np.array(push.xy)[1] < place["n"][1], "the negative goes away from it"
    assert not [text for text in two.texts if text.arrow_patch]


def test_bad_arcs():
    with pytest.raises(ValueError, match="panels: got nothing"):
        plots.arcs({})
    with pytest.raises(ValueError, match=r"panels\['x'\]: got shape \(3,\), expected \(4\)"):
        plots.arcs({"x": (1, 2, 3)})


# --- clouds -------------------------------------------------------------------------------------------------------


def test_clouds_show_every_pair_and_the_circle():
    pairs = np.array([[0.1, 0.4, -0.2], [0.9, 0.5, 0.7]])
    figure = plots.clouds({"one": pairs, "two": pairs[:, :1]}, margin=0.3)
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]
    for axes, expected in zip(figure.axes, (pairs, pairs[:, :1]), strict=True):
        circle, points = axes.lines
        assert np.allclose(points.get_data(), expected)
        assert np.allclose(circle.get_data(), plots._boundary("circle", 0.3))
        assert axes.get_xlabel() == "$s_n$, cosine with the negative"
    with pytest.raises(ValueError, match=r"panels\['x'\]: got shape \(3,\), expected \(2, any\)"):
        plots.clouds({"x": (1, 2, 3)})


# --- projections --------------------------------------------------------------------------------------------------


def test_projections_show_every_row_once_and_tell_test_from_training():
    generator = np.random.default_rng(0)
    points, labels = generator.normal(size=(12, 2)), np.arange(12) % 3
    test = np.arange(12) >= 8
    figure = plots.projections({"PCA": points, "UMAP": points + 5}, labels, ["a", "b", "c"], test)
    assert [axes.get_title() for axes in figure.axes] == ["PCA", "UMAP"]
    for axes, shift in zip(figure.axes, (0, 5), strict=True):
        assert len(axes.lines) == 6
        for c in range(3):
            for part, line in zip((~test, test), axes.lines[2 * c : 2 * c + 2], strict=True):
                assert np.allclose(np.transpose(line.get_data()), points[(labels == c) & part] + shift)
                assert line.get_color() == style.COLORS[c] and line.get_marker() == style.MARKERS[c]
            hollow, filled = axes.lines[2 * c : 2 * c + 2]
            assert hollow.get_markerfacecolor() == "white" and filled.get_markerfacecolor() == style.COLORS[c]
        assert [text.get_text() for text in axes.texts] == ["a", "b", "c"]
        assert np.allclose(axes.texts[1].xy, np.median(points[labels == 1], axis=0) + shift)
        assert axes.get_xlabel() == "first coordinate (no unit)" and axes.get_ylabel() == "second coordinate (no unit)"


def test_projections_of_an_absent_class_and_of_bad_input():
    points = np.zeros((2, 2))
    (axes,) = plots.projections({"one": points}, [0, 0], ["a", "b"], [False, True]).axes
    assert [text.get_text() for text in axes.texts] == ["a"]
    with pytest.raises(ValueError, match=r"planes\['one'\]: got shape \(2, 2\), expected \(3, 2\)"):
        plots.projections({"one": points}, [0, 0, 1], ["a", "b"], [False] * 3)
    with pytest.raises(ValueError, match="planes: got nothing"):
        plots.projections({}, [0], ["a"], [True])
