"""How a run of a task ends: recorded whatever ended it, and "saved" only where that is true."""

import pytest
from slurm_app import RESUMABLE

SCRIPT = """
import asyncio
import sys

import hydra


class Odd(BaseException):
    def __str__(self):
        raise self


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    if cfg.x == 0:
        raise ValueError(b"caf\\xe9.wav\\x1b[2J".decode("utf-8", "surrogateescape"))
    if cfg.x == 1:
        raise asyncio.CancelledError
    if cfg.x == 2:
        raise Odd
    if cfg.x == 3:
        sys.exit([0])
    if cfg.x == 4:
        raise ValueError("x" * 10_000_000)


if __name__ == "__main__":
    main()
"""
ERRORS = {0: "ValueError", 1: "CancelledError", 2: "Odd", 3: "SystemExit", 4: "ValueError"}


@pytest.mark.parametrize("per_task", [1, 6])
def test_each_ending_of_a_task_is_recorded_and_the_other_runs_go_on(app, per_task):
    app.write("train.py", SCRIPT)
    output = app.sweep("x=range(6)", f"hydra.launcher.runs_per_task={per_task}", code=1)

    assert "1 completed, 5 failed" in output
    assert app.record(5)["state"] == "completed"
    errors = {x: app.record(x)["error"]["type"] for x in ERRORS}
    assert errors == ERRORS
    assert app.record(0)["error"]["message"] == "caf\\udce9.wav\x1b[2J"
    assert len(app.record(4)["error"]["message"]) < 20_000
    shown = app.expkit("status", code=1) + app.expkit("show", "0") + app.expkit("logs", "0")
    assert "\x1b" not in output + shown + app.expkit("wait", code=1)
    assert app.statuses()["1"].exit_code == 1


@pytest.mark.parametrize("asked", [False, True])
def test_a_preempted_run_that_saved_nothing_says_so_and_goes_back_only_if_asked_to(app, asked):
    app.write("train.py", RESUMABLE.replace("run.save_checkpoint(epoch, model=state)", "pass"))
    app.array_script('exec "$@"', "--mem=100M", "--nodelist=node1", "--cpus-per-task=2")
    # It starts over at once, and then has an end.
    app.submit(
        "hydra.sweeper.params.x=[0]", f"epochs={60 if asked else 1000}", "pause_s=0.1",
        f"hydra.launcher.requeue_without_checkpoint={str(asked).lower()}",
    )  # fmt: skip
    app.wait_for(lambda: (app.folder / "epoch0").exists())
    app.cluster.run(
        "sbatch", "--partition=high", "--nodelist=node1", "--cpus-per-task=2", "--mem=100M",
        "--output=/dev/null", "--wrap=sleep 1",
    )  # fmt: skip
    status = app.wait(timeout_s=120)["0"]
    log = status.log.read_text()

    assert "state saved" not in log
    if asked:
        assert status.state == "completed"
        assert "stopped by preemption, nothing was saved, requeued (1 of 3)" in log
        return
    reason = "preempted: nothing was saved; not requeued (requeue_without_checkpoint=false)"
    assert (status.state, status.reason) == ("interrupted", reason)
    answers = app.expkit("wait", code=1), app.expkit("status", code=1), app.expkit("show", "0")
    for output in answers:
        assert reason in " ".join(output.split())
        assert "goes on from there" not in output
