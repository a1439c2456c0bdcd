"""Answers as people give them: wrong ones are rejected, by their name where they have one; right ones are accepted.

tests/answers/shared/ was collected on all labs before the checks were written anew; tests/answers/labNN.json is the
course's own bank. An entry: lab, exercise (the attribute in course.exercises.labNN), label, call ("function" or
"value"), code that defines `answer`, kind ("wrong", "right", or "unfair": may be accepted or not), and, where the
mistake must be named, `named`: its name, or true for any.
"""

import contextlib
import importlib
import io
import json
import time
from collections import Counter
from pathlib import Path

import pytest
from exercising import afresh

from course.exercises import Answer, Exercise, ExerciseFailed

BANKS = sorted(Path(__file__).parents[1].joinpath("answers").rglob("lab*.json"))
HEAD = "import math\nimport numpy as np\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
SECONDS = 10


def outcome(entry):
    """What the check says to an answer: (accepted, the mistake's name or None, message)."""
    space = {"__name__": "student"}
    exec(compile(HEAD + entry["code"], "answer", "exec"), space)
    exercise = getattr(importlib.import_module(f"course.exercises.lab{entry['lab']}"), entry["exercise"])
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exercise.check(space["answer"])
    except ExerciseFailed as failed:
        return False, failed.mistake, str(failed)
    return True, None, ""


def fault(entry):
    """What is wrong with the judgment of an answer, or None."""
    started = time.process_time()  # of this process alone, whatever else the machine is doing
    try:
        accepted, mistake, message = outcome(entry)
    except Exception as error:
        return f"crash: {type(error).__name__}: {error}"
    if time.process_time() - started > SECONDS:
        return f"more than {SECONDS} s of a processor"
    if entry["kind"] == "wrong" and accepted:
        return "wrong, but accepted"
    if entry["kind"] == "right" and not accepted:
        return f"right, but rejected: {message}"
    named = entry.get("named")
    if named and (mistake is None if named is True else mistake != named):
        return f"named {mistake!r}, expected {named!r}: {message}"
    return None


@pytest.mark.parametrize("bank", BANKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_answers_are_judged_fairly(bank):
    faults = [(entry, fault(entry)) for entry in json.loads(bank.read_text(encoding="utf-8"))]
    report = [f"{e['lab']}.{e['exercise']}, {e['label']}: {words}" for e, words in faults if words]
    assert not report, "\n".join(report)


@pytest.mark.parametrize("bank", BANKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_grading_with_other_numbers_accepts_every_right_answer(bank, monkeypatch):
    monkeypatch.setenv("LABKIT_GRADING", "1")
    entries = [one for one in json.loads(bank.read_text(encoding="utf-8")) if one["kind"] == "right"]
    module = importlib.import_module(f"course.exercises.lab{entries[0]['lab']}")
    for name in {entry["exercise"] for entry in entries}:
        monkeypatch.setattr(module, name, afresh(getattr(module, name)))
    assert [words for entry in entries if (words := fault(entry))] == []


def test_every_exercise_has_a_bank():
    assert len(BANKS) == 20
    for bank in BANKS:
        if bank.parent.name == "shared":
            continue
        entries = json.loads(bank.read_text(encoding="utf-8"))
        kinds = Counter((entry["exercise"], entry["kind"]) for entry in entries)
        module = vars(importlib.import_module(f"course.exercises.{bank.stem}"))
        for name in [name for name, value in module.items() if isinstance(value, Exercise | Answer)]:
            fewest = (8, 3) if isinstance(module[name], Exercise) else (8, 1)
            assert (kinds[name, "wrong"], kinds[name, "right"]) >= fewest, f"{bank.stem}.{name}: {kinds}"


WRONG = {
    "lab": "00",
    "exercise": "closest",
    "label": "",
    "kind": "wrong",
    "code": "answer = lambda p, y, c: len(p) / 13",
}
RIGHT = "from course.exercises.lab00 import accuracy_of_nearest as answer"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (WRONG, None),
        (WRONG | {"kind": "right"}, "right, but rejected"),
        (WRONG | {"code": RIGHT}, "wrong, but accepted"),
        (WRONG | {"code": RIGHT, "kind": "right"}, None),
        (WRONG | {"named": True}, "named None"),
        (
            WRONG | {"code": "answer = lambda p, y, c: 100 * sum(y == y) / len(y)", "named": "percent"},
            "expected 'percent'",
        ),
        (WRONG | {"exercise": "nothing"}, "crash"),
    ],
)
def test_faults_are_found(entry, words):
    found = fault(entry)
    assert found is None if words is None else words in found
