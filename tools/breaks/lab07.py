"""Breaks of lab 07: what its sentences credit, taken away."""

import torch

from tools.breaks import Break


def turned(original):
    """Circle loss pulls where it should push, and pushes less what is nearer; the triplet loss pushes twice as hard."""

    def forces(loss, s_n, s_p, margin=0.25, gamma=32.0):
        down, up = original(loss, s_n, s_p, margin, gamma)
        return (up - 0.5 * abs(s_n), down) if loss == "circle" else (2 * down, up)

    return forces


def constants(original):
    """A record in which only the triplet loss falls with its margin, and "L_std" is a loss of its own."""

    def measured(table, dataset, metric, size="reduced"):
        rows = original(table, dataset, metric, size)
        fall = {row: float(row.split("m=")[1]) if row.startswith("triplet, m=") else 0.0 for row in rows}
        return {row: torch.full((3,), -fall[row] - (row == "L_std")) for row in rows}

    return measured


THREE_SEEDS = ("SEEDS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]", "SEEDS = [0, 1, 2]")
FEW_STEPS = ("STEPS = 300", "STEPS = 150")
HARDLY = ("drawn(unequal, 48,", "drawn(unequal, 2,")  # where the loaders are not what is broken
ONE_RATE = ("RATES, TUNING, rate = [0.003, 0.01, 0.03]", "RATES, TUNING, rate = [0.01]")
TUNED = ("GAMMAS, WIDTHS = [4.0, 8.0, 16.0, 32.0, 80.0], [0.2, 0.4, 0.6, 0.8, 1.0]", "GAMMAS, WIDTHS = [16.0], [0.6]")
SHORT = {"2b24ef34": [THREE_SEEDS, FEW_STEPS], "n07pk001": HARDLY, "95a4f6c2": ONE_RATE}


def standing_still(name):
    """The edit by which a row's networks stay as they were at the start."""
    return "rate[name], [best[name]]", f'rate[name] * (1e-6 if name == "{name}" else 1), [best[name]]'


BREAKS = [
    Break(
        "the forces of circle loss change places, the triplet loss pushes twice as hard",
        ["Triplet loss: push", "Circle loss, near", "Circle loss, far", "Circle loss: least growth"],
        replaces={"labkit.figures.lab07.forces": turned},
        until="c1e540a9",
    ),
    Break(
        "the negatives' optimum is −2m in the loops, and both signs are turned",
        [
            "The pencil check",
            "Circle loss by loops",
            "As the homework prints it",
            "With the minus sign: share of positives",
            "With the minus sign: share of negatives",
        ],
        edits={
            "67e2d034": ("weight = (s + margin)", "weight = (s + 2 * margin)"),
            "2bc79600": [("of_p = sign", "of_p = -sign"), ("of_n = gamma", "of_n = -gamma")],
        },
        quick=True,
        until="2bc79600",
    ),
    Break(
        "the unified pair loss has no margin",
        ["AM-softmax minus", "Unified pair loss over γ"],
        edits={"6dac4ed9": ("(margin - s_p)", "(0 - s_p)")},
        until="6dac4ed9",
    ),
    Break(
        "α is followed where it should be constant, and the radius is m",
        ["Push on a negative", "Loss at nine places", "Margin from which on"],
        edits={
            "fc12516c": ("detach=detach)", "detach=not detach)"),
            "c1e540a9": [("radius = 2**0.5 * 0.25", "radius = 0.25"), (").max() / 2)", ").min() / 2)")],
        },
        until="c1e540a9",
    ),
    Break(
        "the loader called balanced shuffles, the one called shuffled is P×K",
        [
            "Shuffled: a rare class",
            "Balanced: a rare class",
            "Rare classes: mean recall@1, P×K minus shuffled",
            "Rare classes: mean recall@1, balanced minus",
            "Rare classes: mean recall@1, P×K minus balanced",
        ],
        edits={
            "e01238fb": [
                ('"balanced": partial(Balanced,', '"balanced": partial(data.Batches,'),
                ('"shuffled": partial(data.Batches, batch_size=P * K)', '"shuffled": by_class'),
            ],
        },
        until="35339ee4",
    ),
    Break(
        "P×K takes the frequent classes for one",
        ["Frequent classes"],
        edits={"ef4dfc21": ("unequal.labels, **how", 'unequal.labels.clamp(min=4 * (name == "P×K")), **how')},
        until="35339ee4",
    ),
    Break(
        "α is not held constant, the triplet loss has another margin, its miner takes the easiest positive",
        ["circle: grad", "circle, hardest: grad", "triplet, all: grad", "triplet, hardest: grad"],
        edits={
            "n07pk001": HARDLY,
            "1078a18d": [
                ("circle_of_pairs(s_p, s_n, margin, gamma)", "circle_of_pairs(s_p, s_n, margin, gamma, detach=False)"),
                ("+ margin[..., None]", "+ 2 * margin[..., None]"),
            ],
            "12f1905c": ("s_p.amin(2", "s_p.amax(2"),
        },
        until="7163355b",
    ),
    Break(
        "no miner anywhere, weights everywhere, and γ = 1 where it should be sharp",
        [
            "Both mined, triplet minus circle: steps to 95",
            "A miner costs circle loss",
            "A miner costs triplet loss more",
            "Without its weights",
            "Part of the gradient",
        ],
        edits=SHORT
        | {
            "12f1905c": [
                ("mined(circle)", "circle"),
                ("mined(triplet)", "triplet"),
                ('"circle, no weights": no_weights', '"circle, no weights": circle'),
            ],
            "442cd789": [
                ('"γ = 80": (circle, 80)', '"γ = 80": (circle, 1)'),
                ('"γ = 8": (circle, 8)', '"γ = 8": (circle, 80)'),
                ("(no_weights, 80)", "(no_weights, 1)"),
            ],
        },
        until="n07mi001",
    ),
    Break(
        "the triplet loss hardly learns, the mined circle loss takes too large steps",
        [
            "Both mined, triplet minus circle: steps to 92",
            "No miner, triplet minus circle: steps",
            "At the end: lowest",
            "No miner, triplet minus circle: MAP@R",
        ],
        edits=SHORT
        | {
            "6a70133a": (
                "STEPS, rate[name])",
                'STEPS, rate[name] * (10 if name == "circle, hardest" else 0.02 if "triplet" in name else 1))',
            ),
        },
        until="28c9ad75",
    ),
    Break(
        "tuned circle loss is not trained, pixels are noise, and the triplet loss has seen the new digits",
        [
            "MAP@R that tuned circle loss leads by",
            "Tuned, recall@1 at the end",
            "Spread of the hardest pairs, minus circle loss's: triplet",
            "Spread of the hardest pairs, minus circle loss's: no weights",
            "Unseen digits",
        ],
        edits=SHORT
        | {
            "n07we001": TUNED,
            "n07we002": standing_still("circle"),
            "n07un001": [
                standing_still("circle"),
                ("images=seen, judged", 'images=train if "triplet" in name else seen, judged'),
                (
                    "bare = [evaluation.recall_at_k(pixels(new, SIDE)",
                    "bare = [evaluation.recall_at_k(torch.randn(len(new), 64)",
                ),
            ],
        },
        until="n07cl002",
    ),
    Break(
        "tuned circle loss without weights is not trained",
        ["Tuned, no weights minus circle: steps"],
        edits=SHORT | {"n07we001": TUNED, "n07we002": standing_still("circle, no weights")},
        until="n07we002",
    ),
    Break(
        "AM-softmax is not trained",
        ["Spread of the hardest training pairs, triplet minus"],
        edits=SHORT
        | {
            "n07we001": TUNED,
            "f0707a02": ("STEPS, rate[name],", "STEPS, rate[name] * 1e-6,"),
        },
        until="n07cl002",
    ),
    Break(
        "the networks called AM-softmax are those of circle loss",
        ["Spread of the hardest pairs, minus circle loss's: AM-softmax"],
        edits=SHORT
        | {
            "n07we001": TUNED,
            "f0707a02": ("tuned[name] = train_many(", 'tuned[name] = tuned["circle"] or train_many('),
        },
        until="n07cl002",
    ),
    Break(
        "γ = 80 and γ = 4 change places, inside is outside, the guess is tried at γ = 2, UMAP draws lots",
        [
            "Circle, of the distance of the losses",
            "Circle: validation over training",
            "Triplet: what the missing miner adds",
            "Circle: recall@1, training minus",
            "Circle, γ = 80: recall",
            "Circle, γ = 4, and triplet",
            "Untrained: hardest pair",
            "UMAP: recall@1",
        ],
        edits=SHORT
        | {
            "n07we001": TUNED,
            "94acfc81": [
                ('"circle": circle, "triplet"', '"circle": partial(circle, gamma=2.0), "triplet"'),
                (
                    "return loss(*pairs, margin), mined(loss)(*pairs, margin)",
                    "both = [loss(*pairs, margin), mined(loss)(*pairs, margin)]\n"
                    "    return both[::-1] if loss is triplet else both",
                ),
                ('"recall@1, val": recall_at_1(many,', '"recall@1, val": recall_at_1(untrained,'),
            ],
            "a71ce725": [
                ('"circle, γ = 80": (circle,', '"circle, γ = 80": (partial(circle, gamma=4.0),'),
                ('"circle, γ = 4": (partial(circle, gamma=4.0),', '"circle, γ = 4": (circle,'),
            ],
            "n07ma001": ("away < 2 * m**2", "away > 2 * m**2"),
            "961ba43d": ("umap_plane(space)", "torch.randn(len(space), 2)"),
        },
        until="11e12a2d",
    ),
    Break(
        "the mined losses change places, the circle is twice as large, the record is made up, UMAP keeps distances",
        [
            "Circle: moving average",
            "Loss about its average",
            "Recall@1 from look to look",
            "Circle, γ = 80, up to m = 0.6",
            "In the record",
            "The same triplet loss",
            "UMAP: rank correlation",
        ],
        replaces={"experiments.measured": constants},
        edits=SHORT
        | {
            "n07we001": TUNED,
            "64a6afa9": [
                ('runs[f"{name}, hardest"]', 'runs[("circle", "triplet")[name == "circle"] + ", hardest"]'),
                ("run.recall.shape[1] // 2 :", '(name == "triplet") * run.recall.shape[1] // 2 :'),
            ],
            "a71ce725": ('"circle, γ = 80": (circle,', '"circle, γ = 80": (lambda p, n, m: circle(p, n, 2 * m),'),
            "961ba43d": ("umap_plane(space)", "torch.randn(len(space), 2)"),
            "11e12a2d": ("for points in (spaces[name], plane)", "for points in (plane, plane)"),
        },
        until="11e12a2d",
    ),
]
