"""Checkpoint files and their names; cheap to import, for programs that only list them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from .._runs.settings import number_of_epochs, settings_of_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._runs.records import RunRecord
    from .._runs.settings import RunSettings

NAME = re.compile(r"epoch_(\d+)(?:_batch_(\d+))?\.pt")


@dataclass(frozen=True, order=True)
class CheckpointFile:
    """A checkpoint's position in the run, as its name says; ordered by time in the training.

    Attributes:
        epoch: The epoch after which, or in which, it was saved, from 0.
        batch: The number of batches of that epoch; infinity at its end.
        path: The file.
    """

    epoch: int
    batch: float
    path: Path


def checkpoint_path(folder: Path, epoch: int, batch: int | None = None) -> Path:
    """The file of the checkpoint after an epoch, or after some batches of it.

    Examples:
        >>> checkpoint_path(Path("run"), 7).as_posix()
        'run/states/epoch_0007.pt'
    """
    inside = "" if batch is None else f"_batch_{batch:06d}"
    return folder.joinpath("states", f"epoch_{epoch:04d}{inside}.pt")


def parse_name(path: Path) -> CheckpointFile | None:
    """The checkpoint of a file by its name; None if the name is not a checkpoint's."""
    match = NAME.fullmatch(path.name)
    if match is None:
        return None
    return CheckpointFile(int(match[1]), int(match[2]) if match[2] else float("inf"), path)


def find_checkpoints(folder: str | PathLike[str]) -> list[CheckpointFile]:
    """Checkpoints of a run folder, oldest first: its files with a checkpoint's name.

    Damaged ones that `resume` came across are left out, as it has renamed them.
    """
    try:
        paths = list(Path(folder, "states").iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    files = (parse_name(path) for path in paths)
    return sorted(file for file in files if file is not None and not file.path.is_dir())


def reason_not_to_continue(record: RunRecord, config: Mapping[str, object]) -> str | None:
    """Why an earlier run cannot go on with another configuration; None if it can.

    It would record the new configuration although none of its epochs was trained with it.

    Args:
        record: The run.
        config: The configuration.
    """
    checkpoints = find_checkpoints(record.folder)
    is_completed = record.state == "completed"
    if not checkpoints:
        return "it has no checkpoint to continue from" if is_completed else None
    newest = checkpoints[-1]
    done = newest.epoch + (newest.batch == float("inf"))
    if is_completed:  # its newest checkpoint may be older than its end
        done = max(done, settings_of_run(record, None).epochs or 0)
    epochs = number_of_epochs(config)
    if epochs is None:
        return (
            "nothing tells how many epochs it is to have: give the configuration a key epochs, "
            "such as epochs: ${trainer.max_epochs}"
            if is_completed
            else None
        )
    if epochs > done:
        return None
    return f"it has been trained for {done} epochs, and this configuration has epochs={epochs}"


def reason_for_no_best(folder: Path, settings: RunSettings) -> str:
    """Why a run folder has no best checkpoint, and what to do."""
    if settings.keep_best == 0:
        reason = "None is kept, as expkit.keep_best is 0: set it to 1 before training"
    elif settings.metric is None:
        reason = (
            "No metric is set that would rank checkpoints: name one before training, "
            "expkit.metric or RunSettings(metric=…)"
        )
    else:
        reason = (
            f"No checkpoint has a value of the metric {settings.metric!r}: log it before "
            "save_checkpoint()"
        )
    checkpoints = find_checkpoints(folder)
    if not checkpoints:
        return f"{reason}."
    return f"{reason}; or load the last, {checkpoints[-1].path.stem!r}."
