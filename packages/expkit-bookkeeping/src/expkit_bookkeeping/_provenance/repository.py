"""A project's git repository: its commit, and what differs from it, as a patch.

Git is only asked: nothing is written to the repository, its index or its objects.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .._files.secrets import (
    MASK,
    is_secret_variable,
    public_override,
    shown,
    without_known_secrets,
    without_secrets,
)

LARGEST_BYTES = 10_000_000  # a larger file that git tracks is data
LARGEST_NEW_BYTES = 1_000_000
MOST_NEW_FILES = 1000
LARGEST_PATCH_BYTES = 32_000_000
MOST_NAMED = 20  # of the files that are left out for the same reason
TIMEOUT_S = 20
LISTING_TIMEOUT_S = 2  # new folders may hold a million files of data, and each task would wait

SOURCES = (
    ".py", ".pyi", ".pyx", ".pxd", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".sh",
    ".sbatch",
)  # fmt: skip
CONFIGURATION = (".yaml", ".yml", ".toml", ".cfg", ".ini")
_WITH_SECRETS = (*CONFIGURATION, ".json", ".env", ".properties")
# What trackers, Hydra and Python write; runs and environments are known by what is in them.
_OUTPUTS = frozenset(
    ["__pycache__", "lightning_logs", "mlruns", "multirun", "node_modules", "outputs",
     "site-packages", "wandb"]
)  # fmt: skip
_LEFT_OUT = "# left out: "
_SECTION = re.compile(rb"^(?=diff --git )", re.MULTILINE)
# A line of a patch in which a key has a value: YAML, TOML, INI, JSON, a shell's environment.
_ASSIGNMENT = re.compile(
    r"([+\- ])([\s#\-{]*(?:export\s+)?[\"']?)([A-Za-z_][\w.-]*)([\"']?\s*[:=]\s*)(\S.*)"
)
# The same anywhere in a line: several pairs of JSON, or of a flow mapping.
_PAIR = re.compile(
    r"([A-Za-z_][\w.-]*)([\"']?\s*[:=]\s*)"
    r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
    r"|(?:\$\{(?:[^{}]|\{[^{}]*\})*\}|[^\s,{}\[\]'\"]"
    r"| (?=[^\s,{}\[\]'\"=:]+(?:[\s,{}\[\]'\"]|$)))+)"
)
_EMPTY = ("null", "~", "None", "true", "false", "''", '""')


@dataclass(frozen=True)
class RepositoryState:
    """A working tree as git sees it.

    Attributes:
        commit: The commit; None without git, or before the first commit.
        dirty: Whether a file that git tracks, or a new source, differs from the commit; None
            without git.
        patch: What has to be applied to the commit; None if there is nothing.
    """

    commit: str | None = None
    dirty: bool | None = None
    patch: bytes | None = field(default=None, repr=False)

    @cached_property
    def patch_hash(self) -> str | None:
        """The patch's sha256."""
        import hashlib

        return None if self.patch is None else hashlib.sha256(self.patch).hexdigest()


def repository_state(root: Path) -> RepositoryState:
    """The commit of a project and what differed from it when this process first asked.

    Files that git ignores are left out, and new ones that are neither sources nor configuration:
    results and data. The patch names what it lacks, in lines before its first file.

    Args:
        root: The top folder of the repository.
    """
    if root not in _states:
        _states[root] = _ask_git(root)
    return _states[root]


_states: dict[Path, RepositoryState] = {}  # of this process, whose code does not change


def changes_patch(digest: str) -> bytes | None:
    """The patch with this hash, of the projects that this process has asked about."""
    states = _states.values()
    return next((state.patch for state in states if state.patch_hash == digest), None)


def _ask_git(root: Path) -> RepositoryState:
    if not (root / ".git").exists():
        return RepositoryState()
    import subprocess

    command = ("status", "--porcelain=v2", "--branch", "--no-renames", "-z")
    try:
        try:
            # One call for all where nothing has changed. Without --untracked-files: those who have
            # told git not to look for new files in a huge folder meant it.
            status = _git(root, *command)
        except subprocess.TimeoutExpired:
            status = _git(root, *command, "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return RepositoryState()
    commit, changed, new = _parse_status(os.fsdecode(status))
    if commit is None:
        return RepositoryState(dirty=bool(changed))
    try:
        patch = _patch(root, commit, changed, new)
    except (OSError, subprocess.SubprocessError) as error:
        is_slow = isinstance(error, subprocess.TimeoutExpired)
        reason = "git took too long" if is_slow else f"git failed: {error}"
        patch = _header(commit, [f"all changes ({reason})"])
    has_new = patch is not None and b"\ndiff --git " in patch
    return RepositoryState(commit, bool(changed) or has_new, patch)


def left_out_of(patch: bytes) -> list[str]:
    """What a patch of `repository_state` lacks, each with the reason."""
    lines = _SECTION.split(patch, maxsplit=1)[0].decode("utf-8", "replace").splitlines()
    return [line.removeprefix(_LEFT_OUT) for line in lines if line.startswith(_LEFT_OUT)]


def _parse_status(output: str) -> tuple[str | None, dict[str, str], list[str]]:
    """The commit; of changed files the kind, by name; new files, and folders that end in `/`."""
    commit = None
    changed: dict[str, str] = {}
    new = []
    for entry in output.split("\0"):
        if entry.startswith("# branch.oid "):
            commit = entry.split()[-1]
        elif entry.startswith("1 "):
            _, _, kind, *_, name = entry.split(" ", 8)
            changed[name] = kind
        elif entry.startswith("u "):
            _, _, kind, *_, name = entry.split(" ", 10)
            changed[name] = kind
        elif entry.startswith("? "):
            new.append(entry.removeprefix("? "))
    return None if commit == "(initial)" else commit, changed, new


def _patch(root: Path, commit: str, changed: Mapping[str, str], new: Sequence[str]) -> bytes | None:
    left_out = [
        f"{name}: the changes inside this submodule"
        for name, kind in changed.items()
        if kind.startswith("S") and kind != "SC.."
    ]
    too_large = [name for name in changed if _size(root / name) > LARGEST_BYTES]
    left_out += [f"{name} ({_size(root / name) / 1e6:.0f} MB)" for name in too_large]
    added, not_added = _new_sources(root, new)
    left_out += not_added
    if not changed and not added:
        return _header(commit, left_out) if left_out else None
    diff = _diff(root, commit, added, too_large)
    if len(diff) > LARGEST_PATCH_BYTES:
        return _header(commit, [*left_out, f"all changes ({len(diff) / 1e6:.0f} MB)"])
    sections = []
    for section in _SECTION.split(diff):
        public = _public_section(section)
        if public is None:
            left_out.append(f"{_name_of(section)} (it shows a secret that stands in it)")
        else:
            sections.append(public)
    if not any(sections) and not left_out:
        return None  # only the time of a file has changed
    return _header(commit, left_out) + b"".join(sections)


def _header(commit: str, left_out: Iterable[str]) -> bytes:
    lines = [f"# changes against commit {commit}; git apply FILE"]
    lines += [_LEFT_OUT + re.sub(r"[\x00-\x1f]", "?", text) for text in left_out]
    return "\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def _diff(root: Path, commit: str, added: Sequence[str], too_large: Sequence[str]) -> bytes:
    # Whatever the user's settings are, `git apply` has to understand it.
    command = [
        "diff", commit, "--binary", "--full-index", "--no-renames", "--no-color", "--no-ext-diff",
        "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short",
        "--ignore-submodules=dirty", "--",
        *(f":(exclude,top,literal){name}" for name in too_large),
    ]  # fmt: skip
    if not added:
        return _git(root, *command)
    import shutil
    import tempfile

    index = root / os.fsdecode(_git(root, "rev-parse", "--git-path", "index")).rstrip("\n")
    with tempfile.TemporaryDirectory(prefix="expkit-") as folder:
        # In a copy of the index, which knows which files have not changed, new files count as
        # tracked, whatever their content: git compares the commit with the files themselves.
        copy = Path(folder) / "index"
        shutil.copy2(index, copy)  # with its time, by which git knows what may have changed since
        environ = {"GIT_INDEX_FILE": str(copy)}
        content = "1" * len(commit)
        entries = "".join(f"{_mode(root / name)} {content} 0\t{name}\0" for name in added)
        _git(root, "update-index", "--add", "-z", "--index-info", entries=entries, environ=environ)
        return _git(root, *command, environ=environ)


def _mode(path: Path) -> str:
    return "100755" if os.access(path, os.X_OK) else "100644"


def _new_sources(root: Path, new: Sequence[str]) -> tuple[list[str], list[str]]:
    """New files that are sources or configuration, and what is left out, with the reason."""
    is_output = _OutputFolders(root)
    files = [name for name in new if not name.endswith("/") and not is_output.holds(name)]
    folders = [name for name in new if name.endswith("/") and not is_output(name.rstrip("/"))]
    added: list[str] = []
    left_out: list[str] = []
    listed = _files_below(root, folders)
    if listed is None:
        left_out.append(f"{', '.join(folders[:MOST_NAMED])} (too many files to list)")
    files += [name for name in listed or () if not is_output.holds(name)]
    others: list[str] = []
    for name in files:
        path = root / name
        if not name.endswith((*SOURCES, *CONFIGURATION)):
            others.append(name)
        elif path.is_symlink() or not path.is_file():
            left_out.append(f"{name} (no regular file)")
        elif _size(path) > LARGEST_NEW_BYTES:
            left_out.append(f"{name} ({_size(path) / 1e6:.0f} MB)")
        elif len(added) == MOST_NEW_FILES:
            left_out.append(f"{name} and more (over {MOST_NEW_FILES} new files)")
            break
        else:
            added.append(name)
    if others:
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        some = ", ".join(others[:MOST_NAMED])
        left_out.append(f"{some}{more} (neither source nor configuration)")
    return added, left_out


def _files_below(root: Path, folders: Sequence[str]) -> list[str] | None:
    """The files in new folders that git does not ignore; None if there are too many to list."""
    if not folders:
        return []
    import subprocess

    command = ("ls-files", "--others", "--exclude-standard", "-z", "--")
    paths = [f":(top,literal){name}" for name in folders]
    try:
        listed = _git(root, *command, *paths, timeout_s=LISTING_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    return [name for name in os.fsdecode(listed).split("\0") if name]


class _OutputFolders:
    """Tells which folders hold what programs have written: runs, logs of trackers, environments."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._cache: dict[str, bool] = {}

    def holds(self, name: str) -> bool:
        """Whether a file, by its name below the root, is in such a folder, or is hidden."""
        parts = name.rstrip("/").split("/")
        if any(part.startswith(".") for part in parts):
            return True
        return any(self("/".join(parts[:length])) for length in range(1, len(parts)))

    def __call__(self, name: str) -> bool:
        """Whether a folder is one, by its name below the root."""
        if name not in self._cache:
            self._cache[name] = self._is_output(self._root / name)
        return self._cache[name]

    @staticmethod
    def _is_output(folder: Path) -> bool:
        if folder.name in _OUTPUTS or folder.name.startswith("."):
            return True
        marks = ("pyvenv.cfg", "conda-meta", "claims", ".expkit", ".hydra", ".trash")
        if any((folder / mark).exists() for mark in marks) or _is_experiment(folder):
            return True
        try:
            with os.scandir(folder) as entries:
                return any(_is_experiment(Path(entry.path)) for entry in entries)
        except OSError:
            return True


def _is_experiment(folder: Path) -> bool:
    if (folder / "grid_search.yaml").exists():  # of its grid nothing may have started yet
        return True
    try:
        with os.scandir(folder / "training") as entries:
            return any(os.path.isdir(f"{entry.path}/claims") for entry in entries)  # noqa: PTH112
    except OSError:
        return False


def _public_section(section: bytes) -> bytes | None:
    """The changes of one file without secrets; None if it could not be applied without them.

    A secret in a new line becomes `***`. One in the commit itself is needed as it is.
    """
    name = _name_of(section)
    if not name.endswith(_WITH_SECRETS) and not Path(name).name.startswith(".env"):
        return section
    lines = section.decode("latin-1").split("\n")
    start = next((n for n, line in enumerate(lines) if line.startswith("@@")), len(lines))
    for number, line in enumerate(lines[start:], start):
        if line.startswith("@@"):  # git repeats a line above the change there
            lines[number] = line[: line.index("@@", 2) + 2]
            continue
        public = _public_line(line)
        if public == line:
            continue
        if public is None or not line.startswith("+"):
            return None
        lines[number] = public
    return "\n".join(lines).encode("latin-1")


def _public_line(line: str) -> str | None:
    """A line of a patch without its secret; None if that goes on in the next lines."""
    line = _PAIR.sub(_public_pair, line)
    match = _ASSIGNMENT.fullmatch(line)
    if match is None:
        return without_known_secrets(line)
    mark, before, key, sign, value = match.groups()
    text = value.rstrip().rstrip(",")
    if text in _EMPTY or text[0] in "{[":  # whose pairs are public already
        public = without_secrets(text)
    elif key.isupper() and is_secret_variable(key):
        public = MASK
    else:
        public = public_override(f"{key}={text}").removeprefix(f"{key}=")
    if public == text:
        return without_known_secrets(line)
    if text[0] in "|>":
        return None
    # A bare * would be an alias in YAML.
    public = re.sub(r"(?<=[:\s\[{,])\*{3}|^\*{3}", f"'{MASK}'", public)
    return f"{mark}{before}{key}{sign}{public}{value[len(text) :]}"


def _public_pair(match: re.Match[str]) -> str:
    key, sign, value = match.groups()
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    text = value[1:-1] if quoted else value
    public = shown(key, text)
    if public == text or text in _EMPTY or text[:1] in ("|", ">"):
        return match[0]
    quote = value[0] if quoted else "'"
    return f"{key}{sign}{quote}{public}{quote}"


def _name_of(section: bytes) -> str:
    """The file of a section of a patch, as its first line has it."""
    first = section.split(b"\n", 1)[0].decode("utf-8", "replace")
    return first.rstrip('"').rpartition(" b/")[2] or first.rstrip('"').rpartition(' "b/')[2]


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:  # deleted
        return 0


def _git(
    root: Path,
    *arguments: str,
    entries: str | None = None,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> bytes:
    import subprocess

    return subprocess.run(
        ["git", "-c", "core.quotepath=off", *arguments],
        cwd=root,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", **(environ or {})},
        input=None if entries is None else os.fsencode(entries),
        stdin=subprocess.DEVNULL if entries is None else None,
        capture_output=True,
        check=True,
        timeout=timeout_s,
    ).stdout
