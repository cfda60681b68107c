r"""Text of anything: of errors that refuse to be printed, and for terminals that obey escapes.

Whatever an exception holds, a run that it ended has to be recorded; so nothing here raises.
"""

import re
import sys
import traceback

from .secrets import without_known_secrets

MOST_MESSAGE = 10_000  # characters of an error's message in run.json
MOST_TRACEBACK = 20_000

# What a terminal acts on instead of showing: control characters but for the line break and the
# tab, and marks that turn the direction of writing round. Halves of surrogate pairs are no text.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")


def text_of(value: object) -> str:
    r"""The `str` of anything, as text that UTF-8 can hold.

    Examples:
        >>> text_of("caf\udce9.wav")
        'caf\\udce9.wav'
    """
    try:
        return _encodable(str(value))
    except BaseException as error:  # its own, not one that ends this process
        return f"<{_type_name(value)}, whose text raises {_type_name(error)}>"


def printable(text: str) -> str:
    r"""Text for a terminal: control characters are shown as escapes, and obeyed by nobody.

    Examples:
        >>> printable("loss\x1b[2J\n")
        'loss\\x1b[2J\n'
    """
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def why_unencodable(path: str) -> str | None:
    """Why a path cannot be that of a file on this machine, and what to do; None if it can.

    Where the locale says anything but UTF-8, it could not be found again under another one.
    """
    encoding = sys.getfilesystemencoding()
    if path.isascii() or encoding == "utf-8":
        return None
    return (
        f"{path} cannot be a file's name here: the locale says that file names are {encoding}. Set "
        "PYTHONUTF8=1 in the environment, or a locale such as LC_ALL=C.UTF-8."
    )


def without_colours(text: str) -> str:
    """Text without a terminal's colours, which what a run has printed may hold."""
    return _COLOURS.sub("", text)


def shortened(text: str, most: int, *, keep_end: bool = False) -> str:
    """Text of at most so many characters, and a mark for what was left out.

    Examples:
        >>> shortened("abcdef", 4), shortened("abcdef", 4, keep_end=True)
        ('abcd … (2 characters left out)', '(2 characters left out) … cdef')
    """
    if len(text) <= most:
        return text
    mark = f"({len(text) - most:,} characters left out)"
    return f"{mark} … {text[-most:]}" if keep_end else f"{text[:most]} … {mark}"


def traceback_text(error: BaseException) -> str:
    """The traceback of an error, with those of its causes; its line alone if it has none to show.

    A message that is longer than `MOST_MESSAGE` is shortened in it, so that the frames stay.
    """
    try:
        lines = traceback.format_exception(error)
        # One entry may have several lines: a message.
        texts = [without_known_secrets(_encodable(line)).rstrip("\n") for line in lines]
        entries = [shortened(text, MOST_MESSAGE) for text in texts]
    except BaseException as problem:  # a loader's sources, a property of a class of the user's
        entries = [_line(error), f"(its traceback cannot be shown: {_type_name(problem)})"]
    return "\n".join(entries) + "\n"


def error_facts(error: BaseException) -> dict[str, str]:
    """An error as run.json keeps it: type, message and traceback; holds for every exception.

    It shows none of the secrets that this process has met.
    """
    return {
        "type": _type_name(error),
        "message": shortened(without_known_secrets(text_of(error)), MOST_MESSAGE),
        "traceback": shortened(traceback_text(error), MOST_TRACEBACK, keep_end=True),
    }


def _encodable(text: str) -> str:
    # By str's own method: a class derived from it may do anything.
    return str.encode(text, "utf-8", "backslashreplace").decode()


def _type_name(value: object) -> str:
    # By type's own property, as a metaclass may have one that raises.
    return _encodable(type.__dict__["__name__"].__get__(type(value)))


def _line(error: BaseException) -> str:
    message = shortened(without_known_secrets(text_of(error)), MOST_MESSAGE)
    return f"{_type_name(error)}: {message}" if message else _type_name(error)
