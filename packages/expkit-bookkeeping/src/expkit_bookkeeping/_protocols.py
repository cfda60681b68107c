"""What users may hand in: objects with these methods."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Sink(Protocol):
    """Where metrics go besides metrics.jsonl. All methods run on the training thread."""

    def open(self, run: Mapping[str, object], config: Mapping[str, object]) -> None:
        """Begin; `run` is the content of run.json plus `folder`, `config` is plain data."""

    def log_metrics(self, metrics: Mapping[str, float], step: int, time: float) -> None:
        """Take what `Bookkeeping.log_metrics` was given, at `time` seconds since the epoch."""

    def log_artifact(self, path: Path) -> None:
        """Take a file of the run folder."""

    def log_timer(self, name: str, statistics: Mapping[str, float]) -> None:
        """Take one timer's statistics, as timer.yaml names them."""

    def flush(self) -> None:
        """A checkpoint was saved."""

    def close(self, state: str) -> None:
        """End; the state is completed, failed or interrupted."""


class Savable(Protocol):
    """A timer, for `Bookkeeping.save_timer`."""

    def save(self, path: Path) -> object:
        """Write timer.yaml, merging with what is there."""
