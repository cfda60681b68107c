import json

import pandas as pd
import pytest

from expkit_plotting import PlotMetrics, PlotStyle, PlottingError, restyle

CURVES = {"a": {"loss": [2.0, 1.0]}, "b": {"loss": [2.5, 0.5]}}


@pytest.mark.parametrize(
    ("style", "complaint"),
    [
        ({"figsze": [1, 2]}, r"unknown key 'figsze'\. Did you mean 'figsize'\? Allowed: figsize"),
        ({"figsize": 5}, r"figsize must be two positive numbers, \[width, height\]; got 5"),
        ({"figsize": [3, -1]}, r"figsize must be two positive numbers"),
        ({"figsize": ["3", "2"]}, r"figsize must be two positive numbers"),
        ({"figsize": [640, 480]}, r"figsize is in inches and may be at most 60"),
        ({"figsize": [3.3, 2.2], "textwidth_pt": 390}, r"fractions such as \[1\.0, 0\.62\]"),
        ({"textwidth_pt": "390pt"}, r"textwidth_pt must be a positive number of TeX points"),
        ({"latex": "yes"}, r"latex must be true or false; got 'yes'"),
        ({"pickle": 1}, r"pickle must be true or false; got 1"),
        ({"filetypes": "png"}, r"filetypes must be a list, such as \[png\]"),
        ({"filetypes": []}, r"at least one suffix"),
        ({"filetypes": ["pgn"]}, r"got 'pgn'\. Did you mean 'png'\?"),
        ({"context": "notbook"}, r"got 'notbook'\. Did you mean 'notebook'\?"),
        ({"palette": "colourblind"}, r"got 'colourblind'\. Did you mean 'colorblind'\?"),
        ({"palette": ["#0173b2", "blurple"]}, r"'blurple' is not a colour"),
        ({"palette": 3}, r"palette must be a name or a list of colours"),
        ({"dpi": "300"}, r"dpi must be a whole number from 10 to 2400; got '300'"),
        ({"rcParams": ["a"]}, r"rcParams must be a mapping"),
        ({"rcParams": {"font.szie": 9}}, r"no rcParam 'font\.szie'\. Did you mean 'font\.size'\?"),
        ({"rcParams": {"font.size": "big"}}, r"rcParams: font\.size: .*big"),
        ({"rcParams": {"text.usetex": True}}, r"use the key 'latex'"),
        ({"rcParams": {"figure.figsize": [1, 2]}}, r"use the key 'figsize'"),
        ({"rcParams": {"backend": "qtagg"}}, r"belongs to the process"),
        (5, r"style must be a PlotStyle, a name, a YAML file or a mapping; got int"),
        ("Thesys", r"no style 'Thesys'\. Did you mean 'Thesis'\? Known: Default, Thesis"),
        ("absent/Mine.yaml", r"There is no style file 'absent/Mine\.yaml'"),
    ],
)
def test_a_wrong_style_is_refused_with_the_way_out(style, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(PlottingError, match=complaint):
        PlotMetrics(CURVES, style)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("figsze: [1, 2]", r"^conf/plotting/Mine\.yaml: unknown key 'figsze'"),
        ("latex: maybe", r"^conf/plotting/Mine\.yaml: latex must be true or false; got 'maybe'"),
        ("- a\n- b", r"^conf/plotting/Mine\.yaml: expected a mapping of keys; got list"),
        ("a: [b", r"^conf/plotting/Mine\.yaml: cannot be read: "),
        ("defaults: Thesis", r"^conf/plotting/Mine\.yaml: defaults must be a list"),
        ("defaults: [{model: cnn}]", r"defaults may list names of styles and _self_; got \{"),
        ("defaults: [/plotting/Thesis]", r"defaults may list names of styles and _self_"),
        ("defaults: [Thesys]", r"Mine\.yaml: There is no style 'Thesys'\. Did you mean 'Thesis'"),
        ("dpi: ${oc.env:DPI}", r"dpi must be a whole number .* got '\$\{oc\.env:DPI\}'"),
    ],
)
def test_a_wrong_style_file_is_named(content, complaint, tmp_path, monkeypatch):
    folder = tmp_path / "conf" / "plotting"
    folder.mkdir(parents=True)
    (folder / "Mine.yaml").write_text(content)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(PlottingError, match=complaint):
        PlotStyle.load("Mine")


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("absent", r"no folder or CSV file 'absent'\. Give a results folder such as"),
        ({}, r"the dict of runs is empty"),
        ([], r"Cannot plot from list"),
        (7, r"Cannot plot from int"),
        ({"a": 1}, r"Run 'a' is of type int; expected a DataFrame"),
        ({"a": {"loss": "low"}}, r"Run 'a', metric 'loss': expected a list of numbers"),
        ({"a": "absent.csv"}, r"Run 'a': there is no file 'absent\.csv'"),
        (pd.DataFrame({"epoch": [0, 1]}), r"no column of numbers besides the steps"),
        (
            pd.DataFrame({"run": ["a", "a"], "epoch": [0, 1], "note": ["x", "y"], "l": [1, 2]}),
            r"Column 'note' holds text that changes within a run",
        ),
        (pd.DataFrame({"model": ["a"], "loss": [1.0]}), r"column 'model' holds no numbers"),
        (
            pd.DataFrame({"run": ["a", "a", "b", "b"], "epoch": [0, 1] * 2, "loss": [1, 1, 2, 2]}),
            r"has no metric: in every run loss keeps one value, which makes it a setting",
        ),
    ],
)
def test_a_source_without_curves_is_refused(source, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(PlottingError, match=complaint):
        PlotMetrics(source)


@pytest.mark.runs
def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(PlottingError, match=r"holds no runs: neither training/\*/metrics\.jsonl"):
        PlotMetrics(tmp_path)


def test_a_folder_of_experiments_lists_them(experiment):
    folder = experiment({"seed": [1]}, name="digits")
    experiment({"seed": [1]}, name="mnist")

    with pytest.raises(PlottingError, match=r"holds experiments, not runs: digits, mnist"):
        PlotMetrics(folder.parent)


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (lambda plots: plots.metric("los"), r"no metric 'los'\. Did you mean 'loss'\? Known: loss"),
        (
            lambda plots: plots.metric("loss", lines="al"),
            r"lines must be one of .* Did you mean 'all'",
        ),
        (
            lambda plots: plots.metric("loss", top=0),
            r"top must be a whole number from 1; got 0",
        ),
        (
            lambda plots: plots.metric("loss", direction="min"),
            r"direction must be minimize or maximize",
        ),
        (lambda plots: plots.metric("loss", group_by="model"), r"'model' is not a swept key"),
        (lambda plots: plots.run("c"), r"There is no run 'c'.* Runs: a, b"),
        (lambda plots: plots.run(), r"Name one of the 2 runs: a, b"),
        (lambda plots: plots.run("a", metrics=["acc"]), r"Run 'a' has no metric 'acc'"),
    ],
)
def test_a_wrong_request_names_what_there_is(request_, complaint):
    with pytest.raises(PlottingError, match=complaint):
        request_(PlotMetrics(CURVES))


def test_a_part_of_a_name_must_fit_one_run():
    plots = PlotMetrics({"cnn_1": {"loss": [1.0]}, "cnn_2": {"loss": [1.0]}})

    with pytest.raises(PlottingError, match=r"'cnn' fits several runs: cnn_1, cnn_2"):
        plots.run("cnn")


def test_a_figure_of_somebody_else_is_not_saved(tmp_path):
    from matplotlib.figure import Figure

    with pytest.raises(PlottingError, match=r"save takes a figure that PlotMetrics drew"):
        PlotMetrics(CURVES).save(Figure(), tmp_path / "a")


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, r"there is no .*loss\.json\. Data and recipe are written"),
        ({"loss.json": "{}"}, r"there is no .*loss\.csv"),
        ({"loss.json": "{", "loss.csv": ""}, r"loss\.json is not a figure's recipe"),
        ({"loss.json": "[1]", "loss.csv": ""}, r"loss\.json is not a figure's recipe"),
    ],
)
def test_redrawing_without_recipe_or_data_says_what_is_missing(tmp_path, files, complaint):
    for name, content in files.items():
        (tmp_path / name).write_text(content)

    with pytest.raises(PlottingError, match=complaint):
        restyle(tmp_path / "loss.pdf", "Default")


def test_a_damaged_table_is_named_with_its_line(tmp_path):
    plots = PlotMetrics(CURVES, PlotStyle(pickle=True, filetypes=("png",)))
    plots.metric("loss", save_to=tmp_path / "loss")
    table = tmp_path / "loss.csv"
    table.write_text(table.read_text().replace("2.5", "two"))

    with pytest.raises(PlottingError, match=r"loss\.csv, line 4: could not convert"):
        restyle(tmp_path / "loss.png")


def test_a_recipe_of_a_later_version_asks_for_an_update(tmp_path):
    plots = PlotMetrics(CURVES, PlotStyle(pickle=True, filetypes=("png",)))
    plots.metric("loss", save_to=tmp_path / "loss")
    recipe = json.loads((tmp_path / "loss.json").read_text())
    (tmp_path / "loss.json").write_text(json.dumps({**recipe, "schema": 2}))

    with pytest.raises(PlottingError, match=r"schema 2, but this expkit-plotting reads 1"):
        restyle(tmp_path / "loss.png")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rcParams: {a: !!bool x}\n", "cannot be read"),
        ("figsize: !!int ''\n", "cannot be read"),
        ("figsize: [!!timestamp x, 1]\n", "cannot be read"),
        ("a: &a [*a]\n", "holds itself, by an alias"),
        ("&a {a: *a}\n", "holds itself, by an alias"),
        (
            "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)),
            "aliases stand for more than 1000000 values",
        ),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_hostile_style_is_refused_by_the_name_of_its_file(tmp_path, text, complaint):
    (tmp_path / "Mine.yaml").write_text(text)

    with pytest.raises(PlottingError, match=complaint) as raised:
        PlotStyle.load(tmp_path / "Mine.yaml")

    assert "Mine.yaml" in str(raised.value)
    assert len(str(raised.value)) < 1_000


def test_a_style_with_aliases_is_read(tmp_path):
    (tmp_path / "Mine.yaml").write_text("add_titles: &all false\nadd_xlabels: *all\n")

    assert PlotStyle.load(tmp_path / "Mine.yaml").add_xlabels is False


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("loss.json", '"metric"', '"neither"'),
        ("loss.json", '"metrics": [', '"metrics": [null, '),
        ("loss.json", '"top": null', '"top": "x"'),
        ("loss.json", '"settings": {', '"settings": {"c": 1, '),
        ("loss.json", "{", "[" * 100_000),
        ("loss.csv", "run,metric", "run,\udcff"),
        ("loss.csv", "2.0", "9" * 200_000),
        ("loss.csv", "2.0", "\0" * 9_000),
    ],
)
def test_a_damaged_recipe_is_refused_by_the_name_of_its_file(tmp_path, name, old, new):
    PlotMetrics(CURVES, {"pickle": True}).metric("loss", save_to=tmp_path / "loss")
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_bytes(text.replace(old, new, 1).encode(errors="surrogateescape"))

    with pytest.raises(PlottingError, match=name) as raised:
        restyle(tmp_path / "loss")

    assert len(str(raised.value)) < 1_000


def test_what_is_no_file_is_not_waited_for(tmp_path):
    import os

    from expkit_plotting._figure_files.fingerprints import FigureFingerprints

    os.mkfifo(tmp_path / ".drawn.json")
    assert not FigureFingerprints(tmp_path).is_current(tmp_path / "loss.png", "x")
    os.mkfifo(tmp_path / "Mine.yaml")
    with pytest.raises(PlottingError, match=r"There is no style file|cannot be read"):
        PlotStyle.load(tmp_path / "Mine.yaml")
