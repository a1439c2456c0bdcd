"""What a run is made of, beside its network: optimizer and schedule, as `fit` takes them, and the losses."""

import functools

import torch

from experiments.recipe import Recipe
from labkit import losses
from labkit.centroids import evenly_distributed


def optimizer(recipe: Recipe, rate: float, late: float | None = None, centroid_rate: float = 1e-3):
    """parameters -> SGD with Nesterov's momentum.

    late: as for `schedule`; the last parameter then is PEDCC's centroids, with no momentum and no weight decay.
    centroid_rate: their learning rate; that of paper 003 is 1e-3.
    """
    late_rate = None if late is None else centroid_rate
    return functools.partial(
        _sgd, lr=recipe.rate * rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay, late_rate=late_rate
    )


def _sgd(parameters, lr, momentum, weight_decay, late_rate):
    late = {"lr": late_rate, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    groups = [{"params": parameters}]
    if late_rate is not None:
        groups = [{"params": parameters[:-1]}, {"params": parameters[-1:], **late}]
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=True, fused=True)


def schedule(recipe: Recipe, late: float | None = None):
    """(optimizer, total steps) -> LambdaLR: up over the first `warm_up` of the steps, then down to 0, linearly.

    late: the share of the run, at its end, in which the second group of parameters is trained, at its own rate.
    """
    return functools.partial(_one_cycle, warm_up=recipe.warm_up, late=late)


def _one_cycle(optimizer, total_steps, warm_up, late):
    def cycle(step):
        done = step / total_steps
        return (step + 1) / (warm_up * total_steps + 1) if done < warm_up else (1 - done) / (1 - warm_up)

    def in_the_end(step):
        return float(step >= (1 - late) * total_steps)

    parts = [cycle, in_the_end][: len(optimizer.param_groups)]
    return torch.optim.lr_scheduler.LambdaLR(optimizer, parts)


# ---- the losses, as (classes, dim, steps, parameters) -> module


def softmax(classes, dim, steps):
    return losses.SoftmaxLoss(classes, dim)


def hinge(classes, dim, steps):
    return losses.HingeLoss(classes, dim)


def standard_triplet(classes, dim, steps, margin=0.2):
    return losses.TripletLoss(margin)


def exponential_triplet(classes, dim, steps, diameter=0.15):
    """diameter: the paper's c_n, which share of the largest distance a class may have; its overlap is c_n·classes."""
    return losses.ExponentialTripletLoss(classes, diameter * classes)


def composite(classes, dim, steps, base, parts=(), weight=1.0, **tuned):
    """Paper 000's equation 10: a triplet loss and, with `weight`, the L2-constrained softmax, the center loss, or both.

    The radius of the center loss is half of the diameter that a class may have in the ball of radius 1: c_n.
    """
    extra = {
        "class": lambda: losses.L2SoftmaxLoss(classes, dim, scale=2 * losses.smallest_scale(classes)),
        "center": lambda: losses.CenterLoss(classes, dim, radius=tuned.get("diameter", 0.15)),
    }
    return losses.WeightedSum({base(classes, dim, steps, **tuned): 1.0, **{extra[part](): weight for part in parts}})


def annealed(kind, classes, dim, steps, margin, lowest=5.0):
    """L-Softmax or A-Softmax whose annealing reaches its lowest value halfway through the run."""
    annealing = losses.Annealing(lowest, base=1500.0, rate=(1500.0 / lowest - 1) * 2 / steps)
    return kind(classes, dim, margin, annealing)


def l_softmax(classes, dim, steps, margin, lowest=5.0):
    return annealed(losses.LSoftmaxLoss, classes, dim, steps, margin, lowest)


def a_softmax(classes, dim, steps, margin, lowest=5.0):
    return annealed(losses.ASoftmaxLoss, classes, dim, steps, margin, lowest)


def am_softmax(classes, dim, steps, margin=0.5, scale=15.0):
    return losses.AMSoftmaxLoss(classes, dim, margin, scale)


def arcface(classes, dim, steps, margin=0.5, scale=15.0):
    return losses.ArcFaceLoss(classes, dim, margin, scale)


def center(classes, dim, steps, weight=0.01):
    return losses.WeightedSum({losses.SoftmaxLoss(classes, dim): 1.0, losses.CenterLoss(classes, dim): weight})


def pedcc(classes, dim, steps, root=1, margin=0.5, scale=15.0, learnable=False):
    centroids = evenly_distributed(classes, dim).float()
    return losses.PEDCCLoss(centroids, margin, scale, root, learnable=learnable)


def circle(classes, dim, steps, margin=0.25, gamma=80.0):
    return losses.CircleLoss(margin, gamma)
