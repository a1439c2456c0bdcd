"""README's picture: digits in the plane of their pixels, and where README's own lines, run for it, have put them."""

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path

import torch
from sklearn.decomposition import PCA

from experiments.records import write_whole
from labkit.figures import lab05

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "embedding.png"


def lines_of_python(text):
    """The first block of Python in README's text."""
    return re.search(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1]


def run(source):
    """Runs README's lines from seed 0, in a temporary folder, and returns the names that they leave."""
    torch.manual_seed(0)
    names = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        exec(source, names)
        assert os.path.getsize("plane.png") > 0
    return names


def write():
    """Draws the picture and returns its path."""
    names = run(lines_of_python((ROOT / "README.md").read_text(encoding="utf-8")))
    train, test, embeddings = names["train"], names["test"], names["embeddings"]
    pixels = PCA(n_components=2, random_state=0).fit(train.floats().flatten(1).numpy())
    planes = {
        "Pixels: first two principal components": pixels.transform(test.floats().flatten(1).numpy()),
        "Two numbers that a network has learned": embeddings,
    }
    figure = lab05.planes(planes, test.labels, test.classes)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=70)
    write_whole(PICTURE, picture.getvalue())
    return PICTURE
