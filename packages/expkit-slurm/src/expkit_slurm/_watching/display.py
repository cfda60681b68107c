"""What a waiting user sees: counts, rate, remaining time, the latest failures, who waits why."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from .status import RunStatus, count_states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MOST_FAILURES = MOST_REASONS = 5
QUIET_S = 10.0  # between two lines of a log file


class ProgressDisplay:
    """A live display on a terminal; elsewhere one line whenever something has changed.

    A context manager; call `show` each time the runs have been looked at.
    """

    def __init__(
        self, screen: Console, *, total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from rich.live import Live

        self._screen = screen
        self._total = total
        self._clock = clock
        self._begin = clock()
        self._done_at_begin: int | None = None
        self._printed_failures: set[str] = set()
        self._printed_reasons: set[str] = set()
        self._last_line = ("", -QUIET_S)
        self._live = (
            # Drawn when there is something new: a thread of rich's own would cost more than all
            # questions to the queue.
            Live(console=screen, auto_refresh=False, transient=True) if screen.is_terminal else None
        )

    def __enter__(self) -> ProgressDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, statuses: Sequence[RunStatus]) -> None:
        """Show how the runs are now."""
        done = sum(status.is_over for status in statuses)
        if self._done_at_begin is None:
            self._done_at_begin = done
        elapsed = self._clock() - self._begin
        line = progress_line(
            count_states(statuses),
            done=done,
            total=self._total,
            done_here=done - self._done_at_begin,
            elapsed_s=elapsed,
            is_blocked=any(status.obstacle is not None for status in statuses),
        )
        reasons = pending_reasons(statuses)
        failures = [status for status in statuses if status.is_over and not status.is_good]
        if self._live is not None:
            self._live.update(self._picture(line, done, failures, reasons), refresh=True)
            return
        for status in failures:
            if status.run_name not in self._printed_failures:
                self._printed_failures.add(status.run_name)
                self._screen.print(failure_line(status), markup=False, soft_wrap=True)
        for reason in reasons:
            if reason.key not in self._printed_reasons:
                self._printed_reasons.add(reason.key)
                self._screen.print(reason.text, style=reason.style, markup=False, soft_wrap=True)
        counts = line.partition(";")[0]
        last_counts, printed_at = self._last_line
        if counts != last_counts and (elapsed - printed_at >= QUIET_S or done == self._total):
            self._last_line = (counts, elapsed)
            self._screen.print(line, markup=False, soft_wrap=True)

    def _picture(
        self,
        line: str,
        done: int,
        failures: Sequence[RunStatus],
        reasons: Sequence[PendingReason],
    ) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        rows = Table.grid()
        rows.add_row(ProgressBar(total=max(1, self._total), completed=done, width=60))
        rows.add_row(Text(line))
        newest = failures[-MOST_FAILURES:]
        for status in newest:
            rows.add_row(Text(failure_line(status), style="red", overflow="ellipsis", no_wrap=True))
        if len(failures) > len(newest):
            rows.add_row(Text(f"and {len(failures) - len(newest)} before", style="dim"))
        for reason in reasons[:MOST_REASONS]:
            rows.add_row(Text(reason.text, style=reason.style))
        return rows


@dataclass(frozen=True)
class PendingReason:
    """Why runs wait for their start: one line for all that have the reason in common."""

    key: str
    text: str
    style: str


def pending_reasons(statuses: Sequence[RunStatus]) -> list[PendingReason]:
    """Each distinct reason why runs wait, those that do not resolve by themselves first."""
    runs_by_reason: dict[str, list[RunStatus]] = {}
    for status in statuses:
        if status.state == "pending" and status.reason is not None:
            # ReqNodeNotAvail, UnavailableNodes:node3: what follows the comma changes all the time.
            key = f"{status.reason.partition(',')[0]}; {status.advice}"
            runs_by_reason.setdefault(key, []).append(status)
    reasons = []
    for key, runs in runs_by_reason.items():
        subject = f"{runs[0].run_name} waits" if len(runs) == 1 else f"{len(runs)} runs wait"
        style = "dim" if runs[0].obstacle is None else "red"
        reasons.append(PendingReason(key, f"{subject}: {runs[0].why}", style))
    return sorted(reasons, key=lambda reason: reason.style == "dim")


def progress_line(
    counts: dict[str, int],
    *,
    done: int,
    total: int,
    done_here: int,
    elapsed_s: float,
    is_blocked: bool = False,
) -> str:
    """Counts, rate and remaining time in one line; no remaining time if somebody has to act first.

    Examples:
        >>> progress_line({"completed": 30, "running": 8, "pending": 62}, done=30, total=100,
        ...               done_here=30, elapsed_s=60.0)
        '30 completed, 8 running, 62 pending; 30 runs a minute, about 2 min 20 s left'
    """
    from expkit_hydra.launching import duration_text

    line = ", ".join(f"{number} {state}" for state, number in counts.items()) or "no runs"
    if done_here > 0 and elapsed_s > 0 and done < total:
        rate = done_here / elapsed_s
        per, unit = (rate * 60, "minute") if rate * 60 >= 1 else (rate * 3600, "hour")
        line += f"; {per:.3g} runs a{'n' if unit == 'hour' else ''} {unit}"
        if not is_blocked:
            line += f", about {duration_text((total - done) / rate)} left"
    return line


def failure_line(status: RunStatus) -> str:
    """A run that did not complete, in one line.

    Examples:
        >>> failure_line(RunStatus(3, "cnn_1", "lost", "out of memory", "12_3", node="node2"))
        'cnn_1 lost: out of memory (12_3 on node2)'
    """
    where = status.job or ""
    if status.node is not None and where:
        where += f" on {status.node}"
    reason = f": {status.why}" if status.why else ""
    return f"{status.run_name} {status.state}{reason}" + (f" ({where})" if where else "")
