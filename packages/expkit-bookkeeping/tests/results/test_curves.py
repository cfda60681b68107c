"""metrics.jsonl as curves, and the folders that have some."""

import json
import logging
import math

from hypothesis import given
from hypothesis import strategies as st

from expkit_bookkeeping import Bookkeeping
from expkit_bookkeeping.reading import (
    experiment_folder,
    folders_with_metrics,
    metric_names,
    read_curves,
)


def written(tmp_path, text: str):
    (tmp_path / "metrics.jsonl").write_text(text)
    return read_curves(tmp_path)


def same(values, expected) -> bool:
    """Whether two lists of floats are equal, with NaN equal to NaN."""
    return list(map(repr, map(float, values))) == list(map(repr, map(float, expected)))


def test_what_was_logged_comes_back_as_curves_in_the_order_of_logging(tmp_path):
    with Bookkeeping(tmp_path / "a") as run:
        for epoch in range(3):
            run.log_metrics({"loss": 3.0 - epoch, "accuracy": epoch / 2}, step=epoch)
        run.log_metrics({"test_accuracy": 0.5}, step=2)

    curves = read_curves(tmp_path / "a")

    assert list(curves) == ["loss", "accuracy", "test_accuracy"]
    assert list(curves["loss"].steps) == [0, 1, 2]
    assert list(curves["loss"].values) == [3, 2, 1]
    assert list(curves["test_accuracy"].steps) == [2]


def test_the_names_of_metrics_are_those_at_both_ends_of_a_long_file(tmp_path):
    with Bookkeeping(tmp_path / "a") as run:
        for epoch in range(100):
            run.log_metrics({"loss": 1.0, "accuracy": 0.5}, step=epoch)
        run.log_metrics({"test_accuracy": 0.5}, step=99)
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        file.write('[1]\n{"metrics": 3}\n{"metrics": {"torn"')

    for size_bytes in (200, 1000, 1 << 16):
        names = metric_names(tmp_path / "a", size_bytes=size_bytes)
        assert names == ["loss", "accuracy", "test_accuracy"]
    assert metric_names(tmp_path / "none") == []


def test_metrics_survive_nan_torn_lines_and_repeated_steps(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        curves = written(
            tmp_path,
            '{"step": 0, "time": 1.0, "metrics": {"loss": 2.5}}\n'
            '{"step": 1, "time": 2.0, "metrics": {"loss": "NaN", "accuracy": 0.5}}\n'
            '{"step": 2, "time": 3.0, "metrics": {"loss": "Infinity"}}\n'
            '{"step": 0, "time": 4.0, "metrics": {"loss": 2.0}}\n'
            '{"step": 3, "time": 5.0, "metr',
        )

    assert list(curves["loss"].steps) == [0, 1, 2]
    assert same(curves["loss"].values, [2.0, math.nan, math.inf])
    assert list(curves["accuracy"].values) == [0.5]
    assert caplog.text == ""


def test_lines_that_hold_more_than_numbers_cost_only_those_values(tmp_path):
    curves = written(
        tmp_path,
        '{"step": 0, "metrics": {"loss": [1, 2], "acc": 1, "f1": 1e400, "odd": "x"}}\n'
        '{"step": 1, "metrics": {"loss": [3, 4], "acc": null, "f1": true, "odd": 1}}\n'
        '{"step": NaN, "metrics": {"acc": 5}}\n{"step": "2", "metrics": {"acc": 6}}\n[7]\n',
    )

    assert same(curves["loss"].values, [math.nan, math.nan])
    assert same(curves["acc"].values, [1, math.nan])
    assert same(curves["f1"].values, [math.inf, 1])
    assert same(curves["odd"].values, [math.nan, 1])


def test_steps_in_any_order_and_below_zero_are_sorted(tmp_path):
    lines = [
        f'{{"step": {step}, "metrics": {{"loss": {i}}}}}\n' for i, step in enumerate([3, -1, 3, 0])
    ]

    curve = written(tmp_path, "".join(lines))["loss"]

    assert list(curve.steps) == [-1, 0, 3]
    assert list(curve.values) == [1, 3, 2]


def test_damaged_lines_inside_are_left_out_with_a_warning(tmp_path, caplog):
    curves = written(
        tmp_path,
        '{"step": 0, "metrics": {"loss": 2}}\nrubbish\n' + "[" * 100_000 + "\n"
        '{"step": 1, "metrics": {"loss": 1}}\n',
    )

    assert list(curves["loss"].values) == [2, 1]
    assert "line 2 is not a JSON object" in caplog.text
    assert "line 3 is not a JSON object" in caplog.text


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),
            st.dictionaries(st.sampled_from("ab"), st.floats(allow_nan=False), min_size=1),
        )
    )
)
def test_the_last_value_of_each_step_counts_whatever_was_logged_when(tmp_path_factory, logged):
    folder = tmp_path_factory.mktemp("run")
    lines = [json.dumps({"step": step, "metrics": metrics}) for step, metrics in logged]

    curves = written(folder, "".join(line + "\n" for line in lines))

    expected: dict[str, dict[int, float]] = {}
    for step, metrics in logged:
        for name, value in metrics.items():
            expected.setdefault(name, {})[step] = value
    assert {name: dict(zip(c.steps, c.values, strict=True)) for name, c in curves.items()} == {
        name: dict(sorted(points.items())) for name, points in expected.items()
    }
    assert all(list(curve.steps) == sorted(set(curve.steps)) for curve in curves.values())


def test_folders_with_metrics_are_those_of_an_experiment_of_its_training_or_of_one_run(tmp_path):
    names = ["b", "a", "a/deeper", ".trashed"]
    for name in names:
        folder = tmp_path / "digits" / "training" / name
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text("")
    training = tmp_path / "digits" / "training"
    (training / "pending").mkdir()
    expected = [training / name for name in ("a", "b")]

    assert folders_with_metrics(tmp_path / "digits") == expected
    assert folders_with_metrics(training) == expected
    assert folders_with_metrics(training / "a") == [training / "a"]
    assert folders_with_metrics(tmp_path) == []
    assert {experiment_folder(path) for path in (training, training / "a", training.parent)} == {
        tmp_path / "digits"
    }
