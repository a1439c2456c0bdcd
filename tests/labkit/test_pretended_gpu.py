"""Losses, embeddings and metrics on a GPU that is not there: torch's fake tensors have a device, but no values.

A tensor that is made on the wrong device meets one on the right device and is refused, on any machine. Backward passes
need the device itself; the tests with CUDA run them.
"""

import copy
import itertools

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from labkit import distances, embeddings, evaluation, losses, neighbors

GPU = torch.device("cuda:0")
C, D, N = 3, 4, 24
aten = torch.ops.aten


class MadeUpValues(TorchDispatchMode):
    """Answers what fake tensors cannot: a number is 1; there are three labels; nonzero finds all rows, a mask none."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is aten._local_scalar_dense.default:
            kind = args[0].dtype
            return True if kind == torch.bool else 1.0 if kind.is_floating_point else 1
        if func is aten._unique2.default:
            return args[0][:C], torch.zeros_like(args[0]), torch.ones_like(args[0][:C])
        if func is aten.nonzero.default:
            return args[0].new_zeros(len(args[0]), 1, dtype=torch.int64)
        if func is aten.index.Tensor and args[1][0].dtype == torch.bool:
            return args[0][:0]
        return func(*args, **(kwargs or {}))


@pytest.fixture
def batch():
    """Embeddings and labels on a pretended GPU."""
    with FakeTensorMode(), MadeUpValues():
        yield torch.randn(N, D, device=GPU), torch.randint(C, (N,), device=GPU)


def moved(module):
    """A copy of the module with its tensors on the pretended GPU (Module.to would ask the driver)."""
    tensors = [*module.parameters(), *module.buffers()]
    twins = [torch.empty(t.shape, dtype=t.dtype, device=GPU, requires_grad=t.requires_grad) for t in tensors]
    return copy.deepcopy(module, {id(t): twin for t, twin in zip(tensors, twins, strict=True)})


LOSSES = [
    losses.ContrastiveLoss(),
    *(losses.TripletLoss(0.2, *options) for options in itertools.product(("all", "hard", "semihard"), (False, True))),
    losses.CenterLoss(C, D),
    losses.CenterLoss(C, D, radius=0.5),
    *(losses.ExponentialTripletLoss(C, reduction=reduction) for reduction in ("pair", "batch")),
    losses.CircleLoss(),
    losses.SoftmaxLoss(C, D),
    losses.HingeLoss(C, D),
    losses.L2SoftmaxLoss(C, D, 8),
    losses.LSoftmaxLoss(C, D, annealing=losses.Annealing()),
    losses.ASoftmaxLoss(C, D),
    losses.AMSoftmaxLoss(C, D),
    losses.ArcFaceLoss(C, D),
    losses.PEDCCLoss(torch.eye(D)[:C]),
    losses.PEDCCLoss(torch.eye(D)[:C], root=3, learnable=True, normalize=False),
    losses.WeightedSum({losses.SoftmaxLoss(C, D): 1.0, losses.CenterLoss(C, D): 0.1}),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_losses(batch, loss, dtype):
    x, y = batch
    loss = moved(loss)
    for rows in (N, 0):
        value = loss(x[:rows].to(dtype), y[:rows])
        assert value.device == GPU and value.shape == () and value.dtype == torch.float32
    if hasattr(loss, "update"):
        loss.update(x, y)
    if hasattr(loss, "scores"):
        assert loss.scores(x).device == GPU
    if hasattr(loss, "drift"):
        assert loss.drift().device == GPU


def test_every_loss_is_tried():
    tried = {type(loss).__name__ for loss in LOSSES}
    classes = {name for name in losses.__all__ if isinstance(getattr(losses, name), type) and name.endswith("Loss")}
    assert tried >= classes - {"MarginSoftmaxLoss"}  # the form of four of them


@pytest.mark.parametrize("function", [embeddings.l2, embeddings.unit_range, embeddings.unit_bounce])
def test_embeddings(batch, function):
    assert function(batch[0]).device == GPU
    if function is not embeddings.l2:
        assert function(batch[0], 1.0, grad="detached").device == GPU


@pytest.mark.parametrize("bounce", ["triangle", "authors", "limit"])
def test_every_bounce(batch, bounce):
    assert embeddings.unit_bounce(batch[0], bounce=bounce).device == GPU


@pytest.mark.parametrize("rows", [N, 2000])  # subtracted and multiplied
def test_distances(batch, rows):
    x = torch.randn(rows, D, device=GPU)
    for squared in (False, True):
        assert distances.pairwise_distances(x, squared=squared).device == GPU
        assert distances.pairwise_distances(x, batch[0], squared=squared).device == GPU
        assert distances.paired_distances(x, x, squared=squared).device == GPU
    assert distances.cosine_similarities(x, batch[0]).device == GPU


METRICS = {
    "closest_accuracy": lambda x, y: evaluation.closest_accuracy(x, y, x, y),
    "range_accuracy": lambda x, y: evaluation.range_accuracy(x, y, x, y),
    "nearest_neighbor_accuracy": lambda x, y: evaluation.nearest_neighbor_accuracy(x, y, x, y),
    "recall_at_k": lambda x, y: evaluation.recall_at_k(x, y, [1, 5]),
    "map_at_r": evaluation.map_at_r,
    "count_triplets": losses.count_triplets,
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", [N, 3000])  # few are compared in float64, many are found in float32
def test_metrics(batch, metric, rows):
    METRICS[metric](torch.randn(rows, D, device=GPU), torch.randint(C, (rows,), device=GPU))


def test_nearest_rows(batch):
    x = torch.randn(3000, D, device=GPU)
    for own in (None, torch.arange(3000, device=GPU)):
        assert all(found.device == GPU for _, found in neighbors.nearest(x, x, 2, own))


def test_a_tensor_on_the_wrong_device_is_refused(batch, monkeypatch):
    x, y = batch
    monkeypatch.setattr(torch, "zeros_like", lambda tensor: torch.zeros(tensor.shape))  # where CenterLoss wants them
    with pytest.raises(RuntimeError, match="device"):
        moved(losses.CenterLoss(C, D)).update(x, y)
    with pytest.raises(ValueError, match=r"^labels: got a tensor on cpu, expected one on cuda:0 as embeddings$"):
        losses.TripletLoss()(x, y.cpu())
