"""Where output is printed, and what happens when nobody reads it.

Imports neither Hydra nor OmegaConf, so that `expkit status` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import IO, TextIO, cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Where commands write: this process's standard output as it is now."""
    return _console_on(sys.stdout)


def tolerant_console(instead: str | None = None) -> Console:
    """Where a sweep writes: as `console`, but a reader that has gone does not stop the sweep.

    Args:
        instead: What to say on stderr, once, when standard output is lost.
    """
    return _console_on(cast(IO[str], TolerantStream(sys.stdout, instead)))


def _console_on(stream: IO[str]) -> Console:
    from rich.console import Console

    # Without a terminal rich assumes 80 columns and folds run names; a file has no width.
    width = None if stream.isatty() else 200
    return Console(file=stream, highlight=False, soft_wrap=False, width=width)


class TolerantStream:
    """A stream that accepts what it cannot write, when its reader has gone or its disk is full.

    From the first such failure on, all that this process writes there is discarded.
    """

    def __init__(self, stream: TextIO, instead: str | None = None) -> None:
        self._stream = stream
        self._instead = instead

    def write(self, text: str) -> int:
        """Write text, or give up."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, or give up."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        with contextlib.suppress(OSError):  # a stream without a descriptor keeps refusing
            discard(self._stream)
        instead, self._instead = self._instead, None
        if instead is not None:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"Standard output is lost ({error.strerror}). {instead}\n")

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def discard(stream: TextIO) -> None:
    """Discard what is buffered in a stream, and all that is written to it from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)


def run_verb(verb: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a verb, and end quietly if its reader goes away, as `| head` does.

    This follows "Note on SIGPIPE" in Python's documentation of the module `signal`.

    Returns:
        Its exit code; 1 if the reader has gone.
    """
    try:
        try:
            return verb(arguments)
        finally:
            sys.stdout.flush()  # here, or the interpreter would complain at its end
    except BrokenPipeError:
        try:
            print(flush=True)  # tells standard output from a pipe or socket of the verb's own
        except BrokenPipeError:
            discard(sys.stdout)
            return 1
        raise
