"""Resolvers that configurations may use: `expkit.name`, `expkit.experiment`, `expkit.clean`."""

import os
import sys
from pathlib import Path
from typing import Any

from .._composing.internals import register_resolver


def register_resolvers() -> None:
    """Make the resolvers known to OmegaConf; may be called repeatedly."""
    # Module-level functions, since launchers pickle the table of resolvers.
    register_resolver("expkit.name", resolve_name, replace=True)
    register_resolver("expkit.experiment", resolve_experiment, replace=True)
    register_resolver("expkit.clean", resolve_clean, replace=True)


def resolve_name(*, _root_: Any) -> str:
    """The default name of a run: the values of its swept keys joined by `_`.

    A configuration composed without Hydra's node, as in a notebook, does not say what is swept: its
    name is made of the hash of what is written in it.
    """
    from .identity import hash_as_written
    from .names import NOTHING_SWEPT, default_name

    hydra_node = _hydra_node(_root_)
    if hydra_node is None:
        return f"{NOTHING_SWEPT}_{hash_as_written(_root_)[:8]}"
    return default_name(_root_, hydra_node).plain


def resolve_experiment(*, _root_: Any) -> str:
    """The default name of an experiment: that of the script or the notebook."""
    hydra_node = _hydra_node(_root_)
    return _program_name() if hydra_node is None else str(hydra_node.job.name)


def _hydra_node(root: Any) -> Any:
    """Hydra's node, of the configuration or of the job; None outside a Hydra app."""
    from hydra.core.hydra_config import HydraConfig

    node = root.get("hydra") if hasattr(root, "get") else None
    return HydraConfig.get() if node is None and HydraConfig.initialized() else node


def _program_name() -> str:
    """The script's or the notebook's name, `notebook` where nothing tells it."""
    from .names import clean

    main = sys.modules["__main__"]
    session = os.environ.get("JPY_SESSION_NAME", "")  # what Jupyter calls it
    path = Path(
        getattr(main, "__file__", None)
        or getattr(main, "__vsc_ipynb_file__", None)
        or (session if session.endswith(".ipynb") else "notebook")
    )
    return clean(path.parent.name if path.stem == "__main__" else path.stem)


def resolve_clean(text: object) -> str:
    """The text as one folder's name."""
    from .names import clean

    return clean(text)
