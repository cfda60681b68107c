"""Configurations: resolved, flat as parameters, and as YAML."""

import json
import logging
import re
import sys
from collections.abc import Mapping

logger = logging.getLogger(__name__)

# Both as in expkit-bookkeeping's `_files/yaml_files.py`; a test dumps with each.
_NUMBER = re.compile(
    r"^[-+]?(?:0[ox][0-9A-Fa-f_]+|\.?[0-9][0-9_:.]*(?:[eE][-+]?[0-9_]*)?|\.(?:inf|nan))$",
    re.IGNORECASE,
)
_LINE_END = re.compile("[\x85\u2028\u2029\ufeff]")
# Keys that say where and how a run is kept, not what it is: as in expkit-bookkeeping, a test says.
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

    Of two values under one name, such as those of `{"a.b": 1, "a": {"b": 2}}`, the first is kept.

    Examples:
        >>> flatten({"model": {"name": "cnn", "sizes": [8, 16]}, "lr": 0.1, "seed": None})
        {'model.name': 'cnn', 'model.sizes': '[8, 16]', 'lr': '0.1', 'seed': 'None'}
    """
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            texts = flatten(value, prefix=f"{name}.")
        elif isinstance(value, (list, tuple)):
            texts = {name: json.dumps(value, default=str, ensure_ascii=False)}
        else:
            texts = {name: "{}" if isinstance(value, Mapping) else str(value)}
        for full_name, text in texts.items():
            if flat.setdefault(full_name, text) != text:
                logger.warning(
                    "The configuration has two values called %s; MLflow gets the first as a "
                    "parameter, config.yaml has both.",
                    full_name,
                )
    return flat


def yaml_text(config: Mapping[str, object]) -> str:
    """The configuration as YAML; values that YAML does not have become text.

    Text that OmegaConf or a reader of YAML 1.2 would take for a number, such as `1e5`, is quoted.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = '"' if _LINE_END.search(text) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def represent_other(dumper: yaml.SafeDumper, value: object) -> yaml.Node:
        if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # numpy and torch
            plain = value.item()
            if type(plain) in (bool, int, float):
                return dumper.represent_data(plain)
        if isinstance(value, Mapping):
            return dumper.represent_data(dict(value))
        return represent_text(dumper, str(value))

    Dumper.add_representer(str, represent_text)
    Dumper.add_implicit_resolver("tag:expkit,number", _NUMBER, list("-+.0123456789"))
    Dumper.add_multi_representer(object, represent_other)
    return yaml.dump(config, Dumper=Dumper, sort_keys=False, allow_unicode=True)
