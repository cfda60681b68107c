"""The heartbeat of runs whose scripts open no Bookkeeping."""

import threading
import time

from expkit_bookkeeping.launching import claim_run
from expkit_hydra._running.lifetime import heartbeat


def test_a_run_whose_script_opens_no_bookkeeping_says_that_it_lives(tmp_path):
    claim = claim_run(tmp_path / "training" / "a")
    before = claim.record.heartbeat_at

    with heartbeat(claim, interval_s=0.001):
        deadline = time.monotonic() + 30
        while claim.record.heartbeat_at == before and time.monotonic() < deadline:
            time.sleep(0.001)

    assert claim.record.heartbeat_at > before
    claim.finish("completed")


def test_a_heartbeat_ends_quietly_when_the_run_was_moved_away(tmp_path):
    claim = claim_run(tmp_path / "training" / "a")

    with heartbeat(claim, interval_s=0.001):
        (tmp_path / "training").rename(tmp_path / "moved")
        deadline = time.monotonic() + 30
        while any(thread.name == "expkit-heartbeat" for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.001)
