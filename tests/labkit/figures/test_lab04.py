"""labkit.figures.lab04: distances, a triplet and its loss are what the pictures show; sliders move them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import pixels

from labkit.figures import lab04 as plots
from labkit.losses import TripletLoss, count_triplets

RANDOM = np.random.default_rng(0)


# --- Verification -------------------------------------------------------------------------------------------------


def test_distance_histogram_counts_each_kind_to_100_percent():
    axes = plots.distance_histogram([0.1, 0.2, 0.9], [0.3, 0.8, 1.0, 1.1]).axes[0]
    edges = np.linspace(0, 1.1, 50)
    for outline, distances in zip(axes.patches, ([0.1, 0.2, 0.9], [0.3, 0.8, 1.0, 1.1]), strict=True):
        corners = outline.get_xy()
        counts = np.histogram(distances, edges)[0] * 100 / len(distances)
        assert counts.sum() == pytest.approx(100)
        assert np.allclose(np.sort(corners[:, 1])[-2 * np.count_nonzero(counts) :], np.repeat(counts[counts > 0], 2))
    assert axes.get_ylabel() == "pairs of that kind (%)"


def test_the_legend_of_the_histogram_covers_no_bar():
    figure = plots.distance_histogram(RANDOM.uniform(0, 1, 300), RANDOM.uniform(0.5, 2, 300))
    pixels(figure)
    axes = figure.axes[0]
    legend = axes.get_legend().get_window_extent()
    assert axes.get_window_extent().x1 <= legend.x0 and legend.x1 <= figure.bbox.x1


def test_distances_of_a_collapsed_network_are_drawn_and_no_distances_refused():
    assert pixels(plots.distance_histogram(np.zeros(5), np.zeros(5))).min() < 60
    with pytest.raises(ValueError, match="different: got no distance"):
        plots.distance_histogram([1.0], [])


def test_roc_draws_the_curve_and_its_equal_error_rate():
    verification = SimpleNamespace(fpr=np.array([0, 0.1, 1]), tpr=np.array([0, 0.9, 1]), auc=0.9, eer=0.1)
    axes = plots.roc({"triplet": verification}).axes[0]
    _, curve, dot = axes.lines
    assert curve.get_xydata().tolist() == [[0, 0], [0.1, 0.9], [1, 1]]
    assert dot.get_xydata().tolist() == [[0.1, 0.9]]
    assert curve.get_label() == "triplet: AUC 0.900, EER 10.0%"


# --- Triplets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [-0.1, np.nan, np.inf])
def test_a_margin_below_zero_is_refused(margin):
    with pytest.raises(ValueError, match=r"^margin"):
        plots.triplet_picture([0, 0], [1, 0], [0, 1], margin)


coordinates = st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=2)


@settings(max_examples=60, deadline=None)
@given(coordinates, coordinates, coordinates, st.floats(0, 1), st.booleans())
def test_gradients_of_a_triplet_are_those_of_autograd(a, p, n, margin, squared):
    t = plots.triplet(a, p, n, margin, squared)
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
    kinds = [plots.triplet(*points, margin, squared).kind for points in ((a, p, n), (p, a, n))]
    expected = (counts.easy, counts.semihard, counts.hard)
    assert tuple(kinds.count(kind) for kind in ("easy", "semi-hard", "hard")) == expected


def test_a_triplet_in_one_place_has_a_finite_gradient_of_zero():
    t = plots.triplet([1, 1], [1, 1], [1, 1], 0.2)
    assert t.loss == 0.2 and not t.gradients.any()


@pytest.mark.parametrize("squared", [False, True])
def test_triplet_picture_draws_rings_points_and_descent(squared):
    anchor, positive, negative, margin = [0.1, 0.2], [1.1, 0.2], [0.1, 0.9], 0.44
    figure = plots.triplet_picture(anchor, positive, negative, margin, squared)
    axes = figure.axes[0]
    outer, inner = axes.patches
    assert list(inner.center) == list(outer.center) == anchor
    assert inner.radius == pytest.approx(1)
    assert outer.radius == pytest.approx(1.2 if squared else 1.44), "beyond it the loss is zero"
    drawn = {tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() != "None"}
    assert drawn == {tuple(anchor), tuple(positive), tuple(negative)}
    (arrows,) = axes.collections
    moves = np.stack([arrows.U, arrows.V], axis=1)
    before = plots.triplet(anchor, positive, negative, margin, squared)
    assert moves == pytest.approx(-plots.STEP * before.gradients)
    after = plots.triplet(*(np.array([anchor, positive, negative]) + moves / 10), margin, squared)
    assert after.loss < before.loss, "the arrows go downhill"
    assert f"loss {before.loss:.2f}, hard" in axes.get_title()


def test_an_easy_triplet_has_no_arrows():
    axes = plots.triplet_picture([0, 0], [0.5, 0], [0, 1.5], 0.2).axes[0]
    assert not axes.collections[0].U.any() and not axes.collections[0].V.any()
    assert "loss 0.00, easy; no gradient" in axes.get_title()


@pytest.mark.parametrize("mining", ["all", "hard", "semihard"])
def test_a_batch_shows_pairs_forces_and_all_triplets(mining):
    hand = plots.Batch(mining=mining)
    points, labels = torch.tensor(hand.points, dtype=torch.float64, requires_grad=True), torch.tensor(hand.labels)
    TripletLoss(hand.margin, mining)(points, labels).backward()
    left, right = hand.figure().axes
    (arrows,) = left.collections
    assert np.allclose(np.stack([arrows.U, arrows.V], 1), -2 * points.grad)
    dots = right.lines[0].get_xydata()
    counts = count_triplets(points, labels, hand.margin)
    assert (dots[:, 1] < dots[:, 0]).sum() == counts.hard and len(dots) == counts.hard + counts.semihard + counts.easy
    for line in left.lines[:-3]:
        ends = [hand.points.index(end) for end in line.get_xydata().tolist()]
        assert (line.get_linestyle() == "-") == (hand.labels[ends[0]] == hand.labels[ends[1]])
    one = plots.Batch(mining=mining, alone=True, anchor=2).figure().axes[0].lines[:-3]
    assert 1 < len(one) < len(left.lines[:-3])
    assert all(hand.points[2] in line.get_xydata().tolist() for line in one)
