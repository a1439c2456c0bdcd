"""steps, the loop that a student reads: what it computes, and how much there is to read."""

import ast
import copy
import itertools
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

import labkit
from labkit import evaluation, training
from labkit.data import Batches, load
from labkit.losses import ContrastiveLoss, TripletLoss
from labkit.networks import LeNet
from labkit.training import loop, steps

FOLDER = Path(labkit.__file__).parent


@pytest.fixture(scope="module")
def digits():
    return load("digits").take(torch.arange(200))


def made(lr=0.1, seed=0):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    return network, torch.optim.SGD(network.parameters(), lr=lr)


def weights(module):
    return torch.cat([tensor.detach().flatten().double() for tensor in module.state_dict().values()])


# ---- what it computes


def test_the_caller_decides_when_it_ends_and_the_network_is_in_training_mode_at_every_step(digits):
    network, optimizer = made()
    modes = []
    network.register_forward_pre_hook(lambda module, inputs: modes.append(module.training))
    before = weights(network)
    for number, _ in enumerate(steps(network, ContrastiveLoss(), Batches(digits, batch_size=40), optimizer)):
        network.eval()
        assert not torch.equal(weights(network), before)
        before = weights(network)
        if number == 11:  # in the third epoch
            break
    assert modes == [True] * 12


def test_it_begins_where_it_is_told_to(digits):
    batches = Batches(digits, batch_size=40, seed=2)
    (whole, optimizer), (halves, other) = made(), made()
    list(steps(whole, ContrastiveLoss(), batches, optimizer, epochs=2))
    list(itertools.islice(steps(halves, ContrastiveLoss(), batches, other), 7))
    rest = list(steps(halves, ContrastiveLoss(), batches, other, start=(1, 2), epochs=2))
    assert [(step.epoch, step.number) for step in rest] == [(1, 2), (1, 3), (1, 4)]
    assert torch.equal(weights(halves), weights(whole))


def test_images_come_to_the_network(digits):
    network, optimizer = made()
    network.double()
    pairs = [(digits.floats(range(20)), digits.labels[:20])]  # float32
    assert next(steps(network, ContrastiveLoss(), pairs, optimizer)).loss.dtype == torch.float64


def test_an_epoch_without_a_batch_is_an_error():
    network, optimizer = made()
    with pytest.raises(ValueError, match="batches: got none in epoch 1, expected some anew in every epoch"):
        next(steps(network, ContrastiveLoss(), [], optimizer))


class Updated(nn.ModuleDict):
    """A loss that inherits an `update` which is no hook, and may have one of its own."""

    def forward(self, embeddings, labels):
        return embeddings.square().mean()


class Hooked(Updated):
    def update(self, embeddings, labels):
        self.seen = embeddings.requires_grad, torch.is_grad_enabled(), labels.shape


def test_only_a_losss_own_update_is_called(digits):
    for loss in (Updated(), hooked := Hooked()):
        network, optimizer = made()
        next(steps(network, loss, Batches(digits, batch_size=40), optimizer))
    assert hooked.seen == (False, False, (40,))


def test_it_is_the_loop_that_people_write(digits):
    """images -> embeddings -> loss -> gradients -> step, with clipping and a schedule."""
    batches = Batches(digits, classes_per_batch=5, samples_per_class=4, seed=3)
    network, optimizer = made()
    other = copy.deepcopy(network)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    found = list(steps(network, TripletLoss(), batches, optimizer, schedule, clip=0.3, epochs=1))
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    for step, (images, labels) in zip(found, batches.iterate(0), strict=True):
        assert step.rate == optimizer.param_groups[0]["lr"]
        loss = TripletLoss()(other(images), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(other.parameters(), 0.3)
        optimizer.step()
        schedule.step()
        assert step.loss == loss and not step.loss.requires_grad and step.images == len(labels)
    assert torch.equal(weights(network), weights(other))


# ---- how much there is to read


def test_the_loop_has_at_most_eighty_lines():
    assert len(Path(loop.__file__).read_text(encoding="utf-8").splitlines()) <= 80


def lines_entered(run, folder):
    """{file: lines, docstrings included, of the functions in the folder that `run()` enters}."""
    entered = set()

    def trace(frame, event, argument):
        if event == "call" and Path(frame.f_code.co_filename).is_relative_to(folder):
            entered.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    for each in (sys, threading):  # of this thread, and of those that it starts
        each.setprofile(trace)
    try:
        run()
    finally:
        for each in (sys, threading):
            each.setprofile(None)
    found = {}
    for file in sorted({file for file, _ in entered}):
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        starts = [(min([node.lineno, *(d.lineno for d in node.decorator_list)]), node) for node in functions]
        spans = [set(range(start, node.end_lineno + 1)) for start, node in starts if (file, start) in entered]
        found[Path(file).relative_to(folder).as_posix()] = len(set().union(*spans))
    return found


def lab_04():
    """Two epochs of digits as in lab 04: P×K batches, triplet loss, closest accuracy, then pairs of the same digit."""
    train, test = load("digits"), load("digits", "test")
    batches = Batches(train, classes_per_batch=10, samples_per_class=8)
    network = LeNet(image_size=8)
    training.fit(network, TripletLoss(), batches, epochs=2, validate=training.closest(train, test))
    embeddings = training.embed(network, test)
    first, second, same = evaluation.verification_pairs(test.labels, 500)
    evaluation.verification(embeddings[first], embeddings[second], same)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="counts what a run on a CPU enters")
def test_how_many_lines_a_run_of_lab_04_enters(capfd):
    found = lines_entered(lab_04, FOLDER)
    ours = sum(lines for file, lines in found.items() if file.startswith("training/"))
    print(f"training {ours}, in all {sum(found.values())}: {found}")
    assert ours <= 200, found
    assert sum(found.values()) <= 750, found
