"""labkit.data.load: names, the data folder, datasets of one's own, and how test and training agree."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dataset_files import encoded, idx, official, random_pixels, save_npz, save_pictures, write

import labkit
from labkit.data import available, data_folder, load


def test_own_npz(tmp_path):
    save_npz(tmp_path / "pets/train.npz")
    pets = load("pets", root=tmp_path)
    assert np.array_equal(pets.images, random_pixels(4, 3, 6, 5)) and pets.labels.tolist() == [0, 1, 1, 0]
    assert pets.classes == ("cat", "dog") and pets.name == "pets"
    assert available("pets", root=tmp_path) and not available("pets", "test", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"pets holds no test images; expected .*test.npz"):
        load("pets", "test", tmp_path)


@pytest.mark.parametrize("classes", [np.array([b"cat", b"dog"]), np.array(["cat", "dog"]), np.array([3, 12])])
def test_names_of_classes_may_be_text_bytes_or_numbers(tmp_path, classes):
    save_npz(tmp_path / "pets/train.npz", classes=classes)
    assert load("pets", root=tmp_path).classes == (("3", "12") if classes.dtype.kind == "i" else ("cat", "dog"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(labels=None), "got KeyError: .*labels.*, expected an .npz file of three arrays: images uint8"),
        (dict(classes=np.array(["cat", {}], object)), "allow_pickle"),
        (dict(labels=np.zeros(4)), "got labels of float64, expected"),
        (dict(labels=np.array([0, 1, 2, 0])), "labels: got 0 to 2"),
        (dict(labels=np.array([0, 1, 1, 2**64 - 1], np.uint64)), "labels: got -1 to 1"),
        (dict(labels=np.zeros((4, 1), int)), r"labels: got int64 of shape \(4, 1\)"),
        (dict(images=np.zeros((4, 3, 6, 5))), "images: got float64"),
        (dict(images=random_pixels(4, 6, 5)), r"images: .*expected uint8 \(N, 1 or 3, H, W\)"),
        (dict(images=np.array(["a", "b", "c", "d"])), "can't convert"),
        (dict(classes="cat"), r"classes of <U3 \(\), expected"),
        (dict(classes=np.array([[b"cat", b"dog"]])), r"classes of \|S3 \(1, 2\)"),
        (dict(classes=np.array([0.5, 1.5])), "classes of float64"),
        (dict(classes=np.array([b"\xff\xfe", b"dog"])), "UnicodeDecodeError"),
        (dict(classes=["cat", "cat"]), "classes: got 'cat' twice"),
    ],
)
def test_own_npz_that_does_not_fit_is_refused_by_name(tmp_path, change, said):
    save_npz(tmp_path / "pets/train.npz", **change)
    with pytest.raises(ValueError, match=rf"pets.train\.npz: .*{said}"):
        load("pets", root=tmp_path)


def test_a_file_that_is_no_npz_is_refused_by_name(tmp_path):
    save_npz(tmp_path / "pets/train.npz")
    whole = (tmp_path / "pets/train.npz").read_bytes()
    renamed = tmp_path / "array.npy"
    np.save(renamed, np.zeros(3))
    for content in (
        b"",
        whole[:100],
        whole[: len(whole) // 2],
        whole[:-10],
        renamed.read_bytes(),
        b"PK\x05\x06" + bytes(18),
    ):
        (tmp_path / "pets/train.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"train\.npz: got .*, expected an \.npz file of three arrays"):
            load("pets", root=tmp_path)


def test_an_array_that_only_its_header_holds_is_refused_by_name(tmp_path):
    """Ten terabytes announced in a few bytes."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000, 1, 32, 32), }"
    array = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"
    save_npz(tmp_path / "pets/train.npz", images=None)
    with zipfile.ZipFile(tmp_path / "pets/train.npz", "a") as archive:
        archive.writestr("images.npy", array)
    with pytest.raises(ValueError, match=r"train\.npz: got "):
        load("pets", root=tmp_path)


# --------------------------------------------------------------------------------------------------- test and training


def make(form, root, split, *classes):
    """A split with one image for each of these classes, as an .npz file or as a folder of pictures."""
    if form == "npz":
        images = np.stack([random_pixels(1, 6, 5, seed=len(name)) for name in classes])
        save_npz(root / f"pets/{split}.npz", images=images, labels=np.arange(len(classes)), classes=list(classes))
    else:
        for name in classes:
            write(root / f"pets/{split}/{name}/1.png", encoded(random_pixels(6, 5, seed=len(name))))


FORMS = [("folder", "folder"), ("npz", "npz"), ("folder", "npz"), ("npz", "folder")]


@pytest.mark.parametrize(("train", "test"), FORMS)
def test_test_classes_get_the_numbers_of_training(tmp_path, train, test):
    make(train, tmp_path, "train", "ant", "cat", "horse")
    make(test, tmp_path, "test", "horse", "cat")
    seen = load("pets", "test", tmp_path)
    assert seen.classes == ("ant", "cat", "horse") and sorted(seen.labels.tolist()) == [1, 2]
    for image, label in zip(seen.images, seen.labels, strict=True):
        assert np.array_equal(image[0], random_pixels(6, 5, seed=len(seen.classes[label])))


@pytest.mark.parametrize(("train", "test"), FORMS)
def test_unseen_classes_keep_their_own_numbers(tmp_path, train, test):
    make(train, tmp_path, "train", "ant")
    make(test, tmp_path, "test", "emu", "yak")
    unseen = load("pets", "test", tmp_path)
    assert unseen.classes == ("emu", "yak") and unseen.labels.tolist() == [0, 1]


@pytest.mark.parametrize(("train", "test"), FORMS)
def test_a_mixture_of_seen_and_unseen_classes_is_refused(tmp_path, train, test):
    make(train, tmp_path, "train", "ant", "cat")
    make(test, tmp_path, "test", "cat", "emu")
    with pytest.raises(ValueError, match=r"pets.test(\.npz)?: got the classes \['emu'\], which are not in training"):
        load("pets", "test", tmp_path)


def test_a_test_split_alone_has_its_own_classes(tmp_path):
    make("npz", tmp_path, "test", "cat", "dog")
    assert load("pets", "test", tmp_path).classes == ("cat", "dog")


# ---------------------------------------------------------------------------------------------------- names and places


def test_official_files_go_first_then_npz_then_pictures(monkeypatch, tmp_path):
    contents = [gzip.compress(idx(array)) for array in (random_pixels(10, 28, 28), np.arange(10))]
    official(monkeypatch, "mnist", *contents, *contents)
    for kind, content in zip(("images-idx3", "labels-idx1"), contents, strict=True):
        write(tmp_path / f"MNIST/raw/t10k-{kind}-ubyte.gz", content)
    save_pictures(tmp_path / "mnist/test", "cat/1.png")
    save_pictures(tmp_path / "mnist/train", "0/1.png", "cat/1.png")  # not what an official test split goes by
    save_npz(tmp_path / "mnist/test.npz", classes=["0", "cat"])
    assert load("mnist", "test", tmp_path).classes == tuple("0123456789")
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte.gz").unlink()
    assert load("mnist", "test", tmp_path).shape == (3, 6, 5)
    (tmp_path / "mnist/test.npz").unlink()
    assert load("mnist", "test", tmp_path).labels.tolist() == [1]


def test_unknown_names_and_splits(tmp_path):
    with pytest.raises(ValueError, match=r"name: got 'minst', expected one of digits, mnist, .*minst.train\.npz"):
        load("minst", root=tmp_path)
    with pytest.raises(ValueError, match=r"did you mean mnist\?"):
        load("minst", root=tmp_path)
    for ask in (load, available):
        with pytest.raises(ValueError, match="split: got 'valid', expected"):
            ask("digits", "valid")


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc",
        "a/b",
        "a\\b",
        "C:set",
        "",
        ".",
        "..",
        ".hidden",
        "a\0b",
        "a\nb",
        "x" * 5000,
        "ä" * 120,
        None,
        3,
    ],
)
def test_a_name_is_not_a_path(tmp_path, name):
    save_npz(tmp_path / "outside/train.npz")
    (tmp_path / "data").mkdir()
    for ask in (load, available):
        with pytest.raises(ValueError, match=r"name: got .*, expected one of digits, mnist"):
            ask(name, root=tmp_path / "data")


def test_the_folder_is_the_argument_then_the_variable_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "variable"))
    assert data_folder(tmp_path) == tmp_path and data_folder() == tmp_path / "variable"
    monkeypatch.setenv("LABKIT_DATA", "")
    assert data_folder() == Path(labkit.__file__).parents[1] / "data" / "cache"
