"""This package's one exception, and other errors in short."""

import logging
import re

from .secrets import without_known_secrets


class TrackingError(RuntimeError):
    """MLflow cannot be reached or used. The journal keeps everything; `expkit sync` sends it."""


def first_line(error: BaseException) -> str:
    """An error's type and the first line of its text."""
    text = without_known_secrets(str(error)).strip().partition("\n")[0][:300]
    return f"{type(error).__name__}: {text}"


def log_traceback(logger: logging.Logger) -> None:
    """Logs the traceback of the current error at level DEBUG."""
    if logger.isEnabledFor(logging.DEBUG):
        import traceback

        logger.debug("%s", without_known_secrets(traceback.format_exc()))


def wants_credentials(error: BaseException) -> bool:
    """Whether a server has answered 401 or 403."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None and hasattr(error, "get_http_status_code"):
        status = error.get_http_status_code()
    if status in (401, 403):
        return True
    # MLflow's client keeps the status of an answer that is no JSON in its text alone.
    return re.search(r"(error code|answered|status) (401|403)\b", str(error)) is not None
