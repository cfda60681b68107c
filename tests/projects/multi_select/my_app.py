"""`python my_app.py server/site=[google,amazon]`: several options of one group."""

import os

import hydra
from omegaconf import OmegaConf


@hydra.main(version_base="1.2", config_path="conf", config_name="config")
def my_app(cfg):
    print(OmegaConf.to_yaml(cfg))
    if os.environ.get("BROKEN") in cfg.server.site:
        raise ConnectionError("no route to host")
    return len(cfg.server.site)


if __name__ == "__main__":
    my_app()
