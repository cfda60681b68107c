"""Where Hydra looks for plugins; the sweeper itself is expkit_hydra._sweeper.

Hydra executes this module anew at each scan, and no exception but ImportError may leave it.
"""

from dataclasses import dataclass
from typing import Any, Optional

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin

from expkit_hydra import _sweeper as implementation


@dataclass
class ExpkitSweeperConf:
    """Configuration of the sweeper, `hydra.sweeper`."""

    _target_: str = "hydra_plugins.expkit_sweeper.ExpkitSweeper"
    _recursive_: bool = False  # values of params with a _target_ are the runs' business
    max_batch_size: Optional[int] = None  # noqa: UP045 - read by OmegaConf
    params: Any = None


class ExpkitSweeper(implementation.GridSweeper):
    """Sweeper `expkit`."""


class ExpkitSearchPath(SearchPathPlugin):
    """Makes `defaults: [expkit]` and the resolvers known to every Hydra app."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called once for each app, before its configuration is composed."""
        implementation.prepare(search_path)


ConfigStore.instance().store(
    group="hydra/sweeper", name="expkit", node=ExpkitSweeperConf, provider="expkit"
)
