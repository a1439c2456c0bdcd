"""Golden runs: what the code that decides the records computes, kept as numbers in tests/golden/*.json.

    python -m experiments.golden            compare: prints what differs, status 1 if anything does
    python -m experiments.golden --write    store what the code computes now

A record of a paper table names versions of behavior (experiments.store), which people raise by hand. These runs tell
when: for every row of every table, 20 steps of the tiny size on scikit-learn's digits. After a change of names,
comments or files all numbers stay. Where one differs, the change computes something else: either mend it, or raise the
version of what has changed, write the golden runs anew, and commit both together.

Everything is computed in float64 on the CPU, where sums in another order differ by 1e-15 or so. Pixels are made in
float32, as in training; here they are multiples of 1/256, which float32 holds exactly. Only augmentation that
interpolates or scales is compared less closely, see TOLERANCE.
"""

import argparse
import copy
import dataclasses
import functools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from experiments import ensembling, parts, recipe, trial
from experiments.definitions import BASELINE, TABLES, Row
from labkit import data, ensembles, training

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden"
STEPS = 20
BATCH = 20
EXACT = ((128 / 255,), (256 / 255,))  # normalization that takes 0..255 to multiples of 1/256 from -1/2 on

# Largest difference from the stored number, as a share of it where it is larger than 1.
TOLERANCE = 1e-9
LOOSER = {
    # Bilinear sampling and contrast are float32 arithmetic on pixels: its last digit differs between processors.
    **dict.fromkeys(("rotation", "crop", "contrast"), 1e-4),
    # 52 batch normalizations over 8 images: each multiplies what rounding has done.
    "distancing_mobilenet_v2": 1e-6,
}


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
    return dataclasses.replace(found, images=pixels, normalize=EXACT)


# ---- runs


def trained(row: Row, plan: recipe.Recipe, train: data.Images, steps: int = STEPS) -> tuple:
    """(losses of all steps, network, loss) of a run with the first setting of a row."""
    dim = row.dim or plan.dim
    with in_float64():
        torch.manual_seed(0)
        network = trial.InSpace(parts.network(plan.network, train, dim), row.space).double()
        _order_filters(network.network)
        loss = row.loss(len(train.classes), dim, steps, **row.parameters(0)).double()
    history = training.fit(
        network,
        loss,
        data.Batches(train, **plan.batches, steps=steps, augment=plan.augment),
        1,
        optimizer=parts.optimizer(plan, row.settings[0]["rate"], row.late),
        schedule=parts.schedule(plan, row.late),
        device="cpu",
        progress=False,
    )
    return history.loss, network, loss


def _order_filters(network):
    """Give the whitening filters a sign: which of v and -v a processor calls an eigenvector is chance."""
    if hasattr(network, "filters"):
        half = network.filters[: len(network.filters) // 2].flatten(1)
        signs = half.gather(1, half.abs().argmax(dim=1, keepdim=True)).sign()
        network.filters.copy_(torch.cat([signs * half, -signs * half]).view_as(network.filters))


def plan_of(**changes) -> recipe.Recipe:
    """The tiny recipe with batches of 20, and these changes."""
    return dataclasses.replace(recipe.recipe("tiny", "digits"), **{"batches": {"batch_size": BATCH}, **changes})


def of_table(name: str, rows: list[str] | None = None) -> dict[str, list[float]]:
    """{row: losses} of a table of trained networks. Rows that are equal are run once."""
    train, known, found = digits(), [], {}
    for row in rows or TABLES[name].rows:
        definition = dataclasses.replace(TABLES[name].rows[row], measured="l2", tuned_as=None)
        same = [losses for other, losses in known if other == definition]
        found[row] = same[0] if same else trained(definition, plan_of(), train)[0]
        known.append((definition, found[row]))
    return found


def of_ensembles(name: str, rows: list[str] | None = None) -> dict[str, dict[str, float]]:
    """{row: {measure: value}} of a table of ensembles, of two members: four or two epochs in all, of two steps each."""
    table, found = TABLES[name], {}
    for row in rows or table.rows:
        method, network = (table.rows[row].fixed[key] for key in ("method", "network"))
        small = network == "small_resnet"
        count, batch, epochs, lr = (40, 20, 4, ensembling.RATE) if small else (16, 8, 2, ensembling.RATE / 10)
        train, test = trial.thinned(digits(), count), trial.thinned(digits("test"), count)
        make = functools.partial(_member, network)
        options = {"batch_size": batch, "lr": lr, "hill": ensembling.hill(make(0)), "device": "cpu"}
        found[row] = ensembles.compare(method, make, train, test, epochs, 2, seed=0, **options)
    return found


def _member(network, seed):
    return copy.deepcopy(_made(network, seed))


@functools.cache
def _made(network, seed):
    with in_float64():
        return ensembling.network(network, 2, digits(), seed)


# ---- what the recipes are made of


def augmentations() -> dict[str, data.Augment]:
    """The different ones that the recipes have."""
    every = [recipe.recipe(size, name).augment for size, of in recipe._DATASETS.items() for name in of]
    return {_words(augment): augment for augment in every if augment is not None}


def _words(augment):
    changed = {f.name: getattr(augment, f.name) for f in dataclasses.fields(augment)}
    return ", ".join(f"{name} {value}" for name, value in changed.items() if value != getattr(data.Augment(), name))


def of_recipes() -> dict[str, dict[str, list[float]]]:
    """{kind: {name: losses}}: cross-entropy with each of the recipes' networks, augmentations and ways to draw."""
    row, train = TABLES["pedcc"].rows[BASELINE], digits()
    draws = {"4 classes of 5": {"classes_per_batch": 4, "samples_per_class": 5}, "all of 20": {"batch_size": BATCH}}
    few = {"batch_size": 8}
    return {
        "networks": {
            name: trained(row, plan_of(network=name, batches=few), digits(enlarged=2), steps=4)[0]
            for name in ("three convolutions", "seven convolutions", "ten convolutions")
        },
        "augmentation": {
            name: trained(row, plan_of(augment=augment), train)[0] for name, augment in augmentations().items()
        },
        "batches": {name: trained(row, plan_of(batches=batches), train)[0] for name, batches in draws.items()},
    }


def of_measuring() -> dict[str, dict]:
    """What is measured of three trained networks, on the way and in the end, and which images are held back."""
    found, train, test = {}, digits(), trial.thinned(digits("test"), 300)
    names = train.classes
    unseen = train.only(names[:7]), digits("test").only(names[7:])
    cases = {
        "class scores, on the sphere": (TABLES["pedcc"].rows[BASELINE], train, test),
        "in the ball": (TABLES["exponential_triplet"].rows["L_exp"], train, test),
        "unseen classes": (TABLES["exponential_triplet"].rows["L_exp"], *unseen),
    }
    for name, (row, images, asked) in cases.items():
        _, network, loss = trained(row, plan_of(), images)
        others = trial.has_unseen_classes(images, asked)
        found[name] = trial.measure(network, loss, images, asked, row.measured, others)
        found[f"{name}, on the way"] = trial.curve_point(network, images, asked, row.measured, others, 100)
    for by_class in (False, True):
        kept, held = trial.validation_split(train, by_class)
        for part, images in (("kept", kept), ("held back", held)):
            found[f"{part}, {'by class' if by_class else 'by image'}"] = {"content": images.fingerprint()[:16]}
    return found


# ---- stored, compared


# {name of the file: what computes its content}
FILES = {
    **{
        name: functools.partial(of_table if table.runs == "trial" else of_ensembles, name)
        for name, table in TABLES.items()
        if not table.records_of
    },
    "recipes": of_recipes,
    "measuring": of_measuring,
}


def stored(name: str) -> dict:
    """What a file holds."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def differences(now, kept, where: str) -> list[str]:
    """Where two files' contents differ, in words, the first step of each run; `where` begins with the file's name."""
    if isinstance(now, dict) and isinstance(kept, dict):
        lines = [f"{where}{name}: {'new' if name in now else 'gone'}" for name in sorted(now.keys() ^ kept.keys())]
        return lines + [
            line for name in now if name in kept for line in differences(now[name], kept[name], f"{where}{name}: ")
        ]
    if isinstance(now, list) and isinstance(kept, list) and len(now) == len(kept):
        steps = (differences(a, b, f"{where}step {n}: ") for n, (a, b) in enumerate(zip(now, kept, strict=True), 1))
        return next((lines for lines in steps if lines), [])
    close = max([TOLERANCE, *(tolerance for word, tolerance in LOOSER.items() if word in where)])
    same = now == kept if isinstance(kept, str) else abs(now - kept) <= close * max(1.0, abs(kept))
    return [] if same else [f"{where}{now}, stored {kept}"]


def write(name: str, content: dict) -> None:
    """Store a file: one line for each run, twelve digits of each number."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(_text(_rounded(content)) + "\n", encoding="utf-8", newline="\n")


def _text(value, indent=""):
    """JSON in which a run, the innermost dictionary or list, stands on one line."""
    if not (isinstance(value, dict) and any(isinstance(each, dict | list) for each in value.values())):
        return json.dumps(value, ensure_ascii=False)
    deeper = indent + " "
    lines = [f"{deeper}{json.dumps(name, ensure_ascii=False)}: {_text(each, deeper)}" for name, each in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"


def _rounded(value):
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value if isinstance(value, str) else float(f"{value:.12g}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m experiments.golden", description="Compare or write the golden runs.")
    parser.add_argument("--write", action="store_true", help="store what the code computes now")
    asked = parser.parse_args(arguments)
    found = 0
    for name, compute in FILES.items():
        content = compute()
        kept = stored(name) if (FOLDER / f"{name}.json").exists() else {}
        lines = differences(content, kept, f"{name}: ")
        print(*(lines or [f"{name}: as stored"]), sep="\n")
        found += len(lines)
        if asked.write and lines:
            write(name, content)
    return int(found > 0 and not asked.write)


if __name__ == "__main__":
    sys.exit(main())
