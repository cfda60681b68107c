import json
import os
import signal
import threading

import pytest

from expkit_mlflow import MLFlowLogger, TrackingError, sync
from expkit_mlflow._store.lock import one_writer, system_lock


def no_locks(fd):
    raise OSError(38, "Function not implemented")


HOLD = """if True:
    import sys, time
    from pathlib import Path
    from expkit_mlflow._store.lock import one_writer, system_lock
    def no_locks(fd):
        raise OSError(38, "Function not implemented")
    lock = system_lock if sys.argv[2] == "1" else no_locks
    with one_writer(Path(sys.argv[1]), wait_s=5, lock=lock):
        print("held", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("lock", [system_lock, no_locks])
def test_one_writer_at_a_time(tmp_path, lock):
    inside, most = 0, 0

    def write():
        nonlocal inside, most
        for _ in range(5):
            with one_writer(tmp_path / "lock", wait_s=30, lock=lock, poll_s=0.001):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize("system", [True, False])
def test_a_live_holder_is_named_and_a_killed_one_does_not_block(tmp_path, kit, system):
    path = tmp_path / "lock"
    lock = system_lock if system else no_locks
    holder = kit.python(HOLD, path, int(system))
    assert holder.stdout.readline() == "held\n"

    with (
        pytest.raises(TrackingError, match=f"held by process {holder.pid} on .* since .*sync"),
        one_writer(path, wait_s=0.1, lock=lock),
    ):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with one_writer(path, wait_s=10, lock=lock):
        pass
    assert list(tmp_path.glob(".*.tmp")) == []


def test_a_holder_on_another_machine_counts_until_its_heartbeat_stops(tmp_path):
    held = tmp_path / "lock.held"
    held.write_text(json.dumps({"host": "node7", "pid": 1, "process_start": "x/1", "since": "now"}))
    with (
        pytest.raises(TrackingError, match="process 1 on node7"),
        one_writer(tmp_path / "lock", wait_s=0.1, lock=no_locks),
    ):
        pass

    old = held.stat().st_mtime - 600
    os.utime(held, (old, old))
    with one_writer(tmp_path / "lock", wait_s=5, lock=no_locks):
        pass


def test_a_lock_that_other_machines_do_not_see_is_not_enough(tmp_path):
    held = tmp_path / "lock.held"
    held.write_text(json.dumps({"host": "node7", "pid": 1, "process_start": "x/1", "since": "now"}))

    with (
        pytest.raises(TrackingError, match="process 1 on node7"),
        one_writer(tmp_path / "lock", wait_s=0.1),  # Lustre with localflock: it has the flock
    ):
        pass


def test_a_holder_without_a_name_does_not_block_forever(tmp_path):
    held = tmp_path / "lock.held"
    held.write_text("")
    old = held.stat().st_mtime - 600
    os.utime(held, (old, old))

    with one_writer(tmp_path / "lock", wait_s=5):
        assert held.read_text()  # now with a name
    assert not held.exists()


def test_without_hard_links_the_systems_lock_suffices_and_is_needed(tmp_path, monkeypatch):
    def no_links(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with one_writer(tmp_path / "lock", wait_s=1):
        pass
    with (
        pytest.raises(TrackingError, match="neither locks nor hard links"),
        one_writer(tmp_path / "lock", wait_s=1, lock=no_locks),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


FORK = """if True:
    import os, sys, time
    from pathlib import Path
    from expkit_mlflow._store.lock import one_writer
    with one_writer(Path(sys.argv[1]), wait_s=5):
        child = os.fork()  # by another thread, as a DataLoader does
        if not child:
            time.sleep(60)
            os._exit(0)
    print(child, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_meanwhile_does_not_hold_the_lock(tmp_path, kit):
    process = kit.python(FORK, tmp_path / "lock")
    child = int(process.stdout.readline())
    try:
        with one_writer(tmp_path / "lock", wait_s=1):
            os.kill(child, 0)  # it still lives
            assert (tmp_path / "lock.held").exists()
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_a_held_store_makes_sync_say_who_holds_it(experiment):
    with MLFlowLogger(experiment, "r", mode="offline") as tracking:
        tracking.log_metrics({"loss": 1.0}, 0)

    with (
        one_writer(experiment / ".mlflow.lock", wait_s=1),
        pytest.raises(TrackingError, match="held by process"),
    ):
        sync(experiment, wait_s=0.1)
