"""Registries in a module that Hydra can import by name."""

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


@Layers.register("named")
def named(name: str):
    return name
