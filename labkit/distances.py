"""Distances and cosines between all rows; distances are accurate also where the rows are nearly equal."""

import torch

from labkit import checks
from labkit.embeddings import l2


def pairwise_distances(a, b=None, squared=False):
    """The distance of every row of a to every row of b: result[i, j] = ‖a_i - b_j‖, or its square.

    a: tensor (N, D). b: tensor (M, D) on the same device, or None for the distances within a (then the diagonal is
        exactly 0).
    squared: return d² instead of d.

    Returns a tensor (N, M): float64 if a or b is float64, otherwise float32, also for float16, bfloat16 and under
    autocast. Its gradient is (a_i - b_j)/d, and 0 where d = 0, where the distance has none. It can be differentiated
    once.

    Accuracy: ‖a_i‖² + ‖b_j‖² - 2 a_i·b_j is one matrix product, but where the rows are nearly equal the terms cancel:
    in float32, `torch.cdist` finds a distance of 1e-3 between a row and itself. Here the product is taken in float64,
    about a center, the mean of b rounded to two digits. With r² the sum of the two rows' squared distances from there,
    d² is off by less than 1e-15·(D+2)·r². For D = 128 this leaves seven digits of every d above r/1000. What lies below
    the error is returned as 0, so that equal rows are always at distance 0.

    Raises ValueError if a or b is not a floating-point matrix, or if they differ in D or in device.
    """
    checks.matrix("a", a)
    if b is not None:
        checks.second_matrix("b", b, "a", a)
    dtype = result_dtype(a) if b is None else result_dtype(a, b)
    device = a.device
    if device.type == "mps":  # it has no float64
        a, b = a.cpu(), None if b is None else b.cpu()
    return _Distances.apply(a, b, squared, dtype).to(device)


def paired_distances(a, b, squared=False):
    """The distance of every row of a to the same row of b: result[i] = ‖a_i - b_i‖, or its square.

    a, b: tensors (N, D). Returns (N,), in float64 if a or b is float64, otherwise in float32. The gradient is 0 where d
        = 0.
    Raises ValueError if a or b is not a floating-point matrix, or if their shapes differ.
    """
    checks.matrix("a", a)
    checks.matrix("b", b)
    if a.shape != b.shape:
        raise ValueError(f"b must have the shape of a, {tuple(a.shape)}, got {tuple(b.shape)}")
    dtype = result_dtype(a, b)
    difference = a.to(dtype) - b.to(dtype)
    return difference.square().sum(dim=1) if squared else torch.linalg.vector_norm(difference, dim=1)


def cosine_similarities(a, b=None):
    """The cosine of every row of a with every row of b: result[i, j] = a_i·b_j / (‖a_i‖ ‖b_j‖).

    a: tensor (N, D). b: tensor (M, D) on the same device, or None for the cosines within a.

    Returns a tensor (N, M): float64 if a or b is float64, otherwise float32, also for float16, bfloat16 and under
    autocast. A row of zeros has cosine 0 with everything, and gradient 0. Rounding may leave a cosine some 1e-7 (in
    float32) beyond ±1.
    Raises ValueError if a or b is not a floating-point matrix, or if they differ in D or in device.
    """
    checks.matrix("a", a)
    if b is not None:
        checks.second_matrix("b", b, "a", a)
    dtype = result_dtype(a) if b is None else result_dtype(a, b)
    x = l2(a.to(dtype))
    y = x if b is None else l2(b.to(dtype))
    with torch.autocast(a.device.type, enabled=False):
        return x @ y.T


def result_dtype(*tensors):
    """The dtype in which distances and losses of these tensors are computed: float64 if one is, otherwise float32."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


class _Distances(torch.autograd.Function):
    """pairwise_distances with the gradient written out: autograd's own would divide 0 by 0 at d = 0."""

    @staticmethod
    def forward(ctx, a, b, squared, dtype):
        x = a.double()
        y = x if b is None else b.double()
        # The squared norms are smallest, and cancel best, about the center. Rounded to bfloat16 the center has so few
        # digits that whole numbers stay exact, and with them the ties between their distances.
        center = (y.sum(0) / max(len(y), 1)).bfloat16().double()
        x = x - center
        y = x if b is None else y - center
        x_norm, y_norm = x.square().sum(1, keepdim=True), y.square().sum(1, keepdim=True)
        left = torch.cat([-2 * x, x_norm, torch.ones_like(x_norm)], dim=1)
        right = torch.cat([y, torch.ones_like(y_norm), y_norm], dim=1)
        d = (left @ right.T).to(dtype)  # -2 x·y + ‖x‖² + ‖y‖²
        # A bound of the rounding error is this times ‖x‖² + ‖y‖²; what does not rise above it is 0.
        rounding = 2 * (x.shape[1] + 2) * torch.finfo(torch.float64).eps
        d.masked_fill_(d <= (rounding * x_norm).to(dtype) + (rounding * y_norm).to(dtype).T, 0)
        d = d if squared else d.sqrt_()
        ctx.squared = squared
        ctx.save_for_backward(x, None if b is None else y, None if squared else d)
        return d

    @staticmethod
    def backward(ctx, grad):
        checks.differentiated_once("pairwise_distances")
        x, y, d = ctx.saved_tensors
        # Pair (i, j) adds weight[i, j]·(x_i - y_j) to the gradient of x_i, and the opposite to that of y_j.
        weight = 2 * grad if ctx.squared else (grad / d).masked_fill_(d == 0, 0)
        if y is None:
            return _pull(weight + weight.T.contiguous(), x, x), None, None, None
        return _pull(weight, x, y), _pull(weight.T, y, x), None, None


def _pull(weight, x, y):
    """Σ_j weight[i, j]·(x_i - y_j) for every row i. In float64, as it cancels where x_i and y_j are nearly equal."""
    weight = weight.double()
    return weight.sum(1, keepdim=True) * x - (y.T @ weight.T).T
