"""The one exception of this package, and errors of others in short."""

import logging

from ._secrets import without_secrets


class TrackingError(RuntimeError):
    """MLflow cannot be reached or used; the journal keeps everything, `expkit sync` sends it."""


def first_line(error: BaseException) -> str:
    """Enough of an error to know it by."""
    text = without_secrets(str(error)).strip().partition("\n")[0][:300]
    return f"{type(error).__name__}: {text}"


def log_trace(logger: logging.Logger) -> None:
    """The error that is being handled, for whoever debugs."""
    if logger.isEnabledFor(logging.DEBUG):
        import traceback

        logger.debug("%s", without_secrets(traceback.format_exc()))
