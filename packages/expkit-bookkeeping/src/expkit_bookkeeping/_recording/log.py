"""A run's own log: to console and training.log, touching no other logger."""

import logging
import sys
from pathlib import Path

from .._files.secrets import without_known_secrets

FILE_NAME = "training.log"
_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"


class RunLog:
    """Two private loggers of one run: one for both targets, one for the file alone."""

    def __init__(self, folder: Path, *, console: bool) -> None:
        self._file = logging.FileHandler(folder / FILE_NAME, encoding="utf-8", delay=True)
        self._file.setFormatter(_PublicFormatter(_FORMAT))
        # Not from getLogger: it would keep the logger of each run of a sweep forever, and a
        # configuration of logging could disable them.
        self._both = logging.Logger("expkit")
        self._quiet = logging.Logger("expkit")
        for logger in (self._both, self._quiet):
            logger.propagate = False
            logger.addHandler(self._file)
        if console:
            handler = _StdoutHandler()
            handler.setFormatter(_PublicFormatter(_FORMAT))
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


class _PublicFormatter(logging.Formatter):
    """Masks the secrets that this process has met."""

    def format(self, record: logging.LogRecord) -> str:
        return without_known_secrets(super().format(record))


class _StdoutHandler(logging.Handler):
    """Writes to the current sys.stdout, which notebooks and tests replace."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stdout.write(self.format(record) + "\n")
            sys.stdout.flush()
        except Exception:
            self.handleError(record)
