"""fit, embed and closest in one process. Resuming is in test_resume.py, several processes are in test_sharded.py."""

import functools
import math
import re
import signal
import subprocess
import sys
import threading
import warnings

import pytest
import torch
from kernels import kernel
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from labkit.data import Batches, Images, load
from labkit.losses import ContrastiveLoss, TripletLoss
from labkit.networks import LeNet, SmallResNet
from labkit.training import History, Resume, closest, embed, fit, steps

fit_quietly = functools.partial(fit, progress=False, device="cpu")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def ctrl_c_works():
    """Also where the tests run in the background, for which a shell switches Ctrl-C off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def digits():
    return load("digits").take(torch.arange(400))


def small_net(**options) -> LeNet:
    return LeNet(dim=4, image_size=8, **options)


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten().double() for tensor in module.state_dict().values()])


class PullToCenters(nn.Module):
    """A loss with parameters, a buffer and an `update`, as center losses have them."""

    def __init__(self, dim=4):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("centers", torch.zeros(10, dim))
        self.calls = []

    def forward(self, embeddings, labels):
        assert embeddings.requires_grad
        self.calls.append("loss")
        return ((embeddings - self.centers[labels] - 1) * self.scale).square().mean()

    def update(self, embeddings, labels):
        assert not embeddings.requires_grad and not torch.is_grad_enabled()
        self.calls.append("update")
        self.centers[labels] += 0.1 * (embeddings - self.centers[labels])


# ---- the loop


def test_the_history_has_the_losses_and_rates_of_all_steps_in_a_row(digits):
    """Whose values are those of the hand-written loop: test_loop.py."""
    batches = Batches(digits, classes_per_batch=5, samples_per_class=4, seed=3, steps=6)
    decay = lambda optimizer, steps: torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.5, steps)  # noqa: E731
    network, other = small_net(), small_net()
    other.load_state_dict(network.state_dict())
    history = fit_quietly(network, TripletLoss(0.5), batches, 2, lr=3e-3, schedule=decay)
    other.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(other.parameters(), lr=3e-3, fused=True)
    found = list(steps(other, TripletLoss(0.5), batches, optimizer, decay(optimizer, 12), epochs=2))
    assert torch.equal(weights(network), weights(other))
    assert history.loss == [float(step.loss) for step in found]
    assert history.learning_rate == [step.rate for step in found] and history.learning_rate[0] == 3e-3
    halves = history.loss[:6], history.loss[6:]
    assert history.epoch_loss == pytest.approx([sum(half) / 6 for half in halves], rel=1e-12)
    assert history.steps == 12 and history.images == 12 * 20
    assert history.stopped == "epochs" and history.best_epoch is None
    assert history.seconds >= history.training_seconds > 0 and history.images_per_second > 0


def test_the_loss_is_trained_and_updated_after_each_step(digits):
    network, loss = small_net(), PullToCenters()
    fit_quietly(network, loss, Batches(digits, batch_size=40), 1)
    assert loss.calls == ["loss", "update"] * 10
    assert loss.scale != 1 and loss.centers.abs().sum() > 0


def test_fit_learns_digits_in_seconds():
    train, test = load("digits"), load("digits", "test")
    network = LeNet(image_size=8)
    batches = Batches(train, classes_per_batch=10, samples_per_class=8)
    history = fit_quietly(network, TripletLoss(), batches, 5, validate=closest(train, test))
    assert history.metrics["closest accuracy"][-1] > 0.95
    assert history.epoch_loss[-1] < history.epoch_loss[0]


def test_float64_networks_are_trained_in_float64(digits):
    seen = []

    class Watching(ContrastiveLoss):
        def forward(self, embeddings, labels):
            seen.append(embeddings.dtype)
            return super().forward(embeddings, labels)

    network = small_net().double()
    fit_quietly(network, Watching(), Batches(digits, batch_size=100), 1)
    assert set(seen) == {torch.float64} and embed(network, digits).dtype == torch.float64


def test_mixed_precision_reaches_the_loss_in_float32(digits):
    seen = []

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 4)

        def forward(self, images):
            embeddings = self.layer(images.flatten(1))
            seen.append(embeddings.dtype)
            return embeddings

    class Watching(ContrastiveLoss):
        def forward(self, embeddings, labels):
            seen.append(embeddings.dtype)
            return super().forward(embeddings, labels)

    fit_quietly(Network(), Watching(), Batches(digits, batch_size=100, steps=1), 1, precision="bf16-mixed")
    fit_quietly(Network().bfloat16(), Watching(), Batches(digits, batch_size=100, steps=1), 1)
    assert seen == [torch.bfloat16, torch.float32] * 2


def test_a_penalty_acts_between_backward_pass_and_clipping(digits):
    class Recorder:
        """A penalty that keeps the gradients which it meets, and adds 10 to them."""

        def add_gradient(self, network):
            gradients = [parameter.grad for parameter in network.parameters()]
            self.met = torch.cat([gradient.flatten().double() for gradient in gradients])
            torch._foreach_add_(gradients, 10.0)

    for precision in ("32-true", "bf16-mixed"):  # where the network lies in a wrapper
        network, recorder, one_step = small_net(), Recorder(), Batches(digits, batch_size=16, seed=4, steps=1)
        start = weights(network)
        rate_1 = functools.partial(torch.optim.SGD, lr=1.0)
        options = {"optimizer": rate_1, "penalty": recorder, "clip": 0.5, "precision": precision}
        fit_quietly(network, ContrastiveLoss(), one_step, 1, **options)
        step = start - weights(network)
        assert step.norm().item() == pytest.approx(0.5, rel=1e-4)  # clipped with the push in it
        torch.testing.assert_close(step, 0.5 * (recorder.met + 10) / (recorder.met + 10).norm(), rtol=1e-4, atol=1e-5)


def test_modes_device_and_memory_come_back(digits):
    network, loss = SmallResNet(dim=3, width=4), ContrastiveLoss()
    network.train()
    fit_quietly(network, loss, Batches(digits, batch_size=100), 1)
    assert not network.training and not loss.training
    assert next(network.parameters()).device.type == "cpu"
    assert all(parameter.is_contiguous() for parameter in network.parameters())


# ---- validation


def test_the_best_epochs_weights_come_back(digits):
    seen, scores = [], iter([0.1, 0.5, 0.4, float("nan"), 0.5, 0.9])

    def validate(network):
        assert not network.training and not torch.is_grad_enabled()
        seen.append((weights(network), weights(loss)))
        return {"score": next(scores), "other": 1.0}

    network, loss = small_net(), PullToCenters()
    history = fit_quietly(network, loss, Batches(digits, batch_size=100), 10, validate=validate, patience=3)
    assert history.stopped == "patience" and history.best_epoch == 2 and len(history.epoch_loss) == 5
    assert history.metrics["score"][:3] == [0.1, 0.5, 0.4] and history.metrics["other"] == [1.0] * 5
    assert torch.equal(weights(network), seen[1][0]) and torch.equal(weights(loss), seen[1][1])
    assert not torch.equal(seen[1][0], seen[4][0])


def test_without_patience_the_last_weights_stay(digits):
    seen, scores = [], iter([3, 2, 1])

    def validate(network):
        seen.append(weights(network))
        return next(scores)

    network = small_net()
    history = fit_quietly(network, ContrastiveLoss(), Batches(digits, batch_size=100), 3, validate=validate)
    assert history.best_epoch == 1 and history.metrics == {"metric": [3.0, 2.0, 1.0]}
    assert torch.equal(weights(network), seen[-1])


def test_embed_restores_the_mode_and_does_not_depend_on_the_chunks(digits):
    network = SmallResNet(dim=3, width=4).train()
    network(digits.floats())  # moves the running statistics away from their start
    statistics = network.stem_norm.running_mean.clone()
    embeddings = embed(network, digits, batch_size=64)
    assert embeddings.shape == (400, 3) and embeddings.dtype == torch.float32 and not embeddings.requires_grad
    assert network.training and torch.equal(network.stem_norm.running_mean, statistics)
    torch.testing.assert_close(embeddings, network.eval()(digits.floats()).detach(), rtol=1e-4, atol=1e-5)
    assert embed(network, digits).shape == (400, 3) and not network.training


def test_closest_counts_the_images_nearest_to_their_class_center(digits):
    class Brightness(nn.Module):
        def forward(self, images):
            return images.mean(dim=(1, 2, 3)).view(-1, 1)

    def bright(values, labels):
        pixels = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
        return Images(pixels, torch.tensor(labels), ("dark", "light"))

    validate = closest(bright([0, 100, 200, 220], [0, 0, 1, 1]), bright([40, 120, 140, 255], [0, 0, 0, 1]))
    assert validate(Brightness()) == {"closest accuracy": 0.75}  # centers 50 and 210: 140 is nearer to the wrong one


# ---- what comes in


def test_any_iterable_of_batches_will_do(digits):
    images, labels = digits.floats(), digits.labels
    pairs = [(images[i : i + 50], labels[i : i + 50]) for i in range(0, 400, 50)]
    results = []
    for batches in (DataLoader(TensorDataset(images, labels), batch_size=50), pairs):
        torch.manual_seed(0)
        network = small_net()
        history = fit_quietly(network, ContrastiveLoss(), batches, 2)
        assert history.steps == 16
        results.append(weights(network))
    assert torch.equal(*results)


def test_batches_without_a_length(digits):
    class Stream:
        def __iter__(self):
            yield from ((digits.floats(range(50)), digits.labels[:50]) for _ in range(3))

    history = fit_quietly(small_net(), ContrastiveLoss(), Stream(), 2)
    assert history.steps == 6
    with pytest.raises(ValueError, match="schedule: got one for batches without a length"):
        fit_quietly(small_net(), ContrastiveLoss(), Stream(), 2, schedule=lambda optimizer, steps: None)


IMAGES, LABELS = torch.zeros(6, 1, 8, 8), torch.zeros(6, dtype=torch.int64)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"network": "LeNet"}, "network: got str, expected a torch.nn.Module"),
        ({"loss": nn.functional.mse_loss}, "loss: got function, expected a torch.nn.Module"),
        ({"epochs": 0}, "epochs.*whole number of at least 1"),
        ({"epochs": None}, "epochs.*whole number of at least 1"),
        (
            {"optimizer": torch.optim.SGD(small_net().parameters(), lr=1)},
            "optimizer: got SGD, expected a function that",
        ),
        ({"lr": 0}, "lr.*number above 0"),
        ({"lr": torch.optim.SGD}, "lr.*number above 0"),
        ({"lr": 1e-3, "optimizer": torch.optim.Adam}, "lr: got 0.001 together with optimizer, expected one of them"),
        ({"schedule": 3}, "schedule: got int, expected a function"),
        ({"validate": 0.5}, "validate: got float, expected a function"),
        ({"validate": lambda network: {}}, "validate: returned {}, expected a number or"),
        ({"validate": lambda network: "good"}, "validate: returned 'good', expected a number or"),
        ({"patience": 2}, "patience: got 2 without validate"),
        ({"patience": 0, "validate": len}, "patience.*whole number"),
        ({"save": "run.ckpt"}, "save: got str, expected a labkit.training.Resume"),
        ({"clip": 0.0}, "clip.*number above 0"),
        ({"penalty": 0.5}, r"penalty: got float, expected an object with the method add_gradient\(network\)"),
        ({"device": "tpu9"}, "device: got 'tpu9', expected 'auto', 'cpu'"),
        ({"precision": "16-mixed"}, "precision: got '16-mixed', expected 'auto', '32-true' or 'bf16-mixed'"),
        ({"batches": 7}, r"batches: got int, expected what gives pairs \(images, labels\) anew in every epoch"),
        ({"batches": iter([])}, "batches: got none in epoch 1, expected some anew in every epoch"),
        ({"batches": [IMAGES]}, "batches: got Tensor, expected pairs"),
        ({"batches": [(IMAGES.byte(), LABELS)]}, r"batches: got uint8 of shape .*, expected floats \(B, ...\), norm"),
        ({"batches": [(IMAGES, LABELS[:4])]}, r"batches: got .* and int64 of shape \(4,\), expected .* int64 \(B,\)"),
        ({"batches": [(IMAGES, LABELS.float())]}, r"batches: got .* and float32 of shape \(6,\), expected"),
        ({"network": nn.Flatten()}, "empty parameter list"),
    ],
)
def test_bad_arguments_are_named(changed, message):
    arguments = {"network": small_net(), "loss": ContrastiveLoss(), "batches": [(IMAGES, LABELS)], "epochs": 1}
    with pytest.raises(ValueError, match=message):
        fit_quietly(**{**arguments, **changed})


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_named():
    with pytest.raises(ValueError, match="device: got 'cuda', expected one of this machine"):
        fit(small_net(), ContrastiveLoss(), [(IMAGES, LABELS)], 1, device="cuda")


def test_errors_inside_a_step_say_which_step(digits):
    batches = [(digits.floats(range(20)), digits.labels[:20])] * 2 + [(IMAGES.expand(-1, 3, -1, -1), LABELS)]
    with pytest.raises(ValueError, match="images: got shape") as caught:
        fit_quietly(small_net(), ContrastiveLoss(), batches, 1)
    assert caught.value.__notes__ == ["This happened in step 3 (epoch 1) of fit."]


def test_a_loss_that_is_not_finite_stops_with_the_step(digits, tmp_path):
    class Exploding(ContrastiveLoss):
        steps = 0

        def forward(self, embeddings, labels):
            self.steps += 1
            return super().forward(embeddings, labels) * (math.inf if self.steps == 6 else 1)

    file = tmp_path / "run.ckpt"
    with pytest.raises(
        FloatingPointError, match=r"the loss is inf in step 6 \(epoch 2\).*learning rate first \(it is 0.001"
    ):
        batches = Batches(digits, batch_size=100)
        fit_quietly(small_net(), Exploding(), batches, 3, save=Resume(file, every=1))
    saved = torch.load(file, weights_only=True)
    assert saved["number"] == 1 and all(w.isfinite().all() for w in saved["modules"].values())


def test_a_run_that_diverges_says_what_to_look_at(digits):
    too_fast = functools.partial(torch.optim.SGD, lr=1e20)
    with pytest.raises(
        FloatingPointError, match=r"not finite numbers in step \d \(epoch 1\).*it is 1e\+20: try a tenth"
    ):
        fit_quietly(small_net(), ContrastiveLoss(), Batches(digits, batch_size=50), 1, optimizer=too_fast)


# ---- what is shown


def test_the_bar_shows_loss_and_metric(digits, capfd):
    fit(small_net(), ContrastiveLoss(), Batches(digits, batch_size=100), 2, validate=lambda network: {"score": 0.25})
    shown = capfd.readouterr()
    assert shown.out == ""
    last = shown.err.split("\r")[-1]
    assert last.startswith("epoch 2/2: 100%") and "8/8" in last
    assert "loss=0." in last and "score=0.25" in last and "step/s" in last


def test_no_progress_no_output_no_warning(digits, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_quietly(small_net(), ContrastiveLoss(), Batches(digits, batch_size=100), 1)
    assert capfd.readouterr() == ("", "")


def test_history_is_a_line_of_text(digits):
    validate = closest(digits, digits)
    history = fit_quietly(small_net(), ContrastiveLoss(), Batches(digits, batch_size=100), 2, validate=validate)
    assert repr(history).startswith("History(8 steps, 2 epochs: loss 0.") and "closest accuracy 0." in repr(history)
    assert history.steps == len(history.loss) == 8 and history.best_epoch in (1, 2)
    assert repr(History()) == "History(0 steps, 0 epochs: )"


# ---- Ctrl-C (with `save`: test_resume.py)


def test_ctrl_c_says_where_training_stands_and_leaves_usable_weights(digits):
    class Interrupted(ContrastiveLoss):
        steps = 0

        def forward(self, embeddings, labels):
            self.steps += 1
            if self.steps == 12:
                signal.raise_signal(signal.SIGINT)
            return super().forward(embeddings, labels)

    network = small_net()
    start = weights(network)
    message = (
        r"stopped after step 11 of 24 \(epoch 2\); nothing was saved, as save=None; the network holds the weights so"
    )
    with pytest.raises(KeyboardInterrupt, match=message):
        fit_quietly(network, Interrupted(), Batches(digits, batch_size=50), 3)
    assert not torch.equal(weights(network), start) and not network.training
    assert weights(network).isfinite().all()


def test_fit_runs_outside_the_main_thread_where_python_gives_no_ctrl_c(digits, tmp_path):
    histories, save = [], Resume(tmp_path / "run.ckpt")
    options = {
        "network": small_net(),
        "loss": ContrastiveLoss(),
        "batches": Batches(digits, batch_size=50),
        "epochs": 1,
    }
    thread = threading.Thread(target=lambda: histories.append(fit_quietly(**options, save=save)))
    thread.start()
    thread.join()
    assert histories[0].steps == 8


# ---- in a notebook


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    with kernel(tmp_path_factory.mktemp("notebook")) as run_cell:
        run_cell(
            "import os, torch\nfrom labkit import data, losses, networks, training\ntorch.set_num_threads(1)\n"
            "network = networks.LeNet(image_size=8)\nbatches = data.Batches(data.load('digits'), batch_size=64)\n"
            "def fit(epochs, **options):\n"
            "    return training.fit(network, losses.ContrastiveLoss(), batches, epochs, device='cpu', **options)"
        )
        yield run_cell


def test_a_notebook_shows_a_bar_whose_stored_text_is_always_the_same(notebook):
    [(kind, content)] = notebook("history = fit(2, validate=lambda network: 0.5)")  # nothing else, nothing on stderr
    assert kind == "display_data" and "application/vnd.jupyter.widget-view+json" in content["data"]
    assert content["data"]["text/plain"] == "epoch 1/2:   0%|          | 0/42 [00:00<?, ?step/s]"


def test_a_notebooks_stop_button_saves_and_says_so(notebook):
    bar, (kind, error) = notebook("fit(100_000, save=training.Resume('run.ckpt'))", stop_button=True)
    assert bar[0] == "display_data" and kind == "error" and error["ename"] == "KeyboardInterrupt"
    assert re.fullmatch(
        r"stopped after step \d+ of 2100000 \(epoch \d+\); saved to run.ckpt; "
        "call fit again with the same arguments to go on",
        error["evalue"],
    )
    [(kind, content)] = notebook("os.listdir()")
    assert content["data"]["text/plain"] == "['run.ckpt']"


# ---- the rest


def test_training_is_imported_quickly():
    slow = {"lightning_fabric", "torchvision", "matplotlib", "sklearn", "ipywidgets"}
    code = f"import sys, labkit.training, labkit.networks; print({slow} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_cuda_is_chosen_and_left_again(digits):
    seen = []

    class Watching(ContrastiveLoss):
        def forward(self, embeddings, labels):
            seen.append((embeddings.device.type, embeddings.dtype))
            return super().forward(embeddings, labels)

    network = small_net()
    history = fit(
        network, Watching(), Batches(digits, batch_size=100), 3, validate=closest(digits, digits), progress=False
    )
    assert set(seen) == {("cuda", torch.float32)} and history.epoch_loss[-1] < history.epoch_loss[0]
    assert next(network.parameters()).device.type == "cpu" and embed(network, digits).device.type == "cpu"
