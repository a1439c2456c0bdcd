"""Breaks of lab 08: what its sentences credit, taken away."""

from tools.breaks import Break


def at_rest(original):
    """Charges that stay where they start."""

    def minimize(start):
        from labkit.centroids import energy

        return energy(start).item(), start

    return minimize


def all_alike(original):
    """A record in which every row is cross-entropy."""

    def measured(*arguments):
        rows = original(*arguments)
        return dict.fromkeys(rows, rows["cross-entropy"])

    return measured


def roots_count(original):
    """A record in which PEDCC gains with its root: n points of accuracy."""

    def measured(*arguments):
        rows = original(*arguments)
        return rows | {f"PEDCC (m=0.5, n={n})": rows["cross-entropy"] + n / 100 for n in (1, 2, 3)}

    return measured


# What a break does not touch need not be trained: one step per epoch, where ten epochs of 22 steps are usual.
SHORT = ("EPOCHS = 10", "EPOCHS = 1")  # for claims that are made with any number of epochs
PLACES = {
    "e99abfb2": ("for n in KNOWN}", "for n in (4, 7)}"),
    "a9f0d25d": ("numbers = [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24]", "numbers = [2, 3]"),
    "3eefa833": [("seeds=3), worst", "seeds=1), worst"), ("steps=800", "steps=2")],
}
OPENING = {**PLACES, "f479b5f3": ("SEEDS), x, y,", "SEEDS), x[:64], y[:64],")}
GALLERY = {"fdfd39e0": ("(names, x, y,", "(names, x[:64], y[:64],")}
PLANE = {"pedcc-plane": ("(names, x, y,", "(names, x[:64], y[:64],")}
TABLE = {
    "4ddbf716": [
        ("*WITHOUT], x, y)", "*WITHOUT], x[:64], y[:64])"),
        ("SEEDS), x, y)", "SEEDS), x[:64], y[:64])"),
    ]
}
TURNING = {"pedcc-turn": [("(names, x, y,", "(names, x[:64], y[:64],"), ("(len(x) // BATCH)", "1")]}
LOSS = {"38f2afa7": ("(FOUR, x, y,", "(FOUR, x[:64], y[:64],")}
CODERS = {"489cc44f": ("EPOCHS * (len(x) // BATCH)", "2")}
PARTS = {"b4559588": ("few = x[kept], y[kept]", "few = x[kept][:64], y[kept][:64]")}
FEW = {"4ddbf716": ("in OTHERS.items()", "in ()")}  # claims of the table name no other loss of labkit
SOFTMAX = '"softmax": Kind(anywhere, margin=0, learned=True, plain=True)'

BREAKS = [
    Break(
        "charges stay where they start, and the farthest points lie together",
        ["Energies of Thomson's problem", "Seven points"],
        replaces={"labkit.centroids._minimize_energy": at_rest},
        edits={"d560c411": SHORT, "3415fce2": ("ring(77.8695, 0.0)", "ring(3.0, 0.0)")},
        quick=True,
        until="3415fce2",
    ),
    Break(
        "the learned places have room",
        ["Smallest angle between two classes"],
        edits={"f479b5f3": [("make, 2, SEEDS", "make, 16, SEEDS"), ("dim=2", "dim=16")]},
        until="f9872882",
    ),
    Break(
        "the generator flies a tenth of the steps, and the formula is inexact",
        [
            "10 classes, 512 dimensions, 200 steps",
            "100 classes, 128 dimensions, 800 steps",
            "100 classes, 512 dimensions, by the formula",
        ],
        edits={
            "d560c411": SHORT,
            "3eefa833": [("dim, steps, seed)", "dim, steps // 10, seed)"), ("gram(library)", "gram(library.float())")],
        },
        until="3eefa833",
    ),
    Break(
        "the generator flies until it has settled",
        ["100 classes, 128 dimensions, 200 steps"],
        edits={"d560c411": SHORT, "3eefa833": ("(100, 128, steps=200", "(100, 128, steps=800")},
        until="3eefa833",
    ),
    Break(
        "given rows lie anywhere, all others are even and stay, and softmax learns nothing in ten epochs",
        [
            "Plane after 10 epochs, accuracy, softmax minus PEDCC",
            "Plane after 40 epochs, accuracy, AM-Softmax minus",
            "Plane after 40 epochs, accuracy, even start",
            "Plane after 40 epochs, smallest angle",
            "With 16 numbers, training loss, given divided by even start",
        ],
        edits={
            **OPENING,
            **GALLERY,
            **TABLE,
            "pedcc-tune": [
                (SOFTMAX, '"softmax": Kind(even_places, pull=1.0)'),
                ('"AM-Softmax": Kind(anywhere, learned=True)', '"AM-Softmax": Kind(even_places)'),
                ("Kind(even_places, learned=True)", "Kind(even_places)"),
                ('"given": Kind(even_places)', '"given": Kind(anywhere)'),
                ('"PEDCC": Kind(even_places,', '"PEDCC": Kind(anywhere,'),
            ],
        },
        until="38f2afa7",
    ),
    Break(
        "the second term pushes away, and no margin can be met",
        [
            "Plane after 40 epochs, accuracy, softmax minus PEDCC",
            "Plane after 40 epochs, accuracy, PEDCC",
            "Plane after 40 epochs, accuracy, AM-Softmax with",
            "With 16 numbers, training loss, PEDCC",
        ],
        edits={
            **OPENING,
            **GALLERY,
            **TABLE,
            "pedcc-tune": [
                ('"PEDCC": Kind(even_places, pull=1.0)', '"PEDCC": Kind(even_places, pull=-20.0)'),
                ("margin=0.1", "margin=0.9"),
            ],
        },
        until="38f2afa7",
    ),
    Break(
        "PEDCC has no margin, no root and no part in the codes; classes are known before training; the tuner never "
        "steps; dot regression learns nothing; all rows of the record are cross-entropy",
        [
            "Before training",
            "With 16 numbers, S_W/S_B",
            "With 16 numbers, M on test",
            "Record, Fashion-MNIST: MAP@R",
            "Record, faces",
            "Fine-tuning at 0.1",
            "Unbalanced, accuracy, fine-tuned",
            "Unbalanced, nearest center, dot regression",
            "Codes",
            "Decoded centroid",
        ],
        replaces={"experiments.measured": all_alike},
        edits={
            **OPENING,
            **GALLERY,
            **PLANE,
            **LOSS,
            **FEW,
            "6b2757b2": ("F.normalize(untrained(x_test), dim=2)", "even[:, y_test]"),
            "pedcc-tune": [
                ('"PEDCC": Kind(even_places,', '"PEDCC": Kind(even_places, margin=0,'),
                ("pull=1.0, root=3", "margin=0, pull=1.0"),
                ('"learned, m = 0": Kind(anywhere, margin=0', '"learned, m = 0": Kind(anywhere, margin=0.5'),
                ('"given, m = 0": Kind(even_places, margin=0', '"given, m = 0": Kind(even_places, margin=0.5'),
            ],
            "1a7e5b08": [("loss.late * loss", "0 * loss"), ("(cosine - 1).square()", "(0 * cosine).square()")],
            "489cc44f": ("weight * (angular(", "0 * (angular("),
        },
        until="pedcc-decode",
    ),
    Break(
        "with n = 1 the second term pushes away; margins change places; the floor forgets C - 1; in the record the "
        "root counts; the free decoder was supervised, and a mean code is that of one image",
        [
            "The floor",
            "PEDCC loss, all networks",
            "With 16 numbers, best accuracy",
            "With 16 numbers, accuracy on test",
            "AM-Softmax, unevenness",
            "Without margin",
            "Record, Fashion-MNIST: accuracy",
            "The same centroids",
            "Mean code",
        ],
        replaces={"experiments.measured": roots_count},
        edits={
            **OPENING,
            **GALLERY,
            **PLANE,
            **LOSS,
            **PARTS,
            **FEW,
            "34c9f0dc": ("(number - 1) * math.exp", "math.exp"),
            "pedcc-tune": ('"PEDCC": Kind(even_places, pull=1.0)', '"PEDCC": Kind(even_places, pull=-20.0)'),
            "pedcc-turn": (
                '["softmax", "learned, m = 0", "AM-Softmax"]',
                '["AM-Softmax", "softmax", "learned, m = 0"]',
            ),
            "pedcc-decode": [
                ('coders["unsupervised"]', 'coders["PEDCC 0.03"]'),
                ("known[:, y == c].mean(1)", "known[:, c]"),
            ],
        },
        until="pedcc-turn-figure",
    ),
    Break(
        "the tuner steps too far, up the slope, and softmax is PEDCC",
        ["Fine-tuning at 0.001", "Balanced, accuracy", "Unbalanced, accuracy, softmax"],
        edits={
            **OPENING,
            **GALLERY,
            **PLANE,
            **TABLE,
            **LOSS,
            "pedcc-tune": [
                ("late=0.1)", "late=-300.0)"),
                ("late=0.001)", "late=0.1)"),
                (SOFTMAX, '"softmax": Kind(even_places, pull=1.0)'),
            ],
        },
        until="032d2848",
    ),
    Break(
        "no class is rare, and two of the even places are one",
        [
            "Softmax rows of three classes",
            "Unbalanced, accuracy, given, m = 0 minus learned",
            "Unbalanced, nearest center, softmax minus PEDCC",
        ],
        edits={
            **OPENING,
            **GALLERY,
            **PLANE,
            **TABLE,
            **TURNING,
            **LOSS,
            **CODERS,
            "6b2757b2": ("torch.stack(turned).float()", "torch.stack(turned).float()[:, [*range(9), 8]]"),
            "pedcc-how": ("~rare | (drawn < 0.1)", "~rare | (drawn < 2)"),
        },
        until="f7a25c13",
    ),
]
