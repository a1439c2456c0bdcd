"""Images as uint8 tensors, and the batches that are drawn from them.

`load` finds or fetches a dataset (labkit.data.sources.catalog knows where from), `Images` holds it, `Batches` draws from it:
shuffled, or P classes with K images each, normalized and changed at random (labkit.data.augmentation) a whole batch at a
time on the device that holds the images. Nothing here uses worker processes, and nothing needs them.
"""

import copy
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labkit.data.augmentation import Augment
from labkit.data.sources import catalog as sources

__all__ = ["Augment", "Batches", "Images", "available", "data_folder", "load", "names"]

# ------------------------------------------------------------------------------------------------------------ images


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """A set of labeled images.

    images: uint8 (N, C, H, W), C = 1 or 3; labels: int64 (N,), 0..K-1, on the same device; classes: the K names;
    normalize: mean and standard deviation for each channel, or one for all, in units of the full range (1.0 is 255).
    It belongs to the images so that training and evaluation cannot differ: `floats` and `Batches` both use it; the
    default takes 0..255 to -1..1. Another one: `dataclasses.replace(images, normalize=((0.13,), (0.31,)))`.
    Raises ValueError for anything that does not fit together.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str = ""
    normalize: tuple[tuple[float, ...], tuple[float, ...]] = ((0.5,), (0.5,))

    def __post_init__(self):
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"images: got {images.dtype} {tuple(images.shape)}, expected uint8 (N, 1 or 3, H, W)")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels: got {labels.dtype} {tuple(labels.shape)}, expected int64 ({len(images)},), one for each image"
            )
        if labels.device != images.device:
            raise ValueError(f"labels: got device {labels.device}, expected that of the images, {images.device}")
        if len(labels) and not 0 <= (found := labels.aminmax()).min <= found.max < len(self.classes):
            raise ValueError(
                f"labels: got {int(found.min)} to {int(found.max)}, expected 0 to {len(self.classes) - 1} "
                f"for {len(self.classes)} classes"
            )
        mean, std = self.normalize
        if {len(mean), len(std)} - {1, images.shape[1]} or min(std) <= 0:
            raise ValueError(
                f"normalize: got {self.normalize}, expected (means, standard deviations > 0), each one value or "
                f"{images.shape[1]}, one for each channel"
            )
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))
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
        return self.images.device

    def to(self, device: torch.device | str) -> "Images":
        """The same on another device (itself where it is there already)."""
        if torch.empty(0, device=device).device == self.device:
            return self
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, indices: Tensor | np.ndarray | Sequence[int]) -> "Images":
        """The images at these places, in this order; or those where a boolean mask of length N is True."""
        indices = self._indices(indices)
        return replace(self, images=self.images.index_select(0, indices), labels=self.labels.index_select(0, indices))

    def only(self, classes: Sequence[int | str]) -> "Images":
        """The images of these classes (numbers or names); they become classes 0, 1, ... in the order given."""
        numbers = []
        for wanted in classes:
            known = self.classes if isinstance(wanted, str) else range(len(self.classes))
            if wanted not in known:
                raise ValueError(f"classes: got {wanted!r}, expected numbers or names of {self._class_list()}")
            numbers.append(known.index(wanted))
        if not numbers or len(set(numbers)) < len(numbers):
            raise ValueError(f"classes: got {list(classes)}, expected at least one class and none twice")
        new_number = torch.full((len(self.classes),), -1, device=self.device)
        new_number[torch.tensor(numbers, device=self.device)] = torch.arange(len(numbers), device=self.device)
        labels = new_number.index_select(0, self.labels)
        kept = labels >= 0
        names = tuple(self.classes[number] for number in numbers)
        return replace(self, images=self.images[kept], labels=labels[kept], classes=names)

    def floats(self, indices: Tensor | np.ndarray | Sequence[int] | None = None) -> Tensor:
        """float32 (n, C, H, W): the images at `indices`, or all, as (x/255 - mean) / std."""
        pixels = self.images if indices is None else self.images.index_select(0, self._indices(indices))
        return _normalized(pixels, *self._scale_and_offset())

    def fingerprint(self) -> str:
        """SHA-256 of the pixels and labels, in hexadecimal: the same data has the same, on every device."""
        digest = hashlib.sha256(self.images.cpu().contiguous().numpy())
        digest.update(self.labels.cpu().contiguous().numpy())
        return digest.hexdigest()

    def _indices(self, indices: Tensor | np.ndarray | Sequence[int]) -> Tensor:
        indices = torch.as_tensor(indices if isinstance(indices, Tensor | np.ndarray) else list(indices))
        if indices.dtype == torch.bool and indices.shape == self.labels.shape:
            indices = indices.nonzero().flatten()
        if indices.numel() == 0:
            indices = indices.to(torch.int64).flatten()
        if indices.ndim != 1 or indices.dtype.is_floating_point or indices.dtype == torch.bool:
            raise ValueError(
                f"indices: got {indices.dtype} {tuple(indices.shape)}, expected integers (n,) or a mask ({len(self)},)"
            )
        if len(indices) and not indices.is_cuda and not 0 <= indices.min() <= indices.max() < len(self):
            raise ValueError(f"indices: got {indices.min()} to {indices.max()}, expected 0 to {len(self) - 1}")
        return indices.to(self.device, torch.int64)

    def _class_list(self) -> str:
        shown = ", ".join(f"{number} {name!r}" for number, name in enumerate(self.classes[:20]))
        return shown + (f", ... {len(self.classes)} in all" if len(self.classes) > 20 else "")

    def _scale_and_offset(self) -> tuple[Tensor, Tensor]:
        """(x/255 - mean) / std is x·scale + offset; both (1, 1 or C, 1, 1)."""
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in self.normalize)
        pair = (1 / (255 * std)).expand(mean.shape if len(std) == 1 else std.shape), -mean / std
        return tuple(values.to(torch.float32).to(self.device).view(1, -1, 1, 1) for values in pair)


def _normalized(pixels: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """x·scale + offset as float32; the result never shares memory with `pixels`."""
    return torch.mul(pixels, scale).add_(offset)


# -------------------------------------------------------------------------------------------------------------- load


def names() -> tuple[str, ...]:
    """The datasets that `load` knows by name; a dataset of your own may have any other."""
    return tuple(sources.SOURCES)


def data_folder(root: str | Path | None = None) -> Path:
    """The folder that holds the datasets: `root`, else the environment variable LABKIT_DATA, else data/cache here."""
    chosen = root or os.environ.get("LABKIT_DATA") or Path(__file__).parents[2] / "data" / "cache"
    return Path(chosen).expanduser().absolute()


def available(name: str, split: str = "train", root: str | Path | None = None) -> bool:
    """Whether `load` finds the dataset without a download."""
    return sources.find(name, _checked_split(split), data_folder(root)) is not None


def load(name: str, split: str = "train", root: str | Path | None = None) -> Images:
    """A dataset by name: `names()`, or one of your own.

    split: "train" or "test". For omniglot, olivetti and lfw the test classes do not occur in training.
    root: the folder that holds the datasets, see `data_folder`. What is there is taken, official files first, then
        `<root>/<name>/<split>.npz`, then a folder of pictures for each class in `<root>/<name>/<split>/`; otherwise the
        official files are fetched, which needs a network once. digits need no files. data/README.md says more.
    Raises ValueError for an unknown name or split and for damaged files, FileNotFoundError, with what to put where,
    when the data is neither there nor to be had.
    """
    folder = data_folder(root)
    read = sources.find(name, _checked_split(split), folder) or sources.download(name, split, folder)
    images, labels, classes = read()
    try:
        return Images(torch.from_numpy(images), torch.from_numpy(labels), classes, name)
    except ValueError as error:
        raise ValueError(f"dataset {name!r} ({split}) in {folder}: {error}") from error


def _checked_split(split: str) -> str:
    if split not in ("train", "test"):
        raise ValueError(f'split: got {split!r}, expected "train" or "test"')
    return split


# ----------------------------------------------------------------------------------------------------------- batches


class Batches:
    """Draws the batches of an epoch: `for images, labels in batches`, float32 (B, C, H, W) normalized, int64 (B,).

    Either `batch_size` images at random, every image once an epoch (the last, incomplete batch is left out); or
    `classes_per_batch` classes (P) with `samples_per_class` images each (K), class after class in the batch (the
    sampler of FaceNet and of "In Defense of the Triplet Loss", Hermans et al. 2017). There, every class occurs equally
    often however unequal their sizes: classes come in rounds, each of which holds all of them in a new random order,
    and so do the images of a class, so that each is used before any is used again. Only a class with fewer than K
    images repeats some within a batch, each of them about as often.

    steps: batches an epoch; default N // (images a batch), at least 1. augment: an `Augment`, None for none.
    device: where the images are held and the batches made; default where they are. seed: 0 or more.
    rank, world_size: this process's number and how many there are; each makes its slice of the same global batch, and
        B, P and K count the global one.

    Everything is drawn from (seed, epoch, step) alone: the same numbers, the same batches, on the same device also the
    same augmentation. `epoch` counts the full iterations; `iterate(epoch, start)` gives any position again.
    Raises ValueError for arguments that do not fit each other or the images.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int | None = None,
        classes_per_batch: int | None = None,
        samples_per_class: int | None = None,
        steps: int | None = None,
        augment: Augment | None = None,
        device: torch.device | str | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        if (batch_size is None) == (classes_per_batch is None) or (classes_per_batch is None) != (
            samples_per_class is None
        ):
            raise ValueError(
                f"batch_size, classes_per_batch, samples_per_class: got {batch_size}, {classes_per_batch}, "
                f"{samples_per_class}; expected either batch_size alone or the other two"
            )
        counts = dict(batch_size=batch_size, classes_per_batch=classes_per_batch, samples_per_class=samples_per_class)
        for name, value in {**counts, "steps": steps}.items():
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name}: got {value!r}, expected a whole number from 1 on")
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed: got {seed!r}, expected a whole number from 0 on")

        labels = images.labels.cpu().numpy()
        members = [np.flatnonzero(labels == number) for number in np.unique(labels)]
        self.global_batch_size = batch_size or classes_per_batch * samples_per_class
        if batch_size and batch_size > len(images):
            raise ValueError(f"batch_size: got {batch_size}, expected at most the {len(images)} images that there are")
        if classes_per_batch and classes_per_batch > len(members):
            raise ValueError(
                f"classes_per_batch: got {classes_per_batch}, expected at most the {len(members)} classes with images"
            )
        self.images = images if device is None else images.to(device)
        self.batch_size, self.classes_per_batch, self.samples_per_class = counts.values()
        self.steps = steps or max(1, len(images) // self.global_batch_size)
        self.augment = augment
        self.seed = seed
        self.epoch = 0
        self._members = members
        self._set_share(rank, world_size)

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.steps

    def __repr__(self) -> str:
        size = f"{self.classes_per_batch}×{self.samples_per_class}" if self.classes_per_batch else self.batch_size
        share = f", share {self.rank} of {self.world_size}" if self.world_size > 1 else ""
        return f"Batches({self.steps} of {size} from {self.images!r}{share})"

    @property
    def device(self) -> torch.device:
        return self.images.device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of the epoch that is on; `epoch` goes up by one when the last has been taken."""
        yield from self.iterate(self.epoch)
        self.epoch += 1

    def iterate(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of `epoch` from position `start` on; `self.epoch` stays as it is."""
        order = self.indices(epoch)[:, self._slice].to(self.device)
        scale, offset = self.images._scale_and_offset()
        generator = torch.Generator(self.device)
        for step in range(start, self.steps):
            pixels = self.images.images.index_select(0, order[step])
            if self.augment is not None:
                generator.manual_seed(_seed_from(self.seed, epoch, step))
                drawn = self.augment.draw(self.global_batch_size, self.images.shape, generator)
                pixels = self.augment.apply(pixels, {name: values[self._slice] for name, values in drawn.items()})
            yield _normalized(pixels, scale, offset), self.images.labels.index_select(0, order[step])

    def indices(self, epoch: int) -> Tensor:
        """int64 (steps, images in a global batch), on the CPU: which images make up each batch of `epoch`."""
        random = np.random.default_rng((self.seed, epoch))
        if self.batch_size:
            order = _shuffled_blocks(len(self.images), self.steps, self.batch_size, random)
        else:
            order = self._balanced_order(random)
        return torch.from_numpy(order)

    def share(self, rank: int, world_size: int) -> "Batches":
        """The same global batches, of which process `rank` of `world_size` makes its slice."""
        shared = copy.copy(self)
        shared._set_share(rank, world_size)
        return shared

    def to(self, device: torch.device | str) -> "Batches":
        """The same batches, held and made on another device."""
        moved = copy.copy(self)
        moved.images = self.images.to(device)
        return moved

    def describe(self) -> dict:
        """What the batches are drawn from and how, as plain values: equal descriptions mean equal global batches."""
        settings = ("batch_size", "classes_per_batch", "samples_per_class", "steps", "seed")
        return {
            "dataset": self.images.name,
            "images": len(self.images),
            "shape": list(self.images.shape),
            "content": self.images.fingerprint(),
            "normalize": [list(values) for values in self.images.normalize],
            **{name: getattr(self, name) for name in settings},
            "augment": None if self.augment is None else asdict(self.augment),
        }

    def _set_share(self, rank: int, world_size: int) -> None:
        if world_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"rank: got {rank} of world_size {world_size}, expected 0 <= rank < world_size")
        size, rest = divmod(self.global_batch_size, world_size)
        if rest:
            raise ValueError(
                f"world_size: got {world_size}, expected a number that divides the {self.global_batch_size} images of "
                "the global batch"
            )
        self.rank, self.world_size = rank, world_size
        self._slice = slice(rank * size, (rank + 1) * size)

    def _balanced_order(self, random: np.random.Generator) -> np.ndarray:
        """The images of an epoch of P×K batches, (steps, P·K)."""
        classes = _shuffled_blocks(len(self._members), self.steps, self.classes_per_batch, random).reshape(-1)
        times = np.bincount(classes, minlength=len(self._members))
        places = np.split(np.argsort(classes, kind="stable"), times.cumsum()[:-1])
        order = np.empty((len(classes), self.samples_per_class), np.int64)
        for members, where in zip(self._members, places, strict=True):
            order[where] = members[_shuffled_blocks(len(members), len(where), self.samples_per_class, random)]
        return order.reshape(self.steps, -1)


def _shuffled_blocks(size: int, blocks: int, block: int, random: np.random.Generator) -> np.ndarray:
    """(blocks, block) of the numbers 0..size-1, in rounds: each round holds all of them once, in a new random order.

    Where a block reaches over the end of a round, the next round is arranged so that no number comes twice in the
    block. A block with more places than there are numbers holds each of them as often, or once more.
    """
    if whole := block // size:  # every block holds whole rounds; only what is left of it runs on from block to block
        full = random.permuted(np.tile(np.arange(size), (blocks * whole, 1)), axis=1).reshape(blocks, whole * size)
        return np.concatenate([full, _shuffled_blocks(size, blocks, block % size, random)], axis=1)
    rounds = random.permuted(np.tile(np.arange(size), (-(-blocks * block // size), 1)), axis=1)
    for number in range(1, len(rounds)):
        if begun := number * size % block:
            repeated = np.isin(rounds[number], rounds[number - 1, -begun:])
            first = np.flatnonzero(~repeated)[: block - begun]
            rounds[number] = np.concatenate([rounds[number, first], np.delete(rounds[number], first)])
    return rounds.reshape(-1)[: blocks * block].reshape(blocks, block)


def _seed_from(*numbers: int) -> int:
    """One seed from several numbers: neighbors among them give seeds that have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
