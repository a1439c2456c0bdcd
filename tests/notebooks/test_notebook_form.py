"""The form of the notebooks: what nbval does not look at, or would pass over in silence. No kernel is started.

Each function of CHECKS takes a notebook and its path, and returns a list of faults; below them, every fault is put into
a sound notebook and found again.
"""

import ast
import json
import re
from urllib.parse import unquote

import names as quoted
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course.notebooks import canonical, labs, parameters, read, tags
from course.student import student_version

MOST_LINES = 25
MOST_BYTES = 2_000_000
SLIDE_TYPES = {"slide", "subslide", "fragment", "notes", "skip", "-"}
TAGS = {"parameters", "exercise", "check", "instructor", "slow", "nbval-ignore-output", "raises-exception"}
KINDS = {"text/plain", "text/html", "text/latex", "text/markdown", "image/png", "image/jpeg", "image/svg+xml"}
SHOWING = {"print", "claim", "display", "show", "check", "check_value"}

ABSOLUTE_PATH = r"(?<![\w.:/<])/(?:[\w.-]+/)+[\w.-]*|\b[A-Z]:\\|~/"
UNSTABLE = {
    "an absolute path": re.compile(ABSOLUTE_PATH),
    "an address in memory": re.compile(r"\b0x[0-9a-fA-F]{6,}"),
    "a name that the kernel gives": re.compile(r"ipykernel_\d+|<ipython-input"),
    "a time": re.compile(
        r"\b\d+(\.\d+)?(e-?\d+)? ?(s|ms|µs|us|ns|sec|min|seconds|minutes)\b(?!\.e)|\d\d:\d\d:\d\d|\b20\d\d-\d\d-\d\d\b"
    ),
    "a speed": re.compile(r"\d ?\w*/s\b|\ds/\w+"),
}
BANNED = {
    "interact, Output and clear_output fail under nbval": re.compile(
        r"\b(interact|interactive|interact_manual|interactive_output|Output|clear_output|update_display)\("
    ),
    "display_id= fails under nbval": re.compile(r"\bdisplay_id\s*="),
    "input( waits for ever": re.compile(r"(?<![\w.])input\("),
    "pickle runs code that it loads": re.compile(
        r"\bpickle\b|weights_only\s*=\s*False|allow_pickle\s*=\s*True|joblib\.load"
    ),
    "magic and shell lines do not run everywhere": re.compile(r"(?m)^\s*[%!]"),
    "cells are marked by tags, not by comments": re.compile(r"#\s*(NBVAL_|PYTEST_VALIDATE)"),
    "an absolute path": re.compile(rf"[\"'](?:{ABSOLUTE_PATH})"),
}


def code_cells(notebook):
    """(1, cell), (2, cell), ...: numbered like the brackets beside them."""
    return list(enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1))


def texts(output):
    """The text of an output, kind by kind."""
    if output.output_type == "stream":
        return {"text/plain": output.text}
    return {
        kind: value for kind, value in output.get("data", {}).items() if isinstance(value, str) and "image" not in kind
    }


def parsed(cell):
    """The statements of a cell; none for a cell that is not Python."""
    try:
        return ast.parse(cell.source).body
    except SyntaxError:
        return []


def called(node):
    """The last name of each function that is called outside of definitions: check for x.check(...)."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return set()
    names = {name for child in ast.iter_child_nodes(node) for name in called(child)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        names.add(node.func.id if isinstance(node.func, ast.Name) else node.func.attr)
    return names


# -------------------------------------------------------------------------------------------------------------- checks


def canonical_form(notebook, path):
    try:
        same = path.read_bytes().decode("utf-8") == canonical(read(path))
    except nbformat.ValidationError as error:
        return [f"not a valid notebook: {error.message}"]
    return [] if same else ["not in canonical form: run labkit refresh"]


def size(notebook, path):
    bytes_ = path.stat().st_size
    return [f"{bytes_} bytes, more than {MOST_BYTES}: smaller pictures"] if bytes_ > MOST_BYTES else []


def ids(notebook, path):
    # From the file itself: nbformat mends what it reads.
    every = [cell.get("id") for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    return [f"cell id {one} is not unique" for one in {one for one in every if every.count(one) > 1}]


def executed(notebook, path):
    """nbval compares nothing where a cell was never run."""
    faults = []
    for number, cell in code_cells(notebook):
        if cell.execution_count != number:
            faults.append(f"code cell {number} has count {cell.execution_count}: not run in order in a fresh kernel")
        if not cell.source.strip():
            faults.append(f"code cell {number} is empty")
    return faults


def complete_outputs(notebook, path):
    """A cell that shows something has its output stored; a stripped one would pass nbval unseen."""
    faults = []
    for number, cell in code_cells(notebook):
        statements = parsed(cell)
        shows = SHOWING & {name for statement in statements for name in called(statement)}
        last = statements[-1] if statements else None
        silent = ast.Call | ast.Await | ast.Constant
        shows = shows or (isinstance(last, ast.Expr) and not isinstance(last.value, silent))
        if shows and not cell.outputs:
            faults.append(f"code cell {number} has lost its output")
    return faults


def clean_outputs(notebook, path):
    faults = []
    for number, cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                faults.append(f"code cell {number} ends with {output.ename}")
            if output.get("name") == "stderr":
                faults.append(f"code cell {number} has a warning on stderr: {output.text[:60]!r}")
            unknown = set(output.get("data", {})) - KINDS
            if unknown:
                faults.append(f"code cell {number} has output of kind {', '.join(sorted(unknown))}")
    return faults


def stable_outputs(notebook, path):
    """What is compared must not differ from machine to machine."""
    faults = []
    for number, cell in code_cells(notebook):
        if "nbval-ignore-output" in tags(cell):
            continue
        for output in cell.outputs:
            for kind, text in texts(output).items():
                text = re.sub(r"\[measured: [^\]]*\]|\[00:00<\?.*?\]", "", text)  # a claim's figures; a bar's start
                found = {what: pattern.search(text) for what, pattern in UNSTABLE.items()}
                faults += [
                    f"code cell {number} shows {what} ({at.group()!r}, {kind})" for what, at in found.items() if at
                ]
    return faults


def pictures(notebook, path):
    """Every picture has an alternative text, and every figure a picture."""
    faults = []
    for number, cell in enumerate(notebook.cells, 1):
        shown = [cell.source] if cell.cell_type == "markdown" else []
        for output in cell.get("outputs", ()):
            data, about = output.get("data", {}), output.get("metadata", {})
            kinds = [kind for kind in data if kind.startswith("image/")]
            faults += [
                f"cell {number}: {kind} without alternative text"
                for kind in kinds
                if not str(about.get(kind, {}).get("alt", "")).strip()
            ]
            if re.match(r"<?Figure\b|<Axes|Live\(", data.get("text/plain", "")) and not kinds:
                faults.append(f"cell {number}: a figure without a picture")
            shown += [data.get("text/html", ""), data.get("text/markdown", "")]
        if any(re.search(r'!\[\s*\]\(|<(img|svg)\b(?![^>]*\b(alt|aria-label)="[^"]+")', text) for text in shown):
            faults.append(f"cell {number}: an image in the text without alternative text")
    return faults


def anatomy(notebook, path):
    """Parameters, claims, exercises with their checks."""
    faults, code = [], code_cells(notebook)
    tagged = [cell for _, cell in code if "parameters" in tags(cell)]
    if len(tagged) != 1 or not parameters(notebook):
        faults.append(f"{len(tagged)} code cells tagged `parameters`; one is needed, with assignments")
    elif any(not isinstance(one, ast.Assign | ast.AnnAssign) for one in parsed(tagged[0])):
        faults.append("the cell tagged `parameters` holds more than assignments")
    calls = [node for _, cell in code for one in parsed(cell) for node in ast.walk(one) if isinstance(node, ast.Call)]
    claims = sum(isinstance(call.func, ast.Name) and call.func.id == "claim" for call in calls)
    if claims < 3:
        faults.append(f"{claims} claims; three are needed")
    exercises = [cell for _, cell in code if "exercise" in tags(cell)]
    if len(exercises) < 4:
        faults.append(f"{len(exercises)} exercises; four are needed")
    kinds = [tags(cell) & {"exercise", "check"} for _, cell in code if tags(cell) & {"exercise", "check"}]
    for kind, following in zip(kinds, [*kinds[1:], None], strict=True):
        if kind == {"exercise"} and following != {"check"}:
            faults.append("an exercise without a check")
    if kinds[:1] == [{"check"}]:
        faults.append("a check before the first exercise")
    return faults


def exercises(notebook, path):
    """The students' version can be made, and checks import what they call, so that nothing can shadow it."""
    faults = []
    try:
        student_version(notebook, path.stem)
    except ValueError as error:
        faults.append(str(error))
    for number, cell in code_cells(notebook):
        if "check" not in tags(cell):
            continue
        nodes = [node for statement in parsed(cell) for node in ast.walk(statement)]
        imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        imports = [node for node in imports if (node.module or "").startswith("course.exercises")]
        imported = {alias.asname or alias.name for node in imports for alias in node.names}
        roots = {ast.unparse(node.func).split(".")[0] for node in nodes if isinstance(node, ast.Call)}
        if not roots & imported:
            faults.append(f"check cell {number} does not import from course.exercises what it calls")
    return faults


def slides(notebook, path):
    faults = []
    for number, cell in enumerate(notebook.cells, 1):
        kind = cell.metadata.get("slideshow", {}).get("slide_type")
        if kind not in SLIDE_TYPES:
            faults.append(f"cell {number} has slide type {kind!r}")
    return faults


def sources(notebook, path):
    """Code is short, plain Python, without calls that nbval or a reader suffers from."""
    faults = []
    for number, cell in code_cells(notebook):
        lines = len(cell.source.splitlines())
        if lines > MOST_LINES:
            faults.append(f"code cell {number} has {lines} lines, more than {MOST_LINES}")
        if cell.source.rstrip().endswith(";"):
            faults.append(f"code cell {number} ends with a semicolon, which hides nothing under nbval")
        faults += [f"code cell {number}: {why}" for why, pattern in BANNED.items() if pattern.search(cell.source)]
        if cell.source.strip() and not parsed(cell):
            faults.append(f"code cell {number} is not Python, or nothing but comments")
    for number, cell in enumerate(notebook.cells, 1):
        unknown = tags(cell) - TAGS
        if unknown:
            faults.append(f"cell {number} has unknown tags: {', '.join(sorted(unknown))}")
    return faults


def links(notebook, path):
    """Relative links lead somewhere."""
    faults = []
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "markdown":
            continue
        found = re.findall(r"\]\(([^)\s]+)", cell.source) + re.findall(r'(?:src|href)="([^"]+)"', cell.source)
        for link in found:
            if re.match(r"[a-zA-Z][\w+.-]*:|#", link):
                continue
            if not (path.parent / unquote(link.split("#")[0])).exists():
                faults.append(f"cell {number}: the link {link} leads nowhere")
    return faults


def names(notebook, path):
    """What stands in backticks or <code> exists: in the notebook's code, the repository, torch or Python."""
    own = set().union(*(quoted.of_code(cell.source) for _, cell in code_cells(notebook) if parsed(cell)))
    return [
        f"cell {number}: nothing is called {name}, in {text!r}"
        for number, cell in enumerate(notebook.cells, 1)
        if cell.cell_type == "markdown"
        for text, name in quoted.unknown(cell.source, own)
    ]


CHECKS = [
    canonical_form, size, ids, executed, complete_outputs, clean_outputs, stable_outputs,
    pictures, anatomy, exercises, slides, sources, links, names,
]  # fmt: skip


def faults_of(path):
    notebook = read(path)
    return [f"{check.__name__}: {fault}" for check in CHECKS for fault in check(notebook, path)]


# --------------------------------------------------------------------------------------------------- the real notebooks


def test_there_are_notebooks():
    assert {"00_start_here", "04_siamese_and_triplet"} <= {path.stem for path in labs()}


@pytest.mark.parametrize("path", labs(), ids=lambda path: path.stem)
def test_form(path):
    assert not faults_of(path)


# ------------------------------------------------------------------------------------------- each fault is found again


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def shown(data, **metadata):
    return new_output("display_data", data=data, metadata=metadata)


def code(source, *outputs, slide="-", **metadata):
    return new_code_cell(source, outputs=list(outputs), metadata={"slideshow": {"slide_type": slide}, **metadata})


def exercise(name):
    solution = f"def {name}(x):\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION"
    check = f"from course.exercises.lab04 import contrastive\n\ncontrastive.check({name})"
    about = {"exercise": name, "points": 1}
    return [code(solution, tags=["exercise"]), code(check, stream("✓ e\n"), tags=["check"], labkit=about)]


def sound():
    """A notebook without a fault, and places for faults: 1 text, 2 printed, 3 claim, 6 picture, 7 exercise, 8 check."""
    text = (
        "# T\n\n[other](other.ipynb) ![a cat](cat.png) <img src='x' alt=\"y\"> [web](https://example.org/a/b) [up](#T)"
    )
    claim = shown({"text/plain": "✓ a (at least 1)", "text/markdown": "✓ a (at least 1) [measured: 3.1 s]"})
    picture = shown({"text/plain": "Figure(640x480)", "image/png": "iVBORw0KGgo="}, **{"image/png": {"alt": "A cat"}})
    bar = shown({"text/plain": "epoch 1/8:   0%|          | 0/96 [00:00<?, ?step/s]"})
    cells = [
        code('DATASET = "digits"\nEPOCHS: int = 3', tags=["parameters"]),
        new_markdown_cell(text, metadata={"slideshow": {"slide_type": "slide"}}),
        code("print(1 / 3)", stream("0.333\n")),
        *(code("claim('a', 2, at_least=1)", claim) for _ in range(3)),
        code("show(figure, alt='A cat')", picture, bar),
        *(cell for number in range(4) for cell in exercise(f"f{number}")),
    ]
    notebook = new_notebook(cells=cells)
    for number, cell in enumerate(cell for cell in cells if cell.cell_type == "code"):
        cell.execution_count = number + 1
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    return notebook


def write(folder, notebook):
    path = folder / "05_sound.ipynb"
    path.write_text(canonical(notebook), encoding="utf-8", newline="\n")
    (folder / "other.ipynb").touch()
    (folder / "cat.png").touch()
    (folder / "x").touch()
    return path


def test_a_sound_notebook_has_no_fault(tmp_path):
    assert faults_of(write(tmp_path, sound())) == []


def put(cell, **changes):
    """A change of one cell: its source, outputs, tags, metadata, count or id."""

    def change(notebook):
        where = notebook.cells[cell]
        for name, value in changes.items():
            if name in ("tags", "slideshow", "labkit"):
                where.metadata[name] = value
            else:
                where[name] = value

    return change


def outputs(cell, *given):
    return put(cell, outputs=list(given))


FAULTS = {
    "count": (put(3, execution_count=7), "code cell 3 has count 7"),
    "never run": (put(3, execution_count=None, outputs=[]), "code cell 3 has count None"),
    "empty cell": (put(2, source=" ", outputs=[]), "code cell 2 is empty"),
    "stripped print": (outputs(2), "code cell 2 has lost its output"),
    "stripped claim": (outputs(3), "code cell 3 has lost its output"),
    "stripped loop": (put(2, source="for i in range(2):\n    print(i)", outputs=[]), "has lost its output"),
    "stripped value": (put(2, source="x = 1\nx + 1", outputs=[]), "code cell 2 has lost its output"),
    "error": (outputs(2, new_output("error", ename="E", evalue="", traceback=[])), "code cell 2 ends with E"),
    "warning": (outputs(2, stream("UserWarning: x", "stderr")), "a warning on stderr"),
    "widget": (outputs(2, shown({"text/plain": "x", "application/javascript": "x"})), "of kind application/javascript"),
    "path": (outputs(2, stream("in /home/ada/course/x.py\n")), "shows an absolute path ('/home/ada/course/x.py'"),
    "windows path": (outputs(2, stream("in C:\\Users\\x\n")), "shows an absolute path"),
    "address": (outputs(2, stream("<object at 0x7f12ab34cd>\n")), "shows an address"),
    "kernel name": (outputs(2, stream("ipykernel_123\n")), "shows a name that the kernel gives"),
    "time": (outputs(2, stream("took 12.3 s\n")), "shows a time ('12.3 s'"),
    "clock": (outputs(2, stream("at 12:30:05\n")), "shows a time"),
    "date": (outputs(2, shown({"text/html": "<b>2026-11-21</b>"})), "shows a time ('2026-11-21', text/html)"),
    "speed": (outputs(2, shown({"text/plain": "5/96 [00:01<00:03, 12.1step/s]"})), "shows a speed"),
    "no alt": (outputs(6, shown({"image/png": "iVBORw0KGgo="})), "cell 7: image/png without alternative text"),
    "empty alt": (outputs(6, shown({"image/png": "i"}, **{"image/png": {"alt": " "}})), "without alternative text"),
    "html image": (outputs(6, shown({"text/html": '<img src="x">'})), "an image in the text without alternative"),
    "text image": (put(1, source="![](cat.png)"), "cell 2: an image in the text without alternative text"),
    "no picture": (outputs(6, shown({"text/plain": "Figure(640x480)"})), "cell 7: a figure without a picture"),
    "no parameters": (put(0, tags=[]), "0 code cells tagged `parameters`"),
    "parameters do": (put(0, source="A = 1\nprint(A)", outputs=[stream("1")]), "holds more than assignments"),
    "two claims": (put(3, source="x = 1", outputs=[]), "2 claims; three are needed"),
    "three exercises": (put(7, tags=[], source="x = 1"), "3 exercises; four are needed"),
    "no check": (put(8, tags=[]), "an exercise without a check"),
    "no solution": (put(7, source="def f0(x):\n    return x"), "an exercise without BEGIN SOLUTION"),
    "half a solution": (put(7, source="### BEGIN SOLUTION\nx = 1"), "an exercise without BEGIN SOLUTION and END"),
    "stray solution": (put(2, source="### BEGIN SOLUTION\nprint(1)"), "has no partner, or its cell lacks the tag"),
    "no points": (put(8, labkit={"exercise": "f0"}), "expected an exercise and its points"),
    "shadowed check": (put(8, source="contrastive.check(f0)"), "does not import from course.exercises what it calls"),
    "unused import": (
        put(8, source="from course.exercises.lab04 import triplet\ncontrastive.check(f0)"),
        "check cell 8 does not import",
    ),
    "no slide type": (put(2, slideshow={}), "cell 3 has slide type None"),
    "wrong slide type": (put(2, slideshow={"slide_type": "page"}), "cell 3 has slide type 'page'"),
    "long": (put(7, source="\n".join(["x = 1"] * 26)), "code cell 7 has 26 lines"),
    "semicolon": (put(2, source="print(1);"), "ends with a semicolon"),
    "interact": (put(2, source="print(interact(f))"), "fail under nbval"),
    "output widget": (put(2, source="print(widgets.Output())"), "fail under nbval"),
    "pickle": (put(2, source="import pickle\nprint(1)"), "pickle runs code"),
    "magic": (put(2, source="%matplotlib widget\nprint(1)"), "magic and shell lines"),
    "shell": (put(2, source="!ls\nprint(1)"), "magic and shell lines"),
    "comment marker": (put(2, source="# NBVAL_SKIP\nprint(1)"), "marked by tags"),
    "path in code": (put(2, source="print(open('/tmp/x/y'))"), "code cell 2: an absolute path"),
    "not Python": (put(2, source="print(1"), "code cell 2 is not Python"),
    "unknown tag": (put(2, tags=["nbval-skip"]), "cell 3 has unknown tags: nbval-skip"),
    "stale name": (put(1, source="`network_judged(loss)` judges"), "cell 2: nothing is called network_judged"),
    "stale name in a hint": (
        put(1, source="<details><summary>Hint 1</summary><code>f0</code>, then <code>f9</code>.</details>"),
        "cell 2: nothing is called f9, in 'f9'",
    ),
    "dead link": (put(1, source="[x](nowhere.ipynb#top)"), "cell 2: the link nowhere.ipynb#top leads nowhere"),
    "dead html link": (put(1, source='<a href="gone.md">x</a>'), "cell 2: the link gone.md leads nowhere"),
}


@pytest.mark.parametrize(("change", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(change, words, tmp_path):
    notebook = sound()
    change(notebook)
    found = faults_of(write(tmp_path, notebook))
    assert any(words in fault for fault in found), found


@pytest.mark.filterwarnings("ignore::nbformat.warnings.DuplicateCellId")
def test_faults_of_the_file_are_found(tmp_path):
    path = write(tmp_path, sound())
    text = path.read_text(encoding="utf-8")

    def faults(changed):
        path.write_bytes(changed.encode("utf-8"))
        return " ".join(faults_of(path))

    assert faults(text) == ""
    for changed in (
        text.rstrip("\n"),
        text.replace("\n", "\r\n"),
        text.replace('"language_info": {', '"widgets": {},\n  "language_info": {'),
        text.replace('"tags": [', '"collapsed": true,\n    "tags": [', 1),
        text.replace('"nbformat_minor": 5', '"nbformat_minor": 4'),
    ):
        assert changed != text
        assert "canonical_form" in faults(changed)
    assert "ids: cell id cell-2 is not unique" in faults(text.replace('"cell-3"', '"cell-2"'))
    assert "smaller pictures" in faults(text.replace("iVBORw0KGgo=", "iVBORw0KGgo=" + 2_000_000 * "A"))


def test_what_is_ignored_by_nbval_may_hold_times(tmp_path):
    notebook = sound()
    put(2, outputs=[stream("12.3 s\n")], tags=["nbval-ignore-output"])(notebook)
    assert faults_of(write(tmp_path, notebook)) == []
