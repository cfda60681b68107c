"""Where Hydra looks for the launcher `expkit`; the work is in `expkit_hydra._launcher`.

Hydra imports this module at the start of every Hydra application in the environment, so it
imports nothing heavy. No `from __future__ import annotations` here: Hydra executes the module
before it is in sys.modules, where postponed annotations of a dataclass cannot be resolved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

    from expkit_hydra import Grid
    from expkit_hydra._drafting.override_lists import ListSweep


@dataclass
class ExpkitLauncherConf:
    """Configuration of the launcher `expkit`.

    `n_jobs`: processes at a time; 1 runs in this process.
    `show_output`: the runs' output appears here, and not in their console.log.
    `gpus_per_run`: GPUs that each of `n_jobs` processes has to itself; 0.5: two runs share one, 0:
    all see all. None: one, if there are as many as processes.
    """

    _target_: str = "hydra_plugins.expkit_launcher.ExpkitLauncher"
    n_jobs: int = 1
    show_output: bool = False
    gpus_per_run: Optional[float] = None  # noqa: UP045 - read by OmegaConf


# Open: the options of other launchers are not refused by Hydra, but judged in `setup`.
ConfigStore.instance().store(
    group="hydra/launcher",
    name="expkit",
    node=OmegaConf.structured(ExpkitLauncherConf, flags={"struct": False}),
    provider="expkit-hydra",
)


class ExpkitLauncher(Launcher):
    """Runs a grid on this machine, in this process or in `n_jobs` processes.

    `grid_options` are read once for the whole grid.
    """

    grid_options = ("n_jobs", "show_output", "gpus_per_run")

    def __init__(
        self,
        n_jobs: int = 1,
        show_output: bool = False,
        gpus_per_run: float | None = None,
        **others: Any,
    ) -> None:
        self.n_jobs = n_jobs
        self.show_output = show_output
        self.gpus_per_run = gpus_per_run
        self.others = others  # options of other launchers
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self._sweep: ListSweep | None = None

    def setup(
        self,
        *,
        hydra_context: "HydraContext",
        task_function: "TaskFunction",
        config: "DictConfig",
    ) -> None:
        """Take what Hydra gives every launcher."""
        from expkit_hydra._grid.settings import grid_settings
        from expkit_hydra._launcher import check_n_jobs
        from expkit_hydra._launcher_options import refuse_unknown, without_others_options
        from expkit_hydra._running.gpus import check_gpus_per_run

        names = self.grid_options
        refuse_unknown("expkit", names, without_others_options("expkit", names, self.others))
        check_n_jobs(self.n_jobs)
        check_gpus_per_run(self.gpus_per_run)
        grid_settings(config)  # refuses what is misspelt before anything is composed or written
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence["JobReturn"]:
        """Run the override lists of a sweeper that knows no grids, each batch as a grid."""
        from expkit_hydra._drafting.override_lists import ListSweep
        from expkit_hydra._launcher import launch_lists

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        self._sweep = self._sweep or ListSweep()
        return launch_lists(
            self._sweep,
            job_overrides,
            initial_job_idx,
            config=self.config,
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            n_jobs=self.n_jobs,
            show_output=self.show_output,
            gpus_per_run=self.gpus_per_run,
        )

    def launch_grid(self, grid: "Grid") -> Sequence["JobReturn"]:
        """Run what is pending in a grid; one failing run does not stop the others."""
        from expkit_hydra._launcher import launch_grid

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        return launch_grid(
            grid,
            config=self.config,
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            n_jobs=self.n_jobs,
            show_output=self.show_output,
            gpus_per_run=self.gpus_per_run,
        )
