"""metrics.jsonl: what was logged is read back, whatever happened to the writer."""

import json
import math
import os
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_bookkeeping import Bookkeeping, load_metrics
from expkit_bookkeeping._recording.metrics import MetricsFile, metric_lines, metric_rows
from expkit_bookkeeping.launching import claim_run, cut_metrics

VALUES = st.floats() | st.integers(-(2**53), 2**53)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "digits" / "training" / "a"
    folder.mkdir(parents=True)
    return folder


def same(left: object, right: object) -> bool:
    return left == right or (left != left and right != right)


@given(st.lists(st.tuples(st.integers(0, 9), st.dictionaries(st.text(), VALUES, max_size=3))))
def test_every_number_and_name_is_read_back_exactly(tmp_path_factory, calls):
    folder = tmp_path_factory.mktemp("run")
    file = MetricsFile(folder)
    for step, metrics in calls:
        file.add(step, 1.0, metrics)
    file.write(sync=True)

    lines = list(metric_lines(folder))
    assert [line.step for line in lines] == [step for step, _ in calls]
    for line, (_, metrics) in zip(lines, calls, strict=True):
        assert list(line.metrics) == list(metrics)
        assert all(same(line.metrics[key], value) for key, value in metrics.items())


@given(st.data())
def test_a_file_cut_at_any_byte_yields_the_lines_before_the_cut(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("run")
    file = MetricsFile(folder)
    for step in range(5):
        file.add(step, 1.0, {"loss": step / 3})
    file.write(sync=True)
    size = data.draw(st.integers(0, file.path.stat().st_size))
    whole = file.path.read_bytes()[:size].count(b"\n")
    os.truncate(file.path, size)

    again = MetricsFile(folder)  # the next attempt
    again.add(9, 2.0, {"loss": 1.0})
    again.write()

    assert [line.step for line in metric_lines(folder)] == [*range(whole), 9]
    for line in file.path.read_text().splitlines():
        json.loads(line)


def test_what_was_appended_while_it_is_synced_is_synced_the_next_time(folder):
    file = MetricsFile(folder)
    file.add(0, 1.0, {"loss": 1.0})
    file.write()
    sync = file.syncing()
    file.add(1, 1.0, {"loss": 1.0})
    file.write()
    sync()
    again = file.syncing()
    assert again is not None
    again()

    assert file.syncing() is None


def test_a_torn_last_line_is_passed_over_in_silence(folder, caplog):
    (folder / "metrics.jsonl").write_text(
        '{"step": 0, "time": 1.0, "metrics": {"loss": 1.0}}\n{"step": 1, "ti'
    )

    assert metric_rows(folder) == {0: {"loss": 1.0}}
    assert caplog.text == ""


def test_a_damaged_line_elsewhere_is_named(folder, caplog):
    (folder / "metrics.jsonl").write_text('garbage\n{"step": 1, "time": 1.0, "metrics": {}}\n')

    assert metric_rows(folder) == {1: {}}
    assert "metrics.jsonl line 1 is damaged" in caplog.text


def test_two_calls_with_one_step_are_one_row_and_the_later_value_wins(folder):
    file = MetricsFile(folder)
    file.add(0, 1.0, {"loss": 1.0, "accuracy": 0.5})
    file.add(0, 2.0, {"loss": 0.5})
    file.write()

    assert metric_rows(folder) == {0: {"loss": 0.5, "accuracy": 0.5}}


def test_numbers_that_json_lacks_are_strings_in_the_file_and_numbers_when_read(folder):
    file = MetricsFile(folder)
    file.add(0, 1.0, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.0})
    file.write()

    (text,) = file.path.read_text().splitlines()
    assert json.loads(text)["metrics"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 1.0}
    values = metric_rows(folder)[0]
    assert math.isnan(values["a"])
    assert (values["b"], values["c"]) == (math.inf, -math.inf)


def test_cutting_forgets_the_steps_that_will_be_logged_again(folder):
    file = MetricsFile(folder)
    for step in range(5):
        file.add(step, 1.0, {"loss": float(step)})
    file.write()

    cut_metrics(folder, 3)

    assert list(metric_rows(folder)) == [0, 1, 2]


def test_cutting_by_size_is_right_where_metrics_count_different_steps(folder):
    file = MetricsFile(folder)
    file.add(0, 1.0, {"val_accuracy": 0.1})  # an epoch
    file.add(500, 1.0, {"batch_loss": 0.1})  # a batch
    mark = file.mark()
    file.add(1, 1.0, {"val_accuracy": 0.2})
    file.add(900, 1.0, {"batch_loss": 0.2})

    assert mark.size is None
    file.write(sync=True)
    file.cut(1, mark.size)

    assert list(metric_rows(folder)) == [0, 500]


@pytest.mark.parametrize("size", [10_000, 3])
def test_a_size_that_cannot_be_is_replaced_by_the_step(folder, size):
    file = MetricsFile(folder)
    for step in range(3):
        file.add(step, 1.0, {})
    file.write()

    cut_metrics(folder, 1, size=size)

    assert list(metric_rows(folder)) == [0]


def test_cutting_a_run_without_metrics_is_nothing(folder):
    cut_metrics(folder, 0)

    assert list(folder.iterdir()) == []


def test_what_the_disk_refuses_is_kept_and_written_later(folder):
    file = MetricsFile(folder)
    file.path.mkdir()  # writing fails, also for root
    file.add(0, 1.0, {"loss": 1.0})
    with pytest.raises(OSError, match=r"metrics\.jsonl"):
        file.write()
    file.path.rmdir()

    file.write()

    assert list(metric_rows(folder)) == [0]


def test_lines_are_not_lost_when_writing_them_is_interrupted(folder):
    class Interrupted(deque):
        def popleft(self):
            if len(self) == 2:
                raise KeyboardInterrupt
            return super().popleft()

    file = MetricsFile(folder)
    file._pending = Interrupted()
    for step in range(4):
        file.add(step, 1.0, {"loss": float(step)})
    with pytest.raises(KeyboardInterrupt):
        file.write()
    file._pending = deque(file._pending)
    file.write()

    assert metric_rows(folder) == {step: {"loss": float(step)} for step in range(4)}


def test_truth_values_are_numbers_in_the_file(folder):
    with Bookkeeping(folder, console=False) as run:
        run.log_metrics({"converged": True}, step=0)

    assert '"converged": 1}' in (folder / "metrics.jsonl").read_text()


def test_memory_is_bounded_while_the_disk_refuses(folder):
    file = MetricsFile(folder)
    file.path.mkdir()

    for step in range(9_999):
        file.add(step, 1.0, {})
    with pytest.raises(OSError, match=r"metrics\.jsonl"):
        file.add(9_999, 1.0, {})


def test_the_history_of_an_experiment_is_one_frame(tmp_path):
    for name in ("a", "b"):
        folder = tmp_path / "training" / name
        with Bookkeeping(folder, console=False) as run:
            run.log_metrics({"loss": 0.5}, step=0)
            run.log_metrics({"loss": 0.25}, step=1)

    frame = load_metrics(tmp_path)

    assert list(frame.columns) == ["run_name", "step", "metric", "value"]
    assert frame.values.tolist() == [
        ["a", 0, "loss", 0.5],
        ["a", 1, "loss", 0.25],
        ["b", 0, "loss", 0.5],
        ["b", 1, "loss", 0.25],
    ]
    assert load_metrics(tmp_path / "training" / "a").shape == (2, 4)


def test_an_owner_whose_claim_is_lost_logs_nothing_more(folder):
    run = Bookkeeping(folder, console=False).open()
    (folder / "claims" / "0002.json").write_text('{"host": "node7", "pid": 1}')
    run.log_metrics({"loss": 0.5}, step=0)

    run._run.tick()

    assert not (folder / "metrics.jsonl").exists()
    assert run.should_stop()
    with pytest.raises(RuntimeError, match="node7"):
        run.log_metrics({"loss": 0.5}, step=1)
    with pytest.raises(RuntimeError, match="node7"):
        run.close()
    assert claim_run(folder, is_alive=lambda record: False).number == 3


def log(folder, values, **names):
    with Bookkeeping(folder, console=False) as run:
        for step, value in enumerate(values):
            run.log_metrics({"loss": value, **names}, step=step)


def test_an_attempt_that_does_not_resume_replaces_the_curve_of_an_earlier_one(folder, caplog):
    log(folder, [5.0, 4.0, 3.0, 2.0, 1.0])
    log(folder, [50.0, 40.0])

    assert [row["loss"] for row in metric_rows(folder).values()] == [50.0, 40.0]
    kept = (folder / "metrics.jsonl.replaced").read_text().splitlines()
    assert [json.loads(line)["metrics"]["loss"] for line in kept] == [5.0, 4.0, 3.0, 2.0, 1.0]
    assert "from step 0 again without resume()" in (folder / "training.log").read_text()


def test_a_metric_that_is_added_later_leaves_the_others_alone(folder):
    log(folder, [2.0, 1.0])
    with Bookkeeping(folder, console=False) as run:
        run.log_metrics({"test_accuracy": 0.9}, step=0)

    assert metric_rows(folder) == {0: {"loss": 2.0, "test_accuracy": 0.9}, 1: {"loss": 1.0}}
    assert not (folder / "metrics.jsonl.replaced").exists()


def test_a_run_that_continues_without_resume_keeps_what_it_logged_before(folder):
    log(folder, [3.0, 2.0, 9.0])
    with Bookkeeping(folder, console=False) as run:
        run.log_metrics({"loss": 1.0}, step=2)

    assert [row["loss"] for row in metric_rows(folder).values()] == [3.0, 2.0, 1.0]
