"""An app without `version_base`'s compatibility: `version_base=None`."""

import os

import hydra


@hydra.main(version_base=None, config_path="config", config_name="config")
def main(cfg):
    if os.environ.get("BROKEN") == cfg.db.driver:
        raise ConnectionError(f"no {cfg.db.driver}")
    return cfg.lr, cfg.db.user


if __name__ == "__main__":
    main()
