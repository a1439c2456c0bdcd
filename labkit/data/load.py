"""load: find a dataset in the data folder, or fetch it (labkit.data.sources knows where from)."""

import difflib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from labkit.data.images import Images
from labkit.data.sources.catalog import SOURCES
from labkit.data.sources.files import Arrays, BadFile
from labkit.data.sources.formats import npz, npz_classes
from labkit.data.sources.pictures import pictures_below, read_folder


def names() -> tuple[str, ...]:
    """The datasets that `load` knows by name; a dataset of your own may have any other.

    >>> names()[:3]
    ('digits', 'mnist', 'fashion_mnist')
    """
    return tuple(SOURCES)


def data_folder(root: str | Path | None = None) -> Path:
    """The folder that holds the datasets: `root`, else the environment variable LABKIT_DATA, else data/cache here.

    >>> data_folder("/tmp/sets").name
    'sets'
    """
    chosen = root or os.environ.get("LABKIT_DATA") or Path(__file__).parents[2] / "data" / "cache"
    return Path(chosen).expanduser().absolute()


def available(name: str, split: str = "train", root: str | Path | None = None) -> bool:
    """Whether `load` finds the dataset without a download.

    >>> available("digits", "test")
    True
    """
    return _found(name, split, data_folder(root)) is not None


def load(name: str, split: str = "train", root: str | Path | None = None) -> Images:
    """A dataset by name: one of `names()`, or one of your own.

    split: "train" or "test". For omniglot, olivetti and lfw the test classes do not occur in training. Those of your
        own set get the numbers that they have in training, or, if none occurs there, their own.
    root: see `data_folder`. What is there is taken, official files first, then `<root>/<name>/<split>.npz`, then a
        folder of pictures for each class in `<root>/<name>/<split>/`; else the official files are fetched.
    Raises ValueError for an unknown name or split and, with their paths, for damaged files; FileNotFoundError, with
    what to put where, when the data is neither there nor to be had. data/README.md says more.

    >>> load("digits", "test")
    Images(digits: 445 of 1×8×8, 10 classes, cpu)
    """
    folder = data_folder(root)
    place, read = _found(name, split, folder) or _fetched(name, split, folder)
    images, labels, classes = read()
    try:
        found = Images(torch.from_numpy(images), torch.from_numpy(labels), classes, name)
    except (TypeError, ValueError) as error:
        raise BadFile(f"{place}: dataset {name!r} ({split}): {error}") from error
    is_own = place.parent == folder / name
    return _numbered_as_in_training(found, place) if is_own and split == "test" else found


def _found(name: str, split: str, folder: Path) -> tuple[Path, Callable[[], Arrays]] | None:
    """Where the split lies, and a function that reads it; None when it is not there."""
    is_plain = isinstance(name, str) and name.isprintable() and not set(name) & set("/\\:") and not name.startswith(".")
    if not is_plain or not 0 < len(name.encode()) < 200:
        raise ValueError(f"name: got {name!r:.60}, expected one of {', '.join(SOURCES)}, or a folder's, not a path")
    if split not in ("train", "test"):
        raise ValueError(f'split: got {split!r}, expected "train" or "test"')
    source, npz_file, pictures = SOURCES.get(name), folder / name / f"{split}.npz", folder / name / split
    if source and source.found(split, folder):
        return folder, lambda: source.load(split, folder)
    if npz_file.is_file():
        return npz_file, lambda: npz(npz_file)
    if pictures.is_dir():
        return pictures, lambda: read_folder(pictures)
    return None


def _fetched(name: str, split: str, folder: Path) -> tuple[Path, Callable[[], Arrays]]:
    """A function that fetches official files and reads them; ValueError or FileNotFoundError for any other name."""
    if source := SOURCES.get(name):
        return folder, lambda: source.load(split, folder)
    own, close = folder / name, difflib.get_close_matches(name, SOURCES, 1)
    yours = f"{own / split}.npz (images, labels, classes) or a folder of pictures for each class in {own / split}"
    if own.is_dir():
        raise FileNotFoundError(f"name: got {name!r}, but {own} holds no {split} images; expected {yours}")
    meant = f" (did you mean {close[0]}?)" if close else ""
    raise ValueError(f"name: got {name!r}, expected one of {', '.join(SOURCES)}{meant}, or a set of your own: {yours}")


def _numbered_as_in_training(test: Images, place: Path) -> Images:
    """The test images with the classes of the training split beside them, where these are the same classes."""
    known = ()
    if (place.parent / "train.npz").is_file():
        known = npz_classes(place.parent / "train.npz")
    elif (place.parent / "train").is_dir():
        known = tuple(sorted(pictures_below(place.parent / "train")))
    if set(test.classes).isdisjoint(known):
        return test
    if extra := sorted(set(test.classes) - set(known)):
        raise BadFile(f"{place}: got the classes {extra}, which are not in training, expected all there, or none")
    numbers = torch.tensor([known.index(name) for name in test.classes])
    return replace(test, labels=numbers[test.labels], classes=known)
