"""A metric over two swept keys."""

import shutil

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from expkit_plotting import PlotMetrics, PlotStyle, PlottingError

STYLE = PlotStyle(filetypes=("png",), dpi=80)
GRID = {"model": ["mlp", "cnn"], "lr": [0.1, 0.01, 0.001], "seed": [1, 2]}


def accuracy(model: str, lr: float, seed: int) -> float:
    return round({"mlp": 0.5, "cnn": 0.7}[model] + lr + 0.02 * seed, 6)


@pytest.fixture
def folder(tmp_path, run_folder):
    for model in GRID["model"]:
        for lr in GRID["lr"]:
            for seed in GRID["seed"]:
                run_folder(
                    tmp_path / "e" / "training" / f"{model}_{lr}_{seed}",
                    {"model": model, "lr": lr, "seed": seed},
                    {"acc": [0.1, accuracy(model, lr, seed)]},
                )
    return tmp_path / "e"


def names(figure) -> tuple[list[str], list[str]]:
    """Of the rows from the top, and of the columns from the left."""
    axes = figure.axes[0]
    return tuple([label.get_text() for label in labels]
                 for labels in (axes.get_yticklabels(), axes.get_xticklabels()))  # fmt: skip


def cells(figure) -> np.ndarray:
    (mesh,) = (c for c in figure.axes[0].collections if hasattr(c, "get_coordinates"))
    return np.ma.filled(mesh.get_array(), np.nan)


def written(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def colour_bar_name(figure) -> str:
    return figure.axes[0].child_axes[0].get_ylabel()


def hatched(figure) -> list[tuple[float, float]]:
    """Row and column of the cells that are hatched."""
    return [
        (patch.get_y() + 0.5, patch.get_x() + 0.5)
        for patch in figure.axes[0].patches
        if isinstance(patch, Rectangle) and patch.get_hatch()
    ]


def legend(figure) -> list[str]:
    entries = figure.axes[0].get_legend()
    return [] if entries is None else [text.get_text() for text in entries.get_texts()]


def test_cells_are_means_over_what_is_on_no_axis(folder):
    figure = PlotMetrics(folder, STYLE).heatmap("acc", x="lr", y="model")

    assert names(figure) == (["cnn", "mlp"], ["0.001", "0.01", "0.1"])
    np.testing.assert_allclose(
        cells(figure),
        [
            [np.mean([accuracy(model, lr, seed) for seed in (1, 2)]) for lr in (0.001, 0.01, 0.1)]
            for model in ("cnn", "mlp")
        ],
    )
    assert written(figure) == ["0.73", "0.74", "0.83", "0.53", "0.54", "0.63"]
    assert colour_bar_name(figure) == "Accuracy\nfinal value, mean over seed, n = 2"
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("lr", "model")


def test_the_axes_are_the_two_keys_that_differ(folder):
    plots = PlotMetrics(folder, STYLE)

    def axes(**options):
        (axes,) = plots.heatmap("acc", **options).axes
        return axes.get_xlabel(), axes.get_ylabel()

    assert axes() == ("lr", "model")
    assert axes(x="model") == ("model", "lr")
    assert axes(x="seed", y="lr") == ("seed", "lr")
    with pytest.raises(PlottingError, match=r"over two swept keys; 3 differ: model, lr, seed"):
        plots.heatmap("acc", repeat=[])
    with pytest.raises(PlottingError, match=r"x: 'model_' is not a swept key. Did you mean"):
        plots.heatmap("acc", x="model_")
    with pytest.raises(PlottingError, match=r"x and y are the same key, 'lr'"):
        plots.heatmap("acc", x="lr", y="lr")


def test_the_best_mean_is_bold(folder):
    plots = PlotMetrics(folder, STYLE)

    def bold(figure):
        texts = figure.axes[0].texts
        return [text.get_text() for text in texts if text.get_fontweight() == "bold"]

    assert bold(plots.heatmap("acc")) == ["0.83"]
    assert bold(plots.heatmap("acc", direction="minimize")) == ["0.53"]


def test_n_is_in_the_cells_where_it_differs(folder):
    shutil.rmtree(folder / "training" / "cnn_0.1_2")

    figure = PlotMetrics(folder, STYLE).heatmap("acc")

    assert written(figure).count("n = 2") == 5
    assert written(figure).count("n = 1") == 1
    assert colour_bar_name(figure).endswith("n = 1–2")


def test_axes_show_the_whole_sweep_in_its_order_with_what_is_skipped_and_what_is_missing(
    folder, grid
):
    swept = {"model": ["mlp", "cnn", "vit"], "lr": [0.1, 0.01, 0.001], "seed": [1, 2]}
    grid(folder, swept, skipped=lambda run: run["model"] == "vit" and run["lr"] == 0.1)

    figure = PlotMetrics(folder, STYLE).heatmap("acc")

    assert names(figure) == (["mlp", "cnn", "vit"], ["0.1", "0.01", "0.001"])
    assert np.isnan(cells(figure)[2]).all()
    assert hatched(figure) == [(2, 0)]
    assert legend(figure) == ["no value", "skipped by rule"]


def test_a_run_that_a_rule_skips_today_and_that_has_a_value_is_shown(folder, grid):
    grid(folder, GRID, skipped=lambda run: run["model"] == "mlp")

    figure = PlotMetrics(folder, STYLE).heatmap("acc")

    assert not np.isnan(cells(figure)).any()
    assert (hatched(figure), legend(figure)) == ([], [])


def test_a_damaged_grid_is_said_and_does_not_hide_the_values(folder):
    (folder / "grid_search.yaml").write_text("schema: 1\ngrid_id: gone\n")

    with pytest.warns(UserWarning, match="its order and what rules skip, is not shown"):
        figure = PlotMetrics(folder, STYLE).heatmap("acc")

    assert names(figure)[0] == ["cnn", "mlp"]


def test_values_that_read_the_same_have_columns_of_their_own(tmp_path, run_folder):
    for number, (x, y) in enumerate([(None, 1), ("None", 1), (True, 2), (1, 2)]):
        run_folder(tmp_path / "e" / "training" / f"r{number}", {"x": x, "y": y}, {"acc": [number]})

    figure = PlotMetrics(tmp_path / "e", STYLE).heatmap("acc", x="x", y="y")

    assert sorted(names(figure)[1]) == ["'None'", "1", "None", "True"]
    assert np.isfinite(cells(figure)).sum() == 4


@pytest.mark.filterwarnings("error")
def test_without_any_finite_value_all_cells_are_empty(tmp_path, run_folder):
    for x in (1, 2):
        for y in (1, 2):
            run = tmp_path / "e" / "training" / f"{x}_{y}"
            run_folder(run, {"x": x, "y": y}, {"loss": [float("nan")]})

    figure = PlotMetrics(tmp_path / "e", STYLE).heatmap("loss")

    assert np.isnan(cells(figure)).all()
    assert legend(figure) == ["no value"]
