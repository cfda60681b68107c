"""Which code a run was trained with: git commit, dirty flag, hashes of imported sources."""

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ._records import RunRecord

# A module's code stays what it was when it was imported, even if its file is edited during a
# long sweep: each file is hashed once per import. The spec is a new one after a reload.
_hashed: dict[tuple[str, str], tuple[object, str]] = {}
_commits: dict[Path, tuple[str | None, bool | None]] = {}

SNAPSHOT_VARIABLE = "EXPKIT_SNAPSHOT"


def code_facts(root: Path | None = None) -> dict[str, object]:
    """The code that this process runs.

    Args:
        root: The project's folder. None: the git repository of the main script, else the
            script's folder, else the working directory.

    Returns:
        `commit` and `dirty` (None without git), and `sources`: the sha256 of each imported source
        file below the root, by its path relative to it. Installed packages are left out. A process
        that imports from a copy of the project has the copy's facts, under the project's names.
    """
    copy = _copy_in_use() if root is None else None
    if copy is not None:
        sources = _sources(copy.path, copy.root)
        return {"commit": copy.commit, "dirty": copy.dirty, "sources": sources}
    root = project_root() if root is None else Path(root).resolve()
    if root not in _commits:
        _commits[root] = _git(root)
    commit, dirty = _commits[root]
    return {"commit": commit, "dirty": dirty, "sources": _sources(root)}


def code_changes(record: RunRecord, root: Path | None = None) -> list[str]:
    """The recorded source files whose content is another one now, or that are gone.

    Args:
        record: A run.
        root: The project's folder; see `code_facts`.

    Returns:
        Paths relative to the root, sorted. Empty: the run was made with this code.
    """
    copy = _copy_in_use() if root is None else None
    if copy is not None:
        places: tuple[Path, ...] = (copy.path, copy.root)
    else:
        places = (project_root() if root is None else Path(root).resolve(),)
    sources = (record.code or {}).get("sources")
    if not isinstance(sources, Mapping):
        return []

    def now(name: str) -> str | None:
        return next((found for place in places if (found := _hash(place / name))), None)

    return sorted(name for name, digest in sources.items() if now(name) != digest)


@dataclass(frozen=True)
class _Copy:
    """A copy of the project's sources: where it is, and what it was made of."""

    path: Path
    root: Path
    commit: str | None
    dirty: bool | None


def _copy_in_use() -> _Copy | None:
    """The copy that this process imports from, which whoever made it announced."""
    text = os.environ.get(SNAPSHOT_VARIABLE)
    if not text:
        return None
    try:
        facts = json.loads(text)
        copy = _Copy(
            Path(facts["copy"]).resolve(),
            Path(facts["root"]).resolve(),
            facts.get("commit"),
            facts.get("dirty"),
        )
    except (KeyError, TypeError, ValueError):
        return None
    # A task may start another project's script, which inherits the variable.
    entries = (os.path.realpath(entry) for entry in sys.path)
    inside = str(copy.path) + os.sep
    return copy if any(f"{each}{os.sep}".startswith(inside) for each in entries) else None


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


def _sources(*roots: Path) -> dict[str, str]:
    """Hashes of the imported files, by their path relative to the first root they are below."""
    key = (*map(str, roots), sys.prefix)
    newest = len(sys.modules), next(reversed(sys.modules))
    last = _last.get(key)
    if last is not None and last.newest == newest and all(map(_is_as_it_was, last.own)):
        return dict(last.hashes)
    found: dict[str, str] = {}
    own: list[_Own] = []
    foreign = _foreign.setdefault(key, {})
    for name, module in list(sys.modules.items()):
        # Not getattr: lazy modules import half the world when they are asked for an attribute.
        if foreign.get(name) is module or not isinstance(module, ModuleType):
            continue
        file = module.__dict__.get("__file__")
        if not isinstance(file, str):
            continue
        places = (_place(file, root) for root in roots) if file.endswith(".py") else ()
        place = next((each for each in places if each is not None), None)
        if place is None:
            foreign[name] = module
            continue
        path, source = place
        spec = module.__dict__.get("__spec__")
        seen = _hashed.get((name, path))
        if seen is None or seen[0] is not spec:
            digest = _hash(Path(path))
            if digest is None:
                continue
            seen = _hashed[(name, path)] = (spec, digest)
        found[source] = seen[1]
        own.append((name, module, spec))
    hashes = dict(sorted(found.items()))
    _last[key] = _Last(newest, own, hashes)
    return dict(hashes)


# By roots and environment. A process has thousands of modules, and each run asks twice.
_foreign: dict[tuple[str, ...], dict[str, ModuleType]] = {}  # that are not the project's own
_Own = tuple[str, ModuleType, object]  # a module of the project's, and its spec


@dataclass(frozen=True)
class _Last:
    """What was found the last time, and by what it can be told that nothing was imported since."""

    newest: tuple[int, str]  # how many modules there were, and which came last
    own: list[_Own]
    hashes: dict[str, str]


_last: dict[tuple[str, ...], _Last] = {}


def _is_as_it_was(own: _Own) -> bool:
    name, module, spec = own
    return sys.modules.get(name) is module and module.__dict__.get("__spec__") is spec


def _place(file: str, root: Path) -> tuple[str, str] | None:
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
    if not _standard_library:
        import sysconfig

        _standard_library.update(sysconfig.get_path(key) for key in ("stdlib", "platstdlib"))
    return any(path.startswith(folder + os.sep) for folder in _standard_library)


_standard_library: set[str] = set()


_files: dict[str, tuple[int, int, str]] = {}


def _hash(path: Path) -> str | None:
    import hashlib

    try:
        stat = path.stat()
        known = _files.get(str(path))
        if known is not None and known[:2] == (stat.st_mtime_ns, stat.st_size):
            return known[2]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
    _files[str(path)] = (stat.st_mtime_ns, stat.st_size, digest)
    return digest


def _git(root: Path) -> tuple[str | None, bool | None]:
    if not (root / ".git").exists():
        return None, None
    import subprocess

    # One call gives both; untracked files are results as often as code, and do not count.
    command = ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            command,
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        lines = done.stdout.splitlines()
        heads = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
        commit = heads[0] if heads and heads[0] != "(initial)" else None
        return commit, any(not line.startswith("#") for line in lines)
    return None, None
