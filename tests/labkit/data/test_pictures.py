"""labkit.data.sources.pictures: which files of a folder count, and what is read from them."""

import os
import sys

import numpy as np
import pytest
from dataset_files import encoded, random_pixels, save_pictures, write
from PIL import Image, ImageDraw

from labkit.data import load

links = pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")


def pets(root):
    return load("pets", root=root)


def refused(root, said):
    with pytest.raises(ValueError, match=said):
        pets(root)


# --------------------------------------------------------------------------------------------------- classes and files


def test_own_folder_of_pictures(tmp_path):
    save_pictures(tmp_path / "pets/train", "dog/2.png", "cat/1.PNG", "dog/1.bmp")
    write(tmp_path / "pets/train/dog/labels.txt", b"not a picture")
    found = pets(tmp_path)
    assert found.classes == ("cat", "dog") and found.labels.tolist() == [0, 1, 1] and found.shape == (1, 6, 5)
    for image, seed in zip(found.images, (1, 2, 0), strict=True):
        assert np.array_equal(image[0], random_pixels(6, 5, seed=seed))


def test_folders_within_folders_are_classes_by_their_path(tmp_path):
    save_pictures(tmp_path / "pets/train", "Greek/alpha/1.png", "Greek/beta/1.png", "Latin/1.png")
    assert pets(tmp_path).classes == ("Greek/alpha", "Greek/beta", "Latin")


@pytest.mark.parametrize(
    "hidden", [".ipynb_checkpoints", ".Trash-1000/files", "cat/.ipynb_checkpoints", "__MACOSX/cat", "cat/@eaDir"]
)
def test_hidden_folders_are_no_classes(tmp_path, hidden):
    save_pictures(tmp_path / "pets/train", "cat/1.png", "dog/1.png", f"{hidden}/1.png")
    found = pets(tmp_path)
    assert found.classes == ("cat", "dog") and found.labels.tolist() == [0, 1]


def test_hidden_files_are_no_pictures(tmp_path):
    save_pictures(tmp_path / "pets/train", "cat/1.png")
    for name in (".DS_Store", "._1.png", ".hidden.tif"):
        write(tmp_path / "pets/train/cat" / name, b"a record of some system")
    assert len(pets(tmp_path)) == 1


@links
def test_links_to_folders_and_files_are_followed(tmp_path):
    save_pictures(tmp_path / "store", "cats/1.png", "2.png")
    save_pictures(tmp_path / "pets/train", "dog/1.png")
    (tmp_path / "pets/train/cat").symlink_to(tmp_path / "store/cats")
    (tmp_path / "pets/train/dog/2.png").symlink_to(tmp_path / "store/2.png")
    found = pets(tmp_path)
    assert found.classes == ("cat", "dog") and found.labels.tolist() == [0, 1, 1]


@links
@pytest.mark.parametrize(
    ("place", "target", "said"),
    [
        ("cat/back", "..", r"cat/back: got the folder .*train once more"),
        ("cat/back", "../dog/back", r"back: got the folder"),
        ("mouse", "cat", r"(cat|mouse): got the folder .*(cat|mouse) once more"),
        ("mouse", "gone", r"mouse: got a link to gone, which is not there"),
        ("cat/2.png", "gone.png", r"2\.png: got a link to gone\.png"),
        ("mouse", "mouse", r"mouse: got a link to mouse, which is not there"),
        ("cat/2.png", "/dev/zero", r"2\.png: got what is not read"),
    ],
)
def test_links_that_lead_nowhere_or_back_are_refused(tmp_path, place, target, said):
    save_pictures(tmp_path / "pets/train", "cat/1.png", "dog/1.png")
    (tmp_path / "pets/train/dog/back").symlink_to("../cat")
    if place != "cat/back":
        (tmp_path / "pets/train/dog/back").unlink()
    (tmp_path / "pets/train" / place).symlink_to(target)
    refused(tmp_path, said)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    save_pictures(tmp_path / "pets/train", "cat/1.png")
    os.mkfifo(tmp_path / "pets/train/cat/2.png")
    refused(tmp_path, r"2\.png: got what is not read")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: (f / "beetle").mkdir(), r"beetle: got nothing, expected pictures of a class"),
        (lambda f: write(f / "beetle/readme.txt", b"x"), r"beetle: got \.txt, expected pictures of a class"),
        (lambda f: (f / "beetle/.hidden").mkdir(parents=True), r"beetle: got nothing"),
        (lambda f: write(f / "beetle/1.tif", b"x"), r"beetle.1\.tif: got what is not read"),
        (lambda f: write(f / "ant/2.HEIC", b"x"), r"ant.2\.HEIC: got what is not read"),
        (lambda f: save_pictures(f, "loose.png"), r"loose\.png: got a picture outside the classes"),
        (lambda f: (f / "ant/1.png").unlink(), r"ant: got nothing, expected pictures of a class"),
        (lambda f: (f / "ant/1.png").unlink() or (f / "ant").rmdir(), r"train: got nothing, expected pictures in one"),
        (
            lambda f: save_pictures(f, "ant/2.png", size=(7, 5)),
            r"2\.png: got 5×7 pixels, expected one size, 5×6 as .*1",
        ),
    ],
)
def test_a_folder_that_is_no_class_is_named(tmp_path, make, said):
    save_pictures(tmp_path / "pets/train", "ant/1.png")
    make(tmp_path / "pets/train")
    refused(tmp_path, said)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    save_pictures(tmp_path / "pets/train", "ant/1.png", "bee/1.png")
    usual = type(tmp_path).iterdir

    def iterdir(path):
        if path.name == "bee":
            raise PermissionError(13, "Permission denied")
        return usual(path)

    monkeypatch.setattr(type(tmp_path), "iterdir", iterdir)
    refused(tmp_path, r"bee: got PermissionError: .*expected a folder that can be read")


# ------------------------------------------------------------------------------------------------------------- pixels


def test_one_color_picture_makes_all_of_them_three_channels(tmp_path):
    save_pictures(tmp_path / "pets/train", "cat/1.png")
    save_pictures(tmp_path / "pets/train", "dog/1.png", mode="RGB")
    found = pets(tmp_path)
    assert found.shape == (3, 6, 5)
    assert np.array_equal(found.images[0], np.repeat(random_pixels(1, 6, 5), 3, axis=0))
    assert np.array_equal(found.images[1], random_pixels(6, 5, 3).transpose(2, 0, 1))


def test_pictures_are_turned_as_their_camera_says(tmp_path):
    pixels = random_pixels(6, 5)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    write(tmp_path / "pets/train/cat/1.png", encoded(pixels, exif=exif))
    assert np.array_equal(pets(tmp_path).images[0, 0], pixels[::-1, ::-1])


def drawn(mode):
    """A black stroke on a transparent background: (the picture, how to save it)."""
    picture = Image.new("RGBA", (28, 28), (0, 0, 0, 0))
    ImageDraw.Draw(picture).line((14, 4, 14, 24), fill=(0, 0, 0, 255), width=3)
    if mode in ("RGBA", "LA"):
        return picture.convert(mode), {}
    indexed = Image.new(mode, (28, 28), 1)  # index 1, or value 1, is transparent; index 0 is black
    if mode == "P":
        indexed.putpalette([0, 0, 0, 0, 0, 0])
    ImageDraw.Draw(indexed).line((14, 4, 14, 24), fill=0, width=3)
    return indexed, {"transparency": {"P": 1, "L": 1, "1": 255}[mode]}


@pytest.mark.parametrize(
    ("mode", "kind", "channels"),
    [("RGBA", "png", 3), ("RGBA", "webp", 3), ("LA", "png", 1), ("P", "png", 1), ("P", "gif", 1), ("L", "png", 1),
     ("1", "png", 1)],
)  # fmt: skip
def test_what_is_transparent_is_white(tmp_path, mode, kind, channels):
    picture, options = drawn(mode)
    options |= {"lossless": True} if kind == "webp" else {}
    write(tmp_path / f"pets/train/one/1.{kind}", encoded(picture, kind, **options))
    expected = np.full((28, 28), 255, np.uint8)
    expected[4:25, 13:16] = 0
    found = pets(tmp_path).images[0]
    assert len(found) == channels and all(np.array_equal(channel, expected) for channel in found)


def test_half_transparent_colors_are_mixed_with_white(tmp_path):
    pixels = np.array([[[10, 20, 30, 128], [200, 100, 0, 255], [1, 2, 3, 0]]], np.uint8)
    write(tmp_path / "pets/train/one/1.png", encoded(pixels))
    found = pets(tmp_path).images[0, :, 0].T
    assert found.tolist() == [[132, 137, 142], [200, 100, 0], [255, 255, 255]]


def test_opaque_pictures_keep_their_colors(tmp_path):
    pixels = random_pixels(9, 7, 4)
    pixels[..., 3] = 255
    write(tmp_path / "pets/train/one/1.png", encoded(pixels))
    assert np.array_equal(pets(tmp_path).images[0], pixels[..., :3].transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["png", "gif", "bmp"])
def test_a_palette_of_grays_is_gray(tmp_path, kind):
    pixels = random_pixels(6, 5)
    gray = Image.fromarray(pixels).convert("P")
    write(tmp_path / f"pets/train/one/1.{kind}", encoded(gray, kind))
    found = pets(tmp_path)
    assert found.shape == (1, 6, 5) and np.array_equal(found.images[0, 0], pixels)
    colored = Image.fromarray(random_pixels(6, 5, 3)).quantize(8)
    write(tmp_path / f"pets/train/two/1.{kind}", encoded(colored, kind))
    assert pets(tmp_path).shape == (3, 6, 5)


def test_a_picture_is_read_by_its_content(tmp_path):
    """A JPEG that is called .png is a JPEG."""
    pixels = np.asarray(Image.fromarray(random_pixels(4, 4)).resize((32, 32)))
    write(tmp_path / "pets/train/cat/1.png", encoded(pixels, "jpeg", quality=95))
    assert np.abs(pets(tmp_path).images[0, 0].numpy().astype(int) - pixels).max() < 20


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not a picture", r"cannot identify"),
        (b"", r"cannot identify"),
        (encoded(random_pixels(60, 50))[:900], r"OSError"),
        (encoded(np.full((6, 5), 40000, np.uint16)), r"pixels of mode I;16"),
        (encoded(random_pixels(6, 5), "tiff"), r"cannot identify"),
        (encoded(Image.new("1", (15000, 15000))), r"DecompressionBombError"),
        (encoded(Image.new("1", (10000, 10000))), r"DecompressionBombWarning"),
    ],
    ids=["text", "empty", "cut", "16 bits", "tiff", "bomb", "large"],
)
def test_a_picture_that_cannot_be_read_is_named(tmp_path, content, said):
    write(tmp_path / "pets/train/cat/2.png", content)
    refused(tmp_path, rf"2\.png: got .*{said}.*, expected a picture of 8 bits per channel")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for Ghostscript")
@pytest.mark.parametrize("name", ["1.png", "1.eps"])
def test_a_picture_starts_no_program(tmp_path, monkeypatch, name):
    """Pillow would have Ghostscript read .eps, whatever the file is called."""
    log = tmp_path / "started"
    write(tmp_path / "bin/gs", f"#!/bin/sh\necho $* >> {log}\nexit 1\n".encode())
    (tmp_path / "bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    write(tmp_path / "pets/train/cat" / name, encoded(Image.new("RGB", (8, 8)), "eps"))
    refused(tmp_path, "cannot identify|expected pictures of a class")
    assert not log.exists()
