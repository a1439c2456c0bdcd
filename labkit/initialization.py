"""Where the weights of a network start, and what a signal meets on its way through a deep one (lab 02).

With independent weights of mean 0, a layer's output has fan_in · Var[weight] times the mean square of its input, and a
gradient fan_out · Var[weight] times that of the gradient above. Glorot's and He's schemes keep these factors near 1.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from labkit import checks

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
SCHEMES = tuple("zeros constant normal uniform glorot_normal glorot_uniform he_normal he_uniform orthogonal".split())
SATURATED = 0.97  # of the largest output; tanh has a slope below 0.06 there
BOUNDED = {nn.Tanh: (0.0, 1.0), nn.Sigmoid: (0.5, 0.5)}  # middle and half of the range of outputs


def fans(layer: nn.Module) -> tuple[int, int]:
    """(fan_in, fan_out) of a linear or convolutional layer. Raises ValueError for any other layer.

    fan_in: how many inputs an output adds up; fan_out: how many outputs an input goes into (away from the border, at
    stride 1). torch.nn.init, which does not see groups, gives `groups` times this fan_out.

    >>> fans(nn.Conv2d(3, 16, 5)), fans(nn.Linear(100, 10))
    ((75, 400), (100, 10))
    """
    if not isinstance(layer, LAYERS):
        raise ValueError(f"layer: got {type(layer).__name__}, expected nn.Linear or nn.Conv1d, 2d or 3d")
    outputs, inputs_of_one, *kernel = layer.weight.shape
    places = math.prod(kernel)  # of the kernel; 1 for a linear layer
    return inputs_of_one * places, outputs // getattr(layer, "groups", 1) * places


def gain(activation: str, slope: float = 0.01) -> float:
    """The factor on the weights' standard deviation that makes up for what an activation takes away.

    activation: "linear" 1; "relu" √2, since it keeps half of the mean square of a symmetric signal (He and others
        2015); "leaky_relu" √(2/(1 + slope²)), in the same way; "tanh" 5/3, a rule of thumb. As torch's calculate_gain.
    slope: of leaky ReLU below 0, default 0.01. Raises ValueError for another activation and a negative slope.

    >>> gain("tanh"), round(gain("relu") ** 2, 9)
    (1.6666666666666667, 2.0)
    """
    slope = checks.non_negative("slope", slope)
    gains = {"linear": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "leaky_relu": math.sqrt(2 / (1 + slope**2))}
    return gains[checks.one_of("activation", activation, tuple(gains))]


def initialize(
    module: nn.Module,
    scheme: str,
    activation: str | None = None,
    *,
    scale: float = 0.01,
    slope: float = 0.01,
    generator: Generator | int | None = None,
) -> nn.Module:
    """Give every linear and convolutional layer of `module` new weights, and zero biases; return the module.

    scheme: "zeros" or "constant" (`scale`): all units of a layer stay equal, nothing is learned;
        "normal", N(0, scale²); "uniform", U(-scale, scale);
        "glorot_normal", variance gain²·2/(fan_in + fan_out), or "glorot_uniform", the same variance, also
        called Xavier's (Glorot and Bengio 2010, eq. 16; the thesis, eq. 1.8);
        "he_normal", variance gain²/fan_in (He and others 2015, eq. 10; lecture), or "he_uniform", the same variance;
        "orthogonal", gain times a random matrix with orthonormal rows or columns (Saxe, McClelland, Ganguli 2014).
    activation: what follows the layers, see `gain`. Default: "relu" for He's schemes, "linear" (gain 1) for the others.
    scale, slope: of "constant", "normal" and "uniform"; of leaky ReLU. Both by default 0.01.
    generator: a torch.Generator, or a whole number to seed one; default: torch's own, on the CPU.
    Other layers (normalization, embedding tables, transposed convolutions, attention) keep what they have.
    Raises ValueError for an unknown scheme or activation, a negative scale, and a module without such a layer.

    >>> network = initialize(nn.Sequential(nn.Linear(1000, 1000), nn.ReLU()), "he_normal", generator=0)
    >>> round(network[0].weight.var().item(), 5), network[0].bias.abs().max().item()
    (0.002, 0.0)
    """
    checks.one_of("scheme", scheme, SCHEMES)
    scale = checks.non_negative("scale", scale)
    if activation is None:
        activation = "relu" if scheme.startswith("he") else "linear"
    factor = gain(activation, slope)
    layers = [layer for layer in module.modules() if isinstance(layer, LAYERS)]
    if not layers:
        raise ValueError(f"module: got {type(module).__name__}, expected one with a linear or convolutional layer")
    if isinstance(generator, int):
        generator = Generator().manual_seed(generator)
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(_draw(layer, scheme, factor, scale, generator))
            if layer.bias is not None:
                layer.bias.zero_()
    return module


def _draw(layer: nn.Module, scheme: str, factor: float, scale: float, generator: Generator | None) -> Tensor:
    """New weights for one layer."""
    dtype = layer.weight.dtype if layer.weight.dtype == torch.float64 else torch.float32
    device = "cpu" if generator is None else generator.device
    weight = torch.empty(layer.weight.shape, dtype=dtype, device=device)
    if scheme in ("zeros", "constant"):
        return weight.fill_(scale if scheme == "constant" else 0)
    if scheme == "orthogonal":
        return nn.init.orthogonal_(weight, factor, generator=generator)
    fan_in, fan_out = fans(layer)
    if scheme in ("normal", "uniform"):
        std, bound = scale, scale
    else:
        he, glorot = factor / math.sqrt(fan_in), factor * math.sqrt(2 / (fan_in + fan_out))
        std = he if scheme.startswith("he") else glorot
        bound = math.sqrt(3) * std  # U(-b, b) has the variance b²/3
    if scheme.endswith("normal"):
        return weight.normal_(0, std, generator=generator)
    return weight.uniform_(-bound, bound, generator=generator)


@dataclass(frozen=True)
class LayerSignal:
    """What comes out of one layer, over all images and units, and the gradient that comes back to it.

    name, kind: of the layer in the network, and its class.
    mean, std, zeros: of the outputs; zeros is the share of them that is exactly 0.
    saturated: for Tanh and Sigmoid the share of outputs in the outer 3 % of the range, else None.
    gradient_std: standard deviation of the gradient to the outputs; NaN where none comes back.

    >>> LayerSignal("0", "Linear", mean=3.0, std=4.0, zeros=0.0, saturated=None).rms
    5.0
    """

    name: str
    kind: str
    mean: float
    std: float
    zeros: float
    saturated: float | None
    gradient_std: float = math.nan

    @property
    def rms(self) -> float:
        """Root of the mean square: what He's variance keeps. Equal to `std` where the mean is 0."""
        return math.hypot(self.mean, self.std)


def signal_statistics(network: nn.Module, inputs: Tensor) -> list[LayerSignal]:
    """Send inputs through a network and a gradient back, and return a LayerSignal for every layer, in order.

    network: any module. A layer is a module without parts of its own (nn.Linear, nn.ReLU, ...); one that is used twice
        is listed twice. The network runs in the mode it is in; nothing of it changes, not even running means.
    inputs: floating-point tensor (B, ...) that the network takes; ValueError for others, and for values not finite.
    The gradient of the output is independent normal numbers of variance 1, the same each time.

    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> [(layer.name, layer.kind) for layer in signal_statistics(network, torch.ones(2, 4))]
    [('0', 'Linear'), ('1', 'ReLU')]
    """
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim < 2 or not len(inputs):
        raise ValueError(f"inputs: got {checks.describe(inputs)}, expected a floating-point tensor of shape (B, ...)")
    checks.finite("inputs", inputs, wait=True)
    start = inputs.detach().requires_grad_()
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    signals, gradients = [], {}

    def watch(name):
        def note(layer, _, output):
            if not isinstance(output, Tensor):
                return
            number = len(signals)
            signals.append(_signal(name, layer, output.detach()))
            if output.requires_grad:
                # A hook on the tensor sees its gradient even if the next layer overwrites its values.
                output.register_hook(lambda arrived: gradients.update({number: _mean_and_std(arrived)[1]}))

        return note

    layers = [(name, layer) for name, layer in network.named_modules() if not list(layer.children())]
    handles = [layer.register_forward_hook(watch(name)) for name, layer in layers]
    try:
        with torch.enable_grad():
            output = torch.func.functional_call(network, buffers, (start.clone(),))
            gradient = torch.randn(output.shape, generator=Generator().manual_seed(0), dtype=torch.float64)
            torch.autograd.grad(output, start, gradient.to(output))
    finally:
        for handle in handles:
            handle.remove()
    return [replace(signal, gradient_std=gradients.get(n, math.nan)) for n, signal in enumerate(signals)]


def _signal(name: str, layer: nn.Module, output: Tensor) -> LayerSignal:
    kind, saturated = type(layer).__name__, None
    if type(layer) in BOUNDED:
        middle, half = BOUNDED[type(layer)]
        saturated = _share((output - middle).abs() > SATURATED * half)
    return LayerSignal(name or kind, kind, *_mean_and_std(output), _share(output == 0), saturated)


def _mean_and_std(values: Tensor) -> tuple[float, float]:
    values = values.detach().cpu().double()
    return values.mean().item(), values.std(correction=0).item()


def _share(mask: Tensor) -> float:
    return mask.cpu().double().mean().item()
