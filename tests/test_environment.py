"""The pins: exact, complete, free of any registry's address, installed as written, covering all that is imported."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
BROUGHT_BY_TORCH = re.compile(r"(nvidia|cuda|triton)\b")  # CUDA libraries, pinned exactly by torch's own metadata


def lines():
    return (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()


def pins():
    """name -> Requirement, for this platform."""
    every = [Requirement(line) for line in lines()]
    return {canonicalize_name(pin.name): pin for pin in every if pin.marker is None or pin.marker.evaluate()}


def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [Requirement(text) for text in project["dependencies"] + extras["test"] + extras["site"]]


def test_every_line_is_an_exact_version_and_nothing_else():
    wrong = [line for line in lines() if not re.fullmatch(r"[A-Za-z0-9._-]+==[^ ;]+( ; .+)?", line)]
    assert not wrong


def test_one_version_of_each_package_for_all_platforms():
    names = [Requirement(line).name for line in lines()]
    assert sorted(names) == sorted(set(names))


def test_no_file_of_the_environment_holds_an_address_or_an_index():
    for name in (
        "requirements.txt",
        "requirements.lock",
        "installer.lock",
        "environment.yml",
        "pyproject.toml",
        "lab.py",
        ".ci/run",
        ".ci/install",
        ".binder/postBuild",
        ".devcontainer/devcontainer.json",
        "Dockerfile",
    ):
        text = (ROOT / name).read_text(encoding="utf-8")
        text = re.sub(r'^Repository = "https://github\.com/[\w.-]+/[\w.-]+"$', "", text, flags=re.MULTILINE)
        assert not re.search(r"://|index|find.links|^-[fi] ", text, re.MULTILINE), name


def locked(name):
    """Requirement -> its hashes, as a file with hashes has them."""
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text(encoding="utf-8").replace("\\\n", "\n").strip())
    return {first.strip(): [line.strip() for line in rest] for first, *rest in map(str.splitlines, entries)}


def test_what_is_installed_by_hash_is_what_is_pinned():
    """requirements.lock has every line of requirements.txt, and what torch brings on Linux; each with its hashes."""
    lock = locked("requirements.lock")
    assert set(lines()) <= set(lock)
    assert not [line for line in set(lock) - set(lines()) if not BROUGHT_BY_TORCH.match(line)]
    installer = locked("installer.lock")
    assert [Requirement(line).name for line in installer] == ["uv"]
    every = [*lock.values(), *installer.values()]
    assert all(hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes) for hashes in every)


def test_the_pins_lie_in_the_declared_ranges():
    pinned = pins()
    for requirement in declared():
        pin = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(next(iter(pin.specifier)).version), str(requirement)


def test_ranges_admit_the_oldest_torch_that_is_promised():
    ranges = {r.name: r.specifier for r in declared()}
    assert ranges["torch"].contains("2.11.0") and not ranges["torch"].contains("2.10.0")
    assert ranges["torchvision"].contains("0.26.0")


def test_what_is_installed_is_what_is_pinned():
    wrong = {name: version(name) for name, pin in pins().items() if not pin.specifier.contains(version(name))}
    assert not wrong


def test_every_indirect_package_is_pinned_too():
    """The requirements of each pinned package are pinned: the closure is complete."""
    pinned, missing = pins(), set()
    extras = {name: {""} | set(pin.extras) for name, pin in pinned.items()}
    todo = list(pinned)
    while todo:
        name = todo.pop()
        for text in distribution(name).requires or ():
            need = Requirement(text)
            wanted = any(need.marker is None or need.marker.evaluate({"extra": extra}) for extra in extras[name])
            needed = canonicalize_name(need.name)
            if not wanted or BROUGHT_BY_TORCH.match(needed):
                continue
            if needed not in pinned:
                missing.add(f"{needed} (for {name})")
            elif not set(need.extras) <= extras[needed]:
                extras[needed] |= set(need.extras)
                todo.append(needed)
    assert not missing


def test_conda_installs_the_same_list():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    pip = [entry for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == [{"pip": ["-r requirements.txt", "-e ."]}]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert sorted(re.split("[=<>]", entry)[0] for entry in conda) == ["pip", "python"]
    python = next(entry for entry in conda if entry.startswith("python"))
    assert python.split("=")[1] in ("3.11", "3.12", "3.13")


def imported(path):
    """Top-level names of the absolute imports in a Python file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


FOLDERS = {
    "labkit": "dependencies",
    "experiments": "dependencies",
    "course": "dependencies",
    "tools": "test",
    "tests": "test",
}


@pytest.mark.parametrize(("folder", "group"), FOLDERS.items())
def test_whatever_is_imported_is_declared(folder, group):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = project["dependencies"] + (project["optional-dependencies"]["test"] if group == "test" else [])
    # What comes with a declared package and is part of its interface.
    through = {"scikit-learn": {"scipy"}, "ipykernel": {"ipython", "jupyter-client"}, "jupyterlab": {"jupyter-server"}}
    through["ipywidgets"] = {"traitlets"}
    names = {canonicalize_name(Requirement(text).name) for text in texts}
    names |= {other for name in names for other in through.get(name, ())}
    own = {*FOLDERS, *(path.stem for path in (ROOT / "tests" / "support").glob("*.py"))}
    homes, files = packages_distributions(), list((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        for module in set(imported(path)) - own - sys.stdlib_module_names:
            distributions = {canonicalize_name(name) for name in homes.get(module, [module])}
            assert distributions & names, f"{path.name} imports {module}, which pyproject.toml does not declare"


def test_a_copy_that_is_installed_has_every_package_and_what_the_browser_is_sent():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    modules = [file.parent for top in ("labkit", "course", "experiments") for file in (ROOT / top).rglob("*.py")]
    folders = {folder.relative_to(ROOT).as_posix().replace("/", ".") for folder in modules}
    assert set(setuptools["packages"]) == folders - {"course.site"}, "hand-outs have no site"
    sent = [*(ROOT / "labkit").rglob("*.js"), *(ROOT / "course" / "slides").rglob("*.js")]
    data = setuptools["package-data"]
    found = {file for package, patterns in data.items() for pattern in patterns
             for file in (ROOT / package.replace(".", "/")).glob(pattern)}  # fmt: skip
    assert sent and set(sent) <= found


def test_lab_script_needs_the_standard_library_alone():
    assert set(imported(ROOT / "lab.py")) <= set(sys.stdlib_module_names)


def test_torchvision_fits_torch():
    """A torchvision of another build of torch imports only until its first operator is called."""
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0]


def test_importing_labkit_is_quick():
    """No plotting, widget, vision or learning library is loaded before it is used."""
    code = (
        "import sys; import labkit, labkit.data, labkit.losses, labkit.training, labkit.evaluation, labkit.networks;"
        "print([m for m in ('matplotlib', 'ipywidgets', 'torchvision', 'sklearn', 'lightning_fabric', 'IPython')"
        " if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
