"""Reading the configuration's files once for all runs of a grid, not once per run.

Hydra reads and parses each file again for every run that it composes, which is half the time that
composing a grid takes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._internals import repository_of, set_repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader


@contextmanager
def files_read_once(config_loader: ConfigLoader) -> Iterator[None]:
    """Let Hydra's loader keep what it reads for the length of a block."""
    repository = repository_of(config_loader)
    if repository is None:
        yield
        return
    set_repository(config_loader, _KeepingRepository(repository, {}))
    try:
        yield
    finally:
        set_repository(config_loader, repository)


class _KeepingRepository:
    """A `ConfigRepository` that keeps what it has loaded, in front of the real one."""

    def __init__(self, repository: Any, loaded: dict[object, Any]) -> None:
        self._repository = repository
        self._loaded = loaded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name)

    def __deepcopy__(self, memo: dict[int, object]) -> _KeepingRepository:
        # Hydra copies the repository for each run and may give the copy another search path.
        return _KeepingRepository(copy.deepcopy(self._repository, memo), self._loaded)

    def load_config(self, config_path: str) -> Any:
        """As Hydra's; a copy each time, because composing changes what it is given."""
        sources = tuple((source.provider, source.path) for source in self._repository.get_sources())
        key = (sources, config_path)
        if key not in self._loaded:
            self._loaded[key] = self._repository.load_config(config_path=config_path)
        return copy.deepcopy(self._loaded[key])
