"""All private parts of Hydra and OmegaConf that expkit uses, and where their versions differ.

They were read and tested in hydra-core 1.3 with OmegaConf 2.3, and 1.4 with 2.4.

No other module of this package reaches for a name of theirs that begins with an underscore, or for
`hydra._internal`. By what they are for:

* Nodes as they are, nothing resolved, no flag asked for, no copy made: public access to a node
  resolves references and walks up its parents for flags, which would be most of the time that a
  grid takes. (`is_reference` … `set_content`)
* Nodes from a grid's files: built without validating or converting a value again, as unpickling
  builds them. (`metadata_of`, `metadata_classes`, `blank_box`, `value_node`)
* The table of resolvers, which has no public way to restore a resolver, and the call that fills
  it, which has changed its name. (`resolvers`, `register_resolver`)
* One override applied to a configuration, with Hydra's conversions and checks, and overrides of
  integers that need no parsing. (`apply_override`, `raw_override_value`, `with_integer`)
* A run whose launcher's node is its own, which Hydra 1.4 refuses. (`load_run_config`)
* The files that Hydra's loader reads, kept for the length of a grid. (`repository_of`)
* What Hydra's own `run_job` uses, for a run without its copies, and its error unraised.
  (`is_read_version`, `flush_loggers`, `yaml_dumper`, `raw_return_value`)
* What passes through Hydra's `run_job`, of which callbacks are told nothing. (`watch_jobs`)
* Hydra's trust in a callback, which it gives to plugins only. (`trust_callback`)
* Hydra itself in a process that `hydra.main` has not started. (`initialize_hydra`, `make_context`,
  `version_base`, `import_logging_config`, `current_app`, `replaced_app`, `replaced_multirun`)

Importing this module imports neither: each function does so itself. The innermost loops of a grid
pass through here, so these are plain functions around one access each (about 20 ns).
"""

from __future__ import annotations

import functools
import re
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
    from hydra.types import HydraContext
    from omegaconf import DictConfig
    from omegaconf.base import Node

RUN_CALLBACK = "expkit_hydra.RunCallback"  # its `_target_` in conf/expkit.yaml

Release = tuple[int, int]

HYDRA_1_3, HYDRA_1_4 = (1, 3), (1, 4)
OMEGACONF_2_3, OMEGACONF_2_4 = (2, 3), (2, 4)
# Those whose private parts were read and tested together.
_TESTED = frozenset({(HYDRA_1_3, OMEGACONF_2_3), (HYDRA_1_4, OMEGACONF_2_4)})


def release(version: str) -> Release:
    """Major and minor number; a release candidate counts as what it is a candidate for.

    Examples:
        >>> release("1.3.8"), release("1.4.0rc3"), release("1.10.0.dev2")
        ((1, 3), (1, 4), (1, 10))
    """
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def hydra_release() -> Release:
    """The release of the installed Hydra."""
    import hydra

    return release(hydra.__version__)


def omegaconf_release() -> Release:
    """The release of the installed OmegaConf."""
    import omegaconf

    return release(omegaconf.__version__)


def are_tested_versions() -> bool:
    """Whether the installed Hydra and OmegaConf are those whose private parts were tested."""
    return (hydra_release(), omegaconf_release()) in _TESTED


def is_read_version() -> bool:
    """Whether the installed Hydra's `run_job` does what the one that was read does."""
    from hydra import version

    return hydra_release() == HYDRA_1_3 and version.base_at_least("1.2")


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

    None also for a node that is no container. Of a union, it is that of the node that it holds.
    """
    content: Any = node.__dict__.get("_content")
    return content_of(content) if hasattr(content, "_metadata") else content


def in_union(node: Node) -> Any:
    """The node of one of its types that a union holds; any other node itself."""
    content = node.__dict__.get("_content")
    return content if hasattr(content, "_metadata") else node


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


def container_classes() -> dict[str, type[Node]]:
    """The classes of containers, by the names that records of nodes have for them."""
    import omegaconf

    names = {"dict": "DictConfig", "list": "ListConfig", "tuple": "TupleConfig"}
    classes = {kind: getattr(omegaconf, name, None) for kind, name in names.items()}
    return {kind: cls for kind, cls in classes.items() if cls is not None}


def node_class(name: str) -> type[Node]:
    """The class of nodes of this name.

    Raises:
        LookupError: If OmegaConf has none.
    """
    from omegaconf import base, nodes

    cls = getattr(nodes, name, None) or getattr(base, name, None)
    if not (isinstance(cls, type) and issubclass(cls, base.Node)):
        raise LookupError(f"The installed OmegaConf has no node {name!r}.")
    return cls


def metadata_classes() -> tuple[type, type]:
    """The classes of the metadata of containers, and of other nodes."""
    from omegaconf.base import ContainerMetadata, Metadata

    return ContainerMetadata, Metadata


def enum_type_of(node: Node) -> Any:
    """The class of an enum node; None for any other node."""
    return node.__dict__.get("enum_type")


def blank_box(kind: type[Node], metadata: Any, parent: Node | None) -> Node:
    """A container or union, empty until `set_content`, made as unpickling makes it."""
    node = kind.__new__(kind)
    ref_type = metadata.ref_type
    node.__setstate__({"_metadata": metadata, "_parent": parent, "_content": None})
    metadata.ref_type = ref_type  # unpickling writes `dict[str, int]` as `Dict[str, int]`
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
    if kind.__name__ == "LiteralNode":
        node.__dict__["ref_type"] = metadata_of(node).ref_type
    return node


def escaped_missing(text: str) -> str:
    r"""The text that `\???` stands for, which is not missing; plain text before OmegaConf 2.4."""
    if omegaconf_release() < OMEGACONF_2_4:
        return text
    escaped: str = import_module("omegaconf._missing")._EscapedMissing(text)
    return escaped


def is_escaped_missing(value: object) -> bool:
    """Whether a value is text that `escaped_missing` returns."""
    return type(value).__name__ == "_EscapedMissing"


def resolvers() -> dict[str, Any]:
    """OmegaConf's table of resolvers itself, by name."""
    from omegaconf.basecontainer import BaseContainer

    table: dict[str, Any] = BaseContainer._resolvers
    return table


def register_resolver(
    name: str, resolver: Callable[..., Any], *, replace: bool = False, use_cache: bool = False
) -> None:
    """Make a resolver known to OmegaConf, which has moved the call to another name in 2.4."""
    from omegaconf import OmegaConf

    # In 2.3 the newer name is that of a deprecated call with another meaning.
    is_renamed = omegaconf_release() >= OMEGACONF_2_4
    register: Any = getattr(OmegaConf, f"register_{'' if is_renamed else 'new_'}resolver")
    register(name, resolver, replace=replace, use_cache=use_cache)


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


def load_run_config(
    config_loader: ConfigLoader, master: DictConfig, overrides: Sequence[str]
) -> DictConfig:
    """Compose a run as Hydra composes the jobs of a sweep, with a launcher's node of its own.

    Hydra 1.4 refuses a job whose launcher differs from the sweep's in anything. Here launchers may
    read the resources of each run from its own node, and what has no effect is refused by name.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    name = "_ensure_sweep_config_controller_unchanged"
    check = vars(ConfigLoaderImpl).get(name)
    if check is None:
        return config_loader.load_sweep_config(master, list(overrides))
    setattr(ConfigLoaderImpl, name, staticmethod(lambda **_: None))
    try:
        return config_loader.load_sweep_config(master, list(overrides))
    finally:
        setattr(ConfigLoaderImpl, name, check)


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


def make_context(config_loader: ConfigLoader, config: DictConfig | None) -> HydraContext:
    """What Hydra gives to a launcher, with the callbacks of a configuration, or none.

    What the app trusts holds in other processes, too: the `execution_whitelist` of `hydra.main`.
    """
    from hydra._internal.callbacks import Callbacks
    from hydra.types import HydraContext

    trust_callback()
    context = HydraContext(config_loader=config_loader, callbacks=Callbacks(config))
    if hydra_release() >= HYDRA_1_4:
        policy: Any = import_module("hydra._internal.execution_policy")
        context.execution_whitelist = policy._get_active_execution_whitelist()  # type: ignore[attr-defined]
    return context


def trust_callback() -> None:
    """Let Hydra 1.4 make our callback as it makes plugins.

    Hydra trusts its plugins, which are installed. For a callback it asks the app, whose author
    cannot know of ours: it warns or, where the app lists what it trusts, refuses.
    """
    if hydra_release() < HYDRA_1_4 or not are_tested_versions():
        return
    from hydra._internal.callbacks import Callbacks
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    make: Any = Callbacks.__init__
    if hasattr(make, "trusts_installed"):
        return

    @functools.wraps(make)
    def make_trusted(self: Callbacks, config: DictConfig | None = None) -> None:
        node: Any = None if config is None else OmegaConf.select(config, "hydra.callbacks")
        content = None if node is None else content_of(node)
        if not isinstance(content, dict):
            make(self, config)
            return
        trusted = {
            key: index
            for index, (key, callback) in enumerate(content.items())
            if isinstance(content_of(callback), dict) and callback.get("_target_") == RUN_CALLBACK
        }
        others = {key: child for key, child in content.items() if key not in trusted}
        set_content(node, others)
        try:
            make(self, config)
        finally:
            set_content(node, content)
        options: dict[str, Any] = {"_execution_whitelist_": RUN_CALLBACK}
        for key, index in trusted.items():
            self.callbacks.insert(index, instantiate(node[key], **options))

    make_trusted.trusts_installed = True  # type: ignore[attr-defined]
    Callbacks.__init__ = make_trusted  # type: ignore[method-assign]


def version_base() -> str | None:
    """The argument `version_base` of `hydra.main` as text; None where nobody has set it."""
    from hydra import version

    base: Any = version.getbase()
    if isinstance(base, str):
        return base
    # A sentinel if nobody has set it.
    return f"{base.major}.{base.minor}" if hasattr(base, "major") else None


def set_version_base(text: str | None) -> None:
    """Set it in a process that `hydra.main` has not started."""
    if text is None:
        return
    version: Any = import_module("hydra.version")
    if hydra_release() < HYDRA_1_4:
        version.setbase(text)
    else:  # which only records it, and warns of the argument
        version.VersionBase.instance().setbase(text)


def changes_directory_by_default() -> bool:
    """Whether a job whose `hydra.job.chdir` is None runs in its own folder."""
    from hydra import version

    return hydra_release() < HYDRA_1_4 and not version.base_at_least("1.2")


def computes_override_dirname() -> bool:
    """Whether `hydra.job.override_dirname` is a resolver's answer, not a text put there."""
    return hydra_release() >= HYDRA_1_4


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
