"""Which methods the objects need that users and other parts hand to an open run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Sink(Protocol):
    """Where metrics go besides metrics.jsonl.

    All arguments are passed by position, so a sink may name its parameters as it likes.

    All methods run on the training thread, but for `flush`: that runs on the thread that writes the
    checkpoint, which with `background=True` is another one, while the training goes on.

    A sink may also have `reconcile(points, *, cut)`. It is called when an attempt opens a run that
    has logged before, and with `cut=True` when `resume` has forgotten what came after the
    checkpoint. `points` is all that metrics.jsonl holds then, in the order in which it was logged:
    metrics, step and time of each call of `log_metrics`. The sink takes those that it lacks; with
    `cut`, what it was given after the last of them is void, as it will be logged again.
    """

    def open(self, run: Mapping[str, object], config: Mapping[str, object], /) -> None:
        """Begin.

        Args:
            run: The content of run.json, and `folder`.
            config: The resolved configuration as plain data.
        """

    def log_metrics(self, metrics: Mapping[str, float], step: int, time: float, /) -> None:
        """Take the metrics of one `Bookkeeping.log_metrics`.

        Args:
            metrics: By name the values.
            step: Epoch or batch, from 0.
            time: When they were logged, in seconds since the epoch.
        """

    def log_artifact(self, path: Path, /) -> None:
        """Take a file of the run folder."""

    def log_timer(self, name: str, statistics: Mapping[str, float], /) -> None:
        """Take one timer's statistics.

        Args:
            name: Of the timer.
            statistics: By name, as in timer.yaml.
        """

    def flush(self) -> None:
        """Make durable what was logged; a checkpoint or the end is recorded afterwards.

        May run beside the other methods; see the class.
        """

    def close(self, state: str, /) -> None:
        """End; the state is completed, failed or interrupted."""


class SavableTimer(Protocol):
    """A timer, for `Bookkeeping.save_timer`."""

    def save(self, path: Path, /) -> object:
        """Write timer.yaml, merging with what the file holds."""


class PendingSaves(Protocol):
    """What is saved in the background, which must be written before the run ends."""

    def wait(self) -> None:
        """Wait until everything is written or has failed."""

    def raise_failed(self) -> None:
        """Raise the error of a save, once."""

    def error(self) -> BaseException | None:
        """The error of a save that was not raised yet."""

    def stop(self) -> None:
        """End once everything is written, and release the memory."""
