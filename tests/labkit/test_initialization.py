"""labkit.initialization: schemes against torch.nn.init and their formulas, signals against hand-computed ones."""

import itertools
import math
import statistics

import pytest
import torch
from torch import nn

from labkit.initialization import LayerSignal, fans, gain, initialize, signal_statistics

F64 = torch.float64
ACTIVATIONS = {"linear": nn.Identity, "tanh": nn.Tanh, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}
LAYERS = {
    "linear": lambda: nn.Linear(30, 20),
    "tall": lambda: nn.Linear(20, 30),
    "conv": lambda: nn.Conv2d(3, 8, 5),
    "conv of one channel": lambda: nn.Conv1d(1, 32, 3),
    "volume": lambda: nn.Conv3d(4, 6, (1, 2, 3), bias=False),
}
TORCH = {
    "zeros": nn.init.zeros_,
    "constant": lambda w: nn.init.constant_(w, 0.2),
    "normal": lambda w: nn.init.normal_(w, 0, 0.2),
    "uniform": lambda w: nn.init.uniform_(w, -0.2, 0.2),
    "glorot_normal": lambda w: nn.init.xavier_normal_(w, 5 / 3),
    "glorot_uniform": lambda w: nn.init.xavier_uniform_(w, 5 / 3),
    "he_normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="tanh"),
    "he_uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="tanh"),
    "orthogonal": lambda w: nn.init.orthogonal_(w, 5 / 3),
}


def deep(width, depth, activation="linear", dtype=F64, bias=True):
    layers = [(nn.Linear(width, width, bias=bias, dtype=dtype), ACTIVATIONS[activation]()) for _ in range(depth)]
    return nn.Sequential(*itertools.chain(*layers))


# ---------------------------------------------------------------------------------------------------------------- fans


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_fans_are_those_of_torch_without_groups(make):
    layer = make()
    assert fans(layer) == nn.init._calculate_fan_in_and_fan_out(layer.weight)


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Linear(6, 4), (6,)),
        (nn.Conv1d(4, 6, 3), (4, 9)),
        (nn.Conv2d(4, 8, 3, groups=2), (4, 9, 9)),
        (nn.Conv2d(6, 6, (3, 1), groups=6), (6, 9, 5)),
        (nn.Conv2d(4, 8, 3, dilation=2, groups=4), (4, 13, 13)),
    ],
)
def test_fans_count_connections(layer, size):
    """fan_in: the inputs that an output depends on; fan_out: the outputs that depend on an input in the middle."""
    initialize(layer, "constant", scale=1.0)
    image = torch.zeros(1, *size, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(layer, image)
    fan_in = (jacobian.flatten(image.ndim).flatten(0, -2)[0] != 0).sum().item()
    middle = (0, *[n // 2 for n in size])
    fan_out = (jacobian[(..., *middle)] != 0).sum().item()
    assert fans(layer) == (fan_in, fan_out)


@pytest.mark.parametrize("layer", [nn.ConvTranspose2d(2, 2, 3), nn.Embedding(3, 4), nn.Sequential(nn.Linear(2, 2)), 7])
def test_other_layers_have_no_fans(layer):
    with pytest.raises(
        ValueError, match=f"layer: got {type(layer).__name__}, expected nn.Linear or nn.Conv1d, 2d or 3d"
    ):
        fans(layer)


# --------------------------------------------------------------------------------------------------------------- gains


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gains_are_those_of_torch(activation):
    assert gain(activation) == nn.init.calculate_gain(activation)
    for slope in (0.0, 0.25, 1.0, 3.0):
        parameter = slope if activation == "leaky_relu" else None
        assert gain(activation, slope) == pytest.approx(nn.init.calculate_gain(activation, parameter), rel=1e-15)


def test_bad_gains():
    with pytest.raises(
        ValueError, match="activation: got 'GELU', expected one of 'linear', 'tanh', 'relu', 'leaky_relu'"
    ):
        gain("GELU")
    for slope in (-0.1, math.inf, "steep"):
        with pytest.raises(ValueError, match=r"slope: got .*, expected a finite number of at least 0"):
            gain("leaky_relu", slope)


# ------------------------------------------------------------------------------------------------------------- schemes


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("scheme", TORCH)
def test_the_same_numbers_as_torch(scheme, make, dtype):
    layer = make().to(dtype)
    weight = torch.empty_like(layer.weight)
    torch.manual_seed(5)
    TORCH[scheme](weight)
    torch.manual_seed(5)
    assert initialize(layer, scheme, "tanh", scale=0.2) is layer
    assert torch.equal(layer.weight, weight)
    assert layer.bias is None or not layer.bias.any()
    initialize(layer, "zeros")
    initialize(layer, scheme, "tanh", scale=0.2, generator=5)
    assert torch.equal(layer.weight, weight)


@pytest.mark.parametrize("scheme", ["he_normal", "he_uniform"])
def test_slope(scheme):
    layer = nn.Conv2d(3, 8, 5)
    weight = torch.empty_like(layer.weight)
    torch.manual_seed(5)
    getattr(nn.init, scheme.replace("he", "kaiming") + "_")(weight, a=0.3)
    torch.manual_seed(5)
    initialize(layer, scheme, "leaky_relu", slope=0.3)
    assert torch.equal(layer.weight, weight)
    torch.manual_seed(5)
    getattr(nn.init, scheme.replace("he", "kaiming") + "_")(weight, a=0.01)
    torch.manual_seed(5)
    initialize(layer, scheme, "leaky_relu")
    assert torch.equal(layer.weight, weight)


@pytest.mark.parametrize(
    ("scheme", "variance", "bound"),
    [
        ("normal", 0.01**2, None),
        ("uniform", 0.01**2 / 3, 0.01),
        ("glorot_normal", 2 / (400 + 600), None),
        ("glorot_uniform", 2 / (400 + 600), math.sqrt(6 / (400 + 600))),
        ("he_normal", 2 / 400, None),
        ("he_uniform", 2 / 400, math.sqrt(6 / 400)),
        ("orthogonal", 1 / 600, None),
    ],
)
def test_mean_variance_and_bounds_with_the_defaults(scheme, variance, bound):
    layer = initialize(nn.Linear(400, 600, dtype=F64), scheme, generator=0)
    weight = layer.weight.detach()
    assert weight.mean().item() == pytest.approx(0, abs=5 * math.sqrt(variance / weight.numel()))
    assert weight.var().item() == pytest.approx(variance, rel=0.015)
    kurtosis = (weight**4).mean() / weight.var() ** 2
    assert kurtosis.item() == pytest.approx(3 if bound is None else 1.8, abs=0.06)
    if bound is not None:
        assert 0.999 * bound < weight.abs().max() <= bound


def test_zeros_and_constant():
    layer = nn.Linear(3, 4)
    assert not initialize(layer, "zeros").weight.any()
    assert (initialize(layer, "constant").weight == 0.01).all()


@pytest.mark.parametrize(("layer", "factor"), [(nn.Linear(40, 25), 1), (nn.Linear(25, 40), 1), (nn.Conv2d(3, 7, 4), 2)])
def test_orthogonal_rows_or_columns(layer, factor):
    activation = {1: None, 2: "relu"}[factor]
    weight = initialize(layer.to(F64), "orthogonal", activation).weight.detach().flatten(1)
    product = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
    assert (product - factor * torch.eye(len(product), dtype=F64)).abs().max() < 1e-12


def test_orthogonal_matrices_have_no_favorite_direction():
    """The first entry of a uniformly distributed rotation or reflection of the plane is a cosine of a random angle."""
    generator = torch.Generator().manual_seed(0)
    draws = [initialize(nn.Linear(2, 2), "orthogonal", generator=generator).weight.detach() for _ in range(2000)]
    corner = torch.stack(draws)[:, [0, 1], [0, 1]]
    assert corner.mean(0).abs().max() < 5 * math.sqrt(0.5 / 2000)
    assert (corner**2).mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.04)
    assert (torch.stack(draws).det() > 0).double().mean().item() == pytest.approx(0.5, abs=0.06)


def test_all_layers_of_a_network_and_nothing_else():
    table, norm = nn.Embedding(5, 6), nn.BatchNorm2d(4)
    transposed = nn.ConvTranspose2d(4, 4, 3)
    others = [table, norm, transposed]
    before = [parameter.clone() for layer in others for parameter in layer.parameters()]
    network = nn.Sequential(nn.Conv2d(3, 4, 3), *others, nn.Sequential(nn.Linear(4, 9), nn.Linear(9, 2)))
    initialize(network, "he_normal", generator=0)
    after = [parameter for layer in others for parameter in layer.parameters()]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    layers = [network[0], *network[4]]
    assert all(not layer.bias.any() for layer in layers)
    assert len({layer.weight[0].flatten()[0].item() for layer in layers}) == 3, "each layer has numbers of its own"
    assert all(parameter.requires_grad and parameter.grad_fn is None for parameter in network.parameters())


def test_a_generator_gives_the_same_weights_and_leaves_torchs_own_alone():
    first, again, other, handed = (
        initialize(deep(6, 2), "he_uniform", generator=g).state_dict()
        for g in (3, 3, 4, torch.Generator().manual_seed(3))
    )
    assert all(torch.equal(first[name], again[name]) and torch.equal(first[name], handed[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])
    layer, state = nn.Linear(6, 6), torch.random.get_rng_state()
    initialize(layer, "normal", generator=0)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scheme", TORCH)
def test_half_precision_takes_the_rounded_numbers_of_float32(scheme, dtype):
    layer = initialize(nn.Linear(20, 30, dtype=dtype), scheme, generator=0)
    exact = initialize(nn.Linear(20, 30), scheme, generator=0)
    assert torch.equal(layer.weight, exact.weight.to(dtype))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_a_gpu_gets_the_same_weights():
    here, there = deep(8, 2), deep(8, 2).cuda()
    for scheme in TORCH:
        initialize(here, scheme, generator=1)
        initialize(there, scheme, generator=1)
        for mine, theirs in zip(here.parameters(), there.parameters(), strict=True):
            assert torch.equal(mine, theirs.cpu())
    on_gpu = torch.Generator("cuda").manual_seed(0)
    initialize(there, "he_normal", generator=on_gpu)
    signals = signal_statistics(there, torch.randn(5, 8, device="cuda", dtype=F64))
    assert len(signals) == 4 and all(math.isfinite(signal.gradient_std) for signal in signals)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((nn.Linear(2, 2), "xavier"), {}, "scheme: got 'xavier', expected one of 'zeros', 'constant', 'normal', "),
        ((nn.Linear(2, 2), "zeros", "selu"), {}, "activation: got 'selu', expected one of"),
        ((nn.Linear(2, 2), "zeros", ""), {}, "activation: got '', expected one of"),
        ((nn.Linear(2, 2), "normal"), {"scale": -1}, "scale: got -1, expected a finite number of at least 0"),
        ((nn.Linear(2, 2), "normal"), {"slope": math.nan}, "slope: got nan, expected a finite number of at least 0"),
        ((nn.ReLU(), "normal"), {}, "module: got ReLU, expected one with a linear or convolutional layer"),
    ],
)
def test_bad_input_of_initialize(arguments, options, words):
    before = [parameter.clone() for parameter in arguments[0].parameters()]
    with pytest.raises(ValueError, match=words):
        initialize(*arguments, **options)
    assert all(torch.equal(*pair) for pair in zip(before, arguments[0].parameters(), strict=True))


# ------------------------------------------------------------------------------------------------------------- signals


def test_statistics_by_hand():
    first, second = nn.Linear(2, 2, dtype=F64), nn.Linear(2, 1, dtype=F64)
    network = nn.Sequential(first, nn.ReLU(), second)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 2.0], [1.0, -1.0]]))
        first.bias.copy_(torch.tensor([0.0, 1.0]))
        second.weight.copy_(torch.tensor([[3.0, -1.0]]))
        second.bias.zero_()
    inputs = torch.tensor([[1.0, 1.0], [1.0, 3.0]], dtype=F64)
    # Row 1: (3, 1) -> (3, 1) -> 8; row 2: (7, -1) -> (7, 0) -> 21.
    # Back from g and h: (3g, -g) and (3h, -h), of which ReLU stops the -h.
    g, h = torch.randn(2, 1, generator=torch.Generator().manual_seed(0), dtype=F64).flatten().tolist()
    layers = signal_statistics(network, inputs)
    assert [(layer.name, layer.kind) for layer in layers] == [("0", "Linear"), ("1", "ReLU"), ("2", "Linear")]
    assert [layer.mean for layer in layers] == pytest.approx([10 / 4, 11 / 4, 14.5])
    variances = [(9 + 1 + 49 + 1) / 4 - 2.5**2, (9 + 1 + 49) / 4 - 2.75**2, 6.5**2]
    assert [layer.std**2 for layer in layers] == pytest.approx(variances)
    assert [layer.rms**2 for layer in layers] == pytest.approx([15, 59 / 4, (64 + 441) / 2])
    assert [layer.zeros for layer in layers] == [0, 0.25, 0]
    assert [layer.saturated for layer in layers] == [None] * 3
    for layer, arriving in zip(layers, ([3 * g, -g, 3 * h, 0], [3 * g, -g, 3 * h, -h], [g, h]), strict=True):
        assert layer.gradient_std == pytest.approx(statistics.pstdev(arriving))


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.Sigmoid()])
def test_saturation(activation):
    middle, half = (0.0, 1.0) if isinstance(activation, nn.Tanh) else (0.5, 0.5)
    wanted = torch.tensor([[-0.99, -0.98, -0.96, 0.0, 0.96]], dtype=F64)
    inputs = torch.atanh(wanted) * (1 if half == 1 else 2)
    (layer,) = signal_statistics(activation, inputs)
    assert layer.name == layer.kind == type(activation).__name__
    assert layer.saturated == pytest.approx(2 / 5) and layer.mean == pytest.approx(middle + half * wanted.mean().item())


def test_the_gradient_that_goes_back_by_default():
    network = nn.Linear(300, 400, bias=False, dtype=F64)
    layers = [
        signal_statistics(nn.Sequential(network, nn.Identity()), torch.ones(50, 300, dtype=F64)) for _ in range(2)
    ]
    assert layers[0] == layers[1], "from a fixed seed"
    assert layers[0][1].gradient_std == pytest.approx(1, rel=0.02)


def test_in_place_layers_are_seen_like_others():
    plain = initialize(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)), "he_normal", generator=0)
    in_place = nn.Sequential(plain[0], nn.ReLU(inplace=True), plain[2])
    inputs = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    assert signal_statistics(plain, inputs) == signal_statistics(in_place, inputs)
    assert signal_statistics(nn.ReLU(inplace=True), inputs)[0].zeros == (inputs <= 0).double().mean().item()


class Twice(nn.Module):
    """One layer used twice, and parts whose output is no tensor or has no gradient."""

    def __init__(self):
        super().__init__()
        self.layer, self.memory, self.unused = nn.Linear(3, 3), nn.LSTM(3, 3), nn.Linear(3, 3)
        self.cut = nn.ReLU()

    def forward(self, x):
        self.memory(x)
        with torch.no_grad():
            self.cut(x)
        return self.layer(self.layer(x))


def test_order_repeats_and_what_has_no_gradient():
    layers = signal_statistics(Twice(), torch.ones(2, 3))
    assert [layer.name for layer in layers] == ["cut", "layer", "layer"]
    assert math.isnan(layers[0].gradient_std) and layers[1].gradient_std > 0


def test_nothing_changes():
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    inputs = torch.randn(6, 1, 4, 4)
    before, copy = {name: value.clone() for name, value in network.state_dict().items()}, inputs.clone()
    for mode in (True, False):
        with torch.no_grad():  # gradients are seen all the same
            layers = signal_statistics(network.train(mode), inputs)
        assert [layer.kind for layer in layers] == ["Conv2d", "BatchNorm2d", "Flatten", "Linear"]
        assert all(layer.gradient_std > 0 for layer in layers)
        assert (layers[1].std == pytest.approx(1, rel=1e-3)) is mode, "the mode decides which statistics normalize"
        assert network.training is mode
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(inputs, copy) and inputs.grad is None and not inputs.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(layer._forward_hooks for layer in network.modules())


def test_hooks_are_taken_off_after_an_error():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 4))
    with pytest.raises(RuntimeError):
        signal_statistics(network, torch.ones(2, 3))
    assert not any(layer._forward_hooks for layer in network.modules())


def test_explosions_are_reported_not_raised():
    network = initialize(deep(64, 40, dtype=torch.float32), "normal", scale=100.0, generator=0)
    layers = signal_statistics(network, torch.randn(4, 64, generator=torch.Generator().manual_seed(0)))
    assert layers[20].std > 1e20 and math.isfinite(layers[20].std)
    assert not math.isfinite(layers[-1].std)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (torch.ones(3), r"inputs: got float32 of shape \(3,\), expected a floating-point tensor of shape \(B, ...\)"),
        (torch.ones(2, 3, dtype=torch.int64), "inputs: got int64 of shape"),
        (torch.ones(0, 3), "inputs: got float32 of shape"),
        ([[1.0, 2.0, 3.0]], "inputs: got list"),
        (torch.tensor([[1.0, math.nan, 0.0]]), "inputs: got nan, expected finite"),
    ],
)
def test_bad_input_of_signal_statistics(inputs, words):
    with pytest.raises(ValueError, match=words):
        signal_statistics(nn.Linear(3, 4), inputs)


def test_a_signal_without_a_gradient():
    assert math.isnan(LayerSignal("a", "Linear", 3.0, 4.0, 0.0, None).gradient_std)
    assert LayerSignal("a", "Linear", 3.0, 4.0, 0.0, None).rms == 5.0


# ------------------------------------------------------------------------------- what the variance formulas promise

SEEDS = range(8)


def growth(scheme, activation, depth=10, width=256, **options):
    """By which factors a layer the mean squares of signal and gradient grow at linear layers; means over seeds."""
    forward, backward = [], []
    for seed in SEEDS:
        network = initialize(deep(width, depth, activation, bias=False), scheme, activation, generator=seed, **options)
        inputs = torch.randn(32, width, generator=torch.Generator().manual_seed(100 + seed), dtype=F64)
        layers = [layer for layer in signal_statistics(network, inputs) if layer.kind == "Linear"]
        forward.append((layers[-1].rms / layers[0].rms) ** (2 / (depth - 1)))
        backward.append((layers[0].gradient_std / layers[-1].gradient_std) ** (2 / (depth - 1)))
    return sum(forward) / len(SEEDS), sum(backward) / len(SEEDS)


@pytest.mark.parametrize(
    ("scheme", "activation", "options", "factor"),
    [
        ("he_normal", "relu", {}, 1.0),
        ("he_uniform", "relu", {}, 1.0),
        ("he_normal", "leaky_relu", {}, 1.0),
        ("glorot_uniform", "linear", {}, 1.0),
        ("orthogonal", "linear", {}, 1.0),
        ("normal", "linear", {"scale": 0.05}, 256 * 0.05**2),
        ("uniform", "linear", {"scale": 0.1}, 256 * 0.1**2 / 3),
        ("normal", "relu", {"scale": 0.05}, 256 * 0.05**2 / 2),
        ("normal", "leaky_relu", {"scale": 0.05}, 256 * 0.05**2 * (1 + 0.01**2) / 2),
    ],
)
def test_signal_and_gradient_grow_by_fan_times_variance(scheme, activation, options, factor):
    forward, backward = growth(scheme, activation, **options)
    assert forward == pytest.approx(factor, rel=0.02)
    assert backward == pytest.approx(factor, rel=0.02)


@pytest.mark.parametrize("groups", [1, 4])
def test_he_keeps_the_signal_of_convolutions_with_groups(groups):
    network = nn.Sequential(nn.Conv2d(64, 64, 3, groups=groups), nn.ReLU(), nn.Conv2d(64, 64, 3, groups=groups))
    ratios = []
    for seed in range(20):
        initialize(network, "he_normal", generator=seed)
        inputs = torch.randn(8, 64, 7, 7, generator=torch.Generator().manual_seed(100 + seed))
        first, _, second = signal_statistics(network, inputs)
        ratios.append((second.rms / first.rms) ** 2)
    ratios = torch.tensor(ratios)
    assert ratios.mean().item() == pytest.approx(1, abs=5 * ratios.std().item() / math.sqrt(20))
    assert ratios.std() < 0.1
