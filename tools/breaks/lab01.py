"""Breaks of lab 01: what its sentences credit, taken away."""

import math

import torch

from tools.breaks import Break


def without_the_square(original):
    """A bell that falls with the distance, not with its square, and reaches half as far."""

    def bell(sigma, size):
        radius = math.ceil(1.5 * sigma) if size is None else size // 2
        return torch.exp(-torch.arange(-radius, radius + 1, dtype=torch.float64).abs() / sigma)

    return bell


def nothing(original):
    """An augmentation that leaves every image as it is."""
    return lambda self, pixels, drawn: pixels


# enough for what breaks in every network
SHORT = [
    ("EPOCHS = 4", "EPOCHS = 2"),
    ("SEEDS = [0, 1, 2]\n", "SEEDS = [0]\n"),
    ("MORE_SEEDS = [0, 1, 2, 3, 4]", "MORE_SEEDS = [0]"),
]
LINEAR = '{"convolutions": 0, "hidden": False}'

BREAKS = [
    Break(
        "the digits do not move",
        ["Accuracy that one pixel costs the linear classifier"],
        edits={"45896d70": ("roll(across, dims=3)", "roll(0, dims=3)")},
        quick=True,
        until="c713ebfd",
    ),
    Break(
        "a kernel is not turned, a layer has a weight for each pixel and place, rows and borders are mixed up",
        [
            "Six ways",
            "The matrix times",
            "Entries of the matrix",
            "Different weights",
            "Filtering with the column",
            "Share of its light",
        ],
        edits={
            "378c47a8": ("convolve2d(x, w.flip(0, 1))", "convolve2d(x, w)"),
            "b1e00001": (
                "columns = [correlate2d(image, counting).flatten() for image in one_bright]",
                "columns = list(torch.arange(1, 65).view(16, 4))",
            ),
            "c9fde423": ("*separate(gaussian_kernel(2.0))", "*separate(gaussian_kernel(2.1, 13))"),
            "6919ba73": ("padding_mode=mode", 'padding_mode={"zeros": "reflect", "reflect": "zeros"}.get(mode, mode)'),
        },
        until="6919ba73",
    ),
    Break(
        "the bell falls with the distance, not with its square, and reaches half as far",
        [
            "Share of sigma that is missing",
            "Cut off at 15",
            "Weights of the printed 7×7",
            "Weights of the printed 15×15",
            "Smoothing with 3",
        ],
        replaces={"labkit.filters._bell": without_the_square},
        until="69eda77f",
    ),
    Break(
        "what is learned is kept symmetric, a joined kernel is not turned, and the photograph brightens, not moves",
        [
            "Learned from noise",
            "Shuffled and subtracted",
            "Filtered by a convolution",
            "Two convolutions and one",
            "Change at a shift of one pixel",
            "Max pooling over 4×4 is not",
            "Smallest further change",
            "Moved by two pixels",
        ],
        edits={
            "c96a1bdb": ("rate * gradient", "rate * (gradient + gradient.flip(0, 1)) / 2"),
            "dfbce573": ("convolve2d(a, b, padding=2)", "correlate2d(a, b, padding=2)"),
            "3554a665": ("photograph[:, 8 - shift : 628 - shift]", "photograph[:, 8:628] * (1 + 1e-6 * shift)"),
        },
        until="49ca0e9b",
    ),
    Break(
        "the piece of the photograph is noise, there is no ReLU, and pooling looks at one pixel",
        [
            "Learned from the photograph",
            "Its pixels shuffled",
            "Its mean subtracted",
            "With a ReLU between",
            "Change at a shift of one pixel",
        ],
        edits={
            "0ab7b9aa": ("piece = photograph[100:164, 200:264]", "piece = torch.randn(64, 64).double()"),
            "dfbce573": ("F.relu(convolve2d(signal, a))", "convolve2d(signal, a)"),
            "3554a665": [
                ('"max 4×4": lambda e: F.max_pool2d(e, 4)', '"max 4×4": lambda e: e[:, ::4, ::4]'),
                ("F.avg_pool2d(e, 4)", "e[:, ::4, ::4]"),
            ],
        },
        until="49ca0e9b",
    ),
    Break(
        "a hundredth of the step",
        ["Learned from noise", "Share of the loss left"],
        edits={"c96a1bdb": ("1 / largest_curvature", "0.01 / largest_curvature")},
        until="4f50d9c3",
    ),
    Break(
        "LeNet is not trained, leaky ReLU leaks nothing, dense features have no ReLU, no layer is left out",
        [
            "LeNet's accuracy",
            "Moved digits: LeNet",
            "Accuracy that one pixel costs LeNet",
            "Dead filters with leaky",
            "In place: four times",
            "In place: dense random",
            "In place: random convolutions",
            "In place: lost by the linear",
            "In place: lost without the second",
            "Moved: lost without the second",
            "Moved: lost without any",
            "In place: 4 filters",
            "In place: 16 filters",
        ],
        edits={
            "7ca6c842": SHORT,
            "7b5ae9fa": ("32, train, seed)", "32, train, seed, lr=1e-9)"),
            "b1e00005": ("nn.LeakyReLU(0.01)", "nn.LeakyReLU(0.0)"),
            "d7c9af5e": ("F.relu(images.flatten(1) @ weights.T)", "images.flatten(1) @ weights.T"),
            "e89fb0d6": ("part_of_lenet(seed, **part)", "part_of_lenet(seed)"),
        },
        until="b1e00010",
    ),
    Break(
        "filters are not lost, random convolutions are noise, and without both kinds of layer nothing is left",
        [
            "Dead filters with ReLU",
            "In place: learned minus",
            "Moved: random convolutions minus as",
            "Moved: random convolutions minus four",
            "In place: lost without hidden",
        ],
        edits={
            "7ca6c842": SHORT[1:],
            "b1e00005": ("-= 1.1 *", "-= 0.5 *"),
            "b1e00007": (
                "linear_on(maps_of(new_lenet(seed)))",
                "linear_on(lambda images: torch.randn(len(images), COUNT))",
            ),
            "e89fb0d6": ('"neither": {"convolutions": 1, "hidden": False}', f'"neither": {LINEAR}'),
        },
        until="b1e00009",
    ),
    Break(
        "augmentation does nothing, and with the hidden layer the convolutions go",
        [
            "In place: lost without hidden",
            "Moved: lost without the hidden",
            "Test digits changed by",
            "As they are: flip",
            "As they are: four gentle",
        ],
        replaces={"labkit.data.augmentation.Augment.apply": nothing},
        edits={
            "7ca6c842": SHORT,
            "e89fb0d6": ('"no hidden layer": {"hidden": False}', f'"no hidden layer": {LINEAR}'),
        },
        until="e0ba546f",
    ),
    Break(
        "the real images go to the tricks",
        ["As they are: the best single", "As they are: eight times", "Four gentle tricks: share"],
        edits={
            "7ca6c842": SHORT,
            "42d443ae": [
                ("several(few, trick)", "several(few_of_each(8 * FEW), trick)"),
                ("several(few_of_each(8 * FEW)), as_is)", "several(few), as_is)"),
            ],
        },
        until="e0ba546f",
    ),
    Break(
        "the Gaussian before a stride blurs nothing",
        [
            "Blurred before the stride",
            "Every fourth pixel, blurred before",
            "Same answer: gain",
            "In place: cost of a blur",
        ],
        edits={
            "7ca6c842": SHORT,
            "a1ea5003": ("blurred(fine, 1.0)", "fine"),
            "a1ea5005": ("gaussian_kernel(0.85, 3)", "torch.ones(1, 1)"),
            "a1ea5007": ("blurred(e[0], 2.0)[::4, ::4]", "e[0, ::4, ::4]"),
        },
        until="a1ea5009",
    ),
    Break(
        "the stripes are wide enough, the control is blurred before the stride, nothing is pooled, layers see 3×3",
        [
            "Every second pixel of fine",
            "Every fourth pixel, blurred after",
            "Max pooling minus",
            "Behind 4 layers",
            "Behind 16 layers",
        ],
        edits={
            "7ca6c842": SHORT,
            "a1ea5003": ("(3 / 8, 1 / 8)", "(3 / 16, 1 / 8)"),
            "a1ea5005": ("[robustness(scores) for scores, _ in lenets]", 'runs["bare stride"]'),
            "a1ea5007": ("blurred(e[0, ::4, ::4], 0.5)", "blurred(e[0], 2.0)[::4, ::4]"),
            "a1ea5009": ("32, 5, padding=2", "32, 3, padding=1"),
        },
        until="a1ea5009",
    ),
]
