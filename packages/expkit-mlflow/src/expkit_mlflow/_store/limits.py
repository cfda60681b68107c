"""Names and values within the limits of MLflow."""

import hashlib
import posixpath
import re
from functools import lru_cache


@lru_cache(maxsize=10_000)
def clean_key(key: str, limit: int = 250) -> str:
    """A name that MLflow accepts; the key itself, if possible.

    Changed names end in four digits of a hash, so that `acc@1` and `acc#1` stay two metrics.

    Examples:
        >>> clean_key("val/loss"), clean_key("acc@1")
        ('val/loss', 'acc_1-71df')
    """
    unique = posixpath.normpath(key) == key and key != "." and not key.startswith(("..", "/"))
    if unique and len(key) <= limit and re.fullmatch(r"[/\w.\- :]+", key):
        return key
    cleaned = re.sub(r"[^/\w.\- :]" if unique else r"[^\w\- :]", "_", key)
    digest = hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()
    return f"{cleaned[: limit - 5]}-{digest[:4]}"


def shorten(value: str, limit: int) -> str:
    """The value; if MLflow would refuse it, its beginning and a hash of the whole.

    Text that is not valid Unicode (a file's name in another encoding) is escaped.

    Examples:
        >>> shorten("short", 6000)
        'short'
        >>> shorten("x" * 7000, 6000)[195:]
        'xxxxx… (7000 characters, sha256 bad0f0b226…, whole in config.yaml)'
    """
    encoded = value.encode("utf-8", "backslashreplace")
    value = encoded.decode("utf-8")
    if len(value) <= limit:
        return value
    digest = hashlib.sha256(encoded).hexdigest()
    note = f"… ({len(value)} characters, sha256 {digest[:10]}…, whole in config.yaml)"
    return value[: max(0, min(200, limit - len(note)))] + note
