"""Which code a run was trained with: commit, uncommitted changes, hashes of imported sources."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType

from .._files.json_files import decode
from .repository import repository_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .code_records import RecordedRun

SNAPSHOT_VARIABLE = "EXPKIT_SNAPSHOT"


def code_facts(root: Path | None = None) -> dict[str, object]:
    """The code that this process runs.

    Args:
        root: The project's folder. None: the git repository of the main script, else the
            script's folder, else the working directory.

    Returns:
        `commit` and `dirty` (None without git), `changes_hash`, the sha256 of the patch with what
        differs from the commit (None if nothing does), and `sources`: the sha256 of each imported
        source file below the root, by its path relative to it. Installed packages are left out. A
        process that imports from a snapshot of the project has the snapshot's facts, under the
        project's names.
    """
    snapshot = _snapshot_in_use() if root is None else None
    if snapshot is not None:
        sources = _cache.sources(snapshot.path, snapshot.root)
        return {
            "commit": snapshot.commit,
            "dirty": snapshot.dirty,
            "changes_hash": snapshot.changes_hash,
            "sources": sources,
        }
    root = project_root() if root is None else Path(root).resolve()
    state = repository_state(root)
    return {
        "commit": state.commit,
        "dirty": state.dirty,
        "changes_hash": state.patch_hash,
        "sources": _cache.sources(root),
    }


def code_changes(record: RecordedRun, root: Path | None = None) -> list[str]:
    """The recorded source files that have changed since, or are gone.

    Args:
        record: A run.
        root: The project's folder; see `code_facts`.

    Returns:
        Paths relative to the root, sorted. Empty: the run was made with this code. If the run's
        sources were recorded and the record is gone or damaged, its name is the only one.
    """
    from .code_records import recorded_sources

    snapshot = _snapshot_in_use() if root is None else None
    if snapshot is not None:
        roots: tuple[Path, ...] = (snapshot.path, snapshot.root)
    else:
        roots = (project_root() if root is None else Path(root).resolve(),)
    sources = recorded_sources(record)
    if sources is None:
        digest = (record.code or {}).get("sources_hash")
        return [] if digest is None else [f"code/{digest}.json"]

    def current_hash(name: str) -> str | None:
        hashes = (_cache.file_hash(root / name) for root in roots)
        return next((digest for digest in hashes if digest), None)

    return sorted(name for name, digest in sources.items() if current_hash(name) != digest)


@dataclass(frozen=True)
class Snapshot:
    """A copy of the project's sources: where it is, and what it was made of."""

    path: Path
    root: Path
    commit: str | None
    dirty: bool | None
    changes_hash: str | None


def _snapshot_in_use() -> Snapshot | None:
    """The snapshot that this process imports from, as the environment announces it."""
    text = os.environ.get(SNAPSHOT_VARIABLE)
    if not text:
        return None
    try:
        facts: Any = decode(text)
        snapshot = Snapshot(
            Path(facts["copy"]).resolve(),
            Path(facts["root"]).resolve(),
            facts.get("commit"),
            facts.get("dirty"),
            facts.get("changes_hash"),
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    # A task may start another project's script, which inherits the variable.
    import_paths = (os.path.realpath(entry) for entry in sys.path)
    prefix = str(snapshot.path) + os.sep
    return snapshot if any(f"{path}{os.sep}".startswith(prefix) for path in import_paths) else None


def project_folder() -> Path:
    """The folder to which the names of this process's sources are relative."""
    snapshot = _snapshot_in_use()
    return project_root() if snapshot is None else snapshot.root


def project_root() -> Path:
    """The folder of the project that the main script belongs to."""
    main = sys.modules.get("__main__")
    file = vars(main).get("__file__") if main is not None else None
    start = Path.cwd()
    if isinstance(file, str) and not _is_installed(str(Path(file).resolve())):
        start = Path(file).resolve().parent
        spec = vars(main).get("__spec__") if main is not None else None
        if spec is not None:  # python -m package.train: the folder above the top-level package
            start = start.parents[max(0, spec.name.count(".") - 1)] if "." in spec.name else start
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            return folder
    return start


_OwnModule = tuple[str, ModuleType, object]  # name, module and spec of a module of the project


@dataclass(frozen=True)
class ModuleScan:
    """The project's own modules at one moment, and how to see that nothing was imported since."""

    newest: tuple[int, str]  # how many modules there were, and which came last
    own: list[_OwnModule]
    hashes: dict[str, str]

    def is_current(self, newest: tuple[int, str]) -> bool:
        """Whether nothing was imported, loaded again or removed since."""
        return self.newest == newest and all(
            sys.modules.get(name) is module and module.__dict__.get("__spec__") is spec
            for name, module, spec in self.own
        )


@dataclass(frozen=True)
class CodeFactsCache:
    """The sources of one process: each file is hashed once per import.

    A process has thousands of modules, and each run asks twice.

    Attributes:
        import_hashes: By name and path of a module: its spec, which is a new one after a reload,
            and the hash of its file. A module's code stays what it was when it was imported, even
            if its file is edited during a long sweep.
        file_hashes: By path: a file's time of change in ns, size and hash.
        scans: The last scan of the imported modules, by roots and environment.
        foreign_modules: Those that are not the project's own, by roots and environment.
    """

    import_hashes: dict[tuple[str, str], tuple[object, str]] = field(default_factory=dict)
    file_hashes: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    scans: dict[tuple[str, ...], ModuleScan] = field(default_factory=dict)
    foreign_modules: dict[tuple[str, ...], dict[str, ModuleType]] = field(default_factory=dict)

    def sources(self, *roots: Path) -> dict[str, str]:
        """Hashes of the imported files, by their path relative to the first root above them."""
        key = (*map(str, roots), sys.prefix)
        newest = len(sys.modules), next(reversed(sys.modules))
        scan = self.scans.get(key)
        if scan is None or not scan.is_current(newest):
            foreign = self.foreign_modules.setdefault(key, {})
            scan = self.scans[key] = self._scan(roots, newest, foreign)
        return dict(scan.hashes)

    def file_hash(self, path: Path) -> str | None:
        """The hash of a file as it is now; None if it cannot be read."""
        import hashlib

        try:
            stat = path.stat()
            cached = self.file_hashes.get(str(path))
            if cached is not None and cached[:2] == (stat.st_mtime_ns, stat.st_size):
                return cached[2]
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            return None
        self.file_hashes[str(path)] = (stat.st_mtime_ns, stat.st_size, digest)
        return digest

    def _scan(
        self, roots: tuple[Path, ...], newest: tuple[int, str], foreign: dict[str, ModuleType]
    ) -> ModuleScan:
        hashes: dict[str, str] = {}
        own: list[_OwnModule] = []
        for name, module in list(sys.modules.items()):
            # Not getattr: lazy modules import half the world when they are asked for an attribute.
            if foreign.get(name) is module or not isinstance(module, ModuleType):
                continue
            file = module.__dict__.get("__file__")
            if not isinstance(file, str):
                continue
            locations = (_location(file, root) for root in roots) if file.endswith(".py") else ()
            location = next((location for location in locations if location is not None), None)
            if location is None:
                foreign[name] = module
                continue
            path, source = location
            spec = module.__dict__.get("__spec__")
            imported = self.import_hashes.get((name, path))
            if imported is None or imported[0] is not spec:
                digest = self.file_hash(Path(path))
                if digest is None:
                    continue
                imported = self.import_hashes[(name, path)] = (spec, digest)
            hashes[source] = imported[1]
            own.append((name, module, spec))
        return ModuleScan(newest, own, dict(sorted(hashes.items())))


_cache = CodeFactsCache()  # of this process


def _location(file: str, root: Path) -> tuple[str, str] | None:
    """A file's path and its name below the root; None if it is not the project's own."""
    prefix = str(root) + os.sep
    path = file if os.path.isabs(file) else os.path.abspath(file)  # noqa: PTH100, PTH117
    if not path.startswith(prefix):
        path = os.path.realpath(path)
    if not path.startswith(prefix) or _is_installed(path):
        return None
    environment = sys.prefix + os.sep  # a virtual environment inside the project is not its code
    if environment.startswith(prefix) and path.startswith(environment):
        return None
    return path, path[len(prefix) :].replace(os.sep, "/")


def _is_installed(path: str) -> bool:
    parts = path.split(os.sep)  # noqa: PTH206 (called for each module)
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    return any(path.startswith(folder + os.sep) for folder in _standard_library())


@cache
def _standard_library() -> set[str]:
    import sysconfig

    return {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
