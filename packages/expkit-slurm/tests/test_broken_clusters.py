"""A cluster that breaks while runs are submitted and trained: dead nodes, full disks, restarts."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_app import LAUNCHER, RESUMABLE, SlurmApp

COMPLETED = {"completed"}
IN_LONG = int(os.environ.get("EXPKIT_FAULTS", "1")) > 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes in the app's folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def _fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"0" * size)
    return filler


def _steps(app: SlurmApp, run_name: str) -> list[int]:
    path = app.experiment / "training" / run_name / "metrics.jsonl"
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def _holding(app: SlurmApp) -> None:
    """Let the epochs from the second on wait while there is a file `hold`."""
    wait = '            while epoch and Path("hold").exists():\n                time.sleep(0.02)\n'
    started = '            Path(f"at{epoch}_{cfg.x}_{restarts}").touch()\n'
    sleeps = "            time.sleep(cfg.pause_s)\n"
    counts = '    restarts = os.environ.get("SLURM_RESTART_COUNT", 0)\n    state = State()\n'
    script = RESUMABLE.replace("    state = State()\n", counts)
    app.write("train.py", script.replace(sleeps, started + wait + sleeps))
    app.touch("hold")


@pytest.mark.faults("whatever happens to a cluster, each run is trained once and goes on")
def test_a_run_whose_node_is_out_of_reach_goes_on_elsewhere_and_the_old_process_adds_nothing(app):
    _holding(app)
    app.submit("x=1,2", "epochs=8")
    app.wait_for(lambda: len(list(app.folder.glob("at1_*"))) == 2)
    node, pid = app.statuses()["1"].node, app.record(1)["pid"]
    app.cluster.kill_node(node)  # its processes go on, as behind a broken network
    try:
        app.cluster.mark_down(node)
        app.wait_for(
            (app.folder / "at1_1_1").exists
        )  # with the checkpoint that the old process saved
        assert Path(f"/proc/{pid}").exists()
        app.remove("hold")  # both go on
        states = {status.state for status in app.wait().values()}
    finally:
        app.cluster.start_node(node)

    assert states == COMPLETED
    assert app.statuses()["1"].node != node
    assert app.record(1)["attempt"] == 2
    assert _steps(app, "1") == _steps(app, "2") == list(range(8))
    assert app.record(1)["metrics"] == app.record(2)["metrics"]


@pytest.mark.faults("whatever happens to a cluster, each run is trained once and goes on")
@pytest.mark.skipif(not IN_LONG, reason="ten seconds more, for the campaign: EXPKIT_FAULTS=2")
def test_the_power_of_a_node_fails_under_a_packed_task(app):
    app.touch("hold")
    app.submit("x=range(4)", "hydra.launcher.runs_per_task=4", "hydra.launcher.parallel_per_task=2")
    app.wait_for_calls(2)
    node = app.statuses()["0"].node
    app.cluster.kill_node(node, jobs=True)
    try:
        app.cluster.mark_down(node)
        app.wait_for_calls(4)  # the same two again
        app.remove("hold")
        states = {status.state for status in app.wait().values()}
    finally:
        app.cluster.start_node(node)

    assert states == COMPLETED
    attempts = [app.record(x)["attempt"] for x in range(4)]
    assert attempts == [2, 2, 1, 1]


@pytest.mark.faults("whatever happens to a cluster, each run is trained once and goes on")
def test_scancel_of_a_packed_task_interrupts_what_runs_and_starts_nothing_more(app):
    app.touch("hold")
    packed = ("x=range(4)", "hydra.launcher.runs_per_task=4", "hydra.launcher.parallel_per_task=2")
    app.submit(*packed)
    app.wait_for_calls(2)
    (job,) = app.cluster.jobs()
    app.cluster.run("scancel", str(job.id))
    app.cluster.wait_idle()
    statuses = app.wait()

    states = [statuses[str(x)].state for x in range(4)]
    assert states == ["interrupted", "interrupted", "cancelled", "cancelled"]
    assert len(app.calls()) == 2
    app.remove("hold")
    assert "4 completed" in app.sweep(*packed)
    assert sorted(app.calls()) == sorted([f"{x} first" for x in (0, 0, 1, 1, 2, 3)])


@pytest.mark.faults("whatever happens to a cluster, each run is trained once and goes on")
def test_a_controller_that_restarts_amid_a_submission_gets_each_array_once(impatient_app):
    app = impatient_app
    real = app.cluster.run("which", "sbatch").strip()
    script = f'{real} "$@"\ncode=$?\n[ $code = 0 ] && touch first\n'
    script += "while [ ! -e go ]; do sleep 0.05; done\nexit $code"
    app.write("bin/sbatch", f"#!/bin/bash\n{script}\n").chmod(0o755)
    path = f"{app.folder / 'bin'}:{app.environ['PATH']}"
    sweep = app.start("train.py", "-m", *LAUNCHER, "hydra.launcher.comment=x-${x}", PATH=path)
    app.wait_for((app.folder / "first").exists)
    app.cluster.stop_controller()
    app.touch("go")
    (submission,) = (app.experiment / "slurm").iterdir()
    record = submission / "submission.json"
    states = ["submitted", "submitting", "planned"]
    app.wait_for(
        lambda: [array["state"] for array in json.loads(record.read_text())["arrays"]] == states
    )
    app.cluster.start_controller()
    output, _ = sweep.communicate(timeout=100)

    assert sweep.returncode == 0, output
    assert "3 completed" in output
    assert sorted(app.calls()) == ["0 first", "1 first", "2 first"]
    arrays = {str(job.array_id) for job in app.cluster.jobs(finished=True)}
    assert arrays == {array["job_id"] for array in json.loads(record.read_text())["arrays"]}
    assert len(arrays) == 3


@pytest.mark.faults("a full disk on a node is told, and the same command completes the grid")
def test_a_disk_that_is_full_on_the_node_is_told_and_the_same_command_completes(app, disk):
    _holding(app)
    results = ("hydra.sweeper.params.x=[0]", "results_dir=disk", "epochs=3")
    sweep = app.start("train.py", "-m", *LAUNCHER, *results)
    app.wait_for((app.folder / "at1_0_0").exists)
    filler = _fill(disk)
    app.remove("hold")
    output, _ = sweep.communicate(timeout=60)

    assert sweep.returncode == 1, output
    assert "0 failed: OSError: [Errno 28] " in output
    assert f"free some space there: '{disk}/first/training/0/states/epoch_0001.pt'" in output
    filler.unlink()
    assert "1 completed" in app.sweep(*results)
    lines = (disk / "first/training/0/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]


@pytest.mark.faults("a full disk on a node is told, and the same command completes the grid")
def test_a_disk_that_is_full_when_the_task_starts_is_told(app, disk):
    begin = "+hydra.launcher.additional_parameters.begin=now+1hour"
    app.submit("results_dir=disk", begin)
    filler = _fill(disk)
    for job in app.cluster.jobs():
        # Not checked: a job may have started, as its task before was over at once.
        app.cluster.run("scontrol", "update", f"jobid={job.id}", "starttime=now", check=False)
    app.cluster.wait_idle()
    statuses = app.manager(disk / "first").wait(60, lost_after_s=2)

    assert {status.state for status in statuses} == {"lost"}
    assert "its log is empty, as it is when the disk there is full" in statuses[0].reason
    filler.unlink()
    assert "3 completed" in app.sweep("results_dir=disk")
    assert sorted(app.calls()) == ["0 first", "1 first", "2 first"]
