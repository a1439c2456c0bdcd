"""python lab.py bench: what is measured, printed and kept, and what a broken record or a full disk does."""

import errno
import json
import os
import re

import pytest
from click.testing import CliRunner

from tools import bench
from tools.__main__ import main
from tools.benchmarks import losses


def run(*arguments):
    """(status, what was printed on both streams); an unexpected exception comes through."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_bench_runs_every_benchmark_prints_one_table_and_keeps_a_record(tmp_path, monkeypatch):
    folder, record = tmp_path / "benchmarks", tmp_path / "measured" / "benchmarks.json"
    folder.mkdir()
    row = {"name": "small ½", "ratio": 1.0234, "goal": 1.05, "rounds": 3, "ours_mib": 65.53, "peer_mib": 4021.7}
    (folder / "fit.py").write_text(f"def rows():\n    print('noise')\n    return [{row}]\n", encoding="utf-8")
    (folder / "helper.py").write_text("x = 1\n", encoding="utf-8")
    (folder / "other.py").write_text("def rows():\n    return [{'name': 'b', 'ratio': 75}]\n", encoding="utf-8")
    monkeypatch.setattr(bench, "BENCHMARKS", folder)
    monkeypatch.setattr(bench, "RECORD", record)
    status, text = run("bench")
    assert status == 0
    assert re.sub(r"\d+ s$", "0 s", text, flags=re.MULTILINE).splitlines()[:4] == [
        "fit ...", "fit: 0 s", "other ...", "other: 0 s",
    ]  # fmt: skip
    assert text.splitlines()[4:8] == [
        "benchmark  measured  ratio  goal  MiB   peer MiB  MiB goal",
        "fit        small ½   1.02   1.05  65.5  4022",
        "other      b         75",
        f"written: {record}",
    ]
    kept = json.loads(record.read_text(encoding="utf-8"))
    assert kept["fit"]["rows"] == [row]
    assert {"date", "machine", "device", "threads", "python", "torch"} <= set(kept["fit"])
    (folder / "other.py").write_text("def rows():\n    return [{'name': 'b', 'ratio': 80}]\n", encoding="utf-8")
    assert run("bench", "other")[0] == 0
    again = json.loads(record.read_text(encoding="utf-8"))
    assert again["fit"] == kept["fit"] and again["other"]["rows"][0]["ratio"] == 80
    (folder / "fit.py").unlink()  # and its rows go with it
    assert run("bench", "other")[0] == 0 and set(json.loads(record.read_text(encoding="utf-8"))) == {"other"}


def test_every_row_that_is_kept_is_still_measured():
    kept = json.loads(bench.RECORD.read_text(encoding="utf-8"))
    assert set(kept) == set(bench.benchmarks())
    assert not {row["name"] for row in kept["losses"]["rows"]} - set(losses.cells())


def test_bench_names_what_it_does_not_know_and_what_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "BENCHMARKS", tmp_path)
    (tmp_path / "bad.py").write_text("def rows():\n    1 / 0\n", encoding="utf-8")
    assert run("bench", "speed") == (1, "Error: benchmark: got speed, expected some of bad\n")
    status, text = run("bench")
    assert status == 1 and "Error: bad.py failed with status 1" in text


ROWS = {"fit": [{"name": "a", "ratio": 1.0}]}


def test_a_record_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path):
    path = tmp_path / "benchmarks.json"
    bench.record(ROWS, path)
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:40], encoding="utf-8")
    with pytest.raises(ValueError):
        bench.record({"other": []}, path)
    assert path.read_text(encoding="utf-8") == whole[:40]


def test_a_record_is_replaced_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "benchmarks.json"
    bench.record(ROWS, path)
    whole = path.read_text(encoding="utf-8")

    def full_disk(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        bench.record({"other": []}, path)
    assert path.read_text(encoding="utf-8") == whole and list(tmp_path.iterdir()) == [path]
