"""`python -m tools.breaks [LAB ...] [--jobs N] [--list] [--only TEXT]`: see the package's docstring."""

import json
import os
import sys

import click

from course import notebooks
from experiments.records import write_whole
from tools.breaks import RECORD, breaks_of, claims_of, faults_of, records
from tools.breaks.execute import cells_of, outcome_kept, run_all


@click.command()
@click.argument("labs", nargs=-1)
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), show_default=True, help="Executions at a time.")
@click.option("--list", "only_list", is_flag=True, help="List the claims and what reddens them; execute nothing.")
@click.option("--missing", is_flag=True, help="Execute only what has no fitting record yet; the rest is kept.")
@click.option("--only", default="", metavar="TEXT", help="Only the breaks whose name holds TEXT; nothing is recorded.")
def main(labs, jobs, only_list, missing, only):
    """Execute LABS (default: all that have breaks) once a break: does each claim go red?

    Keeps what came out in data/measured/breaks.json. The status is 1 when something stays green that must not.
    """
    paths = [notebooks.find_lab(lab) for lab in labs] or [p for p in notebooks.labs() if breaks_of(p.stem[:2])]
    failed = False
    for path in paths:
        number, claims = path.stem[:2], claims_of(path)
        breaks = [one for one in breaks_of(number) if only in one.name]
        if only_list:
            show_list(path.stem, claims, breaks)
            continue
        for one in breaks:
            cells_of(path, one)  # an edit that does not fit is told before anything is executed
        kept = fitting(records().get(number), claims, breaks) if missing else {}
        for one, outcome in measure(path, [one for one in breaks if one.name not in kept], jobs):
            if one is None:
                failed = failed or bool(outcome["red"])
            elif not only:
                kept[one.name] = outcome_kept(one, outcome)
                content = {**records(), number: {"claims": claims, "breaks": kept}}
                write_whole(RECORD, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        for fault in [] if only else faults_of(number, claims, breaks, records().get(number)):
            failed = True
            click.echo(f"{path.stem}: {fault}")
    sys.exit(1 if failed else 0)


def measure(path, breaks, jobs):
    """Execute a lab as it is and once a break; prints and yields each (break or None, outcome) as it ends."""
    for one, outcome in run_all(path, [None, *breaks], jobs):
        red, seconds = outcome["red"], outcome["seconds"]
        click.echo(f"{path.stem}: {one.name if one else 'as it is'} ({seconds:.0f} s): {len(red)} red")
        for statement, measured in red.items():
            mark = "  " if one and one.fits(statement) else " +"  # + also red, though not asked for
            click.echo(f"   {mark} {statement}: {measured}")
        green = [statement for statement in outcome["green"] if one and one.fits(statement)]
        for statement in green:
            click.echo(f"    STAYED GREEN: {statement}")
        for error in outcome["errors"]:
            click.echo(f"    cell failed: {error}")
        yield one, outcome


def fitting(record, claims, breaks):
    """The recorded outcomes, by break, of those that are as they were when recorded and redden all they must."""
    kept = record["breaks"] if record else {}
    due = {one.name: {statement for statement in claims if one.fits(statement)} for one in breaks}
    return {
        one.name: kept[one.name]
        for one in breaks
        if one.name in kept and kept[one.name]["digest"] == one.digest() and due[one.name] <= set(kept[one.name]["red"])
    }


def show_list(name, claims, breaks):
    """Print each claim of a lab with the names of its breaks."""
    for statement, bound in claims.items():
        names = [one.name for one in breaks if one.fits(statement)] or ["NO BREAK"]
        click.echo(f"{name}: {statement} ({bound})\n      {'; '.join(names)}")


if __name__ == "__main__":
    main()
