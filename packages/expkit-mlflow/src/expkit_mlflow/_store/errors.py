"""This package's one exception, and other errors in short."""

import logging

from .secrets import without_secrets


class TrackingError(RuntimeError):
    """MLflow cannot be reached or used. The journal keeps everything; `expkit sync` sends it.

    Attributes:
        lasts: Whether the same request would fail again until somebody changes something, as with
            a wrong password.
    """

    def __init__(self, message: str, *, lasts: bool = False) -> None:
        super().__init__(message)
        self.lasts = lasts


class StoreDownError(TrackingError):
    """The store stopped answering in the middle."""


class RequestTooLargeError(RuntimeError):
    """A server, or a proxy before it, takes only smaller requests."""


def first_line(error: BaseException) -> str:
    """An error's type and the first line of its text, without what would move a cursor."""
    line = without_secrets(str(error)).strip().partition("\n")[0][:300]
    text = "".join(c if c.isprintable() else " " for c in line)
    return f"{type(error).__name__}: {text}"


def log_traceback(logger: logging.Logger) -> None:
    """Logs the traceback of the current error at level DEBUG."""
    if logger.isEnabledFor(logging.DEBUG):
        import traceback

        logger.debug("%s", without_secrets(traceback.format_exc()))
