"""The one public error of expkit-hydra."""

from hydra.errors import CompactHydraException


class GridError(CompactHydraException, ValueError):
    """A grid that cannot be run as asked; Hydra prints the message without a traceback."""
