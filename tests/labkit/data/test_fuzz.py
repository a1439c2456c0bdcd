"""Damaged files of every format that is read: each gives images, or a ValueError that names the file. Nothing else.

A few hundred in the suite; more by hand, which also says what came out:

    LABKIT_FUZZ=5000 pytest -s tests/labkit/data/test_fuzz.py
"""

import gzip
import io
import os
import time
import warnings
import zipfile
from collections import Counter

import numpy as np
import pytest
from dataset_files import encoded, idx, random_pixels
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from labkit.data import load

EXAMPLES = int(os.environ.get("LABKIT_FUZZ", 300))
SLOWEST = 20  # seconds that one file may take


def pictures():
    """file name -> bytes of a whole picture, in every format and mode that is read, and a few that are not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    gray, color, clear = (Image.fromarray(random_pixels(16, 12, *more)) for more in ((), (3,), (4,)))
    return {
        "gray.png": encoded(gray),
        "color.png": encoded(color, exif=exif),
        "clear.png": encoded(clear),
        "palette.png": encoded(color.quantize(16), transparency=3),
        "bits.png": encoded(gray.convert("1")),
        "deep.png": encoded(random_pixels(16, 12).astype(np.uint16) * 257),
        "gray.jpg": encoded(gray, "jpeg"),
        "color.jpg": encoded(color, "jpeg", exif=exif, progressive=True),
        "print.jpg": encoded(color.convert("CMYK"), "jpeg"),
        "color.bmp": encoded(color, "bmp"),
        "palette.bmp": encoded(gray.convert("P"), "bmp"),
        "still.gif": encoded(gray, "gif"),
        "moving.gif": encoded(
            color.quantize(8), "gif", save_all=True, append_images=[color.quantize(4)], transparency=0
        ),
        "gray.pgm": encoded(gray, "ppm"),
        "color.ppm": encoded(color, "ppm"),
        "plain.ppm": b"P3 2 2 255\n" + b"1 2 3 " * 4,
        "color.webp": encoded(color, "webp"),
        "clear.webp": encoded(clear, "webp", lossless=True),
        "print.eps.png": encoded(color, "eps"),
        "scan.tif.png": encoded(color, "tiff", compression="tiff_lzw"),
    }


def arrays(compressed):
    buffer = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(buffer, images=random_pixels(4, 1, 6, 5), labels=np.array([0, 1, 1, 0]), classes=np.array(["cat", "dog"]))
    return buffer.getvalue()


def emnist():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for kind, array in (("images-idx3", random_pixels(4, 28, 28)), ("labels-idx1", np.arange(4))):
            archive.writestr(f"gzip/emnist-balanced-test-{kind}-ubyte.gz", gzip.compress(idx(array)))
    return buffer.getvalue()


IMAGES, LABELS = idx(random_pixels(4, 28, 28)), idx(np.arange(4))
RAW = "EMNIST/raw/emnist-balanced-test-images-idx3-ubyte"
KINDS = {
    # what is loaded, and the place of the file that is damaged -> its whole bytes
    "a picture": (("mine", "train"), {f"mine/train/a/{name}": content for name, content in pictures().items()}),
    "an npz": (("mine", "train"), {"mine/train.npz": arrays(False)}),
    "a compressed npz": (("mine", "train"), {"mine/train.npz": arrays(True)}),
    "an idx": (("emnist", "test"), {RAW: IMAGES, f"{RAW}.gz": gzip.compress(IMAGES)}),
    "an archive": (("emnist", "test"), {"EMNIST/raw/gzip.zip": emnist()}),
}
STARTS = [encoded(random_pixels(3, 3), kind)[:60] for kind in ("png", "jpeg", "gif", "bmp", "webp", "ppm")]
STARTS += [b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x1f\x8b\x08", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"II*\x00", b"\x80\x04."]


@st.composite
def damaged(draw, wholes):
    """(place, bytes): one of the whole files, changed in one to three ways."""
    place = draw(st.sampled_from(sorted(wholes)))
    content = bytearray(wholes[place])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        end = min(len(content), at + draw(st.sampled_from([1, 2, 4, 16, 400])))
        way = draw(
            st.sampled_from(["cut", "drop", "bit", "bytes", "ones", "zeros", "twice", "insert", "start", "append"])
        )
        if way == "cut":
            del content[at:]
        elif way == "drop":
            del content[at:end]
        elif way == "bit" and at < len(content):
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif way == "bytes":
            content[at:end] = draw(st.binary(min_size=end - at, max_size=end - at))
        elif way in ("ones", "zeros"):
            content[at:end] = (b"\xff" if way == "ones" else b"\0") * (end - at)
        elif way == "twice":
            content[end:end] = content[at:end]
        elif way == "insert":
            content[at:at] = draw(st.binary(max_size=20))
        elif way == "start":
            start = draw(st.sampled_from(STARTS))
            content[: len(start)] = start
        elif way == "append":
            content += draw(st.sampled_from(sorted(wholes.values())))
    return place, bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_by_name(kind, tmp_path_factory):
    root, outcomes = tmp_path_factory.mktemp("fuzz"), Counter()
    (name, split), wholes = KINDS[kind]
    share = {"a picture": 0.6}.get(kind, 0.1)

    @settings(
        max_examples=max(1, round(share * EXAMPLES)),
        deadline=None,
        database=None,
        derandomize="LABKIT_FUZZ" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(wholes))
    def each(case):
        place, content = case
        file = root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        if kind == "an idx":
            (file.parent / "emnist-balanced-test-labels-idx1-ubyte").write_bytes(LABELS)
        file.write_bytes(content)
        started = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = load(name, split, root)
        except ValueError as error:
            # From a whole idx file with other numbers than its neighbor has, only the folder can be named.
            assert str(file) in str(error) or ("labels" in str(error) and str(root) in str(error))
            outcomes["refused"] += 1
        else:
            assert len(found) >= 1 or kind != "a picture"
            outcomes["as it was" if content == wholes[place] else "read"] += 1
        finally:
            file.unlink()
        assert time.monotonic() - started < SLOWEST

    each()
    print(f"\n{kind}: {sum(outcomes.values())} files, {dict(outcomes)}")
