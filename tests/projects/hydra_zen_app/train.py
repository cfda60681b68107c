"""A program of hydra-zen: tasks are objects, and configurations classes of no module."""

import os

from hydra_zen import builds, make_config, store, zen


class Net:
    def __init__(self, width=1, depth=1):
        self.width = width


def train(net: Net, inner, x: int):
    if os.environ.get("BROKEN") == str(net.width):
        raise RuntimeError("no more memory")
    return net.width * 100 + inner.a * 10 + x


store(builds(Net, width=4), group="net", name="small")
store(builds(Net, width=8, depth=2), group="net", name="large")
store(
    make_config(
        hydra_defaults=[
            {"net": "small"},
            "_self_",
        ],
        inner=make_config(a=1, b=(1, 2)),
        x=0,
    ),
    name="app",
)

if __name__ == "__main__":
    store.add_to_hydra_store()
    zen(train).hydra_main(config_name="app", version_base="1.3", config_path=None)
