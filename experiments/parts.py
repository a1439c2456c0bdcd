"""The optimizer and the schedule of the recipes, as `fit` takes them."""

import functools

import torch

from experiments.recipe import Recipe


def optimizer(recipe: Recipe, rate: float, late: float | None = None):
    """parameters -> SGD with Nesterov's momentum.

    late: as for `schedule`; the last parameter then is PEDCC's centroids, with a learning rate of 1e-3 (paper 003), no
        momentum and no weight decay.
    """
    return functools.partial(
        _sgd, lr=recipe.rate * rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay, late=late is not None
    )


def _sgd(parameters, lr, momentum, weight_decay, late):
    groups = [{"params": parameters[:-1] if late else parameters}]
    if late:
        groups.append({"params": parameters[-1:], "lr": 1e-3, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0})
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
