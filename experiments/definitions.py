"""The tables of the papers as plain definitions: which losses, on which datasets, what is reported, tuned how.

A row gives its loss, where its embeddings lie, and four settings: every row is tuned with the same small budget, four
runs of half the steps with one seed, on a validation split (see `experiments.trial`). The rate in a setting
multiplies the recipe's learning rate, which is the same for all rows; a row whose gradients are naturally larger or
smaller has its rates around another value.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product

from labkit import losses
from labkit.centroids import evenly_distributed
from labkit.ensembles import METHODS

# Names of the datasets for people. "(JPEG 75)": compressed again, not comparable digit for digit with published rows.
DATASETS = {
    "digits": "scikit-learn's digits (8×8)",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "emnist": "EMNIST balanced",
    "cifar10": "CIFAR-10",
    "cifar10-jpeg75": "CIFAR-10 (JPEG 75)",
    "cifar100": "CIFAR-100",
    "tiny-imagenet": "Tiny ImageNet (200 of 500 training images a class)",
    "omniglot28": "Omniglot 28×28, unseen characters",
    "orl-faces": "ORL faces 64×64, unseen people",
    "olivetti": "Olivetti faces 64×64, unseen people",
    "lfw": "LFW 64×64, unseen people",
}

# The same datasets, or what stands in their place, as the papers' tables name them.
PUBLISHED_AS = {
    "mnist": ("MNIST",),
    "fashion_mnist": ("Fashion-MNIST",),
    "emnist": ("EMNIST",),
    "cifar10": ("CIFAR10",),
    "cifar10-jpeg75": ("CIFAR10",),
    "cifar100": ("CIFAR100",),
    "omniglot28": ("VGGFace2",),
    "orl-faces": ("VGGFace2", "LFW"),
}

SEEN = ("closest accuracy", "range accuracy, soft", "range accuracy, strict", "range coverage", "recall@1", "MAP@R")
UNSEEN = ("closest accuracy", "recall@1", "MAP@R", "verification accuracy", "verification AUC", "equal error rate")


def grid(**values) -> tuple[dict, ...]:
    """All combinations of the values, as settings: grid(rate=(1, 3), margin=(0.1, 0.5)) are four."""
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in product(*values.values()))


BASELINE = "cross-entropy"
RATES = grid(rate=(0.3, 0.8, 2.0, 5.0))


@dataclass(frozen=True)
class Row:
    """A loss in a table.

    loss       (num_classes, dim, steps, **parameters) -> loss module
    behavior   the names in store.BEHAVIOR of what decides this row's runs, beside what decides all runs of its table
    space      where the embeddings lie in training: "anywhere", "l2" (on the unit sphere), "unit_range" (in the ball)
    settings   what tuning chooses from: dictionaries with `rate` and any parameters of the loss; one: nothing is tuned
    tuned_as   the row whose chosen setting this row takes over, beside its own `fixed` parameters
    fixed      parameters of the loss that are not tuned
    dim        length of an embedding, where it is not the recipe's
    late       the share of the run, at its end, in which PEDCC's centroids are learned too
    """

    loss: Callable | None
    behavior: tuple[str, ...]
    space: str = "anywhere"
    settings: tuple[dict, ...] = RATES
    tuned_as: str | None = None
    fixed: dict = field(default_factory=dict)
    dim: int | None = None
    late: float | None = None

    @property
    def measured(self) -> str:
        """Where the embeddings are compared in evaluation: where they were trained, but on the sphere instead of
        "anywhere", since the direction decides in class scores, w·x.
        """
        return "l2" if self.space == "anywhere" else self.space

    def parameters(self, setting: int) -> dict:
        """What the loss is made with."""
        return {**{name: value for name, value in self.settings[setting].items() if name != "rate"}, **self.fixed}


@dataclass(frozen=True)
class Table:
    """A table of a paper, or a figure.

    title      what it is a measurement of, for people
    rows       {name: Row}; names are those of data/published where the paper has the row
    datasets   where it is measured unless told otherwise, in this order; those not at hand are left out
    reported   the metrics in the report, the first one beside the published value; reported_unseen: where the test
               classes do not occur in training
    published  name of the table in data/published, or None where the paper prints no numbers
    curve      the metric whose curve over the steps is reported, for tables of speed; target: {dataset: value of the
               curve}, and the report says after how many steps a row has reached it
    x          what stands on the horizontal axis of its figure: "margin", "weight" or "dim" of its rows, or None
    records_of the table whose records this one shows, if it measures nothing of its own
    baseline   the row that the others are compared with
    runs       what a run is (runner.KINDS): "trial", one network trained with one loss, or "ensembling"
    """

    title: str
    rows: dict[str, Row]
    datasets: tuple[str, ...]
    reported: tuple[str, ...] = SEEN
    reported_unseen: tuple[str, ...] = UNSEEN
    published: str | None = None
    curve: str | None = None
    target: dict[str, float] | None = None
    x: str | None = None
    records_of: str | None = None
    baseline: str = BASELINE
    runs: str = "trial"

    def tuned_as(self, row: str) -> str:
        """The row whose tuning decides the setting of this one: itself, unless it says another."""
        return self.rows[row].tuned_as or row

    def tuning_runs(self, row: str) -> int:
        """How many runs it takes to choose a setting of a row: one each, none if there is nothing to choose."""
        count = len(self.rows[row].settings)
        return count if count > 1 else 0


# ---- the losses, as (classes, dim, steps, parameters) -> module


def softmax(classes, dim, steps):
    return losses.SoftmaxLoss(classes, dim)


def hinge(classes, dim, steps):
    return losses.HingeLoss(classes, dim)


def standard_triplet(classes, dim, steps, margin=0.2):
    return losses.TripletLoss(margin)


def exponential_triplet(classes, dim, steps, overlap=1.5):
    return losses.ExponentialTripletLoss(classes, overlap)


def composite(classes, dim, steps, base, parts=(), weight=1.0, overlap=1.5):
    """Paper 000's equation 10: a triplet loss and, with `weight`, the L2-constrained softmax, the center loss, or both.

    The radius of the center loss is half of the diameter that `overlap` gives a class in the ball of radius 1.
    """
    extra = {
        "class": lambda: losses.L2SoftmaxLoss(classes, dim, scale=2 * losses.smallest_scale(classes)),
        "center": lambda: losses.CenterLoss(classes, dim, radius=overlap / classes),
    }
    return losses.WeightedSum({base(classes, dim, steps): 1.0, **{extra[part](): weight for part in parts}})


def annealed(kind, classes, dim, steps, margin, lowest=5.0):
    """L-Softmax or A-Softmax whose annealing reaches its lowest value halfway through the run."""
    annealing = losses.Annealing(lowest, base=1500.0, rate=(1500.0 / lowest - 1) * 2 / steps)
    return kind(classes, dim, margin, annealing)


def l_softmax(classes, dim, steps, margin, lowest=5.0):
    return annealed(losses.LSoftmaxLoss, classes, dim, steps, margin, lowest)


def a_softmax(classes, dim, steps, margin, lowest=5.0):
    return annealed(losses.ASoftmaxLoss, classes, dim, steps, margin, lowest)


def am_softmax(classes, dim, steps, margin=0.5, scale=15.0):
    return losses.AMSoftmaxLoss(classes, dim, margin, scale)


def arcface(classes, dim, steps, margin=0.5, scale=15.0):
    return losses.ArcFaceLoss(classes, dim, margin, scale)


def center(classes, dim, steps, weight=0.01):
    return losses.WeightedSum({losses.SoftmaxLoss(classes, dim): 1.0, losses.CenterLoss(classes, dim): weight})


def pedcc(classes, dim, steps, root=1, margin=0.5, scale=15.0, learnable=False):
    centroids = evenly_distributed(classes, dim).float()
    return losses.PEDCCLoss(centroids, margin, scale, root, learnable=learnable)


def circle(classes, dim, steps, margin=0.25, gamma=80.0):
    return losses.CircleLoss(margin, gamma)


# ---- the tables

CENTER_BEHAVIOR = ("losses.center", "losses.softmax", "losses.weighted_sum")
CROSS_ENTROPY = Row(softmax, ("losses.softmax",))


def _of_triplet(base, behavior, name, **parameter):
    """A loss of triplets alone, and composites of it with the center loss, the L2-constrained softmax, and both."""
    rows = {name: Row(base, (behavior,), "unit_range", grid(rate=(2.0, 8.0), **parameter))}
    for parts in (("class",), ("center",), ("center", "class")):
        loss = partial(composite, base=base, parts=parts)
        others = {"class": "losses.softmax", "center": "losses.center"}
        behaviors = (behavior, "losses.weighted_sum", *(others[part] for part in parts))
        row = Row(loss, behaviors, "unit_range", grid(rate=(1.0, 4.0), weight=(0.1, 1.0)))
        rows[" + ".join([name, *(f"L_{part}" for part in parts)])] = row
    return rows


EXPONENTIAL_TRIPLET = Table(
    "paper 000, table 1: the exponential triplet loss against the standard one",
    {
        BASELINE: CROSS_ENTROPY,
        **_of_triplet(standard_triplet, "losses.triplet", "L_std", margin=(0.2, 0.5)),
        **_of_triplet(exponential_triplet, "losses.exponential_triplet", "L_exp", overlap=(0.5, 1.5)),
    },
    ("mnist", "fashion_mnist", "emnist", "cifar10", "cifar10-jpeg75", "omniglot28", "orl-faces"),
    published="exponential_triplet_table1",
)
CONVERGENCE = Table(
    "paper 000, figure 12: how fast the exponential and the standard triplet loss learn",
    {name: EXPONENTIAL_TRIPLET.rows[name] for name in (BASELINE, "L_std", "L_exp")},
    ("fashion_mnist",),
    ("closest accuracy",),
    curve="closest accuracy",
    target={"fashion_mnist": 0.85},
    records_of="exponential_triplet",
)


def _of_sizes(name, row):
    tuned = f"{name}, 32 dimensions"
    return {f"{name}, {dim} dimensions": replace(row, dim=dim, tuned_as=tuned) for dim in (2, 8, 32, 128, 512)}


EMBEDDING_SIZE = Table(
    "paper 000, figure 8: length of the embedding",
    _of_sizes(BASELINE, CROSS_ENTROPY) | _of_sizes("L_exp", EXPONENTIAL_TRIPLET.rows["L_exp"]),
    ("fashion_mnist",),
    ("closest accuracy", "recall@1", "MAP@R"),
    x="dim",
)


def _pedcc(root, finetuned=False):
    return Row(
        pedcc,
        ("losses.pedcc", "centroids"),
        "l2",
        settings=grid(rate=(0.3, 1.0), scale=(7.5, 15.0)),
        fixed={"root": root, "learnable": finetuned},
        late=0.4 if finetuned else None,
    )


def _margin(loss, space="anywhere", fixed=None, **tuned):
    """A softmax with a margin, or a hinge; tuned: the values of one parameter beside the rates."""
    settings = grid(rate=(0.3, 1.0), **tuned) if tuned else RATES
    return Row(loss, ("losses.softmax",), space, settings, fixed=fixed or {})


PEDCC = Table(
    "paper 003, tables 1 to 3: softmax with margins, and PEDCC",
    {
        "hinge": _margin(hinge),
        BASELINE: CROSS_ENTROPY,
        "L-Softmax (m=2)": _margin(l_softmax, fixed={"margin": 2}, lowest=(1.0, 5.0)),
        "L-Softmax (m=4)": _margin(l_softmax, fixed={"margin": 4}, lowest=(1.0, 5.0)),
        "A-Softmax (m=4)": _margin(a_softmax, fixed={"margin": 4}, lowest=(1.0, 5.0)),
        "center": Row(center, CENTER_BEHAVIOR, settings=grid(rate=(0.3, 1.0), weight=(0.003, 0.03))),
        "AM-Softmax (m=0.5)": _margin(am_softmax, "l2", scale=(7.5, 15.0)),
        "ArcFace (m=0.5)": _margin(arcface, "l2", scale=(7.5, 15.0)),
        **{f"PEDCC (m=0.5, n={n})": _pedcc(n) for n in (1, 2, 3)},
        **{f"PEDCC, fine-tuned (m=0.5, n={n})": _pedcc(n, finetuned=True) for n in (1, 2, 3)},
    },
    ("mnist", "fashion_mnist", "emnist", "cifar100", "tiny-imagenet", "orl-faces"),
    ("accuracy", "closest accuracy", "recall@1", "MAP@R"),
    ("verification accuracy", "verification AUC", "equal error rate", "recall@1", "MAP@R"),
    published="pedcc",
)


def _over_margins(name, loss, usual, rates):
    """The usual margin, with which the rate is tuned, and those of paper 001."""
    behavior, tuned = (f"losses.{name}",), f"{name}, m={usual}"
    return {
        f"{name}, m={m}": Row(loss, behavior, "l2", rates, tuned, fixed={"margin": m})
        for m in (usual, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    }


CIRCLE = Table(
    "paper 001: circle and triplet loss over their margins, and the steps they take",
    {
        BASELINE: CROSS_ENTROPY,
        **_over_margins("triplet", standard_triplet, 0.2, grid(rate=(0.8, 2.0, 5.0, 12.0))),
        **_over_margins("circle", circle, 0.25, grid(rate=(0.01, 0.03, 0.1, 0.3))),
    },
    ("fashion_mnist", "mnist", "omniglot28"),
    ("recall@1", "MAP@R", "closest accuracy"),
    curve="recall@1",
    target={"mnist": 0.97, "fashion_mnist": 0.85, "omniglot28": 0.5},
    x="margin",
)
CENTER = Table(
    "center loss: its weight λ beside softmax (Wen et al. 2016, figure 5)",
    {
        BASELINE: CROSS_ENTROPY,
        **{
            f"center, λ={weight}": Row(center, CENTER_BEHAVIOR, tuned_as=BASELINE, fixed={"weight": weight})
            for weight in (0.0001, 0.001, 0.01, 0.1, 1.0)
        },
    },
    ("fashion_mnist", "mnist"),
    ("accuracy", "closest accuracy", "recall@1", "MAP@R"),
    x="weight",
)

RECIPE = Table(
    "how good the recipe is: cross-entropy alone, at the third of its learning rates, nothing tuned",
    {BASELINE: replace(CROSS_ENTROPY, settings=RATES[2:3])},
    ("mnist", "fashion_mnist", "cifar10", "cifar10-jpeg75"),
    ("accuracy", "closest accuracy", "recall@1", "MAP@R"),
)


def _ensembles(network):
    """Paper 004's comparison: ways to an ensemble at equal cost, with members of one network."""
    rows = {}
    for method in METHODS:
        behavior = (network, "distancing") if method.endswith("hills") else (network,)
        rows[method] = Row(None, behavior, settings=({},), fixed={"method": method, "network": network})
    return Table(
        f"paper 004: four {network} in place of one, at equal cost",
        rows,
        ("mnist", "fashion_mnist", "cifar10", "cifar10-jpeg75"),
        ("accuracy", "accuracy of a member", "calibration error", "disagreement", "shared error c/v"),
        baseline="one long run",
        runs="ensembling",
    )


TABLES = {
    "exponential_triplet": EXPONENTIAL_TRIPLET,
    "convergence": CONVERGENCE,
    "embedding_size": EMBEDDING_SIZE,
    "pedcc": PEDCC,
    "circle": CIRCLE,
    "center": CENTER,
    "recipe": RECIPE,
    "distancing": _ensembles("small_resnet"),
    "distancing_mobilenet_v2": _ensembles("mobilenet_v2"),
}


def table_named(name: str) -> Table:
    """The table with this name. Raises ValueError, with the names, where there is none."""
    if name not in TABLES:
        raise ValueError(f"table: got {name!r}, expected one of {', '.join(TABLES)}")
    return TABLES[name]
