"""Comparing results and putting them into words, for the checks of exercises."""

import math
import numbers

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
        """What Jupyter shows in place of a traceback."""
        return str(self).splitlines()


def difference(got, expected, tolerance):
    """In what a result differs from the expected one, as the end of a sentence that begins "the result", or None.

    Tensors must agree in shape, dtype and, to the tolerance (absolute and relative), in value; lists and tuples entry
    by entry. A number is accepted as a tensor without dimensions, but not the other way round: its graph is lost.
    """
    if isinstance(expected, torch.Tensor):
        return _tensor_difference(got, expected, tolerance)
    if isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple) or len(got) != len(expected):
            return f"is {in_words(got)}, expected {len(expected)} values"
        problems = (difference(mine, right, tolerance) for mine, right in zip(got, expected, strict=True))
        found = next(((number, problem) for number, problem in enumerate(problems, 1) if problem), None)
        return f"number {found[0]} of {len(expected)} {found[1]}" if found else None
    if isinstance(got, torch.Tensor) and got.dim() == 0:
        got = got.item()
    if isinstance(expected, numbers.Real) and isinstance(got, numbers.Real):
        if isinstance(expected, bool) == isinstance(got, bool) and _close(got, expected, tolerance):
            return None
    elif type(got) is type(expected) and got == expected:
        return None
    return f"is {in_words(got)}, expected {in_words(expected)}"


def _close(got, expected, tolerance):
    same = math.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance)
    return same or (math.isnan(got) and math.isnan(expected))


def _tensor_difference(got, expected, tolerance):
    if isinstance(got, numbers.Real):
        return "is a Python number, expected a tensor: without `.item()` or `float(...)` its gradient is kept"
    if not isinstance(got, torch.Tensor):
        return f"is {in_words(got)}, expected a tensor of shape {tuple(expected.shape)}"
    if got.shape != expected.shape:
        hint = "" if got.dim() <= expected.dim() else ": were two shapes broadcast?"
        hint = ": is a mean or a sum missing?" if expected.dim() == 0 else hint
        return f"has shape {tuple(got.shape)}, expected {tuple(expected.shape)}{hint}"
    if got.dtype != expected.dtype:
        return f"is {got.dtype}, expected {expected.dtype}"
    got, expected = got.detach(), expected.detach()
    if not expected.is_floating_point():
        wrong = int((got != expected).sum())
        return f"is wrong in {wrong} of {got.numel()} entries" if wrong else None
    if torch.allclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True):
        return None
    if (got.isnan() & ~expected.isnan()).any():
        return "is NaN" + (f" in {int(got.isnan().sum())} of {got.numel()} entries" if got.dim() else "")
    return f"is wrong: largest difference {(got - expected).abs().nan_to_num(0).max().item():.4g}"


def tensors(value):
    """All tensors in a nest of lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for entry in value for tensor in tensors(entry)] if isinstance(value, list | tuple) else []


def in_words(value):
    """A value as a message shows it: small tensors in full, large ones by shape, exceptions with their first line."""
    if isinstance(value, torch.Tensor):
        if value.numel() <= MOST_ENTRIES_SHOWN:
            return repr(value.detach())
        return f"tensor of shape {tuple(value.shape)}, {value.dtype}"
    if isinstance(value, Exception):
        first_line = next(iter(str(value).splitlines()), "")
        return f"{type(value).__name__}: {first_line}" if first_line else type(value).__name__
    if isinstance(value, list | tuple):
        opening, closing = "()" if isinstance(value, tuple) else "[]"
        return opening + ", ".join(in_words(entry) for entry in value) + closing
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
