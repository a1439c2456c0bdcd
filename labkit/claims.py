"""claim(): a conclusion of a lab that the code asserts, so that it cannot outlive the code it was drawn from.

    claim("The trained network recognizes digits it was not trained on", accuracies, at_least=0.95)

Shown in a notebook:  ✓ The trained network ... (at least 0.95) [measured: 0.973, 0.981, 0.969]

The statement and its bound are the same on every machine; the measured figures are not. They therefore stand only in
the part in square brackets, which `tests/nbval.cfg` replaces before nbval compares outputs, never in `text/plain`.
"""

import math
import sys

__all__ = ["ClaimFailed", "claim", "claim_if"]

MOST_FIGURES_SHOWN = 8


class ClaimFailed(AssertionError):
    """A claim that does not hold. The message gives the statement, its bound and what was measured."""

    def _render_traceback_(self):
        """What Jupyter shows in place of a traceback."""
        return [f"ClaimFailed: {self}"]


def claim(statement, measured, *, at_least=None, at_most=None, near=None, tolerance=None):
    """Assert one conclusion of a lab, and show it together with what was measured.

    statement   what is claimed, a sentence without a full stop; Markdown is allowed
    measured    a number, or a sequence with one number a seed, of which the worst must hold (tensors and arrays too)
    at_least, at_most, near
                the bound, exactly one of them; `near` needs `tolerance`, the largest difference that is allowed

    Returns nothing. In a notebook the claim is displayed, elsewhere it is printed.
    Raises ClaimFailed when the claim does not hold; a NaN never does. Raises ValueError for anything but one finite
    bound and one or more measured numbers.
    """
    if not isinstance(statement, str) or not statement.strip():
        raise ValueError(f"statement: got {statement!r}, expected a sentence")
    values = _numbers(measured)
    holds, bound, limits = _bound(at_least, at_most, near, tolerance)
    figures = _figures(values, limits)
    if not all(holds(value) for value in values):
        raise ClaimFailed(f"{statement}: expected {bound}, measured {figures}")
    _show(f"✓ {statement} ({bound})", f"[measured: {figures}]")


def claim_if(condition):
    """A function like claim() that asserts only where the bounds were measured: claim_if(DATASET == "digits").

    Where the condition is false, the same call prints what was measured, and the bound that holds elsewhere.
    """

    def show(statement, measured, **bound):
        values = ", ".join(f"{value:.4g}" for value in _numbers(measured))
        elsewhere = ", ".join(f"{name}={value}" for name, value in bound.items())
        print(f"{statement}: {values} (not asserted here; {elsewhere})")

    return claim if condition else show


def _numbers(measured):
    """The measured value or values as a non-empty list of floats."""
    values = measured.tolist() if hasattr(measured, "tolist") else measured
    if isinstance(values, str | bytes | dict) or values is None:
        raise ValueError(f"measured: got {measured!r}, expected a number or a sequence of numbers")
    try:
        values = [float(value) for value in (values if hasattr(values, "__iter__") else [values])]
    except (TypeError, ValueError):
        raise ValueError(f"measured: got {measured!r}, expected a number or a sequence of numbers") from None
    if not values:
        raise ValueError("measured: got an empty sequence, expected at least one number")
    return values


def _bound(at_least, at_most, near, tolerance):
    """(test of one value, the bound in words, the limits that decide). A comparison with NaN is false: NaN fails."""
    given = {"at_least": at_least, "at_most": at_most, "near": near}
    given = {name: _finite(name, value) for name, value in given.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"at_least, at_most, near: got {', '.join(given) or 'none'}, expected exactly one of them")
    if (tolerance is None) == ("near" in given):
        raise ValueError(f"tolerance: got {tolerance!r}, expected a number together with near, and only then")
    [(kind, limit)] = given.items()
    if kind == "at_least":
        return lambda value: value >= limit, f"at least {limit:.12g}", [limit]
    if kind == "at_most":
        return lambda value: value <= limit, f"at most {limit:.12g}", [limit]
    tolerance = _finite("tolerance", tolerance)
    if tolerance < 0:
        raise ValueError(f"tolerance: got {tolerance!r}, expected a number that is not negative")
    low, high = limit - tolerance, limit + tolerance
    return lambda value: low <= value <= high, f"within {tolerance:.12g} of {limit:.12g}", [low, high]


def _finite(name, value):
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name}: got {value!r}, expected a finite number")
    return number


def _figures(values, limits):
    """The values in words, with three significant digits or as many more as it takes to tell them from the limits."""

    def rounded(value, digits):
        return f"{value:.0f}" if digits <= math.log10(max(abs(value), 1)) < 15 else f"{value:.{digits}g}"

    def tells(digits):
        return all(value in limits or float(rounded(value, digits)) not in limits for value in values)

    digits = next((digits for digits in (3, 4, 6, 9, 12) if tells(digits)), 17)
    if len(values) <= MOST_FIGURES_SHOWN:
        return ", ".join(rounded(value, digits) for value in values)
    low, high = rounded(min(values), digits), rounded(max(values), digits)
    mean = rounded(sum(values) / len(values), digits)
    return f"{low} to {high}, mean {mean} of {len(values)}"


def _show(line, figures):
    ipython = sys.modules.get("IPython")  # a notebook has loaded it; nothing else needs to
    if ipython is None or ipython.get_ipython() is None:
        print(line, figures)
        return
    from IPython.display import display

    display({"text/plain": line, "text/markdown": f"{line} {figures}"}, raw=True)
