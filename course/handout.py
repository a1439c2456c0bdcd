"""A hand-out: a folder and a zip with which students work on labs, on a machine that has Python and nothing else.

It holds the students' versions of the labs, labkit, experiments and the records that labs show, the part of course that
opens labs and checks answers, and lab.py, which sets everything up. The files of the checks, which know the reference
answers, are packed: no answer can be read by accident or found by a search. More is not promised: a check that runs on
a machine can be taken apart there. What must stay secret belongs between `### BEGIN HIDDEN TESTS` and
`### END HIDDEN TESTS`, which are not handed out and count when you grade.
"""

import base64
import hashlib
import json
import re
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

from course.notebooks import BUILD, NOTEBOOKS, ROOT, marked, read
from course.student import LINK, student_version
from experiments.records import write_whole

WHOLE = ("labkit", "experiments", "data/measured", "data/published")
FILES = ("requirements.txt", "requirements.lock", "installer.lock", "pyproject.toml", "LICENSE", "data/README.md")
NOT_STUDENTS = ("cli_class", "classroom", "grading", "handout", "kernels", "warm")  # of course's modules
NOT_OURS = ("__pycache__", "*.egg-info", "*.tmp")
COMMANDS = ("doctor",)  # of those that lab.py's help names
MANIFEST = "handout.json"
BY_ITSELF = re.compile(r"/(\.venv|__pycache__|labkit\.egg-info)/")

PACKED = '''"""The checks of {lab}. Their reference answers are packed, so that nobody reads them by accident."""

import base64
import zlib

_space = {{"__name__": __name__}}
exec(compile(zlib.decompress(base64.b85decode({text!r})), "the checks of {lab}", "exec"), _space)
globals().update({{_name: _space[_name] for _name in {names!r}}})
'''

README = """# {title}

You need Python 3.11, 3.12 or 3.13 and nothing else. Unpack this folder, open a terminal in it, then:

    python lab.py            sets everything up (once, a few minutes) and opens the labs in JupyterLab
    python lab.py doctor     looks for what is wrong with your machine, and says how to mend it

The set-up downloads some 6 GB on Linux (less elsewhere) into `.venv`; after it, no network is needed: the handwritten
digits come with scikit-learn. `python lab.py data list` names other datasets, `python lab.py data get mnist` fetches
one of them.

You work on copies, in the folder `work`. Write your lines where a cell says `# YOUR CODE HERE` and run the check below
it: it says what is wrong. Nothing you have written is overwritten: if you unpack a newer version of this folder over
this one, the changed labs are put beside yours. Hand in the files of `work` as you are told to.

{labs}
"""


def write(labs, out=None):
    """Write a hand-out of some labs to a folder, build/handout by default, and to a zip beside it; returns both paths.

    Raises ValueError if the folder holds anything but an unchanged earlier hand-out.
    """
    out = Path(out or BUILD / "handout").resolve()
    _refuse_what_is_used(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        new = Path(folder, out.name)
        _fill(new, labs)
        archive = Path(folder, f"{out.name}.zip")
        _zip(new, archive)
        if out.exists():
            out.rename(Path(folder, "earlier"))
        new.rename(out)
        return out, archive.replace(out.with_name(archive.name))


def _fill(out, labs):
    for name in WHOLE:
        shutil.copytree(ROOT / name, out / name, ignore=shutil.ignore_patterns(*NOT_OURS))
    modules = [*(ROOT / "course").glob("*.py"), *(ROOT / "course/exercises").glob("*.py")]
    modules = [file for file in modules if file.stem not in NOT_STUDENTS and not re.fullmatch(r"lab\d\d", file.stem)]
    for file in [*(ROOT / name for name in FILES), *modules]:
        target = out / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    write_whole(out / "lab.py", _own_help((ROOT / "lab.py").read_text(encoding="utf-8")))
    titles = []
    for lab in labs:
        student = student_version(read(lab), lab.stem)
        titles.append(student.cells[0].source.splitlines()[0].lstrip("# "))
        used = {name for cell in student.cells for name in re.findall(rf"\blab{lab.stem[:2]}\.(\w+)", cell.source)}
        source = ROOT / f"course/exercises/lab{lab.stem[:2]}.py"
        write_whole(out / source.relative_to(ROOT), _packed(lab.stem, source, sorted(used)))
        write_whole(out / "notebooks" / lab.name, marked(_without_dead_links(student, lab, labs, out)))
    title = titles[0] if len(titles) == 1 else "Deep metric learning, hands on"
    write_whole(out / "README.md", README.format(title=title, labs="\n".join(f"- {title}" for title in titles)))
    write_whole(out / MANIFEST, json.dumps(_hashes(out), indent=1) + "\n")


def _own_help(source):
    """lab.py, whose help names only the commands that a hand-out has."""
    start, text, code = source.split('"""', 2)
    lines = [(line, re.match(r"python lab\.py (\w+)", line)) for line in text.splitlines()]
    kept = [line for line, command in lines if not command or command.group(1) in COMMANDS]
    return f'{start}"""' + "\n".join(kept) + f'\n"""{code}'


def _packed(lab, source, names):
    """A module that does what the checks in `source` do, of which nothing can be read; it has the `names` alone."""
    text = base64.b85encode(zlib.compress(source.read_bytes(), 9)).decode()
    return PACKED.format(lab=lab, text=text, names=names)


def _without_dead_links(student, lab, labs, out):
    """The notebook, with plain words for links to what is not handed out."""
    known = {one.name for one in labs}

    def there(link):
        target = (lab.parent / link).resolve()
        if target.parent == NOTEBOOKS:
            return target.name in known
        return target.is_relative_to(ROOT) and (out / target.relative_to(ROOT)).exists()

    for cell in student.cells:
        if cell.cell_type == "markdown":
            for link in LINK.findall(cell.source):
                if not there(link):
                    cell.source = re.sub(rf"\[([^\]]*)\]\({re.escape(link)}[^)]*\)", r"\1", cell.source)
    return student


def _hashes(folder):
    """{file: SHA-256} of all files below a folder, but those that a set-up and a first run bring."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not BY_ITSELF.search(file.as_posix())]
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _refuse_what_is_used(out):
    if out.is_relative_to(ROOT) and not out.is_relative_to(BUILD):
        raise ValueError(f"out: got {out}, expected a folder outside the course, or in {BUILD}")
    if not out.exists():
        return
    try:
        known = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"out: {out} is there and is no hand-out; move it, or name another folder") from None
    now = _hashes(out)
    del now[MANIFEST]
    changed = [name for name, value in now.items() if known.get(name) != value]
    if changed:
        raise ValueError(f"out: {out} has been used ({changed[0]}); move it, or name another folder")


def _zip(folder, archive):
    """Pack a folder, the same bytes for the same content."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder.parent).as_posix())
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            packed.writestr(entry, file.read_bytes())
