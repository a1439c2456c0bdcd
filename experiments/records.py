"""Tables as the papers print them (data/published/*.csv), and what this project measured (data/measured/*.json)."""

import csv
import json
import os
import platform
import secrets
import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data"


def published(name):
    """The table data/published/NAME.csv, as printed: {loss: {dataset: number}}, in the unit of the paper."""
    with (DATA / "published" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    table = {line["loss"]: {} for line in lines}
    for line in lines:
        table[line["loss"]][line["dataset"]] = float(line["value"])
    return table


def measured(name):
    """The record data/measured/NAME.json: results, and how and when they were measured."""
    return json.loads((DATA / "measured" / f"{name}.json").read_text(encoding="utf-8"))


def about():
    """When, with which versions and on what kind of machine something is measured: {name: text or number}."""
    import torch

    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor threads",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "torchvision", "numpy")},
    }


def record(name, results, **settings):
    """Write `results` (lists, numbers, text) to data/measured/NAME.json, with what it takes to repeat them."""
    path = DATA / "measured" / f"{name}.json"
    content = {"results": results, "settings": settings, "about": about()}
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that at any moment the whole old one or the whole new one is there.

    A full disk or a kill leaves the old one. A text is UTF-8, its lines end as they do here, on Windows too. The folder
    is made if it is not there. Where the path is a symbolic link, the file that it leads to is replaced.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)  # a full disk does not say which file it could not take
        raise
    finally:
        temporary.unlink(missing_ok=True)
