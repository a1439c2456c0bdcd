import pytest
import torch

from labkit import neighbors
from labkit.neighbors import nearest

F64 = torch.float64


def rows(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=F64)


def clusters(width, n=3000, dim=16):
    return rows(50, dim).repeat(n // 50, 1) + width * rows(n, dim, seed=1)


def by_sorting(query, reference, depth, own=None):
    """All squared distances from differences, rounded to 24 digits of two; what is equal then goes by index."""
    d = torch.stack([(q - reference.double()).square().sum(1) for q in query.double()])
    digits, power = torch.frexp(d)
    d = torch.ldexp((2**24 * digits).round(), power)
    if own is not None:
        d.scatter_(1, own[:, None], torch.inf)
    return d.sort(dim=1, stable=True).indices[:, :depth]


def found(query, reference, depth, own=None):
    return torch.cat([block for _, block in nearest(query, reference, depth, own)])


CASES = {
    "spread out": rows(3000, 16),
    "clusters": clusters(0.3),
    "clusters so narrow that float32 mistakes their order": clusters(1e-4),
    "far from the origin": rows(3000, 16).float() + 1000,
    "float32": rows(3000, 16).float(),
    "float16": rows(3000, 16).half(),
    "every row twice": rows(1500, 16).repeat(2, 1),
    "every row sixty times": rows(50, 16).repeat(60, 1),
    "all rows equal": torch.ones(3000, 16),
    "whole numbers, so that most distances tie": torch.randint(
        -2, 3, (3000, 3), generator=torch.Generator().manual_seed(0)
    ).float(),
    "one dimension": rows(3000, 1),
    "squares too large for float32": rows(3000, 16) * 1e30,
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("depth", [1, 10])
def test_the_nearest_rows_are_those_of_sorting_all(name, depth):
    x = CASES[name]
    own = torch.arange(0, len(x), 10)
    assert torch.equal(found(x[own], x, depth, own), by_sorting(x[own], x, depth, own))
    query = rows(100, x.shape[1], seed=5).to(x.dtype) * x.double().std().item()
    assert torch.equal(found(query, x, depth), by_sorting(query, x, depth))


@pytest.mark.parametrize("factor", [10, 1e3, 1e5])
def test_queries_from_afar(factor):
    # From there most distances are equal in float32.
    x, query = CASES["spread out"], factor * rows(100, 16, seed=3)
    assert torch.equal(found(query, x, 10), by_sorting(query, x, 10))


@pytest.mark.parametrize("depth", [100, 2999])
def test_many_neighbors(depth):
    for name in ("spread out", "every row twice", "whole numbers, so that most distances tie", "all rows equal"):
        x = CASES[name]
        own = torch.arange(0, len(x), 30)
        assert torch.equal(found(x[own], x, depth, own), by_sorting(x[own], x, depth, own))
    assert torch.equal(found(x[:5], x[:8], 8), by_sorting(x[:5], x[:8], 8))  # all there are


def test_rows_that_a_sample_misjudges():
    # The sample holds the nearest rows only, or none of them: there are too few below its bound, or it is too far away.
    x = CASES["spread out"].clone()
    x[:: neighbors.STEP] *= 1e-3
    query = x[:: neighbors.STEP][:20]
    assert torch.equal(found(query, x, 200), by_sorting(query, x, 200))
    assert torch.equal(
        found(x[1:20], x + (torch.arange(3000) % neighbors.STEP == 0)[:, None], 50),
        by_sorting(x[1:20], x + (torch.arange(3000) % neighbors.STEP == 0)[:, None], 50),
    )


def test_numbers_that_round_alike_are_not_torn_apart():
    # All but 40 of 3000 are within one step of float32, in an order of their own: the lower index goes first.
    squares = 1 + 1e-10 * torch.rand(2, 3000, generator=torch.Generator().manual_seed(0), dtype=F64)
    squares[:, 7:2007:50] += 1
    squares[:, [5, 3, 4]] = torch.tensor([-1e-16, 0, 1e-16], dtype=F64)  # of rows that equal the query
    rest = [place for place in range(3000) if squares[0, place] < 2 and not 3 <= place <= 5]
    expected = torch.tensor([3, 4, 5, *rest[:97]]).expand(2, -1)
    zero = torch.full((2, 1), 1e-14, dtype=F64)
    assert torch.equal(torch.from_numpy(neighbors._smallest(squares.numpy(), zero.numpy(), 100)), expected)


@pytest.mark.parametrize("depth", [1, 10, 1000])
def test_a_gpu_finds_the_same(depth):
    for name in CASES:
        squares = (CASES[name][:50, None].double() - CASES[name].double()).square().sum(2)
        zero = 1e-12 * squares.amax(1, keepdim=True)
        on_cpu = neighbors._smallest(squares.numpy(), zero.numpy(), depth)
        assert torch.equal(neighbors._smallest_at_once(squares, zero, depth), torch.from_numpy(on_cpu))


def test_lower_precision_and_threads_do_not_matter():
    x = CASES["clusters so narrow that float32 mistakes their order"]
    expected = by_sorting(x[:5], x, 10)
    before = torch.get_float32_matmul_precision(), torch.get_num_threads()
    try:
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision("medium")
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert torch.equal(found(x[:5], x, 10), expected)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.set_num_threads(before[1])


@pytest.mark.parametrize("size", [1, 5000, 10**9])
def test_blocks_do_not_matter(size, monkeypatch):
    x = CASES["clusters"]
    expected = by_sorting(x[:40], x, 5)
    monkeypatch.setattr(neighbors, "BLOCK", size)
    assert torch.equal(found(x[:40], x, 5), expected)
