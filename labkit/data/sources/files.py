"""Official files, where torchvision and scikit-learn put them: whether the bytes are right, how they are fetched."""

import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray, tuple[str, ...]]
"""images uint8 (N, C, H, W), labels int64 (N,), names of the classes."""

CHECKED_WHEN_READ = 300  # megabytes; EMNIST alone is larger, and would cost every process half a second and more
ABANDONED = 3600  # seconds without a new byte, after which a half-written download belongs to a killed process


class BadFile(ValueError):
    """A file of a dataset is damaged, or another one than is expected; the message begins with its path."""


@contextmanager
def named(path: Path | str, expected: str) -> Iterator[None]:
    """Turn whatever a damaged file makes a reader raise (OSError, struct.error, ...) into a BadFile that names it."""
    try:
        yield
    except BadFile:
        raise
    except Exception as error:
        got = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise BadFile(f"{path}: got {got}, expected {expected}") from error


@dataclass(frozen=True)
class File:
    """One official file.

    path: its place under the data folder. urls: addresses that serve it. megabytes: more is not downloaded.
    unpacked: places that serve as well, where torchvision and others unpack it (for these there is no checksum).
    """

    path: str
    sha256: str
    megabytes: int
    urls: tuple[str, ...]
    unpacked: tuple[str, ...] = ()

    def find(self, root: Path) -> Path | None:
        """Where the file lies under `root`. The packed form goes first: a folder may be half unpacked."""
        if (root / self.path).is_file():
            return root / self.path
        return next((root / place for place in self.unpacked if (root / place).exists()), None)

    def check(self, path: Path) -> None:
        """Raise BadFile unless the packed file at `path` holds the official bytes; each is read once a process."""
        is_packed = path.name == Path(self.path).name  # unpacked forms have other names, and no checksum
        if is_packed and self.megabytes <= CHECKED_WHEN_READ:
            status = path.stat()
            _compare_once(path, self.sha256, status.st_size, status.st_mtime_ns)

    def download(self, root: Path) -> Path:
        """Fetch the file into `root`; returns where it lies. FileNotFoundError, if no address gives it, says more."""
        target, failures = root / self.path, []
        if target.exists():
            raise BadFile(f"{target}: got a folder, expected the official file (SHA-256 {self.sha256})")
        for url in self.urls:
            try:
                self._fetch(url, target)
            except (OSError, ValueError) as error:
                failures.append(f"  {url}\n    {type(error).__name__}: {error}")
            else:
                return target
        raise FileNotFoundError(
            f"{target} is not there and could not be downloaded:\n" + "\n".join(failures) + "\n"
            f"Get the file by other means, such as a browser, and put it there (SHA-256 {self.sha256}); or let "
            "LABKIT_DATA, or the argument root, name a folder that has it. data/README.md lists every file."
        )

    def _fetch(self, url: str, target: Path) -> None:
        """One download, which gets its name when it is whole. Raises OSError or ValueError; then nothing is left."""
        import requests
        from tqdm.auto import tqdm

        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{target.name}.*.part"):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink(missing_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        limit, received = 1_000_000 * self.megabytes, 0
        # Without "identity" some servers pass a .gz on as unpacked text, whose checksum is another one.
        request = dict(stream=True, timeout=30, headers={"Accept-Encoding": "identity"})
        try:
            with requests.get(url, **request) as answer, part.open("wb") as file:
                answer.raise_for_status()
                size = int(answer.headers.get("Content-Length", 0)) or None
                with tqdm(desc=target.name, total=size, unit="B", unit_scale=True, leave=False) as bar:
                    for chunk in answer.iter_content(2**16):
                        received += len(chunk)
                        if received > limit:
                            raise ValueError(f"got more than {limit:,} bytes, expected fewer")
                        file.write(chunk)
                        bar.update(len(chunk))
            _compare(part, self.sha256)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@functools.cache
def _compare_once(path: Path, sha256: str, size: int, changed: int) -> None:
    """`_compare`, but only once for a file of this size and time of change; what was wrong is read again."""
    _compare(path, sha256)


def _compare(path: Path, sha256: str) -> None:
    """Raise BadFile unless the file has this SHA-256."""
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != sha256:
        expected = f"{sha256}, that of the official file: delete it, and it is downloaded again"
        raise BadFile(f"{path}: got SHA-256 {found}, expected {expected}")


@dataclass(frozen=True)
class Source:
    """A dataset: its official files for each split, and `read(split, *paths) -> Arrays`."""

    read: Callable[..., Arrays]
    train: tuple[File, ...] = ()
    test: tuple[File, ...] = ()

    def found(self, split: str, root: Path) -> bool:
        """Whether all files of the split lie under `root`."""
        return all(file.find(root) for file in getattr(self, split))

    def load(self, split: str, root: Path) -> Arrays:
        """Read the split, after fetching those of its files that are not under `root`."""
        paths = [file.find(root) or file.download(root) for file in getattr(self, split)]
        for file, path in zip(getattr(self, split), paths, strict=True):
            file.check(path)
        with named(" and ".join(map(str, paths)), "whole official files: delete what is damaged and get it again"):
            return self.read(split, *paths)
