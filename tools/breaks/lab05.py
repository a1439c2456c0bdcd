"""Breaks of lab 05: what its sentences credit, taken away."""

from tools.breaks import Break


def without_one(original):
    """An update of the centers that divides by the number of rows alone."""

    def update(self, embeddings, labels):
        for j in labels.unique():
            self.centers[j] -= self.rate * (self.centers[j] - embeddings[labels == j]).mean(0)

    return update


def without_half(original):
    """A center loss whose factor ½ is missing."""
    return lambda self, embeddings, labels: 2 * original(self, embeddings, labels)


TWO_SEEDS = ("SEEDS = [0, 1, 2, 3, 4, 5, 6, 7]", "SEEDS = [0, 1]")  # enough for what breaks in every network
ONE_EPOCH = ("EPOCHS = 20", "EPOCHS = 1")  # for claims that no training of the small networks decides
SHORT = ("epochs=4", "epochs=1")
PARAMETERS, WEN = "a57639b6", "27179a8d"
FEW = {PARAMETERS: TWO_SEEDS, WEN: SHORT}
CHOSEN = "at the λ that validation chose"

BREAKS = [
    Break(
        "labkit's center loss lacks its ½, and the update divides by n",
        ["Center loss by a loop", "Updated centers by a loop"],
        replaces={
            "labkit.losses.center.CenterLoss.update": without_one,
            "labkit.losses.center.CenterLoss.forward": without_half,
        },
        edits={PARAMETERS: ONE_EPOCH},
        quick=True,
        until="f55f953e",
    ),
    Break(
        "the share of the scatter is measured along a fixed line",
        ["Softmax alone"],
        edits={PARAMETERS: TWO_SEEDS, "b2ead5ff": ("F.normalize(own, dim=1)", "torch.tensor([0.6, 0.8])")},
        until="b2ead5ff",
    ),
    Break(
        "Wen's network is not trained",
        ["Closest accuracy of Wen's"],
        edits={PARAMETERS: ONE_EPOCH, WEN: (SHORT[0], "epochs=1, lr=1e-9")},
        until=WEN,
    ),
    Break(
        "the batched loss compares a squared distance with the radius, as printed, and lacks its ½",
        ["Radius 0", "Radius 2"],
        edits={
            PARAMETERS: ONE_EPOCH,
            WEN: SHORT,
            "3488a950": [("+ 1e-12).sqrt()", "+ 1e-12)"), (".square().mean(1) / 2", ".mean(1)")],
        },
        until="a05c1e02",
    ),
    Break(
        "nothing is pulled",
        [
            f"Pull to centers, {CHOSEN}",
            f"Pull to zero, {CHOSEN}",
            "Three times the steps, pull to centers: gain",
            "Three times the steps, pull to zero: gain",
            "Three times the steps, pull to centers minus pull to zero: mean S_W/S_B",
            "Unseen classes, pull to centers minus softmax alone",
            "Unseen classes, pull to zero minus softmax alone",
            "Collapse",
            "Plane",
            "Unseen classes, pull to centers: change",
            "Unseen classes, pull to zero: change",
        ],
        edits=FEW | {"9b6d050e": ("self.weight * pull", "0 * pull")},
        until="5e0c0a07",
    ),
    Break(
        "the control is not pulled",
        [
            "Pull to centers minus pull to zero",
            f"Pull to zero, {CHOSEN}: share",
            "Three times the steps, pull to centers minus pull to zero: mean closest",
            "Unseen classes, pull to centers minus pull to zero",
        ],
        edits=FEW | {"58250bd6": ("Setting(w, move=not_at_all)", "Setting(0 * w, move=not_at_all)")},
        until="d6c99b4c",
    ),
    Break(
        "the pull to zero is one to the class centers too, and the test images are the training images",
        ["Collapse, NC2", "Collapse, pull to centers: NC1 of test", "Collapse, pull to zero: NC1 of test"],
        edits=FEW
        | {
            "58250bd6": ("Setting(w, move=not_at_all)", "Setting(w)"),
            "5e0c0a03": ("(x_test, y_test)", "(x, y)"),
        },
        until="5e0c0a07",
    ),
    Break(
        "all centers stay at 0",
        [f"Pull to centers, {CHOSEN}: S_W/S_B divided"],
        edits={PARAMETERS: ("SEEDS = [0, 1, 2, 3, 4, 5, 6, 7]", "SEEDS = [0, 1, 2, 3]"), WEN: SHORT}
        | {"58250bd6": ("Setting(w) for w", "Setting(w, move=not_at_all) for w")},
        until="a05c1e18",
    ),
    Break(
        "the radius is ignored, and softmax is never off",
        ["λ = 100", "no softmax"],
        edits=FEW
        | {
            "3488a950": ("(distance - radius[:, None])", "(distance - 0 * radius[:, None])"),
            "426e4c9b": ("softmax=0.0", "softmax=1.0"),
        },
        until="17cdeb99",
    ),
    Break(
        "the gradient has no λ in it, and Adam is given its own rate for the network's",
        ["By the gradient, λ = 0.001", "By Adam at the network's rate"],
        edits=FEW
        | {
            "3488a950": ("rate * weight * sums / BATCH", "rate * sums / BATCH"),
            "63283c78": ("ByAdam(RATE)", "ByAdam(0.1)"),
        },
        until="a05c1e09",
    ),
    Break(
        "Adam does not divide by the gradient's size, λ stays in the step without it, and the high rate is low",
        ["Adam's first step", "By Adam at its own rate", "Without λ, λ = 0.001", "Without λ and at ten times"],
        edits=FEW
        | {
            "00baa2a5": ("size = (self.second / (1 - 0.999**self.step)).sqrt() + 1e-8", "size = 1.0"),
            "63283c78": [
                ("by_gradient(sums, counts, 1.0, rate)", "by_gradient(sums, counts, weight, rate)"),
                ("rate=5.0", "rate=0.05"),
            ],
        },
        until="a05c1e09",
    ),
    Break(
        "the gradient without λ is the rule",
        ["Without λ, rare classes"],
        edits=FEW
        | {"63283c78": ('"gradient without λ": lambda: without_weight', '"gradient without λ": lambda: by_rule')},
        until="a05c1e09",
    ),
    Break(
        "networks whose centers lag are not pulled",
        ["α of 0.01, 0.5 and 1", "λ = 0.001, gradient minus rule"],
        edits=FEW
        | {
            "a05c1e07": (
                "Setting(weight, move",
                'Setting(weight * (name not in ("gradient", "rule, α = 0.01")), move',
            )
        },
        until="a05c1e09",
    ),
    Break(
        "no class is rare",
        [
            "Rare classes, pull to centers at λ = 0.1",
            "Rare classes, pull to centers, largest gain of three λ: mean closest",
            "Rare classes, softmax alone",
        ],
        edits=FEW | {"00baa2a5": ("[: 10 if c in RARE else None]", "[:None]")},
        until="5d968374",
    ),
    Break(
        "with rare classes, softmax alone is not trained",
        ["Rare classes, pull to centers, largest gain of three λ"],
        edits=FEW
        | {
            "0c19865b": (
                "SWEPT[name] for name",
                'Setting(softmax=0.0) if name == "softmax alone" else SWEPT[name] for name',
            )
        },
        until="5d968374",
    ),
    Break(
        "the pixels are noise, and the record's two measures change places",
        ["Unseen classes, best network minus pixels", "In the record"],
        edits=FEW
        | {
            "b1842313": ("auc(images, labels)", "auc(torch.randn(len(images), 2), labels)"),
            "b6b4d6e7": [('dataset, "MAP@R"', 'dataset, "accuracy"'), ('mnist", "accuracy"', 'mnist", "MAP@R"')],
        },
        until="b6b4d6e7",
    ),
]
