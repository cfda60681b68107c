"""The checkpoints of an open run: saved at once or in the background, after the metrics."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from .._files.durable import checked_if_missing
from .._files.saveable import same_memory
from .background_saves import BackgroundSaves
from .files import checkpoint_path
from .snapshots import snapshot
from .writing import finish_save, remove, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._recording.metrics import Mark
    from .._recording.open_run import OpenRun
    from .snapshots import CheckpointContent, KeepTensor


class CheckpointSaver:
    """Saves the checkpoints of one run.

    Args:
        run: The open run: its claim, settings, metrics and progress. It hears how saving goes.
    """

    def __init__(self, run: OpenRun) -> None:
        self._run = run
        self._saves = BackgroundSaves(run.report_error)
        self._removal: threading.Thread | None = None  # of files that are not kept

    def save(
        self,
        epoch: int,
        *,
        batch: int | None,
        objects: Mapping[str, object],
        loader: object,
        background: bool,
    ) -> Path:
        """Save a checkpoint, and before it what was logged; see `Bookkeeping.save_checkpoint`.

        Raises:
            ClaimLost: If somebody else has claimed the run.
            OSError: If it, or an earlier one in the background, could not be written.
        """
        progress, settings = self._run.progress, self._run.settings
        metric = settings.metric
        warning = progress.missing_metric_warning()
        if warning is not None:
            self._run.warn_once("metric", warning)

        timers = self._run.save_timers()

        def collect(keep: KeepTensor) -> CheckpointContent:
            return snapshot(
                epoch,
                batch=batch,
                objects=objects,
                loader=loader,
                step=-1 if progress.step is None else progress.step,
                metric=None if metric is None else (metric, progress.metric_value),
                keeping={
                    "last": settings.keep_last,
                    "best": settings.keep_best,
                    "direction": settings.direction,
                },
                timers=timers,
                keep=keep,
            )

        def prepare(content: CheckpointContent) -> tuple[Path, Callable[[], object]]:
            mark = self._run.metrics.mark()

            def make_durable() -> None:
                superseded = self._write(content, mark)
                if background:
                    remove(superseded, self._run.warn, self._run.check)
                else:
                    self._remove_in_thread(superseded)

            path = checkpoint_path(self._run.folder, content["epoch"], content["batch"])
            return path, make_durable

        if background:
            path = self._saves.save(collect, prepare)
        else:
            self.wait()
            self.raise_failed()
            path, make_durable = prepare(collect(same_memory))
            make_durable()
        progress.metric_value = None
        return path

    def wait(self) -> None:
        """Wait until everything saved in the background is written or has failed."""
        if self._removal is not None:
            self._removal.join()
            self._removal = None
        self._saves.wait()

    def raise_failed(self) -> None:
        """Raise the error of a save in the background, once; see `BackgroundSaves`."""
        self._saves.raise_failed()

    def error(self) -> BaseException | None:
        """The error of a save in the background that was not raised yet."""
        return self._saves.error()

    def stop(self) -> None:
        """End the thread once everything is written, and release the memory."""
        self._saves.stop()

    def _write(self, content: CheckpointContent, mark: Mark) -> list[Path]:
        """Make a checkpoint durable, after the metrics that it covers; runs in any thread.

        Returns:
            The files that need not be kept now.
        """
        run = self._run
        run.check()
        run.metrics.write()
        content["metrics_size"] = mark.size
        run.flush_sinks()  # before the file has its name: a resumed run repeats what follows
        with checked_if_missing(run.check):  # the next owner may have removed the file by now
            superseded = write(
                run.folder,
                content,
                report=run.warn,
                meanwhile=run.metrics.syncing(),
                check=run.check,  # again, as writing may have taken long
            )
        run.request_heartbeat()
        return superseded

    def finish_earlier_save(self, path: Path) -> None:
        """Finish the save of a checkpoint that an earlier attempt may have been killed in.

        Raises:
            ClaimLost: If somebody else has claimed the run.
            OSError: If the best checkpoint could not be linked.
        """
        run = self._run
        with checked_if_missing(run.check):
            superseded = finish_save(run.folder, path, run.settings, check=run.check)
        self._remove_in_thread(superseded)

    def _remove_in_thread(self, superseded: list[Path]) -> None:
        """Remove files while the training continues: freeing a GB takes a third of a second."""
        if superseded:
            self._removal = threading.Thread(
                target=remove,
                args=(superseded, self._run.warn, self._run.check),
                name="expkit-bookkeeping",
                daemon=True,
            )
            self._removal.start()
