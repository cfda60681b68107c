"""A grid, read from its files, which never change."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, cast, overload

from expkit_bookkeeping.launching import (
    NewerFileError,
    UnreadableFileError,
    check_schema,
    folder_name,
    open_lines,
    parse_json,
)

from .frozen_configs import FrozenReader, count_offsets, line_at, read_offset
from .identity import ignored_keys, read_config, rehash
from .node_records import Types
from .run import GridRun, RunVersion, SweepJob, run_versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord


SCHEMA = 1
PACKAGE = "expkit-hydra"
DESCRIPTION = "grid_search.yaml"
RUNS = "grid_search.jsonl"
CONFIGS = "configs.jsonl"
# Where the lines begin, eight bytes per run.
RUNS_INDEX = "grid_search.index"
CONFIGS_INDEX = "configs.index"
# In the folder of a sweep whose configuration lacks our keys: what an experiment's folder holds.
RECORDS = ".expkit"


@dataclass(frozen=True)
class Grid:
    """A grid search: its runs, their frozen configurations and what is to be done now.

    Attributes:
        path: Its folder, `EXPERIMENT/grids/GRID_ID`.
        grid_id: The name of that folder.
        runs: All runs in the grid's order, those that a rule skips included.
        pending: The runs to execute now.
        fresh: Numbers of the pending runs whose folder, left by an earlier run, moves to the trash
            before they start.
        known: By number, the versions of earlier runs on which the sweep decided that. Any other
            version that a run finds when it starts is somebody else's work since then.
        is_last_batch: Whether no other runs of the same sweep follow, for which results, figures
            and table would wait.
        types: By name the classes of configurations that its files cannot hold.
        unwritten: By number the configurations that its files cannot hold.
    """

    path: Path
    grid_id: str
    runs: Sequence[GridRun]
    pending: Sequence[GridRun]
    fresh: frozenset[int] = frozenset()
    known: Mapping[int, frozenset[RunVersion]] = field(default_factory=dict, repr=False)
    is_last_batch: bool = True
    types: Types = field(default_factory=dict, repr=False, compare=False)
    unwritten: Mapping[int, DictConfig] = field(default_factory=dict, repr=False, compare=False)

    @property
    def sweep_id(self) -> str | None:
        """The sweep of which it is a batch, whose sweeper waits for what each run returns."""
        job = self.runs[0].job if self.runs else None
        return None if job is None else job.sweep_id

    @property
    def needs_pickle(self) -> bool:
        """Whether its configurations hold what no other process can read from its files."""
        return bool(self.unwritten) or any("<locals>" in name for name in self.types)

    @property
    def experiment(self) -> Path:
        """Folder of the experiment, `${results_dir}/${experiment_id}`."""
        return self.path.parent.parent

    @cached_property
    def run_names(self) -> frozenset[str]:
        """Names of all runs, skipped ones included."""
        if isinstance(self.runs, _RunsOnDisk):
            return self.runs.names()
        return frozenset(run.run_name for run in self.runs)

    @property
    def description(self) -> dict[str, Any]:
        """What `grid_search.yaml` says."""
        return read_description(self.path)

    def records_of(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """The experiment's runs with hashes that can be compared with those of the grid's runs."""
        try:
            return with_hashes_under(ignored_in(self.description), records)
        except (OSError, ValueError):  # damaged: the runs can be listed nevertheless
            return list(records)

    def config(self, index: int) -> DictConfig:
        """The run's configuration as Hydra composed it, types included; new at each call.

        Raises:
            KeyError: If a rule skips the run, or there is no such run: no configuration is kept.
        """
        if index in self.unwritten:
            return copy.deepcopy(self.unwritten[index])
        config = self._reader.config(index)
        if config is None:
            raise KeyError(
                f"Grid {self.grid_id} has no configuration for run {index}. "
                "Runs that a rule skips have none."
            )
        return config

    def launcher_key(self, index: int) -> object:
        """Equal for runs whose `hydra.launcher` nodes cannot differ; None if one must be read."""
        return None if index in self.unwritten else self._reader.launcher_key(index)

    @cached_property
    def _reader(self) -> FrozenReader:
        return FrozenReader(self.path / CONFIGS, self.path / CONFIGS_INDEX, self.types)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Grid:
        """Read a grid from its folder, or an experiment's latest grid from the experiment's folder.

        Its `pending` are the runs that no rule skips and that are not completed.

        Raises:
            FileNotFoundError: If there is no grid.
        """
        from expkit_bookkeeping import find_runs

        grid = read_grid(path)
        records = grid.records_of(find_runs(grid.experiment))
        completed = [record for record in records if record.state == "completed"]
        hashes = {record.config_hash for record in completed}
        names = {record.run_name for record in completed}
        pending = [
            run
            for run in grid.runs
            if run.skipped_by is None
            and (run.config_hash not in hashes if run.job is None else run.run_name not in names)
        ]
        return replace(grid, pending=pending, known=run_versions(pending, records))


def read_grid(path: str | PathLike[str]) -> Grid:
    """Read a grid without asking what has been done: nothing is `pending`.

    Raises:
        FileNotFoundError: If there is no grid.
        ValueError: If its files are damaged, or a newer version wrote them.
    """
    grid = open_grid(path)
    return replace(grid, runs=list(iter(grid.runs)))


def open_grid(path: str | PathLike[str]) -> Grid:
    """As `read_grid`, but each run is read on demand: for a caller that needs one of thousands.

    Raises:
        FileNotFoundError: If there is no grid.
        ValueError: If a newer version wrote it.
    """
    path = with_records(Path(path).absolute())
    if not (path / RUNS).is_file():
        if not (path / DESCRIPTION).is_file():
            raise FileNotFoundError(
                f"No grid in {path}. Give the folder of an experiment "
                f"(results/EXPERIMENT) or of a grid in it (results/EXPERIMENT/grids/ID); "
                "`python train.py -m` makes one."
            )
        latest = path / DESCRIPTION
        grid_id = read_description(path).get("grid_id")
        try:
            path = path / "grids" / folder_name("" if grid_id is None else grid_id, "grid_id")
        except ValueError as error:
            raise UnreadableFileError(f"{latest} is damaged: {error}") from error
        if not path.is_dir():
            raise UnreadableFileError(f"{latest} names a grid that is not there: {path}")
    _check_first_line(path / DESCRIPTION)
    return Grid(path=path, grid_id=path.name, runs=_RunsOnDisk(path), pending=())


def with_records(folder: Path) -> Path:
    """The folder that holds the records of a sweep, if this is one; else the folder itself."""
    return folder / RECORDS if (folder / RECORDS / DESCRIPTION).is_file() else folder


class _RunsOnDisk(Sequence[GridRun]):
    """The runs in a grid's files, one line each, found by the byte at which it begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._experiment = path.parent.parent

    def __len__(self) -> int:
        return count_offsets(self._path / RUNS_INDEX)

    @overload
    def __getitem__(self, index: int) -> GridRun: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[GridRun]: ...
    def __getitem__(self, index: int | slice) -> GridRun | Sequence[GridRun]:
        if isinstance(index, slice):
            return list(self)[index]
        start = read_offset(self._path / RUNS_INDEX, index + len(self) if index < 0 else index)
        if start is None:
            raise IndexError(f"Grid {self._path.name} has runs 0 to {len(self) - 1}, not {index}.")
        with open_lines(self._path / RUNS) as lines:
            line = line_at(lines, start)
        run = self._run(line)
        if run.index != index % len(self):
            raise UnreadableFileError(
                f"{self._path / RUNS_INDEX} is damaged: it leads to run {run.index} for {index}."
            )
        return run

    def __iter__(self) -> Iterator[GridRun]:
        with open_lines(self._path / RUNS) as lines:
            for line in lines:
                if line.strip():
                    yield self._run(line)

    def names(self) -> frozenset[str]:
        """Names of all runs, in a tenth of the time that reading the runs takes."""
        with open_lines(self._path / RUNS) as lines:
            names = _NAME.findall(lines.read())
        try:
            return frozenset(json.loads(name) for name in names)
        except ValueError as error:
            raise UnreadableFileError(f"{self._path / RUNS} is damaged: {error}") from error

    def _run(self, line: bytes) -> GridRun:
        try:
            return _from_line(line, self._path / RUNS, self._experiment)
        except NewerFileError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableFileError(
                f"{self._path / RUNS} is damaged: {type(error).__name__}: {error!s:.500}."
            ) from error


# As `GridRun.to_line` writes it: the first such key of a line, before any value of the user's.
_NAME = re.compile(rb'^\{"index": \d+, "run_name": ("(?:[^"\\]|\\.)*")', re.MULTILINE)


def _from_line(line: bytes, path: Path, experiment: Path) -> GridRun:
    entry = cast("dict[str, Any]", parse_json(line, path, schema=SCHEMA, package=PACKAGE))
    name = folder_name(entry["run_name"], "run_name")  # or the run would lie somewhere else
    for key, kind in _KINDS.items():
        value = entry[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"its {key} is {value!r:.80}")
    return GridRun(
        index=entry["index"],
        run_name=name,
        overrides=tuple(map(str, entry["overrides"])),
        values=entry["values"],
        config_hash=entry["config_hash"],
        skipped_by=entry["skipped_by"],
        folder=experiment / "training" / name,
        job=_job(entry.get("sweep")),
    )


def _job(entry: Any) -> SweepJob | None:
    return None if entry is None else SweepJob(str(entry["id"]), int(entry["job"]))


_KINDS: dict[str, Any] = {
    "index": int,
    "run_name": str,
    "overrides": list,
    "values": dict,
    "config_hash": str | None,
    "skipped_by": str | None,
}


def read_description(folder: Path) -> dict[str, Any]:
    """What the `grid_search.yaml` in a folder says.

    Raises:
        ValueError: If it is damaged, or a newer version wrote it.
    """
    from expkit_bookkeeping.launching import read_yaml

    loaded = read_yaml(folder / DESCRIPTION)
    if not isinstance(loaded, dict):
        raise ValueError(f"{folder / DESCRIPTION} is not the description of a grid.")
    check_schema(loaded, folder / DESCRIPTION, SCHEMA, package=PACKAGE)
    return loaded


def _check_first_line(description: Path) -> None:
    """Check the schema, which is the first line: a task reads no whole base configuration for it.

    Raises:
        NewerFileError: If it is higher than ours.
    """
    try:
        with open_lines(description) as file:
            schema = _SCHEMA_LINE.match(file.read(64))
    except (OSError, UnreadableFileError):  # the runs can be read all the same
        return
    if schema is not None:
        check_schema({"schema": int(schema[1])}, description, SCHEMA, package=PACKAGE)


_SCHEMA_LINE = re.compile(rb"schema: (\d{1,9})\s")


def with_hashes_under(ignored: Collection[str], records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records with the hashes that their configurations have if these keys are left out.

    A hash is computed again only where other keys were left out when the run was made, from the
    configuration that the run has stored; and only if that gives the recorded hash with the keys
    of that time, so that nothing else has changed.

    Args:
        ignored: The keys, as `ignored_keys` gives them.
        records: Runs.
    """
    wanted = frozenset(ignored)
    by_grid: dict[tuple[Path, str], tuple[str, ...] | None] = {}
    rehashed = []
    for record in records:
        before = record.ignored if record.config_hash is not None else tuple(wanted)
        if before is None:
            before = _ignored_of_older(record, by_grid)
        if before is not None and wanted != frozenset(before):
            new_hash = rehash(record, before, tuple(wanted))
            record = record if new_hash is None else replace(record, config_hash=new_hash)
        rehashed.append(record)
    return rehashed


def _ignored_of_older(
    record: RunRecord, by_grid: dict[tuple[Path, str], tuple[str, ...] | None]
) -> tuple[str, ...] | None:
    """What the hash of a run leaves out that does not say it; None where that is unknown."""
    experiment = record.folder.parent.parent
    if record.grid_id is None:
        config = read_config(record.folder)
        return None if config is None else tuple(ignored_keys(config, tuple(record.swept)))
    place = experiment, record.grid_id
    if place not in by_grid:
        try:
            by_grid[place] = ignored_in(read_description(experiment / "grids" / record.grid_id))
        except (OSError, ValueError):
            by_grid[place] = None
    return by_grid[place]


def ignored_in(description: Mapping[str, object]) -> tuple[str, ...]:
    """The keys that the hashes of a grid leave out, from its description."""
    config, swept = description.get("config"), description.get("swept")
    keys = tuple(swept) if isinstance(swept, Mapping) else ()
    return tuple(ignored_keys(config, keys)) if isinstance(config, Mapping) else ()
