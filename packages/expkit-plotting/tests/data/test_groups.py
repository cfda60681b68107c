"""What a figure of run folders averages."""

import warnings

import numpy as np
import pytest
import yaml

from expkit_plotting import PlotMetrics, PlotStyle, PlottingError
from expkit_plotting.commands import plot

STYLE = PlotStyle(filetypes=("png",))


def write(run_folder, experiment, swept, values, **config):
    folder = experiment / "training" / "_".join(map(str, swept.values()))
    run_folder(folder, swept, {"acc": values}, best_metric="acc")
    (folder / "config.yaml").write_text(yaml.safe_dump({**swept, **config}))


@pytest.fixture
def folds(tmp_path, run_folder):
    """Two models with two seeds of two folds; the configuration says what is repeated."""
    chance = np.random.default_rng(0)
    values = {}
    for model in "ab":
        for seed in (1, 2):
            for fold in (0, 1):
                swept = {"model": model, "fold": fold, "seed": seed}
                values[model, seed, fold] = chance.random(3).tolist()
                write(
                    run_folder,
                    tmp_path / "e",
                    swept,
                    values[model, seed, fold],
                    expkit={"repeat": ["seed", "fold"]},
                )
    return tmp_path / "e", values


def test_folds_are_averaged_and_seeds_are_counted(folds):
    experiment, values = folds

    figure = PlotMetrics(experiment, STYLE).metric("acc")

    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert axes.get_legend().get_title().get_text() == "model\nmean ± std, n = 2"
    (band, *_) = axes.collections
    seeds = np.array([np.mean([values["a", seed, fold] for fold in (0, 1)], axis=0)
                      for seed in (1, 2)])  # fmt: skip
    upper = seeds.mean(axis=0) + seeds.std(axis=0, ddof=1)
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(upper.max())


def test_what_is_repeated_may_be_chosen(folds, capsys):
    experiment, _ = folds

    by_fold = PlotMetrics(experiment, STYLE).metric("acc", repeat="seed")

    labels = [text.get_text() for text in by_fold.axes[0].get_legend().get_texts()]
    assert labels == ["a, 0", "a, 1", "b, 0", "b, 1"]
    with pytest.raises(PlottingError, match=r"repeat: .sed. is not a swept key\. Did you mean"):
        PlotMetrics(experiment, STYLE).metric("acc", repeat="sed")
    assert plot([str(experiment), "--metric", "acc", "--repeat", "fold,seed"]) == 0
    assert "acc_over_fold_seed" in capsys.readouterr().out


def test_an_axis_that_was_added_does_not_split_earlier_runs_off(tmp_path, run_folder):
    for seed in (1, 2):
        write(run_folder, tmp_path / "e", {"seed": seed}, [0.5], data="digits")
    for data in ("digits", "tones"):
        write(run_folder, tmp_path / "e", {"data": data, "seed": 3}, [0.5])

    figure = PlotMetrics(tmp_path / "e", STYLE).metric("acc")

    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["digits (n = 3)", "tones (n = 1)"]


def test_runs_of_other_epochs_within_a_group_are_named(tmp_path, run_folder, capsys):
    for seed, epochs in ((1, 4), (2, 8)):
        write(run_folder, tmp_path / "e", {"model": "a", "seed": seed}, [0.5], epochs=epochs)
        write(run_folder, tmp_path / "e", {"model": "b", "seed": seed}, [0.5], epochs=4)

    with pytest.warns(UserWarning, match=r"differ.*: epochs \(4, 8\), in a\."):
        PlotMetrics(tmp_path / "e", STYLE).metric("acc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PlotMetrics(tmp_path / "e", STYLE).metric("acc", group_by=None)
    assert plot([str(tmp_path / "e"), "--metric", "acc"]) == 0
    assert capsys.readouterr().err.count("epochs (4, 8)") == 1


def test_values_that_read_the_same_are_told_apart(tmp_path, run_folder):
    values = [None, "None", 1, True, "1"]
    for number, value in enumerate(values):
        folder = tmp_path / "e" / "training" / f"run_{number}"
        run_folder(folder, {"x": value, "seed": 1}, {"acc": [0.1 * number, 0.2]})

    (axes,) = PlotMetrics(tmp_path / "e", STYLE).metric("acc").axes

    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(labels) == ["'1'", "'None'", "1", "None", "True"]
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 5
