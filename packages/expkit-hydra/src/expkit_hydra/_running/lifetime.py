"""What run.json is told of a run while it is alive, and how it ended."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from .._composing.errors import GridError

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
    must_return: bool = False,
    stopped: bool = False,
    left_early: bool = False,
) -> str:
    """Write how a run ended, unless the script's own Bookkeeping has done so; returns the state.

    Args:
        claim: The run's claim.
        error: What the user's function raised; None if it returned.
        returned: What it returned.
        must_return: Whether a value that run.json cannot hold makes the run fail: somebody waits
            for it.
        stopped: Whether the sweep was asked to end.
        left_early: Whether the function returned because it was asked to stop.
    """
    from expkit_bookkeeping import RunClaimed, read_run
    from expkit_bookkeeping.launching import claim_run, exit_code, traceback_text

    if exit_code(error) == 0:  # so a script says that it is done
        error = None
    ended = error is not None and asks_for_the_end(error)
    facts: dict[str, object] = {}
    if error is None:
        try:
            facts = _returned_fact(claim, returned)
        except ValueError as reason:
            if must_return:
                error = GridError(f"{reason} Return a number, text, or lists or dicts of them.")
            else:
                _append_to_log(claim, f"{reason} save_results keeps more.\n")
    record = read_run(claim.folder)
    if record is not None and record.attempt == claim.attempt and record.state != "running":
        # An error after Bookkeeping's block is still the run's: nobody would ever try a completed
        # run again.
        fails_late = record.state == "completed" and not ended and error is not None
        if not fails_late:
            if facts:
                _add(claim, facts)
            return record.state
    if claim.is_handed_on:  # to a process that has ended without a word
        try:
            claim = claim_run(claim.folder)
        except RunClaimed:  # or goes on
            return "running"
    if error is None:
        state = "interrupted" if left_early else "completed"
    else:
        state = "interrupted" if ended or stopped else "failed"
    if state == "failed" and error is not None:
        _append_to_log(claim, f"The run failed.\n{traceback_text(error)}")
    recorded_error = None if state == "completed" else error
    try:
        claim.finish(state, recorded_error, **facts)
    except (KeyboardInterrupt, SystemExit):
        # Ctrl-C or SIGTERM at this point does not change how the run ended.
        claim.finish(state, recorded_error, **facts)
        raise
    return state


def checkpoint_versions(folder: Path) -> frozenset[tuple[str, int, int]]:
    """The checkpoints of a run, each with what changes when it is written again.

    An attempt has saved its state if they differ from those before it.
    """
    from expkit_bookkeeping import find_checkpoints

    versions = set()
    for checkpoint in find_checkpoints(folder):
        with contextlib.suppress(OSError):
            stat = checkpoint.path.stat()
            versions.add((checkpoint.path.name, stat.st_ino, stat.st_mtime_ns))
    return frozenset(versions)


def as_exception(error: BaseException) -> Exception:
    """What a sweeper is given for an error: one that it can catch, and that ends nothing else."""
    from expkit_bookkeeping.launching import error_facts, text_of

    if isinstance(error, Exception):
        return error
    if isinstance(error, SystemExit):
        code = repr(error.code) if isinstance(error.code, str) else text_of(error.code)
        return GridError(f"The function called sys.exit({code}).")
    facts = error_facts(error)
    exception = RuntimeError(f"{facts['type']}: {facts['message']}")
    exception.add_note(facts["traceback"])
    return exception


def asks_for_the_end(error: BaseException) -> bool:
    """Whether an error asks for the end of all runs: Ctrl-C, or SIGTERM."""
    from expkit_bookkeeping.launching import exit_code

    return isinstance(error, KeyboardInterrupt) or exit_code(error) in (INTERRUPTED, TERMINATED)


def earlier_files(folder: Path) -> str | None:
    """Which files of earlier attempts a script finds that does not resume from Bookkeeping's.

    They stay where they are: a script may resume from them itself.

    Returns:
        Their names; None if there are none, or a checkpoint of Bookkeeping's.
    """
    from expkit_bookkeeping import find_checkpoints
    from expkit_bookkeeping.launching import script_files

    names = script_files(folder)
    if not names or find_checkpoints(folder):
        return None
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _add(claim: Claim, facts: dict[str, object]) -> None:
    """Add facts to the run.json of a run whose end is recorded, whatever they meet."""
    from expkit_bookkeeping import ClaimLost

    try:
        claim.update(**facts)
    except ClaimLost:  # somebody runs it again
        return
    except OSError as error:
        log.warning("What run %s returned was not recorded: %s", claim.folder.name, error)


def _returned_fact(claim: Claim, returned: object) -> dict[str, object]:
    """What run.json keeps of what the task function returned.

    A number, or the one of this name in a mapping, counts as `expkit.metric` where the run has
    logged nothing under it.

    Raises:
        ValueError: If it cannot keep it; the text says why.
    """
    from expkit_bookkeeping.launching import text_of, to_tagged

    if returned is None:  # as in run.json from the start
        return {}
    try:
        tagged = to_tagged(returned)
        size = len(json.dumps(tagged))
        if size > MOST_RETURNED_BYTES:
            raise ValueError(f"It takes {size:,} bytes; at most {MOST_RETURNED_BYTES:,} are kept.")
    except Exception as reason:  # what the user's own classes do when they are looked at
        text = f"run.json does not keep what the function returned. {text_of(reason)}"
        raise ValueError(text) from None
    return {"returned": tagged, **_metric_facts(claim, tagged)}


def _metric_facts(claim: Claim, returned: object) -> dict[str, object]:
    """What run.json says about `expkit.metric`, if a number was returned and none logged."""
    from expkit_bookkeeping import read_run
    from expkit_bookkeeping.launching import settings_of_run

    record = read_run(claim.folder)
    if record is None:
        return {}
    settings = settings_of_run(record, None)
    metric = settings.metric
    if metric is None or metric in record.metrics:
        return {}
    value = returned.get(metric) if isinstance(returned, dict) else returned
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {}
    best = {"metric": metric, "direction": settings.direction, "value": value, "step": None}
    return {"metrics": {**record.metrics, metric: value}, "best": best}


def _append_to_log(claim: Claim, text: str) -> None:
    from expkit_bookkeeping import ClaimLost
    from expkit_bookkeeping.launching import open_append_file

    # To the file and not through logging: the run's handlers may be off, or write elsewhere.
    with contextlib.suppress(OSError, ClaimLost):
        fd = open_append_file(claim.folder / "training.log", claim.check)
        with os.fdopen(fd, "a", encoding="utf-8") as file:
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
