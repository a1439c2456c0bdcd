"""The exercises of lab 09, checkpoint distancing: right answers, cases, and the mistakes people make."""

import math

import torch

from course.exercises import Answer, Case, Exercise, Mistake

WEIGHTS = torch.tensor([0.5, -1.0, 2.0, 0.3])
CHECKPOINT = torch.tensor([0.1, -0.4, 1.5, 0.3])
SHARES = torch.linspace(0, 1, 5)


# --- 1: the gradient of the hill ---------------------------------------------------------------------------------


def hill_gradient(weights, checkpoint, strength, sigma):
    apart = weights - checkpoint
    return -strength / sigma**2 * apart * torch.exp(-(apart**2).sum() / (2 * sigma**2))


def _single(weights, checkpoint, strength, sigma):
    apart = weights - checkpoint
    return -strength / sigma**2 * apart * torch.exp(-(apart**2) / (2 * sigma**2))


def _unsquared(weights, checkpoint, strength, sigma):
    apart = weights - checkpoint
    return -strength / sigma**2 * apart * torch.exp(-apart.norm() / (2 * sigma**2))


def _without_two(weights, checkpoint, strength, sigma):
    apart = weights - checkpoint
    return -strength / sigma**2 * apart * torch.exp(-(apart**2).sum() / sigma**2)


gradient = Exercise(
    "gradient of the hill",
    hill_gradient,
    [
        Case("one weight", torch.tensor([1.0]), torch.tensor([0.4]), 1.0, 0.5),
        Case("four weights", WEIGHTS, CHECKPOINT, 2.0, 0.7),
        Case("at the checkpoint", CHECKPOINT, CHECKPOINT, 2.0, 0.7),
    ],
    [
        Mistake(
            "each weight alone in the exponent",
            "This is equation 2.18 as the thesis prints it. How high the hill is depends on the distance over *all* "
            "weights: sum the squares before exp.",
            _single,
        ),
        Mistake(
            "sign turned round",
            "Descent goes against the gradient: with this sign the hill is a pit that draws the weights in.",
            "-hill_gradient(weights, checkpoint, strength, sigma)",
        ),
        Mistake(
            "not divided by σ²",
            "The chain rule brings 1/σ² down from the exponent.",
            "sigma ** 2 * hill_gradient(weights, checkpoint, strength, sigma)",
        ),
        Mistake(
            "the 2 of the exponent lost",
            "The exponent is -D²/(2σ²); the caption of the thesis' Figure 2.2 lost that 2 as well.",
            _without_two,
        ),
        Mistake(
            "distance not squared",
            "The exponent holds the squared distance D².",
            _unsquared,
        ),
        Mistake(
            "the height of the hill",
            "This is the penalty itself, one number. Asked is its gradient, one number for each weight.",
            "strength * torch.exp(-((weights - checkpoint) ** 2).sum() / (2 * sigma ** 2))",
        ),
    ],
)


# --- 2: where the ball comes to rest -----------------------------------------------------------------------------


def rest(strength, sigma, curvature):
    steepness = curvature * sigma**2
    return sigma * math.sqrt(2 * math.log(strength / steepness)) if strength > steepness else 0.0


def _always(strength, sigma, curvature):
    return sigma * math.sqrt(2 * abs(math.log(strength / (curvature * sigma**2))))


def _without_curvature(strength, sigma, curvature):
    return rest(strength, sigma, 1.0)


equilibrium = Exercise(
    "where the ball comes to rest",
    rest,
    [
        Case("a high hill", 3.0, 0.8, 1.0),
        Case("a flat hill", 0.5, 0.8, 1.0),
        Case("a steep valley", 3.0, 0.8, 4.0),
        Case("a steep valley, a flat hill", 2.0, 0.8, 4.0),
        Case("a wide hill", 5.0, 1.5, 0.5),
    ],
    [
        Mistake(
            "no check whether the hill is high enough",
            "Where s is no greater than λσ² the bottom of the valley is still a bottom: the ball stays, distance 0.",
            _always,
        ),
        Mistake(
            "curvature forgotten",
            "A steeper valley needs a higher hill: λ is missing.",
            _without_curvature,
        ),
        Mistake(
            "root forgotten",
            "This is d². The forces balance where exp(-d²/2σ²) = λσ²/s; solve for d.",
            "rest(strength, sigma, curvature) ** 2",
        ),
        Mistake(
            "the 2 forgotten",
            "The exponent is -d²/(2σ²): the 2 comes under the root.",
            "rest(strength, sigma, curvature) / math.sqrt(2)",
        ),
    ],
)


# --- 3: σ of a larger network ------------------------------------------------------------------------------------

width = Answer(
    "σ of a larger network",
    20,
    {
        2: "With the same σ the larger network feels no hill as soon as its weights have moved a little: D grows with "
        "the number of weights, even if each moves as far as before.",
        200: "This grows as the number of weights does. D² does; D and σ grow as its root.",
        0.2: "Turned round: with more weights D becomes larger, so σ must, too.",
        20000: "That would be 100² times σ: D grows with the root of the factor 100.",
    },
)


# --- 4: the barrier ----------------------------------------------------------------------------------------------


def barrier_height(losses):
    shares = torch.linspace(0, 1, len(losses), dtype=losses.dtype)
    return (losses - ((1 - shares) * losses[0] + shares * losses[-1])).max()


barrier = Exercise(
    "height of the barrier",
    barrier_height,
    [
        Case("a hill between equal ends", torch.tensor([0.5, 1.0, 2.5, 1.0, 0.5])),
        Case("a hill between unequal ends", torch.tensor([0.2, 0.9, 1.4, 1.6, 1.0])),
        Case("a slope", torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])),
        Case("a slope downwards", torch.tensor([1.0, 0.7, 0.5, 0.2, 0.0])),
        Case("a valley", torch.tensor([1.0, 0.4, 0.2, 0.5, 1.2])),
    ],
    [
        Mistake(
            "highest minus lowest",
            "A mere slope, or a valley, would count as a barrier: compare with the straight line between the ends.",
            "losses.max() - losses.min()",
        ),
        Mistake(
            "above the first end only",
            "A mere slope upwards would count as a barrier: the other end counts as well.",
            "(losses - losses[0]).max()",
        ),
        Mistake(
            "above the lower end",
            "A mere slope would count as a barrier: compare with the straight line between both ends.",
            "(losses - torch.minimum(losses[0], losses[-1])).max()",
        ),
        Mistake(
            "above the higher end",
            "Measured from the higher end, a hill on the lower side is overlooked.",
            "(losses - torch.maximum(losses[0], losses[-1])).max()",
        ),
        Mistake(
            "above the mean of the ends",
            "On the way the straight line goes from one end's loss to the other's; their mean is only its middle.",
            "(losses - (losses[0] + losses[-1]) / 2).max()",
        ),
        Mistake(
            "in the middle only",
            "The highest place need not lie in the middle.",
            "losses[len(losses) // 2] - (losses[0] + losses[-1]) / 2",
        ),
        Mistake(
            "mean in place of the maximum",
            "A barrier is as high as its highest point.",
            "(losses - torch.lerp(losses[0], losses[-1], torch.linspace(0, 1, len(losses)).to(losses))).mean()",
        ),
    ],
)


# --- 5: the variance of the mean ---------------------------------------------------------------------------------


def shared_error(v, c, k):
    return v / k + (k - 1) / k * c


variance = Exercise(
    "mean squared error of an ensemble",
    shared_error,
    [Case("three networks", 0.4, 0.1, 3), Case("one network", 0.4, 0.1, 1), Case("ten networks", 0.3, 0.25, 10)],
    [
        Mistake(
            "shared errors forgotten",
            "Only the errors' own part falls with k. What they share, c, stays.",
            "v / k",
        ),
        Mistake(
            "c not weighted",
            "There are k(k-1) products of two, of k² in all.",
            "v / k + c",
        ),
        Mistake(
            "weights swapped",
            "There are k squares, and k(k-1) products of two different errors: v belongs to the squares.",
            "c / k + (k - 1) / k * v",
        ),
        Mistake(
            "divided by k once",
            "The mean divides by k, so its square by k²: one k is left below.",
            "v + (k - 1) * c",
        ),
    ],
)


# --- 6: calibration ----------------------------------------------------------------------------------------------


def calibration_error(confidence, right, bins):
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    total = torch.zeros((), dtype=confidence.dtype)
    for number in range(bins):
        own = place == number
        if own.any():
            total = (
                total
                + own.to(confidence.dtype).mean()
                * (right[own].to(confidence.dtype).mean() - confidence[own].mean()).abs()
            )
    return total


def _bins(confidence, right, bins, combine):
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    found = [place == number for number in range(bins) if (place == number).any()]
    gaps = torch.stack([right[own].to(confidence.dtype).mean() - confidence[own].mean() for own in found])
    shares = torch.stack([own.to(confidence.dtype).mean() for own in found])
    return combine(gaps, shares)


calibration = Exercise(
    "expected calibration error",
    calibration_error,
    [
        Case(
            "both too sure and not sure enough",
            torch.tensor([0.95, 0.92, 0.91, 0.55, 0.58, 0.33, 0.35, 0.31]),
            torch.tensor([True, False, True, True, True, False, False, True]),
            5,
        ),
        Case(
            "bins of unequal size",
            torch.tensor([0.99, 0.98, 0.97, 0.96, 0.95, 0.45]),
            torch.tensor([True, True, True, True, False, True]),
            10,
        ),
    ],
    [
        Mistake(
            "all bins weighted alike",
            "A bin counts as much as the images in it: weight by their share.",
            "_bins(confidence, right, bins, lambda gaps, _: gaps.abs().mean())",
        ),
        Mistake(
            "signs kept",
            "Too sure in one bin and too modest in another must not cancel: take the absolute value in each bin.",
            "_bins(confidence, right, bins, lambda gaps, shares: (gaps * shares).sum())",
        ),
        Mistake(
            "without bins",
            "This compares the overall means; errors in both directions cancel. Do it bin by bin.",
            "(right.to(confidence.dtype).mean() - confidence.mean()).abs()",
        ),
        Mistake(
            "image by image",
            "A single image is right or wrong, never 80 %: only the mean of many can be compared with a confidence.",
            "(right.to(confidence.dtype) - confidence).abs().mean()",
        ),
        Mistake(
            "the worst bin",
            "This is the maximum calibration error; asked is the mean over the images.",
            "_bins(confidence, right, bins, lambda gaps, _: gaps.abs().max())",
        ),
    ],
)
