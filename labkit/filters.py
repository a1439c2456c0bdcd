"""Filtering images by explicit sums: correlation and convolution, Gaussian kernels, integer masks, separable filters.

An image is (H, W), or (C, H, W) with several channels; rows count downward, columns to the right. At one place a kernel
gives the sum of products of its weights with the pixels under it (paper 002). For each weight, the pixels that it meets
at all places are the image itself, shifted; so the result is a weighted sum of shifted images.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit import checks

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
Pair = int | tuple[int, int]  # one number for rows and columns, or one for each


def correlate2d(
    image: Tensor, kernel: Tensor, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, padding_mode: str = "zeros"
) -> Tensor:
    """The kernel's sum of products at every place of the image; deep-learning libraries call this a convolution.

    result[i, j] = Σ_{u, v} kernel[u, v] · padded[stride·i + dilation·u, stride·j + dilation·v]

    image: (H, W) or (C, H, W), floating point or int64.
    kernel: (h, w) is applied to every channel by itself -> (H', W') or (C, H', W'); (C, h, w) is one filter, whose sum
        runs over the channels too -> (H', W'); (O, C, h, w) is O filters, as in `torch.nn.Conv2d` -> (O, H', W').
    stride, padding, dilation: whole numbers, or pairs for (rows, columns): pixels from one place of the kernel to the
        next; pixels added on each side; distance of the pixels that neighboring weights meet.
    padding_mode: what the added pixels hold: "zeros"; "reflect", the image mirrored in its outermost pixels;
        "replicate", the nearest pixel; "circular", the opposite side.
    Raises ValueError for another dtype or shape, for channels that do not fit, and for a kernel larger than the image.

    >>> correlate2d(torch.tensor([[1, 2, 4, 8]]), torch.tensor([[-1, 1]]))
    tensor([[1, 2, 4]])
    """
    _check_operands(image, kernel)
    stride, padding, dilation = _pair("stride", stride), _pair("padding", padding), _pair("dilation", dilation)
    sizes = zip(image.shape[-2:], kernel.shape[-2:], stride, padding, dilation, strict=True)
    height, width = (output_size(*sizes_of_axis) for sizes_of_axis in sizes)
    dtype = torch.promote_types(image.dtype, kernel.dtype)
    padded, kernel = _padded(image, padding, padding_mode).to(dtype), kernel.to(dtype)
    total = 0
    for u in range(kernel.shape[-2]):
        for v in range(kernel.shape[-1]):
            top, left = dilation[0] * u, dilation[1] * v
            rows = slice(top, top + stride[0] * (height - 1) + 1, stride[0])
            columns = slice(left, left + stride[1] * (width - 1) + 1, stride[1])
            shifted = padded[..., rows, columns]  # what the weight (u, v) meets at all places of the kernel
            weight = kernel[..., u, v]  # one, or those of the channels, (C,) or (O, C), over which it sums
            total = total + (weight * shifted if weight.ndim == 0 else torch.tensordot(weight, shifted, dims=1))
    return total


def convolve2d(
    image: Tensor, kernel: Tensor, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, padding_mode: str = "zeros"
) -> Tensor:
    """Convolution in the sense of mathematics: `correlate2d`, whose arguments it has, with the kernel turned by 180°.

    result[i, j] = Σ_{u, v} kernel[u, v] · padded[i + h-1 - u, j + w-1 - v]      (stride and dilation 1)

    >>> convolve2d(torch.tensor([[1, 2, 4, 8]]), torch.tensor([[-1, 1]]))
    tensor([[-1, -2, -4]])
    """
    _check_operands(image, kernel)
    return correlate2d(image, kernel.flip(-2, -1), stride, padding, dilation, padding_mode)


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """How many places the kernel has along one axis: ⌊(size + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1.

    size, kernel: of image and kernel. Raises ValueError if the kernel does not fit into the padded image.

    >>> output_size(28, 5, padding=2), output_size(28, 5, stride=2)
    (28, 12)
    """
    for name, value in {"size": size, "kernel": kernel, "stride": stride, "dilation": dilation}.items():
        checks.whole(name, value)
    checks.whole("padding", padding, at_least=0)
    span, room = dilation * (kernel - 1) + 1, size + 2 * padding
    if span > room:
        raise ValueError(f"kernel: got a span of {span} pixels, expected at most the {room} of the padded image")
    return (room - span) // stride + 1


def _padded(image: Tensor, padding: tuple[int, int], mode: str) -> Tensor:
    """The image with so many (rows, columns) more on each side."""
    checks.one_of("padding_mode", mode, PADDING_MODES)
    if mode == "zeros":
        rows, columns = padding
        return F.pad(image, (columns, columns, rows, rows))
    for axis, width in zip((-2, -1), padding, strict=True):
        last = image.shape[axis] - 1
        if mode == "reflect" and width > last:
            raise ValueError(f"padding: got {width}, expected at most {last} for 'reflect' on {last + 1} pixels")
        place = torch.arange(-width, last + 1 + width, device=image.device)
        if mode == "reflect":
            place = last - (last - place.abs()).abs()  # -2, -1, 0, 1 -> 2, 1, 0, 1, and so at the other end
        elif mode == "replicate":
            place = place.clamp(0, last)
        else:
            place = place % (last + 1)
        image = image.index_select(axis, place)
    return image


def gaussian_vector(sigma: float, size: int | None = None) -> Tensor:
    """Samples of exp(-x²/2σ²) at x = -r..r with r = (size - 1)/2, divided by their sum: float64 (size,).

    sigma: standard deviation in pixels, above 0. size: odd; default 2·⌈3σ⌉ + 1. ValueError for another sigma or size.

    >>> gaussian_vector(1.0, size=3)
    tensor([0.2741, 0.4519, 0.2741], dtype=torch.float64)
    """
    bell = _bell(sigma, size)
    return bell / bell.sum()


def gaussian_kernel(sigma: float, size: int | None = None) -> Tensor:
    """The Gaussian filter of paper 002, exp(-(x² + y²)/2σ²) over its sum: float64 (size, size); see `gaussian_vector`.

    >>> gaussian_kernel(2.0).shape
    torch.Size([13, 13])
    """
    vector = gaussian_vector(sigma, size)
    return torch.outer(vector, vector)


def integer_mask(sigma: float, size: int, center: float | None = None) -> Tensor:
    """A Gaussian in whole numbers, int64 (size, size), to be divided by its sum: round(center · exp(-(x² + y²)/2σ²)).

    sigma: standard deviation in pixels, above 0. size: odd. The rule: Jain, Kasturi, Schunck 1995, section 4.5.
    center: the largest weight before rounding, at least 1; default: the one with which the four corners are 1.
    Raises ValueError for values out of range, and if the default center would be too large for exact whole numbers.

    >>> integer_mask(1.0, 3).tolist()
    [[1, 2, 1], [2, 3, 2], [1, 2, 1]]
    """
    bell = _bell(sigma, size)
    if center is None:
        radius = (size - 1) // 2
        exponent = (radius / sigma) ** 2
        if exponent > math.log(2**53):
            raise ValueError(f"center: got None, expected a number: corners of 1 would take e^{exponent:.0f}")
        center = math.exp(exponent)
    elif not 1 <= checks.non_negative("center", center) <= 2**53:
        raise ValueError(f"center: got {center!r}, expected a number from 1 to 2^53")
    return (center * torch.outer(bell, bell)).round().to(torch.int64)


def _bell(sigma: float, size: int | None) -> Tensor:
    """exp(-x²/2σ²) at the whole numbers from -r to r."""
    checks.positive("sigma", sigma)
    size = 2 * math.ceil(3 * sigma) + 1 if size is None else size
    checks.whole("size", size, at_least=1)
    if size % 2 == 0:
        raise ValueError(f"size: got {size}, expected an odd number, so that the mask has a center")
    radius = size // 2
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    return torch.exp(-((x / sigma) ** 2) / 2)


def separate(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """The column (h,) and the row (w,) whose product, column[u]·row[v], is the kernel (h, w).

    The row's entry at the kernel's largest weight is 1. The product may be off by a millionth of that weight.
    Raises ValueError if there are no such vectors, for another shape or dtype, and for a kernel of zeros.

    >>> separate(torch.tensor([[1, 2, 1], [2, 4, 2]]))
    (tensor([2., 4.], dtype=torch.float64), tensor([0.5000, 1.0000, 0.5000], dtype=torch.float64))
    """
    _check_tensor("kernel", kernel, (2,), "(h, w)")
    kernel = kernel if kernel.is_floating_point() else kernel.double()
    u, v = divmod(int(kernel.abs().argmax()), kernel.shape[1])
    largest = kernel[u, v]
    if largest == 0:
        raise ValueError("kernel: got zeros only, expected a weight other than 0")
    column, row = kernel[:, v], kernel[u] / largest
    off = float(((torch.outer(column, row) - kernel).abs().max() / largest.abs()).detach())
    if not off <= 1e-6:
        raise ValueError(f"kernel: got one that is off by {off:.2g}, expected the product of a column and a row")
    return column, row


def correlate_separable(
    image: Tensor, column: Tensor, row: Tensor, padding: Pair = 0, padding_mode: str = "zeros"
) -> Tensor:
    """`correlate2d` with the kernel column[u]·row[v]: first along the columns of the image, then along its rows.

    column (h,), row (w,); image (H, W) or (C, H, W), each channel by itself. The rest is as for `correlate2d`.

    >>> correlate_separable(torch.eye(3), torch.ones(2), torch.ones(2)).tolist()
    [[2.0, 1.0], [1.0, 2.0]]
    """
    _check_tensor("column", column, (1,), "(h,)")
    _check_tensor("row", row, (1,), "(w,)")
    rows, columns = _pair("padding", padding)
    image = correlate2d(image, column[:, None], padding=(rows, 0), padding_mode=padding_mode)
    return correlate2d(image, row[None, :], padding=(0, columns), padding_mode=padding_mode)


def _mirrored(*quarter: str) -> Tensor:
    """A mask from the rows of its upper left quarter, which hold its middle row and column too."""
    left = torch.tensor([[int(weight) for weight in row.split()] for row in quarter])
    upper = torch.cat([left, left[:, :-1].flip(1)], dim=1)
    return torch.cat([upper, upper[:-1].flip(0)])


# The masks that paper 002 prints as samples of a Gaussian, without the sigma. The small one is none at all: along the
# middle row each step halves; a Gaussian that falls to a half after one step has fallen to a sixteenth after two.
PRINTED_7X7 = _mirrored("1 1 2 2", "1 2 2 4", "2 2 4 8", "2 4 8 16")

# The large one is integer_mask(4.5, 15, center=19.77), except for the weights at (±4, ±3): 10, which should be 11.
PRINTED_15X15 = _mirrored(
    "2 2 3 4 5 5 6 6",
    "2 3 4 5 7 7 8 8",
    "3 4 6 7 9 10 10 11",
    "4 5 7 9 10 12 13 13",
    "5 7 9 11 13 14 15 16",
    "5 7 10 12 14 16 17 18",
    "6 8 10 13 15 17 19 19",
    "6 8 11 13 16 18 19 20",
)


def _check_operands(image: Tensor, kernel: Tensor) -> None:
    """ValueError unless kernel and image have a shape and a dtype that go together."""
    _check_tensor("image", image, (2, 3), "(H, W) or (C, H, W)")
    _check_tensor("kernel", kernel, (2, 3, 4), "(h, w), (C, h, w) or (O, C, h, w)")
    if kernel.device != image.device:
        raise ValueError(f"kernel: got a tensor on {kernel.device}, expected one on {image.device} as image")
    channels = kernel.shape[-3] if kernel.ndim > 2 else None
    if channels is not None and (image.ndim == 2 or image.shape[0] != channels):
        raise ValueError(f"image: got shape {tuple(image.shape)}, expected the kernel's {channels} channels")


def _check_tensor(name: str, value: Tensor, dimensions: tuple[int, ...], shape: str) -> None:
    """ValueError unless value is a tensor of numbers, not empty, with one of so many dimensions."""
    ok = isinstance(value, torch.Tensor) and (value.is_floating_point() or value.dtype == torch.int64)
    if not ok or value.ndim not in dimensions or value.numel() == 0:
        raise ValueError(f"{name}: got {checks.describe(value)}, expected a floating-point or int64 tensor {shape}")


def _pair(name: str, value: Pair) -> tuple[int, int]:
    """(rows, columns) of a number or a pair of them; `output_size` checks what they are."""
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name}: got {value!r}, expected a whole number or a pair of them")
    return pair
