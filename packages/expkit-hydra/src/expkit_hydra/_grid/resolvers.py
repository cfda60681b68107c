"""Resolvers that configurations may use: `${expkit.name:}` and `${expkit.clean:TEXT}`."""

from typing import Any, cast

from .._composing.internals import register_resolver


def register_resolvers() -> None:
    """Make the resolvers known to OmegaConf; may be called repeatedly."""
    # Module-level functions, since launchers pickle the table of resolvers.
    register_resolver("expkit.name", resolve_name, replace=True)
    register_resolver("expkit.clean", resolve_clean, replace=True)


def resolve_name(*, _root_: Any) -> str:
    """The default name of a run: the values of its swept keys joined by `_`."""
    from hydra.core.hydra_config import HydraConfig

    from .names import default_name

    hydra_node = _root_.get("hydra") if hasattr(_root_, "get") else None
    if hydra_node is None:
        if not HydraConfig.initialized():
            raise ValueError(
                "The default run_name is made of the swept keys, which only Hydra's own node "
                "knows. Outside a Hydra app give a name, e.g. the override run_name=test."
            )
        hydra_node = cast(Any, HydraConfig.get())
    return default_name(_root_, hydra_node)


def resolve_clean(text: object) -> str:
    """The text as one folder's name."""
    from .names import clean

    return clean(text)
