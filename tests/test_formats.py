"""The examples in docs/formats.md, read by the packages that share these files."""

import csv
import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from fenced import blocks
from workspace import REPOSITORY

EXAMPLES = {
    block.name: block.text
    for block in blocks((REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8"))
    if block.name
}


@pytest.fixture
def experiment(tmp_path):
    """The examples as files, laid out as in the page's tree."""
    run = tmp_path / "digits" / "training" / "cnn_adam_0.001_1"
    grid = tmp_path / "digits" / "grids" / "a1b2c3d4e5f6"
    for name, text in EXAMPLES.items():
        folder = grid if name.startswith("grid_search") else run
        if name == "results.csv":
            folder = tmp_path / "digits"
        if name == "removed.jsonl":
            folder = tmp_path / "digits" / ".trash"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "digits"


def run_folder(experiment):
    return experiment / "training" / "cnn_adam_0.001_1"


def lines(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in EXAMPLES[name].splitlines()]


def test_bookkeeping_reads_run_json(experiment):
    from expkit_bookkeeping import read_run

    record = read_run(run_folder(experiment))

    assert record.run_name == "cnn_adam_0.001_1"
    assert record.state == "completed"
    assert record.attempt == 2
    assert record.swept["optimizer.lr"] == 0.001
    assert record.best["value"] == 0.983


def test_bookkeeping_writes_the_keys_of_run_json_and_of_a_claim(tmp_path):
    from expkit_bookkeeping.launching import claim_run

    claim_run(tmp_path / "digits" / "training" / "a", run_name="a").finish("completed")

    written = json.loads((tmp_path / "digits" / "training" / "a" / "run.json").read_text())
    assert list(written) == list(json.loads(EXAMPLES["run.json"]))
    claim = json.loads((tmp_path / "digits/training/a/claims/0001.json").read_text())
    assert list(claim) == list(json.loads(EXAMPLES["claims/0001.json"]))


def test_bookkeeping_reads_and_writes_the_sources_of_a_run(experiment):
    from expkit_bookkeeping import read_run
    from expkit_bookkeeping.launching import claim_run, recorded_sources

    example = json.loads(EXAMPLES["code.json"])
    record = read_run(run_folder(experiment))
    claim_run(experiment / "training" / "a")
    (written,) = (experiment / "code").glob("*.json")
    (experiment / "code" / f"{record.code['sources_hash']}.json").write_text(EXAMPLES["code.json"])

    assert recorded_sources(record) == example["sources"]
    assert list(json.loads(written.read_text())) == list(example)


def test_bookkeeping_writes_the_row_of_results_csv(experiment):
    from expkit_bookkeeping import write_results_csv

    (example,) = csv.DictReader(EXAMPLES["results.csv"].splitlines())

    with write_results_csv(experiment).open() as file:
        (row,) = csv.DictReader(file)

    del example["code"], row["code"]  # the example's commit is shortened by hand
    assert row == example
    assert list(row) == list(example)


def test_bookkeeping_writes_metrics_that_plotting_reads_back(tmp_path):
    import math

    from expkit_bookkeeping import Bookkeeping
    from expkit_plotting import PlotMetrics

    folder = tmp_path / "digits" / "training" / "a"
    with Bookkeeping(folder) as run:
        run.log_metrics({"loss": 2.31, "val_accuracy": 0.11}, step=0)
        run.log_metrics({"loss": math.nan, "val_accuracy": 0.35}, step=1)

    written = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [list(line) for line in written] == [list(line) for line in lines("metrics.jsonl")]
    assert [line["metrics"] for line in written] == [
        line["metrics"] for line in lines("metrics.jsonl")
    ]
    figure = PlotMetrics(tmp_path / "digits").metric("val_accuracy")
    assert 0.35 in figure.axes[0].lines[0].get_ydata()


def test_bookkeeping_reads_and_writes_the_history_of_additions(experiment, tmp_path):
    from expkit_bookkeeping import Bookkeeping, Run

    with Bookkeeping(tmp_path / "a") as run:
        pass
    Run(run.folder).add_results({"test_acc": 0.97}, "test")

    example = lines("results/additions.jsonl")
    assert Run(run_folder(experiment)).additions == example
    assert [list(line) for line in Run(run.folder).additions] == [list(example[0])]


def test_bookkeeping_reads_and_writes_the_runs_that_a_run_was_built_on(experiment):
    from dataclasses import replace

    from expkit_bookkeeping import Bookkeeping
    from expkit_bookkeeping.reading import read_run, used_runs

    example = json.loads(EXAMPLES["uses.json"])
    record = read_run(run_folder(experiment))
    (use,) = used_runs(replace(record, data={**record.data, "uses": example}))
    (run_folder(experiment) / "states").mkdir()
    (run_folder(experiment) / "states" / "best.pt").touch()
    with Bookkeeping(experiment.parent / "distilled" / "training" / "a") as run:
        run.uses(run_folder(experiment))

    assert use.name == "pretraining/cnn_1"
    assert list(read_run(run.folder).data["uses"][0]) == list(example[0])


def test_a_moved_run_leaves_the_line_that_sync_looks_for(tmp_path):
    from expkit_bookkeeping.launching import claim_run, move_to_trash

    folder = tmp_path / "digits" / "training" / "a"
    claim_run(folder, run_name="a").finish("failed", ValueError("no"))
    move_to_trash(folder, reason="cleanup")

    (line,) = (tmp_path / "digits" / ".trash" / "removed.jsonl").read_text().splitlines()
    assert list(json.loads(line)) == list(lines("removed.jsonl")[0])


def test_mlflow_syncs_the_journal_of_the_example(experiment):
    from mlflow.tracking import MlflowClient

    from expkit_mlflow import sync

    sync(experiment)

    client = MlflowClient(f"sqlite:///{experiment / 'mlflow.db'}")
    (stored,) = client.search_experiments(filter_string="name = 'digits'")
    (run,) = client.search_runs([stored.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["model.name"] == "cnn"
    assert run.data.metrics["loss"] == 2.31


def test_the_timer_reads_its_file_and_the_totals_add_up(experiment):
    from expkit_timer import Timer

    timer = Timer.load(run_folder(experiment) / "timer.yaml", "epoch")

    content = yaml.safe_load(EXAMPLES["timer.yaml"])["epoch"]
    assert timer.to_dict()["count"] == content["count"] == 40
    assert sum(attempt["total_s"] for attempt in content["attempts"]) == content["total_s"]


def test_hydra_reads_the_grid(experiment):
    from expkit_hydra import Grid

    grid = Grid.load(experiment / "grids" / "a1b2c3d4e5f6")

    assert [run.run_name for run in grid.runs] == ["mlp_sgd_0.1_1", "mlp_sgd_0.1_2"]
    assert [run.skipped_by for run in grid.runs] == ["rule 1", None]
    assert grid.runs[1].folder == experiment / "training" / "mlp_sgd_0.1_2"


@pytest.mark.parametrize("verb", ["list", "status", "best", "table", "compare"])
def test_the_answers_of_verbs_for_programs_have_the_keys_of_the_page(
    experiment, verb, monkeypatch, capsys
):
    from expkit_hydra.commands import VERBS

    results = experiment.parent
    monkeypatch.chdir(results)
    (run_folder(experiment) / "states").mkdir()
    (run_folder(experiment) / "states" / "best.pt").touch()
    shutil.copytree(experiment, results / "wide")
    config = results / "wide" / "training" / "cnn_adam_0.001_1" / "config.yaml"
    config.write_text("{width: 64}")
    (run_folder(experiment) / "config.yaml").write_text("{width: 32}")
    arguments = {"list": ["."], "compare": ["digits", "wide"], "table": ["digits", "--metric",
                 "val_accuracy", "--group-by", "model"]}.get(verb, ["digits"])  # fmt: skip

    assert VERBS[verb]([*arguments, "--json"]) == 0

    def shape(value):
        if isinstance(value, dict):
            return {key: {} if key == "states" else shape(part) for key, part in value.items()}
        return [shape(part) for part in value[:1]] if isinstance(value, list) else None

    answer = json.loads(capsys.readouterr().out)
    example = json.loads(EXAMPLES[f"{verb}.json"])
    keys = [group.pop("keys") for group in answer.get("groups", ())]
    assert ["experiment" in names for names in keys] == [verb == "compare"] * len(keys)
    for group in example.get("groups", ()):
        del group["keys"]
    assert shape(answer) == shape(example)


def test_slurm_reads_the_submission_and_finds_the_runs_of_a_task(tmp_path):
    from expkit_slurm._submissions.record import places_of_task, read_runs, read_submission

    folder = tmp_path / "digits" / "slurm" / "20261128T170509.031415-4f2a9c"
    folder.mkdir(parents=True)
    (folder / "submission.json").write_text(EXAMPLES["submission.json"])
    (folder / "runs.jsonl").write_text(EXAMPLES["runs.jsonl"])

    submission = read_submission(folder)
    array = submission.array(0)
    runs = read_runs(folder)

    assert submission.id == json.loads(EXAMPLES["submission.json"])["id"]
    assert submission.grid_path == tmp_path / "digits" / "grids" / "a1b2c3d4e5f6"
    assert [runs[place].index for place in places_of_task(array, 1, 1)] == [0]
    assert [run.fresh for run in runs] == [False, True]
    assert runs[0].earlier_versions == {("5f0c4e0d3b5c4a7f9d1f6f0a3c2b1a09", 1, "failed")}
    submission.write()
    assert list(json.loads((folder / "submission.json").read_text())) == list(
        json.loads(EXAMPLES["submission.json"])
    )


def test_the_answer_of_check_has_the_keys_of_the_page(tmp_path):
    (tmp_path / "train.py").write_text(
        "import hydra\n\n\n"
        "@hydra.main(version_base='1.3', config_path='.', config_name='config')\n"
        "def main(cfg):\n    pass\n\n\nmain()\n"
    )
    (tmp_path / "config.yaml").write_text("defaults: [expkit, _self_]\ndata: ???\n")

    command = [sys.executable, "-m", "expkit_hydra", "check", "--json"]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    answer, example = json.loads(output.stdout), json.loads(EXAMPLES["check.json"])
    assert list(answer) == list(example)
    assert [list(finding) for finding in answer["findings"]] == [list(example["findings"][0])]
    assert answer["findings"][0]["subject"] == example["findings"][0]["subject"]


def test_a_sink_has_the_methods_that_the_page_says():
    from expkit_bookkeeping import Sink
    from expkit_bookkeeping._recording.sinks import METHODS

    page = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    described = re.findall(r"def (\w+)\(self", page.partition("## Sinks")[2].partition("\n## ")[0])

    assert described == list(METHODS)
    assert described == [
        name for name in vars(Sink) if callable(vars(Sink)[name]) and name[0] != "_"
    ]


def test_plotting_draws_the_figure_of_a_recipe(tmp_path):
    from expkit_plotting import restyle

    (tmp_path / "figure.json").write_text(EXAMPLES["figure.json"], encoding="utf-8")
    rows = "run,metric,step,value\ncnn_0.1_1,val_accuracy,9,0.98\n"
    (tmp_path / "figure.csv").write_text(rows, encoding="utf-8")

    figure = restyle(tmp_path / "figure")

    assert [text.get_text() for text in figure.axes[0].texts] == ["0.98"]
