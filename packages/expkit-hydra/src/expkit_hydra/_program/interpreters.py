"""Fresh interpreters that run the user's program again, and whether it can be run again.

Not multiprocessing's: its children have its start method for default, a `__main__` of another name
and no functions of `atexit`. These are like the process that the user has started.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._composing.errors import GridError
from .main_module import AppCall, Surroundings, surroundings
from .program import Program, interpreter_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.types import TaskFunction

    Process = subprocess.Popen[bytes]


def start_interpreter(
    target: Callable[[int, Any], None],
    argument: object,
    *,
    fd: int,
    environ: Mapping[str, str] | None = None,
) -> Process:
    """Start an interpreter with this process's options, which calls a function of a module.

    Args:
        target: The function; it is found by its name.
        argument: Its second argument, which is pickled.
        fd: Its first one, a descriptor that it inherits.
        environ: Its environment; None: this process's.
    """
    code = (
        f"import sys; sys.path[:] = {[entry for entry in sys.path if entry]}; "
        f"from {__name__} import _call; _call({target.__module__!r}, {target.__name__!r}, {fd})"
    )
    process = subprocess.Popen(
        [sys.executable, *interpreter_options(), "-c", code],
        stdin=subprocess.PIPE,
        pass_fds=[fd],
        env=None if environ is None else dict(environ),
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # its exit code says that it has ended
        process.stdin.write(pickle.dumps(argument))
    with suppress(BrokenPipeError):
        process.stdin.close()
    return process


def _call(module: str, name: str, fd: int) -> None:
    """What runs in the interpreter."""
    from importlib import import_module

    os.set_inheritable(fd, False)
    argument = pickle.load(sys.stdin.buffer)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # several processes cannot share a keyboard
    os.close(null)
    getattr(import_module(module), name)(fd, argument)


def program_to_start(task_function: TaskFunction, warn: Callable[[str], object]) -> Program:
    """The program that other processes start for the runs of a grid, tried out before they do.

    If code before the app cannot be executed again, the program is imported without its block
    `if __name__ == "__main__":`, and a warning says so.

    Args:
        task_function: The user's function.
        warn: Is given each warning.

    Raises:
        GridError: If no other process finds the function.
    """
    program = Program.of(task_function)
    call = AppCall.current()
    if not program.started or call is None:
        return program
    code = _code_around(call)
    if code is None:
        return program
    name = os.path.basename(call.main.f_code.co_filename)  # noqa: PTH119
    if code.loop is not None:
        warn(
            f"{name}, line {code.loop}: the app is called in a loop. The processes of the runs "
            "execute what comes before its first call, and none of the loop's later rounds."
        )
    if code.later is not None:
        warn(
            f"{_lines(name, code.later)}: comes after the app, so it is executed once, by the "
            "sweep, where what the runs change in memory is not seen. Read what they return or "
            "log instead."
        )
    if code.is_bare and call.is_at_top:
        return program
    problem = _try_out(program)
    if problem is None:
        return program
    try:
        imported = program.imported()
    except GridError as error:
        raise GridError(
            f"{_lines(name, code.block)}: cannot be executed again, which the processes of the "
            f"runs do. {problem} {error}"
        ) from None
    warn(
        f"{_lines(name, code.block)}: left out in the processes of the runs, as it cannot be "
        f"executed again. {problem} What the runs need of it belongs above it, or into the "
        "function."
    )
    return imported


def _code_around(call: AppCall) -> Surroundings | None:
    """What stands around the app's call; None if the source is gone."""
    with suppress(OSError, SyntaxError):
        source = Path(call.main.f_code.co_filename).read_bytes()
        return surroundings(source, call.main.f_lineno)
    return None


def _lines(name: str, lines: tuple[int, int]) -> str:
    first, last = lines
    return f"{name}, line {first}" if first == last else f"{name}, lines {first} to {last}"


def _try_out(program: Program) -> str | None:
    """Run a program up to its app in a process of its own; what prevented that, None if nothing."""
    reader, writer = os.pipe()
    try:
        process = start_interpreter(reach_app, program, fd=writer)
    finally:
        os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as answers:
        answer = answers.read()
    process.wait()
    if answer == _REACHED:
        return None
    return answer or f"The process ends there with exit code {process.returncode}."


_REACHED = "reached"


def reach_app(fd: int, program: Program) -> None:
    """In a fresh interpreter: answer whether a program reaches its app."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        program.start(lambda task_function: None)
        answer = _threads_left() or _REACHED
    except BaseException as error:
        answer = _problem(program, error)
    with suppress(OSError):
        os.write(fd, answer.encode("utf-8", "backslashreplace"))
    os._exit(0)  # no function of atexit: the sweep itself has still to come


def _threads_left() -> str | None:
    """Threads that would keep a run's process alive: what ends them may come after the app."""
    from threading import enumerate as all_threads
    from threading import main_thread

    names = [one.name for one in all_threads() if not one.daemon and one is not main_thread()]
    return f"It leaves threads running: {', '.join(names)}." if names else None


def _problem(program: Program, error: BaseException) -> str:
    """Where and why a program has failed."""
    from expkit_bookkeeping.launching import error_facts

    facts = error_facts(error)
    text = f"{facts['type']}: {facts['message']}".rstrip(": ")
    line = None
    trace = error.__traceback__
    path = getattr(sys.modules["__main__"], "__file__", None)
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, GridError) or line is None:
        return text if text.endswith(".") else f"{text}."
    return f"Line {line} fails there: {text.rstrip('.')}."
