"""What a run takes from its configuration: settings, folder, plain data."""

import contextlib
import enum
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PurePath
from typing import Any

from .._files.plain_data import PlainRules, plain_data, without_numpy
from .._files.secrets import MASK, is_secret, public_config, secret_patterns, shown
from .._files.yaml_files import read_yaml
from .records import RunRecord

DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The keys of `expkit:` that concern one run, and the number of epochs.

    Attributes:
        metric: Which metric ranks checkpoints and runs; None: nothing does.
        direction: `maximize` or `minimize`, of that metric.
        keep_last: How many of the latest checkpoints are kept, at least 1; None keeps all.
        keep_best: How many of the best are kept besides; None keeps all.
        epochs: How many epochs the training has; None if unknown.

    Raises:
        TypeError: If `metric` is no text.
        ValueError: If another value is none of these.
    """

    metric: str | None = None
    direction: str = "maximize"
    keep_last: int | None = 2  # if the newest is damaged, an epoch is lost and not the training
    keep_best: int | None = 1
    epochs: int | None = None

    def __post_init__(self) -> None:
        if self.metric is not None and not isinstance(self.metric, str):
            raise TypeError(f"expkit.metric is a metric's name or null, not {self.metric!r}.")
        if self.direction not in DIRECTIONS:
            from difflib import get_close_matches

            near = get_close_matches(str(self.direction), DIRECTIONS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"expkit.direction is {self.direction!r}.{hint} Allowed: {', '.join(DIRECTIONS)}."
            )
        for name, least in (("keep_last", 1), ("keep_best", 0)):
            value = getattr(self, name)
            if value is None:  # keep all
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(
                    f"expkit.{name} is {value!r}; it is a whole number from {least}, or null to "
                    "keep all."
                )


def plain_config(config: object) -> dict[str, object]:
    """The configuration as a resolved plain dict, without Hydra's own node.

    Args:
        config: A DictConfig or any mapping.

    Raises:
        TypeError: If it is no mapping, or holds something that is not data; the text says where.
    """
    if type(config).__module__.partition(".")[0] == "omegaconf":
        from .._optional import omegaconf

        is_missing = omegaconf.OmegaConf.is_missing
        if isinstance(config, omegaconf.DictConfig):
            # By keys: outside a job, Hydra's node refers to what has no value.
            keys = [key for key in config if key != "hydra"]
            config = {key: "???" if is_missing(config, key) else config[key] for key in keys}
    if not isinstance(config, Mapping):
        raise TypeError(
            f"A configuration is a DictConfig or a mapping, not {type(config).__name__}: "
            f"{config!r}."
        )
    return {
        str(key): plain_data(value, str(key), _CONFIG)
        for key, value in config.items()
        if key != "hydra"
    }


def shown_config(config: object, plain: Mapping[str, object]) -> dict[str, object]:
    """The configuration as config.yaml and the sinks show it.

    Secret references stay text, secret literals are `***`, also where others refer to them.

    Args:
        config: What the user gave.
        plain: The same as `plain_config` makes it.

    Raises:
        ValueError: If `expkit.secrets` cannot be read.
    """
    patterns = secret_patterns(plain)
    if type(config).__module__.partition(".")[0] != "omegaconf":
        return public_config(plain, patterns)
    import copy

    from .._optional import omegaconf

    written = omegaconf.OmegaConf.to_container(config, resolve=False)
    secrets = list(_secret_texts(written, patterns)) if isinstance(written, dict) else []
    if not secrets:
        return public_config(plain, patterns)
    veiled = copy.deepcopy(config)
    public_texts = []
    for path, text in secrets:
        node: Any = veiled
        for key in path[:-1]:
            node = node[key]
        try:
            with omegaconf.read_write(node), omegaconf.open_dict(node):
                node[path[-1]] = MASK
        except omegaconf.errors.OmegaConfBaseException:  # a reference to a number: no secret
            continue
        public_texts.append((path, shown(path[-1], text, patterns)))
    data = plain_config(veiled)
    for path, text in public_texts:
        place: Any = data
        for key in path[:-1]:
            place = place[key if isinstance(place, list) else _config_key(key, "")]
        place[path[-1]] = text
    return public_config(data, patterns)


def _secret_texts(
    written: object, patterns: Sequence[str], path: tuple[object, ...] = ()
) -> Iterator[tuple[tuple[Any, ...], str]]:
    """The secret texts of a configuration as it is written, each with the keys that lead there."""
    if isinstance(written, dict):
        for key, value in written.items():
            if path or key != "hydra":
                yield from _secret_texts(value, patterns, (*path, key))
    elif isinstance(written, list):
        for number, value in enumerate(written):
            yield from _secret_texts(value, patterns, (*path, number))
    elif isinstance(written, str) and path and is_secret(path[-1], written, patterns):
        yield path, written


def read_config(folder: str | PathLike[str]) -> dict[str, object]:
    """The configuration of a run, as its config.yaml holds it.

    Args:
        folder: The run folder.

    Raises:
        FileNotFoundError: If it has no config.yaml: the run was given no configuration.
        ValueError: If config.yaml is damaged, or holds something else; the text names the file.
    """
    path = Path(folder) / "config.yaml"
    config = read_yaml(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path} is damaged: it holds no configuration but {config!r:.80}.")
    return config


def run_settings(config: Mapping[str, object]) -> RunSettings:
    """The settings of a plain configuration.

    Raises:
        TypeError: If `expkit` is not a mapping.
        ValueError: If a value is not allowed.
    """
    node = config.get("expkit")
    if node is None:
        node = {}
    if not isinstance(node, Mapping):
        raise TypeError(f"The key expkit holds settings such as metric, not {node!r}.")
    names = ("metric", "direction", "keep_last", "keep_best")
    settings = {name: node[name] for name in names if name in node}
    return RunSettings(**settings, epochs=number_of_epochs(config))


def number_of_epochs(config: Mapping[str, object]) -> int | None:
    """The key `epochs` of a configuration; None if it has none."""
    epochs = config.get("epochs")
    return epochs if isinstance(epochs, int) and not isinstance(epochs, bool) else None


def settings_of_run(record: RunRecord, given: RunSettings | None) -> RunSettings:
    """The settings of a run that exists: those given, and else what it has recorded.

    Args:
        record: The run. Where nothing is given, its config.yaml decides; then its run.json.
        given: The settings of the caller; None if it has none.
    """
    settings = given
    if settings is None:
        settings = RunSettings()
        with contextlib.suppress(OSError, TypeError, ValueError):  # missing, or damaged
            settings = run_settings(read_config(record.folder))
    best, progress = record.best or {}, record.progress or {}
    metric, direction, total = best.get("metric"), best.get("direction"), progress.get("total")
    if settings.metric is None and isinstance(metric, str) and direction in DIRECTIONS:
        settings = replace(settings, metric=metric, direction=str(direction))
    if settings.epochs is None and type(total) is int:
        settings = replace(settings, epochs=total)
    return settings


def run_folder(config: Mapping[str, object]) -> Path:
    """`results_dir/experiment_id/training/run_name` of a plain configuration.

    Raises:
        ValueError: If `experiment_id` or `run_name` is missing, or could lead out of its folder.
    """
    missing = [key for key in ("experiment_id", "run_name") if config.get(key) in (None, "???")]
    if missing:
        raise ValueError(
            f"The configuration has no {' and no '.join(missing)}; the run folder is "
            "results_dir/experiment_id/training/run_name. Set it, or take them all from "
            "expkit-hydra with `defaults: [expkit, …, _self_]`, or name a folder: "
            "Bookkeeping(folder)."
        )
    experiment = folder_name(config["experiment_id"], "experiment_id")
    name = folder_name(config["run_name"], "run_name")
    results = Path(str(config.get("results_dir") or "results"))
    return _start_folder() / results / experiment / "training" / name


def folder_name(value: object, key: str) -> str:
    """Check that a value can name one folder, and return it as text.

    Raises:
        ValueError: If it is empty, has a separator or starts with a dot.
    """
    name = str(value)
    if not name or name.startswith(".") or any(sign in name for sign in "/\\\0"):
        raise ValueError(
            f"{key} is {name!r}, but it names one folder: it may not be empty, start with a dot, "
            "or contain / or \\."
        )
    return name


def _start_folder() -> Path:
    """The folder that relative paths start from: Hydra may have changed into the run's."""
    hydra = sys.modules.get("hydra.core.hydra_config")
    if hydra is not None and hydra.HydraConfig.initialized():
        return Path(hydra.HydraConfig.get().runtime.cwd)
    return Path()


def _config_value(value: object) -> object:
    return str(value) if isinstance(value, PurePath) else without_numpy(value)


def _config_key(key: object, path: str) -> object:
    if isinstance(key, enum.Enum):
        return key.name
    return key if type(key) in (int, float, bool) else str(key)


def _config_refusal(path: str, value: object) -> str:
    return (
        f"{path} of the configuration is a {type(value).__name__}, which is not data: {value!r}. "
        "Allowed: None, bool, int, float, str, path, enum, list and mapping."
    )


# YAML has NaN, bytes and keys that are numbers, so unlike in JSON they stay what they are.
_CONFIG = PlainRules(
    as_is=frozenset([type(None), bool, int, float, str, bytes]),
    convert=_config_value,
    key=_config_key,
    refusal=_config_refusal,
)
