"""Which runs repeat one configuration, and where those that should be alike are not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from os import PathLike
from pathlib import Path

from .._files.append_files import open_to_read
from .._files.json_files import MAX_BYTES
from .._files.yaml_files import parse_yaml
from .._provenance.hashes import NO_PART_OF_IDENTITY, counted_values
from .._runs.records import read_run
from .._runs.settings import read_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._runs.records import RunRecord

REPEATED_BY_DEFAULT = ("seed",)
_ABSENT = object()


def repeated_names(
    experiment: str | PathLike[str], records: Sequence[RunRecord]
) -> tuple[str, ...]:
    """What `expkit.repeat` says: the keys over which tables and figures average.

    The experiment's latest grid says it, else the configuration of the run that started last.

    Args:
        experiment: The experiment's folder.
        records: Its runs.
    """
    for config in _newest_configs(Path(experiment), records):
        settings = config.get("expkit")
        names = settings.get("repeat") if isinstance(settings, Mapping) else None
        if isinstance(names, list):
            return tuple(map(str, names))
    return REPEATED_BY_DEFAULT


def repeated_keys(keys: Sequence[str], names: Sequence[str]) -> list[str]:
    """Those of the swept keys that only repeat a configuration, the outermost first.

    Args:
        keys: The swept keys.
        names: What `expkit.repeat` says: keys, or their last parts.

    Examples:
        >>> repeated_keys(["data.fold", "lr", "seed"], ["seed", "fold"])
        ['seed', 'data.fold']
    """
    return [key for name in names for key in keys if key == name or key.endswith(f".{name}")]


def configuration_differences(
    folders: Sequence[str | PathLike[str]], swept: Collection[str] = ()
) -> dict[str, tuple[object, ...]]:
    """The keys, other than swept ones, in which the configurations of some runs differ.

    What refers to another key does not differ by itself, nor does what depends on the machine or
    the time. Not compared are secrets, `expkit.ignore`, and what is no part of what a run is.

    Args:
        folders: The run folders.
        swept: The swept keys.

    Returns:
        By dotted key the distinct values in the order of the runs, "–" for a run without the key.
    """
    if len(folders) < 2:
        return {}
    paths = [Path(folder) for folder in folders]
    texts = _texts(paths, ".hydra/config.yaml")  # there references are as they are written
    is_resolved = None in texts
    if is_resolved:
        texts = _texts(paths, "config.yaml")
    places = {_place(key) for key in swept}
    uncounted = frozenset({*NO_PART_OF_IDENTITY - {"expkit"}, *places})
    values: list[dict[str, object]] = []
    first: str | None = None
    for folder, text in zip(paths, texts, strict=True):
        if text is None or (first is not None and _same_but_for(first, text, uncounted)):
            continue
        first = first or text
        try:
            config = parse_yaml(text)
        except ValueError:
            continue
        if isinstance(config, Mapping):
            left_out = [*places, *(_unresolved_keys(folder) if is_resolved else ())]
            values.append(counted_values(config, left_out))
    if len(values) < 2:
        return {}
    differences = {}
    for key in dict.fromkeys(key for run in values for key in run):
        distinct = {repr(value := run.get(key, _ABSENT)): value for run in values}
        if len(distinct) > 1:
            differences[key] = tuple(
                "–" if value is _ABSENT else value for value in distinct.values()
            )
    return differences


def differences_text(differences: Mapping[str, tuple[object, ...]]) -> str:
    """The keys that differ with their values, for a warning.

    Examples:
        >>> differences_text({"epochs": (4, 8), "note": ("x", "–")})
        'epochs (4, 8), note (x, –)'
    """
    parts = []
    for key, values in list(differences.items())[:5]:
        shown = ", ".join(f"{value!s:.40}" for value in values[:3])
        parts.append(f"{key} ({shown}{', …' if len(values) > 3 else ''})")
    more = len(differences) - len(parts)
    return ", ".join(parts) + (f" and {more} more keys" if more > 0 else "")


def _newest_configs(
    experiment: Path, records: Sequence[RunRecord]
) -> Iterator[Mapping[str, object]]:
    for entry in entry_points(group="expkit.grids"):
        try:
            settings = entry.load()(experiment)
        except (ImportError, OSError, ValueError):  # damaged: the runs tell
            continue
        if settings is not None:
            yield settings.config
    newest = max(records, key=lambda record: record.started_at or "", default=None)
    if newest is not None:
        try:
            yield read_config(newest.folder)
        except (OSError, ValueError):
            return


def _texts(folders: Sequence[Path], name: str) -> list[str | None]:
    texts: list[str | None] = []
    for folder in folders:
        try:
            with open_to_read(Path(folder) / name) as file:
                texts.append(file.read(MAX_BYTES + 1).decode())
        except (OSError, ValueError):
            texts.append(None)
    return texts


def _place(key: str) -> str:
    """Where the configuration has what a swept key sets: a group's options, or a value."""
    group, _, package = key.partition("@")
    return package or group.replace("/", ".")


def _same_but_for(first: str, other: str, keys: Collection[str]) -> bool:
    """Whether two files of YAML differ in nothing but values in the lines of these top keys.

    Parsing thousands of files would take seconds.
    """
    if first == other:
        return True
    lines, others = first.splitlines(), other.splitlines()
    return len(lines) == len(others) and all(
        line == counterpart
        or (
            (key := line.partition(":")[0]) in keys
            and key == counterpart.partition(":")[0]
            and not line.endswith(":")
        )
        for line, counterpart in zip(lines, others, strict=True)
    )


def _unresolved_keys(folder: Path) -> Collection[str]:
    record = read_run(folder)
    return () if record is None else record.unresolved.keys()
