"""claim(): a conclusion of a lab that the code asserts, so that it cannot outlive the code it was drawn from.

Measured figures differ between machines: they stand in square brackets alone, which `tests/nbval.cfg` replaces before
nbval compares outputs, never in `text/plain`.
"""

import math
import sys
from collections.abc import Callable, Iterable

MOST_FIGURES_SHOWN = 8


class ClaimFailed(AssertionError):
    """A claim that does not hold. The message gives the statement, its bound and what was measured.

    >>> claim("It is learned", 0.5, at_least=0.9)
    Traceback (most recent call last):
    labkit.claims.ClaimFailed: It is learned: expected at least 0.9, measured 0.5
    """

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows instead of a traceback."""
        return [f"ClaimFailed: {self}"]


def claim(
    statement: str,
    measured: float | Iterable[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    near: float | None = None,
    tolerance: float | None = None,
) -> None:
    """Assert one conclusion of a lab, and show it together with what was measured.

    statement: what is claimed, a sentence without a full stop; Markdown is allowed.
    measured: a number, or a sequence with one number per seed, of which the worst must hold (tensors and arrays too).
    at_least, at_most, near: the bound, exactly one of them. tolerance: the largest difference from `near`.
    Raises ClaimFailed when it does not hold (a NaN never does), ValueError for anything but one finite bound and one or
    more measured numbers. A notebook displays the claim; elsewhere it is printed.

    >>> claim("The network recognizes digits that it was not trained on", [0.973, 0.981], at_least=0.95)
    ✓ The network recognizes digits that it was not trained on (at least 0.95) [measured: 0.973, 0.981]
    """
    if not isinstance(statement, str) or not statement.strip():
        raise ValueError(f"statement: got {statement!r}, expected a sentence")
    values = _numbers(measured)
    low, high, bound = _bound(at_least, at_most, near, tolerance)
    figures = _figures(values, (low, high))
    if not all(low <= value <= high for value in values):  # a NaN never does
        raise ClaimFailed(f"{statement}: expected {bound}, measured {figures}")
    _show(f"✓ {statement} ({bound})", f"[measured: {figures}]")


def claim_if(condition: bool) -> Callable[..., None]:
    """A function like claim() that asserts only where the bounds were measured: claim_if(DATASET == "digits").

    Where the condition is false, the same call prints what was measured, and the bound that holds elsewhere.

    >>> claim_if(False)("Accuracy", 0.9, at_least=0.95)
    Accuracy: 0.9 (not asserted here; at_least=0.95)
    """

    def show(statement: str, measured: float | Iterable[float], **bound: float) -> None:
        values = ", ".join(f"{value:.4g}" for value in _numbers(measured))
        elsewhere = ", ".join(f"{name}={value}" for name, value in bound.items())
        print(f"{statement}: {values} (not asserted here; {elsewhere})")

    return claim if condition else show


def _numbers(measured: float | Iterable[float]) -> list[float]:
    """The measured value or values as a non-empty list of floats."""
    values = measured.tolist() if hasattr(measured, "tolist") else measured
    try:
        numbers = [float(value) for value in (values if hasattr(values, "__iter__") else [values])]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or isinstance(values, str | bytes | dict):
        raise ValueError(f"measured: got {measured!r}, expected a number or a sequence of numbers")
    return numbers


def _bound(at_least, at_most, near, tolerance) -> tuple[float, float, str]:
    """The lowest and the highest number that holds, and the bound in words."""
    given = {"at_least": at_least, "at_most": at_most, "near": near}
    given = {name: _finite(name, value) for name, value in given.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"at_least, at_most, near: got {', '.join(given) or 'none'}, expected exactly one of them")
    if (tolerance is None) == ("near" in given):
        raise ValueError(f"tolerance: got {tolerance!r}, expected a number together with near, and only then")
    [(kind, limit)] = given.items()
    if kind == "at_least":
        return limit, math.inf, f"at least {limit:.12g}"
    if kind == "at_most":
        return -math.inf, limit, f"at most {limit:.12g}"
    tolerance = _finite("tolerance", tolerance, at_least=0)
    return limit - tolerance, limit + tolerance, f"within {tolerance:.12g} of {limit:.12g}"


def _finite(name: str, value: float, at_least: float = -math.inf) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < at_least:
        raise ValueError(f"{name}: got {value!r}, expected a finite number{' of at least 0' if at_least == 0 else ''}")
    return number


def _figures(values: list[float], limits: tuple[float, float]) -> str:
    """The values in words, with three significant digits or as many more as it takes to tell them from the limits."""

    def rounded(value: float, digits: int) -> str:
        return f"{value:.0f}" if digits <= math.log10(max(abs(value), 1)) < 15 else f"{value:.{digits}g}"

    def tells(digits: int) -> bool:
        return all(value in limits or float(rounded(value, digits)) not in limits for value in values)

    digits = next((digits for digits in (3, 4, 6, 9, 12) if tells(digits)), 17)
    if len(values) <= MOST_FIGURES_SHOWN:
        return ", ".join(rounded(value, digits) for value in values)
    low, high = rounded(min(values), digits), rounded(max(values), digits)
    mean = rounded(sum(values) / len(values), digits)
    return f"{low} to {high}, mean {mean} of {len(values)}"


def _show(line: str, figures: str) -> None:
    ipython = sys.modules.get("IPython")  # a notebook has loaded it; nothing else needs to
    if ipython is None or ipython.get_ipython() is None:
        print(line, figures)
        return
    from IPython.display import display

    display({"text/plain": line, "text/markdown": f"{line} {figures}"}, raw=True)
