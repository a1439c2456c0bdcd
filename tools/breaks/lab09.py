"""Breaks of lab 09: what its sentences credit, taken away."""

import math

import torch

from tools.breaks import Break


def own_exponents(original):
    """The gradient of equations 2.13 to 2.18 of the thesis: each weight has an exponent of its own."""

    def add_gradient(self, network):
        [checkpoint], [parameter] = self.checkpoints, network.parameters()
        apart = parameter.detach() - checkpoint.tensors["place"]
        push = -self.strength / self.sigma**2 * apart * torch.exp(-(apart**2) / (2 * self.sigma**2))
        parameter.grad = push if parameter.grad is None else parameter.grad + push

    return add_gradient


def without_two(original):
    """d* = σ·√ln(s/(λσ²))."""
    return lambda strength, sigma, curvature: original(strength, sigma, curvature) / math.sqrt(2)


def same_width(original):
    """Both measures take σ as it is."""
    return lambda self: self.sigma


def grown_width(original):
    """Both measures let σ grow with √N."""
    return lambda self: self.sigma * math.sqrt(self.checkpoints[0].size)


def steepest(original):
    """The curvature along the steepest direction, whichever is asked for."""

    def curvature(self, point, direction):
        direction = torch.randn(len(point), generator=torch.Generator().manual_seed(0)).to(point)
        for _ in range(10):
            direction = direction / direction.norm()
            product = self.hessian_product(point, direction)
            eigenvalue, direction = direction @ product, product
        return eigenvalue.item()

    return curvature


def aimless(original):
    """The curvature along a random direction instead of the largest eigenvalue."""

    def sharpness(self, point, iterations=30):
        direction = torch.randn(len(point), generator=torch.Generator().manual_seed(0)).to(point)
        return (direction @ self.hessian_product(point, direction) / (direction @ direction)).item()

    return sharpness


def untrained(original):
    """A Bézier curve whose bend is the middle of the line."""
    return lambda landscape, start, end, steps=100, lr=0.1: (start + end) / 2


def of_one_pair(original):
    """Moments of the first two members alone."""
    return lambda probabilities, labels: original(probabilities[:2], labels)


PARAMETERS = "b00b590e"
ONE_SEED = ("\nSEEDS = [0, 1, 2]", "\nSEEDS = [0]")  # enough for what breaks in every network
NO_WALKS = [ONE_SEED, ("EPOCHS = 20", "EPOCHS = 2")]  # for claims about ensembles
TWO_SEEDS = [*NO_WALKS, ("ENSEMBLE_SEEDS = [0, 1, 2, 3, 4]", "ENSEMBLE_SEEDS = [0, 1]")]
ONLY_RECORDS = [*TWO_SEEDS, ("ENSEMBLE_EPOCHS = 80", "ENSEMBLE_EPOCHS = 4")]
SETTLE = "settle = train_on(network, EPOCHS // 2, seed + 1000, validate=look"

BREAKS = [
    Break(
        "each weight has an exponent of its own, and d* lacks its factor 2",
        ["Gradient by autograd", "Distance at rest minus"],
        replaces={
            "labkit.distancing.DistancePenalty.add_gradient": own_exponents,
            "labkit.distancing.equilibrium": without_two,
        },
        quick=True,
        until="96f57f2d",
    ),
    Break(
        "no hill under the ball, and the mean measure forgets √N",
        ["Distance after 400 steps by", "Different minima", "Hill left with the mean"],
        replaces={"labkit.distancing.DistancePenalty._width": same_width},
        edits={"ebf88571": ("strength=0.5)", "strength=0.0)"), "1f9ca1e4": ("strength=400.0", "strength=0.0")},
        until="5c777f1f",
    ),
    Break(
        "the ball at rest is not at rest, and every σ grows with √N",
        ["Distance after 400 steps, at rest", "Hill left with σ = 1"],
        replaces={"labkit.distancing.DistancePenalty._width": grown_width},
        edits={"ebf88571": ("freed(momentum=0.9)]", "freed(momentum=0.9, velocity=0.001)]")},
        until="5c777f1f",
    ),
    Break(
        "no hill under the network",
        [
            "Distance with the wide hill over",
            "A hill twice as wide",
            "Distance, wide hill minus rate",
            "Disagreement with",
            "Disagreement, wide",
            "Distance when the hill went",
            "Length of the weight vector",
        ],
        edits={PARAMETERS: ONE_SEED, "d2dcef95": ("hill_of(0.4, sigma", "hill_of(1e-6, sigma")},
        until="cd3859cb",
    ),
    Break(
        "the hill stays, cosines are taken of the places, and sharpness always at the checkpoint",
        ["Distance at the end over", "Cosine between the paths", "The same cosine", "Sharpness where it ends"],
        edits={
            PARAMETERS: ONE_SEED,
            "9f44f1b7": (SETTLE, SETTLE + ", penalty=hill"),
            "dd38e258": [
                ("cosine_similarity(walked, unaided,", "cosine_similarity(a + walked, a + unaided,"),
                ("landscape.sharpness(a + walked,", "landscape.sharpness(a,"),
            ],
        },
        until="545b2b5f",
    ),
    Break(
        "the network does not settle",
        ["Loss at the end"],
        edits={PARAMETERS: ONE_SEED, "9f44f1b7": (SETTLE, SETTLE + ", lr=1e-9")},
        until="d9c00001",
    ),
    Break(
        "the walks start elsewhere, and no curve is trained",
        ["Barrier on the line to the end of the walk", "Barrier to another start"],
        replaces={"labkit.landscape.low_curve": untrained},
        edits={
            PARAMETERS: ONE_SEED,
            "d2dcef95": ("copy.deepcopy(starts), []", "[make_network(NETWORK, seed + 50) for seed in SEEDS], []"),
        },
        until="545b2b5f",
    ),
    Break(
        "another start is the same start; curvature is always the steepest, sharpness that of any direction",
        [
            "Barrier on the line to another start",
            "Curvature",
            "Sharpness at the checkpoint",
            "Disagreement, wide hill minus another",
        ],
        replaces={
            "labkit.landscape.Landscape.curvature": steepest,
            "labkit.landscape.Landscape.sharpness": aimless,
        },
        edits={
            PARAMETERS: ONE_SEED,
            "d2dcef95": ("made[1:]", "made[:-1]"),
        },
        until="545b2b5f",
    ),
    Break(
        "units are not shuffled, and what is not normalized is scaled too",
        ["Distance by each move", "Change of any score"],
        edits={
            PARAMETERS: NO_WALKS,
            "d7da0e0f": (
                "torch.randperm(64, generator=torch.Generator().manual_seed(0))",
                "torch.arange(64)",
            ),
            "567200e7": ("isinstance(module, nn.Conv2d)", "isinstance(module, nn.Conv2d | nn.Linear)"),
        },
        until="567200e7",
    ),
    Break(
        "walks of any settings are the same, and of other lengths",
        ["Walk with"],
        edits={
            PARAMETERS: [ONE_SEED, *ONLY_RECORDS[3:]],
            "4abde192": (" | change", ""),
        },
        until="548fd20c",
    ),
    Break(
        "no hill under the snapshots; errors are independent, and (1.14) sees two members",
        [
            "Shared error c/v, fully connected: restarts",
            "Simulated over",
            "Multiplications",
            "Squared error of the mean",
        ],
        replaces={"labkit.ensembles.error_moments": of_one_pair},
        edits={
            PARAMETERS: TWO_SEEDS,
            "f1e86465": ("for n in (1, k)", "for n in (k, k)"),
            "d9c0000d": ("3, groups=3)", "3)"),
            "bd0c7d83": ("hill_of(BEND,", "hill_of(0.0,"),
        },
        until="aa4d3e6c",
    ),
    Break(
        "restarts and hills are independent starts; matched and shuffled units are exchanged",
        [
            "Barrier after ordering",
            "Barrier with shuffled",
            "Barrier between first",
            "Units that matching",
            "First and last disagree",
            "Second and last disagree",
            "Gain by averaging",
            "Accuracy, averaged",
        ],
        edits={
            PARAMETERS: TWO_SEEDS,
            "bd0c7d83": (
                "train_members(method,",
                'train_members({"restarts and hills": "independent starts"}.get(method, method),',
            ),
            "c09a0002": [
                ("[matching(first, other)", "[SHUFFLED.numpy()"),
                ("deepcopy(others[-1]))", "deepcopy(others[-1]), matching(first, others[-1]))"),
            ],
        },
        until="c09a0007",
    ),
    Break(
        "matching leaves every unit where it is",
        ["Barrier after ordering", "Accuracy of averaged"],
        edits={PARAMETERS: TWO_SEEDS, "c09a0002": ("[matching(first, other)", "[torch.arange(64).numpy()")},
        until="c09a0007",
    ),
    Break(
        "costs are not equal: what has no snapshots gets a twentieth; and the hills are far too wide and high",
        [
            "Accuracy, fully connected",
            "Accuracy of a member, fully connected",
            "Shared error c/v, fully connected: four widths",
        ],
        edits={
            PARAMETERS: [*TWO_SEEDS, ("GRID = 15", "GRID = 3")],
            "bd0c7d83": [
                ("hill_of(BEND, 0.05,", "hill_of(1.0, 0.3,"),
                (
                    '"epochs": ENSEMBLE_EPOCHS,',
                    '"epochs": 80 if method in ("restarts", "restarts and hills", "hills") else 4,',
                ),
            ],
        },
        until="d9c0000b",
    ),
    Break(
        "restarts are independent starts at their rate, and the temperature stays 1",
        ["Shared part of the error after", "Calibration error, one long run", "Calibration error, tempered"],
        edits={
            PARAMETERS: [*NO_WALKS, ('"restarts": 0.05', '"restarts": 0.2')],
            "bd0c7d83": (
                "train_members(method,",
                'train_members({"restarts": "independent starts"}.get(method, method),',
            ),
            "aa4d3e6c": ("torch.linspace(0.5, 4, 36).tolist()", "[1.0]"),
        },
        until="d9c00007",
    ),
    Break(
        "in the records, hills are restarts, and other rows are bagging; times are exchanged",
        [
            "Recorded time",
            "Accuracy, residual net",
            "Accuracy of a member, residual net",
            "Shared error c/v, residual net",
            "Calibration error, residual net",
            "Shared error c/v, MNIST",
            "Shared error c/v, CIFAR-10",
            "Accuracy, MNIST: restarts",
            "Accuracy, CIFAR-10: restarts",
            "Calibration error, CIFAR-10",
        ],
        edits={
            PARAMETERS: ONLY_RECORDS,
            "fe34c262": ('[row["ratio"] for', '[1 / row["ratio"] for'),
            "7db37fc2": (
                "\ndisplay",
                '\nrecorded["restarts and hills"] = recorded["restarts"]\n'
                'recorded["independent starts"] = recorded["one long run"] = recorded["bagging"]\ndisplay',
            ),
            "6deba7e6": ("in measures.items()", 'in found.values["restarts"].items()'),
        },
        until="d9c00007",
    ),
    Break(
        "in the records, independent starts are one long run, and hills have restarts",
        [
            "Accuracy, MNIST: independent",
            "Accuracy, CIFAR-10: independent",
            "Accuracy, MNIST: hills",
            "Accuracy, CIFAR-10: hills",
            "Calibration error, MNIST",
        ],
        edits={
            PARAMETERS: ONLY_RECORDS,
            "6deba7e6": (
                "in measures.items()",
                'in found.values[{"hills": HILLS, "independent starts": "one long run"}.get(way, way)].items()',
            ),
        },
        until="d9c00007",
    ),
]
