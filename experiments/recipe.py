"""How a run of the paper tables is trained: one recipe for a size and a dataset, the same for every loss.

Sizes: "full" for a GPU; "reduced" for two cores without one, with a smaller network and fewer steps; "tiny" tries the
machinery in seconds and says nothing about a loss. The size stands in every record.
"""

import math
from dataclasses import asdict, dataclass, fields

from labkit.data.augmentation import Augment

SIZES = ("full", "reduced", "tiny")


@dataclass(frozen=True)
class Recipe:
    """What all losses share on one dataset.

    network       "ten", "seven" or "three convolutions", or "lenet" (experiments.networks)
    dim           length of an embedding
    steps         steps of a run; a tuning run makes half as many
    batches       what `labkit.data.Batches` draws: {"batch_size": B}, or classes_per_batch and samples_per_class
    rate          the highest learning rate; a row of a table multiplies it by its own (`rate` in its settings)
    augment       random changes to the images, the same for all losses
    points        at how many moments, evenly spaced, the curve over the run is measured
    momentum, weight_decay, warm_up: of SGD with Nesterov's momentum; the rate rises linearly over the first `warm_up`
        of the steps, then falls linearly to 0
    """

    network: str
    dim: int
    steps: int
    batches: dict
    rate: float
    augment: Augment | None
    points: int = 20
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warm_up: float = 0.2

    def describe(self) -> dict:
        """As plain values, for a record. Of the augmentation only what is on, so that it may learn another change."""
        return {**asdict(self), "augment": self.augment and changes(self.augment)}


def changes(augment: Augment) -> dict:
    """What an augmentation does to an image: its settings that are not off."""
    return {f.name: getattr(augment, f.name) for f in fields(augment) if getattr(augment, f.name) != f.default}


DIGITS = Augment(shift=2)
CLOTHES = Augment(shift=2, flip=True)
PHOTOGRAPHS = dict(
    network="ten convolutions",
    rate=0.2,
    weight_decay=1.5e-3,
    batches={"batch_size": 512},
    augment=Augment(shift=4, flip=True, erase=0.75),
)

# What is drawn a step: images at random where a batch then holds at least two images of every class or so; else P
# classes with K images each. Pair losses need positives, and every loss gets the same batches.
FEW = {"batch_size": 128}
MANY = {"classes_per_batch": 32, "samples_per_class": 4}
PEOPLE = {"classes_per_batch": 24, "samples_per_class": 5}

_REDUCED = {
    "mnist": dict(steps=1200, batches=FEW, augment=Augment(shift=1)),
    "fashion_mnist": dict(steps=1200, batches=FEW, augment=Augment(flip=True)),
    "kmnist": dict(steps=1200, batches=FEW, augment=Augment(shift=1)),
    "emnist": dict(steps=1200, batches=FEW, augment=Augment(shift=1)),
    "omniglot28": dict(steps=1200, batches=MANY, augment=DIGITS),
    "orl-faces": dict(steps=300, batches=PEOPLE, augment=Augment(shift=3, flip=True, contrast=0.2)),
    "olivetti": dict(steps=300, batches=PEOPLE, augment=Augment(shift=3, flip=True, contrast=0.2)),
}
_FULL = {  # steps: about 9 rounds of MNIST, 21 of Fashion-MNIST, 36 of CIFAR-10
    "mnist": dict(steps=1100, batches={"batch_size": 512}, augment=Augment(shift=2, rotation=10, crop=0.9)),
    "fashion_mnist": dict(steps=2500, batches={"batch_size": 512}, augment=Augment(shift=2, flip=True, erase=0.3)),
    "kmnist": dict(steps=3600, batches={"batch_size": 512}, augment=Augment(shift=2, rotation=5)),
    "emnist": dict(steps=4800, batches={"batch_size": 512}, augment=Augment(shift=2, rotation=10, crop=0.9)),
    "cifar10": dict(steps=3500, **PHOTOGRAPHS),
    "cifar10-jpeg75": dict(steps=3500, **PHOTOGRAPHS),
    "cifar100": dict(steps=5800, **PHOTOGRAPHS),
    "tiny-imagenet": dict(steps=6000, **PHOTOGRAPHS),
    "omniglot28": dict(
        steps=6000,
        batches={"classes_per_batch": 64, "samples_per_class": 8},
        augment=Augment(shift=2, rotation=10, crop=0.9),
    ),
    "orl-faces": dict(steps=1000, batches=PEOPLE, augment=Augment(shift=4, flip=True, rotation=10, contrast=0.2)),
    "olivetti": dict(steps=1000, batches=PEOPLE, augment=Augment(shift=4, flip=True, rotation=10, contrast=0.2)),
    "lfw": dict(steps=3000, batches=PEOPLE, augment=Augment(shift=4, flip=True, rotation=10, contrast=0.2)),
}
_DATASETS = {"full": _FULL, "reduced": _REDUCED}
_OF_SIZE = {
    "full": dict(network="seven convolutions", dim=128, rate=0.1),
    "reduced": dict(network="three convolutions", dim=64, rate=0.1),
    "tiny": dict(network="lenet", dim=8, rate=0.1, points=2),
}


def recipe(size: str, dataset: str) -> Recipe:
    """The recipe for a dataset in a size. Raises ValueError where there is none."""
    if size == "tiny":
        return Recipe(steps=8, batches={"batch_size": 40}, augment=None, **_OF_SIZE[size])
    if not has_recipe(size, dataset):
        known = ", ".join(_DATASETS[size])
        raise ValueError(f"dataset: got {dataset!r}, expected one of {known} in size {size!r}")
    return Recipe(**{**_OF_SIZE[size], **_DATASETS[size][dataset]})


def has_recipe(size: str, dataset: str) -> bool:
    """Whether there is one. Raises ValueError for an unknown size."""
    if size not in SIZES:
        raise ValueError(f"size: got {size!r}, expected one of {', '.join(SIZES)}")
    return size == "tiny" or dataset in _DATASETS[size]


def steps_of(recipe: Recipe, kind: str) -> tuple[int, int]:
    """(intervals, steps of each) of a "final" or "tuning" run. `fit` takes an interval for an epoch, measures after it.

    A tuning run makes half of the steps.
    """
    total = recipe.steps if kind == "final" else math.ceil(recipe.steps / 2)
    intervals = recipe.points if kind == "final" else 1
    return intervals, max(1, round(total / intervals))
