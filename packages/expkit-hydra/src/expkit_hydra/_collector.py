"""Python's collector of cycles, paused while nothing of what is made is garbage."""

import contextlib
import gc
from collections.abc import Iterator
from types import TracebackType


class CollectorPause:
    """No collection within the block, but for the parts in which the pause is lifted.

    A run's configuration is thousands of nodes that know their parents. Collections while it is
    read and written find nothing to free, and were a fifth of what a trivial run costs.
    """

    def __enter__(self) -> "CollectorPause":
        self._enabled = gc.isenabled()
        gc.disable()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._enabled:
            gc.enable()

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """For the user's code, whose choice stands from then on."""
        if self._enabled:
            gc.enable()
        try:
            yield
        finally:
            self._enabled = gc.isenabled()
            gc.disable()
