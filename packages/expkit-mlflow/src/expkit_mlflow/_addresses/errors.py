"""This package's one exception, and other errors in short."""

import logging

from .secrets import without_known_secrets


class TrackingError(RuntimeError):
    """MLflow cannot be reached or used. The journal keeps everything; `expkit sync` sends it.

    Args:
        message: What is wrong, and what to do.
        lasts: See below.

    Attributes:
        lasts: Whether the same request would fail again until somebody changes something, as with
            a wrong password.
    """

    def __init__(self, message: str, *, lasts: bool = False) -> None:
        super().__init__(message)
        self.lasts = lasts


class StoreDownError(TrackingError):
    """The store stopped answering in the middle."""


class NotInstalledError(TrackingError, ImportError):
    """A package is missing."""


class RequestTooLargeError(RuntimeError):
    """A server, or a proxy before it, takes only smaller requests."""


def in_words(error: BaseException) -> str:
    """A TrackingError's own text; of any other error its type and first line."""
    return str(error) if isinstance(error, TrackingError) else first_line(error)


def first_line(error: BaseException) -> str:
    """An error's type and the first line of its text."""
    return f"{type(error).__name__}: {plain_line(str(error))}"


def plain_line(text: str) -> str:
    """The first line of somebody else's text, without secrets and what would move a cursor."""
    line = without_known_secrets(text).strip().partition("\n")[0][:300]
    return "".join(c if c.isprintable() else " " for c in line)


def log_traceback(logger: logging.Logger) -> None:
    """Logs the traceback of the current error at level DEBUG."""
    if logger.isEnabledFor(logging.DEBUG):
        import traceback

        logger.debug("%s", without_known_secrets(traceback.format_exc()))
