"""The losses against pytorch-metric-learning: time and memory of forward and backward.

Embeddings of dimension 128 in float32, in two layouts: P classes of 4 samples, and ten classes. Small and large batches
with one thread, large ones with all threads and, where there is one, on the GPU. The ratio is the peer's time over
ours, the median over rounds in which both take turns: processor time with one thread, else time on the clock. Memory is
how far one pass of a large batch raises the peak above what was held before, for one thread and for the GPU, each in a
process of its own (on the CPU it is known on Linux only). Where both compute the same number,
that is checked. The contrastive losses differ (ours has squares, the peer's has not) but run over the same pairs. The
peer has no center loss: there the peer is the usual form, the whole B×C matrix of distances under a mask.

    python tools/benchmarks/losses.py
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import torch
from pytorch_metric_learning import distances, losses, miners

from labkit.losses import ArcFaceLoss, CenterLoss, CircleLoss, ContrastiveLoss, TripletLoss

DIM = 128
MARGIN = 0.2
SIZES = (128, 1024)
LAYOUTS = ("P×4", "10 classes")
SECONDS = 5  # after which no further round begins
ROUNDS = 9
GOALS = {  # how many times as fast, at 1024 rows
    ("triplet all", "P×4"): 15,
    ("triplet all", "10 classes"): 60,
    ("triplet hard", "P×4"): 1.5,
    ("triplet hard", "10 classes"): 1.5,
    ("contrastive", "P×4"): 1,
    ("contrastive", "10 classes"): 1,
    ("circle", "P×4"): 1.5,
    ("circle", "10 classes"): 1.5,
    ("ArcFace", "P×4"): 1,
    ("ArcFace", "10 classes"): 1,
    ("center", "P×4"): 1,
    ("center", "10 classes"): 1,
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


class MatrixCenterLoss(torch.nn.Module):
    """The center loss as a matrix of the distances to all centers, masked."""

    def __init__(self, num_classes, dim):
        super().__init__()
        self.register_buffer("centers", torch.zeros(num_classes, dim))

    def forward(self, embeddings, labels):
        squares = embeddings.square().sum(1, keepdim=True) + self.centers.square().sum(1)
        squares = torch.addmm(squares, embeddings, self.centers.T, alpha=-2)
        own = labels[:, None] == torch.arange(len(self.centers), device=labels.device)
        return (squares * own).clamp(min=1e-12, max=1e12).sum() / 2 / len(labels)


def arcface(num_classes):
    """Ours, with weight rows that the peer can be given."""
    torch.manual_seed(0)
    return ArcFaceLoss(num_classes, DIM)


def peer_arcface(num_classes):
    peer = losses.ArcFaceLoss(num_classes, DIM, margin=math.degrees(0.5), scale=64)
    peer.W.data = arcface(num_classes).weight.data.T.contiguous()
    return peer


PAIRS = {  # loss -> how ours is made, how the peer's is made, for a number of classes
    "contrastive": (lambda _: ContrastiveLoss(), lambda _: losses.ContrastiveLoss()),
    "triplet all": (lambda _: TripletLoss(MARGIN), lambda _: peer_triplet()),
    "triplet hard": (lambda _: TripletLoss(MARGIN, "hard"), lambda _: peer_triplet(miners.BatchHardMiner)),
    "circle": (lambda _: CircleLoss(0.4, 80), lambda _: losses.CircleLoss(m=0.4, gamma=80)),
    "ArcFace": (arcface, peer_arcface),
    "center": (lambda classes: CenterLoss(classes, DIM), lambda classes: MatrixCenterLoss(classes, DIM)),
}


def batch(layout, size, device="cpu"):
    """Unit embeddings in loose clusters, so that some triplets are active and many are not."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(size) // 4 if layout == "P×4" else torch.arange(size) % 10
    centers = torch.randn(int(labels.max()) + 1, DIM, generator=generator)
    embeddings = 0.7 * centers[labels] + torch.randn(size, DIM, generator=generator)
    return torch.nn.functional.normalize(embeddings).to(device).requires_grad_(), labels.to(device)


def make(name, which, labels):
    """A loss for a batch: ours (which = 0) or the peer's (1)."""
    loss = PAIRS[name][which](int(labels.max()) + 1)
    return loss.to(labels.device) if isinstance(loss, torch.nn.Module) else loss


def run(loss, embeddings, labels, clock):
    """Forward and backward; returns the loss and how long it took."""
    embeddings.grad = None
    start = clock()
    value = loss(embeddings, labels)
    value.backward()
    value = value.item()  # a GPU is waited for
    return value, clock() - start


def time_cell(name, layout, size, where):
    """The median ratio of the peer's time to ours, and both median times in milliseconds."""
    clock = time.process_time if where == "one thread" else time.perf_counter
    data = batch(layout, size, "cuda" if where == "GPU" else "cpu")
    ours, peer = (make(name, which, data[1]) for which in (0, 1))
    value, _ = run(ours, *data, clock)
    peer_value, once = run(peer, *data, clock)
    if name != "contrastive" and abs(value / peer_value - 1) > 1e-4:
        raise RuntimeError(f"{name}, {layout}, {size} rows: the loss is {value}, the peer's {peer_value}")
    times, ratios = [], []
    started = time.perf_counter()
    repeats = max(1, min(20, int(0.05 / once)))  # a round of a small batch holds several passes
    while len(ratios) < 3 or (len(ratios) < ROUNDS and time.perf_counter() - started < SECONDS):
        mine, theirs = (statistics.median(run(loss, *data, clock)[1] for _ in range(repeats)) for loss in (ours, peer))
        times.append((1000 * mine, 1000 * theirs))
        ratios.append(theirs / mine)
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    return {"ratio": statistics.median(ratios), "ours_ms": mine, "peer_ms": theirs, "rounds": len(ratios)}


def memory_cell(name, layout, size, where, which):
    """By how many MiB one pass raises the peak of the memory: the resident memory, or the GPU's."""
    device = "cuda" if where == "GPU" else "cpu"
    small, data = batch(layout, 64, device), batch(layout, size, device)
    run(make(name, which, small[1]), *small, time.perf_counter)  # what is loaded and set up once does not count
    loss = make(name, which, data[1])
    if where == "GPU":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(loss, *data, time.perf_counter)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    before = resident("VmRSS")
    run(loss, *data, time.perf_counter)
    return (resident("VmHWM") - before) / 1024


def resident(key):
    """A figure in KiB from what Linux tells about this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def cell(*arguments):
    """Measures a cell in a process of its own."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    if arguments[3] == "one thread":
        environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, str(Path(__file__).resolve()), json.dumps(arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    return json.loads(done.stdout.splitlines()[-1])


def cells():
    """What is measured, in which order: name of a row -> loss, layout, size and place."""
    found = {}
    for name, layout, where, size in product(PAIRS, LAYOUTS, ("one thread", "all threads", "GPU"), SIZES):
        if size == max(SIZES) or where == "one thread":
            found[f"{name}, {layout}, {size} rows, {where}"] = name, layout, size, where
    return found


def rows():
    """A row for every cell: the ratio of times and, for large batches, both memory figures in MiB."""
    result = []
    for title, (name, layout, size, where) in cells().items():
        if where == "GPU" and not torch.cuda.is_available():
            continue
        print(f"{title} ...", file=sys.stderr, flush=True)
        row = {"name": title, **cell(name, layout, size, where)}
        if size == max(SIZES) and where == "one thread":
            row["goal"] = GOALS[name, layout]
        if size == max(SIZES) and (where == "GPU" or (sys.platform == "linux" and where == "one thread")):
            row["ours_mib"], row["peer_mib"] = (cell(name, layout, size, where, which) for which in (0, 1))
            if name == "triplet all" and where == "one thread":
                row["goal_mib"] = MEMORY_GOAL
        result.append(row)
    return result


def main():
    for row in rows():
        line = f"{row['name']}: {row['ratio']:.3g} times as fast ({row['ours_ms']:.3g}, peer {row['peer_ms']:.4g} ms)"
        if row.get("goal"):
            line += f", goal {row['goal']}"
        if "ours_mib" in row:
            line += f"; {row['ours_mib']:.0f} MiB, peer {row['peer_mib']:.0f}"
            if "goal_mib" in row:
                line += f", goal {row['goal_mib']}"
        print(line)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        task = json.loads(sys.argv[1])
        if task[3] == "one thread":
            torch.set_num_threads(1)
        print(json.dumps((time_cell if len(task) == 4 else memory_cell)(*task)))
    else:
        main()
