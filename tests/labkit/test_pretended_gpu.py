"""All that labkit computes, on a GPU that is not there (tests/support/pretended.py): forward, backward, same numbers.

A public class or function that is added is tried by itself, with arguments by the names of its parameters; where these
do not say enough, the test asks for an entry in CALLS.
"""

import dataclasses
import importlib
import inspect
import itertools

import numpy as np
import pretended
import pytest
import torch
from torch import nn

from labkit import (
    data,
    distances,
    distancing,
    ensembles,
    filters,
    initialization,
    landscape,
    losses,
    neighbors,
    networks,
    side_by_side,
)
from labkit.data.augmentation import Augment

C, D, N = 3, 4, 24
MODULES = ["losses", "embeddings", "evaluation", "distances", "neighbors", "centroids", "distancing", "ensembles"]
MODULES += ["landscape", "optimizers", "initialization", "filters", "side_by_side", "networks", "data"]
ON_THE_CPU = {"data.load", "evaluation.verification_pairs"}  # what they return is on the CPU, and is moved by whoever


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def images(count=N, channels=1, size=8):
    numbers = torch.arange(count * channels * size * size) % 251
    return data.Images(numbers.to(torch.uint8).view(count, channels, size, size), torch.arange(count) % C, range(C))


def arguments():
    """Values by the names that parameters have everywhere in labkit."""
    rows, labels, weights = drawn(N, D), torch.arange(N) % C, [nn.Parameter(drawn(D, D))]
    line = dict.fromkeys(("start", "bend", "end", "first", "second", "third"), None)
    line = {name: drawn(6, 7)[number] for number, name in enumerate(line)}
    weights[0].grad = drawn(D, D)
    return {
        **dict.fromkeys(("embeddings", "query", "reference", "a", "b", "x", "t", "points"), rows),
        **dict.fromkeys(("labels", "query_labels", "reference_labels"), labels),
        **line,
        **{"shares": torch.linspace(0, 1, 5), "losses": drawn(5), "same": labels == 0, "ks": [1, 5], "depth": 2},
        **{"probabilities": drawn(2, N, C).softmax(2), "image": drawn(8, 8), "kernel": drawn(3, 3), "params": weights},
        **{"row": drawn(3), "column": drawn(3), "num_classes": C, "dim": D, "scale": 8.0, "lr": 0.1, "num_pairs": 6},
        **{"centroids": torch.eye(D)[:C], "in_features": D},
    }


def moved(value):
    """A value on the pretended GPU: tensors, modules, images, and lists of them."""
    if isinstance(value, nn.Parameter):
        twin = nn.Parameter(pretended.on(value.detach()))
        twin.grad = None if value.grad is None else pretended.on(value.grad)
        return twin
    if isinstance(value, torch.Tensor | nn.Module):
        return pretended.on(value)
    if isinstance(value, data.Images):
        return value.to(pretended.GPU)
    return [moved(one) for one in value] if isinstance(value, list) else value


def public():
    """{"module.name": the class or function} of what labkit offers in MODULES, each once."""
    found = {}
    for module in MODULES:
        there = importlib.import_module(f"labkit.{module}")
        own = [name for name, value in vars(there).items() if getattr(value, "__module__", "") == there.__name__]
        for name in getattr(there, "__all__", own):
            thing = getattr(there, name)
            if not name.startswith("_") and callable(thing) and thing not in found.values():
                found[f"{module}.{name}"] = thing
    return found


def takes_tensors(thing):
    """Whether anything can be on a device: not a record of numbers, nor a function of numbers alone."""
    if isinstance(thing, type) and issubclass(thing, nn.Module):
        return True
    if dataclasses.is_dataclass(thing) or (isinstance(thing, type) and issubclass(thing, tuple)):
        return "__call__" in vars(thing)
    annotations = " ".join(str(one.annotation) for one in inspect.signature(thing).parameters.values())
    return any(word in annotations for word in ("Tensor", "Module", "Images", "Iterable", "Landscape", "Checkpoint"))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, C))


def hill(place):
    """A penalty's gradient, added and by autograd."""
    here = place(network())
    penalty = distancing.DistancePenalty(distancing.Checkpoint.of(here), strength=1.0, sigma=1.0, jitter=0.1)
    with torch.no_grad():
        here[1].weight.add_(0.1)
    penalty(here).backward()
    twice = penalty.add_gradient(here)
    return [twice, here[1].weight.grad, distancing.Checkpoint.of(here).distance(here).sum]


def valley(place, what):
    there = landscape.Landscape(place(network()), place(drawn(6, 1, 8, 8)), place(torch.arange(6) % C))
    return what(there, there.point())


def updated(name):
    """An optimizer's step."""

    def call(place):
        weights = place(arguments()["params"])
        getattr(importlib.import_module("labkit.optimizers"), name)(weights, lr=0.1).step()
        return weights[0].detach()

    return call


def sampled(place, **options):
    made = data.Batches(place(images()), seed=3, **options)
    return [tensor for batch in made for tensor in batch]


def side(place):
    return place(side_by_side.SideBySide([0, 1], [D, 5, 2], C))


EVERYTHING = Augment(shift=2, flip=True, rotation=10, contrast=0.2, erase=0.5, crop=0.8)  # noise is the device's own
CALLS = {  # name -> place -> result, where the parameters' names do not say how it is called
    "losses.WeightedSum": lambda place: place(
        losses.WeightedSum({losses.ContrastiveLoss(): 1.0, losses.CenterLoss(C, D): 0.1})
    )(place(drawn(N, D).requires_grad_()), place(torch.arange(N) % C)),
    "losses.MarginSoftmaxLoss": None,  # the form of four of the others
    "neighbors.nearest": lambda place: [
        found for _, found in neighbors.nearest(place(drawn(3000, D)), place(drawn(3000, D)), 2)
    ],
    "distances.result_dtype": None,  # returns no tensor
    "distancing.Checkpoint": hill,
    "distancing.DistancePenalty": hill,
    "ensembles.probabilities": None,  # `embed`, which chooses the device itself
    "ensembles.reliability": lambda place: ensembles.reliability(
        place(drawn(N, C).softmax(1)), place(torch.arange(N) % C)
    ),
    "ensembles.calibration_error": lambda place: ensembles.calibration_error(
        place(drawn(N, C).softmax(1)), place(torch.arange(N) % C)
    ),
    "ensembles.train_members": None,  # `fit`, which chooses the device itself; tests/labkit/training
    "ensembles.compare": None,  # the same
    "landscape.Landscape": lambda place: valley(place, lambda there, at: [there(at), there.curvature(at, at)]),
    "landscape.low_curve": lambda place: valley(
        place, lambda there, at: landscape.low_curve(there, at, at + 0.1, steps=2)
    ),
    "landscape.Plane": lambda place: valley(
        place,
        lambda there, at: landscape.Plane(at, at.roll(1), at.roll(2)).losses(there, *place([drawn(2), drawn(2)])),
    ),
    **{f"optimizers.{name}": updated(name) for name in ("SGD", "RMSProp", "Adam", "RAdam")},
    "initialization.fans": None,  # shapes
    "initialization.initialize": lambda place: (
        initialization.initialize(place(network()), "he_normal", "relu", generator=1)[1].weight.shape
    ),
    "initialization.signal_statistics": lambda place: [
        one.std for one in initialization.signal_statistics(place(network()), place(drawn(6, 1, 8, 8)))
    ],
    "filters.separate": lambda place: filters.separate(place(filters.gaussian_kernel(1.0))),
    "side_by_side.SideBySide": lambda place: side(place)(place(drawn(N, D))),
    "side_by_side.PerNetwork": lambda place: place(
        side_by_side.PerNetwork([losses.CircleLoss(), losses.TripletLoss()])
    )(place(drawn(2, N, D)), place((torch.arange(N) % C).expand(2, N))),
    "side_by_side.cross_entropies": lambda place: side_by_side.cross_entropies(
        place(drawn(2, N, C)), place((torch.arange(N) % C).expand(2, N))
    ),
    "side_by_side.train_side_by_side": lambda place: side_by_side.train_side_by_side(
        (nets := side(place)),
        lambda z, y: side_by_side.cross_entropies(nets.scores(z), y),
        place(drawn(N, D)),
        place(torch.arange(N) % C),
        2,
        8,
    ),
    "networks.Backbone": lambda place: place(networks.Backbone(dim=D)).eval()(place(drawn(2, 3, 32, 32))).shape,
    "data.Augment": lambda place: sampled(place, batch_size=8, augment=EVERYTHING),
    "data.Batches": lambda place: [
        *sampled(place, batch_size=8),
        *sampled(place, classes_per_batch=2, samples_per_class=3),
    ],
    "data.Images": lambda place: [place(images()).take([1, 2]).images, place(images()).floats(torch.arange(3))],
}


def called(name, thing, place, **more):
    """The result of calling a class or function, everything it takes sent through `place`."""
    if name in CALLS:
        return CALLS[name](place)
    known, given = arguments(), {}
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.default is inspect.Parameter.empty:
            if parameter.name not in known:
                pytest.fail(f"{name}: say in CALLS how it is called; nothing is known of {parameter.name!r}")
            given[parameter.name] = known[parameter.name]
    if not (isinstance(thing, type) and issubclass(thing, nn.Module)):
        return thing(**{key: place(value) for key, value in given.items()}, **more)
    torch.manual_seed(0)
    module = place(thing(**given))
    wants = [one for one in inspect.signature(thing.forward).parameters if one != "self"]
    if wants == ["embeddings", "labels"]:
        return applied(module, place)
    size = 28 if "image_size" in inspect.signature(thing).parameters else 8
    return module.eval()(place(drawn(2, 1, size, size) if wants == ["images"] else drawn(N, D)))


def applied(loss, place, dtype=torch.float32):
    """The loss of a batch, of an empty one, the gradients, and what else the loss does with a batch."""
    x, y = place(drawn(N, D).to(dtype).requires_grad_()), place(torch.arange(N) % C)
    value = loss(x, y)
    value.backward()
    assert value.shape == () and value.dtype == torch.float32
    grads = [parameter.grad for parameter in loss.parameters()]
    assert loss(x[:0], y[:0]).shape == ()
    more = []
    if hasattr(loss, "update"):
        loss.update(x, y)
    if hasattr(loss, "scores"):
        more.append(loss.scores(x.float()))
    if hasattr(loss, "drift"):
        more.append(loss.drift())
    return [value.detach(), x.grad, *grads, *more]


def tensors(result):
    """All tensors in a result: in lists, dictionaries and records."""
    if isinstance(result, torch.Tensor):
        return [result]
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return tensors(list(vars(result).values()))
    inside = result.values() if isinstance(result, dict) else result if isinstance(result, list | tuple) else []
    return [tensor for one in inside for tensor in tensors(one)]


def numbers(result):
    """A result as plain numbers, to be compared."""
    if isinstance(result, torch.Tensor):
        return result.detach().cpu().double().numpy()
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return numbers(list(vars(result).values()))
    if isinstance(result, dict):
        return numbers(list(result.values()))
    return [numbers(one) for one in result] if isinstance(result, list | tuple) else result


def same(found, expected):
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if not isinstance(expected, np.ndarray | float):
        return found == expected
    return np.allclose(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


THINGS = {name: thing for name, thing in public().items() if CALLS.get(name, takes_tensors(thing))}


def test_nothing_is_left_out():
    assert {"losses.TripletLoss", "evaluation.scatter", "data.Batches", "data.Images", "filters.separate"} <= set(
        THINGS
    )
    assert set(CALLS) <= set(public()), "an entry in CALLS that nothing is called"
    for name in ("losses", "embeddings", "networks"):
        assert sum(one.startswith(name + ".") for one in THINGS) >= 3


@pytest.mark.parametrize("name", THINGS)
def test_everything_runs_on_a_gpu_and_says_the_same(name):
    here = called(name, THINGS[name], lambda value: value)
    with pretended.gpu():
        there = called(name, THINGS[name], moved)
        if name not in ON_THE_CPU:
            assert all(tensor.device == pretended.GPU for tensor in tensors(there))
        assert same(numbers(there), numbers(here))


OPTIONS = [
    *((losses.TripletLoss, 0.2, *more) for more in itertools.product(("all", "hard", "semihard"), (False, True))),
    (losses.CenterLoss, C, D, 0.5, 0.5),
    (losses.ExponentialTripletLoss, C, 1.5, 1.0, 1.0, 1.0, "batch"),
    (losses.LSoftmaxLoss, C, D, 4, losses.Annealing()),
    (losses.PEDCCLoss, torch.eye(D)[:C], 0.35, 7.5, 3, True, False),
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options[0].__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_options_of_losses(options, dtype):
    make, *rest = options
    with pretended.gpu():
        assert all(one.device == pretended.GPU for one in tensors(applied(moved(make(*rest)), moved, dtype)))


FUNCTIONS = [
    ("embeddings.unit_range", {"grad": "detached"}),
    ("embeddings.unit_bounce", {"grad": "detached"}),
    *(("embeddings.unit_bounce", {"bounce": bounce}) for bounce in ("triangle", "authors", "limit")),
    *((f"distances.{name}", {"squared": True}) for name in ("pairwise_distances", "paired_distances")),
    ("filters.correlate2d", {"stride": 2, "padding": 1, "padding_mode": "reflect"}),
]


@pytest.mark.parametrize(("name", "options"), FUNCTIONS)
def test_options_of_functions(name, options):
    here = called(name, THINGS[name], lambda value: value, **options)
    with pretended.gpu():
        there = called(name, THINGS[name], moved, **options)
        assert there.device == pretended.GPU and same(numbers(there), numbers(here))


def test_distances_of_many():
    x = drawn(2000, D)
    with pretended.gpu():  # few are subtracted, many are multiplied
        assert same(numbers(distances.pairwise_distances(moved(x))), numbers(distances.pairwise_distances(x)))


LOSSES = [name for name in THINGS if name.startswith("losses.") and name.endswith("Loss")]


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_makes_python_wait_for_the_gpu(name):
    with pretended.gpu() as waits:
        called(name, THINGS[name], moved)
        assert not waits


@pytest.mark.parametrize("rows", [N, 3000])  # few are compared in float64, many are found in float32
@pytest.mark.parametrize("name", ["recall_at_k", "map_at_r", "nearest_neighbor_accuracy", "closest_accuracy"])
def test_metrics_of_few_and_of_many(name, rows):
    from labkit import evaluation

    x, y = drawn(rows, D), torch.arange(rows) % C
    metric = getattr(evaluation, name)
    more = {"recall_at_k": [[1, 5]], "map_at_r": []}
    with pretended.gpu():
        there = (moved(x), moved(y))
        assert same(numbers(metric(*there, *more.get(name, there))), numbers(metric(x, y, *more.get(name, (x, y)))))


# -------------------------------------------------------------------------------- the pretended GPU finds what is wrong


def test_a_tensor_on_the_wrong_device_is_refused(monkeypatch):
    with pretended.gpu():
        x, y = moved(drawn(N, D)), moved(torch.arange(N) % C)
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.zeros(N, D)
        with pytest.raises(RuntimeError, match="same device"):
            x.index_select(0, torch.arange(3))
        with pytest.raises(ValueError, match=r"^labels: got a tensor on cpu, expected one on cuda:0 as embeddings$"):
            losses.TripletLoss()(x, y.cpu())
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            x.numpy()
        loss = moved(losses.CenterLoss(C, D))
        monkeypatch.setattr(torch, "zeros_like", lambda tensor: torch.zeros(tensor.shape))  # where it wants them
        with pytest.raises(RuntimeError, match="same device"):
            loss.update(x, y)


def test_what_waits_is_noted():
    with pretended.gpu() as waits:
        x = moved(drawn(N, D))
        assert (x[0] + 1).sum().device == pretended.GPU and not waits
        x.sum().item()
        x[x > 0].cpu()
        assert waits == ["_local_scalar_dense", "index", "to the CPU"]


def test_gradients_come_back_through_a_move():
    x = drawn(3, 2).requires_grad_()
    with pretended.gpu():
        there = x.to("cuda")
        assert there.device == pretended.GPU and torch.zeros(2, device="cuda:0").is_cuda and not torch.zeros(2).is_cuda
        (there.square().sum().cpu() * 2).backward()
    assert x.grad.device.type == "cpu" and torch.equal(x.grad, 4 * x.detach())


def test_something_new_is_tried_or_asked_for():
    def added(embeddings, labels):
        return embeddings.sum(0) + torch.zeros(D)

    def unknown(embeddings, banana):
        return embeddings

    with pretended.gpu():
        with pytest.raises(RuntimeError, match="same device"):
            called("losses.added", added, moved)
        with pytest.raises(pytest.fail.Exception, match="say in CALLS how it is called; nothing is known of 'banana'"):
            called("losses.unknown", unknown, moved)
