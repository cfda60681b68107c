"""What run.json is told of a run while it is alive, and how it ended."""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping.launching import Claim


HEARTBEAT_S = 30.0
# Exit codes as a shell reports them: 128 + number of the signal.
INTERRUPTED = 130
TERMINATED = 143


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
