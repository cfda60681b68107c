"""Damage to files, as accidents, careless users and attackers do it, and what every reader owes."""

import contextlib
import functools
import json
import os
import resource
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

MOST_CPU_S = 10  # of one reader with one damaged file; most take milliseconds
MOST_WALL_S = 30  # it waits for ever: a pipe without a writer
MOST_MEMORY = 2 << 30  # bytes that it may ask for in addition
_RAW = "\0RAW\0"

# In the place of any value. Text, as json.dumps refuses some of it.
VALUES = [
    "null", "true", "0", "-1", "1.5", "-0.0", "1e400", "NaN", "-Infinity", '"NaN"', "2147483648",
    "18446744073709551616", "9" * 300, "9" * 400, "9" * 5_000, '""', '"x"',
    r'"\u0000"', r'"\ud800"',
    r'"\u001b[31m\r\n"', '"../../../etc/passwd"', '"/etc/passwd"', '"."', '"a/b"',
    '"' + "x" * 100_000 + '"', "[]", "{}", "[null]", '{"": null}', '["a", 1]', '[["a"]]',
    "[" * 150 + "]" * 150, '{"a":' * 150 + "1" + "}" * 150, "[" * 5_000 + "]" * 5_000,
    '{"$tuple": 1}', '{"$float": "x"}', '{"$dict": [[[], 1]]}', '"9999-12-31T23:59:59-14:00"',
    '"0001-01-01T00:00:00+14:00"', '"2026-13-45"', '"${oc.env:HOME}"', '"[3-"', "1e308",
]  # fmt: skip
# In the place of a whole file.
CONTENTS = {
    "nothing": b"",
    "a line break": b"\n",
    "NUL": b"\0" * 100,
    "no UTF-8": b"\xff\xfe{\0}\0",
    "brackets": b"[" * 100_000,
    "closed brackets": b"[" * 5_000 + b"]" * 5_000,
    "braces": b'{"a":' * 100_000,
    "a list": b"[]",
    "a list of lists": b"[[]]\n",
    "a number": b"1\n",
    "null": b"null\n",
    "text": b'"text"\n',
    "an empty mapping": b"{}\n",
    "half a character": b'{"schema": 1, "state": "\\ud800"}\n',
    "a web page": b"<!DOCTYPE html>\n<html><body>404: Not Found</body></html>\n",
    "a merge conflict": b'<<<<<<< HEAD\n{"schema": 1}\n=======\n{}\n>>>>>>> other\n',
}
YAML_CONTENTS = {
    "aliases of aliases": b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    + b"".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n".encode() for n in range(1, 12)),
    "a list in itself": b"a: &a [*a]\n",
    "a mapping in itself": b"&a {a: *a}\n",
    "code": b"a: !!python/object/apply:os.system ['touch pwned']\n",
    "a list as key": b"? [a, b]\n: 1\n",
    "a mapping as key": b"{{a: 1}: 2}\n",
    "an impossible day": b"a: 2026-02-30\n",
    "no number": b"a: !!int ''\n",
    "no float": b"a: !!float ''\n",
    "neither true nor false": b"a: !!bool x\n",
    "no time": b"a: !!timestamp x\n",
    "no binary": b"a: !!binary '\xc3\xa4'\n",
    "a set": b"!!set {a, b}\n",
    "pairs": b"a: !!omap [1, 2]\n",
    "a default value": b"a: =\n",
    "a merge key": b"a: {<<: 3}\n",
    "two documents": b"a: 1\n---\nb: 2\n",
    "a tab": b"a:\n\t- 1\n",
    "a long number": b"a: " + b"9" * 5_000 + b"\n",
    "base sixty": b"a: " + b":".join([b"9"] * 200) + b".5\n",
    "a control character": b"a: \x07\n",
}
PLACES = ("a folder", "a pipe", "a link to nothing", "a link to itself", "an endless device",
          "a socket", "missing")  # fmt: skip


@dataclass(frozen=True)
class Damage:
    """What is in a file's place: a content, or something that is no file."""

    name: str
    content: bytes | None = None

    def __repr__(self) -> str:
        content = self.content
        if content is None or len(content) < 400:
            return f"Damage({self.name!r}, {content!r})"
        return f"Damage({self.name!r}, {content[:200]!r} … {content[-100:]!r})"

    def put(self, path: Path) -> None:
        """Put it in the file's place, which is free."""
        if self.content is not None:
            path.write_bytes(self.content)
        elif self.name == "a folder":
            path.mkdir()
        elif self.name == "a pipe":
            os.mkfifo(path)
        elif self.name == "a socket":
            with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
                server.bind(path.name)  # whose whole path may be too long for it
        elif self.name != "missing":
            targets = {"a link to nothing": "nowhere", "a link to itself": path.name}
            path.symlink_to(targets.get(self.name, "/dev/zero"))


def damages(content: bytes, kind: str) -> st.SearchStrategy[Damage]:
    """What may become of a file.

    Args:
        content: What it holds.
        kind: "json", "jsonl" or "yaml"; anything else has no structure.
    """
    contents = {**CONTENTS, **(YAML_CONTENTS if kind == "yaml" else {})}
    whole = st.sampled_from([Damage(name, raw) for name, raw in contents.items()])
    places = st.sampled_from([Damage(place) for place in PLACES])
    strategies = [whole, places, _of_bytes(content)]
    if kind in ("json", "jsonl", "yaml"):
        strategies += [_of_structure(content, kind)] * 3
    return st.one_of(strategies)


def all_contents(kind: str) -> list[Damage]:
    """Each content and each place that is no file: few enough to try them all."""
    contents = {**CONTENTS, **(YAML_CONTENTS if kind == "yaml" else {})}
    return [
        *(Damage(name, raw) for name, raw in contents.items()),
        *(Damage(place) for place in PLACES),
    ]


def _of_bytes(content: bytes) -> st.SearchStrategy[Damage]:
    place = st.integers(0, max(0, len(content) - 1))
    junk = st.sampled_from(
        [b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"[", b"}", b'"', b",", b"\x1b[2J", b"9"]
    )

    def flipped(at: int, bit: int) -> bytes:
        return (
            content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :] if content else b""
        )

    return st.one_of(
        st.builds(lambda at: Damage("torn", content[:at]), place),
        st.builds(lambda at, bit: Damage("a bit", flipped(at, bit)), place, st.integers(0, 7)),
        st.builds(lambda at, raw: Damage("more", content[:at] + raw + content[at:]), place, junk),
        st.builds(
            lambda at, size: Damage("a hole", content[:at] + content[at + size :]),
            place,
            st.integers(1, 60),
        ),
        st.builds(
            lambda at, size: Damage(
                "zeros", content[:at] + b"\0" * size + content[at + size :]
            ),  # as after a power cut
            place,
            st.integers(1, 5_000),
        ),
        st.sampled_from(
            [
                Damage("a mark of the byte order", b"\xef\xbb\xbf" + content),
                Damage("line ends of Windows", content.replace(b"\n", b"\r\n")),
                Damage("twice", content * 2),
                Damage("in UTF-16", content.decode("latin-1").encode("utf-16")),
                Damage("a line without end", content.rstrip(b"\n")),
            ]
        ),
    )


def _of_structure(content: bytes, kind: str) -> st.SearchStrategy[Damage]:
    lines = content.splitlines() if kind == "jsonl" else [content]

    @functools.cache
    def parsed(number: int) -> tuple[object, tuple[tuple[object, ...], ...]]:
        if kind == "yaml":
            import yaml

            data = yaml.safe_load(lines[number])
        else:
            data = json.loads(lines[number])
        return data, tuple(_paths(data))

    @st.composite
    def damaged(draw: st.DrawFn) -> Damage:
        number = draw(st.integers(0, len(lines) - 1))
        data, paths = parsed(number)
        path = draw(st.sampled_from(paths))
        value = draw(st.sampled_from(VALUES))
        act = draw(st.sampled_from(["replaced", "replaced", "removed", "twice", "added"]))
        text = _with(data, path, value, act)
        changed = [*lines[:number], text, *lines[number + 1 :]]
        end = b"\n" if kind == "jsonl" else b""
        return Damage(f"{path} {act}", b"".join(line + end for line in changed))

    return damaged()


def _paths(data: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    yield path
    items = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in items:
        yield from _paths(value, (*path, key))


def _with(data: object, path: tuple[object, ...], value: str, act: str) -> bytes:
    """The JSON text of some data with one value changed."""

    def changed(part: object, rest: tuple[object, ...]) -> object:
        if not rest:
            if act == "added" and isinstance(part, dict):
                return {**part, "unheard of": _RAW}
            if act == "added" and isinstance(part, list):
                return [*part, _RAW]
            return _RAW
        key, *deeper = rest
        if act == "removed" and not deeper:
            if isinstance(part, dict):
                return {name: item for name, item in part.items() if name != key}
            return [item for number, item in enumerate(part) if number != key]
        if isinstance(part, dict):
            return {
                name: changed(item, tuple(deeper)) if name == key else item
                for name, item in part.items()
            }
        return [
            changed(item, tuple(deeper)) if number == key else item
            for number, item in enumerate(part)
        ]

    text = json.dumps(changed(data, path), default=str)
    mark = json.dumps(_RAW)
    if act == "twice" and path and isinstance(path[-1], str):
        key = json.dumps(path[-1])
        return text.replace(f"{key}: {mark}", f"{key}: 1, {key}: {value}").encode()
    return text.replace(mark, value).encode()


class Hung(BaseException):
    """A reader did not come back in time; no `except Exception` may hide it."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raise if the block takes too long, and MemoryError in it if it asks for too much."""

    def hung(number: int, frame: object) -> None:
        raise Hung(f"{signal.Signals(number).name}: it takes too long")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    timers = {signal.SIGALRM: signal.ITIMER_REAL, signal.SIGPROF: signal.ITIMER_PROF}
    former = {number: signal.signal(number, hung) for number in timers}
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, MOST_WALL_S)
    signal.setitimer(signal.ITIMER_PROF, MOST_CPU_S)
    try:
        yield
    finally:
        for timer in timers.values():
            signal.setitimer(timer, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        for number, handler in former.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def damaged(path: Path, damage: Damage) -> Iterator[None]:
    """The file with its damage; afterwards it is as it was."""
    aside = path.with_name(f"{path.name}~aside")
    path.rename(aside)
    try:
        damage.put(path)
        yield
    finally:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        aside.rename(path)


def facts(folder: Path) -> dict[str, tuple[int, ...]]:
    """What tells whether anything in a folder was written, moved or removed since."""
    entries = {}
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent, name)
            info = path.lstat()
            is_folder = stat.S_ISDIR(info.st_mode)  # whose times change with temporary files
            times = (0, 0) if is_folder else (info.st_size, info.st_mtime_ns)
            entries[str(path.relative_to(folder))] = (info.st_mode, info.st_ino, *times)
    return entries


@dataclass(frozen=True)
class Reader:
    """One way to read one file.

    Attributes:
        name: Of the test.
        file: The file, relative to the folder of results; one that a pattern fits.
        read: Called with the folder of results.
        refusals: What it raises for a damaged file, as its docstring says; its text names the file.
        kind: What the file holds, see `damages`.
    """

    name: str
    file: str
    read: Callable[[Path], object]
    refusals: tuple[type[Exception], ...] = ()
    kind: str = "json"


def check(reader: Reader, root: Path, path: Path, damage: Damage) -> None:
    """Read a damaged file: it is refused as documented, or passed over; nothing is changed."""
    experiment = root / path.relative_to(root).parts[0]
    with damaged(path, damage):
        before = facts(experiment)
        refusal = _refusal(reader, root)
        assert facts(experiment) == before
    if isinstance(refusal, reader.refusals):
        text = str(refusal)
        assert path.name.split(".")[0] in text, f"{refusal!r} does not name {path.name}"
        assert len(text) < 2_000, f"{text[:300]} … has {len(text)} characters"
    else:
        assert refusal is None or damage.content is None, f"{refusal!r}: the file is there"


def _refusal(reader: Reader, root: Path) -> Exception | None:
    """What a reader raises as its docstring says; None if it passes the file over."""
    try:
        with bounded():
            reader.read(root)
    except (FileNotFoundError, *reader.refusals) as error:
        return error
    return None
