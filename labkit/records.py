"""Tables as the papers print them (data/published/*.csv), and what this project measured (data/measured/*.json)."""

import csv
import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data"


def published(name):
    """The table data/published/NAME.csv: {row: {column: number}}, in the unit of the paper."""
    with (DATA / "published" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return {row[0]: {column: float(value) for column, value in zip(header[1:], row[1:], strict=True)} for row in rows}


def measured(name):
    """The record data/measured/NAME.json: results, and how and when they were measured."""
    return json.loads((DATA / "measured" / f"{name}.json").read_text(encoding="utf-8"))


def record(name, results, **settings):
    """Write `results` (lists, numbers, text) to data/measured/NAME.json, with what it takes to repeat them."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    content = {
        "results": results,
        "settings": settings,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in ("torch", "torchvision", "numpy")},
        "machine": f"{platform.system()} {platform.machine()}, {device}",
        "date": datetime.now(UTC).date().isoformat(),
    }
    path = DATA / "measured" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
    return path
