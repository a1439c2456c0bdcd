"""Running what a student wrote: what it returns, raises, prints, and what it changes besides."""

import contextlib
import copy
import inspect
import io
import random
import re
import traceback
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch._tensor_str import PRINT_OPTS

from course.exercises.compare import difference, in_words, tensors

CUTS = {"item": "`.item()`", "tolist": "`.tolist()`", "detach": "`.detach()`", "numpy": "`.numpy()`"}
CUTS |= {"data": "`.data`", "no_grad": "`no_grad`", "tensor": "`torch.tensor(...)`", "float": "`float(...)`"}

SEED = 20_200_229  # nobody's own seed, so that one that is set shows

SETTINGS = {
    "the default dtype of torch": (torch.get_default_dtype, torch.set_default_dtype),
    "whether torch records gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "how torch prints": (lambda: dict(vars(PRINT_OPTS)), lambda kept: torch.set_printoptions(**kept)),
    "how numpy prints": (np.get_printoptions, lambda kept: np.set_printoptions(**kept)),
    "the seed of torch": (torch.initial_seed, lambda seed: None),  # fork_rng puts it back
}


@dataclass
class Outcome:
    """What one call did: its value or the exception, what it printed, and the first thing that it changed, or None."""

    value: object = None
    error: BaseException | None = None
    printed: str = ""
    changed: str | None = None


def call(function, arguments=(), keywords=None, names=()):
    """Call a function on copies of the arguments: an Outcome. Settings and random generators are put back.

    names  of the arguments, under which a changed one is told
    """
    arguments, keywords = fresh((arguments, keywords or {}))
    given, before = [*arguments, *keywords.values()], fresh([*arguments, *keywords.values()])
    outcome, output = Outcome(), io.StringIO()
    with _put_back() as changes, contextlib.redirect_stdout(output):
        try:
            outcome.value = function(*arguments, **keywords)
        except (Exception, SystemExit, GeneratorExit) as error:
            outcome.error = error
    outcome.printed = output.getvalue()
    inputs = zip(names, given, before, strict=False)
    changed = [f"the input `{name}`" for name, now, then in inputs if _may_change(then) and difference(now, then, 0)]
    outcome.changed = next(iter(changed + changes), None)
    return outcome


def _may_change(value):
    return isinstance(value, torch.Tensor | list | tuple | dict)


@contextlib.contextmanager
def _put_back():
    """Equal random numbers inside, and everything as it was afterwards; yields a list of the settings changed."""
    changes, states = [], (random.getstate(), np.random.get_state())
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        random.seed(SEED)
        np.random.seed(SEED)
        torch.default_generator.manual_seed(SEED)
        before = {name: get() for name, (get, _) in SETTINGS.items()}
        try:
            yield changes
        finally:
            for name, (get, put) in SETTINGS.items():
                if get() != before[name]:
                    changes.append(name)
                    put(before[name])
            random.setstate(states[0])
            np.random.set_state(states[1])


def fresh(value):
    """A copy of arguments; its tensors have no graph and are contiguous (`view` fails on others: no one's mistake)."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone(memory_format=torch.contiguous_format)
    if type(value) in (list, tuple):
        return type(value)(fresh(entry) for entry in value)
    if type(value) is dict:
        return {name: fresh(entry) for name, entry in value.items()}
    return copy.deepcopy(value)


def code_of(function):
    """The code of a function, method or module, or None for a built-in one."""
    for candidate in (inspect.unwrap(function), getattr(function, "forward", None), type(function).__call__):
        if code := getattr(candidate, "__code__", None):
            return code
    return None


def is_stub(error, function):
    """Was this error raised by the `raise NotImplementedError` of a function that is not filled in?

    torch raises errors of this class too, but with a message; and another function may be the one not filled in.
    """
    if type(error) is not NotImplementedError or error.args:
        return False
    *_, last = traceback.walk_tb(error.__traceback__)
    return last[0].f_code is code_of(function)


def raises(error, function):
    """An exception as the end of a sentence: its class, message and the student's line in which it was raised."""
    code = code_of(function)
    frames = [one for one in traceback.extract_tb(error.__traceback__) if code and one.filename == code.co_filename]
    if not frames:
        return f"raises {in_words(error)}"
    text = f": `{frames[-1].line}`" if frames[-1].line else ""
    return f"raises {in_words(error)} in line {frames[-1].lineno}{text}"


def alike(error, other):
    """Do two exceptions say the same, apart from their numbers (such as the sizes of tensors)?"""
    return re.sub(r"\d+", "", str(error)) == re.sub(r"\d+", "", str(other))


def shown_output(outcome):
    """What a call printed, the last of it, as lines under a message."""
    text = outcome.printed.rstrip()[-1000:]
    return "\n  printed:" + "".join(f"\n    {line}" for line in text.splitlines()[-10:]) if text else ""


class Run:
    """One function on one case. Its gradients are computed when somebody asks for them.

    reference  whose parameters' names are those of the inputs
    watched    names of the inputs to which gradients are asked for
    """

    def __init__(self, function, case, reference, watched):
        self.function, self.case = function, case
        self.parameters, self.watched = inspect.signature(reference), watched if case.gradients else ()
        self.inputs = self.parameters.bind(*case.arguments, **case.keywords).arguments  # name -> value
        self.outcome = call(function, case.arguments, case.keywords, tuple(self.inputs))

    def report(self, words, shown):
        """The whole message for this run: what is wrong, the inputs, the call, what is to be shown, what it printed."""
        width = max(map(len, (*self.inputs, *shown)))
        lines = [f"  {name:{width}} = {in_words(value)}" for name, value in self.inputs.items()]
        lines += [f"  {getattr(self.function, '__name__', 'answer')}({', '.join(self.inputs)})"]
        lines += [f"  {name:{width}}   {in_words(value)}" for name, value in shown.items()]
        lines = [line.replace("\n", "\n" + " " * (width + 5)) for line in lines]
        return "\n".join([f"{words} (case: {self.case.name})", *lines]) + shown_output(self.outcome)

    @property
    def gradients(self):
        """Gradients of a weighted sum of all results to the watched inputs, as {name: gradients}, or what was raised.

        They are zero where none flows. The weights differ, so that errors cannot cancel.
        """
        return self._differentiated[0]

    @property
    def connected(self):
        """Whether any result depends on the inputs, as far as autograd knows."""
        return self._differentiated[1]

    @cached_property
    def _differentiated(self):
        if not self.watched:
            return {}, True
        try:
            total, leaves = self._weighted_sum()
            flat = [x for group in leaves.values() for x in group]
            connected = isinstance(total, torch.Tensor)
            if connected:
                flat = torch.autograd.grad(total, flat, allow_unused=True, materialize_grads=True)
            found = iter(flat if connected else [torch.zeros_like(x) for x in flat])
        except Exception as error:
            return error, True
        gradients = {name: [next(found) for _ in group] for name, group in leaves.items()}
        return {name: group[0] if len(group) == 1 else group for name, group in gradients.items()}, connected

    def _weighted_sum(self):
        """The sum (0 where no result has a graph) and the watched inputs by name. Raises what the call raises."""
        leaves = {}

        def weighted(*arguments, **keywords):
            bound = self.parameters.bind(*arguments, **keywords).arguments
            for name in self.watched:
                leaves[name] = [x.requires_grad_() for x in tensors([bound.get(name)]) if x.is_floating_point()]
            results = [x for x in tensors([self.function(*arguments, **keywords)]) if x.requires_grad]
            return sum((x * torch.linspace(1, 2, x.numel(), dtype=x.dtype).reshape(x.shape)).sum() for x in results)

        with torch.enable_grad():
            outcome = call(weighted, self.case.arguments, self.case.keywords)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value, leaves

    def cuts(self):
        """The names in the student's lines whose values carry no gradient."""
        code = code_of(self.function)
        names = [text for name, text in CUTS.items() if code and name in code.co_names]
        verb = "gives" if len(names) == 1 else "give"
        return f": what {' and '.join(names)} {verb} carries none" if names else ""

    def where_dtype_is_found(self, expected):
        """How a student writes the dtype of a tensor: as that of an input, or its own name."""
        names = [name for name, value in self.inputs.items() if getattr(value, "dtype", None) == expected.dtype]
        return f"{names[0]}.dtype" if names else expected.dtype

    def infinite(self):
        """The functions whose derivatives turn finite gradients into infinite ones or NaN, in words, or ""."""
        total, leaves = self._weighted_sum()
        found, seen, waiting = [], set(), [total.grad_fn]

        def finite(gradients):
            return all(x is None or bool(x.isfinite().all()) for x in gradients)

        def note(node):
            node.register_hook(
                lambda after, before: found.append(node) if finite(before) and not finite(after) else None
            )

        while waiting:
            if (node := waiting.pop()) and node not in seen:
                seen.add(node)
                note(node)
                waiting += [child for child, _ in node.next_functions]
        torch.autograd.grad(total, [x for group in leaves.values() for x in group], allow_unused=True)
        names = dict.fromkeys(re.sub(r"Backward\d*$", "", node.name()).lower() for node in found)
        return f": the derivative of {' and '.join(f'`{name}`' for name in names)} is not finite here" if names else ""
