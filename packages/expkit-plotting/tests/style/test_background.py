"""On a dark background nothing stays white, and nothing is hidden."""

import matplotlib.style
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from expkit_plotting import PlotMetrics, PlotStyle

RUNS = {f"run_{i}": {"loss": [2.0 / (step + 1) + i / 9 for step in range(9)]} for i in range(3)}
CROWD = {f"run_{i}": {"loss": [2.0 / (step + 1) + i / 9 for step in range(9)]} for i in range(40)}
DARK_SHEET = {
    key: value
    for key, value in matplotlib.style.library["dark_background"].items()
    if key not in ("axes.prop_cycle", "grid.color")  # which is white
}


def luminance(colour) -> float:
    return float(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("runs", [RUNS, CROWD])
@pytest.mark.parametrize("palette", ["colorblind", "dark", "viridis"])
@pytest.mark.parametrize(
    ("parameters", "background"),
    [
        ({"figure.facecolor": "#121212"}, "#121212"),
        ({"axes.facecolor": "#202030"}, "#202030"),
        ({"savefig.facecolor": "black"}, "black"),
        (DARK_SHEET, "black"),
    ],
)
def test_everything_follows_a_dark_background(parameters, background, palette, runs):
    default = PlotStyle.load("Default").rcParams
    style = PlotStyle(palette=palette, rcParams={**default, **parameters})

    figure = PlotMetrics(runs, style).metric("loss")

    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255
    assert np.median(image, axis=(0, 1)) == pytest.approx(to_rgb(background), abs=0.01)
    assert (image @ (0.2126, 0.7152, 0.0722) > 0.9).mean() < 0.03  # text and spines
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert all(luminance(text.get_color()) > 0.9 for text in texts)
    for line in figure.axes[0].lines:
        assert luminance(line.get_color()) > luminance(background) + 0.15
    (tick, *_) = figure.axes[0].xaxis.get_major_ticks()
    assert 0.02 < luminance(tick.gridline.get_color()) - luminance(background) < 0.3


def test_a_legend_within_dark_axes_of_a_white_figure_can_be_read():
    style = PlotStyle(rcParams={"axes.facecolor": "black", "figure.facecolor": "white"})

    figure = PlotMetrics(RUNS, style).metric("loss")

    (axes,) = figure.axes
    assert {text.get_color() for text in axes.get_legend().get_texts()} == {"white"}
    assert axes.xaxis.label.get_color() == "black"


def test_light_axes_leave_the_figure_white():
    style = PlotStyle(rcParams={"axes.facecolor": "#eaeaf2"})

    figure = PlotMetrics(RUNS, style).metric("loss")

    assert to_rgb(figure.get_facecolor()) == (1, 1, 1)
    assert figure.axes[0].xaxis.label.get_color() == "black"
