"""labkit doctor --gpu: the same command at tiny size on the CPU; what it does when a part fails or takes too long."""

import json
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from course import doctor
from course.cli import main
from tools import gpu


def test_everything_runs_at_tiny_size_and_is_kept_in_one_record(tmp_path):
    path = tmp_path / "gpu.json"
    assert doctor.try_gpu(["--device", "cpu", "--tiny", "--record", str(path)]) == 0
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert {"date", "device", "python", "torch"} <= set(kept["about"])
    assert list(kept["parts"]) == list(gpu.PARTS)
    assert all(gpu.is_sound(name, found, tiny=True) for name, found in kept["parts"].items())
    rows = {name: found["rows"] for name, found in kept["parts"].items()}
    [tests] = rows["tests"]
    assert tests["failed"] == [] and tests["passed"] + tests["skipped"] > 10
    assert torch.cuda.is_available() or tests["passed"] == 0  # only those that need a GPU were taken
    assert all(row["ratio"] > 0 and "1024" not in row["name"] for row in rows["losses"])
    assert len(rows["input pipeline"]) == 2
    assert [row["at a time"] for row in rows["training"]] == [1, 2, 2]
    assert {row["seed"] for row in rows["training"]} == {0, 1, 2} and all(row["seconds"] for row in rows["training"])


def test_a_part_that_takes_too_long_is_ended_and_said(monkeypatch):
    monkeypatch.setattr(gpu, "PARTS", {name: gpu.PARTS[name] for name in ("losses", "training")})
    found = dict(gpu.measure("cpu", tiny=True, limit=1))
    assert [part["wrong"] for part in found.values()] == ["ended after 1 s, which was its time"] * 2
    assert not any(gpu.is_sound(name, part) for name, part in found.items())
    assert "0 runs" in gpu.line("training", found["training"]) and "its time" in gpu.line("training", found["training"])


def test_a_part_that_fails_is_said(monkeypatch):
    monkeypatch.setattr(gpu, "PARTS", {"nowhere": (None, 30)})
    [(name, found)] = gpu.measure("cpu", tiny=True)
    assert name == "nowhere" and found["wrong"].startswith("ended with status 1") and not gpu.is_sound(name, found)


def test_a_failed_test_is_not_sound():
    row = {"passed": 3, "skipped": 0, "failed": ["tests.labkit.test_x::test_y"]}
    assert not gpu.is_sound("tests", {"seconds": 1.0, "rows": [row]})
    diverged = {"seconds": 1.0, "rows": [{"failed": "the embeddings are not finite numbers"}]}
    assert not gpu.is_sound("training", diverged) and gpu.is_sound("training", diverged, tiny=True)
    assert "3 passed, 1 failed" in gpu.line("tests", {"seconds": 1.0, "rows": [row]})


def test_the_tests_that_need_a_gpu_are_known_by_what_they_say():
    def mark(reason):
        return SimpleNamespace(kwargs={"reason": reason})

    assert all(map(gpu._needs_a_gpu, map(mark, ("no CUDA", "needs a GPU", "needs a CUDA device"))))
    assert not any(map(gpu._needs_a_gpu, map(mark, ("needs a machine without a GPU", "no Chromium", ""))))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_so(capfd):
    assert doctor.try_gpu([]) == 1
    assert "there is no GPU that torch can use" in capfd.readouterr().err


def test_a_hand_out_has_no_tests_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    done = CliRunner().invoke(main, ["doctor", "--gpu"])
    assert done.exit_code == 1 and "expected its whole repository" in done.output
