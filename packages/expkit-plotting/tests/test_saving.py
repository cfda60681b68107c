import csv
import json
import os
import pickle
import stat

import numpy as np
import pytest

from expkit_plotting import PlotMetrics, PlotStyle, restyle

KEEP = PlotStyle(pickle=True, filetypes=("png", "pdf"), dpi=60)


def pixels(figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


@pytest.fixture
def source(experiment):
    return experiment({"model": ["mlp", "cnn"], "dropout": [None, 0.1], "seed": [1, 2]}, epochs=6)


@pytest.mark.parametrize(
    "options", [{}, {"lines": "all"}, {"lines": "bands"}, {"top": 2}, {"group_by": None}]
)
def test_restyled_equals_drawn_so_at_first(source, tmp_path, options):
    other = PlotStyle(context="talk", palette="viridis", replace_none=True, figsize=(5, 4))
    PlotMetrics(source, KEEP).metric("val_accuracy", save_to=tmp_path / "acc", **options)

    redrawn = restyle(tmp_path / "acc.pdf", other)

    at_first = PlotMetrics(source, other).metric("val_accuracy", **options)
    assert np.array_equal(pixels(redrawn), pixels(at_first))


def test_a_run_can_be_restyled_too_with_nan_and_gaps(tmp_path):
    runs = {
        "a_1": {"loss": [2.0, float("nan"), float("inf"), 0.1], "val_loss": [1, 2, 3, 4], "f1": []}
    }
    other = PlotStyle(context="paper")
    PlotMetrics(runs, KEEP).run(save_to=tmp_path / "run")

    assert np.array_equal(
        pixels(restyle(tmp_path / "run", other)), pixels(PlotMetrics(runs, other).run())
    )


def test_a_run_without_a_point_is_still_there_when_restyled(tmp_path):
    runs = {"a": {"loss": [2.0, 1.0]}, "b": {"loss": []}, "c": {"loss": [1.0, 0.5]}}
    figure = PlotMetrics(runs, KEEP).metric("loss", save_to=tmp_path / "loss")

    assert np.array_equal(pixels(restyle(tmp_path / "loss")), pixels(figure))


def test_restyling_never_loads_the_pickle(source, tmp_path):
    PlotMetrics(source, KEEP).metric("loss", save_to=tmp_path / "loss")
    (tmp_path / "loss.pickle").write_bytes(
        b"cos\nsystem\n(S'touch " + bytes(tmp_path) + b"/pwned'\ntR."
    )

    restyle(tmp_path / "loss.pickle", "Default", save_to=tmp_path / "new")

    assert not (tmp_path / "pwned").exists()
    assert (tmp_path / "new.pdf").is_file()


def test_without_a_style_the_one_it_was_drawn_in_is_used(source, tmp_path):
    figure = PlotMetrics(source, KEEP).metric("loss", save_to=tmp_path / "loss")

    assert np.array_equal(pixels(restyle(tmp_path / "loss")), pixels(figure))


def test_the_pickle_holds_the_figure_as_it_was_drawn(source, tmp_path):
    figure = PlotMetrics(source, KEEP).metric("loss", save_to=tmp_path / "loss")

    loaded = pickle.loads((tmp_path / "loss.pickle").read_bytes())

    assert np.array_equal(pixels(loaded), pixels(figure))


def test_the_data_beside_a_figure_are_exact_and_plain(tmp_path):
    values = [0.1, 1 / 3, float("nan"), float("-inf")]
    PlotMetrics({"run": {"loss": values}}, KEEP).metric("loss", save_to=tmp_path / "loss")

    rows = [line.split(",") for line in (tmp_path / "loss.csv").read_text().splitlines()]

    assert rows[0] == ["run", "metric", "step", "value"]
    np.testing.assert_array_equal([float(row[3]) for row in rows[1:]], values)
    assert json.loads((tmp_path / "loss.json").read_text())["metrics"] == ["loss"]


@pytest.mark.parametrize("filetype", ["png", "pdf", "svg", "eps", "ps"])
def test_equal_figures_make_equal_files(source, tmp_path, filetype, monkeypatch):
    style = PlotStyle(filetypes=(filetype,), dpi=60)
    for name in ("one", "two"):
        monkeypatch.setattr("time.ctime", lambda name=name: f"a time of file {name}")
        PlotMetrics(source, style).metric("loss", save_to=tmp_path / name)

    assert (tmp_path / f"one.{filetype}").read_bytes() == (
        tmp_path / f"two.{filetype}"
    ).read_bytes()


def test_every_file_type_can_be_written(tmp_path):
    style = PlotStyle(filetypes=("png", "pdf", "svg", "eps", "ps", "jpg", "tif", "webp"), dpi=50)
    plots = PlotMetrics({"a": {"loss": [2.0, 1.0]}}, style)

    written = plots.save(plots.metric("loss"), tmp_path / "lr_0.1")

    assert [path.name for path in written] == [f"lr_0.1.{filetype}" for filetype in style.filetypes]
    assert all(path.stat().st_size > 500 for path in written)


def test_names_that_a_figure_shortens_are_whole_in_a_table_beside_it(tmp_path):
    names = [f"a_very_long_name_{i}_" + "that_goes_on_and_on_" * 5 for i in range(40)]
    plots = PlotMetrics({name: {"loss": [2.0, 1.0]} for name in names}, PlotStyle(dpi=50))

    (*_, table) = plots.save(plots.metric("loss", lines="groups"), tmp_path / "loss")

    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert table.name == "loss.names.csv"
    assert [row["name"] for row in rows] == names
    assert all("…" in row["shown"] for row in rows[:29])
    assert {row["shown"] for row in rows[29:]} == {""}  # "… and 11 more"
    plots.metric("loss", top=1, save_to=tmp_path / "top")
    assert (tmp_path / "top.names.csv").exists()
    PlotMetrics({"a": {"loss": [2.0, 1.0]}}).metric("loss", save_to=tmp_path / "short")
    assert not (tmp_path / "short.names.csv").exists()


def test_a_legend_that_does_not_fit_is_left_out_and_its_names_are_beside_the_figure(tmp_path):
    plots = PlotMetrics(
        {"run": {"loss": [2.0, 1.0], "val_loss": [2.1, 1.1]}},
        PlotStyle(figsize=(1.2, 1.0), filetypes=("png",)),
    )

    with pytest.warns(UserWarning, match="too narrow for its legend"):
        figure = plots.run(save_to=tmp_path / "run")

    assert figure.axes[0].get_legend() is None
    assert ",Validation" in (tmp_path / "run.names.csv").read_text()


def test_a_path_with_a_suffix_writes_that_type_alone(tmp_path):
    PlotMetrics({"a": {"loss": [2.0, 1.0]}}).metric("loss", save_to=tmp_path / "loss.svg")

    assert [path.name for path in tmp_path.iterdir()] == ["loss.svg"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    plots = PlotMetrics({"a": {"loss": [2.0, 1.0]}, "b": {"loss": [1.0, 0.5]}}, KEEP)
    target = tmp_path / "loss.png"
    plots.save(plots.metric("loss"), target.with_suffix(""))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def refuse(_handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="disk full"):
        plots.save(plots.run("a"), target)

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_plots_may_be_read_by_whom_the_umask_allows(tmp_path):
    umask = os.umask(0o022)
    try:
        PlotMetrics({"a": {"loss": [2.0, 1.0]}}).metric("loss", save_to=tmp_path / "loss.png")
    finally:
        os.umask(umask)

    assert stat.S_IMODE((tmp_path / "loss.png").stat().st_mode) == 0o644


def test_embedding_matplotlibs_own_fonts_logs_nothing(latex, source, tmp_path, caplog):
    plots = PlotMetrics(source, "Thesis")
    with caplog.at_level("WARNING"):
        plots.heatmap("loss", x="model", y="dropout", save_to=tmp_path / "loss")
    assert caplog.records == []
