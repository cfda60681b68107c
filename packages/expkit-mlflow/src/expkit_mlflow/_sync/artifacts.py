"""The artifacts of one run: where each is stored, and how it gets there."""

import os
import posixpath
import tempfile
from pathlib import Path

from .._journal.reading import read_entries
from .._store.artifact_names import clean_path
from .._store.client import Store
from .._store.entities import StoredRun
from .._store.errors import TrackingError
from .._store.secrets import without_secrets


class ArtifactUploads:
    """Uploads a run's artifacts, each file to a place of its own.

    An artifact is stored under its name alone. A second one of the same name, from another folder
    of the run, keeps that folder: `scores.yaml` and `results/fold2/scores.yaml`.

    Args:
        journal: The run's journal, in its folder.
        store: The store to send to.
    """

    def __init__(self, journal: Path, store: Store) -> None:
        self._journal = journal
        self._folder = journal.parent
        self._store = store
        self._sources: dict[str, str] | None = None  # by place
        self._shortened: dict[str, str] = {}  # places of long names, by what they became

    def upload(self, run: StoredRun, path: str, target: str | None, *, before: int) -> str | None:
        """Uploads one artifact; returns why it was not sent, if it cannot be.

        Args:
            run: The run in the store.
            path: The file or folder, relative to the run's folder.
            target: Folder among the run's artifacts.
            before: Where in the journal it is named, in bytes.

        Raises:
            Exception: If the store refuses it, or cannot take any.
        """
        source = self._folder / path
        lexical = Path(os.path.abspath(source))  # noqa: PTH100
        if not lexical.is_relative_to(os.path.abspath(self._folder)) or (  # noqa: PTH100
            not source.resolve().is_relative_to(self._folder.resolve())
        ):
            return f"artifact {path!r} is outside the run's folder"
        if not source.exists():
            # config.yaml is named before it is written, and may never be.
            return None if path == "config.yaml" else f"artifact {path!r} no longer exists"
        if not (source.is_file() or source.is_dir()):
            return f"artifact {path!r} is neither a file nor a folder"
        place = self._place(path, target, before)
        cleaned = clean_path(place)
        if "!!" in cleaned:
            self._shortened[posixpath.basename(cleaned)] = place
        try:
            if path == "config.yaml":
                self._upload_config(run, source, place)
            else:
                self._store.upload(run, source, place)
        except TrackingError as error:
            if not error.lasts:
                self._store.leave_artifacts(error)
            raise
        return None

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
        public = without_secrets(text)
        if public == text:
            self._store.upload(run, source, place)
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / source.name
            copy.write_text(public, encoding="utf-8", errors="surrogateescape")
            self._store.upload(run, copy, place)
