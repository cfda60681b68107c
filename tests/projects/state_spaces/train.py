"""`python -m train experiment=mnist model/layer=full`."""

import os

import hydra
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("eval", eval)


def process_config(config):
    OmegaConf.set_struct(config, False)
    config.train.pop("name")
    config.dataset._seen = True
    return config


@hydra.main(version_base="1.2", config_path="configs", config_name="config.yaml")
def main(config):
    config = process_config(config)
    print("callbacks", *config.callbacks)
    if os.environ.get("BROKEN") == config.model.layer._name_:
        raise RuntimeError("CUDA error: device-side assert triggered")
    return {"val/accuracy": 0.5 + config.model.n_layers / 10}


if __name__ == "__main__":
    main()
