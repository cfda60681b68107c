"""The example on a real Slurm cluster: the grid from end to end, and one run in two processes."""

import json
import shutil
import time
from pathlib import Path

import pytest
from workspace import REPOSITORY, Workspace

GRID = ["examples/digits.py", "-m", "hydra/launcher=expkit_slurm", "epochs=3"]
# The example's script asks for a GPU and four processors, which this cluster's nodes do not have.
SMALL = [
    "hydra.launcher.gres=gpu:0",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem=800M",
    "hydra.launcher.poll_s=1",
]
# One run of the grid, mlp_sgd_0.001_1.
ONE = [
    "hydra.sweeper.params.model=[mlp]",
    "hydra.sweeper.params.optimizer=[sgd]",
    "hydra.sweeper.params.seed=[1]",
    "_filters=['optimizer.lr > 0.01']",
    "expkit.after=[]",
]


@pytest.fixture
def project(tmp_path: Path) -> Workspace:
    """The example with its batch script, as after a clone."""
    for name in ("examples", "conf", "gpu_scripts"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    return Workspace(tmp_path)


def record(workspace: Workspace, run_name: str) -> dict[str, object]:
    path = workspace.folder / "results/digits/training" / run_name / "run.json"
    return json.loads(path.read_text())


def test_the_demo_grid_end_to_end_on_the_cluster(project, cluster):
    before = (project.folder / "gpu_scripts/grid_search_array.sh").read_bytes()
    first = project.run("python", *GRID, *SMALL, **cluster)
    again = project.run("python", *GRID, *SMALL, **cluster)

    assert "submitted 12 runs: job " in first.stdout
    assert "12 completed" in first.stdout
    assert "nothing to do" in again.stdout + again.stderr
    results = project.folder / "results" / "digits"
    assert (results / "results.csv").read_text().count("completed") == 12
    assert (results / "plots" / "val_accuracy.png").stat().st_size > 10_000
    assert len({record(project, name.name)["slurm"]["array_job_id"]
                for name in (results / "training").iterdir()}) == 1  # fmt: skip
    assert (project.folder / "gpu_scripts/grid_search_array.sh").read_bytes() == before
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{results / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'digits'")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 12
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_last_job_syncs_and_plots_if_the_sweep_does_not_wait(project, cluster):
    output = project.run(
        "python", *GRID, *SMALL, "hydra.launcher.wait=false", *ONE[:-1], **cluster
    ).stdout  # fmt: skip
    results = project.folder / "results" / "digits"
    after = next((results / "slurm").glob("*/logs")) / "after.log"
    deadline = time.monotonic() + 120
    while not (after.is_file() and "run again" in after.read_text()):
        assert time.monotonic() < deadline, output
        time.sleep(0.5)

    assert "brings MLflow, figures and report up to date when all have ended" in output
    assert "1 completed" in after.read_text()
    assert (results / "plots" / "val_accuracy.png").is_file()
    assert "1 completed" in (results / "report.html").read_text()
    assert (results / "mlflow.db").is_file()
    assert "1 completed" in project.run("expkit", "wait", "results/digits", **cluster).stdout


@pytest.mark.parametrize("ending", ['exec "$@"', 'srun "$@"'])
def test_two_processes_train_one_run_together(project, cluster, ending):
    script = project.folder / "gpu_scripts/grid_search_array.sh"
    script.write_text(script.read_text().replace('exec "$@"', ending))
    project.run(
        "python", *GRID, *SMALL, "hydra.launcher.tasks_per_run=2", "hydra.launcher.nodes=1",
        *ONE, **cluster,
    )  # fmt: skip
    run = record(project, "mlp_sgd_0.001_1")

    assert run["state"] == "completed"
    assert run["attempt"] == 1
    metrics = project.folder / "results/digits/training/mlp_sgd_0.001_1/metrics.jsonl"
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == [0, 1, 2]
    (log,) = (project.folder / "results/digits/slurm").glob("*/logs/*.log")
    assert log.read_text().count("completed: mlp_sgd_0.001_1") == 1


def test_the_error_of_the_rank_that_fails_first_is_recorded_for_the_run(project, cluster):
    script = project.folder / "examples" / "digits.py"
    broken = 'if rank == 1:\n        raise ValueError("rank 1 has no data")\n    '
    script.write_text(script.read_text().replace("set_seed(cfg", f"{broken}set_seed(cfg"))
    done = project.run(
        "python", *GRID, *SMALL, "hydra.launcher.tasks_per_run=2", "hydra.launcher.nodes=1",
        *ONE, code=1, **cluster,
    )  # fmt: skip
    run = record(project, "mlp_sgd_0.001_1")

    assert run["state"] == "failed"
    assert "rank 1: ValueError: rank 1 has no data" in run["error"]["message"]
    assert "rank 1 has no data" in done.stdout
