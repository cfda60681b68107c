import dataclasses

import pytest

from expkit_plotting import PlotStyle, PlottingError

KEYS = (
    *("figsize", "latex", "filetypes", "pickle", "context", "palette", "replace_none", "rcParams"),
    *("add_titles", "add_xlabels", "add_ylabels", "dpi", "textwidth_pt"),
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with conf/plotting/, and a function that writes styles there."""
    folder = tmp_path / "project" / "conf" / "plotting"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")

    def write(name: str, content: str):
        (folder / f"{name}.yaml").write_text(content)

    return write


def test_a_style_has_exactly_the_documented_keys():
    assert {key.name for key in dataclasses.fields(PlotStyle)} == set(KEYS)
    assert set(PlotStyle.load("Default").to_dict()) == set(KEYS)


def test_default_needs_no_latex_and_thesis_uses_it():
    default, thesis = PlotStyle.load("Default"), PlotStyle.load("Thesis")

    assert not default.latex
    assert thesis.latex
    assert thesis.rcParams["font.family"] == "serif"
    assert thesis.size_in[0] == pytest.approx(390 / 72.27, abs=0.01)


def test_the_class_and_the_default_file_agree():
    ours, files = PlotStyle().to_dict(), PlotStyle.load("Default").to_dict()

    assert {**ours, "rcParams": None} == {**files, "rcParams": None}


def test_a_users_style_starts_from_a_packaged_one(project):
    project("Mine", "defaults: [Thesis]\nfigsize: [3.3, 2.2]\nrcParams: {font.size: 8}\n")

    mine, thesis = PlotStyle.load("Mine"), PlotStyle.load("Thesis")

    assert mine.size_in == (3.3, 2.2)
    assert mine.latex
    assert mine.rcParams == {**thesis.rcParams, "font.size": 8}


def test_a_style_is_found_from_a_folder_below_the_project(project, tmp_path, monkeypatch):
    project("Mine", "dpi: 123")
    (tmp_path / "project" / "results" / "digits").mkdir(parents=True)

    monkeypatch.chdir(tmp_path / "project" / "results")
    assert PlotStyle.load("Mine").dpi == 123

    monkeypatch.chdir("/")
    assert PlotStyle.load("Mine", start=[tmp_path / "project" / "results" / "digits"]).dpi == 123


def test_a_users_default_wins_over_the_packaged_one_and_may_start_from_it(project):
    project("Default", "defaults: [Default]\ndpi: 99")

    style = PlotStyle.load("Default")

    assert style.dpi == 99
    assert style.rcParams["axes.grid"] is True


def test_self_decides_what_wins(project):
    project("First", "defaults: [_self_, Thesis]\ndpi: 99\n")
    project("Last", "defaults: [Thesis, _self_]\ndpi: 99\n")

    assert PlotStyle.load("First").dpi == 300
    assert PlotStyle.load("Last").dpi == 99


def test_a_style_may_be_a_path(tmp_path):
    (tmp_path / "Odd name.yaml").write_text("defaults: [Thesis]\nlatex: false")

    assert PlotStyle.load(tmp_path / "Odd name.yaml").dpi == 300


def test_defaults_that_run_in_a_circle_are_named(project):
    project("A", "defaults: [B]")
    project("B", "defaults: [A]")

    with pytest.raises(PlottingError, match=r"lead back to itself: A -> B -> A"):
        PlotStyle.load("A")


def test_figsize_is_a_fraction_where_the_text_width_is_known():
    assert PlotStyle(figsize=(1.0, 0.5), textwidth_pt=361.35).size_in == (5.0, 2.5)
    assert PlotStyle(figsize=(1.0, 0.5)).size_in == (1.0, 0.5)


def test_hydras_containers_are_accepted():
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create(
        {"figsize": [3, 2], "filetypes": ["svg"], "rcParams": {"font.size": 7}}
    )

    style = PlotStyle.from_mapping(config)

    assert style.filetypes == ("svg",)
    assert type(style.rcParams) is dict
