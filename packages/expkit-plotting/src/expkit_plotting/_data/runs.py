"""What is plotted: runs, their settings and their curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Array = NDArray[float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """One metric of one run.

    Attributes:
        steps: Where it was logged, ascending, shape (points,).
        values: What was logged, shape (points,); NaN and infinities are kept.
    """

    steps: Array
    values: Array


@dataclass(frozen=True, eq=False)
class Run:
    """One run.

    Attributes:
        name: Its name.
        settings: The values of its swept keys.
        metrics: Its curves by metric.
        folder: Its folder, if it has one.
        state: What its folder says of it: "completed", "running", …; None if nothing does.
    """

    name: str
    settings: Mapping[str, object]
    metrics: Mapping[str, Curve]
    folder: Path | None = None
    state: str | None = None


@dataclass(frozen=True, eq=False)
class Experiment:
    """Runs that belong together.

    Attributes:
        name: What a title calls them; may be empty.
        runs: In the order in which they are listed.
        step: What the x axis counts: "epoch", "step", …
        metric: The metric that the experiment optimises, if known.
        direction: "minimize" or "maximize", of `metric`.
        repeat: The keys, or their last parts, that only repeat a configuration.
        folder: The experiment's folder, if it has one.
        experiment_key: Where these are several experiments, the key whose values name them.
        folders: Of several experiments, the folders of those that have one, by name.
    """

    name: str
    runs: tuple[Run, ...]
    step: str = "step"
    metric: str | None = None
    direction: str | None = None
    repeat: tuple[str, ...] = ("seed",)
    folder: Path | None = None
    experiment_key: str | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)

    @property
    def run_names(self) -> tuple[str, ...]:
        """Names of all runs, in their order."""
        return tuple(run.name for run in self.runs)

    @property
    def experiments(self) -> tuple[str, ...]:
        """Names of the experiments, if these are several."""
        key = self.experiment_key
        return () if key is None else tuple({str(run.settings[key]): None for run in self.runs})

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics, in the order in which runs log them."""
        return tuple(dict.fromkeys(name for run in self.runs for name in run.metrics))


def curve_of_points(steps: Array, values: Array) -> Curve:
    """Points in the order of their steps; of several with the same step, the last one."""
    finite = np.isfinite(steps)
    if not finite.all():
        steps, values = steps[finite], values[finite]
    if len(steps) > 1 and not (np.diff(steps) > 0).all():
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
        last = np.append(np.diff(steps) > 0, True)
        steps, values = steps[last], values[last]
    return Curve(steps, values)
