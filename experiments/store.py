"""Records of the paper tables: one JSON line a run in data/measured/TABLE.jsonl, or TABLE_SIZE.jsonl.

A line holds what was run, every setting that decides the result with a hash over them, a version of the code, what was
measured, how long it took and on what kind of machine. Lines are added at the end and never changed. The versions of
the code are those of the files that decide the result, comments and docstrings left out; no commit needs to be known.
"""

import hashlib
import io
import json
import os
import tempfile
import tokenize
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from experiments import records

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PACKAGE = Path(__file__).resolve().parents[1]

# The files that decide the result of every run; those of the losses are added to it loss by loss.
CORE = (
    "augmentation.py",
    "data.py",
    "distances.py",
    "embeddings.py",
    "evaluation.py",
    "experiments/parts.py",
    "experiments/trial.py",
    "loop.py",
    "similarities.py",
)


# {(file, version in records): the version that does the same}. Records of both fit. An entry says why, and is made only
# after some of the records were measured again with the newer version, on the machine that had made them, and came out
# the same to the last digit.
ALIKE = {
    # The networks of the full size stand in large.py and photographs.py. Training images make their first filters, so
    # that parts.network takes them. The precision of a full-size run is trial.py's, and so is saving it on the way:
    # that changes no step.
    ("experiments/parts.py", "82e1f917"): "8c89b2ae",
    ("experiments/parts.py", "6178b2a5"): "8c89b2ae",
    ("experiments/trial.py", "2fccfcad"): "b562c79c",
    ("experiments/trial.py", "f86cdc63"): "b562c79c",
}


class Mismatch(ValueError):
    """A record that does not fit the present settings or code."""


def path_of(table: str, size: str, folder: Path | None = None) -> Path:
    """Where the records of a table in a size lie."""
    folder = records.DATA / "measured" if folder is None else folder
    return folder / (f"{table}.jsonl" if size == "full" else f"{table}_{size}.jsonl")


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
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        if whole < length:
            file.truncate(whole)
        file.write((json.dumps(record, ensure_ascii=False) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def only_writer(path: Path):
    """Within this, no other process on this machine writes the records of `path`. ValueError if one does already.

    The operating system gives the lock back when a process ends, however it ends. Windows has no such lock.
    """
    if fcntl is None:
        yield
        return
    with (Path(tempfile.gettempdir()) / f"labkit-{digest(str(path.absolute()))}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"{path.name}: another labkit measure is writing these records; wait for its end"
            ) from None
        yield


def digest(value) -> str:
    """Twelve hexadecimal digits that stand for a plain value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:12]


# ---- the version of the code


@cache
def file_version(name: str) -> str:
    """Eight hexadecimal digits for what a source file of labkit says to Python: no comments, docstrings or blanks."""
    source = (PACKAGE / name).read_text(encoding="utf-8")
    marks = {tokenize.INDENT: ">", tokenize.DEDENT: "<", tokenize.NEWLINE: "\n"}
    words, begins = [], True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.NL) or (begins and token.type == tokenize.STRING):
            continue  # a string that begins a statement is a docstring
        if token.type != tokenize.NEWLINE or not begins:  # not the end of a line that held only a docstring
            words.append(marks.get(token.type, token.string))
        begins = token.type in marks
    text = "".join(words).replace(" ", "").replace("{{", "{").replace("}}", "}")  # Pythons split f-strings differently
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def same_version(name: str, recorded: str, now: str) -> bool:
    """Whether a file in the recorded version decides a run as the one of now does."""
    return recorded == now or ALIKE.get((name, recorded)) == now


def code_version(network, loss) -> dict[str, str]:
    """{file: version} of the files that decide a run with this network and this loss."""
    modules = [*network.modules(), *loss.modules()]
    kinds = {kind.__module__ for module in modules for kind in type(module).__mro__}
    own = {f"{name.removeprefix('labkit.').replace('.', '/')}.py" for name in kinds if name.startswith("labkit.")}
    if any(name.startswith("losses/pedcc") for name in own):
        own |= {"centroids.py", "losses/softmax.py"}
    return {name: file_version(name) for name in sorted({*CORE, *own})}


# ---- whether a record fits


def key(record: dict) -> tuple:
    """What a record is the record of: there is at most one of each in a file."""
    return tuple(record[name] for name in ("dataset", "row", "kind", "seed", "setting"))


def check(record: dict, settings: dict, code: dict, path: Path) -> None:
    """Raises Mismatch unless the record was made with these settings and this code; says what differs."""
    lines = [
        f"{name}: recorded {json.dumps(record['settings'].get(name))}, now {json.dumps(now)}"
        for name, now in settings.items()
        if record["settings"].get(name) != now
    ]
    versions = [(name, record["code"].get(name, now), now) for name, now in code.items()]
    lines += [f"labkit/{version[0]} has changed" for version in versions if not same_version(*version)]
    lines += [f"labkit/{name} is {'new' if name in code else 'gone'}" for name in record["code"].keys() ^ code.keys()]
    if lines:
        dataset, row, kind, seed, _ = key(record)
        raise Mismatch(
            f"{path.name} holds a record that does not fit ({dataset}, {row}, {kind}, seed {seed}):\n  "
            + "\n  ".join(lines)
            + "\nRecords of different settings or code are never mixed. Go back to what was recorded, or measure again "
            "with --again, which moves the records that do not fit into a file beside it"
        )


def put_aside(path: Path, unfit: list[dict]) -> Path:
    """Move some records of a file into another one beside it, with the first free number; returns its path."""
    number = next(n for n in range(1, 10**6) if not path.with_suffix(f".old{n}.jsonl").exists())
    aside = path.with_suffix(f".old{number}.jsonl")
    unfit_keys = {key(record) for record in unfit}
    kept = [record for record in read(path) if key(record) not in unfit_keys]
    for record in unfit:
        append(aside, record)
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    temporary.touch()
    for record in kept:
        append(temporary, record)
    os.replace(temporary, path)
    return aside
