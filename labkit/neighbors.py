"""The nearest rows of many (labkit.evaluation)."""

from collections.abc import Iterator

import torch

from labkit.distances import pairwise_distances

BLOCK = 2**23  # numbers that are held at a time
SPARE = 32  # candidates more than are asked for


def blocks(count: int, width: int) -> Iterator[slice]:
    """Slices of `count` rows, so many at a time that a matrix of them with `width` columns is of bearable size.

    >>> [(rows.start, rows.stop) for rows in blocks(3, width=2**22)]
    [(0, 2), (2, 4)]
    """
    size = max(BLOCK // max(width, 1), 1)
    return (slice(start, start + size) for start in range(0, count, size))


def nearest(
    query: torch.Tensor, reference: torch.Tensor, depth: int, own: torch.Tensor | None = None
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Finds the `depth` nearest reference rows of every query, nearest first; of equally near ones the lower index.

    query: (Q, D) floating point. reference: (N, D) on the same device. own: int64 (Q,), for each query a row of the
        reference that does not count, itself. depth: at most N, or N - 1 with own.
    Yields blocks of queries: a slice of them, and the indices int64 (n, depth).

    Time grows as Q·N·D, and for a depth of hundreds as Q·depth·(D + log depth) too. One matrix product in float32 finds
    `depth` + 32 candidates, whose distances are then computed and ordered in float64. Where rounding might have hidden
    a nearer row, the query is compared with all rows in float64, which takes several times as long: so if many rows are
    equal, or much nearer to each other than to the mean; and so beyond a depth of N/64. Distances that are equal in
    float32 are equal.

    >>> rows = torch.tensor([[0.0], [1.0], [3.0]])
    >>> [found.tolist() for _, found in nearest(rows, rows, 1, own=torch.arange(3))]
    [[[1], [0], [1]]]
    """
    x, y = query.double(), reference.double()
    center = y.mean(0)
    x, y = x - center, y - center
    wide, dim = depth + SPARE, x.shape[1]
    quick = wide <= len(y) // 64 and torch.get_float32_matmul_precision() == "highest"
    if quick:
        x32, y32 = x.float(), y.float()
        squares = y32.square().sum(1)
        # A bound of the rounding error of ‖y‖² - 2 x·y, whatever the order of the sum, and of d² in float32.
        largest = squares.max().sqrt()
        reach = torch.linalg.vector_norm(x32, dim=1) + largest
        error = torch.finfo(torch.float32).eps * reach * ((dim + 4) * largest + reach)
    for rows in blocks(len(x), len(y)):
        itself = None if own is None else own[rows, None]
        if not quick:
            yield rows, _nearest_of_all(x[rows], y, depth, itself)
            continue
        with torch.autocast(x.device.type, enabled=False):
            rough = _without(itself, torch.addmm(squares, x32[rows], y32.T, alpha=-2))
        rough, found = rough.topk(wide, largest=False)
        parts = blocks(len(found), 8 * wide * dim)  # what fits into a processor's cache is computed three times as fast
        d = [torch.linalg.vector_norm(x[rows][part, None] - y[found[part]], dim=2) for part in parts]
        found = _in_order(found, torch.cat(d).float())[:, :depth]
        unsure = ~(rough[:, -1] - rough[:, depth - 1] > 2 * error[rows])
        if unsure.any():
            found[unsure] = _nearest_of_all(x[rows][unsure], y, depth, None if own is None else itself[unsure])
        yield rows, found


def _nearest_of_all(x, y, depth, itself):
    d = _without(itself, pairwise_distances(x, y).float())
    values, found = d.topk(min(depth + 1, len(y)), largest=False)
    # Of rows that are equally near, topk takes any: where it had to choose, all are sorted.
    chose = values[:, -1] == values[:, depth - 1]
    found = _in_order(found[:, :depth], values[:, :depth])
    if depth < len(y) and chose.any():
        found[chose] = d[chose].sort(dim=1, stable=True).indices[:, :depth]
    return found


def _without(itself, d):
    """The distances, infinite for the query itself."""
    return d if itself is None else d.scatter_(1, itself, torch.inf)


def _in_order(found, d):
    """Indices (n, k), of rows at the distances d, in the order of the distances, and equal ones in their own."""
    found, place = found.sort(dim=1)
    return found.gather(1, d.gather(1, place).sort(dim=1, stable=True).indices)
