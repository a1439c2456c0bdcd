"""Checkpoints: an interrupted run goes on exactly; another run is refused; a killed one loses nothing."""

import copy
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
from torch.utils.data import DataLoader, Dataset

from labkit.data import Augment, Batches, load
from labkit.losses import ContrastiveLoss
from labkit.networks import LeNet
from labkit.training import fit
from labkit.training import resume as checkpoints

fit = functools.partial(fit, progress=False, device="cpu")
EPOCHS, STEPS = 3, 6  # of a full run, and in an epoch


@pytest.fixture(scope="module")
def digits():
    return load("digits").take(torch.arange(STEPS * 16))


@pytest.fixture(autouse=True)
def ctrl_c_works():
    """Also where the tests run in the background, for which a shell switches Ctrl-C off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Crash(Exception):
    """Stands for a power cut."""


class MovingLoss(nn.Module):
    """A loss with a parameter, a buffer, an update and randomness of its own; does `what` in its step number `when`."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("centers", torch.zeros(10, 4))
        self._when, self._what, self._count = 0, None, 0

    def forward(self, embeddings, labels):
        self._count += 1
        if self._count == self._when:
            self._what()
        embeddings = embeddings + 0.1 * torch.randn_like(embeddings) + 0.1 * random.random() + 0.1 * np.random.rand()
        return (self.scale * (embeddings - self.centers[labels] - 1)).square().mean()

    def update(self, embeddings, labels):
        self.centers.index_add_(0, labels, embeddings, alpha=0.01)


class NoisyDigits(Dataset):
    """Digits that look different every time, drawn from all three global generators."""

    def __init__(self, images):
        self.images, self.labels = images.floats(), images.labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        noise = torch.randn(1, 8, 8) + random.random() + np.random.rand()
        return self.images[index] + 0.1 * noise, int(self.labels[index])


def stop_button():
    signal.raise_signal(signal.SIGINT)


def power_cut():
    raise Crash


def everything(kind, images):
    """Network, loss and batches of a run in which every state matters."""
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(108, 4)
    )
    if kind == "batches":
        return network, MovingLoss(), Batches(images, batch_size=16, seed=2, augment=Augment(noise=0.1, shift=1))
    generator = torch.Generator().manual_seed(9) if kind == "loader with a generator" else None
    return network, MovingLoss(), DataLoader(NoisyDigits(images), batch_size=16, shuffle=True, generator=generator)


def wobbly_score(network):
    """Goes up, then down, and draws random numbers, as a validation on random pairs does."""
    return -abs(float(network[1].running_mean.sum()) - 0.1) + 1e-3 * torch.rand(()).item()


def train(kind, images, file=None, when=0, what=None, epochs=EPOCHS, **options):
    """A run, possibly disturbed in step `when`; returns what it ended with."""
    network, loss, batches = everything(kind, images)
    loss._when, loss._what = when, what
    arguments = {
        "schedule": lambda optimizer, steps: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=steps),
        "validate": wobbly_score,
        "patience": EPOCHS,
        "clip": 5.0,
    }
    history = fit(network, loss, batches, epochs, checkpoint=file, **{**arguments, **options})
    weights = torch.cat([t.flatten().double() for module in (network, loss) for t in module.state_dict().values()])
    return weights, history


def assert_same_run(one, other):
    assert torch.equal(one[0], other[0])
    for name in ("loss", "epoch_loss", "learning_rate", "metrics", "best_epoch", "images", "stopped"):
        assert getattr(one[1], name) == getattr(other[1], name), name


KINDS = ["batches", "loader", "loader with a generator"]


@pytest.fixture(scope="module")
def undisturbed(digits):
    return {kind: train(kind, digits) for kind in KINDS}


# ---- going on


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, STEPS - 1, STEPS, STEPS + 1, EPOCHS * STEPS - 1, EPOCHS * STEPS])
def test_an_interrupted_run_goes_on_bit_for_bit(kind, step, digits, tmp_path, undisturbed):
    file = tmp_path / "run.ckpt"
    with pytest.raises(KeyboardInterrupt, match=rf"after step {step} of 18 .*saved to .*run.ckpt; call fit again"):
        train(kind, digits, file, step, stop_button)
    torch.rand(3), random.random(), np.random.rand()  # whatever happened in between
    assert_same_run(train(kind, digits, file), undisturbed[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [None, 1, 4])
def test_a_crashed_run_goes_on_from_its_last_checkpoint(kind, every, digits, tmp_path, undisturbed):
    file = tmp_path / "run.ckpt"
    with pytest.raises(Crash):
        train(kind, digits, file, 2 * STEPS - 1, power_cut, checkpoint_every=every)
    state = torch.load(file, weights_only=True)
    assert state["epoch"] * STEPS + state["step"] == {None: STEPS, 1: 2 * STEPS - 2, 4: 8}[every]
    assert_same_run(train(kind, digits, file), undisturbed[kind])


def test_several_interrupts_in_one_run(digits, tmp_path, undisturbed):
    file = tmp_path / "run.ckpt"
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            train("loader", digits, file, 4, stop_button)  # after four more steps
    assert_same_run(train("loader", digits, file), undisturbed["loader"])


def test_resume_false_starts_anew(digits, tmp_path, undisturbed):
    file = tmp_path / "run.ckpt"
    with pytest.raises(KeyboardInterrupt):
        train("batches", digits, file, 4, stop_button)
    weights, history = train("batches", digits, file, resume=False, clip=1e-4)  # another run: nothing is compared
    assert history.steps == EPOCHS * STEPS and not torch.equal(weights, undisturbed["batches"][0])


def other_states():
    """Random states of another moment."""
    before = checkpoints.random_states(torch.device("cpu"))
    torch.manual_seed(77)
    random.seed(77)
    np.random.seed(77)
    states = checkpoints.random_states(torch.device("cpu"))
    checkpoints.set_random_states(before, torch.device("cpu"))
    return states


def forget(state, part, fresh):
    """Take one part out of a checkpoint: put what a new run begins with in its place."""
    if part in ("network", "loss", "optimizer", "schedule"):
        state[part] = fresh[part]
    elif part in ("torch", "python", "numpy"):
        state["random"][0][part] = other_states()[part]
    elif part == "loader":
        state["random"][0]["loader"] = [torch.Generator().manual_seed(1).get_state()]
    elif part == "epoch_random":
        state["epoch_random"] = [{**other_states(), "loader": state["epoch_random"][0]["loader"]}]
    elif part == "epoch_random of the loader":
        state["epoch_random"][0]["loader"] = [torch.Generator().manual_seed(1).get_state()]
    elif part == "step":
        state["step"] -= 1
    elif part == "best":
        state["best"] = {"network": state["network"], "loss": state["loss"]}


PARTS = {
    "batches": ["network", "loss", "optimizer", "schedule", "torch", "python", "numpy", "step", "best"],
    "loader": ["torch", "step", "epoch_random"],
    "loader with a generator": ["loader", "epoch_random of the loader"],
}


@pytest.mark.parametrize("kind, part", [(kind, part) for kind in KINDS for part in PARTS[kind]])
def test_a_checkpoint_without_any_one_part_would_end_elsewhere(kind, part, digits, tmp_path):
    file, fresh, forgetful = (tmp_path / f"{name}.ckpt" for name in ("run", "fresh", "forgetful"))

    def go_on(file, *disturbed):
        scores = itertools.count(-2, -1)  # after the first epoch, in which the best weights were kept, it gets worse
        options = {"validate": lambda network: next(scores)} if part == "best" else {"patience": None}
        return train(kind, digits, file, *disturbed, **options, **({"schedule": None} if part == "step" else {}))

    with pytest.raises(KeyboardInterrupt):
        go_on(fresh, 1, stop_button)
    with pytest.raises(KeyboardInterrupt):
        go_on(file, STEPS + 3, stop_button)
    state = torch.load(file, weights_only=True)
    forget(state, part, torch.load(fresh, weights_only=True))
    torch.save(state, forgetful)
    complete, expected = go_on(file), go_on(None)
    assert torch.equal(complete[0], expected[0])
    assert not torch.equal(go_on(forgetful)[0], complete[0])


# ---- a finished run


def test_a_finished_run_returns_at_once(digits, tmp_path, undisturbed):
    file = tmp_path / "run.ckpt"
    train("batches", digits, file)
    changed = file.stat().st_mtime_ns
    assert_same_run(train("batches", digits, file, when=1, what=power_cut), undisturbed["batches"])
    assert file.stat().st_mtime_ns == changed


def test_a_run_that_ran_out_of_patience_stays_finished(digits, tmp_path):
    file = tmp_path / "run.ckpt"
    options = {"schedule": None, "patience": 1}
    scores = [5.0, 4.0]
    first = train("batches", digits, file, validate=lambda network: scores.pop(0), epochs=9, **options)
    assert first[1].stopped == "patience" and first[1].best_epoch == 1
    again = train("batches", digits, file, 1, power_cut, validate=lambda network: 9.0, epochs=20, **options)
    assert_same_run(again, first)


@pytest.mark.parametrize("kind", KINDS)
def test_more_epochs_continue_a_finished_run(kind, digits, tmp_path):
    file = tmp_path / "run.ckpt"
    train(kind, digits, file, schedule=None, epochs=2)
    assert_same_run(train(kind, digits, file, schedule=None, epochs=4), train(kind, digits, schedule=None, epochs=4))


def test_other_epochs_are_refused_where_they_make_another_run(digits, tmp_path):
    file = tmp_path / "run.ckpt"
    train("batches", digits, file, epochs=2)
    with pytest.raises(ValueError, match="epochs: the checkpoint was made with 2, this call has 4"):
        train("batches", digits, file, epochs=4)
    file = tmp_path / "constant.ckpt"
    train("batches", digits, file, epochs=2, schedule=None)
    with pytest.raises(ValueError, match=r"epochs: got 1, but the run in .* is already in epoch 2"):
        train("batches", digits, file, epochs=1, schedule=None)


# ---- another run


def contrastive_run(images, file, **changed):
    arguments = {
        "network": LeNet(dim=4, image_size=8),
        "loss": ContrastiveLoss(),
        "batches": Batches(images, batch_size=16, steps=2),
        "epochs": 1,
        "checkpoint": file,
    }
    return fit(**{**arguments, **changed})


def sgd(**options):
    return functools.partial(torch.optim.SGD, **{"lr": 0.1, **options})


def decay(factor):
    return lambda optimizer, steps: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor**step)


CHANGES = {
    "a wider network": (
        {"network": LeNet(dim=8, image_size=8)},
        "network.dim: the checkpoint was made with 4, this call has 8",
    ),
    "another network": (
        {"network": nn.Sequential(nn.Flatten(), nn.Linear(64, 4))},
        "network: .* LeNet, this call has Seq",
    ),
    "a frozen layer": (
        {"network": LeNet(dim=4, image_size=8).requires_grad_(False)},
        "network.hidden.weight: .*frozen",
    ),
    "another margin": (
        {"loss": ContrastiveLoss(0.5)},
        r"loss.margin: the checkpoint was made with 1.0, this call has 0.5",
    ),
    "another loss": (
        {"loss": MovingLoss()},
        "loss: the checkpoint was made with ContrastiveLoss, this call has MovingLoss",
    ),
    "another optimizer": ({"optimizer": sgd()}, "optimizer: the checkpoint was made with Adam, this call has SGD"),
    "another rate": (
        {"optimizer": functools.partial(torch.optim.Adam, lr=2e-3, fused=True)},
        "optimizer.0.lr: the checkpoint was made with 0.001, this call has 0.002",
    ),
    "a schedule": ({"schedule": decay(0.9)}, "schedule: the checkpoint was made with None, this call has LambdaLR"),
    "clipping": ({"clip": 1.0}, "clip: the checkpoint was made with None, this call has 1.0"),
    "validation": ({"validate": len}, "validate: the checkpoint was made with False, this call has True"),
    "precision": (
        {"precision": "bf16-mixed"},
        "precision: the checkpoint was made with 'auto', this call has 'bf16-mixed'",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_run_is_refused_with_the_difference(change, digits, tmp_path):
    changed, message = CHANGES[change]
    if change == "a frozen layer":
        changed["network"].embedding.requires_grad_(True)
    file = tmp_path / "run.ckpt"
    contrastive_run(digits, file)
    network = copy.deepcopy(changed.get("network", nn.Identity()))
    with pytest.raises(ValueError, match=f"(?s)run.ckpt belongs to another run.*{message}.*resume=False"):
        contrastive_run(digits, file, **changed)
    if "network" in changed:  # and nothing was overwritten
        assert all(
            torch.equal(a, b) for a, b in zip(network.parameters(), changed["network"].parameters(), strict=True)
        )


def test_other_batches_are_refused(digits, tmp_path):
    file = tmp_path / "run.ckpt"
    contrastive_run(digits, file)
    for batches, message in (
        (
            Batches(digits, batch_size=16, steps=2, seed=1),
            "batches.seed: the checkpoint was made with 0, this call has 1",
        ),
        (
            Batches(digits, batch_size=8, steps=2),
            "batches.batch_size: the checkpoint was made with 16, this call has 8",
        ),
        (Batches(digits.take(range(95, -1, -1)), batch_size=16, steps=2), "batches.content: the checkpoint was made"),
        (Batches(digits, batch_size=16, steps=2, augment=Augment(flip=True)), "batches.augment"),
    ):
        with pytest.raises(ValueError, match=message):
            contrastive_run(digits, file, batches=batches)


def test_another_data_loader_is_refused(digits, tmp_path):
    def loader(images, **options):
        tensors = torch.utils.data.TensorDataset(images.floats(), images.labels)
        return DataLoader(tensors, **{"batch_size": 16, **options})

    file = tmp_path / "run.ckpt"
    contrastive_run(digits, file, batches=loader(digits))
    contrastive_run(digits, file, batches=loader(digits))
    for batches, message in (
        (
            loader(digits, shuffle=True),
            "sampler: the checkpoint was made with SequentialSampler, this call has RandomSampler",
        ),
        (loader(digits, batch_size=8), "batches.batch_size: the checkpoint was made with 16, this call has 8"),
        (
            loader(digits.take(range(50))),
            "batches.dataset: the checkpoint was made with TensorDataset of 96 items, this call",
        ),
        (
            loader(digits.take(range(95, -1, -1))),
            r"batches.dataset.tensors.0: .*checksum \w+, this call has .*checksum",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            contrastive_run(digits, file, batches=batches)


def test_another_constant_in_a_schedule_is_noticed(digits, tmp_path):
    file = tmp_path / "run.ckpt"
    contrastive_run(digits, file, schedule=decay(0.9))
    contrastive_run(digits, file, schedule=decay(0.9))
    with pytest.raises(ValueError, match=r"schedule.lr_lambdas.0: .*0\.9.*this call has .*0\.8"):
        contrastive_run(digits, file, schedule=decay(0.8))


# ---- the file


def test_damaged_and_foreign_files_are_named(digits, tmp_path):
    good = tmp_path / "good.ckpt"
    contrastive_run(digits, good)
    half, text, foreign, code = (tmp_path / name for name in ("half.ckpt", "text.ckpt", "foreign.ckpt", "code.ckpt"))
    half.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    text.write_text("not a checkpoint", encoding="utf-8")
    torch.save({"weights": torch.zeros(3)}, foreign)
    code.write_bytes(pickle.dumps(os.getcwd, protocol=2))
    for file, message in (
        (half, "half.ckpt cannot be read: it is damaged or no checkpoint .*resume=False"),
        (text, "text.ckpt cannot be read"),
        (code, "code.ckpt cannot be read"),
        (foreign, "foreign.ckpt was not written by this version of fit.*resume=False"),
    ):
        with pytest.raises(ValueError, match=f"checkpoint: .*{message}"):
            contrastive_run(digits, file)
        contrastive_run(digits, file, resume=False)
        contrastive_run(digits, file)


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "caught"),))

    torch.save({"format": checkpoints.FORMAT, "trap": Trap()}, tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match="cannot be read"):
        checkpoints.load(tmp_path / "run.ckpt")
    assert not (tmp_path / "caught").exists()


@pytest.mark.parametrize("breaks", ["torch.save", "os.fsync", "os.replace"])
def test_a_failed_write_leaves_the_old_file(breaks, tmp_path, monkeypatch):
    def fail(*arguments):
        if breaks == "torch.save":
            arguments[1].write(b"half of a file")
        raise OSError("no space left on device")

    file = tmp_path / "run.ckpt"
    checkpoints.save({"number": 1}, file)
    monkeypatch.setattr(
        *{"torch.save": (torch, "save"), "os.fsync": (os, "fsync"), "os.replace": (os, "replace")}[breaks], fail
    )
    with pytest.raises(OSError, match="no space"):
        checkpoints.save({"number": 2}, file)
    monkeypatch.undo()
    assert checkpoints.load(file)["number"] == 1
    assert os.listdir(tmp_path) == ["run.ckpt"]


def test_numbers_of_numpy_are_written_as_pythons(digits, tmp_path):
    file = tmp_path / "run.ckpt"
    arguments = {"optimizer": sgd(lr=np.float64(0.01)), "schedule": decay(np.float64(0.5))}
    first = contrastive_run(digits, file, **arguments)
    assert contrastive_run(digits, file, **arguments).loss == first.loss


def test_what_a_killed_writer_left_is_removed(digits, tmp_path):
    for name in (".run.ckpt.123.tmp", ".other.ckpt.123.tmp"):
        (tmp_path / name).write_bytes(b"half")
    contrastive_run(digits, tmp_path / "folder" / "new" / "run.ckpt")  # folders are made
    contrastive_run(digits, tmp_path / "run.ckpt")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.ckpt.123.tmp", "folder", "run.ckpt"]


def test_all_random_states_come_back():
    device = torch.device("cpu")
    loader = DataLoader([1, 2], shuffle=True, generator=torch.Generator().manual_seed(3))
    random.gauss(0, 1), np.random.randn()  # leaves a second normal number in store
    states = checkpoints.random_states(device, loader)

    def draw():
        own = torch.rand(2, generator=loader.generator)
        return torch.rand(2).tolist(), random.gauss(0, 1), np.random.randn(3).tolist(), own.tolist()

    first = draw()
    checkpoints.set_random_states(states, device, loader)
    assert draw() == first


# ---- kills


def train_to_be_killed(folder):
    """What the kill test kills: a run on digits, saved after every step, whose network takes a while to write."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3000), nn.ReLU(), nn.Dropout(0.2), nn.Linear(3000, 16))
    batches = Batches(load("digits"), classes_per_batch=10, samples_per_class=3, steps=16, augment=Augment(shift=1))
    fit(network, ContrastiveLoss(), batches, 10, checkpoint=folder / "run.ckpt", checkpoint_every=1)


def start(target, *arguments):
    """Run `target` in a process that has imported torch before it was born."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        labkit = ["labkit.data", "labkit.losses", "labkit.networks", "labkit.training"]
        context.set_forkserver_preload([*labkit, "torch._dynamo", "lightning_fabric", "sklearn.datasets", "pytest"])
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
    expected = torch.load(calm / "run.ckpt", weights_only=True)

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
    state = torch.load(killed / "run.ckpt", weights_only=True)
    assert state["history"]["loss"] == expected["history"]["loss"] and len(state["history"]["loss"]) == 160
    assert math.isfinite(sum(state["history"]["loss"]))
    for name, weight in expected["network"].items():
        assert torch.equal(state["network"][name], weight), name
    print(f"{kills} kills, {hits} during a write; {first_write:.2f} s to the first write, {training:.2f} s of training")
