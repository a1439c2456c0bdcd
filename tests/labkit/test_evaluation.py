import dataclasses

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn.metrics import roc_auc_score, roc_curve
from tensors import DEVICES

from labkit import evaluation, neighbors
from labkit.evaluation import (
    RangeAccuracy,
    closest_accuracy,
    map_at_r,
    nearest_neighbor_accuracy,
    range_accuracy,
    recall_at_k,
    scatter,
    verification,
    verification_pairs,
)

F64 = torch.float64
AGAINST_REFERENCE = [closest_accuracy, range_accuracy, nearest_neighbor_accuracy]


def clusters(n=60, dim=3, classes=5, seed=0, spread=0.8):
    """Overlapping clusters of uneven size; every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(classes, dim, generator=generator, dtype=F64)
    labels = torch.cat([torch.arange(classes), torch.randint(classes, (n - classes,), generator=generator)])
    return centers[labels] + spread * torch.randn(n, dim, generator=generator, dtype=F64), labels


def query_and_reference(seed=0):
    x, y = clusters(100, seed=seed)
    return x[25:], y[25:], x[:25], y[:25]


def as_lists(*tensors):
    return [t.tolist() for t in tensors]


@pytest.fixture(params=[2**20, 150, 1], ids=["whole", "blocks", "single"])
def blocks(request, monkeypatch):
    """Runs a test with all queries at once, with a few at a time, and one by one."""
    monkeypatch.setattr(neighbors, "BLOCK", request.param)
    monkeypatch.setattr(evaluation, "QUERIES", max(request.param // 10, 1))


# Against a reference set


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("blocks")
def test_accuracies_equal_the_loops(device):
    for seed in range(3):
        sets = query_and_reference(seed)
        lists = as_lists(*sets)
        sets = [t.to(device) for t in sets]
        assert closest_accuracy(*sets) == pytest.approx(oracles.closest_accuracy(*lists), abs=1e-12)
        assert nearest_neighbor_accuracy(*sets) == pytest.approx(oracles.nearest_neighbor_accuracy(*lists), abs=1e-12)
        result = dataclasses.astuple(range_accuracy(*sets))
        assert result == pytest.approx(oracles.range_accuracy(*lists), abs=1e-12)
        assert all(0 < v < 1 for v in result)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_precisions_are_scored_as_what_they_hold(dtype):
    query, query_labels, reference, reference_labels = query_and_reference()
    query, reference = query.to(dtype), reference.to(dtype)
    for function in AGAINST_REFERENCE:
        expected = function(query.double(), query_labels, reference.double(), reference_labels)
        assert function(query, query_labels, reference, reference_labels) == expected
    assert recall_at_k(query, query_labels, 1) == recall_at_k(query.double(), query_labels, 1)
    assert map_at_r(query, query_labels) == pytest.approx(map_at_r(query.double(), query_labels), abs=1e-9)


def test_class_means_come_from_the_reference():
    # The means are 1 and 10; of the queries, 5 is nearer to 1, and 6 to 10.
    reference, reference_labels = torch.tensor([[0.0], [2.0], [10.0]]), torch.tensor([4, 4, 9])
    query = torch.tensor([[5.0], [6.0], [6.0]])
    assert closest_accuracy(query, torch.tensor([4, 9, 4]), reference, reference_labels) == pytest.approx(2 / 3)


def test_ties_go_to_the_lower_index():
    reference = torch.tensor([[1.0], [-1.0], [1.0]])
    zero = torch.zeros(1, 1)
    for label, expected in ((3, 1.0), (8, 0.0)):
        labels = torch.tensor([label])
        assert closest_accuracy(zero, labels, reference[:2], torch.tensor([8, 3])) == expected  # of the classes
        assert nearest_neighbor_accuracy(zero, labels, reference[:2], torch.tensor([3, 8])) == expected  # of the rows
    assert nearest_neighbor_accuracy(torch.ones(1, 1), torch.tensor([3]), reference, torch.tensor([3, 5, 8])) == 1


def test_range_accuracy_by_hand():
    # Class 0: mean 0, radius 2. Class 1: mean 3, radius 2 (in range of both from 1 to 2). Class 2: one row, radius 0.
    reference = torch.tensor([[-2.0], [0.0], [2.0], [1.0], [5.0], [9.0]])
    reference_labels = torch.tensor([0, 0, 0, 1, 1, 2])
    query = torch.tensor([[-2.0], [0.5], [1.5], [1.5], [4.0], [7.0], [9.0]])
    query_labels = torch.tensor([0, 0, 0, 2, 0, 1, 2])
    # -2 is on the radius of 0; 1.5 is in two ranges, once rightly; 4 is class 1's alone; 7 is in no range; 9 is 2's.
    assert range_accuracy(query, query_labels, reference, reference_labels) == RangeAccuracy(
        soft=pytest.approx(3.5 / 7),
        strict=pytest.approx(3 / 7),
        coverage=pytest.approx(4 / 7),
        empty=pytest.approx(1 / 7),
    )


@given(seed=st.integers(0, 2**20), scale=st.sampled_from([1e-3, 1.0, 1e4]))
@settings(max_examples=25, deadline=None)
def test_a_set_scored_against_itself_is_covered(seed, scale):
    for dtype in (torch.float32, F64):
        x, y = clusters(30, seed=seed)
        x = (x * scale).to(dtype)
        assert range_accuracy(x, y, x, y).coverage == 1
        assert nearest_neighbor_accuracy(x, y, x, y) == 1


def test_disjoint_classes_score_one_everywhere():
    x, y = clusters(40, spread=0.001)
    assert closest_accuracy(x, y, x, y) == 1
    assert range_accuracy(x, y, x, y) == RangeAccuracy(soft=1, strict=1, coverage=1, empty=0)
    assert recall_at_k(x, y, [1]) == {1: 1} and map_at_r(x, y) == 1


def test_one_class_and_collapsed_embeddings():
    x, one = clusters(8)[0], torch.zeros(8, dtype=torch.int64)
    assert closest_accuracy(x, one, x, one) == 1 and range_accuracy(x, one, x, one).soft == 1
    assert recall_at_k(x, one, 1) == {1: 1} and map_at_r(x, one) == 1
    y = torch.tensor([0, 0, 1, 1, 1, 1, 2, 2])
    for collapsed in (torch.zeros(8, 3), torch.full((8, 3), 0.1)):
        assert closest_accuracy(collapsed, y, collapsed, y) == 1 / 4  # all go to class 0
        assert range_accuracy(collapsed, y, collapsed, y) == RangeAccuracy(pytest.approx(1 / 3), 0, 1, 0)
        assert nearest_neighbor_accuracy(collapsed, y, collapsed, y) == 1 / 4
        assert recall_at_k(collapsed, y, 1) == {1: oracles.recall_at_k(collapsed.tolist(), y.tolist(), 1)}
        assert map_at_r(collapsed, y) == pytest.approx(oracles.map_at_r(collapsed.tolist(), y.tolist()))


@pytest.mark.parametrize("function", AGAINST_REFERENCE)
def test_bad_input_against_a_reference(function):
    query, query_labels, reference, reference_labels = query_and_reference()
    for arguments, message in (
        ((query[0], query_labels, reference, reference_labels), "^query: got .*, expected a floating-point"),
        ((query, query_labels.int(), reference, reference_labels), "^query_labels: got .*, expected an int64"),
        (
            (query, query_labels, reference, reference_labels[1:]),
            "^reference_labels: got 24 labels, expected 25, one a row of reference",
        ),
        (
            (query, query_labels, reference[:, :2], reference_labels),
            "^reference: got 2 columns, expected 3 as in query$",
        ),
        ((query / 0, query_labels, reference, reference_labels), "^query: got .*, expected finite numbers"),
        (
            (query, query_labels, reference * torch.nan, reference_labels),
            "^reference: got nan, expected finite numbers",
        ),
        ((query[:0], query_labels[:0], reference, reference_labels), "^query: got no row, expected at least one$"),
        ((query, query_labels, reference[:0], reference_labels[:0]), "^reference: got no row, expected at least one$"),
    ):
        with pytest.raises(ValueError, match=message):
            function(*arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("function", AGAINST_REFERENCE)
def test_both_sets_must_be_on_one_device(function):
    query, query_labels, reference, reference_labels = query_and_reference()
    with pytest.raises(ValueError, match=r"^reference: got a tensor on cuda:0, expected one on cpu as query$"):
        function(query, query_labels, reference.cuda(), reference_labels.cuda())


@pytest.mark.parametrize("unknown", [-1, 2, 99])
def test_a_class_without_a_mean_is_an_error(unknown):
    reference, reference_labels = torch.eye(3), torch.tensor([0, 1, 3])
    for function in (closest_accuracy, range_accuracy):
        with pytest.raises(
            ValueError, match=f"^query_labels: got {unknown}, expected only labels that reference_labels have too"
        ):
            function(reference, torch.tensor([0, unknown, 1]), reference, reference_labels)
    assert nearest_neighbor_accuracy(torch.eye(3), torch.tensor([0, unknown, 3]), reference, reference_labels) > 0


# Retrieval


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("blocks")
def test_retrieval_equals_the_loops(device):
    for seed in range(3):
        x, y = clusters(50, classes=12, seed=seed)
        y = torch.cat([y[:-1], torch.tensor([77])])  # alone in its class
        ks = [1, 2, 5, 49, 1000]
        expected = {k: oracles.recall_at_k(x.tolist(), y.tolist(), k) for k in ks}
        assert recall_at_k(x.to(device), y.to(device), ks) == pytest.approx(expected, abs=1e-12)
        assert 0 < expected[1] < expected[5] < expected[49] == 1
        expected = oracles.map_at_r(x.tolist(), y.tolist())
        assert map_at_r(x.to(device), y.to(device)) == pytest.approx(expected, abs=1e-12)
    assert recall_at_k(x, y, 2) == recall_at_k(x, y, (2,))


@given(
    points=st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2), st.integers(0, 3)), min_size=2, max_size=14),
    k=st.integers(1, 15),
)
@settings(max_examples=100, deadline=None)
def test_retrieval_with_ties(points, k):
    x = torch.tensor([[float(a), float(b)] for a, b, _ in points])
    y = torch.tensor([c for _, _, c in points])
    if len(y.unique()) == len(y):
        with pytest.raises(ValueError, match=r"^labels: got classes of one row only, expected one of at least two"):
            recall_at_k(x, y, k)
        with pytest.raises(ValueError, match=r"^labels: got classes of one row only, expected one of at least two"):
            map_at_r(x, y)
    else:
        assert recall_at_k(x, y, k)[k] == pytest.approx(oracles.recall_at_k(x.tolist(), y.tolist(), k))
        assert map_at_r(x, y) == pytest.approx(oracles.map_at_r(x.tolist(), y.tolist()))


def test_retrieval_equals_pytorch_metric_learning():
    x, y = clusters(80, dim=8, classes=9)
    y[0] = 100  # alone in its class
    knn = CustomKNN(LpDistance(normalize_embeddings=False))
    calculator = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r"), k="max_bin_count", knn_func=knn
    )
    expected = calculator.get_accuracy(x, y)
    assert recall_at_k(x, y, 1)[1] == pytest.approx(expected["precision_at_1"], abs=1e-12)
    assert map_at_r(x, y) == pytest.approx(expected["mean_average_precision_at_r"], abs=1e-12)


def test_bad_input_of_retrieval():
    x, y = clusters()
    for ks in (0, [], [1, 0], [1.5], ["1"], [True]):
        with pytest.raises(ValueError, match=r"^ks: got .*, expected (a whole number of at least 1|at least one)$"):
            recall_at_k(x, y, ks)
    for function in (lambda x, y: recall_at_k(x, y, 1), map_at_r, scatter):
        with pytest.raises(ValueError, match=r"^embeddings: got .*, expected finite numbers"):
            function(x / 0, y)
        with pytest.raises(ValueError, match=r"^labels: got .*, expected an int64"):
            function(x, y.bool())
        with pytest.raises(ValueError, match=r"^embeddings: got no row, expected at least one$"):
            function(x[:0], y[:0])


# Scatter


@pytest.mark.parametrize("device", DEVICES)
def test_scatter_equals_the_loop_and_sums_to_the_total(device):
    x, y = clusters(30, dim=3)
    result = scatter(x.to(device), y.to(device))
    within, between = oracles.scatter_matrices(x.tolist(), y.tolist())
    np.testing.assert_allclose(result.within_matrix, within, atol=1e-12)
    np.testing.assert_allclose(result.between_matrix, between, atol=1e-12)
    assert result.within == pytest.approx(np.trace(within)) and result.between == pytest.approx(np.trace(between))
    np.testing.assert_allclose(result.within_matrix + result.between_matrix, torch.cov(x.T, correction=0), atol=1e-12)


def test_scatter_of_single_rows_and_of_one_class():
    x, _ = clusters(6)
    assert scatter(x, torch.arange(6)).within == pytest.approx(0, abs=1e-15)
    assert scatter(x, torch.zeros(6, dtype=torch.int64)).between == pytest.approx(0, abs=1e-15)


# Verification


def pairs(n=200, seed=0, decimals=None):
    """Rows a and b, one coordinate: half of the pairs are same and nearer. Rounded, many distances tie."""
    generator = torch.Generator().manual_seed(seed)
    same = torch.arange(n) % 2 == 0
    gap = torch.rand(n, generator=generator, dtype=F64) * torch.where(same, 1.0, 2.0)
    a = torch.zeros(n, 1, dtype=F64)
    return a, gap[:, None] if decimals is None else gap[:, None].round(decimals=decimals), same


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("decimals", [None, 1])
def test_roc_equals_scikit_learn(device, decimals):
    a, b, same = pairs(decimals=decimals)
    result = verification(a.to(device), b.to(device), same.to(device))
    distances = b.squeeze(1).numpy()
    fpr, tpr, scores = roc_curve(same.numpy(), -distances, drop_intermediate=False)
    np.testing.assert_allclose(result.fpr, fpr, atol=1e-12)
    np.testing.assert_allclose(result.tpr, tpr, atol=1e-12)
    np.testing.assert_allclose(result.thresholds, -scores, atol=1e-12)
    assert result.auc == pytest.approx(roc_auc_score(same.numpy(), -distances), abs=1e-12)
    assert result.auc == pytest.approx(oracles.auc(distances[same.numpy()], distances[~same.numpy()]), abs=1e-12)


def check(distances, same):
    return verification(torch.zeros(len(distances), 1), torch.tensor(distances)[:, None], torch.tensor(same))


def test_verification_by_hand():
    result = check([1.0, 2.0, 3.0, 5.0], [True, False, True, False])
    assert result.auc == 3 / 4
    assert result.eer == 1 / 2  # the curve runs (0, 0) (0, .5) (.5, .5) (.5, 1) (1, 1): it crosses at (.5, .5)
    assert result.best_threshold == 1.5  # as good as 4, and lower
    assert result.tpr.tolist() == [0, 0.5, 0.5, 1, 1] and result.fpr.tolist() == [0, 0, 0.5, 0.5, 1]
    assert result.thresholds.tolist() == [-np.inf, 1, 2, 3, 5]


def test_equal_error_rate_lies_on_the_curve_between_its_points():
    # All at one distance: the curve is the diagonal. One step (0, 0) to (2/3, 1): fpr = 1 - tpr at fpr = .4.
    assert check([1.0, 1.0], [True, False]).eer == pytest.approx(0.5)
    assert check([1.0, 1.0, 1.0, 2.0], [True, False, False, False]).eer == pytest.approx(0.4)
    # From (1/4, 0) to (3/4, 1): halfway.
    assert check([1.0, 2.0, 2.0, 2.0, 2.0, 3.0], [False, True, True, False, False, False]).eer == pytest.approx(0.5)
    assert check([1.0, 2.0], [True, False]).eer == 0
    assert check([2.0, 1.0], [True, False]).eer == 1


def test_the_best_threshold_is_the_best():
    for seed in range(5):
        a, b, same = pairs(60, seed=seed, decimals=1)
        result = verification(a, b, same)
        distances = b.squeeze(1).numpy()
        right = [np.mean((distances <= t) == same.numpy()) for t in result.thresholds]
        assert result.accuracy(a, b, same) == pytest.approx(max(right))
        below = result.thresholds[int(np.argmax(right))]
        above = result.thresholds[int(np.argmax(right)) + 1]
        assert result.best_threshold == pytest.approx((below + above) / 2)
    assert check([1.0, 2.0, 4.0], [True, False, True]).best_threshold == 1.5
    assert check([1.0, 2.0, 4.0], [False, True, True]).best_threshold == 4  # accepts all that it saw
    assert check([1.0, 2.0, 4.0], [False, False, True]).best_threshold == -np.inf  # accepts nothing


def test_accuracy_is_scored_on_other_pairs():
    result = check([1.0, 2.0], [True, False])  # threshold 1.5
    a, b = torch.zeros(4, 1), torch.tensor([[1.5], [1.6], [0.1], [9.0]])
    assert result.accuracy(a, b, torch.tensor([True, True, False, False])) == 1 / 2
    assert result.accuracy(a, b, torch.tensor([True, False, True, False])) == 1
    assert result.accuracy(a[:1], b[:1], torch.tensor([True])) == 1  # one kind is enough here


def test_bad_input_of_verification():
    a, b, same = pairs(6)
    for arguments, message in (
        ((a[:, 0], b, same), "^a: got .*, expected a floating-point"),
        ((a, b.int(), same), "^b: got .*, expected a floating-point"),
        ((a, b[1:], same), r"^b: got shape \(5, 1\), expected \(6, 1\) as a$"),
        ((a / 0, b, same), "^a: got .*, expected finite numbers"),
        ((a, b / 0, same), "^b: got .*, expected finite numbers"),
        ((a, b, same.int()), r"^same: got int32 of shape \(6,\), expected a bool tensor of shape \(6,\)$"),
        ((a, b, same[1:]), r"^same: got bool of shape \(5,\), expected a bool tensor of shape \(6,\)$"),
        ((a, b, same.tolist()), r"^same: got list \[True, .*, expected a bool tensor of shape \(6,\)$"),
        ((a[:0], b[:0], same[:0]), "^a: got no row, expected at least one$"),
        ((a, b, same | True), "^same: got 6 True and 0 False, expected both"),
        ((a, b, same & False), "^same: got 0 True and 6 False, expected both"),
    ):
        with pytest.raises(ValueError, match=message):
            verification(*arguments)


@pytest.mark.parametrize("device", DEVICES)
def test_verification_pairs(device):
    labels = torch.randint(6, (40,), generator=torch.Generator().manual_seed(0))
    i, j, same = verification_pairs(labels.to(device), 101, seed=3)
    assert i.device.type == j.device.type == same.device.type == device
    assert i.dtype == j.dtype == torch.int64 and i.shape == j.shape == same.shape == (101,)
    i, j, same = i.cpu(), j.cpu(), same.cpu()
    assert torch.equal(labels[i] == labels[j], same)
    assert same.tolist() == [True] * 50 + [False] * 51
    assert len({frozenset(p) for p in zip(i.tolist(), j.tolist(), strict=True)}) == 101  # none twice, none with itself
    again = verification_pairs(labels, 101, seed=3)
    assert torch.equal(again[0], i) and torch.equal(again[1], j)
    assert not torch.equal(verification_pairs(labels, 101, seed=4)[0], i)
    assert torch.equal(verification_pairs(labels, 101)[0], verification_pairs(labels, 101, seed=0)[0])


def test_verification_pairs_reach_every_pair_equally():
    labels = torch.tensor([2, 0, 0, 2, 0, 9])  # 3 + 1 same pairs, 11 different ones
    i, j, same = verification_pairs(labels, 8)
    assert {frozenset(p) for p in zip(i[same].tolist(), j[same].tolist(), strict=True)} == {
        frozenset(p) for p in ((0, 3), (1, 2), (1, 4), (2, 4))
    }
    drawn = torch.zeros(6, 6)
    for seed in range(2000):
        i, j, same = verification_pairs(labels, 2, seed)
        drawn[i.minimum(j), i.maximum(j)] += 1
    kind = labels[:, None] == labels[None]
    upper = torch.ones(6, 6).triu(1).bool()
    assert ((drawn[kind & upper] / 2000 - 1 / 4).abs() < 0.05).all()
    assert ((drawn[~kind & upper] / 2000 - 1 / 11).abs() < 0.03).all()


def test_bad_input_of_verification_pairs():
    labels = torch.tensor([0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"^num_pairs: got 3 same pairs to draw, expected at most the 2 of the labels"):
        verification_pairs(labels, 6)
    with pytest.raises(
        ValueError, match=r"^num_pairs: got 1 different pairs to draw, expected at most the 0 of the labels"
    ):
        verification_pairs(torch.zeros(4, dtype=torch.int64), 2)
    with pytest.raises(ValueError, match=r"^num_pairs: got 1 same pairs to draw, expected at most the 0 of the labels"):
        verification_pairs(labels[:0], 2)
    for bad in (1, 0, 2.0):
        with pytest.raises(ValueError, match=r"^num_pairs: got .*, expected a whole number of at least 2"):
            verification_pairs(labels, bad)
    for bad in (labels.float(), labels[:, None], [0, 1]):
        with pytest.raises(ValueError, match=r"^labels: got .*, expected an int64 tensor"):
            verification_pairs(bad, 2)


# Everything


@given(seed=st.integers(0, 2**20))
@settings(max_examples=15, deadline=None)
def test_invariances(seed):
    query, query_labels, reference, reference_labels = query_and_reference(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    q, r = torch.randperm(len(query), generator=generator), torch.randperm(len(reference), generator=generator)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=F64)).Q
    names = torch.randperm(5, generator=generator) * 7 - 2
    versions = [
        (query[q], query_labels[q], reference[r], reference_labels[r]),
        (3 * query @ rotation + 1, query_labels, 3 * reference @ rotation + 1, reference_labels),
        (query, names[query_labels], reference, names[reference_labels]),
    ]
    for changed in versions:
        for function in (closest_accuracy, nearest_neighbor_accuracy):
            expected = function(query, query_labels, reference, reference_labels)
            assert function(*changed) == pytest.approx(expected, abs=1e-12)
        expected = dataclasses.astuple(range_accuracy(query, query_labels, reference, reference_labels))
        assert dataclasses.astuple(range_accuracy(*changed)) == pytest.approx(expected, abs=1e-12)
        x, y = changed[2:]
        assert map_at_r(x, y) == pytest.approx(map_at_r(reference, reference_labels), abs=1e-12)
        assert recall_at_k(x, y, [1, 3]) == pytest.approx(recall_at_k(reference, reference_labels, [1, 3]), abs=1e-12)
        factor = 9 if changed is versions[1] else 1
        assert scatter(x, y).within == pytest.approx(factor * scatter(reference, reference_labels).within)


def test_results_are_plain_and_cannot_be_changed():
    x, y = clusters()
    x.requires_grad_()
    for value in (closest_accuracy(x, y, x, y), nearest_neighbor_accuracy(x, y, x, y), map_at_r(x, y)):
        assert type(value) is float
    for result in (range_accuracy(x, y, x, y), scatter(x, y), verification(x, x.flip(0), y == y.flip(0))):
        for f in dataclasses.fields(result):
            assert type(getattr(result, f.name)) in (float, np.ndarray)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, dataclasses.fields(result)[0].name, 0.0)
