"""Colab and Kaggle: what a lab's first cell runs there, once it has fetched the course.

Installs what the course needs and the machine lacks, in the versions of requirements.txt. What is there stays as it is,
torch above all, which fits the machine's GPU; then this copy of the course is the one that `import labkit` finds.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_THERE = {"jupyterlab", "jupyterlab-slideshow"}  # Colab and Kaggle have a notebook of their own
AS_WELL = "pytorch-metric-learning"  # what labs compare with; elsewhere it comes with the tests


def installed(name):
    """The version of a package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def missing():
    """What the course needs and is not there: ["name==version"], as requirements.txt has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [re.match(r"[\w-]+", text).group() for text in project["dependencies"]] + [AS_WELL]
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = {pin.split("==")[0]: pin for pin in pins}
    return [pinned[name] for name in needed if name not in NOT_THERE and not installed(name)]


def prepare():
    """Install what is missing, and have this course imported. SystemExit where the packages cannot be installed."""
    if wanted := missing():
        kept = [f"{name}=={installed(name)}" for name in ("torch", "torchvision", "numpy") if installed(name)]
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder, "kept.txt")
            constraints.write_text("\n".join(kept), encoding="utf-8")
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
            if subprocess.call([*pip, *wanted]):
                sys.exit("The packages could not be installed; on Kaggle, switch on Internet in the settings.")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


if __name__ == "__main__":
    prepare()
