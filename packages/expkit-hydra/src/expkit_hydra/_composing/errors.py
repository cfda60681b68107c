"""The one public error of expkit-hydra."""

from hydra.errors import CompactHydraException

from expkit_bookkeeping.launching import printable


class GridError(CompactHydraException, ValueError):
    """A grid that cannot be run as asked; Hydra prints the message without a traceback."""

    def __str__(self) -> str:
        # It may quote what runs have recorded, and goes to a terminal.
        return printable(super().__str__())
