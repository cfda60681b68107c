"""What the panel of one run shows: times, error, environment, timings, log, files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

from .._data.files import read_bytes, yaml_mapping
from .._data.siblings import reader_of_runs
from .artifacts import Budget, artifacts_of
from .columns import json_value
from .experiments import ReportedExperiment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping.reading import RunRecord

LINES, LONGEST_LINE = 25, 400
_TAIL_BYTES = 20_000
_MOST_LOG_BYTES = 500_000  # of all runs together
_FILES = ("run.json", "config.yaml", "metrics.jsonl", "training.log", "console.log", "timer.yaml")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Details:
    """The details of all runs of a page, within its size.

    Args:
        page: The folder that the page lies in, for its links; None: there are none.
        budget: What images and tables may take.
    """

    def __init__(self, page: Path | None, budget: Budget) -> None:
        self._page = page
        self._budget = budget
        self._log_bytes = _MOST_LOG_BYTES
        self._environments: dict[bytes, int] = {}
        self.environments: list[dict[str, object]] = []

    def of_run(self, record: RunRecord, before: int | None) -> dict[str, object]:
        """The details of one run, for JSON.

        Args:
            record: The run.
            before: The place of the run that was started before it.
        """
        folder = record.folder
        artifacts = artifacts_of(folder, self._budget)
        log = self._log(folder)
        code = record.code or {}
        commit = code.get("commit")
        return {
            "attempt": record.attempt,
            "seconds": record.elapsed_s,
            "started": _time(record.started_at),
            "ended": _time(record.ended_at),
            "host": record.host,
            "code": f"{commit}{' with changes' if code.get('dirty') else ''}" if commit else None,
            "config_hash": None if record.config_hash is None else record.config_hash[:12],
            "continued": _continued(record),
            "before": before,
            "error": _error(record),
            "log": log,
            "left_out": None if log is not None or not self._log_bytes <= 0
            else "The log is left out, to keep the page small.",
            "timings": _timings(folder),
            "environment": self._environment(folder),
            "images": artifacts.images,
            "tables": artifacts.tables,
            "files": self._links(folder),
        }  # fmt: skip

    def _log(self, folder: Path) -> str | None:
        text = log_tail(folder)
        if text is None or len(text) > self._log_bytes:
            return None
        self._log_bytes -= len(text)
        return text

    def _environment(self, folder: Path) -> int | None:
        """The number of a run's environment, which the runs of a grid mostly share."""
        path = folder / "environment.yaml"
        try:
            raw = read_bytes(path, follow_link=False)
            if raw not in self._environments:
                content = yaml_mapping(raw, path)
                shown = {str(key): json_value(value) for key, value in content.items()}
                shown.pop("schema", None)
                self._environments[raw] = len(self.environments)
                self.environments.append(shown)
        except (OSError, ValueError):  # PlottingError is one
            return None
        return self._environments[raw]

    def _links(self, folder: Path) -> list[dict[str, str]]:
        if self._page is None:
            return []
        import os

        links = []
        for name in _FILES:
            if (folder / name).is_file():
                href = os.path.relpath(folder / name, self._page)
                links.append({"name": name, "href": quote(href)})
        return links


def log_tail(folder: Path) -> str | None:
    """The last lines that a run has written, without control characters; None if there are none."""
    for name in ("training.log", "console.log"):
        try:
            content = read_bytes(folder / name, follow_link=False)[-_TAIL_BYTES:]
        except OSError:
            continue
        lines = content.decode(errors="replace").splitlines()
        if len(content) == _TAIL_BYTES:
            lines = lines[1:]
        shown = [visible_text(line)[:LONGEST_LINE] for line in lines[-LINES:]]
        if shown:
            return "\n".join(shown)
    return None


def visible_text(text: str) -> str:
    r"""Text without colours, and with its control characters as escapes.

    Examples:
        >>> visible_text("\x1b[31mred\x1b[0m\x07")
        'red\\x07'
    """
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], _COLOUR.sub("", text))


def started_before(experiment: ReportedExperiment, first: int) -> list[int | None]:
    """For each run the place in the page of the one that was started before it.

    Args:
        experiment: The experiment.
        first: The place of its first run in the page.
    """
    records = experiment.records
    order = sorted(
        (place for place, record in enumerate(records) if record.started_at),
        key=lambda place: str(records[place].started_at),
    )
    before: list[int | None] = [None] * len(records)
    for earlier, later in pairwise(order):
        before[later] = first + earlier
    return before


def _error(record: RunRecord) -> dict[str, object] | None:
    error = record.error
    if not isinstance(error, Mapping):
        return {"summary": record.reason, "traceback": ""} if record.reason else None
    return {
        "summary": visible_text(f"{error.get('type')}: {error.get('message')}"),
        "traceback": "\n".join(
            visible_text(line) for line in str(error.get("traceback") or "").splitlines()
        ),
    }


def _continued(record: RunRecord) -> str | None:
    if not record.continued:
        return None
    with reader_of_runs():
        from expkit_bookkeeping.reading import continuation_text

    return continuation_text(record.continued)


def _timings(folder: Path) -> Sequence[Sequence[object]]:
    path = folder / "timer.yaml"
    try:
        timers = yaml_mapping(read_bytes(path, follow_link=False), path)
    except (OSError, ValueError):
        return []
    rows = []
    for name, timer in timers.items():
        if isinstance(timer, Mapping) and isinstance(timer.get("total_s"), (int, float)):
            rows.append([str(name), str(timer.get("total", "")), json_value(timer.get("count"))])
    return rows


def _time(text: str | None) -> str | None:
    """A time of run.json, to the second.

    Examples:
        >>> _time("2026-11-23T08:05:52.500000+00:00")
        '2026-11-23 08:05:52 UTC'
    """
    if not text:
        return None
    return text[:19].replace("T", " ") + (" UTC" if text.endswith("+00:00") else text[26:])
