"""The verb `list`: the experiments in a folder of results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from .._console.screen import answered, console
from .answers import ATTENTION, DONE, print_json, refuse, verb_parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._console.rows import Row
    from .overview import Overview


def list_experiments_parser() -> argparse.ArgumentParser:
    """The arguments of `list`."""
    parser = verb_parser(
        "list",
        list_experiments,
        attention="a run has failed or was interrupted, is lost, or will never start by itself",
    )
    parser.add_argument(
        "results",
        metavar="RESULTS_DIR",
        type=Path,
        nargs="?",
        default=Path("results"),
        help="the folder that holds the experiments (default: results)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


@answered
def list_experiments(argv: Sequence[str]) -> int:
    """List the experiments in a folder of results: runs by state, best run, last activity."""
    arguments = list_experiments_parser().parse_args(argv)
    from .experiments import experiments_in, find_experiment
    from .overview import look

    folder: Path = arguments.results
    experiments = experiments_in(folder)
    if not experiments:
        try:
            experiments = [find_experiment(folder)]
        except FileNotFoundError as error:
            return refuse(error)
    overviews = [look(experiment) for experiment in experiments]
    never = datetime.min.replace(tzinfo=UTC)
    overviews.sort(key=lambda overview: overview.last_activity or never, reverse=True)
    if arguments.json:
        print_json({"experiments": [_facts(overview) for overview in overviews]})
    else:
        _print(overviews, now=datetime.now(UTC))
    return ATTENTION if any(overview.needs_attention for overview in overviews) else DONE


def _facts(overview: Overview) -> dict[str, object]:
    from .._console.command_lines import short_path

    best, activity = _best(overview), overview.last_activity
    return {
        "experiment": overview.name,
        "path": short_path(overview.experiment),
        "states": dict(overview.states),
        "skipped by rule": overview.skipped,
        "metric": overview.metric,
        "direction": overview.direction,
        "best": None
        if best is None
        else {"run": best.run_name, "value": best.best, "step": best.best_step},
        "last_activity": None if activity is None else activity.isoformat(),
        "problem": overview.problem,
    }


def _print(overviews: Sequence[Overview], *, now: datetime) -> None:
    from .._console.layout import Column, fitted_table, print_fitted
    from .._console.texts import age_text, counts_text, value_text

    ages, values, metrics, runs = [], [], [], []
    for overview in overviews:
        activity, best = overview.last_activity, _best(overview)
        ages.append(age_text(None if activity is None else (now - activity).total_seconds()))
        values.append("" if best is None else value_text(best.best))
        metrics.append("" if best is None else overview.metric or "")
        runs.append("" if best is None else best.run_name)
    columns = [
        Column("experiment", [overview.name for overview in overviews]),
        Column(
            "runs",
            [counts_text(row.state for row in overview.rows) or "none" for overview in overviews],
            rank=1,
            is_sentence=True,
            styles=["red" if overview.needs_attention else "" for overview in overviews],
        ),
        Column("best", values, rank=2, is_number=True),
        Column("metric", metrics, rank=3),
        Column("best run", runs, rank=5),
        Column("last activity", ages, rank=4, is_number=True),
        Column("problem", [overview.problem or "" for overview in overviews], 1, False, True),
    ]
    screen = console()
    print_fitted(screen, fitted_table(columns, width=screen.width, elsewhere="see --json"))


def _best(overview: Overview) -> Row | None:
    """The completed run whose metric is best; None if there is none, or no metric."""
    rows = [
        row
        for row in overview.rows
        if row.state == "completed" and row.best is not None and row.best == row.best
    ]
    if overview.metric is None:
        return None
    choose = max if overview.maximize else min
    return choose(rows, key=lambda row: row.best or 0.0, default=None)
