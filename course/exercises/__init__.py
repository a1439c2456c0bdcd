"""Checks of exercises that know the mistakes: `exercise` has the machinery and its guide, labNN those of lab NN."""

from course.exercises.answers import Answer, check_value
from course.exercises.compare import ExerciseFailed
from course.exercises.exercise import Case, Exercise, Mistake

__all__ = ["Answer", "Case", "Exercise", "ExerciseFailed", "Mistake", "check_value"]
