"""Lightning's DDP with the one line `defaults: [expkit, …]`, under every launcher."""

import json

import pytest
from workspace import Workspace

pytestmark = pytest.mark.integration
pytest.importorskip("torch")
pytest.importorskip("lightning")

SCRIPT = """
import json
from pathlib import Path

import hydra
import lightning
import torch
from expkit_bookkeeping import Bookkeeping
from torch.utils.data import DataLoader


class Net(lightning.LightningModule):
    def __init__(self, run, lr):
        super().__init__()
        self.run, self.lr, self.layer = run, lr, torch.nn.Linear(4, 1)

    def training_step(self, batch, index):
        return self.layer(batch).pow(2).mean()

    def on_train_epoch_end(self):
        weight = self.layer.weight.detach().sum().item()
        self.run.log_metrics({"weight": weight}, step=self.current_epoch)
        if self.run.should_stop(all_ranks=True):
            self.trainer.should_stop = True

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    torch.set_num_threads(1)
    lightning.seed_everything(1, verbose=False)
    with Bookkeeping.from_config(cfg) as run:
        net = Net(run, cfg.lr)
        trainer = lightning.Trainer(
            max_epochs=2, accelerator="cpu", strategy="ddp", devices=2, logger=False,
            enable_checkpointing=False, enable_progress_bar=False,
        )
        trainer.fit(net, DataLoader(torch.arange(32.0).reshape(8, 4) / 32, 4))
    name = f"rank{trainer.global_rank}_{cfg.lr}.json"
    Path(name).write_text(json.dumps([trainer.world_size, net.layer.weight.tolist()]))


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, _self_]
lr: 0.1
expkit: {after: []}
hydra: {sweeper: {params: {lr: [0.1, 0.2]}}}
"""
SLURM = [
    "-m",
    "hydra.sweeper.params.lr=[0.2]",
    "hydra/launcher=expkit_slurm",
    "hydra.launcher.poll_s=0.5",
]


@pytest.fixture
def project(empty: Workspace) -> Workspace:
    (empty.folder / "train.py").write_text(SCRIPT)
    (empty.folder / "config.yaml").write_text(CONFIG)
    script = empty.folder / "gpu_scripts" / "grid_search_array.sh"
    script.parent.mkdir()
    script.write_text('#!/usr/bin/env bash\n#SBATCH --cpus-per-task=1 --mem=900M\nexec "$@"\n')
    return empty


@pytest.mark.parametrize(
    ("arguments", "rates"),
    [
        (["lr=0.2"], [0.2]),
        (["-m"], [0.1, 0.2]),
        (["-m", "hydra.launcher.n_jobs=2"], [0.1, 0.2]),
        ([*SLURM, "hydra.launcher.tasks_per_run=2", "hydra.launcher.nodes=1"], [0.2]),
        ([*SLURM, "hydra.launcher.cpus_per_task=2"], [0.2]),
    ],
    ids=["single run", "sweep", "processes", "ranks of Slurm", "a Slurm task"],
)
def test_two_ranks_train_each_run_and_one_of_them_records_it(project, request, arguments, rates):
    if "hydra/launcher=expkit_slurm" in arguments:
        environment = request.getfixturevalue("slurm_cluster").environment
    else:
        environment = {}
    done = project.run("python", "train.py", *arguments, **environment)

    assert (done.stdout + done.stderr).count("is completed") <= 1
    for lr in rates:
        ranks = [json.loads((project.folder / f"rank{n}_{lr}.json").read_text()) for n in (0, 1)]
        assert ranks[0] == ranks[1]
        assert ranks[0][0] == 2
        folder = project.folder / "results" / "train" / "training" / str(lr)
        record = json.loads((folder / "run.json").read_text())
        assert (record["state"], record["attempt"]) == ("completed", 1)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
        assert [line["step"] for line in lines] == [0, 1]
        assert not list(folder.glob("train_ddp*"))


def test_a_slurm_task_of_one_process_does_not_train_on_one_device_of_two(project, slurm_cluster):
    script = project.folder / "gpu_scripts" / "grid_search_array.sh"
    script.write_text(script.read_text().replace("exec", "srun"))  # which says how many it starts

    done = project.run("python", "train.py", *SLURM, code=1, **slurm_cluster.environment)

    assert "You set `devices=2` in Lightning" in done.stdout
    assert not list(project.folder.glob("rank*.json"))
