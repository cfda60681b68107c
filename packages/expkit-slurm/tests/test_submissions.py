"""Several submissions, grids and retries of one experiment: each run counts as one."""

import signal
from dataclasses import replace
from pathlib import Path

from slurm_app import LAUNCHER

from expkit_slurm import SlurmManager

ONE = "hydra.sweeper.params.x=[0]"  # a grid of one run
LATER = "+hydra.launcher.additional_parameters.begin=now+1hour"
# As two managers do that know nothing of each other.
SUBMIT = """
    from expkit_hydra import Grid
    from expkit_slurm import SlurmManager

    SlurmManager(Grid.load("results/first"), mem="100M").submit()
"""


class ForgetfulSlurm:
    """A Slurm that has forgotten all jobs."""

    def queue(self, jobs):
        return []

    def accounting(self, jobs):
        return None

    def find_job(self, name):
        return None


def submissions(app) -> list[Path]:
    return sorted((app.experiment / "slurm").iterdir())


def test_a_run_that_another_submission_has_is_neither_lost_nor_beyond_cancel(app):
    app.touch("hold")
    app.submit(ONE)
    app.wait_for_calls(1)
    first = submissions(app)[0]
    first.rename(app.folder / "hidden")
    app.write("submit.py", SUBMIT)
    app.run("submit.py")
    (app.folder / "hidden").rename(first)
    second = submissions(app)[1]
    app.wait_for(lambda: any("held by" in log.read_text() for log in second.glob("logs/*")))
    app.wait_for(lambda: len([j for j in app.cluster.jobs() if j.state == "RUNNING"]) == 1)

    statuses = app.manager().wait(3.0, lost_after_s=0.5)
    assert [status.state for status in statuses] == ["running"]
    assert "has it" in statuses[0].reason
    assert "cancelled" in app.expkit("cancel")  # the first one may still be ending
    app.cluster.wait_idle()
    assert app.record(0)["state"] == "interrupted"
    assert len(app.calls()) == 1


def test_a_run_stays_where_it_is_while_another_process_submits_it_too(app):
    app.touch("hold")
    app.submit(ONE)
    app.wait_for_calls(1)
    (first,) = app.manager().submissions()
    second = replace(first, path=first.path.with_name("9"))
    (second.path / "logs").mkdir(parents=True)
    (second.path / "runs.jsonl").write_bytes((first.path / "runs.jsonl").read_bytes())
    second.with_array(0, state="submitting", job_id=None, name="nobody").write()

    assert app.states() == {"0": "running"}
    app.remove("hold")
    assert app.wait()["0"].state == "completed"


def test_cancel_ends_the_runs_of_earlier_grids_too(app):
    app.touch("hold")
    app.submit(ONE)
    app.submit("hydra.sweeper.params.x=[5]")
    app.wait_for_calls(2)

    assert "cancelled 1 task" in app.expkit("cancel", "0")
    app.wait_for(lambda: len(app.cluster.jobs()) == 1)  # until then it may be cancelled again
    assert "cancelled 1 task" in app.expkit("cancel")
    app.cluster.wait_idle()
    assert [app.record(x)["state"] for x in (0, 5)] == ["interrupted", "interrupted"]


def test_a_retry_from_another_folder_has_the_script_and_the_python_of_the_grid(app, tmp_path):
    app.touch("fail0")
    app.sweep(ONE, code=1)
    app.remove("fail0")
    elsewhere = replace(app, folder=tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    elsewhere.run("-m", "expkit_slurm", "retry", str(app.experiment))

    assert app.wait()["0"].state == "completed"
    first, second = app.manager().submissions()
    assert second.script == first.script == str(app.folder / "gpu_scripts/grid_search_array.sh")
    assert (second.python, second.directory) == (first.python, first.directory)
    log = app.statuses()["0"].log.read_text()
    assert "as at submission" in log, log


def test_a_run_that_was_to_begin_anew_and_was_cancelled_begins_anew_when_it_is_retried(app):
    app.sweep(ONE)
    before = app.record(0)["id"]
    app.submit(ONE, "expkit.rerun=all", LATER)
    assert app.states() == {"0": "pending"}
    app.expkit("cancel")
    app.cluster.wait_idle()

    assert app.states() == {"0": "cancelled"}  # it never started, whatever is in its folder
    # As expkit.after says.
    assert "up to date when all" not in app.expkit("retry", "--begin", "now")
    assert app.wait()["0"].state == "completed"
    assert app.record(0)["id"] != before
    assert app.record(0)["attempt"] == 1
    assert len(app.calls()) == 2


def test_a_run_that_its_task_skipped_is_not_lost_when_slurm_has_forgotten_the_task(app):
    app.submit(ONE, LATER)
    (submission,) = submissions(app)
    app.run("train.py", "-m", ONE, "run_name=other_${x}")
    (job,) = app.cluster.jobs()
    app.cluster.run("scontrol", "update", f"jobid={job.id}", "starttime=now")
    app.cluster.wait_idle()

    status = SlurmManager.attach(submission, scheduler=ForgetfulSlurm()).status()[0]
    assert (status.state, status.reason) == ("skipped", "was completed as other_0 meanwhile")
    assert len(app.calls()) == 1


def test_resources_that_slurm_refuses_leave_the_others_out_of_it(app):
    config = app.folder / "conf/config.yaml"
    config.write_text(config.read_text() + "part: low\n")
    output = app.sweep(ONE, "part=nope,low", "hydra.launcher.partition=${part}", code=1)

    assert "invalid partition" in output.lower()
    assert "1 run unsubmitted" in output
    assert app.states() == {"0_nope": "unsubmitted", "0_low": "completed"}


def test_the_last_job_waits_for_all_batches(app):
    app.touch("hold")
    app.array_script('exec "$@"', "--mem=900G")  # of no node here; what the runs ask for holds
    app.submit("hydra.sweeper.max_batch_size=1", "expkit.after=[plot]", "hydra.launcher.mem=100M")
    dependencies = {
        name: after
        for name, after in (
            line.split("|")
            for line in app.cluster.run("squeue", "--noheader", "--format=%j|%E").splitlines()
        )
        if name.endswith("-after")
    }
    app.remove("hold")
    ids = {submission.arrays[0].job_id for submission in app.manager().submissions()}

    (after,) = dependencies.values()
    assert len(ids) == 3
    assert all(f"afterany:{job_id}" in after for job_id in ids), after


def test_ctrl_c_amid_the_submission_says_how_to_come_back_and_loses_nothing(app):
    real = app.cluster.run("which", "sbatch").strip()
    app.write("bin/sbatch", f'#!/bin/bash\n{real} "$@"\ntouch submitted\nsleep 60\n').chmod(0o755)
    path = f"{app.folder / 'bin'}:{app.environ['PATH']}"
    sweep = app.start("train.py", "-m", *LAUNCHER, PATH=path)
    app.wait_for((app.folder / "submitted").exists)
    sweep.send_signal(signal.SIGINT)
    output, _ = sweep.communicate(timeout=30)

    assert sweep.returncode == 130, output
    assert "Traceback" not in output
    assert "wait results/first" in output
    assert {status.state for status in app.wait().values()} == {"completed"}


def test_a_program_that_ends_before_its_app_is_no_run_without_need(app):
    script = app.folder / "train.py"
    end = 'if "SLURM_JOB_ID" in os.environ:\n    sys.exit(0)\n'
    script.write_text(script.read_text().replace("\n@hydra.main", f"\n{end}\n@hydra.main"))
    app.submit(ONE)
    status = app.wait()["0"]

    assert (status.state, status.exit_code) == ("lost", 1)
    assert "The program ends before it starts its Hydra app: sys.exit(0)" in "\n".join(
        status.last_lines
    )
