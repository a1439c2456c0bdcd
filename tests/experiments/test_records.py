import csv
import os
import subprocess
import sys

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


def test_a_file_is_written_whole_through_links_and_keeps_its_permissions(tmp_path):
    path, link = tmp_path / "a" / "real.txt", tmp_path / "link.txt"
    records.write_whole(path, "first\n")
    os.chmod(path, 0o640)
    link.symlink_to(path)
    records.write_whole(link, "second ½\r\n")
    assert path.read_bytes() == "second ½\r\n".encode() and link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in path.parent.iterdir()] == ["real.txt"]


@pytest.mark.skipif(os.name != "posix", reason="limits of file size")
def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(tmp_path):
    code = (
        "import resource, signal, sys; from experiments.records import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_whole(sys.argv[1], 'x' * 5000)"
    )
    path = tmp_path / "kept.txt"
    path.write_text("old", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert "OSError" in done.stderr
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("kept.txt", "old")]


def test_a_record_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError):
        records.measured("no_such_measurement")


def test_records_are_read_without_waiting_for_torch():
    code = "import sys, experiments.records; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
