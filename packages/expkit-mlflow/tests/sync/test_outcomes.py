"""The best value, returned numbers and saved scalars in MLflow's list, so that it can be sorted."""

import json
import os

import pytest

from expkit_mlflow import MLFlowLogger, sync

pytestmark = pytest.mark.runs
CONFIG = {"expkit": {"metric": "val_accuracy", "direction": "maximize"}}


def train(folder, values, *, environ=None, uri=None, results=None, resume=False):
    from expkit_bookkeeping import Bookkeeping

    tracking = MLFlowLogger(tracking_uri=uri, environ=environ or {})
    with Bookkeeping(folder, config=CONFIG, sinks=[tracking]) as run:
        for step, value in enumerate(values):
            run.log_metrics({"val_accuracy": value}, step=step)
        for name, data in (results or {}).items():
            run.save_results(data, name)
        if resume:
            run.close("interrupted")


def add_returned(folder, value):
    """As expkit-hydra does once the task function has returned, after Bookkeeping's end."""
    path = folder / "run.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "returned": value}))


def sorted_by_best(experiment, uri=None):
    from mlflow import MlflowClient

    client = MlflowClient(uri or f"sqlite:///{experiment / 'mlflow.db'}")
    stored = client.get_experiment_by_name(experiment.name)
    order = ["metrics.`best_val_accuracy` DESC"]
    return list(client.search_runs([stored.experiment_id], order_by=order))


def test_the_list_sorts_by_best_as_soon_as_the_runs_have_ended(experiment):
    for name, values in (("a", (0.1, 0.7, 0.2)), ("b", (0.9, 0.3)), ("c", (0.5,))):
        train(experiment / "training" / name, values)

    runs = sorted_by_best(experiment)
    assert [run.info.run_name for run in runs] == ["b", "a", "c"]
    assert [run.data.metrics["best_val_accuracy"] for run in runs] == [0.9, 0.7, 0.5]
    assert runs[0].data.metrics["val_accuracy"] == 0.3
    assert str(sync(experiment)).endswith("nothing missing")


def test_a_server_has_it_too(tmp_path, server):
    experiment = tmp_path / "results" / tmp_path.name
    for name, values in (("a", (0.1, 0.7)), ("b", (0.9, 0.3))):
        train(experiment / "training" / name, values, uri=server)

    assert [run.info.run_name for run in sorted_by_best(experiment, server)] == ["b", "a"]


def test_what_is_returned_and_saved_after_the_end_comes_with_the_next_sync(experiment, kit):
    folder = experiment / "training/r"
    train(folder, (0.5, 0.75), environ={"EXPKIT_GRID": "grids/a1b2c3"}, results={"t": {"f1": 0.5}})
    sync(experiment)
    add_returned(folder, {"score": 0.25})
    (folder / "results/late.json").write_text('{"test_acc": 0.125}')

    assert sync(experiment).points == 4

    (run,) = kit.runs(experiment).values()
    assert run.data.metrics == {
        "val_accuracy": 0.75,
        "best_val_accuracy": 0.75,
        "returned.score": 0.25,
        "f1": 0.5,
        "test_acc": 0.125,
    }
    assert run.info.status == "FINISHED"
    journal = (folder / "tracking.jsonl").read_bytes()
    assert str(sync(experiment)).endswith("nothing missing")
    assert (folder / "tracking.jsonl").read_bytes() == journal


def test_a_resumed_run_shows_its_new_best(experiment, kit):
    folder = experiment / "training/r"
    train(folder, (0.5, 0.75), resume=True)
    assert kit.runs(experiment)["r"].data.metrics["best_val_accuracy"] == 0.75
    train(folder, (0.5, 0.75, 0.6, 0.8))

    run = kit.runs(experiment)["r"]
    assert run.data.metrics["best_val_accuracy"] == 0.8
    assert not [tag for tag in run.data.tags if tag.startswith("changed.")]


def test_a_run_that_goes_on_is_left_alone(experiment):
    folder = experiment / "training/r"
    train(folder, (0.5,), environ={"EXPKIT_GRID": "g"}, resume=True)
    tracking = MLFlowLogger(environ={"EXPKIT_GRID": "g"})
    facts = json.loads((folder / "run.json").read_text())
    tracking.open({**facts, "folder": str(folder)}, {})
    tracking.flush()
    add_returned(folder, 0.5)
    before = (folder / "tracking.jsonl").read_bytes()

    sync(experiment)

    assert (folder / "tracking.jsonl").read_bytes() == before
    tracking.close()


def test_a_journal_that_may_not_be_written_is_sent_as_it_is(experiment, kit, monkeypatch):
    folder = experiment / "training/r"
    train(folder, (0.5,), environ={"EXPKIT_GRID": "g"})
    add_returned(folder, 0.5)
    opened = os.open

    def read_only(path, flags, *rest, **more):
        if str(path).endswith("tracking.jsonl") and flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", read_only)
    assert sync(experiment).problems == []
    assert kit.runs(experiment)["r"].data.metrics["best_val_accuracy"] == 0.5
