"""Where embeddings may lie: on a sphere (l2) or in a ball (unit_range, unit_bounce) (lab 06).

x: floating-point tensor (..., D), D ≥ 1, of rows of any size: neither 1e-30 nor 1e30 leaves float32.
Returns a tensor of its shape and dtype; half precision is computed in float32. Raises ValueError if x is not such a
tensor, holds NaN or infinity, or for another bad argument.
"""

import math

import torch

from labkit import checks


def l2(x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """Puts every row on the sphere of radius scale: scale·x/‖x‖.

    The zero row has no direction: it stays zero, with gradient 0 (divided by ‖x‖ + 1e-12 it would have one of 1e12). So
    does a row without any normal floating-point number in it (below 1e-38 in float32). Can be differentiated twice.
    Source: L2-constrained softmax (Ranjan, Castillo, Chellappa 2017), equation 7 of paper 000.

    >>> l2(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), scale=10)
    tensor([[6., 8.],
            [0., 0.]])
    """
    x, dtype = _checked(x)
    scale = checks.positive("scale", scale)
    return _Polar(x).along(scale).to(dtype)


def unit_range(x: torch.Tensor, radius: float = 1.0, grad: str = "true") -> torch.Tensor:
    """Projects every row into the ball of the radius: x·min(1, radius/‖x‖).

    grad: outside the ball the Jacobian is (radius/‖x‖)(I - x̂x̂ᵀ): nothing pulls a row along its own direction ("true").
        With "detached" the norm counts as a constant, as in the authors' code, and the Jacobian is (radius/‖x‖)·I: not
        the derivative, but it still moves a row in and out.
    Source: Unit-Range of paper 000, equation 4, where ‖x‖² stands for the norm and the threshold is 1 for every radius.

    >>> unit_range(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    x, dtype = _checked(x)
    radius = checks.positive("radius", radius)
    polar = _Polar(x, grad)
    return torch.where(polar.length() <= radius, x, polar.along(radius)).to(dtype)


def unit_bounce(x: torch.Tensor, radius: float = 1.0, grad: str = "true", bounce: str = "triangle") -> torch.Tensor:
    """Reflects every row within the ball of the radius: ρ(‖x‖)·x/‖x‖, where the length ρ runs to and fro.

    bounce: what ρ does with a length ℓ beyond the radius r.
        "triangle"  turns back at the sphere, passes the center, and turns back at the opposite side (ρ < 0), as the
                    text of paper 000 says: ℓ up to r, 2r - ℓ up to 3r, ℓ - 4r up to 5r, and so on, with period 4r.
        "authors"   their code: with k = ⌊ℓ/r⌋ ≥ 1 it is r - (ℓ - kr) for odd k, minus that for even k. It jumps by r
                    wherever k changes, except at r.
        "limit"     what their experiments ran: 2r - ℓ up to 2r, then 0, where no gradient brings a row back.
    grad: "true" is the Jacobian ρ'x̂x̂ᵀ + (ρ/ℓ)(I - x̂x̂ᵀ), whose singular values are at most 1 for "triangle"; "detached"
        takes ρ/ℓ for a constant, as the authors do: (ρ/ℓ)·I.
    Source: Unit-Bounce of paper 000, equations 5 and 6, which add a scalar to a vector and mix norm and squared norm.

    >>> unit_bounce(torch.tensor([[0.5], [1.5], [2.5]])).T  # beyond 2 it comes out on the other side
    tensor([[ 0.5000,  0.5000, -0.5000]])
    """
    x, dtype = _checked(x)
    radius = checks.positive("radius", radius)
    rho = _BOUNCES[checks.one_of("bounce", bounce, tuple(_BOUNCES))]
    polar = _Polar(x, grad)
    return torch.where(polar.length() <= radius, x, polar.along(rho(polar.length(), radius))).to(dtype)


class _Polar:
    """The rows of x by length, ‖x‖ (..., 1), a constant if "detached", and direction, along which they get another."""

    def __init__(self, x, grad="true"):
        checks.one_of("grad", grad, ("true", "detached"))
        # x̂ does not change when x is divided by a constant, so `largest` may be one; and ‖x‖ = largest·‖x/largest‖.
        self._largest = x.detach().abs().amax(dim=-1, keepdim=True)
        zero = self._largest < torch.finfo(x.dtype).tiny  # 1/largest would be infinite
        self._divided = x / self._largest.masked_fill(zero, math.inf)  # 0 in a zero row, and so is the gradient
        # Not vector_norm: its second derivative is NaN at 0, masked or not.
        norm = self._divided.square().sum(dim=-1, keepdim=True).masked_fill(zero, 1).sqrt()  # from 1 to √D
        self._norm = norm.detach() if grad == "detached" else norm

    def length(self):
        return (self._largest * self._norm).clamp(max=torch.finfo(self._norm.dtype).max)

    def along(self, length):
        return self._divided * (length / self._norm)


def _triangle(length, radius):
    phase = torch.remainder(length + radius, 4 * radius)
    return torch.where(phase < 2 * radius, phase - radius, 3 * radius - phase)


def _authors(length, radius):
    k = torch.floor(length / radius)
    back = radius - (length - k * radius)
    return torch.where(k % 2 == 1, back, -back)


_BOUNCES = {
    "triangle": _triangle,
    "authors": _authors,
    "limit": lambda length, radius: torch.relu(2 * radius - length),
}


def _checked(x):
    """x in the dtype in which it is computed, and its own."""
    checks.matrix("x", x, shape="(..., D)")
    checks.finite("x", x)
    return x.to(torch.float64 if x.dtype == torch.float64 else torch.float32), x.dtype
