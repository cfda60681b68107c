"""A submission's record: `<experiment>/slurm/<id>/`, written before and after each sbatch.

`submission.json` says what was handed to Slurm and what Slurm made of it, `runs.jsonl` which run
of the grid stands at which place. An array task needs nothing else but the grid.
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
from typing import TYPE_CHECKING, Any

from ._options import Options
from ._settings import SubmissionSettings
from ._view import FOLDER

if TYPE_CHECKING:
    from expkit_hydra.launching import RunVersion

SCHEMA = 1
RECORD = "submission.json"
RUNS = "runs.jsonl"
LOGS = "logs"
CODE = "code"
PICKLE = "task.pkl"
# What became of an array: it is written before sbatch and after it, so that a manager that dies
# in between leaves `submitting`, and the next one asks Slurm by the array's name.
PLANNED, SUBMITTING, SUBMITTED, REFUSED = "planned", "submitting", "submitted", "refused"
# Why Slurm does not have a run that it has not refused.
UNSETTLED = {
    PLANNED: "sbatch was not called for it",
    SUBMITTING: "its submission goes on, or was interrupted",
}


@dataclass(frozen=True)
class Order:
    """A run to execute: its number in the grid, and what the sweep knew when it decided so.

    `fresh` and `known` are as in `expkit_hydra.Grid`.
    """

    run: int
    fresh: bool = False
    known: frozenset[RunVersion] = frozenset()

    def to_line(self) -> str:
        """As a line of runs.jsonl."""
        record: dict[str, object] = {"run": self.run}
        if self.fresh:
            record["fresh"] = True
        if self.known:
            record["known"] = sorted(self.known, key=repr)
        return json.dumps(record)

    @classmethod
    def from_line(cls, line: str | bytes) -> Order:
        """From a line of runs.jsonl."""
        record = json.loads(line)
        known = frozenset((each[0], each[1], each[2]) for each in record.get("known", ()))
        return cls(record["run"], bool(record.get("fresh")), known)


@dataclass(frozen=True)
class Array:
    """One array job of a submission.

    `number` tells it from the submission's others, `name` from all other jobs. `first` is the
    place of its first run in runs.jsonl, `signal_delay_s` how many seconds before the time limit
    its runs are asked to stop.
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
    grid_id: str | None  # None: jobs of a foreign sweeper, which are in a pickle
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
        """Name of the submission: when it was made, and a random part."""
        return self.path.name

    @property
    def experiment(self) -> Path:
        """The experiment's folder."""
        return self.path.parent.parent

    @property
    def grid_path(self) -> Path:
        """The grid's folder."""
        return self.experiment / "grids" / str(self.grid_id)

    def written_s_ago(self) -> float:
        """Seconds since submission.json was written, by this machine's clock."""
        return time.time() - (self.path / RECORD).stat().st_mtime

    def write(self) -> None:
        """Write submission.json, durable when this returns."""
        from expkit_bookkeeping import write_file

        record = {"schema": SCHEMA, "id": self.id, **asdict(replace(self, path=Path()))}
        del record["path"]
        write_file(self.path / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    def array(self, number: int) -> Array:
        """The array of this number."""
        return next(each for each in self.arrays if each.number == number)

    def with_array(self, number: int, **changes: Any) -> Submission:
        """With one array changed."""
        return replace(
            self,
            arrays=tuple(
                replace(each, **changes) if each.number == number else each for each in self.arrays
            ),
        )

    def tasks(self, array: Array) -> int:
        """Number of tasks of an array."""
        return -(-array.runs // self.settings.runs_per_task)

    def log(self, number: int, job_id: str, task: int) -> Path:
        """Where Slurm writes what a task prints."""
        return self.path / LOGS / f"{number}_{job_id}_{task}.log"

    def log_pattern(self, number: int) -> str:
        """The same for `sbatch --output`."""
        folder = str(self.path / LOGS).replace("%", "%%")
        return f"{folder}/{number}_%A_%a.log"

    def log_names(self) -> frozenset[str]:
        """Names of the logs of the tasks that have started.

        Listed: of a file that is asked for by name a file server may deny for a minute that it
        has come to be.
        """
        try:
            return frozenset(os.listdir(self.path / LOGS))  # noqa: PTH208
        except FileNotFoundError:  # somebody has tidied up
            return frozenset()

    def job_id_in_logs(self, number: int) -> str | None:
        """The id of an array whose tasks have started, found in the names of their logs."""
        pattern = re.compile(rf"{number}_(\d+)_\d+\.log")
        for name in self.log_names():
            found = pattern.fullmatch(name)
            if found is not None:
                return found.group(1)
        return None


def write_orders(path: Path, orders: Iterable[Order]) -> None:
    """Write runs.jsonl of a new submission."""
    from expkit_bookkeeping import write_file

    write_file(path / RUNS, "".join(f"{order.to_line()}\n" for order in orders))


def read_orders(path: Path, first: int = 0, count: int | None = None) -> list[Order]:
    """The runs of a submission from one place on."""
    with (path / RUNS).open("rb") as lines:
        stop = None if count is None else first + count
        return [Order.from_line(line) for line in islice(lines, first, stop)]


def read_submission(path: Path) -> Submission:
    """Read a submission's record.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged.
    """
    try:
        record: dict[str, Any] = json.loads((path / RECORD).read_bytes())
        known = {name: record[name] for name in _KEYS if name in record}
        known["settings"] = SubmissionSettings(**record["settings"])
        known["arrays"] = tuple(_array(each) for each in record["arrays"])
        if record.get("finaliser") is not None:
            known["finaliser"] = _array(record["finaliser"])
        return Submission(path=path.absolute(), **known)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path / RECORD} is damaged: {error!r}.") from error


_KEYS = tuple(name for name in Submission.__dataclass_fields__ if name != "path")


def _array(record: Mapping[str, Any]) -> Array:
    options = tuple((name, value) for name, value in record["options"])
    return Array(**{**record, "options": options})


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
    """An id that sorts by time.

    >>> from datetime import datetime
    >>> new_id(datetime(2026, 11, 28, 17, 5, 9), "4f2a9c")
    '20261128T170509-4f2a9c'
    """
    return f"{now:%Y%m%dT%H%M%S}-{token}"


def job_name(experiment_id: str, submission_id: str, part: int | str) -> str:
    """A unique name for a job of a submission, readable in `squeue`.

    >>> job_name("digits", "20261128T170509-4f2a9c", 0)
    'digits-4f2a9c-0'
    """
    token = submission_id.rpartition("-")[2]
    # sbatch takes any name; squeue's --name is a list with commas.
    plain = re.sub(r"[^\w.+-]", "_", experiment_id)[:60]
    return f"{plain}-{token}-{part}"


def places(array: Array, task: int, runs_per_task: int) -> range:
    """The places in runs.jsonl that an array task has.

    >>> places(Array(0, "a", first=100, runs=7), 2, 3)
    range(106, 107)
    """
    start = array.first + task * runs_per_task
    return range(start, min(start + runs_per_task, array.first + array.runs))


def task_of(array: Array, place: int, runs_per_task: int) -> int:
    """The array task that has a place."""
    return (place - array.first) // runs_per_task


def array_of(arrays: Sequence[Array], place: int) -> Array:
    """The array that has a place."""
    return next(each for each in arrays if each.first <= place < each.first + each.runs)
