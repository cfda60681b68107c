"""What can happen to a sweep."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from signal import SIGINT, SIGKILL, SIGTERM

from faults.process_tree import Process, descendants

PAUSE_S = 0.3


@dataclass(frozen=True)
class Fault:
    """Signals, and the processes that get them.

    `target` is `sweep`, `group` (the sweep's process group, as from a terminal), `tree` (the sweep
    and all its descendants), or a part of a descendant's command line, for one such process.
    """

    name: str
    target: str
    signals: Sequence[signal.Signals] = (SIGKILL,)

    @property
    def ends_sweep(self) -> bool:
        """Whether the fault ends the sweep."""
        return self.target in ("sweep", "group", "tree")

    def victims(self, sweep: int) -> list[Process]:
        """Those of the sweep's descendants that the fault can hit now."""
        processes = descendants(sweep)
        if self.ends_sweep:
            return processes
        return [process for process in processes if self.target in process.command]

    def strike(self, sweep: int, victims: Sequence[Process]) -> None:
        """Send the signals to the target; unless that is the sweep or its group, to `victims`."""
        for position, number in enumerate(self.signals):
            if position:
                time.sleep(PAUSE_S)
            with suppress(ProcessLookupError):  # the previous signal was enough
                if self.target == "group":
                    os.killpg(sweep, number)
                elif self.ends_sweep:
                    os.kill(sweep, number)
            if self.target not in ("sweep", "group"):
                for process in victims:
                    process.send(number)


FAULTS = (
    Fault("SIGKILL to all processes, as in a power cut", "tree"),
    Fault("SIGKILL to the sweep alone", "sweep"),
    Fault("SIGKILL to the sweep's process group", "group"),
    Fault("SIGKILL to one child of n_jobs", "run_child"),
    Fault("SIGKILL to the helper sync --follow", "--follow"),
    Fault("SIGTERM to the sweep", "sweep", (SIGTERM,)),
    Fault("SIGINT to the group, as by Ctrl-C", "group", (SIGINT,)),
    Fault("SIGINT twice, as by an impatient Ctrl-C", "group", (SIGINT, SIGINT)),
    Fault("SIGTERM, then SIGKILL, as by scancel", "tree", (SIGTERM, SIGKILL)),
)
