"""Breaks of lab 04: what its sentences credit, taken away."""

import dataclasses

import torch

from tools.breaks import Break


def twice(original):
    """A contrastive loss whose factor ½ is missing."""
    return lambda self, embeddings, labels: 2 * original(self, embeddings, labels)


def easiest_positive(original):
    """Batch-hard with the nearest positive instead of the farthest."""

    def forward(self, embeddings, labels):
        if self.mining != "hard":
            return original(self, embeddings, labels)
        same = labels[:, None] == labels[None, :]
        itself = torch.eye(len(labels), dtype=torch.bool)
        d = (embeddings[:, None] - embeddings[None]).square().sum(-1)
        d = d if self.squared else (d + 1e-12).sqrt()
        positive = d.masked_fill(~same | itself, torch.inf).amin(1)
        hinge = (positive - d.masked_fill(same, torch.inf).amin(1) + self.margin).clamp(min=0)
        return hinge.sum() / (hinge > 0).sum().clamp(min=1)

    return forward


def always_batch_hard(original):
    """A triplet loss that mines batch-hard whatever it is told."""

    def forward(self, embeddings, labels):
        self.mining = "hard"
        return original(self, embeddings, labels)

    return forward


def constants(original):
    """Verification whose AUC, EER and threshold are the same whatever the embedding."""

    def verification(a, b, same):
        return dataclasses.replace(original(a, b, same), auc=0.9, eer=0.1, best_threshold=-1.0)

    return verification


def always_right(original):
    """A nearest neighbor that is always of the right class."""
    return lambda *sets: 1.0


ONE_SEED = ("SEEDS = [0, 1, 2]", "SEEDS = [0]")  # enough for what breaks in every network
SHORT = [("EPOCHS = 5", "EPOCHS = 2"), ONE_SEED]
NO_LECTURE = ("for kind in (networks.SignatureNet, without_dropout):", "for kind in ():")  # it takes its time
QUICK = {
    "bcaaa9c9": ONE_SEED,
    "02e9596c": NO_LECTURE,
    "2c3492a1": ('{"softmax": softmax, **LOSSES}.items()', "{}.items()"),
    "f2910a9a": ("loss, shown = ", 'raise ValueError("not here")\nloss, shown = '),
}  # for breaks of the last section, which does without the lecture's network and the rows of the comparison
TRIPLETS = "labkit.losses.triplet.TripletLoss.forward"

BREAKS = [
    Break(
        "pixels say which digit they show",
        ["Share of pairs on the wrong side"],
        edits={"67b080e0": ("points = pixels(unseen)", "points = pixels(unseen) + 100 * unseen.labels[:, None]")},
        until="67b080e0",
    ),
    Break(
        "labkit's contrastive loss lacks its factor ½",
        ["Contrastive loss, ours and labkit's"],
        replaces={"labkit.losses.contrastive.ContrastiveLoss.forward": twice},
        until="880e25d6",
    ),
    Break(
        "plain and squared distances change places",
        ["Force on the positive, plain", "Force on the positive, squared"],
        edits={"1a6bce8c": ("for power in (1, 2)", "for power in (2, 1)")},
        until="1a6bce8c",
    ),
    Break(
        "the loops divide by all chosen triplets, and the semi-hard band has no lower end",
        ["Batch-all: loops", "Semi-hard: loops", "The whole semi-hard band: loops"],
        edits={
            "fc629058": ("max(len(active), 1)", "max(len(gaps), 1)"),
            "a04c1e02": ("if p < n < p + margin", "if n < p + margin"),
        },
        quick=True,
        until="a04c1e04",
    ),
    Break(
        "batch-hard takes the nearest positive",
        [
            "Batch-hard: loops",
            "Batch-hard, squared: mean",
            "Batch-hard, squared: loss",
            "rate 0.001: sm",
            "plain distances: sm",
        ],
        replaces={TRIPLETS: easiest_positive},
        edits={"bcaaa9c9": ONE_SEED, "02e9596c": NO_LECTURE},
        until="a04c1e12",
    ),
    Break(
        "the nearest farther negative is looked for among all triplets of the band",
        ["Two readings of semi-hard"],
        edits={"a04c1e04": ("readings = semi_hard(points, labels)", "readings = whole_band(points, labels)")},
        until="a04c1e04",
    ),
    Break(
        "the sorted form forgets the margin",
        ["Batch-all by sorting"],
        edits={"f646d7fb": ("limit = positives + margin", "limit = positives")},
        until="f646d7fb",
    ),
    Break(
        "no more than a hundred classes",
        ["Triplets of a shuffled batch"],
        edits={"c1ccb08a": ("(10, 100, 1000)", "(10, 100)")},
        until="c1ccb08a",
    ),
    Break(
        "every mining is batch-hard, and the two remedies change nothing",
        [
            "batch-all: mean",
            "batch-all: smallest",
            "semi-hard: mean",
            "semi-hard: smallest",
            "rate 0.001: mean",
            "plain distances: mean",
        ],
        replaces={TRIPLETS: always_batch_hard},
        edits={
            "bcaaa9c9": ONE_SEED,
            "02e9596c": NO_LECTURE,
            "bb6b8db6": [
                ('("hard", True, 0.001, 150)', '("hard", True, 0.01, 150)'),
                ('("hard", False,', '("hard", True,'),
            ],
        },
        until="a04c1e12",
    ),
    Break(
        "the network before training is the trained one",
        ["Share of easy triplets in a batch before", "Untrained: share of batch-hard's"],
        edits={"f8b6054d": ("new_network(seed=0).eval()", 'runs["triplet, batch-all"][0][0]')},
        until="a04c1e06",
    ),
    Break(
        "the untrained embedding is noise",
        ["Untrained: share of all triplets"],
        edits={"f8b6054d": ("    embedded = untrained(images)", "    embedded = torch.randn(len(images), 32)")},
        until="a04c1e06",
    ),
    Break(
        "dropout is off everywhere",
        ["The lecture's network without dropout: closest accuracy minus", "Dropout on"],
        edits={
            "02e9596c": ("for kind in (networks.SignatureNet, without", "for kind in (without_dropout, without"),
            "a04c1e10": ("new_network(0, networks.SignatureNet)", "new_network(0, without_dropout)"),
        },
        until="a04c1e10",
    ),
    Break(
        "dropout stays on",
        ["Dropout off"],
        edits={"a04c1e10": ("signature.train(on)(image)", "signature.train()(image)")},
        until="a04c1e10",
    ),
    Break(
        "AUC, EER, accuracy and one-shot are constants",
        ["AUC of the four", "EER of the four", "Pixels ahead of the best loss", "Poses ahead of no poses"],
        replaces={
            "labkit.evaluation.verification": constants,
            "labkit.evaluation.nearest_neighbor_accuracy": always_right,
        },
        edits={"bcaaa9c9": SHORT},
    ),
    Break(
        "nothing is learned, and random weights are noise",
        [
            "Ten classes",
            "Share of easy triplets in the same batch after",
            "The lecture's network without",
            "Seven classes",
            "Random weights minus",
            "Poses ahead of no poses",
        ],
        edits={
            "bcaaa9c9": SHORT,
            "c0cde40c": ("batches, epochs, lr, progress", "batches, epochs, lr * 1e-9, progress"),
            "2c3492a1": ("partial(training.embed, new_network(seed))", "lambda x: torch.randn(len(x), 2)"),
        },
    ),
    Break(
        "the poses are neither turned nor mirrored",
        ["Poses ahead of no poses"],
        edits={
            "bcaaa9c9": ONE_SEED,
            "17fbec56": [
                ("torch.rot90(picture, k, dims", "torch.rot90(picture, 0, dims"),
                ("images.images.flip(3)", "images.images"),
            ],
        },
    ),
    Break(
        "the networks of 56 classes give noise",
        ["56 classes minus 7"],
        edits={
            "bcaaa9c9": SHORT,
            "f2910a9a": (
                "trained(loss, partial(posed, as_classes=as_classes))",
                "(lambda seen, seed: lambda x: torch.randn(len(x), 2)) if as_classes else trained(loss)",
            ),
        },
    ),
    Break(
        "the temperatures change places",
        ["Temperature 0."],
        edits={**QUICK, "e0a1c304": ("for temperature in (0.01, 0.1)", "for temperature in (0.1, 0.01)")},
        until="e0a1c304",
    ),
    Break(
        "SupCon compares an image with itself, all values are the first one, pixels and random weights are noise",
        [
            "SupCon, ours",
            "MAP@R that the value",
            "The smaller cost",
            "Pixels minus the better",
            "Random weights: recall",
        ],
        edits={
            **QUICK,
            "bb6b8db6": ("in collapse.items()", "in {}.items()"),
            "e0a1c302": (".masked_fill(itself, -torch.inf)", ""),
            "e0a1c306": [
                ("loss(v), seed", "loss(values[0]), seed"),
                ("maps(pixels)", "maps(lambda g: torch.randn(len(g), 2))"),
            ],
            "e0a1c307": ("training.embed(untrained, group)", "torch.randn(len(group), 2)"),
        },
        until="e0a1c307",
    ),
]
