"""Tables as other tools write them: every point is there, and no column is taken for a metric."""

import pandas as pd
import pytest

from expkit_plotting import PlotMetrics, PlottingError
from expkit_plotting._data.sources import read_source

LIGHTNING = """\
epoch,lr-SGD,step,train_loss,val_loss
,0.1,0,,
0,,0,0.9,
0,,1,0.8,
0,,2,0.7,
0,,3,0.6,
0,,3,,0.65
,0.1,4,,
1,,4,0.5,
1,,5,0.4,
1,,6,0.35,
1,,7,0.3,
1,,7,,0.45
,0.01,8,,
2,,8,0.29,
2,,9,0.28,
2,,10,0.27,
2,,11,0.26,
2,,11,,0.4
"""
WANDB_CHART = """\
"Step","calm-sea-2 - _step","calm-sea-2 - _step__MIN","calm-sea-2 - _step__MAX",\
"calm-sea-2 - val_loss","calm-sea-2 - val_loss__MIN","calm-sea-2 - val_loss__MAX",\
"big - oak - val_loss","big - oak - val_loss__MIN","big - oak - val_loss__MAX"
"0","0","0","0","2.0","2.0","2.0","","",""
"1","1","1","1","1.5","1.5","1.5","1.8","1.8","1.8"
"2","2","2","2","1.2","1.1","1.3","","",""
"""
WANDB_HISTORY = """\
,loss,_timestamp,_runtime,_step,epoch
0,2.0,1700000000.5,1.5,0,0
1,1.5,1700000001.5,2.5,1,0
2,1.2,1700000002.5,3.5,2,1
"""
TENSORBOARD = """\
Wall time,Step,Value
1700000000.5,0,2.0
1700000001.5,10,1.5
1700000002.5,20,1.0
"""
MLFLOW_METRICS = """\
run_id,key,value,step,timestamp
a1,loss,2.0,0,1700000000000
a1,loss,1.0,1,1700000001000
a1,acc,0.5,1,1700000001000
b2,loss,3.0,0,1700000000000
b2,loss,NaN,1,1700000001000
"""
MLFLOW_CHART = """\
Run,Run ID,metric,step,timestamp,value
calm-sea,a1a1a1a1a1,loss,0,1700000000000,2.0
calm-sea,a1a1a1a1a1,loss,1,1700000001000,1.0
calm-sea,b2b2b2b2b2,loss,0,1700000000000,3.0
calm-sea,b2b2b2b2b2,loss,1,1700000001000,2.5
big-oak,c3c3c3c3c3,loss,0,1700000000000,4.0
"""
MLFLOW_RUNS = """\
Start Time,Duration,Run ID,Name,Source Type,Source Name,User,Status,lr,loss
2026-01-01 10:00:00,3.1s,a1,calm-sea,LOCAL,train.py,me,FINISHED,0.1,0.5
2026-01-01 10:00:04,3.0s,b2,big-oak,LOCAL,train.py,me,FINISHED,0.01,0.4
"""


@pytest.fixture
def points(tmp_path):
    """What is read from a file of this name: points by run and metric, and the step's name."""

    def read(content, name="metrics.csv"):
        path = tmp_path / name
        path.write_text(content)
        experiment = read_source(path)
        return experiment.step, {
            run.name: {
                metric: list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))
                for metric, curve in run.metrics.items()
            }
            for run in experiment.runs
        }

    return read


def test_lightning_logs_many_steps_per_epoch(points, caplog):
    step, runs = points(LIGHTNING)

    curves = runs["metrics"]
    assert step == "step"
    assert {metric: len(curve) for metric, curve in curves.items()} == {
        "lr-SGD": 3,
        "train_loss": 12,
        "val_loss": 3,
    }
    assert curves["val_loss"] == [(3, 0.65), (7, 0.45), (11, 0.4)]
    assert caplog.text == ""


def test_a_chart_of_weights_and_biases_has_a_column_per_run(points):
    step, runs = points(WANDB_CHART)

    assert step == "Step"
    assert runs == {
        "calm-sea-2": {"val_loss": [(0, 2.0), (1, 1.5), (2, 1.2)]},
        "big - oak": {"val_loss": [(1, 1.8)]},
    }


def test_a_chart_without_extremes_has_a_column_per_run_too(points):
    chart = '"Step","calm-sea-2 - val_loss","big - oak - val_loss"\n"0","2.0",""\n"5","1.5","1.0"\n'

    assert points(chart) == (
        "Step",
        {"calm-sea-2": {"val_loss": [(0, 2.0), (5, 1.5)]}, "big - oak": {"val_loss": [(5, 1.0)]}},
    )


@pytest.mark.parametrize("axis", ["trainer/global_step", "train/epoch", "examples seen"])
def test_the_x_axis_of_a_chart_may_be_any_metric(points, axis):
    chart = (
        f'"{axis}","calm - loss","calm - loss__MIN","calm - loss__MAX"\n'
        '"100","2.0","1.9","2.1"\n"200","1.5","1.4","1.6"\n'
    )

    assert points(chart) == (axis, {"calm": {"loss": [(100, 2.0), (200, 1.5)]}})


def test_steps_that_lightning_logs_to_weights_and_biases_are_no_metric(points):
    history = (
        ",train/loss,val/loss,trainer/global_step,_step,epoch\n"
        "0,2.0,,49,0,0\n1,1.0,,99,1,0\n2,,0.9,99,2,0\n"
    )

    assert points(history) == (
        "trainer/global_step",
        {"metrics": {"train/loss": [(49, 2.0), (99, 1.0)], "val/loss": [(99, 0.9)]}},
    )


def test_the_history_of_a_weights_and_biases_run_has_columns_of_its_own(points):
    step, runs = points(WANDB_HISTORY)

    assert (step, runs) == ("_step", {"metrics": {"loss": [(0, 2.0), (1, 1.5), (2, 1.2)]}})


def test_the_file_of_tensorboard_says_which_metric_it_is(points, caplog):
    curve = [(0, 2.0), (10, 1.5), (20, 1.0)]

    assert points(TENSORBOARD, "run-cnn_1-tag-val_loss.csv") == (
        "Step",
        {"cnn_1": {"val_loss": curve}},
    )
    assert points(TENSORBOARD, "run-.-tag-loss (1).csv") == ("Step", {"run": {"loss": curve}})
    assert caplog.text == ""

    assert points(TENSORBOARD, "first.csv") == ("Step", {"first": {"Value": curve}})
    assert "first: nothing says which metric Value is. Keep TensorBoard's name" in caplog.text


def test_files_of_tensorboard_are_runs_with_several_metrics(tmp_path):
    paths = []
    for run in ("a", "b"):
        for metric in ("loss", "accuracy"):
            paths.append(tmp_path / f"run-{run}-tag-{metric}.csv")
            paths[-1].write_text(TENSORBOARD)

    plots = PlotMetrics(paths)

    assert (plots.runs, plots.metrics) == (("a", "b"), ("loss", "accuracy"))
    with pytest.raises(PlottingError, match="Run 'a': a metric is in several of its files"):
        PlotMetrics([*paths, paths[0]])


def test_what_mlflow_downloads_has_a_row_per_value(points):
    step, runs = points(MLFLOW_METRICS)

    assert step == "step"
    assert runs == {
        "a1": {"loss": [(0, 2.0), (1, 1.0)], "acc": [(1, 0.5)]},
        "b2": {"loss": [(0, 3.0)], "acc": []},  # a group without a point says n = 0
    }


def test_what_mlflow_downloads_of_one_run_need_not_name_it(points):
    content = "key,value,step,timestamp\nloss,2.0,0,1000\nloss,1.0,1,2000\nacc,0.5,1,2000\n"

    assert points(content, "calm-sea.csv") == (
        "step",
        {"calm-sea": {"loss": [(0, 2.0), (1, 1.0)], "acc": [(1, 0.5)]}},
    )


def test_runs_of_one_name_in_mlflow_stay_apart(points):
    _, runs = points(MLFLOW_CHART)

    assert runs == {
        "calm-sea (a1a1a1a1)": {"loss": [(0, 2.0), (1, 1.0)]},
        "calm-sea (b2b2b2b2)": {"loss": [(0, 3.0), (1, 2.5)]},
        "big-oak": {"loss": [(0, 4.0)]},
    }


def test_metrics_that_mlflow_got_without_steps_are_drawn_over_time(points):
    content = (
        "run_id,key,value,step,timestamp\na,loss,2,0,1000\na,loss,1,0,2000\na,loss,0.5,0,3000\n"
    )

    assert points(content) == ("timestamp", {"a": {"loss": [(1000, 2), (2000, 1), (3000, 0.5)]}})


@pytest.mark.parametrize(
    "table",
    [
        MLFLOW_RUNS,
        "Name,State,Runtime,lr,val_loss\ncalm,finished,10,0.1,0.5\noak,finished,12,0.01,0.4\n",
        "run_id,experiment_id,status,metrics.loss,params.lr\na1,0,FINISHED,0.5,0.1\n",
    ],
    ids=["MLflow", "Weights & Biases", "search_runs, with a single run"],
)
def test_a_table_of_runs_has_no_curves(points, table):
    with pytest.raises(
        PlottingError, match=r"metrics has one row per run, so it says how the runs"
    ):
        points(table)


def test_points_that_share_their_step_are_counted(points, caplog):
    step, runs = points("epoch,loss\n0,3\n1,2\n1,1\n,0.5\n")

    assert (step, runs["metrics"]["loss"]) == ("epoch", [(0, 3), (1, 1)])
    assert (
        "Only 2 of 4 points are drawn: where several have one epoch, the last; none without it."
        in caplog.text
    )


def test_values_of_one_step_are_not_averaged():
    table = pd.DataFrame(
        {"run": "a", "step": [0, 1, 1], "metric": "loss", "value": [3.0, 2.0, 1.0]}
    )

    (run,) = read_source(table).runs

    assert run.metrics["loss"].values.tolist() == [3.0, 1.0]


def test_rows_without_a_run_are_refused():
    table = pd.DataFrame({"run": ["a", None], "step": [0, 1], "loss": [3.0, 2.0]})

    with pytest.raises(PlottingError, match="DataFrame: 1 rows have no name in column 'run'"):
        read_source(table)


def test_columns_of_one_name_are_refused():
    table = pd.DataFrame([[0, 1.0, 2.0]], columns=["step", "loss", "loss"])

    with pytest.raises(PlottingError, match="DataFrame has several columns called loss"):
        read_source(table)


def test_runs_that_count_different_things_are_told(caplog):
    frames = {
        "a": pd.DataFrame({"epoch": [0, 1], "loss": [2.0, 1.0]}),
        "b": pd.DataFrame({"step": [0, 100], "loss": [2.0, 1.0]}),
    }

    assert read_source(frames).step == "step"
    assert "counts different things: epoch in 'a', step in 'b'." in caplog.text


def test_all_runs_of_several_experiments_are_read(experiment):
    folders = {
        name: experiment({"model": ["cnn"], "seed": [1, 2]}, name=name) for name in ("a", "b")
    }

    loaded = read_source(folders)

    assert [(run.name, run.settings) for run in loaded.runs] == [
        ("a/cnn_1", {"model": "cnn", "seed": 1, "experiment": "a"}),
        ("a/cnn_2", {"model": "cnn", "seed": 2, "experiment": "a"}),
        ("b/cnn_1", {"model": "cnn", "seed": 1, "experiment": "b"}),
        ("b/cnn_2", {"model": "cnn", "seed": 2, "experiment": "b"}),
    ]
    recipe, _ = PlotMetrics(folders).metric_recipe("loss")
    assert recipe.group_by == ("experiment", "model")
