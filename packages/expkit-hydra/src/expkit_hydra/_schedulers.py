"""What schedulers say of an experiment's runs: who lives, and where the others wait.

A package that gives runs to a scheduler registers a function under the entry-point group
`expkit.schedulers`. The function takes the experiment's folder and returns a `SchedulerView`, or
None where its scheduler has nothing to do with the experiment. So `status`, `cleanup` and the
sweep know what a queue knows, and none of them depends on a scheduler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expkit_bookkeeping import Liveness, RunRecord

    from ._grid import GridRun

GROUP = "expkit.schedulers"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SchedulerReport:
    """What a scheduler says of a run.

    `state` is the run's where the scheduler knows more than run.json, such as `cancelled`; `job`
    says what its job does, such as `1234_7 PENDING (Resources)`, `advice` what to do about it.
    """

    state: str | None = None
    job: str | None = None
    advice: str | None = None


def _report_nothing(
    runs: Sequence[GridRun], records: Sequence[RunRecord]
) -> Mapping[str, SchedulerReport]:
    return {}


@dataclass(frozen=True)
class SchedulerView:
    """One look at a scheduler.

    `is_alive` tells whether the owner of a running run lives. `report(runs, records)` says by name
    what is known of the given runs of a grid, and of other runs with a record, unless they are
    completed.
    """

    is_alive: Liveness
    report: Callable[[Sequence[GridRun], Sequence[RunRecord]], Mapping[str, SchedulerReport]] = (
        _report_nothing
    )


def ask_schedulers(experiment: Path) -> SchedulerView:
    """What the installed schedulers say of an experiment; without any, what the machine says."""
    from expkit_bookkeeping import is_alive

    for each in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            asks: Callable[[Path], SchedulerView | None] = each.load()
            view = asks(experiment)
        except Exception as error:  # whatever it is, the runs can be listed without it
            log.warning("%s cannot be asked about %s: %s", each.name, experiment, error)
            continue
        if view is not None:
            return view
    return SchedulerView(is_alive)
