"""The verb `best`: the run with the best value, and the lines of Python that load it."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._console.screen import answered, say
from .answers import DONE, add_experiment, print_json, refuse, verb_parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True)
class BestRun:
    """The run of an experiment whose value is best.

    Attributes:
        record: What run.json says.
        metric: What is compared.
        column: Its column in results.csv, which for a metric may be that of the best values.
        direction: `maximize` or `minimize`.
        value: The run's value.
        step: The step at which it was logged, if it is the best of its run.
        compared: How many completed runs have a value.
        equals: Names of the other runs with the same value.
        unfinished: A run that was not completed and has a better value.
    """

    record: RunRecord
    metric: str
    column: str
    direction: str
    value: float
    step: int | None
    compared: int
    equals: tuple[str, ...] = ()
    unfinished: RunRecord | None = None

    @property
    def label(self) -> str:
        """What the value is."""
        return self.metric if self.column == self.metric else f"best {self.metric}"


def best_parser() -> argparse.ArgumentParser:
    """The arguments of `best`."""
    parser = verb_parser("best", best)
    add_experiment(parser)
    parser.add_argument(
        "--metric", help="a column of results.csv (default: the best expkit.metric)"
    )
    parser.add_argument(
        "--direction",
        choices=DIRECTIONS,
        help="which value is best (default: expkit.direction, for expkit.metric)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


@answered
def best(argv: Sequence[str]) -> int:
    """Name the best completed run of an experiment, and the lines of Python that load it."""
    arguments = best_parser().parse_args(argv)
    from .._console.command_lines import short_path
    from .experiments import find_experiment
    from .overview import look

    try:
        overview = look(find_experiment(arguments.experiment))
        chosen = find_best(
            overview.experiment,
            overview.records,
            metric=arguments.metric or overview.metric,
            direction=arguments.direction,
            watched=(overview.metric, overview.direction),
        )
    except (FileNotFoundError, LookupError, ValueError) as error:
        return refuse(error)
    folder = short_path(chosen.record.folder)
    checkpoint = checkpoint_to_load(chosen.record.folder)
    lines = loading_lines(folder, checkpoint)
    if arguments.json:
        print_json(
            {
                "run": chosen.record.run_name,
                "metric": chosen.metric,
                "column": chosen.column,
                "direction": chosen.direction,
                "value": chosen.value,
                "step": chosen.step,
                "path": folder,
                "checkpoint": checkpoint,
                "python": lines,
            }
        )
        return DONE
    _print(chosen, folder, lines)
    return DONE


def find_best(
    experiment: Path,
    records: Sequence[RunRecord],
    *,
    metric: str | None,
    direction: str | None = None,
    watched: tuple[str | None, str | None] = (None, None),
    at_end: bool = False,
) -> BestRun:
    """The completed run whose value is best; of equal ones the first by name.

    Args:
        experiment: The experiment's folder.
        records: Its runs.
        metric: A column of results.csv; for a metric whose best values are recorded, those count.
        direction: `maximize` or `minimize`; None takes what is recorded.
        watched: The metric of the experiment, and its direction.
        at_end: Compare the last values, also where best ones are recorded.

    Raises:
        LookupError: If no completed run has a value.
        ValueError: If no metric is given, or nothing says which of its values is best.
    """
    from expkit_bookkeeping import result_rows

    rows = result_rows(experiment, records)
    swept = {key for record in records for key in record.swept}
    columns = _numeric_columns(rows, {"attempt", "best_step", *swept})
    if metric is None:
        raise ValueError(
            "expkit.metric is not set, so nothing says which run is best. Name a metric: "
            f"--metric M --direction maximize. {_list('Columns', columns)}"
        )
    column = f"best_{metric}" if f"best_{metric}" in columns and not at_end else metric
    if column not in columns:
        raise LookupError(_unknown(metric, columns))
    direction = direction or _recorded_direction(column, records, watched)
    if direction is None:
        raise ValueError(
            f"Nothing says whether more {metric} is better: add --direction maximize or "
            "--direction minimize."
        )
    runs = [
        (value, record, row)
        for record, row in zip(records, rows, strict=True)
        if isinstance(value := row[column], (int, float)) and value == value
    ]
    completed = [run for run in runs if run[1].state == "completed"]
    if not completed:
        some = f"; {runs[0][1].run_name} is {runs[0][1].state}" if runs else ""
        raise LookupError(f"No completed run of {experiment} has a value of {metric}{some}.")
    choose = max if direction == "maximize" else min
    value, record, row = choose(completed, key=lambda run: run[0])
    leader = choose(runs, key=lambda run: run[0])
    is_best_of_run = any(column == f"best_{(run.best or {}).get('metric')}" for run in records)
    step = row.get("best_step") if is_best_of_run else None
    return BestRun(
        record,
        column.removeprefix("best_") if is_best_of_run else column,
        column,
        direction,
        value,
        int(step) if isinstance(step, (int, float)) else None,
        len(completed),
        tuple(run[1].run_name for run in completed if run[0] == value and run[1] is not record),
        None if leader[0] == value else leader[1],
    )


def checkpoint_to_load(folder: Path) -> str | None:
    """What `load_model` can be given for a run: `best`, `last`, a saved model; None if nothing."""
    from expkit_bookkeeping import find_checkpoints

    states = folder / "states"
    if (states / "best.pt").is_file():
        return "best"
    if find_checkpoints(folder):
        return "last"
    return "model" if (states / "model.pt").is_file() else None


def loading_lines(folder: str, checkpoint: str | None) -> list[str]:
    """The lines of Python that load a run.

    Examples:
        >>> loading_lines("results/digits/training/cnn_1", "best")[1:]
        ["run = Run('results/digits/training/cnn_1')", "run.load_model(model, 'best')"]
    """
    lines = ["from expkit_bookkeeping import Run", f"run = Run({folder!r})"]
    if checkpoint is not None:
        lines.append(f"run.load_model(model, {checkpoint!r})")
    return lines


def _print(chosen: BestRun, folder: str, lines: Sequence[str]) -> None:
    from .._console.texts import run_count, value_text

    record = chosen.record
    at_step = "" if chosen.step is None else f" at step {chosen.step}"
    say(record.run_name)
    count = run_count(chosen.compared)
    say(f"{chosen.label} {value_text(chosen.value)}{at_step} ({chosen.direction}, of {count})")
    say(folder)
    if chosen.equals:
        more = ", …" if len(chosen.equals) > 5 else ""
        say(f"the same value: {', '.join(chosen.equals[:5])}{more}")
    if chosen.unfinished is not None:
        say(f"better, but {chosen.unfinished.state}: {chosen.unfinished.run_name}")
    if len(lines) < 3:
        say("no checkpoint and no model were saved")
    say("")
    for line in lines:
        comment = "  # built as in training, from run.config" if "load_model" in line else ""
        say(line + comment)


def _numeric_columns(rows: Sequence[Mapping[str, object]], others: Collection[str]) -> list[str]:
    names = [name for name in rows[0] if name not in others] if rows else []
    return [name for name in names if any(isinstance(row[name], (int, float)) for row in rows)]


def _recorded_direction(
    column: str, records: Sequence[RunRecord], watched: tuple[str | None, str | None]
) -> str | None:
    metric = column.removeprefix("best_")
    if watched[0] in (metric, column) and watched[1] in DIRECTIONS:
        return watched[1]
    for record in records:
        best = record.best or {}
        if best.get("metric") in (metric, column) and best.get("direction") in DIRECTIONS:
            return str(best["direction"])
    return None


def _unknown(metric: str, columns: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(metric, columns, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"No run has a number called {metric!r}.{hint} {_list('There are', columns)}"


def _list(label: str, names: Sequence[str]) -> str:
    more = ", …" if len(names) > 20 else ""
    return f"{label}: {', '.join(names[:20])}{more}." if names else "No run has any yet."
