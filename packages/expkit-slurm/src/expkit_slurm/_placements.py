"""Where the runs of a grid stand in Slurm's queues: which submission, array and task has each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._status import job_of
from ._submission import Array, Submission, array_of, read_orders, task_of

if TYPE_CHECKING:
    from expkit_hydra import GridRun
    from expkit_hydra.launching import Version


@dataclass(frozen=True)
class Placement:
    """One run's place: the newest submission that has it."""

    run: GridRun
    submission: Submission
    array: Array
    task_id: int
    known: frozenset[Version]

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

    def has_started(self) -> bool:
        """Whether Slurm has made the log of its task."""
        return self.log is not None and self.log.exists()

    @property
    def is_packed(self) -> bool:
        """Whether other runs share its task."""
        return self.submission.settings.runs_per_task > 1


RunKey = tuple[str, str | None]


def key_of(run: GridRun) -> RunKey:
    """What makes two runs of different grids the same run."""
    return run.run_name, run.config_hash


def find_placements(submissions: Iterable[Submission]) -> dict[RunKey, Placement]:
    """The newest place of each run that was ever submitted.

    Args:
        submissions: The oldest first.
    """
    from expkit_hydra.launching import open_grid

    found: dict[RunKey, Placement] = {}
    grids: dict[str, Sequence[GridRun]] = {}
    for submission in submissions:
        if submission.grid_id is None:
            continue
        if submission.grid_id not in grids:
            grids[submission.grid_id] = list(iter(open_grid(submission.grid_path).runs))
        runs = grids[submission.grid_id]
        for place, order in enumerate(read_orders(submission.path)):
            array = array_of(submission.arrays, place)
            task = task_of(array, place, submission.settings.runs_per_task)
            run = runs[order.run]
            found[key_of(run)] = Placement(run, submission, array, task, order.known)
    return found


def jobs_of(placements: Iterable[Placement]) -> list[str]:
    """The ids of the array jobs in which these runs stand, each once."""
    ids = (each.array.job_id for each in placements)
    return list(dict.fromkeys(job for job in ids if job is not None))
