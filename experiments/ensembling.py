"""Runs of the ensemble tables (paper 004): one way to an ensemble on one dataset with one seed, judged on test images.

They stand in for those of experiments.trial. Nothing is tuned: the learning rate and the hill are those of
lab 09, chosen there on small data, and the same for all rows.
"""

import time

import torch

from experiments import store, trial
from experiments.definitions import table_named
from labkit import ensembles, networks
from labkit.distancing import Checkpoint
from labkit.training.device import world_size

# images: so many of the training set, None for all; epochs: of all members together; width: of the small residual net
RECIPES = {
    "full": {"images": None, "epochs": 80, "batch_size": 128, "width": 32},
    "reduced": {"images": 1000, "epochs": 40, "batch_size": 64, "width": 8},
    # No narrower: PyTorch 2.15 writes past its memory in a 1×1 convolution with stride 2 of fewer than 8 channels.
    "tiny": {"images": 80, "epochs": 4, "batch_size": 40, "width": 8},
}
MEMBERS = 4
RATE = 0.05
HILL = {"bend": 0.15, "sigma": 0.05}  # bend s/σ² in weight space; sigma the root mean square displacement of a weight


def has_recipe(size, dataset):
    """Whether there is one for a dataset: one for all, here."""
    return size in RECIPES


def settings(job):
    """What tells a run from others of its dataset and seed, as plain values."""
    row = table_named(job.table).rows[job.row]
    return {"recipe": {**RECIPES[job.size], "members": MEMBERS, "rate": RATE, "hill": HILL}, **row.fixed}


def versions(job):
    """{name: version} of the code's behavior that decides a run."""
    return store.versions(behavior(table_named(job.table).rows[job.row]))


def behavior(row):
    """The names in store.BEHAVIOR of all that decides the runs of a row."""
    return {"batches", "data", "ensembles", "loop", *row.behavior}


def run(job, root=None, device="auto"):
    """Train the members and judge them: {"results": {measure: number}, "curve": {}, "seconds": ...}."""
    if (processes := world_size()) > 1:
        raise ValueError(f"devices: got {processes}, expected 1: a run of an ensemble is not shared by processes")
    started, cpu = time.perf_counter(), time.process_time()
    row, recipe = table_named(job.table).rows[job.row], RECIPES[job.size]
    train, test = trial.images(job.dataset, root)
    train = trial.thinned(train, recipe["images"] or len(train))

    def make_network(seed):
        return network(row.fixed["network"], recipe["width"], train, seed)

    results = ensembles.compare(
        row.fixed["method"],
        make_network,
        train,
        test,
        recipe["epochs"],
        MEMBERS,
        job.seed,
        batch_size=recipe["batch_size"],
        lr=RATE,
        hill=hill(make_network(0)),
        device=device,
    )
    return {
        "results": {name: round(value, 6) for name, value in results.items()},
        "curve": {},
        "seconds": round(time.perf_counter() - started, 1),
        "processor seconds": round(time.process_time() - cpu, 1),
    }


def network(name, width, train, seed):
    """A network that scores the classes of `train`: "small_resnet", or one of torchvision's, such as "mobilenet_v2"."""
    torch.manual_seed(seed)
    options = {"dim": len(train.classes), "in_channels": train.shape[0]}
    return (
        networks.SmallResNet(width=width, **options) if name == "small_resnet" else networks.Backbone(name, **options)
    )


def hill(network):
    """Arguments of a DistancePenalty that bends the ground under the network by HILL["bend"] in every direction."""
    strength = HILL["bend"] * Checkpoint.of(network).size * HILL["sigma"] ** 2
    return {"strength": strength, "sigma": HILL["sigma"], "measure": "mean"}
