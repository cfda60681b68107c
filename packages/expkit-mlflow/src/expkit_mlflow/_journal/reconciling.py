"""What a further attempt of a run makes of its journal: what is missing in it, and what is void."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .entries import Entry
from .reading import open_to_read, read_entries

MarkOfLine = tuple[int, str, tuple[str, ...]]  # step, time, names: enough to know a line again


@dataclass(frozen=True)
class Cut:
    """A `cut` entry: the metrics from byte `start` on and before byte `end` are void."""

    start: int
    end: int


@dataclass(frozen=True)
class Reconciliation:
    """How a journal compares with the metrics that the run has kept.

    Attributes:
        missing: What it lacks, in the order in which it was logged.
        cut_from: The byte at which the first metrics after the last kept ones begin; None if none
            follow.
    """

    missing: list[tuple[Mapping[str, float], int, float]]
    cut_from: int | None


def reconciled(
    path: Path, points: Sequence[tuple[Mapping[str, float], int, float]]
) -> Reconciliation:
    """Compare a journal, which is written to its end, with all that the run logged and kept."""
    kept = {mark_of_line(metrics, step, time) for metrics, step, time in points}
    known = set()
    cut_from: int | None = None
    for entry, start in metrics_entries(path, read_cuts(path)):
        mark = _mark_of_entry(entry)
        if mark in kept:
            known.add(mark)
            cut_from = None
        elif cut_from is None:
            cut_from = start
    missing = [point for point in points if mark_of_line(*point) not in known]
    return Reconciliation(missing, cut_from)


def read_cuts(path: Path, start: int = 0) -> list[Cut]:
    """The `cut` entries from byte `start` on, read without parsing what is between them."""
    cuts = []
    with open_to_read(path) as file:
        file.seek(start)
        offset = start
        for line in file:
            if line.startswith(b'{"kind": "cut"') and line.endswith(b"\n"):
                with contextlib.suppress(ValueError, RecursionError):
                    first = json.loads(line.decode()).get("from")
                    if isinstance(first, int):
                        cuts.append(Cut(first, offset))
            offset += len(line)
    return cuts


def is_void(offset: int, cuts: Iterable[Cut]) -> bool:
    """Whether the metrics of the line that begins at byte `offset` are void."""
    return any(cut.start <= offset < cut.end for cut in cuts)


def metrics_entries(path: Path, cuts: Sequence[Cut]) -> Iterator[tuple[Entry, int]]:
    """The `metrics` entries that are not void, each with the byte where it begins."""
    start = 0
    for entry, end in read_entries(path):
        if entry.get("kind") == "metrics" and not is_void(start, cuts):
            yield entry, start
        start = end


def mark_of_line(metrics: Mapping[str, object], step: object, time: object) -> MarkOfLine | None:
    """What a line of metrics.jsonl and a journal's entry of the same call have in common."""
    if not isinstance(step, int) or not isinstance(time, (int, float)):
        return None
    return step, f"{time:.6f}", tuple(metrics)  # metrics.jsonl rounds to microseconds


def _mark_of_entry(entry: Entry) -> MarkOfLine | None:
    metrics = entry.get("metrics")
    if not isinstance(metrics, dict):
        return None
    return mark_of_line(metrics, entry.get("step"), entry.get("time"))
