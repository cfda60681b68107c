"""Where the runs of a grid stand in Slurm's queues: which submission, array and task has each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._status import job_of
from ._submission import UNSETTLED, Array, Submission, array_of, read_orders, task_of
from ._task_log import read_stop, run_line

if TYPE_CHECKING:
    from expkit_hydra import GridRun
    from expkit_hydra.launching import RunVersion

MAX_LINES = 1000  # of a log's end: packed runs have a line each


@dataclass(frozen=True)
class Placement:
    """One run's place in a submission; `fresh` and `known` are as in `expkit_hydra.Grid`."""

    run: GridRun
    submission: Submission
    array: Array
    task_id: int
    fresh: bool
    known: frozenset[RunVersion]

    @property
    def job(self) -> str | None:
        """Slurm's name of its task; None where Slurm has not accepted it."""
        return job_of(self.array, self.task_id)

    @property
    def log(self) -> Path | None:
        """Where Slurm writes what its task prints; None where Slurm has not accepted it."""
        if self.array.job_id is None:
            return None
        return self.submission.log(self.array.number, self.array.job_id, self.task_id)

    def is_done(self) -> bool:
        """Whether the run has ended, while others that share its task go on."""
        if not self.is_packed:
            return False
        from expkit_bookkeeping import read_run
        from expkit_hydra.launching import run_version

        record = read_run(self.run.folder)
        if record is None or run_version(record) in self.known:
            return False
        return record.state in ("completed", "failed")

    def skip_reason(self) -> str | None:
        """Why its task skipped the run, as the end of its log says; None if it did not."""
        begin = run_line(self.run.run_name, "skipped", "")
        told = [line.removeprefix(begin) for line in self._log_end() if line.startswith(begin)]
        return told[-1] if told else None

    def stop_reason(self) -> str | None:
        """Why its task was stopped for good, as the end of its log says; None if it was not."""
        return read_stop(self._log_end())

    def _log_end(self) -> list[str]:
        from expkit_hydra.launching import last_lines

        return [] if self.log is None else last_lines(self.log, MAX_LINES)

    @property
    def is_packed(self) -> bool:
        """Whether other runs share its task."""
        return self.submission.settings.runs_per_task > 1


RunKey = tuple[str, str | None]


def key_of(run: GridRun) -> RunKey:
    """What makes two runs of different grids the same run."""
    return run.run_name, run.config_hash


def newest(places: Iterable[Placement]) -> dict[RunKey, Placement]:
    """Where the runs stand now, each in the newest submission that has it.

    Args:
        places: Those of the oldest submission first.
    """
    found: dict[RunKey, Placement] = {}
    for place in places:
        before = found.get(key_of(place.run))
        # Another process may be at it: until Slurm has answered it, the older place holds.
        if before is None or before.job is None or place.array.state not in UNSETTLED:
            found[key_of(place.run)] = place
    return found


def all_placements(submissions: Iterable[Submission]) -> Iterator[Placement]:
    """The places of all runs that were ever submitted; those of a grid that is gone are left out.

    Args:
        submissions: Their order is that of the places.
    """
    from expkit_hydra.launching import open_grid

    grids: dict[str, Sequence[GridRun]] = {}
    for submission in submissions:
        if submission.grid_id is None:
            continue
        if submission.grid_id not in grids:
            try:
                grids[submission.grid_id] = list(iter(open_grid(submission.grid_path).runs))
            except FileNotFoundError:
                continue
        runs = grids[submission.grid_id]
        for place, order in enumerate(read_orders(submission.path)):
            array = array_of(submission.arrays, place)
            task = task_of(array, place, submission.settings.runs_per_task)
            run = runs[order.run]
            yield Placement(run, submission, array, task, order.fresh, order.known)


def jobs_of(placements: Iterable[Placement]) -> list[str]:
    """The ids of the array jobs in which these runs stand, each once."""
    ids = (each.array.job_id for each in placements)
    return list(dict.fromkeys(job for job in ids if job is not None))
