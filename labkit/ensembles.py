"""Ensembles: many ways to several networks, and what their mean is worth (lab 09, paper 004, section 1.2.4).

The probabilities of k networks for B images are one tensor (k, B, C) here.
"""

import copy

import torch
from torch.nn import CrossEntropyLoss
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from labkit import checks
from labkit.data import Batches
from labkit.distancing import Checkpoint, DistancePenalty
from labkit.optimizers import cosine_decay
from labkit.training import embed, fit

# --- What an ensemble is worth -----------------------------------------------------------------------------------


def probabilities(networks, images):
    """What each network gives each class, (k, B, C): the softmax of its scores for images, a labkit.data.Images."""
    return torch.stack([embed(network, images).softmax(1) for network in networks])


def average(probabilities, weights=None):
    """Model averaging: Σ w_i·p_i over k networks, (k, B, C) -> (B, C), with weights (k,) that are divided by their sum.

    Without weights all count the same. Paper 004, section 1.2.4.
    """
    if weights is None:
        return probabilities.mean(0)
    weights = torch.as_tensor(weights).to(probabilities)
    if weights.shape != probabilities.shape[:1] or not (weights >= 0).all() or not weights.sum() > 0:
        raise ValueError(f"weights: got {weights.tolist()}, expected {len(probabilities)} of at least 0, not all 0")
    return torch.tensordot(weights / weights.sum(), probabilities, dims=1)


def disagreement(probabilities):
    """The share of images on which two networks name different classes, the mean over all pairs of the k networks."""
    named = probabilities.argmax(2)
    first, second = torch.triu_indices(len(named), len(named), offset=1)
    if not len(first):
        raise ValueError("probabilities: got one network, expected at least two")
    return (named[first] != named[second]).double().mean().item()


def error_moments(probabilities, labels):
    """v and c of equation 1.14 of paper 004: the mean square of an error, and the mean product of two networks' errors.

    The error of a network is its probabilities less 1 at the right class; squares and products are summed over the
    classes, and averaged over the images and the networks or pairs of networks. The mean of k networks has the mean
    squared error v/k + (k-1)/k·c, exactly.
    """
    errors = probabilities.double() - F.one_hot(labels, probabilities.shape[2])
    k = len(errors)
    v = errors.square().sum(2).mean().item()
    whole = errors.mean(0).square().sum(1).mean().item()
    return v, (k * whole - v) / (k - 1) if k > 1 else float("nan")


def reliability(probabilities, labels, bins=15):
    """How sure and how often right: (bins, 3) rows of share of the images, mean confidence and accuracy of a bin.

    probabilities (B, C). The confidence is that of the class named; bins are equally wide, and open to the left.
    """
    sure, named = probabilities.double().max(1)
    edges = torch.linspace(0, 1, checks.whole("bins", bins) + 1, dtype=torch.float64)
    place = (torch.bucketize(sure, edges) - 1).clamp(min=0)
    member = F.one_hot(place, bins).double()
    count = member.sum(0)
    right = (named == labels).double()
    columns = [count / len(labels), (sure @ member) / count.clamp(min=1), (right @ member) / count.clamp(min=1)]
    return torch.stack(columns, dim=1)


def calibration_error(probabilities, labels, bins=15):
    """The expected calibration error (Naeini et al. 2015): the sum over bins of share·|accuracy - confidence|."""
    share, sure, right = reliability(probabilities, labels, bins).T
    return (share * (right - sure).abs()).sum().item()


def judge(probabilities, labels):
    """What k networks (k, B, C), and their mean, are worth on labeled images: {name of the measure: number}."""
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


# --- Ways to several networks ------------------------------------------------------------------------------------

METHODS = (
    "one long run",
    "independent starts",
    "bagging",
    "k-fold",
    "restarts",
    "restarts and hills",
    "no restarts",
    "hills",
)


def train_members(
    method,
    make_network,
    images,
    epochs,
    members,
    seed,
    batch_size=128,
    lr=0.01,
    momentum=0.9,
    weight_decay=2e-3,
    hill=None,
    device="auto",
):
    """The networks of an ensemble, trained in `epochs` epochs all together, whatever the method.

    make_network  seed -> nn.Module whose output is the class scores
    images        labkit.data.Images of the training set
    hill          keyword arguments of DistancePenalty, for the methods with hills
    others        of the optimizer, SGD; the defaults are the configuration of paper 004, section 2.2.4, whose L2 factor
                  λ = 1e-3 in λ‖θ‖² is a weight decay of 2λ

    "one long run"        one network, all epochs, cosine decay
    "independent starts"  each network from its own random weights; each with cosine decay
    "bagging"             the same, each on as many images drawn with replacement
    "k-fold"              the same, each on all images but its own k-th part
    "restarts"            one run, a cosine decay for each member, one network kept at the end of each (SGDR snapshots)
    "restarts and hills"  the same, with a hill under every network that was kept before
    "no restarts"         one run at a constant rate after the first decay, networks kept at the same moments
    "hills"               the same, with a hill under every network that was kept before (Algorithm 3 of paper 004)

    Returns a list of networks, in evaluation mode. Raises ValueError for an unknown method, epochs that cannot be
    shared out equally, and a method with hills without `hill`.
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
        constant = kept and method in ("no restarts", "hills")
        fit(
            network,
            CrossEntropyLoss(),
            _batches(_part(method, images, member, members, seed), batch_size, len(images), 1000 * seed + member),
            share,
            optimizer=lambda p: torch.optim.SGD(p, lr, momentum=momentum, weight_decay=weight_decay),
            schedule=None if constant else lambda made, steps: LambdaLR(made, cosine_decay(steps)),
            penalty=penalty if kept else None,
            device=device,
            progress=False,
        )
        kept.append(copy.deepcopy(network))
        if penalty is not None:
            penalty.add_checkpoint(Checkpoint.of(network))
    return kept


def compare(method, make_network, train, test, epochs, members, seed, **settings):
    """One way to an ensemble, judged on test images: what `judge` gives. Arguments as of `train_members`."""
    networks = train_members(method, make_network, train, epochs, members, seed, **settings)
    return judge(probabilities(networks, test), test.labels)


def _batches(part, batch_size, of, seed):
    """Batches of a part of `of` images: as many steps in an epoch as with all of them, so that the cost is the same."""
    return Batches(part, min(batch_size, len(part)), steps=max(1, of // batch_size), seed=seed)


def _part(method, images, member, members, seed):
    """The training images of one member."""
    random = torch.Generator().manual_seed(seed)
    if method == "bagging":
        random.manual_seed(1000 * seed + member)
        return images.take(torch.randint(len(images), (len(images),), generator=random))
    if method == "k-fold":
        fold = torch.randperm(len(images), generator=random) % members
        return images.take(fold != member)
    return images
