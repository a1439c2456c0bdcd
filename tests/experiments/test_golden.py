"""The golden runs: the code computes what it did when the versions in store.BEHAVIOR were written.

Names, comments and files may change without a record going out of date; what is computed may not.
"""

import ast
import functools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import experiments
import labkit
from experiments import ensembling, golden, networks, parts, records, store, trial
from experiments.definitions import TABLES
from labkit import embeddings, ensembles, evaluation, losses
from labkit.data import Augment, Batches
from labkit.distancing import DistancePenalty

RUN = {run.place: run for run in golden.RUNS}
ROWS = [row for table in TABLES.values() if table.runs == "trial" for row in table.rows.values()]


@pytest.mark.parametrize("place", RUN)
def test_the_code_computes_what_the_golden_run_holds(place):
    assert not golden.difference(RUN[place], RUN[place].compute())


def test_the_golden_runs_belong_to_the_present_versions_and_no_number_is_left_over():
    assert golden.stored("behavior") == store.BEHAVIOR, "python -m experiments.golden --write"
    for path in golden.FOLDER.glob("*.json"):
        names = {run.name for run in golden.RUNS if run.file == path.stem}
        assert path.stem == "behavior" or golden.stored(path.stem).keys() == names


def test_every_row_of_every_table_has_a_golden_run_and_every_behavior_is_guarded_by_one():
    def done(row):
        return replace(row, tuned_as=None, settings=row.settings[:1], longer=1)

    run = [done(TABLES[each.file].rows[each.name]) for each in golden.RUNS if each.file in TABLES]
    assert all(done(row) in run for table in TABLES.values() for row in table.rows.values())
    assert set().union(*(each.behavior for each in golden.RUNS)) == store.BEHAVIOR.keys()


# ---- what turns them red


class Changed(torch.nn.Module):
    """A loss of which a constant has changed: all its values are 1 % larger."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss
        if hasattr(loss, "update"):
            self.update = loss.update

    def forward(self, rows, labels):
        return 1.01 * self.loss(rows, labels)


FAMILIES = {
    "losses.softmax": "SoftmaxLoss HingeLoss L2SoftmaxLoss LSoftmaxLoss ASoftmaxLoss AMSoftmaxLoss ArcFaceLoss",
    "losses.center": "CenterLoss",
    "losses.triplet": "TripletLoss",
    "losses.exponential_triplet": "ExponentialTripletLoss",
    "losses.circle": "CircleLoss",
    "losses.pedcc": "PEDCCLoss",
    "losses.weighted_sum": "WeightedSum",
}


def change_losses(monkeypatch, family):
    for name in FAMILIES[family].split():
        make = getattr(losses, name)
        monkeypatch.setattr(losses, name, lambda *given, make=make, **named: Changed(make(*given, **named)))


def values(row):
    """A loss on two batches, updated after the first."""
    torch.manual_seed(0)
    loss, found = row.loss(10, 8, 20, **row.parameters(0)).double(), []
    for _ in range(2):
        rows = torch.nn.functional.normalize(torch.randn(20, 8, dtype=torch.float64), dim=1)
        found.append(loss(rows, torch.arange(20) % 10).item())
        if hasattr(loss, "update"):
            loss.update(rows, torch.arange(20) % 10)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_names_a_family_of_losses_exactly_if_a_change_there_changes_its_loss(family, monkeypatch):
    assert {name for name in store.BEHAVIOR if name.startswith("losses.")} == FAMILIES.keys()
    before = [values(row) for row in ROWS]
    change_losses(monkeypatch, family)
    assert [family in row.behavior for row in ROWS] == [
        values(row) != old for row, old in zip(ROWS, before, strict=True)
    ]


def instead(owner, name, make):
    """A change that puts make(what is there) in the place of owner.name."""

    def change(monkeypatch):
        monkeypatch.setattr(owner, name, make(getattr(owner, name)))

    return change


def scaled(function):
    """The function, with a result that is 1 % larger."""
    return lambda *given, **named: 1.01 * function(*given, **named)


def farther_on(function):
    """The function, with a result that is turned a little: a factor would be lost where only directions count."""
    return lambda *given, **named: function(*given, **named) + 0.01


def in_another_order(centroids):
    return lambda *given: centroids(*given).flip(0)


def other_epoch(indices):
    return lambda batches, epoch: indices(batches, epoch + 1)


def larger_angles(draw):
    return lambda *given: {name: 1.01 * value if name == "rotation" else value for name, value in draw(*given).items()}


def nothing_done(apply):
    return lambda augment, pixels, drawn: pixels


def never(function):
    return lambda *given, **named: None


def fewer(thinned):
    return lambda found, count: thinned(found, count - 1)


def with_less_momentum(optimizer):
    return lambda *given: functools.partial(optimizer(*given), momentum=0.89)


SCHEDULES = torch.optim.lr_scheduler.LambdaLR
CROSS_ENTROPY, PENALIZED = "exponential_triplet, cross-entropy", "distancing, hills"
CHANGES = {  # what has changed: the behavior whose version is to be raised, a run that must turn red, the change
    "the sampler's draw": ("batches", CROSS_ENTROPY, instead(Batches, "indices", other_epoch)),
    "P classes of K": ("batches", "recipes, batches: 4 classes of 5", instead(Batches, "indices", other_epoch)),
    "a loop that forgets the schedule": ("loop", CROSS_ENTROPY, instead(SCHEDULES, "step", never)),
    "a loop that forgets the centers": ("loop", "center, center, λ=1.0", instead(losses.CenterLoss, "update", never)),
    "a loop that forgets the penalty": ("loop", PENALIZED, instead(DistancePenalty, "add_gradient", never)),
    "momentum": ("optimizer", CROSS_ENTROPY, instead(parts, "optimizer", with_less_momentum)),
    "an angle": ("augmentation", "recipes, augmentation: shift 2, rotation 5", instead(Augment, "draw", larger_angles)),
    "no flip": ("augmentation", "recipes, augmentation: flip True", instead(Augment, "apply", nothing_done)),
    "the sphere": ("embeddings", "pedcc, AM-Softmax (m=0.5)", instead(embeddings, "l2", farther_on)),
    "the ball": ("embeddings", "exponential_triplet, L_exp", instead(embeddings, "unit_range", scaled)),
    "a metric": ("evaluation", "measuring, in the ball", instead(evaluation, "map_at_r", scaled)),
    "on what is measured": ("measuring", "measuring, in the ball", instead(trial, "thinned", fewer)),
    "what is held back": ("data", "measuring, held back by image", instead(trial, "VALIDATION", lambda tenth: 11)),
    "centroids": (
        "centroids",
        "pedcc, PEDCC (m=0.5, n=1)",
        instead(parts, "evenly_distributed", in_another_order),
    ),
    "the mean of an ensemble": ("ensembles", "distancing, bagging", instead(ensembles, "average", scaled)),
    "a hill": ("distancing", PENALIZED, instead(ensembling, "HILL", lambda hill: hill | {"bend": 0.2})),
    **{
        name: (name, f"recipes, network: {name}", instead(owner, "forward", scaled))
        for name, owner in {
            "three convolutions": networks.ThreeConvolutions,
            "seven convolutions": networks.SevenConvolutions,
            "ten convolutions": networks.Stage,
        }.items()
    },
}


@pytest.mark.parametrize("what", [*CHANGES, *FAMILIES])
def test_a_changed_constant_turns_a_golden_run_red(what, monkeypatch):
    if what in FAMILIES:
        behavior = what
        run = next(run for run in golden.RUNS if run.behavior - {*store.OF_ALL, "lenet", "centroids"} >= {what})
        change_losses(monkeypatch, what)
    else:
        behavior, place, change = CHANGES[what]
        run = RUN[place]
        assert not golden.difference(run, run.compute())
        change(monkeypatch)
    assert behavior in run.behavior and golden.difference(run, run.compute())


def test_a_difference_is_told_with_its_step_and_nan_is_one():
    run = RUN[CROSS_ENTROPY]
    kept = golden.stored(run.file)[run.name]
    assert golden.difference(run, kept) == ""
    changed = [*kept[:4], kept[4] * (1 + 3e-9), *kept[5:]]
    assert golden.difference(run, changed) == f"{CROSS_ENTROPY}, step 5: {changed[4]}, stored {kept[4]}"
    assert golden.difference(run, [value * (1 + 1e-10) for value in kept]) == ""
    assert "step 2: nan" in golden.difference(run, [kept[0], float("nan"), *kept[2:]])
    assert golden.difference(run, kept[:-1]) and golden.difference(replace(run, name="another"), kept).endswith(": new")


def test_a_run_that_differs_is_not_written_before_a_version_is_raised(tmp_path, monkeypatch, capsys):
    run = RUN["measuring, held back by class"]
    for name, value in (("FOLDER", tmp_path), ("RUNS", [run])):
        monkeypatch.setattr(golden, name, value)
    assert golden.main(["--write"]) == 0 and golden.main([]) == 0
    before = (tmp_path / "measuring.json").read_bytes()
    monkeypatch.setattr(trial, "VALIDATION_CLASSES", 3)
    assert golden.main([]) == 1
    capsys.readouterr()
    assert golden.main(["--write"]) == 1 and (tmp_path / "measuring.json").read_bytes() == before
    assert "raise the version of what has changed: one of data\n" in capsys.readouterr().out
    monkeypatch.setitem(store.BEHAVIOR, "data", 2)
    assert golden.main(["--write"]) == 0 and (tmp_path / "measuring.json").read_bytes() != before
    assert golden.main([]) == 0
    monkeypatch.setitem(store.BEHAVIOR, "loop", 2)  # raised, and the runs not written
    assert golden.main([]) == 1


# ---- what leaves the records as they are


class OtherNames(ast.NodeTransformer):
    """Gives the local variables of every function other names."""

    def visit_FunctionDef(self, node):
        inside = [each for each in ast.walk(node) if each is not node]
        stored = {each.id for each in inside if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        kept = {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
        kept |= {name for each in inside if isinstance(each, ast.Global | ast.Nonlocal) for name in each.names}
        kept |= {getattr(each, "name", None) for each in inside}  # functions, classes, exceptions
        for each in inside:
            if isinstance(each, ast.Name) and each.id in stored - kept:
                each.id = f"{each.id}_renamed"
                self.count += 1
        return node

    count = 0


FITTING = """
import os, sys, pathlib
assert all(os.getcwd() in path for path in (__import__(name).__file__ for name in ("labkit", "experiments")))
from experiments import golden, records, store, trial, tuning
from experiments.definitions import TABLES
checked = 0
records.DATA = pathlib.Path(sys.argv[1])
for path in sorted(records.DATA.glob("measured/*.jsonl")):
    for record in store.read(path):
        names = ("table", "size", "dataset", "row", "kind", "seed", "setting")
        job = trial.Job(*(record[name] for name in names))
        if path != store.path_of(TABLES[job.table].file(job.table), job.size):
            continue  # the first edition of the protocol
        kind = tuning.KINDS[TABLES[job.table].runs]
        store.check(record, {"content": record["settings"]["content"], **kind.settings(job)}, kind.versions(job), path)
        checked += 1
golden.FOLDER = pathlib.Path(sys.argv[2])
differ = [golden.difference(run, run.compute()) for run in golden.RUNS if run.place in sys.argv[3:]]
print(checked, len(differ), *filter(None, differ), sep="\\n")
"""


def test_other_names_other_comments_and_other_files_leave_all_records_valid(tmp_path):
    names = OtherNames()
    for package in (labkit, experiments):
        folder = Path(package.__file__).parent
        for path in folder.rglob("*.py"):
            tree = names.visit(ast.parse(path.read_text(encoding="utf-8")))
            text = ast.unparse(ast.fix_missing_locations(tree))  # without comments, wrapped otherwise
            text = "# another comment\n" + text.replace("labkit.losses.circle", "labkit.losses.round")
            target = tmp_path / folder.name / path.relative_to(folder)
            target = target.with_name("round.py") if target.name == "circle.py" else target
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    assert names.count > 1000 and (tmp_path / "labkit" / "losses" / "round.py").exists()
    runs = [CROSS_ENTROPY, "circle, circle, m=0.25", "pedcc, center", "distancing, hills", "measuring, in the ball"]
    done = subprocess.run(
        [sys.executable, "-c", FITTING, str(records.DATA), str(golden.FOLDER), *runs],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    checked, compared, *differ = done.stdout.split("\n")[:-1]
    assert int(checked) >= 51 and int(compared) == len(runs) and not differ
