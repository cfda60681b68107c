"""What tables say, from runs given as data."""

import io
from datetime import UTC, datetime
from unicodedata import east_asian_width

import pytest
from rich.console import Console

from expkit_bookkeeping import RunRecord
from expkit_hydra import GridRun
from expkit_hydra._console.rows import Row, most_telling, row_of, rows_of, with_reports
from expkit_hydra._console.table import finished_line, run_table
from expkit_hydra.launching import SchedulerReport

NOW = datetime(2026, 11, 23, tzinfo=UTC)


NAMES = ["cnn_adam_0.001_1", "cnn_" + "a" * 96, "汉字" * 20, "bad\x1b[2J\nname"]
FACTS = {"attempt": 1, "step": 11, "total": 20, "elapsed_s": 4000.0, "best": 0.98, "best_step": 7}


def printed(table, width) -> str:
    screen = Console(file=io.StringIO(), width=width)
    screen.print(table, crop=False)
    return screen.file.getvalue()


def columns_of(line) -> int:
    """Columns of a terminal."""
    return sum(1 + (east_asian_width(letter) in "WF") for letter in line.rstrip())


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_never_broken_and_the_table_fits(width, name):
    rows = [Row(name, "completed", **FACTS), Row("a", "failed", error="ValueError: " + "no " * 60)]
    shown = name.replace("\x1b", r"\x1b").replace("\n", r"\n")

    lines = printed(
        run_table(rows, metric="val_accuracy", width=width, elsewhere="see --json"), width
    ).splitlines()

    (line,) = [line for line in lines if line.startswith(shown)]
    assert line.removeprefix(shown).split()[0] == "completed"
    least = columns_of(shown) + len("  completed")
    assert max(map(columns_of, lines)) <= max(width, least)


def test_what_has_no_room_is_named_in_one_line_the_secondary_first():
    rows = [Row("cnn_adam_0.001_1_relu_32", "completed", heartbeat_age_s=1.0, **FACTS)]

    def hidden(width):
        text = " ".join(printed(run_table(rows, metric="acc", width=width), width).split())
        return text.partition("columns for: ")[2].split(", ")

    assert hidden(120) == [""]
    assert hidden(80) == ["attempt"]
    assert hidden(60) == ["attempt", "duration", "at step", "heartbeat"]


def test_a_metric_of_a_long_name_costs_no_column():
    rows = [Row("cnn_adam_0.001_1", "completed", **FACTS)]
    metric = "validation/accuracy/top5/of_all_classes_and_folds"

    text = printed(run_table(rows, metric=metric, width=80), 80)

    assert "no room" not in text
    assert f"best: best {metric}" in text


def test_columns_without_content_are_left_out():
    rows = [Row("a", "completed", attempt=1, elapsed_s=2.0), Row("b", "pending")]

    (header, *_) = printed(run_table(rows, metric=None, width=80), 80).splitlines()

    assert header.split() == ["run", "state", "attempt", "duration"]


def test_a_run_that_failed_and_is_done_under_another_name_counts_as_done(tmp_path):
    run = GridRun(0, "mlp_1", (), {}, "abc", None, tmp_path)
    records = [
        RunRecord(tmp_path, "mlp", "completed", config_hash="abc"),
        RunRecord(tmp_path, "mlp_1", "failed", config_hash="abc"),
    ]

    (shown,), _ = rows_of([run], records, now=NOW, metric=None)

    assert (shown.run_name, shown.state) == ("mlp", "completed")


def test_a_scheduler_knows_what_run_json_does_not():
    rows = [Row("a", "pending"), Row("b", "failed", error="ValueError: no"), Row("c", "failed")]
    reports = {
        "a": SchedulerReport("cancelled", "7_0 cancelled"),
        "b": SchedulerReport("pending", "8_0 PENDING"),
    }

    assert with_reports(rows, reports) == [
        Row("a", "cancelled", job="7_0 cancelled"),
        Row("b", "pending", job="8_0 PENDING"),  # its error is the earlier attempt's
        rows[2],
    ]


def test_names_with_brackets_are_no_markup():
    rows = [Row("[red]a[/]", "failed", error="KeyError: [0]")]

    written = printed(run_table(rows, metric=None, width=100), 100)
    written += printed(finished_line(1, 1, rows[0], name_width=9, metric=None), 100)

    assert written.count("[red]a[/]") == 2
    assert "KeyError: [0]" in written
    assert "[1/1]" in written


def test_of_many_runs_the_failed_and_the_best_are_shown_in_their_order():
    rows = [Row(f"run{n}", "completed", best=float(n)) for n in range(100)]
    rows[50] = Row("broken", "failed")

    shown, hidden = most_telling(rows, limit=10)
    lowest, _ = most_telling(rows, limit=10, maximize=False)

    assert hidden == 90
    assert [row.run_name for row in shown] == ["broken", *(f"run{n}" for n in range(91, 100))]
    assert [row.run_name for row in lowest] == [*(f"run{n}" for n in range(9)), "broken"]


def test_a_broken_grid_does_not_hide_its_own_best_runs():
    rows = [Row(f"bad{n}", "failed") for n in range(90)]
    rows += [Row(f"good{n}", "completed", best=float(n)) for n in range(10)]

    shown, _ = most_telling(rows, limit=20)

    assert sum(row.state == "completed" for row in shown) == 10


def test_a_run_whose_metric_is_nan_is_never_among_the_best():
    rows = [Row("nan", "completed", best=float("nan"))]
    rows += [Row(f"run{n}", "completed", best=float(n)) for n in range(10)]

    shown, _ = most_telling(rows, limit=5)

    assert "nan" not in [row.run_name for row in shown]


def running(tmp_path, **facts):
    record = RunRecord(tmp_path, "a", "running", host="node7", **facts)
    return row_of(record, now=NOW)


def test_a_running_run_that_cannot_be_asked_says_so_once_its_heartbeat_is_old(tmp_path):
    old = running(tmp_path, heartbeat_at="2026-11-20T00:00:00+00:00")
    new = running(tmp_path, heartbeat_at="2026-11-22T23:59:00+00:00")

    assert old.error == (
        "uncertain: node7 cannot be asked from here, and its last heartbeat is 3 d 00 h old; "
        "30 minutes after run.json was written or copied it is lost"
    )
    assert new.error is None


@pytest.mark.parametrize("text", ["soon", "2026-11-20", "2026-11-20T00:00:00", ""])
def test_a_heartbeat_that_is_no_time_is_not_shown(tmp_path, text):
    assert running(tmp_path, heartbeat_at=text).heartbeat_age_s is None


def test_a_run_that_cannot_be_read_says_why(tmp_path):
    record = RunRecord(tmp_path, "a", "unknown", reason="run.json is damaged: no text")

    assert row_of(record, now=NOW).error == "run.json is damaged: no text"


def test_lines_of_runs_are_aligned_where_names_have_wide_characters():
    rows = [Row("中文", "completed", elapsed_s=1.0), Row("cnn_1", "completed", elapsed_s=1.0)]

    lines = [finished_line(1, 2, row, name_width=5, metric=None) for row in rows]

    assert lines[0].replace("中文", "1234") == lines[1].replace("cnn_1", "1234 ")
