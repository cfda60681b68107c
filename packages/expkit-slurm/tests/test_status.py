"""What becomes of a run, told from run.json and Slurm's words."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from expkit_bookkeeping import RunRecord
from expkit_hydra import GridRun
from expkit_slurm import SlurmError
from expkit_slurm._display import ProgressDisplay, failure_line, progress_line
from expkit_slurm._liveness import owner_lives
from expkit_slurm._status import RunFacts, RunStatus, count_states, derive_status
from expkit_slurm._submission import Array
from expkit_slurm._tasks import Task
from expkit_slurm._waiting import GracePeriod, interval_s, wait_until_over

RUN = GridRun(3, "cnn_1", (), {}, "hash", None, Path("results/x/training/cnn_1"))
ARRAY = Array(0, "x-0", 0, 8, state="submitted", job_id="12")
JOB = {"job_id": "15", "array_job_id": "12", "array_task_id": "3", "restart_count": 0}


def record(state: str, attempt: int = 1, **facts: object) -> RunRecord:
    return RunRecord(RUN.folder, "cnn_1", state, id="a", attempt=attempt, slurm=JOB, **facts)


def task(state: str, **facts: object) -> Task:
    return replace(Task("12", 3, "15", state), **facts)


@pytest.mark.parametrize(
    ("found", "said", "expected"),
    [
        # run.json is the first to be believed
        (record("completed"), task("RUNNING"), "completed"),
        (record("completed"), task("FAILED", exit_code=1), "completed"),
        (record("failed"), task("RUNNING"), "failed"),
        (record("running"), task("RUNNING"), "running"),
        # a task that waits has not begun, or was put back
        (None, task("PENDING"), "pending"),
        (record("interrupted"), task("PENDING", restarts=1), "pending"),
        (record("running"), task("PENDING", restarts=1), "pending"),
        (record("interrupted"), task("RUNNING"), "running"),
        # a word of Slurm's that nobody knows never ends a run
        (None, task("HIBERNATING"), "pending"),
        (record("running"), task("SUSPENDED"), "running"),
        # a task that is gone while its run never said how it ended
        (record("running"), task("FAILED", signal=9), "lost"),
        (record("running"), task("OUT_OF_MEMORY", exit_code=0), "lost"),
        (record("running"), None, "lost"),
        (record("interrupted"), None, "interrupted"),
        (record("failed"), None, "failed"),
        # a task that never got as far as its run
        (None, task("FAILED", exit_code=127), "lost"),
        (None, task("CANCELLED"), "cancelled"),
        (None, task("COMPLETED", exit_code=0), "skipped"),
        (None, None, "lost"),
    ],
)
def test_states(found, said, expected):
    assert derive_status(RunFacts(RUN, found, array=ARRAY, task_id=3, task=said)).state == expected


def test_packed_runs_that_were_stopped_are_not_over_while_their_task_may_go_back_into_the_queue():
    facts = RunFacts(RUN, record("interrupted"), array=ARRAY, task_id=3, is_packed=True)

    assert derive_status(replace(facts, task=task("RUNNING"))).state == "running"
    assert derive_status(replace(facts, task=task("FAILED", exit_code=130))).state == "interrupted"
    lost = replace(facts, record=record("lost"), task=task("RUNNING"))  # of another job, before
    assert derive_status(lost).state == "pending"


def test_a_task_without_a_log_never_started():
    facts = RunFacts(RUN, None, array=ARRAY, task_id=3, has_log=False)

    assert derive_status(facts).state == "cancelled"


def test_what_an_earlier_attempt_left_says_nothing_of_the_one_submitted():
    facts = RunFacts(
        RUN,
        record("failed"),
        earlier_versions=frozenset([("a", 1, "failed")]),
        array=ARRAY,
        task_id=3,
        task=task("PENDING", reason="Priority"),
    )

    assert (derive_status(facts).state, derive_status(facts).reason) == ("pending", "Priority")
    assert (
        derive_status(replace(facts, record=record("running", 2), task=task("RUNNING"))).state
        == "running"
    )


def test_where_slurm_does_not_answer_nothing_is_lost():
    facts = RunFacts(RUN, record("running"), array=ARRAY, task_id=3, slurm_answers=False)

    assert (derive_status(facts).state, derive_status(facts).reason) == (
        "running",
        "Slurm does not answer",
    )
    assert derive_status(replace(facts, record=None)).state == "pending"


@pytest.mark.parametrize("state", ["planned", "refused"])
def test_what_slurm_was_not_given_is_unsubmitted_with_its_words(state):
    array = replace(ARRAY, state=state, job_id=None, error="AssocMaxSubmitJobLimit")
    status = derive_status(RunFacts(RUN, None, array=array, task_id=3))

    assert (status.state, status.reason) == ("unsubmitted", "AssocMaxSubmitJobLimit")
    assert status.job is None


def test_a_killed_task_has_the_exit_code_that_a_shell_would_report():
    status = derive_status(
        RunFacts(RUN, record("running"), array=ARRAY, task_id=3, task=task("FAILED", signal=9))
    )

    assert status.exit_code == 137
    assert "SIGKILL" in status.reason


def test_the_owner_of_a_run_lives_while_its_task_runs_and_was_not_restarted():
    assert owner_lives(record("running"), task("RUNNING", restarts=0))
    assert not owner_lives(record("running"), task("RUNNING", restarts=1))
    assert not owner_lives(record("running"), task("PENDING"))
    assert not owner_lives(record("running"), task("NODE_FAIL"))


# --- waiting ----------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def statuses(*states: str, exit_code: int | None = None) -> list[RunStatus]:
    return [
        RunStatus(index, f"run{index}", state, exit_code=exit_code)
        for index, state in enumerate(states)
    ]


def watch(looks: list[list[RunStatus]], **arguments: object) -> tuple[list[RunStatus], Clock, list]:
    clock, cancelled = Clock(), []
    pending = iter(looks)
    last = [looks[-1]]

    def look() -> list[RunStatus]:
        return next(pending, last[0])

    found = wait_until_over(
        look,
        show=lambda found: None,
        cancel=lambda: cancelled.append(clock.now),
        clock=clock,
        sleep=clock.sleep,
        **arguments,
    )
    return found, clock, cancelled


def test_the_wait_ends_when_all_runs_are_over():
    found, clock, _ = watch([statuses("pending"), statuses("running"), statuses("completed")])

    assert [each.state for each in found] == ["completed"]
    assert 2 <= clock.now < 3


def test_a_run_that_looks_lost_gets_half_a_minute_to_say_its_last_word():
    seems_lost = statuses("lost", exit_code=0)
    found, clock, _ = watch([seems_lost, seems_lost, statuses("completed")])
    assert [each.state for each in found] == ["completed"]

    found, clock, _ = watch([seems_lost])
    assert [each.state for each in found] == ["lost"]
    assert clock.now >= 30

    # So ends a task of ours that has just written that its run failed.
    found, _, _ = watch([statuses("lost", exit_code=1), statuses("failed", exit_code=1)])
    assert [each.state for each in found] == ["failed"]


def test_a_run_that_was_cancelled_before_it_started_is_believed_at_once():
    found, clock, _ = watch([statuses("interrupted", "cancelled", "cancelled")])

    assert [each.state for each in found] == ["interrupted", "cancelled", "cancelled"]
    assert clock.now == 0


def test_a_run_of_which_slurm_says_that_it_went_wrong_is_lost_at_once():
    _, clock, _ = watch([statuses("lost", exit_code=137)])

    assert clock.now == 0


def test_the_wait_ends_at_its_time_out():
    found, clock, _ = watch([statuses("running")], timeout_s=25.0)

    assert [each.state for each in found] == ["running"]
    assert clock.now == 25.0


def test_too_many_failures_cancel_the_others_once():
    looks = [statuses("failed", "running"), statuses("failed", "interrupted")]
    found, _, cancelled = watch(looks, stop_after_failures=1)

    assert cancelled == [0.0]
    assert [each.state for each in found] == ["failed", "interrupted"]


def test_a_cancellation_that_slurm_does_not_take_is_tried_again_and_ends_no_wait():
    clock, tries = Clock(), []

    def cancel() -> None:
        tries.append(clock.now)
        if len(tries) < 3:
            raise SlurmError("nobody answers")

    found = wait_until_over(
        lambda: statuses("failed", "interrupted" if len(tries) == 3 else "running"),
        show=lambda found: None,
        cancel=cancel,
        stop_after_failures=1,
        clock=clock,
        sleep=clock.sleep,
    )
    assert [each.state for each in found] == ["failed", "interrupted"]
    assert 2 <= tries[-1] < 4


def test_the_grace_period_starts_over_when_a_run_is_seen_alive():
    clock = Clock()
    grace_period = GracePeriod(after_s=10, clock=clock)
    grace_period.apply(statuses("lost"))
    clock.now = 9
    grace_period.apply(statuses("running"))
    clock.now = 12

    assert grace_period.apply(statuses("lost"))[0].state == "running"


def test_looks_grow_rare_and_never_come_all_at_once():
    assert interval_s(0, jitter=lambda: 0) == 1
    assert interval_s(600, jitter=lambda: 0) == 60
    assert interval_s(600, jitter=lambda: 1) == 72
    assert interval_s(600, fixed_s=2, jitter=lambda: 0) == 2


# --- what is shown ----------------------------------------------------------------------------


def test_counts_come_in_the_order_that_people_read():
    assert list(count_states(statuses("failed", "pending", "completed", "odd"))) == [
        "completed",
        "pending",
        "failed",
        "odd",
    ]


def test_a_log_file_gets_a_line_for_each_failure_and_not_one_for_each_look():
    import io

    from rich.console import Console

    clock, out = Clock(), io.StringIO()
    with ProgressDisplay(Console(file=out, width=200), total=2, clock=clock) as display:
        for _ in range(5):
            display.show(statuses("running", "pending"))
            clock.now += 1
        for _ in range(5):
            display.show([*statuses("lost")[:1], *statuses("x", "pending")[1:]])
            clock.now += 1
    lines = out.getvalue().splitlines()

    assert lines == ["1 running, 1 pending", "run0 lost"]


def test_a_terminal_shows_a_bar_counts_and_the_newest_failures():
    import io

    from rich.console import Console

    out = io.StringIO()
    screen = Console(file=out, width=100, force_terminal=True)
    many = [replace(each, reason="boom") for each in statuses(*["failed"] * 8, "running")]
    with ProgressDisplay(screen, total=9) as display:
        display.show(many)
    text = out.getvalue()

    assert "1 running, 8 failed" in text
    assert "run7 failed: boom" in text
    assert "run0 failed" not in text
    assert "and 3 before" in text


def test_the_line_of_a_failure_says_why_and_where():
    status = RunStatus(0, "cnn_1", "lost", "out of memory", "12_3", node="node2")

    assert failure_line(status) == "cnn_1 lost: out of memory (12_3 on node2)"
    assert "an hour" in progress_line(
        {"running": 1}, done=1, total=9, done_here=1, elapsed_s=7200.0
    )


def test_an_experiment_that_slurm_never_had_costs_no_imports(tmp_path):
    code = (
        "import sys; from pathlib import Path; from expkit_slurm._view import view_scheduler; "
        "print(view_scheduler(Path(sys.argv[1])), sorted(x for x in sys.modules if 'expkit' in x))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )

    light = ["expkit_slurm", "expkit_slurm._layout", "expkit_slurm._view"]
    assert done.stdout.strip() == f"None {light}"
