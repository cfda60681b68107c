"""Final and best values of many runs, one row per group."""

import json

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer

from expkit_plotting import PlotMetrics, PlotStyle, PlottingError

STYLE = PlotStyle(filetypes=("png",), dpi=80)
VALUES = {  # by model and seed; the last but one is the best
    ("mlp", 1): [0.1, 0.6, 0.5],
    ("mlp", 2): [0.1, 0.8, 0.7],
    ("cnn", 1): [0.2, 0.95, 0.9],
    ("cnn", 2): [0.2, 0.85, 0.8],
}


def set_state(folder, state, **facts):
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "state": state, **facts}))


@pytest.fixture
def folder(tmp_path, run_folder):
    for (model, seed), values in VALUES.items():
        run_folder(
            tmp_path / "e" / "training" / f"{model}_{seed}",
            {"model": model, "seed": seed},
            {"acc": values},
            best_metric="acc",
        )
    return tmp_path / "e"


def row_names(figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def errors(figure) -> list[tuple[float, float]]:
    """Mean and deviation of each row, as the error bars show them."""
    ends = [
        container.lines[2][0].get_segments()[0][:, 0]
        for container in figure.axes[0].containers
        if isinstance(container, ErrorbarContainer)
    ]
    return [(float(np.mean(pair)), float(np.ptp(pair)) / 2) for pair in ends]


def bars(figure) -> list[float]:
    (container,) = (c for c in figure.axes[0].containers if isinstance(c, BarContainer))
    return [float(bar.get_width()) for bar in container]


def test_each_group_has_a_row_with_its_mean_its_spread_and_n(folder):
    figure = PlotMetrics(folder, STYLE).final("acc")

    assert row_names(figure) == ["cnn", "mlp"]
    np.testing.assert_allclose(
        errors(figure), [(0.85, np.std([0.9, 0.8], ddof=1)), (0.6, np.std([0.5, 0.7], ddof=1))]
    )
    assert figure.axes[0].get_xlabel() == "Accuracy\nfinal value, mean ± std, n = 2"
    assert figure.axes[0].get_ylabel() == "model"


def test_the_best_values_of_runs_can_be_drawn(folder):
    plots = PlotMetrics(folder, STYLE)

    figure = plots.final("acc", value="best")

    np.testing.assert_allclose([mean for mean, _ in errors(figure)], [0.9, 0.7])
    assert "best value" in figure.axes[0].get_xlabel()
    lowest = plots.final("acc", value="best", direction="minimize")
    np.testing.assert_allclose([mean for mean, _ in errors(lowest)], [0.2, 0.1])


def test_bars_begin_at_zero_and_points_stand_where_bars_would_hide_the_differences(folder):
    plots = PlotMetrics(folder, STYLE)
    close = {"a": {"acc": [0.98]}, "b": {"acc": [0.99]}}

    figure = plots.final("acc")
    assert figure.axes[0].get_xlim()[0] == 0
    np.testing.assert_allclose(bars(figure), [0.85, 0.6])
    figure = PlotMetrics(close, STYLE).final("acc")
    assert figure.axes[0].get_xlim()[0] > 0.9
    np.testing.assert_allclose(bars(PlotMetrics(close, STYLE).final("acc", marks="bars")),
                               [0.98, 0.99])  # fmt: skip


def test_values_over_many_decades_are_points_on_a_log_scale():
    runs = {f"r{power}": {"loss": [10.0**power]} for power in range(5)}

    (axes,) = PlotMetrics(runs, STYLE).final("loss").axes

    assert axes.get_xscale() == "log"
    assert not [c for c in axes.containers if isinstance(c, BarContainer)]


def test_a_zero_on_a_log_scale_has_its_place_and_is_told():
    runs = {"a": {"loss": [1e-6]}, "b": {"loss": [1.0]}, "c": {"loss": [0.0]}}

    (axes,) = PlotMetrics(runs, STYLE).final("loss").axes

    assert axes.get_xlabel() == "Loss\nfinal value, 0 drawn at 1e-06"
    low, high = axes.get_xlim()
    assert low < 1e-6 < 1 < high
    places = [axes.transData.transform((value, 0))[0] for value in (0, 1e-6)]
    assert places[0] == pytest.approx(places[1])


def test_only_completed_runs_have_a_final_value(folder):
    set_state(folder / "training" / "mlp_2", "running")
    plots = PlotMetrics(folder, STYLE)

    with pytest.warns(UserWarning, match=r"1 of 4 runs have not completed, .*: mlp_2\."):
        figure = plots.final("acc")

    assert row_names(figure) == ["cnn (n = 2)", "mlp (n = 1)"]
    np.testing.assert_allclose(bars(figure), [0.85, 0.5])
    for run in folder.glob("training/*"):
        set_state(run, "failed")
    with pytest.raises(PlottingError, match="No run has completed, so none has a final 'acc'"):
        PlotMetrics(folder, STYLE).final("acc")


def test_numbers_that_runs_have_saved_are_drawn_like_metrics(folder):
    for number, run in enumerate(sorted(folder.glob("training/*"))):
        (run / "results").mkdir()
        (run / "results" / "test.yaml").write_text(f"test_acc: {0.25 * number}\n")
    plots = PlotMetrics(folder, STYLE)

    figure = plots.final("test_acc")

    np.testing.assert_allclose(bars(figure), [0.125, 0.625])
    assert figure.axes[0].get_xlabel() == "Test accuracy\nmean ± std, n = 2"
    with pytest.raises(PlottingError, match=r"no metric 'test_ac'. Did you mean 'test_acc'"):
        plots.final("test_ac")


def test_inner_repetitions_are_averaged_first(tmp_path, run_folder):
    values = {(1, 0): 0.2, (1, 1): 0.4, (2, 0): 0.6, (2, 1): 0.8}
    for (seed, fold), value in values.items():
        run_folder(
            tmp_path / "e" / "training" / f"{seed}_{fold}",
            {"model": "cnn", "fold": fold, "seed": seed},
            {"acc": [value]},
        )

    figure = PlotMetrics(tmp_path / "e", STYLE).final("acc", repeat=["seed", "fold"])

    np.testing.assert_allclose(errors(figure), [(0.5, np.std([0.3, 0.7], ddof=1))])
    assert "n = 2" in figure.axes[0].get_xlabel()


def test_groups_have_the_colours_that_their_curves_have(folder):
    plots = PlotMetrics(folder, STYLE)

    (container,) = (c for c in plots.final("acc").axes[0].containers if isinstance(c, BarContainer))

    curves = {line.get_color() for line in plots.metric("acc").axes[0].lines}
    assert {to_hex(bar.get_facecolor()) for bar in container} == curves


def test_rows_are_in_the_order_of_the_sweep(folder, grid):
    grid(folder, {"model": ["mlp", "cnn"], "seed": [1, 2]})

    assert row_names(PlotMetrics(folder, STYLE).final("acc")) == ["mlp", "cnn"]


def test_the_best_groups_are_chosen_by_the_metrics_direction(folder):
    plots = PlotMetrics(folder, STYLE)

    figure = plots.final("acc", top=1)

    assert row_names(figure) == ["cnn"]
    assert "best 1 of 2 groups" in figure.axes[0].get_xlabel()
    assert row_names(plots.final("acc", top=1, direction="minimize")) == ["mlp"]


def test_a_run_that_ended_with_nan_is_no_part_of_the_mean_and_of_n():
    runs = {"a": {"loss": [1.0, np.nan]}, "b": {"loss": [1.0, 0.5]}, "c": {"loss": []}}

    figure = PlotMetrics(runs, STYLE).final("loss")

    assert row_names(figure) == ["a (n = 0)", "b (n = 1)", "c (n = 0)"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["no finite value"] * 2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"value": "last"}, r"value must be final or best; got 'last'"),
        ({"marks": "bar"}, r"marks must be one of .* Did you mean 'bars'"),
        ({"group_by": "modle"}, r"'modle' is not a swept key. Did you mean 'model'"),
        ({"top": 0}, r"top must be a whole number from 1"),
    ],
)
def test_a_wrong_option_names_the_right_ones(folder, options, complaint):
    with pytest.raises(PlottingError, match=complaint):
        PlotMetrics(folder, STYLE).final("acc", **options)
