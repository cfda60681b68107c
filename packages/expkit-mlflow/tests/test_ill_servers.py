"""Tracking servers that are away, frozen, or something else: bounded, told, and nothing twice."""

import contextlib
import os
import signal
import time

import pytest

from expkit_mlflow import MLFlowLogger, sync
from expkit_mlflow._store import server as requests_to_a_server

from .ill_server import ILLNESSES, IllServer, timed

REASONS = {
    "html": "answered with a page of type text/html ('Sign in')",
    "other_json": "does not answer as MLflow does",
    "401": "refuses the credentials (answered 401",
    "403": "refuses the credentials (answered 403",
    "404": "has no MLflow API (answered 404",
    "413": "413",
    "429": "answered 429 Too Many Requests, and asks for 120 s of patience",
    "500": "answered 500 Internal Server Error",
    "500_json": "INTERNAL_ERROR",
    "502": "answered 502 Bad Gateway",
    "503": "answered 503 Service Unavailable",
    "reset": "does not answer",
    "stall": "does not answer (no reply within",
    "late": "does not answer (no reply within",
}


@pytest.fixture
def folder(tmp_path):
    # The server is shared by all tests, so each has an experiment of its own.
    return tmp_path / "results" / tmp_path.name


@pytest.fixture
def _short_limits(monkeypatch):
    """So that many ill servers take seconds; the limits themselves have a test of their own."""
    monkeypatch.setattr(requests_to_a_server, "PROBE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(requests_to_a_server, "REQUEST_TIMEOUT_S", 1.0)
    monkeypatch.setattr(requests_to_a_server, "RETRY_WITHIN_S", 0.6)


def log_runs(folder, uri, count, *, points=3):
    for number in range(count):
        with MLFlowLogger(folder, f"r{number}", tracking_uri=uri, mode="offline") as tracking:
            tracking.log_params({"model": "cnn"})
            for step in range(points):
                tracking.log_metrics({"loss": float(step)}, step)


def check_everything_is_there_once(folder, kit, server, count, *, points=3):
    from mlflow import MlflowClient

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(folder.name)
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == sorted(f"r{n}" for n in range(count))
    for run in runs:
        history = client.get_metric_history(run.info.run_id, "loss")
        assert sorted((p.step, p.value) for p in history) == [(s, float(s)) for s in range(points)]
        assert run.info.status == "FINISHED"
        artifacts = [entry.path for entry in client.list_artifacts(run.info.run_id)]
        assert artifacts == ["config.yaml"]


@pytest.mark.faults("an ill tracking server is given up soon, with its reason, and nothing is lost")
@pytest.mark.usefixtures("_short_limits")
@pytest.mark.parametrize("illness", ILLNESSES)
def test_an_ill_server_is_given_up_for_all_runs_and_the_reason_is_told_once(
    folder, kit, server, illness, campaign
):
    count = 6
    # What one server calls too large is sent in smaller parts, run by run, before it is given up.
    most = 12 + 4 * count * (illness == "413")
    log_runs(folder, server, count)
    for healthy in (0, *(campaign.random.randrange(1, 20) for _ in campaign.rounds(1))):
        with IllServer(server, illness, healthy=healthy) as ill:
            report, seconds = timed(lambda url=ill.url: sync(folder, tracking_uri=url))
            ill.wait_for_late_requests()
        print(f"{illness} from request {healthy} on: {seconds:.1f} s, {len(ill.requests)} requests")
        assert seconds < 20
        assert len(ill.requests) < healthy + most
        if healthy == 0:
            (problem,) = report.problems
            assert REASONS[illness] in problem

    report = sync(folder)

    assert report.problems == []
    check_everything_is_there_once(folder, kit, server, count)


def test_the_limits_end_a_sync_of_a_hundred_runs_within_20_s(folder, kit):
    log_runs(folder, None, 100, points=1)
    with IllServer("http://127.0.0.1:9", "stall") as ill:
        report, seconds = timed(lambda: sync(folder, tracking_uri=ill.url))
    print(f"{seconds:.1f} s")
    assert seconds < 20
    (problem,) = report.problems
    assert "does not answer (no reply within 5 s)" in problem
    longest_s = requests_to_a_server.REQUEST_TIMEOUT_S + requests_to_a_server.RETRY_WITHIN_S
    assert longest_s < 20


def test_a_moment_of_502_costs_nothing(folder, kit, server):
    log_runs(folder, server, 2)
    asked = []

    def ill(method, path):
        """The first two answers to each kind of request, but for one that nobody may repeat."""
        asked.append(path)
        return "create" not in path and asked.count(path) <= 2

    with IllServer(server, "502", ill=ill) as ill:
        assert sync(folder, tracking_uri=ill.url).problems == []
    check_everything_is_there_once(folder, kit, server, 2)


def test_a_proxy_that_takes_only_small_requests_gets_small_ones(folder, kit, server):
    with MLFlowLogger(folder, "r0", tracking_uri=server, mode="offline") as tracking:
        for step in range(2000):
            tracking.log_metrics({"loss": float(step)}, step)
    with IllServer(server, "413", largest=20_000) as ill:
        assert sync(folder, tracking_uri=ill.url).problems == []

    (run,) = kit.runs(folder, folder.name, uri=server).values()
    history = kit.history(folder, run, "loss", uri=server)
    assert history == [(step, float(step)) for step in range(2000)]


@pytest.mark.usefixtures("_short_limits")
@pytest.mark.parametrize("illness", ["403", "413", "502", "reset", "stall"])
def test_a_server_that_takes_no_artifacts_gets_the_points(folder, kit, server, illness):
    log_runs(folder, server, 6)
    with IllServer(server, illness, ill=lambda method, path: method == "PUT") as ill:
        report, seconds = timed(lambda: sync(folder, tracking_uri=ill.url))

    assert seconds < 20
    assert len(report.problems) == 6
    assert all("artifact 'config.yaml'" in problem for problem in report.problems)
    for run in kit.runs(folder, folder.name, uri=server).values():
        assert run.data.metrics == {"loss": 2.0}
    assert sync(folder).problems == []
    check_everything_is_there_once(folder, kit, server, 6)


def test_a_late_answer_to_the_creation_of_a_run_makes_no_second_run(
    folder, kit, server, monkeypatch
):
    monkeypatch.setattr(requests_to_a_server, "REQUEST_TIMEOUT_S", 0.5)
    log_runs(folder, server, 1)
    with IllServer(server, "late", ill=lambda _, path: path.endswith("runs/create")) as ill:
        (problem,) = sync(folder, tracking_uri=ill.url).problems
        assert "no reply within" in problem
        ill.wait_for_late_requests()
    monkeypatch.undo()

    assert sync(folder).problems == []
    check_everything_is_there_once(folder, kit, server, 1)


def test_a_run_that_was_created_twice_after_all_is_one(folder, kit, server):
    from mlflow import MlflowClient

    client = MlflowClient(server)
    log_runs(folder, server, 1)
    assert sync(folder).problems == []
    (run,) = kit.runs(folder, folder.name, uri=server).values()
    own = {"expkit.run_id": run.data.tags["expkit.run_id"], "expkit.journal_bytes": "0"}
    client.create_run(run.info.experiment_id, 1, own, "r0")  # what a frozen server did at last

    assert sync(folder).problems == []
    check_everything_is_there_once(folder, kit, server, 1)
    assert sync(folder).problems == []
    check_everything_is_there_once(folder, kit, server, 1)


@pytest.mark.usefixtures("_short_limits")
@pytest.mark.parametrize("illness", ["html", "401", "502", "stall", "reset"])
def test_the_end_of_a_run_says_why_something_is_missing(folder, kit, server, illness, caplog):
    with IllServer(server, illness) as ill:
        begin = time.monotonic()
        with MLFlowLogger(folder, "r0", tracking_uri=ill.url, close_timeout_s=15) as tracking:
            tracking.log_params({"model": "cnn"})
            for step in range(3):
                tracking.log_metrics({"loss": float(step)}, step)
            assert time.monotonic() - begin < 5  # the training never waits
        assert time.monotonic() - begin < 20
    message = caplog.records[-1].getMessage()
    assert REASONS[illness].partition("within")[0] in message
    assert "Something is missing there" in message
    assert f"sync {folder}` sends it later" in message

    assert sync(folder, tracking_uri=server).problems == []
    check_everything_is_there_once(folder, kit, server, 1)


@pytest.mark.faults("a tracking server that freezes or restarts has everything once in the end")
def test_a_server_frozen_or_restarted_during_training_has_everything_once_at_the_end(
    tmp_path, kit, caplog, monkeypatch
):
    monkeypatch.setattr("expkit_mlflow._sync.background.RETRY_S", 0.2)
    monkeypatch.setattr(requests_to_a_server, "PROBE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(requests_to_a_server, "REQUEST_TIMEOUT_S", 2.0)
    kit.require("mlflow", kit.has("sqlalchemy"))
    folder, port = tmp_path / "results" / "digits", kit.free_port()
    steps = iter(range(10**6))
    first = kit.start_server(tmp_path, port)
    with contextlib.ExitStack() as servers:
        uri = servers.enter_context(first)
        tracking = MLFlowLogger(folder, "r0", tracking_uri=uri, close_timeout_s=60)
        tracking._start()
        tracking._background_drain._interval_s = 0.05

        def train(count=20):
            begin = time.monotonic()
            for _ in range(count):
                step = next(steps)
                tracking.log_metrics({"loss": float(step)}, step)
            tracking.flush()
            assert time.monotonic() - begin < 5

        def arrived():
            with contextlib.suppress(AssertionError, KeyError):
                return kit.runs(folder, uri=uri)["r0"].data.metrics.get("loss") is not None

        train()
        kit.wait_for(arrived, "nothing arrived")
        os.killpg(first._process.pid, signal.SIGSTOP)
        train()
        kit.wait_for(lambda: "no reply within" in caplog.text, "a frozen server went unnoticed")
        os.killpg(first._process.pid, signal.SIGCONT)
        train()
        servers.close()
        train()
        with kit.start_server(tmp_path, port):
            train()
            tracking.close()
            assert sync(folder).problems == []
            count = next(steps)
            (run,) = kit.runs(folder, uri=uri).values()
            history = kit.history(folder, run, "loss", uri=uri)
            assert history == [(step, float(step)) for step in range(count)]
            assert run.info.status == "FINISHED"
