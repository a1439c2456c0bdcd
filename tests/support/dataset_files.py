"""Small files in the formats of datasets, for the tests of labkit.data."""

import dataclasses
import hashlib
import io

import numpy as np
from PIL import Image

from labkit.data.sources.catalog import SOURCES


def random_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


def encoded(picture, kind="png", **options):
    """The bytes of a picture file; `picture` is an array or a PIL image."""
    buffer = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def save_npz(path, **change):
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = dict(images=random_pixels(4, 3, 6, 5), labels=np.array([0, 1, 1, 0], np.uint8), classes=["cat", "dog"])
    np.savez(path, **{key: value for key, value in {**arrays, **change}.items() if value is not None})


def save_pictures(folder, *names, size=(6, 5), mode="L", kind="png"):
    for number, name in enumerate(names):
        shape = size if mode == "L" else (*size, 3)
        write(folder / name, encoded(random_pixels(*shape, seed=number), kind))


def official(monkeypatch, name, *contents, urls=None, **change):
    """Let the official files of `name` be these (train's, then test's): their checksums, and addresses if given."""
    remaining = iter(contents)

    def changed(files):
        return tuple(
            dataclasses.replace(f, sha256=hashlib.sha256(next(remaining)).hexdigest(), urls=urls or f.urls, **change)
            for f in files
        )

    source = SOURCES[name]
    train = changed(source.train)
    test = train if source.test == source.train else changed(source.test)
    monkeypatch.setitem(SOURCES, name, dataclasses.replace(source, train=train, test=test))


def official_as_it_lies(monkeypatch, name, root):
    """Let the official files of `name` be those that lie under `root`; what is not there stays as it is."""

    def changed(files):
        return tuple(
            dataclasses.replace(f, sha256=hashlib.sha256((root / f.path).read_bytes()).hexdigest())
            if (root / f.path).is_file()
            else f
            for f in files
        )

    source = SOURCES[name]
    monkeypatch.setitem(
        SOURCES, name, dataclasses.replace(source, train=changed(source.train), test=changed(source.test))
    )
