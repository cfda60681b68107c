"""All data of a page, as the page's script reads it."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from .._data.runs import Experiment
from .._data.siblings import reader_of_runs
from .._style.choice import as_style
from .._style.keys import PlotStyle
from .artifacts import budget_of
from .columns import EXPERIMENT, Column, table_columns, table_values
from .configs import page_configs
from .curves import PageCurves
from .details import Details, started_before
from .experiments import ReportedExperiment, read_curves, read_experiments
from .groups import page_groups, swept_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping.reading import RunRecord

    from .._style.choice import StyleLike

NO_CURVES: dict[str, object] = {"steps": [], "metrics": {}}
MOST_FIGURES = 12  # static ones, for print and for readers without scripts
STATES = ("completed", "running", "failed", "interrupted", "lost", "unknown", "pending")


@dataclass(frozen=True, eq=False)
class PageContent:
    """What a page shows.

    Attributes:
        title: The experiments' names.
        experiments: The experiments.
        columns: The columns of the table of runs.
        data: What the script reads at once, for JSON.
        curves: What it reads when a curve is drawn, for JSON.
        figures: Names of metrics, with their figure as an SVG in base64.
        made_at: When the files were read.
    """

    title: str
    experiments: Sequence[ReportedExperiment]
    columns: Sequence[Column]
    data: dict[str, object]
    curves: dict[str, object]
    figures: Sequence[tuple[str, str]]
    made_at: datetime


def page_style(folder: Path, style: StyleLike | None) -> PlotStyle:
    """The style `Default` in the colours of the experiment's figures, or of another style.

    Raises:
        PlottingError: If there is no such style, or it is damaged.
    """
    return replace(PlotStyle.load("Default"), palette=as_style(style, folder).palette)


def page_content(
    folders: Sequence[Path], *, page: Path | None, style: PlotStyle, now: datetime | None = None
) -> PageContent:
    """Read experiments for a page.

    Args:
        folders: Their folders.
        page: The folder that the page will lie in; None: it has no links to files.
        style: Whose palette colours the curves, and in which the static figures are drawn.
        now: The time that the page names; None: now.

    Raises:
        ImportError: If expkit-bookkeeping is missing or too old.
        PlottingError: If a folder is no experiment, or holds no run.
    """
    experiments = read_experiments(folders)
    columns = table_columns(experiments)
    records = [record for part in experiments for record in part.records]
    runs: list[dict[str, object]] = []
    before: list[int | None] = []
    for part in experiments:
        before += started_before(part, len(runs))
        for record, values in zip(part.records, table_values(columns, part), strict=True):
            name = record.run_name if len(experiments) == 1 else f"{part.name}/{record.run_name}"
            runs.append(
                {"id": name, "name": name, "state": record.state,
                 "values": values}
            )  # fmt: skip
    details = Details(page, budget_of(records))
    best = _best(experiments)
    order = sorted(range(len(records)), key=lambda place: (
        place != best, records[place].state != "failed"))  # fmt: skip
    by_place = {place: details.of_run(records[place], before[place]) for place in order}
    curves, figures = _curves(experiments, records, style)
    swept = swept_of(experiments)
    keys = [*([EXPERIMENT] if len(experiments) > 1 else ()), *swept]
    measured = [column.name for column in columns if column.direction or column.kind == "number"
                if column.name not in ("best_step", "seconds", "attempt")]  # fmt: skip
    metric = _metric_column(experiments, measured)
    data: dict[str, object] = {
        "schema": 1,
        "columns": [column.to_json() for column in columns],
        "runs": runs,
        "keys": keys,
        "measured": measured,
        "otherNumbers": [column.name for column in columns
                         if column.name in ("best_step", "seconds", "attempt")],
        "metric": metric,
        "best": best,
        "scatter": {"x": keys[0] if keys else "seconds", "y": metric or "seconds"},
        "groups": page_groups(experiments),
        "curveGroups": [] if curves is None else curves.groups,
        "metrics": {} if curves is None else curves.metrics,
        "configs": page_configs([record.folder for record in records]),
        "details": [by_place[place] for place in range(len(records))],
        "environments": details.environments,
    }  # fmt: skip
    return PageContent(
        title=", ".join(part.name for part in experiments),
        experiments=experiments,
        columns=columns,
        data=data,
        curves=dict(NO_CURVES) if curves is None else curves.curves,
        figures=figures,
        made_at=now or datetime.now(UTC),
    )


def state_counts(experiment: ReportedExperiment) -> list[tuple[str, int]]:
    """How many runs are in each state, those of the grid that were not started included."""
    counts = Counter(record.state for record in experiment.records)
    counts["pending"] = len(experiment.pending)
    return [(state, counts[state]) for state in STATES if counts[state]]


def _curves(
    experiments: Sequence[ReportedExperiment], records: Sequence[RunRecord], style: PlotStyle
) -> tuple[PageCurves | None, list[tuple[str, str]]]:
    experiment = read_curves(experiments)
    if experiment is None or not experiment.metrics:
        return None, []
    places = {record.folder.absolute(): place for place, record in enumerate(records)}
    numbers = {
        run.name: places[run.folder.absolute()]
        for run in experiment.runs
        if run.folder is not None and run.folder.absolute() in places
    }
    curves = PageCurves(experiment, numbers, style)
    figures = [(name, _svg(experiment, name, style)) for name in experiment.metrics[:MOST_FIGURES]]
    return curves, figures


def _svg(experiment: Experiment, metric: str, style: PlotStyle) -> str:
    """The figure of a metric as `PlotMetrics` draws it, in base64."""
    from .._kinds.drawing import draw_figure
    from .._recipes.selection import metric_recipe

    recipe, runs = metric_recipe(experiment, metric)
    figure = draw_figure(recipe, runs, style)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return base64.b64encode(buffer.getvalue()).decode()


def _best(experiments: Sequence[ReportedExperiment]) -> int | None:
    """The place of the best run by the metric of the first experiment that has one."""
    with reader_of_runs():
        from expkit_bookkeeping.reading import metric_outcome

    metric = next((part.metric for part in experiments if part.metric), None)
    direction = next((part.direction for part in experiments if part.metric), None)
    values: list[tuple[float, int]] = []
    place = 0
    for part in experiments:
        for record in part.records:
            value, _ = metric_outcome(record, metric)
            if value is not None and value == value:
                values.append((value, place))
            place += 1
    if not values:
        return None
    choose = min if direction == "minimize" else max
    best = choose(value for value, _ in values)
    return next(number for value, number in values if value == best)


def _metric_column(
    experiments: Sequence[ReportedExperiment], measured: Sequence[str]
) -> str | None:
    for part in experiments:
        for name in (f"best_{part.metric}", part.metric):
            if name in measured:
                return name
    return measured[0] if measured else None
