"""A workspace: it is given the configuration, and trains."""

import json
import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig


class TrainImageWorkspace:
    def __init__(self, cfg):
        self.cfg = cfg
        self.output_dir = Path(HydraConfig.get().runtime.output_dir)

    def run(self):
        cfg = self.cfg
        latest = self.output_dir / "checkpoints" / "latest.ckpt"
        start = 0
        if cfg.training.resume and latest.is_file():
            print(f"Resuming from checkpoint {latest.name}")
            start = int(latest.read_text())
        latest.parent.mkdir(parents=True, exist_ok=True)
        for epoch in range(start, cfg.training.num_epochs):
            with (self.output_dir / "logs.json.txt").open("a") as file:
                file.write(json.dumps({"epoch": epoch, "train_loss": 1 / (epoch + 1)}) + "\n")
            latest.write_text(str(epoch + 1))
            if epoch == 1 and os.environ.get("BROKEN") == str(cfg.horizon):
                raise RuntimeError("out of memory")
