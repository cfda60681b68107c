import logging
import socket
import time
from pathlib import Path

import pytest

from expkit_mlflow import MLFlowLogger, sync


@pytest.fixture
def folder(tmp_path):
    # The server is shared by all tests, so each has an experiment of its own.
    return tmp_path / "results" / tmp_path.name


def test_the_curve_is_on_the_server_while_the_run_is_going(folder, kit, server):
    with MLFlowLogger(folder, "r", tracking_uri=server) as tracking:
        tracking.log_params({"model": {"name": "cnn"}})
        tracking.log_metrics({"loss": 1.0}, 0)

        def arrived():
            try:
                return kit.runs(folder, folder.name, uri=server)["r"].data.metrics
            except (AssertionError, KeyError):
                return None

        kit.wait_for(arrived, "no metric reached the server while the run was open")
        assert kit.runs(folder, folder.name, uri=server)["r"].info.status == "RUNNING"
        tracking.log_metrics({"loss": 0.5}, 1)

    run = kit.runs(folder, folder.name, uri=server)["r"]
    assert run.info.status == "FINISHED"
    assert run.data.params == {"model.name": "cnn"}
    assert kit.history(folder, run, "loss", uri=server) == [(0, 1.0), (1, 0.5)]
    assert not (folder / "mlflow.db").exists()


def test_artifacts_travel_to_the_server_and_nothing_is_printed(
    folder, kit, server, tmp_path, capfd
):
    from mlflow import MlflowClient

    with MLFlowLogger(folder, "r", tracking_uri=server) as tracking:
        tracking.log_params({"model": "cnn"})
    assert capfd.readouterr() == ("", "")

    run = kit.runs(folder, folder.name, uri=server)["r"]
    reader = MlflowClient(tracking_uri=server)
    local = reader.download_artifacts(run.info.run_id, "config.yaml", str(tmp_path))
    assert Path(local).read_text() == "model: cnn\n"


def test_a_resumed_run_continues_its_run_on_the_server(folder, kit, server):
    run = kit.record(folder / "training" / "r")
    for attempt, steps in ((1, range(3)), (2, range(1, 5))):
        tracking = MLFlowLogger(tracking_uri=server)
        tracking.open({**run, "attempt": attempt}, {"attempt": attempt})
        for step in steps:
            tracking.log_metrics({"loss": float(step)}, step)
        tracking.close("interrupted" if attempt == 1 else "completed")

    (stored,) = kit.runs(folder, folder.name, uri=server).values()
    assert kit.history(folder, stored, "loss", uri=server) == [(s, float(s)) for s in range(5)]
    assert stored.info.status == "FINISHED"
    assert stored.data.tags["attempt2.attempt"] == "2"


def test_a_server_that_is_down_is_told_at_once_and_at_the_end_and_sync_sends_the_rest(
    folder, kit, server, caplog
):
    uri = f"http://127.0.0.1:{kit.free_port()}"
    start = time.monotonic()
    with MLFlowLogger(folder, "r", tracking_uri=uri) as tracking:
        tracking._background_drain._interval_s = 0.01
        for step in range(100):
            tracking.log_metrics({"loss": float(step)}, step)
        kit.wait_for(lambda: caplog.records, "nobody was told while the run was open")

    assert time.monotonic() - start < 20
    warnings = [line for line in caplog.records if line.name.startswith("expkit")]
    assert [line.levelno for line in warnings] == [logging.WARNING] * 2
    at_once, at_the_end = (line.getMessage() for line in warnings)
    assert "does not answer" in at_once
    assert "Training goes on" in at_once
    assert "does not answer" in at_the_end
    assert "Something is missing there" in at_the_end
    assert f"sync {folder}` sends it later" in at_the_end
    (problem,) = sync(folder).problems
    assert "does not answer" in problem

    report = sync(folder, tracking_uri=server)

    run = kit.runs(folder, folder.name, uri=server)["r"]
    assert (report.points, len(kit.history(folder, run, "loss", uri=server))) == (100, 100)
    assert run.info.status == "FINISHED"


def test_a_server_that_never_answers_does_not_block_the_run(tmp_path, kit, caplog):
    with socket.socket() as silent:  # accepts, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        with MLFlowLogger(
            tmp_path / "digits", "r", tracking_uri=uri, close_timeout_s=0.5
        ) as tracking:
            tracking.log_metrics({"loss": 1.0}, 0)
            drain = tracking._background_drain

    assert time.monotonic() - start < 10
    drain._thread.join(1)  # the socket is closed, so it ends
    assert "did not take everything within 0.5 s" in caplog.text
    assert (tmp_path / "digits/training/r/tracking.jsonl").read_text().endswith("}\n")


def test_offline_sends_nothing_until_it_is_asked_to(folder, kit, server):
    with MLFlowLogger(folder, "r", tracking_uri=server, mode="offline") as tracking:
        tracking.log_metrics({"loss": 1.0}, 0)
    with pytest.raises(AssertionError):
        kit.runs(folder, folder.name, uri=server)

    assert sync(folder).points == 1
    assert kit.runs(folder, folder.name, uri=server)["r"].data.metrics == {"loss": 1.0}


def test_sync_leaves_a_run_alone_that_is_still_sending_its_journal(folder, server):
    with MLFlowLogger(folder, "r", tracking_uri=server) as tracking:
        tracking.log_metrics({"loss": 1.0}, 0)

        report = sync(folder)

        assert (report.sending, report.created) == (1, 0)
    assert sync(folder).points == 0


@pytest.mark.runs
def test_removed_runs_are_marked_as_deleted_on_the_server(folder, kit, server):
    with MLFlowLogger(folder, "r", tracking_uri=server) as tracking:
        tracking.log_metrics({"loss": 1.0}, 0)
    run_id = kit.runs(folder, folder.name, uri=server)["r"].data.tags["expkit.run_id"]
    trash = folder / ".trash"
    trash.mkdir()
    (folder / "training" / "r").rename(trash / "r.1")
    (trash / "removed.jsonl").write_text(f'{{"id": "{run_id}", "trash": ".trash/r.1"}}\n')

    assert sync(folder).deleted == 1
    assert kit.runs(folder, folder.name, uri=server) == {}


def test_a_journal_of_several_batches_arrives_whole_with_the_status_of_a_failed_run(
    folder, kit, server
):
    tracking = MLFlowLogger(folder, "r", tracking_uri=server)
    for step in range(2500):
        tracking.log_metrics({"loss": float(step)}, step)
    tracking.close("failed")

    run = kit.runs(folder, folder.name, uri=server)["r"]
    assert (run.info.status, run.data.metrics) == ("FAILED", {"loss": 2499.0})
    assert len(kit.history(folder, run, "loss", uri=server)) == 2500
