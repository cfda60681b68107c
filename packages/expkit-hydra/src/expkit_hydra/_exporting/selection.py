"""Which files of an experiment a colleague gets; no link leads out of it unless the user says so.

Never among them: secrets, pickles, the trash, what was handed to Slurm and the tracking store,
which `expkit sync` makes anew from the journals.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

TOP_FILES = ("grid_search.yaml", "report.html")


@dataclass(frozen=True)
class Member:
    """A file, and its name below the experiment's folder."""

    name: str
    path: Path
    size_bytes: int


@dataclass
class Selection:
    """What is exported, and what is not.

    Attributes:
        members: The files, sorted by name.
        left_out: What could not be taken, with the reason.
        checkpoints: Those that only serve to go on with a training.
    """

    members: list[Member] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    checkpoints: list[Member] = field(default_factory=list)


def select(
    experiment: Path,
    records: Sequence[RunRecord],
    *,
    all_states: bool = False,
    follow_links: bool = False,
) -> Selection:
    """The files of an experiment that an export holds, but for results.csv.

    Args:
        experiment: The experiment's folder.
        records: Its runs.
        all_states: Whether to take all checkpoints: otherwise the best of each run, or the newest
            where there is no best, and what the script has saved by name.
        follow_links: Whether to take runs and files that are links out of the experiment.
    """
    files = _Files(experiment, follow_links=follow_links)
    for name in TOP_FILES:
        if os.path.lexists(experiment / name):
            files.add(PurePosixPath(name))
    files.walk(PurePosixPath("plots"), lambda name: not _is_hidden(name))
    files.walk(PurePosixPath("code"), lambda name: name.suffix in (".json", ".patch"))
    files.walk(PurePosixPath("grids"), _is_public_part_of_grid)
    for record in records:
        folder = PurePosixPath("training") / record.folder.name
        states = None if all_states else _states(record.folder)
        files.walk(folder, _is_part_of_run, states)
    files.selection.members.sort(key=lambda member: member.name)
    return files.selection


def _states(folder: Path) -> Callable[[str], bool]:
    """Tells which files of a run's `states/` serve more than to go on with the training."""
    from expkit_bookkeeping import find_checkpoints

    checkpoints = [checkpoint.path.name for checkpoint in find_checkpoints(folder)]
    has_best = (folder / "states" / "best.pt").exists()
    spare = checkpoints if has_best else checkpoints[:-1]
    return lambda name: name not in spare


def _is_public_part_of_grid(name: PurePosixPath) -> bool:
    return not _is_hidden(name) and name.name != "secrets.json"


def _is_part_of_run(name: PurePosixPath) -> bool:
    if name.parts[:1] == (".hydra",):
        return name.suffix == ".yaml"  # a callback of Hydra's may leave pickles there
    return not _is_hidden(name) and name.suffix not in (".pkl", ".pickle")


def _is_hidden(name: PurePosixPath) -> bool:
    """Whether a name, or a folder in it, is hidden, as temporary files are, or private."""
    return any(part.startswith(".") or part == "private" for part in name.parts)


class _Files:
    """Collects the files below folders of an experiment."""

    def __init__(self, experiment: Path, *, follow_links: bool) -> None:
        self.selection = Selection()
        self._experiment = experiment
        self._follow_links = follow_links

    def walk(
        self,
        folder: PurePosixPath,
        is_part: Callable[[PurePosixPath], bool],
        is_state: Callable[[str], bool] | None = None,
    ) -> None:
        """Add the files below a folder for whose names, relative to it, `is_part` is true."""
        top = self._experiment / folder
        # A run, or `training/`, may be a link to another disk.
        inside = [self._experiment / part for part in (*reversed(folder.parents[:-1]), folder)]
        link = next((path for path in inside if path.is_symlink()), None)
        if link is not None and not self._follow_links:
            target = os.readlink(link)  # noqa: PTH115
            self._leave_out(folder, f"a link to {target}; --follow-links takes it")
            return
        waiting = [PurePosixPath()]
        while waiting:
            inner = waiting.pop()
            for entry in self._entries(folder, inner):
                name = inner / entry.name
                if entry.is_dir(follow_symlinks=False):
                    if not _is_hidden(name) or entry.name == ".hydra":
                        waiting.append(name)
                elif is_part(name):
                    is_spare = name.parts[:-1] == ("states",) and is_state is not None
                    kept = not is_spare or is_state is None or is_state(name.name)
                    self.add(folder / name, top, is_part, kept=kept)

    def add(
        self,
        name: PurePosixPath,
        top: Path | None = None,
        is_part: Callable[[PurePosixPath], bool] = lambda name: True,
        *,
        kept: bool = True,
    ) -> None:
        """Add a file by its name below the experiment, or say why not.

        A link is followed to a file that would be added itself, in the same folder `top`.
        """
        path = self._experiment / name
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                real = path.resolve(strict=True)
                if not self._follow_links and not _is_inside(real, top, is_part):
                    self._leave_out(name, f"a link to {os.readlink(path)}")  # noqa: PTH115
                    return
                path, status = real, real.stat()
            if not stat.S_ISREG(status.st_mode):
                self._leave_out(name, "no file")
                return
            name.as_posix().encode()
        except (OSError, RuntimeError) as error:
            self._leave_out(name, str(getattr(error, "strerror", None) or error))
            return
        except UnicodeEncodeError:
            self._leave_out(name, "its name is not UTF-8")
            return
        member = Member(name.as_posix(), path, status.st_size)
        (self.selection.members if kept else self.selection.checkpoints).append(member)

    def _entries(self, folder: PurePosixPath, inner: PurePosixPath) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._experiment / folder / inner) as entries:
                yield from sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:  # there are no such files, or they are gone
            return
        except OSError as error:
            self._leave_out(folder / inner, error.strerror or str(error))

    def _leave_out(self, name: PurePosixPath, reason: str) -> None:
        self.selection.left_out.append(f"{name} ({reason})")


def _is_inside(real: Path, top: Path | None, is_part: Callable[[PurePosixPath], bool]) -> bool:
    if top is None or not real.is_relative_to(top.resolve()):
        return False
    return is_part(PurePosixPath(real.relative_to(top.resolve()).as_posix()))
