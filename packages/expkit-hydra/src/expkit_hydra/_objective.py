"""The metric of `expkit.metric`: Hydra's objective, and what to say where no run logs it."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord


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


def unlogged(metric: str | None, records: "Iterable[RunRecord]") -> str | None:
    """What to say where runs were completed and none has logged `expkit.metric`; else None.

    Without it there is no best checkpoint, no order in the table and no objective, all of which
    go unnoticed until somebody looks for them.
    """
    if metric is None:
        return None
    done = [record for record in records if record.state == "completed" and record.metrics]
    if not done or any(metric in (record.metrics or {}) for record in done):
        return None
    logged = sorted({name for record in done for name in record.metrics or {}})
    near = get_close_matches(metric, logged, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"expkit.metric is {metric!r}, which no completed run has logged: no best value, no best "
        f"checkpoint.{hint} Logged: {', '.join(logged)}."
    )
