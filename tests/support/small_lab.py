"""A lab with three exercises, worth 2 + 1, 1 and 3 points, for tests of students' versions and of grading."""

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course.student import student_version

CHECK_DOUBLE = """\
from math import isclose

assert isclose(double(3), 6), "twice three is six"
### BEGIN HIDDEN TESTS
assert isclose(double(1000), 2000), "not for large numbers"
### END HIDDEN TESTS"""
CHECK_AGAIN = "assert double(0) == 0"
CHECK_HALF = """\
from math import isclose

assert isclose(half(3), 1.5), 'half of three'"""
CHECK_ANSWER = """\
from math import isclose

assert isclose(answer, 42), 'not the answer'"""
CHECK_THAT_KNOWS = """\
from course.exercises import check_value

check_value("answer", answer, 42, {41: "One too few."})"""


def solved(before, solution, indent="    "):
    return f"{before}{indent}### BEGIN SOLUTION\n{indent}{solution}\n{indent}### END SOLUTION"


def make_lab():
    """A lab with three exercises, worth 2 + 1, 1 and 3 points."""

    def exercise(name, source):
        return new_code_cell(source, id=f"write-{name}", metadata={"tags": ["exercise"]})

    def check(name, points, source, id=None):
        about = {"tags": ["check"], "labkit": {"exercise": name, "points": points}}
        return new_code_cell(source, id=id or f"check-{name}", metadata=about, outputs=[new_output("stream", text="✓")])

    cells = [
        new_markdown_cell(
            "# Lab\n[next](06_next.ipynb) [code](../labkit/x.py#L3) ![cat](cat.png) [web](https://a.b/c)"
        ),
        new_code_cell("import math", id="setup", execution_count=1),
        new_code_cell("raise SystemError('slow cells are not for grading')", id="slow", metadata={"tags": ["slow"]}),
        new_code_cell("secret = 42", id="teacher", metadata={"tags": ["instructor"]}),
        exercise("double", solved("def double(x):\n    '''Twice x.'''\n", "return math.floor(2) * x")),
        check("double", 2, CHECK_DOUBLE),
        check(
            "double", 1, "from course.exercises import check_value\n\ncheck_value('zero', double(0), 0, {})", "again"
        ),
        exercise("half", solved("def half(x):\n", "return x / 2")),
        check("half", 1, CHECK_HALF),
        exercise("answer", solved("", "answer = 42", indent="")),
        check("answer", 3, CHECK_ANSWER),
        new_code_cell("print('the end')", id="end"),
    ]
    return new_notebook(cells=cells)


def cell(notebook, name):
    return next(cell for cell in notebook.cells if cell.id == name)


def submission(**filled):
    """The students' version with some stubs replaced."""
    student = student_version(make_lab(), "05_demo")
    for name, source in filled.items():
        cell(student, f"write-{name}").source = source
    return student


SOLUTIONS = {
    "double": "def double(x):\n    return 2 * x",
    "half": "def half(x):\n    return x / 2",
    "answer": "answer = 42",
}
