"""Words of a shell's command line as they are typed, and what they mean; nothing is expanded."""

from __future__ import annotations

import os
import re
import sys

_ESCAPES = {
    "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
    "v": "\v",
}  # fmt: skip
_CODE = re.compile(r"x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|([0-7]{1,3})")
_MARK = re.compile(r"""\$?["']""")
_PLAIN = re.compile(r"[\w@%+=:,./-]")
_IN_QUOTES = re.compile(r'[$`"\\]')  # what "…" gives a meaning


def unquote(word: str) -> tuple[str, str]:
    r"""The text that a word stands for, and the quote that it leaves open.

    Examples:
        >>> unquote(r"results/my\ run"), unquote('"my run'), unquote(r"$'a\nb'c")
        (('results/my run', ''), ('my run', '"'), ('a\nbc', ''))
    """
    text: list[str] = []
    opened = ""
    rest = word
    while rest:
        mark = _MARK.match(rest) if opened == "" else None
        if mark is not None:
            opened, rest = mark[0].replace('$"', '"'), rest[mark.end() :]
        elif opened and rest[0] == opened[-1]:
            opened, rest = "", rest[1:]
        elif rest[0] == "\\" and opened == "$'":
            character, rest = _escaped(rest[1:])
            text.append(character)
        elif rest[0] == "\\" and (opened == "" or (opened == '"' and _IN_QUOTES.match(rest[1:2]))):
            text.append(rest[1:2])
            rest = rest[2:]
        else:
            text.append(rest[0])
            rest = rest[1:]
    return os.fsdecode(os.fsencode("".join(text))), opened  # joins the bytes of one character


def _escaped(rest: str) -> tuple[str, str]:
    """The character of an escape in $'…', and what follows it."""
    code = _CODE.match(rest)
    if code is None:
        return _ESCAPES.get(rest[:1], rest[:1]), rest[1:]
    number = int(next(filter(None, code.groups())), 8 if code[4] else 16)
    if code[1] or code[4]:  # a byte
        character = os.fsdecode(bytes([number & 0xFF]))
    else:
        is_character = number <= sys.maxunicode and not 0xD800 <= number < 0xE000
        character = chr(number) if is_character else ""
    return character, rest[code.end() :]


def quote(text: str, opened: str = "") -> str:
    r"""The text as bash reads it, after the quote that is open; readline closes that.

    Examples:
        >>> quote("my run"), quote("$(date)"), quote("a\nb"), quote("$5", '"'), quote("it's", "'")
        ('my\\ run', '\\$\\(date\\)', "$'a\\nb'", '\\$5', "it'\\''s")
    """
    if opened == "":
        if text.isprintable():
            return "".join(c if _PLAIN.match(c) else f"\\{c}" for c in text)
        return f"$'{_ansi_c(text)}'"
    if opened == "$'":
        quoted = _ansi_c(text)
    elif opened == "'":
        quoted = "".join(f"'{quote(c)}'" if c == "'" or not c.isprintable() else c for c in text)
    else:  # where "\!" would keep its backslash
        quoted = "".join(
            f'"{quote(c)}"' if c == "!" or not c.isprintable() else _IN_QUOTES.sub(r"\\\g<0>", c)
            for c in text
        )
    return quoted + opened[-1] if quoted.endswith(opened[-1]) else quoted  # readline takes it so


def _ansi_c(text: str) -> str:
    """The text within $'…'."""
    names = {character: name for name, character in _ESCAPES.items() if name != "E"}
    return "".join(
        f"\\{names[c]}" if c in names
        else f"\\{c}" if c in "'\\"
        else c if c.isprintable()
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(c))
        for c in text
    )  # fmt: skip
