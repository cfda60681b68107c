"""A grid's files, written before the first run starts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from expkit_bookkeeping.launching import write_file, yaml_text

from .frozen_configs import FrozenConfigs, pack_offsets
from .grid import CONFIGS, CONFIGS_INDEX, DESCRIPTION, RUNS, RUNS_INDEX, SCHEMA, Grid
from .run import GridRun, run_versions
from .secrets import SECRETS, write_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord


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

    Raises:
        OSError: If it cannot be written, or the experiment's folder is somebody else's.
    """
    if not records:
        _check_experiment(experiment)
    # Written under another name and moved, so that a grid's folder is never half written.
    draft = experiment / "grids" / f".{uuid4().hex}.tmp"
    draft.mkdir(parents=True)
    try:
        grid_id = _write_lines(draft, runs, configs, description)
        path = experiment / "grids" / grid_id
        if not (path / RUNS).is_file():
            created = (now or datetime.now(UTC)).isoformat(timespec="microseconds")
            text = yaml_text(
                {"schema": SCHEMA, "grid_id": grid_id, "created_at": created, **description}
            )
            write_file(draft / DESCRIPTION, text)
            _write_secrets(draft, configs)
            try:
                draft.rename(path)
                _sync(path.parent)
            except OSError:  # another process made the same grid meanwhile
                if not (path / RUNS).is_file():
                    raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _write_secrets(path, configs)  # they are no part of the grid's id, and may be new ones
    write_file(experiment / DESCRIPTION, (path / DESCRIPTION).read_bytes())
    return Grid(
        path=path,
        grid_id=grid_id,
        runs=tuple(runs),
        pending=tuple(pending),
        fresh=frozenset(fresh),
        known=run_versions(pending, records),
        types=configs.types,
    )


def _check_experiment(experiment: Path) -> None:
    """Check that no file of others would be written over in a folder without runs and grids."""
    if any((experiment / name).exists() for name in ("grids", ".trash")):
        return
    for name in (DESCRIPTION, "results.csv"):
        if (experiment / name).exists():
            raise FileExistsError(f"it holds a {name} that expkit did not write")


def _write_secrets(folder: Path, configs: FrozenConfigs) -> None:
    if configs.vault.texts:
        content = {"schema": SCHEMA, "secrets": configs.vault.texts}
        write_private(folder / SECRETS, json.dumps(content) + "\n")


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
    lines = (f"{run.to_line(configs.vault.patterns)}\n" for run in runs)
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
