"""`python -m mbrl.examples.main overrides=pets_cartpole`, from the project's root."""

import os
from pathlib import Path

import hydra
import numpy as np
import omegaconf


@hydra.main(version_base="1.3", config_path="conf", config_name="main")
def run(cfg: omegaconf.DictConfig):
    rng = np.random.default_rng(cfg.seed)
    np.savez(Path("replay_buffer.npz"), rng.random(3))  # into the run's folder
    if os.environ.get("BROKEN") == str(cfg.seed):
        raise FloatingPointError("the model diverged")
    return np.float32(cfg.seed + 0.5)


if __name__ == "__main__":
    run()
