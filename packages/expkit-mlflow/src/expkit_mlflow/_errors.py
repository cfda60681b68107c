"""The one exception of this package, and errors of others in short."""


class TrackingError(RuntimeError):
    """MLflow cannot be reached or used; the journal keeps everything, `expkit sync` sends it."""


def first_line(error: BaseException) -> str:
    """Enough of an error to know it by."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
