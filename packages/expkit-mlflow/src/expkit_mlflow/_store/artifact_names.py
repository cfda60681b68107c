"""Names of artifacts that no server and no file system changes, so that none replaces another.

A web address ends at `#` and `?`, servers decode `%`, Windows and SMB refuse `:` and drop dots and
spaces at the end, macOS takes two spellings of `é` for one. Such characters are written as `!` and
the two hexadecimal digits of each byte, as `%` and two digits are in addresses.
"""

import hashlib
import os
import posixpath
import re
import unicodedata

MOST_BYTES = 200  # of a name; file systems take 255, and MLflow writes under a longer name first
_UNSAFE = re.compile(r"""[!%#?\\:*"<>|\x00-\x1f\x7f-\x9f\ud800-\udfff]|^[ ]|[ .]$|^\.(?=\.?$)""")
# A name that MLflow keeps for itself.
_RESERVED = re.compile(r"^\.(?=artifact\.uploading\.)")


def clean_path(path: str) -> str:
    """The path under which an artifact is stored; the path itself, if nothing would change it.

    Examples:
        >>> clean_path("plots/loss#1.png"), clean_path("epoch=3 (best).ckpt")
        ('plots/loss!231.png', 'epoch=3 (best).ckpt')
    """
    return "/".join(clean_name(name) for name in path.split("/") if name)


def clean_name(name: str) -> str:
    """One part of such a path; `original_name` gives back what is not shortened.

    Examples:
        >>> clean_name("50%"), clean_name(" a"), clean_name("x.")
        ('50!25', '!20a', 'x!2E')
    """
    cleaned = _RESERVED.sub("!2E", _UNSAFE.sub(_escaped, name))
    if unicodedata.normalize("NFC", cleaned) != cleaned:  # some file systems would change it
        cleaned = re.sub(r"[^\x00-\x7f]", _escaped, cleaned)
    if len(cleaned.encode()) <= MOST_BYTES:
        return cleaned
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    stem, suffix = posixpath.splitext(cleaned)
    suffix = suffix if len(suffix.encode()) <= 16 else ""
    kept = stem.encode()[: MOST_BYTES - len(suffix.encode()) - 18].decode(errors="ignore")
    return f"{re.sub('!.?$', '', kept)}!!{digest}{suffix}"


def original_name(cleaned: str) -> str:
    """What `clean_name` was given; of a name that it shortened, the beginning.

    Examples:
        >>> original_name("loss!231.png")
        'loss#1.png'
    """
    data = re.sub(
        rb"!([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), os.fsencode(cleaned)
    )
    return os.fsdecode(data)


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"!{byte:02X}" for byte in os.fsencode(match[0]))
