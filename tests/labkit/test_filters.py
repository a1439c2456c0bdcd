"""labkit.filters against loops over single pixels, torch, scipy, and the numbers that the lecture prints."""

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tensors import DEVICES

from labkit.checks import describe
from labkit.filters import (
    PRINTED_7X7,
    PRINTED_15X15,
    convolve2d,
    correlate2d,
    correlate_separable,
    gaussian_kernel,
    gaussian_vector,
    integer_mask,
    output_size,
    separate,
)

F64 = torch.float64
MODES = ["zeros", "reflect", "replicate", "circular"]
SOBEL = torch.tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


def random(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


# --- The oracle: one pixel after the other, in Python numbers ------------------------------------------------------


def pixel(image, row, column, mode):
    """The image, a list of rows, at any place, inside or outside of it."""
    places = []
    for place, size in ((row, len(image)), (column, len(image[0]))):
        if mode == "zeros" and not 0 <= place < size:
            return 0.0
        while mode == "reflect" and not 0 <= place < size:
            place = -place if place < 0 else 2 * (size - 1) - place
        if mode == "circular":
            place %= size
        places.append(min(max(place, 0), size - 1))
    return image[places[0]][places[1]]


def loops(image, kernel, stride=(1, 1), padding=(0, 0), dilation=(1, 1), mode="zeros"):
    """Correlation of lists of rows, written from the formula alone."""
    result = []
    top = -padding[0]
    while top + dilation[0] * (len(kernel) - 1) < len(image) + padding[0]:
        line, left = [], -padding[1]
        while left + dilation[1] * (len(kernel[0]) - 1) < len(image[0]) + padding[1]:
            total = 0.0
            for u, weights in enumerate(kernel):
                for v, weight in enumerate(weights):
                    total += weight * pixel(image, top + dilation[0] * u, left + dilation[1] * v, mode)
            line.append(total)
            left += stride[1]
        result.append(line)
        top += stride[0]
    return torch.tensor(result, dtype=F64)


@st.composite
def problems(draw):
    """(H, W), (h, w), stride, padding, dilation, mode that go together."""
    size = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    mode = draw(st.sampled_from(MODES))
    for n, k, p, d in zip(size, kernel, padding, dilation, strict=True):
        assume(n + 2 * p >= d * (k - 1) + 1 and (mode != "reflect" or p < n))
    return size, kernel, stride, padding, dilation, mode


@given(problems(), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_equals_the_loop_over_pixels(problem, seed):
    size, kernel, *options = problem
    image, kernel = random(*size, seed=seed), random(*kernel, seed=seed + 1)
    expected = loops(image.tolist(), kernel.tolist(), *options)
    torch.testing.assert_close(correlate2d(image, kernel, *options), expected, rtol=1e-12, atol=1e-12)
    turned = [row[::-1] for row in kernel.tolist()[::-1]]
    expected = loops(image.tolist(), turned, *options)
    torch.testing.assert_close(convolve2d(image, kernel, *options), expected, rtol=1e-12, atol=1e-12)


# --- The trusted libraries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 3, 2), ((1, 2), (0, 3), (2, 1))]
)
def test_equals_conv2d_with_channels_and_filters(device, mode, stride, padding, dilation):
    layer = torch.nn.Conv2d(
        3, 4, (3, 2), stride, padding, dilation, padding_mode=mode, bias=False, dtype=F64, device=device
    )
    image = random(3, 9, 10).to(device)
    mine = correlate2d(image, layer.weight, stride, padding, dilation, mode)
    theirs = layer(image[None])[0]
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    one = correlate2d(image, layer.weight[2], stride, padding, dilation, mode)
    torch.testing.assert_close(one, theirs[2], rtol=1e-12, atol=1e-12)
    weights = random(*mine.shape, seed=3).to(device)
    leaves = [image.clone().requires_grad_(), layer.weight]
    mine = torch.autograd.grad((correlate2d(*leaves, stride, padding, dilation, mode) * weights).sum(), leaves)
    theirs = torch.autograd.grad((layer(leaves[0][None])[0] * weights).sum(), leaves)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_a_plain_kernel_filters_every_channel_by_itself():
    image, kernel = random(3, 6, 7), random(3, 2)
    each = torch.stack([correlate2d(channel, kernel, 2, 1) for channel in image])
    assert torch.equal(correlate2d(image, kernel, 2, 1), each)
    summed = correlate2d(image, kernel.expand(3, 3, 2), 2, 1)
    torch.testing.assert_close(summed, each.sum(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(correlate2d(image, kernel.expand(2, 3, 3, 2), 2, 1), summed.expand(2, -1, -1))


def test_convolution_turns_the_weights_but_not_the_channels():
    image, kernel = random(3, 6, 7), random(2, 3, 3, 2)
    expected = sum(
        torch.from_numpy(np.stack([scipy.signal.convolve2d(image[c], kernel[o, c], "valid") for o in range(2)]))
        for c in range(3)
    )
    torch.testing.assert_close(convolve2d(image, kernel), expected, rtol=1e-12, atol=1e-12)


SCIPY = {"zeros": "constant", "reflect": "mirror", "replicate": "nearest", "circular": "grid-wrap"}


@pytest.mark.parametrize("mode", MODES)
def test_equals_scipy_ndimage(mode):
    image, kernel = random(8, 9), random(3, 5)
    for mine, theirs in ((correlate2d, scipy.ndimage.correlate), (convolve2d, scipy.ndimage.convolve)):
        expected = torch.from_numpy(theirs(image.numpy(), kernel.numpy(), mode=SCIPY[mode]))
        result = mine(image, kernel, padding=(1, 2), padding_mode=mode)
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_equals_scipy_signal():
    image, kernel = random(8, 9), random(3, 5)
    for padding, name in ((0, "valid"), ((2, 4), "full")):
        for mine, theirs in ((correlate2d, scipy.signal.correlate2d), (convolve2d, scipy.signal.convolve2d)):
            expected = torch.from_numpy(theirs(image.numpy(), kernel.numpy(), name))
            torch.testing.assert_close(mine(image, kernel, padding=padding), expected, rtol=1e-12, atol=1e-12)


def test_circular_padding_may_go_round_more_than_once():
    row = torch.tensor([[1.0, 2.0, 3.0]])
    padded = correlate2d(row, torch.ones(1, 1), padding=(0, 4), padding_mode="circular")
    assert padded.tolist() == [[3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1]]


# --- The lecture's examples ----------------------------------------------------------------------------------------

CROSSES = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]])
SIX = torch.tensor(
    [
        [1, 0, 0, 0, 0, 1],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 1, 1, 0, 0],
        [1, 0, 0, 0, 1, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 1, 0, 1, 0],
    ]
)


def test_the_examples_of_the_lecture():
    corners = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    assert correlate2d(CROSSES, corners).tolist() == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]
    diagonal = torch.tensor([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    upright = torch.tensor([[-1, 1, -1], [-1, 1, -1], [-1, 1, -1]])
    assert correlate2d(SIX, diagonal).tolist() == [[3, -1, -3, -1], [-3, 1, 0, -3], [-3, -3, 0, 1], [3, -2, -2, -1]]
    assert correlate2d(SIX, diagonal, stride=2).tolist() == [[3, -3], [-3, 0]]
    maps = correlate2d(SIX[None], torch.stack([diagonal, upright])[:, None])
    assert maps.dtype == torch.int64 and maps.shape == (2, 4, 4) and maps[1, 0].tolist() == [-1, -1, -1, -1]


# --- Sizes ---------------------------------------------------------------------------------------------------------


def test_output_size_is_that_of_conv2d_in_every_combination():
    for size in range(1, 9):
        for kernel in range(1, 5):
            for stride in range(1, 4):
                for padding in range(0, 3):
                    for dilation in range(1, 4):
                        arguments = size, kernel, stride, padding, dilation
                        image, weights = torch.zeros(1, 1, size, 1), torch.zeros(1, 1, kernel, 1)
                        options = (stride, 1), (padding, 0), (dilation, 1)
                        if size + 2 * padding < dilation * (kernel - 1) + 1:
                            with pytest.raises(ValueError, match=r"^kernel: got a span of"):
                                output_size(*arguments)
                        else:
                            expected = F.conv2d(image, weights, None, *options).shape[2]
                            assert output_size(*arguments) == expected
                            assert correlate2d(image[0, 0], weights[0, 0], *options).shape == (expected, 1)


def test_sizes_and_their_defaults():
    assert output_size(32, 3) == 30 and output_size(32, 3, padding=1) == 32 and output_size(7, 3, 2) == 3
    assert output_size(7, 3, dilation=3) == 1 and output_size(1000, 10) == 991
    image, kernel = random(5, 6), random(3, 3)
    for function in (correlate2d, convolve2d):
        assert torch.equal(function(image, kernel), function(image, kernel, 1, 0, 1, "zeros"))
    column, row = random(3), random(3, seed=1)
    explicit = correlate_separable(image, column, row, 0, "zeros")
    assert torch.equal(correlate_separable(image, column, row), explicit)


# --- Properties ----------------------------------------------------------------------------------------------------


def test_convolution_is_commutative_and_associative_correlation_is_not():
    a, b, c = random(4, 5), random(3, 2, seed=1), random(2, 3, seed=2)

    def full(function, x, y):
        return function(x, y, padding=(y.shape[0] - 1, y.shape[1] - 1))

    torch.testing.assert_close(full(convolve2d, a, b), full(convolve2d, b, a), rtol=1e-12, atol=1e-12)
    left, right = full(convolve2d, full(convolve2d, a, b), c), full(convolve2d, a, full(convolve2d, b, c))
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(full(correlate2d, a, b), full(correlate2d, b, a))


def test_linear_and_moves_with_the_image():
    image, other, kernel = random(7, 7), random(7, 7, seed=1), random(3, 3, seed=2)
    circular = {"padding": 1, "padding_mode": "circular"}
    filtered = correlate2d(image, kernel, **circular)
    moved = correlate2d(image.roll((2, 3), (0, 1)), kernel, **circular)
    torch.testing.assert_close(moved, filtered.roll((2, 3), (0, 1)), rtol=1e-12, atol=1e-12)
    both = correlate2d(2 * image + other, kernel, **circular)
    torch.testing.assert_close(both, 2 * filtered + correlate2d(other, kernel, **circular), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_finite_differences(mode):
    image, kernel = random(2, 4, 4).requires_grad_(), random(2, 2, 2, 2).requires_grad_()
    for function in (correlate2d, convolve2d):
        filtered = lambda x, k, function=function: function(x, k, 2, 1, 1, mode)  # noqa: E731
        assert torch.autograd.gradcheck(filtered, (image, kernel))
        assert torch.autograd.gradgradcheck(filtered, (image, kernel))


def test_a_kernel_is_learned_back_from_input_and_output():
    image, truth = random(12, 12), SOBEL.double()
    target = correlate2d(image, truth)
    kernel = torch.zeros(3, 3, dtype=F64, requires_grad=True)
    for _ in range(200):
        (gradient,) = torch.autograd.grad((correlate2d(image, kernel) - target).square().mean(), kernel)
        kernel = (kernel - 0.2 * gradient).detach().requires_grad_()
    torch.testing.assert_close(kernel.detach(), truth, rtol=0, atol=1e-6)


def test_views_and_dtypes():
    image, kernel = random(9, 8), random(3, 4)
    torch.testing.assert_close(correlate2d(image.T, kernel.T), correlate2d(image, kernel).T)
    before = image.clone(), kernel.clone()
    convolve2d(image, kernel, padding=1)
    assert torch.equal(image, before[0]) and torch.equal(kernel, before[1])
    for image_dtype, kernel_dtype, expected in (
        (torch.float32, torch.float32, torch.float32),
        (torch.float32, F64, F64),
        (torch.float16, torch.float32, torch.float32),
        (torch.int64, torch.float32, torch.float32),
        (torch.int64, torch.int64, torch.int64),
        (torch.bfloat16, torch.bfloat16, torch.bfloat16),
    ):
        for channels in ((), (1,), (1, 1)):
            weights = torch.ones(*channels, 2, 2, dtype=kernel_dtype)
            assert correlate2d(torch.ones(1, 3, 3, dtype=image_dtype), weights).dtype == expected


# --- Gaussians -----------------------------------------------------------------------------------------------------


@given(sigma=st.floats(0.2, 6), size=st.sampled_from([None, 1, 3, 7, 15]))
@settings(max_examples=60, deadline=None)
def test_gaussian_kernels_equal_the_formula_sum_to_one_and_are_symmetric(sigma, size):
    kernel = gaussian_kernel(sigma, size)
    length = 2 * math.ceil(3 * sigma) + 1 if size is None else size
    assert kernel.shape == (length, length) and kernel.dtype == F64
    r = length // 2
    samples = [[math.exp(-(x * x + y * y) / (2 * sigma**2)) for x in range(-r, r + 1)] for y in range(-r, r + 1)]
    expected = torch.tensor(samples, dtype=F64) / math.fsum(map(math.fsum, samples))
    torch.testing.assert_close(kernel, expected, rtol=1e-12, atol=1e-300)
    assert kernel.sum().item() == pytest.approx(1, abs=1e-14)
    assert torch.equal(kernel, kernel.T) and torch.equal(kernel, kernel.flip(0, 1))
    assert gaussian_vector(sigma, size).sum().item() == pytest.approx(1, abs=1e-14)


def test_gaussian_kernels_equal_scipy():
    image = random(20, 22)
    for sigma in (0.8, 1.5, 2.5):
        kernel = gaussian_kernel(sigma)
        expected = scipy.ndimage.gaussian_filter(image.numpy(), sigma, mode="mirror", radius=len(kernel) // 2)
        mine = correlate2d(image, kernel, padding=len(kernel) // 2, padding_mode="reflect")
        torch.testing.assert_close(mine, torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


def test_a_tiny_sigma_leaves_the_image_as_it_is():
    assert gaussian_vector(1e-200, 3).tolist() == [0, 1, 0]
    assert gaussian_vector(0.1).tolist() == pytest.approx([0, 1, 0], abs=1e-20)
    assert gaussian_kernel(5.0, 1).tolist() == [[1]]


def test_the_squares_of_sigma_add_up():
    def sigma_of(kernel):
        x = torch.arange(len(kernel), dtype=F64) - len(kernel) // 2
        return (kernel.sum(1) @ x**2).sqrt().item()

    first, second = gaussian_kernel(1.5, 15), gaussian_kernel(2.0, 21)
    twice = convolve2d(first, second, padding=20)
    assert twice.shape == (35, 35)
    assert sigma_of(twice) == pytest.approx(math.hypot(sigma_of(first), sigma_of(second)), rel=1e-12)
    assert sigma_of(twice) == pytest.approx(2.5, rel=1e-4)
    torch.testing.assert_close(twice, gaussian_kernel(2.5, 35), rtol=0, atol=2e-6)


def test_integer_masks_follow_the_rule():
    # Jain, Kasturi, Schunck: sigma² = 2, 7×7; they scale by 91, a corner of 0.011 rounded before the division.
    book = [[1, 4, 7, 10], [4, 12, 26, 33], [7, 26, 55, 71], [10, 33, 71, 91]]
    assert integer_mask(math.sqrt(2), 7, center=91)[:4, :4].tolist() == book
    mask = integer_mask(math.sqrt(2), 7)
    assert mask.dtype == torch.int64 and mask[3, 3] == 90 and mask[0, 0] == mask[6, 6] == mask[0, 6] == 1
    assert integer_mask(1.0, 3, center=1).tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 0]]  # e^-½ = 0.61, e^-1 = 0.37
    assert integer_mask(2.0, 1).tolist() == [[1]]
    assert integer_mask(1.0, 3, center=2**53)[1, 1] == 2**53
    largest = integer_mask(1.0, 13)  # corners of 1 in a mask that reaches six sigma
    assert largest[0, 0] == 1 and largest[6, 6] == round(math.exp(36))


def test_the_printed_masks():
    assert PRINTED_7X7.shape == (7, 7) and PRINTED_7X7.sum() == 140
    assert PRINTED_15X15.shape == (15, 15) and PRINTED_15X15.sum() == 2044
    assert PRINTED_7X7.dtype == PRINTED_15X15.dtype == torch.int64
    for mask in (PRINTED_7X7, PRINTED_15X15):
        assert torch.equal(mask, mask.flip(0)) and torch.equal(mask, mask.flip(1))
    assert torch.equal(PRINTED_7X7, PRINTED_7X7.T)
    derived = integer_mask(4.5, 15, center=19.77)
    wrong = (derived != PRINTED_15X15).nonzero() - 7
    assert wrong.tolist() == [[-4, -3], [-4, 3], [4, -3], [4, 3]]
    assert (derived - PRINTED_15X15).sum() == 4
    agreeing = [
        (integer_mask(s / 100, 7, center=c) == PRINTED_7X7).sum() for s in range(50, 300) for c in (15.6, 16, 16.4)
    ]
    assert max(agreeing) == 25


# --- Separable kernels ---------------------------------------------------------------------------------------------


@given(problems(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_two_passes_equal_one(problem, seed):
    size, (h, w), _, padding, _, mode = problem
    image, column, row = random(2, *size, seed=seed), random(h, seed=seed + 1), random(w, seed=seed + 2)
    kernel, options = torch.outer(column, row), {"padding": padding, "padding_mode": mode}
    expected = correlate2d(image, kernel, **options)
    torch.testing.assert_close(correlate_separable(image, column, row, **options), expected, rtol=1e-10, atol=1e-12)
    found = separate(kernel)
    assert found[0].shape == (h,) and found[1].shape == (w,)
    torch.testing.assert_close(torch.outer(*found), kernel, rtol=1e-12, atol=1e-12)


def test_separated_vectors():
    column, row = separate(SOBEL)
    assert column.dtype == F64 and (column.tolist(), row.tolist()) == ([-1, -2, -1], [1, 0, -1])
    column, row = separate(gaussian_kernel(1.3).float())
    assert column.dtype == torch.float32 and row.max() == 1
    torch.testing.assert_close(column / column.sum(), gaussian_vector(1.3).float())
    assert separate(torch.tensor([[3.0]]))[0].tolist() == [3]
    assert separate(random(3, 1))[1].tolist() == [1]
    for rough in (PRINTED_7X7, PRINTED_15X15, torch.eye(3)):
        with pytest.raises(ValueError, match=r"^kernel: got one that is off by .*, expected the product of a column"):
            separate(rough)


def test_the_tolerance_is_a_share_of_the_largest_weight():
    for scale in (1e-6, 1, 1e6):
        kernel = torch.ones(2, 2, dtype=F64) * scale
        kernel[0, 0] *= 1 - 1e-3
        with pytest.raises(ValueError, match=r"off by 0\.001,"):
            separate(kernel)
    kernel = torch.ones(2, 2, dtype=F64)
    kernel[0, 0] += 0.9e-6
    separate(kernel)
    kernel[0, 0] += 0.2e-6
    with pytest.raises(ValueError, match="off by"):
        separate(kernel)
    kernel[1, 1] = torch.nan
    with pytest.raises(ValueError, match="off by nan"):
        separate(kernel)


# --- Bad input -----------------------------------------------------------------------------------------------------

IMAGE, KERNEL = torch.ones(5, 5), torch.ones(3, 3)
NUMBERS = "a floating-point or int64 tensor"
IMAGES, KERNELS = f"{NUMBERS} (H, W) or (C, H, W)", f"{NUMBERS} (h, w), (C, h, w) or (O, C, h, w)"
FLOATS = "got float32 of shape"
WHOLE = "a whole number of at least"
MODE_NAMES = "'zeros', 'reflect', 'replicate', 'circular'"

BAD_CALLS = [
    (lambda: correlate2d(IMAGE.tolist(), KERNEL), f"image: got {describe(IMAGE.tolist())}, expected {IMAGES}"),
    (lambda: correlate2d(IMAGE.byte(), KERNEL), f"image: got uint8 of shape (5, 5), expected {IMAGES}"),
    (lambda: correlate2d(IMAGE[0], KERNEL), f"image: {FLOATS} (5,), expected {IMAGES}"),
    (
        lambda: correlate2d(IMAGE.expand(1, 1, 5, 5), KERNEL),
        f"image: {FLOATS} (1, 1, 5, 5), expected {IMAGES}",
    ),
    (lambda: correlate2d(IMAGE[:0], KERNEL), f"image: {FLOATS} (0, 5), expected {IMAGES}"),
    (lambda: correlate2d(IMAGE, KERNEL > 0), f"kernel: got bool of shape (3, 3), expected {KERNELS}"),
    (
        lambda: correlate2d(IMAGE, KERNEL.expand(1, 1, 1, 3, 3)),
        f"kernel: {FLOATS} (1, 1, 1, 3, 3), expected {KERNELS}",
    ),
    (lambda: convolve2d(IMAGE, KERNEL[0]), f"kernel: {FLOATS} (3,), expected {KERNELS}"),
    (lambda: convolve2d(IMAGE, 3.0), f"kernel: got float 3.0, expected {KERNELS}"),
    (lambda: convolve2d(None, KERNEL), f"image: got NoneType None, expected {IMAGES}"),
    (
        lambda: correlate2d(IMAGE, KERNEL.expand(1, 3, 3)),
        "image: got shape (5, 5), expected the kernel's 1 channels",
    ),
    (
        lambda: correlate2d(IMAGE.expand(2, 5, 5), KERNEL.expand(4, 3, 3, 3)),
        "image: got shape (2, 5, 5), expected the kernel's 3 channels",
    ),
    (lambda: correlate2d(IMAGE, KERNEL.to("meta")), "kernel: got a tensor on meta, expected one on cpu as image"),
    (lambda: correlate2d(IMAGE, KERNEL, 0), f"stride: got 0, expected {WHOLE} 1"),
    (lambda: correlate2d(IMAGE, KERNEL, 1.0), f"stride: got 1.0, expected {WHOLE} 1"),
    (lambda: correlate2d(IMAGE, KERNEL, True), f"stride: got True, expected {WHOLE} 1"),
    (lambda: correlate2d(IMAGE, KERNEL, (1, 2, 3)), "stride: got (1, 2, 3), expected a whole number or a pair of them"),
    (lambda: correlate2d(IMAGE, KERNEL, padding=-1), f"padding: got -1, expected {WHOLE} 0"),
    (lambda: correlate2d(IMAGE, KERNEL, padding=[0, None]), f"padding: got None, expected {WHOLE} 0"),
    (lambda: correlate2d(IMAGE, KERNEL, dilation=(1, 0)), f"dilation: got 0, expected {WHOLE} 1"),
    (
        lambda: correlate2d(IMAGE, KERNEL, padding_mode="same"),
        f"padding_mode: got 'same', expected one of {MODE_NAMES}",
    ),
    (
        lambda: correlate2d(IMAGE, KERNEL, padding=5, padding_mode="reflect"),
        "padding: got 5, expected at most 4 for 'reflect' on 5 pixels",
    ),
    (
        lambda: correlate2d(IMAGE, torch.ones(6, 3)),
        "kernel: got a span of 6 pixels, expected at most the 5 of the padded image",
    ),
    (
        lambda: output_size(5, 4, padding=1, dilation=3),
        "kernel: got a span of 10 pixels, expected at most the 7 of the padded image",
    ),
    (lambda: output_size(0, 1), f"size: got 0, expected {WHOLE} 1"),
    (lambda: output_size(5, 0), f"kernel: got 0, expected {WHOLE} 1"),
    (lambda: output_size(5, 1, 0), f"stride: got 0, expected {WHOLE} 1"),
    (lambda: output_size(5, 1, 1, -1), f"padding: got -1, expected {WHOLE} 0"),
    (lambda: output_size(5, 1, 1, 0, 0), f"dilation: got 0, expected {WHOLE} 1"),
    (lambda: gaussian_kernel(0), "sigma: got 0, expected a finite number above 0"),
    (lambda: gaussian_vector(-1.0), "sigma: got -1.0, expected a finite number above 0"),
    (lambda: gaussian_kernel(1.0, 4), "size: got 4, expected an odd number, so that the mask has a center"),
    (lambda: gaussian_kernel(1.0, 3.0), f"size: got 3.0, expected {WHOLE} 1"),
    (lambda: integer_mask(1.0, 0), f"size: got 0, expected {WHOLE} 1"),
    (lambda: integer_mask(1.0, 15), "center: got None, expected a number: corners of 1 would take e^49"),
    (lambda: integer_mask(6 / math.sqrt(37), 13), "center: got None, expected a number: corners of 1 would take e^37"),
    (lambda: integer_mask(1.0, 3, center=0.9), "center: got 0.9, expected a number from 1 to 2^53"),
    (lambda: integer_mask(1.0, 3, center=2**53 + 2), "center: got 9007199254740994, expected a number from 1 to 2^53"),
    (lambda: integer_mask(1.0, 3, center=math.nan), "center: got nan, expected a finite number of at least 0"),
    (lambda: separate(IMAGE.expand(1, 5, 5)), f"kernel: {FLOATS} (1, 5, 5), expected {NUMBERS} (h, w)"),
    (lambda: separate(torch.zeros(2, 2)), "kernel: got zeros only, expected a weight other than 0"),
    (
        lambda: correlate_separable(IMAGE, KERNEL, KERNEL[0]),
        f"column: {FLOATS} (3, 3), expected {NUMBERS} (h,)",
    ),
    (
        lambda: correlate_separable(IMAGE, KERNEL[0], KERNEL),
        f"row: {FLOATS} (3, 3), expected {NUMBERS} (w,)",
    ),
    (
        lambda: correlate_separable(IMAGE[0], KERNEL[0], KERNEL[0]),
        f"image: {FLOATS} (5,), expected {IMAGES}",
    ),
    (lambda: correlate_separable(IMAGE, KERNEL[0], KERNEL[0], -1), f"padding: got -1, expected {WHOLE} 0"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_bad_input(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message
