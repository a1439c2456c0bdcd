"""What a wrong result has to do with the right one, where no mistake of the exercise is recognized: the square, the
transpose, one value for each row where the mean is asked for. Each holds for *all* cases, so what is said is true."""

import torch

from course.exercises.compare import as_tensor


def relation(results, tolerance):
    """What is so for all pairs (got, expected) of results, as a sentence, or None."""
    pairs = [(as_tensor(got), as_tensor(expected)) for got, expected in results]
    if not pairs or any(x is None or x.numel() == 0 or x.is_complex() for pair in pairs for x in pair):
        return None
    pairs = [(got.double(), right.double()) for got, right in pairs]

    def same(got, right):
        return got.shape == right.shape and torch.allclose(got, right, rtol=tolerance, atol=tolerance, equal_nan=True)

    if all(same(got, right) for got, right in pairs):
        return None
    for words, holds in RELATIONS.items():
        if all(holds(got, right, same) for got, right in pairs):
            return words
    if len(pairs) > 2 and all(same(got, pairs[0][0]) for got, _ in pairs):
        return "the result is the same"
    return _multiple(pairs, same)


RELATIONS = {
    "every sign is turned": lambda got, right, same: same(got, -right),
    "rows and columns are swapped": lambda got, right, same: right.dim() == 2 and same(got, right.T),
    "the order is turned round": lambda got, right, same: right.dim() > 0 and same(got, right.flip(0)),
    "this is the square of the right result": lambda got, right, same: same(got, right.square()),
    "this is the root of the right result": lambda got, right, same: same(got.square(), right) and (got >= 0).all(),
    "this is 1 divided by the right result": lambda got, right, same: same(got, 1 / right),
    "this is 1 minus the right result": lambda got, right, same: same(got, 1 - right),
    "this is the absolute value of the right result": lambda got, right, same: same(got, right.abs()),
    "the right result is the mean of these values": lambda got, right, same: _reduced(got, right, same, torch.mean),
    "the right result is the sum of these values": lambda got, right, same: _reduced(got, right, same, torch.sum),
    "this is the mean of the values asked for": lambda got, right, same: _reduced(right, got, same, torch.mean),
    "this is the sum of the values asked for": lambda got, right, same: _reduced(right, got, same, torch.sum),
    "the right values stand on the diagonal": lambda got, right, same: got.dim() == 2 and same(got.diagonal(), right),
    "these are the right values in another shape": lambda got, right, same: same(got.flatten(), right.flatten()),
}


def _reduced(many, few, same, reduce):
    """Are these few the mean or the sum of those many, over all of them or over one axis?"""
    if many.numel() == few.numel():
        return False
    return any(same(reduce(many, dim=axis), few) for axis in range(many.dim())) or same(reduce(many), few)


def _multiple(pairs, same):
    """The same factor, or the same summand, in at least three different numbers."""
    if any(got.shape != right.shape for got, right in pairs):
        return None
    got, right = (torch.cat([pair[side].flatten() for pair in pairs]) for side in (0, 1))
    if len(set(right.tolist())) < 3 or not (got.isfinite() & right.isfinite()).all():
        return None
    place = right.abs().argmax()
    factor, summand = (got[place] / right[place]).item(), (got[place] - right[place]).item()
    if factor and same(got, factor * right):
        return f"every number is {factor:.4g} times the right one"
    if same(got, right + summand):
        return f"every number is too {'large' if summand > 0 else 'small'} by {abs(summand):.4g}"
    return None
