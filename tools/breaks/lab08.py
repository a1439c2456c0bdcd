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
    "3eefa833": ("steps=200", "steps=2"),
    "fed6074f": ("charge_simulation(100, 128, **how)", "charge_simulation(100, 128, steps=2, **how)"),
}
OPENING = {**PLACES, "f479b5f3": ("(per_seed(one), x, y,", "(per_seed(one), x[:64], y[:64],")}
GALLERY = {"c9fb6701": ("(per_seed(LOSSES[name]), x, y,", "(per_seed(LOSSES[name]), x[:64], y[:64],")}
PLANE = {
    "pedcc-plane": [
        ("x, y, dim=2, lr=0.01)", "x[:64], y[:64], dim=2, lr=0.01)"),
        ("x, y, lr=0.03,", "x[:64], y[:64], lr=0.03,"),
        ("judged, x, y, lr=lr,", "judged, x[:64], y[:64], lr=lr,"),
    ]
}
TABLE = {
    "4ddbf716": [
        ("(LOSSES[name]), x, y)", "(LOSSES[name]), x[:64], y[:64])"),
        ("with_distance, x, y)", "with_distance, x[:64], y[:64])"),
    ]
}
TURNING = {"pedcc-turn": ("train(lambda *_: loss, x, y,", "train(lambda *_: loss, x[:64], y[:64],")}
LOSS = {"38f2afa7": ("angular_loss, x, y,", "angular_loss, x[:64], y[:64],")}
CODERS = {"489cc44f": ("EPOCHS * (len(x) // BATCH)", "2")}
PARTS = {"b4559588": ("few = x[kept], y[kept]", "few = x[kept][:64], y[kept][:64]")}
FEW = ('("softmax", "A-Softmax", "ArcFace")', '("softmax",)')  # claims of the table name no other rows that are learned

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
        ["Plane: smallest angle between two classes"],
        edits={"f479b5f3": ("dim=2", "dim=16")},
        until="f9872882",
    ),
    Break(
        "the generator flies a tenth of the steps, the formula is inexact, no velocity is lost",
        [
            "10 classes, 512 dimensions, 200 steps",
            "100 classes, 128 dimensions, 800 steps",
            "100 classes, 512 dimensions, by the formula",
            "With friction",
        ],
        edits={
            "d560c411": SHORT,
            "3eefa833": [("dim, steps, seed)", "dim, steps // 10, seed)"), ("gram(library)", "gram(library.float())")],
            "fed6074f": ("excess(**calm)", "excess()"),
        },
        until="4237d83a",
    ),
    Break(
        "the generator flies until it has settled, and turned velocities have friction",
        ["100 classes, 128 dimensions, 200 steps", "Turned velocities"],
        edits={
            "d560c411": SHORT,
            "3eefa833": ("steps=200", "steps=800"),
            "fed6074f": ("excess(transport=True)", "excess(**calm)"),
        },
        until="4237d83a",
    ),
    Break(
        "given rows lie anywhere, all others are even and stay, and what has ten epochs learns nothing",
        [
            "Plane, mean over seeds: accuracy, softmax minus PEDCC: given, and second term, 10",
            "Plane, mean over seeds: nearest direction",
            "Plane, mean over seeds: nearest center",
            "Plane, mean over seeds: accuracy, AM-Softmax",
            "Plane, mean over seeds: accuracy, even start",
            "Plane, mean over seeds: smallest angle",
            "16 numbers: training loss, given divided by even start",
        ],
        edits={
            **OPENING,
            **GALLERY,
            **TABLE,
            **TURNING,
            "pedcc-tune": [
                ("Plain(anywhere(d, s))", "Rows(even_places(d, s), pull=1.0)"),
                (
                    '"AM-Softmax": (lambda d, s: Rows(anywhere(d, s), learned=True)',
                    '"AM-Softmax": (lambda d, s: Rows(even_places(d, s))',
                ),
                ("Rows(even_places(d, s), learned=True)", "Rows(even_places(d, s))"),
                ('"given": (lambda d, s: Rows(even_places(d, s))', '"given": (lambda d, s: Rows(anywhere(d, s))'),
            ],
        },
        until="38f2afa7",
    ),
    Break(
        "the second term pushes away, and no margin can be met",
        [
            "Plane, mean over seeds: accuracy, softmax minus PEDCC: given, and second term, 40",
            "Plane, mean over seeds: accuracy, PEDCC",
            "Plane: accuracy, PEDCC, 40",
            "Plane: accuracy, AM-Softmax with",
            "16 numbers: training loss, PEDCC divided",
            "16 numbers: training loss, with second term",
        ],
        edits={
            **OPENING,
            **GALLERY,
            **TABLE,
            **TURNING,
            "pedcc-tune": [("pull=1.0", "pull=-20.0"), ("Rows(anywhere(d, s), 0.1,", "Rows(anywhere(d, s), 0.9,")],
        },
        until="38f2afa7",
    ),
    Break(
        "PEDCC has no margin, no root and no part in the codes; classes are known before training; the tuner never "
        "steps; dot regression learns nothing; all rows of the record are cross-entropy",
        [
            "Before training",
            "16 numbers: S_W/S_B",
            "16 numbers: M on test",
            "Record, Fashion-MNIST: MAP@R",
            "Record, Fashion-MNIST: nearest",
            "Record, faces",
            "Fine-tuning at 0.1",
            "Unbalanced: accuracy, fine-tuned",
            "Unbalanced: nearest center",
            "Codes",
            "Decoded centroid",
        ],
        replaces={"experiments.measured": all_alike},
        edits={
            **OPENING,
            **GALLERY,
            **PLANE,
            **TURNING,
            **LOSS,
            "6b2757b2": ("F.normalize(nets(x_test), dim=2)", "torch.stack([p[y_test] for p in places])"),
            "4ddbf716": [
                FEW,
                ("pull=1.0, root=root)", "margin=0, pull=1.0)"),
                ("anywhere(d, s), margin=0,", "anywhere(d, s), margin=0.5,"),
                ("even_places(d, s), margin=0)", "even_places(d, s), margin=0.5)"),
            ],
            "1a7e5b08": [
                ("self.rates[:, None, None]", "0 * self.rates[:, None, None]"),
                ("(cosine - 1).square()", "(0 * cosine).square()"),
            ],
            "pedcc-how": ("TEN = range(10)", "TEN = range(2)"),
            "489cc44f": ("weight * (angular(", "0 * (angular("),
        },
        until="pedcc-decode",
    ),
    Break(
        "with n = 1 the second term pushes away; margins change places; the floor forgets C - 1; the second term is "
        "halved; in the record the root counts; the free decoder was supervised, and a mean code is that of one image",
        [
            "The floor",
            "PEDCC loss, all networks",
            "16 numbers: best accuracy",
            "16 numbers: accuracy, n = 3",
            "AM-Softmax: unevenness",
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
            "34c9f0dc": ("(number - 1) * math.exp", "math.exp"),
            "pedcc-same": ("pull=1.0", "pull=0.5"),
            "4ddbf716": [FEW, ("pull=1.0, root=root)", "pull=-20.0 if root == 1 else 1.0, root=root)")],
            "pedcc-turn": [
                ('WITHOUT["learned, m = 0"]', 'PLANE["AM-Softmax"][0]'),
                (
                    'turned["AM-Softmax, m = 0.5"] = turning(PLANE["AM-Softmax"][0])',
                    'turned["AM-Softmax, m = 0.5"] = turning(PLANE["softmax"][0])',
                ),
            ],
            "pedcc-decode": [("coders[none]", "coders[strong]"), ("codes[:, y == c].mean(1)", "codes[:, c]")],
        },
        until="pedcc-turn-figure",
    ),
    Break(
        "the tuner steps too far, and softmax is PEDCC",
        [
            "Fine-tuning at 0.001",
            "Balanced: accuracy",
            "Unbalanced: accuracy, softmax",
        ],
        edits={
            **OPENING,
            **GALLERY,
            **PLANE,
            **TABLE,
            **TURNING,
            **LOSS,
            "pedcc-how": [
                ('rate 0.1": 0.1}', 'rate 0.1": 300.0}'),
                ('rate 0.001": 0.001', 'rate 0.001": 0.1'),
                ('PLANE["softmax"]', "PLANE[PEDCC]"),
            ],
        },
        until="f7a25c13",
    ),
    Break(
        "no class is rare, and two of the even places are one",
        ["Softmax rows of three classes", "Unbalanced: accuracy, given rows minus learned"],
        edits={
            **OPENING,
            **GALLERY,
            **PLANE,
            **TURNING,
            **LOSS,
            **CODERS,
            "4ddbf716": [
                *TABLE["4ddbf716"],
                ("Rows(even_places(d, s), margin=0)", "Rows(even_places(d, s)[:, [*range(9), 8]], margin=0)"),
            ],
            "pedcc-how": ("~rare | (drawn < 0.1)", "~rare | (drawn < 2)"),
        },
        until="f7a25c13",
    ),
]
