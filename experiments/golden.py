"""Golden runs: what the code that decides the records computes, kept as numbers in tests/golden/*.json.

    python -m experiments.golden            compare: prints what differs, status 1 if anything does
    python -m experiments.golden --write    store what the code computes now

A record of a paper table names versions of behavior (store.BEHAVIOR), which people raise by hand. These runs tell when:
for every row of every table, 20 steps of the tiny size on scikit-learn's digits. After a change of names, comments or
files all numbers stay. Where one differs, the code computes something else: either mend it, or raise the version of
what has changed, write the golden runs anew, and commit both together. A run that differs is not written before one of
the versions that decide it is raised.

Everything is computed in float64 on the CPU, where sums in another order differ by 1e-15 or so. Pixels are made in
float32, as in training; here they are multiples of 1/256, which float32 holds exactly.
"""

import argparse
import copy
import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from experiments import ensembling, networks, parts, recipe, records, store, trial
from experiments.definitions import BASELINE, TABLES, Row
from labkit import data, ensembles, training

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden"
STEPS = 20
BATCH = 20
EXACT = ((128 / 255,), (256 / 255,))  # normalization that takes 0..255 to multiples of 1/256 from -1/2 on

# Largest difference from the stored number, as a share of it.
TOLERANCE = 1e-9
LOOSER = {  # by words in the name of a run
    # Bilinear sampling and contrast are float32 arithmetic on pixels: its last digit differs between processors.
    **dict.fromkeys(("rotation", "crop", "contrast"), 1e-6),
    # 52 batch normalizations over 8 images: each multiplies what rounding has done.
    "distancing_mobilenet_v2": 1e-6,
    # These losses are steep where the run passes: seven steps make 5e-9 of what rounding has done.
    **dict.fromkeys(("circle, m=0.5", "circle, m=0.6"), 1e-6),
}


@dataclass(frozen=True)
class Golden:
    """A golden run.

    file, name  where its numbers are stored
    behavior    the names in store.BEHAVIOR of what decides them
    compute     () -> the losses of its steps, or {measure: number or text}
    """

    file: str
    name: str
    behavior: frozenset[str]
    compute: Callable

    @property
    def place(self) -> str:
        """For people."""
        return f"{self.file}, {self.name}"


# ---- runs


@contextmanager
def in_float64() -> Iterator[None]:
    """What is made within has float64 parameters, drawn in float64 too: the same numbers on every processor."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def digits(split: str = "train", enlarged: int = 1) -> data.Images:
    """scikit-learn's digits with pixels that float32 holds exactly; 8·enlarged pixels a side."""
    found = data.load("digits", split)
    pixels = found.images.repeat_interleave(enlarged, 2).repeat_interleave(enlarged, 3)
    return replace(found, images=pixels, normalize=EXACT)


def plan_of(**changes) -> recipe.Recipe:
    """The tiny recipe with batches of 20, and these changes."""
    return replace(recipe.recipe("tiny", "digits"), **{"batches": {"batch_size": BATCH}, **changes})


def trained(row: Row, plan: recipe.Recipe, train: data.Images, steps: int = STEPS) -> tuple:
    """(losses of all steps, network, loss) of a run with the first setting of a row."""
    dim = row.dim or plan.dim
    with in_float64():
        torch.manual_seed(0)
        network = trial.InSpace(networks.network(plan.network, train, dim), row.space).double()
        _give_signs(network.network)
        loss = row.loss(len(train.classes), dim, steps, **row.parameters(0)).double()
    history = training.fit(
        network,
        loss,
        data.Batches(train, **plan.batches, steps=steps, augment=plan.augment),
        1,
        optimizer=trial.optimizer(row, plan, 0),
        schedule=parts.schedule(plan, row.late),
        device="cpu",
        progress=False,
    )
    return history.loss, network, loss


def _give_signs(network):
    """Give the whitening filters signs: which of v and -v a processor calls an eigenvector is chance."""
    if hasattr(network, "filters"):
        half = network.filters[: len(network.filters) // 2].flatten(1)
        signs = half.gather(1, half.abs().argmax(dim=1, keepdim=True)).sign()
        network.filters.copy_(torch.cat([signs * half, -signs * half]).view_as(network.filters))


def losses_of(row: Row, plan: recipe.Recipe, enlarged: int = 1, steps: int = STEPS) -> list[float]:
    """The losses of all steps of a run on digits."""
    return trained(row, plan, digits(enlarged=enlarged), steps)[0]


def ensemble(method: str, network: str) -> dict[str, float]:
    """{measure: value} of an ensemble of two members: four epochs in all, or two, of two steps each."""
    small = network == "small_resnet"
    count, batch, epochs, lr = (40, 20, 4, ensembling.RATE) if small else (16, 8, 2, ensembling.RATE / 10)
    train, test = trial.thinned(digits(), count), trial.thinned(digits("test"), count)

    def make(seed):
        return copy.deepcopy(_member(network, seed))

    options = {"batch_size": batch, "lr": lr, "hill": ensembling.hill(make(0)), "device": "cpu"}
    return ensembles.compare(method, make, train, test, epochs, 2, seed=0, **options)


@functools.cache
def _member(network, seed):
    with in_float64():
        return ensembling.network(network, 2, digits(), seed)


def measured(row: Row, unseen: bool) -> dict[str, float]:
    """What is measured of a trained network, in the end and on the way."""
    train, test = digits(), trial.thinned(digits("test"), 300)
    if unseen:
        train, test = train.only(train.classes[:7]), digits("test").only(train.classes[7:])
    _, network, loss = trained(row, plan_of(), train)
    on_the_way = trial.curve_point(network, train, test, row.measured, unseen, 100)
    in_the_end = trial.measure(network, loss, train, test, row.measured, unseen)
    return in_the_end | {f"{name}, on the way": value for name, value in on_the_way.items()}


def held_back(by_class: bool) -> dict[str, str]:
    """Fingerprints of what tuning trains on, and of what it is scored on."""
    kept, held = trial.validation_split(digits(), by_class)
    return {"kept": kept.fingerprint()[:16], "held back": held.fingerprint()[:16]}


# ---- all of them


def of_tables() -> Iterator[Golden]:
    """Every row of every table; one that does what an earlier one does comes once."""
    seen = []
    for name, table in TABLES.items():
        for row, definition in table.rows.items():
            if (same := replace(definition, tuned_as=None, settings=definition.settings[:1], longer=1)) in seen:
                continue
            seen.append(same)
            if table.runs == "trial":
                behavior, compute = trial.behavior(definition, plan_of()), functools.partial(losses_of, same, plan_of())
            else:
                behavior, compute = ensembling.behavior(definition), functools.partial(ensemble, **definition.fixed)
            yield Golden(name, row, frozenset(behavior), compute)


def of_recipes() -> Iterator[Golden]:
    """Cross-entropy with each of the recipes' networks, augmentations and ways to draw a batch."""
    plans = [recipe.recipe(size, dataset) for size, of in recipe._DATASETS.items() for dataset in of]
    varied = {}
    for name in dict.fromkeys(plan.network for plan in plans):
        varied[f"network: {name}"] = ({"network": name, "batches": {"batch_size": 8}}, 2, 4)  # large ones take long
    for augment in dict.fromkeys(plan.augment for plan in plans):
        words = ", ".join(f"{name} {value}" for name, value in recipe.changes(augment).items())
        varied[f"augmentation: {words}"] = ({"augment": augment}, 1, STEPS)
    varied["batches: 4 classes of 5"] = ({"batches": {"classes_per_batch": 4, "samples_per_class": 5}}, 1, STEPS)
    row = TABLES["pedcc"].rows[BASELINE]
    for name, (changes, enlarged, steps) in varied.items():
        plan = plan_of(**changes)
        compute = functools.partial(losses_of, row, plan, enlarged, steps)
        yield Golden("recipes", name, frozenset(trial.behavior(row, plan)), compute)


def of_measuring() -> Iterator[Golden]:
    """What is measured of trained networks, and what is held back for tuning."""
    cases = {
        "class scores, on the sphere": (TABLES["pedcc"].rows[BASELINE], False),
        "in the ball": (TABLES["exponential_triplet"].rows["L_exp"], False),
        "unseen classes": (TABLES["exponential_triplet"].rows["L_exp"], True),
    }
    for name, (row, unseen) in cases.items():
        behavior = frozenset(trial.behavior(row, plan_of()))
        yield Golden("measuring", name, behavior, functools.partial(measured, row, unseen))
    for by_class in (False, True):
        name = f"held back by {'class' if by_class else 'image'}"
        yield Golden("measuring", name, frozenset({"data"}), functools.partial(held_back, by_class))


RUNS = [*of_tables(), *of_recipes(), *of_measuring()]


# ---- stored, compared


def stored(file: str) -> dict:
    """What a file holds; {} where there is none."""
    path = FOLDER / f"{file}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def difference(run: Golden, now) -> str:
    """In words where a run leaves its stored numbers, "" where it does not. now: what `compute` has given."""
    then = stored(run.file).get(run.name)
    if then is None:
        return f"{run.place}: new"
    ours, theirs = (dict(enumerate(v, start=1)) if isinstance(v, list) else v for v in (now, then))
    if ours.keys() != theirs.keys():
        return f"{run.place}: {', '.join(map(str, ours))}, stored {', '.join(map(str, theirs))}"
    close = max([TOLERANCE, *(tolerance for word, tolerance in LOOSER.items() if word in run.place)])
    for key, value in ours.items():
        if isinstance(value, str):
            same = value == theirs[key]
        else:
            same = abs(value - theirs[key]) <= close * abs(theirs[key])  # not so for NaN
        if not same:
            step = f"step {key}" if isinstance(now, list) else key
            return f"{run.place}, {step}: {value}, stored {theirs[key]}"
    return ""


def write(found: dict[Golden, object]) -> None:
    """Store all runs, each on one line with twelve digits of a number, and the versions that they belong to."""
    for file in dict.fromkeys(run.file for run in found):
        lines = [
            f" {json.dumps(run.name, ensure_ascii=False)}: {_words(v)}" for run, v in found.items() if run.file == file
        ]
        records.write_whole(FOLDER / f"{file}.json", "{\n" + ",\n".join(lines) + "\n}\n")
    records.write_whole(FOLDER / "behavior.json", json.dumps(store.BEHAVIOR, indent=1) + "\n")


def _words(numbers):
    if isinstance(numbers, list):
        return json.dumps([float(f"{each:.12g}") for each in numbers])
    return json.dumps({k: v if isinstance(v, str) else float(f"{v:.12g}") for k, v in numbers.items()})


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its status."""
    parser = argparse.ArgumentParser("python -m experiments.golden", description="Compare or write the golden runs.")
    parser.add_argument("--write", action="store_true", help="store what the code computes now")
    asked = parser.parse_args(arguments)
    then = stored("behavior")
    raised = {name for name, version in store.BEHAVIOR.items() if then.get(name) != version}
    found, differ, refused = {}, 0, 0
    for run in RUNS:
        found[run] = run.compute()
        if said := difference(run, found[run]):
            differ += 1
            print(said)
            if not said.endswith(": new") and not run.behavior & raised:
                refused += 1
                print(f"  raise the version of what has changed: one of {', '.join(sorted(run.behavior))}")
    print(f"{len(found)} golden runs, {differ} differ from what is stored")
    if asked.write and refused:
        print("nothing is written: see store.BEHAVIOR")
    elif asked.write:
        write(found)
    return int(refused > 0 if asked.write else differ > 0 or then != store.BEHAVIOR)


if __name__ == "__main__":
    sys.exit(main())
