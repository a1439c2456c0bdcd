"""The exercises of lab 07, circle loss: right answers, cases, and the mistakes people make."""

import torch
from torch.nn.functional import softplus

from course.exercises import Answer, Case, Exercise, Mistake

# --- 1: pairs of an anchor ---------------------------------------------------------------------------------------

pairs_of_an_anchor = Answer(
    "positives and negatives of an anchor",
    (3, 36),
    {
        (4, 36): "An anchor is not its own positive.",
        (3, 40): "The negatives are in the other nine classes only.",
        (3, 37): "40 pictures less the 3 positives: the anchor itself is not a negative either.",
        (4, 40): "The anchor is one of the 4 of its class, and its class is one of the 10.",
        (9, 30): "Ten classes with four pictures each, not the other way round.",
    },
)


# --- 2: circle loss of an anchor ---------------------------------------------------------------------------------


def _terms(s_p, s_n, margin, gamma):
    """The exponents of positives and negatives, weights held constant."""
    weight_p = (1 + margin - s_p).detach().clamp(min=0)
    weight_n = (s_n + margin).detach().clamp(min=0)
    return -gamma * weight_p * (s_p - (1 - margin)), gamma * weight_n * (s_n - margin)


def circle_loss(s_p, s_n, margin, gamma):
    of_p, of_n = _terms(s_p, s_n, margin, gamma)
    return softplus(of_p.logsumexp(0) + of_n.logsumexp(0))


def _as_printed(s_p, s_n, margin, gamma):
    of_p, of_n = _terms(s_p, s_n, margin, gamma)
    return softplus((-of_p).logsumexp(0) + of_n.logsumexp(0))


def _weights_followed(s_p, s_n, margin, gamma):
    of_p = -gamma * (1 + margin - s_p).clamp(min=0) * (s_p - (1 - margin))
    of_n = gamma * (s_n + margin).clamp(min=0) * (s_n - margin)
    return softplus(of_p.logsumexp(0) + of_n.logsumexp(0))


def _no_weights(s_p, s_n, margin, gamma):
    return softplus((-gamma * (s_p - (1 - margin))).logsumexp(0) + (gamma * (s_n - margin)).logsumexp(0))


def _no_hinge(s_p, s_n, margin, gamma):
    of_p = -gamma * (1 + margin - s_p).detach() * (s_p - (1 - margin))
    of_n = gamma * (s_n + margin).detach() * (s_n - margin)
    return softplus(of_p.logsumexp(0) + of_n.logsumexp(0))


def _swapped(s_p, s_n, margin, gamma):
    of_p = -gamma * (1 + margin - s_p).detach().clamp(min=0) * (s_p - margin)
    of_n = gamma * (s_n + margin).detach().clamp(min=0) * (s_n - (1 - margin))
    return softplus(of_p.logsumexp(0) + of_n.logsumexp(0))


def _two_losses(s_p, s_n, margin, gamma):
    of_p, of_n = _terms(s_p, s_n, margin, gamma)
    return softplus(of_p.logsumexp(0)) + softplus(of_n.logsumexp(0))


def _mean_of_pairs(s_p, s_n, margin, gamma):
    of_p, of_n = _terms(s_p, s_n, margin, gamma)
    return softplus(of_p[:, None] + of_n).mean()


def _overflowing(s_p, s_n, margin, gamma):
    of_p, of_n = _terms(s_p, s_n, margin, gamma)
    return torch.log(1 + of_p.exp().sum() * of_n.exp().sum())


circle = Exercise(
    "circle loss of an anchor",
    circle_loss,
    [
        Case("one positive, one negative", torch.tensor([0.7]), torch.tensor([0.4]), 0.25, 8.0),
        Case("several of both", torch.tensor([0.9, 0.3, 0.6]), torch.tensor([0.5, -0.1, 0.2, 0.7]), 0.4, 5.0),
        Case("a negative beyond -m", torch.tensor([0.2, 0.8]), torch.tensor([-0.9, 0.1]), 0.25, 4.0),
        Case("a large gamma", torch.tensor([-0.3, 0.1]), torch.tensor([0.9, 0.8, 0.3]), 0.25, 256.0),
    ],
    [
        Mistake(
            "the formula as the homework prints it",
            "The positives need a minus sign: here the loss grows when a positive comes nearer.",
            _as_printed,
        ),
        Mistake(
            "the gradient follows the weights",
            "The values are right, but α must be a constant to the gradient: .detach() it.",
            _weights_followed,
        ),
        Mistake(
            "no weights",
            "α_p and α_n are missing: this is AM-softmax with several positives.",
            _no_weights,
        ),
        Mistake(
            "weights not cut off at zero",
            "A negative with s_n below -m must have the weight zero.",
            _no_hinge,
        ),
        Mistake(
            "Δ swapped",
            "Δ_p = 1 - m belongs to the positives, Δ_n = m to the negatives.",
            _swapped,
        ),
        Mistake(
            "positives and negatives apart",
            "There is one softplus, of the sum of both logarithms: positives and negatives share one gate.",
            _two_losses,
        ),
        Mistake(
            "mean over the pairs",
            "Σ exp over all pairs stands inside the logarithm, not a mean.",
            _mean_of_pairs,
        ),
        Mistake(
            "exp overflows",
            "The formula is right, but exp of a large number is inf: use logsumexp, and softplus(z) = log(1 + exp(z)).",
            _overflowing,
        ),
    ],
    gradients=("s_p", "s_n"),
)


# --- 3: the decision circle --------------------------------------------------------------------------------------

lowest_positive = Answer(
    "lowest s_p inside the circle",
    1 - 2**0.5 * 0.4,
    {
        0.6: "This is Δ_p = 1 - m. At s_n = 0 the boundary is farther out: a good negative lets the positive off.",
        2**0.5 * 0.4: "This is the radius √2·m. The center of the circle is at s_p = 1.",
        0.2: "The radius is √2·m, not 2·m.",
        1 - 2 * 0.4**2: "This is 1 minus the squared radius: take the root of 2m².",
        1 - 0.4**2: "The equation is s_n² + (1 - s_p)² = 2m².",
    },
    tolerance=5e-4,
)


# --- 4: moving average -------------------------------------------------------------------------------------------


def moving_average(values, window):
    return values.unfold(0, window, 1).mean(-1)


def _zero_padded(values, window):
    """numpy.convolve(values, ones/window, "same")."""
    zeros = values.new_zeros
    padded = torch.cat([zeros(window // 2), values, zeros(window - 1 - window // 2)])
    return moving_average(padded, window)


def _from_the_start(values, window):
    means = [values[max(0, end - window) : end].mean() for end in range(1, len(values) + 1)]
    return torch.stack(means)


smooth = Exercise(
    "moving average",
    moving_average,
    [
        Case("a window of three", torch.tensor([1.0, 2.0, 6.0, 1.0, 5.0]), 3),
        Case("a window of two", torch.tensor([4.0, 2.0, 0.0, 1.0, 5.0, 3.0]), 2),
        Case("one window", torch.tensor([4.0, 2.0, 3.0, 7.0]), 4),
    ],
    [
        Mistake(
            "ones, not divided",
            "An array of ones makes a moving sum, as the homework words it: divide by the length of the window.",
            "values.unfold(0, window, 1).sum(-1)",
        ),
        Mistake(
            "zeros at both ends",
            "A convolution of the same length takes zeros for what is not there: these are the lines at the beginning "
            "and the end of the homework's figures. Give only the means of whole windows.",
            _zero_padded,
        ),
        Mistake(
            "short windows at the start",
            "The first values are means of fewer numbers, so they are noisier. Give only the means of whole windows.",
            _from_the_start,
        ),
        Mistake(
            "blocks",
            "These windows do not overlap: the window moves on by one.",
            "values.unfold(0, window, window).mean(-1)",
        ),
        Mistake(
            "one window short",
            "N numbers have N - window + 1 whole windows; the last one is missing.",
            "moving_average(values, window)[:-1]",
        ),
    ],
)


# --- 5: recall of each class -------------------------------------------------------------------------------------


def _found(similarity, labels):
    others = similarity.masked_fill(torch.eye(len(labels), dtype=torch.bool), -torch.inf)
    return (labels[others.argmax(1)] == labels).to(similarity.dtype)


def class_recall(similarity, labels):
    found = _found(similarity, labels)
    return torch.stack([found[labels == c].mean() for c in labels.unique()]).mean()


def _itself(similarity, labels):
    found = (labels[similarity.argmax(1)] == labels).to(similarity.dtype)
    return torch.stack([found[labels == c].mean() for c in labels.unique()]).mean()


def _farthest(similarity, labels):
    others = similarity.masked_fill(torch.eye(len(labels), dtype=torch.bool), torch.inf)
    found = (labels[others.argmin(1)] == labels).to(similarity.dtype)
    return torch.stack([found[labels == c].mean() for c in labels.unique()]).mean()


UNEQUAL = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2])
SIMILARITY = torch.tensor(
    [
        [1.0, 0.9, 0.8, 0.1, 0.2, 0.3, 0.1, 0.0, 0.4],
        [0.9, 1.0, 0.7, 0.2, 0.1, 0.0, 0.2, 0.3, 0.1],
        [0.8, 0.7, 1.0, 0.6, 0.5, 0.1, 0.0, 0.2, 0.3],
        [0.1, 0.2, 0.6, 1.0, 0.55, 0.4, 0.3, 0.1, 0.2],
        [0.2, 0.1, 0.5, 0.55, 1.0, 0.65, 0.1, 0.0, 0.3],
        [0.3, 0.0, 0.1, 0.4, 0.65, 1.0, 0.45, 0.2, 0.1],
        [0.1, 0.2, 0.0, 0.3, 0.1, 0.45, 1.0, 0.35, 0.15],
        [0.0, 0.3, 0.2, 0.1, 0.0, 0.2, 0.35, 1.0, 0.25],
        [0.4, 0.1, 0.3, 0.2, 0.3, 0.1, 0.15, 0.25, 1.0],
    ]
)

macro_recall = Exercise(
    "recall@1, mean over the classes",
    class_recall,
    [
        Case("five, two and two pictures", SIMILARITY, UNEQUAL),
        Case("other classes", SIMILARITY, torch.tensor([2, 2, 2, 0, 0, 1, 1, 1, 1])),
    ],
    [
        Mistake(
            "mean over the pictures",
            "The large class decides alone here: take the mean of each class first, then the mean of these.",
            "_found(similarity, labels).mean()",
        ),
        Mistake(
            "every picture finds itself",
            "A picture is always most similar to itself: fill the diagonal with -inf before argmax.",
            _itself,
        ),
        Mistake(
            "the farthest",
            "These are similarities, not distances: the nearest has the largest.",
            _farthest,
        ),
    ],
)
