"""Names in backticks or <code>: which of them does nothing in the repository, torch or Python bear?"""

import ast
import builtins
import functools
import keyword
import re
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("labkit", "course", "experiments", "tools")
OTHERS = (
    builtins, torch, torch.Tensor, torch.autograd, torch.linalg, torch.optim, torch.optim.lr_scheduler,
    nn, nn.functional, nn.init,
)  # fmt: skip
PROGRAMS = {"git", "checkout", "pip", "install", "sudo", "apt", "ruff", "jupytext", "uv", "venv"}
EXCUSED = PROGRAMS | {"slide", "subslide", "fragment"} | {"its", "sentence"}  # kinds of slides; words for arguments
QUOTED = re.compile(r"(?<!`)`([^`\n]+)`(?!`)|<code>(.*?)</code>", re.DOTALL)
WORD = re.compile(r"(?<!\w)[A-Za-z_]\w+")


def of_code(text):
    """The identifiers in Python, and its strings of one word: options, keys, names of datasets."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            if isinstance(value := getattr(node, field, None), str):
                found.update(value.split("."))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            found.update(WORD.findall(node.value))
    return found


@functools.cache
def of_the_repository():
    """What its packages define and use, the parts of its files' paths, and the names of Python and torch."""
    found = set(keyword.kwlist) | EXCUSED | {name for other in OTHERS for name in dir(other)}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            found |= of_code(path.read_text(encoding="utf-8"))
    files = [path for top in ROOT.iterdir() if not top.name.startswith(".") for path in (top, *top.rglob("*"))]
    return found | {word for path in files for word in WORD.findall(path.relative_to(ROOT).as_posix())}


def unknown(markdown, known=frozenset()):
    """[(what is quoted, name)] of the names that exist neither in the repository nor among `known`.

    Names in capitals alone, such as FILE and TABLE, stand for something else and are passed over.
    """
    quoted = [one or other for one, other in QUOTED.findall(markdown)]
    words = [(text, word) for text in quoted for word in WORD.findall(text) if not word.isupper()]
    return [(text, word) for text, word in words if word not in of_the_repository() and word not in known]
