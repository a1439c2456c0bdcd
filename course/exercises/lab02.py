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
            "The given slope does not come in. A leaky ReLU keeps slope² of the negative half's mean square, so its "
            "weights are smaller than ReLU's by the factor √(1 + slope²).",
            "he_std(fan_in, 0)",
            "he_std(fan_in, 0.01)",
        ),
        Mistake(
            "slope not squared",
            "It is the mean square that must be kept, so the slope comes in squared: 1 + slope².",
            "math.sqrt(2 / ((1 + slope) * fan_in))",
            "math.sqrt(2 / fan_in) / (1 + slope)",
        ),
        Mistake(
            "slope subtracted",
            "What the negative half keeps is added to what the positive half keeps: 1 + slope².",
            "math.sqrt(2 / ((1 - slope ** 2) * fan_in))",
            "math.sqrt(2 / ((1 - slope) * fan_in))",
        ),
        Mistake(
            "multiplied by what the activation keeps",
            "The more the activation keeps, the smaller the weights must be: divide by 1 + slope². (`a / b * c` "
            "multiplies by c.)",
            "math.sqrt(2 * (1 + slope ** 2) / fan_in)",
            "math.sqrt((1 + slope ** 2) / 2 / fan_in)",
            "math.sqrt((1 + slope ** 2) / fan_in)",
        ),
        Mistake(
            "bound of the uniform distribution",
            "This is the bound b of He's uniform distribution U(-b, b). Its standard deviation is b/√3.",
            "math.sqrt(3) * he_std(fan_in, slope)",
        ),
        Mistake(
            "gain of one",
            "That keeps the size of a linear layer. ReLU takes half of the mean square away: the variance needs a 2.",
            "math.sqrt(1 / fan_in)",
        ),
        Mistake(
            "the 2 forgotten",
            "An activation keeps the mean of what the two halves keep, (1 + slope²)/2: the variance needs a 2.",
            "math.sqrt(1 / ((1 + slope ** 2) * fan_in))",
        ),
        Mistake(
            "root of one part only",
            "The whole fraction is under the root: n·std² should be 2/(1 + slope²).",
            "math.sqrt(2 / (1 + slope ** 2)) / fan_in",
            "2 / (1 + slope ** 2) / math.sqrt(fan_in)",
        ),
        Mistake(
            "fan-in forgotten",
            "This is the gain, without the number of inputs: the more of them, the smaller the weights.",
            "math.sqrt(2 / (1 + slope ** 2))",
        ),
        Mistake(
            "subtracted under the root",
            "Nothing is subtracted under the root. The `l-1` of the lecture is an index, the layer before.",
            "math.sqrt(2 / fan_in - 1)",
            "math.sqrt(2 / fan_in - 1) if fan_in < 2 else math.nan",
            "math.sqrt(abs(2 / fan_in - 1))",
        ),
    ],
)


# --- 2: the bound of Glorot's uniform distribution ---------------------------------------------------------------


def glorot_bound(shape):
    outputs, inputs, *kernel = shape
    places = math.prod(kernel)
    return math.sqrt(6 / (inputs * places + outputs * places))


def _fans(shape):
    places = math.prod(shape[2:])
    return shape[1] * places, shape[0] * places


def _with_places(shape, places):
    """The bound if a kernel had so many places."""
    return math.sqrt(6 / ((shape[0] + shape[1]) * places)) if len(shape) > 2 else glorot_bound(shape)


def _four_axes(shape):
    outputs, inputs, height, width = shape
    return math.sqrt(6 / ((inputs + outputs) * height * width))


glorot = Exercise(
    "bound of Glorot's uniform distribution",
    glorot_bound,
    [
        Case("linear", (10, 128)),
        Case("linear, more outputs than inputs", (40, 7)),
        Case("convolution", (32, 3, 5, 2)),
        Case("one channel", (8, 1, 3, 7)),
        Case("more inputs than outputs", (6, 20, 4, 3)),
    ],
    [
        Mistake(
            "standard deviation for the bound",
            "This is the standard deviation √(2/(fan-in + fan-out)). U(-b, b) has the variance b²/3: b is √3 larger.",
            "glorot_bound(shape) / math.sqrt(3)",
        ),
        Mistake(
            "the variance",
            "This is the variance of a weight; the bound is √3 times the root of that.",
            "glorot_bound(shape) ** 2 / 3",
        ),
        Mistake(
            "no root",
            "The root is missing: this is the square of the bound.",
            "glorot_bound(shape) ** 2",
        ),
        Mistake(
            "root of one part only",
            "The whole fraction 6/(fan-in + fan-out) stands under the root.",
            "math.sqrt(6) / sum(_fans(shape))",
            "6 / math.sqrt(sum(_fans(shape)))",
        ),
        Mistake(
            "width of the interval",
            "This is 2b, the width of the interval from -b to b. The bound is half of it.",
            "2 * glorot_bound(shape)",
        ),
        Mistake(
            "mean and sum of the fans mixed up",
            "The bound is √(3/mean) or √(6/sum) of fan-in and fan-out; yours takes the number of one and the fans of "
            "the other.",
            "math.sqrt(6 / (sum(_fans(shape)) / 2))",
            "math.sqrt(3 / sum(_fans(shape)))",
        ),
        Mistake(
            "fans multiplied",
            "Fan-in and fan-out are added, not multiplied: their mean is what Glorot takes.",
            "math.sqrt(6 / math.prod(_fans(shape)))",
            "math.sqrt(6 / math.prod(shape))",
        ),
        Mistake(
            "kernel forgotten",
            "Right for linear layers. In a convolution each input channel comes in once for every place of the kernel.",
            "glorot_bound(shape[:2])",
        ),
        Mistake(
            "kernel counted on one side only",
            "Both fans count the places of the kernel: an input channel comes in once per place, and goes into an "
            "output channel once per place.",
            "math.sqrt(6 / (math.prod(shape[1:]) + shape[0]))",
            "math.sqrt(6 / (shape[1] + shape[0] * math.prod(shape[2:])))",
        ),
        Mistake(
            "kernel counted wrongly",
            "A kernel has height · width places, and the two sides may differ.",
            "_with_places(shape, shape[-2])",
            "_with_places(shape, shape[-1])",
            "_with_places(shape, shape[-2] ** 2)",
            "_with_places(shape, shape[-1] ** 2)",
            "_with_places(shape, sum(shape[2:]))",
        ),
        Mistake(
            "all axes added",
            "The sides of the kernel multiply the numbers of inputs and of outputs.",
            "math.sqrt(6 / sum(shape))",
        ),
        Mistake(
            "one fan only",
            "Only one of the two numbers comes in (with fan-in these are the rules of LeCun and He; the lecture calls "
            "LeCun's Xavier). Glorot takes the mean of fan-in and fan-out.",
            "math.sqrt(3 / _fans(shape)[0])",
            "math.sqrt(6 / _fans(shape)[0])",
            "math.sqrt(1 / _fans(shape)[0])",
            "math.sqrt(2 / _fans(shape)[0])",
            "math.sqrt(3 / _fans(shape)[1])",
            "math.sqrt(6 / _fans(shape)[1])",
        ),
        Mistake(
            "a kernel demanded",
            "The weight of a linear layer has two axes only: height and width are missing there, as if they were 1.",
            _four_axes,
            "math.sqrt(6 / ((shape[0] + shape[1]) * shape[2] * shape[3]))",
        ),
    ],
)


# --- 3: how large a signal becomes -------------------------------------------------------------------------------


def size_after(depth, width, std, activation):
    kept = {"linear": 1.0, "relu": 0.5}[activation]
    return (kept * width * std**2) ** (depth / 2)


def _with_relu(depth, width, std, activation, factor):
    """The size of a linear net, times a factor for the activation if it is ReLU."""
    return size_after(depth, width, std, "linear") * (factor if activation == "relu" else 1)


sizes = Exercise(
    "size of a signal after many layers",
    size_after,
    [
        Case("one linear layer", 1, 100, 0.3, "linear"),
        Case("one ReLU layer", 1, 50, 0.2, "relu"),
        Case("three linear layers", 3, 20, 0.25, "linear"),
        Case("ten linear layers", 10, 64, 0.11, "linear"),
        Case("four ReLU layers", 4, 30, 0.15, "relu"),
        Case("seven ReLU layers", 7, 64, 0.2, "relu"),
    ],
    [
        Mistake(
            "ReLU like a linear layer",
            "ReLU keeps half of the mean square in every layer.",
            "size_after(depth, width, std, 'linear')",
        ),
        Mistake(
            "linear like ReLU",
            "A linear layer keeps the whole mean square; only ReLU halves it. Look at `activation`.",
            "size_after(depth, width, std, 'relu')",
        ),
        Mistake(
            "half of the size",
            "ReLU keeps half of the mean square, so 1/√2 of the size.",
            "_with_relu(depth, width, std, activation, 0.5 ** depth)",
        ),
        Mistake(
            "ReLU makes it larger",
            "ReLU takes half of the mean square away. The 2 of He's weights makes up for that; it is not part of ReLU.",
            "_with_relu(depth, width, std, activation, 2 ** (depth / 2))",
            "_with_relu(depth, width, std, activation, 2.0 ** depth)",
        ),
        Mistake(
            "ReLU counted wrongly",
            "ReLU acts in every one of the `depth` layers, the last one included.",
            "_with_relu(depth, width, std, activation, 0.5 ** 0.5)",
            "_with_relu(depth, width, std, activation, 0.5)",
            "_with_relu(depth, width, std, activation, 0.5 ** ((depth - 1) / 2))",
        ),
        Mistake(
            "variance for the mean square",
            "(1 - 1/π)/2 is what ReLU keeps of the *variance*. Its outputs have a mean above 0, and the next layer "
            "adds up their squares: half is kept.",
            "_with_relu(depth, width, std, activation, ((1 - 1 / math.pi) / 2) ** (depth / 2))",
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
            "depth not used",
            "This is the size after a single layer. Each of the `depth` layers multiplies it.",
            "size_after(1, width, std, activation)",
        ),
        Mistake(
            "one layer too few or too many",
            "The signal goes through `depth` layers: that many factors, no fewer and no more.",
            "size_after(depth - 1, width, std, activation)",
            "size_after(depth + 1, width, std, activation)",
        ),
        Mistake(
            "depth halved in whole numbers",
            "`//` rounds down, and an odd depth loses half a layer's factor: divide by `/`.",
            "size_after(2 * (depth // 2), width, std, activation)",
        ),
        Mistake(
            "standard deviation not squared",
            "Variances add up: width times std², not width times std.",
            "size_after(depth, width, math.sqrt(std), activation)",
        ),
        Mistake(
            "width without its root",
            "The mean square grows by width · std², so the size by √width · std.",
            "size_after(depth, width**2, std, activation)",
        ),
        Mistake(
            "width forgotten",
            "Each unit adds up `width` inputs: the mean square grows by width · std², not by std².",
            "size_after(depth, 1, std, activation)",
        ),
        Mistake(
            "logarithm",
            "This is a logarithm of the size; the size itself is asked for.",
            "math.log10(size_after(depth, width, std, activation))",
            "math.log(size_after(depth, width, std, activation))",
        ),
    ],
)


# --- 4: batch normalization --------------------------------------------------------------------------------------


def batch_norm(x, gamma, beta, eps):
    mean = x.mean(dim=0)
    variance = (x - mean).pow(2).mean(dim=0)
    return gamma * (x - mean) / (variance + eps).sqrt() + beta


def _variance(x):
    return x.var(0, correction=0)


def _divided(x, gamma, beta, divisor):
    return gamma * (x - x.mean(0)) / divisor + beta


def _whole_batch(x, gamma, beta, eps):
    return gamma * (x - x.mean()) / (x.var(correction=0) + eps).sqrt() + beta


def _by_rows(x, gamma, beta, eps, correction=0):
    variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=correction)
    return gamma * (x - mean) / (variance + eps).sqrt() + beta


BATCH = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, 0.6], [5.0, 1.0, 2.5], [7.0, 5.0, -1.5], [-2.0, 0.5, 0.0]])
GAMMA, BETA = torch.tensor([1.5, -2.0, 0.4]), torch.tensor([0.3, -1.0, 3.0])

normalization = Exercise(
    "batch normalization, training",
    batch_norm,
    [
        Case("five images, three features", BATCH, GAMMA, BETA, 0.1),
        Case("more features than images", BATCH[1:3], GAMMA, BETA, 0.7),
        Case(
            "a feature that is the same in all images",
            torch.tensor([[2.0, 1.0], [2.0, 4.0], [2.0, -1.5]]),
            GAMMA[:2],
            BETA[:2],
            0.3,
        ),
    ],
    [
        Mistake(
            "statistics cut off from the gradient",
            "The values are right, but the mean or the variance counts as a constant here. Both depend on x: without "
            "their part of the gradient, a step would fight against the normalization.",
            "gamma * (x - x.detach().mean(0)) / (_variance(x.detach()) + eps).sqrt() + beta",
            "gamma * (x - x.detach().mean(0)) / (_variance(x) + eps).sqrt() + beta",
            "_divided(x, gamma, beta, (_variance(x.detach()) + eps).sqrt())",
        ),
        Mistake(
            "divided by n - 1",
            "`x.var()` divides by n - 1. Batch normalization divides by n in training (and by n - 1 only for the "
            "running variance).",
            "_divided(x, gamma, beta, (x.var(0) + eps).sqrt())",
        ),
        Mistake(
            "eps outside of the root",
            "eps belongs under the root, added to the variance: there the gradient is finite when the variance is 0.",
            "_divided(x, gamma, beta, _variance(x).sqrt() + eps)",
        ),
        Mistake(
            "n - 1, and eps outside of the root",
            "`x.std()` divides by n - 1, batch normalization by n; and eps belongs under the root, added to the "
            "variance.",
            "_divided(x, gamma, beta, x.std(0) + eps)",
        ),
        Mistake(
            "eps forgotten",
            "eps does not come in. A feature that is the same in all images has the variance 0: without eps, 0 is "
            "divided by 0.",
            "_divided(x, gamma, beta, _variance(x).sqrt())",
            "gamma * ((x - x.mean(0)) / _variance(x).sqrt()).nan_to_num() + beta",
        ),
        Mistake(
            "eps fixed",
            "eps is an argument; this uses a number of its own.",
            "batch_norm(x, gamma, beta, 1e-5)",
        ),
        Mistake(
            "eps squared",
            "eps is added to the variance as it is, not squared.",
            "batch_norm(x, gamma, beta, eps ** 2)",
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
            "_by_rows(x, gamma, beta, eps, correction=1)",
        ),
        Mistake(
            "gamma and beta forgotten",
            "Scale by gamma and shift by beta in the end, so that the layer can undo the normalization.",
            "batch_norm(x, torch.ones_like(gamma), torch.zeros_like(beta), eps)",
        ),
        Mistake(
            "gamma forgotten",
            "The scale is missing: multiply by gamma before beta is added.",
            "batch_norm(x, torch.ones_like(gamma), beta, eps)",
        ),
        Mistake(
            "beta forgotten",
            "The shift is missing: add beta in the end.",
            "batch_norm(x, gamma, torch.zeros_like(beta), eps)",
        ),
        Mistake(
            "gamma and beta swapped",
            "gamma is the scale, beta the shift; here they have changed places.",
            "batch_norm(x, beta, gamma, eps)",
        ),
        Mistake(
            "shifted too early",
            "beta comes last, when everything else is multiplied and divided.",
            "gamma * ((x - x.mean(0)) / (_variance(x) + eps).sqrt() + beta)",
            "gamma * (x - x.mean(0) + beta) / (_variance(x) + eps).sqrt()",
            "(gamma * (x - x.mean(0)) + beta) / (_variance(x) + eps).sqrt()",
        ),
        Mistake(
            "variance for the standard deviation",
            "You divide by the variance; divide by its root.",
            "_divided(x, gamma, beta, _variance(x) + eps)",
        ),
        Mistake(
            "not divided",
            "Only the mean is taken away: divide by the root of the variance plus eps, too.",
            "_divided(x, gamma, beta, 1)",
        ),
        Mistake(
            "mean not subtracted",
            "The mean of each feature is subtracted first; here the result has a mean that depends on x.",
            "gamma * x / (_variance(x) + eps).sqrt() + beta",
        ),
        Mistake(
            "mean square for the variance",
            "The variance is the mean square of x *minus its mean*; you divide by the root of the mean square of x.",
            "_divided(x, gamma, beta, (x.square().mean(0) + eps).sqrt())",
        ),
        Mistake(
            "sum for the mean",
            "The variance is the mean of the squares, not their sum.",
            "_divided(x, gamma, beta, (_variance(x) * len(x) + eps).sqrt())",
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
        32.0: "That is a squared distance, and one that forgets that both ends are random: twice the variance.",
        math.sqrt(32): "The difference of two independent numbers has twice the variance of one.",
        math.sqrt(128): "Each of the 128 differences has the variance 2·0.25, not 1.",
        16.0: "That would be so with a standard deviation of 1; here it is 0.5.",
        4.0: "The variance is 0.25, the standard deviation squared once: 128 times twice that, then the root.",
        math.sqrt(0.5): "That is the difference in one entry; the squared distance adds up 128 squares.",
        math.sqrt(2): "That is the distance of two random vectors of length 1. These have length √(128·0.25).",
    },
    tolerance=0.01,
)
