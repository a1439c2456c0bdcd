"""The exercises of lab 02, initialization: right answers, cases, and the mistakes people make."""

import math

import torch

from course.exercises import Answer, Case, Exercise, Mistake

# --- 1: He's standard deviation ----------------------------------------------------------------------------------


def he_std(fan_in, slope):
    return math.sqrt(2 / ((1 + slope**2) * fan_in))


he = Exercise(
    "He's standard deviation",
    he_std,
    [Case("ReLU", 512, 0.0), Case("leaky ReLU", 50, 0.2), Case("PReLU at its start", 9, 0.25), Case("linear", 4, 1.0)],
    [
        Mistake(
            "the variance",
            "This is the variance; the standard deviation is its root.",
            "he_std(fan_in, slope) ** 2",
        ),
        Mistake(
            "slope forgotten",
            "Right for ReLU. A leaky ReLU lets a share slope² of the negative half through: 1/(1 + slope²) more.",
            "he_std(fan_in, 0)",
        ),
        Mistake(
            "slope not squared",
            "It is the mean square that must be kept, so the slope comes in squared.",
            "math.sqrt(2 / ((1 + slope) * fan_in))",
        ),
        Mistake(
            "gain of one",
            "That keeps the size of a linear layer. ReLU takes half of the mean square away: the variance needs a 2.",
            "math.sqrt(1 / fan_in)",
        ),
        Mistake(
            "root of the numerator only",
            "The number of inputs stands under the root too: n·std² shall be a constant, not n·std.",
            "math.sqrt(2 / (1 + slope ** 2)) / fan_in",
        ),
        Mistake(
            "one subtracted",
            "The `l-1` of the lecture is an index, the layer before; nothing is subtracted.",
            "math.sqrt(abs(2 / fan_in - 1))",
        ),
    ],
)


# --- 2: the bound of Glorot's uniform distribution ---------------------------------------------------------------


def glorot_bound(shape):
    outputs, inputs, *kernel = shape
    places = math.prod(kernel)
    return math.sqrt(6 / (inputs * places + outputs * places))


glorot = Exercise(
    "bound of Glorot's uniform distribution",
    glorot_bound,
    [Case("linear", (10, 128)), Case("convolution", (32, 3, 5, 5)), Case("one channel", (8, 1, 3, 3))],
    [
        Mistake(
            "standard deviation for the bound",
            "This is the standard deviation √(2/(fan_in + fan_out)). U(-b, b) has the variance b²/3: b is √3 larger.",
            "glorot_bound(shape) / math.sqrt(3)",
        ),
        Mistake(
            "kernel forgotten",
            "Right for linear layers. In a convolution each input channel comes in once for every place of the kernel.",
            "glorot_bound(shape[:2])",
        ),
        Mistake(
            "kernel counted for the inputs only",
            "An input goes into every output channel once for each place of the kernel: fan_out counts them as well.",
            "math.sqrt(6 / (math.prod(shape[1:]) + shape[0]))",
        ),
        Mistake(
            "inputs only",
            "This is variance 1/fan_in, what the lecture calls Xavier. Glorot takes the mean of fan_in and fan_out.",
            "math.sqrt(3 / math.prod(shape[1:]))",
        ),
        Mistake(
            "no root",
            "The root is missing.",
            "glorot_bound(shape) ** 2",
        ),
    ],
)


# --- 3: how large a signal becomes -------------------------------------------------------------------------------


def size_after(depth, width, std, activation):
    kept = {"linear": 1.0, "relu": 0.5}[activation]
    return (kept * width * std**2) ** (depth / 2)


sizes = Exercise(
    "size of a signal after many layers",
    size_after,
    [
        Case("one linear layer", 1, 100, 0.3, "linear"),
        Case("one ReLU layer", 1, 100, 0.3, "relu"),
        Case("ten linear layers", 10, 64, 0.11, "linear"),
        Case("ten ReLU layers", 10, 64, 0.2, "relu"),
    ],
    [
        Mistake(
            "ReLU like a linear layer",
            "ReLU keeps half of the mean square in every layer.",
            "size_after(depth, width, std, 'linear')",
        ),
        Mistake(
            "half of the size",
            "ReLU keeps half of the mean square, so 1/√2 of the size.",
            "size_after(depth, width, std, 'linear') * (0.5 ** depth if activation == 'relu' else 1)",
        ),
        Mistake(
            "mean square for the size",
            "This is the mean square after so many layers; the size is its root.",
            "size_after(depth, width, std, activation) ** 2",
        ),
        Mistake(
            "once for all layers",
            "Every layer multiplies what the one before left: the factors are multiplied, not added.",
            "depth * size_after(1, width, std, activation)",
        ),
        Mistake(
            "standard deviation not squared",
            "Variances add up: width times std², not width times std.",
            "({'linear': 1.0, 'relu': 0.5}[activation] * width * std) ** (depth / 2)",
        ),
    ],
)


# --- 4: batch normalization --------------------------------------------------------------------------------------


def batch_norm(x, gamma, beta, eps):
    mean = x.mean(dim=0)
    variance = (x - mean).pow(2).mean(dim=0)
    return gamma * (x - mean) / (variance + eps).sqrt() + beta


def _whole_batch(x, gamma, beta, eps):
    return gamma * (x - x.mean()) / ((x - x.mean()).pow(2).mean() + eps).sqrt() + beta


def _by_rows(x, gamma, beta, eps):
    mean = x.mean(dim=1, keepdim=True)
    return gamma * (x - mean) / ((x - mean).pow(2).mean(dim=1, keepdim=True) + eps).sqrt() + beta


def _detached(x, gamma, beta, eps):
    mean = x.detach().mean(dim=0)
    variance = (x.detach() - mean).pow(2).mean(dim=0)
    return gamma * (x - mean) / (variance + eps).sqrt() + beta


BATCH = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, 0.5], [5.0, 1.0, 2.5], [7.0, 5.0, -1.5]])
GAMMA, BETA = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([0.0, -1.0, 3.0])

normalization = Exercise(
    "batch normalization, training",
    batch_norm,
    [
        Case("four images, three features", BATCH, GAMMA, BETA, 0.1),
        Case(
            "a feature that is the same in all images", torch.tensor([[2.0, 1.0], [2.0, 4.0]]), GAMMA[:2], BETA[:2], 0.1
        ),
    ],
    [
        Mistake(
            "statistics cut off from the gradient",
            "The values are right, but mean and variance count as constants here. They depend on x: without their part "
            "of the gradient, a step would fight against the normalization.",
            _detached,
        ),
        Mistake(
            "divided by n - 1",
            "`x.var()` divides by n - 1. Batch normalization divides by n in training (and by n - 1 only for the "
            "running variance).",
            "gamma * (x - x.mean(0)) / (x.var(0) + eps).sqrt() + beta",
        ),
        Mistake(
            "eps outside of the root",
            "eps belongs under the root, added to the variance: there the gradient is finite when the variance is 0.",
            "gamma * (x - x.mean(0)) / (x.std(0, correction=0) + eps) + beta",
        ),
        Mistake(
            "one mean for everything",
            "Each feature (column) has a mean and a variance of its own, over the images of the batch.",
            _whole_batch,
        ),
        Mistake(
            "normalized row by row",
            "That is layer normalization: over the features of one image. Here it is over the images, feature by "
            "feature.",
            _by_rows,
        ),
        Mistake(
            "gamma and beta forgotten",
            "Scale by gamma and shift by beta in the end, so that the layer can undo the normalization.",
            "batch_norm(x, torch.ones_like(gamma), torch.zeros_like(beta), eps)",
        ),
        Mistake(
            "variance for the standard deviation",
            "You divide by the variance; divide by its root.",
            "gamma * (x - x.mean(0)) / (x.var(0, correction=0) + eps) + beta",
        ),
    ],
    gradients=("x", "gamma", "beta"),
)


# --- 5: how far apart two embeddings start -----------------------------------------------------------------------

distance = Answer(
    "distance of two random embeddings",
    8.0,
    {
        64.0: "That is the squared distance.",
        math.sqrt(32): "The difference of two independent numbers has twice the variance of one.",
        math.sqrt(128): "Each of the 128 differences has the variance 2·0.25, not 1.",
        math.sqrt(2): "That is the distance of two random vectors of length 1. These have length √(128·0.25).",
    },
    tolerance=0.01,
)
