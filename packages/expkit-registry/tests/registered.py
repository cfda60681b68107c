"""A module of registries, importable for Hydra by its name."""

from expkit_registry import BaseRegistry


class Model:
    pass


class Models(BaseRegistry[object]):
    pass


class Layers(BaseRegistry[object]):
    pass


@Models.register("net")
class Net:
    def __init__(self, width: int = 8, blocks: list[int] = [], act="relu"):  # noqa: B006
        self.width, self.blocks = width, blocks


@Layers.register("layer")
class Layer:
    def __init__(self, size: int):
        self.size = size
