"""Hostile submissions, confined and not: what each of them gets, and that everybody else's score stays what it was."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections import namedtuple
from typing import ClassVar

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell
from small_lab import SOLUTIONS, make_lab, submission

from course import classroom, confine, kernels, notebooks
from course.classroom import CourseChanged, grade_all, submissions

pytestmark = pytest.mark.skipif(not kernels.CAN_FORK, reason="elsewhere kernels are neither confined nor limited")

Hostile = namedtuple("Hostile", "code confined free")
"""code: runs before everything else; what it has got, it leaves in `got`.

confined, free: what the check of its exercise says then, in the two steps; a number: the points, where all are wrong.
"""

HOSTILE = {
    "reads another's work": Hostile("got = open({other!r}).read()", "FileNotFoundError", "another's work"),
    "changes another's work": Hostile("got = open({other!r}, 'a').write('\\n')", "FileNotFoundError", "1"),
    "reads the solutions": Hostile("got = 'SOLUTION' in open({lab!r}).read()", "FileNotFoundError", "True"),
    "reads the grader's variables": Hostile(
        "import pathlib\n"
        "got = False\n"
        "for one in pathlib.Path('/proc').glob('[0-9]*/environ'):\n"
        "    try:\n        got = got or b'hunter2' in one.read_bytes()\n    except OSError: pass",
        "False",
        "True",
    ),
    "sends what it knows": Hostile(
        "import urllib.request\ngot = urllib.request.urlopen('http://127.0.0.1:{port}', timeout=9).status",
        "URLError",
        "200",
    ),
    "ends another program": Hostile("got = os.kill({decoy}, 9)", "ProcessLookupError", "None"),
    "ends its parent": Hostile("os.kill(os.getppid() or 1, 9)\ngot = 'lives'", "lives", "ended the kernel"),
    "writes to the grader's screen": Hostile(
        "got = ''\nfor stream in '12':\n"
        "    with open(f'/proc/{{os.getppid() or 1}}/fd/{{stream}}', 'w') as screen:\n"
        "        screen.write('eve: 7 of 7\\n')",
        "",
        "",
    ),
    "leaves a program behind": Hostile(
        "import subprocess, sys\n"
        "command = [sys.executable, '-c', 'import time; time.sleep(1000)', {token!r}]\n"
        "got = subprocess.Popen(command, start_new_session=True).poll()",
        "None",
        "None",
    ),
    "takes all memory": Hostile("got = len(bytearray(9 * 2**30))", "MemoryError", "MemoryError"),
    "fills the disk": Hostile("with open('big', 'wb') as f:\n    got = f.truncate(2**40)", "OSError", "OSError"),
    "sends escape codes": Hostile("got = '\\x1b]0;title\\x07\\x1b[2J7 of 7'", "7 of 7", "7 of 7"),
    "prints without end": Hostile("got = 'none'\nwhile True:\n    print('x')", "", ""),
    "ignores the end": Hostile(
        "import signal, time\ngot = 'none'\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)",
        "went on after it was interrupted",
        "went on after it was interrupted",
    ),
    "starts programs without end": Hostile(
        "got, mine = 0, os.getpid()\n"
        "while got < 50 and os.getpid() == mine:\n"
        "    got += 1\n"
        "    if os.fork() == 0:\n        import time; time.sleep(1000)",
        "50",
        "50",
    ),
    "makes every comparison true": Hostile("import math\nmath.isclose = lambda *a, **k: True", 7, 7),
    "answers for the kernel": Hostile(
        "kernel = get_ipython().kernel\n"
        "kernel.do_execute = lambda *a, **k: {{'status': 'ok', 'execution_count': 1, 'payload': []}}",
        7,
        7,
    ),
}
"""The last two stand open: nothing that runs in the process of a check can protect the score itself (SECURITY.md)."""

TELLS = """\
import os
try:
{code}
except BaseException as error:
    got = type(error).__name__
"""
SAYS = "def half(x):\n    raise ValueError(got)"


WRONG = {"double": "def double(x):\n    return 0", "half": "def half(x):\n    return 0", "answer": "answer = 0"}


def hostile_submission(code, filled=None):
    """A submission that first does something hostile, and whose failing answer says what it has got."""
    indented = "\n".join(f"    {line}" for line in code.splitlines())
    student = submission(**(filled or SOLUTIONS | {"half": SAYS}))
    student.cells.insert(0, new_code_cell(TELLS.format(code=indented)))
    return student


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    nbformat.write(make_lab(), folder / "05_demo.ipynb")
    return folder


@pytest.fixture
def world(course, tmp_path, monkeypatch):
    """What there is to harm: another's work, a program, a server, a secret; and a class of two, who are honest."""
    for module in (notebooks, classroom):
        monkeypatch.setattr(module, "NOTEBOOKS", course)
    monkeypatch.setenv("MY_API_TOKEN", "hunter2")
    monkeypatch.setattr(kernels.Kernel, "GRACE", 3)
    run = kernels.Kernel.run
    endless = {True: 2, False: 300}  # seconds: a busy machine needs many for what ends
    monkeypatch.setattr(
        kernels.Kernel, "run", lambda self, source, _: run(self, source, endless["while True" in source])
    )
    monkeypatch.setattr(classroom, "Nursery", Remembered)
    class_ = tmp_path / "class"
    for name in ("ada", "zoe"):
        (class_ / name).mkdir(parents=True)
        nbformat.write(submission(**SOLUTIONS), class_ / name / "05_demo.ipynb")
    other = class_ / "ada" / "notes.txt"
    other.write_text("another's work")
    secret = {**os.environ, "MY_API_TOKEN": "hunter2"}
    sleeps = [sys.executable, "-c", "import time; time.sleep(1000)"]
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server,
        subprocess.Popen(sleeps) as decoy,
        subprocess.Popen(sleeps, env=secret) as knows,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        names = {"other": str(other), "lab": str(course / "05_demo.ipynb"), "port": server.server_port}
        yield namedtuple("World", "class_ names decoy")(
            class_, {**names, "decoy": decoy.pid, "token": f"labkit-{os.getpid()}"}, decoy
        )
        decoy.kill(), knows.kill()
        server.shutdown()


class Remembered(kernels.Nursery):
    folders: ClassVar = []

    def __enter__(self):
        super().__enter__()
        self.folders.append(str(self.folder))
        return self


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(params=["confined", "free"])
def step(request, tmp_path, monkeypatch):
    if request.param == "confined" and not confine.works():
        pytest.skip("this system lets nobody be confined")
    if request.param == "free":
        (tmp_path / "sitecustomize.py").write_text("from course import confine\nconfine.works = lambda: False\n")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(kernels.ROOT), str(tmp_path)]))
    return request.param


def test_what_hostile_submissions_get_and_that_the_others_keep_their_scores(world, step, capfd):
    for name, one in HOSTILE.items():
        folder = world.class_ / name
        folder.mkdir()
        filled = WRONG if one.confined == 7 else None
        nbformat.write(hostile_submission(one.code.format(**world.names), filled), folder / "05_demo.ipynb")
    before = classroom.fingerprints()
    found = {one.student: result for one, result in grade_all(submissions([world.class_]), jobs=2)}
    assert {name: found[name]["earned"] for name in ("ada", "zoe")} == {"ada": 7, "zoe": 7}
    wrong = {}
    for name, one in HOSTILE.items():
        got, expected = found[name], getattr(one, step)
        said = next(score["feedback"] for score in got["scores"] if score["exercise"] == "half")
        if isinstance(expected, int):
            fits = got["earned"] == expected
        else:
            fits = got["earned"] == 6 and expected in said
        if not fits:
            wrong[name] = (expected, got["earned"], said, got["notes"])
    assert not wrong, json.dumps(wrong, indent=1)
    assert "eve" not in "".join(capfd.readouterr())
    assert classroom.fingerprints() == before
    deadline = time.monotonic() + 30
    traces = (world.names["token"], Remembered.folders[-1])
    while left := [p for p in psutil.process_iter(["cmdline"]) if any(t in str(p.info["cmdline"]) for t in traces)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert (world.decoy.poll() is None) == (step == "confined")


def test_what_edits_the_course_is_held_off_or_ends_the_grading(world, step, course, monkeypatch):
    monkeypatch.setattr(classroom, "CODE", [course])
    (course / "checks.py").write_text("everybody = 1\n")
    (world.class_ / "eve").mkdir()
    code = f"got = open({str(course / 'checks.py')!r}, 'a').write('everybody = 0')"
    nbformat.write(hostile_submission(code), world.class_ / "eve" / "05_demo.ipynb")
    grading = grade_all(submissions([world.class_]))
    if step == "free":
        with pytest.raises(CourseChanged, match=r"checks\.py"):
            list(grading)
    else:
        found = {one.student: result["earned"] for one, result in grading}
        assert found == {"ada": 7, "zoe": 7, "eve": 6} and (course / "checks.py").read_text() == "everybody = 1\n"
