"""Waiting for runs, and what is shown meanwhile."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from expkit_slurm import RunStatus, SlurmError
from expkit_slurm._cluster.pending_reasons import obstacle_of
from expkit_slurm._cluster.tasks import Task
from expkit_slurm._watching.display import ProgressDisplay, failure_line, progress_line
from expkit_slurm._watching.waiting import GracePeriod, interval_s, wait_until_over


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

    final = wait_until_over(
        look,
        show=lambda shown: None,
        cancel=lambda: cancelled.append(clock.now),
        clock=clock,
        sleep=clock.sleep,
        **arguments,
    )
    return final, clock, cancelled


def test_the_wait_ends_when_all_runs_are_over():
    final, clock, _ = watch([statuses("pending"), statuses("running"), statuses("completed")])

    assert [status.state for status in final] == ["completed"]
    assert 2 <= clock.now < 3


def test_a_run_that_looks_lost_gets_half_a_minute_to_say_its_last_word():
    seems_lost = statuses("lost", exit_code=0)
    final, clock, _ = watch([seems_lost, seems_lost, statuses("completed")])
    assert [status.state for status in final] == ["completed"]

    final, clock, _ = watch([seems_lost])
    assert [status.state for status in final] == ["lost"]
    assert clock.now >= 30

    # So ends a task of ours that has just written that its run failed.
    final, _, _ = watch([statuses("lost", exit_code=1), statuses("failed", exit_code=1)])
    assert [status.state for status in final] == ["failed"]


def test_a_run_that_was_cancelled_before_it_started_is_believed_at_once():
    final, clock, _ = watch([statuses("interrupted", "cancelled", "cancelled")])

    assert [status.state for status in final] == ["interrupted", "cancelled", "cancelled"]
    assert clock.now == 0


def test_a_run_of_which_slurm_says_that_it_went_wrong_is_lost_at_once():
    _, clock, _ = watch([statuses("lost", exit_code=137)])

    assert clock.now == 0


def test_the_wait_ends_at_its_time_out():
    final, clock, _ = watch([statuses("running")], timeout_s=25.0)

    assert [status.state for status in final] == ["running"]
    assert clock.now == 25.0


def test_too_many_failures_cancel_the_others_once():
    looks = [statuses("failed", "running"), statuses("failed", "interrupted")]
    final, _, cancelled = watch(looks, stop_after_failures=1)

    assert cancelled == [0.0]
    assert [status.state for status in final] == ["failed", "interrupted"]


def test_a_cancellation_that_slurm_does_not_take_is_tried_again_and_ends_no_wait():
    clock, tries = Clock(), []

    def cancel() -> None:
        tries.append(clock.now)
        if len(tries) < 3:
            raise SlurmError("nobody answers")

    final = wait_until_over(
        lambda: statuses("failed", "interrupted" if len(tries) == 3 else "running"),
        show=lambda shown: None,
        cancel=cancel,
        stop_after_failures=1,
        clock=clock,
        sleep=clock.sleep,
    )
    assert [status.state for status in final] == ["failed", "interrupted"]
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


# What is shown.


def test_a_log_file_gets_a_line_for_each_failure_and_not_one_for_each_look():
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
    out = io.StringIO()
    screen = Console(file=out, width=100, force_terminal=True)
    many = [replace(status, reason="boom") for status in statuses(*["failed"] * 8, "running")]
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


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        (
            None,
            "Priority Resources Dependency BeginTime Licenses JobArrayTaskLimit AssocGrpCpuLimit "
            "AssocMaxJobsLimit QOSMaxJobsPerUserLimit QOSMaxCpuPerUserLimit QOSGrpNodeLimit "
            "MaxJobsPerAccount PartitionDown Unheard_of",
        ),
        (None, "ReqNodeNotAvail,_UnavailableNodes:node3"),
        (
            "held",
            "JobHeldUser JobHeldAdmin JobHoldMaxRequeue launch_failed_requeued_held "
            "job_requeued_in_held_state",
        ),
        (
            "never",
            "DependencyNeverSatisfied BadConstraints PartitionTimeLimit InvalidQOS InvalidAccount "
            "AssocMaxCpuPerJobLimit AssocMaxWallDurationPerJobLimit QOSMaxNodePerJobLimit "
            "QOSMinGRES QOSMaxMemoryPerJob",
        ),
    ],
)
def test_what_resolves_by_itself_is_told_from_what_does_not(kind, reasons):
    for reason in reasons.split():
        obstacle = obstacle_of(Task("12", 3, "15", "PENDING", reason.replace("_", " ")))
        assert (None if obstacle is None else obstacle.kind) == kind, reason


def test_each_reason_is_shown_once_and_no_remaining_time_where_somebody_has_to_act():
    waiting = [
        RunStatus(0, "a", "completed"),
        RunStatus(1, "b", "pending", "Priority"),
        RunStatus(2, "c", "pending", "JobHeldUser", advice="held", obstacle="held"),
        RunStatus(3, "d", "pending", "JobHeldUser", advice="held", obstacle="held"),
    ]
    clock, screen = Clock(), Console(file=io.StringIO(), width=200)
    with ProgressDisplay(screen, total=4, clock=clock) as display:
        display.show([RunStatus(0, "a", "running"), *waiting[1:]])
        for _ in range(3):
            clock.now += 60
            display.show(waiting)

    lines = screen.file.getvalue().splitlines()
    assert [line for line in lines if "wait" in line] == [
        "2 runs wait: JobHeldUser; held",
        "b waits: Priority",
    ]
    assert not any("left" in line for line in lines)
