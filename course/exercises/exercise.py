"""Checks of exercises that know the mistakes: course.exercises.labNN holds those of lab NN.

    mean_pairs = Exercise(
        "mean over the pairs",
        reference=lambda x: x.mean(),
        cases=[Case("three numbers", torch.tensor([1.0, 2.0, 6.0]))],
        mistakes=[Mistake("sum", lambda x: x.sum(), "This is the sum; the text asks for the mean.")],
    )
    mean_pairs.check(my_function)       # prints "✓ mean over the pairs", or says what is wrong

A function under test runs on every case and on two adversarial twins of it: the same tensors in float64, and as views
that do not lie contiguously in memory. Its results are compared with those of the reference: kind, shape, dtype,
values and, where asked for, gradients; and its inputs must come out unchanged. A function that fails is compared with
each known mistake on all cases, and the one it equals is named. Otherwise the smallest case that fails is shown.
"""

import contextlib
import copy
import inspect
import io
import traceback
from dataclasses import dataclass

import torch

from course.exercises.answers import Answer, check_value
from course.exercises.compare import ExerciseFailed, difference, in_words, tensors

__all__ = ["Answer", "Case", "Exercise", "ExerciseFailed", "Mistake", "check_value"]

TWINS = {"": "", "float64": " with float64 tensors", "view": " with tensors that are views, not contiguous in memory"}


class Case:
    """One set of arguments under a name: Case("two equal points", points, margin=0.2).

    Give the cases that wrong answers stumble over: ties, points at distance zero, a batch without a positive.
    """

    def __init__(self, name, /, *arguments, **keywords):
        self.name, self.arguments, self.keywords = name, arguments, keywords


@dataclass(frozen=True)
class Mistake:
    """A known wrong answer: its name, a function that makes it, and a sentence that tells the student about it."""

    name: str
    function: object
    explanation: str


class Exercise:
    """A function to be written by the student, and all that is known about right and wrong answers.

    name         of the exercise, as the check prints it
    reference    the right function; its parameters' names are used in messages
    cases        the Case objects it is tried on
    mistakes     the Mistake objects, the more special before the more general
    tolerance    largest difference that counts as equal, absolute and relative
    gradients    compare the gradients to all floating-point inputs as well
    adversarial  try the float64 and the non-contiguous twin of each case too

    Raises ValueError without a case, or when two cases or two mistakes share a name.
    """

    def __init__(self, name, reference, cases, mistakes, *, tolerance=1e-5, gradients=False, adversarial=True):
        self.name, self.reference = name, reference
        self.cases, self.mistakes = tuple(cases), tuple(mistakes)
        self.tolerance, self.gradients, self.adversarial = tolerance, gradients, adversarial
        if not self.cases:
            raise ValueError(f"cases: got none for the exercise {name!r}, expected at least one")
        for kind in ("cases", "mistakes"):
            names = [entry.name for entry in getattr(self, kind)]
            if len(names) != len(set(names)):
                raise ValueError(f"{kind}: got {names} for the exercise {name!r}, expected different names")

    def check(self, function):
        """Print "✓ name" when the function is right, and raise ExerciseFailed, which says what is wrong, when not."""
        failure = self._judge(function)
        if failure:
            raise failure
        print(f"✓ {self.name}")

    def verify(self):
        """Check the exercise itself: the reference passes, and each known mistake is rejected by its own name.

        Raises ValueError when that is not so. The tests call this for every exercise of the course.
        """
        if not self.mistakes:
            raise ValueError(f"exercise {self.name!r} knows no mistake")
        failure = self._judge(self.reference)
        if failure:
            raise ValueError(f"exercise {self.name!r} rejects its own reference: {failure}")
        for mistake in self.mistakes:
            failure = self._judge(mistake.function)
            if failure is None:
                raise ValueError(f"exercise {self.name!r} accepts the mistake {mistake.name!r}: a case is missing")
            if failure.mistake != mistake.name:
                raise ValueError(f"exercise {self.name!r} takes the mistake {mistake.name!r} for: {failure}")

    def _judge(self, function):
        """The ExerciseFailed that this function deserves, or None when it is right."""
        if not callable(function):
            return ExerciseFailed(self.name, f"got {in_words(function)}, expected a function")
        trials = self._trials()
        got = [self._run(function, trial) for trial in trials]
        if any(isinstance(outcome.error, NotImplementedError) for outcome in got):
            return ExerciseFailed(self.name, "not filled in yet. Replace `raise NotImplementedError` by your lines.")
        expected = [self._run(self.reference, trial) for trial in trials]
        problems = [self._problem(mine, right, function) for mine, right in zip(got, expected, strict=True)]
        if not any(problems):
            return None
        for mistake in self.mistakes:
            outcomes = (self._run(mistake.function, trial) for trial in trials)
            if not any(self._problem(mine, wrong, function) for mine, wrong in zip(got, outcomes, strict=True)):
                return ExerciseFailed(self.name, f"{mistake.name}. {mistake.explanation}", mistake=mistake.name)
        if all(outcome.error is None and outcome.value is None for outcome in got):
            return ExerciseFailed(self.name, "the function returns nothing: is a `return` missing?")
        first = next(index for index, problem in enumerate(problems) if problem)
        return ExerciseFailed(self.name, self._report(trials[first], *problems[first]))

    def _trials(self):
        """All (case, twin), the plain cases before their twins and the small before the large."""
        twins = [""]
        if self.adversarial:
            twins += ["float64", "view"]
        cases = sorted(self.cases, key=lambda case: _size((case.arguments, case.keywords)))
        return [(case, twin) for twin in twins for case in cases]

    def _run(self, function, trial):
        """What the function does with a fresh copy of the arguments: an Outcome. What it prints is dropped."""
        case, twin = trial

        def fresh():
            return _prepare((case.arguments, case.keywords), twin)

        arguments, keywords = fresh()
        with contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng(devices=[]):
            try:
                torch.manual_seed(0)
                value = function(*arguments, **keywords)
                changed = _first_change(self._named((arguments, keywords)), self._named(fresh()))
                torch.manual_seed(0)
                gradients = self._gradients(function, fresh()) if self.gradients and changed is None else None
            except Exception as error:
                return Outcome(error=error)
        return Outcome(value, changed=changed, gradients=gradients)

    def _gradients(self, function, prepared):
        """Gradients of the weighted sum of all results: parameter's name -> gradient, or list of them for a list.

        None when no result has a gradient. The weights differ from entry to entry, so that errors cannot cancel.
        """
        arguments, keywords = prepared
        inputs = {name: tensors([value]) for name, value in self._named(prepared).items()}
        inputs = {name: [x for x in group if x.is_floating_point()] for name, group in inputs.items()}
        leaves = [x.requires_grad_() for group in inputs.values() for x in group]
        results = [x for x in tensors([function(*arguments, **keywords)]) if x.requires_grad]
        if not results:
            return None
        total = sum((x * torch.linspace(1, 2, x.numel()).reshape(x.shape)).sum() for x in results)
        found = iter(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True))
        gradients = {name: [next(found) for _ in group] for name, group in inputs.items() if group}
        return {name: group[0] if len(group) == 1 else group for name, group in gradients.items()}

    def _named(self, prepared):
        """The arguments of a call under the names that they have in the reference."""
        arguments, keywords = prepared
        return dict(inspect.signature(self.reference).bind(*arguments, **keywords).arguments)

    def _problem(self, got, expected, function):
        """In what a function's outcome differs from the expected one: (words, {name: value to show}), or None."""
        if got.error is not None and type(got.error) is type(expected.error):
            return None
        if got.error is not None:
            return f"raises {in_words(got.error)}{_line_of(got.error, function)}", {}
        if expected.error is not None:
            return f"returns {in_words(got.value)}, expected {type(expected.error).__name__} to be raised", {}
        if got.changed != expected.changed:
            advice = "work on a copy (no `+=`, `x[i] =`, or functions like `add_`)"
            return f"the input `{got.changed}` is changed: {advice}", {}
        words = difference(got.value, expected.value, self.tolerance)
        if words:
            return f"the result {words}", {"expected": expected.value, "got": got.value}
        if expected.gradients is not None and got.gradients is None:
            return "no gradient flows: `.item()`, `.detach()`, `no_grad` or `torch.tensor(...)` cuts the result off", {}
        for name, right in (expected.gradients or {}).items():
            words = difference(got.gradients[name], right, self.tolerance)
            if words:
                hint = ": a root or a norm has no finite gradient at zero" if "NaN" in words else ""
                shown = {"expected": right, "got": got.gradients[name]}
                return f"the values are right, but the gradient to `{name}` {words}{hint}", shown
        return None

    def _report(self, trial, words, shown):
        """The whole message for one trial: what is wrong, then the arguments, then what is to be shown."""
        case, twin = trial
        arguments = self._named((case.arguments, case.keywords))
        width = max(map(len, (*arguments, *shown)))
        lines = [f"  {name:{width}} = {in_words(value)}" for name, value in arguments.items()]
        lines += [f"  {name:{width}}   {in_words(value)}" for name, value in shown.items()]
        indented = [line.replace("\n", "\n" + " " * (width + 5)) for line in lines]
        return "\n".join([f"{words} (case: {case.name}{TWINS[twin]})", *indented])


@dataclass
class Outcome:
    """What one call did: its value, or the exception; the name of an input that it changed; gradients by input."""

    value: object = None
    error: Exception | None = None
    changed: str | None = None
    gradients: dict | None = None


def _prepare(value, twin):
    """A fresh copy of arguments, tensors turned into what the twin asks for."""
    if isinstance(value, torch.Tensor):
        value = value.detach().clone()
        if twin == "float64" and value.is_floating_point():
            value = value.double()
        return _strided(value) if twin == "view" and value.dim() else value
    if type(value) in (list, tuple):
        return type(value)(_prepare(entry, twin) for entry in value)
    if type(value) is dict:
        return {name: _prepare(entry, twin) for name, entry in value.items()}
    return copy.deepcopy(value)


def _strided(tensor):
    """The same values, not contiguous in memory: columns before rows, or every other entry of a longer vector."""
    if tensor.dim() > 1:
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    return torch.stack([tensor, tensor], dim=-1)[:, 0]


def _size(arguments):
    return sum(tensor.numel() for tensor in tensors(arguments))


def _first_change(arguments, originals):
    """The name of the first argument whose tensors are not what they were, or None."""
    for name, original in originals.items():
        if difference(tensors(arguments[name]), tensors(original), tolerance=0):
            return name
    return None


def _line_of(error, function):
    """The line of the student's code in which an exception was raised, or nothing when it was not there."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = [one for one in traceback.extract_tb(error.__traceback__) if code and one.filename == code.co_filename]
    return f" in line {frames[-1].lineno}: `{frames[-1].line}`" if frames else ""
