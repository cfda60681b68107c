"""A living run is refused whatever the shell's zone and language are, also without /proc."""

import json
import os
import subprocess
import sys

import psutil
import pytest

from expkit_bookkeeping import find_runs, read_run
from expkit_bookkeeping._runs import processes
from expkit_bookkeeping.launching import claim_run, is_alive

# Only this module takes itself to be on a Mac; psutil reads /proc nevertheless.
PROGRAM = """
import sys
from pathlib import Path
from types import SimpleNamespace
from expkit_bookkeeping._runs import processes
processes.sys = SimpleNamespace(platform="darwin")
from expkit_bookkeeping import RunClaimed, read_run
from expkit_bookkeeping._runs import processes
from expkit_bookkeeping.launching import claim_run, is_alive
folder = Path(sys.argv[1])
try:
    claim_run(folder)
except RunClaimed as error:
    print("refused", is_alive(read_run(folder)), error, flush=True)
else:
    print("claimed", flush=True)
    sys.stdin.read()
"""


def start(folder, zone, language):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        env={**os.environ, "TZ": zone, "LC_ALL": language},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_without_proc_a_run_is_not_taken_over_from_another_zone_or_language(tmp_path):
    folder = tmp_path / "training" / "run"
    owner = start(folder, "Europe/Berlin", "C")
    try:
        assert owner.stdout.readline() == "claimed\n"
        with start(folder, "Asia/Tokyo", "de_DE.UTF-8") as second:
            answer = second.communicate()[0]

        assert answer.startswith("refused True")
        assert read_run(folder).process_start.endswith(
            f":psutil/{psutil.Process(owner.pid).create_time():.0f}"
        )
    finally:
        owner.communicate()
    # The owner is gone, and has left its run behind.
    with start(folder, "Asia/Tokyo", "C") as third:
        assert third.stdout.readline() == "claimed\n"
        third.stdin.close()


def edit_record(folder, **changes):
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


@pytest.mark.parametrize("minutes", [0, 20])
def test_a_record_of_0_1_without_proc_is_no_proof_that_its_owner_is_gone(
    tmp_path, minutes, monkeypatch
):
    folder = tmp_path / "training" / "run"
    claim_run(folder)
    host = os.uname().nodename
    edit_record(folder, process_start=f"{host}/Sun Nov 23 09:00:00 2025", pid=1)
    for path in (folder / "run.json", folder / "claims" / "0001.json"):
        seconds = path.stat().st_mtime - minutes * 60
        os.utime(path, (seconds, seconds))
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(processes, "_starts", {})  # this process is another one there

    assert is_alive(read_run(folder)) is None
    assert [record.state for record in find_runs(tmp_path)] == ["running"]


def test_a_run_copied_without_times_from_another_machine_is_lost_at_once(tmp_path):
    folder = tmp_path / "training" / "run"
    claim_run(folder)
    changes = {"process_start": "another-boot:1/1", "host": "node7"}

    edit_record(folder, **changes, heartbeat_at="2026-11-01T08:00:00.000000+00:00")

    assert is_alive(read_run(folder)) is False
    assert [record.state for record in find_runs(tmp_path)] == ["lost"]


@pytest.mark.parametrize("heartbeat_at", ["soon", None, 7, "0001-01-01T00:00:00+23:59"])
def test_a_heartbeat_that_is_no_time_proves_nothing(tmp_path, heartbeat_at):
    folder = tmp_path / "training" / "run"
    claim_run(folder)

    edit_record(folder, process_start="another-boot:1/1", heartbeat_at=heartbeat_at)

    assert is_alive(read_run(folder)) in (None, False)
    assert len(find_runs(tmp_path)) == 1
