"""Batches: which images make up each batch of an epoch, and what comes out of them."""

import copy
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from labkit import checks
from labkit.data.augmentation import Augment
from labkit.data.images import Images


class Batches:
    """Draws the batches of an epoch: `for images, labels in batches`, float32 (B, C, H, W) normalized, int64 (B,).

    images: what is drawn from.
    batch_size: so many images at random, every image once an epoch; the last, incomplete batch is left out.
    classes_per_batch, samples_per_class: instead, P classes with K images each, class after class in the batch
        (Hermans et al. 2017). Classes come in rounds, each of which holds all of them in a new random order, and so do
        the images of a class: however unequal the classes, all occur equally often, and every image is used before
        one is used again. Only a class with fewer than K images repeats some within a batch.
    steps: batches per epoch; default N // (images per batch), at least 1.
    augment: an `Augment`; default no change. device: where the batches are made; default where the images are.
    seed: 0 or more; the same seed, epoch and step give the same batch, on the same device also augmented.
    rank, world_size: this process's number and how many there are. Each makes its slice of a batch of B, or P×K.
    `epoch` counts the full iterations; `iterate(epoch, start)` gives any position again. Raises ValueError for
    arguments that do not fit each other or the images.

    >>> from labkit import data
    >>> next(iter(Batches(data.load("digits"), classes_per_batch=3, samples_per_class=2)))[1]
    tensor([4, 4, 6, 6, 2, 2])
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
        counts = dict(batch_size=batch_size, classes_per_batch=classes_per_batch, samples_per_class=samples_per_class)
        given = [name for name, value in counts.items() if value is not None]
        if given not in (["batch_size"], ["classes_per_batch", "samples_per_class"]):
            got = " and ".join(given) or "none"
            raise ValueError(f"{', '.join(counts)}: got {got}, expected batch_size alone or the other two")
        for name in given:
            checks.whole(name, counts[name])
        labels = images.labels.cpu().numpy()
        self._members = [np.flatnonzero(labels == number) for number in np.unique(labels)]
        most, what = (len(images), "images") if batch_size else (len(self._members), "classes with images")
        if counts[given[0]] > most:
            raise ValueError(f"{given[0]}: got {counts[given[0]]}, expected at most the {most} {what}")
        self.images = images if device is None else images.to(device)
        self.batch_size, self.global_batch_size = batch_size, batch_size or classes_per_batch * samples_per_class
        self.classes_per_batch, self.samples_per_class = classes_per_batch, samples_per_class
        self.steps = checks.whole("steps", max(1, len(images) // self.global_batch_size) if steps is None else steps)
        self.augment, self.seed, self.epoch = augment, checks.whole("seed", seed, at_least=0), 0
        self.rank, self.world_size, self._slice = 0, 1, slice(None)
        if (rank, world_size) != (0, 1):
            self._set_share(rank, world_size)

    def __len__(self) -> int:
        return self.steps

    def __repr__(self) -> str:
        size = f"{self.classes_per_batch}×{self.samples_per_class}" if self.classes_per_batch else self.batch_size
        share = f", share {self.rank} of {self.world_size}" if self.world_size > 1 else ""
        return f"Batches({self.steps} of {size} from {self.images!r}{share})"

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of the epoch that is on; `epoch` goes up by one when the last has been taken."""
        yield from self.iterate(self.epoch)
        self.epoch += 1

    def iterate(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of `epoch` from position `start` on; `self.epoch` stays as it is."""
        order = self.indices(epoch)[:, self._slice].to(self.images.device)
        normalized, generator = self.images.normalizer(), torch.Generator(self.images.device)
        for step in range(start, self.steps):
            pixels = self.images.images.index_select(0, order[step])
            if self.augment is not None:
                seed = np.random.SeedSequence((self.seed, epoch, step))  # neighbors give seeds with nothing in common
                generator.manual_seed(int(seed.generate_state(1, np.uint64)[0]))
                drawn = self.augment.draw(self.global_batch_size, self.images.shape, generator)
                pixels = self.augment.apply(pixels, {name: values[self._slice] for name, values in drawn.items()})
            yield normalized(pixels), self.images.labels.index_select(0, order[step])

    def indices(self, epoch: int) -> Tensor:
        """int64 (steps, images in a batch), on the CPU: which images make up each batch of `epoch`."""
        random = np.random.default_rng((self.seed, epoch))
        if self.batch_size:
            return torch.from_numpy(_shuffled_blocks(len(self.images), self.steps, self.batch_size, random))
        return torch.from_numpy(self._balanced_order(random))

    def share(self, rank: int, world_size: int) -> "Batches":
        """The same batches, of each of which process `rank` of `world_size` makes its slice."""
        shared = copy.copy(self)
        shared._set_share(rank, world_size)
        return shared

    def to(self, device: torch.device | str) -> "Batches":
        """The same batches, held and made on another device."""
        moved = copy.copy(self)
        moved.images = self.images.to(device)
        return moved

    def describe(self) -> dict:
        """What the batches are drawn from and how, as plain values: equal descriptions mean equal batches."""
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
        count = self.global_batch_size
        if world_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"rank: got {rank} of world_size {world_size}, expected 0 <= rank < world_size")
        if count % world_size:
            raise ValueError(f"world_size: got {world_size}, expected a number that divides the {count} images")
        self.rank, self.world_size = rank, world_size
        self._slice = slice(rank * count // world_size, (rank + 1) * count // world_size)

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

    Where a block reaches over the end of a round, the next round is rearranged so that no number comes twice in the
    block. Here the second round was drawn as 1 2 3 4 0: since its first block held a 1 already, 2, the first number
    that it did not hold, went to the front. A block with more places than numbers holds each as often, or once more.

    >>> _shuffled_blocks(5, 4, 3, np.random.default_rng(10)).tolist()
    [[3, 2, 4], [1, 0, 2], [1, 3, 4], [0, 1, 4]]
    """
    if whole := block // size:  # every block holds whole rounds; only what is left of it runs on from block to block
        full = random.permuted(np.tile(np.arange(size), (blocks * whole, 1)), axis=1).reshape(blocks, whole * size)
        return np.concatenate([full, _shuffled_blocks(size, blocks, block % size, random)], axis=1)
    rounds = random.permuted(np.tile(np.arange(size), (-(-blocks * block // size), 1)), axis=1)
    for number in range(1, len(rounds)):
        begun = number * size % block  # so many numbers, the last of the round before, stand in the open block
        if begun:
            repeated = np.isin(rounds[number], rounds[number - 1, -begun:])
            first = np.flatnonzero(~repeated)[: block - begun]  # these complete it
            rounds[number] = np.concatenate([rounds[number, first], np.delete(rounds[number], first)])
    return rounds.reshape(-1)[: blocks * block].reshape(blocks, block)
