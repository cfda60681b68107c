"""Names, configurations, logs and artifacts that would like to be more than text."""

import base64
import csv
import io
import json
import os

import pytest
from page_experiments import curves_of, train

from expkit_plotting import PlottingError, Report

pytestmark = pytest.mark.runs

SCRIPT = "<script>window.hacked = 1</script>"
IMAGE = "<img src=x onerror='window.hacked = 1'>"


@pytest.fixture
def hostile(tmp_path):
    experiment = tmp_path / "results" / "digits"
    for number, text in enumerate(
        (SCRIPT, IMAGE, "</script><!--", "'\"`${1}{{7*7}}\u2028", "=1+1")
    ):
        folder = train(
            experiment,
            f"run_{number}",
            {"model": text, "seed": number},
            {**curves_of(0.5), f"m{text}": [1.0, 2.0]},
            extra={"note": text, text: "a key"},
            error=RuntimeError(f"{text}\x1b[31m\x07\u202e") if number else None,
        )
        (folder / "results").mkdir(exist_ok=True)
        (folder / "results" / "x.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" onload="window.hacked=1">{SCRIPT}'
            "<script>fetch('http://127.0.0.1:9/')</script></svg>"
        )
        (folder / "results" / "table.csv").write_text(f'a,"{text.replace(chr(34), "")}"\n1,=2+3\n')
        with (folder / "training.log").open("a") as log:
            log.write(f"{text}\x1b[2J\x07\n")
    record = experiment / "training" / "run_0" / "run.json"
    data = json.loads(record.read_text())
    data["run_name"] = f"{SCRIPT}{IMAGE}"
    record.write_text(json.dumps(data))
    return experiment


def test_nothing_in_an_experiment_runs_or_asks_for_anything(hostile, open_page):
    page = open_page(Report(hostile).save())
    page.tab.click("#runs-table tbody tr:first-child th button")
    for _ in range(3):
        page.tab.wait_for_timeout(150)
        page.tab.click("dialog button:has-text('Next')")
    page.tab.click("dialog button:has-text('Close')")
    for section in ("curves", "parallel", "scatter", "differences"):
        page.tab.locator(f"#{section}").scroll_into_view_if_needed()
        page.settle()
    assert page.tab.evaluate("window.hacked") is None
    assert page.requests == []
    assert page.complaints == []
    assert page.tab.locator("script").count() == 4  # two of data, the library, ours
    assert SCRIPT in page.tab.inner_text("#runs-table")


def test_control_characters_of_logs_and_errors_are_shown(hostile, open_page):
    page = open_page(Report(hostile).save(), "run=run_1")
    text = page.tab.inner_text("dialog")
    assert "\\x07" in text
    assert "\\u202e" in text
    assert "\x1b" not in text


def test_a_copied_cell_is_no_formula_of_a_spreadsheet(hostile, open_page):
    page = open_page(Report(hostile).save(), permissions=["clipboard-read", "clipboard-write"])
    rows = list(csv.reader(io.StringIO(page.tab.evaluate("expkit.table.asCsv()"))))
    texts = [row[rows[0].index("model")] for row in rows[1:]]
    assert "'=1+1" in texts
    assert not [cell for row in rows for cell in row if cell[:1] == "="]


def test_a_link_out_of_a_run_is_not_read(tmp_path):
    experiment = tmp_path / "results" / "digits"
    folder = train(experiment, "run", {"seed": 1}, curves_of(0.5))
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"not yours")
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results" / "picture.png").symlink_to(secret)
    for name in ("training.log", "environment.yaml", "timer.yaml"):
        (folder / name).unlink(missing_ok=True)
        (tmp_path / name).write_text("private: not yours")
        (folder / name).symlink_to(tmp_path / name)
    (tmp_path / "secret.json").write_text("[[4711]]")
    (folder / "results" / "confusion.json").symlink_to(tmp_path / "secret.json")
    page = Report(experiment).html()
    assert base64.b64encode(b"not yours").decode() not in page
    assert "not yours" not in page
    assert "4711" not in page


def test_a_report_replaces_nothing_but_a_report(tmp_path):
    experiment = tmp_path / "results" / "digits"
    train(experiment, "run", {"seed": 1}, curves_of(0.5))
    (experiment / "report.html").write_text("<p>mine</p>")
    with pytest.raises(PlottingError, match=r"report\.html is no report of expkit"):
        Report(experiment).save()
    assert (experiment / "report.html").read_text() == "<p>mine</p>"
    pipe = tmp_path / "pipe.html"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="no file"):
        Report(experiment).save(pipe)
    other = tmp_path / "other.html"
    Report(experiment).save(other)
    Report(experiment).save(other)
    assert other.read_text().count("expkit report") >= 1


def test_a_damaged_run_spoils_itself_alone(tmp_path, open_page):
    experiment = tmp_path / "results" / "digits"
    for seed in (1, 2, 3):
        train(experiment, f"run_{seed}", {"seed": seed}, curves_of(0.5))
    (experiment / "training" / "run_1" / "run.json").write_bytes(b"\xff{")
    (experiment / "training" / "run_2" / "metrics.jsonl").write_bytes(b"\x00" * 2000)
    (experiment / "training" / "run_2" / "config.yaml").write_text("a: [")
    (experiment / "training" / "run_3" / "timer.yaml").write_text("- &x [*x]")
    page = open_page(Report(experiment).save())
    page.settle()
    assert page.complaints == []
    assert len(page.run_names()) == 3
    assert "1 unknown" in page.tab.inner_text(".headline")
