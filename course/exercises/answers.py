"""Exercises whose answer is a value: a number worked out by hand, a prediction, a choice of a quiz."""

import numpy as np
import torch

from course.exercises.compare import ExerciseFailed, difference, in_words, number
from course.exercises.running import call, is_stub, raises, shown_output

__all__ = ["Answer", "check_value"]


class Answer:
    """A value to be found by the student, and what is known about wrong ones. The right one is never shown.

    name       of the exercise, as the check prints it
    expected   a number, a truth value, a string (case and spaces around it do not matter), or a tuple of those
    mistakes   wrong value -> a sentence that tells the student about it
    tolerance  largest difference that counts as equal, absolute and relative
    """

    def __init__(self, name, expected, mistakes, *, tolerance=1e-6):
        self.name, self.expected, self.mistakes, self.tolerance = name, expected, dict(mistakes), tolerance

    def check(self, got):
        """Print "✓ name" when the value is right, and raise ExerciseFailed, which says what is wrong, when not.

        got  the value, or a function without parameters that returns it (so that a stub is not an error)
        """
        try:
            failure = self._judge(got)
        except Exception as error:  # whatever a student passes, the check does not break
            failure = ExerciseFailed(self.name, f"{in_words(got)} cannot be checked: {in_words(error)}")
        if failure:
            raise failure
        print(f"✓ {self.name}")

    def verify(self):
        """Check the exercise itself: the answer passes, each known mistake is rejected by its own explanation.

        Raises ValueError when that is not so. The tests call this for every exercise of the course.
        """
        if not self.mistakes:
            raise ValueError(f"exercise {self.name!r} knows no mistake")
        if self._judge(self.expected):
            raise ValueError(f"exercise {self.name!r} rejects its own answer")
        for wrong in self.mistakes:
            failure = self._judge(wrong)
            if failure is None:
                raise ValueError(f"exercise {self.name!r} accepts the mistake {wrong!r}")
            if failure.mistake != str(wrong):
                raise ValueError(f"exercise {self.name!r} takes the mistake {wrong!r} for {failure.mistake!r}")

    def _judge(self, got):
        if callable(got):
            outcome = call(got)
            if is_stub(outcome.error, got):
                return ExerciseFailed(self.name, "not filled in yet.")
            if outcome.error is not None:
                return ExerciseFailed(self.name, f"{raises(outcome.error, got)}{shown_output(outcome)}")
            if outcome.value is None:
                words = "the function returns None: `return` hands the value back."
                return ExerciseFailed(self.name, words + shown_output(outcome), mistake="returns nothing")
            got = outcome.value
        if got is None or got is ...:
            return ExerciseFailed(self.name, "not filled in yet.")
        if self._agree(got, self.expected):
            return None
        for wrong, explanation in self.mistakes.items():
            if self._agree(got, wrong):
                return ExerciseFailed(self.name, f"{in_words(got)} is not right. {explanation}", mistake=str(wrong))
        if _kind(got) != _kind(self.expected):
            return ExerciseFailed(self.name, f"got {in_words(got)}, expected {_kind(self.expected)}.")
        return ExerciseFailed(self.name, f"{in_words(got)} is not right.")

    def _agree(self, got, wanted):
        return difference(got, wanted, self.tolerance) is None


def check_value(name, got, expected, mistakes, *, tolerance=1e-6):
    """Check one value on the spot: Answer(name, expected, mistakes).check(got)."""
    Answer(name, expected, mistakes, tolerance=tolerance).check(got)


def _kind(value):
    plain = number(value)
    if plain is not None:
        return "True or False" if isinstance(plain, bool) else "a number"
    if isinstance(value, list | tuple) or (isinstance(value, torch.Tensor | np.ndarray) and value.ndim):
        return f"{len(value)} values"
    return "a string" if isinstance(value, str) else "something else"
