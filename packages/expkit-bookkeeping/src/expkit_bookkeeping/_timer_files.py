"""timer.yaml of a run, which expkit-timer owns: kept up to date, put back and read."""

import contextlib
from pathlib import Path

from ._files import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._protocols import Savable


class TimerFile:
    """timer.yaml of an open run, and the timers that add up in it.

    It is brought up to date with each checkpoint, which holds a copy. A resumed run puts that copy
    back, so that what was timed behind the checkpoint, and is done again, does not count twice.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "timer.yaml"
        # By id, as a timer need not be hashable: it, and the numbers that the file has of it.
        self._timers: dict[int, tuple[Savable, object]] = {}

    @property
    def has_timers(self) -> bool:
        """Whether there is anything to save."""
        return bool(self._timers)

    def add(self, timer: "Savable") -> None:
        """Save a timer now, and with all others from now on."""
        numbers = _numbers(timer)
        timer.save(self.path)
        self._timers[id(timer)] = timer, numbers

    def save(self) -> str:
        """Save the timers that have counted since; returns what the file then holds."""
        for timer, saved in list(self._timers.values()):
            # Whoever makes a new timer each epoch has many that are done.
            if _numbers(timer) != saved:
                self.add(timer)
        return self.path.read_text(encoding="utf-8")

    def put_back(self, text: str | None) -> None:
        """Let the file be what a checkpoint holds of it.

        Args:
            text: Empty for no file; None where the checkpoint knows nothing: it stays then.
        """
        if text is None:
            return
        if text:
            write_file(self.path, text)
        else:
            self.path.unlink(missing_ok=True)
        self._timers = {key: (timer, None) for key, (timer, _) in self._timers.items()}

    def statistics(self) -> dict[str, dict[str, float]]:
        """The numbers of each timer in the file; empty where it cannot be read."""
        import yaml

        with contextlib.suppress(OSError, UnicodeError, yaml.YAMLError):
            timers = yaml.safe_load(self.path.read_text(encoding="utf-8"))
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


def _numbers(timer: "Savable") -> object:
    """What tells whether a timer has counted on; something new where it does not say."""
    to_dict = getattr(timer, "to_dict", None)
    return to_dict() if callable(to_dict) else object()
