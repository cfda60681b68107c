"""The user's program in a task: started again, from the snapshot if there is one."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from .._cluster.errors import SlurmError
from .._submissions.layout import CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.types import TaskFunction

    from expkit_hydra import Grid
    from expkit_hydra.launching import Program, Task

    from .._submissions.record import Submission

T = TypeVar("T")


def run_program(
    grid: Grid,
    submission: Submission | None,
    log: Callable[[str], None],
    execute: Callable[[TaskFunction, Grid, Task], T],
) -> T:
    """Run the user's program with this in the place of its Hydra app.

    Args:
        grid: The grid; it names the program where there is no submission.
        submission: The task's submission.
        log: Writes into the task's log.
        execute: Is given the user's function, the grid with what its files cannot hold, and how
            other processes find both.

    Returns:
        What `execute` returned.

    Raises:
        SlurmError: If the program is unknown, or fails before its app.
    """
    from expkit_bookkeeping.launching import error_facts, stop_requested, traceback_text

    task = _task(grid, submission)
    reached = False
    imports = contextlib.ExitStack()

    def start(task_function: TaskFunction, whole_grid: Grid) -> T:
        nonlocal reached
        reached = True
        imports.close()
        return execute(task_function, whole_grid, task)

    try:
        with imports:
            imports.enter_context(few_collections())
            return task.run(grid, start)
    except SlurmError:
        raise
    except SystemExit as end:
        if reached or stop_requested() is not None:
            raise
        raise SlurmError(
            f"The program ends before it starts its Hydra app: sys.exit({end.code!r}). Tasks start "
            "it again, with the same arguments."
        ) from end
    except Exception as error:
        if reached:
            raise
        log(traceback_text(error).rstrip())
        facts = error_facts(error)
        raise SlurmError(
            f"The program fails before it starts its Hydra app: {facts['type']}: {facts['message']}"
        ) from error


def _task(grid: Grid, submission: Submission | None) -> Task:
    if submission is not None and submission.program is None:
        from .._submissions.payload import PickledTask

        return PickledTask(submission.path)
    program = _program(grid, submission)
    if program is None:
        raise SlurmError(
            f"It is not known which function the grid {grid.grid_id} runs: its grid_search.yaml "
            "names none. Submit it again with hydra/launcher=expkit_slurm."
        )
    return program


def _program(grid: Grid, submission: Submission | None) -> Program | None:
    from expkit_hydra.launching import Program

    if submission is not None:
        assert submission.program is not None
        program = Program.from_record(submission.program)
        if submission.snapshot is not None:
            return _from_snapshot(program, submission)
        return program
    return Program.described(grid.description)


def _from_snapshot(program: Program, submission: Submission) -> Program:
    from .._submissions.snapshot import Snapshot

    assert submission.snapshot is not None
    snapshot = Snapshot.from_record(submission.snapshot, submission.path / CODE)
    snapshot.announce()
    script = program.script
    return replace(
        program,
        script=None if script is None else snapshot.relocated(script),
        path=tuple(snapshot.relocated(entry) for entry in program.path),
    )


@contextlib.contextmanager
def few_collections() -> Iterator[None]:
    """Collect garbage rarely: imports create many objects and hardly any garbage.

    What they created is never looked through again, not even at the end: the last collection of a
    process that has imported hydra costs as much as half of the import.
    """
    before, rarely = gc.get_threshold(), (100_000, 50, 1_000)
    gc.set_threshold(*rarely)
    try:
        yield
    finally:
        if gc.get_threshold() == rarely:  # else the script has set its own
            gc.set_threshold(*before)
        gc.freeze()
