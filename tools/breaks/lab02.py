"""Breaks of lab 02: what its sentences credit, taken away."""

from tools.breaks import Break


def tamer(original):
    """Starts without their schemes: N(0, 0.1²) for "normal", three tenths of the others."""

    def draw(layer, scheme, factor, scale, *rest):
        if scheme == "normal":
            return original(layer, scheme, factor, 0.1, *rest)
        return 0.3 * original(layer, scheme, factor, scale, *rest)

    return draw


def only_std(original):
    """A size that forgets the mean."""
    return property(lambda self: self.std)


ONE_SEED = ("SEEDS = [0, 1, 2]", "SEEDS = [0]")  # enough for what breaks in every network
QUICKLY = {  # long runs that a break further down does not need
    "326a204f": ONE_SEED,
    "e9c22945": ("RATES = [0.002, 0.012, 0.07, 0.4]", "RATES = [0.012]"),
    "b02c0007": ("steps=200", "steps=2"),
}
UNTRAINED = {**QUICKLY, "b02c0005": ("steps=STEPS", "steps=2")}  # of all networks but the embedding ones
FIVE = "seeds=[0, 1, 2, 3, 4]"

BREAKS = [
    Break(
        "random and constant start change places, and random matrices are 1.3 times as large",
        [
            "Different units, from",
            "With large weights float32",
            "With small weights the",
            "256 units, σ = 0.1",
        ],
        edits={
            "326a204f": ONE_SEED,
            "2256bdc6": (
                "initialize(network, scheme, generator=0)",
                'initialize(network, {"glorot_uniform": "constant"}.get(scheme, "glorot_uniform"), generator=0)',
            ),
            "4510bf69": ("layer(x, torch.randn(", "layer(x, 1.3 * torch.randn("),
        },
        quick=True,
        until="c03dc891",
    ),
    Break(
        "the units are not tanh, all gains are a fifth too large, and ReLU and no ReLU change places",
        ["Size after 50 tanh", "100 linear layers", "100 ReLU", "5 ReLU layers", "Cosine of two", "Size of the cosine"],
        edits={
            "326a204f": ONE_SEED,
            "287ba8c6": ("torch.tanh(x @ (std * w).T)", "x @ (std * w).T"),
            "292740fa": ("gain / math.sqrt(256)", "1.2 * gain / math.sqrt(256)"),
            "553ce9de": (
                "cosines(s, name) for s in SEEDS",
                'cosines(s, {"relu": "linear", "linear": "relu"}[name]) for s in SEEDS',
            ),
        },
        until="87b902c9",
    ),
    Break(
        "no scheme is kept, and sizes forget the mean",
        ["ReLU, ", "tanh, ", "Standard deviation over size"],
        replaces={
            "labkit.initialization._draw": tamer,
            "labkit.initialization.LayerSignal.rms": only_std,
        },
        edits={"326a204f": ONE_SEED},
        until="b02c0001",
    ),
    Break(
        "zeros are random, orthogonal weights are normal, raw pixels are scaled, ε is large, s is twice as large",
        [
            "Largest |λ|",
            "50 orthogonal layers",
            "50 normal layers",
            "Saturated units",
            "Weights × 100",
            "100 blocks",
        ],
        edits={
            "326a204f": ONE_SEED,
            "2256bdc6": ('("zeros", "constant", "glorot_uniform")', '("glorot_uniform", "constant", "zeros")'),
            "80bb0ddd": ("/ math.sqrt(n)", "/ math.sqrt(2 * n)"),
            "16e2abab": [
                ('normal = [singular_values("he_normal"', 'normal = [singular_values("orthogonal"'),
                ('orthogonal = [singular_values("orthogonal"', 'orthogonal = [singular_values("he_normal"'),
            ],
            "c792a647": (
                '"0 to 255": pixels, "0 to 1": pixels / 255, "mean 0, std 1": standard',
                '"0 to 255": standard, "0 to 1": pixels / 255, "mean 0, std 1": pixels',
            ),
            "8546cc33": ("eps=1e-12", "eps=1e-3"),
            "df9f35bd": ("size_after_blocks(0.1, s)", "size_after_blocks(0.2, s)"),
        },
        until="df9f35bd",
    ),
    Break(
        "no shortcut, no normalization, a grid without inner rates, and no time to learn 200 images",
        [
            "Batch normalization: accuracy of the worst",
            "Residual blocks",
            "Residual minus",
            "Rows that learn",
            "Accuracy on the 200",
            "Cosine of the first layer to its start, He × 1/16",
            "Shift per step, batch",
            "Batch normalization minus",
            "Batch normalization at",
        ],
        edits={
            "326a204f": ONE_SEED,
            "b02c0004": [
                ("return x + super().hidden(layer, x) / math.sqrt(self.layers)", "return super().hidden(layer, x)"),
                (
                    "return self.gamma[layer] * (x - mean) / (variance + 1e-5).sqrt() + self.beta[layer]",
                    "return super().hidden(layer, x) if layer < 0 else x",
                ),
            ],
            "e9c22945": ("RATES = [0.002, 0.012, 0.07, 0.4]", "RATES = [0.012, 0.07]"),
            "b02c0007": ("steps=200", "steps=2"),
            "745d8e5c": (FIVE, "seeds=[0]"),
        },
        until="bc18e34f",
    ),
    Break(
        "all starts have He's size, and the smallest first weights are zeros",
        [
            "Accuracy of the plain net from",
            "Batch normalization: accuracy from zeros",
            "Cosine of the first layer to its start, He × 16",
            "Test accuracy",
        ],
        edits={
            "326a204f": ONE_SEED,
            "2dfea7f8": ("weight.data.mul_(factor)", "weight.data.mul_(1.0)"),
            "e9c22945": ("RATES = [0.002, 0.012, 0.07, 0.4]", "RATES = [0.012]"),
            "b02c0007": [
                ("weights[0].data.mul_(factor)", "weights[0].data.mul_(factor.clamp(max=1.0))"),
                (
                    "networks.start = networks.weights[0].detach().clone()",
                    "networks.start = networks.weights[0].detach().clone()\n"
                    "    networks.weights[0].data *= factor >= 1",
                ),
            ],
        },
        until="b02c0009",
    ),
    Break(
        "the shift does nothing",
        ["Shift per step, dose ½", "What dose 1", "What dose 2"],
        edits={
            **QUICKLY,
            "6efbbfa6": ("x = x + self.dose *", "x = x + 0 * self.dose *"),
            "745d8e5c": (FIVE, "seeds=[0]"),
        },
        until="bc18e34f",
    ),
    Break(
        "the plain net is normalized too, and the doses are four times as large",
        ["Batch normalization minus", "Dose ½ minus", "What dose ½", "Plain net at", "Batch normalization: growth"],
        edits={
            **QUICKLY,
            "e9c22945": [
                ("RATES = [0.002, 0.012, 0.07, 0.4]", "RATES = [0.012]"),
                ("at_own_rate(make, FACTORS, RATES)", "at_own_rate(make, FACTORS, RATES, steps=2)"),
            ],
            "6efbbfa6": ("x = x + self.dose *", "x = x + 4 * self.dose *"),
            "745d8e5c": [(FIVE, "seeds=[0]"), ("partial(watched, kind=Plain)", "watched")],
            "bb52536c": ("partial(nn.BatchNorm1d, width)", "nn.Identity"),
        },
        until="bb52536c",
    ),
    Break(
        "embeddings have four dimensions at most, noise is images, and U(0, 1) has the mean of U(−1, 1)",
        [
            "Error of the formulas",
            "Random vectors: spread",
            "Spread at 1024",
            "Spread of the features",
            "Spread, U(0, 1) minus",
            "Kolmogorov",
            "Distance between centers",
            "Accuracy at rate 0.001",
        ],
        edits={
            **UNTRAINED,
            "745d8e5c": (FIVE, "seeds=[0]"),
            "abdc92a7": ("draw(pairs, dim, generator", "draw(pairs, min(dim, 4), generator"),
            "4dc216d6": [
                ("nn.Linear(256, dim)", "nn.Linear(256, min(dim, 4))"),
                ('"noise": noise', '"noise": standard[:200]'),
            ],
            "4bb1b1a9": ('"U(0, 1)": (0, 1)', '"U(0, 1)": (-1, 1)'),
            "386b09d9": ("ADAM_RATES = [0.001, 0.01, 0.1, 0.3]", "ADAM_RATES = [0.001]"),
        },
        until="67ada56b",
    ),
    Break(
        "three starts change size, and no larger rate is tried",
        ["Spread, Xavier, normal", "Spread, U(−1, 1)", "Entropy", "Accuracy at own rates"],
        edits={
            **UNTRAINED,
            "745d8e5c": (FIVE, "seeds=[0]"),
            "4bb1b1a9": [
                ("BOUND / math.sqrt(3)", "BOUND / 20"),
                ('"U(−1, 1)": (-1, 1)', '"U(−1, 1)": (-0.01, 0.01)'),
                ('"U(0, 1)": (0, 1)', '"U(0, 1)": (0, BOUND)'),
            ],
            "386b09d9": ("ADAM_RATES = [0.001, 0.01, 0.1, 0.3]", "ADAM_RATES = [0.001]"),
        },
        until="67ada56b",
    ),
    Break(
        "the maps are those of other units, tanh and ReLU change places, the batch's mean is always subtracted",
        [
            "Squared growth of the gradient",
            "ReLU's angle map",
            "Two inputs of cosine 0.99",
            "Cosine of images before training, LayerNorm",
            "Cosine of images before training, RMSNorm",
            "LayerNorm minus plain",
            "RMSNorm minus plain",
            "RMSNorm minus batch",
            "RMSNorm, He: what",
        ],
        edits={
            **UNTRAINED,
            "745d8e5c": (FIVE, "seeds=[0]"),
            "386b09d9": ("ADAM_RATES = [0.001, 0.01, 0.1, 0.3]", "ADAM_RATES = [0.001]"),
            "a1c0de01": [
                ("(angle_map(torch.relu, cosine) - begin) / (1 - begin)", "angle_map(torch.relu, cosine)"),
                ("(partial(angle_map, torch.relu), 0.0)", "(partial(angle_map, torch.tanh), 0.0)"),
                ("size=5 / 3 * after_tanh(5 / 3)", "size=0.1"),
            ],
            "a1c0de03": ("cosines(s, a, depth", 'cosines(s, {"tanh": "relu", "relu": "tanh"}[a], depth'),
            "a1c0de04": [("mean_over = None", "mean_over = -2"), ("mean_over = -1", "mean_over = -2")],
        },
        until="a1c0de06",
    ),
    Break(
        "batch normalization subtracts no mean",
        ["Cosine of images before training, batch", "LayerNorm minus batch"],
        edits={
            **QUICKLY,
            "745d8e5c": (FIVE, "seeds=[0]"),
            "386b09d9": ("ADAM_RATES = [0.001, 0.01, 0.1, 0.3]", "ADAM_RATES = [0.001]"),
            "b02c0004": ("self.gamma[layer] * (x - mean) / (variance", "self.gamma[layer] * x / (variance"),
        },
        until="a1c0de06",
    ),
]
