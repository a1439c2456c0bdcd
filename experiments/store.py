"""Records of the paper tables: one JSON line a run in data/measured/, in runs_SIZE.jsonl or in a file of the table.

A line holds what was run, every setting that decides the result, the versions of the code's behavior that decide it,
what was measured, how long it took and on what kind of machine. Lines are added at the end and never changed.
"""

import json
import os
from contextlib import contextmanager, nullcontext
from pathlib import Path

from experiments import records

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# {what the code does: version}. Raise a version by hand when what is computed changes: names, comments and files may
# change without it. The golden runs (experiments.golden) turn red when a number of theirs changes, and are not written
# anew before a version that decides the run is raised. Records with the old version are out of date then.
BEHAVIOR = {
    # of every run that trains one network with one loss
    "data": 1,  # from pixels to normalized floats; which images are held back for tuning
    "batches": 1,  # which images make up a batch
    "loop": 1,
    "optimizer": 1,  # SGD, and its rate from step to step
    "embeddings": 1,  # on the sphere, in the ball
    "distances": 1,
    "evaluation": 1,  # the metrics
    "measuring": 1,  # on which images they are taken, on the way and in the end
    # of some
    "augmentation": 1,
    "lenet": 1,
    "three convolutions": 1,
    "seven convolutions": 1,
    "ten convolutions": 1,
    "losses.softmax": 1,
    "losses.center": 1,
    "losses.triplet": 1,
    "losses.exponential_triplet": 1,
    "losses.circle": 1,
    "losses.pedcc": 1,
    "losses.weighted_sum": 1,
    "centroids": 1,
    # of ensembles
    "ensembles": 1,  # ways to several networks, and how they are judged
    "distancing": 1,
    "small_resnet": 1,
    "mobilenet_v2": 1,
}
OF_ALL = ("data", "batches", "loop", "optimizer", "embeddings", "distances", "evaluation", "measuring")


def versions(names) -> dict[str, int]:
    """{name: version} of these behaviors."""
    return {name: BEHAVIOR[name] for name in sorted(names)}


class Mismatch(ValueError):
    """A record that does not fit the present settings or code."""


def path_of(name: str, size: str, folder: Path | None = None) -> Path:
    """Where records in a size lie. name: "runs", or a table's (`Table.file`)."""
    folder = records.DATA / "measured" if folder is None else folder
    return folder / (f"{name}.jsonl" if size == "full" else f"{name}_{size}.jsonl")


def read(path: Path) -> list[dict]:
    """All records of a file; [] where there is none. A last line that a kill has cut short is left out.

    Raises ValueError for any other line that is no record.
    """
    if not path.exists():
        return []
    found = []
    lines = path.read_bytes().split(b"\n")[:-1]  # every whole line ends in a newline; what is left out is cut short
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: is no record ({error}); put the file back as it was") from error
    return found


def append(path: Path, record: dict) -> None:
    """Add a record at the end and force it onto the disk; what a killed writer has left of a line goes first."""
    with _alone(path) as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        if whole < length:
            file.truncate(whole)
        file.write(_line(record).encode())
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _alone(path):
    """The file, open for reading and for writing at its end, while other processes that write to it wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(path, "a+b") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):  # else it was replaced while this waited
                yield file
                return


@contextmanager
def only_writer(path: Path):
    """Within this, no other process on this machine measures the table of `path`. ValueError if one does already.

    The lock is a file beside the records. The operating system gives it back when a process ends, however it ends.
    Windows has no such lock.
    """
    if fcntl is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    descriptor = _locked(lock)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held: `_locked` knows a lock that is gone
        os.close(descriptor)


def _locked(lock: Path) -> int:
    """The descriptor of the file, locked for this process alone."""
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise ValueError(
                f"{lock}: cannot be locked for writing the records beside it ({error.strerror})"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                return descriptor
        except FileNotFoundError:
            pass  # its holder has put it away between the two lines: there is another lock by now, or none
        except OSError:
            os.close(descriptor)
            raise ValueError(
                f"{lock.stem}: another labkit measure is writing these records; wait for its end"
            ) from None
        os.close(descriptor)


# ---- whether a record fits


def key_of(dataset: str, kind: str, seed: int, settings: dict) -> tuple:
    """What a run is known by. `content`, the dataset's fingerprint, is left out: a report has no images at hand."""
    decided = {name: value for name, value in settings.items() if name != "content"}
    return dataset, kind, seed, json.dumps(decided, sort_keys=True, ensure_ascii=False)


def key(record: dict) -> tuple:
    """What a record is the record of: there is at most one of each in a file."""
    return key_of(*(record[name] for name in ("dataset", "kind", "seed", "settings")))


def check(record: dict, settings: dict, behavior: dict, path: Path) -> None:
    """Raises Mismatch unless the record was made with these settings and this behavior; says what differs."""
    lines = [
        f"{what}{name}: recorded {json.dumps(then.get(name))}, now {json.dumps(now.get(name))}"
        for what, then, now in (("", record["settings"], settings), ("behavior of ", record["behavior"], behavior))
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]
    if lines:
        dataset, row, kind, seed = (record[name] for name in ("dataset", "row", "kind", "seed"))
        raise Mismatch(
            f"{path.name} holds a record that does not fit ({dataset}, {row}, {kind}, seed {seed}):\n  "
            + "\n  ".join(lines)
            + "\nRecords of different settings or behavior are never mixed. Go back to what was recorded, or measure "
            "again with --again, which moves the records that do not fit into a file beside it"
        )


def put_aside(path: Path, unfit: list[dict]) -> Path:
    """Move some records of a file into another one beside it, with the first free number; returns its path."""
    number = next(n for n in range(1, 10**6) if not path.with_suffix(f".old{n}.jsonl").exists())
    aside = path.with_suffix(f".old{number}.jsonl")
    unfit_keys = {key(record) for record in unfit}
    for record in unfit:
        append(aside, record)
    with _alone(path) if fcntl else nullcontext():  # Windows does not replace a file that is open
        kept = [record for record in read(path) if key(record) not in unfit_keys]
        records.write_whole(path, "".join(_line(record) for record in kept))
    return aside


def _line(record):
    return json.dumps(record, ensure_ascii=False) + "\n"
