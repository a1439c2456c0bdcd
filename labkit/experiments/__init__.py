"""The papers' tables, measured again under equal conditions: `labkit measure TABLE`, `labkit report TABLE`.

definitions   the tables: losses, datasets, settings to tune over, what is reported
recipe        network, optimizer, augmentation, steps, for each size and dataset; parts: what they are made of
trial         one run: train, measure
store         records: one JSON line a run, and whether it fits the present settings and code
runner        which runs are missing, and doing them side by side
report        mean, standard error, significance, published figures
"""

__all__ = ["show"]


def show(table: str, dataset: str | None = None, size: str | None = None) -> None:
    """Display a measured table in a notebook, beside the published figures; "not measured yet" where that is so.

    dataset: one of them, default all with records. size: "full" or "reduced"; default full size where there is any.
    """
    from IPython.display import Markdown, display

    from labkit.experiments import report

    sizes = [size] if size else ["full", "reduced"]
    found = [each for each in (report.results(table, s, dataset) for s in sizes) if any(r.values for r in each)]
    if found:
        display(Markdown("\n\n".join(map(report.markdown, found[0]))))
    else:
        display(Markdown(f"*{report.table_named(table).title}: not measured yet*"))
