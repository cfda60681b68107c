"""What run.json is told of a run while it is alive, and how it ended."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping.launching import Claim


log = logging.getLogger(__name__)

HEARTBEAT_S = 30.0
MOST_RETURNED_BYTES = 100_000  # whoever lists runs reads all of it
# Exit codes as a shell reports them: 128 + number of the signal.
INTERRUPTED = 130
TERMINATED = 143


def record_end(
    claim: Claim,
    error: BaseException | None,
    *,
    returned: object = None,
    stopped: bool = False,
) -> str:
    """Write how a run ended, unless the script's own Bookkeeping has done so; returns the state.

    Args:
        claim: The run's claim.
        error: What the user's function raised; None if it returned.
        returned: What it returned.
        stopped: Whether the sweep was asked to end.
    """
    from expkit_bookkeeping import read_run

    ended = isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and error.code in (INTERRUPTED, TERMINATED)
    )
    facts = {} if error is not None else _returned_fact(claim.folder, returned)
    record = read_run(claim.folder)
    if record is not None and record.attempt == claim.attempt and record.state != "running":
        # An error after Bookkeeping's block is still the run's: nobody would ever try a completed
        # run again.
        fails_late = record.state == "completed" and not ended and error is not None
        if not fails_late:
            if facts:
                _add(claim, facts)
            return record.state
    state = "completed" if error is None else "interrupted" if ended or stopped else "failed"
    if state == "failed" and error is not None:
        _append_traceback(claim.folder / "training.log", error)
    claim.finish(state, None if state == "completed" else error, **facts)
    return state


def _add(claim: Claim, facts: dict[str, object]) -> None:
    """Add facts to the run.json of a run whose end is recorded, whatever they meet."""
    from expkit_bookkeeping import ClaimLost

    try:
        claim.update(**facts)
    except ClaimLost:  # somebody runs it again
        return
    except OSError as error:
        log.warning("What run %s returned was not recorded: %s", claim.folder.name, error)


def _returned_fact(folder: Path, returned: object) -> dict[str, object]:
    """What run.json keeps of what the task function returned; why not, the run's log says."""
    from expkit_bookkeeping.launching import to_tagged

    if returned is None:  # as in run.json from the start
        return {}
    try:
        tagged = to_tagged(returned)
        size = len(json.dumps(tagged))
        if size > MOST_RETURNED_BYTES:
            raise ValueError(f"It takes {size:,} bytes; at most {MOST_RETURNED_BYTES:,} are kept.")
    except (TypeError, ValueError) as reason:
        text = f"run.json does not keep what the function returned. {reason}"
        _append_to_log(folder / "training.log", f"{text} save_results keeps more.\n")
        return {}
    return {"returned": tagged}


def _append_traceback(path: Path, error: BaseException) -> None:
    from expkit_bookkeeping.launching import without_known_secrets

    text = without_known_secrets("".join(traceback.format_exception(error)))
    _append_to_log(path, f"The run failed.\n{text}")


def _append_to_log(path: Path, text: str) -> None:
    # To the file and not through logging: the run's handlers may be off, or write elsewhere.
    with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(f"[{datetime.now():%Y-%m-%d %H:%M:%S}] {text}")


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
