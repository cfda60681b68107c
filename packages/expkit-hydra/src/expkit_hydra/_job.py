"""One run of a grid in this process: claimed, run as Hydra runs a job, and its end recorded.

All that executes runs of a grid calls `execute_run`: the launcher in its own process, the
processes that it starts, and an array task on a cluster.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TextIO

from ._collector import CollectorPause
from ._internals import raw_return_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

    from expkit_bookkeeping import Claim, Liveness, RunRecord

    from ._grid import Grid, GridRun

HEARTBEAT_S = 30.0
CONSOLE_LOG = "console.log"
DECIDING_TAKES_AT_MOST_S = 3600.0  # from the sweep's reading of the runs to the grid's files
INTERRUPTED, TERMINATED = 130, 143  # what a shell reports: 128 + number of the signal

# Folders of the runs that `execute_run` is executing: the callback leaves those alone.
_executing: set[str] = set()


@dataclass(frozen=True)
class RunOutcome:
    """How a run of a grid went.

    `state` is what run.json says, or `skipped` if the run was not started; `stop` is the exit code
    for the whole sweep if somebody asked it to end. `owner` is the record of the run if another
    process has it.
    """

    run: GridRun
    state: str
    reason: str | None = None
    job: JobReturn | None = None
    error: BaseException | None = None
    stop: int | None = None
    owner: RunRecord | None = None


class RunOutput(Protocol):
    """Where a run's output can be sent."""

    def to(self, path: Path) -> AbstractContextManager[None]:
        """Append to this file what is printed within the block."""


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

    from expkit_bookkeeping import (
        ClaimLost,
        RunClaimed,
        claim_run,
        move_to_trash,
        read_run,
    )
    from expkit_bookkeeping import (
        is_alive as is_alive_here,
    )

    try:
        config = grid.config(run.index)
    except (LookupError, OSError, ValueError) as trouble:
        reason = f"Its frozen configuration cannot be read: {trouble}"
        return RunOutcome(run, "failed", reason, error=trouble)
    # After the configuration is read: the older the record, the likelier it is out of date.
    before = read_run(run.folder)
    skip_reason = _done_meanwhile(grid, run, before) or _ruled_out(config, run)
    if skip_reason is not None:
        return RunOutcome(run, "skipped", skip_reason)
    try:
        if _makes_room(grid, run, before):
            with contextlib.suppress(FileNotFoundError):  # somebody else has just done so
                move_to_trash(run.folder, reason="rerun")
        claim = claim_run(
            run.folder,
            run_name=run.run_name,
            experiment_id=grid.experiment.name,
            config_hash=run.config_hash,
            grid_id=grid.grid_id,
            swept=run.values,
            is_alive=is_alive or is_alive_here,
        )
    except RunClaimed as claimed:
        return RunOutcome(run, "skipped", str(claimed), owner=read_run(run.folder))
    except OSError as trouble:
        return RunOutcome(run, "failed", f"The run folder cannot be used: {trouble}", error=trouble)

    _executing.add(_key(run.folder))
    try:
        with heartbeat(claim), contextlib.ExitStack() as stack:
            if output is not None:
                stack.enter_context(output.to(run.folder / CONSOLE_LOG))
                if claim.attempt > 1:
                    print(f"--- attempt {claim.attempt}, {datetime.now():%Y-%m-%d %H:%M:%S}")
            job, error, stop = _run(
                config,
                run,
                grid.path,
                task_function=task_function,
                hydra_context=hydra_context,
                pause=pause,
            )
            state = record_end(claim, error, stopped=stop is not None)
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
        _executing.discard(_key(run.folder))
    if job is None:
        job = JobReturn(overrides=run.overrides, status=JobStatus.FAILED)
        job.return_value = error
    return RunOutcome(run, state, job=job, error=error, stop=stop)


def _done_meanwhile(grid: Grid, run: GridRun, before: RunRecord | None) -> str | None:
    """Why a run must not start after all: what others have done since the sweep decided."""
    from expkit_bookkeeping import read_run

    from ._grid import DESCRIPTION, run_version

    known_versions = grid.known.get(run.index, frozenset())
    if before is not None and run_version(before) not in known_versions:
        if before.config_hash not in (None, run.config_hash) and run.index not in grid.fresh:
            return (
                "its folder was taken by a run with another configuration meanwhile; the same "
                "command says what differs"
            )
        if before.state == "completed" and before.config_hash == run.config_hash:
            return "was completed by another process meanwhile"
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

    from ._hydra_state import current_config
    from ._identity import identify, plain_value

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
    from ._grid import run_version

    if run.index not in grid.fresh:
        return False
    if before is None:
        return run.folder.exists()
    # A run of this configuration that began after the sweep decided is continued instead.
    known_versions = grid.known.get(run.index, frozenset())
    return run_version(before) in known_versions or before.config_hash != run.config_hash


def _run(
    config: DictConfig,
    run: GridRun,
    grid_path: Path,
    *,
    task_function: TaskFunction,
    hydra_context: HydraContext,
    pause: CollectorPause,
) -> tuple[JobReturn | None, BaseException | None, int | None]:
    """Run as Hydra runs a job; also catch what Hydra lets through: a requested end."""
    from hydra.core.utils import JobReturn, JobStatus, env_override
    from omegaconf import open_dict

    from ._identity import write_config
    from ._run_job import run_job

    with open_dict(config):
        config.hydra.job.id = str(run.index)
        config.hydra.job.num = run.index
    cwd = Path.cwd()
    try:
        write_config(config, run.folder)
        with env_override({"EXPKIT_GRID": str(grid_path.absolute())}):
            job = run_job(
                config,
                task_function=task_function,
                hydra_context=hydra_context,
                around=pause.lifted(),
            )
    except KeyboardInterrupt as error:
        return None, error, INTERRUPTED
    except SystemExit as error:
        if error.code in (None, 0):  # so a script says that it is done
            return JobReturn(overrides=run.overrides, status=JobStatus.COMPLETED), None, None
        # Bookkeeping's SIGTERM handler raises SystemExit(143); any other one is the script's own.
        stop = error.code if error.code in (INTERRUPTED, TERMINATED) else None
        return None, error, stop
    except Exception as error:  # before or after the user's function: folders, logging, callbacks
        return None, error, None
    finally:
        with contextlib.suppress(OSError):
            os.chdir(cwd)  # a run that changes the directory must not move the next run's
    failed = job.status == JobStatus.FAILED
    return job, raw_return_value(job) if failed else None, None


def record_end(claim: Claim, error: BaseException | None, *, stopped: bool = False) -> str:
    """Write how a run ended, unless the script's own Bookkeeping has done so; returns the state.

    Args:
        claim: The run's claim.
        error: What the user's function raised; None if it returned.
        stopped: Whether the sweep was asked to end.
    """
    from expkit_bookkeeping import read_run

    ended = isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and error.code in (INTERRUPTED, TERMINATED)
    )
    record = read_run(claim.folder)
    if record is not None and record.attempt == claim.attempt and record.state != "running":
        # An error after Bookkeeping's block is still the run's: nobody would ever try a completed
        # run again.
        fails_late = record.state == "completed" and not ended and error is not None
        if not fails_late:
            return record.state
    state = "completed" if error is None else "interrupted" if ended or stopped else "failed"
    if state == "failed" and error is not None:
        _append_traceback(claim.folder / "training.log", error)
    claim.finish(state, None if state == "completed" else error)
    return state


def _append_traceback(path: Path, error: BaseException) -> None:
    # To the file and not through logging: the run's handlers may be off, or write elsewhere.
    text = "".join(traceback.format_exception(error))
    with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(f"[{datetime.now():%Y-%m-%d %H:%M:%S}] The run failed.\n{text}")


def user_frame(error: BaseException, project: Path | None = None) -> str | None:
    """Where in the user's code an error came from: the innermost frame below a folder.

    Args:
        error: The error.
        project: The folder; None is the working directory. If no frame is in it, the innermost
            frame of all is taken.
    """
    root = str(project or Path.cwd())
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(f"{root}{os.sep}")]
    own = [frame for frame in own if f"{os.sep}site-packages{os.sep}" not in frame.filename]
    for frame in reversed(own or frames):
        return f"{frame.filename.removeprefix(root + os.sep)}:{frame.lineno} in {frame.name}"
    return None


@contextmanager
def heartbeat(claim: Claim, interval_s: float = HEARTBEAT_S) -> Iterator[None]:
    """Renew the heartbeat in run.json, also for scripts that do not use Bookkeeping."""
    from expkit_bookkeeping import ClaimLost

    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(interval_s):
            try:
                if claim.record.state != "running":
                    return
                claim.heartbeat()
            except ClaimLost:
                return
            except OSError:  # a full disk or an unreachable server; the next beat may get through
                continue

    thread = threading.Thread(target=beat, name="expkit-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class StreamOutput:
    """Sends what a run prints to a file of its own, so that the sweep's console stays readable.

    A context manager that puts stand-ins in the place of sys.stdout and sys.stderr. They stay
    the same objects for all runs: otherwise a logging handler that keeps one would write to the
    closed file of an earlier run.
    """

    def __init__(self) -> None:
        self._streams: tuple[_Stream, _Stream] | None = None

    def __enter__(self) -> StreamOutput:
        self._streams = _Stream(sys.stdout), _Stream(sys.stderr)
        sys.stdout, sys.stderr = self._streams
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._streams is not None
        # Others may have put another stream in its place; that one stays.
        if sys.stdout is self._streams[0]:
            sys.stdout = self._streams[0].own
        if sys.stderr is self._streams[1]:
            sys.stderr = self._streams[1].own

    @contextmanager
    def to(self, path: Path) -> Iterator[None]:
        """Append to this file what is printed within the block."""
        assert self._streams is not None
        breakpointhook = sys.breakpointhook

        def visible(*args: object, **kwargs: object) -> object:
            self._restore()  # a debugger's prompt in a file would look like a run that hangs
            return breakpointhook(*args, **kwargs)

        with path.open("a", encoding="utf-8", errors="replace", buffering=1) as file:
            for stream in self._streams:
                stream.target = file
            sys.breakpointhook = visible
            try:
                yield
            finally:
                sys.breakpointhook = breakpointhook
                self._restore()

    def _restore(self) -> None:
        for stream in self._streams or ():
            stream.target = stream.own


class _Stream:
    """A stream that can change where it writes."""

    def __init__(self, own: TextIO) -> None:
        self.own = own
        self.target = own

    def __getattr__(self, name: str) -> object:
        return getattr(self.target, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.target)
