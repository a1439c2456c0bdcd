"""The networks of the recipes: ten and seven convolutions for a GPU, three for two cores, labkit's LeNet for trials.

The first layer of the large ones, their widths and the order of their layers are those of the networks in "94% on
CIFAR-10 in 3.29 Seconds on a Single GPU" (Jordan 2024): seven convolutions reach 94 % there, ten reach 96 %. Of that
paper's means they have those that lie in a network: first filters that make the images' values uncorrelated,
convolutions that begin as the identity, and in the larger one bypassed convolutions (He et al. 2016), faster shifts
after normalization, and the mean over an image and its mirror image in what is measured. The paper's optimizer and its
label smoothing are left out: the tables compare losses, with an optimizer that everybody knows.
"""

import torch
import torch.nn.functional as F
from torch import nn

from labkit.data import Images
from labkit.networks import LeNet

SIDE = 32  # larger images are halved first


def network(name: str, images: Images, dim: int) -> nn.Module:
    """The network `name` to be trained on `images`; embeddings (B, dim). Raises ValueError for an unknown name."""
    channels, side, _ = images.shape
    made = {
        "ten convolutions": lambda: TenConvolutions(images, dim),
        "seven convolutions": lambda: SevenConvolutions(images, dim),
        "three convolutions": lambda: ThreeConvolutions(dim, channels, side),
        "lenet": lambda: LeNet(dim, channels, side),
    }
    if name not in made:
        raise ValueError(f"network: got {name!r}, expected one of {', '.join(made)}")
    return made[name]()


class ThreeConvolutions(nn.Sequential):
    """For two cores: 16, 32 and 64 channels, strides 2, 2 and 1, then a linear layer. 0.3 million parameters at 28×28.

    Images larger than 32 pixels are halved first.
    """

    def __init__(self, dim: int, in_channels: int, side: int, channels: tuple[int, int, int] = (16, 32, 64)):
        shrink = 2 if side > SIDE else 1
        layers = [nn.AvgPool2d(shrink) if shrink > 1 else nn.Identity()]
        sizes = zip((in_channels, *channels), channels, (5, 3, 3), (2, 2, 1), strict=False)
        for inputs, outputs, size, stride in sizes:
            layers += [
                nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        last = -(-side // shrink // 4)
        super().__init__(*layers, nn.Flatten(), nn.Linear(channels[-1] * last**2, dim))


class SevenConvolutions(nn.Module):
    """For images of 32×32 or 28×28: a fixed 2×2 convolution, three stages of two 3×3 convolutions, a linear layer.

    images: those to train on; the filters of the first layer come from 500 of them (`whitening_filters`).
    dim: length of an embedding. widths: channels of the three stages; each stage halves the images by a maximum after
    its first convolution. 2.0 million weights. Takes images from 9×9 on.
    """

    def __init__(self, images: Images, dim: int, widths: tuple[int, int, int] = (64, 256, 256)):
        super().__init__()
        few = images.floats(torch.linspace(0, len(images) - 1, min(len(images), 500)).long())
        self.register_buffer("filters", whitening_filters(_halved(few)))
        channels = len(self.filters)
        self.bias = nn.Parameter(torch.zeros(channels))
        layers = [nn.GELU()]
        for inputs, outputs in zip((channels, *widths), widths, strict=False):
            layers += [_convolution(inputs, outputs), nn.MaxPool2d(2), nn.BatchNorm2d(outputs), nn.GELU()]
            layers += [_convolution(outputs, outputs), nn.BatchNorm2d(outputs), nn.GELU()]
        self.stages = nn.Sequential(*layers)
        self.embedding = nn.Linear(widths[-1], dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) -> embeddings (B, dim)."""
        whitened = F.conv2d(_halved(images), self.filters, self.bias)
        # Maxima of normalized values are large: 2 at the start, up to 9. Scaled down, so are the class scores; without
        # this, cross-entropy ends in NaN at the recipe's learning rate.
        return self.embedding(0.125 * self.stages(whitened).amax(dim=(2, 3)))


class TenConvolutions(SevenConvolutions):
    """For color photographs of 32×32 or 64×64: a fixed 2×2 convolution, three stages of three, a linear layer.

    images: those to train on. dim: length of an embedding. widths: channels of the three stages. 7.5 million weights.
    In training an image has one embedding; in eval mode it is the mean over the image and its mirror image.
    """

    def __init__(self, images: Images, dim: int, widths: tuple[int, int, int] = (128, 384, 384)):
        super().__init__(images, dim, widths)
        inputs = (len(self.filters), *widths)
        self.stages = nn.Sequential(nn.GELU(), *(Stage(*pair) for pair in zip(inputs, widths, strict=False)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) -> embeddings (B, dim)."""
        if self.training:
            return super().forward(images)
        return (super().forward(images) + super().forward(images.flip(3))) / 2


class Stage(nn.Module):
    """Halves the images after a first convolution; adds what two more make of them."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = nn.Sequential(_convolution(inputs, outputs), nn.MaxPool2d(2), *_normalized(outputs), nn.GELU())
        self.bypassed = nn.Sequential(
            _convolution(outputs, outputs),
            *_normalized(outputs),
            nn.GELU(),
            _convolution(outputs, outputs),
            *_normalized(outputs),
        )

    def forward(self, images):
        images = self.first(images)
        return F.gelu(images + self.bypassed(images))


class Shift(nn.Module):
    """Adds a number to each channel of (B, C, H, W), learned 64 times as fast by SGD as an ordinary bias.

    The parameter is an eighth of that number: its gradient is 8 times as large, and so is what a step of it adds to the
    number. Weight decay shortens both by the same share.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.eighth = nn.Parameter(torch.zeros(channels))

    def forward(self, images):
        return images + (8 * self.eighth).to(images.dtype).view(-1, 1, 1)


def _normalized(channels):
    return [nn.BatchNorm2d(channels, affine=False), Shift(channels)]


def whitening_filters(images: torch.Tensor, size: int = 2, floor: float = 5e-4) -> torch.Tensor:
    """Filters whose answers to the patches of these images (N, C, H, W) are uncorrelated and of variance 1.

    Returns (2·C·size², C, size, size): the principal directions of the patches, each divided by its standard deviation,
    and then the same with the opposite sign. `floor` is added to the variances, for patches that never vary.
    """
    patches = F.unfold(images, size).transpose(1, 2).flatten(0, 1)
    variances, directions = torch.linalg.eigh(torch.cov(patches.T.double()))
    filters = (directions / (variances + floor).sqrt()).T.to(images.dtype)
    return torch.cat([filters, -filters]).view(-1, images.shape[1], size, size)


def _halved(images):
    return F.avg_pool2d(images, 2) if max(images.shape[2:]) > SIDE else images


def _convolution(inputs, outputs):
    """3×3, beginning as the identity of its first channels."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[:inputs])
    return layer
