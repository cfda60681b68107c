"""The user's program in a task: imported, from the snapshot if there is one."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import replace

from .._cluster.errors import SlurmError
from .._submissions.layout import CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_hydra import Grid
    from expkit_hydra.launching import Program, Task

    from .._submissions.record import Submission


def load_task(grid: Grid, submission: Submission | None, log: Callable[[str], None]) -> Task:
    """Import the user's program, in which the function that the grid runs is then found.

    Args:
        grid: Names the program where there is no submission.
        submission: The task's submission.
        log: Writes into the task's log.

    Raises:
        SlurmError: If the program is unknown, or cannot be imported.
    """
    if submission is not None and submission.program is None:
        from .._submissions.payload import PickledTask

        return PickledTask(submission.path)
    from expkit_bookkeeping.launching import error_facts, stop_requested, traceback_text
    from expkit_hydra.launching import Program

    program = _program(grid, submission)
    if program is None:
        raise SlurmError(
            f"It is not known which function the grid {grid.grid_id} runs: its grid_search.yaml "
            "names none. Submit it again with hydra/launcher=expkit_slurm."
        )
    try:
        Program.load(program)
    except SystemExit as end:
        if stop_requested() is not None:
            raise
        raise SlurmError(
            f"The program ends while it is imported: sys.exit({end.code!r}). Tasks import it; "
            'what only the sweep is to do belongs under `if __name__ == "__main__":`.'
        ) from end
    except Exception as error:
        log(traceback_text(error).rstrip())
        facts = error_facts(error)
        raise SlurmError(
            f"The program cannot be imported here: {facts['type']}: {facts['message']}"
        ) from error
    return program.task


def _program(grid: Grid, submission: Submission | None) -> Program | None:
    from expkit_hydra.launching import Program

    if submission is not None:
        assert submission.program is not None
        program = Program.from_record(submission.program)
        if submission.snapshot is not None:
            return _from_snapshot(program, submission)
        return program
    described = grid.description.get("task")
    return None if described is None else Program.described(described)


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
