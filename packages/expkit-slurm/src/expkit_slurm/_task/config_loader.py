"""Hydra's configuration loader, created on first use.

A task needs none: its configuration is frozen. Creating one scans all of Hydra's plugins, which is
a tenth of what a task costs; scripts that call `hydra.compose` within a run still get theirs.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_loader import ConfigLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig


class LateConfigLoader(ConfigLoader):
    """Loads configurations as the app that made the grid did.

    Args:
        sources: `hydra.runtime.config_sources` of the configuration, as (provider, path).
    """

    def __init__(self, sources: list[tuple[str, str]]) -> None:
        self._sources = sources
        self._created: ConfigLoader | None = None

    @classmethod
    def of(cls, config: DictConfig) -> LateConfigLoader:
        """The loader of the app that a run's configuration comes from."""
        sources = config.hydra.runtime.config_sources
        return cls([(str(s.provider), f"{s.schema}://{s.path}") for s in sources])

    def __reduce__(self) -> tuple[type[LateConfigLoader], tuple[Any, ...]]:
        return type(self), (self._sources,)

    def _loader(self) -> ConfigLoader:
        if self._created is None:
            from hydra._internal.config_loader_impl import ConfigLoaderImpl
            from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
            from hydra.core.plugins import Plugins

            Plugins.instance()
            search_path = ConfigSearchPathImpl()
            for provider, path in self._sources:
                search_path.append(provider, path)
            self._created = ConfigLoaderImpl(search_path)
        return self._created

    def load_configuration(self, *args: Any, **kwargs: Any) -> DictConfig:
        """See Hydra."""
        return self._loader().load_configuration(*args, **kwargs)

    def load_sweep_config(self, *args: Any, **kwargs: Any) -> DictConfig:
        """See Hydra."""
        return self._loader().load_sweep_config(*args, **kwargs)

    def get_search_path(self) -> Any:
        """See Hydra."""
        return self._loader().get_search_path()

    def get_sources(self) -> Any:
        """See Hydra."""
        return self._loader().get_sources()

    def list_groups(self, *args: Any, **kwargs: Any) -> list[str]:
        """See Hydra."""
        return self._loader().list_groups(*args, **kwargs)

    def get_group_options(self, *args: Any, **kwargs: Any) -> list[str]:
        """See Hydra."""
        return self._loader().get_group_options(*args, **kwargs)

    def compute_defaults_list(self, *args: Any, **kwargs: Any) -> Any:
        """See Hydra."""
        return self._loader().compute_defaults_list(*args, **kwargs)
