"""A grid and its files: written before the first run starts, never changed afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import overload
from uuid import uuid4

from expkit_bookkeeping import write_file

from ._frozen import OFFSET_BYTES, FrozenConfigs, FrozenReader, pack_offsets, read_offset
from ._node_records import Types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord

DESCRIPTION = "grid_search.yaml"
RUNS = "grid_search.jsonl"
CONFIGS = "configs.jsonl"
# Where the lines begin, eight bytes per run.
RUNS_INDEX = "grid_search.index"
CONFIGS_INDEX = "configs.index"
SCHEMA = 1


RunVersion = tuple[str | None, int, str]  # what a run folder holds: id, attempt, state


@dataclass(frozen=True, slots=True)
class GridRun:
    """One run of a grid, as a line of `grid_search.jsonl` records it."""

    index: int  # position among the grid's runs
    run_name: str
    overrides: tuple[str, ...]  # for Hydra; without the one that gives the run its name
    values: Mapping[str, object]  # the swept keys
    config_hash: str | None  # None where a rule skipped the run before it was composed
    skipped_by: str | None  # the rule, or None for a run that belongs to the grid
    folder: Path

    def to_line(self) -> str:
        """The run without its folder, so that an experiment can move."""
        return json.dumps(
            {
                "index": self.index,
                "run_name": self.run_name,
                "overrides": self.overrides,
                "values": strict(self.values),
                "config_hash": self.config_hash,
                "skipped_by": self.skipped_by,
            },
            allow_nan=False,
        )


@dataclass(frozen=True)
class Grid:
    """A grid search: its runs, their frozen configurations and what is to be done now.

    `pending` are the runs to execute now, `fresh` the numbers of those whose folder, left by an
    earlier run, moves to the trash before they start. `known` holds, by number, the versions of
    earlier runs on which the sweep decided that: any other version that a run finds when it
    starts is somebody else's work since then. `is_last_batch` is false if other runs of the same
    sweep follow: results, figures and table wait for them.
    """

    path: Path  # <experiment>/grids/<grid_id>
    grid_id: str
    runs: Sequence[GridRun]
    pending: Sequence[GridRun]
    fresh: frozenset[int] = frozenset()
    known: Mapping[int, frozenset[RunVersion]] = field(default_factory=dict, repr=False)
    is_last_batch: bool = True
    _types: Types = field(default_factory=dict, repr=False, compare=False)

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
        return _read_description(self.path)

    def config(self, index: int) -> DictConfig:
        """The run's configuration as Hydra composed it, types included; new at each call.

        Raises:
            KeyError: If a rule skips the run, or there is no such run: no configuration is kept.
        """
        config = self._reader.config(index)
        if config is None:
            raise KeyError(
                f"Grid {self.grid_id} has no configuration for run {index}. "
                "Runs that a rule skips have none."
            )
        return config

    def launcher_key(self, index: int) -> object:
        """Equal for runs whose `hydra.launcher` nodes cannot differ; None if one must be read."""
        return self._reader.launcher_key(index)

    @cached_property
    def _reader(self) -> FrozenReader:
        return FrozenReader(self.path / CONFIGS, self.path / CONFIGS_INDEX, self._types)

    @classmethod
    def load(cls, path: Path | str) -> Grid:
        """Read a grid from its folder, or an experiment's latest grid from the experiment's folder.

        Its `pending` are the runs that no rule skips and that are not completed.

        Raises:
            FileNotFoundError: If there is no grid.
        """
        from expkit_bookkeeping import find_runs

        grid = read_grid(path)
        records = find_runs(grid.experiment)
        completed = {record.config_hash for record in records if record.state == "completed"}
        pending = [
            run for run in grid.runs if run.skipped_by is None and run.config_hash not in completed
        ]
        return replace(grid, pending=pending, known=run_versions(pending, records))


def read_grid(path: Path | str) -> Grid:
    """Read a grid without asking what has been done: nothing is `pending`.

    Raises:
        FileNotFoundError: If there is no grid.
        ValueError: If its files are damaged.
    """
    grid = open_grid(path)
    return replace(grid, runs=list(iter(grid.runs)))


def open_grid(path: Path | str) -> Grid:
    """As `read_grid`, but each run is read on demand: for a caller that needs one of thousands.

    Raises:
        FileNotFoundError: If there is no grid.
    """
    path = Path(path).absolute()
    if not (path / RUNS).is_file():
        if not (path / DESCRIPTION).is_file():
            raise FileNotFoundError(
                f"No grid in {path}. Give the folder of an experiment "
                f"(results/EXPERIMENT) or of a grid in it (results/EXPERIMENT/grids/ID); "
                "`python train.py -m` makes one."
            )
        path = path / "grids" / str(_read_description(path).get("grid_id"))
    return Grid(path=path, grid_id=path.name, runs=_RunsOnDisk(path), pending=())


class _RunsOnDisk(Sequence[GridRun]):
    """The runs in a grid's files, one line each, found by the byte at which it begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._experiment = path.parent.parent

    def __len__(self) -> int:
        return (self._path / RUNS_INDEX).stat().st_size // OFFSET_BYTES

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
        with (self._path / RUNS).open("rb") as lines:
            lines.seek(start)
            return self._run(lines.readline())

    def __iter__(self) -> Iterator[GridRun]:
        with (self._path / RUNS).open("rb") as lines:
            for line in lines:
                if line.strip():
                    yield self._run(line)

    def names(self) -> frozenset[str]:
        """Names of all runs, in a tenth of the time that reading the runs takes."""
        names = _NAME.findall((self._path / RUNS).read_bytes())
        return frozenset(json.loads(name) for name in names)

    def _run(self, line: bytes) -> GridRun:
        try:
            return _from_line(line, self._experiment)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self._path / RUNS} is damaged: {error!r}.") from error


# As `GridRun.to_line` writes it: the first such key of a line, before any value of the user's.
_NAME = re.compile(rb'^\{"index": \d+, "run_name": ("(?:[^"\\]|\\.)*")', re.MULTILINE)


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


def write_grid(
    experiment: Path,
    runs: Sequence[GridRun],
    configs: FrozenConfigs,
    description: Mapping[str, object],
    *,
    pending: Sequence[GridRun],
    fresh: Iterable[int] = (),
    records: Sequence[RunRecord] = (),
    now: datetime | None = None,
) -> Grid:
    """Write the grid's files, unless they exist: the same grid has the same folder.

    Args:
        experiment: Folder of the experiment.
        runs: All runs of the product, skipped ones included, in its order.
        configs: Configurations of the runs that no rule skips.
        description: Content of grid_search.yaml except schema, grid_id and created_at.
        pending: The runs to execute now.
        fresh: Numbers of the runs whose folder moves to the trash first.
        records: The experiment's runs, on which that was decided.
        now: Time of writing, for tests.
    """
    import yaml

    # Written under another name and moved, so that a grid's folder is never half written.
    draft = experiment / "grids" / f".{uuid4().hex}.tmp"
    draft.mkdir(parents=True)
    try:
        grid_id = _write_lines(draft, runs, configs, description)
        path = experiment / "grids" / grid_id
        if not (path / RUNS).is_file():
            created = (now or datetime.now(UTC)).isoformat(timespec="microseconds")
            text = yaml.safe_dump(
                {"schema": SCHEMA, "grid_id": grid_id, "created_at": created, **description},
                sort_keys=False,
                allow_unicode=True,
            )
            write_file(draft / DESCRIPTION, text)
            try:
                draft.rename(path)
                _sync(path.parent)
            except OSError:  # another process made the same grid meanwhile
                if not (path / RUNS).is_file():
                    raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    write_file(experiment / DESCRIPTION, (path / DESCRIPTION).read_bytes())
    return Grid(
        path=path,
        grid_id=grid_id,
        runs=tuple(runs),
        pending=tuple(pending),
        fresh=frozenset(fresh),
        known=run_versions(pending, records),
        _types=configs.types,
    )


def _write_lines(
    folder: Path,
    runs: Sequence[GridRun],
    configs: FrozenConfigs,
    description: Mapping[str, object],
) -> str:
    """Write what grows with the grid, line by line; returns the grid's id.

    The id is twelve hexadecimal digits of a hash over what the grid is; when and by which code it
    was made does not count.
    """
    identifying = {key: description.get(key) for key in ("experiment_id", "metric", "direction")}
    digest = hashlib.sha256(json.dumps(identifying, sort_keys=True).encode() + b"\n")
    lines = (f"{run.to_line()}\n" for run in runs)
    starts = _write(folder / RUNS, lines, digest.update)
    _write(folder / CONFIGS, configs.lines, digest.update)
    write_file(folder / RUNS_INDEX, pack_offsets(starts))
    write_file(folder / CONFIGS_INDEX, configs.index(len(runs)))
    return digest.hexdigest()[:12]


def _write(path: Path, lines: Iterable[str], add_to_hash: Callable[[bytes], None]) -> list[int]:
    """Write lines; returns the bytes at which they begin."""
    starts = []
    size = 0
    with path.open("xb") as file:
        for line in lines:
            data = line.encode()
            starts.append(size)
            size += file.write(data)
            add_to_hash(data)
        file.flush()
        os.fsync(file.fileno())
    return starts


def _sync(folder: Path) -> None:
    """Let the folder's entries survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def strict(value: object) -> object:
    """Replace floats that JSON lacks by text, as docs/formats.md says."""
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[repr(value)]
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value


def _from_line(line: bytes, experiment: Path) -> GridRun:
    entry = json.loads(line)
    return GridRun(
        index=entry["index"],
        run_name=entry["run_name"],
        overrides=tuple(entry["overrides"]),
        values=entry["values"],
        config_hash=entry["config_hash"],
        skipped_by=entry["skipped_by"],
        folder=experiment / "training" / entry["run_name"],
    )


def _read_description(folder: Path) -> dict[str, Any]:
    import yaml

    try:
        loaded = yaml.safe_load((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{folder / DESCRIPTION} is damaged: {error}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"{folder / DESCRIPTION} is not the description of a grid.")
    return loaded
