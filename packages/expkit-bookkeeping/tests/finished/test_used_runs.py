"""A run that is built on another one knows it, and whether that was trained anew since."""

import json
import shutil

import pytest

from expkit_bookkeeping import Bookkeeping, Run
from expkit_bookkeeping.launching import move_to_trash
from expkit_bookkeeping.reading import change_since, read_run, used_runs


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def train(folder, weights=b"weights", name="best.pt"):
    """A run with a checkpoint; nobody reads what is in it."""
    with Bookkeeping(folder, config={"expkit": {"metric": "acc"}}, console=False) as run:
        run.log_metrics({"acc": 0.9}, step=0)
        (folder / "states").mkdir(exist_ok=True)
        (folder / "states" / name).write_bytes(weights)
    return folder


@pytest.fixture
def first(results):
    return train(results / "digits" / "training" / "cnn_1")


@pytest.fixture
def second(results, first):
    folder = results / "distilled" / "training" / "small_1"
    with Bookkeeping(folder, console=False) as run:
        run.uses(first)
    return folder


def changes(folder):
    record = read_run(folder)
    return [change_since(use, record) for use in used_runs(record)]


def test_a_run_records_what_it_was_built_on(first, second):
    (use,) = used_runs(read_run(second))

    assert (use.name, use.attempt, use.checkpoint) == ("digits/cnn_1", 1, "best.pt")
    assert use.id == Run(first).record.id
    assert changes(second) == [None]


@pytest.mark.parametrize("kind", ["path", "text", "run", "record", "bookkeeping"])
def test_the_other_run_is_given_in_any_way_and_returned(results, first, kind):
    given = {
        "path": first,
        "text": str(first),
        "run": Run(first),
        "record": Run(first).record,
        "bookkeeping": Bookkeeping(first, console=False),
    }[kind]

    with Bookkeeping(results / "distilled" / "training" / "a", console=False) as run:
        other = run.uses(given)

    assert isinstance(other, Run)
    assert other.path == first
    assert used_runs(read_run(run.folder))[0].name == "digits/cnn_1"


def test_a_first_stage_that_was_trained_anew_is_told(first, second):
    train(first, b"other weights")

    assert changes(second) == ["trained anew since"]


def test_a_first_stage_that_was_replaced_by_a_new_run_is_told(first, second):
    move_to_trash(first, reason="fresh")
    assert changes(second) == ["gone"]

    train(first)

    assert changes(second) == ["trained anew since"]


def test_a_first_stage_that_was_only_evaluated_or_has_the_same_best_is_unchanged(first, second):
    Run(first).add_results({"test_acc": 0.9}, "test")
    assert changes(second) == [None]

    train(first)  # the file is written anew, with the same content

    assert changes(second) == [None]


def test_a_copy_of_the_results_and_a_checkpoint_deleted_for_space_are_no_training(
    results, second, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(results, copy, copy_function=shutil.copy)

    assert changes(copy / "distilled" / "training" / "small_1") == [None]
    (copy / "digits" / "training" / "cnn_1" / "states" / "best.pt").unlink()
    assert changes(copy / "distilled" / "training" / "small_1") == [None]


def test_a_run_outside_of_the_results_is_recorded_and_not_followed(results, tmp_path):
    elsewhere = train(tmp_path / "elsewhere")
    with Bookkeeping(results / "distilled" / "training" / "a", console=False) as run:
        run.uses(elsewhere)
    train(elsewhere, b"other weights")

    assert used_runs(read_run(run.folder))[0].name == "elsewhere"
    assert changes(run.folder) == [None]


def test_a_missing_checkpoint_is_named_with_those_that_exist(results, first):
    train(first, name="epoch_0002.pt")
    with Bookkeeping(results / "distilled" / "training" / "a", console=False) as run:
        with pytest.raises(FileNotFoundError, match=r"There are: best\.pt, epoch_0002\.pt"):
            run.uses(first, "epoch_0007")
        run.uses(first, "last")
        run.uses(first, 2)
        run.uses(first)

    assert [use.checkpoint for use in used_runs(read_run(run.folder))] == [
        "epoch_0002.pt",
        "best.pt",
    ]


def test_a_completed_run_keeps_what_it_was_built_on(first, second, capsys):
    before = (second / "run.json").read_bytes()
    with Bookkeeping(second) as run:
        run.uses(first)
    assert "is not what" not in (second / "training.log").read_text()
    train(first, b"other weights")

    with Bookkeeping(second) as run:
        run.uses(first)

    assert (
        "is not what the completed run 'small_1' was built on"
        in (second / "training.log").read_text()
    )
    assert (second / "run.json").read_bytes() == before


def test_an_attempt_that_starts_anew_forgets_what_an_earlier_one_was_built_on(results, first):
    folder = results / "distilled" / "training" / "a"
    with Bookkeeping(folder, console=False) as run:
        run.uses(first)
        run.close("failed")
    train(first, b"other weights")
    by_another_process(folder)

    with Bookkeeping(folder, console=False) as run:
        run.uses(first)
        assert changes(folder) == ["trained anew since", None]
        run.resume()

    assert changes(folder) == [None]


def test_an_attempt_that_resumes_keeps_what_it_was_begun_with(results, first):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(1, 1)
    folder = results / "distilled" / "training" / "a"
    with Bookkeeping(folder, console=False) as run:
        run.uses(first)
        run.save_checkpoint(0, model=model)  # nothing is logged before it
        run.close("failed")
    train(first, b"other weights")
    by_another_process(folder)

    with Bookkeeping(folder, console=False) as run:
        run.uses(first)
        run.resume(model=model)

    assert changes(folder) == ["trained anew since", None]


def test_damaged_entries_and_those_that_lead_out_are_left_out_and_kept(first, second):
    data = json.loads((second / "run.json").read_text())
    (use,) = data["uses"]
    bad = [
        {**use, "run": "../../elsewhere"},
        {**use, "experiment": "/etc"},
        {**use, "size": "Infinity"},
        {"id": use["id"]},
        7,
    ]
    data["uses"] = [*bad, {**use, "checkpoint": "../../run.json", "size": 1}, use]
    (second / "run.json").write_text(json.dumps({**data, "state": "failed"}))

    assert [entry.checkpoint for entry in used_runs(read_run(second))] == [
        "../../run.json",
        "best.pt",
    ]
    assert changes(second) == [None, None]
    with Bookkeeping(second, console=False) as run:
        run.uses(first)
    assert json.loads((second / "run.json").read_text())["uses"][:5] == bad


def by_another_process(folder):
    """Let the run be one that another process trained: this one would continue its own attempt."""
    data = json.loads((folder / "run.json").read_text())
    data.update(host="another-machine", pid=1, process_start="x/1")
    (folder / "run.json").write_text(json.dumps(data))
