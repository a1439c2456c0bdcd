"""claim(): what holds, what fails, and that only the measured figures differ from machine to machine."""

import math
import re
import subprocess
import sys

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from nbval.plugin import get_sanitize_patterns

from labkit.claims import ClaimFailed, claim, claim_if

SANITIZE = "tests/nbval.cfg"


@pytest.mark.parametrize(
    ("measured", "bound"),
    [
        (0.95, {"at_least": 0.95}),
        ([0.95, 0.99], {"at_least": 0.95}),
        (torch.tensor([0.96, 0.99]), {"at_least": 0.95}),
        (torch.tensor(3), {"at_least": 3}),
        (0, {"at_most": 0}),
        ((0.1, -5.0), {"at_most": 0.1}),
        (math.inf, {"at_least": 1e9}),
        ([0.49, 0.51], {"near": 0.5, "tolerance": 0.02}),
        (7, {"near": 7, "tolerance": 0}),
        (True, {"at_least": True}),
    ],
)
def test_holds(measured, bound, capsys):
    assert claim("it holds", measured, **bound) is None
    assert capsys.readouterr().out.startswith("✓ it holds (")


@pytest.mark.parametrize(
    ("measured", "bound"),
    [
        (0.9499999, {"at_least": 0.95}),
        ([0.99, 0.94, 0.99], {"at_least": 0.95}),
        ([0.1, 0.2], {"at_most": 0.15}),
        ([0.5, 0.53], {"near": 0.5, "tolerance": 0.02}),
        ([0.5, 0.47], {"near": 0.5, "tolerance": 0.02}),
        (math.nan, {"at_least": 0}),
        (math.nan, {"at_most": 0}),
        ([0.5, math.nan], {"near": 0.5, "tolerance": 1}),
        (math.inf, {"near": 0.5, "tolerance": 1}),
    ],
)
def test_fails(measured, bound, capsys):
    with pytest.raises(ClaimFailed, match="it holds: expected"):
        claim("it holds", measured, **bound)
    assert capsys.readouterr().out == ""


def test_message_of_a_failure_holds_statement_bound_and_every_value():
    with pytest.raises(AssertionError) as caught:
        claim("Distances shrink", [0.97312, 0.9444, 0.981], at_least=0.95)
    message = "Distances shrink: expected at least 0.95, measured 0.973, 0.944, 0.981"
    assert str(caught.value) == message
    assert caught.value._render_traceback_() == [f"ClaimFailed: {message}"]


@pytest.mark.parametrize(
    ("measured", "bound", "figures"),
    [
        (0.97346, {"at_least": 0.95}, "0.973"),
        (0.95004, {"at_least": 0.95}, "0.95004"),
        (12345, {"at_least": 3}, "12345"),
        (1234.6, {"at_least": 3}, "1235"),
        (1.5e-7, {"at_most": 1e-6}, "1.5e-07"),
        (1e20, {"at_least": 1}, "1e+20"),
        ([3, 4], {"at_least": 3}, "3, 4"),
        ([0.5] * 10 + [0.75] * 10, {"at_least": 0.1}, "0.5 to 0.75, mean 0.625 of 20"),
    ],
)
def test_figures_are_readable_and_told_from_the_bound(measured, bound, figures, capsys):
    claim("s", measured, **bound)
    assert f"[measured: {figures}]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ({"at_least": 0.9999999}, "at least 0.9999999"),
        ({"at_most": 3}, "at most 3"),
        ({"near": 2, "tolerance": 0.25}, "within 0.25 of 2"),
    ],
)
def test_bound_in_words(bound, words, capsys):
    claim("s", 2, **bound)
    assert f"({words})" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "at_least, at_most, near: got none"),
        ({"at_least": 1, "at_most": 2}, "got at_least, at_most"),
        ({"near": 1}, "tolerance: got None"),
        ({"at_least": 1, "tolerance": 1}, "tolerance: got 1"),
        ({"near": 1, "tolerance": -1}, "tolerance: got -1"),
        ({"near": 1, "tolerance": math.inf}, "tolerance: got inf"),
        ({"at_least": math.nan}, "at_least: got nan"),
        ({"at_most": "1%"}, "at_most: got '1%'"),
    ],
)
def test_a_wrong_bound_is_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        claim("s", 1.0, **dict(arguments))


@pytest.mark.parametrize("measured", [None, "0.9", [], {"a": 1}, [None], [[1, 2], [3, 4]], torch.zeros(2, 2), object()])
def test_measured_must_be_numbers(measured):
    with pytest.raises(ValueError, match="measured: got"):
        claim("s", measured, at_least=0)


@pytest.mark.parametrize("statement", ["", "  ", None, 0.9])
def test_statement_must_be_a_sentence(statement):
    with pytest.raises(ValueError, match="statement: got"):
        claim(statement, 1, at_least=0)


def displayed(measured):
    """The display bundle of a claim in a notebook."""
    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            claim("A *claim* [1]", measured, at_least=0.9)
    finally:
        InteractiveShell.clear_instance()
    assert captured.stdout == captured.stderr == ""
    [output] = captured.outputs
    return output.data


def test_two_machines_differ_in_nothing_that_nbval_compares(request):
    here, there = displayed([0.97, 0.98]), displayed([0.9123, 1])
    assert here["text/plain"] == there["text/plain"] == "✓ A *claim* [1] (at least 0.9)"
    assert here["text/markdown"] == "✓ A *claim* [1] (at least 0.9) [measured: 0.97, 0.98]"
    assert here["text/markdown"] != there["text/markdown"]
    patterns = get_sanitize_patterns((request.config.rootpath / SANITIZE).read_text(encoding="ascii"))
    assert len(patterns) == 1

    def sanitized(text):
        for pattern, replacement in patterns:
            text = re.sub(pattern, replacement, text)
        return text

    assert sanitized(here["text/markdown"]) == sanitized(there["text/markdown"])
    assert sanitized(here["text/markdown"]) == "✓ A *claim* [1] (at least 0.9) [measured]"


def test_import_loads_nothing_heavy():
    code = "import sys, labkit.claims; print(sorted({'torch', 'numpy', 'IPython', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_claim_if_asserts_only_where_its_bounds_were_measured(capsys):
    with pytest.raises(ClaimFailed, match="too low"):
        claim_if(True)("too low", [0.2, 0.4], at_least=0.3)
    claim_if(False)("too low", torch.tensor([0.2, 0.4]), at_least=0.3)
    assert capsys.readouterr().out == "too low: 0.2, 0.4 (not asserted here; at_least=0.3)\n"
    claim_if(True)("it holds", 0.4, at_least=0.3)
    assert capsys.readouterr().out.startswith("✓ it holds (at least 0.3)")
