"""Checks of arguments: bad input raises ValueError, `name: got X, expected Y`. Checks of one value return it.

Shapes and dtypes are known to Python, so checking them is free. Values (NaN, a label out of range) live on the device:
to look at them from Python, a GPU would have to finish all its work first. On CUDA the value checks are therefore
asserts that the GPU makes on its own time; other accelerators have none, and values are not checked there.
"""

import math
import numbers
from collections.abc import Callable, Collection

import torch
from torch import Tensor


def embeddings_and_labels(
    embeddings: Tensor, labels: Tensor, names: tuple[str, str] = ("embeddings", "labels"), wait: bool = False
) -> None:
    """Checks a batch as every loss and metric takes it.

    embeddings: floating-point tensor (B, D), all values finite. labels: int64 tensor (B,) on the same device.
    names: for the message. wait: look at the values on any device, as metrics do; a GPU then has to be waited for.

    >>> embeddings_and_labels(torch.zeros(2, 3), torch.arange(4))
    Traceback (most recent call last):
    ValueError: labels: got 4 labels, expected 2, one a row of embeddings
    """
    name, labels_name = names
    matrix(name, embeddings)
    label_vector(labels_name, labels)
    if len(labels) != len(embeddings):
        raise ValueError(f"{labels_name}: got {len(labels)} labels, expected {len(embeddings)}, one a row of {name}")
    _same_device(labels_name, labels, name, embeddings)
    finite(name, embeddings, wait=wait)


def embeddings_and_classes(embeddings: Tensor, labels: Tensor, num_classes: int, dim: int | None = None) -> None:
    """Checks a batch of a loss that knows its classes: labels in 0..num_classes-1, and embeddings of length dim.

    >>> embeddings_and_classes(torch.zeros(2, 3), torch.tensor([0, 7]), num_classes=5)
    Traceback (most recent call last):
    ValueError: labels: got 7, expected numbers in 0..4
    """
    embeddings_and_labels(embeddings, labels)
    if dim is not None and embeddings.shape[1] != dim:
        raise ValueError(f"embeddings: got {embeddings.shape[1]} columns, expected {dim}")
    in_range = (labels >= 0) & (labels < num_classes)
    _require(in_range.all(), "labels", f"numbers in 0..{num_classes - 1}", False, lambda: labels[~in_range][0].item())


def label_vector(name: str, value: Tensor) -> None:
    """Checks that value is an int64 tensor (N,).

    >>> label_vector("labels", torch.zeros(3))
    Traceback (most recent call last):
    ValueError: labels: got float32 of shape (3,), expected an int64 tensor of shape (N,)
    """
    if not isinstance(value, Tensor) or value.dtype != torch.int64 or value.ndim != 1:
        raise ValueError(f"{name}: got {describe(value)}, expected an int64 tensor of shape (N,)")


def matrix(name: str, value: Tensor, shape: str = "(N, D)") -> None:
    """Checks that value is a floating-point tensor (N, D), or for shape="(..., D)" of any shape, D ≥ 1.

    >>> matrix("points", torch.arange(3))
    Traceback (most recent call last):
    ValueError: points: got int64 of shape (3,), expected a floating-point tensor of shape (N, D), D at least 1
    """
    ok = isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0 and value.shape[-1] > 0
    if not ok or (shape == "(N, D)" and value.ndim != 2):
        expected = f"a floating-point tensor of shape {shape}, D at least 1"
        raise ValueError(f"{name}: got {describe(value)}, expected {expected}")


def second_matrix(name: str, value: Tensor, first_name: str, first: Tensor) -> None:
    """Checks that value is a matrix with as many columns as `first`, on the same device.

    >>> second_matrix("b", torch.zeros(4, 3), "a", torch.zeros(4, 2))
    Traceback (most recent call last):
    ValueError: b: got 3 columns, expected 2 as in a
    """
    matrix(name, value)
    if first.shape[1] != value.shape[1]:
        raise ValueError(f"{name}: got {value.shape[1]} columns, expected {first.shape[1]} as in {first_name}")
    _same_device(name, value, first_name, first)


def finite(name: str, value: Tensor, *, wait: bool = False) -> None:
    """Checks that a tensor holds neither NaN nor infinity. wait: as in embeddings_and_labels.

    >>> finite("x", torch.tensor([1.0, torch.inf]))
    Traceback (most recent call last):
    ValueError: x: got inf, expected finite numbers
    """
    # The largest size is NaN or infinite if any entry is; to find it takes a tenth of the time of torch.isfinite.
    ok = torch.isfinite(value.detach().abs().amax()) if value.numel() else torch.ones((), dtype=torch.bool)
    _require(ok, name, "finite numbers", wait, lambda: value[~torch.isfinite(value)][0].item())


def non_negative(name: str, value: float, at_most: float = math.inf) -> float:
    """Checks that value is a finite number of at least 0, and of at most `at_most`.

    >>> non_negative("margin", 1)
    1.0
    """
    finite_number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not finite_number or not 0 <= value <= at_most:
        expected = "a finite number of at least 0" if at_most == math.inf else f"a number from 0 to {at_most:g}"
        raise ValueError(f"{name}: got {value!r}, expected {expected}")
    return float(value)


def positive(name: str, value: float) -> float:
    """Checks that value is a finite number above 0.

    >>> positive("scale", 30)
    30.0
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name}: got {value!r}, expected a finite number above 0")
    return float(value)


def whole(name: str, value: int, *, at_least: int = 1) -> int:
    """Checks that value is a whole number of at least `at_least`.

    >>> whole("steps", 5)
    5
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < at_least:
        raise ValueError(f"{name}: got {value!r}, expected a whole number of at least {at_least}")
    return int(value)


def one_of(name: str, value: str, allowed: Collection[str]) -> str:
    """Checks that value is among the allowed ones.

    >>> one_of("mining", "hard", ("all", "hard"))
    'hard'
    """
    if value not in allowed:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(map(repr, allowed))}")
    return value


def describe(value: object) -> str:
    """What a message says about a wrong argument: dtype and shape of a tensor, else its type and value.

    >>> describe(torch.zeros(2, 3)), describe([1.5])
    ('float32 of shape (2, 3)', 'list [1.5]')
    """
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}".removeprefix("torch.")
    return f"{type(value).__name__} {value!r:.40}"


def _same_device(name, value, first_name, first):
    if first.device != value.device:
        raise ValueError(f"{name}: got a tensor on {value.device}, expected one on {first.device} as {first_name}")


def _require(condition: Tensor, name: str, expected: str, wait: bool, found: Callable[[], object]) -> None:
    """Checks a boolean tensor of one element: ValueError where Python may look, an asynchronous assert on CUDA."""
    if wait or condition.device.type == "cpu":
        if not condition.item():
            raise ValueError(f"{name}: got {found()}, expected {expected}")
    elif condition.device.type == "cuda":
        torch._assert_async(condition, f"{name}: expected {expected}")
