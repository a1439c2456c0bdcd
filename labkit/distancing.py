"""Checkpoint distancing: a hill under the weights that a network should leave behind (lab 09, paper 004).

    h(θ) = s·exp(-D²/(2σ²)),    D² = Σ_j (θ_j - θ_cj)²,    ∇h = -(s/σ²)(θ - θ_c)·exp(-D²/(2σ²))

is the penalty for being near a checkpoint θ_c (equations 2.2, 2.4 and 2.12; in 2.13 to 2.18 the exponent must hold the
full D²). Descent goes along -∇h: the push is s·exp(-½)/σ at most, at D = σ, and 0 at the checkpoint.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labkit import checks
from labkit.distances import result_dtype

PIECE = 2**17  # entries whose squares are summed at once
NORMALIZATION = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class Distance(NamedTuple):
    """How far a network is from a checkpoint: sum is the Euclidean distance D, rms is D/√N, for N weights.

    >>> Distance(sum=2.0, rms=0.5).rms
    0.5
    """

    sum: float
    rms: float


class Checkpoint:
    """A copy of weights, `tensors`: {name of the parameter: floating-point tensor}, which torch.save takes as it is.

    >>> network = nn.Linear(2, 1)
    >>> Checkpoint.of(network).size, Checkpoint.of(network).distance(network)
    (3, Distance(sum=0.0, rms=0.0))
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        if not tensors:
            raise ValueError("tensors: got none, expected at least one trainable parameter")
        self.tensors = dict(tensors)

    @classmethod
    def of(cls, network: nn.Module, normalization: bool = True) -> "Checkpoint":
        """A copy of the parameters that require a gradient; normalization=False leaves out those of such layers."""
        left_out = set()
        for path, module in network.named_modules():
            if isinstance(module, NORMALIZATION) and not normalization:
                left_out |= {name for name, _ in module.named_parameters(prefix=path, recurse=False)}
        kept = ((name, p) for name, p in network.named_parameters() if p.requires_grad and name not in left_out)
        return cls({name: parameter.detach().clone() for name, parameter in kept})

    @property
    def size(self) -> int:
        """N, the number of weights."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    def distance(self, network: nn.Module) -> Distance:
        """The `Distance` of a network from this checkpoint; a GPU is waited for. ValueError if it does not fit."""
        with torch.no_grad():
            pairs = zip(_parameters(network, self), self.tensors.values(), strict=True)
            squared = _sum_of_squares([parameter - _as(center, parameter) for parameter, center in pairs]).item()
        return Distance(math.sqrt(squared), math.sqrt(squared / self.size))


@dataclass(eq=False)
class DistancePenalty:
    """The sum of the hills that stand at some checkpoints.

    checkpoints: a Checkpoint or a list of them, all of the same parameters; may be empty (`add_checkpoint`).
    strength: s, the height of a hill, at least 0. Its greatest push is s/(σ·√e), at the distance σ.
    sigma: σ, the width of a hill, above 0, in units of the measure.
    measure: "sum" (default), D² as above, or "mean", D²/N for N weights, so that σ is a root mean square per weight.
    jitter: the hill stands jitter·σ beside the checkpoint, in a random direction, default 0. At the top of a hill its
        gradient is 0: without jitter, or noise from minibatches, a network at rest there stays for ever.
    seed: of those directions, default 0.
    Two ways to use it, which give the same gradient: `loss + penalty(network)` before the backward pass, or
    `penalty.add_gradient(network)` after it, which costs a fraction. Raises ValueError for bad arguments.

    >>> network = nn.Linear(2, 1)
    >>> DistancePenalty(Checkpoint.of(network), strength=0.5, sigma=1.0)(network).item()
    0.5
    """

    checkpoints: Checkpoint | Iterable[Checkpoint] = field(repr=False)
    strength: float
    sigma: float
    measure: str = "sum"
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self):
        checks.non_negative("strength", self.strength)
        checks.positive("sigma", self.sigma)
        checks.one_of("measure", self.measure, ("sum", "mean"))
        checks.non_negative("jitter", self.jitter)
        self._layout, self._centers, self._buffers = None, [], None
        given, self.checkpoints = self.checkpoints, []
        for checkpoint in [given] if isinstance(given, Checkpoint) else given:
            self.add_checkpoint(checkpoint)

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """One more hill. Raises ValueError unless the checkpoint holds the same parameters as those before."""
        if not isinstance(checkpoint, Checkpoint):
            raise ValueError(f"checkpoint: got {checks.describe(checkpoint)}, expected a Checkpoint")
        if self.checkpoints:
            _check_fit("checkpoint", checkpoint.tensors, self.checkpoints[0].tensors, both_ways=True)
        self.checkpoints.append(checkpoint)

    def __call__(self, network: nn.Module) -> Tensor:
        """The penalty, a scalar with its graph. ValueError for another network."""
        if not self.checkpoints:
            return torch.zeros(())
        parameters = _parameters(network, self.checkpoints[0])
        strength, width = self.strength, self._width()
        hills = []
        for centers in self._placed(parameters):
            squared = _sum_of_squares([p - c for p, c in zip(parameters, centers, strict=True)])
            hills.append(strength * torch.exp(-squared / (2 * width**2)))
        return torch.stack(hills).sum()

    def add_gradient(self, network: nn.Module) -> Tensor:
        """Adds the penalty's gradient to the network's, between backward pass and clipping; returns the penalty."""
        with torch.no_grad():
            if not self.checkpoints:
                return torch.zeros(())
            parameters = _parameters(network, self.checkpoints[0])
            strength, width = self.strength, self._width()
            trained = [number for number, parameter in enumerate(parameters) if parameter.requires_grad]
            for parameter in parameters:
                if parameter.requires_grad and parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            gradients = [parameters[number].grad for number in trained]
            total = 0
            for centers in self._placed(parameters):
                for difference, parameter, center in zip(self._buffers, parameters, centers, strict=True):
                    torch.sub(parameter, center, out=difference)  # to allocate memory anew takes as long as this
                hill = strength * torch.exp(-_sum_of_squares(self._buffers) / (2 * width**2))
                total = total + hill
                if trained:
                    pushes = [self._buffers[number] for number in trained]
                    if hill.device.type == "cpu":  # a number instead of a tensor spares a pass over all weights
                        torch._foreach_add_(gradients, pushes, alpha=-hill.item() / width**2)
                    else:  # a GPU would have to be waited for
                        torch._foreach_add_(gradients, torch._foreach_mul(pushes, -hill / width**2))
            return total

    def _width(self) -> float:
        """σ in units of "sum"."""
        return self.sigma * (math.sqrt(self.checkpoints[0].size) if self.measure == "mean" else 1)

    def _placed(self, parameters: list[Tensor]) -> list[list[Tensor]]:
        """For each hill its center: tensors on the device, in the dtype (float32 at least) and layout of parameters."""
        with torch.no_grad():
            layout = [(p.device, p.dtype, p.stride()) for p in parameters]
            if layout != self._layout:
                self._layout, self._centers = layout, []
                self._buffers = [torch.empty_like(p, dtype=result_dtype(p), requires_grad=False) for p in parameters]
            for number in range(len(self._centers), len(self.checkpoints)):
                tensors = list(self.checkpoints[number].tensors.values())
                centers = [_as(tensor, p) for tensor, p in zip(tensors, parameters, strict=True)]
                if self.jitter:
                    directions = _direction(tensors, self.seed + number, self.jitter * self._width())
                    centers = [c + d.to(c.dtype).to(c.device) for c, d in zip(centers, directions, strict=True)]
                self._centers.append(centers)
            return self._centers


def equilibrium(strength: float, sigma: float, curvature: float) -> float:
    """σ·√(2 ln(s/(λσ²))): how far a hill keeps weights from a checkpoint at the bottom of a quadratic bowl ½λD².

    0 if s ≤ λσ²: the hill is too flat. strength: s ≥ 0. sigma: σ > 0, in units of "sum". curvature: λ > 0, the
    eigenvalue of the Hessian along the path. Raises ValueError for values out of range.

    >>> round(equilibrium(strength=1.0, sigma=0.5, curvature=1.0), 3), equilibrium(0.2, 0.5, 1.0)
    (0.833, 0.0)
    """
    strength = checks.non_negative("strength", strength)
    steepness = checks.positive("curvature", curvature) * checks.positive("sigma", sigma) ** 2
    return sigma * math.sqrt(2 * math.log(strength / steepness)) if strength > steepness else 0.0


def _parameters(network: nn.Module, checkpoint: Checkpoint) -> list[Tensor]:
    """The parameters of `network` that are in the checkpoint, in its order. ValueError if they do not fit."""
    found = dict(network.named_parameters())
    _check_fit("network", found, checkpoint.tensors)
    return [found[name] for name in checkpoint.tensors]


def _check_fit(what: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], both_ways: bool = False) -> None:
    """ValueError unless `found` has the parameters that are expected, and with both_ways no others."""
    got, wanted = ({name: tuple(tensor.shape) for name, tensor in one.items()} for one in (found, expected))
    names = wanted | got if both_ways else wanted
    wrong = [f"{name} {got.get(name)}, not {wanted.get(name)}" for name in names if got.get(name) != wanted.get(name)]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(f"{what}: got shapes {'; '.join(wrong[:5])}{more}, expected those of the checkpoint")


def _as(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The tensor on the device, in the dtype (float32 at least) and the layout of the parameter; itself, if it is."""
    wanted = parameter.device, result_dtype(parameter), parameter.stride()
    if (tensor.device, tensor.dtype, tensor.stride()) == wanted:
        return tensor
    return torch.empty_like(parameter, dtype=wanted[1], requires_grad=False).copy_(tensor)


def _sum_of_squares(tensors: list[Tensor]) -> Tensor:
    """Of all entries; on a CPU by inner products of pieces, since one product over millions would be off by 1e-5."""
    if tensors[0].device.type != "cpu":
        return torch.stack([tensor.square().sum() for tensor in tensors]).sum()
    in_memory = (t.permute(sorted(range(t.ndim), key=t.stride, reverse=True)).reshape(-1) for t in tensors)  # no copies
    pieces = [piece for vector in in_memory for piece in vector.split(PIECE)]
    return torch.stack([torch.dot(piece, piece) for piece in pieces]).sum()


def _direction(tensors: list[Tensor], seed: int, norm: float) -> list[Tensor]:
    """Tensors of these shapes, on the CPU: together a vector of length `norm`, in a random direction."""
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(tensor.shape, generator=generator, dtype=torch.float64) for tensor in tensors]
    scale = norm / _sum_of_squares(noise).sqrt()
    return [tensor * scale for tensor in noise]
