"""Every file type shows the same figure, and no text of it overlaps another or leaves it.

The cases cover every pair of their facts; with EXPKIT_ALL_FIGURES=1, every combination.
"""

import itertools
import math
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from expkit_plotting import PlotMetrics, PlotStyle
from expkit_plotting._figures import styled

LENGTH = 12
LONG = "a_name_that_goes_on_" * 5  # 100 characters


def falling(run: int, step: int) -> float:
    return 2 / (step + 1) + run / 40 + 0.05 * math.sin(5 * run + step)


CURVES = {
    "falling": lambda run: [falling(run, step) for step in range(LENGTH)],
    "one value": lambda run: [1.0 + run],
    "constant": lambda run: [0.5] * LENGTH,
    "nine decades": lambda run: [
        10 ** (4 - 9 * step / (LENGTH - 1)) * (1 + run / 9) for step in range(LENGTH)
    ],
    "NaN": lambda run: [
        math.nan if (step + run) % 3 == 0 else falling(run, step) for step in range(LENGTH)
    ],
    "infinite": lambda run: [falling(run, step) for step in range(LENGTH - 1)] + [math.inf],
    "unequal lengths": lambda run: [falling(run, step) for step in range(3 + 5 * run % LENGTH)],
}
FACTS = {
    "style": ("Default", "Thesis"),
    "count": (1, 3, 12, 40, 300),
    "curves": tuple(CURVES),
    "name": ("cnn", LONG),
    "dpi": (80, 300),
    "kind": ("groups", "seeds", "all", "run"),
    "filetype": ("eps", "ps", "svg", "jpg", "tif", "webp"),  # besides PNG and PDF
}
BLOCK_IN = 0.2  # whose mean colours are compared
TOLERANCE = 0.1  # of the way from black to white; text is drawn a little differently


def pairwise(facts: dict[str, tuple]) -> Iterator[tuple]:
    """Combinations with every pair of values of two facts in one of them at least."""
    missing = {
        ((first, one), (second, other))
        for first, second in itertools.combinations(range(len(facts)), 2)
        for one, other in itertools.product(
            list(facts.values())[first], list(facts.values())[second]
        )
    }
    uses = Counter()
    while missing:
        chosen = dict(min(missing, key=repr))
        for place, values in enumerate(facts.values()):
            if place not in chosen:
                chosen[place] = max(
                    values,
                    key=lambda value, place=place: (
                        sum(
                            tuple(sorted([(place, value), pair])) in missing
                            for pair in chosen.items()
                        ),
                        -uses[place, value],
                    ),
                )
        case = tuple(chosen[place] for place in range(len(facts)))
        uses.update(enumerate(case))
        missing -= set(itertools.combinations(enumerate(case), 2))
        yield case


EVERYTHING = bool(os.environ.get("EXPKIT_ALL_FIGURES"))
CASES = list(itertools.product(*FACTS.values()) if EVERYTHING else pairwise(FACTS))


@pytest.fixture
def renderers() -> None:
    """What draws PDF and EPS files; CI has them."""
    absent = [name for name in ("gs", "pdftoppm") if shutil.which(name) is None]
    if absent:
        advice = f"not on PATH: {', '.join(absent)}"
        if "latex" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
            pytest.fail(advice)
        pytest.skip(advice)


def draw(plots: PlotMetrics, kind: str):
    if kind == "run":
        return plots.run(plots.runs[0])
    return plots.metric("val_loss", lines="all" if kind == "all" else "auto")


def runs_of(count: int, curves: str, name: str, kind: str) -> list[dict[str, object]]:
    rows = []
    for number in range(count):
        swept = {"model": f"{name[:95]}_{number // 3}", "seed": number % 3}
        identity = swept if kind == "seeds" else {}
        for step, value in enumerate(CURVES[curves](number)):
            row = {"run": f"{name[:95]}_{number:03}", **identity, "epoch": step}
            rows.append({**row, "val_loss": value, "loss": value * 0.9})
    return rows


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("style", "count", "curves", "name", "dpi", "kind", "filetype"),
    CASES,
    ids=lambda value: str(value)[:15],
)
def test_every_file_type_shows_the_same_figure(
    style, count, curves, name, dpi, kind, filetype, latex, renderers, tmp_path
):
    import pandas as pd

    plot_style = replace(
        PlotStyle.load(style), dpi=dpi, filetypes=("png", "pdf", filetype), add_titles=True
    )
    if count > 3 and name == LONG and not EVERYTHING:
        plot_style = replace(plot_style, latex=False)  # which measures every text in a process
    plots = PlotMetrics(pd.DataFrame(runs_of(count, curves, name, kind)), plot_style)

    figure = draw(plots, kind)

    plots.save(figure, tmp_path / "figure")
    assert text_faults(figure, dpi) == []
    png = pixels(tmp_path / "figure.png")
    assert difference(png, rendered(tmp_path / "figure.pdf", dpi), dpi) < TOLERANCE
    other = tmp_path / f"figure.{filetype}"
    if filetype == "svg":
        assert ElementTree.parse(other).getroot().tag.endswith("svg")
    elif filetype == "eps":
        assert difference(png, rendered(other, dpi), dpi) < TOLERANCE
    elif filetype == "ps":  # somewhere on a page of paper
        assert (rendered(other, dpi) < 0.5).any()
    else:
        assert difference(png, pixels(other), dpi) < TOLERANCE / 2


@pytest.mark.parametrize("kind", ["seeds", "groups"])
def test_the_comparison_sees_a_band_that_hides_curves(kind, renderers, tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.setattr(styled, "OPAQUE_FILETYPES", ())
    plots = PlotMetrics(
        pd.DataFrame(runs_of(12 if kind == "seeds" else 40, "falling", "cnn", kind)),
        PlotStyle(dpi=80, filetypes=("png", "eps")),
    )

    plots.save(draw(plots, kind), tmp_path / "figure")

    png, eps = pixels(tmp_path / "figure.png"), rendered(tmp_path / "figure.eps", 80)
    assert difference(png, eps, 80) > 2 * TOLERANCE


# ---------------------------------------------------------------- pictures


def rendered(file: Path, dpi: int) -> np.ndarray:
    """A PDF, EPS or PS file as pixels."""
    image = file.with_name(f"{file.name}.png")
    if file.suffix == ".pdf":
        command = ["pdftoppm", "-png", "-singlefile", "-r", str(dpi), file, image.with_suffix("")]
    else:
        command = [
            *("gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-dEPSCrop", "-sDEVICE=png16m"),
            *("-dGraphicsAlphaBits=4", "-dTextAlphaBits=4", f"-r{dpi}", f"-sOutputFile={image}"),
            file,
        ]
    subprocess.run(command, check=True, capture_output=True)
    return pixels(image)


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB"), dtype=float) / 255


def difference(one: np.ndarray, other: np.ndarray, dpi: int) -> float:
    """The largest difference of two pictures' mean colours in a block."""
    assert np.abs(np.subtract(one.shape, other.shape)).max() <= 2
    height, width = np.minimum(one.shape, other.shape)[:2]
    size = round(BLOCK_IN * dpi)
    rows, columns = np.arange(0, height, size), np.arange(0, width, size)
    areas = np.outer(np.diff([*rows, height]), np.diff([*columns, width]))[..., None]
    gap = one[:height, :width] - other[:height, :width]
    sums = np.add.reduceat(np.add.reduceat(gap, rows, axis=0), columns, axis=1)
    whole = areas[..., 0] > size * size / 4  # a rest at the edge may be a row of pixels
    return float(np.abs(sums / areas)[whole].max())


# ---------------------------------------------------------------- texts


def texts(figure) -> list[Text]:
    """All texts that are drawn."""
    drawn = [*figure.texts]
    for axes in figure.axes:
        if not axes.get_visible():
            continue
        drawn += [axes.title, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            drawn += [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
            drawn += [axis.label, axis.get_offset_text()]
        if (legend := axes.get_legend()) is not None:
            drawn += [legend.get_title(), *legend.get_texts()]
    return [text for text in drawn if text.get_visible() and text.get_text().strip()]


def text_faults(figure, dpi: int) -> list[str]:
    """Texts that leave the figure or overlap another, in a file of this dpi."""
    figure.dpi = dpi
    figure.canvas.draw()
    tolerance = dpi / 100
    whole = figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    faults = [
        f"{text!r} leaves the figure"
        for text, box in boxes
        if min(box.x0, box.y0, whole.x1 - box.x1, whole.y1 - box.y1) < -tolerance
    ]
    for (text, box), (other_text, other) in itertools.combinations(boxes, 2):
        width = min(box.x1, other.x1) - max(box.x0, other.x0)
        height = min(box.y1, other.y1) - max(box.y0, other.y0)
        if min(width, height) > tolerance:
            faults.append(f"{text!r} overlaps {other_text!r}")
    return faults
