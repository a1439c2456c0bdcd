"""Checks of exercises that know the mistakes: course.exercises.labNN holds those of lab NN.

    mean_pairs = Exercise(
        "mean over the pairs",
        mean_of,                                          # the reference: def mean_of(x): return x.mean()
        [Case("three numbers", torch.tensor([1.0, 2.0, 6.0]))],
        [Mistake("sum", "This is the sum; the text asks for the mean.", "x.sum()", "mean_of(x) * len(x)")],
    )
    mean_pairs.check(my_function)       # prints "✓ mean over the pairs", or says what is wrong

How a check judges. The values of all cases come first, then whether inputs or settings were changed, and only then the
gradients, and those only to the inputs that `gradients` names. An answer that fails is compared with each known mistake
in all cases and told the one that it equals; otherwise what it has to do with the right result (relations.py), if
anything, and the smallest case that fails. Nothing is said that was not checked. When submissions are graded, each case
comes a second time with other numbers, so that an answer which knows the visible cases by heart earns nothing.

How to write an exercise.
- The statement says what is tested: types, shapes, whether a gradient is asked for (and to what), and the dtype if
  `dtype` is set. What the statement leaves open, the check must accept: a number of any kind where one number is asked
  for, any floating dtype, any way to write it. A right answer that is rejected is the worst fault of a check.
- Cases tell all parameters apart: no two of them equal, adding up to 1 or at their default; no square kernels or equal
  numbers of rows and columns; classes absent or single, and not the last ones only; negative, asymmetric, tied and
  large values, as far as the statement allows them; and results that a rounding to two digits would change.
  Points where right answers have different gradients (ties, kinks, distance zero) get `gradients=False`.
- Mistakes: every likely mistake that the notebook announces, and the common ones, each in the literal forms in which
  people write it, as far as these give different results (results are what is recognized). A form is an expression in
  the parameters of the reference, a string (all names of its module may be used, and torch, F and math), or, where it
  takes more than one line, a function. The more special mistake stands before the more general one.
  An explanation says what is true of all forms, in one or two sentences.
- A value exercise (Answer) is a function without parameters in the notebook, and the check gets the function itself.
- A bank of answers in tests/answers/labNN.json: at least eight wrong, three right and unusual for each exercise.
      {"lab": "00", "exercise": "distances", "label": "no root", "call": "function", "kind": "wrong",
       "code": "def answer(a, b):\\n    return ...", "named": "squared distance"}
  `kind` is wrong, right, or unfair (may be accepted or not); `named` is the mistake that must be named, true for any.
  tests/course/test_answers.py runs them (-k lab00), and test_exercises.py has every form of every mistake told by its
  own name.
"""

import inspect
import math
import os
from functools import cached_property

import torch
import torch.nn.functional as F

from course.exercises.answers import Answer, check_value
from course.exercises.compare import ExerciseFailed, difference, in_words, tensors
from course.exercises.relations import relation
from course.exercises.running import Run, alike, fresh, is_stub, raises, shown_output

__all__ = ["Answer", "Case", "Exercise", "ExerciseFailed", "Mistake", "check_value"]


GRADING = "LABKIT_GRADING"  # which course.kernels sets where submissions run


class Case:
    """One set of arguments under a name: Case("two equal points", points, margin=0.2).

    gradients  False where right answers have different gradients: at ties, kinks, points that coincide
    """

    def __init__(self, name, /, *arguments, gradients=True, **keywords):
        self.name, self.arguments, self.keywords, self.gradients = name, arguments, keywords, gradients

    def in_float64(self):
        """The same case with all floating-point tensors in float64."""
        arguments, keywords = fresh((self.arguments, self.keywords))
        for tensor in tensors([arguments, keywords]):
            if tensor.is_floating_point():
                tensor.data = tensor.double()
        return Case(f"{self.name}, in float64", *arguments, gradients=self.gradients, **keywords)

    def with_other_numbers(self, reference, fixed):
        """The same case with all floating-point numbers lowered by up to a tenth, but for those of `fixed` inputs.

        None if that leaves nothing to change.
        """
        given, changed = inspect.signature(reference).bind(*fresh(self.arguments), **fresh(self.keywords)), False
        generator = torch.Generator().manual_seed(0)
        for name in [name for name in given.arguments if name not in fixed]:
            for tensor in tensors([given.arguments[name]]):
                if tensor.is_floating_point():
                    factor = 1 - torch.rand(tensor.shape, generator=generator, dtype=torch.float64) / 10
                    tensor.data, changed = (tensor * factor).to(tensor.dtype), True
            if isinstance(given.arguments[name], float):
                given.arguments[name] *= 1 - torch.rand((), generator=generator).item() / 10
                changed = True
        return Case(f"{self.name}, with other numbers", *given.args, **given.kwargs) if changed else None


class Mistake:
    """A known wrong answer: its name, a sentence that tells the student about it, and the forms in which it is written.

    A form is an expression in the reference's parameters, "2 * right(x)", or a function of the same parameters.
    """

    def __init__(self, name, explanation, *forms):
        self.name, self.explanation, self.forms = name, explanation, forms

    def functions(self, reference):
        """The forms as functions with the parameters of the reference."""
        parameters = str(inspect.signature(reference))[1:-1]
        for form in self.forms:
            names = {"torch": torch, "F": F, "math": math, **reference.__globals__}
            yield form if callable(form) else eval(f"lambda {parameters}: {form}", names)


class Exercise:
    """A function to be written by the student, and all that is known about right and wrong answers.

    name       of the exercise, as the check prints it
    reference  the right function; its parameters' names are used in messages and in the forms of mistakes
    cases      the Case objects it is tried on
    mistakes   the Mistake objects, the more special before the more general
    tolerance  largest difference that counts as equal, absolute and relative
    gradients  names of the inputs to which gradients are compared
    dtype      the result must have the dtype of the reference's, also on a float64 twin of each case
    fixed      names of the inputs whose numbers belong together (unit rows, a symmetric matrix), so that they stay

    Raises ValueError without a case, for a mistake without a form, for gradients to an input that the reference does
    not have, and when two cases or two mistakes share a name.
    """

    def __init__(self, name, reference, cases, mistakes, *, tolerance=1e-5, gradients=(), dtype=False, fixed=()):
        self.name, self.reference = name, reference
        self.cases, self.mistakes = tuple(cases), tuple(mistakes)
        self.tolerance, self.gradients, self.dtype, self.fixed = tolerance, tuple(gradients), dtype, tuple(fixed)
        if not self.cases:
            raise ValueError(f"cases: got none for the exercise {name!r}, expected at least one")
        for kind in ("cases", "mistakes"):
            names = [entry.name for entry in getattr(self, kind)]
            if len(names) != len(set(names)):
                raise ValueError(f"{kind}: got {names} for the exercise {name!r}, expected different names")
        if bare := [mistake.name for mistake in self.mistakes if not mistake.forms]:
            raise ValueError(f"mistakes: got {bare} without a form for the exercise {name!r}, expected at least one")
        for kind in ("gradients", "fixed"):
            if unknown := set(getattr(self, kind)) - set(inspect.signature(reference).parameters):
                raise ValueError(f"{kind}: got {sorted(unknown)}, expected parameters of the exercise {name!r}")

    def check(self, function):
        """Print "✓ name" when the function is right, and raise ExerciseFailed, which says what is wrong, when not."""
        try:
            failure = self._judge(function)
        except Exception as error:  # whatever a student passes, the check does not break
            failure = ExerciseFailed(self.name, f"{in_words(function)} cannot be checked: {in_words(error)}")
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
            for number, function in enumerate(mistake.functions(self.reference), 1):
                form = f"form {number} of the mistake {mistake.name!r}"
                failure = self._judge(function)
                if failure is None:
                    raise ValueError(f"exercise {self.name!r} accepts {form}: a case is missing")
                if failure.mistake != mistake.name:
                    raise ValueError(f"exercise {self.name!r} takes {form} for: {failure}")

    def _judge(self, function):
        """The ExerciseFailed that this function deserves, or None when it is right."""
        if not callable(function):
            return ExerciseFailed(self.name, f"got {in_words(function)}, expected a function, its name alone")
        mine = self._runs(function)
        if any(is_stub(run.outcome.error, function) for run in mine):
            return ExerciseFailed(self.name, "not filled in yet. Replace `raise NotImplementedError` by your lines.")
        for stage in range(1, 4):
            problems = [self._problem(*pair, stage) for pair in zip(mine, self._right, strict=True)]
            if any(problems):
                return self._known(mine, stage) or self._unknown(mine, problems)
        return None

    def _runs(self, function):
        """The function on all cases, the small before the large, then on their float64 twins if the dtype counts."""
        cases = list(self.cases)
        if os.environ.get(GRADING):  # right answers may differ at ties and kinks, and these are no ties any more
            others = (case.with_other_numbers(self.reference, self.fixed) for case in self.cases if case.gradients)
            cases += filter(None, others)
        cases = sorted(cases, key=lambda case: sum(x.numel() for x in tensors([case.arguments, case.keywords])))
        cases += [case.in_float64() for case in cases if self.dtype]
        return [Run(function, case, self.reference, self.gradients) for case in cases]

    @cached_property
    def _right(self):
        return self._runs(self.reference)

    @cached_property
    def _wrong(self):
        """(mistake, runs) of each form of each mistake."""
        return [(mistake, self._runs(form)) for mistake in self.mistakes for form in mistake.functions(self.reference)]

    def _known(self, mine, stage):
        """The failure of an answer that equals a known mistake in all cases, as far as it has been judged."""
        for mistake, wrong in self._wrong:
            if self._agree(mine, wrong, stage) and not self._agree(wrong, self._right, stage):
                return ExerciseFailed(self.name, f"{mistake.name}. {mistake.explanation}", mistake=mistake.name)
        return None

    def _agree(self, mine, others, stage):
        return not any(self._problem(*pair, stage) for pair in zip(mine, others, strict=True))

    def _unknown(self, mine, problems):
        """The failure of any other answer: the first case in which it shows, and what can be said of all cases."""
        outcomes = [run.outcome for run in mine]
        if all(outcome.error is None and outcome.value is None for outcome in outcomes):
            message = "the function returns None: `return` hands the result back."
            return ExerciseFailed(self.name, message + shown_output(outcomes[0]), mistake="returns nothing")
        first = next(index for index, problem in enumerate(problems) if problem)
        words, mistake = problems[first].words, problems[first].mistake
        if problems[first].compared and not any(run.outcome.error for run in (*mine, *self._right)):
            results = [(a.outcome.value, b.outcome.value) for a, b in zip(mine, self._right, strict=True)]
            if found := relation(results, self.tolerance):
                words, mistake = f"{words}; in all cases {found}", found
        return ExerciseFailed(self.name, mine[first].report(words, problems[first].shown), mistake)

    def _problem(self, mine, right, stage):
        """The Problem of one run, or None: in its value (stage 1), in what it changed (2), in its gradients (3)."""
        found = self._in_value(mine, right)
        if stage > 1:
            found = found or self._in_changes(mine.outcome, right.outcome)
        if stage > 2:
            found = found or self._in_gradients(mine, right)
        return found

    def _in_value(self, mine, right):
        got, expected = mine.outcome, right.outcome
        is_mistake = right.function is not self.reference
        if got.error is not None:
            if isinstance(got.error, type(expected.error)) and (not is_mistake or alike(got.error, expected.error)):
                return None
            return Problem(raises(got.error, mine.function), {} if expected.error else {"expected": expected.value})
        if expected.error is not None:
            return Problem(f"returns {in_words(got.value)}, expected {type(expected.error).__name__} to be raised")
        by = "values" if is_mistake else "dtype" if self.dtype else "type"
        words = difference(got.value, expected.value, self.tolerance, by)
        if not words:
            return None
        of_another_type = "has the right values" in words
        if of_another_type and isinstance(got.value, torch.Tensor):
            words += f": `dtype={mine.where_dtype_is_found(expected.value)}` gives a new tensor this dtype"
        words += f"; {got.changed} is changed, too" if got.changed else ""
        mistake = "right values of another type" if of_another_type else None
        return Problem(f"the result {words}", {"expected": expected.value, "got": got.value}, True, mistake)

    def _in_changes(self, got, expected):
        if got.changed == expected.changed:
            return None
        advice = ": work on a copy" if "input" in str(got.changed) else ", which all other code shares"
        return Problem(f"{got.changed} is changed{advice}", mistake="changes something")

    def _in_gradients(self, mine, right):
        got, expected = mine.gradients, right.gradients
        if isinstance(got, Exception) or isinstance(expected, Exception):
            if isinstance(got, type(expected)):
                return None
            return Problem(
                f"the values are right, but with inputs that record gradients it {raises(got, mine.function)}"
            )
        for name, gradient in expected.items():
            if words := difference(got[name], gradient, self.tolerance):
                shown = {"expected": gradient, "got": got[name]}
                words = f"the gradient to `{name}` {words}{mine.infinite() if 'NaN' in words else ''}"
                if not any(x.any() for x in tensors([got[name]])):
                    words = f"the gradient to `{name}` is zero{mine.cuts()}"
                if not mine.connected:
                    words = f"no gradient flows from the result to the inputs{mine.cuts()}"
                return Problem(f"the values are right, but {words}", shown)
        return None


class Problem:
    """What is wrong with one run: words, values to show, whether results are compared, and a mistake's name, if any."""

    def __init__(self, words, shown=None, compared=False, mistake=None):
        self.words, self.shown, self.compared, self.mistake = words, shown or {}, compared, mistake
