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
    """All distances from differences in float64; what is equal in float32 is equal, and goes by index."""
    d = torch.stack([torch.linalg.vector_norm(q - reference.double(), dim=1) for q in query.double()]).float()
    if own is not None:
        d.scatter_(1, own[:, None], torch.inf)
    return d.sort(dim=1, stable=True).indices[:, :depth]


def found(query, reference, depth, own=None):
    return torch.cat([block for _, block in nearest(query, reference, depth, own)])


@pytest.fixture
def compared(monkeypatch):
    """How many queries were compared with all rows in float64."""
    numbers = []
    original = neighbors._nearest_of_all

    def counted(x, *rest):
        numbers.append(len(x))
        return original(x, *rest)

    monkeypatch.setattr(neighbors, "_nearest_of_all", counted)
    return numbers


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


def test_float32_is_enough_where_the_order_is_sure(compared):
    for name in ("spread out", "clusters", "float32", "float16"):
        found(CASES[name], CASES[name], 10, torch.arange(3000))
    assert sum(compared) < 100
    found(CASES["all rows equal"], CASES["all rows equal"], 10, torch.arange(3000))
    assert sum(compared) >= 3000


def test_float32_is_not_trusted_where_it_may_be_lowered(compared):
    x = CASES["clusters so narrow that float32 mistakes their order"]
    expected = by_sorting(x[:50], x, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(found(x[:50], x, 10), expected)
    compared.clear()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found(CASES["spread out"][:50], CASES["spread out"], 10)
    finally:
        torch.set_float32_matmul_precision(before)
    assert sum(compared) == 50


@pytest.mark.parametrize("size", [1, 5000, 10**9])
def test_blocks_do_not_matter(size, monkeypatch):
    x = CASES["clusters"]
    expected = by_sorting(x[:40], x, 5)
    monkeypatch.setattr(neighbors, "BLOCK", size)
    assert torch.equal(found(x[:40], x, 5), expected)
