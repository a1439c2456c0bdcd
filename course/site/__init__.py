"""The course as a website: build/site, from the executed notebooks, the pages in Markdown and labkit's docstrings.

Sphinx with MyST-NB and the theme furo do the work, without a network; what is here prepares their sources. A page asks
nobody but the site itself: MathJax comes out of a package, and a hand needs no kernel. Opened as files, it works too.

conf.py      what Sphinx is told
lab_page.py  a lab as a page: solutions folded, pictures with their words, hands
pages.py     the start page, the papers' tables, labkit's modules
static/      style, and the script that brings hands to life
"""

import importlib.resources
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from course.notebooks import BUILD, ROOT, labs
from course.site import pages
from course.site.lab_page import write_lab

HERE = Path(__file__).parent
WANTED = ("sphinx", "myst_nb", "furo", "sphinx-mathjax-offline")


class Failed(Exception):
    """Sphinx could not build the site. The message is Sphinx's own."""


def build(out=None):
    """Build the site into a folder, build/site by default; returns (the folder, Sphinx's warnings as one text).

    An earlier site there is replaced when the new one is whole. Raises ValueError where the folder holds anything else,
    or a package is missing; Failed when Sphinx fails.
    """
    out = Path(out or BUILD / "site").resolve()
    if missing := [name for name in WANTED if not importlib.util.find_spec(name)]:
        raise ValueError(f"site: {', '.join(missing)} is not installed; `pip install labkit[site]` brings it")
    if out.exists() and any(out.iterdir()) and not (out / ".buildinfo").exists():
        raise ValueError(f"out: got {out}, which is there and is not a site; expected a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        source, new = Path(folder, "source"), Path(folder, "site")
        write_sources(source)
        command = [sys.executable, "-m", "sphinx", "-q", "-j", "auto", "-c", HERE, "-d", Path(folder, "doctrees")]
        environment = {**os.environ, "LABKIT_SITE": str(source), "MPLBACKEND": "agg", "PYTHONUTF8": "1"}
        command += [source, new]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8")
        if done.returncode:
            raise Failed(done.stderr[-3000:])
        if out.exists():
            out.rename(Path(folder, "earlier"))
        new.rename(out)
    return out, done.stderr


def write_sources(folder):
    """What Sphinx reads: pages as they lie in the repository, and in `extra` what goes to the site as it is."""
    extra = folder / "extra"
    for lab in labs():
        write_lab(lab, folder, extra)
    pages.write_pages(folder, extra)
    carrier = importlib.resources.files("sphinx-mathjax-offline")  # one file; it has its fonts in itself
    (extra / "mathjax").mkdir()
    (extra / "mathjax" / "tex-svg.js").write_bytes((carrier / "static" / "mathjax" / "tex-svg.js").read_bytes())
