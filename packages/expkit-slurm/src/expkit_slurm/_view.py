"""The door by which the sweep and `expkit status` ask about Slurm: quick where nothing is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expkit_hydra.launching import SchedulerView

FOLDER = "slurm"  # in an experiment's folder: what was submitted of it


def look(experiment: Path) -> SchedulerView | None:
    """One look at the queue; None for an experiment of which nothing was submitted."""
    if not (experiment / FOLDER).is_dir():
        return None
    from ._queue_view import look as look_at_queue  # most of the package

    return look_at_queue(experiment)
