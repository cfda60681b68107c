"""YAML: one way to write it, which every reader takes for the same data, and one to read it.

Readers differ in what they take for a number: PyYAML follows YAML 1.1, OmegaConf adds the floats
of YAML 1.2, other programs follow 1.2. Text that any of them could misread is quoted.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from .append_files import open_to_read
from .json_files import MAX_BYTES, MAX_DEPTH, UnreadableFileError, may_be_deep

TYPE_CHECKING = False
if TYPE_CHECKING:
    import yaml

MAX_ALIASED = 1_000_000  # values in a file with aliases, which we never write

# Numbers of YAML 1.2 and of OmegaConf that PyYAML leaves unquoted: 1e5, 695e0514, 0o17, 08, +.5.
# Also what sets digits apart by `_` or `:`, which readers treat in several ways.
_NUMBER = re.compile(
    r"^[-+]?(?:0[ox][0-9A-Fa-f_]+|\.?[0-9][0-9_:.]*(?:[eE][-+]?[0-9_]*)?|\.(?:inf|nan))$",
    re.IGNORECASE,
)
_DEEP_LINE = re.compile(rf"^[ ?-]{{{MAX_DEPTH},}}", re.MULTILINE)  # else no block is nested deep
_NUMBER_STARTS = "-+.0123456789"
# Python's line ends that YAML 1.2 has no more, and a byte order mark, which libyaml drops.
_WIDE = re.compile("[\x85\u2028\u2029\ufeff]")


def yaml_text(data: object, *, compact: bool = False) -> str:
    r"""Plain data as YAML that OmegaConf, PyYAML and readers of YAML 1.2 read back equal.

    Args:
        data: None, bool, int, float, str, bytes, and lists and dicts of them.
        compact: Whether to write the innermost lists and mappings on one line each.

    Raises:
        TypeError: If it holds anything else.
        ValueError: If a container holds itself.

    Examples:
        >>> yaml_text({"revision": "695e0514", "lr": 0.1})
        "revision: '695e0514'\nlr: 0.1\n"
    """
    import yaml

    options: dict[str, Any] = {
        "sort_keys": False,
        "allow_unicode": True,
        "width": 100,
        "default_flow_style": None if compact else False,
    }
    try:
        try:
            return str(yaml.dump(data, Dumper=_dumper(fast=True), **options))
        except UnicodeEncodeError:  # half of a character, as in a path that is not UTF-8
            return str(yaml.dump(data, Dumper=_dumper(fast=False), **options))
    except yaml.representer.RepresenterError as error:
        value = error.args[-1]
        raise TypeError(
            f"{value!r} is a {type(value).__name__}, which YAML does not have. Convert it to "
            "numbers, text, lists and dicts first."
        ) from None
    except RecursionError:
        raise ValueError("It holds itself or is nested too deeply to be written as YAML.") from None


def read_yaml(path: Path) -> object:
    """The data in a YAML file; nothing but data, whoever wrote it.

    Raises:
        FileNotFoundError: If there is no such file.
        UnreadableFileError: If it cannot be read, or is no YAML; the text names the file and the
            line.
    """
    try:
        with open_to_read(path) as file:
            return parse_yaml(file.read(MAX_BYTES + 1).decode())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read: {error}") from error
    except ValueError as error:  # also text that is not UTF-8
        raise UnreadableFileError(f"{path} is damaged: {error}") from error


def parse_yaml(text: str) -> object:
    """The data in a text of YAML.

    Raises:
        ValueError: If it is none, a value in it is impossible, such as February 30th, or it is
            beyond the bounds of JSON files; the text names the line.
    """
    import yaml

    if len(text) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
    text = text.removeprefix("\ufeff")
    try:
        if _may_be_beyond_bounds(text):
            _check_bounds(text)
        try:
            return yaml.load(text, _loader())
        except (yaml.YAMLError, UnicodeEncodeError):
            return yaml.safe_load(text)  # reads halves of characters, and says more
    except yaml.YAMLError as error:
        raise ValueError(_problem(error, text)) from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (LookupError, ArithmeticError, AttributeError, TypeError) as error:
        # PyYAML lets them through for values such as `!!bool x` and `!!int ''`.
        raise ValueError(f"a value in it is not what its tag says ({error})") from error


def _may_be_beyond_bounds(text: str) -> bool:
    return may_be_deep(text) or _DEEP_LINE.search(text) is not None or ("&" in text and "*" in text)


def _check_bounds(text: str) -> None:
    """Check how deep a text is nested, and what its aliases stand for.

    libyaml's loader goes down one level of C for each level of the text: far enough down the
    process dies. Aliases of aliases are short, and take no memory until somebody walks the data.

    Raises:
        ValueError: If it is beyond a bound.
    """
    import yaml

    sizes: dict[str, int] = {}  # by anchor, the number of values that an alias stands for
    opened: list[tuple[str | None, int]] = []  # anchor of each open collection, values before it
    count = 0
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in opened):
                raise ValueError(f"it holds itself, by the alias *{event.anchor}")
            count += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append((event.anchor, count - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        if len(opened) > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        if sizes and count > MAX_ALIASED:
            raise ValueError(f"its aliases stand for more than {MAX_ALIASED} values")


def _problem(error: yaml.YAMLError, text: str) -> str:
    """What PyYAML found, in one line."""
    problem = getattr(error, "problem", None) or next(iter(str(error).splitlines()), "")
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
    line = text.count("\n", 0, getattr(error, "position", 0)) + 1  # of a control character
    return f"line {line}: {problem}"


@cache
def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def _dumper(*, fast: bool) -> Any:
    import yaml

    base = getattr(yaml, "CSafeDumper", yaml.SafeDumper) if fast else yaml.SafeDumper
    kind: Any = type("Dumper", (base,), {"ignore_aliases": lambda self, data: True})
    kind.add_representer(str, _represent_text)
    kind.add_implicit_resolver("tag:expkit,number", _NUMBER, list(_NUMBER_STARTS))
    return kind


def _represent_text(dumper: Any, text: str) -> Any:
    style = '"' if _WIDE.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
