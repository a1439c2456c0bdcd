import itertools
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import DEVICES
from torch.autograd import gradcheck, gradgradcheck

from labkit.embeddings import l2, unit_bounce, unit_range

F64 = torch.float64
BOUNCES = ("triangle", "authors", "limit")
EVERY = [
    l2,
    *(lambda x, radius=1.0, grad=grad: unit_range(x, radius, grad) for grad in ("true", "detached")),
    *(
        lambda x, radius=1.0, grad=grad, bounce=bounce: unit_bounce(x, radius, grad, bounce)
        for grad, bounce in itertools.product(("true", "detached"), BOUNCES)
    ),
]


def rows(lengths, dim=3, seed=0, dtype=F64):
    """A row of each length, in random directions."""
    x = torch.randn(len(lengths), dim, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return (x / x.norm(dim=1, keepdim=True) * torch.tensor(lengths, dtype=F64)[:, None]).to(dtype)


# Loops, from the formulas alone


def length(row):
    return math.sqrt(sum(v * v for v in row))


def new_length(kind, r, c):
    """The signed length that a row of length r gets, c the radius or scale."""
    if kind == "l2":
        return c if r else 0.0
    if kind == "range":
        return min(r, c)
    if kind == "triangle":
        return 2 * c / math.pi * math.asin(math.sin(math.pi * r / (2 * c)))
    if r <= c:
        return r
    if kind == "limit":
        return max(2 * c - r, 0.0)
    k = int(r // c)
    return c - (r - k * c) if k % 2 else -(c - (r - k * c))


def slope(kind, r, c):
    if kind == "l2" or (kind == "range" and r > c) or (kind == "limit" and r > 2 * c):
        return 0.0
    if kind == "range" or r < c:
        return 1.0
    if kind == "triangle":
        return 1.0 if math.cos(math.pi * r / (2 * c)) > 0 else -1.0
    return -1.0 if int(r // c) % 2 else 1.0  # of the authors, and of the limit below 2c


def expected(kind, x, c):
    out = []
    for row in x.tolist():
        r = length(row)
        out.append([v / r * new_length(kind, r, c) if r else 0.0 for v in row])
    return torch.tensor(out, dtype=F64).reshape(x.shape)


def expected_jacobian(kind, row, c, detached):
    """ρ' x̂x̂ᵀ + (ρ/r)(I - x̂x̂ᵀ), or (ρ/r) I."""
    r = length(row)
    rho = new_length(kind, r, c)
    n = range(len(row))
    along = [[row[i] * row[j] / r**2 for j in n] for i in n]
    matrix = [[rho / r * ((i == j) - along[i][j]) + slope(kind, r, c) * along[i][j] for j in n] for i in n]
    if detached and r > c:
        matrix = [[rho / r * (i == j) for j in n] for i in n]
    return torch.tensor(matrix, dtype=F64)


def call(kind, x, c=1.0, grad="true"):
    if kind == "l2":
        return l2(x, c)
    if kind == "range":
        return unit_range(x, c, grad)
    return unit_bounce(x, c, grad, kind)


# Values


def test_hand_examples():
    x = torch.tensor([[3.0, 4.0], [0.3, -0.4]])
    torch.testing.assert_close(l2(x), torch.tensor([[0.6, 0.8], [0.6, -0.8]]))
    torch.testing.assert_close(l2(x, scale=10), torch.tensor([[6.0, 8.0], [6.0, -8.0]]))
    torch.testing.assert_close(unit_range(x), torch.tensor([[0.6, 0.8], [0.3, -0.4]]))
    torch.testing.assert_close(unit_range(x, radius=2), torch.tensor([[1.2, 1.6], [0.3, -0.4]]))
    # Length 5 with radius 3: turns back at 3, so 1 is left. With radius 1, it has been to -1 and is back at 1.
    torch.testing.assert_close(unit_bounce(x, radius=3), torch.tensor([[0.6, 0.8], [0.3, -0.4]]))
    torch.testing.assert_close(unit_bounce(x), torch.tensor([[0.6, 0.8], [0.3, -0.4]]))
    torch.testing.assert_close(unit_bounce(x, radius=2), torch.tensor([[-0.6, -0.8], [0.3, -0.4]]))


LENGTHS = [0.0, 1e-9, 0.1, 0.99, 1.01, 1.5, 1.99, 2.01, 2.5, 2.99, 3.01, 3.5, 4.01, 4.6, 5.01, 6.3, 7.7, 101.3]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("grad", ["true", "detached"])
@pytest.mark.parametrize("kind", ["l2", "range", *BOUNCES])
def test_values_equal_the_loop(kind, grad, device):
    for c, dim in itertools.product((1.0, 0.3, 7.0), (1, 2, 5)):
        x = rows([c * r for r in LENGTHS], dim)
        torch.testing.assert_close(
            call(kind, x.to(device), c, grad).cpu(), expected(kind, x, c), rtol=1e-12, atol=1e-12 * c
        )


def test_length_of_the_triangle_wave():
    # Multiples of the radius, and between.
    at = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [3.5], [-1.5], [-3.0]], dtype=F64)
    back = torch.tensor([[0.0], [1.0], [0.0], [-1.0], [0.0], [1.0], [0.0], [-0.5], [-0.5], [1.0]], dtype=F64)
    torch.testing.assert_close(unit_bounce(at), back, rtol=0, atol=1e-15)


def test_the_authors_code_jumps_where_the_text_does_not():
    at = torch.tensor([[1.0], [1.25], [1.999], [2.001], [2.999], [3.001], [4.001]], dtype=F64)
    authors = torch.tensor([[1.0], [0.75], [0.001], [-0.999], [-0.001], [0.999], [-0.999]], dtype=F64)
    torch.testing.assert_close(unit_bounce(at, bounce="authors"), authors)
    limit = torch.tensor([[1.0], [0.75], [0.001], [0.0], [0.0], [0.0], [0.0]], dtype=F64)
    torch.testing.assert_close(unit_bounce(at, bounce="limit"), limit)
    assert unit_bounce(at, 10, bounce="authors").equal(at) and unit_bounce(at, 10, bounce="limit").equal(at)


@pytest.mark.parametrize("function", EVERY[1:])
def test_nothing_changes_in_the_ball_not_even_by_rounding(function):
    x = torch.cat([rows([0.0, 1e-300, 0.3, 0.7, 0.9999]), torch.tensor([[1.0, 0, 0], [0, -1.0, 0]], dtype=F64)])
    x.requires_grad_()
    y = function(x)
    assert torch.equal(y, x)
    weights = torch.randn(7, 3, dtype=F64)
    (gradient,) = torch.autograd.grad((y * weights).sum(), x)
    assert torch.equal(gradient, weights)


@pytest.mark.parametrize("function", EVERY)
def test_every_row_is_for_itself_in_any_shape(function):
    x = 2 * torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    before = x.clone()
    y = function(x)
    assert torch.equal(x, before) and y.shape == x.shape
    for i, j in itertools.product(range(2), range(3)):
        torch.testing.assert_close(function(x[i, j]), y[i, j], rtol=1e-14, atol=1e-15)
    assert function(x[:0]).shape == (0, 3, 4) and function(x[0]).shape == (3, 4)
    apart = x.transpose(0, 2).contiguous().transpose(0, 2)  # the entries of a row do not lie side by side
    assert not apart.is_contiguous()
    torch.testing.assert_close(function(apart), y, rtol=1e-14, atol=1e-15)


# Gradients


@pytest.mark.parametrize("kind", ["l2", "range", *BOUNCES])
def test_first_and_second_derivatives_are_those_of_finite_differences(kind):
    for c in (1.0, 2.5):
        x = rows([c * r for r in (0.4, 1.2, 2.3, 3.4, 4.5, 5.6)]).requires_grad_()
        assert gradcheck(lambda x, c=c: call(kind, x, c), x)
        assert gradgradcheck(lambda x, c=c: call(kind, x, c), x)


def test_derivatives_at_the_boundary_of_the_ball_are_those_of_the_inside():
    x = torch.tensor([[0.0, 2.0]], dtype=F64, requires_grad=True)
    for function in EVERY[1:]:
        (gradient,) = torch.autograd.grad(function(x, 2.0).sum(), x)
        assert torch.equal(gradient, torch.ones(1, 2, dtype=F64))


@pytest.mark.parametrize("grad", ["true", "detached"])
@pytest.mark.parametrize("kind", ["range", *BOUNCES])
def test_jacobian_is_the_formula(kind, grad):
    for c, r in itertools.product((1.0, 0.4), (0.2, 0.8, 1.3, 1.8, 2.2, 2.8, 3.2, 3.8, 4.7, 5.2, 9.1)):
        x = rows([c * r], dim=4)[0]
        jacobian = torch.autograd.functional.jacobian(lambda x, c=c: call(kind, x, c, grad), x)
        wanted = expected_jacobian(kind, x.tolist(), c, grad == "detached")
        torch.testing.assert_close(jacobian, wanted, rtol=1e-11, atol=1e-12)
        if kind in ("range", "triangle"):
            assert torch.linalg.svdvals(jacobian).max() <= 1 + 1e-12


def test_outside_the_ball_the_true_gradient_has_no_radial_part_and_the_detached_one_has():
    x = torch.tensor([3.0, 4.0], dtype=F64, requires_grad=True)
    for grad, pull in (("true", 0.0), ("detached", 0.2)):
        y = unit_range(x, grad=grad)
        (gradient,) = torch.autograd.grad(y, x, grad_outputs=x.detach() / 5)
        torch.testing.assert_close(gradient, pull * x.detach() / 5, rtol=1e-12, atol=1e-15)


def test_beyond_two_radii_the_limit_is_dead():
    for grad in ("true", "detached"):
        x = rows([2.0, 2.1, 5.0]).requires_grad_()
        y = unit_bounce(x, grad=grad, bounce="limit")
        torch.testing.assert_close(y, torch.zeros_like(x), rtol=0, atol=1e-15)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(gradient[1:], torch.zeros(2, 3, dtype=F64))


def test_the_default_is_the_true_gradient_of_the_triangle_wave():
    x = rows([0.5, 1.5, 2.5, 3.5]).requires_grad_()
    for function, same in (
        (unit_range, lambda x: unit_range(x, 1.0, "true")),
        (unit_bounce, lambda x: unit_bounce(x, 1.0, "true", "triangle")),
        (l2, lambda x: l2(x, 1.0)),
    ):
        (gradient,) = torch.autograd.grad(function(x).pow(3).sum(), x)
        (wanted,) = torch.autograd.grad(same(x).pow(3).sum(), x)
        assert torch.equal(gradient, wanted)


# Properties


@given(
    seed=st.integers(0, 2**20),
    dim=st.integers(1, 6),
    radius=st.floats(0.1, 10),
    lengths=st.tuples(st.floats(0, 60), st.floats(0, 60)),
    near=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_no_two_rows_are_farther_apart_than_before_and_none_is_outside_the_ball(seed, dim, radius, lengths, near):
    x = rows(lengths, dim, seed)
    if near:
        x[1] = x[0] + 1e-3 * x[1]
    apart = (x[0] - x[1]).norm()
    for function in (unit_range, unit_bounce):
        y = function(x, radius)
        assert (y[0] - y[1]).norm() <= apart * (1 + 1e-10) + 1e-12
        assert (y.norm(dim=1) <= radius * (1 + 1e-12)).all()


@given(seed=st.integers(0, 2**20), dim=st.integers(1, 6), factor=st.floats(0.01, 100))
@settings(max_examples=40, deadline=None)
def test_scale_and_rotation_equivariance(seed, dim, factor):
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(5, dim, generator=generator, dtype=F64)
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=F64)).Q
    for function in EVERY:
        if not _jumps_nearby(x):
            torch.testing.assert_close(function(factor * x, factor), factor * function(x), rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(function(x @ rotation), function(x) @ rotation, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(function(-x), -function(x), rtol=0, atol=0)
    torch.testing.assert_close(l2(factor * x), l2(x), rtol=1e-12, atol=1e-14)


def _jumps_nearby(x):
    """Whether rounding alone can move a row over a jump of the authors' wave."""
    r = x.norm(dim=1)
    return bool(((r - r.round()).abs() < 1e-9).any())


# Numbers


def test_the_zero_row_stays_and_has_the_zero_gradient_on_the_sphere():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, F64):
        x = torch.tensor([[0.0, 0.0], [0.0, 2.0]], dtype=dtype, requires_grad=True)
        y = l2(x, 5.0)
        assert y.tolist() == [[0, 0], [0, 5]]
        (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        assert gradient.tolist() == [[0, 0], [2.5, 0]]
        (second,) = torch.autograd.grad(gradient.square().sum(), x)
        assert torch.isfinite(second).all() and second[0].tolist() == [0, 0]


@pytest.mark.parametrize("function", EVERY)
def test_zero_rows_in_double_backward(function):
    x = torch.tensor([[0.0, 0.0], [0.0, 1.5]], dtype=F64, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(x).pow(2).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x, allow_unused=True, materialize_grads=True)
    assert torch.isfinite(gradient).all() and torch.isfinite(second).all()


@pytest.mark.parametrize("size", [1e-37, 1e-30, 1e-20, 1e20, 1e30, 1e38])
def test_rows_of_extreme_size_in_float32(size):
    row = torch.tensor([[0.6, -0.8, 0.0]])
    x = (size * row).requires_grad_()
    y = l2(x)
    torch.testing.assert_close(y, row, rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(y[:, 0].sum(), x)
    torch.testing.assert_close(gradient * size, torch.tensor([[0.64, 0.48, 0.0]]), rtol=1e-5, atol=1e-6)
    for function in EVERY[1:]:
        y = function(x)
        assert torch.isfinite(y).all() and y.norm() <= 1 + 1e-6
        assert torch.isfinite(torch.autograd.grad(y.sum(), x)[0]).all()
        if size < 1:
            assert torch.equal(y, x)
    for grad in ("true", "detached"):
        torch.testing.assert_close(unit_range(x, grad=grad), row if size > 1 else x, rtol=1e-6, atol=0)


def test_lengths_of_extreme_rows_count():
    # 1e30 and 3 radii of it: the wave is at its lowest there. 3 numbers of 3e38 are longer than any float32.
    y = unit_bounce(torch.tensor([[0.0, 3e30], [0.0, 1.5e30]]), 1e30)
    torch.testing.assert_close(y, torch.tensor([[0.0, -1e30], [0.0, 0.5e30]]), rtol=1e-6, atol=0)
    x = torch.full((1, 3), 3e38, requires_grad=True)
    for function in EVERY:
        y = function(x)
        assert torch.isfinite(y).all() and y.norm() <= 1 + 1e-6
        assert torch.isfinite(torch.autograd.grad(y.sum(), x)[0]).all()
    torch.testing.assert_close(unit_range(x), torch.full((1, 3), 3**-0.5))


def test_rows_without_a_normal_number_count_as_zero_on_the_sphere():
    tiny = torch.finfo(torch.float32).tiny
    x = torch.tensor([[tiny, 0.0], [tiny / 2, 0.0]], requires_grad=True)
    y = l2(x)
    assert y.tolist() == [[1, 0], [0, 0]]
    (gradient,) = torch.autograd.grad(y[:, 1].sum(), x)
    assert gradient[0, 1] == 1 / tiny and gradient[1].tolist() == [0, 0]
    assert torch.equal(unit_range(x), x) and torch.equal(unit_bounce(x), x)
    assert l2(torch.tensor([[1e-50, 0.0]], dtype=F64)).tolist() == [[1, 0]]


@pytest.mark.parametrize("function", EVERY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(function, dtype):
    # In float16 itself, the square of 300 is infinite, and that of 1e-4 is 0.
    x = torch.cat([rows([0.0, 1e-4, 0.3, 1.4, 2.6, 3.3, 300.0], dim=16), torch.full((1, 16), 2e-5, dtype=F64)])
    x = x.to(dtype).requires_grad_()
    y = function(x)
    wide = x.detach().float().requires_grad_()
    wanted = function(wide)
    assert y.dtype == dtype and wanted.dtype == torch.float32
    assert torch.equal(y, wanted.to(dtype))
    weights = torch.linspace(-1, 1, 16).expand(8, 16)
    gradient = torch.autograd.grad((y * weights.to(dtype)).sum(), x)[0]
    wanted = torch.autograd.grad((wanted * weights.to(dtype).float()).sum(), wide)[0]
    assert gradient.dtype == dtype and torch.equal(gradient, wanted.to(dtype))


@pytest.mark.parametrize("function", EVERY)
@pytest.mark.parametrize("device", DEVICES)
def test_autocast_changes_nothing(function, device):
    x = rows([0.5, 1.5, 2.5, 3.5, 0.0], dtype=torch.float32).to(device)
    for dtype in (torch.float32, F64):
        with torch.autocast(device, dtype=torch.bfloat16):
            y = function(x.to(dtype))
        assert y.dtype == dtype and torch.equal(y, function(x.to(dtype)))


def test_float32_agrees_with_float64():
    x = 3 * torch.randn(512, 128, generator=torch.Generator().manual_seed(0)) / 128**0.5
    for function in EVERY:
        torch.testing.assert_close(function(x), function(x.double()).float(), rtol=1e-5, atol=3e-6)
    assert (l2(x).double().norm(dim=1) - 1).abs().max() < 2e-7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("function", EVERY)
def test_the_gpu_is_not_waited_for(function):
    x = rows([0.0, 0.5, 1.5, 2.5], dtype=torch.float32).cuda().requires_grad_()
    torch.cuda.set_sync_debug_mode("error")
    try:
        function(x).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# Bad input


@pytest.mark.parametrize("function", [l2, unit_range, unit_bounce])
def test_bad_input(function):
    name = "scale" if function is l2 else "radius"
    wanted = re.escape(", expected a floating-point tensor of shape (..., D), D at least 1")
    for x, got in (
        ([[1.0]], r"list \[\[1.0\]\]"),
        (torch.ones(2, 3, dtype=torch.int64), r"int64 of shape \(2, 3\)"),
        (torch.tensor(1.0), r"float32 of shape \(\)"),
        (torch.ones(2, 0), r"float32 of shape \(2, 0\)"),
    ):
        with pytest.raises(ValueError, match=f"^x: got {got}{wanted}$"):
            function(x)
    with pytest.raises(ValueError, match=r"^x: got nan, expected finite numbers$"):
        function(torch.tensor([[1.0, float("nan")]]))
    for value in (0, -1.0, float("inf"), float("nan"), "1", True):
        with pytest.raises(ValueError, match=f"^{name}: got {value!r}, expected a finite number above 0"):
            function(torch.ones(1, 2), value)
    assert function(torch.ones(1, 1)).shape == (1, 1)


def test_bad_options():
    for function in (unit_range, unit_bounce):
        with pytest.raises(ValueError, match=r"^grad: got True, expected one of 'true', 'detached'$"):
            function(torch.ones(1, 2), grad=True)
    with pytest.raises(ValueError, match=r"^bounce: got 'wave', expected one of 'triangle', 'authors', 'limit'$"):
        unit_bounce(torch.ones(1, 2), bounce="wave")
