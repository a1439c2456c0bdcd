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
            _single,
            "This is equation 2.18 as the thesis prints it. How high the hill is depends on the distance over *all* "
            "weights: sum the squares before exp.",
        ),
        Mistake(
            "sign turned round",
            lambda weights, checkpoint, strength, sigma: -hill_gradient(weights, checkpoint, strength, sigma),
            "Descent goes against the gradient: with this sign the hill is a pit that draws the weights in.",
        ),
        Mistake(
            "not divided by σ²",
            lambda weights, checkpoint, strength, sigma: sigma**2 * hill_gradient(weights, checkpoint, strength, sigma),
            "The chain rule brings 1/σ² down from the exponent.",
        ),
        Mistake(
            "the 2 of the exponent lost",
            _without_two,
            "The exponent is -D²/(2σ²); the caption of the thesis' Figure 2.2 lost that 2 as well.",
        ),
        Mistake(
            "distance not squared",
            _unsquared,
            "The exponent holds the squared distance D².",
        ),
        Mistake(
            "the height of the hill",
            lambda weights, checkpoint, strength, sigma: (
                strength * torch.exp(-((weights - checkpoint) ** 2).sum() / (2 * sigma**2))
            ),
            "This is the penalty itself, one number. Asked is its gradient, one number for each weight.",
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
            _always,
            "Where s is no greater than λσ² the bottom of the valley is still a bottom: the ball stays, distance 0.",
        ),
        Mistake("curvature forgotten", _without_curvature, "A steeper valley needs a higher hill: λ is missing."),
        Mistake(
            "root forgotten",
            lambda strength, sigma, curvature: rest(strength, sigma, curvature) ** 2,
            "This is d². The forces balance where exp(-d²/2σ²) = λσ²/s; solve for d.",
        ),
        Mistake(
            "the 2 forgotten",
            lambda strength, sigma, curvature: rest(strength, sigma, curvature) / math.sqrt(2),
            "The exponent is -d²/(2σ²): the 2 comes under the root.",
        ),
    ],
    adversarial=False,
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
            lambda losses: losses.max() - losses.min(),
            "A mere slope, or a valley, would count as a barrier: compare with the straight line between the ends.",
        ),
        Mistake(
            "above the first end only",
            lambda losses: (losses - losses[0]).max(),
            "A mere slope upwards would count as a barrier: the other end counts as well.",
        ),
        Mistake(
            "above the lower end",
            lambda losses: (losses - torch.minimum(losses[0], losses[-1])).max(),
            "A mere slope would count as a barrier: compare with the straight line between both ends.",
        ),
        Mistake(
            "above the higher end",
            lambda losses: (losses - torch.maximum(losses[0], losses[-1])).max(),
            "Measured from the higher end, a hill on the lower side is overlooked.",
        ),
        Mistake(
            "above the mean of the ends",
            lambda losses: (losses - (losses[0] + losses[-1]) / 2).max(),
            "On the way the straight line goes from one end's loss to the other's; their mean is only its middle.",
        ),
        Mistake(
            "in the middle only",
            lambda losses: losses[len(losses) // 2] - (losses[0] + losses[-1]) / 2,
            "The highest place need not lie in the middle.",
        ),
        Mistake(
            "mean in place of the maximum",
            lambda losses: (
                losses - torch.lerp(losses[0], losses[-1], torch.linspace(0, 1, len(losses)).to(losses))
            ).mean(),
            "A barrier is as high as its highest point.",
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
            lambda v, c, k: v / k,
            "Only the errors' own part falls with k. What they share, c, stays.",
        ),
        Mistake("c not weighted", lambda v, c, k: v / k + c, "There are k(k-1) products of two, of k² in all."),
        Mistake(
            "weights swapped",
            lambda v, c, k: c / k + (k - 1) / k * v,
            "There are k squares, and k(k-1) products of two different errors: v belongs to the squares.",
        ),
        Mistake(
            "divided by k once",
            lambda v, c, k: v + (k - 1) * c,
            "The mean divides by k, so its square by k²: one k is left below.",
        ),
    ],
    adversarial=False,
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
            lambda confidence, right, bins: _bins(confidence, right, bins, lambda gaps, _: gaps.abs().mean()),
            "A bin counts as much as the images in it: weight by their share.",
        ),
        Mistake(
            "signs kept",
            lambda confidence, right, bins: _bins(confidence, right, bins, lambda gaps, shares: (gaps * shares).sum()),
            "Too sure in one bin and too modest in another must not cancel: take the absolute value in each bin.",
        ),
        Mistake(
            "without bins",
            lambda confidence, right, bins: (right.to(confidence.dtype).mean() - confidence.mean()).abs(),
            "This compares the overall means; errors in both directions cancel. Do it bin by bin.",
        ),
        Mistake(
            "image by image",
            lambda confidence, right, bins: (right.to(confidence.dtype) - confidence).abs().mean(),
            "A single image is right or wrong, never 80 %: only the mean of many can be compared with a confidence.",
        ),
        Mistake(
            "the worst bin",
            lambda confidence, right, bins: _bins(confidence, right, bins, lambda gaps, _: gaps.abs().max()),
            "This is the maximum calibration error; asked is the mean over the images.",
        ),
    ],
)
