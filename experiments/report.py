"""What was measured, as a table: mean ± standard error, beside the published figure, and against cross-entropy.

Everything here comes from the records in data/measured; the datasets themselves are not needed.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from experiments import records, store, tuning
from experiments.definitions import DATASETS, IMAGES, PUBLISHED_AS, Table, seeds, table_named
from experiments.trial import Job

X_NAMES = {"margin": "margin", "dim": "dimensions", "weight": "weight λ of the center loss"}


@dataclass(frozen=True)
class Comparison:
    """A row against another on the same seeds: the mean difference, its standard error, and Holm's p."""

    difference: float
    error: float
    p: float | None  # None with fewer than two common seeds, or where all differences are equal
    seeds: int


@dataclass
class Result:
    """A table on one dataset.

    edition    of the protocol by which it was measured: 2, or 1 where the second is not whole yet
    values     {row: {metric: {seed: share}}}, of the finished runs
    failed     {row: how many seeds failed}
    curves     {row: {seed: {"step": [...], metric: [...]}}}
    published  {row: value in the unit of the paper}, and `published_name`, the dataset that the paper names
    parameters {row: what stands on the horizontal axis of the figure}
    choices    {row: what tuning has chosen (tuning.Choice)}
    against    {row: Comparison} with the baseline in the deciding metric; pairs: {(row, other): Comparison}
    notes      what a reader must know: other versions of the code, machines, missing seeds
    """

    name: str
    size: str
    dataset: str
    edition: int = 2
    values: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)
    curves: dict = field(default_factory=dict)
    published: dict = field(default_factory=dict)
    published_name: str | None = None
    parameters: dict = field(default_factory=dict)
    choices: dict = field(default_factory=dict)
    against: dict = field(default_factory=dict)
    pairs: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    @property
    def table(self) -> Table:
        return table_named(self.name)

    @property
    def title(self) -> str:
        return f"{self.table.title}. {DATASETS[self.dataset]}, {self.size} size"

    def metrics(self) -> list[str]:
        """The reported metrics that were measured, the deciding one first."""
        measured = {metric for of_row in self.values.values() for metric in of_row}
        unseen = "equal error rate" in measured
        first = self.table.deciding(self.dataset, unseen)
        reported = self.table.reported_unseen if unseen else self.table.reported
        return [metric for metric in dict.fromkeys((first, *reported)) if metric in measured]


def results(name: str, size: str, dataset: str | None = None, folder: Path | None = None) -> list[Result]:
    """A Result for each dataset with records, or for the one dataset. Rows without a finished run are left out.

    Where the second edition of a table is not whole and there is a first one, it is the first one that is shown.
    """
    table = table_named(name)
    found = {store.key(record): record for record in store.read(store.path_of(table.file(name), size, folder))}
    first = store.read(store.path_of(table.first, size, folder)) if table.first else []
    own = [each for each in found.values() if each["table"] == name or each["dataset"] in table.datasets]
    there = {record["dataset"] for record in [*own, *first]}
    shown = []
    for each in [dataset] if dataset else [each for each in DATASETS if each in there]:
        result = _second(name, size, each, found)
        whole = all(len(result.curves.get(row, ())) + result.failed.get(row, 0) >= seeds(each) for row in table.rows)
        earlier = [] if whole else [record for record in first if record["dataset"] == each]
        if earlier:
            result = _first(name, size, each, earlier)
        if dataset or result.values or result.failed:
            shown.append(result)
    return shown


def measured_size(name: str, folder: Path | None = None) -> str:
    """ "full" where a table was measured in that size, else "reduced"."""
    return "full" if results(name, "full", folder=folder) else "reduced"


def _second(name, size, dataset, found) -> Result:
    result, finals, of_setting = Result(name, size, dataset), {}, {}
    for record in sorted(found.values(), key=lambda record: record["seed"]):
        of_setting.setdefault(store.key(record | {"seed": None}), []).append(record)
    for row in result.table.rows:
        chosen = tuning.chosen(name, size, dataset, row, found)
        if chosen is not None:
            result.choices[row] = chosen
            asked = Job(name, size, dataset, row, "final", None, chosen.setting)
            finals[row] = of_setting.get(tuning.key(asked), [])
    return _filled(result, finals)


def _first(name, size, dataset, found) -> Result:
    """The table as the first edition of the protocol has it: each row's final runs."""
    result, finals = Result(name, size, dataset, edition=1), {}
    for record in found:
        if record["kind"] == "final" and (record["row"] in result.table.rows or record["table"] == name):
            finals.setdefault(record["row"], []).append(record)
    return _filled(result, finals)


def _filled(result, finals) -> Result:
    table, dataset = result.table, result.dataset
    for row, of_row in finals.items():
        good = [record for record in of_row if "failed" not in record["results"]]
        if len(good) < len(of_row):
            result.failed[row] = len(of_row) - len(good)
        if good:
            result.curves[row] = {record["seed"]: record["curve"] for record in good}
            result.values[row] = {
                metric: {record["seed"]: record["results"][metric] for record in good} for metric in good[0]["results"]
            }
            settings = good[0]["settings"]
            result.parameters[row] = {**settings, **settings.get("parameters", {})}.get(table.x)
    if table.published and dataset in PUBLISHED_AS:
        printed = records.published(table.published)
        columns = {column for of_row in printed.values() for column in of_row}
        name = next((each for each in PUBLISHED_AS[dataset] if each in columns), None)
        result.published_name = name
        result.published = {row: printed[row][name] for row in table.rows if name in printed.get(row, {})}
    if result.metrics():
        of_rows = {row: of[result.metrics()[0]] for row, of in result.values.items() if result.metrics()[0] in of}
        others = [(row, table.baseline) for row in of_rows if row != table.baseline]
        result.against = {row: each for (row, _), each in compared(of_rows, others).items()}
        result.pairs = compared(of_rows, table.pairs)
    result.notes = _notes(result, [record for of_row in finals.values() for record in of_row])
    return result


def _notes(result, used) -> list[str]:
    if not used:
        return ["not measured yet"]
    notes, table, metrics = [], result.table, result.metrics()
    if table.first:
        notes.append(f"edition {result.edition} of the protocol (experiments/README.md)")
    if table.is_easy(result.dataset):
        notes.append("the easy case, near its ceiling: no conclusion rests on it")
    recorded = {item for record in used for item in record["behavior"].items()}
    if changed := {name for name, version in recorded if store.BEHAVIOR.get(name) != version}:
        notes.append(f"measured with another version of {', '.join(sorted(changed))}")
    machines = {f"{record['about']['device']}, torch {record['about']['torch']}" for record in used}
    notes.append(f"measured on: {'; '.join(sorted(machines))}")
    if result.dataset in IMAGES and table.runs == "trial":
        notes += _of_images(result, used)
    counts = {len(of_row) for curves in result.values.values() for of_row in list(curves.values())[:1]}
    if (fewest := min(counts, default=5)) < 5:
        notes.append(
            f"{fewest} seed{'s' * (fewest != 1)}: only large differences can be told from chance (5 are better)"
        )
    if result.against:
        notes.append(
            f"vs {table.baseline}: difference in {metrics[0]}, percentage points; p of a paired t-test over the seeds, "
            f"corrected for {len(result.against)} rows (Holm)"
        )
    if result.pairs:
        tested = [f"{row} − {other} {' p '.join(_compared(each))}" for (row, other), each in result.pairs.items()]
        notes.append(f"pairs, in the same way, corrected for {len(tested)}: {', '.join(tested)}")
    if missing := [row for row in table.rows if row not in result.values and row not in result.failed]:
        if result.edition == 2:
            notes.append(f"not measured yet: {', '.join(missing)}")
    for row, count in result.failed.items():
        notes.append(f"{row}: {count} run{'s' * (count != 1)} failed (the loss was no finite number)")
    return notes


def _of_images(result, used) -> list[str]:
    """How often training saw its images, and what the choice of test images adds to the uncertainty."""
    train, test = IMAGES[result.dataset]
    epochs = set()
    for record in used:
        settings = record["settings"]
        batch = math.prod(settings["recipe"]["batches"].values())
        epochs.add(f"{math.prod(settings['steps']) * batch / train:.1f}")
    notes = [f"epochs seen: {' or '.join(sorted(epochs, key=float))}"]
    if result.values:
        mean = np.mean([np.mean(list(of[result.metrics()[0]].values())) for of in result.values.values()])
        error = 100 * math.sqrt(max(mean * (1 - mean), 0) / test)
        notes.append(
            f"± is of the seeds; another {test} test images would move all rows by about {error:.2g} points more"
        )
    return notes


def chosen(result: Result) -> list[str]:
    """What tuning has chosen for each row, and how surely."""
    lines = []
    for row, choice in result.choices.items():
        definition = result.table.rows[row]
        if len(definition.settings) == 1 or definition.tuned_as not in (None, row):
            continue
        told = [f"{name.replace('_', ' ')} {value:g}" for name, value in definition.settings[choice.setting].items()]
        level = f", one of {len(choice.level)} within the noise" if len(choice.level) > 1 else ""
        edge = f", {' and '.join(f'{each} {name}' for name, each in choice.edges.items())} of its grid"
        lines.append(
            f"{row}: {', '.join(told)} ({len(definition.settings)} tried{level}{edge if choice.edges else ''})"
        )
    return [f"Settings chosen on validation, by {' and '.join(result.metrics()[:1])}", *lines] if lines else []


# ---- statistics


def mean_and_error(values) -> tuple[float, float | None]:
    """Mean and standard error of the mean; None for the error of a single value."""
    values = np.asarray(list(values), dtype=float)
    return values.mean(), values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else None


def compared(of_rows: dict[str, dict[int, float]], pairs) -> dict[tuple[str, str], Comparison]:
    """Rows against others: a paired t-test over the seeds that both have, corrected by Holm's method over the pairs."""
    from scipy.stats import ttest_rel

    raw = {}
    for row, other in pairs:
        seeds = sorted(of_rows.get(row, {}).keys() & of_rows.get(other, {}).keys())
        if not seeds:
            continue
        ours, theirs = ([of_rows[each][seed] for seed in seeds] for each in (row, other))
        differences = np.subtract(ours, theirs)
        mean, error = mean_and_error(differences)
        varies = np.ptp(differences) > 1e-9  # else there is no standard error to compare the mean with
        p = float(ttest_rel(ours, theirs).pvalue) if varies else None
        raw[row, other] = Comparison(mean, math.nan if error is None else error, p, len(seeds))
    corrected = holm({pair: comparison.p for pair, comparison in raw.items() if comparison.p is not None})
    return {
        pair: Comparison(each.difference, each.error, corrected.get(pair), each.seeds) for pair, each in raw.items()
    }


def holm(p: dict) -> dict:
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
    return "\n".join([*lines, *result.notes, *chosen(result)])


def markdown(result: Result) -> str:
    """The same for a notebook or a page."""
    lines = [f"**{result.title}**", ""]
    if result.values:
        head, *rows = cells(result)
        lines += [f"| {' | '.join(row)} |" for row in (head, ["---", *["--:"] * (len(head) - 1)], *rows)]
        lines.append("")
    lines.append("*" + "; ".join(result.notes) + "*")
    if told := chosen(result):
        lines += [
            "",
            f"<details><summary>{told[0]}</summary>",
            "",
            *(f"- {each}" for each in told[1:]),
            "",
            "</details>",
        ]
    return "\n".join(lines)


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
        x = result.parameters[row]
        if x is not None and "," in row:
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
