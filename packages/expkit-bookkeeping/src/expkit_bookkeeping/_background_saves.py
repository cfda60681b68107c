"""Checkpoints that a thread of their own writes while the training goes on.

Between the training's thread and the writer's nothing is locked, as SIGTERM and Ctrl-C raise in the
training's thread at any point, also just after it took a lock: one assignment hands a save over,
and one tells that it is done.
"""

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ._claims import ClaimLost
from ._staging import Staging

if TYPE_CHECKING:
    from ._checkpoints import Content, Keep

MOST_BUFFERS = 2  # one that is written, one that is filled meanwhile


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
        """Write it; what goes wrong is kept for the training's thread."""
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
        """Until it is done; whoever was interrupted meanwhile may ask again."""
        if not self.finished:
            self._done.acquire()
            self._done.release()


class _Buffer:
    """Host memory for one checkpoint, and the save that reads it."""

    def __init__(self) -> None:
        self.staging = Staging()
        self.save: _Save | None = None
        self.is_filled = False  # right now, by a call that a signal may interrupt with another one

    @property
    def is_free(self) -> bool:
        return not self.is_filled and (self.save is None or self.save.finished)


class BackgroundSaves:
    """Copies states to host memory and writes them in a thread, one after another.

    The state is in memory once, and a second time from the moment on that a save comes before the
    one before is written. A third one waits for the first.

    Args:
        report: Called in the writer's thread with a sentence on an error, at once.
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
        self._one_caller = threading.RLock()

    def save(
        self,
        collect: "Callable[[Keep], Content]",
        settle: "Callable[[Content], tuple[Path, Callable[[], object]]]",
    ) -> Path:
        """Copy a state now, and write it later.

        Args:
            collect: Called with what keeps a tensor; gives the state.
            settle: Called with the copy; gives the file and what writes it.

        Returns:
            The file.

        Raises:
            OSError: If an earlier save failed; nothing is copied then.
            RuntimeError: If it failed with another error than of the system, or this is called
                within a call within a call, as by two signals.
        """
        with self._one_caller:
            buffer = self._free_buffer()
            self.raise_failed()
            try:
                buffer.is_filled = True
                path, write = settle(buffer.staging.copy_of(collect))
                self._start()
                self._count += 1
                buffer.save = _Save(self._count, path, write)  # from here on it is the writer's
            finally:
                buffer.is_filled = False
            self._wake.put(None)
            return path

    def wait(self) -> None:
        """Until all is written or has failed."""
        for save in self._saves():
            self._wait(save)

    def error(self) -> BaseException | None:
        """What went wrong and was not raised yet, in words for the training's thread."""
        for save in self._saves():
            if save.finished and save.error is not None and not save.reported:
                return _told_later(save.error, save.path)
        return None

    def raise_failed(self) -> None:
        """Raise what went wrong with an earlier save, once.

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
        """End the thread, when all is written, and let go of the memory."""
        self._stopping = True
        self._wake.put(None)
        self._buffers = [buffer for buffer in self._buffers if not buffer.is_free]

    def _saves(self) -> list[_Save]:
        saves = [buffer.save for buffer in self._buffers if buffer.save is not None]
        return sorted(saves, key=lambda save: save.number)

    def _wait(self, save: _Save) -> None:
        self._wake.put(None)  # an interrupted call may have handed it over without a word
        save.wait()

    def _free_buffer(self) -> _Buffer:
        for buffer in self._buffers:
            if buffer.is_free:
                return buffer
        if len(self._buffers) < MOST_BUFFERS:
            self._buffers.append(_Buffer())
            return self._buffers[-1]
        waiting = [save for save in self._saves() if not save.finished]
        if not waiting:
            raise RuntimeError(
                "save_checkpoint(…, background=True) was called while two such calls copy their "
                "states already: one of a signal handler within another."
            )
        self._wait(waiting[0])
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


def _told_later(error: BaseException, path: Path) -> BaseException:
    """The error of another thread and an earlier call, for one who sees it only now."""
    if isinstance(error, ClaimLost):
        return error
    text = f"{path.name}, of an earlier save_checkpoint(…, background=True), was not written"
    told: BaseException
    if isinstance(error, OSError) and error.errno is not None:
        told = OSError(error.errno, f"{text}: {error.strerror}", error.filename)
    elif isinstance(error, OSError):
        told = OSError(f"{text}: {error}")
    else:
        told = RuntimeError(f"{text}: {type(error).__name__}: {error}")
    told.__cause__ = error
    return told
