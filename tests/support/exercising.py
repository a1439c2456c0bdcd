"""Exercises as a kernel that grades has them."""

import copy


def afresh(exercise):
    """A copy that has not yet tried its cases, so that it tries those of the environment as it is now."""
    new = copy.copy(exercise)
    for kept in ("_right", "_wrong"):
        vars(new).pop(kept, None)
    return new
