"""Which setting tuning chooses for a row, by two runs a setting, and what a run's record is found by."""

from dataclasses import dataclass, field

import numpy as np

from experiments import ensembling, store, trial
from experiments.definitions import table_named
from experiments.trial import Job

SEEDS = (1000, 1001)  # no final run has them

# What the runs of a table are: modules with `run`, `settings`, `versions` and `has_recipe`.
KINDS = {"trial": trial, "ensembling": ensembling}


def key(job: Job) -> tuple:
    """What the record of a run is found by: rows of any table that ask for the same run share it."""
    return store.key_of(job.dataset, job.kind, job.seed, KINDS[table_named(job.table).runs].settings(job))


@dataclass(frozen=True)
class Choice:
    """What tuning has chosen for a row.

    setting  the best one, by the mean over the tuning seeds
    level    those that the noise does not tell from it, itself among them: their mean is less than twice the standard
             error of a difference behind, which the spread of the two runs of a setting gives, pooled over the grid
    edges    its parameters whose value is the smallest or the largest in the grid, {name: "smallest" or "largest"}
    """

    setting: int
    level: tuple[int, ...] = (0,)
    edges: dict[str, str] = field(default_factory=dict)


def runs(table: str, size: str, dataset: str, row: str) -> list[list[Job]]:
    """The runs that choose the setting of a row, the two of each setting together; [] where there is one setting."""
    tuned = table_named(table).tuned_as(row)
    count = len(table_named(table).rows[tuned].settings)
    return [
        [Job(table, size, dataset, tuned, "tuning", seed, setting) for seed in SEEDS]
        for setting in range(count if count > 1 else 0)
    ]


def choose(settings: tuple[dict, ...], scores: list[list[float]]) -> Choice:
    """The choice among settings by the scores of their runs; a failed run has the score -1."""
    scores = np.array(scores)
    means, works = scores.mean(axis=1), (scores >= 0).all(axis=1)
    best = int(means.argmax())
    error = scores[works].std(axis=1, ddof=1) if works.any() else np.zeros(1)
    behind = 2 * np.sqrt((error**2).mean() * 2 / scores.shape[1])
    level = tuple(n for n in range(len(means)) if n == best or (works[n] and means[best] - means[n] < behind))
    edges = {}
    for name, value in settings[best].items():
        values = [each[name] for each in settings if name in each]
        if min(values) < max(values) and value in (min(values), max(values)):
            edges[name] = "smallest" if value == min(values) else "largest"
    return Choice(best, level, edges)


def chosen(table: str, size: str, dataset: str, row: str, records: dict) -> Choice | None:
    """What tuning has chosen for a row; None until all its records are there. records: {store.key(record): record}.

    A row that is not tuned has one setting, 0.
    """
    asked = runs(table, size, dataset, row)
    if not asked:
        return Choice(0)
    found = [[records.get(key(job)) for job in of_setting] for of_setting in asked]
    if not all(map(all, found)):
        return None
    definition = table_named(table)
    unseen = not any("closest accuracy" in record["results"] for of_setting in found for record in of_setting)
    metric = definition.deciding(dataset, unseen)
    scores = [[record["results"].get(metric, -1.0) for record in of_setting] for of_setting in found]
    return choose(definition.rows[definition.tuned_as(row)].settings, scores)
