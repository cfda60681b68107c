"""The metric of `expkit.metric`: Hydra's objective, and a note where no run logs it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord


def fill_objective(config: DictConfig, result: JobReturn) -> None:
    """Let a run that returned nothing have the best value of `expkit.metric` as its objective."""
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


def unlogged(metric: str | None, records: Iterable[RunRecord]) -> str | None:
    """A note if runs were completed and none has logged `expkit.metric`; else None.

    Without the metric there is no best checkpoint, no order in the table and no objective, and
    nobody notices until they look for them.
    """
    if metric is None:
        return None
    completed = [record for record in records if record.state == "completed" and record.metrics]
    if not completed or any(metric in (record.metrics or {}) for record in completed):
        return None
    logged = sorted({name for record in completed for name in record.metrics or {}})
    near = get_close_matches(metric, logged, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"expkit.metric is {metric!r}, which no completed run has logged: no best value, no best "
        f"checkpoint.{hint} Logged: {', '.join(logged)}."
    )
