"""Who is alive, and which rank it has: expkit-bookkeeping and expkit-mlflow agree on both."""

import os
import sys

import pytest
from workspace import REPOSITORY

from expkit_bookkeeping._runs import processes as of_bookkeeping
from expkit_mlflow._journal import processes as of_mlflow

BOTH = pytest.mark.parametrize("processes", [of_bookkeeping, of_mlflow], ids=["runs", "journal"])
BOOT = "5c1f7e0a-boot:4026531836"
OWN_PID = os.getpid()

MACHINES = [
    (f"{BOOT}/100", f"{BOOT}/999", True),
    (f"{BOOT}/100", "5c1f7e0a-boot:4026532999/100", False),  # another container
    (f"{BOOT}/100", "ffffffff-boot:4026531836/100", False),  # after a reboot
    ("mac.local:psutil/1763884800", "mac.local:psutil/1763884999", True),
    ("mac.local:psutil/1763884800", "other.local:psutil/1763884800", False),
    # 0.1 wrote the local time, in the shell's zone and language: no start can be compared with it
    ("mac.local:psutil/1763884800", "mac.local/Sun Nov 23 09:00:00 2025", False),
    (None, f"{BOOT}/100", False),
    (None, None, False),
]
# What the process with the pid has as its start now, what the record says, and who is alive.
STARTS = [
    (1763884800, "mac.local:psutil/1763884800", True),
    (1763884801, "mac.local:psutil/1763884800", True),  # rounded the other way
    (1763884800, "mac.local:psutil/1763884805", True),  # the clock was set meanwhile
    (1763884900, "mac.local:psutil/1763884800", False),  # the pid was given to another process
    (1763884800, "mac.local:psutil/soon", False),
    (1763884800, "mac.local:psutil/", False),
]


@BOTH
@pytest.mark.parametrize(("start", "other", "expected"), MACHINES)
def test_pids_are_compared_on_one_machine_only(processes, start, other, expected):
    assert processes.same_machine(start, other) is expected
    assert processes.same_machine(other, start) is expected


@BOTH
@pytest.mark.parametrize(("now_s", "start", "expected"), STARTS)
def test_without_proc_a_process_is_known_by_its_start_in_seconds(
    processes, now_s, start, expected, monkeypatch
):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(processes, "host_name", lambda: "mac.local")
    monkeypatch.setattr(processes, "_psutil_start", lambda pid: now_s)

    assert processes.process_start(OWN_PID) == f"mac.local:psutil/{now_s}"
    assert processes.process_is_alive(OWN_PID, start) is expected


@BOTH
@pytest.mark.parametrize("pid", [0, -1, 1 << 31, 10**300])
def test_a_number_that_no_process_can_have_is_nobody_who_could_be_asked(processes, pid):
    assert processes.process_is_alive(pid, f"{BOOT}/1") is None


@BOTH
def test_without_proc_and_psutil_nobody_is_called_dead(processes, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(processes, "_has_psutil", lambda: False)

    assert processes.process_start(OWN_PID) is None
    assert processes.process_is_alive(OWN_PID, "mac.local:psutil/1763884800") is None


def test_both_write_the_same_start():
    assert of_bookkeeping.process_start(OWN_PID) == of_mlflow.process_start(OWN_PID)
    assert of_bookkeeping.host_name() == of_mlflow.host_name()


def test_mlflow_knows_ranks_as_bookkeeping_does():
    ours = REPOSITORY / "packages/expkit-bookkeeping/src/expkit_bookkeeping/_recording/ranks.py"
    copy = REPOSITORY / "packages/expkit-mlflow/src/expkit_mlflow/_ranks.py"

    assert copy.read_text() == ours.read_text()
