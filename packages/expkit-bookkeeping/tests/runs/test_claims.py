"""Owning a run folder: one owner at a time, and detected when it is gone after kill -9."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from expkit_bookkeeping import ClaimLost, RunClaimed, find_runs, read_run
from expkit_bookkeeping.launching import claim_run, is_alive, move_to_trash

HOLD = """
import sys
import time
from pathlib import Path
from expkit_bookkeeping.launching import claim_run
claim_run(Path(sys.argv[1]), run_name="a")
print("claimed", flush=True)
sys.stdin.read()
"""
RACE = """
import sys
import time
from pathlib import Path
from expkit_bookkeeping import RunClaimed
from expkit_bookkeeping.launching import claim_run
sys.stdin.readline()
try:
    claim_run(Path(sys.argv[1]))
except RunClaimed:
    print("refused", flush=True)
else:
    print("won", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "digits" / "training" / "a"


@pytest.fixture
def start():
    """Start a script in a process of its own; all are gone at the end of the test."""
    started = []

    def start(script: str, *args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, *map(str, args)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def holder(start, folder):
    process = start(HOLD, folder)
    assert process.stdout.readline() == "claimed\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def state(folder: Path) -> str:
    (record,) = find_runs(folder.parent.parent)
    return record.state


def test_a_claimed_run_is_running_and_names_its_owner(folder):
    claim = claim_run(folder, run_name="a", experiment_id="digits", swept={"lr": 0.1})

    record = read_run(folder)
    assert (record.state, record.attempt, record.pid) == ("running", 1, os.getpid())
    assert record.swept == {"lr": 0.1}
    assert is_alive(record) is True
    assert claim.record == record


def test_a_run_held_by_a_living_process_is_refused_with_its_name(folder, holder):
    with pytest.raises(RunClaimed, match=rf"'a' in .* held by process {holder.pid} on .* since"):
        claim_run(folder)
    assert state(folder) == "running"


def test_a_run_killed_with_sigkill_is_lost_and_its_next_claim_is_attempt_two(folder, holder):
    first = read_run(folder)
    holder.send_signal(signal.SIGKILL)
    holder.wait()

    assert state(folder) == "lost"
    claim = claim_run(folder)
    assert claim.attempt == 2
    assert read_run(folder).id == first.id
    assert read_run(folder).run_name == "a"


def test_a_killed_process_that_nobody_has_reaped_is_gone_too(folder, holder):
    holder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie

    assert state(folder) == "lost"


def test_of_eight_racing_processes_exactly_one_wins(folder, start):
    processes = [start(RACE, folder) for _ in range(8)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.stdout.readline().strip() for process in processes]

    assert sorted(answers) == ["refused"] * 7 + ["won"]
    assert names(folder / "claims") == ["0001.json"]


def test_of_eight_processes_that_race_for_a_lost_run_exactly_one_wins(folder, start, holder):
    holder.kill()
    holder.wait()
    processes = [start(RACE, folder) for _ in range(8)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.stdout.readline().strip() for process in processes]

    assert sorted(answers) == ["refused"] * 7 + ["won"]
    assert read_run(folder).attempt == 2


def test_an_owner_that_was_taken_for_gone_writes_nothing_more(folder):
    claim = claim_run(folder, run_name="a")
    before = (folder / "run.json").read_bytes()
    (folder / "claims" / "0002.json").write_text(
        json.dumps({"attempt": 2, "host": "node7", "pid": 1, "process_start": "x/1"})
    )

    finish = partial(claim.finish, "failed")
    for write in (claim.heartbeat, partial(claim.update, metrics={}), finish):
        with pytest.raises(ClaimLost, match="belongs to process 1 on node7, attempt 2"):
            write()
    assert (folder / "run.json").read_bytes() == before
    assert not claim.is_highest()


def test_an_owner_whose_folder_was_moved_away_does_not_make_it_again(folder):
    claim = claim_run(folder)
    claim.finish("failed")
    move_to_trash(folder, reason="cleanup")

    with pytest.raises(ClaimLost, match="moved to the trash"):
        claim.heartbeat()
    assert not folder.exists()


def test_the_same_process_reopens_its_own_claim(folder):
    claim_run(folder, config_hash="abc", grid_id="g", swept={"lr": 0.1})

    again = claim_run(folder)

    assert again.attempt == 1
    record = read_run(folder)
    assert (record.config_hash, record.grid_id, record.swept) == ("abc", "g", {"lr": 0.1})


def test_a_claim_of_a_relative_folder_holds_when_the_directory_changes(
    folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    claim = claim_run(folder.relative_to(tmp_path))
    monkeypatch.chdir("/")
    claim.finish("completed")

    assert read_run(folder).state == "completed"


def test_two_holders_in_one_process_do_not_lose_each_others_facts(folder):
    launcher, training = claim_run(folder), claim_run(folder)
    training.update(metrics={"loss": 0.5})
    launcher.heartbeat()
    launcher.finish("completed")

    assert read_run(folder).metrics == {"loss": 0.5}
    assert read_run(folder).state == "completed"


@pytest.mark.parametrize("ended", ["completed", "failed", "interrupted"])
def test_a_run_that_ended_may_be_claimed_again(folder, start, ended):
    claim_run(folder).finish(ended)

    process = start(RACE, folder)
    process.stdin.write("go\n")
    process.stdin.flush()

    assert process.stdout.readline() == "won\n"
    assert read_run(folder).attempt == 2


def test_a_failed_run_keeps_what_failed(folder):
    try:
        raise ValueError("loss is NaN")
    except ValueError as error:
        claim_run(folder).finish("failed", error)

    error = read_run(folder).error
    assert (error["type"], error["message"]) == ("ValueError", "loss is NaN")
    assert "test_claims.py" in error["traceback"]


def test_time_in_the_run_is_summed_over_attempts(folder):
    now = [1000.0]
    claim = claim_run(folder, clock=lambda: now[0])
    now[0] += 30
    claim.heartbeat()
    assert read_run(folder).elapsed_s == 30
    now[0] += 10
    inner = claim_run(folder, clock=lambda: now[0])  # Bookkeeping inside the launcher's claim
    now[0] += 5
    inner.finish("completed")

    assert read_run(folder).elapsed_s == 45


def test_a_process_killed_between_its_claim_and_its_run_json_is_lost(folder, holder):
    holder.kill()
    holder.wait()
    (folder / "run.json").unlink()

    assert read_run(folder) is None
    assert state(folder) == "lost"
    assert claim_run(folder).attempt == 2


def test_a_claim_that_has_not_yet_written_run_json_counts(folder, holder):
    claims = folder / "claims"
    owner = json.loads((claims / "0001.json").read_text())
    (folder / "run.json").unlink()
    assert state(folder) == "running"
    with pytest.raises(RunClaimed, match=str(owner["pid"])):
        claim_run(folder)


def test_a_damaged_run_json_is_unknown_with_a_reason_and_is_kept(folder):
    claim_run(folder).finish("failed")
    (folder / "run.json").write_text('{"state": "comp')

    (record,) = find_runs(folder.parent.parent)
    assert record.state == "unknown"
    assert "run.json is damaged" in record.reason
    claim_run(folder)
    assert (folder / "run.json.damaged").read_text() == '{"state": "comp'
    assert state(folder) == "running"


def test_a_damaged_run_json_does_not_free_a_living_owners_run(folder, holder):
    (folder / "run.json").write_text("")

    with pytest.raises(RunClaimed, match=str(holder.pid)):
        claim_run(folder)


def test_a_run_json_of_a_newer_version_keeps_its_unknown_keys(folder):
    claim_run(folder).finish("completed")
    data = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**data, "colour": "blue"}))

    claim_run(folder).heartbeat()

    assert read_run(folder).data["colour"] == "blue"


def test_numbers_that_json_lacks_are_written_as_strings(folder):
    claim_run(folder).update(metrics={"a": float("nan"), "b": float("inf"), "c": -float("inf")})

    assert read_run(folder).metrics == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}


def other(record, **changes):
    return replace(record, host="elsewhere", process_start="another-boot/1", **changes)


def age(folder: Path, seconds: float) -> None:
    for path in [folder / "run.json", *(folder / "claims").iterdir()]:
        old = path.stat().st_mtime - seconds
        os.utime(path, (old, old))


@pytest.mark.parametrize(("minutes", "expected"), [(0, None), (29, None), (31, False)])
def test_elsewhere_a_run_is_gone_after_thirty_minutes_without_a_heartbeat(
    folder, minutes, expected
):
    claim_run(folder)
    age(folder, 60 * minutes)

    assert is_alive(other(read_run(folder))) is expected


@pytest.mark.parametrize(("minutes", "expected"), [(1, None), (3, False)])
def test_after_a_reboot_of_this_host_two_minutes_are_enough(folder, minutes, expected):
    claim_run(folder)
    age(folder, 60 * minutes)
    record = replace(read_run(folder), process_start="another-boot/1")

    assert is_alive(record) is expected


def test_a_requeued_slurm_job_takes_over_from_itself(folder, monkeypatch):
    claim_run(folder)
    job = {"job_id": "7", "array_job_id": None, "array_task_id": None, "restart_count": 0}
    record = other(read_run(folder), slurm=job)
    monkeypatch.setenv("SLURM_JOB_ID", "7")

    assert is_alive(record) is None
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert is_alive(record) is False


def test_who_lives_is_the_callers_to_decide(folder, holder):
    assert [record.state for record in find_runs(folder.parent.parent)] == ["running"]

    gone = find_runs(folder.parent.parent, is_alive=lambda record: False)
    assert [record.state for record in gone] == ["lost"]
    assert claim_run(folder, is_alive=lambda record: False).attempt == 2


def test_leftovers_of_a_killed_writer_are_removed_by_the_next_owner(folder, holder):
    holder.kill()
    holder.wait()
    (folder / ".run.json.0123456789ab.tmp").write_text("half")

    claim_run(folder)

    assert names(folder) == ["claims", "run.json"]


def test_a_file_system_without_hard_links_gets_claims_too(folder, monkeypatch):
    def refuse(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)  # FAT and some FUSE file systems do this

    assert claim_run(folder).attempt == 1
    assert json.loads((folder / "claims/0001.json").read_text())["pid"] == os.getpid()


def test_runs_are_listed_by_name_and_strangers_are_passed_over(tmp_path):
    training = tmp_path / "training"
    for name in ("b", "a"):
        claim_run(training / name)
    (training / "notes.txt").write_text("mine")
    (training / "empty").mkdir()

    assert [record.run_name for record in find_runs(tmp_path)] == ["a", "b"]


def test_a_run_that_ends_while_one_looks_is_not_lost(folder):
    claim = claim_run(folder, run_name="a")

    def ends_now(record):
        claim.finish("completed")
        return False  # its process is gone, too

    (record,) = find_runs(folder.parent.parent, is_alive=ends_now)

    assert record.state == "completed"


def test_an_experiment_without_runs_has_none(tmp_path):
    assert find_runs(tmp_path / "nothing") == []


def test_a_run_moves_to_the_trash_with_a_line_for_sync(folder):
    claim_run(folder, run_name="a").finish("failed")
    record = read_run(folder)

    target = move_to_trash(record, reason="cleanup", clock=lambda: 1795424400.0)

    experiment = folder.parent.parent
    assert target == experiment / ".trash" / "a.20261123T090000"
    assert (target / "run.json").exists()
    assert not folder.exists()
    (line,) = (experiment / ".trash" / "removed.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "id": record.id,
        "run_name": "a",
        "state": "failed",
        "removed_at": "2026-11-23T09:00:00.000000+00:00",
        "reason": "cleanup",
        "trash": ".trash/a.20261123T090000",
    }


def test_a_run_stays_where_it_is_when_its_move_cannot_be_noted(folder):
    claim_run(folder, run_name="a").finish("completed")
    (folder.parent.parent / ".trash" / "removed.jsonl").mkdir(parents=True)

    with pytest.raises(OSError, match="removed"):
        move_to_trash(folder, reason="rerun")

    assert read_run(folder).state == "completed"


@pytest.mark.parametrize("in_it", ["train.py", "run.json", "claims/notes.json"])
def test_a_folder_that_expkit_did_not_make_is_not_moved_to_the_trash(folder, in_it):
    (folder / in_it).parent.mkdir(parents=True)
    (folder / in_it).write_text('{"state": "completed"}')

    with pytest.raises(PermissionError, match="holds files that expkit did not write"):
        move_to_trash(folder, reason="cleanup")

    assert (folder / in_it).exists()


def test_the_folder_that_the_program_is_in_is_not_moved_to_the_trash(folder, monkeypatch):
    claim_run(folder).finish("failed")
    (folder / "inner").mkdir()
    monkeypatch.chdir(folder / "inner")

    with pytest.raises(PermissionError, match="where this program was started"):
        move_to_trash(folder, reason="cleanup")

    assert state(folder) == "failed"


def test_two_runs_of_one_name_fit_into_the_trash_in_one_second(folder):
    claim_run(folder).finish("failed")
    first = move_to_trash(folder, reason="fresh", clock=lambda: 0.0)
    claim_run(folder).finish("failed")
    second = move_to_trash(folder, reason="fresh", clock=lambda: 0.0)

    assert first != second
    assert first.exists()
    assert second.exists()


def test_a_run_that_lives_is_not_moved_to_the_trash(folder, holder):
    with pytest.raises(RunClaimed, match=str(holder.pid)):
        move_to_trash(folder, reason="cleanup")
    assert folder.exists()


UPDATES = """
import sys
import time
from pathlib import Path
from expkit_bookkeeping.launching import claim_run
claim = claim_run(Path(sys.argv[1]))
print("claimed", flush=True)
while True:
    claim.update(metrics={f"metric_{number}": number for number in range(200)})
"""


@pytest.mark.parametrize("delay_s", [0.01, 0.05, 0.1])
def test_run_json_is_whole_for_every_reader_and_after_every_kill(folder, start, delay_s):
    process = start(UPDATES, folder)
    process.stdout.readline()
    deadline = time.monotonic() + delay_s
    while time.monotonic() < deadline:
        assert read_run(folder).state == "running"
    process.kill()
    process.wait()

    assert state(folder) == "lost"
    assert claim_run(folder).attempt == 2
    assert names(folder) == ["claims", "run.json"]


def test_a_thousand_runs_are_found_in_a_moment(tmp_path):
    training = tmp_path / "training"
    claim_run(training / "0", swept={"lr": 0.1}).finish("completed", metrics={"loss": 0.5})
    for number in range(1, 1000):
        (training / str(number)).mkdir()
        shutil.copyfile(training / "0" / "run.json", training / str(number) / "run.json")

    start = time.process_time()
    runs = find_runs(tmp_path)

    assert len(runs) == 1000
    assert time.process_time() - start < 0.3  # 0.04 s on an idle machine


def test_a_claim_made_while_another_process_looked_is_not_overtaken(
    folder, start, holder, monkeypatch
):
    from expkit_bookkeeping._runs import claiming

    holder.kill()
    holder.wait()
    look = claiming.claimed_record
    winners = []

    def look_and_be_overtaken(*arguments, **options):
        seen = look(*arguments, **options)
        if not winners:
            winners.append(start(RACE, folder))
            winners[0].stdin.write("go\n")
            winners[0].stdin.flush()
            assert winners[0].stdout.readline() == "won\n"
        return seen

    monkeypatch.setattr(claiming, "claimed_record", look_and_be_overtaken)

    with pytest.raises(RunClaimed) as refused:
        claim_run(folder)
    assert f"held by process {winners[0].pid}" in str(refused.value)
    assert names(folder / "claims") == ["0001.json", "0002.json"]


def test_an_owner_that_hung_while_writing_does_not_write_over_the_next_one(folder, monkeypatch):
    claim = claim_run(folder)
    before = (folder / "run.json").read_bytes()
    sync = os.fsync

    def hang(fd):  # a file server that was away for half an hour
        sync(fd)
        (folder / "claims" / "0002.json").write_text('{"attempt": 2, "host": "node7", "pid": 1}')

    monkeypatch.setattr(os, "fsync", hang)

    with pytest.raises(ClaimLost, match="node7"):
        claim.heartbeat()
    assert (folder / "run.json").read_bytes() == before
    assert names(folder) == ["claims", "run.json"]


def test_a_child_forked_during_a_heartbeat_can_claim_a_run_of_its_own(folder):
    from expkit_bookkeeping._runs import claims

    held, done = threading.Event(), threading.Event()

    def beat():
        with claims._update_lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=beat)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(5)  # ends it if it waits for a lock that nobody will ever release
        claim_run(folder).finish("completed")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()

    assert status == 0
    assert read_run(folder).state == "completed"


def test_a_container_on_the_owners_host_is_no_reboot(folder):
    claim_run(folder)
    age(folder, 60 * 3)
    record = read_run(folder)
    boot, ticks = record.process_start.partition(":")[0], "4711"

    assert is_alive(replace(record, process_start=f"{boot}:1/{ticks}")) is None
    assert is_alive(replace(record, process_start=f"another-boot:1/{ticks}")) is False


def test_a_system_without_a_boot_id_is_known_by_its_name(tmp_path):
    from expkit_bookkeeping._runs.processes import host_name, linux_machine

    assert linux_machine(tmp_path) == host_name()


def test_what_a_killed_claim_left_is_gone_after_the_next(tmp_path):
    folder = tmp_path / "run"
    (folder / "claims").mkdir(parents=True)
    for name in ("claims/.0001.json.0123456789ab.tmp", ".run.json.0123456789ab.tmp"):
        (folder / name).write_text("half of")

    claim_run(folder)

    assert [path.name for path in folder.rglob("*.tmp")] == []


def test_claims_at_once_that_clear_away_each_others_files_have_one_winner(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from expkit_bookkeeping._runs.claim_files import link_claim
    from expkit_bookkeeping._runs.processes import this_process
    from expkit_bookkeeping._runs.takeover import sweep

    (tmp_path / "claims").mkdir()

    def contend(number: int) -> bool:
        won = link_claim(tmp_path, 1 + number // 16, this_process(), time.time)
        sweep(tmp_path, lambda: None)
        return won

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(contend, range(160)))

    claims = sorted(path.name for path in (tmp_path / "claims").iterdir())
    assert sum(won) == len(claims)
    assert all(path.endswith(".json") for path in claims)


@pytest.mark.parametrize("purpose", ["archive", 7])
def test_a_claim_for_something_else_is_no_attempt_and_not_overtaken(folder, purpose):
    claim = claim_run(folder, run_name="a")
    path = folder / "claims" / "0002.json"
    content = json.loads((folder / "claims" / "0001.json").read_text())
    path.write_text(json.dumps({**content, "attempt": 2, "purpose": purpose, "pid": 4711}))

    (record,) = find_runs(folder.parent.parent)

    assert (record.state, record.attempt, record.pid) == ("running", 1, os.getpid())
    with pytest.raises(ClaimLost, match=f"held for '?{purpose}'?, not to run, by process 4711"):
        claim.heartbeat()
    with pytest.raises(RunClaimed, match="claim 0002"):
        claim_run(folder, is_alive=lambda record: False)
    with pytest.raises(RunClaimed, match="claim 0002"):
        move_to_trash(folder, reason="cleanup", is_alive=lambda record: False)
    assert sorted(path.name for path in (folder / "claims").iterdir()) == ["0001.json", "0002.json"]


@pytest.mark.parametrize(
    ("purpose", "why"), [("archive", "held for 'archive'"), ("remove", "moved to the trash")]
)
def test_a_folder_that_is_held_only_for_something_else_is_no_run(folder, purpose, why):
    claims = folder / "claims"
    claims.mkdir(parents=True)
    (claims / "0001.json").write_text(json.dumps({"schema": 1, "attempt": 1, "purpose": purpose}))

    assert find_runs(folder.parent.parent) == []
    with pytest.raises(RunClaimed, match=why):
        claim_run(folder)


def test_a_claim_of_version_0_1_0_says_no_purpose_and_is_to_run(folder):
    claim_run(folder)
    path = folder / "claims" / "0001.json"
    content = json.loads(path.read_text())
    assert (content.pop("purpose"), content.pop("shared")) == ("run", False)
    path.write_text(json.dumps(content))
    (folder / "run.json").unlink()

    (record,) = find_runs(folder.parent.parent)

    assert (record.state, record.attempt, record.pid) == ("running", 1, os.getpid())
    assert claim_run(folder).attempt == 1
