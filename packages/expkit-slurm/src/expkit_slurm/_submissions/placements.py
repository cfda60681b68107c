"""Where the runs of a grid stand in Slurm: the submission, array and task of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .layout import RUNS
from .record import (
    UNSETTLED,
    Array,
    Submission,
    places_of_array,
    read_runs,
    task_at,
    task_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_hydra import GridRun
    from expkit_hydra.launching import RunVersion


@dataclass(frozen=True)
class Placement:
    """Where a run stands in a submission.

    `fresh` and `earlier_versions` are as in `SubmittedRun`.
    """

    run: GridRun
    submission: Submission
    array: Array
    task_id: int
    fresh: bool
    earlier_versions: frozenset[RunVersion]

    @property
    def task(self) -> str | None:
        """Slurm's name of its task, `1234_7`; None where Slurm has not accepted it."""
        return task_name(self.array, self.task_id)

    @property
    def log(self) -> Path | None:
        """The file to which Slurm writes what its task prints; None where it was not accepted."""
        if self.array.job_id is None:
            return None
        return self.submission.log(self.array.number, self.array.job_id, self.task_id)

    @property
    def is_packed(self) -> bool:
        """Whether other runs share its task."""
        return self.submission.settings.runs_per_task > 1

    def has_ended(self) -> bool:
        """Whether the run has ended, while others that share its task go on."""
        if not self.is_packed:
            return False
        from expkit_bookkeeping import read_run
        from expkit_hydra.launching import run_version

        record = read_run(self.run.folder)
        if record is None or run_version(record) in self.earlier_versions:
            return False
        return record.state in ("completed", "failed")


RunKey = tuple[str, str | None]


def run_key(run: GridRun) -> RunKey:
    """What is equal where two grids have the same run."""
    return run.run_name, run.config_hash


def newest_placements(placements: Iterable[Placement]) -> dict[RunKey, Placement]:
    """Where the runs stand now, each in the newest submission that has it.

    Args:
        placements: Those of the oldest submission first.
    """
    newest: dict[RunKey, Placement] = {}
    for placement in placements:
        key = run_key(placement.run)
        older = newest.get(key)
        # Another process may be submitting: until Slurm has answered it, the older one holds.
        if older is None or older.task is None or placement.array.state not in UNSETTLED:
            newest[key] = placement
    return newest


def all_placements(submissions: Iterable[Submission]) -> Iterator[Placement]:
    """The placements of all runs ever submitted, but for grids that no longer exist.

    Args:
        submissions: The placements have their order.
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
        grid_runs = grids[submission.grid_id]
        for place, submitted in enumerate(read_runs(submission.path)):
            arrays = [part for part in submission.arrays if place in places_of_array(part)]
            if not arrays or submitted.index >= len(grid_runs):
                raise ValueError(
                    f"Line {place + 1} of {submission.path / RUNS} is about run "
                    f"{submitted.index}, which is in no array of submission.json or not in "
                    f"{submission.grid_path}/grid_search.jsonl: one of them is damaged."
                )
            (array, *_) = arrays
            task = task_at(array, place, submission.settings.runs_per_task)
            yield Placement(
                grid_runs[submitted.index],
                submission,
                array,
                task,
                submitted.fresh,
                submitted.earlier_versions,
            )


def job_ids(placements: Iterable[Placement]) -> list[str]:
    """The ids of the array jobs to which these belong, each once."""
    ids = (placement.array.job_id for placement in placements)
    return list(dict.fromkeys(job_id for job_id in ids if job_id is not None))
