"""Breaks of lab 00: what its sentences credit, taken away."""

from tools.breaks import Break


def off_by_a_little(original):
    """Distances that are wrong by a millionth."""
    return lambda a, b=None, squared=False: original(a, b, squared) + 1e-6


def no_loss(original):
    """A contrastive loss that is always 0, so that nothing is learned."""
    return lambda self, embeddings, labels: original(self, embeddings, labels) * 0


BREAKS = [
    Break(
        "the loss is always 0: nothing is learned",
        ["Closest accuracy of the trained plane minus", "Two learned numbers beat", "Triplets are in wrong order far"],
        replaces={"labkit.losses.contrastive.ContrastiveLoss.forward": no_loss},
    ),
    Break(
        "distances are wrong by a millionth",
        ["Five ways to compute distances agree"],
        replaces={"labkit.distances.pairwise_distances": off_by_a_little},
        quick=True,
        until="start-27",
    ),
    Break(
        "weights are drawn anew at every call",
        ["Same seed, same network"],
        edits={"start-32": ("    torch.manual_seed(seed)\n", "    torch.seed()\n")},
    ),
    Break(
        "the seed is not used",
        ["Other seed, other network"],
        edits={"start-32": [("torch.manual_seed(seed)", "torch.manual_seed(0)"), ("seed=seed)", "seed=0)")]},
    ),
    Break(
        "pixels say which digit they show, and places at random do too",
        ["Compared pixel by pixel", "With places drawn at random"],
        edits={
            "start-16": (
                "    triplets = count_triplets(points, labels, margin=0.0)",
                "    triplets = count_triplets(points + 100 * labels[:, None], labels, margin=0.0)",
            )
        },
        until="start-16",
    ),
]
