"""What sinks are told, and when."""

import json
import threading
from pathlib import Path

import pytest

from expkit_bookkeeping import Bookkeeping


class Recorder:
    """A sink that notes its calls."""

    def __init__(self):
        self.calls, self.flushed_in = [], []
        self.may_flush = threading.Event()
        self.may_flush.set()

    def open(self, run, config):
        self.folder = run["folder"]
        self.calls.append("open")

    def log_metrics(self, metrics, step, time):
        self.calls.append(step)

    def log_artifact(self, path):
        pass

    def log_timer(self, name, statistics):
        self.calls.append(name)

    def flush(self):
        assert self.may_flush.wait(60)
        self.flushed_in.append(threading.current_thread())
        state = json.loads(Path(self.folder, "run.json").read_text())["state"]
        self.calls.append((state, [path.name for path in Path(self.folder, "states").glob("*")]))

    def close(self, state):
        self.calls.append(state)


class Reconciling(Recorder):
    def reconcile(self, points, *, cut):
        self.calls.append((cut, [(dict(metrics), step) for metrics, step, _ in points]))


class Failing(Recorder):
    def reconcile(self, points, *, cut):
        raise OSError("no room")


def test_a_checkpoint_gets_its_name_after_the_sinks_are_flushed(tmp_path):
    pytest.importorskip("torch")
    sink = Recorder()
    with Bookkeeping(tmp_path, sinks=[sink], console=False) as run:
        run.log_metrics({"loss": 1.0}, step=0)
        run.save_checkpoint(0, best=1)
    at_end = ("running", ["epoch_0000.pt"])
    assert sink.calls == ["open", 0, ("running", []), at_end, "completed"]
    assert set(sink.flushed_in) == {threading.main_thread()}


def test_a_run_is_completed_after_the_sinks_have_all_that_was_logged(tmp_path):
    class Epoch:
        def save(self, path):
            path.write_text("epoch: {count: 3}\n")

    sink = Recorder()
    with Bookkeeping(tmp_path, sinks=[sink], console=False) as run:
        run.save_timer(Epoch())
        run.log_metrics({"accuracy": 1.0}, step=0)  # after the last checkpoint
    assert sink.calls == ["open", 0, "epoch", ("running", []), "completed"]


def test_in_the_background_the_training_does_not_wait_for_the_sinks(tmp_path):
    pytest.importorskip("torch")
    sink = Recorder()
    with Bookkeeping(tmp_path, sinks=[sink], console=False) as run:
        sink.may_flush.clear()
        path = run.save_checkpoint(0, best=1, background=True)
        run.log_metrics({"loss": 1.0}, step=1)
        assert not path.exists()
        sink.may_flush.set()
        run.wait_for_checkpoint()
        assert path.exists()
    assert sink.calls[:3] == ["open", 1, ("running", [])]
    assert sink.flushed_in[0] is not threading.main_thread()


def test_a_sink_learns_what_was_logged_before_and_what_resume_has_cut(tmp_path):
    pytest.importorskip("torch")
    with Bookkeeping(tmp_path, console=False) as run:
        run.log_metrics({"loss": 1.0}, step=0)
        run.save_checkpoint(0)
        run.log_metrics({"loss": 0.5}, step=1)
        run.close("interrupted")
    sink = Reconciling()
    with Bookkeeping(tmp_path, sinks=[sink, Recorder()], console=False) as run:
        run.resume()
        run.log_metrics({"loss": 0.4}, step=1)
    assert sink.calls == [
        "open",
        (False, [({"loss": 1.0}, 0), ({"loss": 0.5}, 1)]),
        (True, [({"loss": 1.0}, 0)]),
        1,
        ("running", ["epoch_0000.pt"]),
        "completed",
    ]


def test_a_sink_that_cannot_reconcile_is_reported_once_and_stays(tmp_path):
    pytest.importorskip("torch")
    with Bookkeeping(tmp_path, console=False) as run:
        run.log_metrics({"loss": 1.0}, step=0)
    sink = Failing()
    with Bookkeeping(tmp_path, sinks=[sink], console=False) as run:
        assert run.resume() == 0
        run.log_metrics({"loss": 0.4}, step=0)
    assert sink.calls == ["open", 0, ("running", []), "completed"]
    log = (tmp_path / "training.log").read_text()
    assert log.count("Failing.reconcile failed") == 1
    assert "no room" in log
