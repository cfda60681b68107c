"""A run's own log: to console and training.log, touching no other logger."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

from .._files.append_files import open_append_file
from .._files.durable import Check, naming
from .._files.secrets import without_known_secrets
from .._files.texts import text_of
from .._runs.refusals import ClaimLost

FILE_NAME = "training.log"
_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"


class RunLog:
    """Two private loggers of one run: one for both targets, one for the file alone.

    Args:
        folder: The run folder.
        console: Whether messages for both targets appear on the console, too.
        check: Raises if the run is no longer the caller's; see `open_append_file`.
    """

    def __init__(self, folder: Path, *, console: bool, check: Check | None = None) -> None:
        self._file = _LogFile(folder / FILE_NAME, self._say_once, check)
        self._file.setFormatter(_PublicFormatter(_FORMAT))
        # Not from getLogger: it would keep the logger of each run of a sweep forever, and a
        # configuration of logging could disable them.
        self._both = logging.Logger("expkit")
        self._quiet = logging.Logger("expkit")
        self._console: logging.Handler | None = None
        self._is_refused = False
        for logger in (self._both, self._quiet):
            logger.propagate = False
            logger.addHandler(self._file)
        if console:
            self._console = _StdoutHandler()
            self._console.setFormatter(_PublicFormatter(_FORMAT))
            self._both.addHandler(self._console)

    def write(self, message: object, level: int | str, *, console: bool) -> None:
        """Log one message. One that the disk refuses is on the console alone.

        Raises:
            ValueError: If the level is not one of logging's.
        """
        logger = self._both if console else self._quiet
        logger.log(level_number(level), "%s", text_of(message))

    def write_banner(self, text: str) -> None:
        """Write a line to the file that separates one attempt from the next."""
        self._quiet.info("%s", f" {text} ".center(80, "-"))

    def close(self) -> None:
        """Close the file; a later message opens it again."""
        with contextlib.suppress(OSError):  # a full disk, which refuses what is left
            self._file.close()

    def _say_once(self, problem: Exception) -> None:
        """Say that the file cannot be written: for the run, its log is not worth an end."""
        if self._is_refused:
            return
        self._is_refused = True
        text = f"The run goes on without its log: {text_of(problem)}"
        if self._console is None:
            logging.getLogger(__name__).warning("%s", text)
        else:
            record = self._both.makeRecord("expkit", logging.WARNING, "", 0, text, (), None)
            self._console.handle(record)


def level_number(level: int | str) -> int:
    """A logging level by number or name.

    Examples:
        >>> level_number("warning"), level_number(10)
        (30, 10)
    """
    if isinstance(level, int) and not isinstance(level, bool):
        return level
    levels = logging.getLevelNamesMapping()
    if isinstance(level, str) and level.upper() in levels:
        return levels[level.upper()]
    names = ", ".join(name.lower() for name in levels if name != "NOTSET")
    raise ValueError(f"There is no logging level {level!r}. Known: {names}, or a number.")


class _LogFile(logging.FileHandler):
    """training.log, opened at the first message if the run is still ours.

    What cannot be written is reported, where logging would print a traceback.
    """

    def __init__(
        self, path: Path, report: Callable[[Exception], None], check: Check | None
    ) -> None:
        super().__init__(path, encoding="utf-8", delay=True, errors="backslashreplace")
        self._path = path
        self._report = report
        self._check = check

    def _open(self) -> TextIOWrapper:
        fd = open_append_file(self._path, self._check)
        return os.fdopen(fd, "a", encoding=self.encoding, errors=self.errors)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except ClaimLost:  # of opening it
            raise
        except Exception as problem:  # of opening it, or as `handleError` has raised it
            self._report(problem)

    def handleError(self, record: logging.LogRecord) -> None:
        with naming(self._path):
            raise


class _PublicFormatter(logging.Formatter):
    """Masks the secrets that this process has met."""

    def format(self, record: logging.LogRecord) -> str:
        return without_known_secrets(super().format(record))


class _StdoutHandler(logging.Handler):
    """Writes to the current sys.stdout, which notebooks and tests replace."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record) + "\n"
        # A stream that is closed, full, or has lost its reader costs no run, and no traceback.
        with contextlib.suppress(Exception):
            try:
                sys.stdout.write(text)
            except UnicodeEncodeError:  # a console that is not UTF-8
                encoding = sys.stdout.encoding or "ascii"
                sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
            sys.stdout.flush()
