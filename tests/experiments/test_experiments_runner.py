"""labkit measure: what is missing is run, kept, gone on with after a kill, refused where it does not fit."""

import contextlib
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from click.testing import CliRunner

from course.cli import main
from experiments import definitions, ensembling, recipe, report, runner, store, trial, tuning
from experiments.definitions import BASELINE, TABLES
from labkit import data, ensembles, networks

ROWS = [BASELINE, "center, λ=0.01"]
RUNS = 2 * (4 * 2 + 2)  # four settings with two seeds for each row, and two final seeds


def measurement(folder, **changes):
    options = {"datasets": ["digits"], "rows": ROWS, "seeds": 2, "folder": folder, **changes}
    return runner.Measurement("center", "tiny", **options)


def measure(folder, **changes):
    asked = measurement(folder, **changes)
    return runner.measure(asked, device="cpu", progress=False), asked


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with all records of the small measurement, made once."""
    folder = tmp_path_factory.mktemp("finished")
    made, asked = measure(folder)
    assert made == RUNS == asked.total() == asked.done()
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def lines(folder):
    return store.path_of("runs", "tiny", folder).read_bytes().splitlines()


# ---- what is run


def test_a_record_has_what_it_takes_to_repeat_the_run(finished):
    found = store.read(store.path_of("runs", "tiny", finished))
    finals = [record for record in found if record["kind"] == "final"]
    assert [record["kind"] for record in found] == (["tuning"] * 8 + ["final"] * 2) * 2
    for row, own in zip(ROWS, (found[:8], found[10:18]), strict=True):
        assert {record["row"] for record in own} == {row}
        assert {record["seed"] for record in own} == set(tuning.SEEDS)
        scores = {}
        for record in own:
            scores.setdefault(record["settings"]["rate"], []).append(
                record["results"].get("accuracy", -1.0)
            )  # diverged
        best = max(scores, key=lambda rate: np.mean(scores[rate]))
        assert len(scores) == 4 and {r["settings"]["rate"] for r in finals if r["row"] == row} == {best}
    assert finals[-1]["settings"]["parameters"] == {"weight": 0.01} and "weights=[1.0, 0.01]" in finals[-1]["loss"]
    assert {"loop": 1, "lenet": 1, "losses.center": 1}.items() <= finals[-1]["behavior"].items()
    assert {"closest accuracy", "recall@1", "MAP@R", "accuracy"} <= finals[0]["results"].keys()
    about = finals[0]["about"]
    assert {"python", "torch", "device", "machine", "threads"} <= about.keys()
    assert about["precision"] == "32-true"
    text = "".join(map(str, found))
    assert str(Path.home()) not in text and str(finished) not in text and (platform.node() or "no name") not in text
    assert finals[0]["seconds"] > 0 and finals[0]["processes"] == 1


@pytest.mark.parametrize("table, precision", [("center", "bf16-mixed"), ("distancing", "32-true")])
def test_a_record_names_the_precision_in_which_its_run_was_computed(table, precision, monkeypatch):
    monkeypatch.setattr(runner, "_runs", lambda table: types.SimpleNamespace(run=lambda *arguments: {}))
    monkeypatch.setattr(runner, "_checkpoint", lambda *arguments: None)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    job = trial.Job(table, "full", "mnist", BASELINE, "final", 0, 0)
    assert runner._run(job, None, "cpu", None)["about"]["precision"] == precision


def test_finished_runs_are_not_made_again_and_more_seeds_are_added(copied):
    before = lines(copied)
    assert measure(copied)[0] == 0 and lines(copied) == before
    assert measure(copied, seeds=3, rows=[BASELINE])[0] == 1
    assert lines(copied)[:-1] == before


def test_records_are_compared_with_what_would_be_run_now(copied, monkeypatch):
    before = lines(copied)
    monkeypatch.setattr(trial, "content", lambda dataset, root: "other images")
    with pytest.raises(store.Mismatch, match=r"(?s)content: recorded .*, now .*never mixed.*--again"):
        measure(copied)
    assert lines(copied) == before
    assert measure(copied, again=True)[0] == RUNS
    aside = store.path_of("runs", "tiny", copied).with_suffix(".old1.jsonl")
    assert aside.read_bytes().splitlines() == before
    assert measure(copied)[0] == 0


def test_runs_with_other_settings_are_other_runs(copied, monkeypatch):
    before = lines(copied)
    monkeypatch.setitem(recipe._OF_SIZE, "tiny", {**recipe._OF_SIZE["tiny"], "dim": 6})
    assert measure(copied, rows=[BASELINE])[0] == RUNS / 2 and lines(copied)[:RUNS] == before


def test_a_row_takes_the_records_of_another_table_for_runs_that_are_the_same(copied):
    asked = runner.Measurement("circle", "tiny", ["digits"], [BASELINE], seeds=2, folder=copied)
    assert not asked.jobs() and asked.done() == asked.total() == RUNS / 2


def test_records_of_other_behavior_are_refused(copied, monkeypatch):
    monkeypatch.setitem(store.BEHAVIOR, "losses.center", 2)
    with pytest.raises(store.Mismatch, match=r"(?s)center, λ=0.01.*behavior of losses.center: recorded 1, now 2"):
        measure(copied)
    assert measure(copied, rows=[BASELINE])[0] == 0  # which has nothing to do with it


def test_rows_datasets_and_tables_are_told(tmp_path):
    for change, message in [
        ({"rows": ["centre"]}, "rows: got centre, expected some of cross-entropy"),
        ({"datasets": ["digit"]}, "datasets: got digit, expected some of digits"),
        ({"datasets": ["mnist"], "root": str(tmp_path)}, "datasets: mnist not at hand"),
        ({"datasets": None, "root": str(tmp_path)}, "datasets: none of fashion_mnist, mnist is in"),
    ]:
        with pytest.raises(ValueError, match=message):
            measurement(tmp_path, **change)
    with pytest.raises(ValueError, match="datasets: digits without a recipe in size 'reduced'"):
        runner.Measurement("center", "reduced", ["digits"], folder=tmp_path)


def test_no_run_is_started_after_so_many_minutes(tmp_path):
    asked = measurement(tmp_path)
    assert runner.measure(asked, minutes=0, progress=False) == 0 and asked.total() == RUNS


def test_unseen_classes_are_measured_by_retrieval_and_verification(tmp_path):
    random = np.random.default_rng(0)
    faces = random.integers(0, 256, (20, 1, 16, 16))
    for split, people in (("train", range(15)), ("test", range(15, 20))):
        labels = np.repeat(np.arange(len(people)), 6)
        images = np.clip(faces[people][labels] + random.integers(-30, 31, (len(labels), 1, 16, 16)), 0, 255)
        (tmp_path / "orl-faces").mkdir(exist_ok=True)
        classes = np.array([f"person {p}" for p in people])
        np.savez(tmp_path / f"orl-faces/{split}.npz", images=images.astype(np.uint8), labels=labels, classes=classes)
    made, asked = measure(tmp_path, datasets=["orl-faces"], root=str(tmp_path), rows=[BASELINE], seeds=1)
    final = list(asked.records.values())[-1]
    assert made == 9 and set(final["results"]) == {*definitions.UNSEEN}
    assert set(final["curve"]) == {"step", "loss", "recall@1", "MAP@R"}


def test_ensembles_are_measured_without_tuning_and_compared_with_one_long_run(tmp_path):
    rows, seeds = ["one long run", "restarts and hills"], 2
    asked = runner.Measurement("distancing", "tiny", ["digits"], rows, seeds, folder=tmp_path)
    assert runner.measure(asked, progress=False) == 4 and asked.total() == 4 and not asked.jobs()
    assert {record["kind"] for record in asked.records.values()} == {"final"}
    (record,) = [each for each in asked.records.values() if (each["row"], each["seed"]) == (rows[1], 1)]
    train, test = data.load("digits", "train"), data.load("digits", "test")

    def network(seed):
        torch.manual_seed(seed)
        return networks.SmallResNet(dim=10, width=8)

    size = sum(p.numel() for p in network(0).parameters())
    expected = ensembles.compare(
        rows[1],
        network,
        train.take(torch.linspace(0, len(train) - 1, 80).long()),
        test,
        epochs=4,
        members=4,
        seed=1,
        batch_size=40,
        lr=0.05,
        hill={"strength": 0.15 * size * 0.05**2, "sigma": 0.05, "measure": "mean"},
    )
    assert record["results"] == pytest.approx(expected, abs=1e-6)
    (result,) = report.results("distancing", "tiny", folder=tmp_path)
    assert list(result.against) == rows[1:] and "vs one long run" in report.text(result)
    accuracies = [list(result.values[row]["accuracy"].values()) for row in rows]
    assert result.against[rows[1]].difference == pytest.approx(np.mean(accuracies[1]) - np.mean(accuracies[0]))


def test_the_record_of_an_ensemble_names_what_decides_it(monkeypatch):
    jobs = [trial.Job(table, "full", "digits", "hills", "final", 0, 0) for table in TABLES if "distancing" in table]
    assert ensembling.has_recipe("reduced", "cifar10-jpeg75") and not ensembling.has_recipe("huge", "mnist")
    jobs = [replace(job, size="tiny") for job in jobs]
    (residual, mobile), (behavior, other) = map(ensembling.settings, jobs), map(ensembling.versions, jobs)
    assert residual["network"] == "small_resnet" and mobile["network"] == "mobilenet_v2"
    assert residual["method"] == "hills" and residual["recipe"]["hill"] == {"bend": 0.15, "sigma": 0.05}
    assert set(behavior) == {"batches", "data", "ensembles", "loop", "distancing", "small_resnet"}
    assert set(other) - set(behavior) == {"mobilenet_v2"}
    assert "distancing" not in ensembling.versions(replace(jobs[0], row="bagging"))
    network = ensembling.network("mobilenet_v2", 2, data.load("digits", "test"), seed=0).eval()
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    with pytest.raises(ValueError, match="devices: got 2, expected 1"):
        runner.share(runner.Measurement("distancing", "tiny", ["digits"]), 2, "cpu", [])
    monkeypatch.setattr(ensembling, "world_size", lambda: 2)
    with pytest.raises(ValueError, match="devices: got 2, expected 1"):
        ensembling.run(jobs[0])


def test_a_run_of_full_size_on_a_cpu_goes_on_where_it_was_cut_short(tmp_path, monkeypatch):
    monkeypatch.setitem(recipe._OF_SIZE, "full", {"network": "lenet", "dim": 8, "rate": 0.01, "points": 2})
    monkeypatch.setitem(recipe._FULL, "digits", {"steps": 120, "batches": {"batch_size": 40}, "augment": None})
    make_loss, curve_point, steps, slow = trial.make_loss, trial.curve_point, [], [0.0]

    def counted(*arguments):
        loss = make_loss(*arguments)
        loss.register_forward_hook(lambda *_: steps.append(time.sleep(slow[0])))
        return loss

    def cut_short(*arguments, **options):
        raise RuntimeError("the power fails")

    def record(folder):
        asked = runner.Measurement("recipe", "full", ["digits"], seeds=1, folder=folder)
        assert runner.measure(asked, device="cpu", progress=False) == 1
        assert [path.name for path in folder.iterdir()] == ["recipe.jsonl"]  # what was saved on the way is gone
        (found,) = asked.records.values()
        return found

    monkeypatch.setattr(trial, "make_loss", counted)
    whole = record(tmp_path / "whole")
    assert len(steps) == 120 and whole["processor seconds"] > 0
    monkeypatch.setattr(trial, "curve_point", cut_short)  # after 60 steps
    slow[0] = 0.05
    with pytest.raises(RuntimeError, match="the power fails"):
        record(tmp_path / "cut")
    monkeypatch.setattr(trial, "curve_point", curve_point)
    steps.clear()
    slow[0] = 0.0
    gone_on = record(tmp_path / "cut")
    assert len(steps) == 70  # it was saved after 50
    assert gone_on["results"] == whole["results"] and gone_on["curve"] == whole["curve"]
    assert gone_on["seconds"] > 50 * 0.05 and "processor seconds" not in gone_on


# ---- in other processes


def command(folder, *words):
    return [
        "-m",
        "course",
        "measure",
        "center",
        "--size",
        "tiny",
        "--datasets",
        "digits",
        "--folder",
        str(folder),
        *words,
    ]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


def test_a_kill_loses_only_the_runs_in_hand_and_the_same_command_goes_on(finished, tmp_path):
    path = store.path_of("runs", "tiny", tmp_path)
    words = command(tmp_path, "--seeds", "8", "--jobs", "2", "--rows", ";".join(ROWS), "--device", "cpu")
    killed = subprocess.Popen([sys.executable, *words], env=ENVIRONMENT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 200
    while not (path.exists() and path.read_bytes().count(b"\n") >= 5):
        assert killed.poll() is None and time.monotonic() < deadline, killed.stderr.read().decode()
        time.sleep(0.02)
    workers = []
    if sys.platform == "linux":
        workers = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text(encoding="utf-8").split()
    killed.kill()
    killed.communicate()
    kept = path.read_bytes()
    assert 5 <= kept.count(b"\n") < 2 * (8 + 8)
    while any(Path("/proc", worker, "exe").exists() for worker in workers):
        assert time.monotonic() < deadline  # no process goes on with a run that nobody would record
        time.sleep(0.02)
    whole = kept[: kept.rfind(b"\n") + 1]
    path.write_bytes(whole + b'{"dataset": "digits", "row')  # as a kill in the middle of writing leaves it
    measure(tmp_path)
    after = path.read_bytes()
    assert after.startswith(whole) and after.endswith(b"\n")
    asked = measurement(tmp_path)
    assert asked.done() == RUNS and len(store.read(path)) == len(asked.records)  # none twice
    # What two processes side by side have measured is what one measures.
    ours, alone = (
        {store.key(r): r["results"] for r in store.read(store.path_of("runs", "tiny", f))} for f in (tmp_path, finished)
    )
    for key in alone:
        assert ours[key] == pytest.approx(alone[key], abs=1e-6)


def run_and_listen(words):
    """Run a command; returns how it ended and the addresses at which it and what it starts wait for others."""
    heard, (out, err) = set(), (tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+"))
    with out, err, subprocess.Popen([sys.executable, *words], env=ENVIRONMENT, stdout=out, stderr=err) as started:
        parent = psutil.Process(started.pid)
        while started.poll() is None:
            time.sleep(0.05)
            with contextlib.suppress(psutil.Error):  # one has just ended
                connections = [each for p in parent.children(recursive=True) for each in p.net_connections()]
                heard |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
        for stream in (out, err):
            stream.seek(0)
        return subprocess.CompletedProcess(words, started.returncode, out.read(), err.read()), heard


@pytest.mark.skipif(sys.platform == "win32", reason="processes that share a run are not tried on Windows")
def test_two_processes_share_each_run_and_measure_the_same_curve(finished, tmp_path):
    words = command(tmp_path, "--seeds", "2", "--rows", ROWS[1], "--device", "cpu", "--devices", "2")
    done, heard = run_and_listen(words)
    assert done.returncode == 0, done.stderr
    assert heard == {"127.0.0.1"}, "nobody on another machine can reach them"
    two, one = (store.read(store.path_of("runs", "tiny", folder)) for folder in (tmp_path, finished))
    one = [record for record in one if record["row"] == ROWS[1]]
    assert any("failed" in record["results"] for record in two)  # its largest rate: all processes stop together
    assert [store.key(record) for record in two] == [store.key(record) for record in one]
    for shared, alone in zip(two, one, strict=True):
        assert shared.get("processes", 2) == 2 and shared["settings"] == alone["settings"]  # none if it failed
        if alone["kind"] == "final":
            assert shared["curve"]["loss"] == pytest.approx(alone["curve"]["loss"], rel=1e-3)
            assert shared["results"] == pytest.approx(alone["results"], abs=0.01)
    assert done.stdout.count(f"{RUNS // 2} runs made, 0 missing") == 1
    assert "OMP_NUM_THREADS" not in done.stderr and "deprecated" not in done.stderr


def test_where_one_of_the_processes_fails_the_others_are_ended(tmp_path, monkeypatch):
    started = []

    def start(rank, *_):
        code = ["import sys; sys.exit(3)", "import time; time.sleep(1000)"][rank]
        started.append(subprocess.Popen([sys.executable, "-c", code]))
        return started[-1]

    monkeypatch.setattr(runner, "_share_of", start)
    with pytest.raises(RuntimeError, match="status 3"):
        runner.share(measurement(tmp_path), 2, "cpu", [])
    assert all(process.returncode for process in started)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to a group")
def test_ctrl_c_ends_runs_side_by_side_at_once_and_says_what_is_kept(tmp_path):
    path = store.path_of("runs", "tiny", tmp_path)
    words = command(tmp_path, "--seeds", "50", "--jobs", "2", "--device", "cpu")
    started = subprocess.Popen(
        [sys.executable, *words], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while not (path.exists() and path.read_bytes().count(b"\n") >= 2):
        assert started.poll() is None and time.monotonic() < deadline, started.stderr.read()
        time.sleep(0.02)
    workers = psutil.Process(started.pid).children()
    os.killpg(started.pid, signal.SIGINT)  # as a terminal sends it: to the workers too
    said = started.communicate(timeout=60)[1]
    assert started.returncode == 1 and "stopped; finished runs are kept" in said
    assert "Traceback" not in said and "leaked" not in said
    assert len(workers) >= 2 and not psutil.wait_procs(workers, timeout=20)[1]
    assert store.read(path) and not list(tmp_path.glob("*.lock"))


def test_a_run_that_fails_beside_others_is_named_with_its_traceback_and_leaves_no_process(tmp_path):
    good = trial.Job("center", "tiny", "digits", BASELINE, "tuning", tuning.SEEDS[0], 0)
    bad = replace(good, row="centre", kind="final")
    found = []
    with pytest.raises(
        RuntimeError, match=r"(?s)digits · centre · seed 1000 failed:.*in definition.*KeyError: 'centre'"
    ):
        with runner._Side(2, (None, "cpu", tmp_path)) as runs:
            runs.start(good)
            found += runs.ended()
            runs.start(bad)
            assert runs.in_hand == [bad]
            found += runs.ended()
    assert [job for job, _ in found] == [good] and "closest accuracy" in found[0][1]["results"]
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_noticed_and_what_it_had_in_hand_is_named(tmp_path):
    job = trial.Job("center", "tiny", "digits", BASELINE, "final", 7, 0)
    with pytest.raises(
        RuntimeError, match="a process has ended unexpectedly; in hand were digits · cross-entropy · seed 7"
    ):
        with runner._Side(2, (None, "cpu", tmp_path)) as runs:
            runs.start(job)
            multiprocessing.active_children()[0].kill()
            list(runs.ended())
    assert not multiprocessing.active_children()


# ---- what is committed

MNISTS = ["mnist", "fashion_mnist"]
COMMITTED = {  # tables that are whole, in the present edition of the protocol: datasets and seeds
    ("distancing", "reduced"): (["mnist", "cifar10-jpeg75"], 3),
    ("recipe", "full"): ([*MNISTS, "cifar10-jpeg75"], 1),
}
FIRST = {  # of the first edition: datasets
    "center": MNISTS,
    "circle": MNISTS,
    "embedding_size": ["fashion_mnist"],
    "exponential_triplet": [*MNISTS, "orl-faces", "omniglot28"],
    "pedcc": [*MNISTS, "orl-faces"],
}


@pytest.mark.parametrize("table, size", COMMITTED)
def test_committed_records_fit_the_present_settings_and_behavior_and_none_is_missing(table, size, monkeypatch):
    datasets, seeds = COMMITTED[table, size]
    read = store.read(store.path_of(TABLES[table].file(table), size))
    contents = {record["dataset"]: record["settings"]["content"] for record in read}
    monkeypatch.setattr(trial, "content", lambda dataset, root: contents[dataset])  # they need not be at hand
    monkeypatch.setattr(data, "available", lambda *dataset: True)
    asked = runner.Measurement(table, size, datasets, seeds=seeds)
    assert asked.done() == asked.total()


@pytest.mark.parametrize("size", ["reduced", "full"])
def test_every_committed_run_of_the_present_edition_is_one_that_a_table_asks_for(size):
    path = store.path_of("runs", size)
    for record in store.read(path):
        asked = trial.Job(*(record[name] for name in ("table", "size", "dataset", "row", "kind", "seed", "setting")))
        settings = {"content": record["settings"]["content"], **trial.settings(asked)}
        store.check(record, settings, trial.versions(asked), path)


@pytest.mark.parametrize("table", FIRST)
def test_the_first_edition_is_there_with_three_seeds_and_the_present_behavior(table):
    found = [record for record in store.read(store.path_of(table, "reduced")) if record["kind"] == "final"]
    seeds = {}
    for record in found:
        seeds.setdefault((record["dataset"], record["row"]), set()).add(record["seed"])
        assert record["behavior"].items() <= store.BEHAVIOR.items()
    assert {dataset for dataset, _ in seeds} == set(FIRST[table]) and set(map(frozenset, seeds.values())) == {
        frozenset(range(3))
    }


# ---- the commands


def test_measure_and_report_from_the_command_line(copied, tmp_path):
    asked = ["measure", "center", "--size", "tiny", "--datasets", "digits", "--rows", ";".join(ROWS), "--seeds", "2"]
    done = CliRunner().invoke(main, [*asked, "--folder", str(copied)])
    assert done.exit_code == 0 and "0 runs made, 0 missing" in done.output, done.output
    words = ["report", "center", "--size", "tiny", "--folder", str(copied)]
    done = CliRunner().invoke(main, [*words, "--figure", str(tmp_path / "center.png")])
    assert done.exit_code == 0 and "± " in done.output and (tmp_path / "center.png").stat().st_size > 5000
    assert "| cross-entropy | 2 |" in CliRunner().invoke(main, [*words, "--format", "markdown"]).output
    done = CliRunner().invoke(main, ["report", "circle", "--folder", str(copied)])
    assert done.exit_code == 1 and "circle: not measured yet in size reduced; labkit measure circle" in done.output
    assert all(name in CliRunner().invoke(main, ["measure", "--help"]).output for name in TABLES)
    done = CliRunner().invoke(main, ["measure", "centre"])
    assert done.exit_code == 1 and "table: got 'centre', expected one of" in done.output
