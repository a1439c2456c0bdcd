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
TALL = torch.tensor(
    [
        [0.3, -0.8, 0.6, 0.1, -0.5],
        [-0.2, 0.7, -0.9, 0.4, 0.2],
        [0.8, -0.4, 0.5, -0.7, 0.9],
        [-0.6, 0.0, 0.2, 0.3, -0.1],
        [0.1, -0.3, -0.8, 0.6, 0.4],
        [-0.9, 0.5, 0.7, -0.2, 0.0],
        [0.2, 0.9, -0.1, -0.6, 0.8],
    ]
)
UNEVEN = torch.tensor([[1.0, 2.0], [3.0, -4.0], [0.5, 0.0]])
FLAT = torch.tensor([[1.0, 2.0, -0.5], [4.0, 8.0, 0.0]])
TWELVE = torch.arange(1.0, 13.0).reshape(3, 4)
SPIKE = torch.zeros(5, 7).index_put((torch.tensor(2), torch.tensor(3)), torch.tensor(1.0))


# --- 1: convolution ----------------------------------------------------------------------------------------------


def convolve(image, kernel):
    return _correlate(image, kernel.flip(0, 1))


def _correlate(image, kernel, padding=0):
    return F.conv2d(image[None, None], kernel[None, None], padding=padding)[0, 0]


def _whole(image, kernel):
    """The convolution at all places where kernel and image overlap."""
    return _correlate(image, kernel.flip(0, 1), [side - 1 for side in kernel.shape])


def _as_large(image, kernel):
    """The middle of that, as large as the image (scipy's "same")."""
    top, left = ((side - 1) // 2 for side in kernel.shape)
    return _whole(image, kernel)[top : top + image.shape[0], left : left + image.shape[1]]


def _from_the_other_end(image, kernel):
    """The formula read literally, image[i - u, j - v]: negative places count from the other end."""
    places = [(u, v) for u in range(kernel.shape[0]) for v in range(kernel.shape[1])]
    total = sum(kernel[place] * image.roll(place, dims=(0, 1)) for place in places)
    return total[: image.shape[0] - kernel.shape[0] + 1, : image.shape[1] - kernel.shape[1] + 1]


convolution = Exercise(
    "convolution",
    convolve,
    [
        Case("a single bright pixel", SPIKE, TWELVE),
        Case("a kernel of 3 rows and 2 columns", IMAGE, UNEVEN),
        Case("a kernel of 2 rows and 3 columns", IMAGE - 0.5, FLAT),
        Case("a kernel as large as the image", TALL[:3, :3], TWELVE[:, 1:]),
    ],
    [
        Mistake(
            "correlation",
            "The kernel is not turned: a bright pixel gives it upside down. Convolution turns it by 180° first.",
            "_correlate(image, kernel)",
            "_correlate(image, kernel).squeeze()",
        ),
        Mistake(
            "image turned as well",
            "Image and kernel are both turned: that is a correlation again, its result turned. Turn one of them.",
            "_correlate(image, kernel).flip(0, 1)",
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
            "_correlate(image, torch.rot90(kernel, -1))",
        ),
        Mistake(
            "kernel transposed",
            "Rows and columns of the kernel are swapped. A turn by 180° keeps rows rows, and reverses their order.",
            "_correlate(image, kernel.T)",
            "convolve(image, kernel.T)",
        ),
        Mistake(
            "the last row and column missing",
            "One row and one column are missing: there are H - h + 1 places, and `range` stops before its end.",
            "convolve(image, kernel)[:-1, :-1]",
        ),
        Mistake(
            "padded",
            "The image was padded; here only the places count at which the kernel lies wholly inside the image.",
            "_as_large(image, kernel)",
            "_whole(image, kernel)",
            "_correlate(image, kernel.flip(0, 1), padding=[side // 2 for side in kernel.shape])",
            "_correlate(image, kernel.flip(0, 1), padding='same')",
            "_correlate(image, kernel.flip(0, 1), padding=1)",
            "_correlate(image, kernel, padding=[side // 2 for side in kernel.shape])",
        ),
        Mistake(
            "normalized",
            "The sum of the products is divided by something; a convolution is the sum itself.",
            "convolve(image, kernel) / kernel.numel()",
            "convolve(image, kernel) / kernel.sum()",
        ),
        Mistake(
            "only the last product",
            "Each product overwrites the one before, so that only one is left: add them up (`+=`).",
            "kernel[0, 0] * image[kernel.shape[0] - 1 :, kernel.shape[1] - 1 :]",
            "kernel[-1, -1] * image[kernel.shape[0] - 1 :, kernel.shape[1] - 1 :]",
        ),
        Mistake(
            "places from the other end",
            "image[i - u, j - v] counts from the other end of the image where i < u or j < v. Begin at the first place "
            "where the kernel fits: image[i + u, j + v], with the turned kernel.",
            _from_the_other_end,
        ),
        Mistake(
            "the image taken as a square",
            "The number of columns is computed from the image's height: it is W - w + 1.",
            "convolve(image, kernel)[:, : image.shape[0] - kernel.shape[1] + 1]",
            "convolve(image, kernel)[:, : image.shape[0] - kernel.shape[0] + 1]",
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
        Case("nor here", 8, 3, 2, 0),
        Case("padding that keeps the size", 32, 3, 1, 1),
        Case("stride and padding", 28, 5, 2, 2),
        Case("a kernel of even size", 13, 4, 3, 1),
        Case("a kernel as large as the image", 7, 7, 3, 0),
        Case("AlexNet's first layer", 227, 11, 4, 0),
    ],
    [
        Mistake(
            "padding forgotten",
            "The padding makes the image larger by `padding` pixels on both sides; here it does not come in.",
            "(size - kernel) // stride + 1",
        ),
        Mistake(
            "stride forgotten",
            "These are the places of a kernel that moves by one pixel; it moves by `stride`.",
            "size + 2 * padding - kernel + 1",
        ),
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
            "padding subtracted",
            "The padding makes the image larger: it is added.",
            "(size - 2 * padding - kernel) // stride + 1",
            "(size - padding - kernel) // stride + 1",
        ),
        Mistake(
            "rounded up",
            "A last step that would carry the kernel over the border is not made: round down.",
            "math.ceil((size + 2 * padding - kernel) / stride) + 1",
            "round((size + 2 * padding - kernel) / stride) + 1",
            "round((size + 2 * padding - kernel) / stride + 1)",
            "int((size + 2 * padding - kernel) / stride + 0.5) + 1",
        ),
        Mistake(
            "one added before the division",
            "Divide first, then add 1: the stride counts steps, and the first place takes none.",
            "(size + 2 * padding - kernel + 1) // stride",
            "(size + 2 * padding - kernel + 1) / stride",
        ),
        Mistake(
            "a fraction",
            "Half a pixel is none: a whole number is asked for. `//` divides and rounds down.",
            "(size + 2 * padding - kernel) / stride + 1",
            "(size + 2 * padding - kernel) / stride",
        ),
        Mistake(
            "kernel left out",
            "A formula without the kernel's size: it must fit into the image, so it takes away from the places.",
            "math.ceil(size / stride)",
            "size // stride",
            "(size + 2 * padding) // stride",
            "(size + 2 * padding) // stride + 1",
        ),
        Mistake(
            "brackets missing",
            "Division comes before addition: put the whole length into brackets, then divide.",
            "size + 2 * padding - kernel // stride + 1",
            "size + (2 * padding - kernel) // stride + 1",
        ),
    ],
)


# --- 3: the Gaussian kernel --------------------------------------------------------------------------------------


def gaussian(sigma, size):
    return _normalized(torch.exp(-_squares(size) / (2 * sigma**2)))


def _squares(size, middle=None):
    """x² + y² of all places, counted from the middle."""
    x = torch.arange(size, dtype=torch.float64) - (size // 2 if middle is None else middle)
    return x[:, None] ** 2 + x[None, :] ** 2


def _normalized(bell):
    return bell / bell.sum()


def _row(sigma, size):
    return torch.exp(-((torch.arange(size, dtype=torch.float64) - size // 2) ** 2) / (2 * sigma**2))


def _bell(sigma, size):
    return torch.exp(-_squares(size) / (2 * sigma**2))


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
            "A factor such as 1/(2πσ²) makes the area under the whole bell 1, not the sum of these samples. Divide by "
            "their sum, or the filter changes the brightness.",
            "_bell(sigma, size) / (2 * math.pi * sigma**2)",
            "_bell(sigma, size) / (math.sqrt(2 * math.pi) * sigma)",
            "_bell(sigma, size) / (2 * math.pi * sigma)",
            "_bell(sigma, size) / math.sqrt(2 * math.pi * sigma**2) ** 0.5",
        ),
        Mistake(
            "largest weight 1",
            "The weights must sum to 1, or the filter makes the image many times brighter.",
            "_bell(sigma, size)",
        ),
        Mistake(
            "divided by something else than the sum",
            "The weights do not sum to 1: divide by their sum, and by nothing else.",
            "_bell(sigma, size) / size**2",
            "_bell(sigma, size) / size",
            "_bell(sigma, size) / _bell(sigma, size).norm()",
            "_bell(sigma, size) / _bell(sigma, size).mean()",
        ),
        Mistake(
            "each row normalized",
            "Each row or column sums to 1, so the whole kernel does not: divide by the sum of all weights.",
            "_bell(sigma, size) / _bell(sigma, size).sum(dim=1, keepdim=True)",
            "_bell(sigma, size) / _bell(sigma, size).sum(dim=0, keepdim=True)",
            "_bell(sigma, size) / _bell(sigma, size).sum(dim=1)[0]",
        ),
        Mistake(
            "sigma not squared",
            "The exponent has σ², the variance, below; yours has σ.",
            "_normalized(torch.exp(-_squares(size) / (2 * sigma)))",
            "_normalized(torch.exp(-_squares(size) / sigma))",
        ),
        Mistake(
            "the 2 missing",
            "The exponent is -(x² + y²)/(2σ²): without the 2 the bell is that of σ/√2.",
            "_normalized(torch.exp(-_squares(size) / sigma**2))",
        ),
        Mistake(
            "brackets missing",
            "Python goes from left to right: `/ 2 * sigma**2` multiplies by σ². Write `/ (2 * sigma**2)`.",
            "_normalized(torch.exp(-_squares(size) / 2 * sigma**2))",
            "torch.exp(-_squares(size) / 2 * sigma**2)",
        ),
        Mistake(
            "the 2 squared, too",
            "(2σ)² is 4σ²: only σ is squared.",
            "_normalized(torch.exp(-_squares(size) / (2 * sigma) ** 2))",
        ),
        Mistake(
            "distance not squared",
            "The exponent holds the squared distance from the middle, x² + y²; yours holds another power of it.",
            "_normalized(torch.exp(-_squares(size).sqrt() / (2 * sigma**2)))",
            "_normalized(torch.exp(-(_squares(size) ** 2) / (2 * sigma**2)))",
        ),
        Mistake(
            "sign of the exponent",
            "The weights grow toward the corners: the exponent is negative.",
            "_normalized(torch.exp(_squares(size) / (2 * sigma**2)))",
        ),
        Mistake(
            "one row of the kernel",
            "This is a bell along one axis; the kernel has size × size weights, for all pairs of x and y.",
            "_normalized(_row(sigma, size))",
            "_row(sigma, size)",
            "_normalized(_row(sigma, size))[:, None]",
            "_normalized(_row(sigma, size))[None]",
        ),
        Mistake(
            "rows added instead of multiplied",
            "exp(-x²) and exp(-y²) are multiplied, as their exponents are added; yours are added.",
            "_normalized(_row(sigma, size)[:, None] + _row(sigma, size))",
            "_normalized(_row(sigma, size).expand(size, size))",
        ),
        Mistake(
            "middle in the wrong place",
            "The largest weight is not in the middle of the kernel: x and y count from -(size // 2) to size // 2.",
            "_normalized(torch.exp(-_squares(size, 0) / (2 * sigma**2)))",
            "_normalized(torch.exp(-_squares(size, size / 2) / (2 * sigma**2)))",
            "_normalized(torch.exp(-_squares(size, size // 2 + 1) / (2 * sigma**2)))",
            "_normalized(torch.exp(-_squares(size, size) / (2 * sigma**2)))",
        ),
        Mistake(
            "places that depend on sigma",
            "The places are pixels, one apart, whatever σ is; yours are stretched to some number of σ.",
            "_normalized(torch.exp(-_squares(size) * (6 * sigma / max(size - 1, 1)) ** 2 / (2 * sigma**2)))",
            "_normalized(torch.exp(-_squares(size) * (2 / max(size - 1, 1)) ** 2 / (2 * sigma**2)))",
        ),
    ],
    dtype=True,
)


# --- 4: pooling --------------------------------------------------------------------------------------------------


def max_pool(image, window, stride):
    return _windows(image, window, stride).amax(dim=(2, 3))


def _windows(image, window, stride):
    return image.unfold(0, window, stride).unfold(1, window, stride)


def _cut(result, image, window, stride):
    """As many rows and columns of something as there are windows."""
    rows, columns = ((side - window) // stride + 1 for side in image.shape)
    return result[:rows, :columns]


def _over_the_edge(image, window, stride):
    """H // stride times W // stride windows, the last ones cut off by the edge."""
    places = [range(0, side // stride * stride, stride) for side in image.shape]
    return torch.stack(
        [torch.stack([image[i : i + window, j : j + window].max() for j in places[1]]) for i in places[0]]
    )


def _square(image, window, stride):
    side = (image.shape[0] - window) // stride + 1
    result = torch.zeros(side, side)
    for i in range(side):
        for j in range(side):
            result[i, j] = image[i * stride : i * stride + window, j * stride : j * stride + window].max()
    return result


LECTURE = torch.tensor([[1.0, 1.0, 2.0, 4.0], [5.0, 6.0, 7.0, 8.0], [3.0, 2.0, 1.0, 0.0], [1.0, 2.0, 3.0, 4.0]])

pooling = Exercise(
    "max pooling",
    max_pool,
    [
        Case("the lecture's image", LECTURE, 2, 2),
        Case("windows that overlap", IMAGE - 1.1, 3, 1),
        Case("windows with gaps between them", IMAGE, 1, 3),
        Case("an edge that no window reaches", -IMAGE, 2, 2),
        Case("a tall image", TALL, 3, 2),
        Case("a wide image", TALL.T, 2, 3),
    ],
    [
        Mistake(
            "average",
            "This is the mean of each window; max pooling keeps the largest value.",
            "_windows(image, window, stride).mean(dim=(2, 3))",
        ),
        Mistake(
            "sum",
            "This is the sum of each window; max pooling keeps the largest value.",
            "_windows(image, window, stride).sum(dim=(2, 3))",
        ),
        Mistake(
            "smallest value",
            "This is the smallest value of each window; max pooling keeps the largest one.",
            "_windows(image, window, stride).amin(dim=(2, 3))",
        ),
        Mistake(
            "largest without its sign",
            "This is the largest absolute value: -3 counts as more than 2 here. The largest value is asked for.",
            "max_pool(image.abs(), window, stride)",
        ),
        Mistake(
            "stride left out",
            "The window moves by one pixel; it should move by `stride`.",
            "max_pool(image, window, 1)",
            "_cut(max_pool(image, window, 1), image, window, stride)",
        ),
        Mistake(
            "stride equal to the window",
            "The windows never overlap: you move by `window`; the text gives a `stride` of its own.",
            "max_pool(image, window, window)",
            "F.max_pool2d(image[None], window)[0]",
        ),
        Mistake(
            "window equal to the stride",
            "Each window is as large as the stride; it has `window` × `window` pixels.",
            "max_pool(image, stride, stride)",
            "_cut(F.max_pool2d(image[None], stride, stride, ceil_mode=True)[0], image, window, stride)",
        ),
        Mistake(
            "window and stride swapped",
            "The window has the size of the stride, and moves by the size of the window: the two are swapped.",
            "max_pool(image, stride, window)",
        ),
        Mistake(
            "starts from zero",
            "Negative windows become 0: start from the window's first value, or from -∞, and not from 0.",
            "max_pool(image, window, stride).clamp(min=0)",
        ),
        Mistake(
            "incomplete windows at the edge",
            "What is left over at the edge makes no window: only windows that lie wholly inside the image count.",
            "F.max_pool2d(image[None], window, stride, ceil_mode=True)[0]",
            _over_the_edge,
        ),
        Mistake(
            "padded",
            "The image was padded; only windows that lie wholly inside the image count.",
            "F.max_pool2d(image[None], window, stride, padding=window // 2)[0]",
        ),
        Mistake(
            "one window too few",
            "The last row and column of windows are missing: there are (H - window) // stride + 1 of them.",
            "max_pool(image, window, stride)[:-1, :-1]",
        ),
        Mistake(
            "one axis only",
            "The largest value is taken along one axis of the windows; a window has two.",
            "image.unfold(0, window, stride).amax(dim=-1)",
            "image.unfold(1, window, stride).amax(dim=-1)",
            "_windows(image, window, stride).amax(dim=-1)",
            "_windows(image, window, stride).amax(dim=-2)",
        ),
        Mistake(
            "one pixel of each window",
            "This takes a pixel at a fixed place of each window, whichever is the largest.",
            "_windows(image, window, stride)[:, :, 0, 0]",
            "image[::stride, ::stride]",
            "_windows(image, window, stride)[:, :, -1, -1]",
        ),
        Mistake(
            "where the largest value stands",
            "These are places (argmax, or return_indices); the values at these places are asked for.",
            "F.max_pool2d(image[None], window, stride, return_indices=True)[1][0]",
            "_windows(image, window, stride).flatten(2).argmax(dim=2)",
        ),
        Mistake(
            "the image taken as a square",
            "The number of columns is computed from the image's height: it is (W - window) // stride + 1.",
            _square,
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


def _strides_added(layers):
    size, step = 1, 1
    for kernel, stride in layers:
        size += (kernel - 1) * step
        step += stride
    return size


def _whole_kernel(layers, size=1):
    step = 1
    for kernel, stride in layers:
        size += kernel * step
        step *= stride
    return size


def _whole_kernel_from_above(layers):
    size = 1
    for kernel, stride in reversed(layers):
        size = size * stride + kernel
    return size


field = Exercise(
    "receptive field",
    receptive_field,
    [
        Case("no layer", []),
        Case("one 3×3 convolution", [(3, 1)]),
        Case("three 3×3 convolutions", [(3, 1), (3, 1), (3, 1)]),
        Case("LeNet: convolution, pooling, convolution, pooling", [(5, 1), (2, 2), (5, 1), (2, 2)]),
        Case("AlexNet's first three layers", [(11, 4), (3, 2), (5, 1)]),
        Case("three layers with stride", [(3, 2), (4, 3), (5, 2)]),
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
            "sum(kernel for kernel, _ in layers)",
            "1 + sum(kernel for kernel, _ in layers)",
        ),
        Mistake(
            "kernel instead of kernel - 1",
            "A kernel of 3 adds 2 pixels to the one that is seen already: kernel - 1, times the distance.",
            "_whole_kernel(layers)",
            "_whole_kernel(layers, size=0)",
            _whole_kernel_from_above,
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
            "strides added",
            "The strides are added up; they multiply: behind strides of 2 and 3, neighbors lie 6 pixels apart.",
            _strides_added,
        ),
        Mistake(
            "the pixel itself missing",
            "Without any layer a value sees one pixel: begin with 1.",
            "receptive_field(layers) - 1",
        ),
        Mistake(
            "layers in the wrong order",
            "You go from the last layer to the first; the rule that adds (kernel - 1) times the distance goes upward.",
            "receptive_field(layers[::-1])",
        ),
        Mistake(
            "how far apart the values lie",
            "This is the product of the strides, how far apart neighbors lie; asked for is how much one value sees.",
            "math.prod(stride for _, stride in layers)",
        ),
        Mistake(
            "all kernels multiplied",
            "Kernels do not multiply: the second one adds kernel - 1 values of the first layer's output.",
            "math.prod(kernel for kernel, _ in layers)",
            "math.prod(kernel * stride for kernel, stride in layers)",
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
        91: "Each filter reaches through all five channels, and has a bias of its own.",
        95: "Each filter reaches through all five channels; and there is one bias for each filter, ten.",
        500: "One bias for each filter, not one for each of its channels.",
        46: "That is one filter with its bias; there are ten.",
        45: "That is one filter; there are ten, each with a bias.",
        50: "Each filter reaches through all five channels, with 3·3 weights in each; and there are ten filters.",
        455: "One bias for each filter: ten, not one for each channel of the input.",
        451: "Every filter has a bias of its own.",
        **dict.fromkeys(
            (471040, 460800, 102400, 92160, 450 * 900, 460 * 900),
            "The weights are shared by all places: the size of the image does not count.",
        ),
        450 + 10 * 32 * 32: "A filter has one bias, the same at all places: the size of the image does not count.",
        450 + 10 * 30 * 30: "A filter has one bias, the same at all places: the size of the image does not count.",
    },
)
