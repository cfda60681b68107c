"""The checkpoints of an open run: saved at once or in the background, after the metrics."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ._background_saves import BackgroundSaves
from ._checkpoint_files import checkpoint_path
from ._checkpoints import Content, Keep, remove, snapshot, write
from ._claims import Claim, ClaimLost
from ._metrics import Mark, MetricsFile
from ._saveable import as_it_is
from ._settings import RunSettings

if TYPE_CHECKING:
    from ._open_runs import OpenRun


class CheckpointSaver:
    """Saves the checkpoints of one run.

    Args:
        run: The run, which is told how it goes.
        claim: Whether the run is still ours.
        metrics: What was logged, of which each checkpoint covers a part.
        settings: How many to keep, and by which metric.
    """

    def __init__(
        self, run: "OpenRun", claim: Claim, metrics: MetricsFile, settings: RunSettings
    ) -> None:
        self._run = run
        self._claim = claim
        self._metrics = metrics
        self._settings = settings
        self._saves = BackgroundSaves(run.report_error)
        self._removal: threading.Thread | None = None  # of files that were not kept

    def save(
        self,
        epoch: int,
        *,
        batch: int | None,
        objects: Mapping[str, object],
        loader: object,
        background: bool,
    ) -> Path:
        """Save one, and before it what was logged so far; see `Bookkeeping.save_checkpoint`.

        Raises:
            ClaimLost: If somebody else has claimed the run.
            OSError: If it, or an earlier one in the background, could not be written.
        """
        progress, metric = self._run.progress, self._settings.metric
        complaint = progress.complaint()
        if complaint is not None:
            self._run.complain_once("metric", complaint)

        timers = self._run.save_timers()

        def collect(keep: Keep) -> Content:
            return snapshot(
                epoch,
                batch=batch,
                objects=objects,
                loader=loader,
                step=-1 if progress.step is None else progress.step,
                metric=None if metric is None else (metric, progress.measured),
                timers=timers,
                keep=keep,
            )

        def settle(content: Content) -> tuple[Path, Callable[[], object]]:
            mark = self._metrics.mark()

            def make_durable() -> None:
                superseded = self._write(content, mark)
                if background:
                    remove(superseded, self._run.warn)
                else:
                    self._remove_beside(superseded)

            path = checkpoint_path(self._claim.folder, content["epoch"], content["batch"])
            return path, make_durable

        if background:
            path = self._saves.save(collect, settle)
        else:
            self.wait()
            self.raise_failed()
            path, make_durable = settle(collect(as_it_is))
            make_durable()
        progress.measured = None
        self._run.flush()
        return path

    def wait(self) -> None:
        """Until what is saved in the background is written, or could not be."""
        if self._removal is not None:
            self._removal.join()
            self._removal = None
        self._saves.wait()

    def raise_failed(self) -> None:
        """Raise what went wrong in the background, once; see `BackgroundSaves`."""
        self._saves.raise_failed()

    def error(self) -> BaseException | None:
        """What went wrong in the background and was not raised yet."""
        return self._saves.error()

    def stop(self) -> None:
        """End the thread, when all is written, and let go of the memory."""
        self._saves.stop()

    def _write(self, content: Content, mark: Mark) -> list[Path]:
        """Make it durable, after the metrics that it covers; runs in any thread.

        Returns:
            The files that need not be kept now.
        """
        try:
            self._claim.check()
            self._metrics.write()
            content["metrics_size"] = mark.size
            superseded = write(
                self._claim.folder,
                content,
                keep_last=self._settings.keep_last,
                keep_best=self._settings.keep_best,
                direction=self._settings.direction,
                report=self._run.warn,
                beside=self._metrics.syncing(),
                check=self._claim.check,  # again, as writing may have taken long
            )
        except ClaimLost as lost:
            self._run.lost = lost
            raise
        self._run.beat_soon()
        return superseded

    def _remove_beside(self, superseded: list[Path]) -> None:
        """Remove files while the training goes on: giving back a GB takes a third of a second."""
        if superseded:
            self._removal = threading.Thread(
                target=remove,
                args=(superseded, self._run.warn),
                name="expkit-bookkeeping",
                daemon=True,
            )
            self._removal.start()
