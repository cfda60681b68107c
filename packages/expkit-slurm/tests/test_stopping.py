"""Time limits and preemption on a real cluster: saved, requeued, and bit-equal at the end."""

import json
import time

import pytest
from slurm_app import RESUMABLE

EPOCHS = 40
# With a time limit of a minute, the least that Slurm has. It looks every 30 s whether to warn, and
# warns as much earlier: between 10 and 40 s after the start, when a run has saved a checkpoint.
WARNED = "hydra.launcher.signal_delay_s=20"
ONE = "hydra.sweeper.params.x=[0]"  # a grid of one run


@pytest.fixture
def resumable(app):
    """An app whose run takes as long as `pause_s` says, and resumes from its checkpoints."""
    app.write("train.py", RESUMABLE)
    return app


def curve(app, experiment, run_name):
    path = app.folder / "results" / experiment / "training" / run_name / "metrics.jsonl"
    return [(row["step"], row["metrics"]) for row in map(json.loads, path.read_text().splitlines())]


def preempt(app):
    """Let a job of more importance want all of node1."""
    app.cluster.run(
        "sbatch", "--partition=high", "--nodelist=node1", "--cpus-per-task=2", "--mem=100M",
        "--output=/dev/null", "--wrap=sleep 1",
    )  # fmt: skip


@pytest.mark.parametrize("ending", ['exec "$@"', '"$@"'])
def test_a_time_limit_in_the_middle_is_resumed_and_bit_equal_to_an_uninterrupted_run(
    resumable, ending
):
    # Where bash stays in between, no signal arrives, and the time that is left decides.
    app = resumable
    app.array_script(ending, "--mem=100M", "--time=00:01:00")
    app.run("train.py", "x=0", f"epochs={EPOCHS}", "experiment_id=undisturbed")
    app.submit(
        ONE, f"epochs={EPOCHS}", "pause_s=1.1", "hydra.launcher.max_requeues_timeout=9", WARNED
    )
    statuses = app.wait(timeout_s=300)

    assert statuses["0"].state == "completed", statuses["0"].log.read_text()
    record = app.record(0)
    assert record["attempt"] >= 2
    assert curve(app, "first", "0") == curve(app, "undisturbed", "0")
    assert [step for step, _ in curve(app, "first", "0")] == list(range(EPOCHS))
    assert "stopped by timeout, requeued (1 of 9)" in statuses["0"].log.read_text()
    assert "attempt 2" in app.log(0, "training.log")


def test_without_requeues_the_time_limit_leaves_the_run_interrupted_and_says_so(resumable):
    app = resumable
    app.array_script('exec "$@"', "--mem=100M", "--time=00:01:00")
    swept = app.sweep(ONE, "epochs=1000", "pause_s=0.5", WARNED, code=1)
    status = app.statuses()["0"]
    why = "time limit: state saved; not requeued (max_requeues_timeout=0)"
    advice = "results/first` goes on from there"

    assert status.state == "interrupted"
    assert status.exit_code not in (None, 0)
    assert (status.reason, why in status.log.read_text()) == (why, True)
    assert swept.count(f"0 interrupted: {why}; `") == 2, swept  # as it happens, and at the end
    assert f"Run 0 did not complete: interrupted: {why}; `" in swept
    for output in (
        swept,
        app.expkit("wait", code=1),
        app.expkit("status", code=1),
        app.expkit("show", "0"),
    ):
        assert why in " ".join(output.split())
        assert advice in output
        assert "SIGINT" not in output
    assert "submitted 1 run:" in app.expkit("retry")
    app.expkit("cancel")


def test_a_run_that_is_preempted_saves_goes_back_into_the_queue_and_resumes(resumable):
    app = resumable
    app.array_script('exec "$@"', "--mem=100M", "--nodelist=node1", "--cpus-per-task=2")
    app.submit(ONE, f"epochs={EPOCHS}", "pause_s=0.1")
    app.wait_for(lambda: (app.folder / "epoch0").exists())
    preempt(app)
    status = app.wait(timeout_s=120)["0"]

    assert status.state == "completed"
    assert app.record(0)["attempt"] == 2
    assert "stopped by preemption, requeued (1 of 3)" in status.log.read_text()
    assert [step for step, _ in curve(app, "first", "0")] == list(range(EPOCHS))


def test_a_run_that_is_preempted_once_too_often_says_so(resumable):
    app = resumable
    app.array_script('exec "$@"', "--mem=100M", "--nodelist=node1", "--cpus-per-task=2")
    app.submit(ONE, "epochs=1000", "pause_s=0.1", "hydra.launcher.max_requeues_preempt=0")
    app.wait_for(lambda: (app.folder / "epoch0").exists())
    preempt(app)
    status = app.wait(timeout_s=120)["0"]

    assert status.state == "interrupted"
    assert status.reason == "preempted: state saved; not requeued (max_requeues_preempt=0)"


def test_scancel_leaves_a_run_interrupted_within_killwait_and_says_what_ended_it(resumable):
    app = resumable
    app.submit(ONE, "epochs=1000", "pause_s=0.1")
    app.wait_for(lambda: (app.folder / "epoch0").exists())
    begin = time.monotonic()
    app.cluster.run("scancel", app.statuses()["0"].job)
    app.wait_for(lambda: app.record(0)["state"] != "running", timeout_s=20)

    assert app.record(0)["state"] == "interrupted"
    assert time.monotonic() - begin < 5  # KillWait
    app.cluster.wait_idle()
    assert app.states() == {"0": "interrupted"}
    output = app.expkit("status", code=1)
    assert "stopped by SIGTERM (scancel?)" in output
    assert "SystemExit" not in output


def test_scancel_reaches_a_run_in_a_step_of_its_own(resumable):
    app = resumable
    app.array_script('srun "$@"', "--mem=100M")
    app.submit(ONE, "epochs=1000", "pause_s=0.1")
    app.wait_for(lambda: (app.folder / "epoch0").exists())
    app.cluster.run("scancel", app.statuses()["0"].job)
    app.cluster.wait_idle()

    assert app.record(0)["state"] == "interrupted"


def test_with_a_shell_in_between_scancel_may_kill_a_run_which_then_resumes(resumable):
    app = resumable
    app.array_script('"$@"', "--mem=100M")
    said = app.submit(ONE, "epochs=30", "pause_s=0.1")
    app.wait_for(lambda: (app.folder / "epoch0").exists())
    app.cluster.run("scancel", app.statuses()["0"].job)
    app.cluster.wait_idle()

    assert 'Write exec "$@" as its last line' in said
    assert app.states()["0"] in ("interrupted", "lost")
    assert "submitted 1 run:" in app.expkit("retry")
    assert app.wait()["0"].state == "completed"
    assert [step for step, _ in curve(app, "first", "0")] == list(range(30))


def test_packed_runs_that_are_preempted_go_on_where_they_were(resumable):
    app = resumable
    app.array_script('exec "$@"', "--mem=300M", "--nodelist=node1", "--cpus-per-task=2")
    app.submit("x=0,1,2,3", "epochs=20", "pause_s=0.1", "hydra.launcher.runs_per_task=4")
    app.wait_for(lambda: (app.folder / "epoch1").exists())
    preempt(app)
    statuses = app.wait(timeout_s=120)

    assert {status.state for status in statuses.values()} == {"completed"}
    assert [app.record(x)["attempt"] for x in range(4)] == [1, 2, 1, 1]
    for x in range(4):
        assert [step for step, _ in curve(app, "first", str(x))] == list(range(20))


def test_a_run_of_several_processes_that_is_preempted_goes_on_where_it_was(resumable):
    app = resumable
    app.array_script('exec "$@"', "--mem=100M", "--nodelist=node1")
    app.submit(ONE, "epochs=20", "pause_s=0.1", "hydra.launcher.tasks_per_run=2")
    app.wait_for(lambda: (app.folder / "epoch0").exists())
    preempt(app)
    status = app.wait(timeout_s=120)["0"]

    assert status.state == "completed"
    assert app.record(0)["attempt"] == 2
    assert status.log.read_text().count("stopped by preemption, requeued (1 of 3)") == 1
    assert [step for step, _ in curve(app, "first", "0")] == list(range(20))


def test_scancel_of_a_run_of_several_processes_is_not_taken_for_a_killed_rank(resumable):
    app = resumable
    app.submit(ONE, "epochs=1000", "pause_s=0.1", "hydra.launcher.tasks_per_run=2")
    app.wait_for(lambda: (app.folder / "epoch0").exists())
    app.cluster.run("scancel", app.statuses()["0"].job)
    app.cluster.wait_idle()

    assert app.record(0)["state"] == "interrupted"
