"""Checks of arguments: bad input raises ValueError naming the argument, what was got and what was expected.

Shapes and dtypes are known to Python, so checking them is free. Values (NaN, a label out of range) live on the device:
to look at them from Python, a GPU would have to finish all its work first. On CUDA the value checks are therefore
asynchronous asserts, which the GPU makes on its own time; other accelerators have none, and values are not checked
there.
"""

import math
import numbers

import torch


def embeddings_and_labels(
    embeddings, labels, *, num_classes=None, dim=None, names=("embeddings", "labels"), wait=False
):
    """Checks a batch as every loss and metric takes it.

    embeddings: floating-point tensor (B, D), all values finite. labels: int64 tensor (B,) on the same device.
    num_classes: if given, labels must lie in 0..num_classes-1. dim: if given, D must be it. names: what the caller
        calls the two, for the message.
    wait: look at the values on any device and raise ValueError, although a GPU has to be waited for (metrics, whose
        result is read anyway).

    Raises ValueError for a wrong type, shape, dtype or device, and for bad values on the CPU (or with wait=True). On
    CUDA without wait, bad values fail an assert on the device.
    """
    name, labels_name = names
    matrix(name, embeddings)
    if dim is not None and embeddings.shape[1] != dim:
        raise ValueError(f"{name} must have {dim} columns, got {embeddings.shape[1]}")
    label_vector(labels_name, labels)
    if len(labels) != len(embeddings):
        raise ValueError(
            f"{labels_name} must have one entry for each of the {len(embeddings)} rows of {name}, got {len(labels)}"
        )
    if labels.device != embeddings.device:
        raise ValueError(f"{labels_name} must be on the device of {name}, {embeddings.device}, got {labels.device}")
    finite(name, embeddings, wait=wait)
    if num_classes is not None:
        in_range = (labels >= 0) & (labels < num_classes)
        _require(
            in_range.all(), f"{labels_name} must lie in 0..{num_classes - 1}", wait, lambda: labels[~in_range][0].item()
        )


def label_vector(name, value):
    """Raises ValueError unless value is an int64 tensor (N,)."""
    if not isinstance(value, torch.Tensor) or value.dtype != torch.int64 or value.ndim != 1:
        raise ValueError(f"{name} must be an int64 tensor of shape (N,), got {describe(value)}")


def matrix(name, value):
    """Raises ValueError unless value is a floating-point tensor (N, D) with D ≥ 1."""
    ok = isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim == 2 and value.shape[1] > 0
    if not ok:
        raise ValueError(
            f"{name} must be a floating-point tensor of shape (N, D), D of at least 1, got {describe(value)}"
        )


def second_matrix(name, value, first_name, first):
    """Raises ValueError unless value is a matrix with as many columns as `first`, on the same device."""
    matrix(name, value)
    if first.shape[1] != value.shape[1]:
        raise ValueError(f"{name} must have as many columns as {first_name}, {first.shape[1]}, got {value.shape[1]}")
    if first.device != value.device:
        raise ValueError(f"{name} must be on the device of {first_name}, {first.device}, got {value.device}")


def finite(name, value, *, wait=False):
    """Raises ValueError if the tensor holds NaN or infinity; on CUDA, unless wait is True, an assert on the device."""
    # The largest size is NaN or infinite if any entry is; to find it takes a tenth of the time of torch.isfinite.
    ok = torch.isfinite(value.detach().abs().amax()) if value.numel() else torch.ones((), dtype=torch.bool)
    _require(ok, f"{name} must be finite", wait, lambda: value[~torch.isfinite(value)][0].item())


def non_negative(name, value):
    """Returns value as a float; raises ValueError unless it is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
    return float(value)


def positive(name, value):
    """Returns value as a float; raises ValueError unless it is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    return float(value)


def whole(name, value, *, at_least=1):
    """Returns value as an int; raises ValueError unless it is a whole number of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < at_least:
        raise ValueError(f"{name} must be a whole number of at least {at_least}, got {value!r}")
    return int(value)


def one_of(name, value, allowed):
    """Returns value; raises ValueError unless it is among the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def differentiated_once(name):
    """Raises RuntimeError in a backward pass of which a graph is made: for functions whose gradient has no gradient.

    (torch's `once_differentiable` notices only some of these, and is silently wrong where the incoming gradient is a
    constant.)
    """
    if torch.is_grad_enabled():
        raise RuntimeError(f"{name} can be differentiated once, and create_graph=True asks for a second time")


def _require(condition, message, wait, found):
    """Checks a boolean tensor of one element: ValueError where Python may look, an asynchronous assert on CUDA."""
    if wait or condition.device.type == "cpu":
        if not condition.item():
            raise ValueError(f"{message}, got {found()}")
    elif condition.device.type == "cuda":
        torch._assert_async(condition, message)


def describe(value):
    """What a message says about a wrong argument: dtype and shape of a tensor, else its type and value."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}".removeprefix("torch.")
    return f"{type(value).__name__} {value!r:.40}"
