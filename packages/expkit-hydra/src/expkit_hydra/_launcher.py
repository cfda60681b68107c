"""The launcher `expkit`: the runs of a grid on this machine, and a readable console."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

from ._composing.errors import GridError
from ._composing.global_state import current_config
from ._console.command_lines import command_line, short_path
from ._console.finishing import finish_grid
from ._console.screen import tolerant_console
from ._console.sibling_verbs import TrackingSync
from ._console.sweep_report import announce, report_outcome, runs_of_others, say_how_to_resume
from ._grid.secrets import remember_secrets_of
from ._grid.settings import grid_settings
from ._running.execution import RunOutcome, execute_run
from ._running.gpus import GpuDivision, divide_gpus, visible_gpus
from ._running.lifetime import INTERRUPTED, TERMINATED, as_exception, asks_for_the_end
from ._running.output import StreamOutput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig
    from rich.console import Console

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


def launch(
    job_overrides: Sequence[Sequence[str]],
    initial_job_idx: int,
    *,
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
) -> Sequence[JobReturn]:
    """Run override lists one after another, for sweepers that know nothing of a `Grid`.

    Args:
        job_overrides: Overrides of each run.
        initial_job_idx: Number of the first run.
        config: The sweep's base configuration.
        hydra_context: As Hydra gives it to launchers.
        task_function: The user's function.

    Returns:
        One result per run; that of a failed run raises its error when its value is read.
    """
    from hydra.core.utils import (
        JobReturn,
        JobStatus,
        configure_log,
        filter_overrides,
        run_job,
        setup_globals,
    )
    from omegaconf import open_dict

    from expkit_bookkeeping.launching import exit_code, without_known_secrets

    setup_globals()
    with current_config(config):
        remember_secrets_of(config, [text for overrides in job_overrides for text in overrides])
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    screen = tolerant_console()
    returned = []
    for number, overrides in enumerate(job_overrides, start=initial_job_idx):
        shown = without_known_secrets(" ".join(filter_overrides(overrides)))
        screen.print(f"#{number}: {shown}", markup=False)
        run_config = hydra_context.config_loader.load_sweep_config(config, list(overrides))
        with open_dict(run_config):
            run_config.hydra.job.id = number
            run_config.hydra.job.num = number
        try:
            result = run_job(
                hydra_context=hydra_context,
                task_function=task_function,
                config=run_config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        except BaseException as error:  # Hydra catches only exceptions of the function
            if asks_for_the_end(error):
                raise
            result = JobReturn(overrides=list(overrides), cfg=run_config)
            result.status = JobStatus.COMPLETED if exit_code(error) == 0 else JobStatus.FAILED
            if result.status == JobStatus.FAILED:
                result.return_value = as_exception(error)
        returned.append(result)
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        _free_memory()
    return returned


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
        One result for each run that was executed; none for a run that somebody else took.

    Raises:
        GridError: If another process cannot find the function, if this process is one of several
            of a distributed run, or if there are fewer GPUs than a run needs.
        SystemExit: With 130 after Ctrl-C and 143 after SIGTERM, once the runs have saved their
            state and the way to resume has been printed.
    """
    from hydra.core.utils import setup_globals

    from expkit_bookkeeping import process_rank
    from expkit_bookkeeping.launching import stop_requested, stop_signals

    if process_rank() != 0:
        raise GridError(
            f"A grid is launched by one process, and this one has rank {process_rank()} of a "
            "distributed run. Start single runs under torchrun or srun, or the grid without it."
        )
    setup_globals()
    settings = grid_settings(config)
    status = command_line("status", short_path(grid.experiment))
    screen = tolerant_console(f"The grid goes on; {status} shows how far it is.")
    runs = list(grid.pending)
    division = divide_gpus(visible_gpus(), gpus_per_run, n_jobs) if n_jobs > 1 else GpuDivision()
    n_jobs = min(n_jobs, max(1, len(runs)), len(division.slots) or n_jobs)
    in_process = n_jobs == 1 and not division.slots  # it would see all GPUs
    show_output = show_output or (in_process and len(runs) == 1)
    tracking = TrackingSync(grid.experiment, wanted="sync" in settings.after)
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
            from ._running.processes import execute_in_processes

            outcomes = execute_in_processes(
                grid,
                runs,
                n_jobs=n_jobs,
                task_function=task_function,
                hydra_context=hydra_context,
                show_output=show_output,
                gpu_slots=division.slots,
            )
        with tracking, closing(outcomes):
            for outcome in outcomes:
                tracking.poll()
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
        screen.print(text, style="yellow", markup=False, soft_wrap=True)
    # A sync that failed is not tried again at once: `failure` says how to.
    failure = tracking.failure()
    if grid.is_last_batch:
        finish_grid(grid, config=config, synchronised=tracking.synchronised)
    if failure is not None:
        screen.print(failure, style="yellow", markup=False)
    return [_job_return(outcome) for outcome in ended if outcome.state != "skipped"]


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


def _job_return(outcome: RunOutcome) -> JobReturn:
    from hydra.core.utils import JobReturn, JobStatus

    if outcome.job is not None:
        return outcome.job
    result = JobReturn(overrides=outcome.run.overrides, status=JobStatus.FAILED)
    result.return_value = outcome.error or RuntimeError(outcome.reason or "The run has no result.")
    return result


def _free_memory() -> None:
    """Free the last run's model before the next one is built."""
    torch = sys.modules.get("torch")  # never imported from here
    if torch is None:
        return
    gc.collect()  # models and their hooks are cycles; costs about 50 ms, so not for all scripts
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
