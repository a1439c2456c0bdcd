"""python lab.py mutants: do the tests notice when the code is wrong? Mutation testing of losses and what they use.

mutmut (a test dependency) makes mutants, copies of a function with one small change: a + for a -, a < for a ≤, another
constant, an argument less. A mutant is killed if a test fails with it. What survives is a change that no test notices:
a test is missing, or the change makes no difference.

Each module is mutated in a temporary copy of the tree, against its own tests: tests/labkit/losses/test_center.py for
labkit/losses/center.py. mutmut forks a process for each mutant, from one that has made all the imports; it needs Linux,
macOS or WSL. Code outside functions, and functions with decorators other than torch.no_grad, are not mutated. All runs
on the CPU: a change that only a GPU would show, such as a device left out, survives.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = (
    "losses/*.py",
    "embeddings.py",
    "centroids.py",
    "distancing.py",
    "evaluation.py",
    "neighbors.py",
)
GOAL = 0.9

# The copy gets its own settings: the course's own let pytest run the notebooks.
PYPROJECT = """\
[tool.mutmut]
source_paths = ["labkit"]
only_mutate = ["{source}"]
also_copy = ["conftest.py"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "--import-mode=importlib"]
pytest_add_cli_args_test_selection = ["{tests}"]
process_isolation = "forkserver"
debug = true
use_git_change_detection = false
timeout_constant = 10.0
timeout_multiplier = 3.0

[tool.pytest.ini_options]
pythonpath = [".", "tests/support"]
"""

# A kill must not be chance, and a failing example needs no shrinking. Torch must be warm before the processes are
# forked, as its first operations load modules. Fast tests first: one failure is enough.
CONFTEST = """\
import json
from pathlib import Path

import hypothesis
import torch

phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=phases)
hypothesis.settings.load_profile("mutants")
torch.testing.assert_close(torch.ones(1), torch.ones(1))


def pytest_collection_modifyitems(items):
    stats = Path("mutmut-stats.json")
    if stats.exists():
        seconds = json.loads(stats.read_text(encoding="utf-8"))["duration_by_test"]
        items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
"""

# Run in the copy: the names of all mutants of a file, one a line.
NAMES = """\
import sys
from pathlib import Path
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.utils.format_utils import get_mutant_name
path = Path(sys.argv[1])
for name in mutate_file_contents(str(path), path.read_text(encoding="utf-8")).mutant_names:
    print(get_mutant_name(path, name))
"""

# Run in the copy after mutmut: {name: [status, diff]} of all mutants of a file, the diff only where no test has failed.
RESULTS = """\
import json, sys
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
data = SourceFileMutationData(path=sys.argv[1])
data.load()
results = {}
for name, code in data.exit_code_by_key.items():
    status = status_by_exit_code[code]
    results[name] = status, None
    if status in ("survived", "no tests"):
        diff = get_diff_for_mutant(name, path=sys.argv[1])
        results[name] = status, f"# {name}: {status}\\n{diff}\\n"
print(json.dumps(results))
"""


@dataclass(frozen=True)
class Result:
    """What became of the mutants of one module."""

    module: str  # below labkit, without .py
    total: int  # how many mutants there are
    run: int  # how many of them were run
    survivors: dict  # name -> diff

    @property
    def killed(self):
        """How many made a test fail; one that never ends or breaks the process is killed too."""
        return self.run - len(self.survivors)


def modules(names=()):
    """The paths of the modules named (triplet or losses/triplet), below labkit; by default of those in MODULES.

    Raises ValueError for a name that is no module.
    """
    labkit = ROOT / "labkit"
    if not names:
        patterns = [path for pattern in MODULES for path in sorted(labkit.glob(pattern))]
        return [path for path in patterns if path.stem != "__init__"]
    found = []
    for name in names:
        matching = [path for path in labkit.rglob("*.py") if path.stem == name or _name(path) == name]
        if len(matching) != 1:
            raise ValueError(f"module: got {name}, expected one of {', '.join(_name(path) for path in modules())}, ...")
        found += matching
    return found


def tests_of(path):
    """Where the tests of a module lie: tests/ mirrors the packages."""
    return ROOT / "tests" / path.relative_to(ROOT).with_name(f"test_{path.stem}.py")


def measure(path, sample=None, seed=0, processes=None):
    """Runs the mutants of one module, or a random sample of them, and returns a Result.

    path: of the module. sample: how many mutants to take at most, default all; seed: which. processes: how many are run
    at a time, default one for each processor.
    Raises ValueError where mutmut cannot run, without tests, or if the tests fail without any mutant.
    """
    if sys.platform == "win32":
        raise ValueError("mutmut needs fork, which Windows does not have; it runs in WSL")
    tests = tests_of(path)
    if not tests.exists():
        raise ValueError(f"{_name(path)} has no tests of its own: there is no {tests.relative_to(ROOT)}")
    with tempfile.TemporaryDirectory(prefix="labkit-mutants-") as folder:
        copy = Path(folder)
        _copy_tree(copy, path, tests)
        source = path.relative_to(ROOT).as_posix()
        names = _python(copy, "-c", NAMES, source).split()
        chosen = names if sample is None else random.Random(seed).sample(names, min(sample, len(names)))
        results = {}
        if chosen:
            _python(copy, "-m", "mutmut", "run", "--max-children", str(processes or os.cpu_count() or 1), *chosen)
            results = json.loads(_python(copy, "-c", RESULTS, source))
    if any(results[name][0] == "not checked" for name in chosen):
        raise ValueError(f"mutmut was stopped before it had run the mutants of {_name(path)}")
    survivors = {name: results[name][1] for name in chosen if results[name][1]}
    return Result(_name(path), len(names), len(chosen), survivors)


def share(results):
    """The share of the mutants run that were killed, 1 if none was run."""
    run = sum(result.run for result in results)
    return sum(result.killed for result in results) / run if run else 1.0


def table(results):
    """Lines: for each module and for all, how many mutants there are, were run, were killed and survived."""
    layout = "{:28} {:>7} {:>6} {:>7} {:>9} {:>7}"
    yield layout.format("module", "mutants", "run", "killed", "survived", "")
    survivors = {name: diff for result in results for name, diff in result.survivors.items()}
    all_of_them = Result("all", sum(r.total for r in results), sum(r.run for r in results), survivors)
    for r in [*results, all_of_them]:
        yield layout.format(r.module, r.total, r.run, r.killed, len(r.survivors), f"{share([r]):.1%}")


def _name(path):
    return path.relative_to(ROOT / "labkit").with_suffix("").as_posix()


def _copy_tree(copy, path, tests):
    """What the tests of one module need: labkit, the tests, and settings that let mutmut run them."""
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    for folder in ("labkit", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    source = path.relative_to(ROOT).as_posix()
    settings = PYPROJECT.format(source=source, tests=tests.relative_to(ROOT).as_posix())
    # mutmut leaves out functions with decorators; without this one they give the same numbers.
    text = re.sub(r"^ *@torch\.no_grad\(\)\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (copy / source).write_text(text, encoding="utf-8")
    (copy / "pyproject.toml").write_text(settings, encoding="utf-8")
    (copy / "conftest.py").write_text(CONFTEST, encoding="utf-8")


def _python(copy, *arguments):
    """Runs Python in the copy, and returns what it printed."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # nbval and the like, which would run in every process
        "OMP_NUM_THREADS": "1",  # the mutants share the processors, and threads do not outlive a fork
        "CUDA_VISIBLE_DEVICES": "",  # nor does CUDA
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    if done.returncode:
        raise ValueError(f"mutmut could not run:\n{done.stdout[-4000:]}")
    return done.stdout
