"""Scripts that evaluate the finished runs of a grid, with Hydra and MLflow."""

import json
import shutil
from pathlib import Path

import pytest
from workspace import Workspace

pytestmark = pytest.mark.integration

TINY = Path(__file__).with_name("data") / "tiny"
EVALUATE = """
import hydra
from hydra.utils import to_absolute_path
from expkit_bookkeeping import Bookkeeping
from expkit_mlflow import MLFlowLogger

@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg):
    with Bookkeeping.from_config(cfg, sinks=[MLFlowLogger.from_config(cfg)]) as run:
        run.save_results({"accuracy": 0.8}, "evaluation")
        (run.folder / "figure.txt").write_text("drawn by an evaluation")
        if cfg.artifact:
            run.log_artifact("figure.txt")
        if cfg.metric:
            run.log_metrics({"test": 0.8}, step=0)
        if cfg.fails:
            raise KeyError("typo in evaluate.py")

main()
"""
CONFIG = """
experiment_id: tiny
run_name: small_0.1_1
artifact: false
metric: false
fails: false
lr: 1000
expkit: {metric: val/acc, direction: maximize}
"""
RUN = "results/tiny/training/small_0.1_1"


@pytest.fixture
def trained(empty: Workspace) -> Workspace:
    """A completed grid of two runs, and a script that evaluates one of them."""
    shutil.copytree(TINY, empty.folder, dirs_exist_ok=True)
    (empty.folder / "evaluate.py").write_text(EVALUATE)
    (empty.folder / "conf" / "evaluate.yaml").write_text(CONFIG)
    empty.run("python", "train.py", "-m", "model=small", "lr=0.1", "epochs=2")
    return empty


def run_json(workspace: Workspace) -> dict[str, object]:
    return json.loads((workspace.folder / RUN / "run.json").read_text())


def stored_runs(workspace: Workspace):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace.folder}/results/tiny/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id])
    return client, {run.info.run_name: run for run in runs}


def test_an_evaluation_keeps_the_run_its_mlflow_run_and_the_sweep_as_they_are(trained):
    before = run_json(trained)
    journal = (trained.folder / RUN / "tracking.jsonl").read_bytes()
    files = {
        name: (trained.folder / RUN / name).read_bytes()
        for name in ("config.yaml", "environment.yaml", "metrics.jsonl", "timer.yaml")
    }

    trained.run("python", "evaluate.py")
    trained.run("python", "evaluate.py", "fails=true", code=1)
    assert (trained.folder / RUN / "tracking.jsonl").read_bytes() == journal
    trained.run("python", "evaluate.py", "artifact=true", "fails=true", code=1)

    assert run_json(trained) == before
    assert files == {name: (trained.folder / RUN / name).read_bytes() for name in files}
    client, runs = stored_runs(trained)
    assert sorted(runs) == ["small_0.1_1", "small_0.1_2"]
    run = runs["small_0.1_1"]
    assert run.info.status == "FINISHED"
    assert run.data.params["lr"] == "0.1"
    assert "figure.txt" in [file.path for file in client.list_artifacts(run.info.run_id)]
    assert not [tag for tag in run.data.tags if "lr" in tag]

    again = trained.run("python", "train.py", "-m", "model=small", "lr=0.1", "epochs=2")
    assert "2 completed" in again.stdout + again.stderr
    assert run_json(trained) == before


def test_a_metric_that_an_evaluation_adds_reaches_mlflow_and_the_table(trained):
    before = run_json(trained)
    trained.run("python", "evaluate.py", "metric=true", "fails=true", code=1)

    after = run_json(trained)
    kept = ("state", "best", "progress", "swept", "choices", "config_hash", "grid_id", "code")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert after["attempt"] == 2
    _, runs = stored_runs(trained)
    run = runs["small_0.1_1"]
    assert (run.info.status, run.data.metrics["test"]) == ("FINISHED", 0.8)
    assert run.data.params["lr"] == "0.1"
    trained.run("python", "train.py", "-m", "model=small", "lr=0.1", "epochs=2")
    assert run_json(trained) == after


def test_the_lines_that_best_prints_load_the_best_model(tmp_path, monkeypatch, capsys):
    import torch

    from expkit_bookkeeping import Bookkeeping, RunSettings
    from expkit_hydra.commands import best

    monkeypatch.chdir(tmp_path)
    wanted = {}
    for name, accuracies in {"a": (0.5, 0.6), "b": (0.9, 0.4)}.items():
        settings = RunSettings(metric="acc", direction="maximize")
        with Bookkeeping(f"results/e/training/{name}", settings=settings, console=False) as run:
            for epoch, accuracy in enumerate(accuracies):
                model = torch.nn.Linear(2, 2)
                wanted[accuracy] = model.weight.detach().clone()
                run.log_metrics({"acc": accuracy}, step=epoch)
                run.save_checkpoint(epoch, model=model)

    assert best(["results/e", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    scope = {"model": torch.nn.Linear(2, 2)}
    exec("\n".join(answer["python"]), scope)

    assert (answer["run"], answer["value"], answer["step"]) == ("b", 0.9, 0)
    assert torch.equal(scope["model"].weight, wanted[0.9])


def test_compare_draws_one_figure_of_all_experiments(tmp_path, monkeypatch, capsys):
    from expkit_bookkeeping import Bookkeeping, RunSettings
    from expkit_hydra.commands import compare

    monkeypatch.chdir(tmp_path)
    for number, experiment in enumerate(("small", "large")):
        settings = RunSettings(metric="val/acc")
        with Bookkeeping(f"results/{experiment}/training/a", settings=settings) as run:
            for epoch in range(3):
                run.log_metrics({"val/acc": 0.1 * epoch + number}, step=epoch)

    assert compare(["results/small", "results/large"]) == 0

    printed = capsys.readouterr().out
    assert "0.200 (n = 1)" in printed
    assert "1 plot over all runs of small, large: results/small/plots/" in printed
    assert len(list(tmp_path.glob("results/small/plots/*small*large*.png"))) == 1
