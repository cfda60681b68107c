import contextlib
import os
import signal
import threading
import time

import pytest

from expkit_mlflow import MLFlowLogger, TrackingError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results" / "digits"


def journal_of(folder, run_name):
    return folder / "training" / run_name / "tracking.jsonl"


def test_a_lone_run_leaves_its_journal_and_nothing_is_imported(tmp_path, kit):
    code = """if True:
        import sys
        from expkit_mlflow import MLFlowLogger, TrackingError
        with MLFlowLogger("digits", "first", mode="offline") as tracking:
            tracking.log_params({"model": {"name": "cnn"}})
            tracking.log_metrics({"loss": 0.5}, step=0)
            tracking.log_timer("epoch", {"mean_s": 2.0, "total": "0:00:02"})
        print(sorted({"mlflow", "yaml", "torch", "numpy"} & set(sys.modules)))
    """
    process = kit.python(code, cwd=tmp_path)
    out, err = process.communicate()

    assert (out.strip(), err) == ("['yaml']", "")
    lines = kit.lines(tmp_path / "results/digits/training/first/tracking.jsonl")
    assert [line["kind"] for line in lines] == [
        "run",
        "params",
        "artifact",
        "metrics",
        "metrics",
        "end",
    ]
    assert lines[4]["metrics"] == {"time.epoch.mean_s": 2.0}
    assert lines[-1]["status"] == "FINISHED"


def test_a_call_costs_the_training_thread_microseconds(folder):
    with MLFlowLogger(folder, "fast", mode="offline") as tracking:
        spent = []
        for step in range(5000):
            start = time.perf_counter_ns()
            tracking.log_metrics({"loss": 0.5, "val_accuracy": 0.9}, step=step)
            spent.append(time.perf_counter_ns() - start)

    assert sorted(spent)[2500] < 20_000  # about 1 µs; the bar is 20


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (ValueError("bad"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
        (SystemExit(1), "FAILED"),
        (SystemExit(0), "FINISHED"),
    ],
)
def test_the_status_says_how_the_block_was_left(folder, kit, error, status):
    expected = pytest.raises(type(error)) if error is not None else contextlib.nullcontext()
    with expected, MLFlowLogger(folder, "r", mode="offline"):
        if error is not None:
            raise error

    assert kit.lines(journal_of(folder, "r"))[-1]["status"] == status


def test_sigterm_ends_a_lone_run_as_killed(folder, kit):
    code = """if True:
        import sys, time
        from pathlib import Path
        from expkit_mlflow import MLFlowLogger, TrackingError
        with MLFlowLogger(Path(sys.argv[1]), "r", mode="offline") as tracking:
            tracking.log_metrics({"loss": 0.5}, step=0)
            print("ready", flush=True)
            time.sleep(60)
    """
    process = kit.python(code, folder)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 143
    assert kit.lines(journal_of(folder, "r"))[-1]["status"] == "KILLED"


def test_handlers_of_the_user_stay(folder):
    def mine(number, frame):
        pass

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with MLFlowLogger(folder, "r", mode="offline"):
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
    with MLFlowLogger(folder, "s", mode="offline"):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_unfinished_run_continues_and_a_finished_one_is_left_alone(folder, kit):
    with pytest.raises(RuntimeError), MLFlowLogger(folder, "r", mode="offline"):
        raise RuntimeError
    for _ in range(2):
        with MLFlowLogger(folder, "r", mode="offline"):
            pass

    first = [line for line in kit.lines(journal_of(folder, "r")) if line["kind"] == "run"]
    second = [line for line in kit.lines(journal_of(folder, "r_2")) if line["kind"] == "run"]
    assert [line["attempt"] for line in first] == [1, 2]
    assert first[0]["id"] == first[1]["id"] != second[0]["id"]
    assert second[0]["run_name"] == "r_2"


def test_two_simultaneous_runs_of_one_name_keep_two_journals(folder):
    with (
        MLFlowLogger(folder, "r", mode="offline") as first,
        MLFlowLogger(folder, "r", mode="offline") as second,
    ):
        assert first.run_folder.name == "r"
        assert second.run_folder.name == "r_2"


def test_without_a_block_the_first_call_opens_the_run(folder, kit):
    tracking = MLFlowLogger(folder, "r", mode="offline")
    assert not folder.exists()
    tracking.log_metrics({"loss": 1})
    tracking.log_metrics({"loss": 2})
    tracking.close()
    tracking.close("failed")

    lines = kit.lines(journal_of(folder, "r"))
    assert [line.get("step") for line in lines] == [None, 0, 1, None]
    assert lines[-1]["status"] == "FINISHED"


def test_many_threads_open_one_run(folder, kit):
    tracking = MLFlowLogger(folder, "r", mode="offline")
    threads = [
        threading.Thread(target=tracking.log_metrics, args=({f"m{i}": i}, 0)) for i in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tracking.close()

    lines = kit.lines(journal_of(folder, "r"))
    assert len([line for line in lines if line["kind"] == "run"]) == 1
    assert len([line for line in lines if line["kind"] == "metrics"]) == 16


def test_numbers_of_all_kinds_are_taken(folder, kit):
    numpy = pytest.importorskip("numpy")
    with MLFlowLogger(folder, "r", mode="offline") as tracking:
        tracking.log_metrics(
            {"int": 1, "bool": True, "numpy": numpy.float32(0.5), "array": numpy.ones(())}, 0
        )
        tracking.log_metrics({"val": {"loss": 1.0, "acc": {"top1": 0.5}}}, step=numpy.int64(1))

    first, second = [line for line in kit.lines(journal_of(folder, "r"))[1:3]]
    assert first["metrics"] == {"int": 1.0, "bool": 1.0, "numpy": 0.5, "array": 1.0}
    assert second["metrics"] == {"val.loss": 1.0, "val.acc.top1": 0.5}


def test_tensors_are_taken_and_read_at_once(folder, kit):
    torch = pytest.importorskip("torch")
    loss = torch.tensor(0.5)
    with MLFlowLogger(folder, "r", mode="offline") as tracking:
        tracking.log_metrics({"loss": loss}, 0)
        loss += 1

    assert kit.lines(journal_of(folder, "r"))[1]["metrics"] == {"loss": 0.5}


def test_a_bad_value_costs_only_itself(folder, kit):
    with (
        MLFlowLogger(folder, "r", mode="offline") as tracking,
        pytest.raises(TypeError, match="'name'"),
    ):
        tracking.log_metrics({"loss": 0.5, "name": "adam", "acc": 0.9}, 0)

    assert kit.lines(journal_of(folder, "r"))[1]["metrics"] == {"loss": 0.5, "acc": 0.9}


def test_disabled_writes_nothing(tmp_path):
    with MLFlowLogger(tmp_path / "digits", "r", mode="disabled") as tracking:
        tracking.log_params({"a": 1})
        tracking.log_metrics({"loss": "nothing is looked at"}, step="x")
        tracking.log_artifact("missing")
        tracking.log_timer("epoch")
        tracking.set_tags({})
        tracking.flush()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "rank", "writes"),
    [
        ({}, None, True),
        ({"RANK": "0"}, None, True),
        ({"RANK": "1"}, None, False),
        ({"RANK": "1"}, 0, True),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, None, False),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "1"}, None, True),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, None, False),
    ],
)
def test_only_rank_0_writes(folder, environ, rank, writes):
    with MLFlowLogger(folder, "r", mode="offline", environ=environ, rank=rank):
        pass

    assert journal_of(folder, "r").exists() is writes


def test_a_configuration_names_folder_store_and_tags(tmp_path, kit):
    omegaconf = pytest.importorskip("omegaconf")
    cfg = omegaconf.OmegaConf.create(
        {
            "results_dir": str(tmp_path / "out"),
            "experiment_id": "digits",
            "run_name": "cnn_${seed}",
            "seed": 3,
            "missing": "???",
            "mlflow": {
                "mode": "offline",
                "tracking_uri": "http://localhost:5000",
                "tags": {"a": 1},
            },
        }
    )
    omegaconf.OmegaConf.set_struct(cfg, True)
    with MLFlowLogger.from_config(cfg) as tracking:
        tracking.log_params(cfg)

    head, params, _, _ = kit.lines(journal_of(tmp_path / "out/digits", "cnn_3"))
    assert head["tracking_uri"] == "http://localhost:5000"
    assert head["tags"]["a"] == "1"
    assert params["params"] == {"seed": "3", "missing": "???"}


def test_a_plain_mapping_is_a_configuration_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    MLFlowLogger.from_config({"experiment_id": "digits", "mlflow": {"mode": "offline"}}).set_tags(
        {}
    )

    assert (tmp_path / "results" / "digits" / "training").is_dir()


def test_the_environments_server_is_used_and_its_password_not_written(folder, kit):
    environ = {"MLFLOW_TRACKING_URI": "http://me:secret@localhost:5000"}
    with MLFlowLogger(folder, "r", mode="offline", environ=environ):
        pass

    assert "secret" not in journal_of(folder, "r").read_text()
    assert kit.lines(journal_of(folder, "r"))[0]["tracking_uri"] == "http://localhost:5000"


def test_bookkeeping_hands_over_its_run_and_its_config(folder, kit):
    run = kit.record(folder / "training" / "cnn_1", attempt=2)
    tracking = MLFlowLogger(mode="offline")
    tracking.open(run, {"model": "cnn", "optimizer": {"lr": 0.1}, "expkit": {"metric": "a"}})
    tracking.log_metrics({"loss": 0.5}, 0, 12.5)
    tracking.flush()
    tracking.log_timer("epoch", {"total_s": 1.0})
    tracking.close("interrupted")

    head, params, artifact, metrics, timer, end = kit.lines(journal_of(folder, "cnn_1"))
    assert (head["id"], head["attempt"], head["experiment"]) == ("id-of-cnn_1", 2, "digits")
    assert head["tags"]["mlflow.source.git.commit"] == "4f2a"
    assert params["params"] == {"model": "cnn", "optimizer.lr": "0.1"}
    assert artifact["path"] == "config.yaml"
    assert (metrics["step"], metrics["time"], timer["step"]) == (0, 12.5, 0)
    assert end["status"] == "KILLED"
    assert not (folder / "training/cnn_1/config.yaml").exists()  # Bookkeeping's to write


def test_artifacts_outside_the_run_are_copied_into_it_at_once(folder, tmp_path, kit):
    outside = tmp_path / "confusion.csv"
    outside.write_text("1,2")
    with MLFlowLogger(folder, "r", mode="offline") as tracking:
        tracking.log_artifact(outside, "tables")
        outside.unlink()
        inside = tracking.run_folder / "plot.png"
        inside.write_bytes(b"")
        tracking.log_artifact(inside)

    _, copied, own, _ = kit.lines(journal_of(folder, "r"))
    assert (folder / "training/r" / copied["path"]).read_text() == "1,2"
    assert copied["artifact_path"] == "tables"
    assert own["path"] == "plot.png"


def test_the_whole_configuration_is_kept_beside_the_journal(folder):
    yaml = pytest.importorskip("yaml")
    with MLFlowLogger(folder, "r", mode="offline") as tracking:
        tracking.log_params({"a": {"b": [1, 2]}, "hydra": {"x": 1}})
        tracking.log_params({"c": object})

    config = yaml.safe_load((folder / "training/r/config.yaml").read_text())
    assert config == {"a": {"b": [1, 2]}, "hydra": {"x": 1}, "c": "<class 'object'>"}


@pytest.mark.parametrize("name", ["config.yaml", "tracking.jsonl"])
def test_files_of_others_stay_as_they_are(folder, kit, name):
    theirs = folder / "training" / "first" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("gaze: [0.5, 0.25]")  # tracking.jsonl may be an eye tracker's, too

    for _ in range(2):  # a second one goes on with the first, which failed
        with (
            contextlib.suppress(ValueError),
            MLFlowLogger(folder, "first", mode="offline") as tracking,
        ):
            tracking.log_params({"lr": 0.1})
            raise ValueError

    assert theirs.read_text() == "gaze: [0.5, 0.25]"
    own = journal_of(folder, "first" if name == "config.yaml" else "first_2")
    assert [line["kind"] for line in kit.lines(own)].count("run") == 2


def test_no_environment_variable_and_no_global_tracking_uri_is_touched(experiment):
    mlflow = pytest.importorskip("mlflow")
    environ, uri = dict(os.environ), mlflow.get_tracking_uri()
    with MLFlowLogger(experiment, "r") as tracking:
        tracking.log_metrics({"loss": 0.5}, 0)

    assert dict(os.environ) == environ
    assert mlflow.get_tracking_uri() == uri
    assert mlflow.active_run() is None


def test_a_run_of_a_grid_leaves_the_store_to_the_sweep(folder, kit):
    with MLFlowLogger(folder, "r", environ={"EXPKIT_GRID": "grids/a1"}) as tracking:
        tracking.log_metrics({"loss": 0.5}, 0)

    assert [path.name for path in folder.iterdir()] == ["training"]


def test_timers_are_taken_alone_or_in_groups(folder, kit):
    class Timer:
        name = "epoch"

        def to_dict(self):
            return {"count": 2, "mean_s": 0.5, "text": "0:00:01"}

    class Timers:
        def to_dict(self):
            return {"epoch/forward": {"mean_s": 0.25}}

    with MLFlowLogger(folder, "r", mode="offline") as tracking:
        tracking.log_metrics({"loss": 1.0}, 4)
        tracking.log_timer(Timer())
        tracking.log_timer(Timers())

    _, _, one, group, _ = kit.lines(journal_of(folder, "r"))
    assert one["metrics"] == {"time.epoch.count": 2.0, "time.epoch.mean_s": 0.5}
    assert one["step"] == 4
    assert group["metrics"] == {"time.epoch/forward.mean_s": 0.25}


def test_the_timers_of_expkit_timer_are_taken(folder, kit):
    expkit_timer = pytest.importorskip("expkit_timer")
    timer = expkit_timer.Timer("epoch")
    with timer:
        pass
    with MLFlowLogger(folder, "r", mode="offline") as tracking:
        tracking.log_timer(timer)

    metrics = kit.lines(journal_of(folder, "r"))[1]["metrics"]
    assert metrics["time.epoch.count"] == 1
    assert metrics["time.epoch.total_s"] >= 0


def test_what_is_logged_after_the_end_is_refused_instead_of_lost(folder, kit):
    with MLFlowLogger(folder, "r", mode="offline") as tracking:
        tracking.log_metrics({"loss": 0.5}, 0)

    with pytest.raises(TrackingError, match=r"closed.* create another MLFlowLogger"):
        tracking.log_metrics({"loss": 0.25}, 1)
    assert kit.lines(journal_of(folder, "r"))[-1]["status"] == "FINISHED"


def test_a_sink_that_is_opened_again_keeps_its_second_run_too(folder, kit):
    tracking = MLFlowLogger(mode="offline")
    for name, state in (("a", "completed"), ("b", "failed")):
        tracking.open(kit.record(folder / "training" / name), {})
        tracking.log_metrics({"loss": 0.5}, 0)
        tracking.close(state)

    assert [kit.lines(journal_of(folder, name))[-1]["kind"] for name in "ab"] == ["end", "end"]
    assert kit.lines(journal_of(folder, "b"))[-1]["status"] == "FAILED"


def test_without_locks_a_live_run_is_not_taken_over(folder, kit, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(fd, operation):  # NFS without lockd
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with MLFlowLogger(folder, "r", mode="offline") as first:
        first.flush()
        with MLFlowLogger(folder, "r", mode="offline") as second:
            assert second.run_folder.name == "r_2"
    with pytest.raises(RuntimeError), MLFlowLogger(folder, "s", mode="offline"):
        raise RuntimeError
    with MLFlowLogger(folder, "s", mode="offline") as continued:
        assert continued.run_folder.name == "s"


def test_no_password_reaches_a_file(folder):
    uri = "postgresql://me:s3cret@host/db"
    tracking = MLFlowLogger(folder, "r", tracking_uri=uri, mode="offline")
    tracking.log_params({"mlflow": {"tracking_uri": uri}, "data": {"source": uri}})
    with pytest.raises(ConnectionError), tracking:
        raise ConnectionError(f"cannot reach {uri}")

    written = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in written} == {"tracking.jsonl", "config.yaml"}
    assert not [path for path in written if "s3cret" in path.read_text()]


def test_ctrl_c_while_the_end_waits_leaves_the_users_handlers(folder, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(MLFlowLogger, "_drain_rest", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), MLFlowLogger(folder, "r", mode="offline"):
        pass

    assert signal.getsignal(signal.SIGTERM) == before
