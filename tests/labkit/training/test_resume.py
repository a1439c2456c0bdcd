"""Resume: an interrupted run goes on exactly; another run is refused; a killed one loses nothing."""

import functools
import itertools
import math
import multiprocessing
import os
import pickle
import random
import signal
import time

import numpy as np
import pytest
import torch
from torch import nn

from labkit.data import Augment, Batches, load
from labkit.distancing import Checkpoint, DistancePenalty
from labkit.losses import ContrastiveLoss
from labkit.networks import LeNet
from labkit.training import Resume, fit, resume

fit = functools.partial(fit, progress=False, device="cpu")
EPOCHS, STEPS = 3, 6  # of a full run, and in an epoch
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    return load("digits").take(torch.arange(STEPS * 16))


@pytest.fixture(autouse=True)
def ctrl_c_works():
    """Also where the tests run in the background, for which a shell switches Ctrl-C off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


class Crash(Exception):
    """Stands for a power cut."""


class MovingLoss(nn.Module):
    """A loss with a parameter, a buffer, an update and randomness of its own; does `what` in its step number `when`."""

    def __init__(self, when=0, what=None):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("centers", torch.zeros(10, 4))
        self._when, self._what, self._count = when, what, 0

    def forward(self, embeddings, labels):
        self._count += 1
        if self._count == self._when:
            self._what()
        embeddings = embeddings + 0.1 * torch.randn_like(embeddings) + 0.1 * random.random() + 0.1 * np.random.rand()
        return (self.scale * (embeddings - self.centers[labels] - 1)).square().mean()

    def update(self, embeddings, labels):
        self.centers.index_add_(0, labels, embeddings, alpha=0.01)


def stop_button():
    signal.raise_signal(signal.SIGINT)


def power_cut():
    raise Crash


def wobbly_score(network):
    """Goes up, then down, and draws random numbers, as a validation on random pairs does."""
    return -abs(float(network[1].running_mean.sum()) - 0.1) + 1e-3 * torch.rand(()).item()


def train(images, save=None, when=0, what=None, epochs=EPOCHS, penalty=False, **options):
    """A run in which every state matters, possibly disturbed in step `when`; returns what it ended with."""
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(5)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(108, 4)
    )
    loss = MovingLoss(when, what)
    arguments = {
        "batches": Batches(images, batch_size=16, seed=2, augment=Augment(noise=0.1, shift=1)),
        "schedule": lambda optimizer, steps: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=steps),
        "validate": wobbly_score,
        "patience": EPOCHS,
        "clip": 5.0,
    }
    if penalty:
        arguments["penalty"] = DistancePenalty(Checkpoint.of(network), 5.0, 0.05, "mean", jitter=0.1)
    history = fit(network, loss, epochs=epochs, save=save, **{**arguments, **options})
    weights = torch.cat([t.flatten().double() for module in (network, loss) for t in module.state_dict().values()])
    return weights, history


def assert_same_run(one, other):
    assert torch.equal(one[0], other[0])
    for name in ("loss", "epoch_loss", "learning_rate", "metrics", "best_epoch", "images", "stopped"):
        assert getattr(one[1], name) == getattr(other[1], name), name


@pytest.fixture(scope="module")
def undisturbed(digits):
    return train(digits)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run.ckpt"


# ---- going on


@pytest.mark.parametrize("step", [1, STEPS - 1, STEPS, STEPS + 1, EPOCHS * STEPS - 1, EPOCHS * STEPS])
def test_an_interrupted_run_goes_on_bit_for_bit(step, digits, file, undisturbed):
    with pytest.raises(KeyboardInterrupt, match=rf"after step {step} of 18 .*; saved to .*run.ckpt; call fit again"):
        train(digits, Resume(file), step, stop_button)
    torch.rand(3), random.random(), np.random.rand()  # whatever happened in between
    assert_same_run(train(digits, Resume(file)), undisturbed)


@pytest.mark.parametrize("every", [None, 1, 4])
def test_a_crashed_run_goes_on_from_its_last_save(every, digits, file, undisturbed):
    with pytest.raises(Crash):
        train(digits, Resume(file, every), 2 * STEPS - 1, power_cut)
    state = resume.load(file)
    assert len(state["history"]["loss"]) == {None: STEPS, 1: 2 * STEPS - 2, 4: 8}[every]
    assert_same_run(train(digits, Resume(file)), undisturbed)


def test_several_interrupts_and_a_penalty(digits, file):
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            train(digits, Resume(file), 4, stop_button, penalty=True)  # after four more steps
    assert_same_run(train(digits, Resume(file), penalty=True), train(digits, penalty=True))


def test_a_second_ctrl_c_stops_at_once_and_leaves_the_file_as_it_was(digits, file, undisturbed):
    def press_twice():
        stop_button(), stop_button()

    with pytest.raises(KeyboardInterrupt, match=r"after step 8 of 18 \(epoch 2\); step 6 is saved to .*run.ckpt"):
        train(digits, Resume(file), 9, press_twice)
    assert_same_run(train(digits, Resume(file)), undisturbed)


def other_states():
    """Random states of another moment."""
    before = resume.random_states(CPU)
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(77)
    states = resume.random_states(CPU)
    resume.set_random_states(before, CPU)
    return states


def forget(state, part, fresh):
    """Take one part out of a file: put what a new run begins with in its place."""
    if part in ("network", "loss"):  # the modules are one, 0 and 1 in it
        number = "01"[part == "loss"]
        mine = [name for name in state["modules"] if name.startswith(number)]
        state["modules"].update({name: fresh["modules"][name] for name in mine})
    elif part in ("optimizer", "schedule"):
        state[part] = fresh[part]
    elif part in ("torch", "python", "numpy"):
        state["random"][0][part] = other_states()[part]
    elif part == "number":
        state["number"] -= 1
    elif part == "best":
        state["best"] = state["modules"]


@pytest.mark.parametrize(
    "part", ["network", "loss", "optimizer", "schedule", "torch", "python", "numpy", "number", "best"]
)
def test_a_checkpoint_without_any_one_part_would_end_elsewhere(part, digits, tmp_path):
    file, fresh, forgetful = (tmp_path / f"{name}.ckpt" for name in ("run", "fresh", "forgetful"))

    def go_on(file, *disturbed):
        scores = itertools.count(-2, -1)  # after the first epoch, in which the best weights were kept, it gets worse
        options = {"validate": lambda network: next(scores)} if part == "best" else {"patience": None}
        options |= {"schedule": None} if part == "number" else {}
        return train(digits, file and Resume(file), *disturbed, **options)

    with pytest.raises(KeyboardInterrupt):
        go_on(fresh, 1, stop_button)
    with pytest.raises(KeyboardInterrupt):
        go_on(file, STEPS + 3, stop_button)
    state = resume.load(file)
    forget(state, part, resume.load(fresh))
    torch.save(state, forgetful)
    complete, expected = go_on(file), go_on(None)
    assert torch.equal(complete[0], expected[0])
    assert not torch.equal(go_on(forgetful)[0], complete[0])


def test_all_random_states_come_back():
    random.gauss(0, 1), np.random.randn()  # leaves a second normal number in store
    states = resume.random_states(CPU)

    def draw():
        return torch.rand(2).tolist(), random.gauss(0, 1), np.random.randn(3).tolist()

    first = draw()
    resume.set_random_states(states, CPU)
    assert draw() == first


def test_other_batches_are_saved_at_the_end_of_an_epoch(digits, file):
    pairs = [(digits.floats(range(i, i + 16)), digits.labels[i : i + 16]) for i in range(0, 96, 16)]
    with pytest.raises(ValueError, match=r"every: got 2, expected None for batches that are not labkit\.data"):
        train(digits, Resume(file, every=2), batches=pairs)
    with pytest.raises(KeyboardInterrupt, match=r"after step 3 of 18 \(epoch 1\); nothing was saved to .*run.ckpt yet"):
        train(digits, Resume(file), 3, stop_button, batches=pairs)
    with pytest.raises(KeyboardInterrupt, match="step 6 is saved to"):
        train(digits, Resume(file), 9, stop_button, batches=pairs)
    assert_same_run(train(digits, Resume(file), batches=pairs), train(digits, batches=pairs))


# ---- a finished run


def test_a_finished_run_returns_at_once(digits, file, undisturbed):
    train(digits, Resume(file))
    changed = file.stat().st_mtime_ns
    assert_same_run(train(digits, Resume(file), when=1, what=power_cut), undisturbed)
    assert file.stat().st_mtime_ns == changed


def test_a_run_that_ran_out_of_patience_stays_finished(digits, file):
    options = {"schedule": None, "patience": 1}
    scores = [5.0, 4.0]
    first = train(digits, Resume(file), validate=lambda network: scores.pop(0), epochs=9, **options)
    assert first[1].stopped == "patience" and first[1].best_epoch == 1
    again = train(digits, Resume(file), 1, power_cut, validate=lambda network: 9.0, epochs=20, **options)
    assert_same_run(again, first)


def test_more_epochs_continue_a_finished_run_unless_a_schedule_makes_it_another(digits, tmp_path):
    file, scheduled = Resume(tmp_path / "run.ckpt"), Resume(tmp_path / "scheduled.ckpt")
    train(digits, file, schedule=None, epochs=2)
    assert_same_run(train(digits, file, schedule=None, epochs=4), train(digits, schedule=None, epochs=4))
    with pytest.raises(ValueError, match=r"epochs: got 1, but the run in .* is already in epoch 4"):
        train(digits, file, schedule=None, epochs=1)
    train(digits, scheduled, epochs=2)
    with pytest.raises(ValueError, match=r"another run\. epochs: it was made with 2, this call has 4"):
        train(digits, scheduled, epochs=4)


# ---- another run


def contrastive_run(images, save, **changed):
    arguments = {
        "network": LeNet(dim=4, image_size=8),
        "loss": ContrastiveLoss(),
        "batches": Batches(images, batch_size=16, steps=2),
        "epochs": 1,
        "save": save,
    }
    return fit(**{**arguments, **changed})


def sgd(**options):
    return functools.partial(torch.optim.SGD, **{"lr": 0.1, **options})


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"network": LeNet(dim=8, image_size=8)}, "modules: it was made with .*=4, .*this call has .*=8, "),
        ({"loss": ContrastiveLoss(0.5)}, r"modules: it was made with .*1.0.*this call has .*0.5"),
        ({"optimizer": sgd()}, r"optimizer: it was made with Adam \(, this call has SGD"),
        ({"lr": 2e-3}, "optimizer: it was made with lr: 0.001, this call has lr: 0.002"),
        (
            {"schedule": lambda made, steps: torch.optim.lr_scheduler.LambdaLR(made, float)},
            "schedule: it was made with None, this call has LambdaLR",
        ),
        ({"clip": 1.0}, "clip: it was made with None, this call has 1.0"),
        ({"save": {"seed": 4}}, r"run_id\.seed: it was made with 3, this call has 4"),
        ({"batches": {"seed": 1}}, r"batches\.seed: it was made with 0, this call has 1"),
        ({"batches": {"batch_size": 8}}, r"batches\.batch_size: it was made with 16, this call has 8"),
    ],
)
def test_another_run_is_refused_with_the_difference(changed, message, digits, file):
    own = {"seed": 3} if "save" in changed else {}
    contrastive_run(digits, Resume(file, run_id=own))
    if "batches" in changed:
        changed = {"batches": Batches(digits, **{"batch_size": 16, "steps": 2, **changed["batches"]})}
    save = Resume(file, run_id=changed.get("save", own))
    with pytest.raises(ValueError, match=f"(?s)run.ckpt belongs to another run. .*{message}.*or delete that one"):
        contrastive_run(digits, **{**changed, "save": save})


def test_a_network_with_other_weights_inside_is_refused(digits, file):
    class Scaled(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(64, size))

        def forward(self, images):
            return images.flatten(1) @ self.weight

    contrastive_run(digits, Resume(file), network=Scaled(2))
    with pytest.raises(ValueError, match=r"(?s)run\.ckpt belongs to another run: .*size mismatch"):
        contrastive_run(digits, Resume(file), network=Scaled(3))


# ---- the file


def test_damaged_and_foreign_files_are_named(digits, tmp_path):
    good = tmp_path / "good.ckpt"
    contrastive_run(digits, Resume(good))
    names = ("empty", "half", "text", "foreign", "code")
    empty, half, text, foreign, code = (tmp_path / f"{name}.ckpt" for name in names)
    empty.write_bytes(b"")
    half.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    text.write_text("not a checkpoint", encoding="utf-8")
    torch.save({"weights": torch.zeros(3)}, foreign)
    code.write_bytes(pickle.dumps(os.getcwd, protocol=2))
    for file, message in (
        (empty, "empty.ckpt cannot be read, it is damaged or no checkpoint .*delete the file to start anew"),
        (half, "half.ckpt cannot be read"),
        (text, "text.ckpt cannot be read"),
        (code, "code.ckpt cannot be read"),
        (foreign, "foreign.ckpt was not written by this version of fit.*delete the file"),
    ):
        with pytest.raises(ValueError, match=f"save: .*{message}"):
            contrastive_run(digits, Resume(file))


def test_a_checkpoint_cannot_run_code(file, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "caught"),))

    torch.save({"format": resume.FORMAT, "trap": Trap()}, file)
    with pytest.raises(ValueError, match="cannot be read"):
        resume.load(file)
    assert not (tmp_path / "caught").exists()


@pytest.mark.parametrize("breaks", [(torch, "save"), (os, "fsync"), (os, "replace")])
def test_a_failed_write_leaves_the_old_file(breaks, file, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    resume.save({"number": 1}, file)
    monkeypatch.setattr(*breaks, fail)
    with pytest.raises(OSError, match="No space left on device"):
        resume.save({"number": 2}, file)
    monkeypatch.undo()
    assert resume.load(file)["number"] == 1
    assert os.listdir(file.parent) == ["run.ckpt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_named_with_the_file(file, monkeypatch):
    monkeypatch.setattr("builtins.open", lambda path, mode, real=open: real("/dev/full", mode))
    with pytest.raises(OSError, match=r"the run cannot be saved: No space left on device: '.*run.ckpt'"):
        resume.save({"number": torch.zeros(10**4)}, file)


def test_numbers_of_numpy_are_written_as_pythons(digits, file):
    first = contrastive_run(digits, Resume(file), optimizer=sgd(lr=np.float64(0.01)))
    assert contrastive_run(digits, Resume(file), optimizer=sgd(lr=np.float64(0.01))).loss == first.loss


def test_what_a_killed_writer_left_is_removed_and_folders_are_made(digits, tmp_path):
    for name in (".run.ckpt.123.tmp", ".other.ckpt.123.tmp"):
        (tmp_path / name).write_bytes(b"half")
    contrastive_run(digits, Resume(tmp_path / "folder" / "new" / "run.ckpt"))
    contrastive_run(digits, Resume(tmp_path / "run.ckpt"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.ckpt.123.tmp", "folder", "run.ckpt"]


def test_checkpoint_is_short_for_resume(digits, file):
    first = contrastive_run(digits, None, checkpoint=file)
    assert resume.load(file)["history"]["loss"] == first.loss
    with pytest.raises(ValueError, match=r"checkpoint: got .* together with save, expected one of them"):
        contrastive_run(digits, Resume(file), checkpoint=file)


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"path: got the folder .*, expected the name of a file"):
        Resume(tmp_path)
    with pytest.raises(ValueError, match=r"every.*whole number of at least 1"):
        Resume("run.ckpt", every=0)


# ---- kills


def train_to_be_killed(folder):
    """What the kill test kills: a run on digits, saved after every step, whose network takes a while to write."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3000), nn.ReLU(), nn.Dropout(0.2), nn.Linear(3000, 16))
    batches = Batches(load("digits"), classes_per_batch=10, samples_per_class=3, steps=16, augment=Augment(shift=1))
    fit(network, ContrastiveLoss(), batches, 10, save=Resume(folder / "run.ckpt", every=1))


def start(target, *arguments):
    """Run `target` in a process that has imported torch before it was born."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        labkit = ["labkit.data", "labkit.losses", "labkit.networks", "labkit.training"]
        context.set_forkserver_preload([*labkit, "torch._dynamo", "sklearn.datasets", "pytest"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def wait_for(condition, process):
    while not condition() and process.is_alive():
        time.sleep(0.0002)


def test_a_run_killed_twenty_times_ends_with_the_weights_of_an_undisturbed_one(tmp_path):
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    calm.mkdir(), killed.mkdir()
    start(time.sleep, 0).join()  # starts the server
    begun = time.monotonic()
    process = start(train_to_be_killed, calm)
    wait_for((calm / "run.ckpt").exists, process)
    first_write = time.monotonic() - begun
    process.join()
    assert process.exitcode == 0
    training = time.monotonic() - begun - first_write
    expected = resume.load(calm / "run.ckpt")

    chance = random.Random(0)
    kills = hits = 0
    while kills < 20:
        process = start(train_to_be_killed, killed)
        if kills % 4 == 3:  # in the middle of a write
            wait_for(lambda: list(killed.glob("*.tmp")), process)
        else:  # at any moment, from the start-up on
            process.join(chance.uniform(0.5 * first_write, first_write + training / 12))
        process.kill()
        process.join()
        if process.exitcode == 0:  # it was done before
            (killed / "run.ckpt").unlink()
            continue
        kills += 1
        hits += bool(list(killed.glob("*.tmp")))  # the temporary file of the write that did not end
    process = start(train_to_be_killed, killed)
    process.join()
    assert process.exitcode == 0 and hits >= 1
    assert os.listdir(killed) == ["run.ckpt"]
    state = resume.load(killed / "run.ckpt")
    assert state["history"]["loss"] == expected["history"]["loss"] and len(state["history"]["loss"]) == 160
    assert math.isfinite(sum(state["history"]["loss"]))
    for name, weight in expected["modules"].items():
        assert torch.equal(state["modules"][name], weight), name
    print(f"{kills} kills, {hits} during a write; {first_write:.2f} s to the first write, {training:.2f} s of training")
