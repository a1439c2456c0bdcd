"""Random changes to a whole batch at once, drawn first: of several processes, each applies its own rows of them."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit import checks


@dataclass(frozen=True)
class Augment:
    """What may happen to an image, in this order; everything is off by default, and every image gets its own draw.

    shift: moved by whole pixels from -shift to shift in both directions; what moves in is 0.
    flip: mirrored left to right with probability 1/2. Not for digits or letters.
    crop: a part with sides of `crop` to 1 times the image's (1.0: off), anywhere in the image, scaled to full size.
    rotation: turned about the center by -rotation to rotation degrees; what turns in is 0.
    contrast: distances from the image's mean multiplied by 1 - contrast to 1 + contrast.
    color: each channel moved by -color to color of the full range 0..255; with one channel this is the brightness.
    noise: Gaussian noise on every value, its standard deviation `noise` times the full range.
    erase: one rectangle set to 0, its sides up to `erase` times the image's (random erasing, Zhong et al. 2020).
    Called with pixels (B, C, H, W) and a generator: `draw`, then `apply`. Raises ValueError for a setting out of range.

    >>> Augment(flip=True)(torch.tensor([[[[7, 8, 9]]]]), torch.Generator().manual_seed(0))
    tensor([[[[9, 8, 7]]]])
    """

    shift: int = 0
    flip: bool = False
    crop: float = 1.0
    rotation: float = 0.0
    color: float = 0.0
    noise: float = 0.0
    erase: float = 0.0
    contrast: float = 0.0

    def __post_init__(self):
        checks.whole("shift", self.shift, at_least=0)
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop: got {self.crop!r}, expected a share of the image's side in (0, 1]")
        for name, most in {"rotation": 180, "color": 1, "noise": 1, "erase": 1, "contrast": 1}.items():
            checks.non_negative(name, getattr(self, name), at_most=most)

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """`pixels` (B, C, H, W) changed at random."""
        return self.apply(pixels, self.draw(len(pixels), tuple(pixels.shape[1:]), generator))

    def draw(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> dict[str, Tensor]:
        """The random numbers for what is switched on: one row for each of `count` images of `shape` (C, H, W)."""
        channels, height, width = shape

        def uniform(*size: int, within: float = 1.0) -> Tensor:  # in [-within, within]
            values = torch.rand(count, *size, generator=generator, device=generator.device)
            return values.mul_(2 * within).sub_(within)

        drawn = {}
        if self.shift:  # counted from the corner of the padded image: `shift` leaves an image where it is
            size = (count, 2)
            drawn["shift"] = torch.randint(2 * self.shift + 1, size, generator=generator, device=generator.device)
        if self.flip:
            drawn["flip"] = uniform() < 0
        if self.crop < 1:
            scale = (1 + self.crop) / 2 + uniform(1, within=(1 - self.crop) / 2)
            drawn["crop"] = torch.cat([scale, uniform(2) * (1 - scale)], dim=1)  # side, then center x and y in [-1, 1]
        if self.rotation:
            drawn["rotation"] = uniform(within=math.radians(self.rotation))
        if self.contrast:
            drawn["contrast"] = 1 + uniform(1, 1, 1, within=self.contrast)
        if self.color:
            drawn["color"] = uniform(channels, 1, 1, within=255 * self.color)
        if self.noise:
            drawn["noise"] = torch.randn(count, *shape, generator=generator, device=generator.device)
        if self.erase:
            share = torch.rand(count, 4, generator=generator, device=generator.device)
            tall = (share[:, 0] * (round(self.erase * height) + 1)).floor()
            wide = (share[:, 1] * (round(self.erase * width) + 1)).floor()
            top = (share[:, 2] * (height - tall + 1)).floor()
            left = (share[:, 3] * (width - wide + 1)).floor()
            drawn["erase"] = torch.stack([top, top + tall, left, left + wide], dim=1)
        return drawn

    def apply(self, pixels: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """A changed copy of `pixels` (B, C, H, W): uint8 after shift, flip and erase alone, else float32 in 0..255."""
        if self.shift:
            pixels = _shift(pixels, self.shift, drawn["shift"])
        if self.flip:
            pixels = torch.where(drawn["flip"][:, None, None, None], pixels.flip(3), pixels)
        if self.crop < 1 or self.rotation:
            pixels = _crop_and_rotate(pixels.to(torch.float32), drawn.get("crop"), drawn.get("rotation"))
        if self.contrast or self.color or self.noise:
            pixels = pixels.to(torch.float32, copy=True)
            if self.contrast:
                pixels = torch.lerp(pixels.mean(dim=(1, 2, 3), keepdim=True), pixels, drawn["contrast"])
            if self.color:
                pixels += drawn["color"]
            if self.noise:
                pixels.add_(drawn["noise"], alpha=255 * self.noise)
            pixels.clamp_(0, 255)
        if self.erase:
            pixels = pixels.masked_fill(_rectangles(drawn["erase"], *pixels.shape[2:]), 0)
        return pixels


def _shift(pixels: Tensor, shift: int, corner: Tensor) -> Tensor:
    """Every row of the result is `width` neighboring values of the padded batch: rows are copied whole, for speed."""
    count, channels, height, width = pixels.shape
    padded = F.pad(pixels, (shift,) * 4)
    plane = torch.arange(count * channels, device=pixels.device).view(count, channels, 1)
    row = plane * padded.shape[2] + corner[:, :1, None] + torch.arange(height, device=pixels.device)
    start = row * padded.shape[3] + corner[:, 1:, None]
    runs = padded.flatten().unfold(0, width, 1)  # a view: every run of `width` neighbors
    return runs.index_select(0, start.flatten()).view(count, channels, height, width)


def _crop_and_rotate(pixels: Tensor, crop: Tensor | None, rotation: Tensor | None) -> Tensor:
    """Both in one bilinear sampling: where each pixel of the result is read from is an affine map of its place."""
    count, _, height, width = pixels.shape
    scale = pixels.new_ones(count) if crop is None else crop[:, 0]
    center = pixels.new_zeros(count, 2) if crop is None else crop[:, 1:]
    angle = pixels.new_zeros(count) if rotation is None else rotation
    cos, sin = scale * angle.cos(), scale * angle.sin()
    # Places run from -1 to 1 along both sides, so that a turn in an oblong image mixes them with its proportions.
    across = torch.stack([cos, -sin * (height / width), center[:, 0]], dim=1)
    down = torch.stack([sin * (width / height), cos, center[:, 1]], dim=1)
    grid = F.affine_grid(torch.stack([across, down], dim=1), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _rectangles(edges: Tensor, height: int, width: int) -> Tensor:
    """bool (B, 1, H, W): True inside the rectangle of top, bottom, left and right edges (B, 4)."""
    top, bottom, left, right = edges[:, :, None].unbind(dim=1)
    rows, columns = (torch.arange(size, device=edges.device) for size in (height, width))
    inside_rows, inside_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]
