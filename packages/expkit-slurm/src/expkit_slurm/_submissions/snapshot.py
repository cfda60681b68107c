"""The project's importable sources as they are now, copied for tasks that start later.

submitit's RsyncSnapshot is no substitute: it clones all that git has, data too; it fails without
git, and where a tracked file was deleted or has an umlaut in its name; it leaves out generated and
compiled modules; and it changes into the copy, where relative paths find no data.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

from .._cluster.errors import SlurmError

VARIABLE = "EXPKIT_SNAPSHOT"  # read by expkit_bookkeeping, see docs/formats.md
CODE = (".py", ".so", ".pyd")  # extension modules that were built in place are imported, too
LARGEST_BYTES = 50_000_000  # a larger file in git is data
LARGEST_BESIDE_BYTES = 1_000_000  # without git: a file beside the modules of a package
GIT_LIMIT_S = 60
MOST_NAMED = 5
_EARLIER_COPY = re.compile(r"(^|/)slurm/\d{8}T\d{6}(\.\d+)?-\w+/code/")


@dataclass(frozen=True)
class Snapshot:
    """A copy of a project's sources.

    `untracked` are the copied files that git does not track, `left_out` those that were not
    copied, each with the reason. `outside` are folders of sys.path that are neither the project's
    nor installed packages: tasks import from there what is there then. `commit`, `dirty` and
    `changes_hash` are the project's at that time.
    """

    root: Path
    target: Path
    files: int
    size_bytes: int
    untracked: tuple[str, ...]
    commit: str | None
    dirty: bool | None
    left_out: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    changes_hash: str | None = None  # of the patch with what differed from the commit

    def relocated(self, path: str | PathLike[str]) -> str:
        """Where a path of the project is in the copy; unchanged if it was not copied."""
        name = _below(Path(path), self.root)
        if name is not None and (self.target / name).exists():
            return str(self.target / name)
        return str(path)

    def announce(self, environ: MutableMapping[str, str] | None = None) -> None:
        """Tell this process and its children that they import from the copy.

        Runs then record their sources under the project's names. The mappings of editable installs
        are relocated; sys.path is left to the caller.

        Args:
            environ: Environment variables; None takes this process's.
        """
        environ = os.environ if environ is None else environ
        environ[VARIABLE] = json.dumps(
            {
                "copy": str(self.target),
                "root": str(self.root),
                "commit": self.commit,
                "dirty": self.dirty,
                "changes_hash": self.changes_hash,
            }
        )
        for mapping in _editable_mappings():
            for name, place in mapping.items():
                moved = self.relocated(place)
                if moved == place:  # a module is mapped without its suffix
                    moved = self.relocated(f"{place}.py").removesuffix(".py")
                mapping[name] = moved

    def describe(self) -> list[str]:
        """What was copied and what was not, in lines."""
        large = self.size_bytes >= 1e6
        size = f"{self.size_bytes / (1e6 if large else 1e3):.1f} {'MB' if large else 'kB'}"
        lines = [f"copied {self.files} files of {self.root} ({size})"]
        if self.untracked:
            lines.append(f"    not in git, copied all the same: {_list(self.untracked)}")
        if self.left_out:
            lines.append(f"    not copied: {_list(self.left_out)}")
        if self.outside:
            lines.append(f"    outside the project, so live: {_list(self.outside)}")
        lines.append(
            "    data is not in the copy: paths relative to the working directory find it, paths "
            "relative to __file__ do not"
        )
        return lines

    def to_record(self) -> dict[str, object]:
        """As JSON; without the path of the copy, which lies below the record's own."""
        facts = {name: getattr(self, name) for name in _RECORDED}
        lists = {name: list(fact) for name, fact in facts.items() if isinstance(fact, tuple)}
        return {"root": str(self.root), **facts, **lists}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], target: Path) -> Snapshot:
        """From what `to_record` returned, and the path of the copy."""
        facts = {name: record[name] for name in _RECORDED if name in record}
        tuples = {name: tuple(fact) for name, fact in facts.items() if isinstance(fact, list)}
        return cls(root=Path(record["root"]), target=target, **{**facts, **tuples})


_RECORDED = tuple(field.name for field in fields(Snapshot) if field.name not in ("root", "target"))


def copy_sources(
    target: Path, *, script: Path | None, directory: Path, sys_path: Sequence[str]
) -> Snapshot:
    """Copy what the project's programs may import.

    The project is the git repository of the script, else the script's folder. Copied are the
    files below the script's folder and below the entries of sys.path inside the project, as they
    are in the working tree: those that git tracks, and all others that Python imports, whether
    git ignores them or not (a generated `_version.py` is one). Without git, these and small files
    beside them in packages. Virtual environments, hidden folders and results stay out.

    Args:
        target: Where the copy goes.
        script: The script; None for a module.
        directory: The working directory, where the project of a module is looked for.
        sys_path: The module search path.

    Raises:
        SlurmError: If there is nothing to copy, or it cannot be written.
    """
    start = directory.resolve() if script is None else script.resolve().parent
    # As expkit_bookkeeping finds it: the names of the sources are those of a run without a copy.
    folders = (start, *start.parents)
    root = next((folder for folder in folders if (folder / ".git").exists()), start)
    target = Path(os.path.abspath(target))  # noqa: PTH100
    entries = [Path(entry).resolve() for entry in (*sys_path, *_editable_folders())]
    sources = [entry for entry in entries if _is_own(entry, root)]
    if script is not None:
        sources.append(start)
    is_source = _SourceFilter(root, tuple(dict.fromkeys(sources)), _results(target, root, sources))
    tracked, others = _in_git(root, is_source) or ([], _without_git(is_source))
    names = [*sorted(filter(is_source, tracked)), *sorted(filter(is_source, others))]
    try:
        target.mkdir(parents=True, exist_ok=True)
        sizes, left_out = _copy_all(names, root, target)
    except OSError as error:
        raise SlurmError(
            f"The sources cannot be copied to {target}: {error}. Nothing has been submitted; "
            "snapshot=none runs the code where it is."
        ) from error
    if not any(name.endswith(CODE) for name in sizes):
        raise SlurmError(
            f"snapshot=copy found no sources of the project in {root}: the program is imported "
            "from elsewhere. Set snapshot=none."
        )
    from expkit_bookkeeping.launching import code_facts

    facts: dict[str, Any] = code_facts(root)
    return Snapshot(
        root=root,
        target=target,
        files=len(sizes),
        size_bytes=sum(sizes.values()),
        untracked=tuple(sorted(sizes.keys() & set(others))) if tracked else (),
        commit=facts["commit"],
        dirty=facts["dirty"],
        left_out=tuple(left_out),
        outside=tuple(
            str(entry)
            for entry in dict.fromkeys(entries)
            if not entry.is_relative_to(root) and _is_not_installed(entry)
        ),
        changes_hash=facts["changes_hash"],
    )


@dataclass(frozen=True)
class _SourceFilter:
    """Decides whether a file, by its name relative to the project, is one of its sources."""

    root: Path
    sources: tuple[Path, ...]
    results: Path | None

    def __call__(self, name: str) -> bool:
        parts = name.split("/")
        if any(_is_no_source(part) for part in parts) or _EARLIER_COPY.search(name):
            return False
        path = self.root / name
        if self.results is not None and path.is_relative_to(self.results):
            return False
        folders = (self.root.joinpath(*parts[:n]) for n in range(1, len(parts)))
        if any(_is_environment(folder) for folder in folders):
            return False
        return any(path.is_relative_to(source) for source in self.sources)


def _is_no_source(part: str) -> bool:
    return part.startswith(".") or part in _NO_SOURCES


_NO_SOURCES = ("__pycache__", "site-packages", "dist-packages", "node_modules")


@lru_cache(maxsize=10_000)
def _is_environment(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in ("pyvenv.cfg", "conda-meta"))


def _is_own(entry: Path, root: Path) -> bool:
    if not entry.is_relative_to(root) or not entry.is_dir():
        return False
    parts = entry.relative_to(root).parts
    return not any(
        _is_no_source(part) or _is_environment(root.joinpath(*parts[: n + 1]))
        for n, part in enumerate(parts)
    )


def _is_not_installed(entry: Path) -> bool:
    """Whether a folder belongs neither to Python nor to installed packages."""
    if not entry.is_dir() or any(_is_no_source(part) for part in entry.parts):
        return False
    return not any(
        entry.is_relative_to(Path(prefix).resolve()) for prefix in (sys.prefix, sys.base_prefix)
    )


def _results(target: Path, root: Path, sources: Iterable[Path]) -> Path | None:
    """The outermost results folder around the copy that contains no sources.

    The copy is in RESULTS/EXPERIMENT/slurm/ID/code.
    """
    target = target.resolve()
    folders = (target, *target.parents[2:4]) if target.parent.parent.name == "slurm" else (target,)
    for folder in reversed(folders):
        inside = folder != root and folder.is_relative_to(root)
        if inside and not any(source.is_relative_to(folder) for source in sources):
            return folder
    return None


def _below(path: Path, root: Path) -> Path | None:
    for candidate in (path, path.resolve()):
        if candidate.is_relative_to(root):
            return candidate.relative_to(root)
    return None


def _in_git(root: Path, is_source: _SourceFilter) -> tuple[list[str], list[str]] | None:
    """The files that git tracks, and others that Python may import; None where git fails."""
    tracked = _git(root, "ls-files", "-z", "--cached", "--recurse-submodules")
    others = ("ls-files", "-z", "--others", "--exclude-standard")
    new, ignored = _git(root, *others), _git(root, *others, "--ignored", "--directory")
    if not tracked or new is None or ignored is None:
        return None
    tracked_names = set(_names(tracked))
    modules: dict[str, None] = {}
    for name in _names(new + ignored):
        if name.endswith("/"):  # an ignored folder, or another repository: git lists no more
            modules.update(dict.fromkeys(_walk(root / name, root, is_source)))
        elif name.endswith(CODE):
            modules[name] = None
    return list(tracked_names), [name for name in modules if name not in tracked_names]


def _names(output: str) -> list[str]:
    return [name for name in output.split("\0") if name]


def _without_git(is_source: _SourceFilter) -> list[str]:
    modules: dict[str, None] = {}
    for folder in is_source.sources:
        modules.update(dict.fromkeys(_walk(folder, is_source.root, is_source, is_top=True)))
    return list(modules)


def _walk(
    folder: Path, root: Path, is_source: _SourceFilter, *, is_top: bool = False
) -> Iterator[str]:
    """The modules of a folder, and small files beside them in packages.

    Only folders with modules are entered: data may be a million files.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    modules = {entry.name for entry in entries if entry.name.endswith(CODE)}
    if not modules and not is_top:
        return
    for entry in entries:
        name = Path(entry.path).relative_to(root).as_posix()
        if entry.is_dir(follow_symlinks=False):
            if is_source(f"{name}/__init__.py"):
                yield from _walk(Path(entry.path), root, is_source)
        elif entry.is_dir():
            if any(file.endswith(CODE) for file in os.listdir(entry.path)):  # noqa: PTH208
                yield name  # a link
        elif entry.name in modules or ("__init__.py" in modules and _is_small(entry)):
            yield name


def _is_small(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() and entry.stat().st_size <= LARGEST_BESIDE_BYTES


def _copy_all(names: Sequence[str], root: Path, target: Path) -> tuple[dict[str, int], list[str]]:
    """Copy files by name; returns their sizes in bytes, and what was left out and why."""
    sizes: dict[str, int] = {}
    left_out = []
    links = []
    for name in names:
        try:
            status = (root / name).stat()
            if stat.S_ISDIR(status.st_mode):
                if (root / name).is_symlink():  # else a submodule that was not fetched
                    links.append(name)
            elif not stat.S_ISREG(status.st_mode):
                left_out.append(f"{name} (no regular file)")
            elif status.st_size > LARGEST_BYTES:
                left_out.append(f"{name} ({status.st_size / 1e6:.0f} MB)")
            else:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, target / name)
                sizes[name] = (target / name).stat().st_size
        except FileNotFoundError:
            if (root / name).is_symlink():  # else it was deleted without `git rm`
                left_out.append(f"{name} (a link to nothing)")
        except PermissionError as error:
            if error.filename != str(root / name):
                raise
            left_out.append(f"{name} (cannot be read)")
    for name in links:
        inside = _below((root / name).resolve(), root)
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if inside is not None and (target / inside).exists():
            place.symlink_to(os.path.relpath(target / inside, place.parent))
        else:
            place.symlink_to((root / name).resolve())
            left_out.append(f"{name} (a link, so live)")
    return sizes, left_out


def _editable_mappings() -> Iterator[dict[str, str]]:
    """Packages and their folders, of editable installs that are no entry of sys.path.

    setuptools installs a finder for them, in a module whose MAPPING it follows.
    """
    for name, module in list(sys.modules.items()):
        mapping = vars(module).get("MAPPING") if name.startswith("__editable___") else None
        if isinstance(mapping, dict):
            yield mapping


def _editable_folders() -> list[str]:
    return [
        str(Path(place).parent) for mapping in _editable_mappings() for place in mapping.values()
    ]


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it is missing or fails."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            check=True,
            timeout=GIT_LIMIT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(done.stdout)


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
