"""Programs of hydra-zen: their tasks are objects, and their configurations classes of no module."""

import json

import pytest

pytest.importorskip("hydra_zen")
PROGRAM = """
from hydra_zen import builds, make_config, store, zen


class Net:
    def __init__(self, width=1, depth=1):
        self.width = width


store(builds(Net, width=4), group="net", name="small")
store(builds(Net, width=8, depth=2), group="net", name="large")
defaults = ["expkit", {"net": "small"}, "_self_"]
store(make_config(hydra_defaults=defaults, inner=make_config(a=1), x=0), name="app")


def train(net: Net, inner, x: int):
    return net.width * 100 + inner.a * 10 + x


if __name__ == "__main__":
    store.add_to_hydra_store()
    zen(train).hydra_main(config_name="app", version_base="1.3", config_path=None)
"""
GRID = ("train.py", "-m", "net=small,large", "x=1,2", "expkit.after=[]")
SLURM = ("hydra/launcher=expkit_slurm", "hydra.launcher.mem=400M", "hydra.launcher.poll_s=0.3")


def returned(workspace) -> dict[str, object]:
    records = (workspace.folder / "results/train/training").glob("*/run.json")
    return {path.parent.name: json.loads(path.read_text())["returned"] for path in records}


@pytest.mark.parametrize("place", ["here", "processes", "slurm"])
def test_a_task_of_hydra_zen_runs_everywhere_under_the_scripts_name(empty, request, place):
    (empty.folder / "train.py").write_text(PROGRAM)
    options = {"here": (), "processes": ("hydra.launcher.n_jobs=2",), "slurm": SLURM}
    cluster = request.getfixturevalue("cluster") if place == "slurm" else {}
    empty.run("python", *GRID, *options[place], **cluster)

    assert returned(empty) == {"small_1": 411, "small_2": 412, "large_1": 811, "large_2": 812}
    empty.run("python", "train.py", "net=large", "x=3")
    assert returned(empty)["large_3"] == 813
