"""Images: a labeled set of pictures as one uint8 tensor, with the names of its classes and its normalization."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from labkit import checks

Indices = Tensor | np.ndarray | Sequence[int]


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """A set of labeled images. Raises ValueError for anything that does not fit together.

    images: uint8 tensor (N, C, H, W), C = 1 or 3. labels: int64 tensor (N,) on the same device, 0..K-1.
    classes: the K names, none twice. name: of the dataset, for figures and records.
    normalize: mean and standard deviation for each channel, or one for all, in units of the full range (1.0 is 255);
        the default takes 0..255 to -1..1. `floats` and `Batches` both use it, so that training and evaluation agree.
        Another one: `dataclasses.replace(images, normalize=((0.13,), (0.31,)))`.

    >>> pets = Images(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 1, 0]), ("cat", "dog"), "pets")
    >>> pets.take([0, 1, 2]).only(["dog"])
    Images(pets: 2 of 1×8×8, 1 classes, cpu)
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str = ""
    normalize: tuple[tuple[float, ...], tuple[float, ...]] = ((0.5,), (0.5,))

    def __post_init__(self):
        images, labels, classes = self.images, self.labels, self.classes
        for name, value in (("images", images), ("labels", labels)):
            if not isinstance(value, Tensor):
                raise ValueError(f"{name}: got {type(value).__name__}, expected a torch.Tensor (torch.as_tensor)")
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
            raise ValueError(f"images: got {checks.describe(images)}, expected uint8 (N, 1 or 3, H, W)")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(f"labels: got {checks.describe(labels)}, expected int64 ({len(images)},), one an image")
        if labels.device != images.device:
            raise ValueError(f"labels: got a tensor on {labels.device}, expected one on {images.device} as images")
        if isinstance(classes, str | bytes) or any(isinstance(name, bytes) for name in classes):
            raise ValueError(f"classes: got {classes!r}, expected a sequence of names")
        classes = tuple(map(str, classes))
        if len(set(classes)) < len(classes):
            raise ValueError(f"classes: got {max(classes, key=classes.count)!r} twice, expected every name once")
        if len(labels) and not 0 <= (found := labels.aminmax()).min <= found.max < len(classes):
            raise ValueError(f"labels: got {int(found.min)} to {int(found.max)}, expected 0 to {len(classes) - 1}")
        mean, std = self.normalize
        if {len(mean), len(std)} - {1, images.shape[1]} or min(std) <= 0:
            raise ValueError(f"normalize: got {self.normalize}, expected means and deviations > 0 for each channel")
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "normalize", (tuple(map(float, mean)), tuple(map(float, std))))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.shape))
        return f"Images({self.name or 'unnamed'}: {len(self)} of {shape}, {len(self.classes)} classes, {self.device})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return tuple(self.images.shape[1:])

    @property
    def device(self) -> torch.device:
        """Where images and labels lie."""
        return self.images.device

    def to(self, device: torch.device | str) -> "Images":
        """The same on another device (itself where it is there already)."""
        if torch.empty(0, device=device).device == self.device:
            return self
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, indices: Indices) -> "Images":
        """The images at these places, in this order; or those where a boolean mask of length N is True."""
        indices = self._indices(indices)
        return replace(self, images=self.images.index_select(0, indices), labels=self.labels.index_select(0, indices))

    def only(self, classes: Sequence[int | str]) -> "Images":
        """The images of these classes (numbers or names); they become classes 0, 1, ... in the order given."""
        numbers = []
        for wanted in classes:
            known = self.classes if isinstance(wanted, str) else range(len(self.classes))
            if wanted not in known:
                numbers_there = f"0 to {len(self.classes) - 1}"
                raise ValueError(f"classes: got {wanted!r}, expected {numbers_there} or names as in {self.classes[:3]}")
            numbers.append(known.index(wanted))
        if not numbers or len(set(numbers)) < len(numbers):
            raise ValueError(f"classes: got {list(classes)}, expected at least one class and none twice")
        new_number = torch.full((len(self.classes),), -1)
        new_number[numbers] = torch.arange(len(numbers))
        labels = new_number.to(self.device).index_select(0, self.labels)
        names, kept = tuple(self.classes[number] for number in numbers), labels >= 0
        return replace(self, images=self.images[kept], labels=labels[kept], classes=names)

    def floats(self, indices: Indices | None = None) -> Tensor:
        """float32 (n, C, H, W): the images at `indices`, or all, as (x/255 - mean) / std."""
        pixels = self.images if indices is None else self.images.index_select(0, self._indices(indices))
        return self.normalizer()(pixels)

    def normalizer(self) -> Callable[[Tensor], Tensor]:
        """A function from pixels (B, C, H, W) in 0..255 to (x/255 - mean) / std, float32 in memory of its own."""
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in self.normalize)
        pair = (1 / (255 * std)).expand(mean.shape if len(std) == 1 else std.shape), -mean / std
        scale, offset = (values.to(torch.float32).to(self.device).view(1, -1, 1, 1) for values in pair)
        return lambda pixels: torch.mul(pixels, scale).add_(offset)  # x·scale + offset

    def fingerprint(self) -> str:
        """SHA-256 of the pixels and labels, in hexadecimal: the same data has the same, on every device."""
        digest = hashlib.sha256(self.images.cpu().contiguous().numpy())
        digest.update(self.labels.cpu().contiguous().numpy())
        return digest.hexdigest()

    def _indices(self, indices: Indices) -> Tensor:
        """Places as int64 (n,) on the device of the images."""
        indices = torch.as_tensor(indices if isinstance(indices, Tensor | np.ndarray) else list(indices))
        if indices.dtype == torch.bool and indices.shape == self.labels.shape:
            indices = indices.nonzero().flatten()
        indices = indices if indices.numel() else torch.empty(0, dtype=torch.int64)
        if indices.ndim != 1 or indices.dtype.is_floating_point or indices.dtype == torch.bool:
            raise ValueError(f"indices: got {checks.describe(indices)}, expected int64 (n,) or a mask ({len(self)},)")
        if len(indices) and not indices.is_cuda and not 0 <= indices.min() <= indices.max() < len(self):
            raise ValueError(f"indices: got {indices.min()} to {indices.max()}, expected 0 to {len(self) - 1}")
        return indices.to(self.device, torch.int64)
