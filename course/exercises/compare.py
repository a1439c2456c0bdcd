"""Comparing results and putting them into words, for the checks of exercises."""

import math
import numbers

import numpy as np
import torch

MOST_ENTRIES_SHOWN = 60


class ExerciseFailed(AssertionError):
    """A wrong answer. The message says what is wrong; Jupyter shows it without a traceback.

    exercise  name of the exercise
    mistake   name of the known mistake that was recognized, or None
    """

    def __init__(self, exercise, message, mistake=None):
        super().__init__(f"✗ {exercise}: {message}")
        self.exercise, self.mistake = exercise, mistake

    def _render_traceback_(self):
        """What Jupyter shows instead of a traceback."""
        return str(self).splitlines()


def difference(got, expected, tolerance, by="type"):
    """In what a result differs from the expected one, as the end of a sentence that begins "the result", or None.

    expected a number  a number of any kind will do: Python's, numpy's, a tensor or an array with a single entry
    a tensor without dimensions   the same, but without dimensions
    a tensor           shape, kind (numbers, whole numbers, truth values) and, to the tolerance (absolute and relative),
                       values must agree, with by="dtype" the dtype as well, with by="values" neither kind nor dtype
    a list or tuple    anything with as many entries, each of which agrees; a dict by its keys
    a string           case and spaces around it do not matter
    """
    try:
        return _difference(got, expected, tolerance, by)
    except Exception as error:  # an object may refuse to be compared
        return f"is {in_words(got)}, which cannot be compared ({type(error).__name__})"


def _difference(got, expected, tolerance, by):
    if isinstance(expected, torch.Tensor) and expected.dim():
        return _tensor_difference(got, expected, tolerance, by)
    if isinstance(expected, dict):
        if not isinstance(got, dict) or list(got) != list(expected):
            return f"is {in_words(got)}, expected the keys {in_words(list(expected))}"
        return _first_difference(got.values(), expected.values(), tolerance, by)
    if isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple | torch.Tensor | np.ndarray) or len(got) != len(expected):
            return f"is {in_words(got)}, expected {len(expected)} values"
        return _first_difference(got, expected, tolerance, by)
    right, mine = number(expected), number(got)
    if right is not None:
        if isinstance(expected, torch.Tensor) and getattr(got, "shape", ()) != ():
            return f"has shape {tuple(got.shape)}, expected one number without dimensions"
        of_a_kind = by == "values" or isinstance(mine, bool) == isinstance(right, bool)
        if mine is None or not of_a_kind or not _close(mine, right, tolerance):
            return f"is {in_words(got)}, expected {in_words(expected)}"
        return _dtype_difference(got, expected) if by == "dtype" else None
    if isinstance(expected, str) and isinstance(got, str):
        got, expected = got.strip().casefold(), expected.strip().casefold()
    return None if type(got) is type(expected) and got == expected else f"is {in_words(got)}, expected {expected!r}"


def _first_difference(got, expected, tolerance, by):
    for place, (mine, right) in enumerate(zip(got, expected, strict=True), 1):
        if words := _difference(mine, right, tolerance, by):
            return f"number {place} of {len(expected)} {words}"
    return None


def _tensor_difference(got, expected, tolerance, by):
    mine, expected = as_tensor(got), expected.detach()
    if mine is None or (mine.dim() == 0 and not isinstance(got, torch.Tensor)):
        return f"is {in_words(got)}, expected a tensor of shape {tuple(expected.shape)}"
    if mine.shape != expected.shape:
        return f"has shape {tuple(mine.shape)}, expected {tuple(expected.shape)}"
    if by != "values" and isinstance(got, torch.Tensor) and _kind(mine) != _kind(expected):
        return f"is {mine.dtype}, expected {expected.dtype}"
    common = torch.promote_types(mine.dtype, expected.dtype)
    mine, right = mine.to(expected.device, common), expected.to(common)
    if not torch.allclose(mine, right, rtol=tolerance, atol=tolerance, equal_nan=True):
        if _kind(expected) != "numbers":
            return f"is wrong in {int((mine != right).sum())} of {mine.numel()} entries"
        if (mine.isnan() & ~right.isnan()).any():
            return f"is NaN in {int(mine.isnan().sum())} of {mine.numel()} entries"
        largest = (mine - right).abs().nan_to_num(nan=0, posinf=math.inf).max().item()
        return f"is wrong: largest difference {largest:.4g}"
    if by != "values" and not isinstance(got, torch.Tensor):
        return f"has the right values, but is a {type(got).__name__}, expected a tensor: `torch.as_tensor` makes one"
    return _dtype_difference(got, expected) if by == "dtype" else None


def _dtype_difference(got, expected):
    if not isinstance(got, torch.Tensor):
        return f"is a {type(got).__name__}, expected a tensor"
    if got.dtype == expected.dtype:
        return None
    return f"has the right values, but is {got.dtype}, expected {expected.dtype}"


def _kind(tensor):
    if tensor.is_complex():
        return "complex numbers"
    return "numbers" if tensor.is_floating_point() else "truth values" if tensor.dtype == torch.bool else "whole"


def _close(got, expected, tolerance):
    same = math.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance)
    return same or (math.isnan(got) and math.isnan(expected))


def number(value):
    """A number of any kind (Python's, numpy's, a tensor or an array with one entry) as Python's, or None."""
    if isinstance(value, torch.Tensor):
        value = value.item() if value.numel() == 1 else None
    elif isinstance(value, np.ndarray | np.generic):
        value = value.item() if value.size == 1 else None
    return value if isinstance(value, numbers.Real) else None


def as_tensor(value):
    """A tensor, an array, a number, or a nest of lists of those as one tensor without a graph; None for all else."""
    try:
        return _as_tensor(value)
    except Exception:
        return None


def _as_tensor(value):
    if isinstance(value, torch.Tensor):
        return value.detach().to_dense()
    if isinstance(value, list | tuple) and any(isinstance(entry, torch.Tensor | np.ndarray) for entry in value):
        return torch.stack([_as_tensor(entry) for entry in value])
    return torch.as_tensor(value)


def tensors(value):
    """All tensors in a nest of lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for entry in value for tensor in tensors(entry)] if isinstance(value, list | tuple) else []


def in_words(value, depth=3):
    """A value as a message shows it: small tensors in full, large ones by shape, exceptions with their first line.

    depth  to which lists in lists are written out
    """
    try:
        return _in_words(value, depth)
    except Exception:  # an object may refuse to be shown
        return f"a {type(value).__name__}"


def _in_words(value, depth):
    if isinstance(value, torch.Tensor):
        large = value.numel() > MOST_ENTRIES_SHOWN
        return f"tensor of shape {tuple(value.shape)}, {value.dtype}" if large else repr(value.detach())
    if isinstance(value, BaseException):
        first_line = next(iter(str(value).splitlines()), "")
        return f"{type(value).__name__}: {first_line}" if first_line else type(value).__name__
    if depth and type(value) in (list, tuple) and len(value) != 1:
        opening, closing = "()" if isinstance(value, tuple) else "[]"
        return opening + ", ".join(in_words(entry, depth - 1) for entry in value[:MOST_ENTRIES_SHOWN]) + closing
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
