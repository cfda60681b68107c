"""Who owns a run, whatever clocks say: reused pids, clocks that jump, two hosts, copied folders."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from expkit_bookkeeping import Bookkeeping, RunClaimed, find_runs, read_run

HOUR_S, DAY_S = 3600, 86_400
HOLD = """
import sys
from expkit_bookkeeping import Bookkeeping
with Bookkeeping(sys.argv[1], console=False) as run:
    run.log_metrics({"loss": 1.0}, step=0)
    run.flush() if hasattr(run, "flush") else None
    print("open", flush=True)
    sys.stdin.readline()
    run.log_metrics({"loss": 0.5}, step=1)
print("closed", flush=True)
"""
TRY = """
import sys
from expkit_bookkeeping import Bookkeeping, RunClaimed
try:
    with Bookkeeping(sys.argv[1], console=False) as run:
        print(run.record.attempt if hasattr(run, "record") else "taken over")
except RunClaimed as refused:
    print("RunClaimed", refused)
"""
STATES = """
import sys
from expkit_bookkeeping import find_runs
print(*[run.state for run in find_runs(sys.argv[1])])
"""


def clock(ahead_s: int) -> list[str]:
    """What to put before a command whose clock is ahead, or behind."""
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed")
    return ["faketime", "-f", f"{ahead_s:+d}s"] if ahead_s else []


def host(name: str) -> list[str]:
    """What to put before a command that runs on a host of this name, with processes of its own."""
    # A new pid namespace: pids of the other host mean nothing there, nor its boot's.
    command = ["unshare", "--uts", "--pid", "--fork", "--mount-proc"]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        allowed = None
    if allowed is None or allowed.returncode != 0:
        pytest.skip("no host can be made here")
    return [*command, "sh", "-c", f'hostname {name} && exec "$@"', "sh"]


def run(script: str, *arguments: object, prefix: list[str] = ()) -> str:
    command = [*prefix, sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def owner(folder: Path, prefix: list[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a run, until the block ends or it is killed."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "open\n"
    try:
        yield process
    finally:
        if process.poll() is None:
            process.communicate("\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "digits" / "training" / "a"


@pytest.mark.faults("a process with a reused pid is not taken for the owner")
def test_a_reused_pid_is_not_the_owner(folder):
    with owner(folder) as process:
        process.kill()
        process.wait()
    for name in ("run.json", "claims/0001.json"):
        facts = json.loads((folder / name).read_text())
        facts["pid"] = os.getppid()  # alive, and started at another time
        (folder / name).write_text(json.dumps(facts))
    assert [run.state for run in find_runs(folder.parent.parent)] == ["lost"]
    with Bookkeeping(folder, console=False):
        assert read_run(folder).attempt == 2


@pytest.mark.faults("a clock that jumps takes no run from a living owner, and keeps no lost one")
@pytest.mark.parametrize("ahead_s", [-HOUR_S, DAY_S], ids=["an hour back", "a day ahead"])
def test_on_one_host_a_jump_of_the_clock_changes_nothing(folder, ahead_s):
    with owner(folder) as process:
        assert run(TRY, folder, prefix=clock(ahead_s)).startswith("RunClaimed")
        assert run(STATES, folder.parent.parent, prefix=clock(ahead_s)) == "running"
        process.kill()
        process.wait()
        assert run(STATES, folder.parent.parent, prefix=clock(ahead_s)) == "lost"
        assert "RunClaimed" not in run(TRY, folder, prefix=clock(ahead_s))


@pytest.mark.faults("a clock that jumps takes no run from a living owner, and keeps no lost one")
@pytest.mark.parametrize("ahead_s", [-HOUR_S, HOUR_S, DAY_S - 60])
def test_an_owner_with_a_wrong_clock_keeps_its_run_on_another_host(folder, ahead_s):
    with owner(folder, prefix=[*host("node1"), *clock(ahead_s)]) as process:
        assert run(TRY, folder, prefix=host("node2")).startswith("RunClaimed")
        assert run(STATES, folder.parent.parent, prefix=host("node2")) == "running"
        process.communicate("\n")
    assert (read_run(folder).state, read_run(folder).host) == ("completed", "node1")


@pytest.mark.faults("a clock that jumps takes no run from a living owner, and keeps no lost one")
@pytest.mark.parametrize("ahead_s", [-HOUR_S, 0, DAY_S])
def test_a_reader_with_a_wrong_clock_sees_a_dead_owner_of_another_host_after_half_an_hour(
    folder, ahead_s
):
    with owner(folder, prefix=host("node1")) as process:
        pass
    record = json.loads((folder / "run.json").read_text())
    assert process.returncode == 0
    record |= {"state": "running", "ended_at": None}  # as if it had been killed
    (folder / "run.json").write_text(json.dumps(record))
    silent_since = time.time() - 31 * 60
    for path in (folder / "run.json", folder / "claims" / "0001.json"):
        os.utime(path, (silent_since, silent_since))
    reader = [*host("node2"), *clock(ahead_s)]
    assert run(STATES, folder.parent.parent, prefix=reader) == "lost"
    assert "RunClaimed" not in run(TRY, folder, prefix=reader)


@pytest.mark.faults("an experiment that was moved, renamed or copied is used where it is")
@pytest.mark.parametrize("how", ["mv", "cp -r", "cp -a", "rsync -r", "rsync -a"])
@pytest.mark.parametrize("state", ["completed", "lost"])
def test_a_run_is_read_and_resumed_where_its_folder_is_now(tmp_path, folder, how, state):
    words = how.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    with owner(folder) as process:
        if state == "lost":
            process.kill()
            process.wait()
    moved = tmp_path / "moved" / "numbers"
    moved.parent.mkdir()
    source = f"{folder.parent.parent}/" if words[0] == "rsync" else str(folder.parent.parent)
    subprocess.run([*words, source, str(moved)], check=True)

    assert [run.state for run in find_runs(moved)] == [state]
    with Bookkeeping(moved / "training" / "a", console=False) as run:
        run.save_results({"accuracy": 1}, "test")
    assert read_run(moved / "training" / "a").state == "completed"
    if how != "mv":  # the original is as it was
        assert [run.state for run in find_runs(folder.parent.parent)] == [state]


@pytest.mark.faults("an experiment that was moved, renamed or copied is used where it is")
@pytest.mark.parametrize("how", ["rsync -r", "rsync -a", "cp -r"])
def test_a_lost_run_that_was_copied_from_another_host_is_not_running(folder, tmp_path, how):
    with owner(folder, prefix=[*host("node1"), *clock(-2 * DAY_S)]) as process:
        pass
    assert process.returncode == 0
    record = json.loads((folder / "run.json").read_text())
    record |= {"state": "running", "ended_at": None}  # as if it had been killed two days ago
    (folder / "run.json").write_text(json.dumps(record))
    two_days_ago = time.time() - 2 * DAY_S
    for path in (folder / "run.json", folder / "claims" / "0001.json"):
        os.utime(path, (two_days_ago, two_days_ago))
    copy = tmp_path / "copy"
    subprocess.run([*how.split(), f"{folder.parent.parent}/", str(copy)], check=True)
    assert run(STATES, copy, prefix=host("node2")) == "lost"
    assert "RunClaimed" not in run(TRY, copy / "training" / "a", prefix=host("node2"))


@pytest.mark.faults("an experiment that was moved, renamed or copied is used where it is")
def test_an_owner_whose_experiment_is_renamed_leaves_nothing_at_the_old_place(tmp_path, folder):
    with owner(folder) as process:
        folder.parent.parent.rename(tmp_path / "renamed")
        process.communicate("\n")
    assert process.returncode == 1
    assert not folder.exists()
    with Bookkeeping(tmp_path / "renamed" / "training" / "a", console=False):
        pass


def test_two_owners_of_one_run_on_two_hosts_are_refused(folder):
    with owner(folder, prefix=host("node1")), pytest.raises(RunClaimed, match="node1"):
        Bookkeeping(folder, console=False).open()
