"""Grading many submissions: finding them, several at a time, going on where it stopped, tables and feedback."""

import csv
import hashlib
import html
import io
import json
import os
import re
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from course import grading
from course.kernels import Nursery
from course.notebooks import NOTEBOOKS, ROOT, first_line, labs, read
from experiments.records import write_whole

CODE = [ROOT / "course", ROOT / "labkit", ROOT / "experiments"]
"""What decides a score, beside the labs."""
NO_STUDENT = re.compile(
    r"(lab|assignment|exercise|homework|hw|ps|week|sheet|submissions?|submitted)s?\W*\d*", re.IGNORECASE
)
"""Names of folders that are nobody's."""


class CourseChanged(Exception):
    """Files of the course are not what they were when grading began. The message names them."""


# ------------------------------------------------------------------------------------------------------ submissions


@dataclass(frozen=True)
class Submission:
    """A file, and the student whose it is."""

    file: Path
    student: str


def submissions(paths):
    """The submissions in some folders, however nested, and files: a Submission each.

    Students are told apart by the level of folders that has the most different names (which passes over folders for
    labs or groups), or, where there are no folders, by the files' names without the lab's.
    Raises ValueError for a path that is not there, and for a folder without a notebook.
    """
    found = {}  # file -> its place, relative to what was named
    for path in map(Path, paths):
        if not path.exists():
            raise ValueError(f"{path}: there is no such file or folder")
        files = sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]
        inside = {file: file.relative_to(path if path.is_dir() else path.parent) for file in files}
        seen = {file: place for file, place in inside.items() if not _is_hidden(place)}
        if not seen:
            raise ValueError(f"{path}: there is no notebook in this folder")
        found |= seen
    names = _names(found)
    return [Submission(file, names[file]) for file in found]


def _is_hidden(place):
    """Whether a file lies in a folder that programs make: .ipynb_checkpoints, __MACOSX."""
    return any(part.startswith((".", "__")) for part in place.parts)


def _names(found):
    """{file: name of the student}."""
    known = {path.stem for path in labs()}
    folders = {
        file: [part for part in place.parts[:-1] if part not in known and not NO_STUDENT.fullmatch(part)]
        for file, place in found.items()
    }
    depth = max(map(len, folders.values()), default=0)
    levels = [{parts[level] for parts in folders.values() if len(parts) > level} for level in range(depth)]
    level = max(range(depth), key=lambda one: len(levels[one]), default=0)
    names = {file: parts[level] if len(parts) > level else _of_file(file, known) for file, parts in folders.items()}
    # Two files of one student that answer the same lab are two students of the same name, as far as we can know.
    count = Counter((name, file.name) for file, name in names.items())
    same = {file for file, name in names.items() if count[name, file.name] > 1}
    return names | {file: found[file].with_suffix("").as_posix() for file in same}


def _of_file(file, known):
    """The part of a file's name that is not the lab's; all of it where nothing else is left."""
    bare = file.stem
    for lab in known:
        bare = bare.replace(lab, "")
    return bare.strip(" _-.()") or file.stem


# ---------------------------------------------------------------------------------------------------------- grading


def grade_all(found, lab=None, jobs=1, cell_seconds=60, seconds=600, kept=None, again=False):
    """Grade submissions, `jobs` at a time; yields (Submission, result) as each is done.

    A result is what Grade.as_dict gives, or {"file", "error"} for a file that cannot be graded.

    kept   a file to which each result is appended at once; what it has of the same file, the same lab and the same
           course is not run again, unless `again`

    Raises CourseChanged when a submission has changed the course's own files: what ran then is not yielded.
    """
    before = fingerprints()
    known = {} if again else _read_kept(kept)
    code = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()
    keys = {one: _key(one, lab, cell_seconds, seconds, code) for one in found}
    waiting = []
    for one in found:
        if keys[one] in known:
            yield one, known[keys[one]]
        else:
            waiting.append(one)
    hidden = {one.file.resolve().parent for one in found}
    with ThreadPoolExecutor(jobs) as pool, Nursery(_modules(waiting, lab), hidden) as nursery:
        running = {pool.submit(_graded, one, lab, cell_seconds, seconds, nursery): one for one in waiting}
        try:
            for done in as_completed(running):
                one, result = running[done], done.result()
                if changed := [name for name, now in fingerprints().items() if before.get(name) != now]:
                    raise CourseChanged(
                        f"{', '.join(changed[:3])}: changed while {one.student}'s submission was graded"
                    )
                if _key(one, lab, cell_seconds, seconds, code) != keys[one]:  # whoever did that: a score would be undue
                    result = {"file": str(one.file), "error": f"{one.file}: was changed while the class was graded"}
                if kept:
                    _keep(kept, {"key": keys[one], "student": one.student, **result})
                yield one, result
        finally:  # Ctrl-C: what waits is dropped; what runs loses its kernel when the nursery ends
            pool.shutdown(wait=False, cancel_futures=True)


def _graded(one, lab, cell_seconds, seconds, nursery):
    try:
        return grading.grade(one.file, lab, cell_seconds, seconds, nursery).as_dict()
    except ValueError as error:
        return {"file": str(one.file), "error": str(error)}
    except Exception as error:  # whatever a submission brings about, it is not the end of the others
        return {"file": str(one.file), "error": f"{one.file}: {type(error).__name__}: {first_line(str(error))}"}


def _modules(found, lab):
    """What the labs of these submissions import."""
    paths = set()
    for one in found:
        try:
            paths.add(lab or grading.lab_of(one.file, grading.read_submission(one.file)))
        except ValueError:
            continue
    return set().union(*(grading.modules(read(path)) for path in paths))


def fingerprints():
    """{file of the course: a few letters that change when its content does}."""
    files = [*NOTEBOOKS.glob("*.ipynb"), *(file for folder in CODE for file in folder.rglob("*.py"))]
    return {os.path.relpath(file, ROOT): hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in sorted(files)}


def _key(one, lab, cell_seconds, seconds, code):
    """Changes when anything does that decides the result of a submission."""
    content = hashlib.sha256(one.file.read_bytes()).hexdigest() if one.file.is_file() else ""
    about = [str(one.file.resolve()), content, str(lab), cell_seconds, seconds, code]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]


def _read_kept(kept):
    """{key: result} of the results kept earlier; a last line that was cut off is passed over."""
    found = {}
    if kept and kept.is_file():
        for line in kept.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                result = json.loads(line)
                result.pop("student")
                found[result.pop("key")] = result
            except (ValueError, KeyError, AttributeError):
                continue
    return found


def _keep(kept, result):
    """Append one result, so that it is there whatever comes next."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


# ----------------------------------------------------------------------------------------------------------- tables


def as_text(result):
    """One result, exercise by exercise."""
    scores = [grading.Score(**score) for score in result["scores"]]
    return str(grading.Grade(result["file"], result["lab"], scores, result["notes"]))


def tables(results):
    """The class on a screen: for each lab its students × exercises, then students × labs where there are several.

    results   (Submission, result) of each submission
    """
    results = sorted(results, key=lambda pair: pair[0].student.casefold())
    lines, labs_found = [], sorted({result["lab"] for _, result in results if "lab" in result})
    for lab in labs_found:
        rows = [(one.student, result) for one, result in results if result.get("lab") == lab]
        exercises = _exercises(rows)
        lines += ["", lab, *(f"  {n}  {name} ({points})" for n, (name, points) in enumerate(exercises.items(), 1)), ""]
        body = [[name, *_earned(result, exercises), f"{result['earned']}/{result['points']}"] for name, result in rows]
        lines += _aligned([["", *map(str, range(1, len(exercises) + 1)), "all"], *body])
    if len(labs_found) > 1:
        totals = defaultdict(dict)
        for one, result in results:
            if "lab" in result:
                totals[one.student][result["lab"]] = result["earned"]
        body = [[name, *(got.get(lab, "") for lab in labs_found), sum(got.values())] for name, got in totals.items()]
        lines += ["", *_aligned([["", *(lab[:2] for lab in labs_found), "all"], *body])]
    failed = [result["error"] for _, result in results if "error" in result]
    return "\n".join([*lines, *(["", "not graded:"] if failed else []), *(f"  {error}" for error in failed)]).lstrip(
        "\n"
    )


def _exercises(rows):
    """{exercise: its points} of the results of one lab."""
    return {score["exercise"]: score["points"] for _, result in rows for score in result["scores"]}


def _earned(result, exercises):
    earned = {score["exercise"]: score["earned"] for score in result["scores"]}
    return [earned.get(name, "") for name in exercises]


def _aligned(rows):
    """Lines of a table: names to the left, numbers to the right."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    ]


def write_csv(results, path):
    """Write one row a student: points of each exercise, of each lab, of all; empty where nothing was handed in."""
    by_lab = defaultdict(list)
    for one, result in results:
        if "lab" in result:
            by_lab[result["lab"]].append((one.student, result))
    columns, values = ["student"], defaultdict(dict)
    for lab, rows in sorted(by_lab.items()):
        exercises = _exercises(rows)
        columns += [*(f"{lab[:2]} {name}" for name in exercises), f"{lab[:2]} of {sum(exercises.values())}"]
        for student, result in rows:
            values[student] |= dict(
                zip([f"{lab[:2]} {name}" for name in exercises], _earned(result, exercises), strict=True)
            )
            values[student][f"{lab[:2]} of {sum(exercises.values())}"] = result["earned"]
    columns.append("all")
    for row in values.values():
        row["all"] = sum(value for name, value in row.items() if re.fullmatch(r"\d\d of \d+", name))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    students = sorted(values, key=str.casefold)
    writer.writerows({"student": _harmless(student), **values[student]} for student in students)
    write_whole(path, text.getvalue())


def _harmless(text):
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t" else text


# --------------------------------------------------------------------------------------------------------- feedback

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }}
pre {{ background: #f4f4f4; padding: .6rem; overflow-x: auto; }}
</style>
<h1>{title}</h1>
<p><strong>{earned} of {points} points</strong></p>
{exercises}
{notes}
"""


def write_feedback(one, result, folder, lab=None):
    """Write a page that a student can read: points, what was wrong, the code that was handed in; returns its path."""
    name = re.sub(r"[^\w.-]+", "_", one.student).strip("._")
    if name != one.student:  # two names must not become one
        name += "-" + hashlib.sha256(one.student.encode("utf-8", "replace")).hexdigest()[:6]
    path = folder / name / f"{result.get('lab', one.file.stem)}.html"
    title = html.escape(f"{one.student}: {result.get('lab', one.file.name)}")
    if "error" in result:
        shown = {"earned": 0, "points": 0, "exercises": f"<p>{html.escape(result['error'])}</p>", "notes": ""}
    else:
        source = read(lab or NOTEBOOKS / f"{result['lab']}.ipynb")
        written = grading.answers(source, grading.read_submission(one.file))
        parts = []
        for score in result["scores"]:
            right = score["earned"] == score["points"]
            said = "✓ right" if right else html.escape(score["feedback"])
            code = html.escape(written.get(score["exercise"]) or "(nothing)")
            heading = f"{html.escape(score['exercise'])}: {score['earned']} of {score['points']}"
            parts.append(f"<h2>{heading}</h2>\n<pre>{said}</pre>\n<p>Your code:</p>\n<pre>{code}</pre>")
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in result["notes"] if "worth a look" not in note)
        shown = {"earned": result["earned"], "points": result["points"], "exercises": "\n".join(parts)}
        shown["notes"] = f"<h2>Also</h2>\n<ul>{notes}</ul>" if notes else ""
    write_whole(path, PAGE.format(title=title, **shown))
    return path
