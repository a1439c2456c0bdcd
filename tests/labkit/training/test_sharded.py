"""A run shared by two processes of torchrun: the gradients, weights and losses of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sharing
import torch

from labkit.training.device import world_size

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv, which PyTorch for Windows lacks")


@pytest.fixture(scope="module")
def one():
    return sharing.in_any_number_of_processes()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What both processes found."""
    file = tmp_path_factory.mktemp("two") / "found"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*torchrun, str(Path(sharing.__file__)), str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "still connected" not in done.stdout
    assert "deprecated" not in done.stderr and "Initializing" not in done.stderr
    return [torch.load(file.with_suffix(f".{rank}"), weights_only=False) for rank in range(2)]


def distance(one, other):
    return ((one - other).norm() / other.norm()).item()


def test_two_processes_have_the_gradients_of_one(one, two):
    for number, limit in enumerate((1e-6, 1e-6, 1e-12, 1e-12)):
        for process in two:
            assert distance(process["gradients"][number], one["gradients"][number]) < limit
    assert distance(two[0]["alone"], one["gradients"][0]) > 0.1  # as it would be without gathering


@pytest.mark.parametrize("number", range(3))
def test_two_processes_train_what_one_trains(number, one, two):
    """With validation, with patience that brings the best weights back, with a penalty."""
    expected, (first, second) = one["trained"][number], [process["trained"][number] for process in two]
    assert torch.equal(first["weights"], second["weights"])
    assert distance(first["weights"], expected["weights"]) < 1e-5
    ours, theirs = first["history"], expected["history"]
    assert ours["loss"] == second["history"]["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    assert ours["metrics"].keys() == theirs["metrics"].keys()
    for name, values in theirs["metrics"].items():
        assert ours["metrics"][name] == second["history"]["metrics"][name] == pytest.approx(values, rel=1e-4)
    for name in ("steps", "stopped", "best_epoch"):
        assert ours[name] == theirs[name]
    assert 2 * ours["images"] == theirs["images"]  # each process counts its own
    assert theirs["stopped"] == ("patience" if number == 1 else "epochs")


def test_a_crashed_run_goes_on_bit_for_bit(two):
    for process in two:
        assert process["cut"] == 2  # of the second epoch of ten steps
        for run in process["resumed"]:
            assert torch.equal(run["weights"], process["calm"]["weights"])
            assert run["history"]["loss"] == process["calm"]["history"]["loss"]


def test_each_process_has_its_own_dropout(two):
    assert 0.2 < two[0]["dropout"] < 0.8


def test_what_cannot_be_shared_is_refused(two):
    pairs, norm, rest = two[0]["refused"]
    assert pairs == "batches: got list for 2 processes, expected labkit.data.Batches"
    assert norm.startswith("network: got batch normalization for 2 processes") and "SyncBatchNorm" in norm
    assert rest.startswith("world_size: got 2, expected a number that divides the 33 images")


def test_without_torchrun_there_is_one_process():
    assert world_size() == 1
