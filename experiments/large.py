"""The network of the full size, for a GPU; photographs have a larger one made from it (photographs.py).

Its first layer, its widths and the order of its layers are those of the network in "94% on CIFAR-10 in 3.29 Seconds on
a Single GPU" (Jordan 2024). Of that paper's means it has the two that lie in the network: first filters that make the
images' values uncorrelated, and convolutions that begin as the identity. Its optimizer, its label smoothing and its
mirrored test images are left out: the tables compare losses, with an optimizer that everybody knows.
"""

import torch
import torch.nn.functional as F
from torch import nn

from labkit.data import Images

SIDE = 32  # larger images are halved first


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

    def forward(self, images):
        """Images (B, C, H, W) -> embeddings (B, dim)."""
        whitened = F.conv2d(_halved(images), self.filters, self.bias)
        # Maxima of normalized values are large: 2 at the start, up to 9. Scaled down, so are the class scores; without
        # this, cross-entropy ends in NaN at the recipe's learning rate.
        return self.embedding(0.125 * self.stages(whitened).amax(dim=(2, 3)))


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
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[:inputs])
    return layer
