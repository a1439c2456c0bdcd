"""Cosines of all rows with all rows."""

import torch

from labkit import checks
from labkit.distances import result_dtype
from labkit.embeddings import l2


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
