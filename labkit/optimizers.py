"""Optimizers written out (lab 03), each `update` line by line beside its formula, and schedules of the learning rate.

Each class is a torch Optimizer and makes the same steps as its namesake in torch.optim, whose fused forms are faster.
In the formulas θ is a parameter, g its gradient, η the learning rate, t counts steps from 1, and squares, roots and
quotients are taken entry by entry. All of them take

    params: tensors, or parameter groups, dicts with "params" and options of their own.
    lr: learning rate η, at least 0. eps: at least 0, default 1e-8, keeps the quotient finite.
    weight_decay: at least 0, default 0: adds weight_decay·θ to the gradient (L2 regularization).

A schedule is a function of the step, counted from 0, that returns a factor on the first learning rate, for torch's
`LambdaLR(optimizer, cosine_decay(steps))`. All raise ValueError for arguments outside their range.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from labkit import checks


class _Optimizer(torch.optim.Optimizer):
    """What the optimizers share: go through the parameters that have a gradient, and `update` each of them."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Make one step. `closure`, if given, computes loss and gradients anew; its loss is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            decay = 0 if group.get("decoupled") else group["weight_decay"]
            for parameter in group["params"]:
                if parameter.grad is not None:
                    gradient = parameter.grad + decay * parameter if decay else parameter.grad  # of ½·decay·‖θ‖² too
                    self.update(parameter, gradient, self.state[parameter], group)
        return loss

    def update(self, parameter: Tensor, gradient: Tensor, state: dict, options: dict) -> None:
        """Change `parameter` in place. `state` is its dict, empty at first; `options` its group's lr and so on."""
        raise NotImplementedError

    def add_param_group(self, param_group: dict) -> None:
        """As in torch. Raises ValueError for an option outside its range."""
        super().add_param_group(param_group)
        for name, value in self.param_groups[-1].items():
            if name in _CHECKS:
                _CHECKS[name](name, value)


class SGD(_Optimizer):
    """Gradient descent, with momentum v if `momentum` α is not 0 (papers 002 and 004; Polyak 1964).

        v ← α·v + g        θ ← θ - η·v

    Papers 002 and 004 keep η inside the velocity, v ← α·v - η·g and θ ← θ + v: the same steps if η is constant.

    momentum: α, at least 0 and below 1, default 0.
    nesterov: step along g + α·v, the gradient's part a step ahead (Sutskever et al. 2013); it needs momentum.

    >>> x = torch.tensor([3.0]); x.grad = torch.tensor([2.0])
    >>> SGD([x], lr=0.5).step(); x
    tensor([2.])
    """

    def __init__(
        self, params: Iterable, lr: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ):
        super().__init__(params, dict(lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay))
        if any(group["nesterov"] and group["momentum"] == 0 for group in self.param_groups):
            raise ValueError("nesterov: got momentum 0, expected one above 0")

    def update(self, parameter: Tensor, gradient: Tensor, state: dict, options: dict) -> None:
        lr, momentum = options["lr"], options["momentum"]
        if momentum == 0:
            parameter -= lr * gradient
            return
        state["velocity"] = velocity = momentum * state.get("velocity", 0) + gradient
        parameter -= lr * (gradient + momentum * velocity if options["nesterov"] else velocity)


class RMSProp(_Optimizer):
    """Steps divided by the root of a running mean v of squared gradients (paper 002; Tieleman and Hinton 2012).

        v ← ρ·v + (1-ρ)·g²        θ ← θ - η·g / (√v + eps)

    Paper 002 adds eps under the root. v starts at 0, so the first step has length η/√(1-ρ), ten times η by default.

    decay: ρ, at least 0 and below 1, default 0.99.

    >>> x = torch.tensor([3.0]); x.grad = torch.tensor([2.0])
    >>> RMSProp([x], lr=0.5).step(); x
    tensor([-2.0000])
    """

    def __init__(self, params: Iterable, lr: float, decay: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0):
        super().__init__(params, dict(lr=lr, decay=decay, eps=eps, weight_decay=weight_decay))

    def update(self, parameter: Tensor, gradient: Tensor, state: dict, options: dict) -> None:
        decay = options["decay"]
        state["square"] = square = decay * state.get("square", 0) + (1 - decay) * gradient**2
        parameter -= options["lr"] * gradient / (square.sqrt() + options["eps"])


class Adam(_Optimizer):
    """Running means of the gradient (m) and of its square (v), corrected for their start at 0 (Kingma and Ba 2015).

        m ← β₁·m + (1-β₁)·g        m̂ = m / (1-β₁ᵗ)
        v ← β₂·v + (1-β₂)·g²       v̂ = v / (1-β₂ᵗ)        θ ← θ - η·m̂ / (√v̂ + eps)

    betas: (β₁, β₂), each at least 0 and below 1, default 0.9 and 0.999.
    bias_correction: False for m̂ = m and v̂ = v, as in paper 002.
    decoupled: True to shrink θ by the factor 1 - η·weight_decay before the step (AdamW: Loshchilov, Hutter 2019),
        instead of adding weight_decay·θ to the gradient.

    >>> x = torch.tensor([3.0]); x.grad = torch.tensor([2.0])
    >>> Adam([x], lr=0.5).step(); x
    tensor([2.5000])
    """

    def __init__(
        self,
        params: Iterable,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        bias_correction: bool = True,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ):
        options = dict(lr=lr, betas=betas, eps=eps, bias_correction=bias_correction)
        super().__init__(params, {**options, "weight_decay": weight_decay, "decoupled": decoupled})

    def update(self, parameter: Tensor, gradient: Tensor, state: dict, options: dict) -> None:
        lr, step = options["lr"], state.get("step", 0) + 1
        mean, square = _running_means(gradient, state, options["betas"])
        if options["bias_correction"]:
            beta1, beta2 = options["betas"]
            mean, square = mean / (1 - beta1**step), square / (1 - beta2**step)
        if options["decoupled"]:
            parameter *= 1 - lr * options["weight_decay"]
        parameter -= lr * mean / (square.sqrt() + options["eps"])
        state["step"] = step


class RAdam(_Optimizer):
    """Adam that steps by m̂ alone until v̂ is known well enough, then by r·m̂/√v̂ (Liu et al. 2020).

        ρ∞ = 2/(1-β₂) - 1        ρ = ρ∞ - 2·t·β₂ᵗ/(1-β₂ᵗ)        r = √[(ρ-4)(ρ-2)ρ∞ / ((ρ∞-4)(ρ∞-2)ρ)]
        θ ← θ - η·r·m̂·√(1-β₂ᵗ) / (√v + eps)   if ρ > 5,   else   θ ← θ - η·m̂

    ρ counts roughly how many squares v is a mean of. The paper's limit is 4; its authors' code and torch have 5.

    betas, eps: as for Adam.

    >>> x = torch.tensor([3.0]); x.grad = torch.tensor([2.0])
    >>> RAdam([x], lr=0.5).step(); x
    tensor([2.])
    """

    def __init__(
        self, params: Iterable, lr: float, betas: tuple = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0
    ):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    def update(self, parameter: Tensor, gradient: Tensor, state: dict, options: dict) -> None:
        lr, step = options["lr"], state.get("step", 0) + 1
        beta1, beta2 = options["betas"]
        mean, square = _running_means(gradient, state, options["betas"])
        move = mean / (1 - beta1**step)
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2**step / (1 - beta2**step)
        if length > 5:
            variance = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            move *= math.sqrt(variance * (1 - beta2**step)) / (square.sqrt() + options["eps"])
        parameter -= lr * move
        state["step"] = step


def _running_means(gradient: Tensor, state: dict, betas: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """The exponential averages of gradient and squared gradient that Adam keeps, after one more gradient."""
    beta1, beta2 = betas
    state["mean"] = beta1 * state.get("mean", 0) + (1 - beta1) * gradient
    state["square"] = beta2 * state.get("square", 0) + (1 - beta2) * gradient**2
    return state["mean"], state["square"]


def step_decay(every: int, factor: float = 0.1) -> Callable[[int], float]:
    """The learning rate times `factor` after every `every` steps (paper 004, eq. 1.9): factor^⌊step/every⌋.

    every: whole number of steps, at least 1. factor: from 0 to 1, default 0.1.

    >>> [step_decay(10, factor=0.5)(step) for step in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """
    checks.whole("every", every)
    checks.non_negative("factor", factor, at_most=1)
    return lambda step: factor ** (step // every)


def cosine_decay(steps: int, lowest: float = 0.0) -> Callable[[int], float]:
    """Half a cosine wave from 1 down to `lowest` (paper 004, eq. 1.10): lowest + ½(1-lowest)(1 + cos(π·step/steps)).

    steps: whole number of steps until `lowest` is reached, at least 1; there it stays (torch's CosineAnnealingLR rises
        again). lowest: the smallest factor, from 0 to 1, default 0.

    >>> [round(cosine_decay(100)(step), 3) for step in (0, 50, 100, 150)]
    [1.0, 0.5, 0.0, 0.0]
    """
    checks.whole("steps", steps)
    checks.non_negative("lowest", lowest, at_most=1)
    return lambda step: lowest + (1 - lowest) * (1 + math.cos(math.pi * min(step / steps, 1))) / 2


def warm_restarts(first: int, lowest: float = 0.0) -> Callable[[int], float]:
    """Cosine decays one after the other, each beginning at 1 again (Loshchilov and Hutter 2017; paper 004, 1.2.3).

    first: steps in a cycle, whole, at least 1. lowest: the smallest factor, from 0 to 1, default 0.

    >>> [round(warm_restarts(10)(step), 3) for step in (0, 5, 10, 25)]
    [1.0, 0.5, 1.0, 0.5]
    """
    decay = cosine_decay(checks.whole("first", first), lowest)
    return lambda step: decay(step % first)


def _below_one(name: str, value: float) -> None:
    if checks.non_negative(name, value) >= 1:
        raise ValueError(f"{name}: got {value!r}, expected a number of at least 0 and below 1")


def _two_below_one(name: str, value: tuple[float, float]) -> None:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{name}: got {value!r}, expected two numbers")
    for number in value:
        _below_one(name, number)


_CHECKS = dict.fromkeys(("lr", "eps", "weight_decay"), checks.non_negative)
_CHECKS |= {"momentum": _below_one, "decay": _below_one, "betas": _two_below_one}
