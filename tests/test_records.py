import csv

import pytest

from labkit import records


def test_published_tables_are_complete_and_read_as_printed():
    names = [path.stem for path in (records.DATA / "published").glob("*.csv")]
    assert names
    for name in names:
        with (records.DATA / "published" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
        assert {len(line) for line in lines} == {len(lines[0])}, name
        assert list(records.published(name)) == [line[0] for line in lines[1:]]
    table = records.published("exponential_triplet_table1")
    assert table["L_std"]["MNIST"] == 99.6 and table["L_exp + L_center + L_class"]["CIFAR10"] == 87.3


def test_a_record_comes_back_with_what_is_needed_to_repeat_it(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "DATA", tmp_path)
    path = records.record("trial", {"contrastive": [0.98, 0.99]}, dataset="digits", seeds=[0, 1])
    assert path == tmp_path / "measured" / "trial.json"
    back = records.measured("trial")
    assert back["results"] == {"contrastive": [0.98, 0.99]}
    assert back["settings"] == {"dataset": "digits", "seeds": [0, 1]}
    assert {"torch", "python", "machine", "device"} <= set(back["about"]) and len(back["about"]["date"]) == 10


def test_a_record_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError):
        records.measured("no_such_measurement")
