import itertools

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import distances as pml_distances
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning import miners as pml_miners
from pytorch_metric_learning import reducers as pml_reducers
from tensors import DEVICES, with_gradient

from labkit.losses import TripletLoss, count_triplets

F64 = torch.float64
MININGS = ["all", "hard", "semihard"]


def batch(n=14, dim=3, classes=4, seed=0):
    """Classes of uneven sizes, in random order."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dim, generator=generator, dtype=F64) / 2
    return x, torch.randint(classes, (n,), generator=generator)


# The value and its gradient


def test_hand_example():
    # On a line: anchors and positives at 0 and 1, negatives at 1.5 and 3; and the other way round.
    x, y = torch.tensor([[0.0], [1.0], [1.5], [3.0]]), torch.tensor([0, 0, 1, 1])
    hinges = [1 - 1.5 + 1, 0, 1 - 0.5 + 1, 0, 1.5 - 1.5 + 1, 1.5 - 0.5 + 1, 0, 1.5 - 2 + 1]  # margin 1
    assert TripletLoss(1.0)(x, y).item() == pytest.approx(sum(hinges) / 5)
    assert TripletLoss(1.0, mining="hard")(x, y).item() == pytest.approx((0.5 + 1.5 + 2 + 0.5) / 4)
    # Nearest that is farther: 1.5, 3 (d = 2, no hinge), none farther for 1.5 (so 0, its farthest, at 1.5), 1 (d = 2).
    assert TripletLoss(1.0, mining="semihard")(x, y).item() == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert TripletLoss(1.0, squared=True)(x, y).item() == pytest.approx(
        ((1 - 0.25 + 1) + (2.25 - 2.25 + 1) + (2.25 - 0.25 + 1)) / 3
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("mining", "squared"), list(itertools.product(MININGS, [False, True])))
def test_value_and_gradient_equal_the_loop(device, mining, squared):
    for seed, margin in itertools.product(range(4), (0.0, 0.2, 2.0)):
        x, y = batch(seed=seed)
        loss = TripletLoss(margin, mining, squared).to(device)
        value, gradient = with_gradient(loss, x.to(device), y.to(device))
        arguments = x.tolist(), y.tolist(), margin, mining, squared
        assert value.item() == pytest.approx(oracles.triplet(*arguments), rel=1e-10, abs=1e-14)
        expected = torch.tensor(oracles.triplet_gradient(*arguments), dtype=F64)
        torch.testing.assert_close(gradient.cpu(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mining", MININGS)
def test_gradient_is_that_of_finite_differences(mining):
    x, y = batch(8)
    for squared in (False, True):
        loss = TripletLoss(0.3, mining, squared)
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, y), x.clone().requires_grad_())


@given(
    points=st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=1, max_size=12),
    margin=st.sampled_from([0.0, 1.0, 2.0]),
    squared=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_all_triplets_equal_the_loop_with_ties_everywhere(points, margin, squared):
    # Whole numbers on a line, with a whole margin: distances tie with each other, with 0, and exactly at the margin.
    x = torch.tensor([[float(p)] for p, _ in points], dtype=F64)
    y = torch.tensor([c for _, c in points])
    arguments = x.tolist(), y.tolist(), margin, "all", squared
    value, gradient = with_gradient(TripletLoss(margin, "all", squared), x, y)
    assert value.item() == pytest.approx(oracles.triplet(*arguments), rel=1e-10, abs=1e-12)
    expected = torch.tensor(oracles.triplet_gradient(*arguments), dtype=F64)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)
    # Which of several equally distant rows is mined is left open, but not the value.
    for mining in ("hard", "semihard"):
        value, gradient = with_gradient(TripletLoss(margin, mining, squared), x, y)
        expected = oracles.triplet(x.tolist(), y.tolist(), margin, mining, squared)
        assert value.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
        assert torch.isfinite(gradient).all()
    counts = count_triplets(x, y, margin, squared)
    assert (counts.easy, counts.semihard, counts.hard) == oracles.triplet_counts(
        x.tolist(), y.tolist(), margin, squared
    )


@given(seed=st.integers(0, 2**20), n=st.integers(2, 14), dim=st.integers(1, 4), classes=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_invariances(seed, n, dim, classes):
    x, y = batch(n, dim, classes, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    order = torch.randperm(n, generator=generator)
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=F64)).Q
    names = torch.randperm(classes, generator=generator) * 5 - 3
    close = dict(rtol=1e-8, atol=1e-10)
    for mining in MININGS:
        loss = TripletLoss(0.2, mining)
        value, gradient = with_gradient(loss, x, y)
        permuted, permuted_gradient = with_gradient(loss, x[order], y[order])
        torch.testing.assert_close(permuted, value, **close)
        torch.testing.assert_close(permuted_gradient, gradient[order], **close)
        torch.testing.assert_close(loss(x @ rotation, y), value, **close)
        torch.testing.assert_close(loss(x + x[0] + 1, y), value, **close)
        torch.testing.assert_close(loss(x, names[y]), value, **close)
        torch.testing.assert_close(TripletLoss(0.6, mining)(3 * x, y), 3 * value, **close)
        squared = TripletLoss(0.2, mining, squared=True)(x, y)
        torch.testing.assert_close(TripletLoss(1.8, mining, squared=True)(3 * x, y), 9 * squared, **close)


# The trusted library (its conventions: shared by everybody, with its own names)


def pml_triplet(margin, squared, miner=None):
    distance = pml_distances.LpDistance(normalize_embeddings=False, power=2 if squared else 1)
    reducer = pml_reducers.AvgNonZeroReducer()
    loss = pml_losses.TripletMarginLoss(margin=margin, distance=distance, reducer=reducer)
    if miner is None:
        return loss
    miner = miner(distance=distance)
    return lambda x, y: loss(x, y, miner(x, y))


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("mining", ["all", "hard"])
@pytest.mark.parametrize("layout", ["uneven", "P x 4"])
def test_equals_pytorch_metric_learning(mining, squared, layout):
    margin = 0.3
    miners = {"all": None, "hard": pml_miners.BatchHardMiner}
    x, y = batch(40, 8, 6)
    if layout == "P x 4":
        y = torch.arange(10).repeat_interleave(4)
    value, gradient = with_gradient(TripletLoss(margin, mining, squared), x, y)
    expected, expected_gradient = with_gradient(pml_triplet(margin, squared, miners[mining]), x, y)
    assert expected > 0
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-12)


# Numbers


@pytest.mark.parametrize("labels", [torch.arange(1024) % 10, torch.arange(256).repeat_interleave(4)], ids=["c10", "k4"])
@pytest.mark.parametrize("mining", MININGS)
def test_float32_agrees_with_float64_on_a_large_batch(mining, labels):
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(256, 128, generator=generator)
    x = torch.nn.functional.normalize(0.7 * centers[labels] + torch.randn(1024, 128, generator=generator))
    loss = TripletLoss(mining=mining)
    value, gradient = with_gradient(loss, x, labels)
    reference, reference_gradient = with_gradient(loss, x.double(), labels)
    # Rounding moves a few of the millions of triplets into the average or out of it.
    assert value.item() == pytest.approx(reference.item(), rel=5e-6 if mining == "all" else 1e-6)
    assert (gradient - reference_gradient).norm() / reference_gradient.norm() < 1e-3


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(mining, dtype):
    x, y = batch(32, 8)
    loss = TripletLoss(0.5, mining)
    value, gradient = with_gradient(loss, x.to(dtype), y)
    expected, expected_gradient = with_gradient(loss, x.to(dtype).float(), y)
    assert value.dtype == torch.float32 and torch.equal(value, expected)
    torch.testing.assert_close(gradient, expected_gradient.to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(with_gradient(loss, x.to(dtype), y)[0], expected)


@pytest.mark.parametrize("mining", MININGS)
def test_a_margin_lost_to_rounding_is_no_error(mining):
    # In float32, 2e8 + 0.2 = 2e8: between d(a,p) and d(a,p) + margin there is no number left.
    x, y = torch.tensor([[0.0], [2e8], [2e8], [-2e8]]), torch.tensor([0, 0, 1, 1])
    value, gradient = with_gradient(TripletLoss(0.2, mining), x, y)
    assert torch.isfinite(value) and torch.isfinite(gradient).all() and value >= 0


# Batches with little in them


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("labels", [[], [5], [5, 5, 5], [5, 6, 7], [0, 0, 1]])
def test_a_batch_without_active_triplets_gives_a_connected_zero(mining, labels):
    n = len(labels)
    x = torch.eye(3, dtype=F64)[:n] * 100
    if labels == [0, 0, 1]:  # one triplet a row of the pair, all easy
        x[1] = x[0] + 0.1
    value, gradient = with_gradient(TripletLoss(0.2, mining), x, torch.tensor(labels, dtype=torch.int64))
    assert value.item() == 0 and value.shape == ()
    assert torch.equal(gradient, torch.zeros_like(x))


@pytest.mark.parametrize("mining", MININGS)
def test_anchors_without_a_positive_or_a_negative_are_left_out(mining):
    x, _ = batch(7)
    y = torch.tensor([0, 0, 0, 1, 1, 2, 3])
    value = TripletLoss(1.0, mining)(x, y)
    assert value.item() == pytest.approx(oracles.triplet(x.tolist(), y.tolist(), 1.0, mining))


@pytest.mark.parametrize("mining", MININGS)
def test_collapsed_embeddings(mining):
    # Every hinge is the margin, the value at which a collapsed network stays; its gradient is 0.
    for x in (torch.zeros(6, 3), torch.full((6, 3), 0.3)):
        value, gradient = with_gradient(TripletLoss(0.2, mining), x, torch.tensor([0, 0, 0, 1, 1, 1]))
        assert value.item() == pytest.approx(0.2)
        assert torch.equal(gradient, torch.zeros_like(x))


def test_bad_input():
    x, y = batch()
    for arguments, message in (
        (dict(margin=-0.1), "^margin: got -0.1, expected a finite number of at least 0"),
        (dict(mining="hardest"), "^mining: got 'hardest', expected one of 'all', 'hard', 'semihard'"),
    ):
        with pytest.raises(ValueError, match=message):
            TripletLoss(**arguments)
    with pytest.raises(ValueError, match=r"^labels: got .*, expected an int64"):
        TripletLoss()(x, y.float())
    with pytest.raises(ValueError, match=r"^margin: got -1, expected"):
        count_triplets(x, y, margin=-1)
    x[2, 1] = float("inf")
    for function in (TripletLoss(), count_triplets):
        with pytest.raises(ValueError, match=r"^embeddings: got inf, expected finite numbers"):
            function(x, y)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("mining", MININGS)
def test_the_gpu_is_not_waited_for(mining):
    x, y = batch()
    x, y = x.float().cuda().requires_grad_(), y.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        TripletLoss(mining=mining)(x, y).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# Counting


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("squared", [False, True])
def test_counts_equal_the_loop(device, squared):
    for seed in range(3):
        x, y = batch(20, seed=seed)
        counts = count_triplets(x.to(device), y.to(device), 0.3, squared)
        assert (counts.easy, counts.semihard, counts.hard) == oracles.triplet_counts(
            x.tolist(), y.tolist(), 0.3, squared
        )
        assert counts.easy > 0 and counts.semihard > 0 and counts.hard > 0
    assert count_triplets(x.to(device), y.to(device)) == count_triplets(x, y, margin=0.2, squared=False)


def test_counts_of_ties():
    # d(a,p) = 1; negatives at 0.5 (hard), 1 (a tie: semi-hard), 1.5 (semi-hard), 2 = d + margin (easy), seen from 0.
    y = torch.tensor([0, 0, 1])
    for at, expected in ((-0.5, "hard"), (-1.0, "semihard"), (-1.5, "semihard"), (-2.0, "easy")):
        counts = count_triplets(torch.tensor([[0.0], [1.0], [at]]), y, margin=1.0)
        # Seen from 1, the negative is 1 farther away: semi-hard up to 2, then easy.
        other = "semihard" if at == -0.5 else "easy"
        assert {k: getattr(counts, k) for k in ("easy", "semihard", "hard")} == {
            k: (k == expected) + (k == other) for k in ("easy", "semihard", "hard")
        }


@pytest.mark.parametrize("labels", [[], [1], [1, 1], [1, 2]])
def test_counts_of_batches_without_triplets(labels):
    counts = count_triplets(torch.ones(len(labels), 2), torch.tensor(labels, dtype=torch.int64))
    assert (counts.easy, counts.semihard, counts.hard) == (0, 0, 0)
    assert isinstance(counts.easy, int)
