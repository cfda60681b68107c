"""Where the output of a run goes: to its own console.log."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import TextIOBase
from pathlib import Path
from typing import Protocol, TextIO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

CONSOLE_LOG = "console.log"


def _is_no_error_of_hydra(record: logging.LogRecord) -> bool:
    return record.name != "hydra.core.utils" or record.exc_info is None


def log_errors_once() -> None:
    """Keep out of the log files what Hydra 1.4 writes there of a job's error.

    The end of a run is recorded there, with its traceback and without its secrets.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.addFilter(_is_no_error_of_hydra)


def job_log(config: DictConfig) -> str:
    """The name of the log that Hydra writes into the run's folder, unless told otherwise."""
    return f"{config.hydra.job.name}.log"


class RunOutput(Protocol):
    """Where a run's output can be sent."""

    def to(
        self, path: Path, check: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]:
        """Append to this file what is printed within the block.

        Args:
            path: The file.
            check: Raises if the run is no longer this process's; asked when the file is open.
        """


class StreamOutput:
    """Sends what a run prints to a file of its own, so that the sweep's console stays readable.

    A context manager that puts stand-ins in the place of sys.stdout and sys.stderr. They stay
    the same objects for all runs: otherwise a logging handler that keeps one would write to the
    closed file of an earlier run. During a run the descriptors 1 and 2 are the file's, too: for
    what child processes, C libraries and handlers that are older than the stand-ins print.
    """

    def __init__(self) -> None:
        self._streams: tuple[_Stream, _Stream] | None = None
        self._own_descriptors: dict[int, int] = {}  # copies, while the file has their numbers

    def __enter__(self) -> StreamOutput:
        self._streams = _Stream(sys.stdout), _Stream(sys.stderr)
        sys.stdout, sys.stderr = self._streams
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._streams is not None
        # Others may have put another stream in its place; that one stays.
        if sys.stdout is self._streams[0]:
            sys.stdout = self._streams[0].own
        if sys.stderr is self._streams[1]:
            sys.stderr = self._streams[1].own

    @contextmanager
    def to(self, path: Path, check: Callable[[], None] | None = None) -> Iterator[None]:
        """Append to this file what is printed within the block; see `RunOutput`."""
        assert self._streams is not None
        breakpointhook = sys.breakpointhook

        def visible(*args: object, **kwargs: object) -> object:
            self._restore()  # a debugger's prompt in a file would look like a run that hangs
            return breakpointhook(*args, **kwargs)

        with _opened(path, check) as file:
            if sys.gettrace() is None:  # else a debugger writes its prompt to the terminal's
                self._lend_descriptors(file.fileno())
            for stream in self._streams:
                stream.target = file
            sys.breakpointhook = visible
            try:
                yield
            finally:
                sys.breakpointhook = breakpointhook
                self._restore()

    def _restore(self) -> None:
        for stream in self._streams or ():
            with suppress(OSError):
                stream.flush()
            stream.target = stream.own
        self._flush()
        while self._own_descriptors:
            number, own = self._own_descriptors.popitem()
            os.dup2(own, number)
            os.close(own)

    def _lend_descriptors(self, fd: int) -> None:
        self._flush()
        for number in (1, 2):
            with suppress(OSError):  # a daemon may have closed them
                self._own_descriptors[number] = os.dup(number)
                os.dup2(fd, number)

    def _flush(self) -> None:
        """Let what is buffered go where the descriptors lead now."""
        for stream in self._streams or ():
            with suppress(OSError, ValueError):
                stream.own.flush()
        with suppress(OSError, AttributeError, TypeError):  # Windows has no such handle
            ctypes.CDLL(None).fflush(None)


@contextmanager
def _opened(path: Path, check: Callable[[], None] | None) -> Iterator[TextIO]:
    """A run's console.log; nowhere if the disk refuses it, which is no reason to end the run."""
    from expkit_bookkeeping.launching import open_append_file

    try:
        fd = open_append_file(path, check)
    except OSError:
        fd = os.open(os.devnull, os.O_WRONLY)
    file = os.fdopen(fd, "a", encoding="utf-8", errors="backslashreplace", buffering=1)
    try:
        yield file
    finally:
        with suppress(OSError):
            file.close()


class _Stream:
    """A stream that can change where it writes; what a run's file refuses is dropped."""

    def __init__(self, own: TextIO) -> None:
        self.own = own
        self.target = own

    def write(self, text: str) -> int:
        """Write text."""
        try:
            return self.target.write(text)
        except OSError:
            if self.target is self.own:
                raise
            return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            self.target.flush()
        except OSError:
            if self.target is self.own:
                raise

    def __getattr__(self, name: str) -> object:
        return getattr(self.target, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.target)


class PublicStream(TextIOBase):
    """A stream that writes to another one, without the secrets that this process has met."""

    def __init__(self, own: TextIO) -> None:
        self._own = own

    def write(self, text: str) -> int:
        """Write text, and say how long it was."""
        from expkit_bookkeeping.launching import without_known_secrets

        self._own.write(without_known_secrets(text))
        return len(text)

    def flush(self) -> None:
        """Flush the other stream."""
        self._own.flush()

    def fileno(self) -> int:
        """The descriptor of the other stream."""
        return self._own.fileno()

    def isatty(self) -> bool:
        """Whether the other stream is a terminal."""
        return self._own.isatty()


class ProcessOutput:
    """Sends all output of this process to a file, also that of C libraries and the interpreter."""

    @contextmanager
    def to(self, path: Path, check: Callable[[], None] | None = None) -> Iterator[None]:
        """Append to this file from now on: the process ends with its run; see `RunOutput`."""
        import faulthandler

        from expkit_bookkeeping.launching import open_append_file

        sys.stdout.flush()
        sys.stderr.flush()
        try:
            fd = open_append_file(path, check)
        except OSError:  # the run may go on, and says what is the matter where it matters
            fd = os.open(os.devnull, os.O_WRONLY)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)
        faulthandler.enable()  # shows where a segmentation fault happened
        yield
