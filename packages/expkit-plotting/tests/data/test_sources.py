import pandas as pd
import pytest

from expkit_plotting import PlotMetrics
from expkit_plotting._data.sources import read_source

FRAME = pd.DataFrame({"epoch": [0, 1, 2], "loss": [3.0, 2.0, 1.0], "accuracy": [0.1, None, 0.3]})


def values(source, run: str, metric: str) -> list[float]:
    runs = {run.name: run for run in read_source(source).runs}
    return runs[run].metrics[metric].values.tolist()


def test_a_results_folder_is_read_with_its_settings(experiment):
    folder = experiment({"model": ["mlp", "cnn"], "seed": [1, 2]}, epochs=3)

    loaded = read_source(folder)

    assert [run.name for run in loaded.runs] == ["cnn_1", "cnn_2", "mlp_1", "mlp_2"]
    assert loaded.runs[0].settings == {"model": "cnn", "seed": 1}
    assert loaded.metrics == ("loss", "val_loss", "val_accuracy")
    assert (loaded.name, loaded.step) == ("digits", "epoch")
    assert (loaded.metric, loaded.direction) == ("val_accuracy", "maximize")


@pytest.mark.parametrize("part", ["training", "training/cnn_1"])
def test_a_part_of_a_results_folder_will_do(experiment, part):
    folder = experiment({"model": ["cnn"], "seed": [1]})

    assert PlotMetrics(folder / part).runs == ("cnn_1",)


def test_runs_without_metrics_are_no_obstacle(experiment):
    folder = experiment({"model": ["cnn"], "seed": [1]})
    (folder / "training" / "cnn_2").mkdir()
    (folder / "training" / "cnn_2" / "run.json").write_text('{"state": "running"}')

    assert PlotMetrics(folder).runs == ("cnn_1",)


def test_a_damaged_run_json_costs_the_label_not_the_plot(experiment, caplog):
    folder = experiment({"model": ["cnn"], "seed": [1]})
    (folder / "training" / "cnn_1" / "run.json").write_text('{"state": "run')

    assert PlotMetrics(folder).runs == ("cnn_1",)
    assert "run.json is damaged" in caplog.text
    assert "plotting its run with no labels" in caplog.text


def test_a_wide_table_is_one_run():
    assert values(FRAME, "run", "loss") == [3.0, 2.0, 1.0]
    assert values(FRAME, "run", "accuracy") == [0.1, 0.3]  # a missing cell was not logged
    assert read_source(FRAME).step == "epoch"


def test_a_wide_table_of_one_metric_has_a_run_per_column():
    plots = PlotMetrics(pd.DataFrame({"cnn": [1.0, 2.0], "mlp": [2.0, 3.0]}))

    _, runs = plots.metric_recipe("val_accuracy")

    assert [run.name for run in runs] == ["cnn", "mlp"]


def test_a_long_table_keeps_runs_and_their_settings_apart():
    table = pd.concat(
        FRAME.assign(run=f"{model}_{seed}", model=model, seed=seed, **{"optimizer.lr": lr})
        for model, seed, lr in [("cnn", 1, 0.1), ("mlp", 2, 0.01)]
    )

    loaded = read_source(table)

    assert [run.settings for run in loaded.runs] == [
        {"model": "cnn", "seed": 1, "optimizer.lr": 0.1},
        {"model": "mlp", "seed": 2, "optimizer.lr": 0.01},
    ]
    assert loaded.metrics == ("loss", "accuracy")


def test_a_table_of_metric_and_value_columns_is_read():
    table = pd.DataFrame(
        {
            "run": ["a", "a", "a", "b"],
            "epoch": [0, 1, 0, 0],
            "metric": ["loss", "loss", "acc", "loss"],
            "value": [2.0, 1.0, 0.5, 3.0],
        }
    )

    assert values(table, "a", "loss") == [2.0, 1.0]
    assert values(table, "a", "acc") == [0.5]
    assert values(table, "b", "loss") == [3.0]


def test_csv_files_are_read_alone_in_lists_and_in_dicts(tmp_path):
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        FRAME.to_csv(tmp_path / run / "metrics.csv")  # with the index, as pandas does unasked
    paths = [tmp_path / run / "metrics.csv" for run in ("one", "two")]

    assert PlotMetrics(paths[0]).metrics == ("loss", "accuracy")
    assert PlotMetrics(paths).runs == ("one", "two")
    assert PlotMetrics({"a": paths[0], "b": FRAME}).runs == ("a", "b")
