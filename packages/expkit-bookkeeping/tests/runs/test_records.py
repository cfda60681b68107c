"""Reading many run.json files at once is reading each of them."""

import gc
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expkit_bookkeeping import find_runs, read_run

CODE = {"commit": "4f2a", "dirty": True, "sources": {"train.py": "9b2f"}}


def text(number, **others):
    content = {"state": "completed", "run_name": f"run_{number:03d}", "code": CODE}
    return json.dumps(content | {"attempt": number} | others)


def experiment_of(folder, texts):
    for number, content in enumerate(texts):
        run = folder / "training" / f"run_{number:03d}"
        run.mkdir(parents=True)
        (run / "run.json").write_text(content, encoding="utf-8")
    return folder


def each_alone(experiment):
    return [read_run(run) for run in sorted((experiment / "training").iterdir())]


def test_damaged_files_among_hundreds_are_unknown_and_spoil_no_other(tmp_path):
    texts = [text(number) for number in range(250)]
    damaged = {3: "", 4: "\0" * 60, 101: texts[101][:-30], 102: "[1, 2]", 103: "{}, {}", 249: "}"}
    for number, content in damaged.items():
        texts[number] = content
    experiment = experiment_of(tmp_path, texts)

    records = find_runs(experiment)

    assert records == each_alone(experiment)
    assert [record.attempt for record in records if record.state == "unknown"] == [0] * 6
    assert {int(record.run_name[4:]) for record in records if record.state == "unknown"} == set(
        damaged
    )
    assert f"{tmp_path / 'training' / 'run_101' / 'run.json'} is damaged" in str(
        records[101].reason
    )


@settings(max_examples=50, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 120), min_size=2, max_size=6), code=st.sampled_from([CODE, None])
)
def test_files_torn_anywhere_are_read_as_each_alone(tmp_path_factory, cuts, code):
    texts = [text(number, code=code)[:cut] for number, cut in enumerate(cuts)]
    experiment = experiment_of(tmp_path_factory.mktemp("experiment"), texts)

    assert find_runs(experiment) == each_alone(experiment)


def test_a_key_that_run_json_lacks_is_not_made_up(tmp_path):
    experiment = experiment_of(tmp_path, ['{"state": "failed"}', text(1), '{"state": "failed"}'])

    assert [dict(record.data) for record in find_runs(experiment)][::2] == [{"state": "failed"}] * 2


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(tmp_path, enabled):
    def broken(record):
        raise RuntimeError("the queue cannot be asked")

    experiment = experiment_of(tmp_path, [text(0), text(1, state="running")])
    (gc.enable if enabled else gc.disable)()
    try:
        assert len(find_runs(experiment, is_alive=lambda record: True)) == 2
        assert gc.isenabled() is enabled
        with pytest.raises(RuntimeError, match="queue"):
            find_runs(experiment, is_alive=broken)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
