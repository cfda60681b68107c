"""How the runs of a grid stand: derived from records and tasks, corrected by the tasks' logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .._cluster.liveness import owner_job
from .._cluster.tasks import Task
from .._submissions.placements import Placement, RunKey, run_key
from .._task.log import read_stop_reason, run_line
from .._task.stopping import retry_advice
from .status import RunFacts, RunStatus, derive_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord
    from expkit_hydra import GridRun

MAX_LINES = 1000  # of a log's end: packed runs have one line each
STOPPED = (130, 143)  # exit codes of a task that was asked to stop


def derive_statuses(
    runs: Sequence[GridRun],
    placements: Mapping[RunKey, Placement],
    records: Mapping[int, RunRecord],
    tasks: Mapping[str, Task],
    *,
    slurm_answers: bool,
) -> list[RunStatus]:
    """How runs of a grid stand, without their logs.

    Args:
        runs: The runs.
        placements: Where they stand in Slurm.
        records: run.json of those that have one, by index.
        tasks: The tasks that Slurm reports, by name.
        slurm_answers: Whether Slurm has answered.
    """
    from expkit_hydra.launching import run_version

    log_names: dict[Path, frozenset[str]] = {}
    statuses = []
    for run in runs:
        record, placement = records.get(run.index), placements.get(run_key(run))
        if placement is None:
            statuses.append(derive_status(RunFacts(run, record)))
            continue
        folder = placement.submission.path
        if folder not in log_names:
            log_names[folder] = placement.submission.log_names()
        is_new = record is not None and run_version(record) not in placement.earlier_versions
        has_log = placement.log is not None and placement.log.name in log_names[folder]
        facts = RunFacts(
            run,
            record,
            earlier_versions=placement.earlier_versions,
            array=placement.array,
            task_id=placement.task_id,
            task=None if placement.task is None else tasks.get(placement.task),
            slurm_answers=slurm_answers,
            has_log=is_new or has_log,
            other_owner=(
                _other_owner(record, placement) if slurm_answers and record is not None else None
            ),
            is_packed=placement.is_packed,
        )
        statuses.append(derive_status(facts))
    return statuses


def is_owned_by(record: RunRecord, placement: Placement | None) -> bool:
    """Whether the task of this placement owns the run."""
    if placement is None or placement.task is None:
        return False
    return owner_job(record) == placement.task


def _other_owner(record: RunRecord, placement: Placement) -> str | None:
    """The process of another task, or outside Slurm, that owns the run; None if there is none."""
    if record.state != "running" or is_owned_by(record, placement):
        return None
    job = owner_job(record)
    return f"process {record.pid} on {record.host}" if job is None else f"job {job}"


def status_from_log(
    status: RunStatus, placement: Placement | None, record: RunRecord | None
) -> RunStatus | None:
    """The status where the log of its task says more; None where it does not.

    Slurm knows only exit codes, and forgets them after some minutes.
    """
    from expkit_hydra.launching import run_version

    if placement is None:
        return None
    is_earlier = record is None or run_version(record) in placement.earlier_versions
    if is_earlier and status.state in ("lost", "skipped") and status.exit_code in (None, 0):
        reason = _skip_reason(placement)
        return None if reason is None else replace(status, state="skipped", reason=reason)
    is_own = record is not None and is_owned_by(record, placement)
    if is_own and status.state == "interrupted" and status.exit_code in (None, *STOPPED):
        reason = read_stop_reason(_end_of_log(placement))
        if reason is not None:
            advice = retry_advice(placement.submission.experiment, reason)
            return replace(status, reason=reason, advice=advice)
    return None


def _skip_reason(placement: Placement) -> str | None:
    """Why its task skipped the run, as the end of its log says; None if it did not."""
    begin = run_line(placement.run.run_name, "skipped", "")
    lines = _end_of_log(placement)
    reasons = [line.removeprefix(begin) for line in lines if line.startswith(begin)]
    return reasons[-1] if reasons else None


def _end_of_log(placement: Placement) -> list[str]:
    from expkit_hydra.launching import last_lines

    return [] if placement.log is None else last_lines(placement.log, MAX_LINES)


def output_file(run: GridRun, placement: Placement | None) -> Path | None:
    """The file that says most of a run: Slurm's log of its task, else what the run printed."""
    from expkit_hydra.launching import CONSOLE_LOG

    console_log = run.folder / CONSOLE_LOG
    task_log = None if placement is None else placement.log
    is_packed = placement is not None and placement.is_packed
    candidates = [console_log, task_log] if is_packed else [task_log, console_log]
    return next((path for path in candidates if path is not None and path.is_file()), None)
