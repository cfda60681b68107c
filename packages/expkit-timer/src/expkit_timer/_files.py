"""Timer files in YAML, JSON or CSV, by suffix; merged, and replaced as a whole."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from math import inf
from os import PathLike
from pathlib import Path

from ._statistics import Statistics, combine
from ._text import format_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType
    from typing import Any

Attempt = dict[str, object]  # what one process timed: an id and the fields of Statistics
Content = dict[str, dict[str, object]]  # by timer: the totals and the list of attempts

SCHEMA = 1  # of a file that says nothing of it
_FIELDS = Statistics._fields
_COLUMNS = ("name", "id", *_FIELDS)
_LOCK_TIMEOUT_S = 10.0
_MOST_BYTES = 1 << 26  # of a file; ours have some thousand


def attempt_of(attempt_id: str, statistics: Statistics) -> Attempt:
    """One attempt as a file holds it."""
    return {"id": attempt_id, **statistics._asdict()}


def statistics_of(attempts: Sequence[Attempt]) -> Statistics:
    """The totals over all attempts."""
    return combine([Statistics(*(attempt[field] for field in _FIELDS)) for attempt in attempts])  # type: ignore[arg-type]


def attempts_in(content: Content, name: str) -> list[Attempt]:
    """The attempts of one timer; none if the file does not hold that timer."""
    attempts = content.get(name, {}).get("attempts", [])
    assert isinstance(attempts, list)  # checked when the file was read
    return attempts


def merge(content: Content, name: str, attempts: Sequence[Attempt]) -> Content:
    """The content with these attempts; one that is in the file already is replaced."""
    by_id = {str(attempt["id"]): attempt for attempt in attempts_in(content, name)}
    for attempt in attempts:
        saved = by_id.get(str(attempt["id"]))
        # A loaded timer holds the attempts of others as they were then: none may shrink.
        if saved is None or saved["count"] <= attempt["count"]:  # type: ignore[operator]
            by_id[str(attempt["id"])] = attempt
    merged = list(by_id.values())
    totals = statistics_of(merged)
    entry = dict(content.get(name, {}))  # keeps the keys of a newer version
    if totals.count:
        entry |= totals._asdict()
    else:  # the others would be NaN, which tells a reader nothing
        entry |= {"count": 0, "total_s": 0.0}
    entry |= {"total": format_seconds(totals.total_s), "attempts": merged}
    return content | {name: entry}


def save(
    path: str | PathLike[str],
    attempts: Mapping[str, Sequence[Attempt]],
    check: Callable[[], object] | None = None,
) -> None:
    """Merge the attempts of each timer into a file, which is replaced as a whole; see `Timer.save`.

    Raises:
        ValueError: If the suffix is unknown, or the file exists and is not a timer file; it is
            left unchanged.
        ImportError: If the file is YAML and PyYAML is not installed.
    """
    path = Path(path)
    _, dump = _format_for(path)
    if check is None:  # else the folder is somebody's, who may have moved it away
        path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path.parent):
        content = read(path) if path.exists() else {}
        for name, attempts_of_timer in attempts.items():
            content = merge(content, name, attempts_of_timer)
        _replace(path, dump(content), check)


def read(path: str | PathLike[str]) -> Content:
    """The content of a timer file.

    Raises:
        ValueError: If it is not one, or a newer version wrote it; the message says where.
        FileNotFoundError: If there is no such file.
        ImportError: If the file is YAML and PyYAML is not installed.
    """
    path = Path(path)
    load, _ = _format_for(path)
    try:
        content = load(_text(path))
    except (ValueError, LookupError, ArithmeticError, AttributeError, TypeError) as error:
        # PyYAML lets them through for values such as `!!bool x`.
        raise ValueError(f"{path} cannot be read as a timer file: {error}") from error
    except RecursionError:
        raise ValueError(f"{path} cannot be read as a timer file: nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a timer file: it holds {type(content).__name__}")
    if isinstance(content.get("schema"), int):  # a timer of this name would be a mapping
        schema = content.pop("schema")
        if schema > SCHEMA:
            raise ValueError(
                f"{path} was written by a newer version of expkit-timer (schema {schema}; this one "
                f"reads {SCHEMA}): upgrade it, pip install -U expkit-timer"
            )
    return {str(name): _check(path, str(name), entry) for name, entry in content.items()}


def _text(path: Path) -> str:
    """The text of a file that may be another's: a pipe by this name would block for ever.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is none, or has more than 64 MiB.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is a folder, a pipe or a device")
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(str(error)) from error
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES >> 20} MiB")
    return content.decode("utf-8-sig")


def _check(path: Path, name: str, entry: object) -> dict[str, object]:
    if not isinstance(entry, dict) or not isinstance(entry.get("attempts"), list):
        raise ValueError(
            f"{path} is not a timer file: its entry {name!r} has no list 'attempts'. "
            "Choose another path."
        )
    attempts = [
        _check_attempt(f"{path}, {name!r}, attempt {number}", attempt)
        for number, attempt in enumerate(entry["attempts"], start=1)
    ]
    return entry | {"attempts": attempts}


def _check_attempt(where: str, attempt: object) -> Attempt:
    if not isinstance(attempt, dict):
        raise ValueError(f"{where}: expected a mapping, got {attempt!r:.80}")
    for key in ("id", *_FIELDS):
        if key not in attempt:
            raise ValueError(f"{where}: the key {key!r} is missing")
        value = attempt[key]
        if key != "id" and not _is_number(value):
            raise ValueError(f"{where}: {key!r} must be a finite number, got {value!r:.80}")
    if attempt["count"] < 1 or attempt["count"] != int(attempt["count"]):
        raise ValueError(f"{where}: 'count' must be a positive whole number")
    return attempt | {"id": str(attempt["id"]), "count": int(attempt["count"])}


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -inf < value < inf


def _format_for(path: Path) -> tuple[Callable[[str], object], Callable[[Content], str]]:
    formats: dict[str, tuple[Callable[[str], object], Callable[[Content], str]]] = {
        ".yaml": (_load_yaml, _dump_yaml),
        ".yml": (_load_yaml, _dump_yaml),
        ".json": (_load_json, _dump_json),
        ".csv": (_load_csv, _dump_csv),
    }
    if path.suffix.lower() not in formats:
        raise ValueError(
            f"{path}: a timer file ends in {', '.join(formats)}, not in {path.suffix!r}"
        )
    return formats[path.suffix.lower()]


def _load_yaml(text: str) -> object:
    yaml = _yaml()

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def compose_node(self, parent: object, index: object) -> object:
            if self.check_event(yaml.AliasEvent):  # never written; they can stand for billions
                raise ValueError("it has aliases")
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Loader) or {}
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _dump_yaml(content: Content) -> str:
    import re

    yaml = _yaml()

    class Dumper(yaml.SafeDumper):  # type: ignore[misc, name-defined]
        pass

    def represent_text(dumper: Any, text: str) -> object:
        style = '"' if re.search("[\x85\u2028\u2029\ufeff]", text) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    # OmegaConf and readers of YAML 1.2 take more for numbers than PyYAML does, such as the id
    # 695e0514: quote it. As in expkit-bookkeeping's `_files/yaml_files.py`; a test dumps with each.
    number = re.compile(
        r"^[-+]?(?:0[ox][0-9A-Fa-f_]+|\.?[0-9][0-9_:.]*(?:[eE][-+]?[0-9_]*)?|\.(?:inf|nan))$",
        re.IGNORECASE,
    )
    Dumper.add_representer(str, represent_text)
    Dumper.add_implicit_resolver("tag:expkit,number", number, list("-+.0123456789"))
    # None writes the innermost mappings, the attempts, on one line each.
    text = yaml.dump(
        content,
        Dumper=Dumper,
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=1000,
    )
    return str(text)


def _yaml() -> ModuleType:
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            'a timer file in YAML needs PyYAML: pip install "expkit-timer[yaml]", '
            "or choose a path that ends in .json or .csv"
        ) from error
    return yaml


def _load_json(text: str) -> object:
    import json

    return json.loads(text or "{}")


def _dump_json(content: Content) -> str:
    import json

    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _load_csv(text: str) -> object:
    import csv
    import io

    content: Content = {}
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if text and tuple(reader.fieldnames or ())[: len(_COLUMNS)] != _COLUMNS:
        raise ValueError(f"its first line must be {','.join(_COLUMNS)}")
    for row in reader:
        name = row.pop("name")
        attempts = content.setdefault(name, {"attempts": []})["attempts"]
        assert isinstance(attempts, list)
        if row["id"] != "total":  # totals are for people to read, and computed again here
            attempts.append(
                {"id": row["id"], "count": int(row["count"])}
                | {field: float(row[field]) for field in _FIELDS if field != "count"}
            )
    return content


def _dump_csv(content: Content) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for name, entry in content.items():
        writer.writerow(entry | {"name": name, "id": "total"})
        for attempt in attempts_in(content, name):
            writer.writerow(attempt | {"name": name})
    return text.getvalue()


def _replace(path: Path, text: str, check: Callable[[], object] | None) -> None:
    """Write a file so that a reader sees the old or the new one, never a part of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check()
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # of writing to an open file
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    with suppress(OSError):  # some file systems cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep other processes from saving into a folder while a file is read, merged and written.

    Saving continues without the lock where the file system has none or another process holds it
    for too long.
    """
    from time import monotonic, sleep

    try:
        from fcntl import LOCK_EX, LOCK_NB, flock

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows
        yield
        return
    try:
        deadline = monotonic() + _LOCK_TIMEOUT_S
        while monotonic() < deadline:
            try:
                flock(descriptor, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                sleep(0.005)
                continue
            except OSError:  # NFS locks only what is open for writing, which a folder cannot be
                pass
            break
        yield
    finally:
        os.close(descriptor)
