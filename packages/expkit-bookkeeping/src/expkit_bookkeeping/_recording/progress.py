"""How far a run is: the last and best values that it logged, as run.json shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._runs.records import RunRecord
    from .._runs.settings import RunSettings
    from .metrics import MetricLine


class Progress:
    """Follows the metrics of one run.

    Attributes:
        step: The step that was logged last; None if none was.
        metric_value: The value of `expkit.metric` logged since the last checkpoint; None if it
            was not logged.
    """

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self.restore(())

    def restore(self, lines: Iterable[MetricLine], record: RunRecord | None = None) -> None:
        """Start over from what was logged, in the order in which it was.

        Sorted by step, what counts batches would come after what counts epochs.

        Args:
            lines: What was logged.
            record: What run.json says, which stays until the lines or later ones say it better.
        """
        self._recorded = record
        self.step: int | None = None
        self._metric_step: int | None = None
        self._last: dict[str, float] = {}
        self._best: tuple[float, int] | None = None
        for line in lines:
            self.count(line.step, line.metrics)
        self.metric_value: float | None = None

    def count(self, step: int, values: Mapping[str, float]) -> None:
        """Count one call of log_metrics."""
        self._last.update(values)
        self.step = step
        metric = self._settings.metric
        if metric is not None and metric in values:
            self._metric_step = step
            value = self.metric_value = values[metric]
            if not math.isnan(value) and self._is_better(value):
                self._best = (value, step)

    @property
    def best(self) -> dict[str, object] | None:
        """Best value of `expkit.metric`, with its step; None if there is none."""
        recorded = self._recorded
        if self._best is None:
            return None if recorded is None or recorded.best is None else dict(recorded.best)
        value, step = self._best
        settings = self._settings
        names = {"metric": settings.metric, "direction": settings.direction}
        return {**names, "value": value, "step": step}

    def facts(self) -> dict[str, object]:
        """The keys progress, metrics and best of run.json.

        Progress counts what the steps of `expkit.metric` count, mostly epochs, even where other
        metrics count batches; until it is logged, it is the step that was logged last.
        """
        total, recorded = self._settings.epochs, self._recorded
        step = self.step if self._metric_step is None else self._metric_step
        progress: object = None if step is None else {"step": step, "total": total}
        if step is None and recorded is not None:
            progress = recorded.progress
        return {
            "progress": progress,
            "metrics": {**({} if recorded is None else recorded.metrics), **self._last},
            "best": self.best,
        }

    @property
    def names(self) -> set[str]:
        """The metrics that were logged."""
        return set(self._last)

    def missing_metric_warning(self) -> str | None:
        """A warning where metrics were logged, but never the one that ranks checkpoints."""
        metric = self._settings.metric
        if metric is None or not self._last or metric in self._last:
            return None
        from difflib import get_close_matches

        near = get_close_matches(metric, self._last, 1)
        return (
            f"expkit.metric is {metric!r}, which was not logged before save_checkpoint: no "
            f"best checkpoint is kept. Logged: {', '.join(self._last)}."
            + (f" Did you mean {near[0]!r}?" if near else "")
        )

    def _is_better(self, value: float) -> bool:
        if self._best is None:
            return True
        if self._settings.direction == "maximize":
            return value > self._best[0]
        return value < self._best[0]
