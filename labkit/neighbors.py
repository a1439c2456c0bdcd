"""The nearest rows of many (labkit.evaluation)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

BLOCK = 2**24  # distances that are held at a time: 128 MiB
NUMBER = 2**29 - 1  # the bits of a float64 beyond the precision of float32: here they hold the number of a row
HALF = 2**28  # added to the bits of a float64, it rounds what stands above them to the nearest
STEP = 37  # a prime: labels often come in a period
FEW = 500  # reference rows up to which it is quicker to sort the distances of all queries at once


def nearest(
    query: torch.Tensor, reference: torch.Tensor, depth: int, own: torch.Tensor | None = None
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Finds the `depth` nearest reference rows of every query, nearest first; of equally near ones the lower index.

    query: (Q, D) floating point. reference: (N, D) on the same device. own: int64 (Q,), for each query a row of the
        reference that does not count, itself. depth: from 1 to N, or to N - 1 with own.
    Yields blocks of queries: a slice of them, and the indices int64 (n, depth).

    Squared distances are computed in float64, and rounded to the precision of float32: what is equal then is equally
    near. So are all rows that are nearer to a query than 2e-8·√(D + 2) of its distance from the mean of the reference.

    Time grows as Q·N·D for one matrix product, which is most of it, and as Q·depth·log depth to order what was found.
    Memory: 128 MiB for the distances, twice the rows in float64, and what a block's indices take.

    >>> rows = torch.tensor([[0.0], [1.0], [3.0]])
    >>> [found.tolist() for _, found in nearest(rows, rows, 1, own=torch.arange(3))]
    [[[1], [0], [1]]]
    """
    mean = reference.double().mean(0)  # about which the numbers are smallest, and lose the fewest digits
    x, y = query.double() - mean, reference.double() - mean
    x2, y2 = x.square().sum(1, keepdim=True), y.square().sum(1, keepdim=True)
    zero = (x.shape[1] + 2) * 2**-51 * x2  # ‖x - y‖² may come out as this although x = y
    x = torch.cat([-2 * x, x2, torch.ones_like(x2)], dim=1)
    y = torch.cat([y, torch.ones_like(y2), y2], dim=1)  # x·y is now ‖x‖² - 2 x·y + ‖y‖²
    size, threads = max(BLOCK // len(y), 1), torch.get_num_threads()
    held = x.new_empty(min(size, len(x)), len(y))  # new memory for each block would double the time
    with ThreadPoolExecutor(threads) as pool:
        for rows in (slice(start, min(start + size, len(x))) for start in range(0, len(x), size)):
            squares = torch.mm(x[rows], y.T, out=held[: rows.stop - rows.start])
            if own is not None:
                squares.scatter_(1, own[rows, None], torch.inf)
            if squares.device.type == "cpu" and len(y) > FEW:
                parts = (np.array_split(numbers.numpy(), threads) for numbers in (squares, zero[rows]))
                yield rows, torch.from_numpy(np.concatenate([*pool.map(_smallest, *parts, [depth] * threads)]))
            else:
                yield rows, _smallest_at_once(squares, zero[rows], depth)


def _smallest(squares, zero, depth):
    """Where the `depth` smallest numbers of each row (n, N) stand, in their order: (n, depth).

    Bits of positive float64 numbers, read as integers, are in the order of the numbers. With its place instead of the
    lowest bits, a number becomes a key that no other number has, and the sorted keys say all.
    """
    found = np.empty((len(squares), depth), np.int64)
    rank = depth / STEP
    rank = min(int(rank + 4 * rank**0.5) + 4, (squares.shape[1] - 1) // STEP)
    for row, least, first in zip(squares, zero, found, strict=True):
        # A sample tells up to where to look: nearly always the smallest numbers, and a few more, are below that.
        end = np.maximum(np.partition(row[::STEP], rank)[rank], least).view(np.int64)
        near = np.flatnonzero(row.view(np.int64) < ((end + HALF) & ~NUMBER) + HALF)  # all or none of what rounds alike
        if len(near) < depth:
            near = np.arange(len(row))
        keys = (np.maximum(row[near], least).view(np.int64) + HALF) & ~NUMBER | near
        keys.partition(depth - 1)
        first[:] = keys[:depth]
        first.sort()
    return found & NUMBER


def _smallest_at_once(squares, zero, depth):
    """The same for all rows at once: for few numbers, or on a GPU, which sorts all as fast as it looks for these."""
    places = torch.arange(squares.shape[1], device=squares.device)
    keys = (squares.clamp(min=zero).view(torch.int64) + HALF) & ~NUMBER | places
    return keys.topk(depth, largest=False).values & NUMBER
