"""What GitHub, Binder and containers read: well formed, pinned, and about files and commands that are there."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from course.cli import main as course_commands

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "custom.github-workflows-require-timeout": WORKFLOWS,
    "vendor.github-actions": ACTIONS,
    "vendor.dependabot": [GITHUB / "dependabot.yml"],
    "vendor.github-issue-forms": [GITHUB / "ISSUE_TEMPLATE" / name for name in ("sentence.yml", "check.yml")],
    "vendor.github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs():
    """(workflow's name, job's name, job) of all."""
    return [(path.stem, name, job) for path in WORKFLOWS for name, job in read(path)["jobs"].items()]


def steps():
    """(where, step) of all workflows and actions."""
    found = [(f"{workflow} {name}", step) for workflow, name, job in jobs() for step in job["steps"]]
    return found + [(path.parent.name, step) for path in ACTIONS for step in read(path)["runs"]["steps"]]


def checked(schema, *paths):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_follow_their_schema(schema):
    done = checked(schema, *SCHEMAS[schema])
    assert SCHEMAS[schema] and done.returncode == 0, done.stdout + done.stderr


def test_a_file_that_does_not_is_found(tmp_path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{uses: x, runs: y}]}}\n", encoding="utf-8")
    assert checked("vendor.github-workflows", wrong).returncode == 1


@pytest.mark.skipif(not shutil.which("actionlint"), reason="actionlint is not installed; the workflow runs it")
def test_workflows_by_actionlint():
    done = subprocess.run(["actionlint", *map(str, WORKFLOWS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_actions_are_pinned_by_their_commit():
    text = "".join(path.read_text(encoding="utf-8") for path in (*WORKFLOWS, *ACTIONS))
    used = [line for line in re.findall(r"uses: (.+)", text) if not line.startswith("./")]
    assert len(used) > 5 and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in used)
    assert len({line.split("@")[0] for line in used}) == len(set(used)), "one action in two versions"


def test_what_a_job_may_do_and_how_long():
    for path in WORKFLOWS:
        workflow = read(path)
        assert workflow["permissions"] == {"contents": "read"}
        writing = {name for name, job in workflow["jobs"].items() if "write" in job.get("permissions", {}).values()}
        assert writing <= {"publish", "withdraw"}
    for workflow, _, job in jobs():
        assert job["timeout-minutes"] <= (20 if workflow == "tests" else 90)
    for where, step in steps():
        assert "${{" not in step.get("run", ""), f"{where}: what others write must come by the environment"
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_the_matrix_is_what_is_promised():
    tests = read(GITHUB / "workflows" / "tests.yml")["jobs"]["tests"]["strategy"]["matrix"]
    systems = {*tests["os"], *(one["os"] for one in tests["include"])}
    assert systems == {"ubuntu-latest", "macos-latest", "windows-latest"}
    assert tests["python"] == ["3.11", "3.12", "3.13"]
    assert {*tests["versions"], *(one["versions"] for one in tests["include"])} == {"pinned", "oldest"}
    nightly = read(GITHUB / "workflows" / "nightly.yml")["jobs"]["everything"]["strategy"]["matrix"]
    assert set(nightly["os"]) == systems and nightly["versions"] == ["newest"]


def test_every_lab_is_in_one_share_of_the_notebooks():
    shares = read(GITHUB / "workflows" / "tests.yml")["jobs"]["notebooks"]["strategy"]["matrix"]["labs"]
    found = [path for share in shares for path in (ROOT / "notebooks").glob(f"{share}*.ipynb")]
    assert sorted(found) == sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_what_the_steps_run_is_there():
    """Files by their path; modules of Python; commands of the course."""
    lines = [line for _, step in steps() for line in step.get("run", "").splitlines()]
    paths = {word for line in lines for word in re.findall(r"(?<![\w/$.~])\.?(?:ci|github)/[\w/]+", line)}
    assert {".ci/install", ".github/publish"} <= paths
    assert all((ROOT / path).is_file() for path in paths)
    said = "\n".join(lines)
    assert all("==" in line for line in lines if "uv tool run" in line)
    commands = set(re.findall(r"-m course (\w+)|lab\.py (\w+)", said))
    known = {*course_commands.commands, "site"}  # the website's command
    assert commands and {one or other for one, other in commands} <= known


@pytest.mark.skipif(sys.platform == "win32", reason="bash scripts; GitHub runs them on Linux")
@pytest.mark.parametrize("name", [".ci/run", ".ci/install", ".github/publish", ".binder/postBuild"])
def test_scripts_are_sound_bash(name):
    path = ROOT / name
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True).returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="bash scripts; GitHub runs them on Linux")
def test_the_site_and_its_previews_are_published_side_by_side(tmp_path):
    def git(*words):
        return subprocess.run(["git", *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    def publish(*words):
        return subprocess.run(
            ["bash", str(GITHUB / "publish"), *words], cwd=tmp_path / "here", capture_output=True, text=True
        )

    def shown():
        git("--git-dir", "origin.git", "rev-parse", "gh-pages")
        return set(git("--git-dir", "origin.git", "ls-tree", "-r", "--name-only", "gh-pages").split())

    git("init", "--quiet", "--bare", "origin.git")
    git("clone", "--quiet", "origin.git", "here")
    site = tmp_path / "here" / "site"
    (site / "_static").mkdir(parents=True)
    (site / "index.html").touch()
    (site / "_static" / "old.css").touch()
    assert publish("site").returncode == 0
    assert publish("site", "preview/12").returncode == 0
    (site / "_static" / "old.css").rename(site / "_static" / "new.css")
    assert publish("site").returncode == 0
    preview = {"preview/12/index.html", "preview/12/_static/old.css"}
    assert shown() == {".nojekyll", "index.html", "_static/new.css", *preview}
    assert publish("--remove", "preview/12").returncode == 0
    assert shown() == {".nojekyll", "index.html", "_static/new.css"}
    assert git("--git-dir", "origin.git", "rev-list", "--count", "gh-pages").strip() == "1"
    for wrong in (("site", "../elsewhere"), ("site", "preview"), ("--remove",)):
        assert publish(*wrong).returncode == 2


def test_containers_use_the_pinned_packages():
    devcontainer = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    binder = (ROOT / ".binder" / "postBuild").read_text(encoding="utf-8")
    assert "RUN python lab.py" in docker  # which installs by hash
    for text in (binder, devcontainer["postCreateCommand"]):
        assert "UV_TORCH_BACKEND=cpu" in text and ".ci/install" in text
    assert "install -r requirements.txt" in (ROOT / ".ci" / "install").read_text(encoding="utf-8")
    python = re.search(r"FROM python:(3\.\d+)-slim", docker).group(1)
    assert (ROOT / ".binder" / "runtime.txt").read_text(encoding="utf-8") == f"python-{python}\n"
    assert devcontainer["image"] == f"python:{python}"


def test_one_version_and_one_address():
    version, address = project()["version"], project()["urls"]["Repository"]
    citation = read(ROOT / "CITATION.cff")
    assert citation["version"] == version and citation["repository-code"] == address
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE).group(1)
    assert newest == version
    assert address in (GITHUB / "ISSUE_TEMPLATE" / "config.yml").read_text(encoding="utf-8")


def test_the_forms_know_every_lab():
    form = read(GITHUB / "ISSUE_TEMPLATE" / "sentence.yml")
    options = next(part["attributes"]["options"] for part in form["body"] if part["type"] == "dropdown")
    labs = sorted(path.stem[:2] for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert [option[:2] for option in options[:-1]] == labs
