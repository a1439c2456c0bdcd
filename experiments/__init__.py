"""The papers' tables, measured again under equal conditions: `labkit measure TABLE`, `labkit report TABLE`.

definitions   the tables: losses, datasets, settings to tune over, what is reported
recipe        network, optimizer, augmentation, steps, for each size and dataset; parts, networks: what they are made of
trial         one run: train, measure; ensembling: the same for the ensembles of paper 004
tuning        which runs tune a row, and what they have chosen
store         records: one JSON line a run, and whether it fits the present settings and versions of behavior
golden        short runs whose numbers are kept, which tell when such a version must be raised
runner        which runs are missing, and doing them side by side
report        mean, standard error, significance, what tuning has chosen, published figures
records       what the papers print, and measurements of labs and benchmarks
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not at run time: `labkit --help` need not wait for it
    import torch

__all__ = ["curves", "measured", "show"]


def show(table: str, dataset: str | None = None, size: str | None = None) -> None:
    """Display a measured table in a notebook, beside the published figures, and its figure.

    dataset: one of them, default all with records. size: "full" or "reduced"; default full size where there is any.
    Where nothing was measured yet, it says so.
    """
    from IPython.display import Markdown, display

    from experiments import report
    from labkit import figures

    found = report.results(table, size or report.measured_size(table), dataset)
    if not found:
        display(Markdown(f"*{report.table_named(table).title}: not measured yet*"))
    for result in found:
        display(Markdown(report.markdown(result)))
        if result.values:
            figures.show(report.figure(result), alt=report.in_words(result))


def measured(table: str, dataset: str, metric: str, size: str = "reduced") -> dict[str, torch.Tensor]:
    """What the records say of one metric: {row: (seeds,) float64}, in the order of the seeds.

    Raises ValueError where no row has that metric.
    """
    rows = {row: of[metric] for row, of in _result(table, dataset, size).values.items() if metric in of}
    return _tensors(rows, f"{table}: no record of {metric!r} on {dataset!r} in size {size!r}")


def curves(table: str, dataset: str, metric: str, size: str = "reduced") -> dict[str, torch.Tensor]:
    """The same for a metric that was looked at during the runs: {row: (seeds, looks) float64}."""
    found = _result(table, dataset, size).curves
    rows = {row: {s: c[metric] for s, c in of.items() if metric in c} for row, of in found.items()}
    return _tensors(rows, f"{table}: no curve of {metric!r} on {dataset!r} in size {size!r}")


def _result(table, dataset, size):
    from experiments import report

    return report.results(table, size, dataset)[0]


def _tensors(rows, otherwise):
    rows = {row: [of[seed] for seed in sorted(of)] for row, of in rows.items() if of}
    import torch

    if not rows:
        raise ValueError(otherwise)
    return {row: torch.tensor(values, dtype=torch.float64) for row, values in rows.items()}
