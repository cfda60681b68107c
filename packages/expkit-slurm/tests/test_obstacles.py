"""Jobs that do not start by themselves, on a real cluster: the reason is shown, and what to do."""

import re
import shlex

import pytest


def count(text: str, output: str) -> int:
    return sum(text in line for line in output.splitlines())


def failed_job(app) -> str:
    job = app.cluster.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=exit 1").strip()
    app.wait_for(lambda: "FAILED" in app.cluster.run("squeue", "--states=all", "-ho%T", f"-j{job}"))
    return job


def test_held_runs_are_waited_for_and_the_printed_command_releases_them(app):
    app.array_script('exec "$@"', "--cpus-per-task=1", "--mem=100M", "--hold")
    app.submit()

    waiting = app.expkit("wait", "--timeout", "3", code=1)
    assert count("3 runs wait: JobHeldUser; held until", waiting) == 1
    assert "The time is over; the jobs keep running." in waiting
    status = app.expkit("status", code=1)
    (release,) = re.findall(r"`(scontrol release \d+)`", status)
    assert release in waiting

    app.cluster.run(*shlex.split(release))
    assert set(app.expkit("wait").split()) >= {"3", "completed"}
    assert "release" not in app.expkit("status")


@pytest.mark.parametrize("start", ["sweep", "wait"])
def test_a_wait_ends_when_what_is_left_can_never_start(app, start):
    job = failed_job(app)
    dependency = f"hydra.launcher.dependency=afterok:{job}"
    if start == "sweep":
        output = app.sweep(dependency, code=1)
    else:
        app.submit(dependency)
        output = app.expkit("wait", code=1)

    line = "3 runs wait: DependencyNeverSatisfied; it can never start"
    assert line in output
    assert "3 pending" in output
    (cancel,) = set(re.findall(r"`(scancel \d+)`", output))
    app.cluster.run(*shlex.split(cancel))
    assert "3 completed" in app.sweep()


def test_what_requeue_holds_starts_after_its_release(app):
    app.touch("hold")
    process = app.start(
        "train.py", "-m", "hydra/launcher=expkit_slurm", "hydra.launcher.poll_s=0.3"
    )
    app.wait_for_calls(3)
    status = app.statuses()["1"]
    app.cluster.run("scontrol", "requeuehold", str(status.job))
    app.wait_for(lambda: app.statuses()["1"].obstacle == "held")
    app.remove("hold")
    app.wait_for(lambda: app.states()["0"] == app.states()["2"] == "completed")
    said = ""
    while "; held until" not in said:  # the sweep asks Slurm from time to time, too
        line = process.stdout.readline()
        assert line, said
        said += line

    (release,) = re.findall(r"`(.*)`", str(app.statuses()["1"].advice))
    app.cluster.run(*shlex.split(release))
    output = said + process.communicate(timeout=120)[0]
    assert "3 completed" in output
    assert len(re.findall("1 waits: .*; held until `scontrol release", output)) == 1, output
