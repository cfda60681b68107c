"""What a run needs that Bookkeeping does not keep: a folder, a state, an end by signal."""

import contextlib
import re
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from ._journal import NAME, Entry, Journal, attempts, ends, is_finished
from ._owners import is_gone


def experiment_folder(experiment: str | Path | None, results_dir: str | Path) -> Path | None:
    if experiment is None:
        return None
    if not isinstance(experiment, (str, Path)) or not str(experiment):
        raise TypeError(f"experiment must be a name or a folder, got {experiment!r}")
    by_name = isinstance(experiment, str) and not re.search(r"[/\\]", experiment)
    folder = Path(results_dir) / experiment if by_name else Path(experiment)
    return folder.absolute()


def claim(training: Path, name: str) -> tuple[Journal, str, int]:
    """The run folder of this name that may be written: new, or begun and not finished."""
    number = 1
    while True:
        path = training / (name if number == 1 else f"{name}_{number}") / NAME
        journal = Journal(path)
        lines = attempts(path)
        if _is_free(journal, lines) and not (lines and is_finished(path)):
            run_id = str(lines[-1]["id"]) if lines else uuid.uuid4().hex
            return journal, run_id, len(lines) + 1
        journal.close()
        number += 1


def _is_free(journal: Journal, lines: list[Entry]) -> bool:
    if journal.owned is not None or not lines:
        return journal.owned is not False
    # Without locks the journal's own words decide, so that two do not write one run.
    return ends(journal.path) or is_gone(lines[-1], journal.path)


def new_name(now: float) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(now))


def is_folder_name(name: str) -> bool:
    return bool(name) and name not in (".", "..") and not re.search(r"[/\\\0]", name)


def rank_of(rank: int | None, environ: Mapping[str, str]) -> int:
    """The process's place in a distributed training; 0 where there is none."""
    if rank is not None:
        return rank
    if environ.get("RANK", "").isdigit():
        return int(environ["RANK"])
    tasks = environ.get("SLURM_STEP_NUM_TASKS") or environ.get("SLURM_NTASKS") or "1"
    if tasks.isdigit() and int(tasks) > 1 and environ.get("SLURM_PROCID", "").isdigit():
        return int(environ["SLURM_PROCID"])
    return 0


def state_after(error: BaseException | None) -> str:
    """The state of a run whose block was left by this exception."""
    if isinstance(error, SystemExit):
        code = error.code
        if code is None or code == 0:
            return "completed"
        # 128 + signal: what a handler of SIGTERM leaves with.
        return "interrupted" if isinstance(code, int) and code > 128 else "failed"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "completed" if error is None else "failed"


@contextlib.contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """Turns SIGTERM into SystemExit(143), unless somebody handles it or this is a thread."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    ):
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is leave:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
