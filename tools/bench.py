"""python lab.py bench: runs the rows of tools/benchmarks/*.py and keeps them as data.

A benchmark is a file with a function `rows()` that returns dictionaries of plain values: "name", "ratio" against a
peer measured in the same rounds, "goal", and whatever else tells how it was measured. "ours_mib", "peer_mib" and
"goal_mib" are peak memory. Seconds do not travel between machines, ratios do.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from experiments import records

BENCHMARKS = Path(__file__).resolve().parent / "benchmarks"
RECORD = records.DATA / "measured" / "benchmarks.json"
CALL = "import json, runpy, sys; rows = runpy.run_path(sys.argv[1])['rows'](); print(); print(json.dumps(rows))"


def benchmarks():
    """name -> path of every benchmark."""
    return {path.stem: path for path in sorted(BENCHMARKS.glob("*.py")) if "def rows(" in path.read_text("utf-8")}


def measure(path):
    """The rows of one benchmark, measured in a process of its own. RuntimeError when it fails."""
    command, environment = [sys.executable, "-c", CALL, str(path)], {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"{path.name} failed with status {done.returncode}; what it said stands above")
    return json.loads(done.stdout.splitlines()[-1])


def table(results):
    """Lines of a table: what was measured, ratio and goal, peak memory here and of the peer where it is known.

    results: benchmark's name -> its rows.
    """
    cells = [("benchmark", "measured", "ratio", "goal", "MiB", "peer MiB", "MiB goal")]
    keys = ("ratio", "goal", "ours_mib", "peer_mib", "goal_mib")
    for name, rows in results.items():
        cells += [(name, row["name"], *(_number(row.get(key)) for key in keys)) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _number(value):
    if not isinstance(value, int | float):
        return str(value or "")
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def record(results, path):
    """Write what was measured, when, with which versions, on what kind of machine. Other benchmarks' rows stay, as long
    as there is such a benchmark.

    The file is replaced as a whole: a full disk, or a stop on the way, leaves the old one. Raises ValueError for a file
    that is there and holds no record.
    """
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        kept = {}
    kept = {name: rows for name, rows in kept.items() if name in benchmarks()}
    kept |= {name: {**records.about(), "rows": rows} for name, rows in results.items()}
    records.write_whole(path, json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
