"""Experiments that are larger than what a page can hold point by point."""

import base64

import numpy as np
import pytest

from expkit_plotting import PlotStyle, Report
from expkit_plotting._data.runs import Curve, Experiment, Run
from expkit_plotting._page import curves, rendering
from expkit_plotting._page.curves import PageCurves

STYLE = PlotStyle.load("Default")


def decoded(page: PageCurves, metric: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The steps and values of a curve, as the page's script reads them."""
    _, steps, values = page.curves["metrics"][metric][number]
    written = page.curves["steps"][steps]
    raw = base64.b64decode(written["data"])
    if written["kind"] == "u2":
        x = written["first"] + np.frombuffer(raw, "<u2")
    else:
        x = np.frombuffer(raw, "<f8")
    return x.astype(float), np.frombuffer(base64.b64decode(values), "<f4")


def page_of(*written: Curve) -> PageCurves:
    runs = tuple(Run(f"run_{n}", {"seed": n}, {"loss": c}) for n, c in enumerate(written))
    numbers = {run.name: number for number, run in enumerate(runs)}
    return PageCurves(Experiment(name="", runs=runs), numbers, STYLE)


def test_a_curve_that_fits_is_written_point_by_point():
    values = np.random.default_rng(0).normal(size=500)
    x, y = decoded(page_of(Curve(np.arange(500.0), values)), "loss", 0)
    assert (x == np.arange(500)).all()
    assert (y == values.astype("f4")).all()


@pytest.mark.parametrize("first", [0.0, 1e7, 0.5])
def test_steps_are_exact_wherever_they_begin_and_however_far_they_reach(first):
    steps = first + np.array([0, 1, 3, 70_000, 2**40])
    x, _ = decoded(page_of(Curve(steps, np.zeros(5))), "loss", 0)
    assert (x == steps).all()


def test_no_extreme_of_a_long_curve_is_lost_and_the_chart_says_that_it_is_shorter(monkeypatch):
    monkeypatch.setattr(curves, "MOST_POINTS", 2000)
    generator = np.random.default_rng(1)
    values = generator.normal(size=(10, 5000))
    peaks = generator.integers(0, 5000, size=10)
    values[np.arange(10), peaks] = 50.0
    page = page_of(*(Curve(np.arange(5000.0), row) for row in values))
    for number, (row, peak) in enumerate(zip(values, peaks, strict=True)):
        x, y = decoded(page, "loss", number)
        assert len(x) < 500
        assert y[x == peak] == 50.0
        assert y.min() == row.min().astype("f4")
        for start in range(0, 5000, 100):  # in each stretch a reader sees its range
            inside = (x >= start) & (x < start + 100)
            assert inside.any()
    assert "lowest and the highest value of each of" in page.metrics["loss"]["thinned"]
    assert "5000 steps" in page.metrics["loss"]["thinned"]


def test_gaps_and_what_has_diverged_stay_gaps():
    x, y = decoded(page_of(Curve(np.arange(4.0), np.array([1.0, np.nan, np.inf, 2.0]))), "loss", 0)
    assert np.isnan(y).tolist() == [False, True, True, False]
    assert len(x) == 4


def test_a_thousand_runs_can_be_looked_at_sorted_and_filtered(experiment, open_page):
    folder = experiment(
        {"model": ["cnn", "mlp"], "lr": [10.0**-n for n in range(10)], "seed": list(range(50))},
        epochs=4,
    )
    page = open_page(Report(folder).save())
    assert page.tab.locator("#runs-table tbody tr").count() == 1000
    page.tab.fill("#filter", "lr<0.01 model=cnn seed=7")
    page.tab.wait_for_timeout(300)
    assert sorted(page.run_names()) == sorted(f"cnn_{10.0**-n}_7" for n in range(3, 10))
    page.tab.click("#clear")
    page.tab.click("[data-view=runs]")
    plot = page.tab.locator("figure.chart .plot").first
    plot.scroll_into_view_if_needed()
    page.settle()
    box = plot.bounding_box()
    page.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "and 988 farther away" in page.tab.inner_text(".tip")
    assert page.complaints == []


def test_runs_that_the_static_table_leaves_out_are_in_the_live_one(
    experiment, open_page, monkeypatch
):
    monkeypatch.setattr(rendering, "MOST_STATIC_ROWS", 3)
    folder = experiment({"model": ["cnn", "mlp"], "seed": [1, 2, 3]}, epochs=2)
    path = Report(folder).save()
    page = open_page(path)
    assert page.run_names() == [f"{model}_{seed}" for model in ("cnn", "mlp") for seed in (1, 2, 3)]
    static, live = page.cells(0), page.cells(5)
    assert len(static) == len(live)
    assert live[1:4] == ["mlp_3", "mlp", "3"]
    assert page.complaints == []
    plain = open_page(path, java_script_enabled=False)
    assert len(plain.run_names()) == 3
    assert "3 more runs are in results.csv" in plain.tab.inner_text("#tables")
