"""An app of Hydra 1.1: it runs in its output folder, and its configuration has no `_self_`."""

import os
from pathlib import Path

import hydra
from hydra.utils import to_absolute_path


@hydra.main(version_base="1.1", config_path="config", config_name="config.yaml")
def main(cfg):
    Path("weights.txt").write_text(str(cfg.lr))  # into the run's folder
    assert Path(to_absolute_path("app.py")).exists()
    if os.environ.get("BROKEN") == cfg.db.driver:
        raise ConnectionError(f"no {cfg.db.driver}")
    return cfg.lr, cfg.db.user


if __name__ == "__main__":
    main()
