"""The launcher `expkit_slurm`: a grid as array jobs, and the wait for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ._display import Display
from ._errors import SlurmError
from ._manager import SlurmManager, dry_run, queued_line
from ._script import overridden
from ._settings import SETTINGS
from ._status import RunStatus
from ._submission import Submission
from ._submit import Plan

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig
    from rich.console import Console

    from expkit_hydra import Grid, GridRun

INTERRUPTED, TERMINATED = 130, 143


def check(values: Mapping[str, object]) -> None:
    """Refuse options that make no sense, before anything is composed or written.

    Raises:
        GridError: If one does not.
    """
    from expkit_hydra import GridError

    from ._options import sbatch_options
    from ._settings import SubmissionSettings

    try:
        _, resources = SubmissionSettings.split(values)
        sbatch_options(resources)
    except SlurmError as error:
        raise GridError(f"hydra.launcher: {error}") from None


def explain_grid(grid: Grid, experiment: Path, *, values: Mapping[str, object]) -> list[str]:
    """What a submission would do, for `expkit.dry_run=true`."""
    from expkit_hydra import GridError

    try:
        # Where it would be, so that what is in the queue already is known.
        place = replace(grid, path=experiment / "grids" / grid.grid_id)
        return dry_run(_manager(place, values), grid, experiment)
    except SlurmError as error:
        raise GridError(str(error)) from None


def launch_grid(
    grid: Grid,
    *,
    config: DictConfig,
    task_function: TaskFunction,
    values: Mapping[str, object],
    wait: bool = True,
) -> Sequence[JobReturn]:
    """Submit what is pending in a grid; wait for it, unless told not to.

    Args:
        grid: The grid.
        config: The sweep's base configuration.
        task_function: The user's function.
        values: SubmissionSettings and resources of `hydra.launcher`.
        wait: Whether to stay until all runs are over.

    Returns:
        One result a run, that of one that did not complete failed; none without waiting.

    Raises:
        GridError: If nothing could be submitted.
        SystemExit: With 130 after Ctrl-C and 143 after SIGTERM: the jobs go on, and how to come
            back has been printed.
    """
    from expkit_hydra import GridError
    from expkit_hydra.launching import console, grid_settings

    screen = console()
    chosen = grid_settings(config)

    def say(text: str) -> None:
        screen.print(text, markup=False, soft_wrap=True)

    try:
        manager = _manager(grid, values, task_function)
        planned, queued = manager.plan()
        _announce(planned, queued, say)
        submission = manager.submit(
            planned=planned,
            finaliser=not wait and grid.is_last_batch and bool(chosen.after),
            say=say,
        )
    except SlurmError as error:
        raise GridError(str(error)) from None
    except KeyboardInterrupt:
        say("Interrupted while it was submitted. What Slurm has taken stays in the queue.")
        _say_how_to_come_back(grid, screen)
        raise SystemExit(INTERRUPTED) from None
    if not wait:
        _say_how_to_come_back(grid, screen)
        return []
    return _wait(manager, grid, submission, config=config, screen=screen)


def _wait(
    manager: SlurmManager,
    grid: Grid,
    submission: Submission | None,
    *,
    config: DictConfig,
    screen: Console,
) -> Sequence[JobReturn]:
    from expkit_bookkeeping import stop_signals
    from expkit_hydra.launching import TrackingSync, finish_grid, grid_settings

    chosen = grid_settings(config)
    tracking = TrackingSync(grid.experiment, wanted="sync" in chosen.after)
    pending = {run.index for run in grid.pending}
    screen.print("waiting; Ctrl-C leaves the jobs running", style="dim")
    stop: int | None = None
    with stop_signals():
        try:
            with tracking, Display(screen, total=len(pending)) as display:

                def show(statuses: Sequence[RunStatus]) -> None:
                    tracking.poll()
                    display.show([each for each in statuses if each.index in pending])

                statuses = manager.wait_for(pending, show=show)
        except KeyboardInterrupt:
            stop = INTERRUPTED
        except SystemExit:
            stop = TERMINATED
    if stop is not None:
        if submission is not None and chosen.after:
            manager.finalise_later(submission, say=lambda text: screen.print(text, markup=False))
        _say_how_to_come_back(grid, screen)
        raise SystemExit(stop)
    _show_failures(statuses, screen)
    failure = tracking.failure()
    if grid.is_last_batch:
        done = False if failure is not None else tracking.complete or None
        finish_grid(grid, config=config, synchronised=done)
    if failure is not None:
        screen.print(failure, style="yellow", markup=False)
    return [_job_return(each, grid) for each in statuses]


def _manager(
    grid: Grid, values: Mapping[str, object], task_function: TaskFunction | None = None
) -> SlurmManager:
    # The resources are in each run's own configuration.
    own = {key: value for key, value in values.items() if key in SETTINGS}
    return SlurmManager(grid, task_function=task_function, **own)  # type: ignore[arg-type]


def _announce(planned: Plan, queued: Sequence[GridRun], say: object) -> None:
    assert callable(say)
    if queued:
        say(queued_line(len(queued)))
    if not planned.orders:
        return
    script = planned.script
    say("script: " + ("the one of expkit_slurm" if script.is_default else _shown(script.path)))
    if script.ending not in ("exec", "srun"):
        say(
            "    its shell stands between Slurm and the run, and takes its signals: scancel kills "
            'the run at once. Write exec "$@" as its last line.'
        )
    lines: dict[str, None] = {}
    for array in planned.arrays:
        lines.update(dict.fromkeys(overridden(script, array.options)))
    for line in lines:
        say(f"    {line}")


def _show_failures(statuses: Sequence[RunStatus], screen: Console) -> None:
    """Each run that did not complete: why, where, and its last lines."""
    from expkit_hydra.launching import MAX_LINES

    from ._display import failure_line

    bad = [each for each in statuses if not each.is_good]
    told: dict[str | None, str] = {}
    for each in bad[:MAX_LINES]:
        screen.print(failure_line(each), style="red", markup=False, soft_wrap=True)
        if each.log is not None:
            screen.print(f"    {_shown(each.log)}", style="dim", markup=False, soft_wrap=True)
        first = told.setdefault(each.reason, each.run_name)
        if first == each.run_name:  # mostly it is one reason for all
            for line in each.last_lines:
                screen.print(f"    {line}", markup=False, soft_wrap=True)
    if len(bad) > MAX_LINES:
        screen.print(f"… and {len(bad) - MAX_LINES} more", style="red")


def _say_how_to_come_back(grid: Grid, screen: Console) -> None:
    from expkit_hydra.launching import command_line

    folder = _shown(grid.experiment)
    for label, verb in (
        ("wait for the runs", "wait"),
        ("look at them", "status"),
        ("read a run's output", "logs"),
        ("cancel them", "cancel"),
    ):
        arguments = [folder, "RUN"] if verb == "logs" else [folder]
        text = command_line(verb, *arguments)
        screen.print(f"{label:<23}{text}", markup=False, soft_wrap=True)


def _job_return(status: RunStatus, grid: Grid) -> JobReturn:
    from hydra.core.utils import JobReturn, JobStatus

    from expkit_bookkeeping import read_run

    run = grid.runs[status.index]
    job = JobReturn(overrides=run.overrides)
    if status.is_good:
        record = read_run(run.folder)
        best = None if record is None else record.best
        job.status = JobStatus.COMPLETED
        job.return_value = None if best is None else best.get("value")
    else:
        job.status = JobStatus.FAILED
        job.return_value = SlurmError(f"{status.state}: {status.why or 'no reason is known'}")
    return job


def _shown(path: Path) -> str:
    from expkit_hydra.launching import short_path

    return short_path(path)


def launch(
    job_overrides: Sequence[Sequence[str]],
    initial_job_idx: int,
    *,
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    values: Mapping[str, object],
    wait: bool = True,
) -> Sequence[JobReturn]:
    """Run override lists of a sweeper that knows nothing of a `Grid`, and return what they return.

    Raises:
        GridError: If it is not to wait: the sweeper needs the values. If nothing could be
            submitted.
        SystemExit: With 130 after Ctrl-C and 143 after SIGTERM: the jobs have been cancelled.
    """
    from expkit_hydra import GridError
    from expkit_hydra.launching import console

    from ._jobs import launch_jobs

    if not wait:
        raise GridError(
            f"hydra.launcher.wait=false leaves before the runs have ended, and the sweeper "
            f"{config.hydra.sweeper.get('_target_')} needs what they return. Set "
            "hydra.launcher.wait=true, or sweep with hydra/sweeper=expkit and `defaults: "
            "[expkit, …]`."
        )
    screen = console()
    try:
        ended = launch_jobs(
            job_overrides,
            initial_job_idx,
            config=config,
            hydra_context=hydra_context,
            task_function=task_function,
            values=values,
            screen=screen,
        )
    except SlurmError as error:
        raise GridError(str(error)) from None
    _show_failures(ended.statuses, screen)
    if ended.again:
        screen.print("to run one of them here:", markup=False)
        screen.print(f"    {ended.again}", markup=False, soft_wrap=True)
    return ended.returned
