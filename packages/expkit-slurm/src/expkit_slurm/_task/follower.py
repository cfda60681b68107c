"""A rank above 0 of a distributed run: takes part, and writes nothing but its error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_hydra import Grid, GridRun

    from .distributed import Ranks

# Exit codes of a script that is done, and of one that was interrupted or terminated.
NO_FAILURES = (0, 130, 143)


def run_follower(
    grid: Grid, run: GridRun, task_function: Callable[[Any], Any], ranks: Ranks
) -> None:
    """Take part in rank 0's run.

    Raises:
        SystemExit: If the user's function failed or asked for the end.
    """
    from hydra.core.utils import JobStatus

    from expkit_bookkeeping.launching import exit_code, traceback_text
    from expkit_hydra.launching import hydra_context, raw_return_value, take_part

    if ranks.wait_for_rank_0() is not None:
        return
    try:
        job = take_part(
            grid, run, task_function=task_function, hydra_context=hydra_context(grid, run)
        )
    except SystemExit as end:
        if exit_code(end) not in NO_FAILURES:
            ranks.leave_error(end)
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also before and after the user's function
        ranks.leave_error(error)
        raise
    if job.status == JobStatus.FAILED:
        failure = raw_return_value(job)
        ranks.leave_error(failure)
        print(traceback_text(failure), file=sys.stderr, end="", flush=True)
        raise SystemExit(1)
