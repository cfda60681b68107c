"""`plots/.drawn.json`: what each figure of an experiment shows, and how."""

import json
from collections.abc import Iterable
from pathlib import Path

from ._files import write_atomically
from ._recipe import fingerprint
from ._runs import Run

NAME = ".drawn.json"


class Drawn:
    """The figures that were drawn, each with a hash of its data and one of its look.

    Args:
        plots: The folder that holds the record. Figures are named relative to its parent.
    """

    def __init__(self, plots: Path) -> None:
        self._file = plots / NAME
        self._base = plots.parent
        self._known = _read(self._file)

    def shows(self, figure: Path, print_: str) -> bool:
        """Whether the figure was last drawn with this print."""
        return self._known.get(self._key(figure)) == print_

    def note(self, figure: Path, print_: str) -> None:
        """The figure was drawn with this print."""
        self._known[self._key(figure)] = print_

    def save(self) -> None:
        """Write the record."""
        write_atomically(self._file, json.dumps(self._known, indent=0).encode())

    def behind(self, figures: Iterable[Path]) -> list[Path]:
        """Folders beside these figures where another style shows other data than they do."""
        beside = {self._key(figure): figure.parent for figure in figures}
        folders: dict[Path, None] = {}
        for key, print_ in self._known.items():
            path = Path(key)
            counterpart = str(path.parent.parent / path.name)
            if key in beside or counterpart not in beside:
                continue
            folder = beside[counterpart] / path.parent.name
            if _data(print_) != _data(self._known.get(counterpart)) and folder.is_dir():
                folders[folder] = None
        return list(folders)

    def _key(self, figure: Path) -> str:
        try:
            return str(figure.relative_to(self._base))
        except ValueError:
            return str(figure)


def print_of(runs: tuple[Run, ...], recipe: object, look: str) -> str:
    """A hash of what a figure shows, and the hash of how it looks."""
    return f"{fingerprint(runs, recipe)} {look}"


def _data(print_: object) -> str:
    return str(print_).partition(" ")[0]


def _read(record: Path) -> dict[str, object]:
    try:
        known = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
