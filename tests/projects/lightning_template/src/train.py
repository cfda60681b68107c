"""`python src/train.py`, from the project's root."""

import logging
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # as rootutils finds it
os.environ["PROJECT_ROOT"] = str(ROOT)
sys.path.insert(0, str(ROOT))

import hydra  # noqa: E402

log = logging.getLogger(__name__)


def train(cfg):
    hydra.utils.instantiate(cfg.data)
    model = hydra.utils.instantiate(cfg.model)
    parts = [
        hydra.utils.instantiate(part)
        for group in (cfg.callbacks, cfg.logger)
        for part in group.values()
        if "_target_" in part
    ]
    metrics = {}
    for epoch in range(cfg.trainer.max_epochs):
        log.info("epoch %d", epoch)
        metrics = {"val/acc": model.accuracy(epoch)}
        for part in parts:
            part.on_epoch_end(epoch, metrics)
        if os.environ.get("BROKEN") == str(cfg.model.width):
            raise RuntimeError("the loss is NaN")
    return metrics


@hydra.main(version_base="1.3", config_path="../configs", config_name="train.yaml")
def main(cfg):
    return train(cfg)[cfg.optimized_metric]


if __name__ == "__main__":
    main()
