"""Looking at the runs of a grid: the files of the experiment, and one question to Slurm a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ._errors import SlurmError
from ._liveness import QueueLiveness, slurm_name
from ._placements import Placement, RunKey, all_placements, jobs_of, key_of, newest
from ._queue import Phase, Task, phase
from ._scheduler import Scheduler
from ._status import Facts, RunStatus, derive, tasks_by_name
from ._stopping import how_to_go_on
from ._submission import Submission, find_submissions
from ._submit import recover

if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord
    from expkit_hydra import Grid, GridRun

TAIL_LINES = 5
STOPPED = (130, 143)  # exit codes of a task that was asked to stop


class Looks:
    """Looks at the runs of a grid, one after another.

    What cannot change any more, and what was read from files that have not changed, is kept.

    Args:
        grid: The grid.
        scheduler: Runs Slurm's commands.
        only: A submission to which the looks are restricted.
    """

    def __init__(self, grid: Grid, scheduler: Scheduler, *, only: str | None = None) -> None:
        self._grid = grid
        self._scheduler = scheduler
        self._only = only
        self._final: dict[int, RunStatus] = {}
        self._placed: tuple[list[Submission], list[Placement]] | None = None

    def submissions(self) -> list[Submission]:
        """The submissions of the experiment, the oldest first, interrupted ones recovered."""
        found = find_submissions(self._grid.experiment)
        if self._only is not None:
            found = [each for each in found if each.id == self._only]
        return [recover(each, self._scheduler) for each in found]

    def placements(self) -> dict[RunKey, Placement]:
        """Where the runs stand now, each in the newest submission that has it."""
        return newest(self.all_placements())

    def all_placements(self) -> list[Placement]:
        """All places of the experiment's runs; read anew where a submission's record has changed.

        Raises:
            SlurmError: If Slurm does not answer about an interrupted submission, at the first look.
        """
        try:
            submissions = self.submissions()
        except SlurmError:
            if self._placed is None:
                raise
            return self._placed[1]
        if self._placed is None or self._placed[0] != submissions:
            self._placed = submissions, list(all_placements(submissions))
        return self._placed[1]

    def look(self, *, accounting: bool = False) -> list[RunStatus]:
        """How each run of the grid is now, in the grid's order; asks the queue once.

        Args:
            accounting: Whether to ask sacct about tasks that the queue has forgotten.
        """
        placements = self.placements()
        runs = [run for run in self._grid.runs if run.skipped_by is None]
        open_runs = [run for run in runs if run.index not in self._final]
        open_jobs = jobs_of(
            placements[key_of(run)] for run in open_runs if key_of(run) in placements
        )
        told = self._scheduler.queue(open_jobs) if open_jobs else []
        tasks = dict(tasks_by_name(told or []))
        records = self._records(open_runs, placements, tasks)
        statuses = derive_all(open_runs, placements, records, tasks, asked=told is not None)
        if accounting and any(_unexplained(each) for each in statuses):
            jobs = {str(each.job).partition("_")[0] for each in statuses if _unexplained(each)}
            known = self._scheduler.accounting(sorted(jobs))
            if known:
                tasks = {**tasks_by_name(known), **tasks}
                statuses = derive_all(open_runs, placements, records, tasks, asked=True)
        now = {}
        for each in statuses:
            place = placements.get(key_of(self._grid.runs[each.index]))
            told_by_log = as_its_log_says(each, place, records.get(each.index))
            now[each.index] = told_by_log or each
            is_skipped = told_by_log is not None and told_by_log.state == "skipped"
            if is_skipped or each.state == "completed":  # nothing changes that any more
                self._final[each.index] = now[each.index]
        return [now.get(run.index) or self._final[run.index] for run in runs]

    def _records(
        self,
        runs: Sequence[GridRun],
        placements: Mapping[RunKey, Placement],
        tasks: Mapping[str, Task],
    ) -> dict[int, RunRecord]:
        """run.json of each run that can have changed; the owner's life is asked of Slurm."""
        from expkit_bookkeeping import read_run

        alive = QueueLiveness(tasks, self._scheduler)
        found = {}
        for run in runs:
            place = placements.get(key_of(run))
            task = tasks.get(place.job) if place is not None and place.job is not None else None
            if task is not None and phase(task.state) is Phase.PENDING and not task.restarts:
                continue  # has never started: nothing to read
            record = read_run(run.folder)
            if record is None:
                continue
            is_others = record.state == "running" and not _is_own(record, place)
            if is_others and alive(record) is False:
                record = replace(record, state="lost")
            found[run.index] = record
        return found

    def with_logs(self, statuses: Sequence[RunStatus]) -> list[RunStatus]:
        """The same with the files of their output, and the end of those that did not complete."""
        from expkit_hydra.launching import last_lines

        placements = self.placements()
        found = []
        for each in statuses:
            run = self._grid.runs[each.index]
            path = _log_of(run, placements.get(key_of(run)))
            lines = () if path is None or each.is_good else tuple(last_lines(path, TAIL_LINES))
            found.append(replace(each, log=path, last_lines=lines))
        return found


def derive_all(
    runs: Sequence[GridRun],
    placements: Mapping[RunKey, Placement],
    records: Mapping[int, RunRecord],
    tasks: Mapping[str, Task],
    *,
    asked: bool,
) -> list[RunStatus]:
    """How runs of a grid are now, without their logs.

    Args:
        runs: The runs.
        placements: Where they stand in the queues.
        records: run.json of those that have one, by number.
        tasks: What Slurm says, by name of the task.
        asked: Whether Slurm has answered.
    """
    from expkit_hydra.launching import run_version

    logs: dict[Path, frozenset[str]] = {}
    statuses = []
    for run in runs:
        record, place = records.get(run.index), placements.get(key_of(run))
        if place is None:
            statuses.append(derive(Facts(run, record)))
            continue
        folder = place.submission.path
        if folder not in logs:
            logs[folder] = place.submission.log_names()
        is_new = record is not None and run_version(record) not in place.known
        facts = Facts(
            run,
            record,
            known=place.known,
            array=place.array,
            task_id=place.task_id,
            task=None if place.job is None else tasks.get(place.job),
            asked=asked,
            has_log=is_new or (place.log is not None and place.log.name in logs[folder]),
            elsewhere=_elsewhere(record, place) if asked and record is not None else None,
            is_packed=place.is_packed,
        )
        statuses.append(derive(facts))
    return statuses


def _is_own(record: RunRecord, place: Placement | None) -> bool:
    """Whether the task at this place owns the run."""
    return place is not None and place.job is not None and slurm_name(record) == place.job


def _elsewhere(record: RunRecord, place: Placement) -> str | None:
    """Who else runs it, as far as anybody can tell; None for nobody."""
    if record.state != "running" or _is_own(record, place):
        return None
    job = slurm_name(record)
    return f"process {record.pid} on {record.host}" if job is None else f"job {job}"


def as_its_log_says(
    status: RunStatus, place: Placement | None, record: RunRecord | None
) -> RunStatus | None:
    """The status where the log of its task knows better; None where it does not.

    Slurm knows only exit codes, and forgets them after some minutes.
    """
    from expkit_hydra.launching import run_version

    if place is None:
        return None
    is_known = record is None or run_version(record) in place.known
    if is_known and status.state in ("lost", "skipped") and status.exit_code in (None, 0):
        reason = place.skip_reason()
        return None if reason is None else replace(status, state="skipped", reason=reason)
    is_own = record is not None and _is_own(record, place)
    if is_own and status.state == "interrupted" and status.exit_code in (None, *STOPPED):
        reason = place.stop_reason()
        if reason is not None:
            advice = how_to_go_on(place.submission.experiment)
            return replace(status, reason=reason, advice=advice)
    return None


def _log_of(run: GridRun, place: Placement | None) -> Path | None:
    """The log that says most of a run: Slurm's own of its task, else what the run printed."""
    from expkit_hydra.launching import CONSOLE_LOG

    printed = run.folder / CONSOLE_LOG
    own = None if place is None else place.log
    candidates = [printed, own] if place is not None and place.is_packed else [own, printed]
    return next((path for path in candidates if path is not None and path.is_file()), None)


def _unexplained(status: RunStatus) -> bool:
    return (
        status.job is not None
        and status.state in ("lost", "skipped")
        and (status.exit_code is None)
    )
