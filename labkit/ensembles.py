"""Ensembles: many ways to several networks, and what their mean is worth (lab 09, the thesis, section 1.2.4)."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from labkit import checks
from labkit.data import Batches, Images
from labkit.distancing import Checkpoint, DistancePenalty
from labkit.optimizers import cosine_decay
from labkit.training import embed, fit


def probabilities(networks: Sequence[nn.Module], images: Images) -> Tensor:
    """What each of k networks gives each class, (k, N, C): the softmax of its scores for the N images.

    >>> from labkit.data import load
    >>> probabilities([nn.Sequential(nn.Flatten(), nn.Linear(64, 10))] * 2, load("digits", "test")).shape
    torch.Size([2, 445, 10])
    """
    return torch.stack([embed(network, images).softmax(1) for network in networks])


def average(probabilities: Tensor) -> Tensor:
    """Model averaging: the mean of what k networks give, (k, B, C) -> (B, C). The thesis, section 1.2.4.

    >>> average(torch.tensor([[[0.9, 0.1]], [[0.2, 0.8]]]))
    tensor([[0.5500, 0.4500]])
    """
    return probabilities.mean(0)


def disagreement(probabilities: Tensor) -> float:
    """The share of images on which two networks name different classes, the mean over all pairs of the k networks.

    >>> disagreement(torch.tensor([[[0.9, 0.1], [0.6, 0.4]], [[0.2, 0.8], [0.7, 0.3]]]))
    0.5
    """
    named = probabilities.argmax(2)
    first, second = torch.triu_indices(len(named), len(named), offset=1)
    if not len(first):
        raise ValueError("probabilities: got one network, expected at least two")
    return (named[first] != named[second]).double().mean().item()


def error_moments(probabilities: Tensor, labels: Tensor) -> tuple[float, float]:
    """v and c of equation 1.14 of the thesis: mean square of an error, and mean product of two networks' errors.

    An error is the probabilities less 1 at the right class; squares and products are summed over the classes. The mean
    of k networks has the mean squared error v/k + (k-1)/k·c, exactly.

    >>> error_moments(torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]]), torch.tensor([0]))
    (0.25, 0.0)
    """
    errors = probabilities.double() - F.one_hot(labels, probabilities.shape[2])
    k = len(errors)
    v = errors.square().sum(2).mean().item()
    whole = errors.mean(0).square().sum(1).mean().item()
    return v, (k * whole - v) / (k - 1) if k > 1 else float("nan")


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Tensor:
    """How sure and how often right: (bins, 3) rows of share of the images, mean confidence and accuracy of a bin.

    probabilities: (B, C). The confidence is that of the class named; bins are equally wide, and open to the left.

    >>> reliability(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([0, 0]), bins=2).tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.75, 0.5]]
    """
    sure, named = probabilities.double().max(1)
    edges = torch.linspace(0, 1, checks.whole("bins", bins) + 1, dtype=torch.float64, device=sure.device)
    place = (torch.bucketize(sure, edges) - 1).clamp(min=0)
    member = F.one_hot(place, bins).double()
    count = member.sum(0)
    right = (named == labels).double()
    columns = [count / len(labels), (sure @ member) / count.clamp(min=1), (right @ member) / count.clamp(min=1)]
    return torch.stack(columns, dim=1)


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """The expected calibration error (Naeini et al. 2015): the sum over bins of share·|accuracy - confidence|.

    >>> calibration_error(torch.tensor([[0.75, 0.25], [0.25, 0.75]]), torch.tensor([0, 0]))
    0.25
    """
    share, sure, right = reliability(probabilities, labels, bins).T
    return (share * (right - sure).abs()).sum().item()


def judge(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """What k networks (k, B, C), and their mean, are worth on labeled images: {name of the measure: number}.

    >>> judge(torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]]), torch.tensor([0]))["shared error c/v"]
    0.0
    """
    together = average(probabilities)
    v, c = error_moments(probabilities, labels)
    several = len(probabilities) > 1
    return {
        "accuracy": (together.argmax(1) == labels).double().mean().item(),
        "accuracy of a member": (probabilities.argmax(2) == labels).double().mean().item(),
        "log loss": F.nll_loss(together.clamp(min=1e-12).log(), labels).item(),
        "calibration error": calibration_error(together, labels),
        "disagreement": disagreement(probabilities) if several else 0.0,
        "shared error c/v": c / v if several else 1.0,
    }


METHODS = {
    "one long run": "one network, all epochs, cosine decay",
    "independent starts": "each network from its own random weights; each with cosine decay",
    "bagging": "the same, each on as many images drawn with replacement",
    "k-fold": "the same, each on all images but its own k-th part",
    "restarts": "one run, a cosine decay for each member, one network kept at the end of each (SGDR snapshots)",
    "restarts and hills": "the same, with a hill under every network that was kept before",
    "no restarts": "one run at a constant rate after the first decay, networks kept at the same moments",
    "hills": "the same, with a hill under every network that was kept before (Algorithm 3 of the thesis)",
}


def train_members(
    method: str,
    make_network: Callable[[int], nn.Module],
    images: Images,
    epochs: int,
    members: int,
    seed: int,
    batch_size: int = 128,
    lr: float = 0.01,
    hill: dict | None = None,
    device: str = "auto",
) -> list[nn.Module]:
    """The networks of an ensemble, in evaluation mode, trained in `epochs` epochs all together, whatever the method.

    method: one of METHODS. make_network: seed -> network whose output is the class scores. images: the training set.
    batch_size, lr: of SGD with momentum 0.9 and weight decay 2e-3, by default as in the thesis, section 2.2.4.
    hill: keyword arguments of DistancePenalty, for the methods with hills, which need it.
    Raises ValueError for an unknown method, and for epochs that cannot be shared out equally.

    >>> from labkit.data import load
    >>> network = lambda seed: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> len(train_members("bagging", network, load("digits"), epochs=3, members=3, seed=0, device="cpu"))
    3
    """
    checks.one_of("method", method, METHODS)
    if epochs % members:
        raise ValueError(f"epochs: got {epochs}, expected a multiple of the {members} members")
    if method.endswith("hills") and hill is None:
        raise ValueError("hill: got None, expected the arguments of DistancePenalty for a method with hills")
    one_run = method in ("restarts", "restarts and hills", "no restarts", "hills")
    kept, share = [], epochs if method == "one long run" else epochs // members
    penalty = DistancePenalty([], **hill) if method.endswith("hills") else None
    for member in range(epochs // share):
        if not (one_run and kept):
            network = make_network(1000 * seed + member)
        part = _part(method, images, member, members, seed)
        steps = max(1, len(images) // batch_size)  # as many in an epoch as with all images: the cost is the same
        batches = Batches(part, min(batch_size, len(part)), steps=steps, seed=1000 * seed + member)
        constant = kept and method in ("no restarts", "hills")
        fit(
            network,
            nn.CrossEntropyLoss(),
            batches,
            share,
            optimizer=lambda p: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=2e-3, fused=True),
            schedule=None if constant else lambda made, steps: LambdaLR(made, cosine_decay(steps)),
            penalty=penalty if kept else None,
            device=device,
            progress=False,
        )
        kept.append(copy.deepcopy(network))
        if penalty is not None:
            penalty.add_checkpoint(Checkpoint.of(network))
    return kept


def compare(
    method: str, make_network: Callable, train: Images, test: Images, epochs: int, members: int, seed: int, **settings
) -> dict[str, float]:
    """One way to an ensemble, judged on test images: what `judge` gives. Arguments as of `train_members`.

    >>> from labkit.data import load
    >>> network = lambda seed: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> compare("one long run", network, load("digits"), load("digits", "test"), 1, 1, seed=0)["disagreement"]
    0.0
    """
    networks = train_members(method, make_network, train, epochs, members, seed, **settings)
    return judge(probabilities(networks, test), test.labels)


def _part(method: str, images: Images, member: int, members: int, seed: int) -> Images:
    """The training images of one member."""
    random = torch.Generator().manual_seed(seed)
    if method == "bagging":
        random.manual_seed(1000 * seed + member)
        return images.take(torch.randint(len(images), (len(images),), generator=random))
    if method == "k-fold":
        fold = torch.randperm(len(images), generator=random) % members
        return images.take(fold != member)
    return images
