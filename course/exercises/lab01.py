"""The exercises of lab 01, convolution and Gaussian filters: right answers, cases, and the mistakes people make."""

import torch
import torch.nn.functional as F

from course.exercises import Answer, Case, Exercise, Mistake

IMAGE = torch.tensor(
    [
        [0.2, 1.0, 0.0, 0.5, 0.3],
        [0.9, 0.1, 0.7, 0.0, 0.4],
        [0.0, 0.6, 0.2, 1.0, 0.8],
        [0.3, 0.0, 0.5, 0.1, 0.9],
    ]
)
UNEVEN = torch.tensor([[1.0, 2.0], [3.0, -4.0], [0.5, 0.0]])
CORNERS = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
SPIKE = torch.zeros(5, 5).index_put((torch.tensor(2), torch.tensor(2)), torch.tensor(1.0))
NINE = torch.arange(1.0, 10.0).reshape(3, 3)


# --- 1: convolution ----------------------------------------------------------------------------------------------


def _correlate(image, kernel, padding=0):
    return F.conv2d(image[None, None], kernel[None, None], padding=padding)[0, 0]


def convolve(image, kernel):
    return _correlate(image, kernel.flip(0, 1))


convolution = Exercise(
    "convolution",
    convolve,
    [
        Case("a single bright pixel", SPIKE, NINE),
        Case("a kernel of 3 rows and 2 columns", IMAGE, UNEVEN),
        Case("a kernel of 2 rows and 2 columns", IMAGE, CORNERS),
        Case("a kernel as large as the image", NINE, NINE),
    ],
    [
        Mistake(
            "correlation",
            "The kernel is not turned: a bright pixel gives it upside down. Convolution turns it by 180° first.",
            _correlate,
        ),
        Mistake(
            "only rows flipped",
            "The kernel is mirrored top to bottom only; a turn by 180° mirrors left and right too.",
            "_correlate(image, kernel.flip(0))",
        ),
        Mistake(
            "only columns flipped",
            "The kernel is mirrored left to right only; a turn by 180° mirrors top and bottom too.",
            "_correlate(image, kernel.flip(1))",
        ),
        Mistake(
            "turned by 90°",
            "The kernel is turned by 90°: a quarter of a turn, where half a turn is asked for.",
            "_correlate(image, torch.rot90(kernel))",
        ),
        Mistake(
            "the last row and column missing",
            "One row and one column are missing: there are H - h + 1 places, and `range` stops before its end.",
            "convolve(image, kernel)[:-1, :-1]",
        ),
        Mistake(
            "padded",
            "The image was padded; here only the places count at which the kernel lies wholly inside the image.",
            "_correlate(image, kernel.flip(0, 1), padding=[side // 2 for side in kernel.shape])",
        ),
        Mistake(
            "mean of the products",
            "This is the mean of the products; a convolution is their sum.",
            "convolve(image, kernel) / kernel.numel()",
        ),
    ],
)


# --- 2: the size of the output -----------------------------------------------------------------------------------


def output_length(size, kernel, stride, padding):
    return (size + 2 * padding - kernel) // stride + 1


output = Exercise(
    "size of the output",
    output_length,
    [
        Case("the 5×5 image and the 3×3 kernel", 5, 3, 1, 0),
        Case("stride 2 that does not come out even", 6, 3, 2, 0),
        Case("padding that keeps the size", 32, 3, 1, 1),
        Case("stride and padding", 28, 5, 2, 2),
        Case("a kernel as large as the image", 7, 7, 3, 0),
        Case("AlexNet's first layer", 227, 11, 4, 0),
    ],
    [
        Mistake(
            "one place too few",
            "The first place is not counted: a kernel as large as the image has one place, not none. Add 1.",
            "(size + 2 * padding - kernel) // stride",
        ),
        Mistake(
            "padding on one side only",
            "Padding is added on both sides of the image, so it counts twice.",
            "(size + padding - kernel) // stride + 1",
        ),
        Mistake(
            "rounded up",
            "A last step that would carry the kernel over the border is not made: round down.",
            "math.ceil((size + 2 * padding - kernel) / stride) + 1",
        ),
        Mistake(
            "one added before the division",
            "Divide first, then add 1: the stride counts steps, and the first place takes none.",
            "(size + 2 * padding - kernel + 1) // stride",
        ),
        Mistake(
            "a fraction",
            "Half a pixel is none: a whole number is asked for. `//` divides and rounds down.",
            "(size + 2 * padding - kernel) / stride + 1",
        ),
    ],
)


# --- 3: the Gaussian kernel --------------------------------------------------------------------------------------


def _bell(sigma, size, center=None, squared=True, two=2.0):
    x = torch.arange(size, dtype=torch.float64) - ((size - 1) / 2 if center is None else center)
    squares = x[:, None] ** 2 + x[None, :] ** 2
    return torch.exp(-squares / (two * (sigma**2 if squared else sigma)))


def gaussian(sigma, size):
    bell = _bell(sigma, size)
    return bell / bell.sum()


def _normalized(bell):
    return bell / bell.sum()


gaussian_kernel = Exercise(
    "Gaussian kernel",
    gaussian,
    [
        Case("sigma 1, 3×3", 1.0, 3),
        Case("sigma 2, 5×5: the bell is cut off", 2.0, 5),
        Case("sigma 0.8, 7×7", 0.8, 7),
        Case("sigma 1.5, a single weight", 1.5, 1),
    ],
    [
        Mistake(
            "not normalized",
            "The factor 1/(2πσ²) makes the area under the whole bell 1, not the sum of these samples. Divide by their "
            "sum, or the filter changes the brightness.",
            "_bell(sigma, size) / (2 * math.pi * sigma ** 2)",
        ),
        Mistake(
            "largest weight 1",
            "The weights must sum to 1, or the filter makes the image many times brighter.",
            _bell,
        ),
        Mistake(
            "each row normalized",
            "Each row sums to 1, so the whole kernel sums to its number of rows: divide by the sum of all weights.",
            "_bell(sigma, size) / _bell(sigma, size).sum(dim=1, keepdim=True)",
        ),
        Mistake(
            "sigma not squared",
            "The exponent has σ², the variance, below; yours has σ.",
            "_normalized(_bell(sigma, size, squared=False))",
        ),
        Mistake(
            "the 2 missing",
            "The exponent is -(x² + y²)/(2σ²): without the 2 the bell is that of σ/√2.",
            "_normalized(_bell(sigma, size, two=1.0))",
        ),
        Mistake(
            "center in the corner",
            "The largest weight is in a corner: x and y count from the middle, -(size // 2) to size // 2.",
            "_normalized(_bell(sigma, size, center=0))",
        ),
        Mistake(
            "not symmetric",
            "The middle lies half a pixel off: of 0..size-1 it is (size - 1)/2, a whole number for an odd size.",
            "_normalized(_bell(sigma, size, center=size / 2))",
        ),
    ],
)


# --- 4: pooling --------------------------------------------------------------------------------------------------


def max_pool(image, window, stride):
    return image.unfold(0, window, stride).unfold(1, window, stride).amax(dim=(2, 3))


LECTURE = torch.tensor([[1.0, 1.0, 2.0, 4.0], [5.0, 6.0, 7.0, 8.0], [3.0, 2.0, 1.0, 0.0], [1.0, 2.0, 3.0, 4.0]])

pooling = Exercise(
    "max pooling",
    max_pool,
    [
        Case("the lecture's image", LECTURE, 2, 2),
        Case("windows that overlap", IMAGE - 1, 3, 1),
        Case("windows with gaps between them", IMAGE, 1, 3),
        Case("an edge that no window reaches", -IMAGE, 2, 2),
    ],
    [
        Mistake(
            "average",
            "This is the mean of each window; max pooling keeps the largest value.",
            "F.avg_pool2d(image[None], window, stride)[0]",
        ),
        Mistake(
            "sum",
            "This is the sum of each window; max pooling keeps the largest value.",
            "F.avg_pool2d(image[None], window, stride, divisor_override=1)[0]",
        ),
        Mistake(
            "stride left out",
            "The window moves by one pixel; it shall move by `stride`.",
            "max_pool(image, window, 1)",
        ),
        Mistake(
            "stride equal to the window",
            "The windows never overlap: you move by `window`; the text gives a `stride` of its own.",
            "max_pool(image, window, window)",
        ),
        Mistake(
            "incomplete windows at the edge",
            "What is left over at the edge makes no window: only windows that lie wholly inside the image count.",
            "F.max_pool2d(image[None], window, stride, ceil_mode=True)[0]",
        ),
        Mistake(
            "starts from zero",
            "Negative windows become 0: start from the window's first value, or from -∞, and not from 0.",
            "max_pool(image, window, stride).clamp(min=0)",
        ),
    ],
)


# --- 5: the receptive field --------------------------------------------------------------------------------------


def receptive_field(layers):
    size, step = 1, 1
    for kernel, stride in layers:
        size += (kernel - 1) * step
        step *= stride
    return size


def _own_stride_first(layers):
    size, step = 1, 1
    for kernel, stride in layers:
        step *= stride
        size += (kernel - 1) * step
    return size


def _only_previous_stride(layers):
    size, step = 1, 1
    for kernel, stride in layers:
        size += (kernel - 1) * step
        step = stride
    return size


field = Exercise(
    "receptive field",
    receptive_field,
    [
        Case("one 3×3 convolution", [(3, 1)]),
        Case("three 3×3 convolutions", [(3, 1), (3, 1), (3, 1)]),
        Case("LeNet: convolution, pooling, convolution, pooling", [(5, 1), (2, 2), (5, 1), (2, 2)]),
        Case("AlexNet's first three layers", [(11, 4), (3, 2), (5, 1)]),
        Case("three layers with stride", [(3, 2), (3, 2), (3, 2)]),
        Case("no layer", []),
    ],
    [
        Mistake(
            "strides left out",
            "After a stride of 2, neighbors lie 2 pixels apart: multiply kernel - 1 by all the strides before.",
            "receptive_field([(kernel, 1) for kernel, _ in layers])",
        ),
        Mistake(
            "sum of the kernels",
            "Two 3×3 kernels see 5 pixels, not 6: each one adds kernel - 1 to what is seen already.",
            "sum((kernel for kernel, _ in layers))",
        ),
        Mistake(
            "its own stride counted",
            "A layer's own stride moves its windows, but does not widen them: multiply by it after the layer.",
            _own_stride_first,
        ),
        Mistake(
            "only the stride of the layer before",
            "Strides multiply: behind two layers of stride 2, neighbors lie 4 pixels of the image apart.",
            _only_previous_stride,
        ),
        Mistake(
            "the pixel itself missing",
            "Without any layer a value sees one pixel: begin with 1.",
            "receptive_field(layers) - 1",
        ),
    ],
)


# --- 6: parameters of a convolutional layer ----------------------------------------------------------------------

parameters = Answer(
    "parameters of a layer",
    460,
    {
        450: "These are the weights. Each filter has a bias as well.",
        100: "Each filter reaches through all five channels: it has 3·3·5 weights.",
        90: "Each filter reaches through all five channels, and has a bias.",
        500: "One bias a filter, not one for each of its channels.",
        46: "That is one filter with its bias; there are ten.",
        45: "That is one filter; there are ten, each with a bias.",
        455: "One bias for each filter: ten, not one for each channel of the input.",
        451: "Every filter has a bias of its own.",
        471040: "The weights are shared by all places: the size of the image does not count.",
    },
)
