"""The main job: the example's grid, killed, resumed and run again."""

import csv
import json
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pytest
import yaml
from workspace import REPOSITORY, Workspace

pytestmark = pytest.mark.integration

GRID = ["examples/digits.py", "-m"]
SHORT = ["epochs=3"]


def records(workspace: Workspace) -> dict[str, dict[str, object]]:
    """run.json of every run, by name."""
    files = workspace.folder.glob("results/digits/training/*/run.json")
    return {path.parent.name: json.loads(path.read_text()) for path in files}


def wait_until(condition, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, device: str) -> tuple[Workspace, str]:
    """The whole grid, run once; tests that change it use a copy."""
    folder = tmp_path_factory.mktemp("finished")
    for name in ("examples", "conf"):
        shutil.copytree(REPOSITORY / name, folder / name)
    workspace = Workspace(folder)
    done = workspace.run("python", *GRID, *SHORT, f"device={device}")
    return workspace, done.stdout + done.stderr


@pytest.fixture
def copy(finished: tuple[Workspace, str], tmp_path: Path) -> Workspace:
    shutil.copytree(finished[0].folder, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def test_the_grid_runs_everything_that_no_rule_skips(finished):
    workspace, _ = finished

    runs = records(workspace)

    # 16 combinations; mlp with adam at 0.1 and cnn with sgd at 0.001 are skipped, two seeds each.
    assert len(runs) == 12
    assert {run["state"] for run in runs.values()} == {"completed"}
    assert "cnn_adam_0.001_1" in runs
    assert "mlp_adam_0.1_1" not in runs


def test_the_end_shows_a_table_and_the_next_commands(finished):
    _, output = finished

    assert "cnn_adam_0.001_1" in output
    assert "12 completed" in output
    for command in ("ui results/digits", "plot results/digits --style", "examples/digits.py -m"):
        assert command in output


def test_results_csv_opens_without_expkit_and_holds_no_path_of_this_machine(finished):
    workspace, _ = finished
    path = workspace.folder / "results" / "digits" / "results.csv"

    rows = list(csv.DictReader(path.open()))

    assert len(rows) == 12
    assert {row["state"] for row in rows} == {"completed"}
    assert all(0 < float(row["best_val_accuracy"]) <= 1 for row in rows)
    assert str(workspace.folder) not in path.read_text()


def test_every_metric_is_drawn_as_png_and_pdf(finished):
    workspace, _ = finished
    experiment = workspace.folder / "results" / "digits"

    for suffix in ("png", "pdf"):
        assert {path.stem for path in experiment.glob(f"plots/*.{suffix}")} == {
            "loss",
            "val_accuracy",
        }
    assert not list(experiment.glob("training/*/plots"))  # on demand


def test_mlflow_holds_every_run_as_finished_with_all_points(finished):
    workspace, _ = finished

    with sqlite3.connect(workspace.folder / "results" / "digits" / "mlflow.db") as store:
        statuses = store.execute("select name, status from runs").fetchall()
        points = store.execute("select count(*) from metrics where key = 'loss'").fetchone()[0]

    assert sorted(statuses) == [(run, "FINISHED") for run in sorted(records(workspace))]
    assert points == 12 * 3


def test_the_same_command_again_runs_nothing_and_says_why(copy):
    before = records(copy)

    done = copy.run("python", *GRID, *SHORT)

    assert "12 completed, nothing to do" in done.stdout + done.stderr
    assert records(copy) == before


def test_a_deleted_run_is_the_only_one_that_runs_again(copy):
    before = records(copy)
    shutil.rmtree(copy.folder / "results" / "digits" / "training" / "mlp_sgd_0.1_2")

    copy.run("python", *GRID, *SHORT)

    after = records(copy)
    assert after["mlp_sgd_0.1_2"]["state"] == "completed"
    assert [run for run in after if after[run] != before[run]] == ["mlp_sgd_0.1_2"]


def test_a_grid_killed_halfway_continues_from_where_it_was(example, device):
    overrides = ["epochs=8", "hydra.sweeper.params.seed=[1]", f"device={device}"]
    process = example.start("python", *GRID, *overrides)
    training = example.folder / "results" / "digits" / "training"

    def third_run_has_a_checkpoint() -> bool:
        started = [path for path in training.glob("*/states/*.pt") if "best" not in path.name]
        return len({path.parents[1] for path in started}) >= 3

    wait_until(third_run_has_a_checkpoint)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = records(example)
    killed = [name for name, run in before.items() if run["state"] == "running"]
    assert len(killed) <= 1
    status = example.run("expkit", "status", "results/digits", code=1 if killed else 0).stdout

    example.run("python", *GRID, *overrides)

    after = records(example)
    assert {run["state"] for run in after.values()} == {"completed"}
    assert len(after) == 6
    timers = [yaml.safe_load(path.read_text())["epoch"] for path in training.glob("*/timer.yaml")]
    assert [timer["count"] for timer in timers] == [8] * 6  # over all attempts, and no epoch twice
    for name in killed:
        assert after[name]["attempt"] == 2
        assert "lost" in status
        lines = (training / name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == list(range(8))
    untouched = [name for name, run in before.items() if run["state"] == "completed"]
    assert [name for name in untouched if after[name] != before[name]] == []


OPEN = """
import sys

sys.path.insert(0, sys.argv[1])
from digits import Models

from expkit_bookkeeping import Run, find_runs, results
from expkit_plotting import PlotMetrics

assert len(find_runs("digits")) == len(results("digits")) == 12
run = Run("digits", "cnn_adam_0.001_1")
model = Models.build(run.config["model"])
run.load_model(model, "best")
PlotMetrics("digits").metric("val_accuracy").savefig("curve.png")
print(run.best["value"], sum(parameter.sum().item() for parameter in model.parameters()))
"""


def test_a_colleague_unpacks_an_export_and_opens_all_of_it(copy, tmp_path):
    examples = copy.folder / "examples"
    (copy.folder / "open.py").write_text(OPEN)
    results = copy.folder / "results"
    before = Workspace(results).run("python", "../open.py", str(examples)).stdout

    copy.run("expkit", "export", "results/digits")

    colleague = Workspace(tmp_path / "colleague")
    shutil.unpack_archive(copy.folder / "digits.zip", colleague.folder)
    shutil.rmtree(results)
    (colleague.folder / "open.py").write_text(OPEN)
    assert colleague.run("python", "open.py", str(examples)).stdout == before
    assert "12 completed" in colleague.run("expkit", "status", "digits").stdout
    assert sorted((colleague.folder / "digits/plots").glob("*.png"))
    size_bytes = (copy.folder / "digits.zip").stat().st_size
    assert size_bytes < 4_000_000
