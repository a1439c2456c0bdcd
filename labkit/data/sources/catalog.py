"""Where the course's datasets come from: official addresses, checksums, and how each file format is read.

`labkit.data.load` is the door to all of this. Official files lie where torchvision and scikit-learn put them, so that
a folder made by either serves here too, and they are read where they lie: nothing is unpacked beside them, the folder
may be read-only. data/README.md tells the same for people.
"""

import contextlib
import gzip
import hashlib
import importlib.util
import io
import shutil
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray, tuple[str, ...]]
"""images uint8 (N, C, H, W), labels int64 (N,), names of the classes."""

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".webp"}

# ---------------------------------------------------------------------------------------------------- official files


@dataclass(frozen=True)
class File:
    """One official file: its place under the data folder, its SHA-256, and the addresses that serve it."""

    path: str
    sha256: str
    urls: tuple[str, ...]
    unpacked: tuple[str, ...] = ()
    """Places under the data folder that serve as well: what an unpacking program leaves."""

    def find(self, root: Path) -> Path | None:
        """Where the file lies under `root`. The packed form goes first: a folder may be half unpacked."""
        return next((root / place for place in (self.path, *self.unpacked) if (root / place).exists()), None)

    def verify(self, path: Path) -> None:
        """Raise ValueError unless `path` holds the official bytes."""
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != self.sha256:
            raise ValueError(
                f"{path} is damaged, half there or another file: its SHA-256 is {found}, that of the official file is "
                f"{self.sha256}. Delete it; it is then downloaded again."
            )

    def download(self, root: Path) -> Path:
        """Fetch the file into `root`, trying one address after the other.

        It is written under a temporary name and moved to its own only when it is whole and its SHA-256 is right.
        Raises FileNotFoundError, with what to put where, when no address gives the file.
        """
        import pooch

        pooch.get_logger().setLevel("WARNING")  # the progress bar says what is going on
        target = root / self.path
        failures = []
        for url in self.urls:
            bar = _ProgressBar(target.name)
            # Without "identity" some servers pass a .gz on as unpacked text, whose checksum is another one.
            fetch = pooch.HTTPDownloader(bar, chunk_size=2**16, timeout=30, headers={"Accept-Encoding": "identity"})
            try:
                pooch.retrieve(url, f"sha256:{self.sha256}", target.name, target.parent, downloader=fetch)
            except (OSError, ValueError) as error:
                failures.append(f"  {url}\n    {type(error).__name__}: {error}")
            else:
                target.chmod(0o644)  # temporary files can be read by their owner only
                return target
            finally:
                bar.close()
        raise FileNotFoundError(
            f"{target} is not there and could not be downloaded:\n" + "\n".join(failures) + "\n"
            "Get the file by other means, for instance with a browser from an address above, and put it there "
            f"(SHA-256 {self.sha256}); or let LABKIT_DATA, or the argument root, name a folder that has it. "
            "data/README.md lists every file."
        )


class _ProgressBar:
    """A bar for pooch, which tells the size (`total`) only when the server has answered."""

    def __init__(self, name: str):
        from tqdm.auto import tqdm

        self.bar = tqdm(desc=name, unit="B", unit_scale=True, leave=False)
        self.update, self.reset, self.close = self.bar.update, self.bar.reset, self.bar.close

    @property
    def total(self) -> int | None:
        return self.bar.total

    @total.setter
    def total(self, size: int) -> None:
        self.bar.reset(size or None)


@dataclass(frozen=True)
class Source:
    """A dataset: its official files for each split and `read(split, *paths) -> Arrays`."""

    read: Callable[..., Arrays]
    train: tuple[File, ...] = ()
    test: tuple[File, ...] = ()

    def files(self, split: str) -> tuple[File, ...]:
        return self.train if split == "train" else self.test


def find(name: str, split: str, root: Path) -> Callable[[], Arrays] | None:
    """A function that reads the dataset from what lies under `root`; None when it is not there.

    Official files go first, then `<root>/<name>/<split>.npz`, then the folder `<root>/<name>/<split>/<class>/`.
    """
    if name in SOURCES:
        paths = [file.find(root) for file in SOURCES[name].files(split)]
        if all(paths):
            return partial(SOURCES[name].read, split, *paths)
    if (root / name / f"{split}.npz").is_file():
        return partial(read_npz, root / name / f"{split}.npz")
    if (root / name / split).is_dir():
        return partial(read_picture_folder, root / name, split)
    return None


def download(name: str, split: str, root: Path) -> Callable[[], Arrays]:
    """Fetch the official files that are missing under `root`; returns a function that reads the dataset.

    Raises ValueError for a name that is neither official nor a folder under `root`, FileNotFoundError for a folder
    without this split and for files that cannot be had.
    """
    if name not in SOURCES:
        place = root / name / split
        expected = (
            f"expected one of {', '.join(SOURCES)}, or a dataset of your own: {place}.npz (images, labels, classes) or "
            f"a folder of pictures for each class in {place} (data/README.md says more)"
        )
        if (root / name).is_dir():
            raise FileNotFoundError(f"name: got {name!r}, but {root / name} holds no {split} images; {expected}")
        raise ValueError(f"name: got {name!r}, {expected}")
    paths = [file.find(root) or file.download(root) for file in SOURCES[name].files(split)]
    return partial(SOURCES[name].read, split, *paths)


# ----------------------------------------------------------------------------------------------------- your own data


def read_npz(path: Path) -> Arrays:
    """An .npz file with images uint8 (N, C, H, W), labels integer (N,) and classes str (K,)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, labels, classes = (archive[key] for key in ("images", "labels", "classes"))
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected an .npz file with images, labels and classes; {error}") from error
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{path}: labels are {labels.dtype}, expected integers")
    return images, labels.astype(np.int64), tuple(map(str, classes))


def read_picture_folder(folder: Path, split: str) -> Arrays:
    """Pictures of one size in `<folder>/<split>/<class>/`; grayscale when all of them are, else three channels.

    Classes are numbered in the order of their names. Test classes that all occur in training get the training numbers;
    when none does (unseen classes) they get their own; a mixture is refused, for the numbers would contradict.
    """
    pictures = _pictures_below(folder / split)
    classes = sorted(pictures)
    known = sorted(_pictures_below(folder / "train")) if split == "test" and (folder / "train").is_dir() else []
    if known and not set(classes).isdisjoint(known):
        if extra := set(classes) - set(known):
            raise ValueError(
                f"{folder / 'test'}: the classes {sorted(extra)} are not in {folder / 'train'}, but others are; "
                "expected either only classes that are there, or only classes that are not (unseen classes)"
            )
        classes = known
    decoded, labels, sizes = [], [], {}
    for name, paths in pictures.items():
        for path in paths:
            decoded.append(_decode(path))
            labels.append(classes.index(name))
            sizes.setdefault(decoded[-1].shape[:2], path)
    if len(sizes) > 1:
        found = "; ".join(f"{width}×{height}: {path}" for (height, width), path in sizes.items())
        raise ValueError(f"{folder / split}: expected pictures of one size, got {found}")
    if any(picture.ndim == 3 for picture in decoded):
        decoded = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in decoded]
    return _channels_first(np.stack(decoded)), np.array(labels, np.int64), tuple(classes)


def _is_picture(file: str | Path) -> bool:
    """By its name; a name that starts with a dot is some system's own record of a picture."""
    return Path(file).suffix.lower() in PICTURES and not Path(file).name.startswith(".")


def _pictures_below(folder: Path) -> dict[str, list[Path]]:
    """The pictures of every class: class name (its path below `folder`) -> files, both in order of name."""
    files = sorted((file for file in folder.rglob("*") if _is_picture(file)), key=Path.as_posix)
    pictures: dict[str, list[Path]] = {}
    for file in files:
        pictures.setdefault(file.parent.relative_to(folder).as_posix(), []).append(file)
    if not pictures or "." in pictures:
        raise ValueError(f"{folder}: expected pictures in one folder for each class ({', '.join(sorted(PICTURES))})")
    return pictures


def _decode(picture: Path | bytes) -> np.ndarray:
    """uint8 (H, W) for a gray picture, (H, W, 3) for a color one."""
    from PIL import Image, ImageOps

    try:
        with Image.open(picture if isinstance(picture, Path) else io.BytesIO(picture)) as opened:
            if opened.mode in ("1", "L", "LA"):
                mode = "L"
            elif opened.mode in ("P", "RGB", "RGBA", "CMYK", "YCbCr"):
                mode = "RGB"
            else:  # 16-bit and floating-point pictures would be cut off at 255
                raise ValueError(f"pixels of mode {opened.mode}; expected 8-bit gray or color")
            return np.asarray(ImageOps.exif_transpose(opened).convert(mode))
    except (OSError, ValueError) as error:
        raise ValueError(f"{picture if isinstance(picture, Path) else 'picture'}: {error}") from error


def _channels_first(images: np.ndarray) -> np.ndarray:
    """(N, H, W) or (N, H, W, C) -> (N, C, H, W), contiguous."""
    return np.ascontiguousarray(images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2))


# -------------------------------------------------------------------------------------------------- official formats


def _digits(split: str) -> Arrays:
    """scikit-learn's 1,797 handwritten digits, 8×8; 3/4 of every class train, 1/4 test, drawn with a fixed seed."""
    # load_digits() reads this very file, but importing scikit-learn for it costs every lab about a second.
    package = importlib.util.find_spec("sklearn").submodule_search_locations[0]
    table = np.loadtxt(Path(package, "datasets", "data", "digits.csv.gz"), delimiter=",")
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = table[:, -1].astype(np.int64)
    random = np.random.RandomState(0)  # unlike Generator, its numbers are the same in every version of NumPy
    shuffled = [random.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    test = np.concatenate([members[: len(members) // 4] for members in shuffled])
    chosen = np.isin(np.arange(len(labels)), test, invert=split == "train")
    return images[chosen], labels[chosen], tuple("0123456789")


def _unzipped(path: Path, member: str | None) -> bytes:
    """The bytes of an idx file that lies there as it is, gzipped, or as a gzipped member of a zip archive."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                return gzip.decompress(archive.read(member))
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, KeyError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or only half there ({error}). Delete it and get it again.") from error


def read_idx(path: Path, dimensions: int, member: str | None = None) -> np.ndarray:
    """A uint8 array in the idx format of MNIST: 0, 0, 8, number of dimensions, sizes (big-endian int32), values."""
    content = _unzipped(path, member)
    shape = tuple(np.frombuffer(content, ">i4", dimensions, 4)) if len(content) > 4 * dimensions else ()
    values = np.frombuffer(content, np.uint8, offset=min(len(content), 4 + 4 * dimensions))
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(values) != np.prod(shape):
        raise ValueError(f"{path} is not a whole idx file of {dimensions} dimensions. Delete it and get it again.")
    return values.reshape(shape).copy()


def _mnist(classes: tuple[str, ...], split: str, images: Path, labels: Path) -> Arrays:
    """The format of MNIST and of the sets made to replace it."""
    return read_idx(images, 3)[:, None], read_idx(labels, 1).astype(np.int64), classes


def _emnist(split: str, images: Path, labels: Path) -> Arrays:
    """EMNIST, balanced split. The images in the official files are transposed; here they stand upright."""
    member = f"gzip/emnist-balanced-{split}-{{}}-ubyte.gz"
    upright = read_idx(images, 3, member.format("images-idx3")).transpose(0, 2, 1)
    classes = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")
    return _channels_first(upright), read_idx(labels, 1, member.format("labels-idx1")).astype(np.int64), classes


def _cifar(name: str, split: str, path: Path) -> Arrays:
    """CIFAR-10 or CIFAR-100 (fine labels) through torchvision, which checks the MD5 of each part and unpickles it.

    Pickles can run code: an archive is unpacked only after its SHA-256 was found right.
    """
    from torchvision import datasets

    dataset = getattr(datasets, name)
    with tempfile.TemporaryDirectory() as temporary:
        if path.is_file():
            SOURCES[name.lower()].train[0].verify(path)
            Path(temporary, dataset.base_folder).mkdir()
            parts = [part for part, _ in dataset.train_list + dataset.test_list] + [dataset.meta["filename"]]
            with tarfile.open(path) as archive:
                for part in (f"{dataset.base_folder}/{part}" for part in parts):
                    Path(temporary, part).write_bytes(archive.extractfile(part).read())
        try:
            with warnings.catch_warnings():  # NumPy 2.4.0 on what Python 2 wrote into the files (pytorch/vision #9340)
                warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
                read = dataset(temporary if path.is_file() else path.parent, train=split == "train")
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold the official files of {name}: {error}") from error
    return _channels_first(read.data), np.array(read.targets, np.int64), tuple(read.classes)


def _packed_pictures(path: Path) -> dict[str, list[bytes]]:
    """The picture files of every class in a .zip or .tgz archive, or in the folder that it unpacks to, in order."""
    if path.is_dir():
        return {name: [file.read_bytes() for file in files] for name, files in _pictures_below(path).items()}
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                files = [(name, archive.read(name)) for name in archive.namelist() if _is_picture(name)]
        else:
            with tarfile.open(path) as archive:
                files = [(m.name, archive.extractfile(m).read()) for m in archive if _is_picture(m.name)]
    except (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or only half there ({error}). Delete it and get it again.") from error
    pictures: dict[str, list[bytes]] = {}
    for name, content in sorted(files):
        pictures.setdefault("/".join(name.removeprefix("./").split("/")[1:-1]), []).append(content)
    return pictures


def _labels(pictures: dict[str, list[bytes]], classes: list[str]) -> np.ndarray:
    return np.repeat(np.arange(len(classes), dtype=np.int64), [len(pictures[name]) for name in classes])


def _omniglot(split: str, path: Path) -> Arrays:
    """Omniglot: a class is alphabet/character; 105×105, ink 255 on 0 as in MNIST (the files have it inverted)."""
    pictures = _packed_pictures(path)
    classes = sorted(pictures)
    images = np.stack([255 - _decode(picture) for name in classes for picture in pictures[name]])
    return images[:, None], _labels(pictures, classes), tuple(classes)


def _olivetti(split: str, path: Path) -> Arrays:
    """The Olivetti faces through scikit-learn; people 0-29 are train, people 30-39, never seen in training, test."""
    from sklearn.datasets import fetch_olivetti_faces

    SOURCES["olivetti"].train[0].verify(path)
    # scikit-learn turns the file into a pickle of its own and deletes it: let it have a copy.
    with tempfile.TemporaryDirectory() as home, contextlib.redirect_stdout(None):
        shutil.copy(path, home)
        faces = fetch_olivetti_faces(data_home=home)
    images, people = np.rint(faces.images * 255).astype(np.uint8), faces.target
    chosen = people >= 30 if split == "test" else people < 30
    first = 30 if split == "test" else 0
    names = tuple(f"person {person}" for person in np.unique(people[chosen]))
    return images[chosen][:, None], people[chosen].astype(np.int64) - first, names


def _lfw(split: str, path: Path) -> Arrays:
    """Labeled Faces in the Wild, funneled: the people with at least 20 pictures, in the order of their names.

    Every fourth of them is test, never seen in training. The middle 128×128 pixels are scaled to 64×64 and made gray:
    scikit-learn's `fetch_lfw_people(slice_=(slice(68, 196), slice(61, 189)), resize=0.5)`, which would write a cache
    of pickles beside the pictures.
    """
    from PIL import Image

    def face(picture: bytes) -> np.ndarray:
        middle = Image.fromarray(_decode(picture)).convert("RGB").crop((61, 68, 189, 196)).resize((64, 64))
        return np.rint(np.asarray(middle, np.float32).mean(axis=2)).astype(np.uint8)

    pictures = _packed_pictures(path)
    people = [person for person in sorted(pictures) if len(pictures[person]) >= 20]
    people = [person for place, person in enumerate(people) if (place % 4 == 3) == (split == "test")]
    images = np.stack([face(picture) for person in people for picture in pictures[person]])
    return images[:, None], _labels(pictures, people), tuple(person.replace("_", " ") for person in people)


# ------------------------------------------------------------------------------------------ addresses and checksums
# Every SHA-256 was found in at least two independent public places, MNIST's and Fashion-MNIST's also on real files;
# data/README.md names them.


def _idx_source(folder: str, classes: tuple[str, ...], urls: tuple[str, ...], *checksums: str) -> Source:
    """The four files of a set in the format of MNIST; checksums in the order of `names`."""
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    files = tuple(
        File(f"{folder}/raw/{name}.gz", checksum, tuple(f"{url}{name}.gz" for url in urls), (f"{folder}/raw/{name}",))
        for name, checksum in zip(names, checksums, strict=True)
    )
    return Source(partial(_mnist, classes), train=files[:2], test=files[2:])


def _emnist_files(split: str) -> tuple[File, ...]:
    """One archive holds everything; what torchvision unpacks from it serves as well."""
    members = [f"emnist-balanced-{split}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    return tuple(
        File(
            "EMNIST/raw/gzip.zip",
            "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
            (
                "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
                "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/gzip.zip",
            ),
            (f"EMNIST/raw/{member}", f"EMNIST/raw/{member}.gz", f"EMNIST/raw/gzip/{member}.gz"),
        )
        for member in members
    )


def _cifar_source(name: str, archive: str, folder: str, checksum: str) -> Source:
    files = (File(archive, checksum, (f"https://www.cs.toronto.edu/~kriz/{archive}",), (folder,)),)
    return Source(partial(_cifar, name), train=files, test=files)


def _omniglot_files(part: str, checksum: str) -> tuple[File, ...]:
    hosts = (
        "https://raw.githubusercontent.com/brendenlake/omniglot/master/python",
        "https://github.com/brendenlake/omniglot/raw/master/python",
    )
    place = f"omniglot-py/images_{part}"
    return (File(f"{place}.zip", checksum, tuple(f"{host}/images_{part}.zip" for host in hosts), (place,)),)


_OLIVETTI = File(
    "olivettifaces.mat",
    "b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794",
    ("https://ndownloader.figshare.com/files/5976027",),
)
_LFW = File(
    "lfw_home/lfw-funneled.tgz",
    "b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
    ("https://ndownloader.figshare.com/files/5976015",),
    ("lfw-py/lfw-funneled.tgz", "lfw_home/lfw_funneled", "lfw-py/lfw_funneled"),
)

SOURCES: dict[str, Source] = {
    "digits": Source(_digits),
    "mnist": _idx_source(
        "MNIST",
        tuple("0123456789"),
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    "fashion_mnist": _idx_source(
        "FashionMNIST",
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    "kmnist": _idx_source(
        "KMNIST",
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        ("https://codh.rois.ac.jp/kmnist/dataset/kmnist/", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"),
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
    "emnist": Source(_emnist, train=_emnist_files("train"), test=_emnist_files("test")),
    "cifar10": _cifar_source(
        "CIFAR10",
        "cifar-10-python.tar.gz",
        "cifar-10-batches-py",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    "cifar100": _cifar_source(
        "CIFAR100",
        "cifar-100-python.tar.gz",
        "cifar-100-python",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    ),
    "omniglot": Source(
        _omniglot,
        train=_omniglot_files("background", "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640"),
        test=_omniglot_files("evaluation", "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee"),
    ),
    "olivetti": Source(_olivetti, train=(_OLIVETTI,), test=(_OLIVETTI,)),
    "lfw": Source(_lfw, train=(_LFW,), test=(_LFW,)),
}
"""The datasets that the course knows by name."""
