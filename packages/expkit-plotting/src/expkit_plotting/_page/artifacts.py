"""Images, tables and confusion matrices among a run's results, as far as they fit into a page."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._data.files import read_bytes
from .._data.siblings import reader_of_runs
from .._recipes.confusion_matrix import confusion_matrix

IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
PLACES = ("results", "artifacts", "images")
LARGEST = 300_000  # bytes of one image
MOST_ROWS, MOST_COLUMNS = 40, 20
MOST_FILES = 12  # of one run
MOST_CLASSES = 40


@dataclass
class Budget:
    """How many bytes of files the page may still take."""

    left: int

    def take(self, size: int) -> bool:
        """Whether so many are left; they are taken if so."""
        if size > self.left:
            return False
        self.left -= size
        return True


@dataclass
class Artifacts:
    """The images and tables of a run, for JSON."""

    images: list[dict[str, object]] = field(default_factory=list)
    tables: list[dict[str, object]] = field(default_factory=list)


def artifacts_of(folder: Path, budget: Budget) -> Artifacts:
    """What a run has saved that can be looked at.

    A link, whatever is no file, and what is too large is not read.

    Args:
        folder: The run folder.
        budget: What the page has left.
    """
    artifacts = Artifacts()
    artifacts.tables += _confusion_matrices(folder, budget)
    shown = {table["name"] for table in artifacts.tables}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name.removeprefix("results/").removesuffix(".csv") in shown:
            continue
        if path.suffix.lower() in IMAGES:
            artifacts.images.append(_image(path, name, budget))
        elif path.suffix.lower() == ".csv":
            table = _table(path, name, budget)
            if table is not None:
                artifacts.tables.append(table)
    return artifacts


def _files(folder: Path) -> list[Path]:
    files = []
    for place in PLACES:
        top = folder / place
        if not top.is_dir() or top.is_symlink():
            continue
        for path in sorted(top.iterdir()):
            suffix = path.suffix.lower()
            if path.is_symlink() or not path.is_file() or path.name.startswith("."):
                continue
            if suffix in IMAGES or (suffix == ".csv" and place == "results"):
                files.append(path)
    stems = {path.with_suffix("") for path in files if path.suffix.lower() == ".png"}
    # A figure in several types is shown once.
    files = [path for path in files if path.suffix == ".png" or path.with_suffix("") not in stems]
    return files[:MOST_FILES]


def _image(path: Path, name: str, budget: Budget) -> dict[str, object]:
    try:
        size = path.stat().st_size
        if size > LARGEST or not budget.take(size * 4 // 3):
            return {"name": name, "data": None, "reason": f"{size // 1000} kB: see the file"}
        content = base64.b64encode(read_bytes(path, follow_link=False)).decode()
    except OSError as error:
        return {"name": name, "data": None, "reason": f"cannot be read: {error.strerror}"}
    return {"name": name, "data": f"data:{IMAGES[path.suffix.lower()]};base64,{content}"}


def _table(path: Path, name: str, budget: Budget) -> dict[str, object] | None:
    try:
        if path.stat().st_size > LARGEST:
            return None
        text = read_bytes(path, follow_link=False).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text)))
    except (OSError, ValueError, csv.Error):
        return None
    if len(rows) < 2 or not budget.take(min(len(text), 20_000)):
        return None
    shown = [[_cell(cell) for cell in row[:MOST_COLUMNS]] for row in rows[: MOST_ROWS + 1]]
    note = None
    if len(rows) - 1 > MOST_ROWS or len(rows[0]) > MOST_COLUMNS:
        note = f"{len(rows) - 1} rows and {len(rows[0])} columns; the file has them all"
    return {"name": name, "head": rows[0][:MOST_COLUMNS], "rows": shown[1:], "note": note}


def _confusion_matrices(folder: Path, budget: Budget) -> list[dict[str, object]]:
    """Saved results that are called so, as tables: each row is a true class."""
    with reader_of_runs():
        from expkit_bookkeeping.reading import SavedResults

    top = folder / "results"
    if not top.is_dir() or top.is_symlink():
        return []
    linked = {path.stem for path in top.iterdir() if path.is_symlink()}
    results = SavedResults(folder)
    tables: list[dict[str, object]] = []
    for name in [name for name in results if "confusion" in name.lower()][:MOST_FILES]:
        if name in linked:
            continue
        try:
            matrix = confusion_matrix(results[name], where=name)
        except Exception:  # a damaged file raises any; the run's other results are shown
            continue
        if len(matrix.classes) > MOST_CLASSES or not budget.take(9 * matrix.counts.size):
            continue
        rows = [
            [str(label), *(int(count) if count == int(count) else count for count in counts)]
            for label, counts in zip(matrix.classes, matrix.counts.tolist(), strict=True)
        ]
        head = ["true \\ predicted", *map(str, matrix.classes)]
        tables.append({"name": name, "head": head, "rows": rows, "note": None, "shaded": True})
    return tables


def _cell(text: str) -> object:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if number == number and abs(number) != float("inf") else text


def budget_of(runs: Sequence[object]) -> Budget:
    """What a page with so many runs may take: it is to be sent by mail."""
    return Budget(350_000 if len(runs) <= 50 else 1_500_000)
