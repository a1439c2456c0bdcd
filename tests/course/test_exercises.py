"""Checks of exercises: right answers pass, wrong ones hear what is wrong, each known mistake by its name, and nothing
is said that is not so."""

import importlib
import inspect
import pkgutil
import random
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from exercising import afresh
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import course.exercises
from course.exercises import Answer, Case, Exercise, ExerciseFailed, Mistake, check_value
from course.exercises.compare import difference
from course.exercises.running import SETTINGS

# Their inputs are whole numbers, a symmetric matrix, orthonormal axes.
SAME_WHEN_GRADED = ("lab01.output", "lab01.field", "lab02.glorot", "lab03.rate", "lab08.simplex_of")
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


@pytest.mark.parametrize(
    ("lab", "name", "exercise"), [pytest.param(*e, id=".".join(e[:2])) for e in exercises_of_the_course()]
)
def test_and_when_they_are_graded_who_knows_the_cases_by_heart_is_found_out(lab, name, exercise, monkeypatch):
    if isinstance(exercise, Answer):
        return
    bind = inspect.signature(exercise.reference).bind
    seen = [list(bind(*case.arguments, **case.keywords).arguments.values()) for case in exercise.cases]
    seen += [list(bind(*x.arguments, **x.keywords).arguments.values()) for x in map(Case.in_float64, exercise.cases)]

    def by_heart(*arguments, **keywords):
        """Right for what a student can see, else 0."""
        given = list(bind(*arguments, **keywords).arguments.values())
        return exercise.reference(*arguments, **keywords) if any(not difference(given, one, 0) for one in seen) else 0

    plain = afresh(exercise)
    plain.gradients = ()
    assert plain._judge(by_heart) is None
    monkeypatch.setenv("LABKIT_GRADING", "1")
    graded = afresh(plain)
    assert (graded._judge(by_heart) is None) == (f"{lab}.{name}" in SAME_WHEN_GRADED)
    afresh(exercise).verify()


def test_exercises_of_a_lab_have_different_names():
    names = [(lab, exercise.name) for lab, _, exercise in exercises_of_the_course()]
    assert len(names) == len(set(names))


# -------------------------------------------------------------------------------------------------------- an exercise


def distance(x, y):
    """Distances of rows; finite gradient where they coincide."""
    return ((x - y).pow(2).sum(dim=1) + 1e-12).sqrt()


def make(**options):
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 1.5]])
    cases = [
        Case("three pairs", points, points.flip(0) + 2),
        Case("one pair", points[:1], y=points[1:2]),
        Case("a pair at one point", points[:2], torch.zeros(2, 2)),
    ]
    mistakes = [
        Mistake("squared", "The root is missing.", "(x - y).pow(2).sum(dim=1)", "distance(x, y) ** 2"),
        Mistake("city blocks", "These are the sums of the absolute values.", lambda x, y: (x - y).abs().sum(dim=1)),
        Mistake("one number", "One distance is asked for each pair.", "distance(x, y).mean()"),
    ]
    return Exercise("distances", distance, cases, mistakes, **options)


def failure(function, exercise=None):
    with pytest.raises(ExerciseFailed) as caught:
        (exercise or make()).check(function)
    return caught.value


def first_line(function, exercise=None):
    message = str(failure(function, exercise))
    assert "Traceback" not in message
    return message.splitlines()[0]


def test_right_answers_pass_with_one_fixed_line(capsys):
    make().check(distance)
    make().check(lambda x, y: torch.stack([(a - b).norm() for a, b in zip(x, y, strict=True)]))
    make().check(lambda x, y: distance(x.double(), y.double()))  # nothing was said about the dtype
    assert capsys.readouterr().out == "✓ distances\n" * 3


def test_the_check_is_sound():
    make().verify()
    make(gradients=("x", "y")).verify()


@pytest.mark.parametrize("mistake", make().mistakes, ids=lambda mistake: mistake.name)
def test_known_mistakes_are_named_and_explained_in_each_form(mistake):
    for function in mistake.functions(distance):
        found = failure(function)
        assert found.mistake == mistake.name
        assert str(found) == f"✗ distances: {mistake.name}. {mistake.explanation}"


def test_another_way_to_make_a_mistake_is_the_same_mistake():
    assert failure(lambda x, y: sum((x - y)[:, i] ** 2 for i in range(2))).mistake == "squared"


def test_a_mistake_is_known_by_its_values_whatever_its_gradients():
    cut = lambda x, y: (x - y).pow(2).sum(dim=1).detach()  # noqa: E731
    assert failure(cut, make(gradients=("x",))).mistake == "squared"


def test_an_unknown_mistake_shows_the_smallest_case_that_fails():
    def longer(x, y):
        return distance(x, y) + (len(x) != 2)

    found = failure(longer)
    assert found.mistake is None
    assert str(found).splitlines() == [
        "✗ distances: the result is wrong: largest difference 1 (case: one pair)",
        "  x        = tensor([[0., 0.]])",
        "  y        = tensor([[3., 4.]])",
        "  longer(x, y)",
        "  expected   tensor([5.])",
        "  got        tensor([6.])",
    ]


# ---------------------------------------------------------------------------------------------- not filled in, raises


def stub(x, y):
    raise NotImplementedError


def calls_a_stub(x, y):
    return stub(x, y)


def mean_of_a_mask(x, y):
    return (x == y).argmin(dim=1)  # torch raises NotImplementedError, with a message


def raises_its_own(x, y):
    raise NotImplementedError("not yet for two points")


def asks(x, y):
    class StdinNotImplementedError(NotImplementedError):
        """As Jupyter raises it for input()."""

    raise StdinNotImplementedError("input requests are not supported")


def wrong_line(x, y):
    difference = x - y
    return difference[5]


def leaves(x, y):
    raise SystemExit(1)


def test_only_the_stub_itself_is_not_filled_in():
    assert first_line(stub) == "✗ distances: not filled in yet. Replace `raise NotImplementedError` by your lines."


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (calls_a_stub, "raises NotImplementedError in line"),
        (mean_of_a_mask, "raises NotImplementedError: argmin(): does not support bool input in line"),
        (mean_of_a_mask, "`return (x == y).argmin(dim=1)"),
        (raises_its_own, "raises NotImplementedError: not yet for two points in line"),
        (asks, "raises StdinNotImplementedError: input requests are not supported in line"),
        (wrong_line, "raises IndexError: index 5 is out of bounds for dimension 0 with size 1 in line"),
        (wrong_line, "`return difference[5]`"),
        (leaves, "raises SystemExit: 1 in line"),
        (lambda x: x, "raises TypeError"),
        (torch.cos, "raises TypeError"),
    ],
)
def test_exceptions_are_told_as_what_they_are_with_the_line(function, words):
    assert words in first_line(function)
    assert "not filled in" not in first_line(function)


def test_a_mistake_that_raises_has_its_name():
    exercise = make()
    raising = Mistake("no axis", "Sum over an axis.", "(x - y).pow(2).sum(dim=5)")
    exercise = Exercise("d", distance, exercise.cases, [raising])
    exercise.verify()
    assert failure(lambda x, y: (x - y).norm(dim=5), exercise).mistake == "no axis"
    assert failure(lambda x, y: (x - y)[9], exercise).mistake is None  # IndexError too, but another one


def test_an_exception_can_be_the_right_answer():
    def reciprocal(x):
        if x == 0:
            raise ValueError("x: got 0, expected another number")
        return 1 / x

    cases = [Case("four", 4), Case("zero", 0)]
    exercise = Exercise("reciprocal", reciprocal, cases, [Mistake("negative", "Sign.", "-reciprocal(x)")])
    reciprocal.__globals__["reciprocal"] = reciprocal
    exercise.verify()
    assert "returns 0, expected ValueError to be raised" in str(failure(lambda x: 1 / x if x else 0, exercise))
    assert "raises ZeroDivisionError: division by zero in line" in str(failure(lambda x: 1 / x, exercise))


# ------------------------------------------------------------------------------------------------- what messages say


class Unfriendly:
    """Refuses everything."""

    def __repr__(self):
        raise RuntimeError("no repr")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


CYCLE = [1.0, 2.0]
CYCLE += [CYCLE, CYCLE]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, y: None, "the function returns None: `return` hands the result back."),
        (lambda x, y: distance(x, y) if len(x) > 1 else None, "the result is None, expected a tensor of shape (1,)"),
        (lambda x, y: distance(x, y)[:, None].expand(-1, 4), "has shape (1, 4), expected (1,)"),
        (lambda x, y: distance(x, y).tolist(), "has the right values, but is a list, expected a tensor"),
        (lambda x, y: distance(x, y).numpy(), "has the right values, but is a ndarray, expected a tensor"),
        (lambda x, y: distance(x, y).sum().item(), "expected a tensor of shape (1,)"),
        (lambda x, y: distance(x, y).long(), "is torch.int64, expected torch.float32"),
        (lambda x, y: distance(x, y) * torch.nan, "the result is NaN in 1 of 1 entries"),
        (lambda x, y: distance(x, y) * torch.inf, "largest difference inf"),
        (lambda x, y: CYCLE, "expected a tensor of shape (1,)"),
        (lambda x, y: torch.zeros(2, device="meta"), "cannot be checked"),
        (lambda x, y: Unfriendly(), "the result is a Unfriendly, expected"),
        (lambda x, y: (distance(x, y) for _ in x), "the result is <generator"),
        (lambda x, y: [[1.0], [2.0, 3.0]], "expected a tensor of shape (1,)"),
        (lambda x, y: -distance(x, y), "in all cases every sign is turned (case: one pair)"),
        (lambda x, y: distance(x, y) * 3, "in all cases every number is 3 times the right one"),
        (lambda x, y: distance(x, y) + 2, "in all cases every number is too large by 2"),
        (lambda x, y: 3.0, "the result is 3.0, expected a tensor"),
        (lambda x, y: distance(x, y).sqrt(), "in all cases this is the root of the right result"),
        (lambda x, y: distance(x[:, None], y[None]), "has shape (1, 2), expected (1,)"),
        (
            lambda x, y: torch.cdist(x, y),
            "has shape (1, 1), expected (1,); in all cases the right values stand on the diagonal",
        ),
        (lambda x, y: (x - y).pow(2) if True else 0, "has shape (1, 2), expected (1,) (case"),
        (7, "got 7, expected a function"),
        (Unfriendly(), "got a Unfriendly, expected a function"),
        (Unfriendly, "raises TypeError"),
    ],
)
def test_messages_say_what_is_wrong(function, words):
    assert words in first_line(function)


def test_what_is_said_of_all_cases_holds_in_all():
    """The hints of old, which were printed for any wrong shape, gradient or number, must not come back."""
    for function in (
        lambda x, y: torch.cdist(x, y + 1),
        lambda x, y: distance(x, y) * (3 if len(x) > 1 else 2),
        lambda x, y: distance(x, y) + len(x),
        lambda x, y: -distance(x, y) - (len(x) > 1),
        lambda x, y: (x - y).sum(dim=0),
    ):
        assert failure(function).mistake is None
        assert "in all cases" not in str(failure(function))
    total = Exercise("total", lambda x: x.sum(), [Case("a", torch.tensor([1.0, 4.0]))], [])
    constant = Exercise("total", lambda x: x + 1, [Case("a", 1), Case("b", 2), Case("c", 3)], [])
    assert "the result is 7, expected 2; in all cases the result is the same (case: a)" in str(
        failure(lambda x: 7, constant)
    )
    assert "same" not in str(failure(lambda x: 7 + x // 3, constant))
    assert "the right result is the sum of these values" in str(failure(lambda x: x, total))
    assert "sum" not in str(failure(lambda x: x + 1, total))


def test_the_inputs_shown_are_those_that_were_used():
    exercise = Exercise("d", distance, make().cases, make().mistakes, dtype=True)
    exercise.verify()
    found = str(failure(lambda x, y: distance(x, y).float(), exercise))
    assert "has the right values, but is torch.float32, expected torch.float64" in found
    assert "`dtype=x.dtype` gives a new tensor this dtype (case: one pair, in float64)" in found
    assert "x        = tensor([[0., 0.]], dtype=torch.float64)" in found


def test_what_the_answer_prints_is_shown_for_the_case_that_fails(capsys):
    def talks(x, y):
        print("length", len(x))
        return distance(x, y) + (len(x) == 2)

    assert str(failure(talks)).endswith("\n  printed:\n    length 2")
    make().check(lambda x, y: print("debug") or distance(x, y))
    assert capsys.readouterr().out == "✓ distances\n"


# -------------------------------------------------------------------------------------------------- kinds of results


def share(values):
    return sum(values) / len(values)


def share_of(kind):
    exercise = Exercise("share", share, [Case("a", [1, 0, 0]), Case("b", [1, 1, 1, 0])], [])
    exercise.check(lambda values: kind(share(values)))


@pytest.mark.parametrize(
    "kind",
    [
        float,
        np.float64,
        np.float32,
        Fraction,
        torch.tensor,
        lambda x: torch.tensor([x]),
        np.array,
        lambda x: np.array([x]),
    ],
)
def test_a_number_may_be_of_any_kind(kind):
    share_of(kind)
    Answer("number", 0.5, {}).check(kind(0.5))


@pytest.mark.parametrize("kind", [str, bool, Decimal, complex, lambda x: [x], lambda x: {x}, lambda x: torch.ones(2)])
def test_but_it_must_be_one_number(kind):
    with pytest.raises(ExerciseFailed, match="expected"):
        share_of(kind)


def test_a_loss_may_be_a_number_where_no_gradient_is_asked_for():
    cases = [Case("a", torch.tensor([1.0, 4.0])), Case("nothing", torch.zeros(2))]
    loss = Exercise("loss", lambda x: x.square().mean(), cases, [])
    for right in (lambda x: float(x.square().mean()), lambda x: x.square().mean().numpy()):
        loss.check(right)
    assert "has shape (1,), expected one number without dimensions" in str(
        failure(lambda x: x.square().mean()[None], loss)
    )
    trained = Exercise("loss", lambda x: x.square().mean(), cases, [], gradients=("x",))
    trained.check(lambda x: x.square().mean() if x.any() else 0.0)  # no gradient is a gradient of zero
    assert "no gradient flows from the result to the inputs: what `.item()` give" in str(
        failure(lambda x: x.square().mean().item(), trained)
    )


def test_results_may_be_numbers_words_and_tuples():
    def sort_out(a, b):
        return min(a, b), "first" if a < b else "second", a < b

    cases = [Case("up", 1, 2.5), Case("down", 3, 2), Case("tie", 1, 1)]
    ties = Mistake("ties", "Ties go second.", lambda a, b: (min(a, b), "first" if a <= b else "second", a < b))
    exercise = Exercise("sort out", sort_out, cases, [ties])
    exercise.verify()
    exercise.check(lambda a, b: [torch.tensor(min(a, b)), "First " if a < b else "second", torch.tensor(a < b)])
    assert "number 3 of 3 is 1, expected True" in str(failure(lambda a, b: (min(a, b), "first", int(a < b)), exercise))
    assert "expected 3 values" in str(failure(lambda a, b: min(a, b), exercise))
    pair = Exercise("pair", lambda x: (x.min(), x.max()), [Case("x", torch.tensor([1.0, 3.0]))], [])
    for right in (lambda x: x, lambda x: [1, 3.0], lambda x: x.numpy()):
        pair.check(right)


# ------------------------------------------------------------------------------------------------------- gradients


def test_gradients_are_compared_where_asked_for_after_all_values():
    exact = make(gradients=("x", "y"))
    exact.check(distance)
    make(gradients=("x",)).check(lambda x, y: distance(x, y.detach()))
    make().check(lambda x, y: distance(x, y).detach())
    found = str(failure(lambda x, y: distance(x, y.detach()), exact))
    assert "the values are right, but the gradient to `y` is zero: what `.detach()` gives carries none" in found
    values_of_another_case = failure(lambda x, y: distance(x, y).detach() + (len(x) == 3), exact)
    assert "values are right" not in str(values_of_another_case)


def test_the_origin_of_nan_is_named_where_it_arises():
    exact = make(gradients=("x", "y"))
    found = str(failure(lambda x, y: (x - y).pow(2).sum(dim=1).sqrt(), exact))
    assert "the gradient to `x` is NaN in 2 of 4 entries: the derivative of `sqrt` is not finite here" in found
    entropy = Exercise(
        "entropy",
        lambda p: torch.special.entr(p + 1e-30).sum(),
        [Case("p", torch.tensor([0.0, 1.0]))],
        [],
        gradients=("p",),
    )
    found = str(failure(lambda p: torch.where(p > 0, -p * p.log(), 0).sum(), entropy))
    assert "the derivative of `mul` and `log` is not finite here" in found and "sqrt" not in found


def test_no_cut_is_named_that_is_not_in_the_code():
    found = str(
        failure(
            lambda x, y: torch.stack([torch.as_tensor(5.0)] * len(x)) if len(x) == 1 else distance(x, y),
            make(gradients=("x",)),
        )
    )
    assert "no gradient flows from the result to the inputs (case" in found


def test_no_gradient_is_compared_in_a_case_that_excludes_it():
    def kinked(x):
        return x.clamp(min=0)

    cases = [Case("off the kink", torch.tensor([-1.0, 2.0])), Case("on it", torch.zeros(3), gradients=False)]
    Exercise("hinge", kinked, cases, [], gradients=("x",)).check(lambda x: torch.where(x > 0, x, 0))


def test_inputs_are_contiguous_so_that_view_works():
    columns = torch.tensor([[1.0, 2.0], [3.0, 5.0]]).T
    Exercise("flat", lambda x: x.flatten(), [Case("columns", columns)], []).check(lambda x: x.view(-1))


def test_a_mistake_in_the_gradient_alone_has_a_name():
    cut = Mistake("cut off", "Both points move.", "distance(x, y.detach())")
    exercise = Exercise("d", distance, make().cases, [cut], gradients=("y",))
    exercise.verify()
    assert failure(lambda x, y: distance(x, y.clone().detach()), exercise).mistake == "cut off"
    assert failure(lambda x, y: distance(x, y).tolist(), exercise).mistake == "right values of another type"


# ------------------------------------------------------------------------------------------ what an answer changes


def mutates(x, y):
    x -= y
    return (x.pow(2).sum(dim=1) + 1e-12).sqrt()


def pops(layers):
    total = 0
    while layers:
        total += layers.pop()["size"]
    return total


def forgets(layers):
    return sum(layer.pop("size") for layer in layers)


def test_changed_inputs_are_noticed():
    for function in (mutates, lambda x, y: distance(x, y.squeeze_(0) if len(y) == 1 else y)):
        found = failure(function)
        assert "is changed: work on a copy" in str(found) and found.mistake == "changes something"
    sizes = Exercise(
        "sizes", lambda layers: sum(x["size"] for x in layers), [Case("two", [{"size": 3}, {"size": 5}])], []
    )
    sizes.check(lambda layers: sum(layer["size"] for layer in list(layers)))
    for function in (pops, forgets):
        assert "the input `layers` is changed" in first_line(function, sizes)
    known = Mistake("in place", "Work on a copy.", mutates)
    exercise = Exercise("d", distance, make().cases, [known])
    exercise.verify()
    assert failure(mutates, exercise).mistake == "in place"
    assert failure(lambda x, y: (torch.set_num_threads(3), distance(x, y))[1], exercise).mistake == "changes something"
    centered = lambda x, y: distance(x.sub_(x.mean()), y)  # noqa: E731
    assert "; the input `x` is changed, too" in first_line(centered)


CHANGES = {
    "the default dtype of torch": lambda: torch.set_default_dtype(torch.float64),
    "whether torch records gradients": lambda: torch.set_grad_enabled(False),
    "the number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "how torch prints": lambda: torch.set_printoptions(precision=2),
    "how numpy prints": lambda: np.set_printoptions(precision=2),
    "the seed of torch": lambda: torch.manual_seed(0),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_changed_settings_are_noticed_and_put_back(name):
    get, _ = SETTINGS[name]
    before = get()
    found = first_line(lambda x, y: (CHANGES[name](), distance(x, y))[1])
    assert f"{name} is changed, which all other code shares" in found
    assert get() == before


def test_random_functions_draw_the_same_numbers_and_leave_the_generators_alone():
    states = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    mistake = Mistake("all", "Half are to be dropped.", lambda x: x)
    exercise = Exercise("dropout", lambda x: x * (torch.rand_like(x) > 0.5), [Case("x", torch.ones(20))], [mistake])
    exercise.verify()
    assert "is wrong" in first_line(lambda x: x * (random.random() > np.random.rand()), exercise)
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


# ------------------------------------------------------------------------------------------------- unsound exercises


def changed(**changes):
    given = {"reference": distance, "cases": make().cases, "mistakes": make().mistakes} | changes
    return Exercise("distances", **given)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mistakes": ()}, "knows no mistake"),
        ({"mistakes": [Mistake("none", "", "distance(y, x)")]}, "accepts form 1 of the mistake 'none'"),
        ({"mistakes": [Mistake("two", "", "x", "distance(y, x)")]}, "accepts form 2 of the mistake 'two'"),
        (
            {"mistakes": [*make().mistakes, Mistake("twin", "", "(x - y).abs().sum(1)")]},
            "takes form 1 of the mistake 'twin'",
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


def test_unsound_arguments_are_refused():
    with pytest.raises(ValueError, match="cases: got none"):
        changed(cases=[])
    with pytest.raises(ValueError, match="cases: got"):
        changed(cases=[Case("a", 1), Case("a", 2)])
    with pytest.raises(ValueError, match="mistakes: got"):
        changed(mistakes=[Mistake("a", "", "x"), Mistake("a", "", "y")])
    with pytest.raises(ValueError, match="without a form"):
        changed(mistakes=[Mistake("a", "")])
    with pytest.raises(ValueError, match="gradients: got"):
        changed(gradients=("z",))
    with pytest.raises(ValueError, match="fixed: got"):
        changed(fixed=("z",))


# ------------------------------------------------------------------------------------------------------------ answers


ACTIVE = Answer("active triplets", 12, {24: "That counts the easy ones too.", 12.5: "Half a triplet?"})


def empty():
    raise NotImplementedError


@pytest.mark.parametrize("got", [12, 12.0, torch.tensor(12), torch.tensor([12.0]), np.int64(12), lambda: 12])
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
        (empty, "not filled in yet."),
        (lambda: 24, "24 is not right. That counts the easy ones too."),
        (lambda: None, "the function returns None: `return` hands the value back."),
        (lambda: print("so") or 1 / 0, "raises ZeroDivisionError: division by zero in line"),
        ("12", "got '12', expected a number."),
        (True, "got True, expected a number."),
        (10**400, "is not right."),
        ((12, 3), "got (12, 3), expected a number."),
        (Unfriendly(), "got a Unfriendly, expected a number."),
        (CYCLE, "expected a number."),
        (torch.tensor(1j), "expected a number."),
    ],
)
def test_wrong_values_hear_why_but_not_the_answer(got, message):
    with pytest.raises(ExerciseFailed) as caught:
        ACTIVE.check(got)
    assert str(caught.value).startswith("✗ active triplets: ") and message in str(caught.value)
    assert "12 " not in str(caught.value)


def test_choices_and_several_values():
    choice = Answer("which", "B", {"a": "A is the sum.", "c": "C is the mean."})
    choice.verify()
    choice.check(" b ")
    with pytest.raises(ExerciseFailed, match="C is the mean"):
        choice.check("C")
    several = Answer("shape", (2, 3), {(3, 2): "Rows first."})
    several.verify()
    for right in ([2, 3], torch.tensor([2, 3]), np.array([2, 3]), torch.Size([2, 3])):
        several.check(right)
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
        "  x        = 1.0",
        "  f(x)",
        "  expected   2.0",
    ]
