"""Secrets: which keys of a configuration hold them, and texts and data that do not show them.

Pure functions, but for the values that this process has met: no message of it may show one.
expkit-mlflow, which works alone, has a copy of this file; a test holds the two equal.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote, unquote

MASK = "***"
# The default of `expkit.secrets`: the last part of a key, in small letters and with `_` for `-`.
SECRET_KEYS = (
    "(^|_)(password|passwd|secret|api_key|access_key|private_key|credentials)$",
    "^((api|auth|access|hf)_)?token$",
)
# A variable's name says more than a key's: `pad_token` is no secret, and GITHUB_TOKEN is one.
_VARIABLE = "(^|_)(token|pat)$"
# Of a URI's query; besides the keys above: signatures of signed URLs, ODBC's connection strings.
_QUERY = "^(pwd|sig|signature|x_amz_(signature|credential|security_token)|odbc_connect)$"
_DATABASES = ("postgres", "mysql", "mariadb", "mssql", "oracle", "cockroachdb", "mongodb", "redis")
_SCHEME = re.compile(r"(?<![\w+.-])[A-Za-z][A-Za-z0-9+.-]*://")
_REFERENCE = re.compile(r"\$\{[^${}]*\}")
_ENVIRONMENT = re.compile(r"\$\{\s*oc\.env:\s*([^,}\s]+)\s*(,[^{}]*)?\}")
_PAIR = re.compile(r"(?<![^?&;])([^=&;?#\s]+)=([^&\n]*)")
_OVERRIDE = re.compile(r"([~+]*)([A-Za-z_][\w.@/:$-]*)=(.*)", re.DOTALL)
_INNER = re.compile(r"([\w-]+)(\s*:\s*)('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^,{}\[\]'\"]+)")
_HELD = "\ue000"  # stands in for each character of a reference while a URI is parsed
_SHORTEST = 4  # of a value that is masked wherever it stands
_LONG = 12  # from here on also inside words

_known: set[str] = set()  # secrets that this process has met


# Keys


def is_secret_key(key: object, patterns: Sequence[str] = SECRET_KEYS) -> bool:
    """Whether the text under a key, or under a dotted path, is secret.

    Examples:
        >>> [is_secret_key(key) for key in ("db.password", "HF_TOKEN", "api-key", "pad_token")]
        [True, True, True, False]
    """
    return type(key) is str and _matches(key, tuple(patterns))


@lru_cache(maxsize=4096)
def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    last = key.partition("@")[0].rpartition(".")[2].replace("-", "_").lower()
    return any(re.search(pattern, last) for pattern in patterns)


def secret_patterns(config: object) -> tuple[str, ...]:
    """What `expkit.secrets` of a configuration says, or the default.

    Raises:
        ValueError: If it is no list of regular expressions.
    """
    node = config.get("expkit") if isinstance(config, Mapping) else None
    patterns = node.get("secrets") if isinstance(node, Mapping) else None
    if patterns is None:
        return SECRET_KEYS
    if isinstance(patterns, str) or not isinstance(patterns, Iterable):
        raise ValueError(
            f"expkit.secrets is a list of regular expressions for keys, got {patterns!r}. Write "
            f"expkit.secrets: [{patterns}]."
        )
    texts = tuple(map(str, patterns))
    for text in texts:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(
                f"expkit.secrets has {text!r}, which is no regular expression: {error}."
            ) from None
    return texts


@lru_cache(maxsize=4096)
def is_secret_variable(name: str) -> bool:
    """Whether an environment variable holds a secret, by its name."""
    return _matches(name, SECRET_KEYS) or _matches(name, (_VARIABLE,))


def refers_to_secret_variable(text: str) -> bool:
    """Whether a text has a reference such as `${oc.env:HF_TOKEN}`."""
    return "oc.env:" in text and any(
        is_secret_variable(match[1].strip("'\"")) for match in _ENVIRONMENT.finditer(text)
    )


def is_secret(key: object, text: object, patterns: Sequence[str] = SECRET_KEYS) -> bool:
    """Whether what is written under a key is secret as a whole: a text or a reference to one."""
    if type(text) is not str or text in ("", "???", MASK):
        return False
    return is_secret_key(key, patterns) or refers_to_secret_variable(text)


# What files show


def shown(key: object, text: str, patterns: Sequence[str] = SECRET_KEYS) -> str:
    """What files show for a text under a key: references as they are written, and no secret.

    Examples:
        >>> shown("api_key", "sk-1234"), shown("api_key", "${oc.env:KEY}"), shown("name", "cnn")
        ('***', '${oc.env:KEY}', 'cnn')
    """
    if not is_secret(key, text, patterns):
        return uri_without_secrets(text) if _SCHEME.match(text) else without_secrets(text)
    if is_secret_key(key, patterns) and _hold_references(text).strip(_HELD):
        return MASK
    return _ENVIRONMENT.sub(_without_default, text)


def _without_default(match: re.Match[str]) -> str:
    default = (match[2] or "").lstrip(", ")
    if not default or default in ("null", "''", '""'):
        return match[0]
    return f"${{oc.env:{match[1]},{MASK}}}"


def public_config(
    config: Mapping[str, object], patterns: Sequence[str] = SECRET_KEYS
) -> dict[str, object]:
    """A resolved configuration as files show it, also where a text has a secret in it."""
    values = sorted(
        (value for value in secret_values(config, patterns) if len(value) >= 2 * _SHORTEST),
        key=len,
        reverse=True,
    )

    def public(key: object, value: object) -> object:
        if isinstance(value, Mapping):
            return {name: public(name, part) for name, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [public(None, part) for part in value]
        if type(value) is not str:
            return value
        text = shown(key, value, patterns)
        for secret in values:
            text = text.replace(secret, MASK)
        return text

    return {name: public(name, value) for name, value in config.items()}


def public_override(text: str, patterns: Sequence[str] = SECRET_KEYS) -> str:
    """An override, or another argument of a command line, as files show it.

    Examples:
        >>> public_override("+hf_token=abc"), public_override("db={user:ada,password:x}")
        ('+hf_token=***', 'db={user:ada,password:***}')
    """
    match = _OVERRIDE.fullmatch(text)
    if match is None:
        return without_secrets(text)
    marks, key, value = match.groups()
    bare = _bare(value)
    public = shown(key, bare, patterns)
    if public != bare:
        quote_sign = value[0] if value[0] in "'\"" else ""
        return f"{marks}{key}={quote_sign}{public}{quote_sign}"
    if "{" in value:
        value = _INNER.sub(lambda inner: _public_pair(inner, patterns), value)
    return f"{marks}{key}={value}"


def _public_pair(match: re.Match[str], patterns: Sequence[str]) -> str:
    return f"{match[1]}{match[2]}{shown(match[1], match[3], patterns)}"


def secret_warning(line: str) -> str:
    """What to say about a secret that stands in a configuration, from `literal_secrets`."""
    key, _, reference = line.partition(": ")
    return (
        f"{key} is a secret that stands in the configuration itself; files and messages show "
        f"{MASK} for it. Write {key}: {reference}, and set that variable. If it is no secret, "
        "change expkit.secrets."
    )


# URIs


def without_secrets(text: str) -> str:
    """A text without the passwords of the URIs in it.

    Examples:
        >>> without_secrets("https://me:secret@host:5000/x does not answer")
        'https://me:***@host:5000/x does not answer'
    """
    if "://" not in text:
        return text
    parts, end = [], 0
    schemes = list(_SCHEME.finditer(text))
    for number, scheme in enumerate(schemes):
        limit = schemes[number + 1].start() if number + 1 < len(schemes) else len(text)
        rest = re.split(r"[\n\"'<>]", text[scheme.end() : limit], maxsplit=1)[0]
        parts += [text[end : scheme.end()], _public_rest(scheme[0], rest, is_uri=False)]
        end = scheme.end() + len(rest)
    return "".join([*parts, text[end:]])


def uri_without_secrets(uri: str) -> str:
    """A URI without its password, however it is written; a reference in its place stays.

    Examples:
        >>> uri_without_secrets("postgresql://ada:a/b c@d@db/x?token=1")
        'postgresql://ada:***@db/x?token=***'
    """
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return without_secrets(uri)
    return scheme[0] + _public_rest(scheme[0], uri[scheme.end() :], is_uri=True)


def without_credentials(uri: str) -> str:
    """A URI without user name and password: the address alone.

    Examples:
        >>> without_credentials("http://me:secret@host:5000/x")
        'http://host:5000/x'
    """
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return uri
    rest = uri[scheme.end() :]
    span = _password_span(scheme[0], rest, is_uri=True)
    user = re.match(r"[^:/\s?#@]*@", rest)
    if span is not None:
        rest = rest[span[1] + 1 :]
    elif user is not None:
        rest = rest[user.end() :]
    pairs = [match for match in _PAIR.finditer(rest) if _is_secret_pair(match)]
    for match in reversed(pairs):
        rest = rest[: match.start()].rstrip("?&;") + rest[match.end() :]
    head, sign, query = rest.partition("&")
    return scheme[0] + (f"{head}?{query}" if sign and "?" not in head else rest)


def uri_secrets(text: str) -> Iterator[str]:
    """The passwords in a URI; none in other texts."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return
    rest = text[scheme.end() :]
    span = _password_span(scheme[0], rest, is_uri=True)
    if span is not None:
        yield rest[span[0] : span[1]]
        yield unquote(rest[span[0] : span[1]])
        rest = rest[span[1] :]
    for match in _PAIR.finditer(rest):
        if _is_secret_pair(match):
            yield match[2]


def _public_rest(scheme: str, rest: str, *, is_uri: bool) -> str:
    span = _password_span(scheme, rest, is_uri=is_uri)
    head = ""
    if span is not None:
        start, end = span
        head, rest = rest[:start] + MASK, rest[end:]

    def public_pair(match: re.Match[str]) -> str:
        if not _is_secret_pair(match):
            return match[0]
        after = "" if is_uri else re.sub(r"^[^\s;#,)\]]*", "", match[2])
        return f"{match[1]}={MASK}{after}"

    return head + (_PAIR.sub(public_pair, rest) if "?" in rest else rest)


def _is_secret_pair(match: re.Match[str]) -> bool:
    key, value = unquote(match[1]), match[2]
    if not value or not _hold_references(value).strip(_HELD):
        return False
    return is_secret_key(key) or _matches(key, (_QUERY,))


def _password_span(scheme: str, rest: str, *, is_uri: bool) -> tuple[int, int] | None:
    """Where the password is in what follows `://`; a user without password may be a token.

    SQLAlchemy takes everything from the first `:` to an `@` for a password, also `/`, `#`, `?`.
    """
    held = _hold_references(rest)
    name = re.match(r"[^:/\s]*:", held)
    end = None if name is None else _password_end(scheme, held[name.end() :], is_uri=is_uri)
    if name is not None and end is not None and not held.startswith("["):
        start, end = name.end(), name.end() + end
        return None if held[start:end].strip(_HELD) in ("", MASK) else (start, end)
    user = re.match(r"[^:/\s?#@]+(?=@)", held)
    if user is None or not scheme.endswith(("http://", "https://")):
        return None
    return None if user[0].strip(_HELD) in ("", MASK) else user.span()


def _password_end(scheme: str, text: str, *, is_uri: bool) -> int | None:
    """Where the password ends that a text begins with: at an `@`; None if it begins with a port."""
    end = text.find("@")
    if end < 0 or (not is_uri and text[:1].isspace()):
        return None
    port = re.match(r"\d*", text)
    assert port is not None
    follows = text[port.end() : port.end() + 1]
    if not _is_database(scheme) and follows in ("/", "?", "#"):
        return None
    if port[0] and (follows in tuple(",;)") or (follows in tuple(" .") and not is_uri)):
        return None
    while True:
        later = text.find("@", end + 1)
        between = text[end + 1 : later]
        has_query = re.search(r"[?&][\w.%-]+=", between) is not None
        if later < 0 or has_query or (not is_uri and re.search(r"\s", between)):
            return end
        end = later


def _is_database(scheme: str) -> bool:
    return scheme.startswith(_DATABASES) or ("+" in scheme and not scheme.startswith("git+"))


def _hold_references(text: str) -> str:
    """The text, each `${…}` replaced by as many signs that mean nothing in a URI."""
    while True:
        held = _REFERENCE.sub(lambda match: _HELD * len(match[0]), text)
        if held == text:
            return held
        text = held


# What this process has met


def secret_values(data: object, patterns: Sequence[str] = SECRET_KEYS) -> set[str]:
    """The secrets in plain data: the texts under secret keys, and the passwords in URIs."""
    values: set[str] = set()
    waiting: list[tuple[object, object]] = [(None, data)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.items()
        elif isinstance(value, (list, tuple)):
            waiting += [(None, item) for item in value]
        elif type(value) is str:
            if is_secret(key, value, patterns):
                values.add(value)
            if "://" in value:
                values.update(uri_secrets(value))
    return {value for value in values if "${" not in value and value != MASK}


def override_secrets(text: str, patterns: Sequence[str] = SECRET_KEYS) -> set[str]:
    """The secrets in an override."""
    match = _OVERRIDE.fullmatch(text)
    if match is None or public_override(text, patterns) == text:
        return set()
    value = _bare(match[3])
    values = secret_values({match[2]: value}, patterns) | secret_values(
        {match[2]: match[3]}, patterns
    )
    for inner in _INNER.finditer(match[3] if "{" in value else ""):
        values |= secret_values({inner[1]: _bare(inner[3])}, patterns)
    return values


def _bare(value: str) -> str:
    """The value of an override without quotes and without Hydra's escapes."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return re.sub(r"\\(.)", r"\1", value[1:-1] if quoted else value)


def literal_secrets(data: object, patterns: Sequence[str] = SECRET_KEYS) -> list[str]:
    """The secrets that stand in a configuration themselves: for each the line to write instead.

    Examples:
        >>> literal_secrets({"db": {"password": "x", "token": "${oc.env:TOKEN}"}})
        ['db.password: ${oc.env:DB_PASSWORD}']
    """
    lines = []
    waiting: list[tuple[tuple[str, ...], object]] = [((), data)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Mapping):
            inner = [((*path, str(key)), part) for key, part in value.items()]
            waiting += reversed(inner)
        elif path and type(value) is str and shown(path[-1], value, patterns) != value:
            variable = re.sub(r"\W", "_", "_".join(path)).upper()
            lines.append(f"{'.'.join(path)}: ${{oc.env:{variable}}}")
    return lines


def remember_secrets(values: Iterable[str]) -> None:
    """Let `without_known_secrets` mask these from now on."""
    _known.update(value for value in values if len(value) >= _SHORTEST and "${" not in value)


def without_known_secrets(text: str, environ: Mapping[str, str] | None = None) -> str:
    """A text without passwords in URIs, and without the secrets that this process has met.

    Args:
        text: A message, a traceback or a line of a log.
        environ: The environment, whose secrets count as well; that of this process by default.
    """
    environ = os.environ if environ is None else environ
    values = _known | {
        value
        for name, value in environ.items()
        if len(value) >= 2 * _SHORTEST and is_secret_variable(name)
    }
    for value in sorted(values, key=len, reverse=True):
        for spelling in _spellings(value):
            if spelling in text:
                edges = ("", "") if len(spelling) >= _LONG else (r"(?<!\w)", r"(?!\w)")
                text = re.sub(edges[0] + re.escape(spelling) + edges[1], MASK, text)
    return without_secrets(text)


@lru_cache(maxsize=256)
def _spellings(value: str) -> tuple[str, ...]:
    """A value as it is, and as programs print it."""
    escaped = (json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe=""), quote(value))
    return tuple(dict.fromkeys((value, *escaped)))
