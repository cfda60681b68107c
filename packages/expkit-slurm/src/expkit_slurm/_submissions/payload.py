"""What tasks get where nobody can import the function: a pickle, for its owner alone.

Loading a pickle runs what is in it, and in a results folder that a group may write, others can
replace any file and any folder. So it lies in a folder that only its owner may enter, and is read
through open descriptors, whose owner and mode are those of what is read.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from .._cluster.errors import SlurmError
from .layout import PICKLE, PRIVATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.types import TaskFunction

    from expkit_hydra import Grid

T = TypeVar("T")
_NOBODY_ELSE = 0o077  # the bits of the group and of all others
_ADVICE = (
    "Reading it would run what somebody else may have put there, so it is not read. Submit the "
    "runs again with the sweep's command."
)


class NotPrivateError(SlurmError):
    """A file or folder that somebody else could have written; `reason` says who."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}. {_ADVICE}")
        self.reason = reason


@dataclass(frozen=True)
class PickledTask:
    """The function of a submission's grid where nobody can import it, and what files cannot hold.

    A `Task` of expkit-hydra's.
    """

    submission: Path

    def run(self, grid: Grid, execute: Callable[[TaskFunction, Grid], T]) -> T:
        """Execute something with the function, and the grid with what its files cannot hold.

        Raises:
            SlurmError: As `load`.
        """
        return execute(*self.load(grid))

    def load(self, grid: Grid) -> tuple[TaskFunction, Grid]:
        """Read the pickle that `pickled_task` gave; modules are found as at submission.

        Raises:
            SlurmError: If it is missing, or somebody else could have written it.
        """
        from expkit_hydra.launching import resolvers, set_version_base

        parts = pickle.loads(read_pickle(self.submission))
        sys.path[:] = parts["path"]
        common = pickle.loads(parts["common"])
        # As hydra.core.singleton does it, but for those that this process has already.
        resolvers().update({**common["resolvers"], **resolvers()})
        set_version_base(parts["version_base"])
        # Version 0.1.0 kept the function alone.
        types, configs = common.get("types", {}), common.get("configs", {})
        return common["task_function"], replace(grid, types=types, unwritten=configs)


def pickled_task(task_function: TaskFunction, grid: Grid) -> bytes:
    """What `PickledTask` reads.

    Args:
        task_function: The user's function, with what importing its script would have brought.
        grid: Its classes, and the configurations that its files cannot hold, are kept.

    Raises:
        SlurmError: If something of it cannot be pickled.
    """
    from expkit_hydra.launching import resolvers, version_base

    common = {
        "task_function": task_function,
        "resolvers": dict(resolvers()),
        "types": dict(grid.types),
        "configs": dict(grid.unwritten),
    }
    parts = {
        "path": _search_path(),
        "common": _pickled(common),
        "version_base": version_base(),
    }
    return pickle.dumps(parts)


def _search_path() -> list[str]:
    """Where modules are found; an empty entry stands for the working directory."""
    return [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100


def _pickled(what: object) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(what))
    except Exception as error:
        raise SlurmError(
            "The tasks get the function and all it uses as a pickle, which cannot be made: "
            f"{type(error).__name__}: {error}. Nothing has been submitted. Create such things in "
            "the function, or in a module that it imports. A function at the top level of a "
            "script is imported instead of pickled with hydra/sweeper=expkit and `defaults: "
            "[expkit, …, _self_]`."
        ) from error


def write_pickle(path: Path, data: bytes) -> None:
    """Write the pickle of a submission's folder, durable when this returns.

    Raises:
        SlurmError: If it cannot be kept from others.
    """
    try:
        (path / PRIVATE).mkdir(mode=0o700)
        write_private(path / PRIVATE, PICKLE, data)
        read_private(path / PRIVATE, PICKLE)
    except (OSError, NotPrivateError) as error:
        reason = error.reason if isinstance(error, NotPrivateError) else error
        raise SlurmError(
            "The tasks get the function as a pickle, which nobody else may write, and that is not "
            f"possible here: {reason}. Nothing has been submitted. Define the function at the top "
            "level of a script or module, or choose a folder on another file system with "
            "results_dir=…"
        ) from error


def read_pickle(path: Path) -> bytes:
    """The pickle of a submission's folder, as `write_pickle` or version 0.1.0 wrote it.

    Raises:
        SlurmError: If it is missing, or somebody else could have written it.
    """
    try:
        if not _is_older(path):
            return read_private(path / PRIVATE, PICKLE)
        with _opened_folder(path, shared=True) as folder:
            return _read(folder, path / PICKLE)
    except FileNotFoundError as error:
        raise SlurmError(
            f"{error.filename} is gone, with the function that the tasks run. Submit the runs "
            "again with the sweep's command."
        ) from error
    except OSError as error:
        raise SlurmError(f"{error.filename} cannot be read: {error.strerror}.") from error


def write_private(folder: Path, name: str, data: bytes) -> None:
    """Write a file whole or not at all, in a folder that only its owner may enter.

    Raises:
        OSError: If it cannot be written.
        NotPrivateError: If others may enter the folder, or it is somebody else's.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    temporary = f".{name}.{os.urandom(6).hex()}.tmp"
    with _opened_folder(folder) as opened:
        fd = os.open(temporary, flags, 0o600, dir_fd=opened)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, name, src_dir_fd=opened, dst_dir_fd=opened)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=opened)
            raise
        os.fsync(opened)


def read_private(folder: Path, name: str) -> bytes:
    """Read a file as `write_private` writes it.

    Raises:
        OSError: If it cannot be read; FileNotFoundError if there is none.
        NotPrivateError: If others may enter the folder or write the file, or it is somebody else's.
    """
    with _opened_folder(folder) as opened:
        return _read(opened, folder / name)


@contextlib.contextmanager
def _opened_folder(path: Path, *, shared: bool = False) -> Iterator[int]:
    """A descriptor of a folder; `shared` if that of a file in it has to say all."""
    with _opened(path, os.O_DIRECTORY) as fd:
        if not shared:
            _refuse_others(path, os.fstat(fd))
        yield fd


def _read(folder: int, path: Path) -> bytes:
    # Not to wait for the other end if somebody has put a pipe there.
    with _opened(path, os.O_NONBLOCK, folder) as fd:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise NotPrivateError(f"{path} is no file")
        _refuse_others(path, facts)
        with open(fd, "rb", closefd=False) as file:
            return file.read()


@contextlib.contextmanager
def _opened(path: Path, flags: int, folder: int | None = None) -> Iterator[int]:
    """A descriptor of what a path itself names, not of what it links to."""
    flags |= os.O_RDONLY | os.O_NOFOLLOW
    try:
        fd = os.open(path if folder is None else path.name, flags, dir_fd=folder)
    except OSError as error:
        if path.is_symlink():
            raise NotPrivateError(f"{path} is a link") from None
        raise type(error)(error.errno, error.strerror, str(path)) from None
    try:
        yield fd
    finally:
        os.close(fd)


def _refuse_others(path: Path, facts: os.stat_result) -> None:
    if facts.st_uid != os.geteuid():
        raise NotPrivateError(f"{path} belongs to {_user(facts.st_uid)}, not to you")
    mode = stat.S_IMODE(facts.st_mode)
    if mode & _NOBODY_ELSE:
        raise NotPrivateError(f"{path} is open to others (mode {mode:04o})")


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"the user with the number {number}"


def _is_older(path: Path) -> bool:
    """Whether version 0.1.0 wrote the pickle of a submission."""
    return os.path.lexists(path / PICKLE) and not os.path.lexists(path / PRIVATE)
