"""The private cluster is a real Slurm, and leaves nothing behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slurm_cluster
from slurm_cluster import Options, SlurmCluster, SlurmClusterError

PROGRAM = slurm_cluster.__file__


def submit(cluster: SlurmCluster, folder: Path, command: str, *options: str) -> int:
    """An sbatch script of one line; its output goes to %a.log (%j.log where it is no array)."""
    log = "%a.log" if any("--array" in option for option in options) else "%j.log"
    command_line = ("sbatch", "--parsable", "--open-mode=append", f"--output={folder / log}")
    return int(cluster.run(*command_line, *options, f"--wrap={command}"))


def running(cluster: SlurmCluster, job: int) -> list[str]:
    """The nodes on which it runs."""
    return [
        task.node for task in cluster.jobs() if task.array_id == job and task.state == "RUNNING"
    ]


def wait_for_file(path: Path, text: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < deadline, f"no {text!r} in {path}"
        time.sleep(0.02)


def processes_of(folder: Path) -> list[str]:
    """Every process that was started with this cluster's configuration, by its command."""
    variable = f"SLURM_CONF={folder}/slurm.conf".encode()
    commands = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and variable in (entry / "environ").read_bytes():
                commands.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return commands


def test_every_task_of_an_array_runs(cluster, tmp_path):
    job = submit(
        cluster, tmp_path, "echo $SLURM_ARRAY_TASK_ID $CUDA_VISIBLE_DEVICES", "--array=0-5"
    )
    queued = cluster.jobs()
    cluster.wait_idle()

    assert {task.label for task in queued} <= {f"{job}_{task}" for task in range(6)}
    assert [(tmp_path / f"{task}.log").read_text().split() for task in range(6)] == [
        [str(task)] for task in range(6)
    ]
    ended = [task for task in cluster.jobs(finished=True) if task.array_id == job]
    assert {(task.task, task.state) for task in ended} == {(n, "COMPLETED") for n in range(6)}


def test_each_node_has_one_gpu(cluster, tmp_path):
    job = submit(
        cluster, tmp_path, "echo $CUDA_VISIBLE_DEVICES; sleep 60", "--gpus=1", "--array=0-4"
    )
    cluster.wait_for(lambda: len(running(cluster, job)) == 4, "four running tasks")

    assert sorted(running(cluster, job)) == ["node1", "node2", "node3", "node4"]
    wait_for_file(tmp_path / "0.log", "0\n")


def test_a_requeued_task_runs_again_and_knows_it(cluster, tmp_path):
    job = submit(cluster, tmp_path, "echo restart ${SLURM_RESTART_COUNT:-0}; sleep 60", "--array=3")
    wait_for_file(tmp_path / "3.log", "restart 0")

    cluster.run("scontrol", "requeue", f"{job}_3")

    wait_for_file(tmp_path / "3.log", "restart 1")


def test_a_job_in_high_preempts_one_in_low_by_requeue(cluster, tmp_path):
    with SlurmCluster(Options(grace_s=2, message_timeout_s=2)) as hasty:
        task = (
            "trap 'echo warned' USR1; echo restart ${SLURM_RESTART_COUNT:-0}; sleep 60 & wait; wait"
        )
        whole_node = ("-w", "node1", "--exclusive")
        low = submit(hasty, tmp_path, task, *whole_node, "--signal=B:USR1")
        log = tmp_path / f"{low}.log"
        wait_for_file(log, "restart 0")

        high = submit(hasty, tmp_path, "echo first", *whole_node, "--partition=high")

        wait_for_file(tmp_path / f"{high}.log", "first")
        wait_for_file(log, "restart 1")
        assert log.read_text().splitlines()[1] == "warned"


def test_the_task_of_a_dead_node_runs_elsewhere(cluster, tmp_path):
    command = "echo restart ${SLURM_RESTART_COUNT:-0} on $SLURMD_NODENAME pid $$; sleep 60"
    job = submit(cluster, tmp_path, command)
    log = tmp_path / f"{job}.log"
    wait_for_file(log, "pid")
    _, _, _, node, _, pid = log.read_text().split()

    cluster.kill_node(node, jobs=True)
    killed = not Path("/proc", pid).exists()
    cluster.mark_down(node)

    wait_for_file(log, "restart 1")
    cluster.start_node(node)
    assert killed
    assert running(cluster, job) != [node]


def test_a_restarted_controller_still_has_the_queue(cluster, tmp_path):
    job = submit(cluster, tmp_path, "sleep 60", "--array=0-9")
    cluster.wait_for(lambda: len(running(cluster, job)) == 8, "eight running tasks")
    before = [(task.label, task.state) for task in cluster.jobs()]

    cluster.stop_controller()
    stopped = cluster.run("scontrol", "ping", check=False)
    cluster.start_controller()

    assert "is DOWN" in stopped
    assert [(task.label, task.state) for task in cluster.jobs()] == before


def test_an_array_beyond_the_limit_is_refused(cluster, tmp_path):
    submit(cluster, tmp_path, "true", "--array=0-50")
    for array in ("--array=0-51", "--array=51-60"):
        with pytest.raises(SlurmClusterError, match="Invalid job array specification"):
            submit(cluster, tmp_path, "true", array)


def test_sacct_answers_with_accounting(accounting_cluster, tmp_path):
    job = submit(accounting_cluster, tmp_path, "exit 3", "--array=0-1")
    accounting_cluster.wait_idle()

    accounting_cluster.wait_for(
        lambda: (
            accounting_cluster.run(
                "sacct", "-X", "-n", "-P", "-j", str(job), "-o", "JobID,State,ExitCode"
            ).splitlines()
            == [f"{job}_0|FAILED|3:0", f"{job}_1|FAILED|3:0"]
        ),
        "two failed tasks",
    )


def test_sacct_fails_without_accounting(cluster):
    with pytest.raises(SlurmClusterError, match="accounting storage is disabled"):
        cluster.run("sacct")


def test_a_reset_mends_what_a_test_has_broken(cluster, tmp_path):
    submit(cluster, tmp_path, "trap '' TERM; sleep 60; sleep 60", "--array=0-9", "-w", "node2")
    cluster.kill_node("node1")
    cluster.run("scontrol", "update", "NodeName=node3", "State=DRAIN", "Reason=test")
    cluster.stop_controller()

    cluster.reset()

    assert cluster.jobs() == []
    assert cluster.run("sinfo", "-h", "-p", "low", "-o", "%D %T").split() == ["4", "idle"]


def count(cluster: SlurmCluster, command: str) -> int:
    return sum(command in words for words in processes_of(cluster.folder))


def test_clusters_stand_side_by_side_and_leave_nothing(cluster, tmp_path):
    with SlurmCluster(Options(max_array_size=1001, cpus_per_node=4)) as other:
        submit(other, tmp_path, "setsid sleep 59 & exec sleep 59", "--array=0-60")
        other.wait_for(lambda: count(other, "sleep 59") == 32, "two processes of 16 tasks")
        assert count(other, "slurmd -D") == 4
        assert cluster.jobs() == []

    assert processes_of(other.folder) == []
    assert not other.folder.exists()
    assert cluster.run("sinfo", "-h", "-p", "low", "-o", "%D %T").split() == ["4", "idle"]


def test_a_killed_owner_takes_its_cluster_along(cluster):
    # A child that was forked from the owner must not keep the cluster alive.
    code = (
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(Path(PROGRAM).parent)!r})\n"
        "from slurm_cluster import SlurmCluster\n"
        "with SlurmCluster() as cluster:\n"
        "    if not os.fork():\n"
        "        time.sleep(5)\n"
        "        os._exit(0)\n"
        "    cluster.run('sbatch', '-o', '/dev/null', '--wrap=sleep 60')\n"
        "    cluster.wait_for(lambda: cluster.jobs()[0].state == 'RUNNING', 'job')\n"
        "    print(cluster.folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        folder = Path(owner.stdout.readline().strip())
        assert len(processes_of(folder)) > 6
        owner.kill()
        owner.wait(30)
        deadline = time.monotonic() + 5
        while folder.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    assert processes_of(folder) == []


def test_a_daemon_that_does_not_start_shows_its_log(cluster, monkeypatch):
    monkeypatch.setattr(slurm_cluster, "_SLURM_CONF", slurm_cluster._SLURM_CONF + "Nonsense=1\n")

    with pytest.raises(SlurmClusterError, match=r"(?s)slurmctld has ended.*Nonsense"):
        SlurmCluster().__enter__()


def test_a_port_that_is_taken_meanwhile_leads_to_others(cluster, monkeypatch):
    really = slurm_cluster._take_ports
    strangers = []

    def take_ports():
        guard, first = really()
        if not strangers:
            stranger = slurm_cluster.socket.create_server(("", first + 3))
            strangers.append(stranger)
        return guard, first

    monkeypatch.setattr(slurm_cluster, "_take_ports", take_ports)
    with SlurmCluster() as other:
        assert other.run("sinfo", "-h", "-p", "low", "-o", "%D %T").split() == ["4", "idle"]
    strangers[0].close()


def test_as_a_program_it_runs_a_command_and_returns_its_code(cluster):
    script = "scontrol show config | grep MaxArraySize; echo $SLURM_CONF; exit 7"
    done = subprocess.run(
        [sys.executable, PROGRAM, "--max-array-size", "7", "--", "sh", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "SLURM_JOB_ID": "12"},
    )

    *_, size, path = done.stdout.split()
    assert (done.returncode, done.stderr, size) == (7, "", "7")
    assert processes_of(Path(path).parent) == []
