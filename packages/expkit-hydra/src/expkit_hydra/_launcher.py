"""The launcher `expkit`: the runs of a grid on this machine, and a readable console."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace

from expkit_bookkeeping.launching import typed_arguments

from ._after.finishing import finish_grid
from ._after.sibling_verbs import SiblingVerbs
from ._composing.errors import GridError
from ._composing.global_state import current_config
from ._console.command_lines import command_line, recordable, short_path
from ._console.screen import tolerant_console
from ._console.sweep_report import announce, report_outcome, runs_of_others, say_how_to_resume
from ._grid.contents import has_tree
from ._grid.settings import grid_settings
from ._grid.writing import write_grid
from ._program.program import describe_task
from ._running.execution import RunOutcome, execute_run
from ._running.gpus import GpuDivision, divide_gpus, visible_gpus
from ._running.hydra_run import hide_in_multirun
from ._running.job_returns import job_return
from ._running.lifetime import INTERRUPTED, TERMINATED
from ._running.output import StreamOutput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig
    from rich.console import Console

    from ._drafting.override_lists import ListSweep
    from ._grid.grid import Grid
    from ._grid.run import GridRun


def check_n_jobs(n_jobs: int) -> None:
    """Refuse a number of processes that makes no sense.

    Raises:
        GridError: If it is not a positive whole number.
    """
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs < 1:
        raise GridError(
            f"hydra.launcher.n_jobs={n_jobs!r} must be a whole number of processes, 1 or more; "
            "1 runs in the sweep's own process."
        )


def write_batch(
    sweep: ListSweep,
    job_overrides: Sequence[Sequence[str]],
    initial_job_idx: int,
    *,
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
) -> Grid:
    """Make a grid of the override lists of a sweeper that knows none.

    Args:
        sweep: What the lists have in common with those before.
        job_overrides: Overrides of each run.
        initial_job_idx: Number of the first run.
        config: The sweep's base configuration.
        hydra_context: As Hydra gives it to launchers.
        task_function: The user's function.

    Raises:
        GridError: If the grid cannot be written.
        ConfigCompositionException: If Hydra refuses a list.
    """
    from hydra.core.utils import setup_globals

    setup_globals()
    draft = sweep.draft(
        job_overrides,
        initial_job_idx,
        config=config,
        loader=hydra_context.config_loader,
        task=describe_task(task_function),
        command=recordable(typed_arguments()),
    )
    with current_config(config):
        hide_in_multirun(config)
    try:
        grid = write_grid(
            draft.experiment, draft.runs, draft.frozen, draft.description, pending=draft.runs
        )
    except OSError as error:
        raise GridError(
            f"The grid cannot be written into {draft.experiment}: {error}. Nothing has been "
            f"started. Choose another folder with {draft.folder_key}=…"
        ) from error
    return replace(grid, known=draft.known, unwritten=draft.unwritten, is_last_batch=False)


def launch_lists(
    sweep: ListSweep,
    job_overrides: Sequence[Sequence[str]],
    initial_job_idx: int,
    *,
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    n_jobs: int = 1,
    show_output: bool = False,
    gpus_per_run: float | None = None,
) -> Sequence[JobReturn]:
    """Run override lists, for sweepers that know nothing of a `Grid`.

    Args:
        sweep: As for `write_batch`.
        job_overrides: As for `write_batch`.
        initial_job_idx: As for `write_batch`.
        config: As for `launch_grid`, like the rest.
        hydra_context: As for `launch_grid`.
        task_function: As for `launch_grid`.
        n_jobs: As for `launch_grid`.
        show_output: As for `launch_grid`. Without the keys of `expkit` in the configuration, runs
            in this process always show it, as under Hydra's basic launcher.
        gpus_per_run: As for `launch_grid`.

    Returns:
        One result per list, in their order; that of a failed run raises a RuntimeError when its
        value is read.

    Raises:
        GridError: As `launch_grid`, or if the grid cannot be written.
        SystemExit: As `launch_grid`.
    """
    if not job_overrides:
        return []
    return launch_grid(
        write_batch(
            sweep,
            job_overrides,
            initial_job_idx,
            config=config,
            hydra_context=hydra_context,
            task_function=task_function,
        ),
        config=config,
        hydra_context=hydra_context,
        task_function=task_function,
        n_jobs=n_jobs,
        show_output=show_output or (n_jobs == 1 and not has_tree(config)),
        gpus_per_run=gpus_per_run,
    )


def launch_grid(
    grid: Grid,
    *,
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    n_jobs: int = 1,
    show_output: bool = False,
    gpus_per_run: float | None = None,
) -> Sequence[JobReturn]:
    """Run what is pending in a grid, then write, draw and show the results.

    Args:
        grid: The grid; its `pending` runs are executed in their order.
        config: The sweep's base configuration.
        hydra_context: As Hydra gives it to launchers.
        task_function: The user's function.
        n_jobs: Processes at a time; 1 runs in this process.
        show_output: Whether the runs' output appears here. A grid with one pending run in this
            process always shows it.
        gpus_per_run: GPUs that each of several processes has to itself; None: one, if there are as
            many as processes.

    Returns:
        One result for each run that was executed; none for a run that somebody else took, unless
        a sweeper waits for it.

    Raises:
        GridError: If another process cannot find the function, or if there are fewer GPUs than a
            run needs.
        SystemExit: With 130 after Ctrl-C and 143 after SIGTERM, once the runs have saved their
            state and the way to resume has been printed.
    """
    from hydra.core.utils import setup_globals

    from expkit_bookkeeping.launching import stop_requested, stop_signals

    setup_globals()
    settings = grid_settings(config)
    status = command_line("status", short_path(grid.experiment))
    screen = tolerant_console(f"The grid goes on; {status} shows how far it is.")
    runs = list(grid.pending)
    division = divide_gpus(visible_gpus(), gpus_per_run, n_jobs) if n_jobs > 1 else GpuDivision()
    n_jobs = min(n_jobs, max(1, len(runs)), len(division.slots) or n_jobs)
    in_process = n_jobs == 1 and not division.slots  # it would see all GPUs
    if grid.sweep_id is None:
        show_output = show_output or (in_process and len(runs) == 1)
    siblings = SiblingVerbs(grid.experiment, settings.after, is_last_batch=grid.is_last_batch)

    def warn(text: str) -> None:
        screen.print(text, style="yellow", markup=False, soft_wrap=True)

    ended: list[RunOutcome] = []
    explained: dict[str, str] = {}  # errors that were printed in full, with the run that had each
    stop: int | None = None
    # Kept over all runs: after a signal that comes between two of them, or within one that does
    # not ask for it, the next must not start.
    signals = ExitStack()
    try:
        signals.enter_context(stop_signals())
        announce(
            grid,
            runs,
            n_jobs=n_jobs,
            gpus=division.text,
            show_output=show_output,
            screen=screen,
        )
        if in_process:
            outcomes = _execute_here(
                grid,
                runs,
                config=config,
                hydra_context=hydra_context,
                task_function=task_function,
                show_output=show_output,
                screen=screen,
            )
        else:
            from ._program.interpreters import program_to_start
            from ._running.processes import execute_in_processes

            _refuse_objects(grid)
            outcomes = execute_in_processes(
                grid,
                runs,
                n_jobs=n_jobs,
                task=program_to_start(task_function, warn),
                show_output=show_output,
                gpu_slots=division.slots,
            )
        with siblings, closing(outcomes):
            for outcome in outcomes:
                if outcome is None:
                    continue
                ended.append(outcome)
                report_outcome(
                    outcome,
                    len(ended),
                    runs,
                    grid,
                    settings=settings,
                    explained=explained,
                    screen=screen,
                )
                if in_process and outcome.stop is not None:
                    stop = outcome.stop
                    break
            left = len(ended) < len(runs) or not grid.is_last_batch
            if stop is None and left and stop_requested() is not None:
                stop = INTERRUPTED
            siblings.runs_ended = stop is None
    except KeyboardInterrupt:
        stop = INTERRUPTED
    except SystemExit as error:  # from the handler of SIGTERM
        stop = error.code if isinstance(error.code, int) else TERMINATED
    finally:
        signals.close()
    if stop is not None:
        say_how_to_resume(ended, runs, screen=screen)
        raise SystemExit(stop)
    for text in runs_of_others(ended):
        warn(text)
    if grid.is_last_batch:
        finish_grid(grid, config=config, siblings=siblings)
    elif (failure := siblings.tracking.failure()) is not None:
        warn(failure)
    if grid.sweep_id is None:
        return [_job_return(grid, outcome) for outcome in ended if outcome.state != "skipped"]
    by_index = {outcome.run.index: outcome for outcome in ended}
    return [_recorded(grid, by_index[run.index]) for run in runs]


def _refuse_objects(grid: Grid) -> None:
    """Refuse to run in other processes what only this one can hold."""
    if grid.needs_pickle:
        raise GridError(
            "The configuration holds objects, or classes that are defined in a function, which no "
            "other process can be given. Let the run build the objects, define the classes in a "
            "module, or run with hydra.launcher.n_jobs=1."
        )


def _execute_here(
    grid: Grid,
    runs: Sequence[GridRun],
    *,
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    show_output: bool,
    screen: Console,
) -> Generator[RunOutcome | None]:
    from hydra.core.utils import configure_log

    from expkit_bookkeeping.launching import stop_requested

    # The sweep's own console keeps the real stream that it was created with.
    with nullcontext() if show_output else StreamOutput() as output:
        for number, run in enumerate(runs, start=1):
            if stop_requested() is not None:
                return
            if screen.is_terminal and output is not None:
                # Without a line break: the line of the finished run overwrites it.
                screen.print(f"[dim]\\[{number}/{len(runs)}] {run.run_name} …[/]", end="\r")
            yield execute_run(
                grid,
                run,
                task_function=task_function,
                hydra_context=hydra_context,
                output=output,
            )
            # The run's handlers would catch what the sweep logs between two runs.
            configure_log(config.hydra.hydra_logging, config.hydra.verbose)
            _free_memory()


def _job_return(grid: Grid, outcome: RunOutcome) -> JobReturn:
    from hydra.core.utils import JobReturn, JobStatus

    if outcome.job is not None:
        return outcome.job
    if outcome.reason is None:  # another process has executed it
        return _recorded(grid, outcome)
    result = JobReturn(overrides=outcome.run.overrides, status=JobStatus.FAILED)
    result.return_value = outcome.error or RuntimeError(outcome.reason)
    return result


def _recorded(grid: Grid, outcome: RunOutcome) -> JobReturn:
    reason = outcome.reason or outcome.state
    return job_return(grid, outcome.run, reason=reason, cause=outcome.error)


def _free_memory() -> None:
    """Free the last run's model before the next one is built."""
    torch = sys.modules.get("torch")  # never imported from here
    if torch is None:
        return
    gc.collect()  # models and their hooks are cycles; costs about 50 ms, so not for all scripts
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
