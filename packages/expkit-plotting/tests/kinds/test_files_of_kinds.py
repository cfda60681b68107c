"""Figures of every kind: their files, their data and recipes, and redrawing from these."""

import json
from dataclasses import replace

import numpy as np
import pytest

from expkit_plotting import PlotMetrics, PlotStyle, PlottingError, restyle
from expkit_plotting._kinds.drawing import DRAW
from expkit_plotting._recipes.recipe import KINDS

KEEP = PlotStyle(pickle=True, filetypes=("png",), dpi=60)
COUNTS = [[3, 1, 0], [0, 5, 2], [1, 0, 4]]


def figure_of(plots, kind, save_to=None):
    draw = {
        "metric": lambda: plots.metric("val_accuracy", save_to=save_to),
        "run": lambda: plots.run("mlp_0.1_1", save_to=save_to),
        "final": lambda: plots.final("val_accuracy", value="best", top=3, save_to=save_to),
        "heatmap": lambda: plots.heatmap("val_accuracy", save_to=save_to),
        "confusion": lambda: plots.confusion_matrix(
            COUNTS, classes=["a, b", "ü", "c"], run="mlp_0.1_1", save_to=save_to
        ),
    }
    assert draw.keys() == set(KINDS)
    return draw[kind]()


def pixels(figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


@pytest.fixture
def source(experiment, grid):
    swept = {"model": ["mlp", "cnn"], "lr": [0.1, 0.01], "seed": [1, 2]}
    folder = experiment(swept, epochs=4)
    grid(folder, {**swept, "lr": [0.1, 0.01, 1.0]}, skipped=lambda run: run["lr"] == 1.0)
    return folder


def test_every_kind_of_recipe_has_what_draws_it():
    assert set(DRAW) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_restyled_equals_drawn_so_at_first(source, tmp_path, kind):
    other = PlotStyle(context="talk", palette="magma", replace_none=True, figsize=(5, 4))
    figure_of(PlotMetrics(source, KEEP), kind, tmp_path / "figure")

    redrawn = restyle(tmp_path / "figure.png", other)

    at_first = figure_of(PlotMetrics(source, other), kind)
    assert np.array_equal(pixels(redrawn), pixels(at_first))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filetype", ["png", "pdf", "svg", "eps", "ps", "jpg", "tif", "webp"])
def test_every_file_type_is_written_and_equal_figures_make_equal_files(
    source, tmp_path, kind, filetype
):
    plots = PlotMetrics(source, PlotStyle(filetypes=(filetype,), dpi=50))
    for name in ("one", "two"):
        figure_of(plots, kind, tmp_path / name)

    one, two = ((tmp_path / f"{name}.{filetype}").read_bytes() for name in ("one", "two"))
    assert len(one) > 500
    if filetype not in ("eps", "ps"):  # they carry the time
        assert one == two


@pytest.mark.parametrize("kind", ["final", "heatmap", "confusion"])
def test_latex_draws_every_kind(latex, source, tmp_path, kind, recwarn):
    style = replace(PlotStyle.load("Thesis"), filetypes=("pdf",))

    figure_of(PlotMetrics(source, style), kind, tmp_path / "figure")

    assert (tmp_path / "figure.pdf").stat().st_size > 1000
    assert not [warning for warning in recwarn if "LaTeX" in str(warning.message)]


def test_the_data_beside_a_confusion_matrix_are_its_cells(tmp_path):
    plots = PlotMetrics({"a": {"loss": [1.0]}}, KEEP)
    plots.confusion_matrix([[3, 1], [0.5, 5]], classes=["a, b", 'c"'], save_to=tmp_path / "m")

    assert (tmp_path / "m.csv").read_text().splitlines() == [
        "true,predicted,count",
        '"a, b","a, b",3',
        '"a, b","c""",1',
        '"c""","a, b",0.5',
        '"c""","c""",5',
    ]


def test_the_data_beside_final_values_are_one_per_run(tmp_path):
    plots = PlotMetrics({"a": {"loss": [1.0, 0.5]}, "b": {"loss": [2.0, 3.0]}}, KEEP)
    plots.final("loss", value="best", save_to=tmp_path / "loss")

    rows = (tmp_path / "loss.csv").read_text().splitlines()
    assert rows == ["run,metric,step,value", "a,loss,1,0.5", "b,loss,0,2.0"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "radar"}, "is of kind 'radar', but this expkit-plotting draws metric, run, "),
        ({"schema": 2}, "has schema 2, but this expkit-plotting reads 1. Update it"),
        ({"smoothing": 0.9}, "says smoothing, which this expkit-plotting does not know. Update"),
        ({"kind": ["run"]}, "is not a figure's recipe"),
        ({"group_by": ["model"]}, "is not a figure's recipe: .*its group_by cannot be"),
        ({"metrics": []}, "is not a figure's recipe: .*its number of metrics cannot be"),
        ({"skipped": {"a": 1}}, "is not a figure's recipe: .*its skipped cannot be"),
        ({"order": [1]}, "is not a figure's recipe"),
        ({"value": "last"}, "is not a figure's recipe: .*its value cannot be"),
    ],
)
def test_a_recipe_of_a_later_version_or_a_damaged_one_is_refused(
    source, tmp_path, change, complaint
):
    figure_of(PlotMetrics(source, KEEP), "heatmap", tmp_path / "figure")
    recipe = json.loads((tmp_path / "figure.json").read_text())
    (tmp_path / "figure.json").write_text(json.dumps({**recipe, **change}))

    with pytest.raises(PlottingError, match=rf"figure\.json {complaint}"):
        restyle(tmp_path / "figure.png")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("run,metric,step,value\n", "must have the columns true, predicted and count"),
        ("true,predicted,count\na,a,1\na,b,1\n", "has not one cell for each pair of classes"),
        ("true,predicted,count\na,a,1\na,b,1\nb,b,1\nb,c,2\n", r"has no cell \('b', 'a'\)"),
        ("true,predicted,count\na,a,-1\n", "counts must be finite and not negative"),
        ("true,predicted,count\na,a,x\n", "line 2: could not convert string to float"),
        ("true,predicted,count\na,a\n", "line 2: not enough values"),
        ("true,predicted,count\n", "it has 0 classes"),
    ],
)
def test_damaged_cells_of_a_confusion_matrix_are_refused(tmp_path, content, complaint):
    plots = PlotMetrics({"a": {"loss": [1.0]}}, KEEP)
    plots.confusion_matrix(COUNTS, save_to=tmp_path / "m")
    (tmp_path / "m.csv").write_text(content)

    with pytest.raises(PlottingError, match=complaint):
        restyle(tmp_path / "m")


def test_names_that_are_shortened_or_left_out_are_whole_in_a_table(tmp_path):
    names = [f"a_class_with_a_name_that_nobody_has_room_for_{number}" for number in range(60)]
    plots = PlotMetrics({"a": {"loss": [1.0]}}, PlotStyle(filetypes=("png",), dpi=60))

    plots.confusion_matrix(np.eye(60), classes=names, normalize=None, save_to=tmp_path / "m")

    table = (tmp_path / "m.names.csv").read_text()
    assert all(name in table for name in names)
