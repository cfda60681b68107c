"""Commands of sibling packages during and after the runs: `sync`, `plot` and `report`.

They are run as subprocesses if they are installed; none of their failures is fatal, because the
runs are what counts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .._console.command_lines import installed_verbs
from .drawing import Drawing
from .processes import VerbStarter
from .tracking import TrackingSync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_LOOK_S = 1.0  # between two looks at what the runs have written
_LOOK_SHARE = 0.05  # of the time, where a look at all runs takes long


class SiblingVerbs:
    """What `expkit.after` lists, beside the runs and once more after them.

    A context manager around the runs. A thread looks at what they have written: there is nothing
    to start for a script without metrics or tracking.

    Args:
        experiment: The experiment's folder.
        verbs: Those that are wanted, of `sync`, `plot` and `report`.
        is_last_batch: Whether these are the last runs; figures are drawn after them.

    Attributes:
        tracking: `sync`.
        drawing: `plot`.
        report: `report`, which is made once, after the runs.
        runs_ended: Set it once the runs have ended by themselves. After an interruption nothing
            is drawn, because the grid goes on later.
    """

    def __init__(
        self, experiment: Path, verbs: Sequence[str], *, is_last_batch: bool = True
    ) -> None:
        installed = {verb: name for verb, name in installed_verbs().items() if verb in verbs}
        starter = VerbStarter.of_this_process()
        self.tracking: TrackingSync = TrackingSync(experiment, installed.get("sync"), starter)
        self.drawing: Drawing = Drawing(
            experiment, installed.get("plot"), starter, is_last_batch=is_last_batch
        )
        self.report: Drawing = Drawing(experiment, installed.get("report"), starter, verb="report")
        self.runs_ended = False
        self._is_last_batch = is_last_batch
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        if installed:
            self._thread = threading.Thread(target=self._look, name="expkit siblings", daemon=True)

    def __enter__(self) -> SiblingVerbs:
        self.tracking.start_if_imported()
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
        self.drawing.stop()
        if self.runs_ended and self._is_last_batch:
            self.drawing.start()  # while tracking drains
            self.report.start()
        self.tracking.drain()

    @property
    def succeeded(self) -> bool:
        """Whether everything is synchronised and drawn, as far as it was wanted."""
        drawn = self.drawing.succeeded and self.report.succeeded
        return self.tracking.succeeded and drawn

    def _look(self) -> None:
        pause_s = _LOOK_S
        while not self._is_over.wait(pause_s):
            begin_s = time.monotonic()
            self.tracking.poll()
            self.drawing.poll()
            pause_s = max(_LOOK_S, (time.monotonic() - begin_s) / _LOOK_SHARE)
