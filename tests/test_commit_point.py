"""Wherever a run is killed, all that it leaves is what a run that was not killed leaves."""

import contextlib
import itertools
import json
import sqlite3

import pytest
import torch
from trained import checkpoint, in_mlflow, logged, outcome

from expkit_bookkeeping import Bookkeeping, RunSettings, results
from expkit_mlflow import sync

CURVE = [("acc", step, step / 10) for step in range(4)]
BEST = ("best_acc", 0, 0.3)  # what sorts MLflow's list of runs


def test_points_of_the_second_before_a_kill_reach_mlflow(tmp_path, trainer):
    folder = tmp_path / "digits" / "training" / "a"
    assert trainer(folder, name="replace", target="epoch_0001.pt", after=True)["code"] == -9
    assert trainer(folder)["code"] == 0
    sync(tmp_path / "digits")
    status, points = in_mlflow(tmp_path / "digits")["a"]
    assert (status, points) == ("FINISHED", [*CURVE, BEST])


def test_a_journal_that_lost_its_end_is_completed_from_the_metrics(tmp_path, trainer):
    folder = tmp_path / "digits" / "training" / "a"
    trainer(folder, name="replace", target="epoch_0002.pt", after=True)
    journal = folder / "tracking.jsonl"
    kept = [line for line in journal.read_text().splitlines(True) if '"step": 1,' not in line]
    journal.write_text("".join(kept)[:-20])  # as after a power cut without a flush
    assert trainer(folder)["code"] == 0
    sync(tmp_path / "digits")
    assert in_mlflow(tmp_path / "digits")["a"][1] == [*CURVE, BEST]


def test_what_is_logged_again_replaces_in_mlflow_what_was_sent_before(tmp_path, trainer):
    folder = tmp_path / "digits" / "training" / "a"
    options = {"noise": 0.05, "per_batch": True, "every": 3}  # another value in each attempt
    trainer(folder, options, name="replace", target="epoch_0003.pt")
    sync(tmp_path / "digits")
    sent_before = in_mlflow(tmp_path / "digits")["a"][1]
    assert trainer(folder, options)["code"] == 0
    sync(tmp_path / "digits")
    points = in_mlflow(tmp_path / "digits")["a"][1]
    assert points != sent_before
    points = [point for point in points if point[0] != "best_acc"]
    assert points == sorted(
        (key, step, float(value)) for step, line in logged(folder) for key, value in line.items()
    )
    with contextlib.closing(sqlite3.connect(tmp_path / "digits" / "mlflow.db")) as store:
        latest = dict(store.execute("SELECT key, value FROM latest_metrics WHERE key = 'acc'"))
    assert latest == {"acc": logged(folder)[-1][1]["acc"]}


@pytest.mark.parametrize(("name", "target", "after"), [
    ("replace", "epoch_0003.pt", True), ("link", ".best.pt.", True), ("replace", "best.pt", False),
    ("replace", "best.pt", True), ("unlink", "epoch_0001.pt", False),
])  # fmt: skip
def test_a_save_that_was_killed_at_the_last_epoch_is_finished(
    tmp_path, trainer, name, target, after
):
    folder = tmp_path / "digits" / "training" / "a"
    assert trainer(folder, name=name, target=target, after=after)["code"] == -9
    assert trainer(folder)["code"] == 0
    record = json.loads((folder / "run.json").read_text())
    assert record["state"] == "completed"
    states = folder / "states"
    assert record["best"]["step"] == checkpoint(states / "best.pt")["epoch"] == 3
    assert sorted(path.name for path in states.iterdir()) == [
        "best.pt", "epoch_0002.pt", "epoch_0003.pt",
    ]  # fmt: skip


def test_best_is_of_what_the_run_goes_on_from(tmp_path, trainer):
    folder = tmp_path / "digits" / "training" / "a"
    trainer(folder, {"epochs": 3}, name="replace", target="epoch_0002.pt", after=True)
    damaged = folder / "states" / "epoch_0002.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1000])  # best.pt is the same file
    trainer(folder, {"epochs": 2})
    record = json.loads((folder / "run.json").read_text())
    assert record["best"]["step"] == checkpoint(folder / "states" / "best.pt")["epoch"] == 1


def test_an_evaluation_with_other_settings_removes_no_checkpoint(tmp_path):
    model = torch.nn.Linear(1, 1)
    with Bookkeeping(tmp_path, settings=RunSettings(keep_last=None), console=False) as run:
        for epoch in range(5):
            run.save_checkpoint(epoch, model=model)
    with Bookkeeping(tmp_path, console=False) as run:
        assert run.resume(model=model) == 5
    assert len(list((tmp_path / "states").iterdir())) == 5


@pytest.mark.faults("a run that is killed anywhere ends as one that nobody touched")
def test_a_run_that_is_killed_twice_at_any_call_equals_one_that_nobody_touched(
    tmp_path, trainer, campaign
):
    chance = campaign.random
    experiment = tmp_path / "digits"
    training = experiment / "training"
    loaders = [(0, False), (2, False), (2, True)]
    kinds = [
        {"per_batch": per_batch, "every": every, "background": background, "rising": rising,
         "workers": workers, "persistent": persistent}
        for per_batch, every, background, rising, (workers, persistent) in itertools.product(
            (False, True), (1, 3), (False, True), (False, True), loaders
        )
    ]  # fmt: skip
    cases, calls = {}, {}
    for number in campaign.rounds(4):
        kind = chance.randrange(len(kinds))
        reference = f"untouched_{kind}"
        if not (training / reference).exists():
            ended = trainer(training / reference, kinds[kind])
            assert ended["code"] == 0
            calls[kind] = ended["calls"]
        cases[f"killed_{number}"] = kind
    campaign.tried = 2 * len(cases)
    # In turns for all of them, so that one sync after each kill is enough.
    for kill in range(2):
        for name, kind in cases.items():
            death = {
                "call": chance.randrange(calls[kind]),
                "after": chance.random() < 0.5,
                "delay_s": chance.choice([0.0, 0.0, chance.random() / 10]),
            }
            print(f"kill {kill} of {name}: {kinds[kind]}, {death}")
            assert trainer(training / name, kinds[kind], **death)["code"] in (0, -9, -14)
        sync(experiment)
    for name, kind in cases.items():
        assert trainer(training / name, kinds[kind])["code"] == 0
    sync(experiment)
    tracked = in_mlflow(experiment)
    rows = results(experiment).set_index("run_name")
    rows = rows.drop(columns=["attempt", "seconds", "path", "code"], errors="ignore")
    for name, kind in cases.items():
        left = outcome(experiment, name, tracked, rows)
        expected = outcome(experiment, f"untouched_{kind}", tracked, rows)
        for fact, value in expected.items():
            assert left[fact] == value, f"{fact} of {name}, {kinds[kind]}"
