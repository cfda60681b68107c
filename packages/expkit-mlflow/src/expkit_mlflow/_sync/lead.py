"""Which of several followers of one experiment sends: one leads, and the others leave it to it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .._journal.experiments import find_journals
from .._store.lock import WriterHeldError, one_writer

LEAD = ".mlflow.follow.lock"
REQUEST = ".mlflow.follow.request"


class Lead:
    """The lead among the followers of an experiment, for as long as this process wants it.

    A follower that ends leaves a request before it asks for the lead: either it gets the lead and
    sends the rest itself, or the one that leads finds the request after its own last pass.

    Args:
        experiment: The experiment's folder.
    """

    def __init__(self, experiment: Path) -> None:
        self._experiment = experiment
        self._held: contextlib.ExitStack | None = None
        self.holder: str | None = None  # the other process that leads, in words

    def has_work(self) -> bool:
        """Whether there is anything to lead: without journals, nothing is written."""
        return (self._experiment / ".trash").is_dir() or bool(find_journals(self._experiment))

    def take(self) -> bool:
        """Takes the lead, or keeps it; False if another process has it.

        Raises:
            TrackingError: If the experiment's folder cannot be written.
        """
        if self._held is not None:
            return True
        stack = contextlib.ExitStack()
        try:
            stack.enter_context(one_writer(self._experiment / LEAD, wait_s=0.0))
        except WriterHeldError as error:
            self.holder = error.holder
            return False
        self._held = stack
        return True

    def release(self) -> None:
        """Gives the lead back, if this process has it."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def request(self) -> None:
        """Asks whoever leads for one more pass."""
        with contextlib.suppress(OSError):
            (self._experiment / REQUEST).touch()

    def is_requested(self) -> bool:
        """Whether somebody has asked for one more pass."""
        return (self._experiment / REQUEST).exists()

    def accept_requests(self) -> None:
        """Counts the requests as met; to be called by the leader before a pass."""
        with contextlib.suppress(OSError):
            (self._experiment / REQUEST).unlink()
