"""What a sweeper is given for a run: what its function returned, or what its run.json says."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from .hydra_run import described_return

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord

    from .._grid.grid import Grid
    from .._grid.run import GridRun


class RunError(RuntimeError):
    """The error of a run as its run.json has it: its text begins with its type."""


def job_return(
    grid: Grid, run: GridRun, *, reason: str | None = None, cause: BaseException | None = None
) -> JobReturn:
    """The result of a run that is over, as Hydra's launchers return it.

    The value of a run that did not complete is a RuntimeError with the type, message and traceback
    of its error, raised when somebody reads it.

    Args:
        grid: The grid.
        run: One of its runs.
        reason: Why the run did not complete, where its run.json does not say.
        cause: Its error, if this process has it.
    """
    from hydra.core.utils import JobStatus

    from expkit_bookkeeping import read_run

    result = _without_value(grid, run)
    record = read_run(run.folder)
    if record is not None and record.config_hash != run.config_hash:  # somebody else's
        record = None
    if record is not None and record.state == "completed":
        best = record.best or {}
        result.status = JobStatus.COMPLETED
        result.return_value = best.get("value") if record.returned is None else record.returned
    else:
        result.status, result.return_value = JobStatus.FAILED, _error(run, record, reason, cause)
    return result


def _without_value(grid: Grid, run: GridRun) -> JobReturn:
    from hydra.core.utils import JobReturn
    from omegaconf.errors import OmegaConfBaseException

    result = JobReturn()
    if run.job is not None:  # of thousands of runs of ours nobody looks at the configurations
        with suppress(LookupError, OSError, ValueError, OmegaConfBaseException):
            result = described_return(grid.config(run.index))
    result.overrides = list(run.overrides)
    return result


def _error(
    run: GridRun, record: RunRecord | None, reason: str | None, cause: BaseException | None
) -> RunError:
    facts = (record.error if record is not None else None) or {}
    if record is None or record.state != "failed" or not facts:
        why = reason or "no reason is known"
        return RunError(f"Run {run.run_name} did not complete: {why}")
    error = RunError(": ".join(str(facts[key]) for key in ("type", "message") if facts.get(key)))
    if cause is not None and cause.__traceback__ is not None:  # which is printed with it
        error.__cause__ = cause
    elif facts.get("traceback"):
        error.add_note(f"In the run:\n{str(facts['traceback']).rstrip()}")
    return error


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
