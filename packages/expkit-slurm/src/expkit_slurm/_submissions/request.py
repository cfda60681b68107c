"""What is to be submitted, and how: planned, then recorded and handed to Slurm."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .._cluster.errors import SlurmError
from .._cluster.options import Options, merge_options, sbatch_options
from .._cluster.scheduler import Scheduler
from .._cluster.script import ArrayScript, find_script, read_script, refuse_conflicts
from .conf_files import hash_conf_files
from .layout import CODE
from .placements import Placement, RunKey, run_key
from .plan import SubmissionPlan, plan_submission
from .record import SUBMITTED, Submission, SubmittedRun
from .resources import run_options
from .settings import SubmissionSettings
from .submitting import create_folder, new_submission, submit_arrays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.types import TaskFunction

    from expkit_hydra import Grid, GridRun
    from expkit_hydra.launching import Program

Say = Callable[[str], None]


@dataclass(frozen=True)
class SubmissionRequest:
    """How the runs of a grid are to be submitted.

    `options` hold for all runs. `task_function` is the user's function; None takes the one that
    the grid names. When runs are tried again, `previous` is the submission whose program, script
    and interpreter they get, and `previous_options` is what each of them asked of Slurm; otherwise
    both are None, and each run's configuration says what it asks.
    """

    settings: SubmissionSettings
    options: Options = ()
    task_function: TaskFunction | None = None
    previous: Submission | None = None
    previous_options: Mapping[RunKey, Options] | None = None

    @classmethod
    def to_retry(
        cls,
        runs: Sequence[GridRun],
        placements: Mapping[RunKey, Placement],
        previous: Submission,
        *,
        options: Options,
        changes: Mapping[str, object],
    ) -> SubmissionRequest:
        """Runs as they were submitted before, with some settings and options changed.

        Args:
            runs: The runs that are tried again.
            placements: Where they stand in Slurm.
            previous: The newest submission.
            options: Options of sbatch that all of them get now.
            changes: Settings and resources that all of them get now.

        Raises:
            SlurmError: If a setting or resource is unknown, or its value makes no sense.
        """
        settings, resources = SubmissionSettings.split(changes)
        changed = {key: getattr(settings, key) for key in changes if key not in resources}
        return cls(
            replace(previous.settings, **changed),
            merge_options(sbatch_options(resources), options),
            previous=previous,
            previous_options={
                run_key(run): (
                    placements[run_key(run)].array.options if run_key(run) in placements else ()
                )
                for run in runs
            },
        )


def plan_request(
    request: SubmissionRequest, grid: Grid, runs: Sequence[GridRun], scheduler: Scheduler
) -> SubmissionPlan:
    """What would be submitted.

    Raises:
        SlurmError: If an option or the script cannot be used.
    """
    submitted_runs = [
        SubmittedRun(run.index, run.index in grid.fresh, grid.known.get(run.index, frozenset()))
        for run in runs
    ]
    if request.previous_options is None:
        options = run_options(grid, runs, request.options)
    else:
        options = [
            merge_options(request.previous_options[run_key(run)], request.options) for run in runs
        ]
    script = _script(request)
    for array_options in dict.fromkeys(options):
        refuse_conflicts(script, array_options)
    return plan_submission(
        submitted_runs,
        options,
        script=script,
        settings=request.settings,
        max_array_size=scheduler.max_array_size(),
    )


def submit_plan(
    request: SubmissionRequest, plan: SubmissionPlan, grid: Grid, scheduler: Scheduler, say: Say
) -> Submission:
    """Record and submit what `plan_request` has planned.

    Raises:
        SlurmError: If nothing could be submitted.
    """
    program, pickled = _program(request, grid, say)
    previous = request.previous
    if previous is None:
        from expkit_bookkeeping.launching import code_facts, record_code

        config = grid.config(plan.runs[0].index)
        code = record_code(grid.experiment, code_facts())
        facts: dict[str, Any] = {"code": code, "conf": hash_conf_files(config)}
    else:  # changes are counted from the sweep on, not from the last retry
        facts = {"code": previous.code, "conf": previous.conf}
    submission = new_submission(
        plan,
        experiment=grid.experiment,
        grid_id=grid.grid_id,
        program=program,
        facts=facts,
        python=_python(previous),
    )
    create_folder(submission, plan.runs, pickled=pickled)
    if plan.settings.snapshot == "copy":
        submission = _with_snapshot(submission, program, say)
    say(
        "config: frozen; code: "
        + ("copied (snapshot=copy)" if submission.snapshot else "live (snapshot=none)")
    )
    submission = submit_arrays(
        submission,
        plan.script,
        scheduler=scheduler,
        parallelism=plan.parallelism(),
        say=say,
    )
    _say_accepted(submission, say)
    return submission


def with_pending(
    grid: Grid, runs: Sequence[GridRun], placements: Mapping[RunKey, Placement]
) -> Grid:
    """The grid with these runs pending, and what is known of them now."""
    from expkit_bookkeeping import read_run
    from expkit_hydra.launching import run_version, run_versions

    records = {run.index: read_run(run.folder) for run in runs}
    present = [record for record in records.values() if record is not None]
    versions = dict(run_versions(runs, present))
    fresh = set()
    for run in runs:
        placement, record = placements.get(run_key(run)), records[run.index]
        if placement is None or not placement.fresh:
            continue
        # It was to start over and never started: its folder holds what is older.
        if record is None or run_version(record) in placement.earlier_versions:
            fresh.add(run.index)
            versions[run.index] = versions.get(run.index, frozenset()) | placement.earlier_versions
    return replace(grid, pending=tuple(runs), fresh=frozenset(fresh), known=versions)


def _script(request: SubmissionRequest) -> ArrayScript:
    """The batch script; runs that are tried again get the one that they had, from any folder."""
    previous = request.previous
    if previous is None or request.settings.script != previous.settings.script:
        return find_script(request.settings.script, Path.cwd())
    if Path(previous.script).is_file():
        return read_script(Path(previous.script))
    return find_script(previous.settings.script, Path(previous.directory))


def _python(previous: Submission | None) -> str:
    """The interpreter of the tasks; runs that are tried again get the one that they had."""
    if previous is not None and Path(previous.python).is_file():
        return previous.python
    return sys.executable


def _program(
    request: SubmissionRequest, grid: Grid, say: Say
) -> tuple[Program | None, bytes | None]:
    """What the tasks run: a program by name, or a function as a pickle."""
    from expkit_hydra import GridError
    from expkit_hydra.launching import Program, program_to_start

    if request.previous is not None:
        if request.previous.program is not None:
            return Program.from_record(request.previous.program), None
        from .payload import read_pickle

        return None, read_pickle(request.previous.path)
    if request.task_function is None:
        program = Program.described(grid.description)
        if program is None:
            raise SlurmError(
                f"The grid {grid.grid_id} names no function to run. Give task_function=…"
            )
        return program, None
    try:
        program = program_to_start(request.task_function, say)
        if not grid.needs_pickle:
            return program, None
        why = "The configuration holds objects, or classes that are defined in a function."
    except GridError as error:
        why = str(error)
    say(f"{why} It is pickled for the tasks of this grid, as it is now.")
    from .payload import pickled_task

    return None, pickled_task(request.task_function, grid)


def _with_snapshot(submission: Submission, program: Program | None, say: Say) -> Submission:
    from expkit_bookkeeping.launching import code_facts, record_code

    from .snapshot import copy_sources

    if program is None:
        raise SlurmError(
            "snapshot=copy needs a function that can be imported: this one is pickled as it is."
        )
    snapshot = copy_sources(
        submission.path / CODE,
        script=None if program.script is None else Path(program.script),
        directory=Path(program.directory),
        sys_path=program.path,
    )
    for line in snapshot.describe():
        say(line)
    record_code(submission.experiment, code_facts(snapshot.root))  # tasks have its hashes only
    submission = replace(submission, snapshot=snapshot.to_record())
    submission.write()
    return submission


def _say_accepted(submission: Submission, say: Say) -> None:
    from expkit_hydra.launching import short_path

    total = sum(array.runs for array in submission.arrays)
    accepted = [array for array in submission.arrays if array.state == SUBMITTED]
    runs = sum(array.runs for array in accepted)
    tasks = sum(submission.tasks(array) for array in accepted)
    ids = ", ".join(str(array.job_id) for array in accepted[:8])
    ids += ", …" if len(accepted) > 8 else ""
    packed = f" in {_counted(tasks, 'task')}" if tasks != runs else ""
    submitted = _counted(runs, "run") if runs == total else f"{runs} of {total} runs"
    say(f"submitted {submitted}{packed}: job{'s' if len(accepted) > 1 else ''} {ids}")
    if runs < total:
        say(
            f"{_counted(total - runs, 'run')} unsubmitted; "
            f"`expkit retry {short_path(submission.experiment)}` submits them later."
        )


def _counted(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"
