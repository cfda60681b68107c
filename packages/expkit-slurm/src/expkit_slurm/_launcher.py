"""The launcher `expkit_slurm`: a grid as array jobs, and the wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ._cluster.errors import SlurmError
from ._cluster.options import RESOURCES, sbatch_options
from ._cluster.script import describe_overrides
from ._manager import SlurmManager
from ._submissions.plan import SubmissionPlan
from ._submissions.sbatch import sbatch_arguments, shown_command
from ._submissions.settings import SETTINGS, SubmissionSettings
from ._submissions.submitting import new_submission
from ._watching.display import ProgressDisplay, failure_line, pending_reasons

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig
    from rich.console import Console

    from expkit_hydra import Grid, GridRun
    from expkit_hydra.launching import ListSweep

    from ._submissions.record import Submission
    from ._watching.status import RunStatus

INTERRUPTED, TERMINATED = 130, 143


def grid_options() -> tuple[str, ...]:
    """The options that are read once for the whole grid; resources are each run's own."""
    return ("wait", *SETTINGS)


def own_settings(values: Mapping[str, object]) -> dict[str, object]:
    """The options without those of other launchers; refused before anything is composed or written.

    Raises:
        GridError: If one makes no sense.
    """
    from expkit_hydra import GridError
    from expkit_hydra.launching import without_others_options

    values = without_others_options("expkit_slurm", (*SETTINGS, *RESOURCES), values)
    try:
        _, resources = SubmissionSettings.split(values)
        sbatch_options(resources)
    except SlurmError as error:
        raise GridError(f"hydra.launcher: {error}") from None
    return values


def explain_grid(grid: Grid, experiment: Path, *, values: Mapping[str, object]) -> list[str]:
    """What a submission would do, for `expkit.dry_run=true`: whole sbatch commands, and the runs.

    Args:
        grid: A grid that is written elsewhere for the occasion.
        experiment: Where it would be.
        values: SubmissionSettings and resources of `hydra.launcher`.
    """
    from expkit_hydra import GridError

    try:
        # At its later path, so that the manager finds what is in the queue already.
        later_grid = replace(grid, path=experiment / "grids" / grid.grid_id)
        plan, queued = _manager(later_grid, values).plan(grid=grid)
        lines = [queued_line(len(queued))] if queued else []
        if not plan.runs:
            return [*lines, "nothing to submit"]
        return [*lines, *_array_lines(plan, grid, experiment)]
    except SlurmError as error:
        raise GridError(str(error)) from None


def _array_lines(plan: SubmissionPlan, grid: Grid, experiment: Path) -> Iterator[str]:
    submission = new_submission(
        plan, experiment=experiment, grid_id=grid.grid_id, program=None, facts={}
    )
    for array, limit in zip(submission.arrays, plan.parallelism(), strict=True):
        runs = plan.runs[array.first : array.first + array.runs]
        names = [grid.runs[run.index].run_name for run in runs]
        yield f"array {array.number}: {array.runs} runs, {names[0]} to {names[-1]}"
        for line in describe_overrides(plan.script, array.options):
            yield f"    {line}"
        yield f"    {shown_command(sbatch_arguments(submission, array, plan.script, limit))}"


def queued_line(number: int) -> str:
    """That this many runs are not submitted again.

    Examples:
        >>> queued_line(1)
        '1 run is in the queue already, and stays there'
    """
    if number == 1:
        return "1 run is in the queue already, and stays there"
    return f"{number} runs are in the queue already, and stay there"


def launch_lists(
    sweep: ListSweep,
    job_overrides: Sequence[Sequence[str]],
    initial_job_idx: int,
    *,
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    values: Mapping[str, object],
    wait: bool = True,
) -> Sequence[JobReturn]:
    """Run the override lists of a sweeper that knows no `Grid`, and wait for them.

    Args:
        sweep: What the lists have in common with those before.
        job_overrides: Overrides of each run.
        initial_job_idx: Number of the first run.
        config: As for `launch_grid`, like the rest.
        hydra_context: As Hydra gives it to launchers.
        task_function: As for `launch_grid`.
        values: As for `launch_grid`.
        wait: As for `launch_grid`.

    Returns:
        One result per list, in their order; that of a failed run raises a RuntimeError when its
        value is read.

    Raises:
        GridError: If `wait` is False, as the sweeper needs the values, or if nothing could be
            submitted.
        SystemExit: With 130 after Ctrl-C and 143 after SIGTERM: the runs have been cancelled.
    """
    from expkit_hydra import GridError
    from expkit_hydra.launching import write_batch

    if not wait:
        raise GridError(
            f"hydra.launcher.wait=false leaves before the runs have ended, and the sweeper "
            f"{config.hydra.sweeper.get('_target_')} needs what they return. Set "
            "hydra.launcher.wait=true, or sweep with hydra/sweeper=expkit and `defaults: "
            "[expkit, …]`."
        )
    if not job_overrides:
        return []
    grid = write_batch(
        sweep,
        job_overrides,
        initial_job_idx,
        config=config,
        hydra_context=hydra_context,
        task_function=task_function,
    )
    return launch_grid(grid, config=config, task_function=task_function, values=values)


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
        One result per pending run, failed for a run that did not complete; none for a run that
        somebody else took, unless a sweeper waits for it; none at all without waiting.

    Raises:
        GridError: If nothing could be submitted.
        SystemExit: With 130 after Ctrl-C and 143 after SIGTERM: the jobs keep running, and how to
            come back has been printed. Where a sweeper waits for what they return, they have been
            cancelled instead.
    """
    from expkit_hydra import GridError
    from expkit_hydra.launching import console, grid_settings

    screen = console()
    settings = grid_settings(config)

    def say(text: str) -> None:
        screen.print(text, markup=False, soft_wrap=True)

    manager: SlurmManager | None = None
    try:
        manager = _manager(grid, values, task_function)
        plan, queued = manager.plan()
        _announce(plan, queued, say)
        submission = manager.submit(
            planned=plan,
            finaliser=not wait and grid.is_last_batch and bool(settings.after),
            say=say,
        )
    except SlurmError as error:
        raise GridError(str(error)) from None
    except KeyboardInterrupt:
        if grid.sweep_id is None or manager is None:
            say("Interrupted during the submission. What Slurm has accepted stays in the queue.")
            _say_how_to_come_back(grid, screen)
        else:
            _cancel(manager, grid, screen)
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
    from expkit_bookkeeping.launching import stop_signals
    from expkit_hydra import GridError
    from expkit_hydra.launching import SiblingVerbs, finish_grid, grid_settings, job_return

    settings = grid_settings(config)
    siblings = SiblingVerbs(grid.experiment, settings.after, is_last_batch=grid.is_last_batch)
    pending = {run.index for run in grid.pending}
    what = "leaves the jobs running" if grid.sweep_id is None else "cancels the runs"
    screen.print(f"waiting; Ctrl-C {what}", style="dim")
    stop: int | None = None
    with stop_signals():
        try:
            with siblings, ProgressDisplay(screen, total=len(pending)) as display:

                def show(statuses: Sequence[RunStatus]) -> None:
                    display.show([status for status in statuses if status.index in pending])

                statuses = manager.wait_for(pending, show=show)
                siblings.runs_ended = True
        except KeyboardInterrupt:
            stop = INTERRUPTED
        except SystemExit:
            stop = TERMINATED
    if stop is not None:
        if grid.sweep_id is not None:
            _cancel(manager, grid, screen)
            raise SystemExit(stop)
        if submission is not None and settings.after:
            manager.finalise_later(submission, say=lambda text: screen.print(text, markup=False))
        _say_how_to_come_back(grid, screen)
        raise SystemExit(stop)
    _show_failures([status for status in statuses if status.is_over], screen)
    if grid.is_last_batch:
        finish_grid(grid, config=config, siblings=siblings)
    elif (failure := siblings.tracking.failure()) is not None:
        screen.print(failure, style="yellow", markup=False)
    if reasons := pending_reasons(statuses):
        if grid.sweep_id is not None:
            _cancel(manager, grid, screen)
        raise GridError("\n".join(reason.text for reason in reasons))
    return [
        job_return(
            grid,
            grid.runs[status.index],
            reason=f"{status.state}: {status.why or 'no reason is known'}",
        )
        for status in statuses
        if status.state != "skipped" or grid.sweep_id is not None
    ]


def _cancel(manager: SlurmManager, grid: Grid, screen: Console) -> None:
    """Cancel a grid's runs: nobody is left to take what they return."""
    try:
        manager.cancel([run.run_name for run in grid.pending])
    except SlurmError as error:
        text = f"The runs may go on, though nobody takes what they return. {error}"
    else:
        text = "cancelled the runs: nobody is left to take what they return"
    screen.print(text, markup=False, soft_wrap=True)


def _manager(
    grid: Grid, values: Mapping[str, object], task_function: TaskFunction | None = None
) -> SlurmManager:
    # The resources are in each run's own configuration.
    settings = {key: value for key, value in values.items() if key in SETTINGS}
    return SlurmManager(grid, task_function=task_function, **settings)  # type: ignore[arg-type]


def _announce(plan: SubmissionPlan, queued: Sequence[GridRun], say: Callable[[str], None]) -> None:
    if queued:
        say(queued_line(len(queued)))
    if not plan.runs:
        return
    script = plan.script
    say("script: " + ("the one of expkit_slurm" if script.is_default else _short(script.path)))
    if script.ending not in ("exec", "srun"):
        say(
            "    its shell stands between Slurm and the run, and takes its signals: scancel kills "
            'the run at once. Write exec "$@" as its last line.'
        )
    lines: dict[str, None] = {}
    for array in plan.arrays:
        lines.update(dict.fromkeys(describe_overrides(script, array.options)))
    for line in lines:
        say(f"    {line}")


def _show_failures(statuses: Sequence[RunStatus], screen: Console) -> None:
    """Each run that did not complete: why, where, and its last lines."""
    from expkit_hydra.launching import MAX_LINES

    failures = [status for status in statuses if not status.is_good]
    first_by_reason: dict[str | None, str] = {}
    for status in failures[:MAX_LINES]:
        screen.print(failure_line(status), style="red", markup=False, soft_wrap=True)
        if status.log is not None:
            screen.print(f"    {_short(status.log)}", style="dim", markup=False, soft_wrap=True)
        first = first_by_reason.setdefault(status.reason, status.run_name)
        if first == status.run_name:  # usually all runs fail for one reason
            for line in status.last_lines:
                screen.print(f"    {line}", markup=False, soft_wrap=True)
    if len(failures) > MAX_LINES:
        screen.print(f"… and {len(failures) - MAX_LINES} more", style="red")


def _say_how_to_come_back(grid: Grid, screen: Console) -> None:
    from expkit_hydra.launching import command_line

    folder = _short(grid.experiment)
    for label, verb in (
        ("wait for the runs", "wait"),
        ("look at them", "status"),
        ("read a run's output", "logs"),
        ("cancel them", "cancel"),
    ):
        arguments = [folder, "RUN"] if verb == "logs" else [folder]
        text = command_line(verb, *arguments)
        screen.print(f"{label:<23}{text}", markup=False, soft_wrap=True)


def _short(path: Path) -> str:
    from expkit_hydra.launching import short_path

    return short_path(path)
