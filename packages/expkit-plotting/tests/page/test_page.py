"""The page of an experiment in a real browser, as a reader uses it."""

import csv
import io
import json
import re
import subprocess

import pytest
from page_experiments import curves_of, train

from expkit_plotting import PlotMetrics, Report

pytestmark = pytest.mark.runs


@pytest.fixture(scope="session")
def report(digits):
    return Report(digits).save()


def test_a_page_needs_no_other_file_and_no_network_and_breaks_no_rule_of_its_policy(
    report, open_page
):
    page = open_page(report)
    for section in ("curves", "tables", "parallel", "scatter", "differences"):
        page.tab.locator(f"#{section}").scroll_into_view_if_needed()
        page.settle()
    assert page.complaints == []
    assert page.requests == []
    assert page.tab.locator("canvas").count() >= 4  # two metrics, parallel coordinates, scatter


def test_the_headline_names_the_best_run_and_mean_and_counts_states(report, digits, open_page):
    from expkit_bookkeeping import read_run, results

    text = open_page(report).tab.inner_text(".headline")
    assert "Best val/acc" in text
    assert "cnn_0.001_2" in text
    assert "8 completed" in text
    assert "1 failed" in text
    mean = results(digits).table()["best_val/acc", "mean"].max()
    assert f"{mean:.4g} ± " in text
    assert "(n = 2): cnn, 0.001" in text
    started = read_run(digits / "training/cnn_0.001_2").started_at
    assert started[:10] in text.partition("trained")[2]


def test_the_page_carries_the_licences_of_what_it_contains(report, open_page):
    page = open_page(report)
    licences = page.tab.locator("footer pre")
    assert not licences.is_visible()
    page.tab.click("footer summary")
    for words in ("Apache License", "zrender", "Microsoft Corporation"):
        assert words in licences.inner_text()


def test_the_numbers_of_the_table_are_those_of_results_csv(report, digits, open_page):
    from expkit_bookkeeping import result_rows

    page = open_page(report)
    heads = page.tab.locator("#runs-table thead th").all_inner_texts()
    rows = {row["run_name"]: row for row in result_rows(digits)}
    assert page.run_names() == list(rows)
    for number, (name, row) in enumerate(rows.items()):
        cells = dict(zip(heads, page.cells(number)[1:], strict=True))
        assert cells["run"] == name
        assert cells["state"] == row["state"]
        for column in ("lr", "seed", "loss", "val/acc", "best_val/acc"):
            value = row[column]
            if value is None:
                assert cells[column] == "–"
            elif value == value:
                assert float(cells[column]) == pytest.approx(value, rel=1e-3)
            else:
                assert cells[column] == "NaN"


def test_a_click_on_a_head_sorts_first_to_the_better_end_and_what_has_no_value_comes_last(
    report, open_page
):
    page = open_page(report)
    head = page.tab.locator("#runs-table thead button", has_text=re.compile("^val/acc$"))
    head.click()
    assert page.run_names()[0] == "cnn_0.001_2"
    assert page.run_names()[-1] == "cnn_10.0_1"
    head.click()
    assert page.run_names()[0] == "mlp_0.1_1"
    assert page.run_names()[-1] == "cnn_10.0_1"
    head.click()
    assert page.run_names()[0] == "cnn_0.001_1"
    assert page.address == ""


@pytest.mark.parametrize(
    ("text", "count"),
    [("cnn", 5), ("cnn seed=2", 2), ("lr>=0.1 state=completed", 4), ("val/acc>0.85", 2),
     ("model!=cnn", 4), ("nothing of this", 0)],
)  # fmt: skip
def test_typing_filters_runs_by_words_and_by_comparisons(report, open_page, text, count):
    page = open_page(report)
    page.tab.fill("#filter", text)
    page.settle()
    assert len(page.run_names()) == count
    assert f"{count} of 9 runs" in page.tab.inner_text("#count")


def test_an_address_that_is_sent_shows_the_same_selection(report, open_page):
    page = open_page(report)
    page.tab.fill("#filter", "cnn")
    page.tab.locator("#runs-table thead button", has_text=re.compile("^loss$")).click()
    page.tab.get_by_role("tab", name="Groups").click()
    page.tab.locator("[data-view=runs]").click()
    other = open_page(report, page.address.replace("%", "%25"))
    assert other.tab.input_value("#filter") == "cnn"
    assert other.tab.get_by_role("tab", name="Groups").get_attribute("aria-selected") == "true"
    assert other.tab.locator("[data-view=runs]").get_attribute("aria-pressed") == "true"
    other.tab.get_by_role("tab", name="Runs", exact=True).click()
    page.tab.get_by_role("tab", name="Runs", exact=True).click()
    assert other.run_names() == page.run_names()
    assert other.complaints == []


@pytest.mark.parametrize("address", ["pick=7", "brush=[]", "log={%22a%22", "run=../x", "%00", "q"])
def test_a_damaged_address_shows_the_whole_page(report, open_page, address):
    page = open_page(report, address)
    page.settle()
    assert len(page.run_names()) == 9
    assert page.complaints == []


def test_groups_are_means_over_seeds_with_n_and_the_best_is_marked(report, digits, open_page):
    from expkit_bookkeeping import results

    page = open_page(report, "tab=groups")
    table = results(digits).table()
    mean = table["val/acc", "mean"].max()
    spread = table["val/acc", "std"][table["val/acc", "mean"].idxmax()]
    best = page.tab.locator("#groups-table td.best").all_inner_texts()
    assert f"{mean:.4g} ± {spread:.2g}" in best
    row = page.cells(0, "groups")
    assert row[:3] == ["cnn", "0.001", "2"]


def test_the_pointer_shows_values_of_the_nearest_curve(report, open_page):
    page = open_page(report)
    plot = page.tab.locator("figure.chart .plot").first
    plot.scroll_into_view_if_needed()
    page.settle()
    box = plot.bounding_box()
    page.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    text = page.tab.inner_text(".tip")
    assert re.match(r"epoch [34]\n", text)
    assert "(n = 2)" in text
    assert "±" in text
    page.tab.mouse.move(box["x"] - 20, box["y"] - 20)
    assert not page.tab.is_visible(".tip")


def test_a_keyboard_reads_values_of_a_curve(report, open_page):
    page = open_page(report)
    plot = page.tab.locator("figure.chart .plot").first
    plot.scroll_into_view_if_needed()
    page.settle()
    plot.focus()
    page.tab.keyboard.press("ArrowRight")
    page.tab.keyboard.press("ArrowLeft")
    assert page.tab.inner_text("#announcer").startswith("epoch 6: ")


def test_dragging_zooms_and_a_double_click_shows_all_again(report, open_page):
    page = open_page(report)
    plot = page.tab.locator("figure.chart .plot").first
    plot.scroll_into_view_if_needed()
    page.settle()
    box = plot.bounding_box()
    before = plot.screenshot()
    page.tab.mouse.move(box["x"] + 200, box["y"] + 90)
    page.tab.mouse.down()
    page.tab.mouse.move(box["x"] + 400, box["y"] + 100)
    page.tab.mouse.up()
    page.tab.mouse.move(box["x"] - 30, box["y"])
    page.settle()
    note = page.tab.locator("figure.chart .note").first
    assert "double-click shows all steps" in note.inner_text()
    assert plot.screenshot() != before
    page.tab.mouse.dblclick(box["x"] + 300, box["y"] + 90)
    page.tab.mouse.move(box["x"] - 30, box["y"])
    page.settle()
    assert "double-click" not in note.inner_text()
    assert plot.screenshot() == before


def test_brushing_an_axis_selects_in_table_and_curves_and_in_the_address(report, digits, open_page):
    from expkit_bookkeeping import result_rows

    page = open_page(report)
    plot = page.tab.locator("#parallel .plot")
    plot.scroll_into_view_if_needed()
    page.settle()
    box = plot.bounding_box()
    x = box["x"] + box["width"] - 60  # the last axis, best_val/acc
    page.tab.mouse.move(x, box["y"] + 50)
    page.tab.mouse.down()
    page.tab.mouse.move(x, box["y"] + 160, steps=6)
    page.tab.mouse.up()
    page.tab.wait_for_timeout(100)
    names = page.run_names()
    brushed = json.loads(page.address.removeprefix("brush="))
    low, high = brushed.pop("best_val/acc")
    assert not brushed
    best = {row["run_name"]: row["best_val/acc"] for row in result_rows(digits)}
    assert names == [name for name, value in best.items() if value and low <= value <= high]
    assert 0 < len(names) < 8
    again = open_page(report, page.address)
    assert again.run_names() == names
    page.tab.click("#clear")
    assert len(page.run_names()) == 9


def test_columns_are_hidden_moved_and_copied_as_they_are_shown(report, open_page):
    page = open_page(report, permissions=["clipboard-read", "clipboard-write"])
    page.tab.fill("#filter", "mlp")
    page.tab.click("summary:has-text('Columns')")
    page.tab.locator(".menu label", has_text=re.compile("^seconds$")).click()
    page.tab.click("button[aria-label='Move state left']")
    page.tab.click("summary:has-text('Columns')")
    heads = page.tab.locator("#runs-table thead th:visible").all_inner_texts()
    assert "seconds" not in heads
    assert heads.index("state") < heads.index("seed")
    page.tab.click("button:has-text('Copy CSV')")
    page.tab.wait_for_selector("button:has-text('Copied')")
    rows = list(csv.reader(io.StringIO(page.tab.evaluate("navigator.clipboard.readText()"))))
    assert rows[0] == heads
    assert [row[0] for row in rows[1:]] == page.run_names()
    page.tab.click("button:has-text('Copy LaTeX')")
    page.tab.wait_for_timeout(200)
    text = page.tab.evaluate("navigator.clipboard.readText()")
    assert text.startswith("\\begin{tabular}")
    assert "best\\_val/acc" in text


def test_a_run_opens_with_configuration_differences_error_and_links(report, digits, open_page):
    page = open_page(report)
    page.tab.click("#runs-table tbody button:has-text('cnn_10.0_1')")
    text = page.tab.inner_text("dialog")
    assert "RuntimeError: loss is NaN" in text
    assert "Traceback" in text
    assert "Difference to the best run, cnn_0.001_2" in text
    assert "epochs: 8" in text
    href = page.tab.get_attribute("dialog a:has-text('run.json')", "href")
    assert (digits / href).is_file()
    assert page.address == "run=cnn_10.0_1"
    page.tab.keyboard.press("Escape")
    assert not page.tab.is_visible("dialog")
    assert page.address == ""


def test_images_tables_and_confusion_matrices_of_a_run_are_in_its_panel(tmp_path, open_page):
    import pandas as pd

    results = {
        "confusion": [[3, 1], [0, 4]],
        "errors": pd.DataFrame({"digit": [3, 8], "count": [5, 2]}),
    }
    experiment = tmp_path / "results" / "digits"
    folder = train(experiment, "run", {"seed": 1}, curves_of(0.5), results=results)
    figure = PlotMetrics({"a": {"loss": [2.0, 1.0]}}).metric("loss")
    figure.savefig(folder / "results" / "picture.png", dpi=40)
    page = open_page(Report(experiment).save(), "run=run")
    tables = page.tab.locator("dialog table.data")
    assert " ".join(tables.nth(0).inner_text().split()) == "true \\ predicted 0 1 0 3 1 1 0 4"
    assert tables.nth(1).inner_text().split() == ["digit", "count", "3", "5", "8", "2"]
    colours = [
        tables.nth(0)
        .locator("td")
        .nth(place)
        .evaluate("(c) => getComputedStyle(c).backgroundColor")
        for place in range(4)
    ]
    assert len(set(colours)) == 4  # three, one and four of four; none is not coloured
    image = page.tab.locator("dialog img[alt='results/picture.png']")
    assert image.evaluate("(i) => i.naturalWidth") > 100
    assert page.complaints == []


def test_what_was_smoothed_is_said_and_what_was_logged_stays_visible(report, open_page):
    page = open_page(report, "view=runs")
    page.tab.locator("#smooth").fill("0.6")
    page.tab.locator("figure.chart").first.scroll_into_view_if_needed()
    page.settle()
    note = page.tab.locator("figure.chart .note").first.inner_text()
    assert "smoothed (moving average, weight 0.6); faint: as logged" in note


def test_several_experiments_have_a_key_of_their_own(digits, tmp_path, open_page):
    other = tmp_path / "results" / "other"
    for seed in (1, 2):
        train(other, f"vit_{seed}", {"model": "vit", "seed": seed}, curves_of(0.95))
    path = Report([digits, other]).save(tmp_path / "both.html")
    page = open_page(path)
    heads = page.tab.locator("#runs-table thead th").all_inner_texts()
    assert heads[:2] == ["run", "experiment"]
    assert len(page.run_names()) == 11
    page.tab.fill("#filter", "experiment=other")
    page.settle()
    assert page.run_names() == ["other/vit_1", "other/vit_2"]
    assert "other/vit_1" in page.tab.inner_text(".headline")
    assert page.complaints == []


def test_experiments_and_runs_that_lack_something_spoil_nothing(tmp_path, open_page):
    results = tmp_path / "results"
    train(results / "a", "one", {"x": 1}, {"loss": [1.0, float("nan")]})
    train(results / "a", "two", {"y": [1, 2]}, {"other": [1.0]})
    train(results / "b", "failed", {"seed": 1}, {}, error=ValueError("at once"))
    path = Report([results / "a", results / "b"]).save()
    page = open_page(path)
    assert path.name == "report_with_b.html"
    assert page.tab.locator("figure.chart figcaption strong").all_inner_texts()[:2] == [
        "loss", "other"
    ]  # fmt: skip
    page.tab.locator("#parallel").scroll_into_view_if_needed()
    page.settle()
    assert page.tab.evaluate("expkit.axes.axis('x').texts") == ["1", "–"]
    assert page.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("address", ["", "tab=groups", "run=cnn_10.0_1"])
def test_a_screen_reader_finds_nothing_serious(report, open_page, theme, address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(report, f"theme={theme}&{address}", bypass_csp=True)  # axe is a script, too
    page.settle()
    result = axe.run(page.tab).response
    assert len(result["passes"]) > 15
    serious = [(v["id"], v["nodes"][0]["html"]) for v in result["violations"]
               if v["impact"] in ("serious", "critical")]  # fmt: skip
    assert serious == []


@pytest.mark.parametrize("size", [(400, 800), (1280, 900), (2560, 1440)])
def test_nothing_leaves_the_page_sideways(report, open_page, size):
    page = open_page(report, size=size)
    page.settle()
    assert page.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_scripts_there_are_table_and_figures(report, open_page):
    page = open_page(report, java_script_enabled=False)
    assert len(page.run_names()) == 9
    images = page.tab.locator(".static img")
    assert images.count() == 2
    assert all(images.nth(n).bounding_box()["width"] > 200 for n in range(2))
    assert not page.tab.locator("#filter").is_visible()


def test_printed_it_has_vectors_for_figures_and_no_controls(report, open_page, tmp_path):
    page = open_page(report)
    page.tab.pdf(path=tmp_path / "page.pdf")
    images = subprocess.run(["pdfimages", "-list", tmp_path / "page.pdf"], capture_output=True,
                            text=True, check=True).stdout.splitlines()[2:]  # fmt: skip
    assert images == []
    text = subprocess.run(["pdftotext", "-layout", tmp_path / "page.pdf", "-"],
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert "cnn_0.001_2" in text
    assert "Smoothing" not in text
