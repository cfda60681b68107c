"""`plots/.drawn.json`: what each figure of an experiment shows, and how; which is a metric's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from .._data.files import read_bytes, write_atomically

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.runs import Array, Run
    from .._recipes.data_files import FigureData

NAME = ".drawn.json"
SCHEMA = 1


def figure_of_metric(experiment: Path, metric: str | None = None) -> Path | None:
    """The figure of a metric over all runs, in the experiment's own style and grouped by default.

    Args:
        experiment: The experiment's folder.
        metric: The metric; None, or one that has no figure: the first one that has.

    Returns:
        One of the figure's files; None where none is left, or none was drawn.
    """
    from .._style.keys import FILETYPES

    plots = experiment / "plots"
    names = FigureFingerprints(plots).names_by_metric
    for name in (names[key] for key in sorted(names, key=lambda key: key != metric)):
        files = (plots / f"{name}.{filetype}" for filetype in FILETYPES)
        figure = next((file for file in files if file.is_file()), None)
        if figure is not None:
            return figure
    return None


class FigureFingerprints:
    """The fingerprints that an experiment's figures were last drawn with.

    Args:
        plots: The folder that holds the file. It names figures relative to its parent.

    Attributes:
        names_by_metric: Of the figures over all runs, in the experiment's own style and grouped by
            default, the names without suffix.
    """

    def __init__(self, plots: Path) -> None:
        self._file = plots / NAME
        self._base = plots.parent
        self._has_changed = False
        content, self._is_newer = _read(self._file)
        figures = content.get("figures", content)  # version 0.1.0 wrote the figures alone
        self._fingerprints: dict[str, object] = figures if isinstance(figures, dict) else {}
        names = content.get("metrics")
        self.names_by_metric: dict[str, str] = {
            metric: name
            for metric, name in (names.items() if isinstance(names, dict) else ())
            if isinstance(name, str) and Path(name).name == name
        }

    def is_current(self, figure: Path, fingerprint: str) -> bool:
        """Whether the figure was last drawn with this fingerprint."""
        return self._fingerprints.get(self._key(figure)) == fingerprint

    def set(self, figure: Path, fingerprint: str) -> None:
        """Remember that the figure was drawn with this fingerprint."""
        self._fingerprints[self._key(figure)] = fingerprint
        self._has_changed = True

    def name_figures(self, names_by_metric: Mapping[str, str]) -> None:
        """Remember which figure is a metric's."""
        names = {**self.names_by_metric, **names_by_metric}
        self._has_changed |= names != self.names_by_metric
        self.names_by_metric = names

    def save(self) -> None:
        """Write what has changed, unless a newer version wrote the file, which knows more."""
        if self._is_newer or not self._has_changed:
            return
        content = {
            "schema": SCHEMA, "figures": self._fingerprints, "metrics": self.names_by_metric
        }  # fmt: skip
        write_atomically(self._file, json.dumps(content, indent=0).encode())

    def outdated_folders(self, figures: Iterable[Path]) -> list[Path]:
        """Folders beside these figures where another style shows other data than they do."""
        folders_by_key = {self._key(figure): figure.parent for figure in figures}
        outdated: dict[Path, None] = {}
        for key, fingerprint in self._fingerprints.items():
            path = Path(key)
            counterpart = str(path.parent.parent / path.name)
            if key in folders_by_key or counterpart not in folders_by_key:
                continue
            folder = folders_by_key[counterpart] / path.parent.name
            counterpart_data = _data_hash(self._fingerprints.get(counterpart))
            if _data_hash(fingerprint) != counterpart_data and folder.is_dir():
                outdated[folder] = None
        return list(outdated)

    def _key(self, figure: Path) -> str:
        try:
            return str(figure.relative_to(self._base))
        except ValueError:
            return str(figure)


def figure_fingerprint(data: FigureData, recipe: object, appearance: str) -> str:
    """A hash of what a figure shows, followed by the hash of how it looks."""
    if isinstance(data, tuple):
        shown = hash_of(data, recipe)
    else:
        shown = hash_of((), recipe, data.classes, data.counts.tolist())
    return f"{shown} {appearance}"


def hash_of(runs: tuple[Run, ...], *parts: object) -> str:
    """A hash of runs with their curves, and of anything with a `repr`."""
    digest = hashlib.sha256(repr(parts).encode())
    for run in runs:
        digest.update(repr((run.name, sorted(run.settings.items()))).encode())
        for metric, curve in run.metrics.items():
            digest.update(repr(metric).encode())
            for array in (curve.steps, curve.values):
                digest.update(_bytes(array))
    return digest.hexdigest()[:32]


def _bytes(array: Array) -> bytes:
    import numpy as np  # which a look at the file does without

    return np.ascontiguousarray(array, dtype=float).tobytes()


def _data_hash(fingerprint: object) -> str:
    return str(fingerprint).partition(" ")[0]


def _read(file: Path) -> tuple[dict[str, object], bool]:
    """The content, and whether a newer version wrote the file, whose content counts as none."""
    try:
        content = json.loads(read_bytes(file))
    except (OSError, ValueError, RecursionError):
        return {}, False
    if not isinstance(content, dict):
        return {}, False
    schema = content.get("schema", SCHEMA)
    is_newer = isinstance(schema, int) and schema > SCHEMA
    return ({} if is_newer else content), is_newer
