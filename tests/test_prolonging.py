"""More epochs for runs that are completed: they go on from their last checkpoint, and say so."""

import csv
import json
import time

import pytest
import yaml
from trained import in_mlflow
from workspace import Workspace

pytest.importorskip("mlflow")
torch = pytest.importorskip("torch")

TRAIN = """
import time
from pathlib import Path

import hydra


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    import torch  # here, as a sweep that starts nothing needs none of it

    from expkit_bookkeeping import Bookkeeping
    from expkit_mlflow import MLFlowLogger

    torch.manual_seed(cfg.seed)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr, momentum=0.9)
    objects = {"model": model, "optimizer": optimizer}
    if "period" in cfg:
        objects["scheduler"] = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg.period)
    with Bookkeeping.from_config(cfg, sinks=[MLFlowLogger.from_config(cfg)]) as run:
        for epoch in range(run.resume(**objects), cfg.epochs):
            while Path(f"hold{epoch}").exists():
                time.sleep(0.01)
            loss = (model(torch.randn(8, 2)) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if "scheduler" in objects:
                objects["scheduler"].step()
            # Best in the second of all epochs, which a run that forgot the first ones has not.
            run.log_metrics({"loss": loss.item(), "acc": 0.9 if epoch == 1 else 0.5}, step=epoch)
            if cfg.save:
                run.save_checkpoint(epoch, **objects)


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: exp
epochs: 4
lr: 0.1
seed: 1
save: true
expkit: {metric: acc, after: [], ignore: [device, save]}
hydra: {sweeper: {params: {seed: [1, 2]}}}
"""


class Project(Workspace):
    """A folder with train.py and config.yaml."""

    @property
    def experiment(self):
        return self.folder / "results" / "exp"

    def train(self, *arguments, code=0):
        done = self.run("python", "train.py", *arguments, code=code)
        return done.stdout + done.stderr

    def record(self, name):
        return json.loads((self.experiment / "training" / name / "run.json").read_text())

    def steps(self, name):
        lines = (self.experiment / "training" / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["step"] for line in lines]

    def values(self, name, metric):
        lines = (self.experiment / "training" / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["metrics"][metric] for line in lines]

    def row(self, name):
        with (self.experiment / "results.csv").open(newline="") as file:
            return next(row for row in csv.DictReader(file) if row["run_name"] == name)

    def trash(self):
        folder = self.experiment / ".trash"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def project(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return Project(tmp_path)


CHANGE = {"key": "epochs", "before": 4, "after": 8}


def test_a_grid_goes_on_from_its_checkpoints_and_every_reader_says_so(project, tmp_path):
    (tmp_path / "whole").mkdir()
    whole = Project(tmp_path / "whole")
    (whole.folder / "train.py").write_text(TRAIN)
    (whole.folder / "config.yaml").write_text(CONFIG)
    whole.train("-m", "epochs=8")

    project.train("-m")
    first = project.record("1")
    refused = project.train("-m", "epochs=8", code=1)
    output = project.train("-m", "epochs=8", "expkit.on_change=continue")
    again = project.train("-m", "epochs=8")

    assert "~ epochs=4 → 8 (2 runs)" in refused
    assert "expkit.on_change=keep (skip them), continue" in refused
    assert "2 continue with another configuration: ~ epochs=4 → 8 (2 runs)" in output
    assert "2 completed, nothing to do" in again
    assert project.trash() == []
    for name in ("1", "2"):
        record = project.record(name)
        assert project.values(name, "loss") == whole.values(name, "loss")
        assert project.steps(name) == list(range(8))
        assert record["config_hash"] == whole.record(name)["config_hash"]
        assert record["state"] == "completed"
        assert record["attempt"] == 2
        assert record["progress"] == {"step": 7, "total": 8}
        assert record["best"]["step"] == 1
        assert record["continued"] == [{"attempt": 2, "epoch": 4, "changes": [CHANGE]}]
        assert project.row(name)["continued"] == "epochs 4 → 8 at epoch 4"
    assert record["id"] != first["id"]
    assert project.record("1")["id"] == first["id"]
    assert project.record("1")["config_hash"] != first["config_hash"]
    assert "continued" not in whole.row("1")
    status = project.run("expkit", "status", "results/exp").stdout
    assert status.count("epochs 4 → 8 at epoch 4") == 2
    show = project.run("expkit", "show", "results/exp", "1").stdout
    assert "continued: epochs 4 → 8 at epoch 4" in show
    config = project.experiment / "training" / "1" / "config.yaml"
    assert yaml.safe_load(config.read_text())["epochs"] == 8

    project.run("expkit", "sync", "results/exp")
    tracked = in_mlflow(project.experiment)
    assert {state for state, _ in tracked.values()} == {"FINISHED"}
    losses = [point for point in tracked["1"][1] if point[0] == "loss"]
    assert [step for _, step, _ in losses] == list(range(8))


def test_a_kill_on_the_way_leaves_a_run_that_the_same_command_resumes(project):
    project.train("-m", "seed=1")
    (project.folder / "hold6").touch()
    command = ("python", "train.py", "-m", "seed=1", "epochs=8", "expkit.on_change=continue")
    process = project.start(*command)
    while not (project.experiment / "training/1/states/epoch_0005.pt").exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    (project.folder / "hold6").unlink()

    project.run(*command)

    record = project.record("1")
    assert (record["state"], record["attempt"]) == ("completed", 3)
    assert project.steps("1") == list(range(8))
    assert record["continued"] == [{"attempt": 2, "epoch": 4, "changes": [CHANGE]}]


def test_a_single_run_goes_on_from_its_checkpoint_and_not_from_scratch(project):
    project.train("seed=1")

    output = project.train("seed=1", "epochs=8", "expkit.on_change=continue")

    assert "Run 1 continues (completed, attempt 2): epochs 4 → 8." in output
    assert project.steps("1") == list(range(8))
    assert project.record("1")["continued"] == [{"attempt": 2, "epoch": 4, "changes": [CHANGE]}]
    assert project.trash() == []


def test_runs_that_cannot_go_on_are_named_and_the_others_do(project):
    project.train("-m", "seed=1")
    project.train("-m", "seed=2", "save=false")

    output = project.train("-m", "epochs=8", "expkit.on_change=continue", code=1)

    assert "2 is not started: it has no checkpoint to continue from; it stays as it is" in output
    assert "1 of 2 runs cannot continue" in output
    assert project.record("1")["progress"] == {"step": 7, "total": 8}
    assert project.record("2")["progress"] == {"step": 3, "total": 4}
    assert project.record("2")["attempt"] == 1

    project.train("-m", "epochs=8", "expkit.on_change=rerun")
    assert project.record("1")["attempt"] == 2
    assert project.record("2")["progress"] == {"step": 7, "total": 8}
    assert project.record("2")["continued"] == []
    assert len([name for name in project.trash() if name.startswith("2.")]) == 1


def test_a_run_with_nothing_left_to_train_never_takes_the_other_configuration(project):
    project.train("-m", "seed=1")
    before = project.record("1")

    for change, epochs in (("epochs=2", 2), ("lr=0.01", 4)):
        grid = project.train("-m", "seed=1", change, "expkit.on_change=continue", code=1)
        single = project.train("seed=1", change, "expkit.on_change=continue", code=1)

        reason = f"it has been trained for 4 epochs, and this configuration has epochs={epochs}"
        assert reason in grid
        assert reason in single
    assert project.record("1") == before
    assert project.trash() == []


def test_where_names_contain_the_epochs_nothing_goes_on_and_a_warning_says_so(project):
    project.train("-m", "seed=1", "epochs=4,5", "save=false")

    dry = ("expkit.on_change=continue", "expkit.dry_run=true")
    output = project.train("-m", "seed=1", "epochs=8,9", *dry)

    assert "2 runs begin at epoch 0" in output
    assert "Where names contain the number of epochs" in output


def test_what_the_checkpoint_restores_against_the_new_configuration_is_said(project):
    project.train("-m", "seed=1", "+period=4")

    output = project.train(
        "-m", "seed=1", "epochs=8", "lr=0.01", "+period=8", "expkit.on_change=continue"
    )

    log = (project.experiment / "training/1/training.log").read_text()
    assert "scheduler.T_max is 4, not 8" in log
    assert "optimizer.param_groups[0].initial_lr is 0.1, not 0.01" in log
    assert project.row("1")["continued"] == (
        "epochs 4 → 8, lr 0.1 → 0.01, period 4 → 8 at epoch 4"
    ), output


def test_a_plain_script_goes_on_when_its_configuration_has_more_epochs(tmp_path):
    from expkit_bookkeeping import Bookkeeping

    def train(epochs):
        config = {"experiment_id": "exp", "run_name": "a", "epochs": epochs}
        config["results_dir"] = str(tmp_path)
        with Bookkeeping.from_config(config, console=False) as run:
            for epoch in range(run.resume(), epochs):
                run.log_metrics({"acc": 0.5}, step=epoch)
                run.save_checkpoint(epoch)
        return json.loads((run.folder / "run.json").read_text())

    train(4)
    train(4)
    record = train(8)

    (entry,) = record["continued"]
    assert (entry["epoch"], entry["changes"]) == (4, [CHANGE])
    assert record["progress"] == {"step": 7, "total": 8}
