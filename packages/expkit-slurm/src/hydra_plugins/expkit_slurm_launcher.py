"""Where Hydra looks for the launcher `expkit_slurm`; the work is in `expkit_slurm._launcher`.

Hydra imports this module at the start of every Hydra application in the environment, so it
imports nothing heavy. No `from __future__ import annotations` here: Hydra executes the module
before it is in sys.modules, where postponed annotations of a dataclass cannot be resolved.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

    from expkit_hydra import Grid
    from expkit_hydra.launching import ListSweep


@dataclass
class ExpkitSlurmLauncherConf:
    """Configuration of the launcher `expkit_slurm`.

    The first part says how the grid is submitted, see `SubmissionSettings`. The second says what
    a run asks of Slurm, under submitit's and sbatch's names; null leaves it to the script's
    `#SBATCH` lines. `time` is a number of minutes, or text such as "4:00:00".
    """

    _target_: str = "hydra_plugins.expkit_slurm_launcher.ExpkitSlurmLauncher"
    wait: bool = True
    script: Optional[str] = None  # noqa: UP045 - read by OmegaConf
    array_parallelism: Optional[int] = None  # noqa: UP045
    runs_per_task: int = 1
    parallel_per_task: int = 1
    tasks_per_run: int = 1
    signal_delay_s: Optional[int] = None  # noqa: UP045
    max_requeues_timeout: int = 0
    max_requeues_preempt: int = 3
    requeue_without_checkpoint: bool = False
    snapshot: str = "none"
    stop_after_failures: Optional[int] = None  # noqa: UP045
    poll_s: Optional[float] = None  # noqa: UP045

    account: Any = None
    comment: Any = None
    constraint: Any = None
    cpus_per_gpu: Any = None
    cpus_per_task: Any = None
    dependency: Any = None
    exclude: Any = None
    exclusive: Any = None
    gpus_per_node: Any = None
    gpus_per_task: Any = None
    gres: Any = None
    mail_type: Any = None
    mail_user: Any = None
    mem: Any = None
    mem_per_cpu: Any = None
    mem_per_gpu: Any = None
    nodelist: Any = None
    nodes: Any = None
    partition: Any = None
    qos: Any = None
    time: Any = None
    additional_parameters: dict[str, Any] = field(default_factory=dict)


# Open: the options of other launchers are not refused by Hydra, but judged in `setup`.
ConfigStore.instance().store(
    group="hydra/launcher",
    name="expkit_slurm",
    node=OmegaConf.structured(ExpkitSlurmLauncherConf, flags={"struct": False}),
    provider="expkit-slurm",
)


class ExpkitSlurmLauncher(Launcher):
    """Runs a grid as Slurm array jobs, one task per run."""

    def __init__(self, wait: bool = True, **values: Any) -> None:
        self.wait = wait
        self.values = values
        # Optional[...], not `X | None`: the latter is evaluated, and the names are not imported.
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
        """Take what Hydra passes to every launcher."""
        from expkit_slurm._launcher import grid_options, own_settings

        self.values = own_settings(self.values)
        self.grid_options = grid_options()
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence["JobReturn"]:
        """Run the override lists of a sweeper that knows no grids, each batch as a grid."""
        from expkit_hydra.launching import ListSweep
        from expkit_slurm._launcher import launch_lists

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
            values=self.values,
            wait=self.wait,
        )

    def launch_grid(self, grid: "Grid") -> Sequence["JobReturn"]:
        """Submit what is pending in a grid, and wait for it."""
        from expkit_slurm._launcher import launch_grid

        assert self.config is not None
        assert self.task_function is not None
        return launch_grid(
            grid,
            config=self.config,
            task_function=self.task_function,
            values=self.values,
            wait=self.wait,
        )

    def explain_grid(self, grid: "Grid", experiment: "Path") -> Sequence[str]:
        """What `launch_grid` would submit, as lines of text."""
        from expkit_slurm._launcher import explain_grid

        return explain_grid(grid, experiment, values=self.values)
