"""`python train.py --config-name=train_image training.seed=42`."""

import pathlib

import hydra
from omegaconf import OmegaConf

# allows arbitrary python code execution in configs using the ${eval:''} resolver
OmegaConf.register_new_resolver("eval", eval, replace=True)


@hydra.main(
    version_base=None,
    config_path=str(pathlib.Path(__file__).parent.joinpath("policies", "config")),
)
def main(cfg):
    # so that all ${now:} are one time
    OmegaConf.resolve(cfg)
    cls = hydra.utils.get_class(cfg._target_)
    cls(cfg).run()


if __name__ == "__main__":
    main()
