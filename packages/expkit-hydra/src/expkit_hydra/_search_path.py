"""Where Hydra finds what this package brings."""

from __future__ import annotations

from ._composing.internals import trust_callback
from ._grid.resolvers import register_resolvers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_search_path import ConfigSearchPath


def prepare(search_path: ConfigSearchPath) -> None:
    """Make `defaults: [expkit]` and the resolvers known to an app, before it composes."""
    register_resolvers()
    trust_callback()
    # The name of the provider before which Hydra inserts --config-dir: so a user's file of the
    # same name wins.
    search_path.append("schema", "pkg://expkit_hydra.conf")
