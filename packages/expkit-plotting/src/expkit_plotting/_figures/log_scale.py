"""A log scale on which zero has a place: that of the smallest positive value."""

from __future__ import annotations

import numpy as np
from matplotlib.scale import LogScale, LogTransform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.transforms import Transform
    from numpy.typing import ArrayLike

MARGIN = 0.05  # of the axis' length, at either end; matplotlib's axes.ymargin


def use_log_scale(axis: Axis, floor: float, top: float) -> None:
    """Show an axis from `floor` to `top`, and whatever is not positive at `floor`."""
    axes = axis.axes
    upright = axis is axes.yaxis
    set_scale = axes.set_yscale if upright else axes.set_xscale
    set_limits = axes.set_ylim if upright else axes.set_xlim
    set_scale(_LogScaleWithFloor(axis, floor))
    margin = top**MARGIN / floor**MARGIN
    set_limits(floor / margin, top * margin)


class _LogScaleWithFloor(LogScale):
    def __init__(self, axis: Axis, floor: float) -> None:
        super().__init__(axis)
        self._with_floor = _LogTransformWithFloor(floor)

    def get_transform(self) -> Transform:
        return self._with_floor


class _LogTransformWithFloor(LogTransform):
    def __init__(self, floor: float) -> None:
        super().__init__(10)
        self.floor = floor

    def transform_non_affine(self, values: ArrayLike) -> ArrayLike:
        values = np.asarray(values)
        return super().transform_non_affine(np.where(values <= 0, self.floor, values))
