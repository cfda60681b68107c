"""Files of the user's that hide one of expkit's, or of what it stands on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import yaml

from .._composing.nodes import node_at
from .._composing.plain_data import plain_written
from .findings import REFUSED, WARNING, Finding
from .places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

# What conf/ of our packages has, and what our plugins store.
_CONFIGS = (
    "expkit", "hydra/sweeper/expkit", "hydra/launcher/expkit", "hydra/launcher/expkit_slurm",
    "hydra/job_logging/expkit",
)  # fmt: skip
# What a sweep imports; a file of that name beside the script comes first.
_MODULES = (
    "expkit", "expkit_bookkeeping", "expkit_filter", "expkit_hydra", "expkit_mlflow",
    "expkit_plotting", "expkit_registry", "expkit_seed", "expkit_slurm", "expkit_timer", "hydra",
    "mlflow", "omegaconf", "rich", "submitit", "torch", "yaml",
)  # fmt: skip


def hidden_configs(places: Places) -> Iterator[Finding]:
    """Configuration files of the user's that stand in the place of ours."""
    from .._console.command_lines import short_path

    for name in _CONFIGS:
        file = places.file(name)
        if file is not None:
            shown = short_path(file)
            yield Finding(
                WARNING,
                "shadowed",
                f"{shown} takes the place of expkit's own configuration {name}. Rename it, and "
                "name it so in the defaults list.",
                shown,
            )


def lost_values(config: DictConfig, places: Places) -> Iterator[Finding]:
    """Values of the primary configuration over which those of expkit win.

    Args:
        config: The configuration of the sweep.
        places: Where keys are set.
    """
    text = resources.files("expkit_hydra").joinpath("conf/expkit.yaml").read_text("utf-8")
    ours = dict(_leaves(yaml.safe_load(text)))
    for key, value in _leaves(places.primary()):
        node = node_at(config, key)
        is_folder = key.startswith(("hydra.run.", "hydra.sweep."))  # expkit decides them anyway
        if key in ours and value != ours[key] and node is not None and not is_folder:
            used = plain_written(node)
            if used == ours[key]:
                yield Finding(
                    WARNING,
                    "shadowed",
                    f"{key}: expkit's own value ({used}) wins over yours ({value}), because _self_ "
                    "stands before expkit in the defaults list. Put expkit before _self_.",
                    *places.of(key),
                )


def _leaves(data: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, data


def hidden_modules(folder: Path) -> Iterator[Finding]:
    """Modules beside the script that Python finds before the packages of the same name.

    Args:
        folder: Where Python looks first: that of the script.
    """
    from .._console.command_lines import short_path

    for name in _MODULES:
        package = folder / name / "__init__.py"
        for file in (folder / f"{name}.py", package):
            if file.is_file() and not (file == package and _is_imported_from(package, name)):
                shown = short_path(file)
                yield Finding(
                    REFUSED,
                    "shadowed",
                    f"{shown} hides the package {name}, which a sweep may import. Rename it.",
                    shown,
                )
    plugins = folder / "hydra_plugins" / "__init__.py"
    if plugins.is_file():
        shown = short_path(plugins)
        yield Finding(
            REFUSED,
            "shadowed",
            f"{shown} hides the plugins of all installed packages, expkit's sweeper and launchers "
            "among them. Delete this file: hydra_plugins is a namespace package.",
            shown,
        )


def _is_imported_from(package: Path, name: str) -> bool:
    """Whether it is the package itself, in a checkout of it."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and package.samefile(file)
