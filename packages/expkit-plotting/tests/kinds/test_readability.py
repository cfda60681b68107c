"""Figures of every kind: texts that can be read, in every size and style."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from expkit_plotting import PlotMetrics, PlotStyle

STYLES = {
    "Default": PlotStyle.load("Default"),
    "Thesis": replace(PlotStyle.load("Thesis"), latex=False),
    "narrow": replace(PlotStyle.load("Thesis"), latex=False, figsize=(2.6, 1.8)),
}
NAMES = {"short": "v{}", "long": "a_rather_long_name_of_a_configuration_with_number_{}"}


def sweep(rows: int, columns: int, name: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run": f"{row}_{column}",
            "a.model": name.format(row),
            "optimizer.lr": 10.0**-column,
            "epoch": epoch,
            "val_accuracy": epoch * (0.5 + 0.4 * np.sin(row + 2 * column)),
        }
        for row in range(rows)
        for column in range(columns)
        for epoch in range(2)
    )


def figures(frame, style, count, name):
    plots = PlotMetrics(frame, style)
    labels = [name.format(place) for place in range(count)]
    chance = np.random.default_rng(0)
    counts = chance.integers(0, 4, (count, count)) + 80 * np.eye(count, dtype=int)
    return {
        "final": plots.final("val_accuracy", group_by="model"),
        "heat map": plots.heatmap("val_accuracy"),
        "confusion matrix": plots.confusion_matrix(counts, classes=labels),
    }


def shown_texts(figure) -> list[Text]:
    figure.canvas.draw()
    texts = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_text().strip())
    texts = [text for text in texts if text.get_visible()]
    ticks = [
        (label, axis)
        for axes in figure.axes + [child for axes in figure.axes for child in axes.child_axes]
        for axis in (axes.xaxis, axes.yaxis)
        for label in (*axis.get_majorticklabels(), *axis.get_minorticklabels())
    ]
    drawn = {id(label) for _, axis in ticks for label in _drawn_labels(axis)}
    labels = {id(label) for label, _ in ticks}
    return [text for text in texts if id(text) not in labels or id(text) in drawn]


def _drawn_labels(axis) -> list[Text]:
    """Ticks beyond an axis' ends have labels, too, which are not drawn."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [tick.label1 for tick in ticks if low - 1e-9 <= tick.get_loc() <= high + 1e-9] + [
        tick.label2 for tick in ticks if low - 1e-9 <= tick.get_loc() <= high + 1e-9
    ]


def collisions(figure) -> list[str]:
    """Texts that reach over one another, or out of the figure."""
    texts = shown_texts(figure)
    boxes = [text.get_window_extent() for text in texts]
    whole = figure.bbox
    bad = [
        f"{text.get_text()!r} leaves the figure"
        for text, box in zip(texts, boxes, strict=True)
        if box.x0 < -1 or box.y0 < -1 or box.x1 > whole.x1 + 1 or box.y1 > whole.y1 + 1
    ]
    for (one, first), (other, second) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        width = min(first.x1, second.x1) - max(first.x0, second.x0)
        height = min(first.y1, second.y1) - max(first.y0, second.y0)
        if width > 1 and height > 1:
            bad.append(f"{one.get_text()!r} overlaps {other.get_text()!r}")
    return bad


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("style", "name", "count"),
    [
        *itertools.product(["Default", "narrow"], NAMES, [2, 8, 30]),
        ("Thesis", "short", 8),
        ("Thesis", "long", 30),
    ],
)
def test_no_text_overlaps_another_or_leaves_the_figure(style, name, count):
    frame = sweep(count, min(count, 8), NAMES[name])

    for kind, figure in figures(frame, STYLES[style], count, NAMES[name]).items():
        assert collisions(figure) == [], kind
        assert figure.get_size_inches()[0] == STYLES[style].size_in[0]


def contrast(one, other) -> float:
    """Of WCAG 2: 4.5 is enough for text."""

    def luminance(colour):
        rgb = np.array(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", ["colorblind", "viridis", "magma", "rocket", "cividis"])
@pytest.mark.parametrize("background", ["white", "#202020"])
def test_numbers_stand_out_from_their_cells(palette, background):
    style = PlotStyle(palette=palette, rcParams={"axes.facecolor": background})

    for kind, figure in figures(sweep(8, 8, "v{}"), style, 8, "v{}").items():
        if kind == "final":
            continue
        axes = figure.axes[0]
        (mesh,) = (c for c in axes.collections if hasattr(c, "get_coordinates"))
        fills = mesh.to_rgba(mesh.get_array())
        assert len(axes.texts) >= 48
        for text in axes.texts:
            column, row = map(int, text.xy)
            assert contrast(text.get_color(), fills[row, column][:3]) >= 4.5


@pytest.mark.parametrize("background", ["white", "#202020"])
def test_equal_steps_of_a_confusion_matrix_look_equal(background):
    from expkit_plotting._style.colour_maps import oklab, ramp

    colours = oklab(ramp(to_rgb(background))(np.arange(0, 256, 15))[:, :3])

    steps = np.linalg.norm(np.diff(colours, axis=0), axis=1)
    assert steps.max() / steps.min() < 1.05
    lightness = np.diff(colours[:, 0])
    assert (lightness < 0).all() or (lightness > 0).all()
