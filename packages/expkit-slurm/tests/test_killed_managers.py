"""The manager, killed between every two steps of submitting: nothing lost, twice or forgotten."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from slurm_app import LAUNCHER, SlurmApp

# Python imports it at the start. An audit hook is called before what it is told about happens.
KILLER = """
import os
import signal
import sys

left = int(os.environ.pop("KILL_BEFORE_STEP"))
del os.environ["PYTHONPATH"]  # what this process starts is left alone
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def is_step(event, arguments):
    if event == "subprocess.Popen":
        return "sbatch" in str(arguments[0])
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
        return False
    return event in ("open", "os.mkdir", "os.rename") and "/slurm" in str(arguments[0])


def hook(event, arguments):
    global left
    if is_step(event, arguments):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(hook)
"""
# Two runs that ask for different things, so two arrays, and the job that draws afterwards.
GRID = (
    "x=0,1",
    "hydra.launcher.comment=x-${x}",
    "hydra.launcher.wait=false",
    "expkit.after=[plot]",
)
STEPS = 24  # and one more, before which nothing is left to be killed


@pytest.fixture
def new_experiment(app: SlurmApp):
    """Begin an experiment of another name."""
    app.write("killer/sitecustomize.py", KILLER)
    config = (app.folder / "conf/config.yaml").read_text()

    def begin(name: str) -> None:
        text = config.replace("experiment_id: first", f"experiment_id: {name}")
        app.write("conf/config.yaml", text)
        app.experiment_id = name
        (app.folder / "calls.txt").unlink(missing_ok=True)

    return begin


@contextmanager
def _nothing_starts(app: SlurmApp) -> Iterator[None]:
    app.cluster.run("scontrol", "update", "PartitionName=low", "State=DOWN")
    try:
        yield
    finally:
        app.cluster.run("scontrol", "update", "PartitionName=low", "State=UP")


def _submit_and_kill(app: SlurmApp, step: int) -> bool:
    sweep = app.start(
        "train.py", "-m", *LAUNCHER, *GRID,
        PYTHONPATH=str(app.folder / "killer"), KILL_BEFORE_STEP=str(step),
    )  # fmt: skip
    output, _ = sweep.communicate(timeout=60)
    assert sweep.returncode in (0, -signal.SIGKILL), output
    return sweep.returncode != 0


def _recorded_jobs(app: SlurmApp) -> list[str]:
    """The names of all jobs that Slurm has accepted, as the experiment's records say."""
    names = []
    for path in (app.experiment / "slurm").glob("*/submission.json"):
        record = json.loads(path.read_text())
        jobs = [*record["arrays"], *filter(None, [record["finaliser"]])]
        names += [job["name"] for job in jobs if job["job_id"] is not None]
    return sorted(names)


def _jobs_of_slurm(app: SlurmApp) -> list[str]:
    names = {job.name for job in app.cluster.jobs(finished=True)}
    return sorted(name for name in names if name.startswith(f"{app.experiment_id}-"))


@pytest.mark.faults("a submission that is killed anywhere is completed by the same command")
def test_the_same_command_completes_what_a_killed_submission_has_begun(
    app, new_experiment, campaign
):
    campaign.tried = min(len(campaign.rounds(3)), STEPS)
    steps = campaign.random.sample(range(1, STEPS + 1), campaign.tried)
    for step in steps:
        print("killed before step", step)
        new_experiment(f"step{step}")
        with _nothing_starts(app):
            assert _submit_and_kill(app, step)
            app.run("train.py", "-m", *LAUNCHER, *GRID)
            assert set(app.states().values()) == {"pending"}
        states = {status.state for status in app.wait().values()}
        app.cluster.wait_idle()

        assert states == {"completed"}
        assert sorted(app.calls()) == ["0 first", "1 first"]
        assert _recorded_jobs(app) == _jobs_of_slurm(app)  # so `expkit cancel` reaches each
        assert len(_jobs_of_slurm(app)) == 3  # two arrays and the job that draws: nothing twice


def test_the_steps_before_which_managers_are_killed_are_all_steps(app, new_experiment):
    new_experiment("all")
    assert not _submit_and_kill(app, STEPS + 1)


def test_an_sbatch_that_comes_through_after_its_manager_was_killed_is_told_and_trains_nothing_twice(
    app,
):
    real = app.cluster.run("which", "sbatch").strip()
    slow = f'kill -KILL "$PPID"; while [ -e away ]; do sleep 0.1; done; {real} "$@"; touch late'
    app.write("bin/sbatch", f"#!/bin/bash\n{slow}\n").chmod(0o755)
    app.touch("away", "hold")
    path = f"{app.folder / 'bin'}:{app.environ['PATH']}"
    killed = app.start("train.py", "-m", *LAUNCHER, PATH=path)
    assert killed.wait(60) == -signal.SIGKILL
    sweep = app.start("train.py", "-m", *LAUNCHER)
    app.wait_for_calls(3)
    app.remove("away")
    app.wait_for((app.folder / "late").exists)
    app.remove("hold")
    output, _ = sweep.communicate(timeout=60)
    killed.communicate()

    assert "sbatch was called before for 3 runs of these" in output
    assert "each run is trained once all the same" in output
    assert "3 completed" in output
    assert set(app.states().values()) == {"completed"}
    app.cluster.wait_idle()
    assert sorted(app.calls()) == ["0 first", "1 first", "2 first"]
    assert set(app.states().values()) == {"completed"}
