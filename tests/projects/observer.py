"""A callback of Hydra's that notes what each run sees, whoever launches it.

It is given on the command line, so that the projects need not know of it.
"""

import json
import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf


class Observer(Callback):
    """Appends one JSON line per run to the file that OBSERVED names."""

    def on_job_end(self, config, job_return, **kwargs):
        """Note the configuration that the function was given, and what became of it."""
        hydra = HydraConfig.get()
        seen = {
            "config": described(job_return.cfg),
            "override_dirname": hydra.job.override_dirname,
            "overrides": list(hydra.overrides.task),
            "job": [hydra.job.config_name, OmegaConf.to_container(hydra.job)["num"]],
            "choices": dict(hydra.runtime.choices),
            "output_dir": hydra.runtime.output_dir,
            "folder": str(Path.cwd()),
            "returned": repr(job_return._return_value),
            "status": job_return.status.name,
        }
        with Path(os.environ["OBSERVED"]).open("a") as file:
            file.write(json.dumps(seen) + "\n")


def described(node: object) -> object:
    """A configuration as nested lists, with order, types and references, and what they give."""
    kind = OmegaConf.get_type(node)
    if OmegaConf.is_dict(node):
        raw = OmegaConf.to_container(node)
        items = [[str(key), _reference(raw[key]), described(_at(node, key))] for key in node]
        return [f"{kind.__module__}.{kind.__qualname__}", items]
    if OmegaConf.is_list(node):
        return ["list", [described(_at(node, index)) for index in range(len(node))]]
    return f"{type(node).__name__} {node!r}"


def _reference(value):
    return value if isinstance(value, str) and "${" in value else None


def _at(node, key):
    return "???" if OmegaConf.is_missing(node, key) else node[key]
