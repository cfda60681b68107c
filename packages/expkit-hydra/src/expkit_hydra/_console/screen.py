"""Where output is printed, and what happens when nobody reads it.

Imports neither Hydra nor OmegaConf, so that `expkit status` answers at once.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TextIO, cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType


NOT_INSTALLED = 69  # exit code: a package is missing; EX_UNAVAILABLE of sysexits.h


def console() -> Console:
    """Where commands write: this process's standard output as it is now."""
    return _console_on(sys.stdout)


def tolerant_console(instead: str | None = None) -> Console:
    """Where a sweep writes: as `console`, but a reader that has gone does not stop the sweep.

    Args:
        instead: What to say on stderr, once, when standard output is lost.
    """
    return _console_on(cast(IO[str], TolerantStream(sys.stdout, instead)))


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line of text that may come from a record: no terminal obeys what it holds."""
    from expkit_bookkeeping.launching import printable

    print(_encodable(printable(text), sys.stdout if stream is None else stream), file=stream)


def _encodable(text: str, stream: TextIO) -> str:
    """Text with escapes for what the encoding of a stream lacks: LC_ALL may be anything."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say_output(text: str, *, end: str = "\n") -> None:
    """Print what a run has printed, without its colours and with its progress bars in lines."""
    from expkit_bookkeeping.launching import printable, without_colours

    lines = without_colours(text).replace("\r\n", "\n").replace("\r", "\n")
    print(printable(lines), end=end, flush=True)


def _console_on(stream: IO[str]) -> Console:
    from rich.console import Console
    from rich.segment import Segment

    from expkit_bookkeeping.launching import printable

    class PrintableConsole(Console):
        """Escapes control characters of texts; those of rich itself are no texts."""

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                if segment.control or segment.text.isprintable() or segment.text in ("\n", "\r"):
                    yield segment
                else:
                    yield Segment(printable(segment.text), segment.style)

    # Without a terminal rich assumes 80 columns and folds run names; a file has no width.
    width = None if stream.isatty() else 200
    return PrintableConsole(file=stream, highlight=False, soft_wrap=False, width=width)


class TolerantStream:
    """A stream that accepts what it cannot write, when its reader has gone or its disk is full.

    From the first such failure on, all that this process writes there is discarded. Characters that
    its encoding lacks are written as escapes.
    """

    def __init__(self, stream: TextIO, instead: str | None = None) -> None:
        self._stream = stream
        self._instead = instead

    def write(self, text: str) -> int:
        """Write text, or give up."""
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            return self.write(_encodable(text, self._stream))
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


def answered(verb: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
    """A verb that says in a sentence what the file system refuses it; then its exit code is 2.

    It is 69 where a package is missing, and 130 after Ctrl-C, of which nothing is said.
    """

    @functools.wraps(verb)
    def run(arguments: Sequence[str]) -> int:
        try:
            return verb(arguments)
        except BrokenPipeError:
            raise
        except OSError as error:
            say(_refusal(error), sys.stderr)
            return 2
        except UnicodeEncodeError as error:
            from expkit_bookkeeping.launching import why_unencodable

            reason = why_unencodable(error.object)
            if reason is None:
                raise
            say(reason, sys.stderr)
            return 2
        except ImportError as error:
            say(str(error), sys.stderr)
            return NOT_INSTALLED
        except KeyboardInterrupt:
            return 130

    return run


def _refusal(error: OSError) -> str:
    """What the file system refused, and what to do about it, as far as that is known."""
    if error.filename is None or error.strerror is None:
        return str(error)
    advice = ""
    if isinstance(error, PermissionError) and ";" not in error.strerror:
        advice = ". Ask its owner, or run this as a user who may"
    return f"{os.fsdecode(error.filename)}: {error.strerror}{advice}."


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
    if isinstance(sys.stdout, io.TextIOWrapper):  # escapes for characters that it lacks
        sys.stdout.reconfigure(errors="backslashreplace")
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
