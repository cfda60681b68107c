import itertools
import json

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from expkit_plotting import PlotMetrics, PlotStyle

STYLE = PlotStyle(filetypes=("png",), dpi=100)


def legend_texts(figure) -> list[str]:
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend() is not None]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def legend_title(figure) -> str:
    return figure.axes[0].get_legend().get_title().get_text()


def falling(count: int, length: int = 12) -> dict[str, dict[str, list[float]]]:
    return {
        f"run_{i}": {"loss": [2.0 / (step + 1) + i for step in range(length)]} for i in range(count)
    }


def pixels(figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


# ---------------------------------------------------------------- one metric of many runs


def test_runs_are_averaged_over_seeds_and_named_by_what_differs(experiment):
    folder = experiment(
        {"model": ["mlp", "cnn"], "optimizer.lr": [0.1, 0.001], "data": ["x"], "seed": [1, 2, 3]}
    )

    figure = PlotMetrics(folder, STYLE).metric("val_accuracy")

    assert legend_texts(figure) == ["cnn, 0.001", "cnn, 0.1", "mlp, 0.001", "mlp, 0.1"]
    assert legend_title(figure) == "model, lr\nmean ± std, n = 3"
    assert len(figure.axes[0].collections) == 4  # bands


def test_the_mean_is_drawn_where_the_runs_are(run_folder, tmp_path):
    for seed, values in [(1, [0.0, 1.0, 2.0]), (2, [2.0, 3.0])]:
        run_folder(
            tmp_path / "e" / "training" / f"r_{seed}", {"model": "m", "seed": seed}, {"f1": values}
        )

    figure = PlotMetrics(tmp_path / "e", STYLE).metric("f1")

    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [1.0, 2.0, 2.0])


def test_unequal_numbers_of_runs_are_shown(run_folder, tmp_path):
    for name, model, seed, length in [("a", "x", 1, 4), ("b", "x", 2, 2), ("c", "y", 1, 4)]:
        run_folder(
            tmp_path / "e" / "training" / name,
            {"model": model, "seed": seed},
            {"loss": [1.0] * length},
        )

    figure = PlotMetrics(tmp_path / "e", STYLE).metric("loss")

    assert legend_texts(figure) == ["x (n = 1–2)", "y (n = 1)"]


def test_groups_may_be_chosen_by_the_tail_of_a_key(experiment):
    folder = experiment({"model": ["mlp", "cnn"], "optimizer.lr": [0.1, 0.001], "seed": [1, 2]})

    figure = PlotMetrics(folder, STYLE).metric("val_accuracy", group_by="lr")

    assert legend_texts(figure) == ["0.001", "0.1"]
    assert "n = 4" in legend_title(figure)


def test_a_name_that_says_nothing_is_called_by_what_it_is_of(experiment):
    folder = experiment(
        {"model.name": ["mlp", "cnn"], "optimizer.name": ["sgd", "adam"], "seed": [1, 2]}
    )
    plots = PlotMetrics(folder, STYLE)

    assert legend_title(plots.metric("loss")).startswith("model, optimizer\n")
    assert legend_texts(plots.metric("loss", group_by="optimizer")) == ["adam", "sgd"]


def test_one_and_one_point_zero_are_one_group(run_folder, tmp_path):
    for name, rate in [("a", 1), ("b", 1.0), ("c", 2)]:
        run_folder(tmp_path / "e" / "training" / name, {"lr": rate, "seed": name}, {"loss": [1.0]})

    figure = PlotMetrics(tmp_path / "e", STYLE).metric("loss")

    assert legend_texts(figure) == ["1 (n = 2)", "2 (n = 1)"]


def test_a_group_without_a_point_counts_no_runs():
    import pandas as pd

    rows = [
        {
            "run": f"{model}_{seed}",
            "model": model,
            "seed": seed,
            "epoch": epoch,
            "loss": base / epoch,
        }
        for model, base in [("x", float("nan")), ("y", 1.0)]
        for seed in (1, 2)
        for epoch in (1, 2)
    ]

    figure = PlotMetrics(pd.DataFrame(rows), STYLE).metric("loss")

    assert legend_texts(figure) == ["x (n = 0)", "y (n = 2)"]


def test_a_single_run_beside_a_grid_stands_alone(experiment, run_folder):
    folder = experiment({"model": ["mlp", "cnn"], "seed": [1, 2]})
    run_folder(folder / "training" / "by_hand", {}, {"loss": [1.0, 0.5]})

    figure = PlotMetrics(folder, STYLE).metric("loss")

    assert legend_texts(figure) == ["cnn (n = 2)", "mlp (n = 2)", "by_hand (n = 1)"]


def test_every_run_can_stand_alone(experiment):
    folder = experiment({"model": ["mlp", "cnn"], "seed": [1, 2]})

    figure = PlotMetrics(folder, STYLE).metric("val_accuracy", group_by=None)

    assert legend_texts(figure) == ["cnn_1", "cnn_2", "mlp_1", "mlp_2"]


@pytest.mark.parametrize(("metric", "best"), [("loss", "run_0"), ("accuracy", "run_4")])
def test_top_keeps_the_best_by_the_metrics_direction(metric, best):
    runs = {f"run_{i}": {metric: [float(i), float(i)]} for i in range(5)}

    figure = PlotMetrics(runs, STYLE).metric(metric, top=1)

    assert legend_texts(figure) == [best]


def test_the_direction_of_the_experiments_own_metric_is_known(run_folder, tmp_path):
    for i in range(3):
        folder = run_folder(tmp_path / "e" / "training" / f"r{i}", {"x": i}, {"cost": [float(i)]})
        record = json.loads((folder / "run.json").read_text())
        record["best"] = {"metric": "cost", "direction": "minimize", "value": 0, "step": 0}
        (folder / "run.json").write_text(json.dumps(record))

    figure = PlotMetrics(tmp_path / "e", STYLE).metric("cost", top=1)

    assert legend_texts(figure) == ["0"]


def test_a_direction_can_be_given():
    runs = {f"run_{i}": {"loss": [float(i)]} for i in range(3)}

    figure = PlotMetrics(runs, STYLE).metric("loss", top=1, direction="maximize")

    assert legend_texts(figure) == ["run_2"]


def test_many_runs_become_bands_with_the_best_highlighted():
    figure = PlotMetrics(falling(40), STYLE).metric("loss")

    assert legend_texts(figure)[:5] == [f"run_{i}" for i in range(5)]
    assert legend_texts(figure)[5:] == ["median of 40 runs", "25–75 % of runs", "5–95 % of runs"]
    assert legend_title(figure) == "best 5 of 40"
    assert len(figure.axes[0].lines) == 6


def test_few_groups_of_many_runs_stay_groups(experiment):
    folder = experiment({"model": ["mlp", "cnn"], "seed": list(range(20))}, epochs=4)

    assert legend_texts(PlotMetrics(folder, STYLE).metric("loss")) == ["cnn", "mlp"]


def test_all_lines_are_one_collection_on_request():
    figure = PlotMetrics(falling(40), STYLE).metric("loss", lines="all")

    (collection,) = [
        artist for artist in figure.axes[0].collections if isinstance(artist, LineCollection)
    ]
    assert len(collection.get_segments()) == 40
    assert legend_texts(figure)[-1] == "all 40 runs"


def test_a_group_keeps_its_colour_from_metric_to_metric(experiment):
    plots = PlotMetrics(
        experiment({"model": ["mlp", "cnn"], "lr": [0.1, 0.01], "seed": [1, 2]}), STYLE
    )

    styles = [
        [(line.get_color(), line.get_linestyle()) for line in plots.metric(name).axes[0].lines]
        for name in ("loss", "val_accuracy")
    ]

    assert styles[0] == styles[1]
    assert len(set(styles[0])) == 4


def test_epochs_are_whole_numbers_and_labels_are_words(experiment):
    figure = PlotMetrics(experiment({"model": ["a", "b"]}, epochs=7), STYLE).metric("val_accuracy")
    figure.canvas.draw()

    (axes,) = figure.axes
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Epoch", "Validation accuracy")
    assert axes.get_title() == "digits (2 runs)"


def test_labels_and_titles_can_be_switched_off(experiment):
    style = PlotStyle(add_titles=False, add_xlabels=False, add_ylabels=False)

    (axes,) = PlotMetrics(experiment({"model": ["a", "b"]}), style).metric("loss").axes

    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("", "", "")


def test_a_diverged_run_gets_a_log_scale_instead_of_hiding_the_others():
    runs = {"good": {"loss": [2.0, 1.0, 0.5]}, "bad": {"loss": [2.0, 1e3, 1e6]}}

    assert PlotMetrics(runs, STYLE).metric("loss").axes[0].get_yscale() == "log"


@pytest.mark.parametrize("options", [{}, {"lines": "all"}, {"lines": "bands"}])
@pytest.mark.parametrize("nothing", [[np.nan, np.nan], [np.inf, -np.inf], []])
def test_a_run_without_a_finite_value_is_drawn_as_nothing(nothing, options):
    beside = PlotMetrics({"a": {"loss": nothing}, "b": {"loss": [1, 2]}}, STYLE)
    alone = PlotMetrics({"a": {"loss": nothing}}, STYLE)

    assert {"a", "b"} <= set(legend_texts(beside.metric("loss", **options)))
    for figure in (alone.metric("loss", **options), alone.run()):
        assert [text.get_text() for text in figure.axes[0].texts] == ["no finite values"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", [{}, {"lines": "all"}, {"lines": "bands"}])
@pytest.mark.parametrize(
    "values",
    [
        [1e300, 1.7e308],
        [1e-300, 1e-308],
        [-1.7e308, 1.7e308],
        [5.0, 5.0],
        [0.0, 0.0],
        [1e16, 1e16 + 4],
        [-3.0, -1e9],
    ],
)
def test_values_of_any_size_are_drawn_without_a_warning(values, options):
    runs = {f"r{i}": {"loss": values} for i in range(3)}

    pixels(PlotMetrics(runs, STYLE).metric("loss", **options))


def test_a_band_that_reaches_zero_does_not_forbid_the_log_scale(run_folder, tmp_path):
    losses = {("a", 1): [2.0, 1e6], ("a", 2): [2.0, 1.0], ("b", 1): [2.0, 0.5], ("b", 2): [2, 0.6]}
    for (model, seed), values in losses.items():
        run_folder(
            tmp_path / "e" / "training" / f"{model}_{seed}",
            {"model": model, "seed": seed},
            {"loss": values},
        )

    (axes,) = PlotMetrics(tmp_path / "e", STYLE).metric("loss").axes

    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] > 0.1


def test_a_zero_on_a_log_scale_is_drawn_at_the_smallest_value_and_told():
    losses = [10.0 ** (6 - step) for step in range(10)]
    with_zero = [0.0 if step == 4 else loss for step, loss in enumerate(losses)]

    plain, zero = (
        PlotMetrics({"a": {"loss": values}}, STYLE).metric("loss").axes[0]
        for values in (losses, with_zero)
    )

    assert (plain.get_yscale(), zero.get_yscale()) == ("log", "log")
    assert plain.get_ylim() == pytest.approx(zero.get_ylim())
    height = zero.transData.transform([(4, 0.0), (9, 1e-3)])[:, 1]
    assert height[0] == height[1] > zero.get_window_extent().y0 + 1
    assert (plain.get_ylabel(), zero.get_ylabel()) == ("Loss", "Loss, 0 drawn at 0.001")


def test_a_zero_on_a_log_scale_is_told_by_a_warning_where_axes_have_no_names():
    style = PlotStyle(add_ylabels=False)

    with pytest.warns(UserWarning, match=r"Loss: zeros are drawn at 0\.001, on a log scale"):
        PlotMetrics({"a": {"loss": [1e5, 0.0, 1e-3]}}, style).metric("loss")


def test_a_value_is_on_the_axis_as_it_is_not_as_an_offset():
    figure = PlotMetrics({"a": {"acc": [0.99991, 0.99993, 0.99995]}}, STYLE).metric("acc")
    figure.canvas.draw()

    (axes,) = figure.axes
    assert axes.yaxis.get_offset_text().get_text() == ""
    assert "0.999920" in [tick.get_text() for tick in axes.get_yticklabels()]


def coloured(figure) -> int:
    """Pixels of the axes, without its frame, that are neither white nor the grid's grey."""
    image = pixels(figure)
    box = figure.axes[0].get_window_extent()
    height = image.shape[0]
    inside = image[
        height - int(box.y1) + 4 : height - int(box.y0) - 4, int(box.x0) + 4 : int(box.x1) - 4, :3
    ]
    return int((inside.min(axis=2) < 220).sum())


BARE = PlotStyle(dpi=100, add_titles=False, rcParams={"axes.grid": False, "legend.labelcolor": "w"})


@pytest.mark.parametrize("options", [{}, {"lines": "all"}, {"lines": "bands"}])
@pytest.mark.parametrize("values", [[0.5], [0.5, np.nan, 0.6, np.nan] * 3])
def test_points_without_neighbours_are_seen(values, options):
    runs = {f"r{i}": {"acc": [value + i / 10 for value in values]} for i in range(2)}
    options = {"top": 1, **options} if options.get("lines") == "bands" else options

    drawn = PlotMetrics(runs, BARE).metric("acc", **options)

    drawn.axes[0].get_legend().remove()
    nothing = PlotMetrics({"a": {"acc": [np.nan]}}, BARE).metric("acc")
    nothing.axes[0].texts[0].remove()
    assert coloured(nothing) == 0
    assert coloured(drawn) > 20


# ---------------------------------------------------------------- all metrics of one run


def test_metrics_of_one_quantity_share_a_panel(experiment):
    figure = PlotMetrics(experiment({"model": ["a"]}), STYLE).run()

    assert [axes.get_ylabel() for axes in figure.axes] == ["Loss", "Validation accuracy"]
    assert legend_texts(figure) == ["Train", "Validation"]


@pytest.mark.parametrize("name", ["mlp_2", "lp_2", 3, "3"])
def test_a_run_goes_by_name_part_or_number(experiment, name):
    plots = PlotMetrics(experiment({"model": ["mlp", "cnn"], "seed": [1, 2]}), STYLE)

    assert plots.run_recipe(name)[0].title == "mlp_2"


def test_a_number_is_the_one_in_the_grid(experiment):
    folder = experiment({"model": ["mlp", "cnn"], "seed": [1, 2]})
    (folder / "grid_search.yaml").write_text("schema: 1\ngrid_id: a1b2c3\n")
    (folder / "grids" / "a1b2c3").mkdir(parents=True)
    facts = {"overrides": [], "values": {}, "config_hash": None, "skipped_by": None}
    lines = [json.dumps({"index": i, "run_name": f"mlp_{i}", **facts}) + "\n" for i in (1, 2)]
    (folder / "grids" / "a1b2c3" / "grid_search.jsonl").write_text("".join(lines))

    assert PlotMetrics(folder, STYLE).run_recipe("1")[0].title == "mlp_1"


def test_a_metric_of_one_step_does_not_cut_the_others():
    figure = PlotMetrics({"r": {"loss": [3.0, 2.0, 1.0], "test_f1": [0.5]}}, STYLE).run()

    assert figure.axes[0].get_xlim()[1] > 2
    assert [axes.get_xlabel() for axes in figure.axes] == ["Step", "Step"]


def test_one_run_may_have_many_metrics():
    metrics = {f"metric_{i}": [1.0, 2.0] for i in range(9)}

    figure = PlotMetrics({"run": metrics}, STYLE).run()

    assert len([axes for axes in figure.axes if axes.get_visible()]) == 9


def test_a_run_of_too_many_metrics_shows_some_and_says_so(monkeypatch):
    monkeypatch.setattr("expkit_plotting._kinds.one_run.MOST_PANELS", 4)
    metrics = {f"norm_{i}": [1.0, 2.0] for i in range(9)}

    with pytest.warns(UserWarning, match=r"has 9 metrics, of which the figure shows 4; choose"):
        figure = PlotMetrics({"run": metrics}, STYLE).run()

    assert [axes.get_ylabel() for axes in figure.axes] == [f"Norm {i}" for i in range(4)]


def test_the_title_of_a_tall_figure_stays_at_its_edge():
    runs = {"run": {f"norm_{i}": [1.0, 2.0] for i in range(8)}}

    figure = PlotMetrics(runs, PlotStyle(figsize=(2.5, 3.0))).run()

    (title,) = figure.texts
    assert figure.get_size_inches()[1] == 18
    assert figure.bbox.y1 - title.get_window_extent().y1 < 10
    assert title.get_window_extent().y0 > figure.axes[0].get_window_extent().y1


LONG = "accuracy_of_the_very_first_layer_on_all_of_the_held_out_examples_of_the_largest_class"


@pytest.mark.parametrize("size", [(6.4, 4.0), (3.0, 1.9)])
@pytest.mark.parametrize("metric", ["val_accuracy", LONG, LONG.replace("_", "-")])
def test_titles_and_names_of_axes_never_leave_their_place(size, metric):
    runs = {"run_" + "with_a_long_name_" * 9: {metric: [1.0, 2.0], "a": [1], "b": [1], "c": [1]}}
    plots = PlotMetrics(runs, PlotStyle(figsize=size))

    for figure in (plots.metric(metric), plots.run()):
        figure.canvas.draw()
        whole = figure.bbox
        names = [axes.yaxis.label for axes in figure.axes] + [axes.title for axes in figure.axes]
        boxes = [text.get_window_extent() for text in (*names, *figure.texts) if text.get_text()]
        assert all(box.y0 >= -1 and box.y1 <= whole.y1 + 1 for box in boxes)
        assert all(box.x0 >= -1 and box.x1 <= whole.x1 + 1 for box in boxes)
        columns = {box.x1: [] for box in boxes}
        for box in boxes:
            columns[box.x1].append(box)
        for column in columns.values():
            for one, other in itertools.combinations(column, 2):
                assert not one.overlaps(other)


# ---------------------------------------------------------------- legends


def test_none_is_replaced_in_every_legend_and_only_there(run_folder, tmp_path):
    names = ["Some_Run_None_None_1", "Some_Run_None_x_1"]
    runs = {name: {"loss": [1.0, 2.0]} for name in names}
    style = PlotStyle(replace_none=True)

    figure = PlotMetrics(runs, style).metric("loss")

    assert legend_texts(figure) == ["Some_Run~~1", "Some_Run~x_1"]
    assert PlotMetrics(runs, style).run(names[0]).get_suptitle() == names[0]
    assert legend_texts(PlotMetrics(runs, PlotStyle()).metric("loss")) == names


SIZES = [(6.4, 4.0), (3.3, 2.2), (2.0, 1.5)]
LABELS = {
    "few": [f"run {i}" for i in range(3)],
    "many": [f"run {i}" for i in range(24)],
    "long": [f"a_very_long_name_{i}_" + "that_goes_on_and_on_" * 5 for i in range(4)],
}


@pytest.mark.parametrize(("size", "labels"), list(itertools.product(SIZES, LABELS)))
def test_a_legend_hides_nothing_and_the_axes_keep_their_size(size, labels):
    runs = {
        name: {"loss": [2.0 / (step + 1) + i / 10 for step in range(20)]}
        for i, name in enumerate(LABELS[labels])
    }
    bare = PlotMetrics(dict([next(iter(runs.items()))]), PlotStyle(figsize=size)).metric("loss")

    figure = PlotMetrics(runs, PlotStyle(figsize=size)).metric("loss")

    figure.canvas.draw()
    (axes,) = figure.axes
    legend, frame = axes.get_legend().get_window_extent(), axes.get_window_extent()
    whole = figure.bbox
    assert (legend.x0 >= -1, legend.y0 >= -1) == (True, True)
    assert (legend.x1 <= whole.x1 + 1, legend.y1 <= whole.y1 + 1) == (True, True)
    tight = axes.get_tightbbox()
    assert tight.x0 >= -1
    assert tight.y0 >= -1
    for line in axes.lines:
        points = axes.transData.transform(line.get_xydata())
        assert not any(legend.contains(*point) for point in points)
    assert figure.get_size_inches()[0] == size[0]  # as wide as the column, always
    assert frame.height >= 0.95 * bare.axes[0].get_window_extent().height
    assert frame.width >= 0.55 * figure.bbox.width


def test_entries_move_together_before_they_make_a_column_longer_than_the_axes():
    runs = {f"cnn_adam_0.001_{i:02d}": {"loss": [2.0, 1.0 + i]} for i in range(24)}

    figure = PlotMetrics(runs, PlotStyle(context="paper", figsize=(3.4, 2.0))).metric("loss")

    figure.canvas.draw()
    texts = figure.axes[0].get_legend().get_texts()
    assert len({round(text.get_window_extent().x0) for text in texts}) == 2


@pytest.mark.parametrize("name", ["Default", "Thesis"])
def test_the_lines_of_a_legends_title_do_not_touch(experiment, latex, name):
    folder = experiment({"model": ["mlp", "cnn"], "lr": [0.1, 0.01], "seed": [1, 2]})

    title = PlotMetrics(folder, name).metric("loss").axes[0].get_legend().get_title()

    assert title.get_window_extent().height > 2.0 * title.get_fontsize() * 100 / 72


def test_labels_stay_inside_though_the_layout_changes_the_ticks(latex):
    values = [0.0367 + 1.72 * 0.7**epoch for epoch in range(20)]  # 0.5 at first, then 0.25 apart
    runs = {"run": {"loss": values, "val_accuracy": [1 - value / 2 for value in values]}}

    figure = PlotMetrics(runs, "Thesis").run()

    figure.canvas.draw()
    assert min(axes.yaxis.label.get_window_extent().x0 for axes in figure.axes) > 0
    assert max(axes.get_tightbbox().x1 for axes in figure.axes) < figure.bbox.x1


# ---------------------------------------------------------------- notebooks


def test_a_notebook_can_show_a_figure():
    assert PlotMetrics(falling(2), STYLE).metric("loss")._repr_png_().startswith(b"\x89PNG")
