"""The app's configuration files: which have changed since a grid was submitted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def hash_conf_files(config: Any) -> dict[str, str]:
    """A hash of each configuration file in the app's folders, by path."""
    hashes = {}
    for source in config.hydra.runtime.config_sources:
        if source.schema != "file":
            continue
        folder = Path(str(source.path))
        for path in sorted(folder.rglob("*.yaml")):
            if not any(part.startswith(".") for part in path.relative_to(folder).parts):
                hashes[str(path)] = _hash(path)
    return hashes


def changed_conf_files(hashes: Mapping[str, str]) -> list[str]:
    """The configuration files that have changed since they had these hashes, or are gone."""
    changed = []
    for name, submitted_hash in hashes.items():
        try:
            current_hash = _hash(Path(name))
        except OSError:
            current_hash = ""
        if current_hash != submitted_hash:
            changed.append(name)
    return changed


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
