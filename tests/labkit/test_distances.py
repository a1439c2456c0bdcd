import math

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import DEVICES

from labkit.checks import embeddings_and_classes, embeddings_and_labels, finite, non_negative, one_of
from labkit.distances import cosine_similarities, paired_distances, pairwise_distances

F64 = torch.float64


def rows(n, dim, seed=0, dtype=F64):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


def exact(a, b):
    """Distances from differences in float64: no cancellation."""
    return torch.linalg.vector_norm(a.double()[:, None] - b.double()[None], dim=2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_equals_the_loop(device, squared, second):
    a, b = rows(11, 5), rows(7, 5, seed=1) if second else None
    result = pairwise_distances(a.to(device), None if b is None else b.to(device), squared=squared)
    assert result.dtype == F64 and result.device.type == device
    expected = oracles.distances(a.tolist(), (a if b is None else b).tolist(), squared)
    torch.testing.assert_close(result.cpu(), torch.tensor(expected, dtype=F64), rtol=1e-10, atol=0)


@pytest.mark.parametrize("squared", [False, True])
def test_gradient_is_that_of_finite_differences(squared):
    a, b = rows(6, 3).requires_grad_(), rows(4, 3, seed=1).requires_grad_()
    off_diagonal = ~torch.eye(6, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda x: pairwise_distances(x, squared=squared)[off_diagonal], a)
    assert torch.autograd.gradcheck(lambda x, y: pairwise_distances(x, y, squared=squared), (a, b))
    assert torch.autograd.gradcheck(lambda x: pairwise_distances(x, b.detach(), squared=squared), a)
    assert torch.autograd.gradcheck(lambda y: pairwise_distances(a.detach(), y, squared=squared), b)


def test_an_unsymmetric_gradient_reaches_both_rows():
    a = rows(5, 3).requires_grad_()
    weight = rows(5, 5, seed=1)
    (pairwise_distances(a) * weight).sum().backward()
    two = rows(5, 3).requires_grad_()
    off = ~torch.eye(5, dtype=torch.bool)
    difference = two[:, None] - two[None]
    (torch.linalg.vector_norm(difference, dim=2)[off] * weight[off]).sum().backward()
    torch.testing.assert_close(a.grad, two.grad, rtol=1e-10, atol=1e-12)


def test_backward_leaves_the_incoming_gradient_alone():
    for squared in (False, True):
        grad = rows(5, 5)
        before = grad.clone()
        pairwise_distances(rows(5, 3).requires_grad_(), squared=squared).backward(grad)
        assert torch.equal(grad, before)


@pytest.mark.parametrize("dim", [1, 2, 128, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_equal_rows_are_at_distance_zero(dim, dtype):
    a = rows(60, dim, dtype=dtype) * 3 + 5
    b = a.flip(0)
    d = pairwise_distances(torch.cat([a, b]))
    assert (d.diagonal() == 0).all()
    assert (d[torch.arange(60), 119 - torch.arange(60)] == 0).all()
    assert (pairwise_distances(a, b).flip(1).diagonal() == 0).all()
    assert (d > 0).sum() == 120 * 118  # and no others


@pytest.mark.parametrize("dim", [4, 17, 128, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_equal_rows_of_many_are_at_distance_zero(dim, dtype):
    # So many numbers that they are multiplied, not subtracted: without care, a third of these distances are not 0.
    for offset in (0, 5, 100):
        a = rows(400, dim, dtype=dtype) * torch.linspace(0.1, 3, 400, dtype=dtype)[:, None] + offset
        d = pairwise_distances(torch.cat([a, a.flip(0)]))
        place = torch.arange(400)
        assert (d.diagonal() == 0).all() and (d[place, 799 - place] == 0).all()
        assert (d > 0).sum() >= 0.9999 * 800 * 798


@pytest.mark.parametrize("squared", [False, True])
def test_gradient_is_zero_where_the_distance_is(squared):
    a = torch.cat([torch.ones(3, 4), torch.zeros(2, 4)]).requires_grad_()
    d = pairwise_distances(a, squared=squared)
    (d[0, 1] + d[1, 0] + d[2, 2] + d[3, 4]).backward()
    assert torch.equal(a.grad, torch.zeros(5, 4))
    b = a.detach().requires_grad_()
    pairwise_distances(b, a.detach(), squared=squared).sum().backward()
    assert torch.isfinite(b.grad).all()


@pytest.mark.parametrize("gap", [1e-2, 1e-3, 1e-4])
def test_float32_keeps_near_duplicates(gap):
    a = rows(60, 128, dtype=torch.float32)
    b = a + gap * rows(60, 128, seed=1, dtype=torch.float32)
    x = torch.cat([a, b]).requires_grad_()
    d = pairwise_distances(x)
    torch.testing.assert_close(d.double(), exact(x, x), rtol=1e-6, atol=0)
    pair = torch.arange(60)
    d[pair, pair + 60].sum().backward()
    direction = (x[:60] - x[60:]).detach()
    direction /= direction.norm(dim=1, keepdim=True)
    torch.testing.assert_close(x.grad[:60], direction, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float32, 1e-6), (F64, 1e-14)])
def test_the_stated_accuracy_of_many(dtype, accuracy):
    a = rows(80, 64)
    x = torch.cat([a] + [a + 10.0**-k * rows(80, 64, seed=k) for k in range(2, 12)]).to(dtype)
    d2 = pairwise_distances(x, squared=True)
    r2 = (x - x.mean(0)).double().square().sum(1)
    beyond = (d2.double() - exact(x, x).square()).abs() > accuracy * (r2[:, None] + r2)
    assert not (beyond & (d2 > 0)).any()
    nearest_that_counts = (x - x.mean(0)).norm(dim=1, keepdim=True) / (350 if dtype == torch.float32 else 8e6)
    assert (d2 > 0)[exact(x, x) > nearest_that_counts].all()


def test_clusters_in_training_are_accurate_enough():
    # 1024 rows of a trained network: classes a hundredth as wide as the whole. The distances within are right to 2 %,
    # and the gradient points where it should.
    centers, noise = rows(10, 64), rows(1024, 64, seed=1)
    x = (centers.repeat(103, 1)[:1024] + 0.01 * noise).float().requires_grad_()
    same = (torch.arange(1024)[:, None] - torch.arange(1024)) % 10 == 0
    same.fill_diagonal_(False)
    d = pairwise_distances(x)
    torch.testing.assert_close(d.double()[same], exact(x, x)[same], rtol=0.02, atol=0)
    (gradient,) = torch.autograd.grad(d[same].sum(), x)
    precise = x.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(pairwise_distances(precise)[same].sum(), precise)
    assert (gradient - expected).norm() / expected.norm() < 1e-3


@pytest.mark.parametrize("n", [50, 400])
def test_distances_do_not_suffer_far_from_the_origin(n):
    x = rows(n, 16, dtype=torch.float32) + 1e4
    rounding = dict(rtol=1e-6 if n == 50 else 3e-5, atol=0)
    torch.testing.assert_close(pairwise_distances(x).double(), exact(x, x), **rounding)
    x = rows(n, 16) + 1e6  # about the origin, this would be off by 1e-4
    torch.testing.assert_close(pairwise_distances(x), exact(x, x), rtol=1e-8, atol=0)
    torch.testing.assert_close(pairwise_distances(x, x[:20]), exact(x, x[:20]), rtol=1e-8, atol=0)


def test_distances_of_whole_numbers_that_are_equal_stay_equal():
    x = torch.randint(-9, 10, (100, 3), generator=torch.Generator().manual_seed(0)).double()
    squares = (x[:, None] - x[None]).square().sum(2)
    d = pairwise_distances(x)
    torch.testing.assert_close(d, squares.sqrt(), rtol=1e-15, atol=0)
    assert len(d.unique()) == len(squares.unique())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    x = rows(20, 8).to(dtype).requires_grad_()
    d = pairwise_distances(x)
    assert d.dtype == torch.float32
    torch.testing.assert_close(d.double(), exact(x, x), rtol=1e-6, atol=0)
    d.sum().backward()
    assert x.grad.dtype == dtype and torch.isfinite(x.grad).all()
    y = x.detach().requires_grad_()
    assert torch.equal(pairwise_distances(x, y), d)
    pairwise_distances(x, y).sum().backward()
    assert y.grad.dtype == dtype


def test_float64_wins_over_float32():
    a, b = rows(4, 3, dtype=torch.float32), rows(5, 3, seed=1)
    assert pairwise_distances(a, b).dtype == pairwise_distances(b, a).dtype == F64
    torch.testing.assert_close(pairwise_distances(a, b), exact(a, b), rtol=1e-12, atol=0)
    assert paired_distances(a, b[:4]).dtype == F64


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(device, dtype):
    x = rows(40, 16).to(device, dtype).requires_grad_()
    outside = pairwise_distances(x)
    (gradient,) = torch.autograd.grad(outside.sum(), x)
    with torch.autocast(device, dtype=torch.bfloat16):
        inside = pairwise_distances(x)
        (inside_gradient,) = torch.autograd.grad(inside.sum(), x)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside) and torch.equal(inside_gradient, gradient)
    many = rows(400, 16).to(device, dtype)
    outside = pairwise_distances(many)
    with torch.autocast(device, dtype=torch.bfloat16):
        assert torch.equal(pairwise_distances(many), outside)


def test_layout_in_memory_does_not_matter():
    x = rows(30, 12)
    for view in (x.T.contiguous().T, x[::3, ::2]):
        torch.testing.assert_close(pairwise_distances(view), exact(view, view), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("n", "m"), [(0, None), (1, None), (0, 3), (3, 0)])
def test_few_rows(n, m):
    a = rows(n, 4).requires_grad_()
    b = None if m is None else rows(m, 4).requires_grad_()
    d = pairwise_distances(a, b)
    assert d.shape == (n, n if m is None else m)
    d.sum().backward()
    assert a.grad.shape == (n, 4) and torch.isfinite(a.grad).all()
    if b is not None:
        assert b.grad.shape == (m, 4) and torch.isfinite(b.grad).all()


@given(
    seed=st.integers(0, 2**20), n=st.integers(2, 12), dim=st.integers(1, 6), dtype=st.sampled_from([torch.float32, F64])
)
@settings(max_examples=40, deadline=None)
def test_invariances(seed, n, dim, dtype):
    x = rows(n, dim, seed)
    d = pairwise_distances(x.to(dtype))
    close = dict(rtol=2e-5, atol=1e-5) if dtype == torch.float32 else dict(rtol=1e-9, atol=1e-9)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(pairwise_distances(x[order].to(dtype)), d[order][:, order], **close)
    rotation = torch.linalg.qr(rows(dim, dim, seed + 1)).Q
    torch.testing.assert_close(pairwise_distances((x @ rotation).to(dtype)), d, **close)
    torch.testing.assert_close(pairwise_distances((x + rows(1, dim, seed + 2)).to(dtype)), d, **close)
    assert torch.equal(pairwise_distances(x.to(dtype) * 2**-20), d * 2**-20)
    assert torch.equal(
        pairwise_distances(x.to(dtype) * 2**20, squared=True),
        d.new_tensor(2.0**40) * pairwise_distances(x.to(dtype), squared=True),
    )
    torch.testing.assert_close(d, d.T, **close)


def test_pairwise_rejects_bad_input():
    x = rows(3, 2)
    for bad in (x[0], x[None], x.long(), [[1.0]], torch.zeros(3, 0)):
        with pytest.raises(ValueError, match=r"^a: got .*, expected a floating-point tensor"):
            pairwise_distances(bad)
        with pytest.raises(ValueError, match=r"^b: got .*, expected a floating-point tensor"):
            pairwise_distances(x, bad)
    with pytest.raises(ValueError, match=r"^b: got 3 columns, expected 2 as in a"):
        pairwise_distances(x, rows(3, 3))
    with pytest.raises(ValueError, match=r"^b: got a tensor on meta, expected one on cpu as a"):
        pairwise_distances(x, x.to("meta"))


@pytest.mark.parametrize("squared", [False, True])
def test_paired_distances(squared):
    a, b = rows(9, 5), rows(9, 5, seed=1)
    b[3] = a[3]
    expected = [oracles.distance(x, y, squared) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    a.requires_grad_()
    d = paired_distances(a, b, squared=squared)
    torch.testing.assert_close(d, torch.tensor(expected, dtype=F64), rtol=1e-12, atol=0)
    d.sum().backward()
    assert torch.equal(a.grad[3], torch.zeros(5, dtype=F64)) and torch.isfinite(a.grad).all()
    half = paired_distances(a.half(), b.half(), squared=squared)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, d.float(), rtol=1e-2, atol=1e-2)


def test_paired_rejects_bad_input():
    with pytest.raises(ValueError, match=r"^b: got shape \(4, 2\), expected \(3, 2\) as a"):
        paired_distances(rows(3, 2), rows(4, 2))
    with pytest.raises(ValueError, match=r"^a: got .*, expected a floating-point tensor"):
        paired_distances(rows(3, 2).long(), rows(3, 2))
    with pytest.raises(ValueError, match=r"^b: got .*, expected a floating-point tensor"):
        paired_distances(rows(3, 2), rows(3, 2).long())


# Cosines


@pytest.mark.parametrize("device", DEVICES)
def test_cosines_equal_the_loop(device):
    a, b = rows(5, 4), rows(3, 4, seed=1)
    for x, y, got in (
        (a, b, cosine_similarities(a.to(device), b.to(device))),
        (a, a, cosine_similarities(a.to(device))),
    ):
        expected = [[math.fsum(p * q for p, q in zip(u, v, strict=True)) for v in y.tolist()] for u in x.tolist()]
        lengths = [[math.hypot(*u) * math.hypot(*v) for v in y.tolist()] for u in x.tolist()]
        torch.testing.assert_close(
            got.cpu(), torch.tensor(expected, dtype=F64) / torch.tensor(lengths, dtype=F64), rtol=1e-13, atol=1e-15
        )


def test_gradients_of_cosines():
    a, b = rows(4, 4).requires_grad_(), rows(3, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(cosine_similarities, (a, b))
    assert torch.autograd.gradgradcheck(cosine_similarities, (a, b))
    assert torch.autograd.gradcheck(cosine_similarities, a)


def test_a_row_of_zeros_has_cosine_0_and_gradient_0():
    a = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    cosines = cosine_similarities(a)
    assert torch.equal(cosines.detach(), torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    cosines.sum().backward()
    assert torch.equal(a.grad[0], torch.zeros(2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_do_not_lower_cosines(dtype):
    a, b = rows(6, 4).to(dtype), rows(5, 4, seed=1).to(dtype)
    expected = cosine_similarities(a.float(), b.float())
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cosine_similarities(a, b), expected)
        assert torch.equal(cosine_similarities(a.float()), cosine_similarities(a.float(), a.float()))
    assert cosine_similarities(a, b.double()).dtype == cosine_similarities(a.double(), b).dtype == F64


def test_cosines_reject_bad_input():
    a = rows(3, 4)
    for bad in (a[0], a.int(), a.tolist()):
        with pytest.raises(ValueError, match=r"^a: got .*, expected a floating-point tensor"):
            cosine_similarities(bad)
        with pytest.raises(ValueError, match=r"^b: got .*, expected a floating-point tensor"):
            cosine_similarities(a, bad)
    with pytest.raises(ValueError, match=r"^b: got 3 columns, expected 4 as in a$"):
        cosine_similarities(a, a[:, :3])
    with pytest.raises(ValueError, match=r"^b: got a tensor on meta, expected one on cpu as a$"):
        cosine_similarities(a, torch.empty(2, 4, device="meta"))


# The checks that all losses and metrics begin with.

X, Y = torch.zeros(3, 2), torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (X[0], Y, r"^embeddings: got float32 of shape \(2,\), expected a floating-point tensor of shape \(N, D\)"),
        (X.int(), Y, r"^embeddings: got int32 of shape \(3, 2\), expected a floating-point"),
        (X.tolist(), Y, "^embeddings: got list .*, expected a floating-point"),
        (X, Y.float(), r"^labels: got float32 of shape \(3,\), expected an int64 tensor of shape \(N,\)"),
        (X, Y.int(), "^labels: got .*, expected an int64 tensor"),
        (X, Y[:, None], r"^labels: got int64 of shape \(3, 1\), expected an int64 tensor"),
        (X, Y.tolist(), "^labels: got list .*, expected an int64 tensor"),
        (X, Y[:2], "^labels: got 2 labels, expected 3, one a row of embeddings"),
        (X / 0, Y, "^embeddings: got nan, expected finite numbers"),
        (torch.tensor([[1.0, float("-inf")]] * 3), Y, "^embeddings: got -inf, expected finite numbers"),
        (X, Y - 1, r"^labels: got -1, expected numbers in 0\.\.2"),
        (X, Y + 1, r"^labels: got 3, expected numbers in 0\.\.2"),
        (X, Y.to("meta"), "^labels: got a tensor on meta, expected one on cpu as embeddings"),
    ],
)
def test_checks_name_the_argument(embeddings, labels, message):
    with pytest.raises(ValueError, match=message):
        embeddings_and_classes(embeddings, labels, num_classes=3)


def test_checks_accept_what_is_right():
    embeddings_and_classes(X, Y, num_classes=3)
    embeddings_and_labels(X.half(), Y - 5)  # without num_classes any whole number is a label
    embeddings_and_classes(X[:0], Y[:0], num_classes=3)
    with pytest.raises(ValueError, match=r"^query_labels: got 2 labels, expected 3, one a row of query$"):
        embeddings_and_labels(X, Y[:2], names=("query", "query_labels"))


def test_checks_of_plain_values():
    assert non_negative("margin", 1) == 1.0 and non_negative("margin", 0) == 0.0
    for bad in (-0.1, float("nan"), float("inf"), "1", None, True):
        with pytest.raises(ValueError, match=r"^margin: got .*, expected a finite number of at least 0"):
            non_negative("margin", bad)
    assert one_of("mining", "a", ("a", "b")) == "a"
    with pytest.raises(ValueError, match=r"^mining: got 'c', expected one of 'a', 'b'"):
        one_of("mining", "c", ("a", "b"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_value_checks_on_cuda_wait_only_if_asked():
    bad = torch.full((2, 2), float("nan"), device="cuda")
    with pytest.raises(ValueError, match=r"^x: got nan, expected finite numbers"):
        finite("x", bad, wait=True)
    torch.cuda.set_sync_debug_mode("error")
    try:
        finite("x", torch.zeros(2, 2, device="cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
