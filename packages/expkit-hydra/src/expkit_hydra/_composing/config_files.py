"""The configuration's files: read once for all runs of a grid, and in the right order.

Hydra reads and parses each file again for every run that it composes, which is half the time that
composing a grid takes.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .internals import repository_of, set_repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

log = logging.getLogger(__name__)


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


def _self_comes_first(config_loader: ConfigLoader, config_name: str | None) -> bool:
    """Whether the primary configuration lists `_self_` before `expkit`."""
    repository = repository_of(config_loader)
    if config_name is None or repository is None:
        return False
    loaded = repository.load_config(config_name)
    names = [getattr(entry, "path", None) for entry in (loaded.defaults_list if loaded else [])]
    if "_self_" not in names:
        return False
    others = ("expkit", "/expkit")
    position = next((index for index, name in enumerate(names) if name in others), None)
    return position is not None and names.index("_self_") < position


def order_warning(config_loader: ConfigLoader, config_name: str | None) -> str | None:
    """A warning where the keys of `expkit` win over the user's own; None where they do not."""
    if not _self_comes_first(config_loader, config_name):
        return None
    return (
        f"In the defaults list of {config_name}, _self_ stands before expkit, so expkit's own "
        "values win over yours (experiment_id, expkit.metric, hydra.sweeper.params, …). Put "
        "expkit before _self_, and leave the rest as it is."
    )


def warn_about_order(config_loader: ConfigLoader, config_name: str | None) -> None:
    """Warn when the keys of `expkit` win over the user's own."""
    warning = order_warning(config_loader, config_name)
    if warning is not None:
        log.warning("%s", warning)
