"""Contrastive and triplet losses against pytorch-metric-learning: processor time and memory, forward and backward.

Embeddings of dimension 128 in float32, in two layouts: P classes of 4 samples, and ten classes. One thread. The ratio
is the peer's processor time over ours, the median over rounds in which both take turns. Memory is how far one pass
raises the process's peak above what it held before, each in a process of its own; it is known on Linux only. Where both
compute the same number, that is checked. The contrastive losses differ (ours has squares, the peer's has not) but run
over the same pairs.

    python benchmarks/losses.py
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from pytorch_metric_learning import distances, losses, miners

from labkit.losses import ContrastiveLoss, TripletLoss

DIM = 128
MARGIN = 0.2
SIZES = (64, 256, 512, 1024)
LAYOUTS = ("P×4", "10 classes")
SECONDS = 20  # after which no further round begins
GOALS = {  # how many times as fast, at 1024 rows
    ("triplet all", "P×4"): 15,
    ("triplet all", "10 classes"): 60,
    ("triplet hard", "P×4"): 1.5,
    ("triplet hard", "10 classes"): 1.5,
    ("contrastive", "P×4"): 1,
    ("contrastive", "10 classes"): 1,
}
MEMORY_GOAL = 80  # MiB, for batch-all at 1024 rows


def peer_triplet(miner=None):
    """The peer's triplet loss on the triplets of one of its miners, or on all."""
    distance = distances.LpDistance(normalize_embeddings=False)
    loss = losses.TripletMarginLoss(MARGIN, distance=distance)
    if miner is None:
        return loss
    miner = miner(distance=distance)
    return lambda embeddings, labels: loss(embeddings, labels, miner(embeddings, labels))


def semihard_miner(distance):
    return miners.TripletMarginMiner(MARGIN, "semihard", distance=distance)


PAIRS = {  # loss -> how ours is made, how the peer's is made
    "contrastive": (ContrastiveLoss, losses.ContrastiveLoss),
    "triplet all": (lambda: TripletLoss(MARGIN), peer_triplet),
    "triplet hard": (lambda: TripletLoss(MARGIN, "hard"), lambda: peer_triplet(miners.BatchHardMiner)),
    "triplet semihard_all": (lambda: TripletLoss(MARGIN, "semihard_all"), lambda: peer_triplet(semihard_miner)),
}


def batch(layout, size):
    """Unit embeddings in loose clusters, so that some triplets are active and many are not."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(size) // 4 if layout == "P×4" else torch.arange(size) % 10
    centers = torch.randn(int(labels.max()) + 1, DIM, generator=generator)
    embeddings = 0.7 * centers[labels] + torch.randn(size, DIM, generator=generator)
    return torch.nn.functional.normalize(embeddings).requires_grad_(), labels


def run(loss, embeddings, labels):
    """Forward and backward; returns the loss and the processor seconds that it took."""
    embeddings.grad = None
    start = time.process_time()
    value = loss(embeddings, labels)
    value.backward()
    return value.item(), time.process_time() - start


def time_cell(name, layout, size):
    """The median ratio of the peer's time to ours, and both median times in milliseconds."""
    data = batch(layout, size)
    ours, peer = (make() for make in PAIRS[name])
    value, _ = run(ours, *data)
    peer_value, once = run(peer, *data)
    if name != "contrastive" and abs(value / peer_value - 1) > 1e-4:
        raise RuntimeError(f"{name}, {layout}, {size} rows: the loss is {value}, the peer's {peer_value}")
    times, ratios = [], []
    started = time.perf_counter()
    repeats = max(1, min(20, int(0.05 / once)))  # a round of a small batch holds several passes
    while len(ratios) < 3 or (len(ratios) < 15 and time.perf_counter() - started < SECONDS):
        mine, theirs = (statistics.median(run(loss, *data)[1] for _ in range(repeats)) for loss in (ours, peer))
        times.append((1000 * mine, 1000 * theirs))
        ratios.append(theirs / mine)
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    return {"ratio": statistics.median(ratios), "ours_ms": mine, "peer_ms": theirs, "rounds": len(ratios)}


def memory_cell(name, layout, size, which):
    """By how many MiB one pass raises the peak of the resident memory."""
    loss = PAIRS[name][which]()
    run(loss, *batch(layout, 16))  # what is loaded and set up once does not count
    data = batch(layout, size)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    before = resident("VmRSS")
    run(loss, *data)
    return (resident("VmHWM") - before) / 1024


def resident(key):
    """A figure in KiB from what Linux tells about this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def cell(*arguments):
    """Measures a cell in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(Path(__file__).resolve()), json.dumps(arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    return json.loads(done.stdout.splitlines()[-1])


def rows(sizes=SIZES, names=tuple(PAIRS)):
    """A row for every loss, layout and batch size: the ratio of times, and both memory figures in MiB."""
    result = []
    for name in names:
        for layout in LAYOUTS:
            for size in sizes:
                row = {"name": f"{name}, {layout}, {size} rows", **cell(name, layout, size)}
                row["goal"] = GOALS.get((name, layout)) if size == 1024 else None
                if sys.platform == "linux":
                    row["ours_mib"], row["peer_mib"] = cell(name, layout, size, 0), cell(name, layout, size, 1)
                    row["goal_mib"] = MEMORY_GOAL if name == "triplet all" and size == 1024 else None
                result.append(row)
    return result


def main():
    for row in rows():
        line = f"{row['name']}: {row['ratio']:.3g} times as fast ({row['ours_ms']:.3g}, peer {row['peer_ms']:.4g} ms)"
        if row["goal"]:
            line += f", goal {row['goal']}"
        if "ours_mib" in row:
            line += f"; {row['ours_mib']:.0f} MiB, peer {row['peer_mib']:.0f}"
            if row["goal_mib"]:
                line += f", goal {row['goal_mib']}"
        print(line)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        task = json.loads(sys.argv[1])
        torch.set_num_threads(1)
        print(json.dumps((time_cell if len(task) == 3 else memory_cell)(*task)))
    else:
        main()
