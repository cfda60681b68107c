"""The secrets of a configuration of nodes: hidden while it is read for what others may see."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit_bookkeeping.launching import (
    MASK,
    is_secret,
    override_secrets,
    public_override,
    remember_secrets,
    secret_patterns,
    secret_values,
    shown,
    uri_without_secrets,
)

from .._composing.internals import (
    content_of,
    in_union,
    is_reference,
    raw_value,
    set_raw_value,
)
from .._composing.overrides import KeyPath
from .._composing.plain_data import plain_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

SECRETS = "secrets.json"
TRACKING_URI = "EXPKIT_TRACKING_URI"
_URI_OF_PARTS = re.compile(r"://\S*\$\{|\}\S*://")  # whose password may be elsewhere


@dataclass(frozen=True)
class SecretNode:
    """A leaf that files must not show; `text` is as it is written, `public` what they show."""

    path: tuple[object, ...]
    node: Any
    text: str
    public: str


def patterns_of(config: DictConfig) -> tuple[str, ...]:
    """What `expkit.secrets` says.

    Raises:
        GridError: If it cannot be read.
    """
    settings = content_of(config).get("expkit")
    node = content_of(settings) if settings is not None else None
    plain = plain_value(node.get("secrets")) if isinstance(node, dict) else None
    try:
        return secret_patterns({"expkit": {"secrets": plain}})
    except ValueError as error:
        from .._composing.errors import GridError

        raise GridError(str(error)) from None


def secret_nodes(config: DictConfig, patterns: Sequence[str]) -> list[SecretNode]:
    """The leaves that hold secrets, Hydra's node included; also texts that may become a URI."""
    nodes = []
    waiting: list[tuple[tuple[object, ...], Any]] = [((), config)]
    while waiting:
        path, node = waiting.pop()
        node = in_union(node)
        content = content_of(node)
        if isinstance(content, dict):
            waiting += [((*path, key), child) for key, child in content.items()]
        elif isinstance(content, list):
            waiting += [((*path, index), child) for index, child in enumerate(content)]
        else:
            text = raw_value(node) if content is None else content
            if type(text) is str and path and (":" in text or is_secret(path[-1], text, patterns)):
                public = shown(path[-1], text, patterns)
                whole = is_secret(path[-1], text, patterns)
                if whole or public != text or (_URI_OF_PARTS.search(text) and is_reference(node)):
                    nodes.append(SecretNode(path, node, text, public))
    return nodes


@contextmanager
def veiled(nodes: Iterable[SecretNode], patterns: Sequence[str]) -> Iterator[None]:
    """Let these nodes, and what refers to them, show no secret for the length of a block."""
    changed = []
    try:
        for secret in nodes:
            if content_of(secret.node) is not None:
                continue  # a reference to a container
            whole = is_secret(secret.path[-1], secret.text, patterns)
            if whole or secret.public != secret.text:
                changed.append((secret.node, secret.text))
                set_raw_value(secret.node, MASK if whole else secret.public)
        yield
    finally:
        for node, text in changed:
            set_raw_value(node, text)


def nodes_at(
    config: DictConfig, paths: Iterable[tuple[object, ...]], patterns: Sequence[str]
) -> list[SecretNode]:
    """The secrets under these paths, or below them."""
    nodes = []
    for path in paths:
        node: Any = config
        for key in path:
            content = content_of(node)
            node = None
            if isinstance(content, dict):
                node = content.get(key)
            elif isinstance(content, list) and isinstance(key, int) and key < len(content):
                node = content[key]
            if node is None:
                break
        if node is None:
            continue
        if isinstance(content_of(node), dict | list):
            below = secret_nodes(node, patterns)
            nodes += [SecretNode((*path, *each.path), each.node, each.text, each.public)
                      for each in below]  # fmt: skip
            continue
        node = in_union(node)
        text = raw_value(node)
        if type(text) is str:
            nodes.append(SecretNode(path, node, text, shown(path[-1], text, patterns)))
    return nodes


def public_places(data: Any, nodes: Iterable[SecretNode], patterns: Sequence[str]) -> None:
    """Put the text of secret references back into data that was read under the veil."""
    for secret in nodes:
        if secret.path[0] == "hydra" or not is_secret(secret.path[-1], secret.text, patterns):
            continue
        place: Any = data
        with suppress(KeyError, IndexError, TypeError):
            for key in secret.path[:-1]:
                place = place[key if isinstance(key, int) else str(key)]
            place[secret.path[-1]] = secret.public


def counted_without_secrets(counted: object, patterns: Sequence[str]) -> Any:
    """What counts for a hash, without texts under secret keys and without passwords in URIs."""
    if isinstance(counted, Mapping):
        return {
            key: counted_without_secrets(value, patterns)
            for key, value in counted.items()
            if not is_secret(key, value, patterns)
            and not (value == MASK and is_secret(key, "text", patterns))
        }
    if isinstance(counted, list):
        return [counted_without_secrets(value, patterns) for value in counted]
    if isinstance(counted, str) and "://" in counted:
        return uri_without_secrets(counted)
    return counted


def remember_secrets_of(config: DictConfig, overrides: Iterable[str] = ()) -> None:
    """Let no message of this process show the secrets of a configuration."""
    patterns = patterns_of(config)
    values: set[str] = set()
    for secret in secret_nodes(config, patterns):
        values |= secret_values({secret.path[-1]: secret.text}, patterns)
        if is_reference(secret.node) and is_secret(secret.path[-1], secret.text, patterns):
            resolved = plain_value(secret.node)
            if isinstance(resolved, str):
                values.add(resolved)
    for text in overrides:
        values |= override_secrets(text, patterns)
    remember_secrets(values)


def is_secret_path(path: KeyPath, plain: object, patterns: Sequence[str]) -> bool:
    """Whether a run's own value holds a secret."""
    if type(plain) is str:
        return shown(path[-1], plain, patterns) != plain
    return isinstance(plain, dict | list) and bool(secret_values({path[-1]: plain}, patterns))


@contextmanager
def tracking_uri_handed_on(config: DictConfig) -> Iterator[None]:
    """Let `sync` and jobs that follow know the configuration's server, with its credentials.

    Files of the results show it without, and a results folder names no server for credentials.
    """
    from hydra.core.utils import env_override
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    uri = None
    with suppress(OmegaConfBaseException):
        uri = OmegaConf.select(config, "mlflow.tracking_uri")
    before = os.environ.pop(TRACKING_URI, None)
    try:
        with env_override({TRACKING_URI: str(uri)} if uri else {}):
            yield
    finally:
        if before is not None:
            os.environ[TRACKING_URI] = before


class Vault:
    """The secrets of a grid's frozen configurations, which lie in a file of their own.

    Attributes:
        texts: The texts that hold secrets, in the order in which the files refer to them.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = patterns
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self._values: set[str] = set()

    def learn(self, values: Iterable[str]) -> None:
        """Let also texts that hold one of these lie there, such as a list of overrides."""
        self._values.update(values)

    def number(self, key: object, text: str) -> int | None:
        """The number of a text that files must not show; None for one that they may."""
        is_hidden = (
            shown(key, text, self.patterns) != text
            or ("=" in text and public_override(text, self.patterns) != text)
            or any(value in text for value in self._values)
        )
        if not is_hidden:
            return None
        if text not in self._numbers:
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return self._numbers[text]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
