"""The thread that drains a run's journal to a server while the run is still going."""

import contextlib
import logging
import threading
from pathlib import Path

from .._addresses.command_lines import command_line
from .._addresses.errors import TrackingError, in_words, log_traceback
from .._addresses.secrets import uri_without_secrets
from .._journal.reading import read_attempts
from .._journal.run_files import Check, RunLost
from .._store.client import Store
from .drain import JournalDrain
from .superseded import tag_superseded

logger = logging.getLogger(__name__)

RETRY_S = 30.0
LASTING_RETRY_S = 600.0  # after a refusal that somebody has to mend, such as of the password


class BackgroundDrain:
    """Drains the journal from disk again and again, so that nothing waits in memory.

    Args:
        journal: The run's journal, written by this process.
        uri: The server.
        check: Raises RunLost once the journal is another process's, which sends it itself.
        interval_s: Time between two passes over the journal.
    """

    def __init__(
        self, journal: Path, uri: str, *, check: Check | None = None, interval_s: float = 2.0
    ) -> None:
        self._journal = journal
        self._uri = uri
        self._check = check
        self._interval_s = interval_s
        self._drain: JournalDrain | None = None
        self._stop = threading.Event()
        self._warned = False
        self._why: str | None = None  # of the last pass, if it did not send everything
        self.complete = False
        self._thread = threading.Thread(target=self._run, name="expkit-mlflow", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Sends the rest, for at most `timeout_s`; returns whether the server has everything.

        If it has not, a warning says why.
        """
        self._stop.set()
        self._thread.join(timeout_s)
        if not self.complete:
            why = f" Before that: {self._why}" if self._why else ""
            if self._thread.is_alive():
                self._warn(f"it did not take everything within {timeout_s:g} s.{why}", at_end=True)
            else:
                self._warn(self._why or "it did not take everything.", at_end=True)
        return self.complete

    def _run(self) -> None:
        pause_s = self._interval_s
        with contextlib.suppress(RunLost):
            while not self._stop.wait(pause_s):
                pause_s = self._pass()
            self._pass()
            self.complete = self._why is None

    def _pass(self) -> float:
        """Sends what is new; returns how long to wait before the next pass, in seconds."""
        if self._check is not None:
            with contextlib.suppress(OSError):
                self._check()
        try:
            if self._drain is None:
                self._drain = self._start()
            if self._drain.has_new_entries:
                report = self._drain.drain()
                for problem in report.problems:
                    logger.warning("%s: %s", self._journal.parent.name, problem)
        except Exception as error:
            self._drain = None  # it may count as sent what was not
            if not isinstance(error, TrackingError):
                log_traceback(logger)
            self._why = in_words(error)
            if not self._warned:
                self._warned = True
                self._warn(self._why)
            lasts = isinstance(error, TrackingError) and error.lasts
            return LASTING_RETRY_S if lasts else RETRY_S
        self._why = None
        return self._interval_s

    def _start(self) -> JournalDrain:
        head = read_attempts(self._journal)[-1]
        store = Store(self._uri)
        store.check()
        drain = JournalDrain(self._journal, store)
        stored = store.find_run(str(head["experiment"]), str(head["id"]))
        if stored is None:
            drain.create(head)
            tag_superseded(store, drain)
        else:
            if stored.deleted:
                raise TrackingError(
                    f"Run {head['run_name']} was deleted there; restore it to send more.",
                    lasts=True,
                )
            drain.attach(stored, head)
            store.remove_duplicates(drain.run_id)
        return drain

    def _warn(self, why: str, *, at_end: bool = False) -> None:
        uri = uri_without_secrets(self._uri)
        logger.warning(
            "MLflow: %s %s journal %s keeps everything, and `%s` sends it later.",
            why if uri in why else f"{uri}: {why}",
            "Something is missing there. The" if at_end else "Training goes on, the",
            self._journal,
            command_line("sync", self._journal.parent.parent.parent),
        )
