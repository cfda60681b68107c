"""A page that is written again while runs train, and notices it."""

import pytest
from page_experiments import curves_of, train

from expkit_plotting import PlotMetrics, PlotStyle, Report
from expkit_plotting._page.watching import watch

pytestmark = pytest.mark.runs
STYLE = PlotStyle.load("Default")


@pytest.fixture
def experiment(tmp_path):
    folder = tmp_path / "results" / "digits"
    train(folder, "run_1", {"seed": 1}, curves_of(0.5))
    return folder


def test_an_open_page_shows_the_newest_and_keeps_what_was_chosen(experiment, open_page):
    from expkit_bookkeeping import Bookkeeping

    path = experiment / "report.html"
    looks = iter(range(99))
    with Bookkeeping(experiment / "training" / "run_2", swept={"seed": 2}, console=False) as book:
        book.log_metrics({"loss": 1.0}, step=0)
        lines = watch([experiment], path, STYLE, sleep=lambda s: next(looks))
        assert "1 running" in next(lines)
        page = open_page(path, "q=run_&sort=-seed")
        assert page.run_names() == ["run_2", "run_1"]
        train(experiment, "run_3", {"seed": 3}, curves_of(0.5))
        assert "1 running" in next(lines)
        page.tab.locator("#runs-table th", has_text="run_3").wait_for(timeout=15000)
        assert page.run_names() == ["run_3", "run_2", "run_1"]
        assert page.tab.input_value("#filter") == "run_"
    assert list(lines) == []
    assert "expkitVersion: " not in path.read_text().partition("</head>")[0]
    assert page.complaints == []


def test_the_watch_waits_for_the_first_run_however_long_that_takes(tmp_path):
    folder = tmp_path / "results" / "digits"
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 2:  # the grid is written before its first run starts
            folder.mkdir(parents=True)
        if len(waits) == 4:
            train(folder, "run_1", {"seed": 1}, curves_of(0.5))

    lines = watch([folder], folder / "report.html", STYLE, sleep=sleep)
    assert next(lines).startswith("Waiting: ")
    assert list(lines) == []
    assert len(waits) == 4
    assert "1 completed" in (folder / "report.html").read_text()


def test_a_page_that_was_slow_to_make_is_made_less_often(experiment):
    waited = []
    now = iter([0.0, 3.0, 3.0, 3.1])

    class Ended(Exception):
        pass

    def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 2:
            raise Ended

    from expkit_bookkeeping import Bookkeeping

    with Bookkeeping(experiment / "training" / "run_2", swept={"seed": 2}, console=False) as book:
        book.log_metrics({"loss": 1.0}, step=0)
        path = experiment / "report.html"
        lines = watch([experiment], path, STYLE, sleep=sleep, clock=lambda: next(now))
        with pytest.raises(Ended):
            list(lines)
    assert waited == [15.0, 2.0]


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(experiment, tmp_path, open_page):
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<body>{Report(experiment)._repr_html_()}</body>")
    page = open_page(notebook)
    frame = page.tab.frame_locator("iframe")
    assert frame.locator("#runs-table tbody th").all_inner_texts() == ["run_1"]
    frame.locator("#filter").fill("nothing")
    page.tab.wait_for_timeout(300)
    assert frame.locator("#count").inner_text() == "0 of 1 runs"
    assert page.complaints == []


def test_tables_and_figures_of_a_notebook_link_to_the_report(experiment, monkeypatch):
    from expkit_bookkeeping import results

    monkeypatch.chdir(experiment.parent.parent)
    figure = PlotMetrics(experiment).metric("loss")
    assert figure._repr_html_() is None
    assert "<a " not in results(experiment)._repr_html_()
    Report(experiment).save()
    link = '<a href="results/digits/report.html" target="_blank">'
    assert link in results(experiment)._repr_html_()
    html = figure._repr_html_()
    assert link in html
    assert html.startswith('<img src="data:image/png;base64,')
