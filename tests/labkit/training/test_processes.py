"""Several processes: the same gradients as one, and everything that fit does otherwise too."""

import atexit
import functools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning_fabric
import pytest
import torch
from kernels import kernel
from torch import nn
from torch.multiprocessing import ProcessRaisedException

from labkit import training
from labkit.data import Batches, load
from labkit.losses import ContrastiveLoss, TripletLoss
from labkit.networks import LeNet
from labkit.training import device as running

fit = functools.partial(training.fit, progress=False, device="cpu")
sgd = functools.partial(torch.optim.SGD, lr=0.05)
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork; the tests of scripts run there")


@pytest.fixture(autouse=True)
def no_prompt(monkeypatch):
    """An IPython shell that another test has made leaves a prompt in sys, as if this were a notebook."""
    monkeypatch.delattr(sys, "ps1", raising=False)


@pytest.fixture(autouse=True)
def ctrl_c_works():
    """Also where the tests run in the background, for which a shell switches Ctrl-C off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def forked(monkeypatch):
    """Makes fit believe that it is in a notebook, where processes are forked: seconds quicker than new ones."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def digits():
    return load("digits").take(torch.arange(320))


def vector(tensors) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten().double() for tensor in tensors])


def weights(module: nn.Module) -> torch.Tensor:
    return vector(module.state_dict().values())


class GradientKeeper(torch.optim.SGD):
    """An optimizer that writes the gradients of its first parameters into a file and changes nothing."""

    def __init__(self, parameters, file):
        super().__init__(parameters, lr=0.0)
        self.file = file

    def step(self):
        if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
            torch.save(vector(p.grad for p in self.param_groups[0]["params"]), self.file)


def gradient(file, images, processes, dtype=torch.float32, loss=None, sampling=None) -> torch.Tensor:
    torch.manual_seed(0)
    network = LeNet(dim=16, image_size=8).to(dtype)
    batches = Batches(images, **(sampling or {"batch_size": 32}), steps=1)
    loss = loss or TripletLoss(margin=1.0)
    fit(network, loss, batches, 1, optimizer=functools.partial(GradientKeeper, file=file), processes=processes)
    return torch.load(file, weights_only=True)


def distance(one, other) -> float:
    return ((one - other).norm() / other.norm()).item()


# ---- gradients


@needs_fork
@pytest.mark.parametrize("dtype, limit", [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("sampling", [{"batch_size": 32}, {"classes_per_batch": 8, "samples_per_class": 4}])
def test_two_processes_have_the_gradient_of_one(dtype, limit, sampling, forked, digits, tmp_path):
    one = gradient(tmp_path / "one", digits, None, dtype, sampling=sampling)
    two = gradient(tmp_path / "two", digits, 2, dtype, sampling=sampling)
    assert distance(two, one) < limit


@needs_fork
def test_without_gathering_the_gradient_is_another_one(forked, digits, tmp_path, monkeypatch):
    one = gradient(tmp_path / "one", digits, None)
    monkeypatch.setattr(lightning_fabric.Fabric, "all_gather", lambda self, data, sync_grads=False: data[None])
    assert distance(gradient(tmp_path / "two", digits, 2), one) > 0.1


@needs_fork
def test_gathering_without_gradients_gives_half_of_it(forked, digits, tmp_path, monkeypatch):
    def own_slice_only(self, data, sync_grads=False):
        gathered = gather(self, data.detach())
        gathered[self.global_rank] = data
        return gathered

    one = gradient(tmp_path / "one", digits, None)
    gather = lightning_fabric.Fabric.all_gather
    monkeypatch.setattr(lightning_fabric.Fabric, "all_gather", own_slice_only)
    assert distance(2 * gradient(tmp_path / "two", digits, 2), one) < 1e-6


# ---- training


class MovingLoss(nn.Module):
    """A loss with a parameter, a buffer and an update."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("centers", torch.zeros(10, 4))

    def forward(self, embeddings, labels):
        return (self.scale * (embeddings - self.centers[labels] - 1)).square().mean()

    def update(self, embeddings, labels):
        self.centers.index_add_(0, labels, embeddings, alpha=0.01)


class CrashInEpoch2(MovingLoss):
    def forward(self, embeddings, labels):
        if self.training and self._steps == 14:
            raise RuntimeError("power cut")
        self._steps += 1
        return super().forward(embeddings, labels)

    _steps = 0


CrashInEpoch2.__name__ = "MovingLoss"  # to a checkpoint, it is the same loss


def train(images, processes, loss=None, dropout=0.0, **options):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 4))
    loss = loss or MovingLoss()
    sampling = {"classes_per_batch": 8, "samples_per_class": 4}
    arguments = {"optimizer": sgd, "clip": 1.0, "processes": processes, "epochs": 3, **options}
    history = fit(network, loss, Batches(images, **sampling, seed=4), **arguments)
    return weights(network), weights(loss), history


@needs_fork
def test_two_processes_train_what_one_trains_and_so_they_do_again(forked, digits):
    options = {"validate": lambda network: -float(network[1].weight.sum()), "patience": 5}
    one = train(digits, None, **options)
    for _ in range(2):
        two = train(digits, 2, **options)
        assert distance(two[0], one[0]) < 1e-5 and distance(two[1], one[1]) < 1e-5
        assert two[2].loss == pytest.approx(one[2].loss, rel=1e-5)
        assert two[2].metrics["metric"] == pytest.approx(one[2].metrics["metric"], rel=1e-4)
        assert (two[2].steps, two[2].images, two[2].stopped) == (one[2].steps, one[2].images, "epochs")


@needs_fork
def test_the_best_weights_come_back_from_two_processes(forked, digits):
    first = train(digits, 2, epochs=1)
    best = train(digits, 2, validate=lambda network: -float(network[1].weight.norm()), patience=1)
    assert best[2].stopped == "patience" and best[2].best_epoch == 1
    assert torch.equal(best[0], first[0]) and torch.equal(best[1], first[1])


@needs_fork
def test_a_crashed_run_of_two_processes_goes_on_bit_for_bit(forked, digits, tmp_path):
    file = tmp_path / "run.ckpt"
    calm = train(digits, 2, dropout=0.3)
    with pytest.raises(ProcessRaisedException, match="power cut"):
        train(digits, 2, CrashInEpoch2(), dropout=0.3, checkpoint=file, checkpoint_every=3)
    assert torch.load(file, weights_only=True)["step"] == 2  # of the second epoch of ten steps
    with pytest.raises(ValueError, match="processes: the checkpoint was made with 2, this call has 1"):
        train(digits, 1, dropout=0.3, checkpoint=file)
    again = train(digits, 2, dropout=0.3, checkpoint=file)
    finished = train(digits, 2, dropout=0.3, checkpoint=file)
    for run in (again, finished):
        assert torch.equal(run[0], calm[0]) and torch.equal(run[1], calm[1]) and run[2].loss == calm[2].loss


def press_ctrl_c(network, times, wait):
    """A `validate` that interrupts the process which called fit."""
    for _ in range(times):
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(wait)
    return 0.0


@needs_fork
def test_ctrl_c_reaches_all_processes(forked, digits, tmp_path):
    file = tmp_path / "run.ckpt"
    before = signal.getsignal(signal.SIGINT)
    interrupting = functools.partial(press_ctrl_c, times=1, wait=0.5)
    message = r"stopped after step 10 of 30 \(epoch 2\); saved to .*run.ckpt; call fit again"
    with pytest.raises(KeyboardInterrupt, match=message):
        train(digits, 2, dropout=0.3, checkpoint=file, validate=interrupting)
    assert signal.getsignal(signal.SIGINT) is before
    calm = train(digits, 2, dropout=0.3, validate=len)
    resumed = train(digits, 2, dropout=0.3, checkpoint=file, validate=len)
    assert torch.equal(resumed[0], calm[0]) and torch.equal(resumed[1], calm[1])


@needs_fork
def test_a_second_ctrl_c_ends_all_processes_at_once(forked, digits):
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="stopped at once"):
        train(digits, 2, validate=functools.partial(press_ctrl_c, times=2, wait=3))
    for process in multiprocessing.active_children():
        process.join(20)
    assert not multiprocessing.active_children() and time.monotonic() - begun < 30


class HalvesDiffer(nn.Module):
    """The share of numbers that the two processes' halves of the batch have in common."""

    def forward(self, embeddings, labels):
        one, other = embeddings.detach().chunk(2)
        return (one == other).double().mean() + 0 * embeddings.sum()


@needs_fork
def test_each_process_has_its_own_dropout(forked):
    network = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5))
    same_images = SharedPairs([(torch.ones(8, 8), torch.zeros(8, dtype=torch.int64))])
    [shared] = fit(network, HalvesDiffer(), same_images, 1, processes=2).loss
    assert 0.2 < shared < 0.8


class SharedPairs(list):
    """Batches of our own that know how to give each process its slice."""

    def share(self, rank, world_size):
        return [tuple(tensor.chunk(world_size)[rank] for tensor in pair) for pair in self]


# ---- what is refused


@needs_fork
def test_what_cannot_be_shared_is_refused(forked, digits):
    pairs = [(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))]
    network = LeNet(image_size=8)
    with pytest.raises(
        ValueError, match=r"batches: got list for 2 processes, expected labkit.data.Batches or something"
    ):
        fit(network, ContrastiveLoss(), pairs, 1, processes=2)
    with pytest.raises(ValueError, match="world_size: got 3, expected a number that divides the 32 images"):
        fit(network, ContrastiveLoss(), Batches(digits, batch_size=32), 1, processes=3)
    with pytest.raises(ValueError, match="device: got 'cpu:0' with processes=2, expected 'cpu' without a number"):
        fit(network, ContrastiveLoss(), Batches(digits, batch_size=32), 1, processes=2, device="cpu:0")


def test_what_cannot_be_sent_to_a_new_process_is_named(digits):
    batches = Batches(digits, batch_size=32)
    with pytest.raises(ValueError, match=r"optimizer: cannot be sent to other processes .*functools.partial"):
        fit(LeNet(image_size=8), ContrastiveLoss(), batches, 1, processes=2, optimizer=lambda parameters: None)


def test_notebooks_fork_and_scripts_spawn(monkeypatch):
    network = LeNet()
    assert running.place(network, "cpu", "auto", None) == running.Place(torch.device("cpu"), "32-true", 1, "here")
    assert running.place(network, "cpu", "auto", 2).start == "spawn"
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    if sys.platform != "win32":
        assert running.place(network, "cpu", "auto", 2).start == "fork"


# ---- scripts, torchrun, notebooks

SCRIPT = """
import atexit, contextlib, functools, glob, sys, torch
from labkit import data, losses, networks, training

def threads():
    names = []
    for name in glob.glob("/proc/self/task/*/comm"):  # only Linux has it
        with contextlib.suppress(OSError):  # the thread has ended meanwhile
            names.append(open(name).read())
    return names

@atexit.register  # runs last, as the one that was registered first
def connected():
    if torch.distributed.is_initialized() or any("gloo" in name for name in threads()):
        print("still connected", threads())

def main(processes):
    torch.manual_seed(0)
    network = networks.LeNet(dim=8, image_size=8)
    batches = data.Batches(data.load("digits"), batch_size=40, steps=5)
    history = training.fit(network, losses.ContrastiveLoss(), batches, 2, processes=processes, device="cpu",
                           optimizer=functools.partial(torch.optim.SGD, lr=0.1))
    # the end of the line with it, because torchrun leaves standard output unbuffered and both processes write there
    sys.stdout.write(f"{history.steps} steps, {network.embedding.weight.double().norm():.10f}\\n")

if __name__ == "__main__":
    for argument in sys.argv[1:]:
        main(int(argument) or None)
"""


def run_script(folder, *command) -> subprocess.CompletedProcess:
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_a_script_trains_in_new_processes(tmp_path, capsys):
    done = run_script(tmp_path, sys.executable, "script.py", "2")
    assert done.returncode == 0, done.stderr
    exec(SCRIPT.replace("__main__", "never"), in_one_process := {})
    atexit.unregister(in_one_process["connected"])  # which is for the end of a script
    in_one_process["main"](1)
    one, two = capsys.readouterr().out, done.stdout
    assert "still connected" not in two
    assert two.startswith("10 steps") and float(two.split()[-1]) == pytest.approx(float(one.split()[-1]), rel=1e-6)
    bars = re.split(r"[\r\n]+", done.stderr)  # nothing else there
    assert all(line == "" or line.startswith("epoch ") for line in bars)
    assert any("10/10" in line and "images/s" in line for line in bars)


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv, which PyTorch for Windows lacks")
def test_torchrun_is_noticed(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = run_script(tmp_path, *torchrun, "script.py", "0")
    assert done.returncode == 0, done.stderr
    assert "still connected" not in done.stdout
    one, other = done.stdout.splitlines()  # each process has the trained network
    assert one == other and one.startswith("10 steps")
    assert "deprecated" not in done.stderr and "Initializing" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_no_process_outlives_a_killed_caller(tmp_path):
    endless = SCRIPT.replace(", 2, processes", ", 10**6, checkpoint='run.ckpt', processes")
    (tmp_path / "script.py").write_text("import sys\nsys.ps1 = '>>> '\n" + endless, encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    caller = subprocess.Popen(
        [sys.executable, "script.py", "2"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    wait_until((tmp_path / "run.ckpt").exists)
    children = Path(f"/proc/{caller.pid}/task/{caller.pid}/children").read_text(encoding="utf-8").split()
    caller.kill()
    caller.wait()
    assert len(children) == 2
    wait_until(lambda: not any(Path("/proc", child, "exe").exists() for child in children))


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@needs_fork
def test_a_notebook_trains_in_two_processes_twice_and_stops_them(tmp_path):
    with kernel(tmp_path) as run_cell:
        setup = SCRIPT.split("if __name__")[0]
        assert run_cell(setup + "torch.rand(300, 300) @ torch.rand(300, 300); main(1)")[-1][0] == "stream"
        for _ in range(2):
            outputs = run_cell("main(2)")
            assert [kind for kind, _ in outputs] == ["display_data", "stream"], outputs
            (_, bar), (_, printed) = outputs
            assert bar["data"]["text/plain"].startswith("epoch 1/2:   0%|")
            assert printed["name"] == "stdout" and printed["text"].startswith("10 steps")
        outputs = run_cell(
            "network, images = networks.LeNet(image_size=8), data.load('digits')\n"
            "training.fit(network, losses.ContrastiveLoss(), data.Batches(images, batch_size=40), 1000, processes=2,\n"
            "             device='cpu', optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01))",
            stop_button=True,
        )
        assert [kind for kind, _ in outputs] == ["display_data", "error"], outputs
        error = outputs[1][1]
        assert error["ename"] == "KeyboardInterrupt"
        assert re.match(r"stopped after step \d+ of 33000 .*; nothing was saved, as checkpoint=None", error["evalue"])
        assert run_cell("1 + 1")[0][1]["data"]["text/plain"] == "2"
