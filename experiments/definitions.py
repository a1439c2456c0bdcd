"""The tables of the papers as plain definitions: which losses, on which datasets, what is reported, tuned how.

A row gives its loss, where its embeddings lie, and the settings among which tuning chooses (README.md: the protocol).
The rate in a setting multiplies the recipe's learning rate, which is the same for all rows; a row whose gradients are
naturally larger or smaller has its rates around another value. A grid is extended at its end, so that the settings
keep their numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product

from experiments import parts
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

# Images of training and test, for those that records are made of.
IMAGES = {
    "mnist": (60_000, 10_000),
    "fashion_mnist": (60_000, 10_000),
    "cifar10-jpeg75": (50_000, 10_000),
    "omniglot28": (19_280, 13_180),
    "orl-faces": (300, 100),
}

# Metrics, the deciding one first: tuning goes by it, and the rows are compared in it.
SEEN = ("closest accuracy", "range accuracy, soft", "range accuracy, strict", "range coverage", "recall@1", "MAP@R")
UNSEEN = ("MAP@R", "closest accuracy", "recall@1", "verification accuracy", "verification AUC", "equal error rate")
EASY = {"mnist"}  # above 99 %: MAP@R decides instead, three seeds are enough, and no conclusion rests on it


def seeds(dataset: str) -> int:
    """How many final runs a row has."""
    return 3 if dataset in EASY else 5


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
    late       the share of the run, at its end, in which PEDCC's centroids are learned too, at `centroid_rate` in the
               setting
    longer     how many times the recipe's steps it makes
    """

    loss: Callable | None
    behavior: tuple[str, ...]
    space: str = "anywhere"
    settings: tuple[dict, ...] = RATES
    tuned_as: str | None = None
    fixed: dict = field(default_factory=dict)
    dim: int | None = None
    late: float | None = None
    longer: int = 1

    @property
    def measured(self) -> str:
        """Where the embeddings are compared in evaluation: where they were trained, but on the sphere instead of
        "anywhere", since the direction decides in class scores, w·x.
        """
        return "l2" if self.space == "anywhere" else self.space

    def parameters(self, setting: int) -> dict:
        """What the loss is made with."""
        rates = ("rate", "centroid_rate")
        return {**{name: value for name, value in self.settings[setting].items() if name not in rates}, **self.fixed}

    def loss_name(self) -> str:
        """The loss in a record: two rows of one name, with equal parameters, train the same."""
        return _named(self.loss)


def _named(what) -> str:
    if isinstance(what, partial):
        given = ", ".join(f"{name}={_named(value)}" for name, value in what.keywords.items())
        return f"{what.func.__name__}({given})"
    return "+".join(what) if isinstance(what, tuple) else what.__name__


@dataclass(frozen=True)
class Table:
    """A table of a paper, or a figure.

    title      what it is a measurement of, for people
    rows       {name: Row}; names are those of data/published where the paper has the row
    datasets   where it is measured unless told otherwise, in this order; those not at hand are left out
    reported   the metrics in the report, the deciding one first; reported_unseen: where the test classes do not occur
               in training
    pairs      the rows that the labs compare, (row, the row that it is compared with): tested in the report
    published  name of the table in data/published, or None where the paper prints no numbers
    curve      the metric whose curve over the steps is reported, for tables of speed; target: {dataset: value of the
               curve}, and the report says after how many steps a row has reached it
    x          what stands on the horizontal axis of its figure: "margin", "weight" or "dim" of its rows, or None
    baseline   the row that the others are compared with
    runs       what a run is (runner.KINDS): "trial", one network trained with one loss, or "ensembling"
    shared     whether its records lie in one file with those of other tables, which share the runs that are the same
    first      the file with the first edition of its records, shown while the second is not whole; None: there is none
    """

    title: str
    rows: dict[str, Row]
    datasets: tuple[str, ...]
    reported: tuple[str, ...] = SEEN
    reported_unseen: tuple[str, ...] = UNSEEN
    pairs: tuple[tuple[str, str], ...] = ()
    published: str | None = None
    curve: str | None = None
    target: dict[str, float] | None = None
    x: str | None = None
    baseline: str = BASELINE
    runs: str = "trial"
    shared: bool = True
    first: str | None = None

    def tuned_as(self, row: str) -> str:
        """The row whose tuning decides the setting of this one: itself, unless it says another."""
        return self.rows[row].tuned_as or row

    def file(self, name: str) -> str:
        """Where the records of this table, `name`, lie (store.path_of)."""
        return "runs" if self.shared else name

    def is_easy(self, dataset: str) -> bool:
        """Whether the dataset is at the ceiling of what the table compares."""
        return self.shared and dataset in EASY

    def deciding(self, dataset: str, unseen: bool) -> str:
        """The metric by which its rows are tuned and compared."""
        return "MAP@R" if self.is_easy(dataset) else (self.reported_unseen if unseen else self.reported)[0]


# ---- the tables

CENTER_BEHAVIOR = ("losses.center", "losses.softmax", "losses.weighted_sum")
CROSS_ENTROPY = Row(parts.softmax, ("losses.softmax",))


def _of_triplet(base, behavior, name, first, **parameter):
    """A loss of triplets alone, in the ball and in the two other spaces, and composites of it with the center loss, the
    L2-constrained softmax, and both. first: two values of its parameter with which the composites are tuned.
    """
    (tuned,) = parameter
    spaces = {name: "unit_range", f"{name}, L2": "l2", f"{name}, Unit-Bounce": "unit_bounce"}
    settings = grid(rate=(2.0, 8.0, 32.0), **parameter)
    rows = {row: Row(base, (behavior,), space, settings) for row, space in spaces.items()}
    for composed in (("class",), ("center",), ("center", "class")):
        loss = partial(parts.composite, base=base, parts=composed)
        others = {"class": "losses.softmax", "center": "losses.center"}
        behaviors = (behavior, "losses.weighted_sum", *(others[part] for part in composed))
        row = Row(loss, behaviors, "unit_range", grid(rate=(1.0, 4.0), weight=(0.1, 1.0), **{tuned: first}))
        rows[" + ".join([name, *(f"L_{part}" for part in composed)])] = row
    return rows


COMPOSED = ("", " + L_class", " + L_center", " + L_center + L_class")
EXPONENTIAL_TRIPLET = Table(
    "paper 000, table 1: the exponential triplet loss against the standard one",
    {
        BASELINE: CROSS_ENTROPY,
        **_of_triplet(parts.standard_triplet, "losses.triplet", "L_std", (0.2, 0.5), margin=(0.2, 0.5, 0.8, 1.2)),
        **_of_triplet(
            parts.exponential_triplet,
            "losses.exponential_triplet",
            "L_exp",
            (0.15, 0.3),
            diameter=(0.05, 0.15, 0.3, 0.45),
        ),
    },
    ("fashion_mnist", "omniglot28", "orl-faces", "mnist", "emnist", "cifar10", "cifar10-jpeg75"),
    pairs=(
        *((f"L_exp{terms}", f"L_std{terms}") for terms in COMPOSED),
        *((name, f"{name}, {space}") for name in ("L_std", "L_exp") for space in ("L2", "Unit-Bounce")),
    ),
    published="exponential_triplet_table1",
    first="exponential_triplet",
)
CONVERGENCE = Table(
    "paper 000, figure 12: how fast the exponential and the standard triplet loss learn",
    {name: EXPONENTIAL_TRIPLET.rows[name] for name in (BASELINE, "L_std", "L_exp")},
    ("fashion_mnist",),
    ("closest accuracy",),
    pairs=(("L_exp", "L_std"),),
    curve="closest accuracy",
    target={"fashion_mnist": 0.85},
    first="exponential_triplet",
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
    first="embedding_size",
)


def _pedcc(root, finetuned=False):
    tuned = {"centroid_rate": (0.1, 1.0)} if finetuned else {}
    return Row(
        parts.pedcc,
        ("losses.pedcc", "centroids"),
        "l2",
        settings=grid(rate=(0.3, 1.0, 3.0), scale=(7.5, 15.0), **tuned),
        fixed={"root": root, "learnable": finetuned},
        late=0.4 if finetuned else None,
    )


def _margin(loss, space="anywhere", fixed=None, **tuned):
    """A softmax with a margin; tuned: the values of one parameter beside the rates."""
    return Row(loss, ("losses.softmax",), space, grid(rate=(0.3, 1.0, 3.0), **tuned), fixed=fixed or {})


ROOTS = (1, 2, 3)
PEDCC = Table(
    "paper 003, tables 1 to 3: softmax with margins, and PEDCC",
    {
        "hinge": Row(parts.hinge, ("losses.softmax",), settings=(*RATES, *grid(rate=(12.0,)))),
        BASELINE: CROSS_ENTROPY,
        "L-Softmax (m=2)": _margin(parts.l_softmax, fixed={"margin": 2}, lowest=(1.0, 5.0)),
        "L-Softmax (m=4)": _margin(parts.l_softmax, fixed={"margin": 4}, lowest=(1.0, 5.0)),
        "A-Softmax (m=4)": _margin(parts.a_softmax, fixed={"margin": 4}, lowest=(1.0, 5.0)),
        "center": Row(parts.center, CENTER_BEHAVIOR, settings=grid(rate=(0.3, 1.0, 3.0), weight=(0.003, 0.03))),
        "AM-Softmax (m=0.5)": _margin(parts.am_softmax, "l2", scale=(7.5, 15.0)),
        "ArcFace (m=0.5)": _margin(parts.arcface, "l2", scale=(7.5, 15.0)),
        **{f"PEDCC (m=0.5, n={n})": _pedcc(n) for n in ROOTS},
        **{f"PEDCC, fine-tuned (m=0.5, n={n})": _pedcc(n, finetuned=True) for n in ROOTS},
    },
    ("fashion_mnist", "orl-faces", "mnist", "emnist", "cifar100", "tiny-imagenet"),
    ("accuracy", "closest accuracy", "recall@1", "MAP@R", "centroids moved"),
    ("MAP@R", "verification accuracy", "verification AUC", "equal error rate", "recall@1", "centroids moved"),
    pairs=(
        *((f"PEDCC (m=0.5, n={n})", "AM-Softmax (m=0.5)") for n in ROOTS),
        *((f"PEDCC (m=0.5, n={n})", "PEDCC (m=0.5, n=1)") for n in ROOTS[1:]),
        *((f"PEDCC, fine-tuned (m=0.5, n={n})", f"PEDCC (m=0.5, n={n})") for n in ROOTS),
    ),
    published="pedcc",
    first="pedcc",
)


def _over_margins(name, loss, usual, tuned):
    """A loss with its margin tuned too, and with the usual margin and some of paper 001; each is tuned by itself."""
    behavior, margins = (f"losses.{name}",), (usual, 0.4, 0.6, 0.7, 0.8, 1.0)
    rows = {name: Row(loss, behavior, "l2", tuple({**each, "margin": m} for m in margins for each in tuned))}
    return rows | {f"{name}, m={m}": Row(loss, behavior, "l2", tuned, fixed={"margin": m}) for m in margins}


CIRCLE = Table(
    "paper 001: circle and triplet loss over their margins, and the steps they take",
    {
        BASELINE: CROSS_ENTROPY,
        **_over_margins("triplet", parts.standard_triplet, 0.2, grid(rate=(0.8, 2.0, 5.0, 12.0))),
        **_over_margins("circle", parts.circle, 0.25, grid(rate=(0.1, 0.5), gamma=(40.0, 160.0))),
    },
    ("fashion_mnist", "omniglot28", "mnist"),
    ("recall@1", "MAP@R", "closest accuracy"),
    ("recall@1", "MAP@R", "closest accuracy"),
    pairs=(("circle", "triplet"), ("circle", BASELINE), ("triplet", BASELINE)),
    curve="recall@1",
    target={"mnist": 0.97, "fashion_mnist": 0.85, "omniglot28": 0.5},
    x="margin",
    first="circle",
)
WEIGHTS = (0.0001, 0.001, 0.01, 0.1, 1.0)
CENTER = Table(
    "center loss: its weight λ beside softmax (Wen et al. 2016, figure 5)",
    {
        BASELINE: CROSS_ENTROPY,
        "center": Row(parts.center, CENTER_BEHAVIOR, settings=grid(weight=WEIGHTS, rate=(0.3, 0.8, 2.0, 5.0))),
        **{f"center, λ={w}": Row(parts.center, CENTER_BEHAVIOR, settings=RATES, fixed={"weight": w}) for w in WEIGHTS},
    },
    ("fashion_mnist", "mnist"),
    ("accuracy", "closest accuracy", "recall@1", "MAP@R"),
    pairs=(("center", BASELINE),),
    x="weight",
    first="center",
)

_DECISIVE = {
    BASELINE: CROSS_ENTROPY,
    "L_std": EXPONENTIAL_TRIPLET.rows["L_std"],
    "L_exp": EXPONENTIAL_TRIPLET.rows["L_exp"],
    **{name: CIRCLE.rows[name] for name in ("triplet", "circle")},
    **{name: PEDCC.rows[name] for name in ("AM-Softmax (m=0.5)", "PEDCC (m=0.5, n=1)")},
}
STEPS = Table(
    "the compared losses once more, with four times the steps and the settings of the shorter runs",
    {**_DECISIVE, **{f"{name}, 4× steps": replace(row, tuned_as=name, longer=4) for name, row in _DECISIVE.items()}},
    ("fashion_mnist",),
    ("closest accuracy", "recall@1", "MAP@R"),
    pairs=tuple(
        (f"{row}{steps}", f"{other}{steps}")
        for steps in ("", ", 4× steps")
        for row, other in (("L_exp", "L_std"), ("circle", "triplet"), ("PEDCC (m=0.5, n=1)", "AM-Softmax (m=0.5)"))
    ),
)

RECIPE = Table(
    "how good the recipe is: cross-entropy alone, at the third of its learning rates, nothing tuned",
    {BASELINE: replace(CROSS_ENTROPY, settings=RATES[2:3])},
    ("mnist", "fashion_mnist", "cifar10", "cifar10-jpeg75"),
    ("accuracy", "closest accuracy", "recall@1", "MAP@R"),
    shared=False,
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
        shared=False,
    )


TABLES = {
    "exponential_triplet": EXPONENTIAL_TRIPLET,
    "convergence": CONVERGENCE,
    "embedding_size": EMBEDDING_SIZE,
    "pedcc": PEDCC,
    "circle": CIRCLE,
    "center": CENTER,
    "steps": STEPS,
    "recipe": RECIPE,
    "distancing": _ensembles("small_resnet"),
    "distancing_mobilenet_v2": _ensembles("mobilenet_v2"),
}


def table_named(name: str) -> Table:
    """The table with this name. Raises ValueError, with the names, where there is none."""
    if name not in TABLES:
        raise ValueError(f"table: got {name!r}, expected one of {', '.join(TABLES)}")
    return TABLES[name]
