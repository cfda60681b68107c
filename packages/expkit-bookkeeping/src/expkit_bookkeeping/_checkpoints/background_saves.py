"""Checkpoints that a thread writes while the training continues.

The training's thread and the writer share no lock, as SIGTERM and Ctrl-C raise in the training's
thread at any point, even just after it took a lock: one assignment hands a save over, and one says
that it is done.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path

from .._runs.refusals import ClaimLost
from .staging import Staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .snapshots import CheckpointContent, KeepTensor

MOST_BUFFERS = 2  # one is written while the other is filled


class _Save:
    """One checkpoint on its way to the disk."""

    def __init__(self, number: int, path: Path, write: Callable[[], object]) -> None:
        self.number = number
        self.path = path
        self.write: Callable[[], object] | None = write  # None when done: it holds the content
        self.error: BaseException | None = None
        self.reported = False
        self.finished = False
        self._done = threading.Lock()
        self._done.acquire()

    def run(self, report: Callable[[str], None]) -> None:
        """Write it; an error is kept for the training's thread."""
        assert self.write is not None
        try:
            self.write()
        except BaseException as error:
            self.error = error
            report(
                f"{self.path.name} could not be written in the background; the next "
                f"save_checkpoint() or the end of the run raises it: {error}"
            )
        finally:
            self.write = None
            self.finished = True
            self._done.release()

    def wait(self) -> None:
        """Wait until it is done; after an interruption this may be called again."""
        if not self.finished:
            self._done.acquire()
            self._done.release()


class _Buffer:
    """Host memory for one checkpoint, and the save that reads it."""

    def __init__(self) -> None:
        self.staging = Staging()
        self.save: _Save | None = None
        self.is_being_filled = False  # by a call that a signal may interrupt with another one

    @property
    def is_free(self) -> bool:
        return not self.is_being_filled and (self.save is None or self.save.finished)


class BackgroundSaves:
    """Copies states to host memory and writes them in a thread, one after another.

    There is one copy of the state in memory, and a second one once a save comes before the
    previous one is written. A third save waits for the first.

    Args:
        report: Called in the writer's thread with a sentence as soon as an error occurs.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._buffers: list[_Buffer] = []
        self._count = 0
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = False
        # Two threads that save at once would fill one buffer. Reentrant, as SIGTERM may leave it
        # locked.
        self._save_lock = threading.RLock()

    def save(
        self,
        collect: Callable[[KeepTensor], CheckpointContent],
        prepare: Callable[[CheckpointContent], tuple[Path, Callable[[], object]]],
    ) -> Path:
        """Copy a state now, and write it later.

        Args:
            collect: Called with a function that copies a tensor; returns the state.
            prepare: Called with the copy; returns the file and a function that writes it.

        Returns:
            The file.

        Raises:
            OSError: If an earlier save failed; then nothing is copied.
            RuntimeError: If it failed for another reason than the system, or this is called within
                a call within a call, as two signals may do.
        """
        with self._save_lock:
            buffer = self._free_buffer()
            self.raise_failed()
            try:
                buffer.is_being_filled = True
                path, write = prepare(buffer.staging.copy_of(collect))
                self._start()
                self._count += 1
                buffer.save = _Save(self._count, path, write)  # hands it over to the writer
            finally:
                buffer.is_being_filled = False
            self._wake.put(None)
            return path

    def wait(self) -> None:
        """Wait until everything is written or has failed."""
        for save in self._saves():
            self._wait(save)

    def error(self) -> BaseException | None:
        """The error of a save that was not raised yet, worded for the training's thread."""
        for save in self._saves():
            if save.finished and save.error is not None and not save.reported:
                return _as_later_error(save.error, save.path)
        return None

    def raise_failed(self) -> None:
        """Raise the error of an earlier save, once.

        Raises:
            OSError: If the disk refused it.
            ClaimLost: If the run belongs to somebody else by now.
            RuntimeError: If it was another error.
        """
        error = self.error()
        if error is None:
            return
        for save in self._saves():
            save.reported = save.reported or save.finished
        raise error

    def stop(self) -> None:
        """End the thread once everything is written, and release the memory."""
        self._stopping = True
        self._wake.put(None)
        self._buffers = [buffer for buffer in self._buffers if not buffer.is_free]

    def _saves(self) -> list[_Save]:
        saves = [buffer.save for buffer in self._buffers if buffer.save is not None]
        return sorted(saves, key=lambda save: save.number)

    def _wait(self, save: _Save) -> None:
        self._wake.put(None)  # an interrupted call may have handed it over without waking
        save.wait()

    def _free_buffer(self) -> _Buffer:
        for buffer in self._buffers:
            if buffer.is_free:
                return buffer
        if len(self._buffers) < MOST_BUFFERS:
            self._buffers.append(_Buffer())
            return self._buffers[-1]
        unfinished = [save for save in self._saves() if not save.finished]
        if not unfinished:
            raise RuntimeError(
                "save_checkpoint(…, background=True) was called while two such calls are still "
                "copying their states: by a signal handler within another."
            )
        self._wait(unfinished[0])
        return self._free_buffer()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            # A daemon, as a hanging file system must not keep the process; close() waits.
            self._thread = threading.Thread(
                target=self._run, name="expkit-bookkeeping checkpoints", daemon=True
            )
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.get()
            for save in self._saves():
                if not save.finished:
                    save.run(self._report)
            if self._stopping:
                return


def _as_later_error(error: BaseException, path: Path) -> BaseException:
    """The error of an earlier save in another thread, worded for a later call that raises it."""
    if isinstance(error, ClaimLost):
        return error
    text = f"{path.name}, of an earlier save_checkpoint(…, background=True), was not written"
    later: BaseException
    if isinstance(error, OSError) and error.errno is not None:
        later = OSError(error.errno, f"{text}: {error.strerror}", error.filename)
    elif isinstance(error, OSError):
        later = OSError(f"{text}: {error}")
    else:
        later = RuntimeError(f"{text}: {type(error).__name__}: {error}")
    later.__cause__ = error
    return later
