"""The objective that sweepers which search are given for a run."""

from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig


def fill_objective(config: "DictConfig", result: "JobReturn") -> None:
    """Give a run that returned nothing the best value of `expkit.metric` for its objective."""
    from hydra.core.utils import JobStatus
    from omegaconf import OmegaConf

    from expkit_bookkeeping import read_run

    if OmegaConf.select(config, "expkit.metric") is None or result.status != JobStatus.COMPLETED:
        return
    if result.return_value is not None:
        return
    record = read_run(Path(config.hydra.runtime.output_dir))
    if record is not None and record.best is not None:
        result.return_value = record.best.get("value")
