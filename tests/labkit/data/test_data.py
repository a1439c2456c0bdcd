"""labkit.data and labkit.data.sources.catalog: every format on small files made here, downloads from a server on this machine."""

import dataclasses
import gzip
import hashlib
import http.server
import io
import os
import pickle
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.data import Images, available, data_folder, load, names
from labkit.data.sources import catalog as sources


def random_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


def jpeg_or_png(array, kind="png", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def official(monkeypatch, name, *contents, urls=None):
    """Give the official files of `name` the checksums of `contents` (train's files, then test's), and addresses."""
    remaining = iter(contents)

    def changed(files):
        return tuple(
            dataclasses.replace(f, sha256=hashlib.sha256(next(remaining)).hexdigest(), urls=urls or f.urls)
            for f in files
        )

    source = sources.SOURCES[name]
    train = changed(source.train)
    test = train if source.test == source.train else changed(source.test)
    monkeypatch.setitem(sources.SOURCES, name, dataclasses.replace(source, train=train, test=test))


@pytest.fixture
def mnist_files(tmp_path):
    """MNIST's four files with 30 + 10 images, under tmp_path; returns images and labels of both splits."""
    made = {}
    for part, split, count in (("train", "train", 30), ("t10k", "test", 10)):
        images, labels = random_pixels(count, 28, 28, seed=count), np.arange(count) % 10
        made[split] = images, labels
        write(tmp_path / f"MNIST/raw/{part}-images-idx3-ubyte.gz", gzip.compress(idx(images)))
        write(tmp_path / f"MNIST/raw/{part}-labels-idx1-ubyte.gz", gzip.compress(idx(labels)))
    return made


# ------------------------------------------------------------------------------------------------------------ images


def some_images(count=12, channels=1, size=8, classes=3, **more):
    pixels = torch.from_numpy(random_pixels(count, channels, size, size))
    return Images(pixels, torch.arange(count) % classes, tuple("abcdefghij"[:classes]), **more)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(images=torch.zeros(12, 1, 8, 8)), r"images: got torch.float32 \(12, 1, 8, 8\), expected uint8"),
        (dict(images=torch.zeros(12, 8, 8, dtype=torch.uint8)), r"images: .*expected uint8 \(N, 1 or 3, H, W\)"),
        (dict(images=torch.zeros(12, 2, 8, 8, dtype=torch.uint8)), "images"),
        (dict(labels=torch.zeros(11, dtype=torch.int64)), r"labels: .*expected int64 \(12,\)"),
        (dict(labels=torch.zeros(12)), "labels: got torch.float32"),
        (dict(labels=torch.full((12,), 3)), "labels: got 3 to 3, expected 0 to 2"),
        (dict(labels=torch.full((12,), -1)), "labels: got -1 to -1"),
        (dict(normalize=((0.5,), (0.0,))), "normalize"),
        (dict(normalize=((0.5, 0.5), (0.5, 0.5))), "normalize"),
    ],
)
def test_images_that_do_not_fit_together_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(some_images(), **change)


def test_floats_are_normalized_for_each_channel():
    images = some_images(channels=3, normalize=((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in images.normalize)
    expected = (images.images.double() / 255 - mean) / std
    got = images.floats()
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(images.floats([3, 1]), got[[3, 1]])
    assert torch.equal(images.floats(torch.tensor([], dtype=torch.int64)), got[:0])


def test_default_normalization_is_minus_one_to_one():
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    values = Images(pixels, torch.zeros(1, dtype=torch.int64), ("a",)).floats()
    torch.testing.assert_close(values.flatten(), torch.tensor([-1.0, 1.0]))


def test_only_renumbers_in_the_order_given():
    images = some_images(classes=4)
    for wanted in (["c", "a"], [2, 0], [2, "a"], np.array([2, 0])):
        part = images.only(wanted)
        assert part.classes == ("c", "a") and len(part) == 6
        assert torch.equal(part.labels, torch.tensor([1, 0, 1, 0, 1, 0]))
        assert torch.equal(part.images, images.images[[0, 2, 4, 6, 8, 10]])
    for wrong in ([4], ["x"], [-1], [0, 0], [1, "b"], []):
        with pytest.raises(ValueError, match="classes: got"):
            images.only(wrong)


def test_take_by_places_and_by_mask():
    images = some_images()
    assert torch.equal(images.take([5, 0, 5]).images, images.images[[5, 0, 5]])
    assert torch.equal(images.take(images.labels == 1).labels, torch.ones(4, dtype=torch.int64))
    assert len(images.take([])) == 0
    assert images.take(range(3)).classes == images.classes
    for wrong in ([12], [-1], torch.zeros(3), torch.zeros(2, 2, dtype=torch.int64), torch.ones(3, dtype=torch.bool)):
        with pytest.raises(ValueError, match="indices"):
            images.take(wrong)


def test_fingerprint_tells_pixels_and_labels_apart():
    images = some_images()
    pixels, labels = images.images.clone(), images.labels.clone()
    assert dataclasses.replace(images, images=pixels, labels=labels).fingerprint() == images.fingerprint()
    pixels[3, 0, 2, 2] ^= 1
    assert dataclasses.replace(images, images=pixels).fingerprint() != images.fingerprint()
    labels[0] = 2
    assert dataclasses.replace(images, labels=labels).fingerprint() != images.fingerprint()


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
    files = sources.SOURCES[name].train + sources.SOURCES[name].test
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
            assert list(sources.SOURCES[name].read.args[0]) == peer.classes


def test_checksums_and_addresses_are_complete():
    every = {file for source in sources.SOURCES.values() for file in source.train + source.test}
    assert len({file.sha256 for file in every}) == 4 * 3 + 1 + 2 + 2 + 1 + 1
    for file in every:
        assert len(bytes.fromhex(file.sha256)) == 32 and all(url.startswith("http") for url in file.urls)


@pytest.mark.parametrize("damage", ["cut", "flipped bit", "no idx", "too long"])
@pytest.mark.parametrize("packed", [True, False])
def test_damaged_idx_files_are_refused(mnist_files, tmp_path, damage, packed):
    file = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte.gz"
    content = file.read_bytes() if packed else gzip.decompress(file.read_bytes())
    if damage == "flipped bit" and not packed:
        pytest.skip("nothing in an unpacked file tells")
    file.unlink()
    file = file if packed else file.with_suffix("")
    middle = len(content) // 2
    file.write_bytes(
        {
            "cut": content[:middle],
            "flipped bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "no idx": gzip.compress(b"<html>not found</html>") if packed else b"<html>not found</html>",
            "too long": gzip.compress(gzip.decompress(content) + b"x") if packed else content + b"x",
        }[damage]
    )
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte.*Delete it"):
        load("mnist", "test", tmp_path)


def test_more_labels_than_images_are_refused(mnist_files, tmp_path):
    write(tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte.gz", gzip.compress(idx(np.zeros(11))))
    with pytest.raises(ValueError, match=r"mnist.*labels: got torch.int64 \(11,\)"):
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
        write(tmp_path / sources.SOURCES[name].train[0].path, archive)
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
    with pytest.raises(ValueError, match=r"cifar-10-(python.tar.gz is damaged|batches-py does not hold)"):
        load("cifar10", "test", tmp_path)
    assert not sprung.exists()
    pickle.loads(trap).close()
    assert sprung.exists()  # the trap works


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_omniglot_has_ink_255_and_unseen_test_classes(tmp_path, form):
    drawings = {}
    for alphabet, character in (("Greek", "character02"), ("Greek", "character01"), ("Futurama", "character01")):
        for person in (1, 2):
            paper = np.ones((105, 105), bool)
            paper[person * 10, len(drawings)] = False
            drawings[f"images_evaluation/{alphabet}/{character}/0001_0{person}.png"] = paper
    files = {name: jpeg_or_png(paper) for name, paper in drawings.items()}
    files["images_evaluation/Greek/character01/._0001_01.png"] = b"a record of some system"
    if form == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        write(tmp_path / "omniglot-py/images_evaluation.zip", buffer.getvalue())
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
    known = _olivetti_faces.FACES._replace(checksum=sources.SOURCES["olivetti"].train[0].sha256)
    monkeypatch.setattr(_olivetti_faces, "FACES", known)
    write(tmp_path / "olivettifaces.mat", buffer.getvalue())
    train, test = load("olivetti", "train", tmp_path), load("olivetti", "test", tmp_path)
    assert np.array_equal(train.images[17, 0], faces[:, 17].reshape(64, 64).T)
    assert np.array_equal(test.images[5, 0], faces[:, 305].reshape(64, 64).T)
    assert train.labels.bincount().tolist() == [10] * 30 and test.labels.bincount().tolist() == [10] * 10
    assert not set(train.classes) & set(test.classes)
    assert tree(tmp_path) == ["olivettifaces.mat"]
    write(tmp_path / "olivettifaces.mat", buffer.getvalue()[:-1])
    with pytest.raises(ValueError, match=r"olivettifaces.mat is damaged"):
        load("olivetti", "test", tmp_path)


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_lfw_agrees_with_scikit_learn(tmp_path, form):
    from sklearn.datasets import fetch_lfw_people

    home = tmp_path / "lfw_home"
    rng = np.random.default_rng(0)
    for number, count in enumerate((20, 21, 3, 20, 22, 20)):
        for picture in range(count):
            blobs = Image.fromarray(rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)).resize((250, 250))
            name = f"Person_{number}/Person_{number}_{picture + 1:04}.jpg"
            write(home / "lfw_funneled" / name, jpeg_or_png(np.asarray(blobs), "jpeg"))
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
    train, test = load("lfw", "train", root), load("lfw", "test", root)
    assert train.classes == ("Person 0", "Person 1", "Person 3", "Person 5")
    assert test.classes == ("Person 4",)  # the fourth of those with at least 20 pictures
    assert np.array_equal(test.images[:, 0], expected[people == 3])
    assert np.array_equal(train.images[:, 0], np.concatenate([expected[people == k] for k in (0, 1, 2, 4)]))
    assert train.labels.bincount().tolist() == [20, 21, 20, 20]


def test_a_cut_archive_is_refused(tmp_path):
    write(tmp_path / "lfw_home/lfw-funneled.tgz", gzip.compress(random_pixels(4096).tobytes())[:2000])
    write(tmp_path / "omniglot-py/images_background.zip", b"PK\x03\x04 and so on")
    for name in ("lfw", "omniglot"):
        with pytest.raises(ValueError, match="damaged or only half there"):
            load(name, "train", tmp_path)


# ----------------------------------------------------------------------------------------------------- your own data


def save_npz(path, **change):
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = dict(images=random_pixels(4, 3, 6, 5), labels=np.array([0, 1, 1, 0], np.uint8), classes=["cat", "dog"])
    np.savez(path, **{key: value for key, value in {**arrays, **change}.items() if value is not None})


def test_own_npz(tmp_path):
    save_npz(tmp_path / "pets/train.npz")
    pets = load("pets", root=tmp_path)
    assert np.array_equal(pets.images, random_pixels(4, 3, 6, 5)) and pets.labels.tolist() == [0, 1, 1, 0]
    assert pets.classes == ("cat", "dog") and pets.name == "pets"
    assert available("pets", root=tmp_path) and not available("pets", "test", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"pets holds no test images; expected .*test.npz"):
        load("pets", "test", tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(labels=None), r"train.npz: expected .* images, labels and classes"),
        (dict(classes=np.array(["cat", {}], object)), "train.npz.*allow_pickle"),
        (dict(labels=np.zeros(4)), "labels are float64, expected integers"),
        (dict(images=np.zeros((4, 3, 6, 5))), "images: got torch.float64"),
        (dict(images=random_pixels(4, 6, 5)), r"pets.*images: .*expected uint8 \(N, 1 or 3, H, W\)"),
        (dict(labels=np.array([0, 1, 2, 0])), "labels: got 0 to 2"),
    ],
)
def test_own_npz_that_does_not_fit_is_refused(tmp_path, change, said):
    save_npz(tmp_path / "pets/train.npz", **change)
    with pytest.raises(ValueError, match=said):
        load("pets", root=tmp_path)


def test_a_cut_npz_is_refused(tmp_path):
    save_npz(tmp_path / "pets/train.npz")
    content = (tmp_path / "pets/train.npz").read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 10):
        (tmp_path / "pets/train.npz").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"train\.npz: expected an \.npz file"):
            load("pets", root=tmp_path)


def save_pictures(folder, *names, size=(6, 5), mode="L", kind="png"):
    for number, name in enumerate(names):
        shape = size if mode == "L" else (*size, 3)
        write(folder / name, jpeg_or_png(random_pixels(*shape, seed=number), kind))


def test_own_folder_of_pictures(tmp_path):
    save_pictures(tmp_path / "pets/train", "dog/2.png", "cat/1.PNG", "dog/1.bmp")
    write(tmp_path / "pets/train/dog/.DS_Store", b"")
    write(tmp_path / "pets/train/dog/._1.png", b"not a picture")
    pets = load("pets", root=tmp_path)
    assert pets.classes == ("cat", "dog") and pets.labels.tolist() == [0, 1, 1] and pets.shape == (1, 6, 5)
    for image, seed in zip(pets.images, (1, 2, 0), strict=True):
        assert np.array_equal(image[0], random_pixels(6, 5, seed=seed))


def test_one_color_picture_makes_all_of_them_three_channels(tmp_path):
    save_pictures(tmp_path / "pets/train", "cat/1.png")
    save_pictures(tmp_path / "pets/train", "dog/1.png", mode="RGB")
    pets = load("pets", root=tmp_path)
    assert pets.shape == (3, 6, 5)
    assert np.array_equal(pets.images[0], np.repeat(random_pixels(1, 6, 5), 3, axis=0))
    assert np.array_equal(pets.images[1], random_pixels(6, 5, 3).transpose(2, 0, 1))


def test_pictures_are_turned_as_their_camera_says(tmp_path):
    pixels = random_pixels(6, 5)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    write(tmp_path / "pets/train/cat/1.png", jpeg_or_png(pixels, exif=exif))
    assert np.array_equal(load("pets", root=tmp_path).images[0, 0], pixels[::-1, ::-1])


def test_test_classes_get_the_numbers_of_training(tmp_path):
    save_pictures(tmp_path / "pets/train", "ant/1.png", "cat/1.png", "dog/1.png")
    save_pictures(tmp_path / "pets/test", "dog/1.png", "cat/1.png")
    seen = load("pets", "test", tmp_path)
    assert seen.classes == ("ant", "cat", "dog") and seen.labels.tolist() == [1, 2]
    save_pictures(tmp_path / "pets/test", "emu/1.png")
    with pytest.raises(ValueError, match=r"classes \['emu'\] are not in"):
        load("pets", "test", tmp_path)
    save_pictures(tmp_path / "wild/train", "ant/1.png")
    save_pictures(tmp_path / "wild/test", "yak/1.png", "emu/1.png")
    unseen = load("wild", "test", tmp_path)
    assert unseen.classes == ("emu", "yak") and unseen.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: save_pictures(f, "cat/2.png", size=(7, 5)), r"one size, got 5×6: .*1.png; 5×7: .*2.png"),
        (lambda f: save_pictures(f, "loose.png"), "one folder for each class"),
        (lambda f: write(f / "cat/2.jpg", b"not a picture"), "2.jpg: cannot identify"),
        (
            lambda f: write(f / "cat/2.png", jpeg_or_png(np.full((6, 5), 40000, np.uint16))),
            "2.png: pixels of mode I;16",
        ),
        (lambda f: (f / "cat/1.png").unlink(), "expected pictures in one folder for each class"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(tmp_path, make, said):
    save_pictures(tmp_path / "pets/train", "cat/1.png")
    make(tmp_path / "pets/train")
    with pytest.raises(ValueError, match=said):
        load("pets", root=tmp_path)


def test_official_files_go_first_then_npz_then_pictures(mnist_files, tmp_path):
    save_pictures(tmp_path / "mnist/test", "cat/1.png")
    save_npz(tmp_path / "mnist/test.npz")
    assert len(load("mnist", "test", tmp_path)) == 10
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte.gz").unlink()
    assert load("mnist", "test", tmp_path).shape == (3, 6, 5)
    (tmp_path / "mnist/test.npz").unlink()
    assert load("mnist", "test", tmp_path).classes == ("cat",)


def test_unknown_names_and_splits(tmp_path):
    with pytest.raises(ValueError, match=r"name: got 'minst', expected one of digits, mnist, .*minst.train\.npz"):
        load("minst", root=tmp_path)
    for ask in (load, available):
        with pytest.raises(ValueError, match="split: got 'valid', expected"):
            ask("digits", "valid")


def test_the_folder_is_the_argument_then_the_variable_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "variable"))
    assert data_folder(tmp_path) == tmp_path and data_folder() == tmp_path / "variable"
    monkeypatch.setenv("LABKIT_DATA", "")
    assert data_folder() == Path(sources.__file__).parents[1] / "data" / "cache"


# --------------------------------------------------------------------------------------------------------- downloads


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` (name -> bytes) at /good, and them in several wrong ways at other places."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = {}, []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # clients that go away are what some tests are about


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        _, way, name = self.path.split("/")
        content = self.server.files.get(name)
        self.server.asked.append(self.path)
        if way == "missing" or content is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if way == "good":
            self.wfile.write(content)
        elif way == "wrong":
            self.wfile.write(content[:-1] + bytes([content[-1] ^ 1]))
        elif way == "cut":
            self.wfile.write(content[: len(content) // 2])
        elif way == "slow":
            for place in range(0, len(content), 2**16):
                self.wfile.write(content[place : place + 2**16])
                time.sleep(0.05)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def served_mnist(monkeypatch, server):
    """MNIST with 30 + 10 images on the server; returns a function that sets the ways it is served, and the images."""
    names = [Path(file.path).name for file in sources.SOURCES["mnist"].train + sources.SOURCES["mnist"].test]
    images = [random_pixels(30, 28, 28), random_pixels(10, 28, 28)]
    arrays = [images[0], np.arange(30) % 10, images[1], np.arange(10)]
    contents = [gzip.compress(idx(array)) for array in arrays]
    server.files = dict(zip(names, contents, strict=True))

    def serve(*ways):
        official(monkeypatch, "mnist", *contents)
        source = sources.SOURCES["mnist"]

        def moved(files):
            return tuple(
                dataclasses.replace(f, urls=tuple(f"{server.address}/{way}/{Path(f.path).name}" for way in ways))
                for f in files
            )

        monkeypatch.setitem(
            sources.SOURCES, "mnist", dataclasses.replace(source, train=moved(source.train), test=moved(source.test))
        )

    return serve, images


def test_a_download_is_kept_and_read_without_the_network_afterwards(served_mnist, server, tmp_path, capsys):
    serve, (train, _) = served_mnist
    serve("good")
    assert not available("mnist", root=tmp_path)
    assert np.array_equal(load("mnist", root=tmp_path).images[:, 0], train)
    assert re.search(r"train-images-idx3-ubyte.gz: +\d+%.*/\d", capsys.readouterr().err)  # a bar that knows the size
    assert len(server.asked) == 2 and available("mnist", root=tmp_path) and not available("mnist", "test", tmp_path)
    server.files = {}
    assert np.array_equal(load("mnist", root=tmp_path).images[:, 0], train)
    assert len(server.asked) == 2
    assert tree(tmp_path / "MNIST/raw") == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize("way", ["wrong", "cut", "missing"])
def test_what_is_not_whole_and_right_is_never_kept(served_mnist, tmp_path, way):
    serve, (train, _) = served_mnist
    serve(way)
    with pytest.raises(FileNotFoundError) as raised:
        load("mnist", root=tmp_path)
    message = str(raised.value)
    for part in (str(tmp_path / "MNIST/raw/train-images-idx3-ubyte.gz"), "http://127.0.0.1", "LABKIT_DATA", "SHA-256"):
        assert part in message
    assert tree(tmp_path) == ["MNIST", "MNIST/raw"]
    serve("good")
    assert np.array_equal(load("mnist", root=tmp_path).images[:, 0], train)


def test_the_next_address_is_tried(served_mnist, server, tmp_path):
    serve, (train, _) = served_mnist
    serve("wrong", "cut", "good")
    assert np.array_equal(load("mnist", root=tmp_path).images[:, 0], train)
    assert len(server.asked) == 6


def test_without_a_network_the_error_says_what_to_put_where(monkeypatch, tmp_path):
    urls = ("http://127.0.0.1:9/gone.gz",)
    monkeypatch.setenv("NO_PROXY", "*")
    official(monkeypatch, "kmnist", b"", b"", b"", b"", urls=urls)
    with pytest.raises(
        FileNotFoundError, match=r"(?s)train-images-idx3-ubyte.gz is not there.*9/gone.gz.*put it there"
    ):
        load("kmnist", root=tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_download_is_never_taken_for_data(server, tmp_path):
    content = random_pixels(2**22).tobytes()
    server.files = {"big.gz": content}
    checksum = hashlib.sha256(content).hexdigest()
    program = (
        "import sys, pathlib; from labkit.data.sources.catalog import File; checksum, url, root = sys.argv[1:];"
        "File('set/big.gz', checksum, (url,)).download(pathlib.Path(root))"
    )
    arguments = [checksum, f"{server.address}/slow/big.gz", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size for part in tmp_path.glob("set/*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    file = sources.File("set/big.gz", checksum, (f"{server.address}/good/big.gz",))
    assert tree(tmp_path / "set") and file.find(tmp_path) is None  # half of it is there, under another name
    assert file.download(tmp_path).read_bytes() == content


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
    for file in sources.SOURCES["mnist"].train + sources.SOURCES["mnist"].test:
        if (path := data_folder() / file.path).exists():
            file.verify(path)


@pytest.mark.skipif(
    not (REAL and available("fashion_mnist", root=REAL)), reason="no real Fashion-MNIST: LABKIT_DATA names none"
)
def test_real_fashion_mnist():
    train = load("fashion_mnist")
    assert train.labels.bincount().tolist() == [6000] * 10
    assert abs(train.images.double().mean() / 255 - 0.2860) < 1e-4
    for file in sources.SOURCES["fashion_mnist"].train + sources.SOURCES["fashion_mnist"].test:
        if (path := data_folder() / file.path).exists():
            file.verify(path)


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
