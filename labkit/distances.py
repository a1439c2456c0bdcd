"""Distances and cosines between all rows (lab 04).

All are computed in float64 if an argument is float64, otherwise in float32: also for float16 and bfloat16, and under
autocast.
"""

import torch

from labkit import checks
from labkit.embeddings import l2


def pairwise_distances(a: torch.Tensor, b: torch.Tensor | None = None, squared: bool = False) -> torch.Tensor:
    """The distance of every row of a to every row of b: result[i, j] = ‖a_i - b_j‖, or its square.

    a: tensor (N, D). b: tensor (M, D) on the same device, or None for the distances within a. Raises ValueError if they
        are not. squared: return d² instead of d.
    Returns a tensor (N, M). Equal rows are at distance 0, and the gradient there is 0.

    Up to two million numbers are subtracted one by one. For more, ‖a_i‖² + ‖b_j‖² - 2 a_i·b_j takes one matrix product,
    ten times as fast; but then d² is a small difference of large numbers. With r the distances of the rows from the
    mean, it is off by less than 1e-6·(r_i² + r_j²) in float32 (1e-14 in float64), and rows nearer than r/350 count as
    equal (r/10⁷).

    >>> pairwise_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    tensor([[0., 5.],
            [5., 0.]])
    """
    x, y = _matrices(a, b)
    if len(x) * y.numel() <= 2**21:
        d = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    else:
        mean = y.detach().mean(0)  # about which the numbers are smallest, and lose the fewest digits
        x, y = x - mean, y - mean
        with torch.autocast(a.device.type, enabled=False):
            d = torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist")
        # By rounding, equal rows may come out a little apart.
        rounding = 8 * torch.finfo(d.dtype).eps ** 0.5 * torch.linalg.vector_norm(x.detach(), dim=1, keepdim=True)
        d = d.masked_fill(d <= rounding, 0)
    return d.square() if squared else d


def paired_distances(a: torch.Tensor, b: torch.Tensor, squared: bool = False) -> torch.Tensor:
    """The distance of every row of a to the same row of b: result[i] = ‖a_i - b_i‖, or its square.

    a, b: tensors (N, D). Returns (N,). The gradient is 0 where d = 0. Raises ValueError if the shapes differ.

    >>> paired_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([5.])
    """
    checks.matrix("a", a)
    checks.matrix("b", b)
    if a.shape != b.shape:
        raise ValueError(f"b: got shape {tuple(b.shape)}, expected {tuple(a.shape)} as a")
    dtype = result_dtype(a, b)
    difference = a.to(dtype) - b.to(dtype)
    return difference.square().sum(dim=1) if squared else torch.linalg.vector_norm(difference, dim=1)


def cosine_similarities(a: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
    """The cosine of every row of a with every row of b: result[i, j] = a_i·b_j / (‖a_i‖ ‖b_j‖).

    a: tensor (N, D). b: tensor (M, D) on the same device, or None for the cosines within a. Raises ValueError if they
        are not.
    Returns a tensor (N, M). A row of zeros has cosine 0 with everything, and gradient 0. Rounding may leave a cosine
    some 1e-7 (in float32) beyond ±1.

    >>> cosine_similarities(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.0000]])
    """
    x, y = _matrices(a, b)
    x = l2(x)
    y = x if b is None else l2(y)
    with torch.autocast(a.device.type, enabled=False):
        return x @ y.T


def result_dtype(*tensors: torch.Tensor) -> torch.dtype:
    """The dtype in which distances and losses of these tensors are computed: float64 if one is, otherwise float32.

    >>> result_dtype(torch.zeros(2, dtype=torch.float16))
    torch.float32
    """
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def _matrices(a, b):
    """Both matrices, checked, in the dtype of the result; b is a if it is None."""
    checks.matrix("a", a)
    if b is None:
        return (a.to(result_dtype(a)),) * 2  # converted once: each conversion rounds its gradient
    checks.second_matrix("b", b, "a", a)
    return tuple(x.to(result_dtype(a, b)) for x in (a, b))
