"""fit with a penalty on the weights: where in the step it acts, in several processes, and in a resumed run."""

import functools
import signal
import sys

import pytest
import torch
from torch import nn

from labkit import training
from labkit.data import Batches, load
from labkit.distancing import Checkpoint, DistancePenalty
from labkit.losses import ContrastiveLoss

fit = functools.partial(training.fit, progress=False, device="cpu")
sgd = functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
STEPS = 5  # an epoch


@pytest.fixture(scope="module")
def digits():
    return load("digits").take(torch.arange(16 * STEPS))


@pytest.fixture(autouse=True)
def ctrl_c_works():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Stopping(ContrastiveLoss):
    """Presses the stop button in step number `when`."""

    def __init__(self, when=0):
        super().__init__()
        self._when, self._count = when, 0

    def forward(self, embeddings, labels):
        self._count += 1
        if self._count == self._when:
            signal.raise_signal(signal.SIGINT)
        return super().forward(embeddings, labels)


class Recorder:
    """A penalty that writes down the gradients which it meets, and adds `push` to them."""

    def __init__(self, push):
        self.push, self.met = push, []

    def add_gradient(self, network):
        gradients = [parameter.grad for parameter in network.parameters()]
        self.met.append(weights_of(gradients))
        torch._foreach_add_(gradients, self.push)


def weights_of(tensors):
    return torch.cat([tensor.detach().flatten().double() for tensor in tensors])


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))


def hill(network, strength="auto", **options):
    """At rest exactly on the checkpoint, so that the jitter matters."""
    return DistancePenalty(Checkpoint.of(network), strength, 0.05, "mean", jitter=0.1, **options)


def train(images, penalty=None, when=0, epochs=2, **options):
    """The weights and the losses of a run; `penalty`: network -> penalty."""
    net = network()
    batches = Batches(images, batch_size=16, seed=4)
    penalty = None if penalty is None else penalty(net)
    history = fit(net, Stopping(when), batches, epochs, optimizer=sgd, penalty=penalty, **options)
    return weights_of(net.parameters()), history.loss


def test_it_acts_between_backward_pass_and_clipping(digits):
    start = weights_of(network().parameters())
    recorder = Recorder(10.0)
    one_step = Batches(digits, batch_size=16, seed=4, steps=1)
    plain, pushed = network(), network()
    fit(plain, ContrastiveLoss(), one_step, 1, optimizer=functools.partial(torch.optim.SGD, lr=1.0))
    fit(
        pushed,
        ContrastiveLoss(),
        one_step,
        1,
        optimizer=functools.partial(torch.optim.SGD, lr=1.0),
        penalty=recorder,
        clip=0.5,
    )
    [met] = recorder.met
    torch.testing.assert_close(start - weights_of(plain.parameters()), met, rtol=1e-4, atol=1e-6)
    step = start - weights_of(pushed.parameters())
    assert step.norm().item() == pytest.approx(0.5, rel=1e-4)  # clipped with the push in it
    torch.testing.assert_close(step, 0.5 * (met + 10) / (met + 10).norm(), rtol=1e-4, atol=1e-6)


def test_it_drives_the_weights_away_and_leaves_the_losses_as_they_are(digits):
    start = weights_of(network().parameters())
    plain, losses = train(digits)
    pushed, pushed_losses = train(digits, functools.partial(hill, kappa=2.0))
    assert (pushed - start).norm() > 1.2 * (plain - start).norm()
    assert pushed_losses[0] == losses[0] and pushed_losses != losses
    none, none_losses = train(digits, functools.partial(hill, strength=0.0))
    assert torch.equal(none, plain) and none_losses == losses


@pytest.mark.parametrize("strength", ["auto", 1.0])
@pytest.mark.parametrize("step", [3, STEPS])
def test_an_interrupted_run_goes_on_bit_for_bit(strength, step, digits, tmp_path):
    file, penalty = tmp_path / "run.ckpt", functools.partial(hill, strength=strength)
    calm = train(digits, penalty)
    with pytest.raises(KeyboardInterrupt, match=f"after step {step} of 10"):
        train(digits, penalty, step, checkpoint=file)
    torch.rand(3)
    resumed = train(digits, penalty, checkpoint=file)
    assert torch.equal(resumed[0], calm[0]) and resumed[1] == calm[1]


def test_a_run_with_another_penalty_is_another_run(digits, tmp_path):
    file = tmp_path / "run.ckpt"
    train(digits, hill, epochs=1, checkpoint=file)
    for penalty, what in (
        (functools.partial(hill, seed=1), r"penalty\.seed: the checkpoint was made with 0, this call has 1"),
        (functools.partial(hill, strength=1.0), r"penalty\.strength: the checkpoint was made with 'auto'"),
        (elsewhere, r"penalty\.checkpoint 1\.1\.weight: .* checksum"),
        (None, r"penalty: the checkpoint was made with none, this call has None"),
    ):
        with pytest.raises(ValueError, match=what):
            train(digits, penalty, checkpoint=file)
    train(digits, hill, checkpoint=file)


def elsewhere(net):
    penalty = hill(net)
    penalty.checkpoints[0].tensors["1.weight"][0, 0] += 1
    return penalty


@needs_fork
def test_two_processes_train_what_one_trains(digits, monkeypatch):
    one = train(digits, hill)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)  # as in a notebook, where processes are forked
    two = train(digits, hill, processes=2)
    assert (two[0] - one[0]).norm() / one[0].norm() < 1e-5
    assert two[1] == pytest.approx(one[1], rel=1e-4)


def test_what_is_no_penalty_is_refused(digits):
    with pytest.raises(
        ValueError, match=r"^penalty: got float, expected an object with the method add_gradient\(network\)$"
    ):
        train(digits, lambda net: 0.5)
    with pytest.raises(ValueError, match=r"^network must have the parameters of the checkpoint: 0\.weight is missing"):
        train(digits, lambda net: hill(nn.Sequential(nn.Linear(2, 2))))
