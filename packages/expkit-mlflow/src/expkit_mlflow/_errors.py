"""The one exception of this package."""


class TrackingError(RuntimeError):
    """MLflow cannot be reached or used; the journal keeps everything, `expkit sync` sends it."""
