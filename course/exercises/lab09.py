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


def _sigma_in_the_exponent(weights, checkpoint, strength, sigma):
    apart = weights - checkpoint
    return -strength / sigma**2 * apart * torch.exp(-(apart**2).sum() / (2 * sigma))


def _square_of_the_sum(weights, checkpoint, strength, sigma):
    apart = weights - checkpoint
    return -strength / sigma**2 * apart * torch.exp(-(apart.sum() ** 2) / (2 * sigma**2))


def _direction_times_distance(weights, checkpoint, strength, sigma):
    apart = weights - checkpoint
    distance = apart.norm()
    return -strength / sigma**2 * distance * (apart / distance) * torch.exp(-(distance**2) / (2 * sigma**2))


gradient = Exercise(
    "gradient of the hill",
    hill_gradient,
    [
        Case("one weight", torch.tensor([1.0]), torch.tensor([0.4]), 1.0, 0.5),
        Case("four weights", WEIGHTS, CHECKPOINT, 2.0, 0.7),
        Case("at the checkpoint", CHECKPOINT, CHECKPOINT, 2.0, 0.7),
        Case("a wide hill", 3 * WEIGHTS, CHECKPOINT, 0.4, 2.5),
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
            "strength forgotten",
            "The gradient of a hill twice as high is twice as large: s is a factor.",
            "hill_gradient(weights, checkpoint, 1.0, sigma)",
        ),
        Mistake(
            "σ not squared",
            "Both σ² come from the exponent -D²/(2σ²): below the exponent and in front.",
            "sigma * hill_gradient(weights, checkpoint, strength, sigma)",
            "hill_gradient(weights, checkpoint, strength, sigma ** 0.5)",
            _sigma_in_the_exponent,
        ),
        Mistake(
            "square of the sum",
            "D² is the sum of the squares, Σ(θ_j - θ_cj)², not the square of the sum.",
            _square_of_the_sum,
        ),
        Mistake(
            "mean instead of the sum",
            "D² is the sum over the weights here, not their mean.",
            "hill_gradient(weights, checkpoint, strength, sigma * len(weights) ** 0.5) * len(weights)",
        ),
        Mistake(
            "not relative to the checkpoint",
            "The hill stands at the checkpoint: what counts is weights - checkpoint.",
            "hill_gradient(weights, 0 * checkpoint, strength, sigma)",
        ),
        Mistake(
            "not a number at the top",
            "At the checkpoint D is 0, and a quotient by D is 0/0. Nothing has to be divided by D.",
            _direction_times_distance,
        ),
        Mistake(
            "weights and height only",
            "The derivative of -D²/(2σ²) is missing: -(θ_j - θ_cj)/σ² for weight j.",
            "-strength * torch.exp(-((weights - checkpoint) ** 2).sum() / (2 * sigma ** 2)) * torch.ones_like(weights)",
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


def _sigma_once(strength, sigma, curvature):
    steepness = curvature * sigma
    return sigma * math.sqrt(2 * math.log(strength / steepness)) if strength > steepness else 0.0


def _where_flat(strength, sigma, curvature):
    return rest(strength, sigma, curvature) or sigma


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
        Case("a hill just high enough", 2.0, 1.3, 1.15),
        Case("exactly as steep as the hill bends", 2.0, 0.5, 8.0),
        Case("a narrow hill", 0.7, 0.6, 1.5),
    ],
    [
        Mistake(
            "no check whether the hill is high enough",
            "Where s is no greater than λσ² the bottom of the valley is still a bottom: the ball stays, distance 0.",
            _always,
            "sigma * math.sqrt(2 * math.log(strength / (curvature * sigma ** 2)))",
            "sigma * max(2 * math.log(strength / (curvature * sigma ** 2)), 0.1) ** 0.5",
        ),
        Mistake(
            "not 0 where the hill is flat",
            "Where the hill is not high enough the ball stays where it is: the distance is 0.0.",
            _where_flat,
        ),
        Mistake(
            "σ not squared",
            "The hill's curvature at its top is s/σ²: compare s with λσ².",
            _sigma_once,
        ),
        Mistake(
            "σ in front forgotten, or once too often",
            "d² = 2σ² ln(s/λσ²): the root brings out one σ.",
            "rest(strength, sigma, curvature) / sigma",
            "rest(strength, sigma, curvature) * sigma",
        ),
        Mistake(
            "logarithm to another base",
            "`math.log` is the logarithm that undoes exp; log2 and log10 do not.",
            "rest(strength, sigma, curvature) / math.log(2) ** 0.5",
            "rest(strength, sigma, curvature) / math.log(10) ** 0.5",
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
        3: "Not a ratio of logarithms: D² is a sum over the weights, so D grows as the root of their number.",
        10: "This is the factor. Asked is the new σ: the old one, 2, times this.",
        0.02: "Divided by 100: with more weights D becomes larger, so σ must, too.",
    },
)


# --- 4: the barrier ----------------------------------------------------------------------------------------------


def barrier_height(losses):
    shares = torch.linspace(0, 1, len(losses), dtype=losses.dtype)
    return (losses - ((1 - shares) * losses[0] + shares * losses[-1])).max()


def _line(losses):
    """The straight line between the losses at both ends."""
    return torch.lerp(losses[0], losses[-1], torch.linspace(0, 1, len(losses), dtype=losses.dtype))


barrier = Exercise(
    "height of the barrier",
    barrier_height,
    [
        Case("a hill between equal ends", torch.tensor([0.5, 1.0, 2.5, 1.0, 0.5])),
        Case("a hill between unequal ends", torch.tensor([0.2, 0.9, 1.4, 1.6, 1.0])),
        Case("a slope", torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])),
        Case("a slope downwards", torch.tensor([1.0, 0.7, 0.5, 0.2, 0.0])),
        Case("a valley", torch.tensor([1.0, 0.4, 0.2, 0.5, 1.2])),
        Case("the highest loss is not the highest place above the line", torch.tensor([0.0, 0.9, 0.9, 1.5, 2.0])),
        Case("seven points, one of them high", torch.tensor([3.0, 2.0, 2.4, 0.9, 1.1, 0.6, 0.3])),
        Case("four points", torch.tensor([0.3, 2.6, 0.8, 0.7])),
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
            "at the place of the highest loss",
            "Where the loss is highest the line may be high as well: take the maximum of the *difference*.",
            "(losses - _line(losses))[losses.argmax()]",
        ),
        Mistake(
            "line turned round",
            "At the first point the line has the loss of the first network, at the last that of the last.",
            "(losses - _line(losses).flip(0)).max()",
        ),
        Mistake(
            "below the line as well",
            "What lies below the line is no barrier: no absolute value. The ends count too, with a difference of 0.",
            "(losses - _line(losses)).abs().max()",
            "(losses - _line(losses))[1:-1].max()",
        ),
        Mistake(
            "all places added",
            "A barrier is as high as its highest point; do not add up what lies above the line.",
            "(losses - _line(losses)).clamp(min=0).sum()",
            "(losses - _line(losses)).sum()",
        ),
        Mistake(
            "a ratio",
            "The barrier is a difference of losses, not their ratio.",
            "(losses / _line(losses)).max() - 1",
            "(losses / _line(losses)).max()",
        ),
        Mistake(
            "shares of i/N",
            "N points have N - 1 steps between them: the last one is at share 1, as in `torch.linspace(0, 1, N)`.",
            "(losses - torch.lerp(losses[0], losses[-1], torch.arange(len(losses)).to(losses) / len(losses))).max()",
        ),
        Mistake(
            "mean instead of the maximum",
            "A barrier is as high as its highest point.",
            "(losses - torch.lerp(losses[0], losses[-1], torch.linspace(0, 1, len(losses)).to(losses))).mean()",
        ),
    ],
    dtype=True,
)


# --- 5: the variance of the mean ---------------------------------------------------------------------------------


def shared_error(v, c, k):
    return v / k + (k - 1) / k * c


variance = Exercise(
    "mean squared error of an ensemble",
    shared_error,
    [
        Case("three networks", 0.4, 0.1, 3),
        Case("one network", 0.4, 0.1, 1),
        Case("ten networks", 0.3, 0.25, 10),
        Case("errors that cancel", 0.6, -0.2, 4),
    ],
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
        Mistake(
            "products not divided",
            "There are k(k-1) products among k²: c has the weight (k-1)/k, not k-1.",
            "v / k + (k - 1) * c",
        ),
        Mistake(
            "divided by k² once too often",
            "The k squares and k(k-1) products are divided by k², which leaves v/k + (k-1)/k·c.",
            "(v + (k - 1) * c) / k**2",
            "v / k**2 + (k - 1) / k**2 * c",
        ),
        Mistake(
            "wrong number of products",
            "Of k errors, each meets k - 1 others: k(k-1) ordered products, weight (k-1)/k.",
            "v / k + (k + 1) / k * c",
            "v / k + (k - 1) / (2 * k) * c",
            "v / k + (k - 1) / k**2 * c",
        ),
        Mistake(
            "number of networks fixed",
            "The number of networks is the argument k.",
            "shared_error(v, c, 4)",
            "shared_error(v, c, 5)",
        ),
        Mistake(
            "sign of c",
            "What the errors share is added: positive c makes the mean worse.",
            "v / k - (k - 1) / k * c",
        ),
        Mistake(
            "a root",
            "Asked is the mean squared error itself, without a root.",
            "abs(shared_error(v, c, k)) ** 0.5",
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


def _place(confidence, bins):
    return (confidence * bins).ceil().long().clamp(1, bins) - 1


def _in_places(confidence, right, bins, place, shown=None):
    """The right sum with other places in the bins, or another confidence shown for each image."""
    shown = confidence if shown is None else shown.to(confidence.dtype)
    total = confidence.new_zeros(())
    for number in range(bins):
        own = place == number
        if own.any():
            gap = right[own].to(confidence.dtype).mean() - shown[own].mean()
            total = total + own.to(confidence.dtype).mean() * gap.abs()
    return total


def _with_empty_bins(confidence, right, bins):
    place, total = _place(confidence, bins), confidence.new_zeros(())
    for number in range(bins):
        own = place == number
        gap = right[own].to(confidence.dtype).mean() - confidence[own].mean()
        total = total + own.to(confidence.dtype).mean() * gap.abs()
    return total


def _equally_many(confidence, right, bins):
    total = confidence.new_zeros(())
    for own in confidence.argsort().chunk(bins):
        gap = right[own].to(confidence.dtype).mean() - confidence[own].mean()
        total = total + len(own) / len(confidence) * gap.abs()
    return total


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
            "confidences on the edges of bins",
            torch.tensor([1.0, 0.8, 0.5, 0.3, 0.25]),
            torch.tensor([False, True, True, False, False]),
            4,
        ),
        Case(
            "two bins, one confidence of 1",
            torch.tensor([1.0, 0.9, 0.6, 0.5]),
            torch.tensor([False, False, True, False]),
            2,
        ),
        Case(
            "an empty bin in the middle, the lowest in use",
            torch.tensor([0.9, 0.15, 0.1, 0.95, 0.85]),
            torch.tensor([False, True, False, True, True]),
            3,
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
        Mistake(
            "gaps not weighted",
            "A bin counts as much as the images in it: weight each gap by the share of the images.",
            "_bins(confidence, right, bins, lambda gaps, _: gaps.abs().sum())",
            "_bins(confidence, right, bins, lambda gaps, _: gaps.abs().sum() / bins)",
        ),
        Mistake(
            "bins open to the right",
            "The bins are (0, 1/n], (1/n, 2/n], ...: a confidence on an edge belongs to the bin below. Take ceil - 1.",
            "_in_places(confidence, right, bins, (confidence * bins).floor().long())",
            "_in_places(confidence, right, bins, (confidence * bins).floor().long().clamp(max=bins - 1))",
        ),
        Mistake(
            "the last bin is left out",
            "The bins have the numbers 0 to bins - 1. `ceil` gives 1 for the first one, (0, 1/n]: subtract 1.",
            "_in_places(confidence, right, bins, (confidence * bins).ceil().long())",
            "_in_places(confidence, right, bins - 1, (confidence * bins).ceil().long() - 1)",
        ),
        Mistake(
            "middle or edge of the bin",
            "Compare the accuracy with the mean *confidence* of the images in the bin, not with the bin's own place.",
            "_in_places(confidence, right, bins, _place(confidence, bins), (_place(confidence, bins) + 0.5) / bins)",
            "_in_places(confidence, right, bins, _place(confidence, bins), (_place(confidence, bins) + 1.0) / bins)",
            "_in_places(confidence, right, bins, _place(confidence, bins), _place(confidence, bins) / bins)",
        ),
        Mistake(
            "empty bins give NaN",
            "The mean of no image is NaN: leave out the bins without an image.",
            _with_empty_bins,
        ),
        Mistake(
            "number of bins fixed",
            "The number of bins is an argument.",
            "calibration_error(confidence, right, 10)",
            "calibration_error(confidence, right, 15)",
        ),
        Mistake(
            "squares of the gaps",
            "Asked is the mean of the absolute gaps.",
            "_bins(confidence, right, bins, lambda gaps, shares: (gaps ** 2 * shares).sum())",
        ),
        Mistake(
            "bins with equally many images",
            "The bins are equally wide; how many images they hold differs.",
            _equally_many,
        ),
    ],
    dtype=True,
)
