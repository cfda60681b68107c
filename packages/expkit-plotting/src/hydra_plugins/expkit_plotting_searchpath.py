"""Lets every Hydra application find the packaged styles as `plotting: Default`."""

# Hydra executes this module at every start, twice if it was imported before; an exception
# other than ImportError would kill every Hydra application in the environment.
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class ExpkitPlottingSearchPath(SearchPathPlugin):
    """Adds `expkit_plotting.conf` after everything that a user can add."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the packaged styles."""
        # Hydra inserts --config-dir before the element called "schema", which it appends after
        # all plugins: a user's Default.yaml would come after ours and be ignored. With a schema
        # element of our own, --config-dir goes before it. A second one does no harm.
        if all(element.provider != "schema" for element in search_path.get_path()):
            search_path.append("schema", "structured://")
        search_path.append("expkit-plotting", "pkg://expkit_plotting.conf")
