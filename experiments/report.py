"""What was measured, as a table: mean ± standard error, beside the published figure, and against cross-entropy.

Everything here comes from the records in data/measured; the datasets themselves are not needed.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from experiments import records, store, trial
from experiments.definitions import BASELINE, DATASETS, PUBLISHED_AS, Table, table_named

X_NAMES = {"margin": "margin", "dim": "dimensions", "weight": "weight λ of the center loss"}


@dataclass(frozen=True)
class Comparison:
    """A row against the baseline on the same seeds: the mean difference, its standard error, and Holm's p."""

    difference: float
    error: float
    p: float | None  # None with fewer than two common seeds, or where all differences are equal
    seeds: int


@dataclass
class Result:
    """A table on one dataset.

    values     {row: {metric: {seed: share}}}, of the finished runs
    failed     {row: how many seeds failed}
    curves     {row: {seed: {"step": [...], metric: [...]}}}
    published  {row: value in the unit of the paper}, and `published_name`, the dataset that the paper names
    against    {row: Comparison} in the first reported metric
    notes      what a reader must know: other versions of the code, machines, missing seeds
    """

    name: str
    size: str
    dataset: str
    values: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)
    curves: dict = field(default_factory=dict)
    published: dict = field(default_factory=dict)
    published_name: str | None = None
    against: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    @property
    def table(self) -> Table:
        return table_named(self.name)

    @property
    def title(self) -> str:
        return f"{self.table.title}. {DATASETS[self.dataset]}, {self.size} size"

    def metrics(self) -> list[str]:
        """The reported metrics that were measured."""
        measured = {metric for of_row in self.values.values() for metric in of_row}
        reported = self.table.reported_unseen if "equal error rate" in measured else self.table.reported
        return [metric for metric in reported if metric in measured]


def results(name: str, size: str, dataset: str | None = None, folder: Path | None = None) -> list[Result]:
    """A Result for each dataset with records, or for the one dataset. Rows without a finished run are left out."""
    table = table_named(name)
    found = {}
    for record in store.read(store.path_of(table.records_of or name, size, folder)):
        if record["row"] in table.rows or record["row"] in {row.tuned_as for row in table.rows.values()}:
            found.setdefault(record["dataset"], []).append(record)
    wanted = [dataset] if dataset else [each for each in DATASETS if each in found]
    return [_result(name, size, each, found.get(each, [])) for each in wanted]


def measured_size(name: str, folder: Path | None = None) -> str:
    """ "full" where a table was measured in that size, else "reduced"."""
    return "full" if store.path_of(table_named(name).records_of or name, "full", folder).exists() else "reduced"


def _result(name, size, dataset, found) -> Result:
    result = Result(name, size, dataset)
    table = result.table
    used = []
    for row in table.rows:
        setting = trial.chosen(table, row, dataset, {store.key(record): record for record in found})
        finals = [r for r in found if (r["row"], r["kind"], r["setting"]) == (row, "final", setting)]
        used += finals
        good = [record for record in finals if "failed" not in record["results"]]
        if len(good) < len(finals):
            result.failed[row] = len(finals) - len(good)
        if good:
            result.curves[row] = {record["seed"]: record["curve"] for record in good}
            result.values[row] = {
                metric: {record["seed"]: record["results"][metric] for record in good} for metric in good[0]["results"]
            }
    if table.published and dataset in PUBLISHED_AS:
        printed = records.published(table.published)
        columns = {column for of_row in printed.values() for column in of_row}
        name = next((each for each in PUBLISHED_AS[dataset] if each in columns), None)
        result.published_name = name
        result.published = {row: printed[row][name] for row in table.rows if name in printed.get(row, {})}
    if result.metrics():
        result.against = against({row: of[result.metrics()[0]] for row, of in result.values.items()}, table.baseline)
    result.notes = _notes(result, used)
    return result


def _notes(result, used) -> list[str]:
    notes = []
    if not used:
        return ["not measured yet"]
    recorded = {item for record in used for item in record["behavior"].items()}
    if changed := {name for name, version in recorded if store.BEHAVIOR.get(name) != version}:
        notes.append(f"measured with another version of {', '.join(sorted(changed))}")
    if any(record["settings"]["recipe"] != used[0]["settings"]["recipe"] for record in used):
        notes.append("measured with recipes that differ: not comparable")
    machines = {f"{record['about']['device']}, torch {record['about']['torch']}" for record in used}
    notes.append(f"measured on: {'; '.join(sorted(machines))}")
    counts = {len(seeds) for of in result.values.values() for seeds in list(of.values())[:1]}
    if (fewest := min(counts, default=5)) < 5:
        notes.append(
            f"{fewest} seed{'s' * (fewest != 1)}: only large differences can be told from chance (5 are better)"
        )
    if result.against:
        notes.append(
            f"vs {result.table.baseline}: difference in {result.metrics()[0]}, percentage points; p of a paired t-test "
            f"over the seeds, corrected for {len(result.against)} rows (Holm)"
        )
    if missing := [row for row in result.table.rows if row not in result.values and row not in result.failed]:
        notes.append(f"not measured yet: {', '.join(missing)}")
    for row, count in result.failed.items():
        notes.append(f"{row}: {count} run{'s' * (count != 1)} failed (the loss was no finite number)")
    return notes


# ---- statistics


def mean_and_error(values) -> tuple[float, float | None]:
    """Mean and standard error of the mean; None for the error of a single value."""
    values = np.asarray(list(values), dtype=float)
    return values.mean(), values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else None


def against(of_rows: dict[str, dict[int, float]], baseline: str = BASELINE) -> dict[str, Comparison]:
    """Each row against the baseline: a paired t-test over the seeds that both have, corrected by Holm's method."""
    from scipy.stats import ttest_rel

    if baseline not in of_rows:
        return {}
    raw = {}
    for row, values in of_rows.items():
        seeds = sorted(values.keys() & of_rows[baseline].keys())
        if row == baseline or not seeds:
            continue
        ours, theirs = ([of[seed] for seed in seeds] for of in (values, of_rows[baseline]))
        differences = np.subtract(ours, theirs)
        mean, error = mean_and_error(differences)
        varies = np.ptp(differences) > 1e-9  # else there is no standard error to compare the mean with
        p = float(ttest_rel(ours, theirs).pvalue) if varies else None
        raw[row] = Comparison(mean, math.nan if error is None else error, p, len(seeds))
    tested = {row: comparison.p for row, comparison in raw.items() if comparison.p is not None}
    corrected = holm(tested)
    return {row: Comparison(each.difference, each.error, corrected.get(row), each.seeds) for row, each in raw.items()}


def holm(p: dict[str, float]) -> dict[str, float]:
    """p-values corrected for how many there are (Holm 1979): the k-th smallest of n times n - k + 1, never falling."""
    corrected, largest = {}, 0.0
    for rank, row in enumerate(sorted(p, key=p.get)):
        largest = max(largest, min(1.0, p[row] * (len(p) - rank)))
        corrected[row] = largest
    return corrected


def steps_to(result: Result, target: float) -> dict[str, list[int | None]]:
    """{row: for every seed the first step at which the table's curve has reached the target, or None}."""
    metric = result.table.curve
    found = {}
    for row, curves in result.curves.items():
        found[row] = [
            next((step for step, value in zip(c["step"], c[metric], strict=True) if value >= target), None)
            for c in curves.values()
        ]
    return found


# ---- as text, Markdown, a figure


def cells(result: Result) -> list[list[str]]:
    """The table as text, the first row its head."""
    metrics, target = result.metrics(), (result.table.target or {}).get(result.dataset)
    head = ["row", "seeds", *(f"{metric}, %" for metric in metrics)]
    head += [f"vs {result.table.baseline}", "p (Holm)"] if result.against else []
    head += [f"steps to {100 * target:g} %"] if target else []
    head += [f"published ({result.published_name})"] if result.published else []
    steps = steps_to(result, target) if target else {}
    lines = [head]
    for row, of_row in result.values.items():
        line = [row, str(len(next(iter(of_row.values()))))]
        line += [_percent(of_row[metric].values()) if metric in of_row else "–" for metric in metrics]
        line += _compared(result.against.get(row)) if result.against else []
        line += [_steps(steps[row])] if target else []
        line += [f"{result.published[row]:g}" if row in result.published else "–"] if result.published else []
        lines.append(line)
    return lines


def _percent(values):
    mean, error = mean_and_error(values)
    return f"{100 * mean:.2f}" + ("" if error is None else f" ± {100 * error:.2f}")


def _compared(comparison):
    if comparison is None:
        return ["–", "–"]
    p = "–" if comparison.p is None else "< 0.001" if comparison.p < 0.001 else f"{comparison.p:.3f}"
    return [f"{100 * comparison.difference:+.2f}", p]


def _steps(found):
    reached = [step for step in found if step is not None]
    if not reached:
        return "not reached"
    return f"{np.mean(reached):.0f}" + ("" if len(reached) == len(found) else f" ({len(reached)} of {len(found)})")


def text(result: Result) -> str:
    """For a terminal."""
    lines = [result.title, ""]
    if result.values:
        rows = cells(result)
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines += ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.append("")
    return "\n".join([*lines, *result.notes])


def markdown(result: Result) -> str:
    """The same for a notebook or a page."""
    lines = [f"**{result.title}**", ""]
    if result.values:
        head, *rows = cells(result)
        lines += [f"| {' | '.join(row)} |" for row in (head, ["---", *["--:"] * (len(head) - 1)], *rows)]
        lines.append("")
    return "\n".join([*lines, "*" + "; ".join(result.notes) + "*"])


def figure(result: Result):
    """A matplotlib Figure: curves over the steps, over the rows' parameter, or bars of the first metric.

    Raises ValueError if nothing was measured.
    """
    from labkit import figures

    if not result.values:
        raise ValueError(f"{result.name}: nothing was measured on {result.dataset} in size {result.size} yet")
    table, metric = result.table, result.metrics()[0]
    if table.x:
        drawn = figures.curves(_over_parameter(result, metric), X_NAMES[table.x], metric, DATASETS[result.dataset])
        drawn.axes[0].set_xscale("linear" if table.x == "margin" else "log")
        return drawn
    lines = {
        row: (next(iter(curves.values()))["step"], [curve[table.curve] for curve in curves.values()])
        for row, curves in result.curves.items()
        if all(table.curve in curve for curve in curves.values())  # on unseen classes other metrics have a curve
    }
    if lines:
        return figures.curves(lines, "training step", table.curve, DATASETS[result.dataset])
    values = {row: list(of_row[metric].values()) for row, of_row in result.values.items() if metric in of_row}
    start = math.floor(20 * min(min(seeds) for seeds in values.values())) / 20
    return figures.bars(values, metric, f"{DATASETS[result.dataset]}\n{result.size} size", start)


def in_words(result: Result) -> str:
    """What the figure shows, for readers who do not see it: the mean of every row."""
    metric = result.metrics()[0]
    means = "; ".join(
        f"{row} {_percent(of_row[metric].values())}" for row, of_row in result.values.items() if metric in of_row
    )
    return f"{metric} in percent, {DATASETS[result.dataset]}, {result.size} size: {means}"


def _over_parameter(result, metric):
    """{family: (x, (seeds, x))}: a family is what stands before the comma in the names of its rows.

    A baseline without the parameter is a level line.
    """
    families = {}
    for row, of_row in result.values.items():
        definition = result.table.rows[row]
        x = definition.dim if result.table.x == "dim" else definition.fixed.get(result.table.x)
        if x is not None:
            families.setdefault(row.split(",")[0], []).append((x, of_row[metric]))
    lines = {}
    for family, points in families.items():
        seeds = sorted(set.intersection(*(set(values) for _, values in points)))
        points.sort(key=lambda point: point[0])
        lines[family] = ([x for x, _ in points], [[values[seed] for _, values in points] for seed in seeds])
    baseline = result.table.baseline
    if baseline in result.values and baseline not in lines:
        every = sorted({x for points in families.values() for x, _ in points})
        lines[baseline] = (every, [[value] * len(every) for value in result.values[baseline][metric].values()])
    return lines
