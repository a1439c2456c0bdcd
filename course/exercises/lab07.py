"""The exercises of lab 07, circle loss: right answers, cases, and the mistakes people make."""

import math

import torch
import torch.nn.functional as F

from course.exercises import Answer, Case, Exercise, Mistake

# --- 1: pairs of an anchor -----------------------------------------------------------------------------------------

pairs_of_an_anchor = Answer(
    "positives and negatives of an anchor",
    (3, 36),
    {
        (4, 36): "An anchor is not its own positive.",
        (36, 3): "The positives come first, then the negatives. Here they are the other way round.",
        (3, 40): "The negatives are in the other nine classes only.",
        (3, 39): "39 is the number of all other pictures. Those of the anchor's own class are not negatives.",
        (3, 37): "40 pictures less the 3 positives: the anchor itself is not a negative either.",
        (3, 9): "There are nine other classes, with four pictures each. All these pictures are negatives.",
        (4, 40): "The anchor is one of the 4 of its class, and its class is one of the 10.",
        (9, 30): "Ten classes with four pictures each, not the other way round.",
        (60, 720): "These are the pairs of the whole batch. Asked for are those of one anchor.",
        (120, 1440): "These are the pairs of the whole batch, in both directions. Asked for are those of one anchor.",
        36: "Two numbers are asked for, the positives and the negatives.",
        3: "Two numbers are asked for, the positives and the negatives.",
        39: "That is the number of all other pictures. Two numbers are asked for, the positives and the negatives.",
    },
)


# --- 2: circle loss of an anchor -----------------------------------------------------------------------------------


def circle_loss(s_p, s_n, margin, gamma):
    return F.softplus(sum(_logarithms(*_terms(s_p, s_n, margin, gamma))))


def _weights(s_p, s_n, margin):
    """The weights, constant to the gradient."""
    return (1 + margin - s_p).detach().clamp(min=0), (s_n + margin).detach().clamp(min=0)


def _terms(s_p, s_n, margin, gamma, weights=None):
    """The exponents of positives and negatives, with the right weights or others."""
    weight_p, weight_n = weights or _weights(s_p, s_n, margin)
    return -gamma * weight_p * (s_p - (1 - margin)), gamma * weight_n * (s_n - margin)


def _logarithms(of_p, of_n):
    return of_p.logsumexp(0), of_n.logsumexp(0)


def _loss(of_p, of_n):
    return F.softplus(sum(_logarithms(of_p, of_n)))


def _followed(s_p, s_n, margin):
    return (1 + margin - s_p).clamp(min=0), (s_n + margin).clamp(min=0)


def _aims(s_p, s_n, margin, gamma, aim_p, aim_n):
    """The loss with other aims."""
    weight_p, weight_n = _weights(s_p, s_n, margin)
    return _loss(-gamma * weight_p * (s_p - aim_p), gamma * weight_n * (s_n - aim_n))


def _one_followed(s_p, s_n, margin, gamma, positives):
    constant, followed = _weights(s_p, s_n, margin), _followed(s_p, s_n, margin)
    chosen = (followed[0], constant[1]) if positives else (constant[0], followed[1])
    return _loss(*_terms(s_p, s_n, margin, gamma, chosen))


def _signs(s_p, s_n, margin, gamma, of_positives, of_negatives):
    of_p, of_n = _terms(s_p, s_n, margin, gamma)
    return _loss(of_positives * of_p, of_negatives * of_n)


def _two_losses(s_p, s_n, margin, gamma):
    return sum(map(F.softplus, _logarithms(*_terms(s_p, s_n, margin, gamma))))


def _of_pairs(s_p, s_n, margin, gamma):
    """The sums of the exponents of all pairs, (positives, negatives)."""
    of_p, of_n = _terms(s_p, s_n, margin, gamma)
    return of_p[:, None] + of_n


def _means_inside(s_p, s_n, margin, gamma):
    return F.softplus(_of_pairs(s_p, s_n, margin, gamma).logsumexp((0, 1)) - math.log(len(s_p) * len(s_n)))


def _overflowing(s_p, s_n, margin, gamma):
    of_p, of_n = _terms(s_p, s_n, margin, gamma)
    return torch.log(1 + of_p.exp().sum() * of_n.exp().sum())


circle = Exercise(
    "circle loss of an anchor",
    circle_loss,
    [
        Case("one positive, one negative", torch.tensor([0.7]), torch.tensor([0.4]), 0.25, 8.0),
        Case("several of both", torch.tensor([0.9, 0.2, 0.6]), torch.tensor([0.5, -0.1, 0.2, 0.7]), 0.4, 5.0),
        Case("a negative beyond -m", torch.tensor([0.2, 0.8]), torch.tensor([-0.9, 0.1, 0.3]), 0.15, 3.0),
        Case("more positives than negatives", torch.tensor([0.1, -0.4, 0.7]), torch.tensor([0.8, -0.6]), 0.3, 2.0),
        Case("a large gamma", torch.tensor([-0.3, 0.1]), torch.tensor([0.9, 0.8, 0.3]), 0.25, 256.0),
        Case("a large gamma, all in place", torch.tensor([0.97, 0.9]), torch.tensor([0.02, -0.1, -0.7]), 0.35, 256.0),
    ],
    [
        Mistake(
            "the formula as the homework prints it",
            "The positives need a minus sign: here the loss grows when a positive comes nearer.",
            "_signs(s_p, s_n, margin, gamma, -1, 1)",
        ),
        Mistake(
            "sign of the negatives",
            "The exponent of the negatives has no minus sign: the loss must grow when a negative comes nearer.",
            "_signs(s_p, s_n, margin, gamma, 1, -1)",
            "_signs(s_p, s_n, margin, gamma, -1, -1)",
        ),
        Mistake(
            "the gradient follows the weights",
            "The values are right, but both α must be constants to the gradient: .detach() them, α_p and α_n.",
            "_loss(*_terms(s_p, s_n, margin, gamma, _followed(s_p, s_n, margin)))",
            "_one_followed(s_p, s_n, margin, gamma, True)",
            "_one_followed(s_p, s_n, margin, gamma, False)",
        ),
        Mistake(
            "the unified loss",
            "α_p and α_n are missing: this is the unified pair loss, without the weights.",
            "_loss(-gamma * s_p, gamma * (s_n + margin))",
            "_loss(-gamma * s_p, gamma * (s_n - margin))",
        ),
        Mistake(
            "no weights",
            "α_p and α_n are missing: this is AM-softmax with several positives.",
            "_loss(*_terms(s_p, s_n, margin, gamma, (1.0, 1.0)))",
        ),
        Mistake(
            "weights without the margin",
            "The weights are α_p = [1 + m - s_p]₊ and α_n = [s_n + m]₊: they are zero at 1 + m and -m.",
            "_loss(*_terms(s_p, s_n, margin, gamma, _weights(s_p, s_n, 0)))",
            "_loss(*_terms(s_p, s_n, margin, gamma, _weights(s_p, s_n, -margin)))",
        ),
        Mistake(
            "1 forgotten in the weight",
            "α_p is [1 + m - s_p]₊: a positive has its best place beyond 1.",
            "_loss(*_terms(s_p, s_n, margin, gamma, _weights(1 + s_p, s_n, margin)))",
        ),
        Mistake(
            "weights not cut off at zero",
            "A negative with s_n below -m must have the weight zero.",
            "_loss(*_terms(s_p, s_n, margin, gamma, ((1 + margin - s_p).detach(), (s_n + margin).detach())))",
        ),
        Mistake(
            "weights cut off at one",
            "The weights are cut off at zero only: a positive below m has a weight above 1.",
            "_loss(*_terms(s_p, s_n, margin, gamma, tuple(w.clamp(max=1) for w in _weights(s_p, s_n, margin))))",
        ),
        Mistake(
            "Δ swapped",
            "Δ_p = 1 - m belongs to the positives, Δ_n = m to the negatives.",
            "_aims(s_p, s_n, margin, gamma, margin, 1 - margin)",
        ),
        Mistake(
            "aims without the margin",
            "The aims are Δ_p = 1 - m and Δ_n = m, not 1 and 0 (and not 1 + m and -m, where the weights are zero).",
            "_aims(s_p, s_n, margin, gamma, 1, 0)",
            "_aims(s_p, s_n, margin, gamma, 1 + margin, -margin)",
        ),
        Mistake(
            "positives and negatives apart",
            "There is one softplus, of the sum of both logarithms: positives and negatives share one gate.",
            _two_losses,
        ),
        Mistake(
            "hardest pair only",
            "Only the largest exponents count here. All pairs are in the sums; `logsumexp` instead of `max`.",
            "F.softplus(_of_pairs(s_p, s_n, margin, gamma).max())",
        ),
        Mistake(
            "mean over the pairs",
            "Σ exp over all pairs stands inside the logarithm, not a mean.",
            "F.softplus(_of_pairs(s_p, s_n, margin, gamma)).mean()",
            _means_inside,
        ),
        Mistake(
            "sum of the losses of the pairs",
            "Σ exp over all pairs stands inside one logarithm; here every pair has a logarithm of its own.",
            "F.softplus(_of_pairs(s_p, s_n, margin, gamma)).sum()",
        ),
        Mistake(
            "exponents added up",
            "The exponents are added or averaged before exp. The sums of the formula are sums of exp.",
            "F.softplus(sum(x.sum() for x in _terms(s_p, s_n, margin, gamma)))",
            "F.softplus(sum(x.mean() for x in _terms(s_p, s_n, margin, gamma)))",
        ),
        Mistake(
            "1 + forgotten",
            "The 1 in log(1 + …) is missing: without it the loss has no end below.",
            "sum(_logarithms(*_terms(s_p, s_n, margin, gamma)))",
        ),
        Mistake(
            "hinge",
            "log(1 + exp(z)) is softplus(z). This cuts off at zero, which is its limit for large z only.",
            "sum(_logarithms(*_terms(s_p, s_n, margin, gamma))).clamp(min=0)",
        ),
        Mistake(
            "gamma in the wrong place",
            "γ multiplies the exponents of both, inside the sums, and nothing else.",
            "circle_loss(s_p, s_n, margin, 1)",
            "gamma * circle_loss(s_p, s_n, margin, 1)",
            "circle_loss(s_p, s_n, margin, gamma) / gamma",
        ),
        Mistake(
            "exp overflows",
            "The formula is right, but exp of a large number is inf: use logsumexp, and softplus(z) = log(1 + exp(z)).",
            _overflowing,
            "torch.log1p(sum(_logarithms(*_terms(s_p, s_n, margin, gamma))).exp())",
        ),
        Mistake(
            "exponent cut off",
            "The exponent is cut off so that exp does not overflow: beyond that the loss does not grow, and the pairs "
            "that are worst have no gradient.",
            *(
                f"torch.log1p(sum(_logarithms(*_terms(s_p, s_n, margin, gamma))).clamp(max={largest}).exp())"
                for largest in (20, 30, 50, 80, 88)
            ),
        ),
    ],
    gradients=("s_p", "s_n"),
)


# --- 3: the decision circle ----------------------------------------------------------------------------------------

lowest_positive = Answer(
    "lowest s_p inside the circle",
    1 - 2**0.5 * 0.4,
    {
        0.6: "This is 1 - m. At s_n = 0 the boundary is farther out: a good negative lets the positive off.",
        2**0.5 * 0.4: "This is the radius √2·m. The center of the circle is at s_p = 1.",
        -(2**0.5) * 0.4: "You go down by the radius √2·m, but from s_p = 0. The center of the circle is at s_p = 1.",
        1 + 2**0.5 * 0.4: "This is above the center. Asked for is the lowest s_p, and cosines end at 1.",
        0.2: "The radius is √2·m, not 2·m.",
        1 - 0.4 / 2**0.5: "The radius is √2·m, not m/√2.",
        1 - 0.8**0.5: "The squared radius is 2m²: the m is squared, too.",
        1 - 2 * 0.4**2: "This is 1 minus the squared radius: take the root of 2m².",
        1 - 0.4**2: "The equation is s_n² + (1 - s_p)² = 2m².",
        1 - 2**0.5 * 0.25: "That is right for m = 0.25, the margin of the pictures above. Here m is 0.4.",
        1.4: "This is 1 + m, where the weight of a positive is zero. Asked for is the border of the circle.",
        0.4: "This is the margin. Where is the center of the circle, and how large is its radius?",
        0.43: "Three digits are asked for.",
        0.44: "The first digits are nearly right, but three are asked for.",
    },
    tolerance=5e-4,
)


# --- 4: moving average ---------------------------------------------------------------------------------------------


def moving_average(values, window):
    return values.unfold(0, window, 1).mean(-1)


def _padded(values, before, after):
    """Values between zeros."""
    return torch.cat([values.new_zeros(before), values, values.new_zeros(after)])


def _from_the_start(values, window):
    return torch.stack([values[max(0, end - window) : end].mean() for end in range(1, len(values) + 1)])


def _to_the_end(values, window):
    return torch.stack([values[start : start + window].mean() for start in range(len(values))])


def _running(values, window):
    """The exponential average with the rate 1 / window."""
    averages = [values[0]]
    for value in values[1:]:
        averages.append(averages[-1] + (value - averages[-1]) / window)
    return torch.stack(averages)


smooth = Exercise(
    "moving average",
    moving_average,
    [
        Case("a window of three", torch.tensor([1.0, -2.0, 6.0, 1.0, 5.0, -4.0, 2.0]), 3),
        Case("a window of two", torch.tensor([4.0, 2.0, 0.0, 1.0, 5.5, 3.0]), 2),
        Case("one window", torch.tensor([4.0, 2.0, 3.0, 7.0]), 4),
        Case("a window of one", torch.tensor([0.3, -1.5, 2.0]), 1),
        Case("ten values, a window of four", torch.tensor([12.0, 9, 7.5, 8, 5, 4.2, -6, 3, 2.9, 1]), 4),
    ],
    [
        Mistake(
            "ones, not divided",
            "An array of ones makes a moving sum, as the homework words it: divide by the length of the window.",
            "values.unfold(0, window, 1).sum(-1)",
            "window * moving_average(_padded(values, window // 2, window - 1 - window // 2), window)",
        ),
        Mistake(
            "zeros at the ends",
            "A convolution of the same length, or of more, takes zeros for what is not there: these are the lines at "
            "the beginning and the end of the homework's figures. Give only the means of whole windows.",
            "moving_average(_padded(values, window // 2, window - 1 - window // 2), window)",
            "moving_average(_padded(values, window - 1 - window // 2, window // 2), window)",
            "moving_average(_padded(values, window // 2, window // 2), window)",
            "moving_average(_padded(values, window // 2, window // 2), window)[: len(values)]",
            "moving_average(_padded(values, window - 1, window - 1), window)",
            "moving_average(_padded(values, window - 1, 0), window)",
        ),
        Mistake(
            "short windows",
            "Some of these are means of fewer numbers, so they are noisier. Give only the means of whole windows.",
            _from_the_start,
            _to_the_end,
        ),
        Mistake(
            "blocks",
            "These windows do not overlap: the window moves on by one.",
            "values.unfold(0, window, window).mean(-1)",
        ),
        Mistake(
            "one window lost",
            "N numbers have N - window + 1 whole windows; the first or the last one is missing.",
            "moving_average(values, window)[:-1]",
            "moving_average(values, window)[1:]",
        ),
        Mistake(
            "window too long or too short",
            "Each mean is of `window` numbers, no more and no less.",
            "torch.stack([values[i : i + window + 1].mean() for i in range(len(values) - window + 1)])",
            "torch.stack([values[i : i + window - 1].mean() for i in range(len(values) - window + 1)])",
        ),
        Mistake(
            "length and number of the windows swapped",
            "There are N - window + 1 windows of the length `window`, not the other way round.",
            "moving_average(values, len(values) - window + 1)",
        ),
        Mistake(
            "divided by another number",
            "The sum of a window is divided by the length of the window.",
            "values.unfold(0, window, 1).sum(-1) / 50",
            "values.unfold(0, window, 1).sum(-1) / len(values)",
            "values.unfold(0, window, 1).sum(-1) / max(window - 1, 1)",
            "values.unfold(0, window, 1).sum(-1) / (len(values) - window + 1)",
        ),
        Mistake(
            "median or maximum",
            "The mean of each window is asked for.",
            "values.unfold(0, window, 1).median(-1).values",
            "values.unfold(0, window, 1).max(-1).values",
        ),
        Mistake(
            "mean of everything",
            "This is the mean of all values. One mean for each window is asked for.",
            "values.mean()",
        ),
        Mistake(
            "exponential average",
            "This average forgets slowly and knows no window. The mean of each whole window is asked for.",
            _running,
            "_running(values, window)[window - 1 :]",
        ),
    ],
)


# --- 5: recall of each class ---------------------------------------------------------------------------------------


def class_recall(similarity, labels):
    return _macro(_found(similarity, labels), labels)


def _filled(similarity, number):
    """With a number on the diagonal."""
    return similarity.masked_fill(torch.eye(len(similarity), dtype=torch.bool), number)


def _nearest(similarity, labels, dim=1):
    """The label of the nearest other picture."""
    return labels[_filled(similarity, -torch.inf).argmax(dim)]


def _found(similarity, labels):
    return (_nearest(similarity, labels) == labels).to(similarity.dtype)


def _macro(found, labels):
    return torch.stack([found[labels == c].mean() for c in labels.unique()]).mean()


def _any_of_two(similarity, labels):
    near = labels[_filled(similarity, -torch.inf).topk(2, dim=1).indices]
    return _macro((near == labels[:, None]).any(dim=1).to(similarity.dtype), labels)


def _over(similarity, labels, classes, empty=torch.nan):
    """The mean over these classes, with a number for those that do not occur."""
    found = _found(similarity, labels)
    shares = [found[labels == c].mean() if (labels == c).any() else torch.tensor(empty) for c in classes]
    return torch.stack(shares).mean()


def _pairs_only(similarity, labels):
    return _over(similarity, labels, [c for c in labels.unique() if (labels == c).sum() > 1])


def _similarity(number, seed):
    """Not symmetric, negative and beyond 1, and a picture is not always most similar to itself."""
    return 1.5 * torch.randn(number, number, generator=torch.Generator().manual_seed(seed)) - 0.8


SMALL = torch.tensor([[0.2, -0.2, -1.9], [-0.2, 1.0, -1.5], [-1.9, -1.1, -0.5]])

MANY = torch.tensor([5, 1, 1, 5, 5, 2, 1, 5, 5, 8, 8, 5, 5, 5, 1, 5, 5]).repeat(3)[:50]
MANY[MANY == 2] = torch.tensor([4, 5, 5])

macro_recall = Exercise(
    "recall@1, mean over the classes",
    class_recall,
    [
        Case("two classes, one with a single picture", SMALL, torch.tensor([0, 0, 1])),
        Case("five, two and three pictures", _similarity(10, 1), torch.tensor([2, 0, 2, 1, 2, 0, 1, 2, 2, 1])),
        Case("labels with gaps", _similarity(9, 2) + 2 * torch.eye(9), torch.tensor([3, 7, 3, 3, 0, 7, 3, 0, 3])),
        Case("fifty pictures, one class of one", _similarity(50, 3), MANY),
    ],
    [
        Mistake(
            "mean over the pictures",
            "The large class decides alone here: take the mean of each class first, then the mean of these.",
            "_found(similarity, labels).mean()",
        ),
        Mistake(
            "every picture finds itself",
            "Nothing keeps a picture from finding itself: fill the diagonal with -inf before argmax.",
            "_macro((labels[similarity.argmax(1)] == labels).to(similarity.dtype), labels)",
        ),
        Mistake(
            "diagonal not low enough",
            "Similarities may be below this number, and then a picture finds itself after all: fill the diagonal with "
            "-inf.",
            "_macro((labels[_filled(similarity, 0).argmax(1)] == labels).to(similarity.dtype), labels)",
            "_macro((labels[_filled(similarity, -1).argmax(1)] == labels).to(similarity.dtype), labels)",
            "_macro((labels[(similarity - torch.eye(len(labels))).argmax(1)] == labels).to(similarity.dtype), labels)",
            "_macro((labels[(similarity * (1 - torch.eye(len(labels)))).argmax(1)] == labels).float(), labels)",
        ),
        Mistake(
            "second of the order",
            "A picture need not be most similar to itself, so the second in the order is not always the nearest other.",
            "_macro((labels[similarity.topk(2, 1).indices[:, 1]] == labels).to(similarity.dtype), labels)",
        ),
        Mistake(
            "the farthest",
            "These are similarities, not distances: the nearest has the largest.",
            "_macro((labels[_filled(similarity, torch.inf).argmin(1)] == labels).to(similarity.dtype), labels)",
            "_macro((labels[similarity.argmin(1)] == labels).to(similarity.dtype), labels)",
        ),
        Mistake(
            "columns for rows",
            "Row i holds the similarities of picture i with the others: argmax along dim=1.",
            "_macro((_nearest(similarity, labels, dim=0) == labels).to(similarity.dtype), labels)",
        ),
        Mistake(
            "classes counted",
            "The labels need not be 0, 1, 2, …: `labels.unique()` has those that occur. One that does not occur has no "
            "share, and a mean of nothing is NaN.",
            "_over(similarity, labels, range(int(labels.max()) + 1))",
            "_over(similarity, labels, range(int(labels.max()) + 1), empty=0.0)",
            "_over(similarity, labels, range(int(labels.max())))",
            "_over(similarity, labels, range(int(labels.max())), empty=0.0)",
            "_over(similarity, labels, range(3))",
            "_over(similarity, labels, range(3), empty=0.0)",
            "_over(similarity, labels, range(len(labels.unique())))",
            "_over(similarity, labels, range(len(labels.unique())), empty=0.0)",
        ),
        Mistake(
            "single pictures left out",
            "A class of one picture is a class, too: its picture finds no other of its class, so its share is 0.",
            _pairs_only,
        ),
        Mistake(
            "class of the picture found",
            "The pictures are grouped by what they find: that is precision. For recall group them by their own class.",
            "_macro(_found(similarity, labels), _nearest(similarity, labels))",
        ),
        Mistake(
            "one of two",
            "This is recall@2: one of the two nearest will do. For recall@1 only the nearest counts.",
            _any_of_two,
        ),
        Mistake(
            "error",
            "This is 1 minus the recall.",
            "1 - class_recall(similarity, labels)",
        ),
        Mistake(
            "another mean of the shares",
            "The sum of the shares is divided by the number of classes that occur.",
            "class_recall(similarity, labels) * len(labels.unique())",
            "class_recall(similarity, labels) * len(labels.unique()) / len(labels)",
        ),
    ],
)
