"""The artifacts of one run: which files they are, where each is stored, and how it gets there.

Only what lies in the run's folder is sent: the journal is data, whoever wrote it.
"""

import os
import posixpath
import tempfile
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from .._addresses.errors import TrackingError
from .._addresses.secrets import without_known_secrets
from .._journal.entries import is_artifact_folder
from .._journal.reading import read_entries
from .._store.artifact_names import clean_path
from .._store.client import Store
from .._store.entities import StoredRun


@dataclass
class ArtifactFiles:
    """The files of an artifact, and one text for each that is left out."""

    files: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


class ArtifactUploads:
    """Uploads a run's artifacts, each file to a place of its own.

    An artifact is stored under its name alone. A second one of the same name, from another folder
    of the run, keeps that folder: `scores.yaml` and `results/fold2/scores.yaml`.

    Args:
        journal: The run's journal, in its folder.
        store: The store to send to.
        follow_links: Whether links out of the run's folder are followed.
    """

    def __init__(self, journal: Path, store: Store, *, follow_links: bool = False) -> None:
        self._journal = journal
        self._folder = journal.parent
        self._store = store
        self._follow_links = follow_links
        self._sources: dict[str, str] | None = None  # by place
        self._shortened: dict[str, str] = {}  # places of long names, by what they became

    def upload(self, run: StoredRun, path: str, target: str | None, *, before: int) -> list[str]:
        """Uploads one artifact; returns what of it was not sent, because it cannot be.

        Args:
            run: The run in the store.
            path: The file or folder, relative to the run's folder.
            target: Folder among the run's artifacts.
            before: Where in the journal it is named, in bytes.

        Raises:
            Exception: If the store refuses it, or cannot take any.
        """
        if not is_artifact_folder(target):
            return [f"artifact_path {target!r} is outside the run's artifacts"]
        artifact = artifact_files(self._folder, path, follow_links=self._follow_links)
        if not artifact.files:
            # config.yaml is named before it is written, and may never be.
            is_missing = path == "config.yaml" and not (self._folder / path).exists()
            return [] if is_missing else artifact.left_out
        place = self._place(path, target, before)
        for file in artifact.files:
            inner = file.relative_to(self._folder / path).as_posix()
            self._upload(run, file, place if inner == "." else f"{place}/{inner}")
        return artifact.left_out

    def _upload(self, run: StoredRun, file: Path, place: str) -> None:
        cleaned = clean_path(place)
        if "!!" in cleaned:
            self._shortened[posixpath.basename(cleaned)] = place
        try:
            if file == self._folder / "config.yaml":
                self._upload_config(run, file, place)
            else:
                self._store.upload(run, file, place)
        except TrackingError as error:
            if not error.lasts:
                self._store.leave_artifacts(error)
            raise

    def shortened_tags(self) -> dict[str, str]:
        """The tags that tell the whole path of artifacts whose names were too long."""
        tags = {f"artifact.{name[-40:]}": place for name, place in self._shortened.items()}
        self._shortened.clear()
        return tags

    def _place(self, path: str, target: str | None, before: int) -> str:
        if self._sources is None:
            self._sources = {}
            for entry, offset in read_entries(self._journal):
                if offset > before:
                    break
                if entry.get("kind") == "artifact" and isinstance(entry.get("path"), str):
                    earlier = entry.get("artifact_path")
                    self._choose(str(entry["path"]), None if earlier is None else str(earlier))
        return self._choose(path, target)

    def _choose(self, path: str, target: str | None) -> str:
        assert self._sources is not None
        folder, name = posixpath.split(path)
        places = [posixpath.join(target or "", name), posixpath.join(target or "", folder, name)]
        while self._sources.setdefault(places[0], path) != path:
            places = places[1:] or [posixpath.join("other", places[0])]
        return places[0]

    def _upload_config(self, run: StoredRun, source: Path, place: str) -> None:
        text = source.read_text(encoding="utf-8", errors="surrogateescape")
        public = without_known_secrets(text)
        if public == text:
            self._store.upload(run, source, place)
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / source.name
            copy.write_text(public, encoding="utf-8", errors="surrogateescape")
            self._store.upload(run, copy, place)


def artifact_files(folder: Path, path: str, *, follow_links: bool) -> ArtifactFiles:
    """The files of an artifact, as far as they may be sent.

    A folder that is reached in several ways, such as by a link `latest`, is sent once.

    Args:
        folder: The run's folder.
        path: The artifact, relative to it, as the journal has it.
        follow_links: Whether links that lead out of the folder are followed.
    """
    artifact = ArtifactFiles()
    source = folder / path
    if not Path(os.path.abspath(source)).is_relative_to(os.path.abspath(folder)):  # noqa: PTH100
        artifact.left_out.append(f"artifact {path!r} is outside the run's folder")
        return artifact
    if not source.exists():
        artifact.left_out.append(f"artifact {path!r} no longer exists")
        return artifact
    root, above = folder.resolve(), set(source.resolve().parents)
    visited: set[Path] = set()
    waiting = deque([source])  # folders before links to folders
    while waiting:
        entry = waiting.popleft()
        if not entry.exists():  # a link to nothing
            continue
        target = entry.resolve()
        if not (follow_links or target.is_relative_to(root)):
            name = entry.relative_to(folder).as_posix()
            artifact.left_out.append(
                f"artifact {name!r} is a link out of the run's folder, to {str(target)!r}: "
                "skipped. --follow-links sends it"
            )
        elif target.is_dir():
            if target not in visited and (entry == source or target not in above):
                visited.add(target)
                entries = sorted(entry.iterdir())
                waiting.extendleft(item for item in reversed(entries) if not item.is_symlink())
                waiting.extend(item for item in entries if item.is_symlink())
        elif target.is_file():
            artifact.files.append(entry)
        elif entry == source:  # inside a folder, what holds no data is nobody's loss
            artifact.left_out.append(f"artifact {path!r} is no file: skipped")
    return artifact
