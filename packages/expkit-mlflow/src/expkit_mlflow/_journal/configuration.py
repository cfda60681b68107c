"""Configurations: resolved, flat as parameters, and as YAML."""

import json
import sys
from collections.abc import Mapping

# Keys that say where and how a run is kept, not what it is.
IGNORED = frozenset(
    {
        "_filters",
        "experiment_id",
        "expkit",
        "hydra",
        "mlflow",
        "plotting",
        "results_dir",
        "run_name",
    }
)


def resolved(config: object) -> object:
    """A DictConfig as resolved dicts and lists; anything else unchanged."""
    omegaconf = sys.modules.get("omegaconf")  # imported if the value is one of its own
    if omegaconf is not None and omegaconf.OmegaConf.is_config(config):
        return omegaconf.OmegaConf.to_container(config, resolve=True)
    return config


def flatten(config: Mapping[str, object], *, prefix: str = "") -> dict[str, str]:
    """Nested keys joined by dots, lists as JSON, everything as text.

    >>> flatten({"model": {"name": "cnn", "sizes": [8, 16]}, "lr": 0.1, "seed": None})
    {'model.name': 'cnn', 'model.sizes': '[8, 16]', 'lr': '0.1', 'seed': 'None'}
    """
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, prefix=f"{name}."))
        elif isinstance(value, (list, tuple)):
            flat[name] = json.dumps(value, default=str, ensure_ascii=False)
        else:
            flat[name] = "{}" if isinstance(value, Mapping) else str(value)
    return flat


def yaml_text(config: Mapping[str, object]) -> str:
    """The configuration as YAML; values that YAML does not have become text."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_multi_representer(object, lambda dumper, value: dumper.represent_str(str(value)))
    return yaml.dump(config, Dumper=Dumper, sort_keys=False, allow_unicode=True)
