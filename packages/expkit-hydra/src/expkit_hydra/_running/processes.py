"""Runs of a grid in processes of their own, several at a time.

Every run gets a fresh interpreter: a fork of a process that has threads or CUDA hangs or fails, and
importing numpy alone starts threads. A caller that knows it has none may ask for forks, which share
its imports. The child runs the program again, up to its app, instead of receiving a pickled
function.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import Pipe, connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from .._composing.internals import import_logging_config
from .._program.interpreters import start_interpreter
from .execution import RunOutcome, execute_run
from .gpus import VISIBLE, GpuPool
from .late_loader import hydra_context
from .lifetime import INTERRUPTED, TERMINATED
from .output import CONSOLE_LOG, ProcessOutput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.types import TaskFunction

    from expkit_bookkeeping.launching import Liveness

    from .._grid.grid import Grid
    from .._grid.run import GridRun, RunVersion
    from .._program.program import Task

GRACE_S = 60.0  # to save a checkpoint after Ctrl-C
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_WARNING = getattr(signal, "SIGUSR1", None)  # Slurm's, before the time limit; not on Windows
_BLOCKED = {number for number in (signal.SIGINT, _WARNING) if number is not None}
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# What a child answers. Not the error or Hydra's result: their classes are the user's, and what
# those do when they are pickled must not matter. run.json has what is to be known of them.
_ANSWERED = ("state", "reason", "stop", "owner", "saved")


class Process(Protocol):
    """A child process, as `subprocess.Popen` is one."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, if it lives."""

    def kill(self) -> None:
        """Kill it."""


class _Fork:
    """A fork of this process that calls a function and ends."""

    def __init__(self, function: Callable[[], None]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _end_fork(function)

    def poll(self) -> int | None:
        """See `Process`."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """See `Process`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired("fork", timeout or 0.0)
            time.sleep(0.01)
        return code

    def send_signal(self, sig: int) -> None:
        """See `Process`."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """See `Process`."""
        self.send_signal(signal.SIGKILL)


def _end_fork(function: Callable[[], None]) -> None:
    """Call a function in a fork, and end as an interpreter ends, but for what its parent began."""
    code = 1
    exits: Any = atexit
    threads: Any = threading
    try:
        exits._clear()
        function()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        # As multiprocessing ends its forks from Python 3.13 on.
        with contextlib.suppress(BaseException):
            threads._shutdown()
            exits._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


@dataclass(frozen=True)
class _ChildArguments:
    """What a child is given."""

    task: Task
    grid: Path
    run: GridRun
    fresh: bool
    known: frozenset[RunVersion]
    show_output: bool
    is_alive: Liveness | None
    parent: int


@dataclass
class _ChildProcess:
    run: GridRun
    process: Process
    pipe: Connection
    gpus: str | None
    answer: RunOutcome | None = None


def threads_each(n_jobs: int) -> int:
    """Threads for each of `n_jobs` processes: the processors that this one may use, shared out.

    Otherwise each process would start one thread per core, and they would slow each other down.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, cores // n_jobs)


def thread_limits(n_jobs: int, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables by which each of `n_jobs` processes starts its share of threads.

    What the user has set is kept. Libraries read them when they are imported.
    """
    environ = os.environ if environ is None else environ
    threads = str(threads_each(n_jobs))
    return {name: threads for name in _THREAD_VARIABLES if name not in environ}


def execute_in_processes(
    grid: Grid,
    runs: Sequence[GridRun],
    *,
    n_jobs: int,
    task: Task,
    show_output: bool,
    is_alive: Liveness | None = None,
    gpu_slots: Sequence[str] = (),
    loaded: TaskFunction | None = None,
) -> Generator[RunOutcome | None]:
    """Run runs, `n_jobs` at a time.

    Args:
        grid: The grid.
        runs: The runs to execute, in the order of their start.
        n_jobs: Processes at a time.
        task: The user's function, as other processes find it.
        show_output: Whether the runs print to this console instead of their console.log.
        is_alive: Says whether the owner of a running run is alive; it is pickled.
        gpu_slots: Values of CUDA_VISIBLE_DEVICES, of which each process has one to itself: no more
            than these run at a time. Empty: all see what this process sees.
        loaded: The function itself, where this process is in the place of its app: each run gets a
            fork, which shares what has been imported here. There must be neither threads nor a CUDA
            context.

    Yields:
        How each run went, in the order in which they ended, without what only its own process
        can hold (`job`, `error`); None about once a second, so that the caller can attend to
        other things.
    """
    from expkit_bookkeeping.launching import stop_requested

    waiting = list(reversed(runs))
    children: list[_ChildProcess] = []
    pool = GpuPool(gpu_slots)
    if gpu_slots:
        n_jobs = min(n_jobs, len(gpu_slots))
    asked_to_stop = False
    was_frozen = gc.get_freeze_count() > 0
    try:
        if loaded is not None and len(runs) > 1:
            _share(grid, runs[0].index)
        while waiting or children:
            if not asked_to_stop and stop_requested() is not None:
                asked_to_stop = True
                waiting.clear()
                _ask_to_stop(children)
            while waiting and len(children) < n_jobs:
                run = waiting.pop()
                arguments = _ChildArguments(
                    task=task,
                    grid=grid.path,
                    run=run,
                    fresh=run.index in grid.fresh,
                    known=grid.known.get(run.index, frozenset()),
                    show_output=show_output,
                    is_alive=is_alive,
                    parent=os.getpid(),
                )
                gpus = pool.take()
                variables = thread_limits(n_jobs) | ({} if gpus is None else {VISIBLE: gpus})
                fork = None if loaded is None else functools.partial(_answer, grid, loaded)
                children.append(_start(arguments, fork, variables, gpus))
            ended = _wait(children)
            for child in ended:
                children.remove(child)
                pool.give_back(child.gpus)
                yield _outcome(child)
            if not ended:
                yield None
    except BaseException as error:  # Ctrl-C, SIGTERM, or the caller is no longer interested
        # If SIGTERM went to the whole group, a second one does not disturb a child that is leaving.
        terminated = isinstance(error, SystemExit) and error.code == TERMINATED
        _stop(children, signal.SIGTERM if terminated else signal.SIGINT)
        raise
    finally:
        if not was_frozen:
            gc.unfreeze()


def _start(
    arguments: _ChildArguments,
    fork: Callable[[_ChildArguments, Connection], None] | None,
    variables: Mapping[str, str],
    gpus: str | None,
) -> _ChildProcess:
    ours, theirs = Pipe(duplex=False)
    process: Process
    with theirs, _signals_blocked():
        if fork is not None:
            process = _Fork(functools.partial(fork, arguments, theirs))
        else:
            environ = {**os.environ, **variables}
            process = start_interpreter(run_child, arguments, fd=theirs.fileno(), environ=environ)
    return _ChildProcess(arguments.run, process, ours, gpus)


def _share(grid: Grid, index: int) -> None:
    """Do once what each fork would repeat: half of the time of a trivial run.

    Nothing is resolved, and none of the user's code is called.
    """
    import faulthandler  # noqa: F401

    from expkit_bookkeeping.launching import code_facts

    from . import job_returns  # noqa: F401
    from .hydra_run import prepare

    import_logging_config()
    # `execute_run` says what is wrong with the configuration.
    with contextlib.suppress(LookupError, OSError, ValueError):
        prepare(grid.config(index))
    code_facts()
    gc.collect()
    gc.freeze()  # else the first collection of each fork copies all of its memory


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start a child in which signals wait: during its imports they would end in a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _accept_signals() -> None:
    """End quietly if SIGINT came during the imports; from now on signals have their handlers."""
    if hasattr(signal, "pthread_sigmask"):
        if signal.SIGINT in signal.sigpending():
            os._exit(INTERRUPTED)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)


def _wait(children: Sequence[_ChildProcess], timeout_s: float = 1.0) -> list[_ChildProcess]:
    """The children that have ended; waits a moment for the first."""
    # Answers are read while the child lives: a large one would fill the pipe and block the child.
    ready = connection.wait([child.pipe for child in children], timeout_s)
    ended = []
    for child in children:
        if child.pipe in ready and child.answer is None:
            _receive(child)
        # Not by the end of the pipe alone: a process that the run left behind keeps it open.
        if child.process.poll() is not None:
            if child.answer is None and child.pipe.poll():
                _receive(child)
            ended.append(child)
    if not ended and ready:
        time.sleep(0.01)  # the pipe of a child that is about to end stays readable
    return ended


def _receive(child: _ChildProcess) -> None:
    with contextlib.suppress(EOFError, OSError):
        child.answer = RunOutcome(child.run, **child.pipe.recv())


def _outcome(child: _ChildProcess) -> RunOutcome:
    code = child.process.poll()
    child.pipe.close()
    if child.answer is not None:
        return child.answer
    assert code is not None
    if code < 0:
        with contextlib.suppress(ValueError):
            ending = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                ending += " (out of memory?)"
            # Its owner is gone, so readers derive `lost`; only the owner writes run.json.
            return _lost(child.run, ending)
    return _lost(child.run, f"ended with exit code {code} before it could say how the run went")


def _lost(run: GridRun, ending: str) -> RunOutcome:
    log = run.folder / CONSOLE_LOG
    text = f"The process of run {run.run_name!r} {ending}; its last words are in {log}"
    return RunOutcome(run, "lost", f"its process {ending}", error=RuntimeError(text))


def _ask_to_stop(children: Sequence[_ChildProcess]) -> None:
    """Pass the warning on: the runs save what they have and leave."""
    for child in children:
        if _WARNING is not None:
            child.process.send_signal(_WARNING)


def _stop(
    children: Sequence[_ChildProcess], number: signal.Signals, grace_s: float = GRACE_S
) -> None:
    """Interrupt the children, wait for them to save what they have, and kill what is left."""
    for child in children:
        child.process.send_signal(number)
    deadline = time.monotonic() + grace_s
    try:
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
    except KeyboardInterrupt:  # a second Ctrl-C: the user will not wait
        pass
    for child in children:
        child.process.kill()
        child.process.wait()


def run_child(fd: int, arguments: _ChildArguments) -> None:
    """What runs in a fresh interpreter, whose answer goes to a descriptor."""
    from .._grid.grid import open_grid

    with Connection(fd, readable=False) as pipe:
        arguments.task.run(
            open_grid(arguments.grid),
            lambda task_function, grid: _answer(grid, task_function, arguments, pipe),
        )


def _answer(
    grid: Grid, task_function: TaskFunction, arguments: _ChildArguments, pipe: Connection
) -> None:
    """Execute the run in the child, and answer how it went."""
    # Out of the terminal's foreground group: Ctrl-C reaches the sweep, which passes it on once.
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    # `python train.py -m &` in a shell script makes the sweep ignore SIGINT, which a child
    # inherits; but by this signal the sweep, or its death, ends the run.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    from expkit_bookkeeping.launching import stop_requested, stop_signals

    with stop_signals():
        _accept_signals()
        try:
            _end_with_parent(arguments.parent)
            if stop_requested() is not None:
                reason = "was asked to stop before it started"
                outcome = RunOutcome(arguments.run, "skipped", reason, stop=INTERRUPTED)
            else:
                outcome = _execute_in_child(grid, task_function, arguments)
        except KeyboardInterrupt:  # before the run was claimed; `execute_run` lets none through
            raise SystemExit(INTERRUPTED) from None
        # Within the block: after it, the warning would end the process before it has answered.
        pipe.send({name: getattr(outcome, name) for name in _ANSWERED})
        pipe.close()
        if _WARNING is not None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {_WARNING})


def _execute_in_child(
    grid: Grid, task_function: TaskFunction, arguments: _ChildArguments
) -> RunOutcome:
    index = arguments.run.index
    fresh = frozenset([index] if arguments.fresh else [])
    grid = replace(grid, fresh=fresh, known={index: arguments.known})
    return execute_run(
        grid,
        arguments.run,
        task_function=task_function,
        hydra_context=hydra_context(grid, arguments.run),
        output=None if arguments.show_output else ProcessOutput(),
        is_alive=arguments.is_alive,
    )


def _end_with_parent(parent: int) -> None:
    """Be interrupted when the sweep's process dies: nobody would start the remaining runs."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:  # it died before the call
        raise KeyboardInterrupt
