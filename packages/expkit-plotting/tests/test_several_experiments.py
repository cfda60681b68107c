"""Several experiments in the same figures: all runs of each, and which experiment a run is of."""

import json

import pytest

from expkit_plotting import PlotMetrics, PlotStyle, PlottingError, restyle
from expkit_plotting.commands import plot

STYLE = PlotStyle(filetypes=("png",))


@pytest.fixture
def two(run_folder, tmp_path, monkeypatch):
    """Experiments a and b with the seeds 1 to 3, whose losses differ by 0.3."""
    for name, shift in (("a", 0.0), ("b", 0.3)):
        for seed in (1, 2, 3):
            losses = [seed + shift + 10 * epoch for epoch in range(3)]
            folder = tmp_path / "results" / name / "training" / f"mlp_{seed}"
            run_folder(folder, {"seed": seed}, {"loss": losses}, best_metric="loss")
            (folder / "config.yaml").write_text(f"lr: 0.1\nseed: {seed}\n")
    monkeypatch.chdir(tmp_path)
    return {"a": tmp_path / "results" / "a", "b": tmp_path / "results" / "b"}


def lines(figure) -> dict[str, list[float]]:
    """The curves by their entry in the legend."""
    (axes,) = figure.axes
    handles, labels = axes.get_legend().legend_handles, axes.get_legend().get_texts()
    by_colour = {line.get_color(): line for line in axes.get_lines()}
    return {
        label.get_text(): [round(float(y), 6) for y in by_colour[handle.get_color()].get_ydata()]
        for handle, label in zip(handles, labels, strict=True)
    }


def test_each_experiment_is_a_mean_over_all_of_its_runs(two):
    for source in (two, list(two.values())):
        plots = PlotMetrics(source, STYLE)
        figure = plots.metric("loss")

        assert len(plots.runs) == 6
        assert lines(figure) == {"a": [2.0, 12.0, 22.0], "b": [2.3, 12.3, 22.3]}
        assert figure.axes[0].get_title() == "a, b (6 runs)"
        assert "n = 3" in figure.axes[0].get_legend().get_title().get_text()


def test_a_key_that_one_of_them_has_not_swept_is_read_from_its_configurations(two, run_folder):
    swept = {"lr": 0.01, "seed": 1}
    run_folder(two["b"] / "training" / "mlp_0.01_1", swept, {"loss": [5.0]})

    recipe, runs = PlotMetrics(two).metric_recipe("loss")

    assert recipe.group_by == ("experiment", "lr")
    assert [(run.settings["experiment"], run.settings["lr"]) for run in runs] == [
        *[("a", 0.1)] * 3,
        *[("b", 0.01), ("b", 0.1), ("b", 0.1), ("b", 0.1)],
    ]


def test_an_experiment_stays_one_while_it_has_one_run(two, run_folder, tmp_path):
    run_folder(tmp_path / "young" / "training" / "mlp_1", {"seed": 1}, {"loss": [1.0, 2.0]})

    plots = PlotMetrics({"young": tmp_path / "young"})

    assert plots.runs == ("young/mlp_1",)
    _, (run,) = plots.metric_recipe("loss")
    assert run.settings == {"experiment": "young", "seed": 1}


def test_a_dict_of_runs_is_one_of_runs(two):
    runs = {"small": two["a"] / "training" / "mlp_1", "plain": {"loss": [2.0, 1.0]}}

    plots = PlotMetrics(runs)

    assert plots.runs == ("small", "plain")
    assert plots.metric_recipe("loss")[0].group_by is None


def test_a_run_beside_experiments_is_one_more_of_them(two):
    recipe, runs = PlotMetrics({**two, "baseline": {"loss": [1.0]}}).metric_recipe("loss")

    assert runs[-1].name == "baseline"
    assert runs[-1].settings == {"experiment": "baseline"}
    assert recipe.title == "a, b, baseline (7 runs)"


def test_a_swept_key_of_the_name_stays_the_users(two, run_folder, caplog):
    run_folder(two["a"] / "training" / "x", {"experiment": "x", "seed": 1}, {"loss": [1.0]})

    recipe, runs = PlotMetrics(two).metric_recipe("loss")

    assert recipe.group_by == ("experiment_id", "experiment")
    settings = {run.name: run.settings for run in runs}
    assert settings["a/x"] == {"experiment_id": "a", "experiment": "x", "seed": 1}
    assert "swept a key 'experiment' of their own" in caplog.text


def test_a_metric_that_one_of_them_lacks_is_drawn_for_the_others_and_a_warning_says_so(
    two, run_folder
):
    run_folder(two["b"] / "training" / "mlp_1", {"seed": 1}, {"loss": [1.0], "f1": [0.5]})

    with pytest.warns(UserWarning, match=r"No run of 'a' has logged f1\."):
        figure = PlotMetrics(two, STYLE).metric("f1")

    assert figure.axes[0].get_title() == "b (1 run)"


def test_what_they_say_differently_is_told(two, run_folder, caplog):
    folder = two["b"] / "training" / "mlp_9"
    run_folder(folder, {"seed": 9}, {"loss": [1.0, 2.0, 3.0]}, total=1)  # steps, not epochs
    (folder / "config.yaml").write_text("expkit: {repeat: [seed, fold]}\n")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "started_at": "2026-01-01T00:00:00Z"}))

    recipe, _ = PlotMetrics(two).metric_recipe("loss")

    assert recipe.step == "step"
    assert "counts different things: epoch in 'a', step in 'b'" in caplog.text
    assert "expkit.repeat differs: seed in 'a', seed, fold in 'b'" in caplog.text


def test_the_command_draws_beside_the_first_ones_own_figures(two, capsys):
    plot(["results/a"])
    own = (two["a"] / "plots" / "loss.png").read_bytes()
    capsys.readouterr()

    assert plot(["results/a", "results/b"]) == 0

    assert capsys.readouterr().out == (
        "1 plot over all runs of a, b: results/a/plots/loss_of_a+b.{png,pdf}\n"
    )
    assert (two["a"] / "plots" / "loss.png").read_bytes() == own
    assert not (two["b"] / "plots").exists()


def test_figures_of_several_are_drawn_again_when_one_of_them_has_changed(two, run_folder, capsys):
    plot(["results/a", "results/b"])
    capsys.readouterr()

    plot(["results/a", "results/b"])
    assert "(up to date)" in capsys.readouterr().out

    run_folder(two["b"] / "training" / "mlp_1", {"seed": 1}, {"loss": [1.0]})
    plot(["results/a", "results/b"])
    assert "(up to date)" not in capsys.readouterr().out


def test_figures_of_several_go_elsewhere_and_runs_are_named_with_their_experiment(two, capsys):
    assert plot(["results/a", "results/b", "--out", "figures", "--metric", "loss"]) == 0
    assert plot(["results/a", "results/b", "--out", "figures", "b/mlp_1"]) == 0

    assert {path.name for path in (two["a"].parent.parent / "figures").glob("*.png")} == {
        "loss_of_a+b.png",
        "b_mlp_1.png",
    }


def test_experiments_of_one_name_are_told_apart_by_where_they_are(two, capsys):
    old = two["a"].parent.parent / "old"
    old.mkdir()
    two["a"].rename(old / "digits")
    two["b"].rename(two["b"].with_name("digits"))

    assert plot(["old/digits", "results/digits/training"]) == 0

    assert "of old/digits, results/digits: old/digits/plots/loss_of_old_digits+results_digits" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["results/a", "results/a"], "is given twice"),
        (["results/a", "results/c"], "There is no run, and no experiment, 'results/c'."),
        (["results/a", "results/b", "mlp_1"], "fits several runs: a/mlp_1, b/mlp_1."),
    ],
)
def test_what_cannot_be_drawn_together_is_refused(two, words, text, capsys):
    assert plot(words) == 1

    assert text in capsys.readouterr().err


def test_an_experiment_without_metrics_yet_is_named(two):
    (two["b"].with_name("c") / "training").mkdir(parents=True)

    with pytest.raises(PlottingError, match=r"results/c'"):
        PlotMetrics({"a": two["a"], "c": two["b"].with_name("c")})


@pytest.mark.parametrize("style", ["Default", "Thesis"])
def test_a_figure_of_several_can_be_restyled(two, style, tmp_path):
    keeping = PlotStyle(filetypes=("png",), pickle=True)
    PlotMetrics(two, keeping).metric("loss", save_to=tmp_path / "kept" / "loss")

    figure = restyle(tmp_path / "kept" / "loss", style)

    drawn = PlotMetrics(two, style).metric("loss")
    assert lines(figure) == lines(drawn) == {"a": [2.0, 12.0, 22.0], "b": [2.3, 12.3, 22.3]}


def test_the_first_experiments_style_is_the_default(two):
    (two["a"] / "grid_search.yaml").write_text("config: {plotting: {filetypes: [svg], dpi: 50}}\n")

    assert PlotMetrics(two).style.filetypes == ("svg",)
    assert plot(["results/a", "results/b"]) == 0
    assert [path.name for path in two["a"].glob("plots/*.svg")] == ["loss_of_a+b.svg"]
