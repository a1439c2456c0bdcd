"""The command line: `labkit COMMAND`, or `python lab.py COMMAND`, which sets everything up first."""

import io
import os
import shutil
import sys
from pathlib import Path

import click

# What a command needs is imported when it runs: `labkit --help` must not wait for torch.


class Commands(click.Group):
    """A group whose commands tell expected errors without a traceback, and end with status 1."""

    def invoke(self, context):
        """Run the command."""
        try:
            return super().invoke(context)
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:  # no such file, no permission, a full disk
            if isinstance(error, shutil.Error):  # a list of (from, to, reason) for each file that was not copied
                raise click.ClickException(str(error.args[0][-1][-1])) from error
            words = [error.filename, error.strerror or str(error)]
            raise click.ClickException(": ".join(str(word) for word in words if word)) from error

    def list_commands(self, context):
        """The commands in the order in which they are written here."""
        return list(self.commands)


PORT = click.IntRange(1, 65535)
FOR_INSTRUCTORS = Path(__file__).with_name("cli_class.py")  # a hand-out goes without it, and without solutions


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="labkit")
def main():
    """The course of hands-on labs on deep metric learning.

    A lab is named by its number (04), its name, or its path.
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal that knows no ✓ must not end a command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def labs_named(names):
    """The paths of some labs, of all when none is named."""
    from course import notebooks

    found = [notebooks.find_lab(name) for name in names] or notebooks.labs()
    if not found:
        raise click.ClickException(f"there are no notebooks in {notebooks.NOTEBOOKS}")
    return found


# --------------------------------------------------------------------------------------------------------- for everyone


@main.command("open")
@click.argument("lab", default="00")
@click.option("--port", type=PORT, help="Port to listen on. Default: 8888, or the next free one.")
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening a browser.")
def open_course(lab, port, no_browser):
    """Open the course, or one LAB, in JupyterLab.

    A lab that is named by number or name is opened as your own copy in work/, without solutions; what you have written
    there is never overwritten. The path of a notebook, anywhere, opens that file itself.

    The server listens on this machine alone and asks for a token, which the browser gets with the address.
    """
    from course import notebooks, presenting, student

    path = notebooks.find_lab(lab)
    if not lab.endswith(".ipynb"):
        try:
            written = student.write_student_versions(notebooks.labs(), student.WORK, note=student.IN_WORK)
        except OSError as error:  # a course that many share may be for reading only
            click.echo(f"No copies can be made in {student.WORK} ({error.strerror}): this is the lab itself.")
            written = []
        if any(one.state == "new" for one in written):
            solved = "; those are in notebooks/" if FOR_INSTRUCTORS.exists() else ""
            click.echo(f"Your copies of the labs are in {student.WORK}, without solutions{solved}.")
        for one in written:
            if one.beside:
                click.echo(f"{one.path.name} has changed in the course. Yours is as you left it; new: {one.beside}")
        path = next((one.path for one in written if one.path.name == path.name), path)
    presenting.open_lab(path, port=port, open_browser=not no_browser)


@main.command("lab")
@click.argument("lab")
@click.option("-p", "values", nargs=2, multiple=True, metavar="NAME VALUE", help="Another value for a parameter.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write. Default: build/NAME-DATE-TIME.ipynb")
def run_lab(lab, values, out):
    """Execute a LAB with other parameters, for example full size.

    \b
        labkit lab 04 -p DATASET mnist -p EPOCHS 10 --out build/04_mnist.ipynb

    The parameters are those of the lab's cell tagged `parameters`; a wrong name lists them. The lab in the course
    stays as it is: an executed copy is written. All processor threads, and the GPU if there is one, are used.
    """
    from course import notebooks, running

    path = notebooks.find_lab(lab)
    values = running.parameter_values(notebooks.read(path), dict(values))
    try:
        click.echo(f"written: {running.run_lab(path, values, out)}")
    except (notebooks.CellFailed, running.Stopped) as error:
        raise click.ClickException(str(error)) from error


@main.group(cls=Commands)
def data():
    """Datasets: which are there, and fetching more."""


@data.command("list")
@click.option("--root", type=click.Path(path_type=Path), help="The data folder. Default: LABKIT_DATA, then data/cache.")
def list_datasets(root):
    """List the datasets, and which of them are there."""
    from labkit.data import available, data_folder, names

    click.echo(f"in {data_folder(root)}:")
    for name in names():
        there = [split for split in ("train", "test") if available(name, split, root)]
        click.echo(f"  {name:14} {' and '.join(there) if there else f'not there: labkit data get {name}'}")


@data.command("get")
@click.argument("name")
@click.option("--root", type=click.Path(path_type=Path), help="The data folder. Default: LABKIT_DATA, then data/cache.")
def get_dataset(name, root):
    """Fetch the dataset NAME, unless it is there, and read it once.

    Files are checked against their SHA-256; an interrupted download is never taken for data.
    """
    from labkit.data import data_folder, load

    for split in ("train", "test"):
        images = load(name, split, root)
        count, *shape = images.images.shape
        size = "×".join(map(str, shape))
        click.echo(f"{name} {split}: {count} images {size}, {len(images.classes)} classes, in {data_folder(root)}")


@main.command()
@click.option("--gpu", is_flag=True, help="Try the GPU instead, in eight minutes: tests, speed, training. One record.")
@click.option("--device", default="cuda", hidden=True)
@click.option("--tiny", is_flag=True, hidden=True)
@click.option("--record", type=click.Path(path_type=Path), hidden=True)
def doctor(gpu, device, tiny, record):
    """Look for what is wrong with this machine, and how to mend it.

    Ends with status 1 when something is broken; notes do not count.
    """
    from course.doctor import examine, try_gpu

    if gpu:
        given = ["--device", device, *(["--tiny"] if tiny else []), *(["--record", str(record)] if record else [])]
        sys.exit(try_gpu(given))
    marks = {"ok": "ok    ", "note": "note  ", "broken": "BROKEN"}
    broken = 0
    for finding in examine():
        broken += finding.state == "broken"
        click.echo(f"{marks[finding.state]}  {finding.text}")
        if finding.mend:
            click.echo(f"        {finding.mend}")
    click.echo(f"\n{broken} broken." if broken else "\nNothing is broken.")
    sys.exit(1 if broken else 0)


# --------------------------------------------------------------------------------------------------- the papers' tables


SIZES = ("full", "reduced", "tiny")


def _listed(context, parameter, text):
    """Make a list of "a,b"; rows, whose names hold commas, come as "a;b"."""
    return [name.strip() for name in text.split(";" if parameter.name == "rows" else ",")] if text else None


@main.command()
@click.argument("table")
@click.option("--datasets", callback=_listed, metavar="A,B", help="Default: those of the table that are at hand.")
@click.option("--rows", callback=_listed, metavar="A;B", help="Names of rows. Default: all.")
@click.option("--seeds", type=click.IntRange(1), help="How many. Default: 5, and 3 on MNIST.")
@click.option("--size", type=click.Choice(SIZES), help="Default: full with a GPU, else reduced.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--devices", type=click.IntRange(1), help="Processes for each run, each with its GPU.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Runs side by side.")
@click.option("--minutes", type=float, help="Start no run any more after so many minutes.")
@click.option("--root", type=click.Path(path_type=Path), help="The data folder. Default: LABKIT_DATA, then data/cache.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where records lie. Default: data/measured.")
@click.option("--again", is_flag=True, help="Move records that do not fit aside and measure anew.")
def measure(table, datasets, rows, seeds, size, device, devices, jobs, minutes, root, folder, again):
    """Measure a TABLE of the papers under equal conditions.

    It goes on where it was stopped.

    \b
        labkit measure exponential_triplet --jobs 2 --datasets mnist,fashion_mnist --seeds 3

    TABLE: exponential_triplet, convergence, embedding_size, pedcc, circle, center, steps,
    distancing, distancing_mobilenet_v2, recipe (cross-entropy alone).

    Every run is kept in data/measured/ as it ends. A record that was made of other images, or by code that computed
    something else, is never mixed with new ones: the command then stops and says what differs.
    """
    from experiments import runner
    from labkit.training import device as running

    size = size or ("reduced" if running.choose_device(device).type == "cpu" else "full")
    measurement = runner.Measurement(table, size, datasets, rows, seeds, root and str(root), folder, again)
    try:
        if devices and devices > 1:
            given = {"datasets": ",".join(datasets or ()), "rows": ";".join(rows or ()), "minutes": minutes}
            given |= {"size": size, "seeds": seeds, "jobs": jobs, "device": device, "root": root, "folder": folder}
            words = [f"--{name}={value}" for name, value in given.items() if value not in ("", None)]
            return runner.share(measurement, devices, device, [table, *words])
        made = runner.measure(measurement, jobs, device, minutes)
    except KeyboardInterrupt:
        raise click.ClickException("stopped; finished runs are kept, and the same command goes on") from None
    except RuntimeError as error:
        raise click.ClickException(f"{error}\nFinished runs are kept, and the same command goes on") from error
    missing = measurement.total() - measurement.done()
    if os.environ.get("RANK", "0") == "0":  # of torchrun's processes, the first one speaks
        click.echo(f"{made} runs made, {missing} missing: {measurement.path}")


@main.command()
@click.argument("table")
@click.option("--datasets", callback=_listed, metavar="A,B", help="Default: all that have records.")
@click.option("--size", type=click.Choice(SIZES), help="Default: full where it was measured, else reduced.")
@click.option("--format", "form", type=click.Choice(["text", "markdown"]), default="text", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where records lie. Default: data/measured.")
@click.option("--figure", "file", type=click.Path(path_type=Path), help="Write a picture of the first dataset.")
@click.option("--force", is_flag=True, help="Replace the file of --figure if it is there.")
def report(table, datasets, size, form, folder, file, force):
    """Show what was measured of a TABLE of the papers.

    Mean ± standard error, published figures, what tuning has chosen, and tests against the baseline and of the pairs
    that the labs compare: the p-values are of paired t-tests over the seeds, corrected by Holm's method for their
    number.
    """
    from course.notebooks import one_of
    from experiments import records
    from experiments import report as reporting
    from experiments.definitions import DATASETS

    if file and file.exists() and not force:
        raise click.ClickException(f"{file}: is there already; --force replaces it")
    if unknown := set(datasets or ()) - set(DATASETS):
        raise ValueError(f"datasets: got {', '.join(unknown)}, expected {one_of(unknown.pop(), list(DATASETS))}")
    size = size or reporting.measured_size(table, folder)
    found = [each for name in datasets or [None] for each in reporting.results(table, size, name, folder)]
    if not found:
        raise click.ClickException(f"{table}: not measured yet in size {size}; labkit measure {table} --size {size}")
    for each in found:
        click.echo((reporting.text if form == "text" else reporting.markdown)(each) + "\n")
    if file:
        picture = io.BytesIO()
        reporting.figure(found[0]).savefig(picture, format=file.suffix[1:] or "png", bbox_inches="tight")
        records.write_whole(file, picture.getvalue())
        click.echo(f"written: {file}")


# ------------------------------------------------------------------------------------------------------ for instructors

if FOR_INSTRUCTORS.exists():
    import course.cli_class  # noqa: F401
