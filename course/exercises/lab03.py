"""The exercises of lab 03, optimizers: right answers, cases, and the mistakes people make."""

import torch
import torch.nn.functional as F

from course.exercises import Answer, Case, Exercise, Mistake

POINT = torch.tensor([1.0, -2.0, 0.5])
PUSH = torch.tensor([0.3, -0.1, 2.0])
SLOPE = torch.tensor([0.5, 1.0, -4.0])


# --- 1: a step with momentum ---------------------------------------------------------------------------------------


def momentum_step(parameter, velocity, gradient, lr, momentum):
    velocity = momentum * velocity + gradient
    return parameter - lr * velocity, velocity


def _uphill(parameter, velocity, gradient, lr, momentum):
    velocity = momentum * velocity + gradient
    return parameter + lr * velocity, velocity


def _rate_inside(parameter, velocity, gradient, lr, momentum):
    velocity = momentum * velocity - lr * gradient
    return parameter + velocity, velocity


def _twice_negative(parameter, velocity, gradient, lr, momentum):
    velocity = momentum * velocity - lr * gradient
    return parameter - velocity, velocity


def _averaged(parameter, velocity, gradient, lr, momentum):
    velocity = momentum * velocity + (1 - momentum) * gradient
    return parameter - lr * velocity, velocity


def _old_velocity(parameter, velocity, gradient, lr, momentum):
    return parameter - lr * velocity, momentum * velocity + gradient


def _looking_ahead(parameter, velocity, gradient, lr, momentum):
    velocity = momentum * velocity + gradient
    return parameter - lr * (gradient + momentum * velocity), velocity


def _without_velocity(parameter, velocity, gradient, lr, momentum):
    return parameter - lr * gradient, momentum * velocity + gradient


momentum = Exercise(
    "a step with momentum",
    momentum_step,
    [
        Case("the first step, from rest", POINT, torch.zeros(3), SLOPE, 0.1, 0.9),
        Case("a later step", POINT, PUSH, SLOPE, 0.1, 0.9),
        Case("no gradient: the ball rolls on", POINT, PUSH, torch.zeros(3), 0.5, 0.5),
    ],
    [
        Mistake(
            "uphill",
            "The gradient points uphill, so the step is subtracted (paper 002 adds it).",
            _uphill,
        ),
        Mistake(
            "subtracted twice",
            "The velocity has the minus sign already, and the step subtracts it once more: this climbs. Paper 004's "
            "Algorithm 2 is printed so.",
            _twice_negative,
        ),
        Mistake(
            "learning rate inside the velocity",
            "The path is right as long as the rate is constant, but the velocity asked for is α·v + g, without ε.",
            _rate_inside,
        ),
        Mistake(
            "velocity as an average",
            "With the factor 1 - α the velocity is an average of gradients and its terminal value is g, not g/(1-α).",
            _averaged,
        ),
        Mistake(
            "the old velocity",
            "Update the velocity first, then step with the new one.",
            _old_velocity,
        ),
        Mistake(
            "Nesterov's step",
            "This steps along g + α·v, which is Nesterov's momentum.",
            _looking_ahead,
        ),
        Mistake(
            "velocity not used",
            "The step goes along the velocity, not along the gradient.",
            _without_velocity,
        ),
    ],
)


# --- 2: the largest learning rate ----------------------------------------------------------------------------------

TILTED = torch.tensor([[3.0, 2.0], [2.0, 6.0]])  # eigenvalues 2 and 7
THREE = torch.tensor([[4.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 0.5]])


def largest_rate(hessian):
    return 2 / torch.linalg.eigvalsh(hessian)[-1]


rate = Exercise(
    "the largest learning rate",
    largest_rate,
    [
        Case("one parameter", torch.tensor([[5.0]])),
        Case("a bowl along the axes", torch.diag(torch.tensor([1.0, 20.0, 4.0]))),
        Case("a tilted bowl", TILTED),
        Case("three parameters", THREE),
    ],
    [
        Mistake(
            "half of it",
            "1/λ jumps right into the minimum of that direction. Up to twice that, the distance still shrinks.",
            "1 / torch.linalg.eigvalsh(hessian)[-1]",
        ),
        Mistake(
            "the smallest eigenvalue",
            "The steepest direction diverges first: the largest eigenvalue sets the limit.",
            "2 / torch.linalg.eigvalsh(hessian)[0]",
        ),
        Mistake(
            "the best rate",
            "2/(λ_min + λ_max) is the fastest rate of a bowl, not the largest that converges.",
            "2 / (torch.linalg.eigvalsh(hessian)[0] + torch.linalg.eigvalsh(hessian)[-1])",
        ),
        Mistake(
            "the sum of the eigenvalues",
            "This divides by the trace, the sum of the curvatures; only the largest one counts.",
            "2 / hessian.trace()",
        ),
        Mistake(
            "the diagonal",
            "The diagonal holds the curvatures along the axes; in a tilted valley the steepest direction lies between.",
            "2 / hessian.diagonal().max()",
        ),
    ],
)


# --- 3: how many examples ------------------------------------------------------------------------------------------

batch = Answer(
    "batch size for a quarter of the error",
    512,
    {
        128: "Four times the examples would do if the error were σ/n, as paper 004 prints it. It is σ/√n.",
        64: "Twice the examples make the error smaller by √2 only.",
        8: "Fewer examples make the mean noisier.",
        2048: "That is 64 times the examples: the error would shrink to an eighth.",
    },
)


# --- 4: a step of Adam ---------------------------------------------------------------------------------------------


def adam_step(parameter, mean, square, gradient, step, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient**2
    corrected_mean, corrected_square = mean / (1 - beta1**step), square / (1 - beta2**step)
    return parameter - lr * corrected_mean / (corrected_square.sqrt() + eps), mean, square


def _uncorrected(parameter, mean, square, gradient, step, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient**2
    return parameter - lr * mean / (square.sqrt() + eps), mean, square


def _corrected_kept(parameter, mean, square, gradient, step, lr):
    parameter, mean, square = adam_step(parameter, mean, square, gradient, step, lr)
    return parameter, mean / (1 - 0.9**step), square / (1 - 0.999**step)


def _eps_under_the_root(parameter, mean, square, gradient, step, lr):
    _, mean, square = adam_step(parameter, mean, square, gradient, step, lr)
    root = (square / (1 - 0.999**step) + 1e-8).sqrt()
    return parameter - lr * mean / (1 - 0.9**step) / root, mean, square


def _no_root(parameter, mean, square, gradient, step, lr):
    _, mean, square = adam_step(parameter, mean, square, gradient, step, lr)
    move = mean / (1 - 0.9**step) / (square / (1 - 0.999**step) + 1e-8)
    return parameter - lr * move, mean, square


def _square_of_the_mean(parameter, mean, square, gradient, step, lr):
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * mean**2
    move = mean / (1 - 0.9**step) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
    return parameter - lr * move, mean, square


def _adam_uphill(parameter, mean, square, gradient, step, lr):
    moved, mean, square = adam_step(parameter, mean, square, gradient, step, lr)
    return 2 * parameter - moved, mean, square


adam = Exercise(
    "a step of Adam",
    adam_step,
    [
        Case("the first step", POINT, torch.zeros(3), torch.zeros(3), SLOPE, 1, 0.1),
        Case("the tenth step", POINT, PUSH, torch.tensor([0.01, 0.2, 0.3]), SLOPE, 10, 0.1),
        Case("a tiny gradient", POINT, torch.zeros(3), torch.zeros(3), 1e-5 * SLOPE, 1, 0.1),
    ],
    [
        Mistake(
            "no bias correction",
            "Both means start at 0 and are too small at first, the second far more. Divide them by 1 - βᵗ (paper 002 "
            "leaves that out).",
            _uncorrected,
        ),
        Mistake(
            "corrected means kept",
            "The correction is for this step only: keep the uncorrected means, or the next step corrects them again.",
            _corrected_kept,
        ),
        Mistake(
            "steps counted from 0",
            "The first step has t = 1: with t = 0 the correction divides by 1 - 1 = 0.",
            lambda p, m, v, g, step, lr: adam_step(p, m, v, g, step - 1, lr),
        ),
        Mistake(
            "eps under the root",
            "Paper 002 prints √(v + eps); here it is √v + eps. Under the root 1e-8 acts like 1e-4: small gradients "
            "are held back.",
            _eps_under_the_root,
        ),
        Mistake(
            "betas swapped",
            "β₁ = 0.9 belongs to the mean of the gradients, β₂ = 0.999 to the mean of their squares.",
            lambda p, m, v, g, step, lr: adam_step(p, m, v, g, step, lr, 0.999, 0.9),
        ),
        Mistake(
            "no root",
            "Divide by the root of the mean square: then gradient and divisor have one unit.",
            _no_root,
        ),
        Mistake(
            "square of the mean",
            "The second mean is of g², not of the first mean squared.",
            _square_of_the_mean,
        ),
        Mistake(
            "uphill",
            "The step is subtracted: the gradient points uphill.",
            _adam_uphill,
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


smoothing = Exercise(
    "smoothed labels",
    smoothed_targets,
    [
        Case("three classes", torch.tensor([0, 2, 1]), 3, 0.1),
        Case("ten classes", torch.tensor([7, 0, 9, 7]), 10, 0.25),
        Case("half of it", torch.tensor([1]), 4, 0.5),
    ],
    [
        Mistake(
            "as paper 004 prints it",
            "Paper 004 prints 1 - 1/k for the right class: a negative number. It is 1 - k, so that a row adds up to 1.",
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


SCORES = torch.tensor([0.5, -2.0, 3.0, -0.3])
TARGETS = torch.tensor([1.0, 0.0, 0.0, 1.0])

entropy = Exercise(
    "binary cross-entropy of scores",
    binary_cross_entropy,
    [
        Case("scores of moderate size", SCORES, TARGETS),
        Case("sure and right", torch.tensor([200.0, -200.0]), torch.tensor([1.0, 0.0])),
        Case("sure and wrong", torch.tensor([-200.0, 200.0, 1.0]), torch.tensor([1.0, 0.0, 1.0])),
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
            "_with_logarithms(scores, targets, 1e-07)",
        ),
        Mistake(
            "only one half",
            "The examples with y = 0 count too: (1 - y)·log(1 - z).",
            "(F.softplus(-scores) * targets).mean()",
        ),
        Mistake(
            "targets swapped",
            "y belongs to log z, 1 - y to log(1 - z).",
            "binary_cross_entropy(scores, 1 - targets)",
        ),
        Mistake(
            "sign missing",
            "Logarithms of probabilities are negative: the loss is minus their mean.",
            "-binary_cross_entropy(scores, targets)",
        ),
        Mistake(
            "sum",
            "This is the sum over the batch; the mean is asked for.",
            "(F.softplus(scores) - scores * targets).sum()",
        ),
        Mistake(
            "squared error",
            "This is the squared error of the probabilities.",
            "(torch.sigmoid(scores) - targets).square().mean()",
        ),
    ],
    gradients=("scores",),
)
