"""Readers: the .npz file of a dataset of your own, and the official formats. `files.named` stands around each."""

import contextlib
import gzip
import importlib.util
import math
import shutil
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from labkit.data.sources.files import Arrays, named
from labkit.data.sources.pictures import channels_first, decode, is_picture, pictures_below

MOST_IMAGES = 200_000  # in one idx file; a header that asks for more is damaged

NPZ = "an .npz file of three arrays: images uint8 (N, C, H, W), labels whole numbers (N,), classes strings (K,)"


def npz(path: Path) -> Arrays:
    """The arrays of a file of your own, as NPZ says."""
    with named(path, NPZ):
        with _opened(path) as archive:
            images, labels = archive["images"], archive["labels"]
        if labels.dtype.kind not in "iu":
            raise ValueError(f"labels of {labels.dtype}")
    return images, labels.astype(np.int64), npz_classes(path)


def npz_classes(path: Path) -> tuple[str, ...]:
    """The names of the classes alone."""
    with named(path, NPZ):
        with _opened(path) as archive:
            classes = archive["classes"]
        if classes.dtype.kind not in "SUiu" or classes.ndim != 1:
            raise ValueError(f"classes of {classes.dtype} {classes.shape}")
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in classes.tolist())


def _opened(path: Path) -> np.lib.npyio.NpzFile:
    if not zipfile.is_zipfile(path):  # np.load would take other files for something else
        raise ValueError("no archive of arrays")
    return np.load(path, allow_pickle=False)  # a pickle can run code


def digits(split: str) -> Arrays:
    """scikit-learn's 1,797 handwritten digits, 8×8; 3/4 of every class train, 1/4 test, drawn with a fixed seed."""
    # load_digits() reads this very file, but importing scikit-learn for it costs every lab more than a second.
    package = importlib.util.find_spec("sklearn").submodule_search_locations[0]
    table = np.loadtxt(Path(package, "datasets", "data", "digits.csv.gz"), delimiter=",")
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = table[:, -1].astype(np.int64)
    random = np.random.RandomState(0)  # unlike Generator, its numbers are the same in every version of NumPy
    shuffled = [random.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    test = np.concatenate([members[: len(members) // 4] for members in shuffled])
    chosen = np.isin(np.arange(len(labels)), test, invert=split == "train")
    return images[chosen], labels[chosen], tuple("0123456789")


def idx(path: Path, item: tuple[int, ...] = (), member: str = "") -> np.ndarray:
    """uint8 (N, *item) in MNIST's idx format, plain, gzipped or in a .zip: no more is unpacked than its header says."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        if path.suffix == ".zip":
            file = stack.enter_context(stack.enter_context(zipfile.ZipFile(file)).open(member))
        if path.suffix in (".zip", ".gz"):
            file = stack.enter_context(gzip.GzipFile(fileobj=file))
        dimensions = 1 + len(item)
        start, sizes = file.read(4), np.frombuffer(file.read(4 * dimensions), ">i4").tolist()
        if start != bytes((0, 0, 8, dimensions)) or sizes[1:] != list(item) or not 0 <= sizes[0] <= MOST_IMAGES:
            raise ValueError(f"{path.name} with {start.hex()} in front and sizes {sizes}")
        count = math.prod(sizes)
        values = file.read(count + 1)
    if len(values) != count:
        raise ValueError(f"{path.name} with {len(values)} values where its header has {count}")
    return np.frombuffer(values, np.uint8).reshape(sizes).copy()


def mnist(classes: tuple[str, ...], split: str, images: Path, labels: Path) -> Arrays:
    """The format of MNIST and of the sets made to replace it."""
    return idx(images, (28, 28))[:, None], idx(labels).astype(np.int64), classes


def emnist(split: str, images: Path, labels: Path) -> Arrays:
    """EMNIST, balanced split. The images in the official files are transposed; here they stand upright."""
    member = f"gzip/emnist-balanced-{split}-{{}}-ubyte.gz"
    upright = idx(images, (28, 28), member.format("images-idx3")).transpose(0, 2, 1)
    classes = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")
    return channels_first(upright), idx(labels, (), member.format("labels-idx1")).astype(np.int64), classes


def cifar(name: str, split: str, path: Path) -> Arrays:
    """CIFAR-10 or CIFAR-100 (fine labels) through torchvision. Its pickles are only read from a checked archive."""
    from torchvision import datasets

    dataset = getattr(datasets, name)
    with tempfile.TemporaryDirectory() as temporary:
        if path.is_file():
            Path(temporary, dataset.base_folder).mkdir()
            parts = [part for part, _ in dataset.train_list + dataset.test_list] + [dataset.meta["filename"]]
            with tarfile.open(path) as archive:
                for part in (f"{dataset.base_folder}/{part}" for part in parts):
                    Path(temporary, part).write_bytes(archive.extractfile(part).read())
        with warnings.catch_warnings():  # NumPy 2.4.0 on what Python 2 wrote into the files (pytorch/vision #9340)
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            read = dataset(temporary if path.is_file() else path.parent, train=split == "train")
    return channels_first(read.data), np.array(read.targets, np.int64), tuple(read.classes)


def omniglot(split: str, path: Path) -> Arrays:
    """Omniglot: a class is alphabet/character; 105×105, ink 255 on 0 as in MNIST (the files have it inverted)."""
    pictures = _packed_pictures(path)
    return *_read(pictures, sorted(pictures), lambda picture: 255 - decode(picture)), tuple(sorted(pictures))


def olivetti(split: str, path: Path) -> Arrays:
    """The Olivetti faces through scikit-learn; people 0-29 are train, people 30-39, never seen in training, test."""
    from sklearn.datasets import fetch_olivetti_faces

    # scikit-learn turns the file into a pickle of its own and deletes it: let it have a copy.
    with tempfile.TemporaryDirectory() as home, contextlib.redirect_stdout(None):
        shutil.copy(path, home)
        faces = fetch_olivetti_faces(data_home=home)
    first, end = (30, 40) if split == "test" else (0, 30)
    chosen = (faces.target >= first) & (faces.target < end)
    images = np.rint(faces.images[chosen] * 255).astype(np.uint8)
    names = tuple(f"person {person}" for person in range(first, end))
    return images[:, None], faces.target[chosen].astype(np.int64) - first, names


def lfw(split: str, path: Path) -> Arrays:
    """Labeled Faces in the Wild, as scikit-learn cuts them: people with 20 pictures and more; every fourth is test."""
    from PIL import Image

    def face(picture: bytes) -> np.ndarray:
        middle = Image.fromarray(decode(picture)).convert("RGB").crop((61, 68, 189, 196)).resize((64, 64))
        return np.rint(np.asarray(middle, np.float32).mean(axis=2)).astype(np.uint8)

    pictures = _packed_pictures(path)
    people = [person for person in sorted(pictures) if len(pictures[person]) >= 20]
    people = [person for place, person in enumerate(people) if (place % 4 == 3) == (split == "test")]
    return *_read(pictures, people, face), tuple(person.replace("_", " ") for person in people)


def _packed_pictures(path: Path) -> dict[str, list[bytes]]:
    """The picture files of every class in a .zip or .tgz archive, or in the folder that it unpacks to, in order."""
    if path.is_dir():
        return {name: [file.read_bytes() for file in files] for name, files in pictures_below(path).items()}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            files = [(name, archive.read(name)) for name in archive.namelist() if is_picture(name)]
    else:
        with tarfile.open(path) as archive:
            files = [(m.name, archive.extractfile(m).read()) for m in archive if is_picture(m.name)]
    pictures: dict[str, list[bytes]] = {}
    for name, content in sorted(files):
        pictures.setdefault("/".join(name.removeprefix("./").split("/")[1:-1]), []).append(content)
    return pictures


def _read(pictures: dict, classes: list[str], read: Callable[[bytes], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    images = np.stack([read(picture) for name in classes for picture in pictures[name]])[:, None]
    return images, np.repeat(np.arange(len(classes), dtype=np.int64), [len(pictures[name]) for name in classes])
