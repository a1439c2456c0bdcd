"""The command line for instructors: slides, hand-outs, grading."""

import json
import os
import sys
from pathlib import Path

import click

from course.cli import PORT, labs_named, main


@main.command()
@click.argument("lab")
@click.option("--port", type=PORT, help="Port to listen on. Default: 8888, or the next free one.")
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening a browser.")
def present(lab, port, no_browser):
    """Open a LAB as live slides, with working cells and widgets.

    No network is needed. The slides are a copy: what is changed before the audience is not kept.
    """
    from course import notebooks, presenting

    presenting.present(notebooks.find_lab(lab), port=port, open_browser=not no_browser)


@main.command()
@click.argument("labs", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write to. Default: build/student.")
@click.option("--force", is_flag=True, help="Move changed copies aside and write them anew.")
@click.option("--nbgrader", is_flag=True, help="Write nbgrader's sources instead. Default folder: build/nbgrader.")
def student(labs, out, force, nbgrader):
    """Write the students' version of LABS (default: all).

    It has stubs for solutions, no outputs, and all checks. A copy that somebody has worked on is never overwritten:
    it is kept, and the status is 1.
    """
    from course import student as versions

    write = versions.write_nbgrader if nbgrader else versions.write_student_versions
    written = write(labs_named(labs), out, force)
    for one in written:
        if one.state == "kept":
            beside = f"the new version: {one.beside}" if one.beside else "there is no newer version"
            click.echo(f"kept, for it has been changed: {one.path} ({beside}; --force moves it aside)", err=True)
        else:
            aside = f" (what was there: {one.beside})" if one.beside else ""
            click.echo(f"{'as it was' if one.state == 'as it was' else 'written'}: {one.path}{aside}")
    sys.exit(1 if any(one.state == "kept" for one in written) else 0)


@main.command()
@click.option("--out", type=click.Path(path_type=Path), help="The folder to make. Default: build/site.")
def site(out):
    """Make the course's website, to be read without Python.

    It shows all labs as executed, the papers' tables and labkit's functions. Neither to make it nor to
    read it needs a network; it can be opened as a file or put on any web server.
    """
    from course import site as building

    try:
        folder, warnings = building.build(out)
    except building.Failed as error:
        raise click.ClickException(str(error)) from error
    click.echo(warnings, err=True, nl=False)
    click.echo(f"written: {folder / 'index.html'}")


@main.command()
@click.argument("labs", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="The folder to make. Default: build/handout.")
def handout(labs, out):
    """Make a folder and a zip that need nothing but Python.

    They hold the students' version of LABS (default: all), labkit, the records that the labs show, and checks whose
    reference answers are packed, so that nobody reads them by accident.
    """
    from course import handout as handing_out

    for path in handing_out.write(labs_named(labs), out):
        click.echo(f"written: {path}")


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--lab", help="The lab that they answer. Default: what the files say.")
@click.option("--jobs", type=click.IntRange(1), help="Submissions at a time. Default: processor cores, at most 4.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write a table, one row a student.")
@click.option("--feedback", type=click.Path(path_type=Path), help="Write a page for each submission to this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs.")
@click.option("--again", is_flag=True, help="Run what has been graded before once more.")
@click.option("--cell-seconds", default=60, show_default=True, help="A cell that takes longer is stopped.")
@click.option("--seconds", default=600, show_default=True, help="A notebook that takes longer is stopped.")
def grade(paths, lab, jobs, csv_file, feedback, as_json, again, cell_seconds, seconds):
    """Run filled-in notebooks, or folders of them, and print scores.

    \b
        labkit grade submissions --csv points.csv --feedback feedback

    \b
    SUBMISSIONS ARE PROGRAMS BY OTHER PEOPLE. They run here with your rights, with limits and in folders of their
    own. On Linux they are confined where the system allows it; a line says whether they are. SECURITY.md says what
    that keeps out. Where it does not, grade in a container.

    Folders may be nested in any way; students are told apart by folders, or by the files' names. Results are kept in
    build/grades.jsonl as they come: the same command goes on where it was stopped, and runs only what is new.

    Checks are put back from the course before they run, so that an edited or deleted check counts all the same. A
    cell that fails, never ends, or ends the kernel does not stop those after it. Beyond that, nothing is promised
    against cheating.

    The status is 0 for low scores too, and 1 when a file could not be graded.
    """
    from course import classroom, confine, notebooks

    if not confine.works():
        click.echo("Submissions are not confined on this system: they run with all your rights.", err=True)
    lab = lab and notebooks.find_lab(lab)
    kept = notebooks.BUILD / "grades.jsonl"
    found = classroom.submissions(paths)
    results = {}
    try:
        limits = {"cell_seconds": cell_seconds, "seconds": seconds}
        jobs = jobs or min(4, os.cpu_count() or 1)
        for one, result in classroom.grade_all(found, lab, jobs, **limits, kept=kept, again=again):
            results[one] = result
            if feedback:
                classroom.write_feedback(one, result, feedback, lab)
            earned = f"{result['earned']} of {result['points']}" if "earned" in result else result["error"]
            click.echo(f"[{len(results)}/{len(found)}] {one.student}: {earned}", err=True)
    except classroom.CourseChanged as error:
        raise click.ClickException(
            f"{error}\nBring the course back (git status shows what is wrong), then go on."
        ) from error
    except KeyboardInterrupt:
        raise click.ClickException(f"stopped after {len(results)} of {len(found)}; the same command goes on") from None
    results = [(one, results[one]) for one in found]
    if csv_file:
        classroom.write_csv(results, csv_file)
    if as_json:
        click.echo(json.dumps([{"student": one.student, **result} for one, result in results], indent=1))
    elif any(path.is_dir() for path in paths):
        click.echo(classroom.tables(results))
    else:
        for _, result in results:
            click.echo(result["error"] if "error" in result else classroom.as_text(result))
    sys.exit(1 if any("error" in result for _, result in results) else 0)


@main.command()
@click.argument("labs", nargs=-1)
def refresh(labs):
    """Execute LABS (default: all) and store their outputs in place.

    They run in fresh kernels, just as nbval runs them. A lab in which a cell fails stays as it was, and the status
    is 1.
    """
    from course import notebooks

    failures = 0
    for path in labs_named(labs):
        try:
            click.echo(f"{path.stem}: {'changed' if notebooks.refresh(path) else 'as it was'}")
        except notebooks.CellFailed as error:
            failures += 1
            click.echo(f"{path.stem}: FAILED\n{error}", err=True)
    sys.exit(1 if failures else 0)
