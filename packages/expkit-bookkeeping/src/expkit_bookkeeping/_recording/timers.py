"""timer.yaml of a run, which expkit-timer owns: kept up to date, restored and read."""

from __future__ import annotations

import contextlib
import inspect
from pathlib import Path

from .._files.append_files import read_file
from .._files.durable import Check, naming, remove_file, write_file
from .._files.yaml_files import read_yaml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .protocols import SavableTimer


class TimerFile:
    """timer.yaml of an open run, and the timers that add up in it.

    Each checkpoint updates it and holds a copy. A resumed run restores that copy, so that what was
    timed after the checkpoint, and is done again, does not count twice.

    Args:
        folder: The run folder.
        check: Raises if the run is no longer the caller's; see `write_file`.
    """

    def __init__(self, folder: Path, check: Check | None = None) -> None:
        self.path = folder / "timer.yaml"
        self._check = check
        # By id, as a timer need not be hashable: the timer and its numbers in the file.
        self._timers: dict[int, tuple[SavableTimer, object]] = {}

    @property
    def has_timers(self) -> bool:
        """Whether there is anything to save."""
        return bool(self._timers)

    def add(self, timer: SavableTimer) -> None:
        """Save a timer now, and from now on with all others."""
        numbers = _numbers(timer)
        self._save(timer)
        self._timers[id(timer)] = timer, numbers

    def take_from(self, other: TimerFile) -> None:
        """Save the timers of another object for the same file from now on, too."""
        self._timers.update(other._timers)

    def save(self) -> str:
        """Save the timers that have changed since, and return the content of the file."""
        for timer, saved_numbers in list(self._timers.values()):
            # With a new timer for each epoch, most of them change no more.
            if _numbers(timer) != saved_numbers:
                self.add(timer)
        return read_file(self.path).decode()

    def restore(self, text: str | None) -> None:
        """Make the file what it was at a checkpoint.

        Args:
            text: Its content; empty for no file; None where the checkpoint does not say: the file
                then stays.
        """
        if text is None:
            return
        if text:
            write_file(self.path, text, check=self._check)
        else:
            remove_file(self.path, self._check)
        self._timers = {key: (timer, None) for key, (timer, _) in self._timers.items()}

    def _save(self, timer: SavableTimer) -> None:
        if self._check is None:
            timer.save(self.path)
            return
        self._check()
        try:
            with naming(self.path):
                if "check" in inspect.signature(timer.save).parameters:  # expkit-timer's, since 0.2
                    timer.save(self.path, check=self._check)  # type: ignore[call-arg]
                else:
                    timer.save(self.path)
        except FileNotFoundError:
            self._check()
            raise

    def statistics(self) -> dict[str, dict[str, float]]:
        """The numbers of each timer in the file; empty if it cannot be read."""
        with contextlib.suppress(OSError, ValueError):
            timers = read_yaml(self.path)
            if isinstance(timers, dict):
                return {
                    str(name): {
                        key: value
                        for key, value in entry.items()
                        if isinstance(value, (int, float))
                    }
                    for name, entry in timers.items()
                    if isinstance(entry, dict)
                }
        return {}


def _numbers(timer: SavableTimer) -> object:
    """What changes when the timer counts; a new object each time where it does not say."""
    to_dict = getattr(timer, "to_dict", None)
    return to_dict() if callable(to_dict) else object()
