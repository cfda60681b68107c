"""Whoever starts or moves a run holds its claim, and has judged it under that claim."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from expkit_bookkeeping import ClaimLost, RunClaimed, find_runs, read_run
from expkit_bookkeeping._runs.refusals import holding_claim
from expkit_bookkeeping.launching import RunChanged, claim_run, is_alive, move_to_trash
from expkit_bookkeeping.reading import find_run, removed_runs

COMPLETE = """
import sys
from pathlib import Path
from expkit_bookkeeping.launching import claim_run
claim_run(Path(sys.argv[1])).finish("completed")
"""
FAIL = COMPLETE.replace("completed", "failed")
LOSE = """
import sys
from pathlib import Path
from expkit_bookkeeping.launching import claim_run
claim_run(Path(sys.argv[1]))
"""
DIE_AFTER_LINK = """
import os, sys
from pathlib import Path
from expkit_bookkeeping._runs import claiming
claiming.judge_again = lambda *arguments: os._exit(0)
claiming.claim_run(Path(sys.argv[1]))
"""
# Stands still between its claim and its run.json, and then dies with both.
START_AND_DIE = """
import os, sys
from pathlib import Path
from expkit_bookkeeping._runs import claiming
real = claiming.judge_again
def judge_again(*arguments):
    print("claimed", flush=True)
    sys.stdin.readline()
    return real(*arguments)
claiming.judge_again = judge_again
claiming.claim_run(Path(sys.argv[1]))
os._exit(0)
"""
HOLD = f"{LOSE}print(1, flush=True)\nsys.stdin.read()\n"
# Stands still between the claim and the move.
MOVE = """
import os, sys
from pathlib import Path
from expkit_bookkeeping.launching import move_to_trash
from expkit_bookkeeping._runs import trash
real = os.rename
def rename(*arguments):
    print("about to move", flush=True)
    sys.stdin.readline()
    real(*arguments)
trash.os.rename = rename
move_to_trash(Path(sys.argv[1]), reason="cleanup")
"""


def run(script: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "digits" / "training" / "a"


@contextlib.contextmanager
def standing_still(script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has said where it stands, and goes on when it is given a line."""
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline()
        yield process
        process.kill()


@pytest.fixture
def mover(folder):
    """A process that has claimed a failed run to move it, and stands still before the move."""
    run(FAIL, folder)
    with standing_still(MOVE, folder) as process:
        yield process


@pytest.fixture
def starter(folder):
    """A process that has claimed a failed run for attempt 2; returns what lets it start and die."""
    run(FAIL, folder)
    with standing_still(START_AND_DIE, folder) as process:

        def start_and_die() -> None:
            if process.poll() is None:
                process.communicate("\n")

        yield start_and_die


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def experiment(folder: Path) -> Path:
    return folder.parent.parent


def unless_completed(record):
    return "it is done" if record is not None and record.state == "completed" else None


def before_link(monkeypatch, act):
    """Call `act` once between the look at a run and the link of the claim."""
    from expkit_bookkeeping._runs import claiming, trash

    link, pending = claiming.link_claim, [act]

    def act_and_link(*arguments, **options):
        while pending:
            pending.pop()()
        return link(*arguments, **options)

    monkeypatch.setattr(claiming, "link_claim", act_and_link)
    monkeypatch.setattr(trash, "link_claim", act_and_link)


def after_link(monkeypatch, act):
    """Call `act` once between the link of the claim and the second look."""
    from expkit_bookkeeping._runs import claiming, trash

    link, pending = claiming.link_claim, [act]

    def link_and_act(*arguments, **options):
        linked = link(*arguments, **options)
        while pending:
            pending.pop()()
        return linked

    monkeypatch.setattr(claiming, "link_claim", link_and_act)
    monkeypatch.setattr(trash, "link_claim", link_and_act)


def write_completed(folder):
    """What an owner that was taken for gone may still have written."""
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": "completed"}))


@pytest.mark.parametrize("first", [FAIL, LOSE])
def test_a_run_that_completed_between_look_and_claim_is_not_claimed(folder, monkeypatch, first):
    run(first, folder)
    before_link(monkeypatch, lambda: run(COMPLETE, folder))

    with pytest.raises(RunChanged, match="it is done"):
        claim_run(folder, unless=unless_completed)

    record = find_run(folder)
    assert (record.state, record.attempt) == ("completed", 2)


def test_a_run_that_completed_between_claim_and_second_look_is_not_an_attempt(folder, monkeypatch):
    run(LOSE, folder)
    after_link(monkeypatch, lambda: write_completed(folder))

    with pytest.raises(RunChanged, match="it is done"):
        claim_run(folder, unless=unless_completed)

    record = find_run(folder)
    assert (record.state, record.attempt, record.claim) == ("completed", 1, 1)
    claim = claim_run(folder)  # asked for expressly, the next attempt has the next free number
    assert (claim.number, claim.attempt) == (3, 2)


def test_a_claimer_that_is_killed_before_its_second_look_has_changed_nothing(folder):
    """It has linked its claim, over a run that another process has just completed."""
    run(COMPLETE, folder)
    before = find_run(folder)
    run(DIE_AFTER_LINK, folder)
    assert sorted(path.name for path in (folder / "claims").iterdir()) == ["0001.json", "0002.json"]

    assert find_runs(experiment(folder)) == [find_run(folder)] == [before]
    with pytest.raises(RunChanged, match="it is done"):
        claim_run(folder, unless=unless_completed)
    with pytest.raises(RunChanged, match="it is done"):
        move_to_trash(before, reason="rerun", unless=unless_completed)


def test_an_owner_that_starts_and_dies_while_a_rival_looks_has_made_an_attempt(folder, starter):
    claim = claim_run(folder, is_alive=lambda record: starter() or is_alive(record))

    assert (claim.number, claim.attempt, read_run(folder).attempt) == (3, 3, 3)


def test_an_owner_that_starts_and_dies_while_a_stale_one_looks_has_overtaken_it(folder, starter):
    holder = holding_claim(folder, 1, lambda record: starter() or is_alive(record))

    assert holder.number == 2


def test_an_owner_that_is_wrongly_taken_for_gone_and_starts_has_made_an_attempt(folder, starter):
    claim = claim_run(folder, is_alive=lambda record: False, unless=lambda record: starter())

    assert (claim.number, claim.attempt, read_run(folder).attempt) == (4, 3, 3)


def test_a_process_that_goes_on_with_the_attempt_it_has_ended_claims_the_run_anew(folder):
    claim_run(folder).finish("failed")

    claim = claim_run(folder)

    assert (claim.number, claim.attempt) == (2, 1)


def test_a_process_that_goes_on_with_the_attempt_it_has_ended_gives_way_to_another_owner(
    folder, monkeypatch
):
    claim_run(folder).finish("failed")
    with contextlib.ExitStack() as stack:
        before_link(monkeypatch, lambda: stack.enter_context(standing_still(HOLD, folder)))
        with pytest.raises(RunClaimed):
            claim_run(folder)

    assert (read_run(folder).claim, read_run(folder).attempt) == (2, 2)


def test_a_claim_that_came_to_nothing_does_not_disturb_the_owner(folder, monkeypatch):
    owner = claim_run(folder)
    taken_for_gone = read_run(folder)
    after_link(monkeypatch, lambda: write_completed(folder))
    monkeypatch.setattr("expkit_bookkeeping._runs.claiming.owns", lambda record, process: False)

    with pytest.raises(RunChanged):
        claim_run(folder, unless=unless_completed, is_alive=lambda record: False)
    owner.update(returned=0.5)

    assert owner.is_highest()
    assert (read_run(folder).returned, read_run(folder).id) == (0.5, taken_for_gone.id)


@pytest.mark.parametrize(
    ("when", "act"),
    [(before_link, lambda folder: run(COMPLETE, folder)), (after_link, write_completed)],
)
def test_a_run_that_completes_while_it_is_to_be_moved_stays(folder, monkeypatch, when, act):
    run(FAIL, folder)
    when(monkeypatch, lambda: act(folder))

    with pytest.raises(RunChanged, match=r"was failed \(attempt 1\) and is completed"):
        move_to_trash(read_run(folder), reason="cleanup")

    (record,) = find_runs(experiment(folder))
    assert record.state == "completed"
    assert removed_runs(experiment(folder)) == []
    assert not (experiment(folder) / ".trash").exists()


def test_a_run_that_somebody_resumed_since_it_was_judged_stays(folder):
    run(FAIL, folder)
    judged = read_run(folder)
    run(FAIL, folder)

    with pytest.raises(RunChanged, match=r"attempt 1\) and is failed \(attempt 2"):
        move_to_trash(judged, reason="cleanup")

    assert read_run(folder).attempt == 2


def test_a_run_that_is_being_moved_cannot_be_started(folder, mover):
    with pytest.raises(RunClaimed, match=f"is being moved to the trash by process {mover.pid}"):
        claim_run(folder)
    with pytest.raises(RunClaimed, match=f"is being moved to the trash by process {mover.pid}"):
        move_to_trash(folder, reason="rerun")

    mover.communicate("go\n")
    assert claim_run(folder).attempt == 1
    assert [removed.state for removed in removed_runs(experiment(folder))] == ["failed"]


def test_a_mover_that_is_killed_before_the_move_leaves_the_run_as_it_was(folder, mover):
    before = find_run(folder)
    mover.send_signal(signal.SIGKILL)
    mover.wait()

    assert (experiment(folder) / ".trash" / "removed.jsonl").is_file()
    assert find_runs(experiment(folder)) == [before]
    assert removed_runs(experiment(folder)) == []
    claim = claim_run(folder)
    assert (claim.number, claim.attempt) == (3, 2)
    claim.finish("failed")
    move_to_trash(read_run(folder), reason="cleanup")
    assert [removed.id for removed in removed_runs(experiment(folder))] == [before.id] * 2


def test_an_owner_that_was_taken_for_gone_writes_nothing_while_its_run_is_moved(
    folder, mover, monkeypatch
):
    from expkit_bookkeeping._runs import claims
    from expkit_bookkeeping._runs.claims import Claim
    from expkit_bookkeeping._runs.processes import this_process

    monkeypatch.setattr(claims, "SETTLES_WITHIN_S", 0.1)
    former = Claim(folder, 1, 1, this_process(), lambda: 0.0)

    with pytest.raises(ClaimLost, match=f"being moved to the trash by process {mover.pid}"):
        former.heartbeat()


@pytest.mark.parametrize("rival", [claim_run, lambda path: move_to_trash(path, reason="cleanup")])
def test_an_owner_that_goes_on_while_another_process_judges_its_run_keeps_it(
    folder, monkeypatch, rival
):
    """A notebook's cell failed and runs again, while others resume or move what has failed."""
    claim_run(folder).finish("failed")
    process = os.fork()
    if not process:
        after_link(monkeypatch, lambda: (folder / "linked").touch() or wait_for(folder / "again"))
        before_link(monkeypatch, lambda: (folder / "judged").touch() or wait_for(folder / "opened"))
        with contextlib.suppress(RunClaimed):
            rival(folder)
            os._exit(1)
        os._exit(0)

    wait_for(folder / "judged")
    claim = claim_run(folder)
    (folder / "opened").touch()
    wait_for(folder / "linked")
    timer = threading.Timer(0.2, (folder / "again").touch)
    timer.start()
    claim.heartbeat()

    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    timer.join()
    claim.finish("completed")
    assert (read_run(folder).state, read_run(folder).attempt) == ("completed", 1)


def test_a_run_that_is_moved_back_can_go_on(folder):
    run(FAIL, folder)
    trash = move_to_trash(folder, reason="cleanup")
    trash.rename(folder)

    assert removed_runs(experiment(folder)) == []
    assert claim_run(folder).attempt == 2


def test_a_run_whose_folder_moves_while_it_is_claimed_starts_in_a_new_one(folder, monkeypatch):
    run(FAIL, folder)
    before_link(monkeypatch, lambda: folder.rename(folder.with_name("elsewhere")))

    assert claim_run(folder).attempt == 1
    assert read_run(folder.with_name("elsewhere")).state == "failed"


def test_a_run_that_another_mover_takes_first_is_reported_as_gone(folder, monkeypatch):
    run(FAIL, folder)
    before_link(monkeypatch, lambda: folder.rename(folder.with_name("elsewhere")))

    with pytest.raises(FileNotFoundError, match="Somebody else has just moved"):
        move_to_trash(folder, reason="cleanup")


def test_a_claim_on_another_run_that_has_taken_the_place_comes_to_nothing(folder, monkeypatch):
    """The folder is replaced between look and link, and the new run has the judged number."""
    run(FAIL, folder)

    def replace():
        folder.rename(folder.with_name("elsewhere"))
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        holders.append(holder)
        holder.stdout.readline()

    holders = []
    before_link(monkeypatch, replace)
    try:
        with pytest.raises(RunClaimed, match=r"held by process \d+"):
            claim_run(folder)
        assert read_run(folder).pid == holders[0].pid
        assert find_run(folder).state == "running"
    finally:
        holders[0].communicate(b"\n")


def test_a_claim_of_a_run_that_is_being_removed_elsewhere_is_void_after_half_an_hour(folder):
    run(FAIL, folder)
    claims = folder / "claims"
    content = json.loads((claims / "0001.json").read_text())
    content |= {"purpose": "remove", "attempt": None, "host": "node7", "process_start": "x/1"}
    (claims / "0002.json").write_text(json.dumps(content))
    old = (claims / "0002.json").stat().st_mtime

    os.utime(folder / "run.json", (old - 7200, old - 7200))
    with pytest.raises(RunClaimed, match="free 30 minutes after"):
        claim_run(folder)
    os.utime(claims / "0002.json", (old - 3600, old - 3600))

    assert claim_run(folder).number == 3


def test_what_version_0_1_0_wrote_is_the_attempt_of_its_number(folder):
    run(FAIL, folder)
    run(FAIL, folder)
    path = folder / "run.json"
    content = json.loads(path.read_text())
    assert (content.pop("claim"), content["attempt"]) == (2, 2)
    path.write_text(json.dumps(content))

    assert (read_run(folder).claim, read_run(folder).attempt) == (2, 2)
    claim = claim_run(folder)
    assert (claim.number, claim.attempt) == (3, 3)


def test_the_attempts_of_a_run_whose_run_json_is_damaged_are_counted_on(folder):
    run(FAIL, folder)
    run(FAIL, folder)
    (folder / "run.json").write_text("{")

    assert claim_run(folder).attempt == 3


def test_a_folder_that_is_moved_away_while_it_is_claimed_is_claimed_anew(tmp_path):
    folder, moved = tmp_path / "a", tmp_path / "moved"

    def clock() -> float:
        if (folder / "claims" / "0001.json").exists() and not moved.exists():
            folder.rename(moved)  # between the claim and run.json
        return time.time()

    claim = claim_run(folder, clock=clock)

    assert (claim.attempt, claim.record.state) == (1, "running")
    assert (moved / "claims" / "0001.json").exists()
