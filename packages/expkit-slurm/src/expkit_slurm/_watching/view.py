"""Where the sweep and `expkit status` ask about Slurm: quick for what was never submitted."""

from __future__ import annotations

from pathlib import Path

from .._submissions.layout import has_submissions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_hydra.launching import SchedulerView


def view_scheduler(experiment: Path) -> SchedulerView | None:
    """The queue as it is now; None for an experiment of which nothing was submitted."""
    if not has_submissions(experiment):
        return None
    from .reports import view_queue  # which imports most of the package

    return view_queue(experiment)
