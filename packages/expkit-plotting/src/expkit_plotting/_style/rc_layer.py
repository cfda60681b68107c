"""rcParams for one thread: a style is in force while we draw, and no other thread sees it.

`matplotlib.rc_context` changes the process's rcParams for a while, so a thread that draws at
the same time gets our fonts, and two threads that leave in the wrong order leave them changed
for good. Here the one global mapping keeps its content; while we draw, reads *of this thread*
find the style's values first.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib import RcParams

# mathtext's parser and the TeX cache of matplotlib hold state that threads would share.
_drawing_lock = threading.RLock()


class _Layer(threading.local):
    values: dict[str, Any] | None = None


_layer = _Layer()


class _LayeredRcParams(RcParams):  # matplotlib types keys as literals, hence Any
    """The global rcParams while some thread of ours draws."""

    def _values(self) -> dict[str, Any] | None:
        return _layer.values if self is matplotlib.rcParams else None  # copies stay plain

    def _get(self, key: Any) -> Any:
        values = self._values()
        return values[key] if values is not None and key in values else super()._get(key)

    def _set(self, key: Any, val: Any) -> None:
        values = self._values()
        if values is None:
            super()._set(key, val)
        else:
            values[key] = val

    def _update_raw(self, other_params: Any) -> None:
        values = self._values()
        if values is None:
            super()._update_raw(other_params)
        else:
            values.update(dict.items(other_params))


def _forget_other_threads() -> None:
    """In a forked child no thread is left to release the lock or to take the layer away."""
    global _drawing_lock
    _drawing_lock = threading.RLock()
    if _layer.values is None and type(matplotlib.rcParams) is _LayeredRcParams:
        matplotlib.rcParams.__class__ = RcParams  # type: ignore[assignment]


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_other_threads)


@contextmanager
def rc_layer(parameters: Mapping[str, object]) -> Iterator[None]:
    """Draw with these rcParams in this thread; one thread at a time, global values untouched."""
    with _drawing_lock:
        outer_values = _layer.values
        outermost = outer_values is None
        outer_class = type(matplotlib.rcParams)
        if outermost:
            matplotlib.rcParams.__class__ = _LayeredRcParams
        _layer.values = dict(parameters)
        try:
            yield
        finally:
            _layer.values = outer_values
            if outermost:
                matplotlib.rcParams.__class__ = outer_class
