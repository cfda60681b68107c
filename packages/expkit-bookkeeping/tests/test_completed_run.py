"""A completed run stays completed, whatever an evaluation script does with it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expkit_bookkeeping import Bookkeeping, ClaimLost, RunSettings, find_runs, read_run
from expkit_bookkeeping.launching import claim_run, move_to_trash

CONFIG = {
    "experiment_id": "digits",
    "run_name": "cnn_1",
    "epochs": 3,
    "lr": 0.1,
    "expkit": {"metric": "acc", "direction": "maximize"},
}
ELSEWHERE = "another-machine"
BEST = {"metric": "acc", "direction": "maximize", "value": 0.9, "step": 1}
PROGRESS = {"step": 2, "total": 3}
needs_torch = pytest.mark.skipif(
    find_spec("torch") is None and "torch" not in os.environ.get("EXPKIT_REQUIRE", ""),
    reason="torch is not installed",
)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def run_json(folder):
    return json.loads((folder / "run.json").read_text())


def by_another_process(folder, **facts):
    """Let the run be one that another process trained: this one would continue its own attempt."""
    data = {**run_json(folder), "host": ELSEWHERE, "pid": 1, "process_start": "x/1", **facts}
    (folder / "run.json").write_text(json.dumps(data))


def train(values=(0.1, 0.9, 0.3), config=CONFIG, checkpoints=(), close=None):
    with Bookkeeping.from_config(config, console=False, swept={"seed": 1}) as run:
        for step, value in enumerate(values):
            run.log_metrics({"acc": value}, step=step)
            if step in checkpoints:
                run.save_checkpoint(step)
        if close is not None:
            run.close(close)
    by_another_process(run.folder, code={"commit": "abc"}, returned=0.98, grid_id="g")
    return run.folder


@pytest.fixture
def folder():
    """A run that another process has completed."""
    return train()


def contents(folder):
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def facts(folder):
    """What no evaluation may change."""
    files = ("run.json", "config.yaml", "environment.yaml", "metrics.jsonl")
    return {name: (folder / name).read_bytes() for name in files}, sorted(
        (folder / "claims").iterdir()
    )


def fail_after(act, run):
    """An evaluation that acts and then meets an error."""
    with run:
        act(run)
        raise KeyError("typo")


class Timer:
    def save(self, path):
        path.write_text("evaluation: {count: 1, total_s: 3.0, total: '0:00:03', attempts: []}\n")


class Recorder:
    def __init__(self):
        self.calls = []

    def open(self, run, config):
        self.calls.append(("open", run["id"], config))

    def log_metrics(self, metrics, step, time):
        self.calls.append(("log_metrics", metrics, step))

    def log_artifact(self, path):
        self.calls.append(("log_artifact", path.name))

    def log_timer(self, name, statistics):
        self.calls.append(("log_timer", name))

    def flush(self):
        self.calls.append(("flush",))

    def close(self, state):
        self.calls.append(("close", state))


ENDINGS = [None, KeyError("typo"), KeyboardInterrupt(), SystemExit(143), SystemExit("bad")]


@pytest.mark.parametrize("error", ENDINGS, ids=repr)
def test_opening_and_reading_changes_no_file(folder, error):
    before = contents(folder)
    expected = contextlib.nullcontext() if error is None else pytest.raises(type(error))
    with expected, Bookkeeping(folder, console=False) as run:
        assert run.best == BEST
        assert run.config == CONFIG
        assert run.settings == RunSettings("acc", "maximize", epochs=3)
        if error is not None:
            raise error

    assert contents(folder) == before
    assert run.best == BEST


@pytest.mark.parametrize("error", ENDINGS, ids=repr)
def test_what_an_evaluation_saves_lies_beside_the_facts_of_the_training(folder, error):
    before = facts(folder)
    expected = contextlib.nullcontext() if error is None else pytest.raises(type(error))
    with expected, Bookkeeping(folder, console=False) as run:
        run.save_results({"test_acc": 0.8}, "test")
        run.save_encoder(_Encoder(), "labels")
        run.log("evaluated")
        run.save_timer(Timer())
        (run.create_folder("plots/test") / "a.txt").write_text("a")
        if error is not None:
            raise error

    assert facts(folder) == before
    assert run.load_results("test") == {"test_acc": 0.8}
    assert run.load_encoder(_Encoder, "labels").classes == ["a"]
    assert "evaluation" in (folder / "timer.yaml").read_text()
    log = (folder / "training.log").read_text()
    assert "evaluated" in log
    assert log.count("attempt") == 1  # no banner of another one


class _Encoder:
    def __init__(self):
        self.classes = ["a"]

    def to_dict(self):
        return {"classes": self.classes}

    @classmethod
    def from_dict(cls, data):
        return cls()


@needs_torch
def test_models_and_summaries_of_an_evaluation_start_no_attempt(folder):
    import torch

    before = facts(folder)
    model = torch.nn.Linear(2, 2)
    with Bookkeeping(folder, console=False) as run:
        run.save_model(model, "averaged")
        run.load_model(model, "averaged")
        run.save_model_summary(model)

    assert facts(folder) == before
    assert (folder / "model_summary.txt").exists()


def test_a_changed_configuration_does_not_replace_that_of_the_run(folder):
    before = facts(folder)
    with Bookkeeping.from_config({**CONFIG, "lr": 7, "batch_size": 1}, console=False) as run:
        assert run.config == CONFIG
        run.save_results({}, "test")
        run.log_metrics({"test": 0.5}, step=0)

    assert yaml.safe_load((folder / "config.yaml").read_text()) == CONFIG
    assert (folder / "environment.yaml").read_bytes() == before[0]["environment.yaml"]


def test_an_evaluation_without_sinks_use_opens_none_and_artifacts_go_to_it_at_the_end(folder):
    idle, busy = Recorder(), Recorder()
    with Bookkeeping(folder, console=False, sinks=[idle]) as run:
        run.save_results({}, "test")
    with Bookkeeping(folder, console=False, sinks=[busy]) as run:
        run.log_artifact("config.yaml")
        run.save_timer(Timer())
        assert busy.calls == []
        with pytest.raises(FileNotFoundError):
            run.log_artifact("nothing.png")

    assert idle.calls == []
    assert busy.calls == [
        ("open", run_json(folder)["id"], CONFIG),
        ("log_artifact", "config.yaml"),
        ("log_timer", "evaluation"),
        ("close", "completed"),
    ]


EVALUATE = """
import sys, time
from expkit_bookkeeping import Bookkeeping
with Bookkeeping(sys.argv[1], console=False) as run:
    run.save_results({"test": 1}, "test")
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_an_evaluation_changes_nothing_of_the_run(folder, number):
    before = facts(folder)
    process = subprocess.Popen(
        [sys.executable, "-c", EVALUATE, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.communicate()

    assert facts(folder) == before


ADDS = """
import sys, time
from expkit_bookkeeping import Bookkeeping
with Bookkeeping(sys.argv[1], console=False) as run:
    run.log_metrics({"test": 1.0}, step=0)
    print("logged", flush=True)
    time.sleep(60)
"""


def test_an_evaluation_that_is_killed_after_it_logged_leaves_a_completed_run(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", ADDS, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "logged\n"
    while "added_metrics" not in run_json(folder):
        time.sleep(0.05)
    (record,) = find_runs(folder.parents[1])
    assert (record.state, record.attempt) == ("running", 2)
    process.kill()
    process.communicate()

    (record,) = find_runs(folder.parents[1])
    assert (record.state, record.best, record.code) == ("completed", BEST, {"commit": "abc"})
    before = contents(folder)
    with pytest.raises(KeyError), Bookkeeping(folder, console=False) as run:
        raise KeyError("typo")
    assert contents(folder) == before
    with Bookkeeping(folder, console=False) as run:
        run.log_metrics({"test": 2.0}, step=0)
    record = read_run(folder)
    assert (record.state, record.attempt, record.best) == ("completed", 3, BEST)
    assert record.metrics == {"acc": 0.3, "test": 2.0}
    assert "only_adds" not in record.data


def test_a_claim_whose_owner_died_before_it_wrote_anything_leaves_a_completed_run(folder):
    claim = {"host": os.uname().nodename, "pid": 1 << 22, "process_start": "gone/1"}
    (folder / "claims" / "0002.json").write_text(json.dumps(claim))
    before = contents(folder)
    gone = {"console": False, "is_alive": lambda record: False}
    bests = []
    with pytest.raises(KeyError):
        fail_after(lambda run: bests.append(run.best), Bookkeeping(folder, **gone))
    assert (bests, contents(folder)) == ([BEST], before)
    with Bookkeeping(folder, **gone) as run:
        run.log_metrics({"test": 2.0}, step=0)

    record = read_run(folder)
    assert (record.state, record.attempt, record.best) == ("completed", 2, BEST)


def test_a_training_that_is_killed_is_lost_also_if_the_run_was_completed_before(folder):
    with Bookkeeping(folder, console=False) as run:
        run.log_metrics({"test": 1.0}, step=0)
        assert run_json(folder)["only_adds"]
        run.log_metrics({"acc": 1.0}, step=3)
        data = run_json(folder)
        assert "only_adds" not in data
        (record,) = find_runs(folder.parents[1], is_alive=lambda record: False)
        assert record.state == "lost"


def test_another_rank_reads_and_writes_nothing(folder):
    before = contents(folder)
    with Bookkeeping(folder, rank=1, console=False) as run:
        assert (run.best, run.config) == (BEST, CONFIG)
        run.save_results({}, "test")
        run.log("hello")
        run.log_metrics({"acc": 0.0}, step=0)
        run.log_artifact("config.yaml")

    assert contents(folder) == before


def test_a_notebook_that_opens_and_closes_twice_or_never_closes_changes_nothing(folder):
    before = facts(folder)
    for _ in range(2):
        run = Bookkeeping(folder, console=False).open()
        run.save_results({"test": 1}, "test")
        run.close("failed")
        assert not run.should_stop()
    first = Bookkeeping(folder, console=False).open()
    second = Bookkeeping(folder, console=False).open()
    with pytest.raises(RuntimeError, match="has opened the same folder"):
        first.save_results({}, "test")
    second._at_exit()

    assert facts(folder) == before


# --- what starts a new attempt ---------------------------------------------------------------


def test_a_metric_with_a_new_name_keeps_state_best_progress_and_curves(folder):
    before, curves = run_json(folder), (folder / "metrics.jsonl").read_bytes()
    with Bookkeeping(folder) as run:
        assert run_json(folder)["attempt"] == 1
        run.log_metrics({"test": 0.8}, step=0)
        assert (run_json(folder)["state"], run_json(folder)["attempt"]) == ("running", 2)
        assert run.best == BEST

    after = run_json(folder)
    assert after["metrics"] == {"acc": 0.3, "test": 0.8}
    assert after["added_metrics"] == ["test"]
    kept = ("id", "state", "best", "progress", "swept", "code", "returned", "grid_id", "created_at")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert after["elapsed_s"] >= before["elapsed_s"]
    assert (folder / "metrics.jsonl").read_bytes().startswith(curves)
    said = "was completed: log_metrics starts its attempt 2."
    assert said in (folder / "training.log").read_text()


def test_an_evaluation_that_logs_and_fails_leaves_a_completed_run_and_may_be_repeated(folder):
    for value in (0.7, 0.8):
        with pytest.raises(KeyError):
            fail_after(
                lambda run, value=value: run.log_metrics({"test": value}, step=0),
                Bookkeeping(folder, console=False),
            )
        by_another_process(folder)

    record = read_run(folder)
    assert (record.state, record.error, record.attempt) == ("completed", None, 3)
    assert record.metrics == {"acc": 0.3, "test": 0.8}
    assert (record.best, record.progress) == (BEST, PROGRESS)
    assert record.code == {"commit": "abc"}
    assert "KeyError ended the block" in (folder / "training.log").read_text()


def test_the_progress_of_a_run_without_a_watched_metric_does_not_go_back(folder):
    plain = {**CONFIG, "expkit": {}, "run_name": "plain"}
    other = train(config=plain)
    with Bookkeeping(other, console=False) as run:
        run.log_metrics({"test": 0.8}, step=0)

    assert read_run(other).progress == PROGRESS


def test_a_metric_of_the_training_starts_an_attempt_that_trains(folder):
    changed = {**CONFIG, "lr": 7}
    with pytest.raises(KeyError):
        fail_after(
            lambda run: run.log_metrics({"acc": 0.4}, step=1),
            Bookkeeping.from_config(changed, console=False),
        )

    record = read_run(folder)
    assert (record.state, record.attempt, record.returned) == ("failed", 2, None)
    assert (record.best["value"], record.metrics) == (0.4, {"acc": 0.4})
    assert record.code != {"commit": "abc"}
    assert yaml.safe_load((folder / "config.yaml").read_text()) == changed
    assert "from step 1 again" in (folder / "training.log").read_text()
    assert (folder / "metrics.jsonl.replaced").read_text().count("\n") == 3


def test_the_copy_of_replaced_metrics_has_all_that_was_replaced():
    folder = train(config={**CONFIG, "run_name": "two"})
    with Bookkeeping(folder, console=False) as run:
        run.log_metrics({"loss": 1.0}, step=0)
    by_another_process(folder, added_metrics=[])
    before = (folder / "metrics.jsonl").read_text()
    with Bookkeeping(folder, console=False) as run:
        run.log_metrics({"acc": 0.2}, step=0)
        run.log_metrics({"loss": 2.0}, step=0)

    assert (folder / "metrics.jsonl.replaced").read_text() == before


@needs_torch
def test_a_checkpoint_starts_an_attempt_that_trains(folder):
    with pytest.raises(KeyError):
        fail_after(lambda run: run.save_checkpoint(3), Bookkeeping(folder, console=False))

    record = read_run(folder)
    assert (record.state, record.attempt, record.best) == ("failed", 2, BEST)
    assert record.progress == PROGRESS


@needs_torch
@pytest.mark.parametrize(
    ("checkpoints", "epochs", "attempt"),
    [((0, 1, 2), 3, 1), ((0, 1, 2), 5, 2), ((0,), 3, 2), ((), 3, 1), ((0,), None, 1)],
)
def test_resume_starts_an_attempt_only_where_the_configuration_has_epochs_left(
    checkpoints, epochs, attempt
):
    config = {**CONFIG, "epochs": None}
    folder = train(config=config, checkpoints=checkpoints)
    before = (folder / "metrics.jsonl").read_bytes()
    with Bookkeeping.from_config({**config, "epochs": epochs}, console=False) as run:
        assert run.resume() == (checkpoints[-1] + 1 if checkpoints else 0)
        assert read_run(folder).attempt == attempt

    record = read_run(folder)
    assert (record.state, record.best, record.code) == ("completed", BEST, {"commit": "abc"})
    assert (folder / "metrics.jsonl").read_bytes() == before


@needs_torch
def test_a_run_that_ended_early_is_evaluated_after_resume_and_stays(folder):
    folder = train(config={**CONFIG, "run_name": "early"}, checkpoints=(0,))
    starts = []
    with pytest.raises(KeyError):
        fail_after(
            lambda run: (starts.append(run.resume()), run.log_metrics({"test": 0.5}, step=0)),
            Bookkeeping(folder, console=False),
        )
    assert starts == [1]

    record = read_run(folder)
    assert (record.state, record.best, record.progress) == ("completed", BEST, PROGRESS)
    assert (folder / "metrics.jsonl").read_text().count("acc") == 3


@needs_torch
def test_a_training_that_goes_on_forgets_what_came_after_its_checkpoint():
    folder = train(checkpoints=(0, 1))
    with Bookkeeping.from_config({**CONFIG, "epochs": 4}, console=False) as run:
        start = run.resume()
        for epoch in range(start, 4):
            run.log_metrics({"lr": 0.1}, step=epoch)  # a new name, before those of the training
            run.log_metrics({"acc": 0.5 + epoch / 100}, step=epoch)
            run.save_checkpoint(epoch)

    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], *line["metrics"].items()) for line in lines] == [
        (0, ("acc", 0.1)),
        (1, ("acc", 0.9)),
        (2, ("lr", 0.1)),
        (2, ("acc", 0.52)),
        (3, ("lr", 0.1)),
        (3, ("acc", 0.53)),
    ]
    record = read_run(folder)
    assert (record.attempt, record.progress) == (2, {"step": 3, "total": 4})
    assert record.data.get("added_metrics", []) == []


@needs_torch
def test_a_damaged_checkpoint_of_a_completed_run_is_passed_over_and_stays_where_it_is():
    folder = train(checkpoints=(1, 2))
    newest = folder / "states" / "epoch_0002.pt"
    newest.write_bytes(b"damaged")
    leftover = folder / "states" / ".epoch_0003.pt.aabbcc.tmp"
    leftover.write_bytes(b"another process writes it")
    with Bookkeeping(folder, settings=RunSettings(), console=False) as run:
        assert run.resume() == 2

    assert newest.read_bytes() == b"damaged"
    assert leftover.exists()


def test_in_the_process_that_trained_it_the_attempt_and_a_launchers_claim_continue():
    claim = claim_run(Path("results/digits/training/cnn_1"), config_hash="abc")
    for name in ("acc", "test"):
        with Bookkeeping.from_config(CONFIG, console=False) as run:
            run.log_metrics({name: 0.5}, step=0)
    with pytest.raises(KeyError), Bookkeeping.from_config(CONFIG, console=False) as run:
        raise KeyError("typo")

    record = read_run(run.folder)
    assert (record.state, record.attempt) == ("completed", 1)
    assert claim.is_highest()


def test_inside_a_launchers_claim_nothing_is_different(folder):
    claim = claim_run(folder, config_hash="abc")
    with pytest.raises(KeyError), Bookkeeping(folder, console=False):
        raise KeyError("the run's own")

    record = read_run(folder)
    assert (record.state, record.attempt) == ("failed", claim.attempt)
    assert (record.best, record.progress) == (BEST, PROGRESS)


# --- while others act on the run -------------------------------------------------------------


ACTS_THAT_WRITE = [
    "save_results",
    "save_encoder",
    "save_timer",
    "create_folder",
    "log",
    "log_metrics",
    "save_checkpoint",
    "resume",
]


def acts(run):
    return {
        "save_results": lambda: run.save_results({}, "late"),
        "save_encoder": lambda: run.save_encoder(_Encoder(), "late"),
        "save_timer": lambda: run.save_timer(Timer()),
        "create_folder": lambda: run.create_folder("late"),
        "log": lambda: run.log("late"),
        "log_metrics": lambda: run.log_metrics({"late": 1.0}, step=0),
        "save_checkpoint": lambda: run.save_checkpoint(0),
        "resume": run.resume,
    }


@pytest.mark.parametrize("act", ACTS_THAT_WRITE)
@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_that_moves_while_it_is_evaluated_is_not_written_and_nor_is_its_successor(
    folder, act, replaced
):
    successor = train(config={**CONFIG, "run_name": "successor"})
    with Bookkeeping(folder, console=False) as run:
        run.log("opens the log's file")
        trash = move_to_trash(folder, reason="rerun")
        if replaced:
            successor.rename(folder)
        before = contents(folder), contents(trash)
        with pytest.raises(ClaimLost, match="is gone from"):
            acts(run)[act]()

    assert (contents(folder), contents(trash)) == before
    assert folder.exists() == replaced


def test_a_run_that_is_trained_again_meanwhile_names_its_owner(folder):
    with Bookkeeping(folder, console=False) as run:
        claim_run(folder)  # of this process, as a launcher's
        by_another_process(folder)
        for act in ("save_results", "log", "log_metrics"):
            with pytest.raises(ClaimLost, match=f"process 1 on {ELSEWHERE} has started attempt 2"):
                acts(run)[act]()

    assert read_run(folder).state == "running"


def test_two_evaluations_may_add_one_after_the_other(folder):
    with Bookkeeping(folder, console=False) as slow:
        assert slow.best == BEST
        code = (
            "import sys; from expkit_bookkeeping import Bookkeeping\n"
            "with Bookkeeping(sys.argv[1], console=False) as run:\n"
            "    run.log_metrics({'first': 1.0}, step=0)\n"
            "    run.save_results({}, 'first')\n"
        )
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
        slow.save_results({}, "second")
        slow.log_metrics({"second": 2.0}, step=0)

    record = read_run(folder)
    assert (record.state, record.attempt, record.best) == ("completed", 3, BEST)
    assert record.metrics == {"acc": 0.3, "first": 1.0, "second": 2.0}
    assert record.data["added_metrics"] == ["first", "second"]


AT_ONCE = """
import sys
from expkit_bookkeeping import Bookkeeping, ClaimLost, RunClaimed
with Bookkeeping(sys.argv[1], console=False) as run:
    print("open", flush=True)
    sys.stdin.readline()
    run.save_results({"by": sys.argv[2]}, sys.argv[2])
    try:
        run.log_metrics({sys.argv[2]: 1.0}, step=0)
    except (ClaimLost, RunClaimed) as refused:
        print(type(refused).__name__, flush=True)
"""


@pytest.mark.faults("a completed run stays completed, whatever evaluates it")
def test_of_evaluations_at_once_each_adds_or_is_refused_and_the_run_stays(folder, campaign):
    for number in campaign.rounds(1):
        names = [f"e{number}_{index}" for index in range(4)]
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", AT_ONCE, str(folder), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in names
        ]
        for process in processes:
            assert process.stdout.readline() == "open\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        ended = [process.communicate() for process in processes]

        refused = [name for name, (out, _) in zip(names, ended, strict=True) if out]
        for (out, err), process in zip(ended, processes, strict=True):
            lost = "was completed when it was opened here" in err  # already by save_results
            assert process.returncode == 0 or lost, err
            assert out in ("", "ClaimLost\n", "RunClaimed\n")
        failed = [n for n, p in zip(names, processes, strict=True) if p.returncode != 0]
        record = read_run(folder)
        assert (record.state, record.best, record.progress) == ("completed", BEST, PROGRESS)
        added = set(names) - set(refused) - set(failed)
        assert added
        assert added == set(record.metrics) & set(names)


# --- facts of run.json over all openings -----------------------------------------------------


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_an_error_in_an_evaluation_of_an_unfinished_run_keeps_its_best(state):
    folder = train(close=state)
    bests = []
    with pytest.raises(KeyError):
        fail_after(lambda run: bests.append(run.best), Bookkeeping(folder, console=False))
    assert bests == [BEST]

    record = read_run(folder)
    assert (record.state, record.best, record.progress) == ("failed", BEST, PROGRESS)
    assert (record.metrics, record.swept) == ({"acc": 0.3}, {"seed": 1})


def test_a_best_that_the_metrics_no_longer_tell_stays(folder):
    by_another_process(folder, state="interrupted")
    (folder / "metrics.jsonl").unlink()
    (folder / "config.yaml").unlink()
    with Bookkeeping(folder, console=False) as run:
        assert run.best == BEST

    record = read_run(folder)
    assert (record.best, record.progress, record.metrics) == (BEST, PROGRESS, {"acc": 0.3})


def test_names_that_were_given_once_stay(tmp_path):
    given_names = {"run_name": "first try", "experiment_id": "mine"}
    with Bookkeeping(tmp_path / "somewhere", console=False, **given_names) as run:
        run.close("interrupted")
    with Bookkeeping(tmp_path / "somewhere", console=False) as run:
        pass

    record = read_run(tmp_path / "somewhere")
    assert (record.run_name, record.experiment_id) == ("first try", "mine")
    assert (run.run_name, run.experiment_id) == ("first try", "mine")


def test_how_many_checkpoints_are_kept_is_the_runs_own_setting(folder):
    with Bookkeeping.from_config({**CONFIG, "run_name": "b", "expkit": {"keep_last": None}}):
        pass
    with Bookkeeping(folder.with_name("b"), console=False) as run:
        assert run.settings.keep_last is None


@dataclass
class Expected:
    """What run.json must say, kept beside the real one."""

    state: str = "completed"
    attempt: int = 1
    lines: list[tuple[int, float]] = field(default_factory=lambda: [(0, 0.1), (1, 0.9), (2, 0.3)])
    test: float | None = None
    is_test_trained: bool = False  # logged by an attempt that trains, too
    returned: float | None = 0.98
    code: bool = True  # that of the training

    @property
    def best(self):
        value, step = max(((value, -step) for step, value in self.lines), default=(None, 0))
        return {**BEST, "value": value, "step": -step}


ACTS = st.sampled_from(["results", "log", "artifact", "test", "later", "again", "best", "timer"])
SESSIONS = st.lists(
    st.tuples(
        st.sampled_from(["folder", "same", "changed"]),
        st.lists(ACTS, max_size=4),
        st.sampled_from([None, KeyError, KeyboardInterrupt]),
    ),
    min_size=1,
    max_size=4,
)
CHECKS = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@CHECKS
@given(sessions=SESSIONS)
def test_no_order_of_opening_logging_and_failing_loses_a_fact(
    tmp_path_factory, monkeypatch, sessions
):
    monkeypatch.chdir(tmp_path_factory.mktemp("orders"))
    folder, expected = train(), Expected()
    first = run_json(folder)
    for opening, names, error in sessions:
        session(folder, expected, opening, names, error)

        data = run_json(folder)
        never_change = ("id", "run_name", "experiment_id", "swept", "grid_id", "created_at")
        assert {key: data[key] for key in never_change} == {key: first[key] for key in never_change}
        metrics = {"acc": expected.lines[-1][1]}
        assert data["metrics"] == {
            **metrics, **({} if expected.test is None else {"test": expected.test})
        }  # fmt: skip
        assert (data["state"], data["attempt"]) == (expected.state, expected.attempt)
        assert data["best"] == expected.best
        assert data["progress"]["step"] == expected.lines[-1][0]
        assert data["returned"] == expected.returned
        assert (data["code"] == {"commit": "abc"}) == expected.code
        by_another_process(folder)


def session(folder, expected, opening, names, error):
    """One evaluation or training, and what must have become of the run by its end."""
    was_completed = expected.state == "completed"
    trains = not was_completed
    adds = False
    replaces = True
    with contextlib.suppress(KeyError, KeyboardInterrupt):
        if opening == "folder":
            run = Bookkeeping(folder, console=False)
        else:
            changed = {"lr": 5} if opening == "changed" else {}
            run = Bookkeeping.from_config({**CONFIG, **changed}, console=False)
        with run:
            for number, name in enumerate(names):
                if name in ("later", "again"):
                    trains = True
                    last = expected.lines[-1][0]
                    step = last + 1 if name == "later" else max(0, last - 1)
                    if replaces:
                        expected.lines = [line for line in expected.lines if line[0] < step]
                    replaces = False
                    value = 0.2 + number / 10
                    run.log_metrics({"acc": value}, step=step)
                    expected.lines.append((step, value))
                elif name == "test":
                    trains = trains or expected.is_test_trained
                    expected.is_test_trained = trains
                    adds = True
                    expected.test = number / 7
                    run.log_metrics({"test": expected.test}, step=0)
                elif name == "results":
                    run.save_results({"number": number}, "results")
                elif name == "log":
                    run.log(name)
                elif name == "artifact":
                    run.log_artifact("run.json")
                elif name == "timer":
                    run.save_timer(Timer())
                else:
                    assert run.best == expected.best
            if error is not None:
                raise error
    expected.attempt += trains or adds
    if trains:
        expected.returned, expected.code = None, False
        expected.state = {None: "completed", KeyError: "failed"}.get(error, "interrupted")
