"""What goes wrong on a cluster, done to a real one: nothing is lost, hidden or run twice."""

import contextlib
import json
import re
import signal
import time

import pytest
from slurm_app import LAUNCHER


def test_a_run_that_raises_hides_no_other_and_slurm_knows_that_it_failed(app):
    app.touch("fail1")
    output = app.sweep(code=1)

    assert "2 completed, 1 failed" in output
    assert "ValueError: 1 is too much" in output
    assert app.record(1)["error"]["type"] == "ValueError"
    assert "too much" in app.log(1, "training.log")
    failed = app.statuses()["1"]
    assert (failed.state, failed.exit_code) == ("failed", 1)
    assert "ValueError: 1 is too much" in failed.log.read_text()
    app.remove("fail1")
    assert "3 completed" in app.sweep()
    assert sorted(app.calls()) == ["0 first", "1 first", "1 first", "2 first"]


def test_a_task_killed_with_sigkill_is_lost_and_the_wait_ends(app):
    app.touch("kill1")
    output = app.sweep(code=1)

    assert "2 completed, 1 lost" in output
    assert "killed by SIGKILL" in output
    assert app.states()["1"] == "lost"
    assert "lost" in app.expkit("status", code=1)
    app.remove("kill1")
    assert "3 completed" in app.sweep()  # at once, not half an hour later


def test_a_rank_that_is_killed_fails_its_run(app):
    dies = 'if os.environ["RANK"] == "1":\n        os.kill(os.getpid(), signal.SIGKILL)\n    '
    script = app.folder / "train.py"
    script.write_text(script.read_text().replace('print(f"printed', f'{dies}print(f"printed'))
    app.touch("hold")
    app.submit("hydra.sweeper.params.x=[0]", "hydra.launcher.tasks_per_run=2")
    status = app.wait()["0"]

    assert status.state == "failed"
    assert "another rank ended without a word" in status.reason
    assert "task 1: Killed" in status.log.read_text()


def test_scancel_of_a_task_ends_its_run_as_interrupted_and_leaves_the_others(app):
    app.touch("hold")
    sweep = app.start("train.py", "-m", *LAUNCHER)
    app.wait_for_calls(3)
    app.cluster.run("scancel", app.statuses()["1"].job)
    app.wait_for(lambda: app.record(1)["state"] == "interrupted", timeout_s=15)
    app.remove("hold")
    output, _ = sweep.communicate(timeout=60)

    assert sweep.returncode == 1, output
    assert "2 completed, 1 interrupted" in output
    assert "cancelled" in app.statuses()["1"].reason


def test_cancel_ends_running_runs_and_takes_pending_ones_from_the_queue(app):
    app.touch("hold")
    app.submit("hydra.launcher.array_parallelism=1")
    app.wait_for_calls(1)
    said = app.expkit("cancel")
    app.cluster.wait_idle()

    assert "cancelled 3 tasks" in said
    assert sorted(app.states().values()) == ["cancelled", "cancelled", "interrupted"]
    (one, _) = (name for name, state in app.states().items() if state == "cancelled")
    for output in (app.expkit("status", code=1), app.expkit("wait", code=1)):
        assert "1 interrupted, 2 cancelled" in output
        assert not {"pending", "running"} & set(re.findall(r"\w+", output)), output
    assert f"{one}: cancelled" in app.expkit("show", one)
    output = app.expkit("logs", one, code=1)
    assert f"{one} has printed nothing: cancelled (" in output
    assert f"retry results/first {one}` submits it again" in output
    assert "Nothing of it is in Slurm's queue" in app.expkit("cancel")
    app.remove("hold")
    assert "submitted 3 runs" in app.expkit("retry")
    assert set(app.wait()) == {"0", "1", "2"}
    assert set(app.states().values()) == {"completed"}


def test_cancel_of_one_run_leaves_the_others(app):
    app.touch("hold")
    app.submit()
    app.wait_for_calls(3)
    app.expkit("cancel", "2")
    app.wait_for(lambda: app.record(2)["state"] == "interrupted")
    app.remove("hold")

    states = {name: status.state for name, status in app.wait().items()}
    assert states == {"0": "completed", "1": "completed", "2": "interrupted"}


def test_a_requeued_task_goes_on_in_the_same_folder(app):
    app.touch("hold1")
    app.submit()
    app.wait_for_calls(3)
    app.cluster.run("scontrol", "requeue", app.statuses()["1"].job)
    app.wait_for(lambda: app.states()["1"] == "pending", timeout_s=30)
    app.wait_for_calls(4)
    assert app.states()["1"] == "running"
    app.remove("hold1")
    app.wait()

    assert app.states() == {"0": "completed", "1": "completed", "2": "completed"}
    record = app.record(1)
    assert (record["attempt"], record["slurm"]["restart_count"]) == (2, 1)
    assert app.log(1).count("printed by 1") == 2
    assert "--- attempt 2" in app.log(1)


def test_a_controller_that_restarts_disturbs_no_wait(app):
    app.touch("hold")
    sweep = app.start("train.py", "-m", *LAUNCHER)
    app.wait_for_calls(3)
    app.cluster.stop_controller()
    time.sleep(2)
    app.cluster.start_controller()
    app.remove("hold")
    output, _ = sweep.communicate(timeout=90)

    assert sweep.returncode == 0, output
    assert "3 completed" in output


def test_while_the_controller_is_away_nothing_is_submitted_twice(impatient_app):
    app = impatient_app
    app.touch("hold")
    app.submit("hydra.launcher.array_parallelism=1")
    app.wait_for_calls(1)
    app.cluster.stop_controller()
    try:
        output = app.sweep(code=1)
    finally:
        app.cluster.start_controller()
    app.remove("hold")
    app.wait()

    assert "Slurm does not answer" in output
    assert len(app.calls()) == 3


@pytest.mark.parametrize("moment", ["before sbatch", "after sbatch"])
def test_a_manager_killed_during_submission_leaves_nothing_twice_and_nothing_out(app, moment):
    # sbatch as the manager finds it: killed with its parent before or after the real one.
    real = app.cluster.run("which", "sbatch").strip()
    killer = 'kill -KILL "$PPID"; exit 1' if moment == "before sbatch" else 'kill -KILL "$PPID"'
    call = "" if moment == "before sbatch" else f'{real} "$@"\n'
    path = app.write("bin/sbatch", f"#!/bin/bash\n{call}{killer}\n")
    path.chmod(0o755)
    environ = app.environ
    app.touch("hold")
    process = app.start("train.py", "-m", *LAUNCHER, PATH=f"{app.folder / 'bin'}:{environ['PATH']}")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    record = json.loads(next((app.experiment / "slurm").glob("*/submission.json")).read_text())
    assert record["arrays"][0]["state"] == "submitting"

    states = set(app.states().values())
    app.remove("hold")
    output = app.sweep()

    assert states <= ({"unsubmitted"} if moment == "before sbatch" else {"pending", "running"})
    assert "3 completed" in output
    assert sorted(app.calls()) == ["0 first", "1 first", "2 first"]


def test_a_manager_killed_while_it_waits_is_replaced_by_any_other(app):
    app.touch("hold")
    sweep = app.start("train.py", "-m", *LAUNCHER)
    app.wait_for_calls(3)
    sweep.kill()
    sweep.communicate()
    app.remove("hold")

    output = app.expkit("wait")
    assert "3 completed" in output
    assert len(app.calls()) == 3


def test_ctrl_c_leaves_the_jobs_running_and_says_how_to_come_back(app):
    app.touch("hold")
    sweep = app.start("train.py", "-m", *LAUNCHER)
    app.wait_for_calls(3)
    sweep.send_signal(signal.SIGINT)
    output, _ = sweep.communicate(timeout=60)

    assert sweep.returncode == 130, output
    assert "wait results/first" in output
    assert "cancel results/first" in output
    app.remove("hold")
    assert {status.state for status in app.wait().values()} == {"completed"}


def test_two_managers_on_one_grid_run_each_run_once(app):
    managers = [app.start("train.py", "-m", *LAUNCHER, "x=range(8)") for _ in range(2)]
    outputs = [manager.communicate(timeout=120)[0] for manager in managers]

    assert [manager.returncode for manager in managers] == [0, 0], outputs
    assert sorted(app.calls()) == [f"{x} first" for x in range(8)]


def test_runs_that_were_submitted_twice_are_run_once(app):
    app.touch("hold")
    app.submit("hydra.launcher.array_parallelism=1")
    app.wait_for_calls(1)
    first = next((app.experiment / "slurm").iterdir())
    hidden = app.folder / "hidden"
    first.rename(hidden)  # as if the other manager had not seen it
    app.submit()
    with contextlib.suppress(FileNotFoundError):
        hidden.rename(first)
    app.wait_for_calls(3)
    app.remove("hold")
    app.cluster.wait_idle()

    assert sorted(app.calls()) == ["0 first", "1 first", "2 first"]
    assert set(app.states().values()) == {"completed"}


@pytest.mark.parametrize(("code", "state"), [("'no data'", "failed"), ("0", "completed")])
def test_a_rank_that_calls_exit_says_with_the_code_how_the_run_ended(app, code, state):
    script = app.folder / "train.py"
    leave = (
        f'if os.environ["RANK"] == "1":\n        sys.exit({code})\n    time.sleep(2)\n    print('
    )
    script.write_text(script.read_text().replace("print(", leave, 1))
    app.submit("hydra.sweeper.params.x=[0]", "hydra.launcher.tasks_per_run=2")

    assert app.wait()["0"].state == state
    if state == "failed":
        assert app.record(0)["error"]["message"] == "rank 1: SystemExit: no data"


def test_too_many_failures_end_the_others_when_asked_to(app):
    app.touch("fail0", "hold0", "hold1", "hold2")
    sweep = app.start("train.py", "-m", *LAUNCHER, "hydra.launcher.stop_after_failures=1")
    app.wait_for_calls(3)  # a run that is cancelled before it starts is no interrupted one
    app.remove("hold0")
    output, _ = sweep.communicate(timeout=60)

    assert sweep.returncode == 1, output
    assert "1 failed" in output
    assert "2 interrupted" in output


def test_a_results_folder_that_cannot_be_written_is_said_before_anything_is_submitted(app):
    app.write("blocked", "a file\n")
    output = app.sweep("results_dir=blocked", code=1)

    assert "cannot be written" in output or "Not a directory" in output
    assert app.cluster.jobs() == []


def test_a_run_folder_that_cannot_be_written_loses_no_other_run(app):
    app.touch("hold")
    app.submit("hydra.launcher.array_parallelism=1")
    app.wait_for_calls(1)
    (app.experiment / "training" / "2").write_text("in the way")
    app.remove("hold")
    statuses = app.wait()

    assert {name: status.state for name, status in statuses.items()} == {
        "0": "completed",
        "1": "completed",
        "2": "lost",
    }
    assert "The run folder cannot be used" in "\n".join(statuses["2"].last_lines)


def test_a_script_that_fails_before_python_is_told_with_its_last_lines(app):
    app.array_script('echo "module: no such module" >&2; exit 3\nexec "$@"', "--mem=100M")
    output = app.sweep("x=0,1", code=1)

    assert "2 lost" in output
    assert "exit code 3" in output
    assert "module: no such module" in output


def test_a_script_that_starts_its_app_without_a_guard_runs_as_it_does_here(app):
    script = app.folder / "train.py"
    guarded = 'if __name__ == "__main__":\n    main()'
    script.write_text(script.read_text().replace(guarded, "main()"))
    app.sweep("x=0,1")

    assert sorted(app.calls()) == ["0 first", "1 first"]


def test_a_partition_that_does_not_exist_is_slurms_word_and_no_run(app):
    output = app.sweep("hydra.launcher.partition=nope", code=1)

    assert "invalid partition" in output.lower()
    assert set(app.states().values()) == {"unsubmitted"}


def test_without_slurm_the_error_names_the_launcher_for_this_machine(app):
    process = app.start("train.py", "-m", *LAUNCHER, PATH="/nowhere", SLURM_CONF="/nowhere")
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "sbatch" in output
    assert "hydra/launcher=expkit" in output


def test_without_a_controller_the_error_says_so_and_what_to_check(app):
    # As where no slurm.conf is found, which sbatch reports in other words; see test_scheduler.py.
    conf = app.write("slurm.conf", "")
    process = app.start("train.py", "-m", *LAUNCHER, SLURM_CONF=str(conf))
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "No Slurm controller was found from this machine" in output
    for word in ("sinfo", "SLURM_CONF", "login node", "Without hydra/launcher=expkit_slurm"):
        assert word in output
    assert "#SBATCH" not in output


def test_what_was_never_submitted_is_told_with_the_next_step(app):
    app.touch("fail1")
    app.run("train.py", "-m", code=1)

    output = app.expkit("retry", code=2)
    assert "Nothing of results/first was submitted to Slurm" in output
    assert "Run the sweep's command again: it runs what is missing" in output


def test_retry_says_that_conf_has_changed_and_uses_what_was_frozen(app):
    app.touch("fail1")
    app.sweep(code=1)
    app.remove("fail1")
    config = app.folder / "conf/config.yaml"
    config.write_text(config.read_text().replace("note: first", "note: second"))
    output = app.expkit("retry", "--state", "failed", "--mem", "150M")

    assert "conf/config.yaml changed since the grid was submitted" in output
    assert "submitted 1 run:" in output
    assert app.wait()["1"].state == "completed"
    assert app.calls()[-1] == "1 first"
    newest = max((app.experiment / "slurm").iterdir())
    record = json.loads((newest / "submission.json").read_text())
    assert ["mem", "150M"] in record["arrays"][0]["options"]


def test_a_task_says_which_code_it_runs_and_what_changed_since_submission(app):
    app.touch("hold")
    app.submit("hydra.launcher.array_parallelism=1")
    app.wait_for_calls(1)
    script = app.folder / "train.py"
    script.write_text(script.read_text() + "# edited\n")
    app.remove("hold")
    logs = [status.log.read_text() for status in app.wait().values()]

    assert sum("as at submission" in log for log in logs) == 1
    assert sum("train.py changed since" in log for log in logs) == 2


def test_a_status_changes_nothing(app):
    app.touch("hold")
    app.submit()
    app.wait_for_calls(3)
    before = {path: path.read_bytes() for path in app.experiment.rglob("*.json")}
    app.expkit("status")
    app.states()
    app.remove("hold")
    after = {path: path.read_bytes() for path in before if path.name != "run.json"}

    assert after == {path: data for path, data in before.items() if path.name != "run.json"}
    assert {status.state for status in app.wait().values()} == {"completed"}
