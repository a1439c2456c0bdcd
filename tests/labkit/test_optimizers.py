"""labkit.optimizers against torch.optim over 100 steps, against numbers worked out by hand, and inside fit."""

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from labkit import training
from labkit.data import Batches, load
from labkit.losses import TripletLoss
from labkit.networks import LeNet
from labkit.optimizers import SGD, Adam, RAdam, RMSProp, cosine_decay, step_decay, warm_restarts
from labkit.training import resume as checkpoints

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))

# ours, torch's, options under our names, the same under torch's where they differ
PAIRS = {
    "sgd": (SGD, torch.optim.SGD, {"lr": 0.1}, {}),
    "sgd, weight decay": (SGD, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.03}, {}),
    "momentum": (SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}, {}),
    "momentum, weight decay": (SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.03}, {}),
    "nesterov": (SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, {}),
    "rmsprop": (RMSProp, torch.optim.RMSprop, {"lr": 0.003}, {}),
    "rmsprop, options": (
        RMSProp,
        torch.optim.RMSprop,
        {"lr": 0.003, "decay": 0.9, "eps": 1e-3, "weight_decay": 0.03},
        {"decay": "alpha"},
    ),
    "adam": (Adam, torch.optim.Adam, {"lr": 0.01}, {}),
    "adam, options": (
        Adam,
        torch.optim.Adam,
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.03},
        {},
    ),
    "adamw": (Adam, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.5, "decoupled": True}, {"decoupled": None}),
    "radam": (RAdam, torch.optim.RAdam, {"lr": 0.03}, {}),
    "radam, options": (
        RAdam,
        torch.optim.RAdam,
        {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.03},
        {},
    ),
    "radam, short memory": (RAdam, torch.optim.RAdam, {"lr": 0.03, "betas": (0.5, 0.5)}, {}),
}
OURS = {name: (ours, options) for name, (ours, _, options, _) in PAIRS.items()}
OURS["adam, uncorrected"] = (Adam, {"lr": 0.003, "bias_correction": False})


def translated(options, names):
    return {names.get(name, name): value for name, value in options.items() if names.get(name, name)}


def small_net(dtype=torch.float64, device="cpu"):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).to(device, dtype)


def train(network, optimizer, steps=100, first=0, schedule=None):
    """Steps on noisy minibatches, each step's drawn from a seed of its own."""
    parameter = next(network.parameters())
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn(6, 5, generator=generator, dtype=torch.float64).to(parameter)
        labels = torch.randint(3, (6,), generator=generator).to(parameter.device)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


# --- Against torch.optim ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", PAIRS)
def test_a_hundred_steps_end_where_those_of_torch_do(name, dtype, close, device):
    ours, theirs, options, names = PAIRS[name]
    network, other = small_net(dtype, device), small_net(dtype, device)
    start = torch.cat([p.detach().flatten() for p in network.parameters()])
    mine = train(network, ours(network.parameters(), **options))
    expected = train(other, theirs(other.parameters(), **translated(options, names)))
    assert (mine - start).abs().max() > 0.05  # it went somewhere
    assert (mine - expected).abs().max() <= close * expected.abs().max()


@pytest.mark.parametrize("name", PAIRS)
def test_a_schedule_and_groups_with_their_own_options_act_as_in_torch(name):
    ours, theirs, options, names = PAIRS[name]
    ends = []
    for optimizer, given in ((ours, options), (theirs, translated(options, names))):
        network = small_net()
        groups = [{"params": [*network[0].parameters()]}, {"params": [*network[2].parameters()], "lr": 0.007}]
        made = optimizer(groups, **given)
        ends.append(train(network, made, schedule=lr_scheduler.LambdaLR(made, cosine_decay(80, 0.1))))
    assert (ends[0] - ends[1]).abs().max() <= 1e-13 * ends[1].abs().max()


# --- Against the formulas, one number at a time -------------------------------------------------------------------


def by_hand(update, gradients):
    """Where a parameter that starts at 1 goes, when `update` returns its change at each step, counted from 1."""
    value, path = 1.0, []
    for step, gradient in enumerate(gradients, 1):
        value += update(gradient, step)
        path.append(value)
    return path


def path_of(optimizer, gradients, **options):
    parameter = nn.Parameter(torch.ones((), dtype=torch.float64))
    made, path = optimizer([parameter], **options), []
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        made.step()
        path.append(parameter.item())
    return path


GRADIENTS = [0.5, -2.0, 0.25, 1.0, 3.0, -0.125, 1.5, 1.0]


def test_momentum_by_hand_and_as_the_papers_write_it():
    velocity = 0.0

    def with_the_rate_inside(gradient, step):
        nonlocal velocity
        velocity = 0.9 * velocity - 0.1 * gradient
        return velocity

    expected = by_hand(with_the_rate_inside, GRADIENTS)
    assert path_of(SGD, GRADIENTS, lr=0.1, momentum=0.9) == pytest.approx(expected, rel=1e-13)


def test_a_constant_gradient_reaches_the_terminal_velocity():
    path = path_of(SGD, [2.0] * 400, lr=0.01, momentum=0.9)
    assert path[0] - 1 == pytest.approx(-0.02)
    assert path[-1] - path[-2] == pytest.approx(-0.01 * 2.0 / (1 - 0.9), rel=1e-12)


def test_rmsprop_by_hand():
    square = 0.0

    def update(gradient, step):
        nonlocal square
        square = 0.99 * square + 0.01 * gradient**2
        return -0.1 * gradient / (math.sqrt(square) + 1e-8)

    expected = by_hand(update, GRADIENTS)
    assert expected[0] == pytest.approx(1 - 0.1 * 10, abs=1e-6)
    assert path_of(RMSProp, GRADIENTS, lr=0.1) == pytest.approx(expected, rel=1e-13, abs=1e-14)


@pytest.mark.parametrize("corrected", [True, False])
def test_adam_by_hand_with_and_without_bias_correction(corrected):
    mean = square = 0.0

    def update(gradient, step):
        nonlocal mean, square
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        one, two = (1 - 0.9**step, 1 - 0.999**step) if corrected else (1, 1)
        return -0.1 * (mean / one) / (math.sqrt(square / two) + 1e-8)

    expected = by_hand(update, GRADIENTS)
    assert expected[0] == pytest.approx(1 - 0.1 * (1 if corrected else 0.1 / math.sqrt(0.001)))
    assert path_of(Adam, GRADIENTS, lr=0.1, bias_correction=corrected) == pytest.approx(expected, rel=1e-13)


def test_uncorrected_adam_forgets_that_it_started_at_zero():
    """The correction's factors go to 1, so that in the end both make the same steps."""
    options = {"lr": 1e-3, "betas": (0.9, 0.99)}
    corrected, bare = (path_of(Adam, [0.3] * 900, bias_correction=b, **options) for b in (True, False))
    assert corrected[-1] - corrected[-2] == pytest.approx(bare[-1] - bare[-2], rel=1e-3)
    assert bare[9] - 1 < 1.5 * (corrected[9] - 1)  # both go down, the uncorrected one farther


def test_radam_begins_with_the_mean_gradient_alone():
    """With β₂ = 0.999 the length ρ of the mean passes 5 at the sixth step."""
    path, mean = path_of(RAdam, GRADIENTS, lr=0.1), 0.0
    for step, gradient in enumerate(GRADIENTS[:5], 1):
        mean = 0.9 * mean + 0.1 * gradient
        before = path[step - 2] if step > 1 else 1.0
        assert path[step - 1] - before == pytest.approx(-0.1 * mean / (1 - 0.9**step), rel=1e-12)
    mean = 0.9 * mean + 0.1 * GRADIENTS[5]
    assert path[5] - path[4] != pytest.approx(-0.1 * mean / (1 - 0.9**6), rel=0.1)


def test_decoupled_decay_shrinks_even_where_the_gradient_is_zero():
    path = path_of(Adam, [0.0, 0.0], lr=0.1, weight_decay=0.5, decoupled=True)
    assert path == pytest.approx([0.95, 0.95**2], rel=1e-14)


# --- The interface ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_a_saved_state_goes_on_bit_for_bit(name, tmp_path):
    optimizer, options = OURS[name]
    network = small_net()
    made = optimizer(network.parameters(), **options)
    train(network, made, steps=7)
    torch.save({"weights": network.state_dict(), "optimizer": made.state_dict()}, tmp_path / "state")
    expected = train(network, made, steps=9, first=7)
    saved = torch.load(tmp_path / "state", weights_only=True)
    other = small_net()
    other.load_state_dict(saved["weights"])
    again = optimizer(other.parameters(), **{**options, "lr": 123.0})
    again.load_state_dict(saved["optimizer"])
    assert torch.equal(train(other, again, steps=9, first=7), expected)


@pytest.mark.parametrize("name", OURS)
def test_a_parameter_without_gradient_stays_and_gets_no_state(name):
    optimizer, options = OURS[name]
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    made = optimizer([used, unused], **options)
    used.square().sum().backward()
    made.step()
    assert (used != 1).all() and torch.equal(unused.detach(), torch.ones(2))
    assert not made.state.get(unused)
    assert used.grad is not None and torch.equal(used.grad, torch.full((2,), 2.0))  # the gradient is left as it was


@pytest.mark.parametrize("name", OURS)
def test_a_closure_is_evaluated_with_gradients_and_its_loss_returned(name):
    optimizer, options = OURS[name]
    parameter = nn.Parameter(torch.full((3,), 2.0))
    made = optimizer([parameter], **options)

    def closure():
        made.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    assert made.step(closure).item() == 12 and (parameter < 2).all()
    assert made.step() is None
    kept = [value for state in made.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    assert not any(value.requires_grad for value in kept)


def test_defaults():
    parameter = [nn.Parameter(torch.ones(1))]

    def options(optimizer):
        return {name: value for name, value in optimizer(parameter, lr=0.5).param_groups[0].items() if name != "params"}

    adaptive = {"lr": 0.5, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0}
    assert options(SGD) == {"lr": 0.5, "momentum": 0, "nesterov": False, "weight_decay": 0}
    assert options(RMSProp) == {"lr": 0.5, "decay": 0.99, "eps": 1e-8, "weight_decay": 0}
    assert options(Adam) == {**adaptive, "bias_correction": True, "decoupled": False}
    assert options(RAdam) == adaptive


BAD = [
    (SGD, {"lr": -0.1}, r"lr: got -0.1, expected a finite number of at least 0"),
    (SGD, {"lr": math.nan}, r"lr: got nan"),
    (SGD, {"lr": "fast"}, r"lr: got 'fast'"),
    (SGD, {"lr": 0.1, "momentum": 1.0}, r"momentum: got 1.0, expected a number of at least 0 and below 1"),
    (SGD, {"lr": 0.1, "momentum": -0.1}, r"momentum: got -0.1"),
    (SGD, {"lr": 0.1, "momentum": True}, r"momentum: got True"),
    (SGD, {"lr": 0.1, "weight_decay": -1}, r"weight_decay: got -1, expected a finite number of at least 0"),
    (SGD, {"lr": 0.1, "nesterov": True}, r"nesterov: got momentum 0, expected one above 0"),
    (RMSProp, {"lr": 0.1, "decay": 1.5}, r"decay: got 1.5, expected a number of at least 0 and below 1"),
    (RMSProp, {"lr": 0.1, "decay": "0.9"}, r"decay: got '0.9', expected a finite number of at least 0"),
    (RMSProp, {"lr": 0.1, "eps": -1e-8}, r"eps: got -1e-08, expected a finite number of at least 0"),
    (Adam, {"lr": math.inf}, r"lr: got inf"),
    (Adam, {"lr": 0.1, "betas": 0.9}, r"betas: got 0.9, expected two numbers"),
    (Adam, {"lr": 0.1, "betas": (0.9,)}, r"betas: got \(0.9,\), expected two numbers"),
    (Adam, {"lr": 0.1, "betas": (0.9, 1.0)}, r"betas: got 1.0, expected a number of at least 0 and below 1"),
    (RAdam, {"lr": 0.1, "betas": (-0.1, 0.9)}, r"betas: got -0.1"),
    (RAdam, {"lr": 0.1, "weight_decay": None}, r"weight_decay: got None"),
]


@pytest.mark.parametrize(("optimizer", "options", "message"), BAD)
def test_bad_options_are_named(optimizer, options, message):
    with pytest.raises(ValueError, match=message):
        optimizer([nn.Parameter(torch.ones(1))], **options)


def test_bad_options_of_a_group_are_named():
    groups = [{"params": [nn.Parameter(torch.ones(1))]}, {"params": [nn.Parameter(torch.ones(1))], "momentum": 2}]
    with pytest.raises(ValueError, match=r"momentum: got 2"):
        SGD(groups, lr=0.1)


def test_the_least_options_are_accepted():
    parameter = [nn.Parameter(torch.ones(1))]
    SGD(parameter, lr=0, momentum=0, weight_decay=0)
    RMSProp(parameter, lr=0, decay=0, eps=0)
    for optimizer in (Adam, RAdam):
        optimizer(parameter, lr=np.float64(0.1), betas=[0, 0], eps=0)


@pytest.mark.parametrize("name", ["momentum, weight decay", "rmsprop", "adamw", "radam"])
def test_fit_trains_stops_and_resumes_bit_for_bit(name, tmp_path, monkeypatch):
    optimizer, options = OURS[name]
    images = load("digits").take(torch.arange(240))

    def run(path=None):
        torch.manual_seed(0)
        network = LeNet(dim=4, image_size=8)
        history = training.fit(
            network,
            TripletLoss(),
            Batches(images, classes_per_batch=6, samples_per_class=4, seed=0, steps=8),
            epochs=3,
            optimizer=functools.partial(optimizer, **options),
            schedule=lambda made, steps: lr_scheduler.LambdaLR(made, cosine_decay(steps, 0.5)),
            save=path and training.Resume(path, every=5),
            progress=False,
            device="cpu",
        )
        return history, network.state_dict()

    history, whole = run()
    assert history.learning_rate == [options["lr"] * cosine_decay(24, 0.5)(step) for step in range(24)]
    write = checkpoints.save

    def write_and_stop(state, path):
        write(state, path)
        if len(state["history"]["epoch_loss"]) == 1:
            raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(checkpoints, "save", write_and_stop)
        run(tmp_path / "run")
    assert checkpoints.load(tmp_path / "run")["number"] == 2  # step 10 of 24: in the middle of the second epoch
    resumed, weights = run(tmp_path / "run")
    assert resumed.loss == history.loss and resumed.learning_rate == history.learning_rate
    assert all(torch.equal(weights[key], whole[key]) for key in whole)


# --- Schedules ----------------------------------------------------------------------------------------------------

SCHEDULES = {
    "step": (step_decay(30), lambda made: lr_scheduler.StepLR(made, 30)),
    "step, factor": (step_decay(7, factor=0.6), lambda made: lr_scheduler.StepLR(made, 7, 0.6)),
    "cosine": (cosine_decay(100), lambda made: lr_scheduler.CosineAnnealingLR(made, 100)),
    "cosine, lowest": (cosine_decay(100, lowest=0.2), lambda made: lr_scheduler.CosineAnnealingLR(made, 100, 0.1)),
    "restarts": (warm_restarts(30), lambda made: lr_scheduler.CosineAnnealingWarmRestarts(made, 30)),
    "restarts, lowest": (
        warm_restarts(10, lowest=0.2),
        lambda made: lr_scheduler.CosineAnnealingWarmRestarts(made, 10, eta_min=0.1),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_those_of_torch(name):
    factor, theirs = SCHEDULES[name]
    rates = []
    for schedule in (lambda made: lr_scheduler.LambdaLR(made, factor), theirs):
        made = SGD([nn.Parameter(torch.ones(1))], lr=0.5)
        scheduled, seen = schedule(made), []
        for _ in range(101):
            seen.append(made.param_groups[0]["lr"])
            made.step()
            scheduled.step()
        rates.append(seen)
    assert rates[0] == pytest.approx(rates[1], rel=1e-12, abs=1e-15)
    assert rates[0][0] == 0.5 and len(set(rates[0])) > 3


def test_schedules_by_hand():
    assert [step_decay(2, 0.5)(t) for t in range(5)] == [1, 1, 0.5, 0.5, 0.25]
    assert step_decay(1)(1) == 0.1
    assert [cosine_decay(2)(t) for t in range(5)] == pytest.approx([1, 0.5, 0, 0, 0], abs=1e-15)
    assert cosine_decay(4, 0.5)(1) == pytest.approx(0.75 + math.sqrt(2) / 8)
    assert cosine_decay(4, 0.5)(9) == 0.5
    assert [warm_restarts(2)(t) for t in range(5)] == pytest.approx([1, 0.5, 1, 0.5, 1])
    assert [warm_restarts(1)(t) for t in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: step_decay(0), "every: got 0, expected a whole number of at least 1"),
        (lambda: step_decay(2.0), "every: got 2.0"),
        (lambda: step_decay(5, 1.1), "factor: got 1.1, expected a number from 0 to 1"),
        (lambda: step_decay(5, -0.1), "factor: got -0.1"),
        (lambda: cosine_decay(True), "steps: got True"),
        (lambda: cosine_decay(5, "low"), "lowest: got 'low'"),
        (lambda: cosine_decay(5, True), "lowest: got True"),
        (lambda: warm_restarts(0), "first: got 0"),
        (lambda: warm_restarts(1.5), "first: got 1.5"),
        (lambda: warm_restarts(5, 2), "lowest: got 2"),
    ],
)
def test_bad_schedules_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_whole_numbers_and_limits_are_accepted():
    assert step_decay(np.int64(2), 0)(2) == 0 and step_decay(2, 1)(9) == 1
    assert cosine_decay(3, 1)(2) == 1 and warm_restarts(2, 0)(2) == 1
