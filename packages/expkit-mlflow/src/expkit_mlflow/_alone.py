"""What a run without Bookkeeping needs: a folder, a rank, a state, an end by signal."""

import contextlib
import re
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from ._journal import JOURNAL_NAME, Entry, Journal, has_ended, is_completed, read_attempts
from ._owners import is_gone


def experiment_folder(experiment: str | Path | None, results_dir: str | Path) -> Path | None:
    """The folder of an experiment that is a name or a folder.

    Raises:
        TypeError: If it is neither.
    """
    if experiment is None:
        return None
    if not isinstance(experiment, (str, Path)) or not str(experiment):
        raise TypeError(f"experiment must be a name or a folder, got {experiment!r}")
    by_name = isinstance(experiment, str) and not re.search(r"[/\\]", experiment)
    folder = Path(results_dir) / experiment if by_name else Path(experiment)
    return folder.absolute()


def open_run_folder(training: Path, name: str) -> tuple[Journal, str, int]:
    """Opens the run folder of this name, or of this name with a number.

    A folder is taken if it is new, or if its run is neither completed nor running.

    Returns:
        Its journal, the run's id, and the number of this attempt.
    """
    number = 1
    while True:
        path = training / (name if number == 1 else f"{name}_{number}") / JOURNAL_NAME
        journal = Journal(path)
        attempts = read_attempts(path)
        if _is_free(journal, attempts) and not (attempts and is_completed(path)):
            run_id = str(attempts[-1]["id"]) if attempts else uuid.uuid4().hex
            return journal, run_id, len(attempts) + 1
        journal.close()
        number += 1


def _is_free(journal: Journal, attempts: list[Entry]) -> bool:
    if journal.is_owner is not None or not attempts:
        return journal.is_owner is not False
    # Without locks the journal's entries decide, so that two processes do not write one run.
    return has_ended(journal.path) or is_gone(attempts[-1], journal.path)


def name_from_time(time_s: float) -> str:
    """A run's name made from the time: `20261123-080550`."""
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(time_s))


def is_folder_name(name: str) -> bool:
    """Whether the text can name one folder."""
    return bool(name) and name not in (".", "..") and not re.search(r"[/\\\0]", name)


def rank_of(rank: int | None, environ: Mapping[str, str]) -> int:
    """The process's rank in a distributed training; 0 if there is none."""
    if rank is not None:
        return rank
    if environ.get("RANK", "").isdigit():
        return int(environ["RANK"])
    tasks = environ.get("SLURM_STEP_NUM_TASKS") or environ.get("SLURM_NTASKS") or "1"
    if tasks.isdigit() and int(tasks) > 1 and environ.get("SLURM_PROCID", "").isdigit():
        return int(environ["SLURM_PROCID"])
    return 0


def state_after(error: BaseException | None) -> str:
    """The state of a run whose block ended with this exception."""
    if isinstance(error, SystemExit):
        code = error.code
        if code is None or code == 0:
            return "completed"
        # 128 + signal: the code with which a handler of SIGTERM exits.
        return "interrupted" if isinstance(code, int) and code > 128 else "failed"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "completed" if error is None else "failed"


@contextlib.contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """Turns SIGTERM into SystemExit(143), in the main thread and if it has no other handler."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    ):
        yield
        return

    def exit_with_code(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, exit_with_code)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is exit_with_code:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
