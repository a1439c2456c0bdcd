"""The network of the full size for photographs, for a GPU.

It is SevenConvolutions with what "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (Jordan 2024) adds for 96 %: three
convolutions a stage, two of them bypassed (He et al. 2016), and more channels; further that paper's faster shifts after
normalization, and its mean over an image and its mirror image in what is measured.
"""

import torch
import torch.nn.functional as F
from torch import nn

from experiments.large import SevenConvolutions
from labkit.data import Images


class TenConvolutions(SevenConvolutions):
    """For color photographs of 32×32 or 64×64: a fixed 2×2 convolution, three stages of three, a linear layer.

    images: those to train on. dim: length of an embedding. widths: channels of the three stages. 7.5 million weights.
    In training an image has one embedding; in eval mode it is the mean over the image and its mirror image.
    """

    def __init__(self, images: Images, dim: int, widths: tuple[int, int, int] = (128, 384, 384)):
        super().__init__(images, dim, widths)
        inputs = (len(self.filters), *widths)
        self.stages = nn.Sequential(nn.GELU(), *(Stage(*pair) for pair in zip(inputs, widths, strict=False)))

    def forward(self, images):
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


def _convolution(inputs, outputs):
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[:inputs])
    return layer
