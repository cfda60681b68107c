"""The packaged styles inside Hydra applications."""

import subprocess
import sys

import pytest

from expkit_plotting import PlotStyle

hydra = pytest.importorskip("hydra")

APP = """
import hydra
from expkit_plotting import PlotStyle
@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    print("style", PlotStyle.from_mapping(cfg.plotting).to_dict())
main()
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "conf" / "plotting").mkdir(parents=True)
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)

    def write(defaults: str, **styles: str):
        (tmp_path / "conf" / "config.yaml").write_text(
            f"defaults: [{defaults}, _self_]\nhydra: {{run: {{dir: .}}, output_subdir: null}}\n"
        )
        for name, content in styles.items():
            (tmp_path / "conf" / "plotting" / f"{name}.yaml").write_text(content)

    return write


def composed(config_dir) -> PlotStyle:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(config_dir / "conf"), version_base="1.3"):
        return PlotStyle.from_mapping(compose("config").plotting)


@pytest.mark.parametrize("name", ["Default", "Thesis"])
def test_the_packaged_styles_resolve_in_any_app_as_without_hydra(project, tmp_path, name):
    project(f"plotting: {name}")

    assert composed(tmp_path) == PlotStyle.load(name)


@pytest.mark.parametrize(
    "content",
    [
        "defaults: [Thesis]\nfigsize: [3.3, 2.2]\n",
        "defaults: [Thesis, _self_]\nrcParams: {font.size: 8}\n",
        "defaults: [_self_, Default]\nrcParams: {font.size: 8, axes.grid: false}\n",
        "defaults: [Thesis@_here_]\nlatex: false\n",
        "defaults: [Other]\ndpi: 99\n",
    ],
)
def test_our_resolver_equals_hydras_composition(project, tmp_path, content):
    project("plotting: Mine", Mine=content, Other="defaults: [Thesis]\ncontext: talk\n")

    assert composed(tmp_path) == PlotStyle.load("Mine")


def test_a_users_default_wins_over_the_packaged_one(project, tmp_path):
    project("plotting: Default", Default="dpi: 77\n")

    assert composed(tmp_path).dpi == 77


def test_config_dir_wins_over_the_packaged_style(project, tmp_path):
    project("plotting: Default")
    extra = tmp_path / "extra" / "plotting"
    extra.mkdir(parents=True)
    (extra / "Default.yaml").write_text("dpi: 66\n")

    done = subprocess.run(
        [sys.executable, "app.py", "--config-dir", "extra"], capture_output=True, text=True
    )

    assert "'dpi': 66" in done.stdout, done.stderr
    assert done.stderr == ""


def test_the_plugin_is_cheap_and_found_by_both_ways_of_discovery():
    from importlib.metadata import entry_points

    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    names = [plugin.__name__ for plugin in Plugins.instance().discover(SearchPathPlugin)]
    (entry,) = entry_points(group="hydra.plugins", name="expkit_plotting")

    assert "ExpkitPlottingSearchPath" in names
    assert entry.load().__name__ == "ExpkitPlottingSearchPath"
    code = f"import sys, {entry.module}; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
