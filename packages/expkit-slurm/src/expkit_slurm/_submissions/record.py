"""The record of a submission, written before and after each sbatch.

`submission.json` says what was handed to Slurm and what came of it, `runs.jsonl` which run of the
grid has which place. Besides these an array task needs only the grid.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from expkit_bookkeeping.launching import (
    NewerFileError,
    UnreadableFileError,
    folder_name,
    open_lines,
    parse_json,
    read_json,
)

from .._cluster.errors import SlurmError
from .._cluster.options import Options
from .layout import FOLDER, LOGS, RECORD, RUNS
from .settings import SubmissionSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_hydra.launching import RunVersion

SCHEMA = 1
PACKAGE = "expkit-slurm"
# What became of an array. The state is written before sbatch and after it, so a manager that dies
# in between leaves `submitting`, and the next one asks Slurm for the array by its name.
PLANNED, SUBMITTING, SUBMITTED, REFUSED = "planned", "submitting", "submitted", "refused"
FINALISER = -1  # the number of the job that tidies up; it is no array
# Why Slurm does not have a run that it has not refused.
UNSETTLED = {
    PLANNED: "sbatch was not called for it",
    SUBMITTING: "its submission is still going on, or was interrupted",
}


@dataclass(frozen=True)
class SubmittedRun:
    """A run that was submitted: its index in the grid, and what the sweep knew of it then.

    `fresh` and `earlier_versions` are as `fresh` and `known` in `expkit_hydra.Grid`.
    """

    index: int
    fresh: bool = False
    earlier_versions: frozenset[RunVersion] = frozenset()

    def to_line(self) -> str:
        """As a line of runs.jsonl."""
        record: dict[str, object] = {"run": self.index}
        if self.fresh:
            record["fresh"] = True
        if self.earlier_versions:
            record["known"] = sorted(self.earlier_versions, key=repr)
        return json.dumps(record)

    @classmethod
    def from_line(cls, line: str | bytes, path: Path) -> SubmittedRun:
        """From a line of runs.jsonl, which is at this path.

        Raises:
            UnreadableFileError: If it is damaged, or a newer version wrote it.
        """
        record: Any = parse_json(line, path, schema=SCHEMA, package=PACKAGE)
        try:
            versions = frozenset(
                (version[0], version[1], version[2]) for version in record.get("known", ())
            )
            index = record["run"]
            if type(index) is not int or index < 0:
                raise TypeError(f"run is {index!r:.80}")
        except (LookupError, TypeError) as error:
            raise UnreadableFileError(f"{path} is damaged: {error!r:.200}") from error
        return cls(index, bool(record.get("fresh")), versions)


@dataclass(frozen=True)
class Array:
    """One array job of a submission.

    `number` is unique in the submission, `name` among all jobs. `first` is the place of its first
    run in runs.jsonl, `signal_delay_s` how many seconds before the time limit its runs are asked
    to stop.
    """

    number: int
    name: str
    first: int
    runs: int
    options: Options = ()
    signal_delay_s: float = 0.0
    state: str = PLANNED
    job_id: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Submission:
    """What was handed to Slurm at once."""

    path: Path
    grid_id: str | None  # None: of version 0.1.0, for a sweeper that knows no grids
    created_at: str
    host: str
    user: str
    python: str
    script: str
    directory: str
    program: Mapping[str, Any] | None  # None: the function is in a pickle
    settings: SubmissionSettings
    arrays: tuple[Array, ...] = ()
    finaliser: Array | None = None
    code: Mapping[str, Any] = field(default_factory=dict)
    conf: Mapping[str, str] = field(default_factory=dict)
    snapshot: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """Name of the submission: when it was created, and a random part."""
        return self.path.name

    @property
    def experiment(self) -> Path:
        """The experiment's folder."""
        return self.path.parent.parent

    @property
    def grid_path(self) -> Path:
        """The grid's folder."""
        return self.experiment / "grids" / str(self.grid_id)

    @property
    def program_digest(self) -> str:
        """A digest of what its tasks run, for their command line.

        Slurm keeps that, where nobody who may write the results can change it.
        """
        from hashlib import sha256

        what = [self.grid_id, self.program, self.snapshot]
        return sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]

    def written_s_ago(self) -> float:
        """Seconds since submission.json was written, by this machine's clock."""
        return time.time() - (self.path / RECORD).stat().st_mtime

    def write(self) -> None:
        """Write submission.json, durable when this returns."""
        from expkit_bookkeeping.launching import write_file

        record = {"schema": SCHEMA, "id": self.id, **asdict(replace(self, path=Path()))}
        del record["path"]
        write_file(self.path / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    def jobs(self) -> tuple[Array, ...]:
        """The arrays, and the job that tidies up."""
        return self.arrays if self.finaliser is None else (*self.arrays, self.finaliser)

    def array(self, number: int) -> Array:
        """The array of this number, or the job that tidies up."""
        return next(array for array in self.jobs() if array.number == number)

    def with_array(self, number: int, **changes: Any) -> Submission:
        """The submission with one array, or the job that tidies up, changed."""
        if number == FINALISER and self.finaliser is not None:
            return replace(self, finaliser=replace(self.finaliser, **changes))
        return replace(
            self,
            arrays=tuple(
                replace(array, **changes) if array.number == number else array
                for array in self.arrays
            ),
        )

    def tasks(self, array: Array) -> int:
        """Number of tasks of an array."""
        return -(-array.runs // self.settings.runs_per_task)

    def log(self, number: int, job_id: str, task: int) -> Path:
        """The file to which Slurm writes what a task prints."""
        return self.path / LOGS / f"{number}_{job_id}_{task}.log"

    def log_pattern(self, number: int) -> str:
        """That file's path as a pattern for `sbatch --output`."""
        folder = str(self.path / LOGS).replace("%", "%%")
        return f"{folder}/{number}_%A_%a.log"

    def log_names(self) -> frozenset[str]:
        """Names of the logs of the tasks that have started.

        Listed, because a file server that is asked for one file by name may deny for a minute that
        it exists.
        """
        try:
            return frozenset(os.listdir(self.path / LOGS))  # noqa: PTH208
        except FileNotFoundError:  # somebody has tidied up
            return frozenset()

    def job_id_in_logs(self, number: int) -> str | None:
        """The id of an array whose tasks have started, found in the names of their logs."""
        pattern = re.compile(rf"{number}_(\d+)_\d+\.log")
        for name in self.log_names():
            match = pattern.fullmatch(name)
            if match is not None:
                return match.group(1)
        return None


def write_runs(path: Path, runs: Iterable[SubmittedRun]) -> None:
    """Write runs.jsonl of a new submission."""
    from expkit_bookkeeping.launching import write_file

    write_file(path / RUNS, "".join(f"{run.to_line()}\n" for run in runs))


def read_runs(path: Path, first: int = 0, count: int | None = None) -> list[SubmittedRun]:
    """The runs of a submission from one place on."""
    with open_lines(path / RUNS) as lines:
        stop = None if count is None else first + count
        return [SubmittedRun.from_line(line, path / RUNS) for line in islice(lines, first, stop)]


def read_submission(path: Path) -> Submission:
    """Read a submission's record.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, or a newer version wrote it.
    """
    try:
        record: Any = read_json(path / RECORD, schema=SCHEMA, package=PACKAGE)
        values = {name: record[name] for name in _KEYS if name in record}
        values["settings"] = SubmissionSettings(**record["settings"])
        values["arrays"] = tuple(_array(array) for array in record["arrays"])
        _check_kinds(values, _SUBMISSION_KINDS)
        if values["grid_id"] is not None:
            folder_name(values["grid_id"], "grid_id")
        if record.get("finaliser") is not None:
            values["finaliser"] = _array(record["finaliser"])
        return Submission(path=path.absolute(), **values)
    except NewerFileError:
        raise
    except FileNotFoundError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, SlurmError) as error:
        raise UnreadableFileError(f"{path / RECORD} is damaged: {error!r:.500}.") from error


_KEYS = tuple(name for name in Submission.__dataclass_fields__ if name != "path")


_SUBMISSION_KINDS: dict[str, Any] = {
    "grid_id": str | None,
    **dict.fromkeys(("created_at", "host", "user", "python", "script", "directory"), str),
    "program": dict | None,
    "code": dict,
    "conf": dict,
    "snapshot": dict | None,
}
_ARRAY_KINDS: dict[str, Any] = {
    **dict.fromkeys(("number", "first", "runs"), int),
    "name": str,
    "signal_delay_s": int | float,
    "state": str,
    "job_id": str | None,
    "error": str | None,
}


def _array(record: Mapping[str, Any]) -> Array:
    options = tuple((str(name), str(value)) for name, value in record["options"])
    _check_kinds(record, _ARRAY_KINDS)
    lowest = {"number": FINALISER, "first": 0, "runs": 0}
    for key, bound in lowest.items():
        if record[key] < bound:
            raise ValueError(f"{key} is {record[key]}, below {bound}")
    return Array(**{**record, "options": options})


def _check_kinds(record: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for key, kind in kinds.items():
        value = record.get(key)
        if key in record and (not isinstance(value, kind) or isinstance(value, bool)):
            raise TypeError(f"its {key} is {value!r:.80}")


def find_submissions(experiment: Path) -> list[Submission]:
    """All submissions of an experiment, the oldest first."""
    return list(_submissions(experiment))


def _submissions(experiment: Path) -> Iterator[Submission]:
    try:
        names = sorted(os.listdir(experiment / FOLDER))  # noqa: PTH208
    except FileNotFoundError:
        return
    for name in names:
        path = experiment / FOLDER / name
        if (path / RECORD).is_file():
            yield read_submission(path)


def new_id(now: datetime, token: str) -> str:
    """An id that sorts by time, also within a second.

    Examples:
        >>> from datetime import datetime
        >>> new_id(datetime(2026, 11, 28, 17, 5, 9, 31_415), "4f2a9c")
        '20261128T170509.031415-4f2a9c'
    """
    return f"{now:%Y%m%dT%H%M%S.%f}-{token}"


def job_name(experiment_id: str, submission_id: str, part: int | str) -> str:
    """A unique name for a job of a submission, readable in `squeue`.

    Examples:
        >>> job_name("digits", "20261128T170509.031415-4f2a9c", 0)
        'digits-4f2a9c-0'
    """
    token = submission_id.rpartition("-")[2]
    # sbatch takes any name; squeue's --name is a list with commas.
    plain = re.sub(r"[^\w.+-]", "_", experiment_id).lstrip(".")
    plain = plain.encode("utf-8", "replace")[:60].decode(errors="ignore")
    return f"{plain}-{token}-{part}"


def task_name(array: Array | None, task: int | None) -> str | None:
    """Slurm's name of an array task, `1234_7`; None where Slurm has not accepted it."""
    if array is None or array.job_id is None:
        return None
    return f"{array.job_id}_{task}"


def places_of_array(array: Array) -> range:
    """The places in runs.jsonl that an array has."""
    return range(array.first, array.first + array.runs)


def places_of_task(array: Array, task: int, runs_per_task: int) -> range:
    """The places in runs.jsonl that an array task has.

    Examples:
        >>> places_of_task(Array(0, "a", first=100, runs=7), 2, 3)
        range(106, 107)
    """
    start = array.first + task * runs_per_task
    return range(start, min(start + runs_per_task, array.first + array.runs))


def task_at(array: Array, place: int, runs_per_task: int) -> int:
    """The array task that has a place."""
    return (place - array.first) // runs_per_task


def array_at(arrays: Sequence[Array], place: int) -> Array:
    """The array that has a place."""
    return next(array for array in arrays if place in places_of_array(array))
