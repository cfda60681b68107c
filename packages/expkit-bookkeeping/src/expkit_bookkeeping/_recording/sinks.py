"""Where metrics go besides the run folder, called so that they cannot hurt the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from .._files.texts import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .metrics import MetricLine
    from .protocols import Sink

METHODS = ("open", "log_metrics", "log_artifact", "log_timer", "flush", "close")


class Sinks:
    """All sinks of a run. An error in one of them is reported once and goes no further."""

    def __init__(self, sinks: Iterable[Sink], report: Callable[[str], None]) -> None:
        self._sinks = list(sinks)
        self._report = report
        self._failed: set[int] = set()
        for sink in self._sinks:
            missing = [name for name in METHODS if not callable(getattr(sink, name, None))]
            if missing:
                raise TypeError(
                    f"{type(sink).__name__} is not a sink: it has no method "
                    f"{', '.join(missing)}. A sink has {', '.join(METHODS)}."
                )

    def open(self, run: Mapping[str, object], config: Mapping[str, object]) -> None:
        """Open all. One that fails is left out from here on, as each step would fail too."""
        for sink in list(self._sinks):
            if not self._call_one(sink, "open", run, config):
                self._sinks.remove(sink)

    def log_metrics(self, metrics: Mapping[str, float], step: int, time: float) -> None:
        """The one call that must be quick."""
        for sink in self._sinks:
            try:
                sink.log_metrics(metrics, step, time)
            except Exception as problem:
                self._report_once(sink, "log_metrics", problem)

    def reconcile(self, lines: Sequence[MetricLine], *, cut: bool) -> None:
        """Tell the sinks that ask for it what metrics.jsonl holds; see `protocols.py`."""
        asking = [sink for sink in self._sinks if callable(getattr(sink, "reconcile", None))]
        points = [(line.metrics, line.step, line.time) for line in lines] if asking else []
        for sink in asking:
            try:
                sink.reconcile(points, cut=cut)  # type: ignore[attr-defined]
            except Exception as problem:
                self._report_once(sink, "reconcile", problem)

    def call(self, method: str, *args: object) -> None:
        """Call one of the other methods of all sinks."""
        for sink in self._sinks:
            self._call_one(sink, method, *args)

    def _call_one(self, sink: Sink, method: str, *args: object) -> bool:
        try:
            getattr(sink, method)(*args)
        except Exception as problem:
            self._report_once(sink, method, problem)
            return False
        return True

    def _report_once(self, sink: Sink, method: str, problem: Exception) -> None:
        if id(sink) in self._failed:
            return
        self._failed.add(id(sink))
        name = type(sink).__name__
        self._report(
            f"{name}.{method} failed, and the training continues: {type(problem).__name__}: "
            f"{text_of(problem)}. Further errors of {name} are not shown."
        )
