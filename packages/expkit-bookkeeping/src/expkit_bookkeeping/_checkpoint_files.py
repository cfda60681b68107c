"""Names of checkpoint files; cheap to import, for programs that only look."""

import re
from dataclasses import dataclass
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._settings import RunSettings

NAME = re.compile(r"epoch_(\d+)(?:_batch_(\d+))?\.pt")


@dataclass(frozen=True, order=True)
class CheckpointFile:
    """A checkpoint's place in the run, as its name tells it; ordered by time in the training."""

    epoch: int
    batch: float  # infinity at the end of the epoch
    path: Path


def checkpoint_path(folder: Path, epoch: int, batch: int | None = None) -> Path:
    """Where the checkpoint of an epoch is, or of a number of batches into it.

    >>> checkpoint_path(Path("run"), 7).as_posix()
    'run/states/epoch_0007.pt'
    """
    inside = "" if batch is None else f"_batch_{batch:06d}"
    return folder.joinpath("states", f"epoch_{epoch:04d}{inside}.pt")


def parse_name(path: Path) -> CheckpointFile | None:
    """The place that a file's name tells; None for a name that no checkpoint has."""
    match = NAME.fullmatch(path.name)
    if match is None:
        return None
    return CheckpointFile(int(match[1]), int(match[2]) if match[2] else float("inf"), path)


def find_checkpoints(folder: Path) -> list[CheckpointFile]:
    """Checkpoints of a run folder, oldest first, judged by their names alone.

    Damaged ones that `resume` has met are not among them: it has renamed them.
    """
    try:
        paths = list((folder / "states").iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found for path in paths if (found := parse_name(path)) is not None)


def why_no_best(folder: Path, settings: "RunSettings") -> str:
    """Why a run folder has no best checkpoint, and what to do."""
    if settings.keep_best == 0:
        why = "None is kept, as expkit.keep_best is 0: set it to 1 before training"
    elif settings.metric is None:
        why = (
            "No metric is set here, by which a checkpoint would be the best: name one before "
            "training, expkit.metric or RunSettings(metric=…)"
        )
    else:
        why = (
            f"No checkpoint has a value of the metric {settings.metric!r}: log it before "
            "save_checkpoint()"
        )
    checkpoints = find_checkpoints(folder)
    return f"{why}; or load the last, {checkpoints[-1].path.stem!r}." if checkpoints else f"{why}."
