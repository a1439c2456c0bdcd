"""The exercises of lab 03, optimizers: right answers, cases, and the mistakes people make."""

import math
from functools import partial

import torch
import torch.nn.functional as F

from course.exercises import Answer, Case, Exercise, Mistake

POINT = torch.tensor([1.0, -2.0, 0.5])
PUSH = torch.tensor([0.3, -0.1, 2.0])
SLOPE = torch.tensor([0.5, 1.5, -4.0])
WEIGHT = torch.tensor([[0.3, -1.2], [2.0, 0.0], [-0.7, 0.9]])
ROLLING = torch.tensor([[-0.4, 0.8], [0.0, -1.5], [0.6, 0.2]])
STEEP = torch.tensor([[0.9, 0.0], [-0.3, 2.5], [-1.1, 0.05]])


# --- 1: a step with momentum ---------------------------------------------------------------------------------------


def momentum_step(parameter, velocity, gradient, lr, momentum):
    velocity = momentum * velocity + gradient
    return parameter - lr * velocity, velocity


def _with(velocity, parameter, lr):
    """The step with another velocity."""
    return parameter - lr * velocity, velocity


momentum = Exercise(
    "a step with momentum",
    momentum_step,
    [
        Case("the first step, from rest", POINT, torch.zeros(3), SLOPE, 0.2, 0.9),
        Case("a later step", POINT, PUSH, SLOPE, 0.05, 0.6),
        Case("no gradient: the ball rolls on", POINT, PUSH, torch.zeros(3), 0.5, 0.3),
        Case("a weight of three rows and two columns", WEIGHT, ROLLING, STEEP, 0.3, 0.8),
    ],
    [
        Mistake(
            "uphill",
            "The gradient points uphill, so the step is subtracted (the lecture adds it).",
            "_with(momentum * velocity + gradient, parameter, -lr)",
        ),
        Mistake(
            "one minus too many",
            "Both the velocity and the step carry a minus: the two cancel, and this climbs. The thesis's Algorithm 2 "
            "is printed so.",
            "_with(momentum * velocity - lr * gradient, parameter, 1)",
            "_with(momentum * velocity - gradient, parameter, lr)",
            "_with(momentum * velocity - lr * gradient, parameter, lr)",
        ),
        Mistake(
            "gradient subtracted from the velocity",
            "The velocity asked for is α·v + g; the minus stands in the step. Here it is the other way round, and the "
            "velocity handed back points elsewhere.",
            "_with(momentum * velocity - gradient, parameter, -lr)",
        ),
        Mistake(
            "learning rate inside the velocity",
            "The velocity asked for is α·v + g, without η: the rate comes in with the step, θ - η·v.",
            "_with(momentum * velocity - lr * gradient, parameter, -1)",
            "_with(momentum * velocity + lr * gradient, parameter, 1)",
        ),
        Mistake(
            "learning rate twice",
            "The rate comes in twice, in the velocity and in the step. It belongs into the step only.",
            "_with(momentum * velocity + lr * gradient, parameter, lr)",
            "_with(momentum * velocity - lr * gradient, parameter, -lr)",
        ),
        Mistake(
            "learning rate forgotten",
            "The step is η·v: multiply the velocity by the learning rate.",
            "_with(momentum * velocity + gradient, parameter, 1)",
        ),
        Mistake(
            "velocity as an average",
            "With the factor 1 - α the velocity is an average of gradients and its terminal value is g, not g/(1-α).",
            "_with(momentum * velocity + (1 - momentum) * gradient, parameter, lr)",
        ),
        Mistake(
            "the old velocity",
            "Update the velocity first, then step with the new one.",
            "(parameter - lr * velocity, momentum * velocity + gradient)",
        ),
        Mistake(
            "the old velocity handed back",
            "The second result is the new velocity; the old one comes back here, and the next step would forget this "
            "gradient.",
            "(momentum_step(parameter, velocity, gradient, lr, momentum)[0], velocity)",
        ),
        Mistake(
            "Nesterov's step",
            "This steps along g + α·v, which is Nesterov's momentum.",
            "(parameter - lr * (gradient + momentum * (momentum * velocity + gradient)), "
            "momentum * velocity + gradient)",
        ),
        Mistake(
            "velocity not used",
            "The step goes along the new velocity α·v + g; here it goes along the gradient.",
            "(parameter - lr * gradient, momentum * velocity + gradient)",
            "_with(gradient, parameter, lr)",
        ),
        Mistake(
            "momentum not used",
            "The old velocity is multiplied by α; otherwise no speed is ever lost.",
            "_with(velocity + gradient, parameter, lr)",
        ),
        Mistake(
            "momentum at the gradient",
            "α multiplies the old velocity, and only that: α·v + g.",
            "_with(velocity + momentum * gradient, parameter, lr)",
            "_with(momentum * (velocity + gradient), parameter, lr)",
            "_with((1 - momentum) * velocity + momentum * gradient, parameter, lr)",
        ),
        Mistake(
            "1 - α for α",
            "The old velocity is multiplied by α, the share that is kept, not by 1 - α.",
            "_with((1 - momentum) * velocity + gradient, parameter, lr)",
        ),
        Mistake(
            "rate and momentum swapped",
            "The learning rate and α have changed places: v ← α·v + g, then θ ← θ - η·v.",
            "momentum_step(parameter, velocity, gradient, momentum, lr)",
        ),
        Mistake(
            "results in the wrong order",
            "The parameter comes first, the velocity second.",
            "momentum_step(parameter, velocity, gradient, lr, momentum)[::-1]",
        ),
        Mistake(
            "one result",
            "Two tensors are asked for, the new parameter and the new velocity; only one comes back.",
            "momentum_step(parameter, velocity, gradient, lr, momentum)[0]",
            "momentum_step(parameter, velocity, gradient, lr, momentum)[1]",
        ),
    ],
)


# --- 2: the largest learning rate ----------------------------------------------------------------------------------

TILTED = torch.tensor([[3.0, 2.0], [2.0, 6.0]])  # eigenvalues 2 and 7
THREE = torch.tensor([[4.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 0.5]])
FOUR = torch.tensor([[50.0, -30, 8, 0], [-30, 60, -5, 10], [8, -5, 20, -12], [0, 10, -12, 90]])


def largest_rate(hessian):
    return 2 / torch.linalg.eigvalsh(hessian)[-1].item()


rate = Exercise(
    "the largest learning rate",
    largest_rate,
    [
        Case("one parameter", torch.tensor([[5.0]])),
        Case("a flat bowl with one parameter", torch.tensor([[0.25]])),
        Case("a bowl along the axes", torch.diag(torch.tensor([1.0, 20.0, 4.0]))),
        Case("a tilted bowl", TILTED),
        Case("three parameters", THREE),
        Case("four parameters, a steep bowl", FOUR),
    ],
    [
        Mistake(
            "half of it",
            "1/λ jumps right into the minimum of that direction. Up to twice that, the distance still shrinks.",
            "1 / torch.linalg.eigvalsh(hessian)[-1]",
        ),
        Mistake(
            "not the largest eigenvalue",
            "The steepest direction diverges first: the largest eigenvalue sets the limit.",
            "2 / torch.linalg.eigvalsh(hessian)[-2:][0]",
            "2 / torch.linalg.eigvalsh(hessian)[0]",
            "1 / torch.linalg.eigvalsh(hessian)[0]",
        ),
        Mistake(
            "the best rate",
            "2/(λ_min + λ_max) is the fastest rate of a bowl, not the largest that converges.",
            "2 / (torch.linalg.eigvalsh(hessian)[0] + torch.linalg.eigvalsh(hessian)[-1])",
        ),
        Mistake(
            "the diagonal",
            "The largest entry of a bowl's Hessian stands on its diagonal, which holds the curvatures along the axes; "
            "in a tilted valley the steepest direction lies between them.",
            "2 / hessian.diagonal().max()",
        ),
        Mistake(
            "the first entry",
            "The first entry of the Hessian is the curvature along the first axis, not the largest one.",
            "2 / hessian[0, 0]",
        ),
        Mistake(
            "the sum of the eigenvalues",
            "This divides by the trace, the sum of the curvatures; only the largest one counts.",
            "2 / hessian.trace()",
        ),
        Mistake(
            "the mean of the eigenvalues",
            "This divides by the mean of the curvatures; only the largest one counts.",
            "2 * len(hessian) / hessian.trace()",
        ),
        Mistake(
            "the product of the eigenvalues",
            "The determinant is the product of the curvatures; only the largest one counts.",
            "2 / torch.linalg.det(hessian)",
        ),
        Mistake(
            "the length of the matrix",
            "This divides by the root of the sum of all squared entries. That is the root of the sum of the squared "
            "eigenvalues; only the largest one counts. (The matrix norm wanted is that with `ord=2`.)",
            "2 / hessian.norm()",
        ),
        Mistake(
            "the largest row",
            "The largest sum of a row is only a bound for the largest eigenvalue.",
            "2 / hessian.abs().sum(1).max()",
            "2 / hessian.sum(1).max()",
        ),
        Mistake(
            "squared or rooted eigenvalue",
            "A step multiplies the distance by 1 - η·λ: the eigenvalue comes in as it is.",
            "2 / torch.linalg.eigvalsh(hessian)[-1] ** 2",
            "2 / torch.linalg.eigvalsh(hessian)[-1] ** 0.5",
        ),
        Mistake(
            "the eigenvalue itself",
            "This is the largest curvature λ; the rate is 2/λ.",
            "torch.linalg.eigvalsh(hessian)[-1]",
        ),
        Mistake(
            "one rate for each direction",
            "These are the limits of all directions. One rate serves all: the smallest of these is the limit.",
            "2 / torch.linalg.eigvalsh(hessian)",
            "2 / torch.linalg.eigvalsh(hessian).flip(0)",
        ),
    ],
    fixed=("hessian",),  # symmetric
)


# --- 3: how many examples ------------------------------------------------------------------------------------------

batch = Answer(
    "batch size for a quarter of the error",
    512,
    {
        128: "Four times the examples would do if the error were σ/n, as the thesis prints it. It is σ/√n.",
        256: "Eight times the examples make the error smaller by √8 = 2.8 only.",
        64: "Twice the examples make the error smaller by √2 only.",
        16: "That is how many times as many examples it takes; the number of examples is asked for.",
        4: "That is how many times smaller the error should be; the question is how many examples this takes.",
        8: "Fewer examples make the mean noisier.",
        2: "Fewer examples make the mean noisier.",
        500: "Nearly: with 500 examples the error is 0.0506.",
        1024: "That is 32 times the examples: the error would shrink by √32 = 5.7.",
        2048: "That is 64 times the examples: the error would shrink to an eighth.",
        0.2 * math.sqrt(32): "That is σ, the error with a single example.",
        math.sqrt(512): "That is √n, which is σ/0.05: square it.",
    },
)


# --- 4: a step of Adam ---------------------------------------------------------------------------------------------


def adam_step(parameter, mean, square, gradient, step, lr):
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * gradient**2
    corrected_mean, corrected_square = mean / (1 - 0.9**step), square / (1 - 0.999**step)
    return parameter - lr * corrected_mean / (corrected_square.sqrt() + 1e-8), mean, square


def _squared(gradient):
    return gradient**2


def _corrections(step):
    return 1 - 0.9**step, 1 - 0.999**step


def _divisor(square, correction):
    return (square / correction).sqrt() + 1e-8


def _adam(
    parameter,
    mean,
    square,
    gradient,
    step,
    lr,
    *,
    old=(0.9, 0.999),
    new=(0.1, 0.001),
    power=_squared,
    corrections=_corrections,
    divisor=_divisor,
):
    """The same step with the parts that people get wrong as arguments."""
    mean = old[0] * mean + new[0] * gradient
    square = old[1] * square + new[1] * power(gradient)
    corrected_mean = mean / corrections(step)[0]
    return parameter - lr * corrected_mean / divisor(square, corrections(step)[1]), mean, square


def _with_eps(eps):
    return partial(_adam, divisor=lambda square, correction: (square / correction).sqrt() + eps)


def _with_betas(first, second):
    return partial(
        _adam,
        old=(first, second),
        new=(1 - first, 1 - second),
        corrections=lambda step: (1 - first**step, 1 - second**step),
    )


def _corrected_kept(parameter, mean, square, gradient, step, lr):
    parameter, mean, square = adam_step(parameter, mean, square, gradient, step, lr)
    return parameter, mean / (1 - 0.9**step), square / (1 - 0.999**step)


def _square_of_the_mean(parameter, mean, square, gradient, step, lr):
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * mean**2
    return parameter - lr * mean / (1 - 0.9**step) / _divisor(square, 1 - 0.999**step), mean, square


def _along_the_gradient(parameter, mean, square, gradient, step, lr):
    _, mean, square = adam_step(parameter, mean, square, gradient, step, lr)
    return parameter - lr * gradient / _divisor(square, 1 - 0.999**step), mean, square


def _rate_in_the_mean(parameter, mean, square, gradient, step, lr):
    return _adam(parameter, mean, square, gradient, step, lr, new=(lr, 0.001))


def _weights_decayed(parameter, mean, square, gradient, step, lr):
    return adam_step(parameter * (1 - lr * 0.01), mean, square, gradient, step, lr)


NO_SQUARE = torch.zeros(3)
SQUARE = torch.tensor([0.01, 0.2, 0.3])
FLAT = torch.tensor([[0.9, 0.0], [-0.3, 2.5], [0.0, 0.05]])

adam = Exercise(
    "a step of Adam",
    adam_step,
    [
        Case("the first step", POINT, torch.zeros(3), NO_SQUARE, SLOPE, 1, 0.2),
        Case("the tenth step", POINT, PUSH, SQUARE, SLOPE, 10, 0.03),
        Case("a tiny gradient", POINT, torch.zeros(3), NO_SQUARE, 1e-5 * SLOPE, 1, 0.3),
        Case("the third step of a weight of three rows and two columns", WEIGHT, ROLLING, ROLLING**2, STEEP, 3, 0.5),
        Case("a first step with some gradients of zero", WEIGHT, 0 * ROLLING, 0 * ROLLING, FLAT, 1, 0.05),
    ],
    [
        Mistake(
            "no bias correction",
            "Both means start at 0 and are too small at first, the second far more. Divide them by 1 - βᵗ (the lecture "
            "leaves that out).",
            partial(_adam, corrections=lambda step: (1, 1)),
        ),
        Mistake(
            "only one mean corrected",
            "Both means start at 0, so both are divided, each by its own 1 - βᵗ.",
            partial(_adam, corrections=lambda step: (1 - 0.9**step, 1)),
            partial(_adam, corrections=lambda step: (1, 1 - 0.999**step)),
        ),
        Mistake(
            "one β in both corrections",
            "Each mean has its own correction: 1 - β₁ᵗ for the gradients, 1 - β₂ᵗ for their squares.",
            partial(_adam, corrections=lambda step: (1 - 0.9**step, 1 - 0.9**step)),
            partial(_adam, corrections=lambda step: (1 - 0.999**step, 1 - 0.999**step)),
            partial(_adam, corrections=lambda step: _corrections(step)[::-1]),
        ),
        Mistake(
            "correction multiplied",
            "The means are too small: they are divided by 1 - βᵗ, not multiplied.",
            partial(_adam, corrections=lambda step: (1 / (1 - 0.9**step), 1 / (1 - 0.999**step))),
        ),
        Mistake(
            "corrected as in the first step",
            "The correction has the power t: 1 - βᵗ. Here it is 1 - β in every step.",
            partial(_adam, corrections=lambda step: (0.1, 0.001)),
        ),
        Mistake(
            "times for to the power",
            "The correction is 1 - βᵗ, `beta**step`, not `beta * step`.",
            partial(_adam, corrections=lambda step: (1 - 0.9 * step, 1 - 0.999 * step)),
        ),
        Mistake(
            "corrected means kept",
            "The correction is for this step only: keep the uncorrected means, or the next step corrects them again.",
            _corrected_kept,
        ),
        Mistake(
            "steps counted from 0",
            "The first step has t = 1: with t = 0 the correction divides by 1 - 1 = 0.",
            lambda p, m, v, g, step, lr: _adam(p, m, v, g, step - 1, lr),
        ),
        Mistake(
            "one step too many",
            "`step` is t, and 1 in the first step: nothing is added to it.",
            lambda p, m, v, g, step, lr: _adam(p, m, v, g, step + 1, lr),
        ),
        Mistake(
            "eps under the root",
            "The lecture prints √(v + eps); here it is √v + eps. Under the root 1e-8 acts like 1e-4 or more: small "
            "gradients are held back.",
            partial(_adam, divisor=lambda square, correction: (square / correction + 1e-8).sqrt()),
            partial(_adam, divisor=lambda square, correction: ((square + 1e-8) / correction).sqrt()),
        ),
        Mistake(
            "eps before the correction",
            "eps is added to the root of the *corrected* mean square, in the end. Here the correction makes it larger.",
            partial(_adam, divisor=lambda square, correction: (square.sqrt() + 1e-8) / correction**0.5),
        ),
        Mistake(
            "another eps",
            "eps is 1e-8 here. (`10E-8`, as the lecture prints it, is 1e-7.)",
            _with_eps(1e-7),
            _with_eps(1e-6),
            _with_eps(1e-5),
        ),
        Mistake(
            "no eps",
            "eps is missing: where all gradients have been 0 so far, 0 is divided by 0.",
            _with_eps(0),
        ),
        Mistake(
            "betas swapped",
            "β₁ = 0.9 belongs to the mean of the gradients, β₂ = 0.999 to the mean of their squares.",
            _with_betas(0.999, 0.9),
        ),
        Mistake(
            "another β",
            "β₁ = 0.9 for the mean of the gradients, β₂ = 0.999 for the mean of their squares; one of yours differs.",
            _with_betas(0.9, 0.99),
            _with_betas(0.9, 0.9),
            _with_betas(0.99, 0.999),
        ),
        Mistake(
            "old and new swapped",
            "β is the weight of the old mean, 1 - β that of the new gradient; here they have changed places.",
            partial(_adam, old=(0.1, 0.001), new=(0.9, 0.999)),
        ),
        Mistake(
            "factor of the new gradient forgotten",
            "The new gradient has the weight 1 - β₁, its square 1 - β₂.",
            partial(_adam, new=(1, 1)),
            partial(_adam, new=(1, 0.001)),
        ),
        Mistake(
            "learning rate in the mean",
            "The new gradient has the weight 1 - β₁ = 0.1; the learning rate comes in with the step only.",
            _rate_in_the_mean,
        ),
        Mistake(
            "no root",
            "Divide by the root of the mean square: then gradient and divisor have one unit.",
            partial(_adam, divisor=lambda square, correction: square / correction + 1e-8),
        ),
        Mistake(
            "square of the mean",
            "The second mean is of g², not of the first mean squared.",
            _square_of_the_mean,
        ),
        Mistake(
            "gradient not squared",
            "The second mean is of the squares of the gradients, entry by entry.",
            partial(_adam, power=lambda gradient: gradient),
            partial(_adam, power=torch.abs),
        ),
        Mistake(
            "gradient instead of the mean",
            "The step goes along the corrected mean of the gradients; this goes along the last gradient, as RMSProp "
            "does.",
            _along_the_gradient,
        ),
        Mistake(
            "uphill",
            "The step is subtracted: the gradient points uphill.",
            lambda p, m, v, g, step, lr: _adam(p, m, v, g, step, -lr),
        ),
        Mistake(
            "weight decay",
            "The weight is shrunk besides, as in AdamW with its default of 0.01. Plain Adam has no weight decay.",
            _weights_decayed,
        ),
        Mistake(
            "old means handed back",
            "The second and third result are the new means; the old ones come back here, and the next step would "
            "forget this gradient.",
            "(adam_step(parameter, mean, square, gradient, step, lr)[0], mean, square)",
        ),
        Mistake(
            "results in the wrong order",
            "The parameter comes first, then the mean of the gradients, then the mean of their squares.",
            "tuple(adam_step(parameter, mean, square, gradient, step, lr)[i] for i in (0, 2, 1))",
            "tuple(adam_step(parameter, mean, square, gradient, step, lr)[i] for i in (1, 2, 0))",
        ),
        Mistake(
            "results missing",
            "Three tensors are asked for: the new parameter and the two new means, which the next step needs.",
            "adam_step(parameter, mean, square, gradient, step, lr)[0]",
            "adam_step(parameter, mean, square, gradient, step, lr)[:2]",
        ),
    ],
)


# --- 5: smoothed labels --------------------------------------------------------------------------------------------


def smoothed_targets(labels, classes, share):
    targets = torch.full((len(labels), classes), share / (classes - 1))
    targets[torch.arange(len(labels)), labels] = 1 - share
    return targets


def _filled(labels, classes, right, wrong):
    return torch.full((len(labels), classes), float(wrong)).scatter(1, labels[:, None], float(right))


def _all_rows(labels, classes, share):
    targets = torch.full((len(labels), classes), share / (classes - 1))
    targets[:, labels] = 1 - share
    return targets


smoothing = Exercise(
    "smoothed labels",
    smoothed_targets,
    [
        Case("one label of four classes", torch.tensor([1]), 4, 0.4),
        Case("four labels of three classes", torch.tensor([0, 2, 1, 2]), 3, 0.15),
        Case("five classes, one of them absent, the last one too", torch.tensor([3, 0, 1]), 5, 0.3),
        Case("two classes, more than half of it shared", torch.tensor([1, 0, 1]), 2, 0.7),
        Case("ten classes", torch.tensor([7, 0, 9, 7]), 10, 0.25),
    ],
    [
        Mistake(
            "as the thesis prints it",
            "The thesis prints 1 - 1/k for the right class: a negative number. It is 1 - k, so that a row sums to 1.",
            "_filled(labels, classes, 1 - 1 / share, share / (classes - 1))",
        ),
        Mistake(
            "spread over all classes",
            "This is torch's label_smoothing: the share k is spread over all classes, the right one included. Here "
            "only the others get it.",
            "_filled(labels, classes, 1 - share + share / classes, share / classes)",
        ),
        Mistake(
            "the share for each",
            "The other classes get the share k together, k/(C-1) each: a row adds up to 1.",
            "_filled(labels, classes, 1 - share, share)",
        ),
        Mistake(
            "divided by all classes",
            "The share goes to C - 1 other classes; divided by C a row adds up to less than 1.",
            "_filled(labels, classes, 1 - share, share / classes)",
        ),
        Mistake(
            "divided by the number of labels",
            "The share of an example goes to the C - 1 other *classes*; here the number of labels in the batch comes "
            "in.",
            "_filled(labels, classes, 1 - share, share / max(len(labels) - 1, 1))",
            "_filled(labels, classes, 1 - share, share / len(labels))",
        ),
        Mistake(
            "classes counted from the labels",
            "The number of classes is given: a batch need not hold an example of each.",
            "smoothed_targets(labels, int(labels.max()) + 1, share)",
            "smoothed_targets(labels, max(len(labels.unique()), 2), share)",
            "_filled(labels, classes, 1 - share, share / max(int(labels.max()), 1))",
            "_filled(labels, classes, 1 - share, share / max(len(labels.unique()) - 1, 1))",
        ),
        Mistake(
            "share fixed",
            "The share is an argument; this uses a number of its own.",
            "smoothed_targets(labels, classes, 0.1)",
        ),
        Mistake(
            "the share is lost",
            "The right class gives the share k away, but the others do not get it: a row adds up to 1 - k.",
            "_filled(labels, classes, 1 - share, 0)",
        ),
        Mistake(
            "right class not lowered",
            "The right class must give away what the others get: it has 1 - k, so that a row adds up to 1.",
            "_filled(labels, classes, 1, share / (classes - 1))",
            "_filled(labels, classes, 1, share / classes)",
            "_filled(labels, classes, 1 + share / (classes - 1), share / (classes - 1))",
        ),
        Mistake(
            "right and wrong swapped",
            "The right class gets 1 - k, the others share k; here it is the other way round.",
            "_filled(labels, classes, share / (classes - 1), 1 - share)",
            "_filled(labels, classes, share, (1 - share) / (classes - 1))",
        ),
        Mistake(
            "all rows at once",
            "`targets[:, labels]` sets the columns of all labels in every row. Each row has a column of its own: index "
            "the rows by `torch.arange(B)`.",
            _all_rows,
        ),
        Mistake(
            "labels counted from 1",
            "The classes are counted from 0; here each label hits the class before.",
            "smoothed_targets((labels - 1) % classes, classes, share)",
        ),
        Mistake(
            "not smoothed",
            "These are the plain one-hot labels.",
            "F.one_hot(labels, classes).float()",
        ),
    ],
)


# --- 6: cross-entropy that does not overflow -----------------------------------------------------------------------


def binary_cross_entropy(scores, targets):
    return (F.softplus(scores) - scores * targets).mean()


def _with_logarithms(scores, targets, eps=0.0):
    z = torch.sigmoid(scores)
    return -(targets * (z + eps).log() + (1 - targets) * (1 - z + eps).log()).mean()


def _between(scores, targets, eps):
    z = torch.sigmoid(scores).clamp(eps, 1 - eps)
    return -(targets * z.log() + (1 - targets) * (1 - z).log()).mean()


def _cut_off(scores, targets, largest):
    return binary_cross_entropy(scores.clamp(-largest, largest), targets)


SCORES = torch.tensor([0.5, -2.0, 3.0, -0.3, 1.2])
TARGETS = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0])

entropy = Exercise(
    "binary cross-entropy of scores",
    binary_cross_entropy,
    [
        Case("one example", torch.tensor([-1.7]), torch.tensor([1.0])),
        Case("scores of moderate size", SCORES, TARGETS),
        Case("sure and right", torch.tensor([200.0, -200.0]), torch.tensor([1.0, 0.0])),
        Case("sure and wrong", torch.tensor([-200.0, 200.0, 1.0]), torch.tensor([1.0, 0.0, 1.0])),
        Case("rather sure and wrong", torch.tensor([-40.0, 18.0, 60.0, -2.5]), torch.tensor([1.0, 0.0, 0.0, 0.0])),
    ],
    [
        Mistake(
            "logarithm of zero",
            "In floating point the sigmoid of 200 is exactly 1, and log(1 - 1) is -∞; times 0 it is NaN. Take the "
            "logarithm by hand first: log σ(s) = -log(1 + e^(-s)).",
            _with_logarithms,
        ),
        Mistake(
            "a small number under the logarithm",
            "The small number hides the infinity, and with it the gradient: the surest mistakes teach nothing.",
            *(
                partial(_with_logarithms, eps=eps)
                for eps in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16, 1e-20, 1e-30)
            ),
            *(partial(_between, eps=eps) for eps in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)),
        ),
        Mistake(
            "logarithm cut off at -100",
            "Where the sigmoid is 0 or 1, `F.binary_cross_entropy` takes -100 for its logarithm: then the loss of the "
            "surest mistakes is 100, whatever their score. Work with the scores, not with their sigmoid.",
            "F.binary_cross_entropy(torch.sigmoid(scores), targets)",
        ),
        Mistake(
            "overflow",
            "e^200 is larger than any float32 number, that is infinity, and so is its logarithm. `F.softplus(s)` is "
            "log(1 + e^s) without that.",
            "((1 + scores.exp()).log() - scores * targets).mean()",
            "((1 + (-scores).exp()).log() + scores * (1 - targets)).mean()",
            "(targets * (1 + (-scores).exp()).log() + (1 - targets) * (1 + scores.exp()).log()).mean()",
            "(1 + ((1 - 2 * targets) * scores).exp()).log().mean()",
        ),
        Mistake(
            "scores cut off",
            "Scores beyond a bound are cut off, and with them their gradient: the surest mistakes teach nothing.",
            *(partial(_cut_off, largest=largest) for largest in (10, 15, 16, 20, 30, 50, 80, 88, 100)),
        ),
        Mistake(
            "only one half",
            "The examples of both classes count: y·log z, and (1 - y)·log(1 - z).",
            "(F.softplus(-scores) * targets).mean()",
            "(F.softplus(scores) * (1 - targets)).mean()",
        ),
        Mistake(
            "targets swapped",
            "y belongs to log z, 1 - y to log(1 - z).",
            "binary_cross_entropy(scores, 1 - targets)",
        ),
        Mistake(
            "target left out of a term",
            "In softplus(s) - s·y the score is multiplied by the target, example by example.",
            "F.softplus(scores).mean()",
            "(F.softplus(scores) - targets).mean()",
            "(F.softplus(scores) - scores).mean()",
        ),
        Mistake(
            "sign of the score",
            "One of the two scores in softplus(s) - s·y has the wrong sign: softplus(s) - softplus(-s) = s.",
            "(F.softplus(-scores) - scores * targets).mean()",
            "(F.softplus(scores) + scores * targets).mean()",
        ),
        Mistake(
            "linear part left out",
            "log(1 + e^s) is max(s, 0) + log(1 + e^(-|s|)), minus s·y: a part that grows with the score is missing.",
            "F.softplus(-scores.abs()).mean()",
            "(F.softplus(-scores.abs()) - scores * targets).mean()",
        ),
        Mistake(
            "sign missing",
            "Logarithms of probabilities are negative: the loss is minus their mean.",
            "-binary_cross_entropy(scores, targets)",
        ),
        Mistake(
            "sum",
            "This is the sum over the batch; the mean is asked for.",
            "binary_cross_entropy(scores, targets) * len(scores)",
        ),
        Mistake(
            "divided by the wrong number",
            "The mean is over all examples of the batch, not over those of one class.",
            "binary_cross_entropy(scores, targets) * len(scores) / targets.sum()",
            "binary_cross_entropy(scores, targets) * len(scores) / (1 - targets).sum()",
        ),
        Mistake(
            "half of the loss",
            "Every example has one of the two terms: their mean over the examples is the loss, without a further ½.",
            "binary_cross_entropy(scores, targets) / 2",
        ),
        Mistake(
            "one number per example",
            "These are the losses of the examples; their mean is asked for.",
            "F.softplus(scores) - scores * targets",
        ),
        Mistake(
            "squared error",
            "This is the squared error of the probabilities.",
            "(torch.sigmoid(scores) - targets).square().mean()",
            "(torch.sigmoid(scores) - targets).square().mean() / 2",
        ),
        Mistake(
            "hinge",
            "This is the hinge loss of support vector machines, which is 0 from the score 1 on.",
            "F.relu(1 - (2 * targets - 1) * scores).mean()",
        ),
        Mistake(
            "score counted twice",
            "Two columns -s and s differ by 2s, and their softmax is σ(2s). The columns are 0 and s.",
            "binary_cross_entropy(2 * scores, targets)",
        ),
        Mistake(
            "sigmoid twice",
            "The scores are squeezed by a sigmoid before the function that takes scores and has a sigmoid inside.",
            "binary_cross_entropy(torch.sigmoid(scores), targets)",
        ),
        Mistake(
            "another base",
            "The logarithm of cross-entropy is the natural one, `log`.",
            "binary_cross_entropy(scores, targets) / math.log(2)",
            "binary_cross_entropy(scores, targets) / math.log(10)",
        ),
    ],
    gradients=("scores",),
    fixed=("targets",),
)
