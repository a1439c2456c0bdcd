"""One run of a paper table: train one loss on one dataset with one seed, and measure what came of it."""

import functools
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from experiments import networks, parts, store
from experiments import recipe as recipes
from experiments.definitions import Row, table_named
from labkit import data, embeddings, evaluation, training
from labkit.training import device as running
from labkit.training.resume import described

has_recipe = recipes.has_recipe
VALIDATION, VALIDATION_CLASSES = 10, 5  # every tenth training image is for tuning, or every fifth training class


@dataclass(frozen=True)
class Job:
    """What is to be run; `kind`: "tuning" (half the steps, scored on a validation split) or "final"."""

    table: str
    size: str
    dataset: str
    row: str
    kind: str
    seed: int
    setting: int  # which of the row's settings

    def name(self) -> str:
        """For people."""
        what = "" if self.kind == "final" else f"tuning, setting {self.setting + 1}, "
        return f"{self.dataset} · {self.row} · {what}seed {self.seed}"


class InSpace(nn.Module):
    """A network whose embeddings lie where the loss wants them: anywhere, on a sphere (l2), in a ball (unit_range).

    They leave in float32 at least, whatever the network computed in.
    """

    def __init__(self, network: nn.Module, space: str):
        super().__init__()
        self.network, self.space = network, space

    def forward(self, images):
        """Images (B, C, H, W) -> embeddings (B, dim)."""
        found = self.network(images)
        found = found if found.dtype == torch.float64 else found.float()
        return found if self.space == "anywhere" else getattr(embeddings, self.space)(found)


@functools.cache
def images(name: str, root: str | None) -> tuple[data.Images, data.Images]:
    """Training and test images, read once a process."""
    return data.load(name, "train", root), data.load(name, "test", root)


@functools.cache
def content(name: str, root: str | None) -> str:
    """What the dataset is: the first 16 digits of its fingerprint."""
    train, test = images(name, root)
    return hashlib.sha256((train.fingerprint() + test.fingerprint()).encode()).hexdigest()[:16]


def has_unseen_classes(train: data.Images, test: data.Images) -> bool:
    """Whether the test classes are other ones than in training."""
    return train.classes != test.classes


def validation_split(train: data.Images, by_class: bool) -> tuple[data.Images, data.Images]:
    """Training images without, and with only, those held back for tuning: always the same ones.

    by_class: hold back whole classes, for a test with unseen classes; else a share of every class.
    """
    generator = torch.Generator().manual_seed(0)
    if by_class:
        order = torch.randperm(len(train.classes), generator=generator).tolist()
        held = len(order) // VALIDATION_CLASSES
        return train.only(sorted(order[held:])), train.only(sorted(order[:held]))
    order = torch.randperm(len(train), generator=generator)
    by_label = order[train.labels[order].argsort(stable=True)]
    held = torch.zeros(len(train), dtype=torch.bool)
    held[by_label[::VALIDATION]] = True
    return train.take(~held), train.take(held)


def definition(job: Job) -> tuple[Row, recipes.Recipe, int]:
    """The row of a run, its recipe and the length of its embeddings."""
    row, recipe = table_named(job.table).rows[job.row], recipes.recipe(job.size, job.dataset)
    return row, replace(recipe, steps=row.longer * recipe.steps), row.dim or recipe.dim


def make_loss(job: Job, classes: int) -> nn.Module:
    """The loss of a run."""
    row, recipe, dim = definition(job)
    intervals, steps = recipes.steps_of(recipe, job.kind)
    return row.loss(classes, dim, intervals * steps, **row.parameters(job.setting))


def settings(job: Job) -> dict:
    """What tells a run from others of its dataset and seed, as plain values."""
    row, recipe, dim = definition(job)
    decided = {
        "loss": row.loss_name(),
        "recipe": recipe.describe(),
        "steps": list(recipes.steps_of(recipe, job.kind)),
        "dim": dim,
        "parameters": row.parameters(job.setting),
        "space": row.space,
        "measured in": row.measured,
        "rate": row.settings[job.setting]["rate"],
        "late centroids": row.late,
    }
    if row.late:
        decided["centroid rate"] = row.settings[job.setting]["centroid_rate"]
    return decided


def versions(job: Job) -> dict[str, int]:
    """{name: version} of the code's behavior that decides a run."""
    return store.versions(behavior(*definition(job)[:2]))


def behavior(row: Row, recipe: recipes.Recipe) -> set[str]:
    """The names in store.BEHAVIOR of all that decides the runs of a row in a recipe."""
    return {*store.OF_ALL, recipe.network, *row.behavior} | ({"augmentation"} if recipe.augment else set())


def run(
    job: Job,
    root: str | None = None,
    device: str = "auto",
    checkpoint: Path | None = None,
) -> dict:
    """Train and measure; returns {"results": {metric: number}, "curve": {metric: [number]}, "seconds": ..., ...}.

    checkpoint: where training is saved every 50 steps, and from where it goes on if it was cut short. The seconds are
    then those of all sittings, without what a kill has lost; there are no processor seconds. Under torchrun its
    processes share the run.
    A run whose loss stops being a finite number has results {"failed": why}, no curve, and the costs of its last
    sitting only.
    """
    started, cpu = time.perf_counter(), time.process_time()
    goes_on = checkpoint is not None and checkpoint.exists()
    train, test = images(job.dataset, root)
    unseen = has_unseen_classes(train, test)
    if job.kind == "tuning":
        train, test = validation_split(train, unseen)
    row, recipe, dim = definition(job)
    intervals, steps = recipes.steps_of(recipe, job.kind)
    torch.manual_seed(job.seed)  # the network first: it starts from the same weights for every loss
    network = InSpace(networks.network(recipe.network, train, dim), row.space)
    loss = make_loss(job, len(train.classes))
    words = {"loss": " ".join(described(loss).split())}
    count = 2000 if job.kind == "final" else 6000
    device = running.choose_device(device)
    world = running.world_size()
    if world > 1:
        network = _synchronized(network, device)
    elif device.type == "cuda":
        train, test = train.to(device), test.to(device)
    before = time.perf_counter()
    try:
        history = training.fit(
            network,
            loss,
            data.Batches(train, **recipe.batches, steps=steps, augment=recipe.augment, seed=job.seed),
            epochs=intervals,
            optimizer=optimizer(row, recipe, job.setting),
            schedule=parts.schedule(recipe, row.late),
            validate=functools.partial(
                curve_point, train=train, test=test, space=row.measured, unseen=unseen, count=count
            ),
            save=checkpoint and training.Resume(checkpoint, every=50, run_id=asdict(job)),
            device=device,
            precision=precision(job.size, device),
            progress=False,
        )
    except FloatingPointError as error:
        return {"results": {"failed": str(error).split(". ")[0]}, "curve": {}, **_cost(started, cpu), **words}
    started += time.perf_counter() - before - history.seconds
    if job.kind == "tuning":
        results = {name: values[-1] for name, values in history.metrics.items()}
        results |= tuning_point(network.to(device), loss, test, row.measured)
        curve = {}
    else:
        results = measure(network.to(device), loss, train, test, row.measured, unseen)
        curve = {"step": [steps * (number + 1) for number in range(intervals)]}
        curve |= {"loss": history.epoch_loss, **history.metrics}
    rounded = {name: [round(value, 6) for value in values] for name, values in curve.items()}
    return {
        "results": {name: round(value, 6) for name, value in results.items()},
        "curve": rounded,
        "images a second": round(history.images_per_second * world),
        "processes": world,
        **_cost(started, None if goes_on else cpu),
        **words,
    }


def optimizer(row: Row, recipe: recipes.Recipe, setting: int) -> Callable:
    """The optimizer of a row with one of its settings."""
    rates = row.settings[setting]
    given = {"centroid_rate": rates["centroid_rate"]} if row.late else {}
    return parts.optimizer(recipe, rates["rate"], row.late, **given)


def precision(size: str, device: torch.device) -> str:
    """bf16 at full size where the device computes in it, as `fit` chooses for a GPU; else what `fit` chooses.

    A CPU without its own bf16 would take ten times as long.
    """
    computes = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if size == "full" and computes else "auto"


def check_shared(job: Job, root: str | None, device: str) -> None:
    """Raises ValueError where several processes cannot share a run."""
    _, recipe, dim = definition(job)
    _synchronized(networks.network(recipe.network, images(job.dataset, root)[0], dim), running.choose_device(device))


def _synchronized(network: nn.Module, device: torch.device) -> nn.Module:
    """The network with batch normalization over the whole batch, not over the slice of a process."""
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()):
        return network
    if device.type != "cuda":
        raise ValueError(
            "devices: on a CPU the batch normalization of this network would see a slice of each batch only, which is "
            "another run than with one process; use jobs there"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(network)


def _cost(started, cpu):
    cost = {"seconds": round(time.perf_counter() - started, 1)}
    return cost if cpu is None else {**cost, "processor seconds": round(time.process_time() - cpu, 1)}


# ---- measuring


def embedded(network, found: data.Images, space: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings (N, dim) of all images, where distances are measured, and labels (N,), both where the network lies."""
    device = running.place_of(network)[0]
    rows = training.embed(network, found, device=device).to(device)
    if not rows.isfinite().all():
        raise FloatingPointError("the embeddings are not finite numbers")
    return (embeddings.l2(rows) if space == "l2" else rows), found.labels.to(device)


def thinned(found: data.Images, count: int) -> data.Images:
    """At most `count` images, evenly spaced in their order."""
    return found.take(torch.linspace(0, len(found) - 1, min(count, len(found))).long())


def curve_point(network, train, test, space, unseen, count):
    """What is measured on the way: on at most `count` test images, with centers from as many training images."""
    rows, labels = embedded(network, thinned(test, count), space)
    recall = evaluation.recall_at_k(rows, labels, 1)[1]
    if unseen:
        return {"recall@1": recall, "MAP@R": evaluation.map_at_r(rows, labels)}
    accuracy = evaluation.closest_accuracy(rows, labels, *embedded(network, thinned(train, count), space))
    return {"closest accuracy": accuracy, "recall@1": recall}


def tuning_point(network, loss, held, space):
    """What is measured of the images held back, beside `curve_point`, so that each table has its deciding metric."""
    rows, labels = embedded(network, held, space)
    return {"MAP@R": evaluation.map_at_r(rows, labels)} | accuracy_of_scores(network, loss, held)


def measure(network, loss, train, test, space, unseen) -> dict[str, float]:
    """Everything that the tables report, {metric: share or angle}; distances between embeddings in `space`."""
    rows, labels = embedded(network, test, space)
    results = {
        "recall@1": evaluation.recall_at_k(rows, labels, 1)[1],
        "MAP@R": evaluation.map_at_r(rows, labels),
    }
    if getattr(loss, "learnable", False):
        results["centroids moved"] = loss.drift().mean().item()
    if unseen:
        return results | of_unseen_classes(rows, labels)
    reference = embedded(network, train, space)
    results["closest accuracy"] = evaluation.closest_accuracy(rows, labels, *reference)
    ranges = evaluation.range_accuracy(rows, labels, *reference)
    results |= {f"range accuracy, {name}": getattr(ranges, name) for name in ("soft", "strict")}
    results["range coverage"] = ranges.coverage
    return results | accuracy_of_scores(network, loss, test)


def accuracy_of_scores(network, loss, found: data.Images) -> dict[str, float]:
    """{"accuracy": how often the highest class score is right}, {} where a loss has no scores for the classes."""
    if (scores := scores_of(loss)) is None:
        return {}
    loss.cpu()
    plain = training.embed(network, found, device=running.place_of(network)[0])
    with torch.no_grad():
        return {"accuracy": (scores(plain).argmax(dim=1) == found.labels.cpu()).double().mean().item()}


def scores_of(loss):
    """The class scores of a loss, or of the first part of a weighted sum that has some; None where there are none."""
    either = [loss, *getattr(loss, "losses", [])]
    return next((part.scores for part in either if hasattr(part, "scores")), None)


def of_unseen_classes(rows, labels, pairs=6000) -> dict[str, float]:
    """Closest accuracy among classes that training has not seen, and verification of pairs.

    The center of a class is the mean of every second of its images; the others are scored. Verification: the accuracy
    at the threshold that is best on nine tenths of the pairs, on the last tenth, ten times (as for LFW).
    """
    rows, labels = rows.cpu(), labels.cpu()
    place = torch.empty_like(labels)
    order = labels.argsort(stable=True)
    first = torch.searchsorted(labels[order], labels[order])
    place[order] = torch.arange(len(labels)) - first
    known, asked = place % 2 == 0, place % 2 == 1
    closest = evaluation.closest_accuracy(rows[asked], labels[asked], rows[known], labels[known])
    counts = labels.bincount()
    possible = int((counts * (counts - 1) // 2).sum())
    i, j, same = evaluation.verification_pairs(labels, min(pairs, 2 * possible))
    verified = evaluation.verification(rows[i], rows[j], same)
    tenth = torch.randperm(len(i), generator=torch.Generator().manual_seed(0)) % 10
    shares = []
    for number in range(10):
        other, own = tenth != number, tenth == number
        chosen = evaluation.verification(rows[i[other]], rows[j[other]], same[other])
        shares.append(chosen.accuracy(rows[i[own]], rows[j[own]], same[own]))
    return {
        "closest accuracy": closest,
        "verification accuracy": sum(shares) / len(shares),
        "verification AUC": verified.auc,
        "equal error rate": verified.eer,
    }
