"""All private parts of Hydra and OmegaConf that expkit uses; read in hydra-core 1.3, omegaconf 2.3.

No other module of this package reaches for a name of theirs that begins with an underscore, or for
`hydra._internal`. By what they are for:

* Nodes as they are, nothing resolved, no flag asked for, no copy made: public access to a node
  resolves references and walks up its parents for flags, which would be most of the time that a
  grid takes. (`is_reference` … `set_content`)
* Nodes from a grid's files: built without validating or converting a value again, as unpickling
  builds them. (`metadata_of`, `metadata_classes`, `blank_box`, `value_node`)
* The table of resolvers, which has no public way to restore a resolver. (`resolvers`)
* One override applied to a configuration, with Hydra's conversions and checks, and overrides of
  integers that need no parsing. (`apply_override`, `raw_override_value`, `with_integer`)
* The files that Hydra's loader reads, kept for the length of a grid. (`repository_of`)
* What Hydra's own `run_job` uses, for a run without its copies, and its error unraised.
  (`is_read_version`, `flush_loggers`, `yaml_dumper`, `raw_return_value`)
* What passes through Hydra's `run_job`, of which callbacks are told nothing. (`watch_jobs`)
* Hydra itself in a process that `hydra.main` has not started. (`initialize_hydra`,
  `make_callbacks`, `import_logging_config`, `current_app`, `replaced_app`, `replaced_multirun`)

Importing this module imports neither: each function does so itself. The innermost loops of a grid
pass through here, so these are plain functions around one access each (about 20 ns).
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig
    from omegaconf.base import Node

READ_HYDRA = "1.3."  # the versions whose private parts were read and tested
READ_OMEGACONF = "2.3."


def are_tested_versions() -> bool:
    """Whether the installed Hydra and OmegaConf are those whose private parts were tested."""
    import hydra
    import omegaconf

    return hydra.__version__.startswith(READ_HYDRA) and omegaconf.__version__.startswith(
        READ_OMEGACONF
    )


def is_read_version() -> bool:
    """Whether the installed Hydra's `run_job` does what the one that was read does."""
    import hydra
    from hydra import version

    return hydra.__version__.startswith(READ_HYDRA) and version.base_at_least("1.2")


# Nodes


def is_node(value: object) -> bool:
    """Whether a value is a node; without importing OmegaConf, unlike isinstance."""
    return hasattr(value, "_metadata")


def is_reference(node: Node) -> bool:
    """Whether a node is a reference such as `${a.b}`, or text with one."""
    return node._is_interpolation()


def is_missing(node: Node) -> bool:
    """Whether a node is `???`."""
    return node._is_missing()


def raw_value(node: Node) -> Any:
    """What a node holds: the text of a reference as written."""
    return node._value()


def referent(node: Node) -> Node:
    """The node that a reference leads to.

    Raises:
        OmegaConfBaseException: If it leads nowhere.
    """
    return node._dereference_node()


def content_of(node: Node) -> Any:
    """What a container holds: nodes in a dict or list, or text if it is a reference, or None.

    None also for a node that is no container. A union holds a node of one of its types.
    """
    return node.__dict__.get("_content")


def set_content(node: Node, content: object) -> None:
    """Let a container or a union hold this."""
    node.__dict__["_content"] = content


def set_raw_value(node: Node, value: object) -> None:
    """Let a value node hold this, unconverted."""
    node.__dict__["_val"] = value


def child_node(config: DictConfig, key: str) -> Any:
    """The node under a key of a mapping, its reference as it is."""
    return config._get_node(key)


def parent_of(node: Node) -> Any:
    """The container that a node is in."""
    return node._get_parent()


def set_parent(node: Node, parent: Any) -> None:
    """Put a node below a container, for its references and flags."""
    node._set_parent(parent)


def key_of(node: Node) -> Any:
    """The key or index under which a node's parent holds it."""
    return node._key()


# Nodes from a grid's files


def metadata_of(node: Node) -> Any:
    """A node's types, flags and key, and a root's cache of its resolvers' answers."""
    return node._metadata


def metadata_classes() -> tuple[type, type]:
    """The classes of the metadata of containers, and of other nodes."""
    from omegaconf.base import ContainerMetadata, Metadata

    return ContainerMetadata, Metadata


def enum_type_of(node: Node) -> Any:
    """The class of an enum node; None for any other node."""
    return node.__dict__.get("enum_type")


def blank_box(kind: type[Node], metadata: object, parent: Node | None) -> Node:
    """A container or union, empty until `set_content`, made as unpickling makes it."""
    node = kind.__new__(kind)
    node.__setstate__({"_metadata": metadata, "_parent": parent, "_content": None})
    return node


def value_node(
    kind: type[Node],
    metadata: object,
    parent: Node | None,
    value: object,
    enum_type: object = None,
) -> Node:
    """A node of one value, made as unpickling makes it: not validated or converted again."""
    node = kind.__new__(kind)
    node.__setstate__({"_metadata": metadata, "_parent": parent, "_val": value})
    if enum_type is not None:
        node.__dict__["enum_type"] = enum_type
    return node


def resolvers() -> dict[str, Any]:
    """OmegaConf's table of resolvers itself, by name."""
    from omegaconf.basecontainer import BaseContainer

    table: dict[str, Any] = BaseContainer._resolvers
    return table


def parse_reference(text: str) -> None:
    """Parse text with references, which fills OmegaConf's cache; what is no reference passes."""
    from omegaconf.errors import GrammarParseError
    from omegaconf.grammar_parser import parse

    try:
        parse(text)
    except GrammarParseError:
        return


# Overrides and files of Hydra's configuration


def apply_override(override: Override, config: DictConfig) -> None:
    """Apply an override by Hydra's own function: its conversions, its checks of types."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    ConfigLoaderImpl._apply_overrides_to_config([override], config)


def raw_override_value(override: Override) -> object:
    """The value of a parsed override, its quotes kept."""
    return override._value


def with_integer(override: Override, value: int, text: str) -> Override:
    """The parsed override with another integer, as if this text had been parsed."""
    return replace(override, _value=value, input_line=text)


def repository_of(config_loader: ConfigLoader) -> Any:
    """Where Hydra's loader reads files; None if it is not Hydra's own loader."""
    return getattr(config_loader, "repository", None)


def set_repository(config_loader: ConfigLoader, repository: object) -> None:
    """Let Hydra's loader read files from here."""
    config_loader.repository = repository  # type: ignore[attr-defined]


# Running


def raw_return_value(result: JobReturn) -> Any:
    """What a job returned or, if it failed, its error, which `return_value` would raise."""
    return result._return_value


_watchers: weakref.WeakSet[JobWatcher] = weakref.WeakSet()
_preparations: set[Callable[[DictConfig], None]] = set()  # of the jobs of sweeps


class JobWatcher:
    """Is told of errors that pass through Hydra's `run_job`."""

    def job_escaped(self, error: BaseException) -> JobReturn | None:
        """A job has ended by this error; what the launcher gets for it, None for the error."""
        raise NotImplementedError


def watch_jobs(watcher: JobWatcher, prepare: Callable[[DictConfig], None]) -> None:
    """Tell a callback what Hydra does not: errors that pass through its `run_job`.

    `prepare` is given the configuration of each job of a sweep before Hydra writes or copies it.
    The errors are what the user's function raises besides exceptions (SystemExit, GeneratorExit, a
    cancelled task of asyncio), and Hydra's own, around the function. Launchers have the function
    under its name in their own modules.
    """
    from hydra.core import utils

    _watchers.add(watcher)
    _preparations.add(prepare)
    run_job = utils.run_job
    if hasattr(run_job, "is_watched"):
        return

    @functools.wraps(run_job)
    def watched(*args: Any, **kwargs: Any) -> JobReturn:
        try:
            if kwargs.get("job_dir_key") == "hydra.sweep.dir" and "config" in kwargs:
                for prepare_job in list(_preparations):
                    prepare_job(kwargs["config"])
            return run_job(*args, **kwargs)
        except BaseException as error:
            results = [one.job_escaped(error) for one in list(_watchers)]
            for result in results:
                if result is not None:
                    return result
            raise

    watched.is_watched = True  # type: ignore[attr-defined]
    for module in list(sys.modules.values()):
        # Without getattr, at which lazy modules import what nobody needs.
        names = getattr(module, "__dict__", {})
        if names.get("run_job") is run_job:
            names["run_job"] = watched


def flush_loggers() -> None:
    """Flush all handlers of logging, as Hydra does after a job."""
    from hydra.core.utils import _flush_loggers

    _flush_loggers()


def yaml_dumper() -> Any:
    """The class by which `OmegaConf.to_yaml` dumps."""
    from omegaconf._utils import get_omega_conf_dumper

    return get_omega_conf_dumper()


def import_logging_config() -> None:
    """Import what Hydra imports to configure a job's logging, before this process forks."""
    import_module("hydra._internal.logging_config")


def initialize_hydra(task_name: str, config_loader: ConfigLoader) -> None:
    """Set Hydra's global state in a process that `hydra.main` has not started."""
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()  # a fork has its parent's
    GlobalHydra.instance().initialize(Hydra(task_name, config_loader))


def make_config_loader(sources: Sequence[tuple[str, str]]) -> ConfigLoader:
    """Hydra's own loader for configuration sources, given as (provider, path)."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
    from hydra.core.plugins import Plugins

    Plugins.instance()
    search_path = ConfigSearchPathImpl()
    for provider, path in sources:
        search_path.append(provider, path)
    return ConfigLoaderImpl(search_path)


def make_callbacks(config: DictConfig | None) -> Any:
    """The callbacks of a configuration, or none."""
    from hydra._internal.callbacks import Callbacks

    return Callbacks(config)


def current_app() -> Any:
    """What `hydra.main` calls to run its app."""
    return import_module("hydra.main")._run_hydra


@contextmanager
def replaced_multirun(replacement: Callable[..., Any]) -> Iterator[None]:
    """Let Hydra call this in place of its method `multirun`, for the length of a block."""
    from hydra._internal.hydra import Hydra

    before = Hydra.multirun
    Hydra.multirun = replacement  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.multirun = before  # type: ignore[method-assign]


@contextmanager
def replaced_app(replacement: Callable[..., None]) -> Iterator[None]:
    """Let `hydra.main` call this instead of running its app, for the length of a block."""
    module: Any = import_module("hydra.main")
    before = module._run_hydra
    module._run_hydra = replacement
    try:
        yield
    finally:
        module._run_hydra = before
