"""labkit doctor --gpu: what only a machine with a GPU can show, in at most eight minutes, and one record of it.

The tests that need CUDA; each loss against its peer, time and memory; the input pipeline against the usual one;
training on CIFAR-10, one run alone and then three side by side. A part that does not end in its time is ended, and the
record says so. With `tiny` the same runs on a CPU, to see that it works.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from pathlib import Path

from experiments import records

ROOT = Path(__file__).resolve().parents[1]
RECORD = records.DATA / "measured" / "gpu.json"
LIMIT = 480  # seconds, for everything
SIDE_BY_SIDE = 3
NEEDS_A_GPU = re.compile(r"\b(GPU|CUDA)\b")


def pytest_collection_modifyitems(config, items):
    """As a plugin of pytest: leave only the tests that are skipped where there is no GPU."""
    kept = [item for item in items if any(map(_needs_a_gpu, item.iter_markers("skipif")))]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _needs_a_gpu(mark):
    reason = mark.kwargs.get("reason", "")
    return bool(NEEDS_A_GPU.search(reason)) and "without" not in reason


# ----------------------------------------------------------------------------------------------------------- the parts


def tests(device, tiny):
    """The tests that need a GPU: how many passed, failed, were skipped."""
    where = ["tests/labkit/test_embeddings.py"] if tiny else ["tests/labkit", "tests/experiments"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "junit.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tools.gpu", "-p", "no:cacheprovider", "--tb=short"]
        jobs = [] if tiny else ["-n", str(min(4, os.cpu_count() or 1))]
        subprocess.run([*command, *jobs, f"--junitxml={report}", *where], cwd=ROOT, stdout=sys.stderr)
        suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    failed = [f"{case.get('classname')}::{case.get('name')}" for case in suite.iter("testcase") if _failed(case)]
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    return {"passed": passed, "skipped": counts["skipped"], "failed": failed}


def _failed(case):
    return case.find("failure") is not None or case.find("error") is not None


def losses(device, tiny):
    """Each loss against its peer at 1024 rows, times and MiB, all in one process; see tools/benchmarks/losses.py."""
    from tools.benchmarks import losses as benchmark

    benchmark.SECONDS = 0 if tiny else 3
    where, size = ("GPU" if device.startswith("cuda") else "one thread"), 64 if tiny else 1024
    rows = []
    for name in list(benchmark.PAIRS)[: 2 if tiny else None]:
        for layout in benchmark.LAYOUTS:
            row = {"name": f"{name}, {layout}, {size} rows", **benchmark.time_cell(name, layout, size, where)}
            if where == "GPU":
                both = (benchmark.memory_cell(name, layout, size, where, which) for which in (0, 1))
                row["ours_mib"], row["peer_mib"] = both
            rows.append(row)
    return rows


def input_pipeline(device, tiny):
    """Batches made on the device, shifted and mirrored, against a Dataset, PIL and a DataLoader on the CPU."""
    from labkit.data import Augment, Batches
    from tools.benchmarks import input_pipeline as benchmark

    rows, augment = [], Augment(shift=benchmark.SHIFT, flip=True)
    for channels, size in ((1, 28), (3, 32)):
        images = benchmark.random_images(channels, size, 512 if tiny else 50_000)
        ours = Batches(images, benchmark.BATCH, augment=augment, device=device)
        name = f"{channels}×{size}×{size}, batch {benchmark.BATCH}, shift and flip"
        rows.append(benchmark.compare(name, ours, benchmark.usual_pipeline(images), 1 if tiny else 5))
    return rows


def training(device, tiny):
    """The full-size recipe: one run alone, then three at a time; of each its accuracy, speed and time."""
    from experiments import store
    from labkit import data

    dataset, size, several = ("digits", "tiny", 2) if tiny else ("cifar10", "full", SIDE_BY_SIDE)
    data.load(dataset)  # fetches it where it is not at hand
    command = [sys.executable, "-m", "course", "measure", "recipe", "--datasets", dataset, "--size", size]
    with tempfile.TemporaryDirectory() as folder:
        for seeds, jobs in ((1, 1), (1 + several, several)):
            options = ["--device", device, "--folder", folder, "--seeds", str(seeds), "--jobs", str(jobs)]
            subprocess.run([*command, *options], cwd=ROOT, stdout=sys.stderr, check=True)
            for number, record in enumerate(store.read(store.path_of("recipe", size, Path(folder)))):
                about = {name: record[name] for name in ("seed", "images a second", "seconds") if name in record}
                about |= {"at a time": several if number else 1, **record["results"], **record["about"]}
                if seeds == 1 or number:
                    print(json.dumps(about), flush=True)  # what has ended is kept, whatever becomes of the rest


PARTS = {  # name -> the function, and how many seconds it may take
    "tests": (tests, 150),
    "losses": (losses, 70),
    "input pipeline": (input_pipeline, 40),
    "training": (training, 300),
}


def part(name, device, tiny):
    """One part, in the process of its own that `measure` starts; prints what was measured, a line of JSON."""
    found = PARTS[name][0](device, tiny)
    for row in [found] if isinstance(found, dict) else found or []:
        print(json.dumps(row), flush=True)


# --------------------------------------------------------------------------------------------------------- all of them


def measure(device="cuda", tiny=False, limit=None):
    """Yield (name, what came out) of each part: its seconds, its rows, and what went wrong, if anything.

    limit: seconds for all parts together; default LIMIT, or an hour where `tiny` is to be seen working on any machine.
    """
    end = time.monotonic() + (limit or (3600 if tiny else LIMIT))
    for name, (_, seconds) in PARTS.items():
        started = time.monotonic()
        seconds = max(1, end - started if tiny else min(seconds, end - started))
        call = f"from tools import gpu; gpu.part({name!r}, {device!r}, {tiny!r})"
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT)}
        own = {"start_new_session": True} if os.name != "nt" else {}
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            process = subprocess.Popen([sys.executable, "-c", call], stdout=said, cwd=ROOT, env=environment, **own)
            try:
                wrong = "" if process.wait(seconds) == 0 else f"ended with status {process.returncode}; see above"
            except subprocess.TimeoutExpired:
                wrong = f"ended after {seconds:.0f} s, which was its time"
            except BaseException:
                _end(process)
                raise
            if wrong:
                _end(process)
            said.seek(0)
            rows = [json.loads(line) for line in said.read().splitlines() if line.startswith("{")]
        found = {"seconds": round(time.monotonic() - started, 1), "rows": rows}
        yield name, found | ({"wrong": wrong} if wrong else {})


def _end(process):
    """End a part and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        if os.name == "nt":
            process.kill()
        else:
            os.killpg(process.pid, 9)
    process.wait()


def is_sound(name, found, tiny=False):
    """Whether a part ended in its time, measured something, and nothing failed.

    A tiny run makes eight steps at the rate of long ones, at which it may diverge: that is no failure of the machine.
    """
    failed = any(row.get("failed") for row in found["rows"]) and not (tiny and name == "training")
    return bool(found["rows"]) and "wrong" not in found and not failed


def line(name, found):
    """One part in a line."""
    rows = found["rows"]
    if name == "tests" and rows:
        text = f"{rows[0]['passed']} passed, {len(rows[0]['failed'])} failed, {rows[0]['skipped']} skipped"
    elif name == "training":
        speeds = [f"{row.get('images a second', 0):.0f}" for row in rows]
        text = f"{len(rows)} runs; images a second, first the run alone: {', '.join(speeds)}"
    else:
        text = f"{len(rows)} rows, " + ", ".join(f"{row['ratio']:.3g}" for row in rows) + " times as fast"
    return f"{name:15} {found['seconds']:6.1f} s  {text}" + (f"; {found['wrong']}" if "wrong" in found else "")


def about(device):
    """What was measured on."""
    import torch

    said = records.about()
    if device.startswith("cuda") and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.device(device))
        said |= {
            "device": properties.name,
            "MiB": properties.total_memory // 2**20,
            "compute capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return said


def record(parts, device, path):
    """Write the one record, whole or not at all."""
    content = {"about": about(device), "parts": parts}
    records.write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
