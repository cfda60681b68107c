"""What differs between experiments, and the means of their groups side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .best import BestRun, find_best
from .means import GroupMeans, collected_warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

    from .overview import Overview

ABSENT = "–"
# The column that says of which experiment a run is, and a key that no configuration can have.
COLUMN, KEY = "experiment", "expkit.experiment"


@dataclass(frozen=True)
class Comparison:
    """What a comparison says.

    Attributes:
        names: Of the experiments.
        overviews: Their runs.
        column: The column of results.csv whose means are compared.
        metric: The metric that it is about.
        bests: The best run of each experiment; None if none has a value.
        differences: By key the values in each experiment, for keys in which they differ.
        groups: Means of the groups of all experiments; the first key says of which one.
        texts: The same means as text.
        complaints: What makes the means doubtful.
    """

    names: Sequence[str]
    overviews: Sequence[Overview]
    column: str
    metric: str
    bests: Sequence[BestRun | None]
    differences: Mapping[str, Sequence[Sequence[object]]]
    groups: Sequence[GroupMeans]
    texts: Sequence[str]
    complaints: Sequence[str]

    @property
    def label(self) -> str:
        """What is compared."""
        return next(best.label for best in self.bests if best is not None)


def compared(
    folders: Sequence[Path], *, metric: str | None = None, direction: str | None = None
) -> Comparison:
    """Compare experiments.

    Args:
        folders: Their folders.
        metric: A column of results.csv; None: the metric of the first experiment that has one.
        direction: See `find_best`.

    Raises:
        FileNotFoundError: If a folder is no experiment.
        ImportError: If pandas is missing.
        LookupError: If no completed run of any experiment has a value.
        ValueError: If an experiment is named twice, or nothing says what is to be compared.
    """
    from .experiments import find_experiment
    from .overview import look

    overviews = [look(find_experiment(folder).absolute()) for folder in folders]
    if len({overview.experiment.resolve() for overview in overviews}) < len(overviews):
        raise ValueError("An experiment is named twice: name each once.")
    bests, problems = _bests(overviews, metric, direction, at_end=False)
    if len({best.column for best in bests if best is not None}) > 1:
        # Some experiments record no best values: the last ones can be compared.
        bests, problems = _bests(overviews, metric, direction, at_end=True)
    chosen = next((best for best in bests if best is not None), None)
    if chosen is None:
        raise problems[0]
    names = _names([overview.experiment for overview in overviews])
    completed = [
        [record for record in overview.records if record.state == "completed"]
        for overview in overviews
    ]
    with collected_warnings() as complaints:
        differences = _differences(
            [runs or part.records for runs, part in zip(completed, overviews, strict=True)]
        )
        groups, texts = _means(names, completed, chosen.column)
    return Comparison(
        names=names,
        overviews=overviews,
        column=chosen.column,
        metric=chosen.metric,
        bests=bests,
        differences=differences,
        groups=groups,
        texts=texts,
        complaints=complaints,
    )


def _bests(
    overviews: Sequence[Overview], metric: str | None, direction: str | None, *, at_end: bool
) -> tuple[list[BestRun | None], list[LookupError]]:
    """The best run of each experiment, and why some have none."""
    watched = [(overview.metric, overview.direction) for overview in overviews]
    metric = metric or next((name for name, _ in watched if name is not None), None)
    whose = next((pair for pair in watched if pair[0] == metric), (None, None))
    bests: list[BestRun | None] = []
    problems = []
    for overview in overviews:
        try:
            best = find_best(
                overview.experiment,
                overview.records,
                metric=metric,
                direction=direction,
                watched=whose,
                at_end=at_end,
            )
        except LookupError as error:
            problems.append(error)
            best = None
        bests.append(best)
    return bests, problems


def _differences(
    records: Sequence[Sequence[RunRecord]],
) -> dict[str, Sequence[Sequence[object]]]:
    """By key the values in each experiment, for keys in which the experiments differ.

    What refers to another key does not differ by itself.
    """
    from expkit_bookkeeping.reading import configuration_differences, swept_values

    everything = [record for runs in records for record in runs]
    values = iter(swept_values(everything))
    by_experiment = [[next(values) for _ in runs] for runs in records]
    swept = dict.fromkeys(key for runs in by_experiment for run in runs for key in run)
    rows: dict[str, list[Sequence[object]]] = {
        key: [_distinct([run.get(key, ABSENT) for run in runs]) for runs in by_experiment]
        for key in swept
    }
    folders = [[record.folder for record in runs] for runs in records]
    # By key its values within an experiment, the first run's first.
    within = [configuration_differences(paths, swept) for paths in folders]
    between = [
        configuration_differences([folders[0][0], paths[0]], swept) if folders[0] and paths else {}
        for paths in folders
    ]
    for key in dict.fromkeys(key for differing in [*between, *within] for key in differing):
        # What is not named as another value is the first run's of the first experiment.
        pairs = [pair[key][0] for pair in between if key in pair]
        inner = [values[key][0] for values in within if key in values]
        common = (pairs or inner)[0]
        rows[key] = [
            within[index].get(key) or (between[index][key][1] if key in between[index] else common,)
            for index in range(len(records))
        ]
    return {key: row for key, row in rows.items() if len({repr(list(part)) for part in row}) > 1}


def _means(
    names: Sequence[str], records: Sequence[Sequence[RunRecord]], column: str
) -> tuple[list[GroupMeans], list[str]]:
    from expkit_bookkeeping import results

    everything = [record for runs in records for record in runs]
    root = Path(os.path.commonpath([record.folder for record in everything]))
    frame = results(root, runs=everything)
    place = COLUMN if COLUMN not in frame.columns else f"{COLUMN} (folder)"
    of_runs = [name for name, runs in zip(names, records, strict=True) for _ in runs]
    frame.insert(0, place, of_runs)
    frame.attrs["swept"] = {KEY: place, **frame.attrs["swept"]}
    table = frame.table(metrics=column, state=None)
    groups = GroupMeans.all_of(table)
    has_value = [group.metrics[column]["n"] > 0 for group in groups]
    texts = [str(text) for text in table.text()[column]]
    return groups, [text if has else ABSENT for text, has in zip(texts, has_value, strict=True)]


def _names(experiments: Sequence[Path]) -> list[str]:
    """The names of experiments, or their paths where those do not tell them apart."""
    from .._console.command_lines import short_path
    from .experiments import experiment_name

    names = [experiment_name(experiment) for experiment in experiments]
    paths = [short_path(experiment) for experiment in experiments]
    return names if len(set(names)) == len(names) else paths


def _distinct(values: Sequence[object]) -> list[object]:
    return list({repr(value): value for value in values}.values())
