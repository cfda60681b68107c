"""Where Hydra finds what this package brings."""

from ._resolvers import register_resolvers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_search_path import ConfigSearchPath


def prepare(search_path: "ConfigSearchPath") -> None:
    """Make `defaults: [expkit]` and the resolvers known to an app, before it composes."""
    register_resolvers()
    # Under the provider's name by which Hydra finds the place to insert --config-dir: so it
    # comes before ours, and a user's file of the same name wins.
    search_path.append("schema", "pkg://expkit_hydra.conf")
