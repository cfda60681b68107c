"""One run of a grid, and the versions of what its folder has held."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from expkit_bookkeeping.launching import SECRET_KEYS, json_data, public_override

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

RunVersion = tuple[str | None, int, str]  # what a run folder holds: id, attempt, state


@dataclass(frozen=True, slots=True)
class SweepJob:
    """Which job of which sweep a run is, where a sweeper that knows no grids asked for it."""

    sweep_id: str  # of all batches that the sweeper hands over
    number: int  # hydra.job.num


@dataclass(frozen=True, slots=True)
class GridRun:
    """One run of a grid, as a line of `grid_search.jsonl` records it.

    Attributes:
        index: Position among the grid's runs, from 0.
        run_name: Its name in the experiment.
        overrides: For Hydra, without the one that gives the run its name.
        values: By swept key the value.
        config_hash: SHA-256 of the configuration; None where a rule skipped the run before it was
            composed.
        skipped_by: The rule; None for a run that belongs to the grid.
        folder: The run folder, whether it exists or not.
        job: Which job of which sweep, where another sweeper asked for it; None for ours, which
            runs only what is missing.
    """

    index: int
    run_name: str
    overrides: tuple[str, ...]
    values: Mapping[str, object]
    config_hash: str | None
    skipped_by: str | None
    folder: Path
    job: SweepJob | None = None

    def to_line(self, patterns: Sequence[str] = SECRET_KEYS) -> str:
        """The run without its folder, so that an experiment can move, and without secrets."""
        line: dict[str, object] = {
            "index": self.index,
            "run_name": self.run_name,
            "overrides": [public_override(text, patterns) for text in self.overrides],
            "values": json_data(self.values),
            "config_hash": self.config_hash,
            "skipped_by": self.skipped_by,
        }
        if self.job is not None:
            line["sweep"] = {"id": self.job.sweep_id, "job": self.job.number}
        return json.dumps(line, allow_nan=False)


def run_version(record: RunRecord) -> RunVersion:
    """The version of a run that run.json records; a lost run is still `running` there."""
    return record.id, record.attempt, "running" if record.state == "lost" else record.state


def run_versions(
    runs: Sequence[GridRun], records: Sequence[RunRecord]
) -> dict[int, frozenset[RunVersion]]:
    """By a run's number, the versions of earlier runs with its name or its configuration."""
    by_name = {record.folder.name: run_version(record) for record in records}
    by_hash: dict[str | None, set[RunVersion]] = {}
    for record in records:
        by_hash.setdefault(record.config_hash, set()).add(run_version(record))
    return {
        run.index: frozenset(by_hash.get(run.config_hash, ()))
        | {by_name[name] for name in (run.run_name,) if name in by_name}
        for run in runs
        if run.run_name in by_name or run.config_hash in by_hash
    }
