"""labkit.figures as a whole: every public function says what it takes and shows how it is called."""

import ast
import doctest
import importlib
import inspect
import pkgutil

import pytest

from labkit import figures

MODULES = [f"labkit.figures.{module.name}" for module in pkgutil.iter_modules(figures.__path__)]
LINES_AT_MOST = 350  # of one file


def public(module):
    """The public functions and classes that a module defines."""
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__ and callable(value):
            yield name, value


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_are_annotated_and_have_an_example_that_is_run(name):
    module = importlib.import_module(name)
    examples = {test.name: test.examples for test in doctest.DocTestFinder().find(module)}
    for member, value in public(module):
        if not (inspect.isfunction(value) or inspect.isclass(value)):
            continue  # an alias of a type
        assert examples.get(f"{name}.{member}"), f"{member}: no example"
    for function in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(function, ast.ClassDef) and not function.name.startswith("_"):
            methods = [one for one in function.body if isinstance(one, ast.FunctionDef) and one.name[0] != "_"]
        elif isinstance(function, ast.Module):
            methods = [one for one in function.body if isinstance(one, ast.FunctionDef) and one.name[0] != "_"]
        else:
            continue
        for method in methods:
            bare = [arg.arg for arg in method.args.args if arg.annotation is None and arg.arg not in ("self", "run")]
            assert method.returns is not None and not bare, f"{method.name}: {bare} without annotation"


@pytest.mark.parametrize("name", MODULES)
def test_no_file_is_too_long(name):
    assert len(inspect.getsource(importlib.import_module(name)).splitlines()) <= LINES_AT_MOST
