"""People's own pictures, which are not trusted: only FORMATS are opened (Pillow would start Ghostscript for .eps)."""

import io
import warnings
from pathlib import Path

import numpy as np

from labkit.data.sources.files import Arrays, BadFile, named

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "WEBP")
PICTURES = {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"}
OTHER_PICTURES = {".avif", ".heic", ".heif", ".jp2", ".jxl", ".svg", ".tif", ".tiff"}
GRAY, PALETTE, COLOR = ("1", "L", "LA"), ("P", "PA"), ("RGB", "RGBA", "CMYK", "YCbCr")
OF_SOME_SYSTEM = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
EXPECTED = f"a picture of 8 bits per channel ({', '.join(FORMATS)})"


def is_hidden(name: str) -> bool:
    """Whether a name starts with a dot, or is some system's own, such as __MACOSX."""
    return name.startswith(".") or name in OF_SOME_SYSTEM


def is_picture(name: str) -> bool:
    """Whether a file is a picture, by its name alone."""
    return Path(name).suffix.lower() in PICTURES and not is_hidden(Path(name).name)


def pictures_below(folder: Path) -> dict[str, list[Path]]:
    """{class, its path below `folder`: files}, both in order of name; links are followed. BadFile for anything else."""
    files, waiting, met = [], [folder], {}
    while waiting:
        place = waiting.pop()
        if (first := met.setdefault(place.resolve(), place)) is not place:
            raise BadFile(f"{place}: got the folder {first} once more, by a link, expected every folder once")
        with named(place, "a folder that can be read"):
            entries = [entry for entry in place.iterdir() if not is_hidden(entry.name)]
        below = [entry for entry in entries if entry.is_dir()]
        here = [entry for entry in entries if not entry.is_dir() and _counts(entry)]
        if here and place is folder:
            raise BadFile(f"{here[0]}: got a picture outside the classes, expected it in the folder of its class")
        if not here and not below:
            kinds = ", ".join(sorted({entry.suffix or entry.name for entry in entries})[:5]) or "nothing"
            expected = "pictures in one folder for each class" if place is folder else "pictures of a class"
            raise BadFile(f"{place}: got {kinds}, expected {expected} ({', '.join(sorted(PICTURES))})")
        files += here
        waiting += below
    pictures: dict[str, list[Path]] = {}
    for file in sorted(files, key=Path.as_posix):
        pictures.setdefault(file.parent.relative_to(folder).as_posix(), []).append(file)
    return pictures


def _counts(entry: Path) -> bool:
    """Whether a file in a class's folder is a picture; BadFile if its name says so, but it cannot be read."""
    if entry.is_symlink() and not entry.exists():
        raise BadFile(f"{entry}: got a link to {entry.readlink()}, which is not there, expected a file or a folder")
    kind = entry.suffix.lower()
    if kind in OTHER_PICTURES or (kind in PICTURES and not entry.is_file()):
        raise BadFile(f"{entry}: got what is not read, expected a file of {EXPECTED}: convert it or take it out")
    return kind in PICTURES


def read_folder(folder: Path) -> Arrays:
    """Pictures of one size in `<folder>/<class>/`: gray when all are, else three channels. BadFile for others."""
    pictures = pictures_below(folder)
    classes = sorted(pictures)
    paths = [path for name in pictures for path in pictures[name]]
    labels = [number for name in pictures for number in [classes.index(name)] * len(pictures[name])]
    decoded = []
    for path in paths:
        with named(path, EXPECTED):
            decoded.append(decode(path))
        if decoded[-1].shape[:2] != decoded[0].shape[:2]:
            (height, width), (other, across) = decoded[0].shape[:2], decoded[-1].shape[:2]
            raise BadFile(f"{path}: got {across}×{other} pixels, expected one size, {width}×{height} as {paths[0]}")
    if any(picture.ndim == 3 for picture in decoded):
        decoded = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in decoded]
    return channels_first(np.stack(decoded)), np.array(labels, np.int64), tuple(classes)


def decode(picture: Path | bytes) -> np.ndarray:
    """uint8 (H, W) for a gray picture, (H, W, 3) for a color one, turned upright as its camera says.

    What is transparent is laid on white. Raises what Pillow does, and ValueError for more than 8 bits per channel.
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(picture if isinstance(picture, Path) else io.BytesIO(picture), formats=FORMATS) as image:
            mode = image.mode
            if mode not in (*GRAY, *PALETTE, *COLOR):  # 16 bits would be cut off at 255
                raise ValueError(f"pixels of mode {mode}")
            upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    if mode in GRAY:
        return np.asarray(upright.convert("L"))
    colors = np.asarray(upright.convert("RGB"))
    is_gray = mode in PALETTE and (colors == colors[..., :1]).all()
    return colors[..., 0] if is_gray else colors


def channels_first(images: np.ndarray) -> np.ndarray:
    """(N, H, W) or (N, H, W, C) -> (N, C, H, W), contiguous."""
    return np.ascontiguousarray(images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2))
