"""`python train.py task=Ant`, from its own folder."""

import os
from pathlib import Path

import hydra
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("eq", lambda x, y: x.lower() == y.lower())
OmegaConf.register_new_resolver("contains", lambda x, y: x.lower() in y.lower())
OmegaConf.register_new_resolver("if", lambda pred, a, b: a if pred else b)
OmegaConf.register_new_resolver("resolve_default", lambda default, x: x if x != "" else default)


@hydra.main(version_base="1.1", config_name="config", config_path="./cfg")
def launch_rlg_hydra(cfg):
    folder = Path("runs", cfg.train.params.config.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    print("number of environments", cfg.task.env.numEnvs)
    if os.environ.get("BROKEN") == cfg.task_name:
        raise RuntimeError("the simulator has crashed")


if __name__ == "__main__":
    launch_rlg_hydra()
