"""Hydra's state in a process that `hydra.main` has not started, such as a task of a cluster.

Such a process needs no configuration loader: its configuration is frozen. Creating one scans all of
Hydra's plugins, which is a tenth of what a task costs. So it is created on first use: scripts that
call `hydra.compose` within a run still get theirs.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_loader import ConfigLoader

from .._composing.internals import initialize_hydra, make_config_loader, make_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.types import HydraContext
    from omegaconf import DictConfig

    from .._grid.grid import Grid
    from .._grid.run import GridRun


def hydra_context(grid: Grid, run: GridRun) -> HydraContext:
    """Set Hydra's state for a run of a grid, as under `hydra.main` but without its plugins."""
    from .._grid.resolvers import register_resolvers

    register_resolvers()
    try:
        config = grid.config(run.index)
    except (LookupError, OSError, ValueError):  # `execute_run` says what is wrong with it
        return make_context(LateConfigLoader([]), None)
    loader = LateConfigLoader.of(config)
    initialize_hydra(str(config.hydra.job.name), loader)
    return make_context(loader, config)


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
            self._created = make_config_loader(self._sources)
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
