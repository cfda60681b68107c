"""A run from entering the block to leaving it, as training code sees it."""

import contextlib
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from expkit_bookkeeping import (
    Bookkeeping,
    ClaimLost,
    RunClaimed,
    RunSettings,
    find_runs,
    read_run,
)
from expkit_bookkeeping.launching import claim_run, request_stop, stop_requested, stop_signals

CONFIG = {
    "results_dir": "results",
    "experiment_id": "digits",
    "run_name": "cnn_1",
    "epochs": 20,
    "model": {"name": "cnn"},
    "expkit": {"metric": "val_accuracy", "direction": "maximize"},
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results" / "digits" / "training" / "cnn_1"


class Recorder:
    """A sink that keeps every call, and fails in the methods that it is asked to."""

    def __init__(self, fails: str = "") -> None:
        self.calls: list[tuple[object, ...]] = []
        self.fails = fails

    def _take(self, *call: object) -> None:
        self.calls.append(call)
        if call[0] == self.fails:
            raise OSError("server down")

    def open(self, run, config):
        self._take("open", run, config)

    def log_metrics(self, metrics, step, time):
        self._take("log_metrics", metrics, step, time)

    def log_artifact(self, path):
        self._take("log_artifact", path)

    def log_timer(self, name, statistics):
        self._take("log_timer", name, statistics)

    def flush(self):
        self._take("flush")

    def close(self, state):
        self._take("close", state)


def test_a_configuration_decides_the_folder_and_what_is_in_it(folder):
    with Bookkeeping.from_config(CONFIG) as run:
        run.log_metrics({"val_accuracy": 0.5}, step=0)

    assert run.folder == folder
    assert yaml.safe_load((folder / "config.yaml").read_text()) == CONFIG
    record = read_run(folder)
    assert (record.run_name, record.experiment_id) == ("cnn_1", "digits")
    assert record.progress == {"step": 0, "total": 20}
    assert yaml.safe_load((folder / "environment.yaml").read_text())["python"] in sys.version


@pytest.mark.parametrize("metric", ["val_accuracy", None])
def test_progress_counts_epochs_before_and_after_a_resume(folder, metric):
    pytest.importorskip("torch")
    settings = RunSettings(metric=metric, epochs=9)
    for first in (0, 2):
        with Bookkeeping(folder, settings=settings, console=False) as run:
            assert run.resume() == first
            for epoch in (first, first + 1):
                for batch in range(50):
                    run.log_metrics({"loss": 0.5}, step=50 * epoch + batch)
                run.log_metrics({"val_accuracy": 0.5 + epoch / 100}, step=epoch)
                run.save_checkpoint(epoch)
    assert read_run(folder).progress == {"step": 3, "total": 9}

    with Bookkeeping(folder, settings=settings, console=False) as run:
        assert run.resume() == 4

    record = read_run(folder)
    assert record.progress == {"step": 3, "total": 9}
    assert record.metrics == {"loss": 0.5, "val_accuracy": 0.53}


def test_a_batch_logged_last_does_not_hide_how_many_epochs_are_done(folder):
    settings = RunSettings(metric="val_accuracy", epochs=9)
    with Bookkeeping(folder, settings=settings, console=False) as run:
        run.log_metrics({"loss": 0.7}, step=1)
        run.log_metrics({"val_accuracy": 0.5}, step=0)
        run.log_metrics({"loss": 0.6}, step=70)

    assert read_run(folder).progress == {"step": 0, "total": 9}


def test_a_dict_config_is_resolved_and_hydras_node_left_out(folder):
    omegaconf = pytest.importorskip("omegaconf")
    own = {"snakes": {"hydra": 1}, "path": Path("data")}
    config = omegaconf.OmegaConf.create(
        {**CONFIG, **own, "width": "${epochs}", "hydra": {"job": "${nowhere}"}}
    )

    with Bookkeeping.from_config(config) as run:
        pass

    written = yaml.safe_load((folder / "config.yaml").read_text())
    assert written == {**CONFIG, "snakes": {"hydra": 1}, "path": "data", "width": 20}
    assert run.settings.metric == "val_accuracy"


def test_a_relative_results_dir_is_hydras_even_if_hydra_changes_directory(tmp_path):
    pytest.importorskip("hydra")
    (tmp_path / "train.py").write_text(
        "import hydra\n"
        "from expkit_bookkeeping import Bookkeeping\n"
        "@hydra.main(version_base='1.3', config_path=None)\n"
        "def main(cfg):\n"
        "    with Bookkeeping.from_config(cfg, console=False): pass\n"
        "main()\n"
    )
    command = [sys.executable, "train.py", "+experiment_id=e", "+run_name=a", "hydra.job.chdir=1"]
    subprocess.run(command, cwd=tmp_path, check=True)

    assert read_run(tmp_path / "results" / "e" / "training" / "a").state == "completed"


def test_without_a_launcher_the_swept_values_may_be_given(folder):
    with Bookkeeping.from_config(CONFIG, swept={"lr": np.float64(0.1), "size": (1, 2)}):
        pass

    assert read_run(folder).swept == {"lr": 0.1, "size": [1, 2]}


def test_any_folder_will_do_without_configuration(tmp_path):
    with Bookkeeping(tmp_path / "somewhere") as run:
        run.log_metrics({"loss": 1.0}, step=0)

    assert read_run(tmp_path / "somewhere").state == "completed"
    assert not (tmp_path / "somewhere" / "config.yaml").exists()


def test_the_folder_stays_when_the_training_code_changes_directory(folder, tmp_path):
    run = Bookkeeping.from_config(CONFIG)
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    with run:
        pass

    assert read_run(folder).state == "completed"


def test_leaving_the_block_records_completed(folder):
    with Bookkeeping(folder):
        assert read_run(folder).state == "running"

    record = read_run(folder)
    assert record.state == "completed"
    assert record.error is None
    assert record.ended_at is not None


def test_an_exception_records_failed_with_its_traceback_and_propagates(folder):
    with pytest.raises(ZeroDivisionError), Bookkeeping(folder):
        divmod(1, 0)

    record = read_run(folder)
    assert record.state == "failed"
    assert record.error["type"] == "ZeroDivisionError"
    assert "ZeroDivisionError" in (folder / "training.log").read_text()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(143), "interrupted"),
        (SystemExit(0), "completed"),
        (SystemExit("bad data"), "failed"),
        (MemoryError(), "failed"),
    ],
)
def test_how_the_block_is_left_decides_the_state(folder, error, expected):
    with pytest.raises(type(error)), Bookkeeping(folder):
        raise error

    assert read_run(folder).state == expected


def test_leaving_after_should_stop_was_true_records_interrupted(folder):
    with stop_signals(), Bookkeeping(folder) as run:
        assert not run.should_stop()
        request_stop("SIGUSR1")
        assert run.should_stop()

    assert read_run(folder).state == "interrupted"


def test_a_run_that_says_it_is_complete_is_completed_all_the_same(folder):
    with stop_signals(), Bookkeeping(folder) as run:
        request_stop("SIGUSR1")
        assert run.should_stop()
        run.complete()

    assert read_run(folder).state == "completed"


def test_a_loop_that_ended_before_it_heard_of_the_warning_is_completed(folder):
    with stop_signals(), Bookkeeping(folder):
        request_stop("SIGUSR1")

    assert read_run(folder).state == "completed"


def test_the_warning_signal_only_makes_should_stop_true(folder):
    with Bookkeeping(folder) as run:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert run.should_stop()

    assert read_run(folder).state == "interrupted"
    assert stop_requested() is None


def test_sigterm_unwinds_the_block_once_and_records_interrupted(folder):
    unwound = []

    def train():
        with Bookkeeping(folder) as run:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)  # scancel may send it twice
                unwound.append(run.should_stop())

    with pytest.raises(SystemExit) as left:
        train()
    assert left.value.code == 143
    assert unwound == [True]
    assert read_run(folder).state == "interrupted"


def test_an_error_that_is_an_echo_of_sigterm_is_an_interruption(folder):
    def train():
        with Bookkeeping(folder):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            except SystemExit:
                raise RuntimeError("DataLoader worker exited unexpectedly") from None

    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        train()
    assert read_run(folder).state == "interrupted"


def test_handlers_are_restored(folder):
    with Bookkeeping(folder):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_only_the_outermost_piece_installs_handlers(folder):
    def handler(number, frame):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with Bookkeeping(folder):
            assert signal.getsignal(signal.SIGTERM) is handler
            assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_in_another_thread_leaves_signals_alone(folder):
    seen = []

    def train():
        with Bookkeeping(folder):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()

    assert seen == [signal.SIG_DFL]
    assert read_run(folder).state == "completed"


def test_messages_go_to_console_and_file_or_to_the_file_alone(folder, capsys):
    with Bookkeeping(folder) as run:
        run.log("both")
        run.log_to_file("file only", "warning")

    text = (folder / "training.log").read_text()
    assert "[INFO] - both\n" in text
    assert "[WARNING] - file only\n" in text
    assert "both" in capsys.readouterr().out


def test_no_other_logger_hears_of_it_and_none_is_changed(folder, caplog):
    root = logging.getLogger()
    before = (root.level, list(root.handlers), set(root.manager.loggerDict))
    with Bookkeeping(folder) as run:
        run.log("hello")

    assert (root.level, list(root.handlers), set(root.manager.loggerDict)) == before
    assert "hello" not in caplog.text


def test_attempts_append_to_one_log_with_a_banner(folder):
    for _ in range(2):
        with Bookkeeping(folder, console=False) as run:
            run.log("hello")
            run.close("interrupted")

    text = (folder / "training.log").read_text()
    assert text.count("hello") == 2
    assert text.count("attempt 1, ") == 2


def test_a_message_with_percent_signs_is_a_message(folder):
    with Bookkeeping(folder, console=False) as run:
        run.log("50% of %s")

    assert "50% of %s" in (folder / "training.log").read_text()


def test_folders_are_made_inside_the_run(folder):
    with Bookkeeping(folder) as run:
        made = run.create_folder("predictions/fold_1")

    assert made == folder / "predictions" / "fold_1"
    assert made.is_dir()


def test_numbers_in_boxes_are_taken_out(folder):
    with Bookkeeping(folder) as run:
        run.log_metrics({"a": np.float32(0.5), "b": np.int64(3), "c": np.array([[2.0]])}, step=0)

    assert read_run(folder).metrics == {"a": 0.5, "b": 3, "c": 2.0}


def test_torch_scalars_are_numbers(folder):
    torch = pytest.importorskip("torch")
    with Bookkeeping(folder) as run:
        run.log_metrics({"loss": torch.tensor(0.5, requires_grad=True)}, step=0)

    assert read_run(folder).metrics == {"loss": 0.5}


def test_run_json_knows_last_and_best_values(folder):
    with Bookkeeping.from_config(CONFIG) as run:
        for step, value in enumerate([0.1, math.nan, 0.7, 0.3]):
            run.log_metrics({"val_accuracy": value, "loss": 1.0 - step}, step=step)
        assert run.best["step"] == 2

    record = read_run(folder)
    assert record.metrics == {"val_accuracy": 0.3, "loss": -2.0}
    assert record.best == {
        "metric": "val_accuracy",
        "direction": "maximize",
        "value": 0.7,
        "step": 2,
    }


def test_the_best_of_a_minimised_metric_is_the_least(folder):
    config = {"expkit": {"metric": "loss", "direction": "minimize"}}
    with Bookkeeping(folder, config=config) as run:
        for step, value in enumerate([0.5, 0.2, 0.3]):
            run.log_metrics({"loss": value}, step=step)

    assert read_run(folder).best["value"] == 0.2


def test_a_next_attempt_remembers_the_best_value(folder):
    with Bookkeeping.from_config(CONFIG) as run:
        run.log_metrics({"val_accuracy": 0.9}, step=0)
    with Bookkeeping.from_config(CONFIG) as run:
        run.log_metrics({"val_accuracy": 0.2}, step=1)

    assert read_run(folder).best["value"] == 0.9


def test_a_resume_without_checkpoint_starts_the_metrics_over(folder):
    with Bookkeeping.from_config(CONFIG) as run:
        run.log_metrics({"val_accuracy": 0.9}, step=7)
    with Bookkeeping.from_config(CONFIG) as run:
        assert run.resume() == 0
        run.log_metrics({"val_accuracy": 0.2}, step=0)

    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1
    assert read_run(folder).best["value"] == 0.2


def test_a_heartbeat_tells_progress_without_the_training_thread(folder):
    now = [1000.0]
    with Bookkeeping.from_config({**CONFIG}, console=False) as run:
        run.close("interrupted")
    with Bookkeeping(folder, config=CONFIG, clock=lambda: now[0]) as run:
        first = read_run(folder).heartbeat_at
        run.log_metrics({"val_accuracy": 0.5}, step=3)
        now[0] += 29
        run._run.tick()
        assert read_run(folder).heartbeat_at == first
        now[0] += 2
        run._run.tick()

        record = read_run(folder)
        assert record.heartbeat_at > first
        assert record.progress == {"step": 3, "total": 20}
        assert record.metrics == {"val_accuracy": 0.5}


def test_metrics_reach_the_disk_within_about_a_second(folder):
    with Bookkeeping(folder) as run:
        run.log_metrics({"loss": 0.5}, step=0)
        deadline = time.monotonic() + 10
        while not (folder / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (folder / "metrics.jsonl").read_text()


def test_logging_metrics_costs_the_training_thread_microseconds(folder):
    with Bookkeeping.from_config(CONFIG, sinks=[Recorder()]) as run:
        costs = []
        for batch in range(20):
            start = time.perf_counter()
            for step in range(500):
                run.log_metrics({"loss": 0.5, "val_accuracy": 0.1}, step=batch * 500 + step)
            costs.append((time.perf_counter() - start) / 500)

    assert sorted(costs)[len(costs) // 2] < 20e-6


def test_sinks_hear_of_everything_in_order(folder):
    sink = Recorder()
    with Bookkeeping.from_config(CONFIG, sinks=[sink]) as run:
        run.log_metrics({"val_accuracy": np.float64(0.5)}, step=0)
        run.log_artifact("config.yaml")

    assert [call[0] for call in sink.calls] == [
        "open", "log_metrics", "log_artifact", "flush", "close",
    ]  # fmt: skip
    _, opened, config = sink.calls[0]
    assert opened["folder"] == str(folder)
    assert opened["id"] == read_run(folder).id
    assert config == CONFIG
    assert sink.calls[1][1:3] == ({"val_accuracy": 0.5}, 0)
    assert sink.calls[2][1] == folder / "config.yaml"
    assert sink.calls[-1][1] == "completed"


def test_the_state_stands_before_a_slow_sink_is_closed(folder):
    class Slow(Recorder):
        def close(self, state):
            self.state_in_file = read_run(folder).state

    sink = Slow()
    with Bookkeeping(folder, sinks=[sink]):
        pass

    assert sink.state_in_file == "completed"


@pytest.mark.parametrize("method", ["open", "log_metrics", "log_artifact", "close"])
def test_a_sink_that_fails_is_reported_once_and_hurts_nobody(folder, method, capsys):
    broken, sound = Recorder(fails=method), Recorder()
    with Bookkeeping.from_config(CONFIG, sinks=[broken, sound]) as run:
        for step in range(3):
            run.log_metrics({"val_accuracy": 0.5}, step=step)
            run.log_artifact("config.yaml")

    assert capsys.readouterr().out.count("server down") == 1
    assert len([call for call in sound.calls if call[0] == "log_metrics"]) == 3
    assert read_run(folder).state == "completed"
    if method == "open":
        assert len(broken.calls) == 1


def test_a_timer_is_saved_and_handed_to_the_sinks(folder):
    class Timer:
        def save(self, path):
            path.write_text("epoch: {count: 2, total_s: 3.0, total: '0:00:03', attempts: []}\n")

    sink = Recorder()
    with Bookkeeping(folder, sinks=[sink]) as run:
        path = run.save_timer(Timer())

    assert path == folder / "timer.yaml"
    assert ("log_timer", "epoch", {"count": 2, "total_s": 3.0}) in sink.calls


def test_other_ranks_run_the_same_code_and_write_nothing(folder, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    sink = Recorder()
    with Bookkeeping.from_config(CONFIG, sinks=[sink]) as run:
        run.log("hello")
        run.log_to_file("hello")
        run.log_metrics({"val_accuracy": 0.5}, step=0)
        run.create_folder("plots")
        os.kill(os.getpid(), signal.SIGUSR1)
        assert run.should_stop()

    assert not folder.exists()
    assert sink.calls == []


@pytest.mark.parametrize(
    ("environ", "rank"),
    [
        ({}, 0),
        ({"RANK": "2", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, 2),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, 1),
        ({"SLURM_PROCID": "1"}, 0),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "1"}, 0),
    ],
)
def test_the_rank_comes_from_the_environment(folder, monkeypatch, environ, rank):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert Bookkeeping(folder).rank == rank


def test_a_notebook_cell_may_be_run_again(folder):
    first = Bookkeeping(folder).open()
    first.log_metrics({"loss": 1.0}, step=0)
    second = Bookkeeping(folder).open()  # the same cell again; nobody closed the first
    second.log_metrics({"loss": 0.5}, step=1)
    second.close()

    record = read_run(folder)
    assert (record.state, record.attempt) == ("completed", 1)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_object_that_another_one_took_over_from_says_so(folder, capsys):
    first = Bookkeeping(folder, console=False).open()
    assert "open in this process" not in capsys.readouterr().out
    with Bookkeeping(folder):
        pass

    warned = capsys.readouterr().out
    assert warned.count("'cnn_1' was already open in this process, since ") == 1
    assert f"{__file__}:" in warned
    with pytest.raises(
        RuntimeError, match=r"has opened the same folder, at .*test_run\.py:\d+\. Use that one"
    ):
        first.log_metrics({"loss": 1.0}, step=2)
    with first:  # opened again, it is one like any other
        first.log_metrics({"loss": 1.0}, step=2)
    with pytest.raises(RuntimeError, match="not open"):
        first.log_metrics({"loss": 1.0}, step=2)


def test_inside_a_launchers_claim_its_facts_are_kept(folder):
    claim = claim_run(
        folder, run_name="cnn_1", config_hash="abc", grid_id="g", swept={"model": "cnn"}
    )
    with Bookkeeping.from_config(CONFIG) as run:
        run.log_metrics({"val_accuracy": 0.5}, step=0)

    record = read_run(folder)
    assert record.state == "completed"
    assert (record.config_hash, record.grid_id) == ("abc", "g")
    assert record.swept == {"model": "cnn"}
    assert claim.is_highest()


def test_a_lost_claim_ends_the_block_with_claim_lost(folder):
    run = Bookkeeping(folder).open()
    before = (folder / "run.json").read_bytes()
    (folder / "claims" / "0002.json").write_text('{"host": "node7", "pid": 1}')

    with pytest.raises(ClaimLost, match="node7"):
        run.__exit__(None, None, None)
    assert (folder / "run.json").read_bytes() == before


def test_an_error_in_the_block_is_not_hidden_by_a_lost_claim(folder):
    def train():
        with Bookkeeping(folder):
            (folder / "claims" / "0002.json").write_text('{"host": "node7", "pid": 1}')
            divmod(1, 0)

    with pytest.raises(ZeroDivisionError) as caught:
        train()
    assert "now belongs to process 1 on node7" in caught.value.__notes__[0]


def test_a_run_whose_metrics_cannot_be_written_is_not_completed(folder):
    run = Bookkeeping(folder, console=False).open()
    (folder / "metrics.jsonl").mkdir()  # writing fails, also for root
    run.log_metrics({"loss": 0.5}, step=0)

    with pytest.raises(OSError, match=r"metrics\.jsonl"):
        run.close()
    assert read_run(folder).state == "failed"


def test_a_run_that_could_not_be_opened_is_failed_and_free(folder):
    Bookkeeping.from_config(CONFIG).open().close("failed")
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").mkdir()

    with pytest.raises(OSError, match=r"config\.yaml"):
        Bookkeeping.from_config(CONFIG).open()
    assert read_run(folder).state == "failed"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_sigterm_while_a_sink_opens_is_an_interruption(folder):
    class Slow(Recorder):
        def open(self, run, config):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    with pytest.raises(SystemExit):
        Bookkeeping(folder, sinks=[Slow()]).open()

    assert read_run(folder).state == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


TRAIN = """
import sys, time
from expkit_bookkeeping import Bookkeeping
with Bookkeeping(sys.argv[1], config={"epochs": 9}, console=False) as run:
    for step in range(3):
        run.log_metrics({"loss": 1 / (step + 1)}, step=step)
    run._run.request_heartbeat()
    run._run.tick()
    print("ready", flush=True)
    while not run.should_stop():
        time.sleep(0.01)
    print("stopped", flush=True)
"""
FORGETS = """
import sys
from expkit_bookkeeping import Bookkeeping
run = Bookkeeping(sys.argv[1], console=False).open()
run.log_metrics({"loss": 0.5}, step=0)
"""


def train(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_run_killed_with_sigkill_is_lost_and_continues_as_attempt_two(folder):
    process = train(folder)
    with pytest.raises(RunClaimed, match=str(process.pid)):
        Bookkeeping(folder).open()
    process.kill()
    process.communicate()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "ti')  # what a kill in the middle of a write leaves

    (record,) = find_runs(folder.parent.parent)
    assert record.state == "lost"
    assert record.progress == {"step": 2, "total": 9}
    with Bookkeeping(folder, console=False) as run:
        run.log_metrics({"loss": 0.1}, step=3)
    record = read_run(folder)
    assert (record.state, record.attempt) == ("completed", 2)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    assert (folder / "training.log").read_text().count("- attempt ") == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 0)])
def test_a_signal_to_a_real_process_ends_it_as_interrupted(folder, number, code):
    process = train(folder)
    process.send_signal(number)
    process.communicate()

    assert process.returncode == code
    record = read_run(folder)
    assert record.state == "interrupted"
    assert (record.error is None) == (code == 0)


def test_a_run_that_nobody_closed_keeps_its_metrics_and_is_interrupted(folder):
    subprocess.run([sys.executable, "-c", FORGETS, str(folder)], check=True)

    assert read_run(folder).state == "interrupted"
    assert (folder / "metrics.jsonl").read_text().count("\n") == 1


def test_a_forked_child_does_not_write_into_its_parents_run(folder):
    with Bookkeeping(folder) as run:
        run.log_metrics({"loss": 0.5}, step=0)
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                run.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert read_run(folder).state == "running"

    assert replace(read_run(folder)).state == "completed"
    assert (folder / "metrics.jsonl").read_text().count("\n") == 1


def test_a_forked_child_that_opens_the_folder_leaves_its_parents_run_alone(folder):
    with Bookkeeping(folder, console=False) as run:
        run._run._thread.stop()  # the line stays queued
        run.log_metrics({"loss": 0.5}, step=0)
        child = os.fork()
        if child == 0:
            refused = False
            with contextlib.suppress(BaseException):
                try:
                    Bookkeeping(folder, console=False).open()
                except RunClaimed:
                    refused = True
            os._exit(0 if refused else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not (folder / "metrics.jsonl").exists()

    assert (folder / "metrics.jsonl").read_text().count("\n") == 1


def test_a_notebook_cell_that_is_run_again_still_hears_signals(folder):
    first = Bookkeeping(folder, console=False).open()
    second = Bookkeeping(folder, console=False).open()

    assert signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL
    os.kill(os.getpid(), signal.SIGUSR1)
    assert second.should_stop()
    second.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert not first._opened


def test_of_two_open_runs_the_one_that_stays_still_hears_signals(folder):
    first, second = Bookkeeping(folder).open(), Bookkeeping(folder.with_name("cnn_2")).open()
    first.close()

    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    second.close()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("ends", [KeyboardInterrupt, SystemExit])
def test_who_is_interrupted_while_the_end_is_recorded_has_ended_all_the_same(folder, ends):
    interruptions = []

    def clock():
        if interruptions:
            raise interruptions.pop()
        return time.time()

    run = Bookkeeping(folder, console=False, clock=clock).open()
    run._run._thread.stop()
    run.log_metrics({"loss": 0.5}, step=0)
    interruptions.append(ends())

    with pytest.raises(ends):
        run.close()
    record = read_run(folder)
    assert (record.state, record.metrics) == ("completed", {"loss": 0.5})
    assert find_runs(folder.parent.parent)[0].state == "completed"


def test_a_clock_that_is_set_back_does_not_silence_the_heartbeat(folder):
    now = [10_000.0]
    with Bookkeeping(folder, console=False, clock=lambda: now[0]) as run:
        run._run._thread.stop()
        before = read_run(folder).heartbeat_at
        now[0] -= 3600
        run._run.tick()

        assert read_run(folder).heartbeat_at != before


def test_the_best_value_can_be_asked_for_after_the_block(folder):
    with Bookkeeping.from_config(CONFIG) as run:
        run.log_metrics({"val_accuracy": 0.5}, step=0)

    assert run.best["value"] == 0.5


def test_a_run_without_metrics_has_no_empty_file_of_them(folder):
    with Bookkeeping(folder):
        pass

    assert not (folder / "metrics.jsonl").exists()


def test_opening_and_closing_waits_for_the_disk_seven_times(folder, monkeypatch):
    with Bookkeeping.from_config({**CONFIG, "run_name": "first"}, console=False):
        pass  # stores the sources, which the next run shares
    calls = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(fd), sync(fd)))
    with Bookkeeping.from_config(CONFIG, console=False) as run:
        run.log_metrics({"val_accuracy": 0.5}, step=0)

    assert len(calls) <= 7


def test_a_run_may_be_closed_by_another_thread(folder):
    run = Bookkeeping(folder).open()
    problems = []

    def close():
        try:
            run.close()
        except Exception as problem:
            problems.append(problem)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert problems == []
    assert read_run(folder).state == "completed"

    with Bookkeeping(folder):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
