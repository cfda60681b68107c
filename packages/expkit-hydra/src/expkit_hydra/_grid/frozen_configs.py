"""The configurations of a grid as files: one base per choice of groups, and one line per run.

A line is found by the byte at which it begins. A run's line names its base, the nodes that the
run's own overrides put there, and its overrides. So a run takes little space whatever its
configuration is, and can be read without reading the others.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast
from weakref import WeakKeyDictionary

from expkit_bookkeeping.launching import (
    MAX_BYTES,
    SECRET_KEYS,
    UnreadableFileError,
    open_lines,
    override_secrets,
    parse_json,
    read_json,
    secret_values,
)

from .._composing.base_config import NodePatch, put
from .._composing.composer import Composition
from .._composing.nodes import container
from .._composing.run_location import RunLocation, settle
from .node_records import NodeDecoder, NodeEncoder, Types
from .secrets import SECRETS, Vault, secret_nodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

SCHEMA = 1  # of a line, which has none yet
PACKAGE = "expkit-hydra"
_OFFSET = struct.Struct("<Q")
OFFSET_BYTES = _OFFSET.size
_NONE = 2**64 - 1


class FrozenConfigs:
    """The configurations of a grid, as they are written.

    Attributes:
        lines: The lines of the file, each with its line break.
        types: Classes of the configurations, by name: no import finds those of a `__main__`.
        vault: The secrets in them, to which the lines refer by number.

    Args:
        patterns: Which keys are secret.
    """

    def __init__(self, patterns: Sequence[str] = SECRET_KEYS) -> None:
        self.lines: list[str] = []
        self.types: Types = {}
        self.vault: Vault = Vault(patterns)
        self._size = 0
        self._numbers: dict[str, int] = {}
        self._bases: dict[tuple[str, ...], int] = {}
        self._runs: dict[int, int] = {}
        self._patches: WeakKeyDictionary[NodePatch, str] = WeakKeyDictionary()
        self._encoder = NodeEncoder(self._keep, self.types, self.vault.number)

    def add(self, index: int, composition: Composition, location: RunLocation | None) -> None:
        """Store a run's configuration as it is: nothing is resolved.

        Args:
            index: The run's number.
            composition: The configuration.
            location: Where the run's folder is; None leaves it to Hydra's keys.

        Raises:
            TypeError: If it holds what JSON cannot.
        """
        shared = composition.base
        for text in composition.task_overrides:
            self.vault.learn(override_secrets(text, self.vault.patterns))
        base = self._bases.get(shared.overrides)
        if base is None:
            for secret in secret_nodes(shared.config, self.vault.patterns):
                key, text = secret.path[-1], secret.text
                self.vault.learn(secret_values({key: text}, self.vault.patterns))
            base = self._bases[shared.overrides] = self._encoder.store(shared.config)
        values = ",".join([self._text_of(patch) for patch in composition.patches])
        # None: Hydra has listed them itself.
        listed = None
        if not composition.is_whole:
            numbers = [(text, self.vault.number(None, text)) for text in composition.task_overrides]
            listed = [text if number is None else {"secret": number} for text, number in numbers]
        overrides = json.dumps(listed)
        run_name, pinned = (None, ()) if location is None else (location.run_name, location.pinned)
        self._runs[index] = self._append(
            f'{{"run":{index},"base":{base},"values":{{{values}}},"overrides":{overrides},'
            f'"run_name":{json.dumps(run_name)},"pinned":{json.dumps(pinned)}}}'
        )

    def index(self, count: int) -> bytes:
        """Where the lines of the runs below `count` begin; see `pack_offsets`."""
        return pack_offsets([self._runs.get(index) for index in range(count)])

    def _text_of(self, patch: NodePatch) -> str:
        text = self._patches.get(patch)
        if text is None:
            child = json.dumps(
                self._encoder.child(patch.node), separators=(",", ":"), allow_nan=False
            )
            text = self._patches[patch] = f"{json.dumps('.'.join(patch.path))}:{child}"
        return text

    def _keep(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = self._append(text)
        return number

    def _append(self, text: str) -> int:
        start = self._size
        self.lines.append(f"{text}\n")
        self._size += len(text) + 1  # json.dumps gives ASCII
        return start


class FrozenReader:
    """Reads single configurations of a grid's files.

    Args:
        configs: The lines.
        index: Where they begin.
        types: Classes by name, beside those that can be imported.
    """

    def __init__(self, configs: Path, index: Path, types: Types | None = None) -> None:
        self._configs = configs
        self._index = index
        self._types: Types = {} if types is None else types
        self._records: dict[int, dict[str, Any]] = {}  # of the bases, which runs share
        # By base: whether its launcher's node holds no reference.
        self._constant: dict[int, bool] = {}
        self._secrets: list[str] | None = None  # read when a line first refers to one

    def config(self, index: int) -> DictConfig | None:
        """A run's configuration as Hydra composed it, new at each call; None if it has none.

        Raises:
            LookupError: If a class of a structured configuration cannot be imported.
            ValueError: If the line is damaged, or a newer version wrote it.
        """
        try:
            return self._config(index)
        except (
            *(KeyError, IndexError, TypeError, AttributeError, AssertionError),
            *(RecursionError, OverflowError),
        ) as error:
            raise UnreadableFileError(
                f"{self._configs} is damaged: the configuration of run {index} cannot be made of "
                f"it ({type(error).__name__}: {error!s:.200})."
            ) from error

    def _config(self, index: int) -> DictConfig | None:
        start = read_offset(self._index, index)
        if start is None:
            return None
        with open_lines(self._configs) as lines:

            def read(number: int) -> dict[str, Any]:
                return self._entry(line_at(lines, number))

            def record(number: int) -> dict[str, Any]:
                if number not in self._records:
                    self._records[number] = read(number)
                return self._records[number]

            decoder = NodeDecoder(record, self._types, self._secret)
            line = read(start)
            if line["run"] != index:
                raise UnreadableFileError(
                    f"{self._index} is damaged: it leads to run {line['run']!r:.20} for {index}."
                )
            config = cast("DictConfig", decoder.load(line["base"], None))
            patches = []
            for key, child in line["values"].items():
                path = tuple(key.split("."))
                parent = container(config, path[:-1])
                assert parent is not None
                patches.append(NodePatch(path, decoder.load_child(child, parent, path[-1])))
        put(config, patches)
        pinned = tuple((key, value) for key, value in line["pinned"])
        overrides = line["overrides"] and [
            self._secret(text["secret"]) if isinstance(text, dict) else text
            for text in line["overrides"]
        ]
        if line["run_name"] is not None:
            settle(config, RunLocation(line["run_name"], pinned), overrides)
        return config

    def _secret(self, number: int) -> str:
        """The text that lies in secrets.json.

        Raises:
            ValueError: If that file cannot be read; the text says why and what to do.
        """
        if self._secrets is None:
            path = self._configs.with_name(SECRETS)
            try:
                content = cast("dict[str, Any]", read_json(path, schema=SCHEMA, package=PACKAGE))
                self._secrets = list(content["secrets"])
            except (OSError, KeyError, TypeError) as error:
                raise ValueError(
                    f"The passwords and tokens of this grid lie in {path}, which only its owner "
                    f"can read ({error}). Start the grid again, or let ${{oc.env:…}} give them."
                ) from error
        return self._secrets[number]

    def _entry(self, line: bytes) -> dict[str, Any]:
        content = parse_json(line, self._configs, schema=SCHEMA, package="expkit-hydra")
        return cast("dict[str, Any]", content)

    def launcher_key(self, index: int) -> object:
        """Equal for runs whose `hydra.launcher` nodes cannot differ; None if one must be read.

        Raises:
            LookupError: As `config`.
        """
        from omegaconf import OmegaConf

        start = read_offset(self._index, index)
        if start is None:
            return None
        with open_lines(self._configs) as lines:
            line = self._entry(line_at(lines, start))
        try:
            base, values = int(line["base"]), dict(line["values"])
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableFileError(f"{self._configs} is damaged: {error!r:.200}.") from error
        own = {key: node for key, node in values.items() if key.startswith("hydra.")}
        if base not in self._constant:
            config = self.config(index)
            assert config is not None
            node = OmegaConf.select(config, "hydra.launcher", throw_on_missing=False)
            self._constant[base] = "${" not in str(
                OmegaConf.to_container(node, resolve=False) if node is not None else node
            )
        text = json.dumps(own, sort_keys=True)
        return (base, text) if self._constant[base] and "${" not in text else None


def pack_offsets(starts: Iterable[int | None]) -> bytes:
    """The bytes at which lines begin, eight bytes each, little-endian; all ones for None."""
    return b"".join([_OFFSET.pack(_NONE if start is None else start) for start in starts])


def line_at(lines: BinaryIO, start: int) -> bytes:
    """The line that begins at a byte; nothing beyond the file's end."""
    if start >= os.fstat(lines.fileno()).st_size:  # and what is far beyond cannot be sought
        return b""
    lines.seek(start)
    return lines.readline(MAX_BYTES + 1)


def count_offsets(index: Path) -> int:
    """Of how many runs an index says where their lines begin."""
    with open_lines(index) as file:
        return os.fstat(file.fileno()).st_size // OFFSET_BYTES


def read_offset(index: Path, number: int) -> int | None:
    """Where a run's line begins, in bytes; None if it has none."""
    if number < 0:
        return None
    with open_lines(index) as file:
        file.seek(number * _OFFSET.size)
        entry = file.read(_OFFSET.size)
    start = _OFFSET.unpack(entry)[0] if len(entry) == _OFFSET.size else _NONE
    return None if start == _NONE else int(start)
