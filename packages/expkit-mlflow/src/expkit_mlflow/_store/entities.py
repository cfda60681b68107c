"""What a store holds: runs and points, and the tags by which they are found again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

RUN_ID_TAG = "expkit.run_id"
POSITION_TAG = "expkit.journal_bytes"  # how much of the journal the store has
ARTIFACTS_TAG = "expkit.artifacts"  # of an experiment whose artifacts are in its own folder
FOLDER_TAG = "expkit.folder"  # of a run in a store that several experiments' folders may share
REMOVED_TAG = "expkit.removed"  # of a run that `sync` marked as deleted, and may restore
SUPERSEDED_TAG = "expkit.superseded_by"  # of a run whose folder another run has now

TagMap = Mapping[str, str]


@dataclass(frozen=True)
class StoredRun:
    """A run as the store has it before anything is sent."""

    id: str
    status: str
    deleted: bool
    artifact_uri: str
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def position(self) -> int:
        """How much of its journal the store has, in bytes."""
        position = self.tags.get(POSITION_TAG, "0")
        return int(position) if position.isdecimal() else 0


@dataclass(frozen=True)
class StoredExperiment:
    """An experiment as the store has it."""

    id: str
    name: str
    deleted: bool


class Point(NamedTuple):  # a dataclass takes four times as long to make
    """One value of one metric; `timestamp` in milliseconds since the epoch."""

    key: str
    value: float
    step: int
    timestamp: int
