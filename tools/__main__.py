"""`python -m tools COMMAND`: what developers of the course use and students need not see."""

import sys
import time
from pathlib import Path

import click

from course.cli import Commands
from tools.breaks.__main__ import main as breaks

# What a command needs is imported when it runs: `--help` must not wait for torch.


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main():
    """Tools for developers of the course."""


@main.command()
@click.argument("names", nargs=-1)
def bench(names):
    """Measure speed against peers: the benchmarks NAMES (default: all), one after the other.

    Prints a table of ratios and keeps it in data/measured/benchmarks.json.
    """
    from tools import bench as benchmarking

    known = benchmarking.benchmarks()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.ClickException(f"benchmark: got {', '.join(unknown)}, expected some of {', '.join(known)}")
    results = {}
    for name in names or known:
        click.echo(f"{name} ...", err=True)
        begun = time.monotonic()
        try:
            results[name] = benchmarking.measure(known[name])
        except RuntimeError as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"{name}: {time.monotonic() - begun:.0f} s", err=True)
    for line in benchmarking.table(results):
        click.echo(line)
    benchmarking.record(results, benchmarking.RECORD)
    click.echo(f"written: {benchmarking.RECORD}")


main.add_command(breaks, "breaks")


@main.command()
@click.option("--device", default="cuda", show_default=True, help="cuda or cuda:1; cpu to see that it works.")
@click.option("--tiny", is_flag=True, help="Little of everything.")
@click.option("--record", type=click.Path(path_type=Path), help="Default: data/measured/gpu.json; on a CPU build/.")
def gpu(device, tiny, record):
    """Try everything that needs a GPU, in at most eight minutes: `labkit doctor --gpu`."""
    import torch

    from tools import gpu as trying

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise click.ClickException("there is no GPU that torch can use; `labkit doctor` says more")
    record = record or (trying.RECORD if device.startswith("cuda") else trying.ROOT / "build" / "gpu.json")
    parts = {}
    for name, found in trying.measure(device, tiny):
        parts[name] = found
        click.echo(trying.line(name, found))
        trying.record(parts, device, record)
    click.echo(f"written: {record}")
    sys.exit(0 if all(trying.is_sound(name, found, tiny) for name, found in parts.items()) else 1)


@main.command("map")
def write_map():
    """Count the lines of each lab's code again, in README.md and in labkit's docstring."""
    from tools import map as mapping

    for path in mapping.write():
        click.echo(f"written: {path}")


@main.command()
@click.argument("modules", nargs=-1)
@click.option("--sample", type=click.IntRange(1), help="Take at most so many mutants of each module, at random.")
@click.option("--seed", default=0, show_default=True, help="Which sample.")
@click.option("--processes", type=click.IntRange(1), help="Mutants run at a time. Default: one for each processor.")
def mutants(modules, sample, seed, processes):
    """Change the code in small ways and see whether the tests notice: mutation testing of MODULES.

    \b
        python lab.py mutants triplet evaluation --sample 50

    By default all losses, embeddings, centroids, distancing and evaluation; each against the tests of its own name.
    Prints what survived, as diffs, and a table. The status is 1 if less than 90 % were killed.
    """
    from tools import mutants as mutation

    results = []
    for path in mutation.modules(modules):
        click.echo(f"{path.stem} ...", err=True)
        results.append(mutation.measure(path, sample, seed, processes))
        for diff in results[-1].survivors.values():
            click.echo(diff)
    for line in mutation.table(results):
        click.echo(line)
    if sample:
        click.echo(f"A random sample of at most {sample} mutants of each module (seed {seed}).")
    sys.exit(0 if mutation.share(results) >= mutation.GOAL else 1)


@main.command()
def anywhere():
    """Write the labs' first cell and their links to Colab, Kaggle and Binder again, from pyproject.toml's address."""
    from tools import anywhere as way

    for path in way.write():
        click.echo(f"written: {path}")


@main.command()
def picture():
    """Draw README's picture again, from a run of README's lines: docs/embedding.png."""
    from tools import picture as drawing

    click.echo(f"written: {drawing.write()}")


if __name__ == "__main__":
    main(prog_name="python -m tools")
