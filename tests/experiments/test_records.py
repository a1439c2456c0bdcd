import csv
import os

import pytest

from experiments import records


def test_published_tables_are_complete_and_read_as_printed():
    names = [path.stem for path in (records.DATA / "published").glob("*.csv")]
    assert names
    for name in names:
        with (records.DATA / "published" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            head, *lines = csv.reader(file)
        assert head == ["dataset", "loss", "value", "table", "page", "note"], name
        assert {len(line) for line in lines} == {len(head)}, name
        assert len({(line[0], line[1]) for line in lines}) == len(lines), name  # no figure twice
        assert all(0 < float(line[2]) <= 100 and line[3].startswith("Table ") for line in lines), name
        assert sum(map(len, records.published(name).values())) == len(lines)
    table = records.published("exponential_triplet_table1")
    assert table["L_std"]["MNIST"] == 99.6 and table["L_exp + L_center + L_class"]["CIFAR10"] == 87.3
    assert list(table["L_std"]) == ["MNIST", "Fashion-MNIST", "EMNIST", "CIFAR10", "VGGFace2"]  # as printed


def test_a_record_comes_back_with_what_is_needed_to_repeat_it(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "DATA", tmp_path)
    path = records.record("trial", {"contrastive": [0.98, 0.99]}, dataset="digits", seeds=[0, 1])
    assert path == tmp_path / "measured" / "trial.json"
    back = records.measured("trial")
    assert back["results"] == {"contrastive": [0.98, 0.99]}
    assert back["settings"] == {"dataset": "digits", "seeds": [0, 1]}
    assert {"torch", "python", "machine", "device"} <= set(back["about"]) and len(back["about"]["date"]) == 10


def test_a_file_is_whole_at_any_moment(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    records.write_whole(path, "one\r\nü\n")
    assert path.read_bytes() == "one\r\nü\n".encode()
    path.chmod(0o640)

    def no_room(descriptor):
        assert path.read_bytes() == "one\r\nü\n".encode()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full, pytest.raises(OSError, match="No space left"):
        full.setattr(records.os, "fsync", no_room)
        records.write_whole(path, "two")
    assert path.read_bytes() == "one\r\nü\n".encode() and list(tmp_path.iterdir()) == [path]
    records.write_whole(path, "two")
    assert path.read_bytes() == b"two" and list(tmp_path.iterdir()) == [path]
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name != "posix", reason="Windows lets only administrators make links")
def test_where_a_link_leads_is_written_and_the_link_stays(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.txt").write_text("one", encoding="utf-8")
    (tmp_path / "a.txt").symlink_to(tmp_path / "there" / "a.txt")
    records.write_whole(tmp_path / "a.txt", "two")
    assert (tmp_path / "a.txt").is_symlink() and (tmp_path / "there" / "a.txt").read_text(encoding="utf-8") == "two"


def test_a_record_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError):
        records.measured("no_such_measurement")
