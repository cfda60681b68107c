"""A run's own log: to console and training.log, touching no other logger."""

import logging
import os
import sys
from io import TextIOWrapper
from pathlib import Path

from .._files.append_files import open_append_file
from .._files.durable import Check

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
        self._file = _OwnedFileHandler(folder / FILE_NAME, check)
        self._file.setFormatter(logging.Formatter(_FORMAT))
        # Not from getLogger: it would keep the logger of each run of a sweep forever, and a
        # configuration of logging could disable them.
        self._both = logging.Logger("expkit")
        self._quiet = logging.Logger("expkit")
        for logger in (self._both, self._quiet):
            logger.propagate = False
            logger.addHandler(self._file)
        if console:
            handler = _StdoutHandler()
            handler.setFormatter(logging.Formatter(_FORMAT))
            self._both.addHandler(handler)

    def write(self, message: object, level: int | str, *, console: bool) -> None:
        """Log one message.

        Raises:
            ValueError: If the level is not one of logging's.
        """
        logger = self._both if console else self._quiet
        logger.log(level_number(level), "%s", message)

    def write_banner(self, text: str) -> None:
        """Write a line to the file that separates one attempt from the next."""
        self._quiet.info("%s", f" {text} ".center(80, "-"))

    def close(self) -> None:
        """Close the file; a later message opens it again."""
        self._file.close()


def level_number(level: int | str) -> int:
    """A logging level by number or name.

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


class _OwnedFileHandler(logging.FileHandler):
    """Appends to a file that it opens at its first message, if the run is still ours."""

    def __init__(self, path: Path, check: Check | None) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self._check = check

    def _open(self) -> TextIOWrapper:
        fd = open_append_file(Path(self.baseFilename), self._check)
        return os.fdopen(fd, "a", encoding=self.encoding)


class _StdoutHandler(logging.Handler):
    """Writes to the current sys.stdout, which notebooks and tests replace."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stdout.write(self.format(record) + "\n")
            sys.stdout.flush()
        except Exception:
            self.handleError(record)
