"""Many short runs in one task: each its own process, folder, log and state."""

import os
import signal
from pathlib import Path


def test_200_short_runs_share_eight_tasks(app):
    output = app.sweep("x=range(200)", "hydra.launcher.runs_per_task=25")

    assert "submitted 200 runs in 8 tasks" in output
    assert "200 completed" in output
    assert len(app.calls()) == len(set(app.calls())) == 200
    (submission,) = (app.experiment / "slurm").iterdir()
    logs = [path.read_text() for path in (submission / "logs").iterdir()]
    assert len(logs) == 8
    assert all("forked from one process with the imports" in log for log in logs)
    pids = {app.record(x)["pid"] for x in range(200)}
    assert len(pids) == 200


def test_a_packed_run_that_fails_or_is_killed_stops_no_other(app):
    app.touch("fail1", "kill2")
    output = app.sweep("x=range(5)", "hydra.launcher.runs_per_task=5", code=1)

    assert "3 completed, 1 lost, 1 failed" in output
    assert app.record(1)["error"]["message"] == "1 is too much"
    assert "printed by 1" in app.log(1)
    assert "printed by 2" in app.log(2)
    assert app.states()["2"] == "lost"
    app.remove("fail1", "kill2")
    output = app.sweep("x=range(5)", "hydra.launcher.runs_per_task=5")
    assert "submitted 2 runs in 1 task" in output
    assert "5 completed" in output


def test_a_task_whose_process_is_killed_leaves_none_of_its_runs_behind(app):
    app.touch("hold1")
    app.submit("hydra.launcher.runs_per_task=3")
    app.wait_for(lambda: "1 first" in app.calls())
    process = Path(f"/proc/{app.record(1)['pid']}/stat").read_text()
    os.kill(int(process.rpartition(")")[2].split()[1]), signal.SIGKILL)  # its parent
    statuses = app.wait()

    assert [status.state for status in statuses.values()] == ["completed", "interrupted", "lost"]
    assert statuses["2"].reason == "killed by SIGKILL, before the run started"
    app.remove("hold1")
    app.expkit("retry")
    assert {status.state for status in app.wait().values()} == {"completed"}
    assert sorted(app.calls()) == ["0 first", "1 first", "1 first", "2 first"]


def test_packed_runs_run_at_a_time_as_many_as_asked_for(app):
    app.touch("hold")
    app.submit("x=range(4)", "hydra.launcher.runs_per_task=4", "hydra.launcher.parallel_per_task=2")
    app.wait_for_calls(2)

    assert sorted(app.states().values()) == ["pending", "pending", "running", "running"]
    app.remove("hold")
    assert {status.state for status in app.wait().values()} == {"completed"}


def test_imports_that_leave_threads_make_runs_spawned_and_the_log_says_so(app):
    script = app.folder / "train.py"
    thread = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
    script.write_text(f"import threading\n{thread}\n{script.read_text()}")
    app.sweep("hydra.launcher.runs_per_task=3")

    (log,) = (app.experiment / "slurm").glob("*/logs/*.log")
    assert "each spawned: the imports left 2 threads" in log.read_text()
    assert len(app.calls()) == 3
