"""labkit.data.sources.formats and catalog: every official format, on small files made here."""

import gzip
import hashlib
import io
import os
import pickle
import tarfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_files import encoded, idx, official, official_as_it_lies, random_pixels, tree, write
from PIL import Image

from labkit.data import available, load, names
from labkit.data.sources.catalog import SOURCES


@pytest.fixture
def mnist_files(monkeypatch, tmp_path):
    """MNIST's four files with 30 + 10 images, under tmp_path; returns images and labels of both splits."""
    made = {}
    for part, split, count in (("train", "train", 30), ("t10k", "test", 10)):
        images, labels = random_pixels(count, 28, 28, seed=count), np.arange(count) % 10
        made[split] = images, labels
        write(tmp_path / f"MNIST/raw/{part}-images-idx3-ubyte.gz", gzip.compress(idx(images)))
        write(tmp_path / f"MNIST/raw/{part}-labels-idx1-ubyte.gz", gzip.compress(idx(labels)))
    official_as_it_lies(monkeypatch, "mnist", tmp_path)
    return made


# ------------------------------------------------------------------------------------------------------------ digits


def test_digits_are_scikit_learns_split_alike_in_every_class():
    from sklearn.datasets import load_digits

    original = load_digits()
    train, test = load("digits"), load("digits", "test")
    assert train.shape == (1, 8, 8) and train.classes == tuple("0123456789")
    assert len(train) + len(test) == 1797
    for digit in range(10):
        count = int((original.target == digit).sum())
        assert int((test.labels == digit).sum()) == count // 4

    def rows(pixels, labels):
        return sorted((*map(int, image.ravel()), int(label)) for image, label in zip(pixels, labels, strict=True))

    scaled = np.rint(original.images * 255 / 16)
    ours = rows(torch.cat([train.images, test.images]).numpy(), torch.cat([train.labels, test.labels]).numpy())
    assert ours == rows(scaled, original.target)
    assert train.images.max() == 255


def test_digits_are_the_same_in_every_version():
    """The split is part of what the labs claim: it may not change by itself."""
    assert load("digits").labels[:12].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 0, 1, 2, 4]
    assert load("digits", "test").fingerprint().startswith("796da3b5023de827")


# -------------------------------------------------------------------------------------------------- official formats


def test_mnist_is_read_as_it_lies(mnist_files, tmp_path):
    before = tree(tmp_path)
    for split, (images, labels) in mnist_files.items():
        loaded = load("mnist", split, tmp_path)
        assert np.array_equal(loaded.images[:, 0], images) and np.array_equal(loaded.labels, labels)
        assert loaded.name == "mnist" and loaded.classes == tuple("0123456789")
    assert tree(tmp_path) == before


def test_unpacked_idx_files_serve_and_torchvision_agrees(mnist_files, tmp_path):
    from torchvision.datasets import MNIST

    for packed in list((tmp_path / "MNIST/raw").glob("*.gz")):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    peer = MNIST(tmp_path, train=False)
    loaded = load("mnist", "test", tmp_path)
    assert torch.equal(loaded.images[:, 0], peer.data) and torch.equal(loaded.labels, peer.targets)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100", "omniglot"])
def test_files_lie_where_torchvision_puts_them(name):
    from torchvision import datasets

    peer = {
        "mnist": datasets.MNIST,
        "fashion_mnist": datasets.FashionMNIST,
        "kmnist": datasets.KMNIST,
        "emnist": datasets.EMNIST,
        "cifar10": datasets.CIFAR10,
        "cifar100": datasets.CIFAR100,
        "omniglot": datasets.Omniglot,
    }[name]
    files = SOURCES[name].train + SOURCES[name].test
    paths = {file.path for file in files}
    if name == "omniglot":
        assert paths == {f"{peer.folder}/{part}.zip" for part in peer.zips_md5}
    elif name == "emnist":
        assert {peer.url} == {file.urls[0] for file in files} and paths == {"EMNIST/raw/gzip.zip"}
        assert "".join(peer.classes_split_dict["balanced"]) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    elif name.startswith("cifar"):
        assert {peer.url} == set(files[0].urls) and paths == {peer.filename}
    else:
        assert paths == {f"{peer.__name__}/raw/{file}" for file, _ in peer.resources}
        assert any(url.startswith(mirror) for url in files[0].urls for mirror in peer.mirrors)
        if name != "mnist":
            assert list(SOURCES[name].read.args[0]) == peer.classes


def test_checksums_and_addresses_are_complete():
    every = {file for source in SOURCES.values() for file in source.train + source.test}
    assert len({file.sha256 for file in every}) == 4 * 3 + 1 + 2 + 2 + 1 + 1
    for file in every:
        assert len(bytes.fromhex(file.sha256)) == 32 and file.urls[0].startswith("https://")
        assert all(url.startswith("http") for url in file.urls)


DAMAGES = ["cut", "flipped bit", "no idx", "too long", "bomb", "empty"]


def damaged(content, damage, packed):
    """The bytes of an idx file, changed."""
    plain, middle = gzip.decompress(content) if packed else content, len(content) // 2
    if damage in ("cut", "flipped bit", "empty"):  # what happens to a file on its way
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        return {"cut": content[:middle], "flipped bit": flipped, "empty": b""}[damage]
    made = {
        "no idx": b"<html>not found</html>",
        "too long": plain + b"x",
        "bomb": plain[:4] + bytes((127, 255, 255, 255)) + plain[8:] + bytes(10**7),  # two thousand million images
    }[damage]
    return gzip.compress(made) if packed else made


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("packed", [True, False])
def test_damaged_idx_files_are_refused(tmp_path, damage, packed):
    """EMNIST's unpacked files have no checksum: here the reader itself has to notice."""
    if damage == "flipped bit" and not packed:
        pytest.skip("nothing in an unpacked file tells")
    for kind, array in (("images-idx3", random_pixels(10, 28, 28)), ("labels-idx1", np.arange(10))):
        content = gzip.compress(idx(array)) if packed else idx(array)
        file = tmp_path / f"EMNIST/raw/emnist-balanced-test-{kind}-ubyte{'.gz' if packed else ''}"
        write(file, damaged(content, damage, packed) if kind == "images-idx3" else content)
    with pytest.raises(ValueError, match=r"images-idx3-ubyte.*: got .*delete what is damaged"):
        load("emnist", "test", tmp_path)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_packed_file_is_compared_with_its_checksum(mnist_files, tmp_path, damage):
    """Also where the format is whole, as with Fashion-MNIST's files of the same name in MNIST's folder."""
    file = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte.gz"
    content = file.read_bytes()
    assert len(load("mnist", "test", tmp_path)) == 10
    file.write_bytes(damaged(content, damage, packed=True))
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz: got SHA-256 .*delete it"):
        load("mnist", "test", tmp_path)
    file.write_bytes(gzip.compress(idx(random_pixels(10, 28, 28, seed=99))))
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz: got SHA-256"):
        load("mnist", "test", tmp_path)
    file.write_bytes(content)
    assert len(load("mnist", "test", tmp_path)) == 10


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    """512 MB of zeros behind the header of 10 images: no more is unpacked than the header announces."""
    raw = tmp_path / "EMNIST/raw"
    write(raw / "emnist-balanced-test-labels-idx1-ubyte.gz", gzip.compress(idx(np.arange(10))))
    with gzip.open(raw / "emnist-balanced-test-images-idx3-ubyte.gz", "wb", compresslevel=1) as file:
        file.write(idx(random_pixels(10, 28, 28)))
        for _ in range(64):
            file.write(bytes(2**23))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"images-idx3-ubyte\.gz"):
        load("emnist", "test", tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_more_labels_than_images_are_refused(mnist_files, monkeypatch, tmp_path):
    write(tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte.gz", gzip.compress(idx(np.zeros(11))))
    official_as_it_lies(monkeypatch, "mnist", tmp_path)
    with pytest.raises(ValueError, match=r"mnist.*labels: got int64 of shape \(11,\)"):
        load("mnist", "test", tmp_path)


@pytest.mark.parametrize("form", ["zip", "raw/{}", "raw/{}.gz", "raw/gzip/{}.gz"])
def test_emnist_stands_upright(tmp_path, form):
    images, labels = random_pixels(5, 28, 28), np.array([0, 10, 36, 46, 1])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for kind, array in (("images-idx3", images.transpose(0, 2, 1)), ("labels-idx1", labels)):
            name = f"emnist-balanced-test-{kind}-ubyte"
            archive.writestr(f"gzip/{name}.gz", gzip.compress(idx(array)))
            if form != "zip":
                content = idx(array)
                write(tmp_path / "EMNIST" / form.format(name), gzip.compress(content) if "gz" in form else content)
    if form == "zip":
        write(tmp_path / "EMNIST/raw/gzip.zip", buffer.getvalue())
    loaded = load("emnist", "test", tmp_path)
    assert np.array_equal(loaded.images[:, 0], images)
    assert [loaded.classes[label] for label in loaded.labels] == ["0", "A", "a", "t", "1"]
    assert len(loaded.classes) == 47


class AsWrittenByPython2:
    """Warns when it is unpickled, as NumPy 2.4.0 does about the official files (pytorch/vision #9340)."""

    def __reduce__(self):
        return warnings.warn, ("dtype(): align should be a boolean", np.exceptions.VisibleDeprecationWarning)


def cifar_files(monkeypatch, name, extra=None):
    """A small CIFAR: returns its parts (path -> bytes), the archive, the images and labels of train."""
    from torchvision import datasets

    peer = getattr(datasets, name.upper())
    key, classes = ("labels", 10) if name == "cifar10" else ("fine_labels", 100)
    parts, images, labels = {}, [], []
    for number, (part, _) in enumerate(peer.train_list + peer.test_list):
        pixels, answers = random_pixels(6, 3072, seed=number), [(number + k) % classes for k in range(6)]
        parts[part] = pickle.dumps({"data": pixels, key: answers, "more": AsWrittenByPython2()})
        if [part] in [entry[:1] for entry in peer.train_list]:
            images.append(pixels.reshape(6, 3, 32, 32))
            labels += answers
    parts[peer.meta["filename"]] = pickle.dumps({peer.meta["key"]: [f"class {k}" for k in range(classes)]})
    parts.update(extra or {})
    md5 = {part: hashlib.md5(content).hexdigest() for part, content in parts.items()}
    for field in ("train_list", "test_list"):
        monkeypatch.setattr(peer, field, [[part, md5[part]] for part, _ in getattr(peer, field)])
    monkeypatch.setattr(peer, "meta", {**peer.meta, "md5": md5[peer.meta["filename"]]})
    parts = {f"{peer.base_folder}/{part}": content for part, content in parts.items()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for part, content in parts.items():
            entry = tarfile.TarInfo(part)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return parts, buffer.getvalue(), np.concatenate(images), labels


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("form", ["archive", "folder"])
def test_cifar_from_its_archive_and_from_its_folder(monkeypatch, tmp_path, name, form):
    parts, archive, images, labels = cifar_files(monkeypatch, name)
    official(monkeypatch, name, archive)
    if form == "archive":
        write(tmp_path / SOURCES[name].train[0].path, archive)
    else:
        for part, content in parts.items():
            write(tmp_path / part, content)
    before = tree(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load(name, "train", tmp_path)
    assert np.array_equal(loaded.images, images) and loaded.labels.tolist() == labels
    assert loaded.classes[3] == "class 3" and load(name, "test", tmp_path).shape == (3, 32, 32)
    assert tree(tmp_path) == before


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_a_cifar_pickle_is_not_opened_before_its_checksum_is_right(monkeypatch, tmp_path, form):
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    parts, archive, *_ = cifar_files(monkeypatch, "cifar10", extra={"test_batch": trap})
    _, right, *_ = cifar_files(monkeypatch, "cifar10")
    official(monkeypatch, "cifar10", right)
    if form == "archive":
        write(tmp_path / "cifar-10-python.tar.gz", archive)
    else:
        for part, content in parts.items():
            write(tmp_path / part, content)
    with pytest.raises(ValueError, match=r"cifar-10-(python.tar.gz: got SHA-256|batches-py: got RuntimeError)"):
        load("cifar10", "test", tmp_path)
    assert not sprung.exists()
    pickle.loads(trap).close()
    assert sprung.exists()  # the trap works


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_omniglot_has_ink_255_and_unseen_test_classes(monkeypatch, tmp_path, form):
    drawings = {}
    for alphabet, character in (("Greek", "character02"), ("Greek", "character01"), ("Futurama", "character01")):
        for person in (1, 2):
            paper = np.ones((105, 105), bool)
            paper[person * 10, len(drawings)] = False
            drawings[f"images_evaluation/{alphabet}/{character}/0001_0{person}.png"] = paper
    files = {name: encoded(paper) for name, paper in drawings.items()}
    files["images_evaluation/Greek/character01/._0001_01.png"] = b"a record of some system"
    if form == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        write(tmp_path / "omniglot-py/images_evaluation.zip", buffer.getvalue())
        official_as_it_lies(monkeypatch, "omniglot", tmp_path)
    else:
        for name, content in files.items():
            write(tmp_path / "omniglot-py" / name, content)
    loaded = load("omniglot", "test", tmp_path)
    assert loaded.classes == ("Futurama/character01", "Greek/character01", "Greek/character02")
    assert loaded.labels.tolist() == [0, 0, 1, 1, 2, 2] and loaded.shape == (1, 105, 105)
    for image, name in zip(loaded.images, sorted(drawings), strict=True):
        assert np.array_equal(image[0], np.where(drawings[name], 0, 255))


def test_olivetti_through_scikit_learn(monkeypatch, tmp_path):
    from scipy.io import savemat
    from sklearn.datasets import _olivetti_faces

    faces = random_pixels(4096, 400)
    faces[:2, 0] = 0, 255
    buffer = io.BytesIO()
    savemat(buffer, {"faces": faces})
    official(monkeypatch, "olivetti", buffer.getvalue())
    known = _olivetti_faces.FACES._replace(checksum=SOURCES["olivetti"].train[0].sha256)
    monkeypatch.setattr(_olivetti_faces, "FACES", known)
    write(tmp_path / "olivettifaces.mat", buffer.getvalue())
    train, test = load("olivetti", "train", tmp_path), load("olivetti", "test", tmp_path)
    assert np.array_equal(train.images[17, 0], faces[:, 17].reshape(64, 64).T)
    assert np.array_equal(test.images[5, 0], faces[:, 305].reshape(64, 64).T)
    assert train.labels.bincount().tolist() == [10] * 30 and test.labels.bincount().tolist() == [10] * 10
    assert not set(train.classes) & set(test.classes)
    assert tree(tmp_path) == ["olivettifaces.mat"]
    write(tmp_path / "olivettifaces.mat", buffer.getvalue()[:-1])
    with pytest.raises(ValueError, match=r"olivettifaces.mat: got SHA-256"):
        load("olivetti", "test", tmp_path)


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_lfw_agrees_with_scikit_learn(monkeypatch, tmp_path, form):
    from sklearn.datasets import fetch_lfw_people

    home = tmp_path / "lfw_home"
    rng = np.random.default_rng(0)
    for number, count in enumerate((20, 21, 3, 20, 22, 20)):
        for picture in range(count):
            blobs = Image.fromarray(rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)).resize((250, 250))
            name = f"Person_{number}/Person_{number}_{picture + 1:04}.jpg"
            write(home / "lfw_funneled" / name, encoded(np.asarray(blobs), "jpeg"))
    for name in ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt"):
        write(home / name, b"")
    peer = fetch_lfw_people(
        data_home=tmp_path,
        min_faces_per_person=20,
        slice_=(slice(68, 196), slice(61, 189)),
        resize=0.5,
        download_if_missing=False,
    )
    order = np.arange(len(peer.target))
    np.random.RandomState(42).shuffle(order)  # scikit-learn mixes the pictures like this
    expected, people = np.empty_like(peer.images), np.empty_like(peer.target)
    expected[order], people[order] = np.rint(peer.images * 255), peer.target

    root = tmp_path
    if form == "archive":
        root = tmp_path / "other"
        (root / "lfw_home").mkdir(parents=True)
        with tarfile.open(root / "lfw_home/lfw-funneled.tgz", "w:gz") as archive:
            archive.add(home / "lfw_funneled", "lfw_funneled")
        official_as_it_lies(monkeypatch, "lfw", root)
    train, test = load("lfw", "train", root), load("lfw", "test", root)
    assert train.classes == ("Person 0", "Person 1", "Person 3", "Person 5")
    assert test.classes == ("Person 4",)  # the fourth of those with at least 20 pictures
    assert np.array_equal(test.images[:, 0], expected[people == 3])
    assert np.array_equal(train.images[:, 0], np.concatenate([expected[people == k] for k in (0, 1, 2, 4)]))
    assert train.labels.bincount().tolist() == [20, 21, 20, 20]


def packed(kind, **members):
    """An archive with these members: name -> bytes, or a tarfile.TarInfo for something that is no file."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                if isinstance(content, bytes):
                    entry.size = len(content)
                else:
                    entry.type = content
                    entry.linkname = "nowhere"
                archive.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lfw", gzip.compress(random_pixels(4096).tobytes())[:2000]),
        ("lfw", packed("tgz", **{"lfw_funneled/readme.txt": b"x"})),
        ("lfw", packed("tgz", **{"lfw_funneled/A/1.jpg": tarfile.DIRTYPE})),
        ("lfw", packed("tgz", **{"lfw_funneled/A/1.jpg": tarfile.SYMTYPE})),
        ("lfw", packed("tgz", **{"../../A/1.jpg": b"no picture"})),
        ("omniglot", b"PK\x03\x04 and so on"),
        ("omniglot", packed("zip", **{"images_background/readme.txt": b"x"})),
        ("omniglot", packed("zip", **{"images_background/A/1.png": b"no picture"})),
    ],
)
@pytest.mark.parametrize("known", [True, False], ids=["official", "other"])
def test_archives_without_the_pictures_are_refused_by_name(monkeypatch, tmp_path, name, content, known):
    """Whether or not their checksum is the official one."""
    path = SOURCES[name].train[0].path
    write(tmp_path / path, content)
    if known:
        official(monkeypatch, name, *[content] * (1 if name == "lfw" else 2))
    with pytest.raises(ValueError, match=rf"(?s){Path(path).name}: got .*delete"):
        load(name, "train", tmp_path)
    assert tree(tmp_path) == [Path(path).parent.name, path]


def test_folders_without_pictures_are_refused_by_name(tmp_path):
    for name, folder in (("lfw", "lfw_home/lfw_funneled"), ("omniglot", "omniglot-py/images_background")):
        write(tmp_path / folder / "readme.txt", b"x")
        with pytest.raises(ValueError, match=rf"{folder}: got .txt, expected pictures in one folder for each class"):
            load(name, "train", tmp_path)


# --------------------------------------------------------------------------------------------------------- real data

REAL = os.environ.get("LABKIT_DATA")


@pytest.mark.skipif(
    not (REAL and available("mnist", root=REAL)), reason="no real MNIST: LABKIT_DATA names no folder that holds it"
)
def test_real_mnist():
    train, test = load("mnist"), load("mnist", "test")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert abs(train.images.double().mean() / 255 - 0.1307) < 1e-4


@pytest.mark.skipif(
    not (REAL and available("fashion_mnist", root=REAL)), reason="no real Fashion-MNIST: LABKIT_DATA names none"
)
def test_real_fashion_mnist():
    train = load("fashion_mnist")
    assert train.labels.bincount().tolist() == [6000] * 10
    assert abs(train.images.double().mean() / 255 - 0.2860) < 1e-4


def test_the_known_names():
    assert names() == (
        "digits",
        "mnist",
        "fashion_mnist",
        "kmnist",
        "emnist",
        "cifar10",
        "cifar100",
        "omniglot",
        "olivetti",
        "lfw",
    )
