"""Where Hydra looks for plugins; the sweeper itself is expkit_hydra._sweeper.

Hydra executes this module at the start of every Hydra application in the environment, and again
at each scan: it imports nothing heavy, and no exception but ImportError may leave it. No
postponed annotations here: Hydra executes it before it is in sys.modules, where those of a
dataclass cannot be resolved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


@dataclass
class ExpkitSweeperConf:
    """Configuration of the sweeper `expkit`.

    `max_batch_size`: the most runs that the launcher is given at once. `params`: keys and their
    values, or a list of such mappings whose grids are united.
    """

    _target_: str = "hydra_plugins.expkit_sweeper.ExpkitSweeper"
    _recursive_: bool = False  # values of params with a _target_ are for the runs to instantiate
    max_batch_size: Optional[int] = None  # noqa: UP045 - read by OmegaConf
    params: Any = None


class ExpkitSweeper(Sweeper):
    """Runs what is missing of a grid."""

    def __init__(self, max_batch_size: int | None = None, params: object = None) -> None:
        from expkit_hydra._sweeper import GridSweeper

        self.grid_sweeper = GridSweeper(max_batch_size, params)

    def setup(
        self,
        *,
        hydra_context: "HydraContext",
        task_function: "TaskFunction",
        config: "DictConfig",
    ) -> None:
        """Take what Hydra gives every sweeper."""
        self.grid_sweeper.setup(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> "list[Sequence[JobReturn]]":
        """Run the grid that the configuration and the command line describe."""
        return self.grid_sweeper.sweep(arguments)


class ExpkitSearchPath(SearchPathPlugin):
    """Makes `defaults: [expkit]` and the resolvers known to every Hydra app."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called once for each app, before its configuration is composed."""
        from expkit_hydra._search_path import prepare

        prepare(search_path)


ConfigStore.instance().store(
    group="hydra/sweeper", name="expkit", node=ExpkitSweeperConf, provider="expkit-hydra"
)
