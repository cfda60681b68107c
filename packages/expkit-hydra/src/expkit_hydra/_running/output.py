"""Where the output of a run goes: to its own console.log."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import TextIOBase
from pathlib import Path
from typing import Protocol, TextIO

CONSOLE_LOG = "console.log"


class RunOutput(Protocol):
    """Where a run's output can be sent."""

    def to(self, path: Path) -> AbstractContextManager[None]:
        """Append to this file what is printed within the block."""


class StreamOutput:
    """Sends what a run prints to a file of its own, so that the sweep's console stays readable.

    A context manager that puts stand-ins in the place of sys.stdout and sys.stderr. They stay
    the same objects for all runs: otherwise a logging handler that keeps one would write to the
    closed file of an earlier run.
    """

    def __init__(self) -> None:
        self._streams: tuple[_Stream, _Stream] | None = None

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
    def to(self, path: Path) -> Iterator[None]:
        """Append to this file what is printed within the block."""
        assert self._streams is not None
        breakpointhook = sys.breakpointhook

        def visible(*args: object, **kwargs: object) -> object:
            self._restore()  # a debugger's prompt in a file would look like a run that hangs
            return breakpointhook(*args, **kwargs)

        with path.open("a", encoding="utf-8", errors="replace", buffering=1) as file:
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
            stream.target = stream.own


class _Stream:
    """A stream that can change where it writes."""

    def __init__(self, own: TextIO) -> None:
        self.own = own
        self.target = own

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
    def to(self, path: Path) -> Iterator[None]:
        """Append to this file from now on: the process ends with its run."""
        import faulthandler

        sys.stdout.flush()
        sys.stderr.flush()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)
        faulthandler.enable()  # shows where a segmentation fault happened
        yield
