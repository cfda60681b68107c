"""All runs of an experiment as they are now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .._console.rows import Row, last_sign, row_of, rows_of, with_reports
from .._console.texts import counts_text
from .._grid.contents import sweep_runs
from .._grid.grid import read_grid
from .._grid.schedulers import ask_schedulers
from .experiments import experiment_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

UNFINISHED = ("pending", "running")
GOOD = ("completed", "skipped")


@dataclass(frozen=True)
class Overview:
    """What there is to say about an experiment's runs.

    Attributes:
        experiment: The experiment's folder.
        rows: One for each run, those of the latest grid first.
        records: run.json of the runs that have one.
        skipped: How many runs of the latest grid a rule skips.
        metric: The metric of the latest grid, or the one that all runs call their best.
        direction: `maximize` or `minimize`, of this metric.
        problem: Why the latest grid cannot be read.
    """

    experiment: Path
    rows: Sequence[Row]
    records: Sequence[RunRecord]
    skipped: int = 0
    metric: str | None = None
    direction: str | None = None
    problem: str | None = None

    @property
    def name(self) -> str:
        """The experiment's name."""
        return experiment_name(self.experiment)

    @property
    def maximize(self) -> bool:
        """Whether more of the metric is better."""
        return self.direction != "minimize"

    @property
    def states(self) -> Mapping[str, int]:
        """How many runs are in which state."""
        return Counter(row.state for row in self.rows)

    @property
    def summary(self) -> str:
        """How many runs are in which state, and how many a rule skips, in one line."""
        counts = counts_text(row.state for row in self.rows) or "no runs yet"
        return counts + (f", {self.skipped} skipped by rule" if self.skipped else "")

    @property
    def advice(self) -> Mapping[str, str | None]:
        """What a scheduler's users can do about runs that wait, each with its style."""
        return {row.advice: "red" if row.is_blocked else None for row in self.rows if row.advice}

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens unless somebody acts; False before the first run."""
        return bool(self.rows) and all(
            row.state not in UNFINISHED or row.is_blocked for row in self.rows
        )

    @property
    def needs_attention(self) -> bool:
        """Whether a run has not ended well, or will never start by itself."""
        return any(row.is_blocked or row.state not in UNFINISHED + GOOD for row in self.rows)

    @property
    def last_activity(self) -> datetime | None:
        """The last sign of life of any run; None if none has started."""
        signs = [sign for record in self.records if (sign := last_sign(record)) is not None]
        return max(signs, default=None)


def look(experiment: Path, *, now: datetime | None = None) -> Overview:
    """Look at the runs of an experiment; nothing changes.

    Args:
        experiment: The experiment's folder, as `find_experiment` returns it.
        now: The present time, for tests.
    """
    from expkit_bookkeeping import find_runs

    now = now or datetime.now(UTC)
    view = ask_schedulers(experiment)
    records = find_runs(experiment, is_alive=view.is_alive)
    problem = None
    try:
        grid = read_grid(experiment)
        runs, description = sweep_runs(grid), grid.description
        records = grid.records_of(records)
    except (FileNotFoundError, ValueError) as error:  # the runs can be listed nevertheless
        if isinstance(error, ValueError):
            problem = str(error)
        rows = [row_of(record, now=now) for record in records]
        metric, direction = _watched(records)
        return Overview(experiment, rows, records, 0, metric, direction, problem)
    metric = description.get("metric")
    rows, skipped = rows_of(runs, records, now=now, metric=metric)
    listed = {row.run_name for row in rows}
    others = [record for record in records if record.run_name not in listed]
    rows += [row_of(record, now=now, metric=metric) for record in others]
    rows = with_reports(rows, view.report(runs, records))
    return Overview(experiment, rows, records, skipped, metric, description.get("direction"))


def _watched(records: Sequence[RunRecord]) -> tuple[str | None, str | None]:
    """The metric of which all runs record the best value, and its direction."""
    watched = {
        (str(best.get("metric")), str(best.get("direction")))
        for record in records
        if (best := record.best) and best.get("metric") is not None
    }
    return watched.pop() if len(watched) == 1 else (None, None)
