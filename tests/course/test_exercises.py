"""Checks of exercises: right answers pass, wrong ones hear what is wrong, each known mistake by its name."""

import importlib
import pkgutil

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import course.exercises
from course.exercises import Answer, Case, Exercise, ExerciseFailed, Mistake, check_value

LABS = [name for _, name, _ in pkgutil.iter_modules(course.exercises.__path__) if name.startswith("lab")]


def exercises_of_the_course():
    for lab in LABS:
        module = importlib.import_module(f"course.exercises.{lab}")
        yield from ((lab, name, entry) for name, entry in vars(module).items() if isinstance(entry, Exercise | Answer))


@pytest.mark.parametrize(
    ("lab", "name", "exercise"), [pytest.param(*e, id=".".join(e[:2])) for e in exercises_of_the_course()]
)
def test_exercises_of_the_course_name_each_known_mistake(lab, name, exercise):
    exercise.verify()


def test_exercises_of_a_lab_have_different_names():
    names = [(lab, exercise.name) for lab, _, exercise in exercises_of_the_course()]
    assert len(names) == len(set(names))


# -------------------------------------------------------------------------------------------------------- an exercise


def distance(x, y):
    """Distances of rows; finite gradient where they coincide."""
    return ((x - y).pow(2).sum(dim=1) + 1e-12).sqrt()


def make(**options):
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]])
    cases = [
        Case("three pairs", points, points.flip(0) + 2),
        Case("one pair", points[:1], y=points[1:2]),
        Case("a pair at one point", points[:2], torch.zeros(2, 2)),
    ]
    mistakes = [
        Mistake("squared", lambda x, y: (x - y).pow(2).sum(dim=1), "The root is missing."),
        Mistake("city blocks", lambda x, y: (x - y).abs().sum(dim=1), "These are the sums of the absolute values."),
        Mistake("one number", lambda x, y: distance(x, y).mean(), "One distance is asked for each pair."),
    ]
    return Exercise("distances", distance, cases, mistakes, **options)


def failure(function, exercise=None):
    with pytest.raises(ExerciseFailed) as caught:
        (exercise or make()).check(function)
    return caught.value


def test_right_answers_pass_with_one_fixed_line(capsys):
    make().check(distance)
    make().check(lambda x, y: torch.stack([(a - b).norm() for a, b in zip(x, y, strict=True)]))
    assert capsys.readouterr().out == "✓ distances\n" * 2


def test_the_check_is_sound():
    make().verify()
    make(gradients=True).verify()


@pytest.mark.parametrize("mistake", make().mistakes, ids=lambda mistake: mistake.name)
def test_known_mistakes_are_named_and_explained(mistake):
    found = failure(mistake.function)
    assert found.mistake == mistake.name
    assert str(found) == f"✗ distances: {mistake.name}. {mistake.explanation}"


def test_another_way_to_make_a_mistake_is_the_same_mistake():
    assert failure(lambda x, y: sum((x - y)[:, i] ** 2 for i in range(2))).mistake == "squared"


def test_an_unknown_mistake_shows_the_smallest_case_that_fails():
    found = failure(lambda x, y: distance(x, y) + (len(x) != 2))
    assert found.mistake is None
    assert str(found).splitlines() == [
        "✗ distances: the result is wrong: largest difference 1 (case: one pair)",
        "  x        = tensor([[0., 0.]])",
        "  y        = tensor([[3., 4.]])",
        "  expected   tensor([5.])",
        "  got        tensor([6.])",
    ]


def wrong_line(x, y):
    difference = x - y
    return difference[5]


def mutates(x, y):
    x -= y
    return (x.pow(2).sum(dim=1) + 1e-12).sqrt()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, y: (_ for _ in ()).throw(NotImplementedError), "not filled in yet"),
        (lambda x, y: None, "the function returns nothing: is a `return` missing?"),
        (lambda x, y: distance(x, y).sum(), "has shape (), expected (1,)"),
        (
            lambda x, y: distance(x, y)[:, None].expand(-1, 4),
            "has shape (1, 4), expected (1,): were two shapes broadcast?",
        ),
        (lambda x, y: distance(x, y).tolist(), "expected a tensor of shape (1,)"),
        (lambda x, y: distance(x, y).sum().item(), "is a Python number, expected a tensor"),
        (lambda x, y: distance(x, y).double(), "is torch.float64, expected torch.float32 (case: one pair)"),
        (
            lambda x, y: distance(x, y).float(),
            "is torch.float32, expected torch.float64 (case: one pair with float64 t",
        ),
        (lambda x, y: distance(x.view(-1).view(x.shape), y), "with tensors that are views, not contiguous in memory)"),
        (lambda x, y: distance(x, y) / distance(x, x[:1]), "largest difference"),
        (lambda x, y: distance(x, y) * torch.nan, "the result is NaN in 1 of 1 entries"),
        (lambda x: x, "raises TypeError"),
        (wrong_line, "raises IndexError: index 5 is out of bounds for dimension 0 with size 1 in line"),
        (wrong_line, "`return difference[5]`"),
        (mutates, "the input `x` is changed: work on a copy"),
        (lambda x, y: distance(x, y.squeeze_(0) if len(y) == 1 else y), "the input `y` is changed"),
        (7, "got 7, expected a function"),
    ],
)
def test_messages_say_what_is_wrong(function, words):
    message = str(failure(function))
    assert words in message.splitlines()[0]
    assert "Traceback" not in message


def test_gradients_are_compared_where_asked_for():
    exact = make(gradients=True)
    exact.check(distance)
    found = failure(lambda x, y: (x - y).pow(2).sum(dim=1).sqrt(), exact)
    assert "the gradient to `x` is NaN in 2 of 4 entries: a root or a norm has no finite gradient" in str(found)
    assert "no gradient flows" in str(failure(lambda x, y: distance(x, y).detach(), exact))
    assert "gradient to `y` is wrong" in str(failure(lambda x, y: distance(x, y.detach()), exact))
    make().check(lambda x, y: distance(x, y).detach())


def test_a_mistake_in_the_gradient_alone_has_a_name():
    cut = Mistake("cut off", lambda x, y: distance(x, y.detach()), "Both points move.")
    exercise = Exercise("d", distance, make().cases, [cut], gradients=True)
    exercise.verify()
    assert failure(cut.function, exercise).mistake == "cut off"


def test_results_may_be_numbers_words_and_tuples():
    exercise = Exercise(
        "sort out",
        lambda a, b: (min(a, b), "first" if a < b else "second", a < b),
        [Case("up", 1, 2.5), Case("down", 3, 2), Case("tie", 1, 1)],
        [Mistake("ties", lambda a, b: (min(a, b), "first" if a <= b else "second", a < b), "Ties go second.")],
    )
    exercise.verify()
    exercise.check(lambda a, b: [torch.tensor(min(a, b)), "first" if a < b else "second", torch.tensor(a < b)])
    assert "number 3 of 3 is 1, expected True" in str(failure(lambda a, b: (min(a, b), "first", int(a < b)), exercise))
    assert "expected 3 values" in str(failure(lambda a, b: min(a, b), exercise))


def test_an_exception_can_be_the_right_answer():
    def reciprocal(x):
        if x == 0:
            raise ValueError("x: got 0, expected another number")
        return 1 / x

    cases = [Case("four", 4), Case("zero", 0)]
    exercise = Exercise("reciprocal", reciprocal, cases, [Mistake("negative", lambda x: -reciprocal(x), "Sign.")])
    exercise.verify()
    assert "returns 0, expected ValueError to be raised" in str(failure(lambda x: 1 / x if x else 0, exercise))
    assert "raises ZeroDivisionError: division by zero in line" in str(failure(lambda x: 1 / x, exercise))


def test_random_functions_draw_the_same_numbers_and_leave_the_generator_alone():
    state = torch.random.get_rng_state()
    mistake = Mistake("all", lambda x: x, "Half are to be dropped.")
    exercise = Exercise("dropout", lambda x: x * (torch.rand_like(x) > 0.5), [Case("x", torch.ones(20))], [mistake])
    exercise.verify()
    assert torch.equal(state, torch.random.get_rng_state())


def test_what_the_function_prints_is_not_shown(capsys):
    make().check(lambda x, y: print("debug") or distance(x, y))
    assert capsys.readouterr().out == "✓ distances\n"


# ------------------------------------------------------------------------------------------------- unsound exercises


def changed(**changes):
    given = {"reference": distance, "cases": make().cases, "mistakes": make().mistakes} | changes
    return Exercise("distances", **given)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mistakes": ()}, "knows no mistake"),
        ({"mistakes": [Mistake("none", lambda x, y: distance(y, x), "")]}, "accepts the mistake 'none'"),
        (
            {"mistakes": [*make().mistakes, Mistake("twin", lambda x, y: (x - y).abs().sum(1), "")]},
            "takes the mistake 'twin'",
        ),
    ],
)
def test_verify_finds_what_is_wrong_with_an_exercise(changes, words):
    with pytest.raises(ValueError, match=words):
        changed(**changes).verify()


def test_verify_rejects_a_reference_that_does_not_agree_with_itself():
    calls = iter(range(1000))
    with pytest.raises(ValueError, match="rejects its own reference"):
        changed(reference=lambda x, y: x + next(calls)).verify()


def test_cases_and_names_are_needed():
    with pytest.raises(ValueError, match="cases: got none"):
        changed(cases=[])
    with pytest.raises(ValueError, match="cases: got"):
        changed(cases=[Case("a", 1), Case("a", 2)])
    with pytest.raises(ValueError, match="mistakes: got"):
        changed(mistakes=[Mistake("a", abs, ""), Mistake("a", min, "")])


# ------------------------------------------------------------------------------------------------------------ answers


ACTIVE = Answer("active triplets", 12, {24: "That counts the easy ones too.", 12.5: "Half a triplet?"})


@pytest.mark.parametrize("got", [12, 12.0, torch.tensor(12), torch.tensor(12.0)])
def test_right_values_pass(got, capsys):
    ACTIVE.check(got)
    assert capsys.readouterr().out == "✓ active triplets\n"


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (24, "24 is not right. That counts the easy ones too."),
        (13, "13 is not right."),
        (None, "not filled in yet."),
        (..., "not filled in yet."),
        ("12", "got '12', expected a number."),
        (True, "got True, expected a number."),
        ((12, 3), "got (12, 3), expected a number."),
    ],
)
def test_wrong_values_hear_why_but_not_the_answer(got, message):
    with pytest.raises(ExerciseFailed) as caught:
        ACTIVE.check(got)
    assert str(caught.value) == f"✗ active triplets: {message}"


def test_choices_and_several_values():
    choice = Answer("which", "B", {"a": "A is the sum.", "c": "C is the mean."})
    choice.verify()
    choice.check(" b ")
    with pytest.raises(ExerciseFailed, match="C is the mean"):
        choice.check("C")
    several = Answer("shape", (2, 3), {(3, 2): "Rows first."})
    several.verify()
    several.check([2, 3])
    check_value("yes", True, True, {False: "Look again."})
    with pytest.raises(ExerciseFailed, match="Look again"):
        check_value("yes", False, True, {False: "Look again."})


@pytest.mark.parametrize("mistakes", [{}, {12.0000001: "equal"}, {24: "one", 24.0000001: "two"}])
def test_verify_finds_what_is_wrong_with_an_answer(mistakes):
    with pytest.raises(ValueError, match="active"):
        Answer("active", 12, mistakes).verify()


# ----------------------------------------------------------------------------------------------------------- notebook


def test_a_notebook_shows_the_message_and_no_traceback():
    shell = InteractiveShell.instance()
    try:
        with capture_output() as captured:
            shell.run_cell(
                "from course.exercises import *\n"
                "def f(x):\n"
                "    y = x + 1\n"
                "    return y.z\n"
                "Exercise('plus', lambda x: x + 1, [Case('one', 1.0)], []).check(f)"
            )
    finally:
        InteractiveShell.clear_instance()
    assert captured.stdout.splitlines() == [
        "✗ plus: raises AttributeError: 'float' object has no attribute 'z' in line 4: `return y.z` (case: one)",
        "  x = 1.0",
    ]
