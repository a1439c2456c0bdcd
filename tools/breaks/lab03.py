"""Breaks of lab 03: what its sentences credit, taken away."""

from labkit.optimizers import Adam
from tools.breaks import Break


def double_rate(original):
    """Gradient descent whose steps are twice as long as they should be."""

    def update(self, parameter, gradient, state, options):
        original(self, parameter, gradient, state, {**options, "lr": 2 * options["lr"]})

    return update


def averaging(original):
    """Momentum whose velocity is a mean of gradients instead of their sum."""

    def update(self, parameter, gradient, state, options):
        original(self, parameter, (1 - options["momentum"]) * gradient, state, options)

    return update


def adam_instead(original):
    """Whatever the optimizer is called: Adam."""
    adam = {"betas": (0.9, 0.999), "eps": 1e-8, "bias_correction": True, "weight_decay": 0.0, "decoupled": False}

    def update(self, parameter, gradient, state, options):
        Adam.update(self, parameter, gradient, state, {**adam, "lr": options["lr"]})

    return update


def correction_flipped(original):
    """Adam that corrects its means when it is told not to, and does not when it is told to."""

    def update(self, parameter, gradient, state, options):
        flipped = not options["bias_correction"]
        original(self, parameter, gradient, state, {**options, "bias_correction": flipped})

    return update


def one_size(original):
    """Adam that divides all entries of a row by the size of the whole row's gradient."""

    def update(self, parameter, gradient, state, options):
        length = gradient.norm(dim=-1, keepdim=True) / gradient.shape[-1] ** 0.5
        beta1, beta2 = options["betas"]
        state["step"] = state.get("step", 0) + 1
        state["mean"] = beta1 * state.get("mean", 0) + (1 - beta1) * gradient
        state["square"] = beta2 * state.get("square", 0) + (1 - beta2) * length**2
        mean, square = state["mean"] / (1 - beta1 ** state["step"]), state["square"] / (1 - beta2 ** state["step"])
        parameter -= options["lr"] * mean / (square.sqrt() + options["eps"])

    return update


def summed(original):
    """Cross-entropy summed over the batch instead of averaged."""
    return lambda scores, labels, **options: original(scores, labels, **options) * scores.shape[1]


# For breaks of later cells: two networks, hardly trained where that is not what is broken, and a short race.
TWO_SEEDS = ("SEEDS = [0, 1, 2, 3, 4]", "SEEDS = [0, 1]")
QUICKLY = {
    "c45ae1c9": [TWO_SEEDS, ("STEPS = 150", "STEPS = 20")],
    "46952dea": ("most=400", "most=4"),
    "a03c1e0a": ("GRID = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]", "GRID = [0.001, 0.01, 0.1, 0.3]"),
}
NO_SCHEDULES = {"03a5d5dd": ("FIRST = [0.02, 0.05, 0.1, 0.2, 0.5]", "FIRST = [0.2]")}
NO_LIMIT = {"a03c1e0d": ("((1.0, 50), (0.1, 400))", "((1.0, 10), (0.1, 10))")}
NO_BATCHES = {
    "370c4b26": [("(200, 1200, 0.2, 0.0)", "(200, 10, 0.2, 0.0)"), ("(200, 600, 0.2, 0.0)", "(200, 10, 0.2, 0.0)")]
}
BEFORE_REMEDIES = QUICKLY | NO_SCHEDULES | NO_LIMIT | NO_BATCHES

BREAKS = [
    Break(
        "the steps of gradient descent are twice as long",
        ["On a slope the last step"],
        replaces={"labkit.optimizers.SGD.update": double_rate},
        quick=True,
        until="df47a039",
    ),
    Break(
        "the loss of a batch is a sum",
        ["The error of a batch's gradient", "Mean gradient of the batches"],
        replaces={"labkit.side_by_side.cross_entropies": summed},
        until="231a00bc",
    ),
    Break(
        "below and above the limit, shuffled and sorted, descent and momentum change places",
        [
            "In a bowl, 1 %",
            "Validation accuracy, ",
            "Steps of gradient descent",
            "Steps with momentum",
        ],
        edits={
            "72480260": ("(0.99, 1.01)", "(1.01, 0.99)"),
            "a03c1e01": (
                '"once": shuffled_once, "sorted": in_order(torch.argsort(y))',
                '"sorted": shuffled_once, "once": in_order(torch.argsort(y))',
            ),
            "bdfb9f05": ('(("gradient descent", False), ("momentum", True))', '(("a", True), ("b", False))'),
        },
        until="ca173c3b",
    ),
    Break(
        "the velocity is a mean, and the small rate is not small",
        ["On a slope the last step with α = 0.8", "On a slope the last step with α = 0.9", "Loss at the end"],
        replaces={"labkit.optimizers.SGD.update": averaging},
        edits={
            "4409d465": ('"rate 0.01": train_many(lambda p: SGD(p, 0.01))', '"a": train_many(lambda p: SGD(p, 0.1))')
        },
        until="45317e71",
    ),
    Break(
        "five of six optimizers are Adam",
        [
            "Nesterov's momentum: distance",
            "RMSProp: distance",
            "RAdam: distance",
            "Seven optimizers",
            "First step of RMSProp",
            "First five steps of RAdam",
            "Sixth step of RAdam",
            "Rosenbrock",
            "Saddle",
            "Same rate 0.01, validation accuracy: ",
            "Same rate 0.3",
            "Same rate 0.1, validation accuracy: Adam minus RMSProp",
            "Same rate 0.001",
        ],
        replaces={f"labkit.optimizers.{name}.update": adam_instead for name in ("SGD", "RMSProp", "RAdam")},
        edits={"c45ae1c9": TWO_SEEDS},
        until="a03c1e13",
    ),
    Break(
        "bias correction is flipped, and the worst rate is chosen",
        [
            "Longest step of Adam",
            "Same rate 0.1, validation accuracy: Adam minus Adam",
            "Optimizers whose best rate",
            "Ten times the best rate",
        ],
        replaces={"labkit.optimizers.Adam.update": correction_flipped},
        edits={"c45ae1c9": TWO_SEEDS, "46952dea": ("most=400", "most=4"), "a03c1e0a": ("argmax()", "argmin()")},
        until="a03c1e13",
    ),
    Break(
        "no start is turned, no rate of the race is above 0.1, and all optimizers get the rate 0.1",
        [
            "Valley turned by 30°: steps of momentum",
            "Valley turned by 30°: steps of Adam at its best",
            "Test accuracy, best minus worst",
            "Best rates, test accuracy",
        ],
        edits={
            "46952dea": [
                ("-3, 0.51, 0.1", "-3, -0.95, 0.1"),
                ("surface.start", "(-1.5, 1.0)"),
            ],
            "a03c1e0a": ('row["validation"].mean(1).argmax().item()', "GRID.index(0.1)"),
        },
        until="a03c1e13",
    ),
    Break(
        "Adam divides by one size for both parameters",
        ["Valley turned by 30°: steps of Adam at the rate"],
        replaces={"labkit.optimizers.Adam.update": one_size},
        edits={"c45ae1c9": TWO_SEEDS},
        until="e728e7b8",
    ),
    Break(
        "eigenvalues are independent, rates doubled, Newton is saddle-free, half a shuffle, nearly hard labels",
        [
            "Share of minima",
            "Steps that a thousand",
            "Newton's method",
            "Gradient descent from",
            "Hidden units",
            "Hard labels",
        ],
        edits=QUICKLY
        | {
            "21520033": ("torch.linalg.eigvalsh(matrices + matrices.mT)", "matrices.diagonal(dim1=1, dim2=2)"),
            "363972cd": ("SGD(p, 0.1)", "SGD(p, 0.2)"),
            "a03c1e07": [("(3 * y1**2 - 1)", "abs(3 * y1**2 - 1)"), ("start=(1.0, 0.3)", "start=(1.0, 0.0)")],
            "ed49744e": ('shuffled["weights.1"][:, order]', 'shuffled["weights.1"]'),
            "93d4bf1c": ('"hard labels": right', '"hard labels": 0.99 * right + 0.001'),
        },
        until="93d4bf1c",
    ),
    Break(
        "no hidden unit changes its place, and a fifth of the label is spread",
        ["Height in the middle", "Smoothed labels"],
        edits=QUICKLY
        | {
            "ed49744e": ("torch.randperm(HIDDEN, generator=torch.Generator().manual_seed(0))", "torch.arange(HIDDEN)"),
            "93d4bf1c": [("0.9 * right + 0.1 / 9 *", "0.8 * right + 0.2 / 9 *"), ("0.1 / 10", "0.2 / 10")],
        },
        until="93d4bf1c",
    ),
    Break(
        "no schedule changes the rate",
        ["Training loss, tuned", "Training loss at the end", "Twenty steps after"],
        edits={
            "c45ae1c9": TWO_SEEDS,
            "46952dea": QUICKLY["46952dea"],
            "a03c1e0a": QUICKLY["a03c1e0a"],
            "03a5d5dd": ("schedule=factor", "schedule=None"),
            "a03c1e14": ("schedule=warm_restarts(WAVE)", "schedule=None"),
        },
        until="a03c1e14",
    ),
    Break(
        "the rate 1 is 0.1, equal steps and equal epochs change places, momentum is off, half a rescaling",
        [
            "Rate 1: loss",
            "Rate 1: sharpness after",
            "Loss, rate 1",
            "Sharpness, rate 1",
            "Equal epochs",
            "Equal steps: what",
            "Large batches",
            "Small batches",
            "Rescaled by 10: largest",
        ],
        edits=QUICKLY
        | NO_SCHEDULES
        | {
            "a03c1e0d": ("= watched(lr, steps)", "= watched(0.1, steps)"),
            "370c4b26": [
                ("(200, 15, 0.2, 0.0)", "(200, 600, 0.2, 0.0)"),
                ('"batches of 200, 600 steps": (200, 600, 0.2, 0.0)', '"c": (200, 15, 0.2, 0.0)'),
                ("(200, 1200, 0.2, 0.0)", "(200, 300, 0.2, 0.0)"),
                ("(5, 600, 0.02, 0.9)", "(5, 600, 0.02, 0.0)"),
            ],
            "a9d06a1a": ("    trained.weights[1] /= 10\n", ""),
        },
        until="a9d06a1a",
    ),
    Break(
        "power iteration stops at once, small batches are large, nothing is rescaled",
        ["Rate 1: sharpness at the start", "Equal steps: sharpness", "Rescaled by 10: sharpness"],
        edits=QUICKLY
        | NO_SCHEDULES
        | NO_LIMIT
        | {
            "438118d1": ("iterations=30", "iterations=1"),
            "370c4b26": [
                ('"batches of 5, 600 steps": (5, 600,', '"a": (200, 60,'),
                ('"batches of 200, 600 steps": (200, 600,', '"c": (200, 60,'),
            ],
            "a9d06a1a": [
                ("weights[0] *= 10", "weights[0] *= 1"),
                ("biases[0] *= 10", "biases[0] *= 1"),
                ("weights[1] /= 10", "weights[1] /= 1"),
            ],
        },
        until="a9d06a1a",
    ),
    Break(
        "no remedy has any strength, early stopping stops last, and the two decays change places",
        [
            "Gain in test accuracy",
            "Wrong labels learned, share without minus share with: L",
            "Wrong labels learned, share without minus share with: w",
            "Wrong labels learned, share without minus share with: d",
            "Wrong labels learned, share without minus share with: D",
            "Wrong labels learned, share without minus share with: e",
            "Remedies whose best",
            "Weights below 0.001, share with L1",
            "Decoupled decay",
            "L2 inside Adam",
        ],
        edits=BEFORE_REMEDIES
        | {
            "26478d80": ("Regularized(strengths, remedy)", "Regularized([0.0] * len(strengths), remedy)"),
            "ff21d9e7": ("on_the_way[:, 0].argmax(0)", "torch.full((len(SEEDS),), 29)"),
            "010982f6": [
                ("weights_left(False)", "weights_left(not False)"),
                ("weights_left(True)", "weights_left(not True)"),
            ],
        },
        until="b833766e",
    ),
    Break(
        "smoothing is ten times as strong, and every small weight counts as zero",
        ["Wrong labels learned, share without minus share with: label", "Weights below 0.001, share without"],
        edits=BEFORE_REMEDIES
        | {
            "a03c1e10": ("(1 - s) * value - s *", "(1 - s) * value - 10 * s *"),
            "b833766e": ("< 1e-3", "< 1e-1"),
        },
        until="b833766e",
    ),
    Break(
        "the network is hardly trained, and the losses are read at other steps, from other starts",
        ["Share of the wrong labels", "Test accuracy, cross-entropy minus squared error"],
        edits=BEFORE_REMEDIES
        | {
            "26478d80": ("300, **how", "30, **how"),
            "9556c85f": [
                ("scale=1, steps=600", "scale=1, steps=40"),
                ("scale=10, steps=150", "scale=1, steps=150"),
                ("scale=10, steps=600", "scale=10, steps=151"),
            ],
        },
        until="a03c1e15",
    ),
    Break(
        "the rates of the losses end too early",
        ["Best rates of a loss"],
        edits=BEFORE_REMEDIES
        | {
            "26478d80": ("300, **how", "30, **how"),
            "9556c85f": [
                ("LOSS_RATES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]", "LOSS_RATES = [0.1, 0.3]"),
                ("scale=1, steps=600", "scale=1, steps=60"),
                ("scale=10, steps=600", "scale=10, steps=60"),
            ],
        },
        until="a03c1e15",
    ),
    Break(
        "the last section starts from He's weights with tiny rates, and averages nothing but the first step",
        [
            "Rates 0.3 and 0.2",
            "Late sharpness",
            "Rate 0.4",
            "Training loss, best constant",
            "Training loss, mean weights",
        ],
        edits=BEFORE_REMEDIES
        | {
            "26478d80": ("300, **how", "30, **how"),
            "9556c85f": [
                ("scale=1, steps=600", "scale=1, steps=1"),
                ("scale=10, steps=150", "scale=10, steps=1"),
                ("scale=10, steps=600", "scale=10, steps=1"),
            ],
            "e5d9e004": ("watched(lr, steps, 0.3", "watched(0.005, steps, 1.0"),
            "e5d9e006": [
                ("cold, _ = watched(0.4, 120", "cold, _ = watched(0.005, 120"),
                ("warm, found = watched(0.4, 120", "warm, found = watched(0.005, 120, 0.1"),
            ],
            "e5d9e008": ("if step > 200", "if step == 1"),
        },
        until="e5d9e008",
    ),
    Break(
        "Newton's step is that of gradient descent, and all networks have two hidden units",
        ["Batches of 256", "The same error over", "32 hidden units, twenty starts"],
        edits={
            "a03c1e17": ("torch.linalg.solve(hessian, error), torch.linalg.solve(hessian, step)", "error, step"),
            "a03c1e19": ("new_networks(range(20), hidden)", "new_networks(range(20), 2)"),
        },
        until="a03c1e19",
    ),
    Break(
        "all networks have 32 hidden units",
        ["2 hidden units, twenty starts"],
        edits={"a03c1e19": ("new_networks(range(20), hidden)", "new_networks(range(20), 32)")},
        until="a03c1e19",
    ),
]
