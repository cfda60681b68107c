"""One run of a grid in this process: claimed, run as Hydra runs a job, and its end recorded.

All that executes runs of a grid calls `execute_run`: the launcher in its own process, the
processes that it starts, and an array task on a cluster.
"""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .._composing.internals import raw_return_value
from .collector_pause import CollectorPause
from .lifetime import (
    INTERRUPTED,
    TERMINATED,
    checkpoint_versions,
    earlier_files,
    heartbeat,
    record_end,
)
from .output import CONSOLE_LOG, RunOutput, job_log
from .ranks import announced, ranks_of_one_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord
    from expkit_bookkeeping.launching import Claim, Liveness

    from .._grid.grid import Grid
    from .._grid.run import GridRun

DECIDING_TAKES_AT_MOST_S = 3600.0  # from the sweep's reading of the runs to the grid's files
# Folders of the runs that `execute_run` is executing: the callback leaves those alone.
_executing: set[str] = set()


@dataclass(frozen=True)
class RunOutcome:
    """How a run of a grid went.

    `state` is what run.json says, or `skipped` if the run was not started; `stop` is the exit code
    for the whole sweep if somebody asked it to end. `owner` is the record of the run if another
    process has it. `saved` is whether this attempt has left a checkpoint. `job`, Hydra's result,
    and `error` are there where this process has executed the run; where there is no `reason`,
    run.json says how the run ended.
    """

    run: GridRun
    state: str
    reason: str | None = None
    job: JobReturn | None = None
    error: BaseException | None = None
    stop: int | None = None
    owner: RunRecord | None = None
    saved: bool = False


def is_executing(folder: Path) -> bool:
    """Whether `execute_run` is executing this folder's run in this process."""
    return _key(folder) in _executing


def _key(folder: Path) -> str:
    return os.path.abspath(folder)  # noqa: PTH100 - as Hydra does, which removes `..`


def execute_run(
    grid: Grid,
    run: GridRun,
    *,
    task_function: TaskFunction,
    hydra_context: HydraContext,
    output: RunOutput | None = None,
    is_alive: Liveness | None = None,
) -> RunOutcome:
    """Run one run of a grid in this process, unless somebody else has it.

    Args:
        grid: The grid.
        run: One of its runs.
        task_function: The user's function.
        hydra_context: As Hydra gives it to launchers.
        output: Where the run's output goes; None leaves it alone.
        is_alive: Says whether the owner of a running run is alive; None takes bookkeeping's.

    Returns:
        How it went. No exception from the user's function escapes.
    """
    with CollectorPause() as pause:
        return _execute(
            grid,
            run,
            task_function=task_function,
            hydra_context=hydra_context,
            output=output,
            is_alive=is_alive,
            pause=pause,
        )


def _execute(
    grid: Grid,
    run: GridRun,
    *,
    task_function: TaskFunction,
    hydra_context: HydraContext,
    output: RunOutput | None,
    is_alive: Liveness | None,
    pause: CollectorPause,
) -> RunOutcome:
    from hydra.core.utils import JobReturn, JobStatus

    from expkit_bookkeeping import ClaimLost, RunClaimed, read_run
    from expkit_bookkeeping.launching import RunChanged, claim_run
    from expkit_bookkeeping.launching import is_alive as is_alive_here

    from .._composing.global_state import current_config
    from .._grid.identity import group_choices, keys_left_out, public_data, unresolved_texts
    from .._grid.secrets import remember_secrets_of
    from .hydra_run import job_config

    try:
        config = job_config(grid, run)
    except (LookupError, OSError, ValueError) as trouble:
        reason = f"Its frozen configuration cannot be read: {trouble}"
        return RunOutcome(run, "failed", reason, error=trouble)
    with current_config(config):
        remember_secrets_of(config, run.overrides)
    # After the configuration is read: the older the record, the likelier it is out of date.
    before = read_run(run.folder)
    taken = functools.partial(_taken_meanwhile, grid, run, config)
    skip_reason = taken(before)
    if run.job is None:  # else somebody waits for what this very run returns
        skip_reason = skip_reason or _done_elsewhere(grid, run) or _ruled_out(config, run)
    if skip_reason is not None:
        return RunOutcome(run, "skipped", skip_reason)
    try:
        if _makes_room(grid, run, before):
            _make_room(grid, run, is_alive or is_alive_here)
        claim = claim_run(
            run.folder,
            run_name=run.run_name,
            experiment_id=grid.experiment.name,
            config_hash=run.config_hash,
            grid_id=grid.grid_id,
            swept=run.values,
            choices=group_choices(config),
            unresolved=unresolved_texts(config, swept=list(run.values)),
            ignored=keys_left_out(config, list(run.values)),
            config=None if before is None else public_data(config),
            unless=taken,
            append_files=[job_log(config)],
            launches=True,
            is_alive=is_alive or is_alive_here,
        )
    except RunChanged as changed:
        return RunOutcome(run, "skipped", str(changed))
    except RunClaimed as claimed:
        return RunOutcome(run, "skipped", str(claimed), owner=claimed.owner)
    except OSError as trouble:
        return RunOutcome(run, "failed", f"The run folder cannot be used: {trouble}", error=trouble)

    returned: list[object] = []  # as Hydra's result may be filled with the best metric

    @functools.wraps(task_function)
    def run_task(task_config: DictConfig) -> object:
        claim.check()  # only now: Hydra has opened its log, which may be the next owner's
        value = task_function(task_config)
        returned.append(value)
        return value

    folders = _folders(config, run)
    checkpoints_before = [checkpoint_versions(folder) for folder in folders]
    keys = {_key(folder) for folder in folders}
    _executing.update(keys)
    try:
        with heartbeat(claim), contextlib.ExitStack() as stack:
            if output is not None:
                stack.enter_context(output.to(run.folder / CONSOLE_LOG, claim.check))
                if claim.attempt > 1:
                    files = earlier_files(run.folder)
                    found = "" if files is None else f"; files of an earlier attempt: {files}"
                    print(f"--- attempt {claim.attempt}, {datetime.now():%Y-%m-%d %H:%M:%S}{found}")
            result, error, stop = _run(
                config,
                run,
                claim,
                grid.path,
                task_function=run_task,
                hydra_context=hydra_context,
                pause=pause,
            )
            value = returned[0] if returned else None
            state = record_end(
                claim,
                error,
                returned=value,
                must_return=run.job is not None,
                stopped=stop is not None,
                left_early=any(map(_was_left_early, folders[1:])),
            )
            if state == "interrupted" and error is None:
                stop = INTERRUPTED  # the loop left because should_stop() was true
    except ClaimLost as lost:
        # Nobody has the run if its folder is gone: its work is lost, which must not go unnoticed.
        if not run.folder.is_dir():
            return RunOutcome(run, "failed", str(lost), error=lost)
        return RunOutcome(run, "skipped", str(lost))
    except OSError as trouble:
        reason = f"How the run ended could not be recorded: {trouble}"
        return RunOutcome(run, "failed", reason, error=trouble)
    finally:
        _executing.difference_update(keys)
    if result is None:
        result = JobReturn(overrides=run.overrides, status=JobStatus.FAILED)
        result.return_value = error
    # An older one that is gone by now, as superseded, proves nothing.
    saved = any(
        checkpoint_versions(folder) - versions
        for folder, versions in zip(folders, checkpoints_before, strict=True)
    )
    return RunOutcome(run, state, job=result, error=error, stop=stop, saved=saved)


def _folders(config: DictConfig, run: GridRun) -> list[Path]:
    """The run's folder, and Hydra's own if it is another: there the script may keep its records."""
    from omegaconf import OmegaConf

    if run.job is None:
        return [run.folder]
    # None: it cannot be resolved, which the run itself will say.
    hydras = OmegaConf.select(config, "hydra.runtime.output_dir", throw_on_missing=False)
    folders = [run.folder] if hydras is None else [run.folder, Path(hydras)]
    return list(dict.fromkeys(folders))


def _was_left_early(folder: Path) -> bool:
    """Whether this process's Bookkeeping has recorded there that the run was interrupted."""
    from expkit_bookkeeping import read_run

    record = read_run(folder)
    return record is not None and record.state == "interrupted" and record.pid == os.getpid()


def _taken_meanwhile(
    grid: Grid, run: GridRun, config: DictConfig, record: RunRecord | None
) -> str | None:
    """Why a run must not start after all: what others have made of its folder meanwhile."""
    from .._grid.run import run_version

    if record is None:
        return None
    if run_version(record) in grid.known.get(run.index, frozenset()):
        return None if run.index in grid.fresh else _not_to_continue(grid, run, config, record)
    if record.config_hash not in (None, run.config_hash) and run.index not in grid.fresh:
        return (
            "its folder was taken by a run with another configuration meanwhile; the same "
            "command says what differs"
        )
    if record.state == "completed" and record.config_hash == run.config_hash:
        return "was completed by another process meanwhile"
    return None


def _not_to_continue(grid: Grid, run: GridRun, config: DictConfig, record: RunRecord) -> str | None:
    """Why a run cannot go on where one with another configuration has ended."""
    from expkit_bookkeeping.launching import reason_not_to_continue

    from .._grid.identity import public_data

    if record.config_hash in (None, run.config_hash):
        return None
    (comparable,) = grid.records_of([record])
    if comparable.config_hash == run.config_hash:
        return None
    return reason_not_to_continue(record, public_data(config))


def _done_elsewhere(grid: Grid, run: GridRun) -> str | None:
    """Why a run must not start after all: others have completed it under another name since."""
    from expkit_bookkeeping import read_run

    from .._grid.grid import DESCRIPTION
    from .._grid.run import run_version

    known_versions = grid.known.get(run.index, frozenset())
    with contextlib.suppress(OSError), os.scandir(run.folder.parent) as entries:
        # The sweep has seen what was there when the grid was made.
        seen_until = _changed(grid.path / DESCRIPTION) - DECIDING_TAKES_AT_MOST_S
        for entry in entries:
            if entry.name in grid.run_names:  # of this grid, so it has another configuration
                continue
            # Reading takes thirty times as long, and each task of a large grid gets here.
            if _changed(Path(entry.path, "run.json")) < seen_until:
                continue
            other = read_run(Path(entry.path))
            if (
                other is not None
                and other.state == "completed"
                and other.config_hash == run.config_hash
                and run_version(other) not in known_versions
            ):
                return f"was completed as {entry.name} meanwhile"
    return None


def _changed(path: Path) -> float:
    """When a file was last changed or put here, by its file system's clock; 0 if it is missing."""
    try:
        stat = path.stat()
    except OSError:
        return 0.0
    return max(stat.st_mtime, stat.st_ctime)


def _ruled_out(config: DictConfig, run: GridRun) -> str | None:
    """Which rule skips a run after all: hours may have passed since the sweep asked.

    Only rules about what is done (`exists:`, `completed:`, the user's own classes) can have
    another answer by now.
    """
    rules = config.get("_filters")
    if not rules or all(isinstance(rule, str) for rule in rules):
        return None
    from expkit_filter import FilterError, RunFilter

    from .._composing.global_state import current_config
    from .._composing.plain_data import plain_value
    from .._grid.identity import identify

    try:
        all_rules = RunFilter(plain_value(rules)).rules  # type: ignore[arg-type]
        # "False" in place of a rule that is not asked, so that the others keep their numbers.
        run_filter = RunFilter([rule if rule.needs_run else "False" for rule in all_rules])
        with current_config(config):
            data = identify(config).data
        decision = run_filter.decide(data, run_name=run.run_name, folder=run.folder)
    except FilterError as error:
        return f"a rule cannot be asked: {error}"
    return decision.reason if decision.skip else None


def _makes_room(grid: Grid, run: GridRun, before: RunRecord | None) -> bool:
    """Whether the folder that the run finds has to move to the trash first."""
    from .._grid.run import run_version

    if run.index not in grid.fresh:
        return False
    if before is None:
        return run.folder.exists()
    # A run of this configuration that began after the sweep decided is continued instead.
    known_versions = grid.known.get(run.index, frozenset())
    return run_version(before) in known_versions or before.config_hash != run.config_hash


def _make_room(grid: Grid, run: GridRun, is_alive: Liveness) -> None:
    """Move a run's folder to the trash, unless others have begun anew in it meanwhile."""
    from expkit_bookkeeping.launching import RunChanged, move_to_trash

    def unless(record: RunRecord | None) -> str | None:
        return None if _makes_room(grid, run, record) else "has begun anew meanwhile"

    # Gone: somebody else has just moved it. Changed: claiming what is there now decides.
    with contextlib.suppress(FileNotFoundError, RunChanged):
        move_to_trash(run.folder, reason="rerun", unless=unless, is_alive=is_alive)


def _run(
    config: DictConfig,
    run: GridRun,
    claim: Claim,
    grid_path: Path,
    *,
    task_function: TaskFunction,
    hydra_context: HydraContext,
    pause: CollectorPause,
) -> tuple[JobReturn | None, BaseException | None, int | None]:
    """Run as Hydra runs a job; also catch what Hydra lets through: a requested end."""
    from hydra.core.utils import JobReturn, JobStatus

    from expkit_bookkeeping.launching import exit_code

    from .._grid.identity import write_config
    from .hydra_run import run_job

    cwd = Path.cwd()
    try:
        write_config(config, claim)
        with announced(config, grid=grid_path, run_name=run.run_name), ranks_of_one_run():
            result = run_job(
                config,
                task_function=task_function,
                hydra_context=hydra_context,
                around=pause.lifted(),
                check=claim.check,
            )
    except KeyboardInterrupt as error:
        return None, error, INTERRUPTED
    except SystemExit as error:
        code = exit_code(error)
        if code == 0:  # so a script says that it is done
            return JobReturn(overrides=run.overrides, status=JobStatus.COMPLETED), None, None
        # Bookkeeping's SIGTERM handler raises SystemExit(143); any other one is the script's own.
        return None, error, code if code in (INTERRUPTED, TERMINATED) else None
    # Before or after the user's function: folders, logging, callbacks. From within it what Hydra
    # lets through, such as a task's cancellation: it ends this run, and no other.
    except BaseException as error:
        return None, error, None
    finally:
        with contextlib.suppress(OSError):
            os.chdir(cwd)  # a run that changes the directory must not move the next run's
    failed = result.status == JobStatus.FAILED
    return result, raw_return_value(result) if failed else None, None
