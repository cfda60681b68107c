"""Configurations that are classes: with enums, optional values, tuples, and a class at the root."""

import enum
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Tuple  # noqa: UP035

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf


class Activation(enum.Enum):
    RELU = "relu"
    GELU = "gelu"


@dataclass
class Model:
    widths: Tuple[int, ...] = (64, 32)  # noqa: UP006
    activation: Activation = Activation.RELU
    dropout: Optional[float] = None  # noqa: UP045
    name: str = MISSING


@dataclass
class Net(Model):
    name: str = "net"
    kernel: Tuple[int, int] = (3, 3)  # noqa: UP006


@dataclass
class SGD:
    lr: float = 0.1
    momentum: Optional[float] = None  # noqa: UP045


@dataclass
class Adam:
    lr: float = 1e-3
    betas: Tuple[float, float] = (0.9, 0.999)  # noqa: UP006


@dataclass
class Config:
    defaults: list[Any] = field(
        default_factory=lambda: [
            "_self_",
            {"model": "net"},
            {"optimizer": "sgd"},
        ]
    )
    model: Model = MISSING
    optimizer: Any = MISSING
    data: Path = Path("data")
    weights: dict[Activation, int] = field(default_factory=lambda: {Activation.GELU: 2})
    stages: list[SGD] = field(default_factory=lambda: [SGD(), SGD(lr=1)])
    seed: int = 0
    note: Optional[str] = None  # noqa: UP045


store = ConfigStore.instance()
store.store(name="config", node=Config)
store.store(group="model", name="net", node=Net)
store.store(group="optimizer", name="sgd", node=SGD)
store.store(group="optimizer", name="adam", node=Adam)


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(cfg: Config) -> tuple[float, int]:
    model = OmegaConf.to_object(cfg.model)
    assert isinstance(model, Net)
    assert isinstance(model.activation, Activation)
    if os.environ.get("BROKEN") == model.activation.name:
        raise ArithmeticError("the gradient has vanished")
    return cfg.optimizer.lr, sum(model.widths)


if __name__ == "__main__":
    main()
