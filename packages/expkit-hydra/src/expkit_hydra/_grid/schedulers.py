"""What schedulers say about an experiment's runs: which are alive, and where the others wait.

A package that hands runs to a scheduler registers a function under the entry-point group
`expkit.schedulers`. The function takes the experiment's folder and returns a `SchedulerView`, or
None if its scheduler has nothing to do with the experiment. So `status`, `cleanup` and a sweep
know what a queue knows, and none of them depends on a scheduler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord
    from expkit_bookkeeping.launching import Liveness

    from .run import GridRun

GROUP = "expkit.schedulers"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SchedulerReport:
    """What a scheduler says about a run.

    `state` is the run's state if the scheduler knows more than run.json, such as `cancelled`;
    `job` says what its job does, such as `1234_7 PENDING (Resources)`, `advice` what to do
    about it, and `is_blocked` that it will not start until somebody does.
    """

    state: str | None = None
    job: str | None = None
    advice: str | None = None
    is_blocked: bool = False


def _report_nothing(
    runs: Sequence[GridRun], records: Sequence[RunRecord]
) -> Mapping[str, SchedulerReport]:
    return {}


@dataclass(frozen=True)
class SchedulerView:
    """What one query of a scheduler has shown.

    `is_alive` says whether the owner of a running run is alive. `report(runs, records)` says by
    name what is known about these runs of a grid, and about other runs with a record, unless they
    are completed.
    """

    is_alive: Liveness
    report: Callable[[Sequence[GridRun], Sequence[RunRecord]], Mapping[str, SchedulerReport]] = (
        _report_nothing
    )


def ask_schedulers(experiment: Path) -> SchedulerView:
    """What the installed schedulers say about an experiment; without any, what the machine says."""
    from expkit_bookkeeping.launching import is_alive

    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            ask: Callable[[Path], SchedulerView | None] = entry.load()
            view = ask(experiment)
        except Exception as error:  # whatever it is, the runs can be listed without it
            log.warning("%s cannot be asked about %s: %s", entry.name, experiment, error)
            continue
        if view is not None:
            return view
    return SchedulerView(is_alive)
