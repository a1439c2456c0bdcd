import numpy as np
import oracles
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from labkit.verification import verification, verification_pairs

F64 = torch.float64
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


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
