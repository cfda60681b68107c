import json
import math
import os
import signal
import subprocess
import threading

import pytest

from expkit_mlflow._journal.entries import JOURNAL_NAME
from expkit_mlflow._journal.ownership import has_owner
from expkit_mlflow._journal.reading import has_ended, read_attempts, read_entries
from expkit_mlflow._journal.writing import ImplicitStep, Journal

HEAD = {"kind": "run", "id": "a", "experiment": "digits", "run_name": "r"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "r" / JOURNAL_NAME


def test_what_was_appended_is_there_after_flush(path, kit):
    journal = Journal(path)
    journal.append(HEAD)
    journal.append_point({"loss": 0.5}, 3, 1.25)
    journal.flush()

    assert kit.lines(path) == [
        HEAD,
        {"kind": "metrics", "step": 3, "time": 1.25, "metrics": {"loss": 0.5}},
    ]
    journal.close()


def test_the_thread_writes_without_being_asked(path, kit):
    journal = Journal(path, interval_s=0.01)
    journal.append(HEAD)

    kit.wait_for(lambda: path.stat().st_size, "the background thread wrote nothing")

    assert json.loads(path.read_text())["kind"] == HEAD["kind"]
    journal.close()


def test_values_that_json_lacks_are_kept_exactly(path, kit):
    journal = Journal(path)
    journal.append_point({"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.1}, 0, 0.0)
    journal.close()

    (line,) = kit.lines(path)
    assert line["metrics"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 0.1}


def test_a_torn_last_line_is_cut_off_before_the_next_is_written(path, kit):
    path.parent.mkdir()
    path.write_text(json.dumps(HEAD) + '\n{"kind": "metr')

    Journal(path).close()

    assert kit.lines(path) == [HEAD]


def test_a_reader_leaves_a_line_that_is_still_being_written(path):
    path.parent.mkdir()
    path.write_text('{"kind": "tags"}\n{"kind": "me')

    assert [entry for entry, _ in read_entries(path)] == [{"kind": "tags"}]
    assert [offset for _, offset in read_entries(path)] == [17]


def test_a_damaged_line_costs_only_itself(path):
    path.parent.mkdir()
    path.write_text('{"kind": "tags"}\n\x00\x00\n[1]\n{"kind": "end"}\n')

    assert [entry.get("kind") for entry, _ in read_entries(path)] == ["tags", None, None, "end"]


def test_a_killed_process_loses_at_most_the_last_second(path, kit):
    code = """if True:
        import sys, time
        from pathlib import Path
        from expkit_mlflow._journal.writing import Journal
        journal = Journal(Path(sys.argv[1]))
        for step in range(1_000_000):
            journal.append_point({"step": float(step)}, step, time.time())
            if step % 100 == 0:
                print(step, flush=True)
                time.sleep(0.01)
    """
    process = kit.python(code, path)
    kit.wait_for(lambda: path.exists() and path.stat().st_size > 10_000, "nothing was written")
    process.send_signal(signal.SIGKILL)
    logged = [int(line) for line in process.stdout]
    process.wait()

    steps = [entry["step"] for entry, _ in read_entries(path)]
    assert steps == list(range(len(steps)))
    assert logged[-1] - steps[-1] < 12_000  # a second at 100 steps in 10 ms, and a slow machine


def test_steps_that_are_not_given_are_counted_for_each_metric(path, kit):
    journal = Journal(path)
    for metrics in ({"a": 1.0}, {"a": 2.0}, {"b": 1.0}):
        journal.append_point(metrics, ImplicitStep.NEXT, 0.0)
    journal.close()

    assert [line["step"] for line in kit.lines(path)] == [0, 1, 0]


def test_counting_continues_where_an_earlier_process_stopped(path, kit):
    for _ in range(2):
        journal = Journal(path)
        journal.append_point({"a": 1.0}, ImplicitStep.NEXT, 0.0)
        journal.append_point({"b": 1.0}, 7, 0.0)
        journal.append_point({"time.epoch.total_s": 1.0}, ImplicitStep.LATEST, 0.0)
        journal.close()

    steps = [line["step"] for line in kit.lines(path)]
    assert steps == [0, 7, 7, 1, 7, 8]


def test_a_disk_that_refuses_costs_a_warning_and_no_entry_once_it_recovers(path, kit, caplog):
    full = True

    def write(fd, data):
        if full:
            raise OSError(28, "No space left on device")
        return os.write(fd, data[:7])  # and in pieces

    journal = Journal(path, write=write, interval_s=60)
    for step in range(5):
        journal.append_point({"loss": 1.0}, step, 0.0)
        journal.flush()
    full = False
    journal.append(HEAD)
    journal.close()

    assert [line.get("step") for line in kit.lines(path)] == [0, 1, 2, 3, 4, None]
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text


def test_a_disk_that_fills_within_a_line_keeps_whole_lines(path, kit):
    room = 150

    def write(fd, data):
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = os.write(fd, data[:room])
        room -= written
        return written

    journal = Journal(path, write=write, interval_s=60)
    for step in range(5):
        journal.append_point({"loss": 1.0}, step, 0.0)
    journal.flush()
    assert [entry["step"] for entry, _ in read_entries(path)] == [0, 1]
    room = 10_000
    journal.close()

    assert [line["step"] for line in kit.lines(path)] == [0, 1, 2, 3, 4]


def test_memory_stays_bounded_while_the_disk_refuses(path, caplog):
    def write(fd, data):
        raise OSError(28, "No space left on device")

    journal = Journal(path, write=write, limit=100, interval_s=60)
    for step in range(1000):
        journal.append_point({"loss": 1.0}, step, 0.0)

    journal.flush()
    assert journal._unwritten.count(b"\n") <= 101
    assert "the oldest are dropped" in caplog.text


@pytest.mark.parametrize("written", [0, 7], ids=["before writing", "within a line"])
def test_an_interrupted_write_loses_no_point(path, kit, written):
    interrupt = True

    def write(fd, data):
        nonlocal interrupt
        if interrupt:
            interrupt = False
            os.write(fd, data[:written])
            raise SystemExit(143)  # what a handler of SIGTERM raises, anywhere
        return os.write(fd, data)

    journal = Journal(path, write=write, interval_s=60)
    for _ in range(3):
        journal.append_point({"loss": 1.0}, ImplicitStep.NEXT, 0.0)
    with pytest.raises(SystemExit):
        journal.flush()
    journal.append_point({"loss": 1.0}, ImplicitStep.NEXT, 0.0)
    journal.close()

    assert [line["step"] for line in kit.lines(path)] == [0, 1, 2, 3]


def test_sigterm_at_any_moment_loses_no_point(path, kit):
    code = """if True:
        import signal, sys
        from pathlib import Path
        from expkit_mlflow._journal.writing import Journal
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
        journal = Journal(Path(sys.argv[1]), burst=10)
        def train():
            global step
            for step in range(10_000_000):
                journal.append_point({"loss": 1.0}, step, 0.0)
                if step == 1000:
                    print("ready", flush=True)
        # A call, as Python 3.12 and 3.13 (gh-108214, gh-148278) leave the jump back of a loop out
        # of the `try` around it: what a signal's handler raises just there would pass it by.
        try:
            train()
        except SystemExit:
            journal.close()
            print(step)
    """
    for _ in range(5):
        path.unlink(missing_ok=True)
        process = kit.python(code, path)
        process.stdout.readline()
        process.terminate()
        last = int(process.communicate()[0])
        assert {line["step"] for line in kit.lines(path)} >= set(range(last))


def test_a_loop_that_only_logs_makes_no_long_queue(path):
    journal = Journal(path, burst=100, interval_s=60)
    for step in range(1000):
        journal.append_point({"loss": 1.0}, step, 0.0)

    assert len(path.read_text().splitlines()) > 900  # with the thread asleep
    journal.close()
    assert len(path.read_text().splitlines()) == 1000


def test_a_disk_that_hangs_does_not_block_the_caller(path, kit):
    hangs, goes_on = threading.Event(), threading.Event()

    def write(fd, data):
        hangs.set()
        assert goes_on.wait(30)
        return os.write(fd, data)

    journal = Journal(path, write=write, burst=10, interval_s=0.01)
    journal.append_point({"loss": 1.0}, 0, 0.0)
    assert hangs.wait(30)
    for step in range(1, 1000):
        journal.append_point({"loss": 1.0}, step, 0.0)  # returns
    goes_on.set()
    journal.close()

    assert [line["step"] for line in kit.lines(path)] == list(range(1000))


def test_points_from_many_threads_all_arrive_whole(path, kit):
    journal = Journal(path, interval_s=0.01)

    def work(number):
        for step in range(500):
            journal.append_point({f"m{number}": 1.0}, step, 0.0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()

    assert len(kit.lines(path)) == 4000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_write_its_parents_entries_again(path, kit):
    journal = Journal(path, interval_s=60)
    journal.append(HEAD)
    child = os.fork()
    if not child:
        journal.flush()
        journal.close()
        os._exit(0)
    os.waitpid(child, 0)
    journal.close()

    assert kit.lines(path) == [HEAD]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_entries_of_a_forked_child_cause_one_warning(path, kit):
    code = """if True:
        import os, sys
        from pathlib import Path
        from expkit_mlflow._journal.writing import Journal
        journal = Journal(Path(sys.argv[1]), burst=2)
        if not os.fork():
            for step in range(10):
                journal.append_point({"loss": 1.0}, step, 0.0)
            os._exit(0)
        os.wait()
        journal.append_point({"loss": 1.0}, 10, 0.0)
    """
    process = kit.python(code, path)
    _, error = process.communicate()

    assert error.count("what this forked process logs is lost") == 1
    assert f"belongs to process {process.pid}" in error
    assert [line["step"] for line in kit.lines(path)] == [10]


def test_what_was_not_closed_is_written_when_the_process_ends(path, kit):
    code = """if True:
        import sys
        from pathlib import Path
        from expkit_mlflow._journal.writing import Journal
        Journal(Path(sys.argv[1])).append_point({"loss": 1.0}, 0, 0.0)
    """
    assert kit.python(code, path).wait() == 0

    assert len(kit.lines(path)) == 1


def test_the_owner_of_a_journal_is_seen_until_it_closes(path):
    journal = Journal(path)
    assert journal.is_owner
    assert has_owner(path)
    other = Journal(path)
    assert not other.is_owner
    other.close()

    journal.close()
    assert not has_owner(path)


def test_attempts_are_found_between_the_metrics(path):
    for number in (1, 2):
        journal = Journal(path)
        journal.append({**HEAD, "attempt": number})
        journal.append_point({"run": 1.0}, 0, 0.0)
        journal.append({"kind": "end", "status": "FAILED", "time": 1.0})
        journal.close()

    assert [line["attempt"] for line in read_attempts(path)] == [1, 2]
    assert has_ended(path)


def test_an_entry_that_json_cannot_hold_costs_only_itself(path, kit, caplog):
    journal = Journal(path, interval_s=60)
    journal.append_point({"loss": 1.0}, 0, 0.0)
    journal.append_point({("a", "b"): 1.0}, 1, 0.0)
    journal.append_point({"loss": 2.0}, 2, math.nan)
    journal.append_point({"loss": 0.5}, 3, 0.0)
    journal.close()

    assert [line["step"] for line in kit.lines(path)] == [0, 3]
    assert "('a', 'b')" in caplog.text


def test_entries_that_a_full_disk_costs_are_counted_at_the_end(path, caplog):
    def write(fd, data):
        raise OSError(28, "No space left on device")

    journal = Journal(path, write=write, interval_s=60)
    journal.append(HEAD)
    journal.append(HEAD)
    journal.close()

    assert "2 entries are lost" in caplog.text


def test_asking_for_the_owner_makes_no_owner(path):
    import fcntl

    path.parent.mkdir()
    path.touch()
    with path.open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.02, lambda: fcntl.flock(asking, fcntl.LOCK_UN)).start()
        journal = Journal(path)
        assert journal.is_owner
        journal.close()


FORK = """if True:
    import os, signal, sys, time
    from pathlib import Path
    from expkit_mlflow._journal.writing import Journal
    journal = Journal(Path(sys.argv[1]))
    child = os.fork()  # as a DataLoader's worker
    if not child:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    if sys.argv[2] == "closed":
        journal.close()
        print("closed", flush=True)
        sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_forked_child_that_outlives_its_parent_does_not_own_the_journal(path, kit, how):
    process = kit.python(FORK, path, how, stdin=subprocess.PIPE)
    child = int(process.stdout.readline())
    try:
        if how == "closed":
            assert process.stdout.readline() == "closed\n"
        else:
            process.wait(30)
        kit.wait_for(lambda: not has_owner(path), "the child owns the journal", 5)
    finally:
        os.kill(child, signal.SIGKILL)
        process.kill()
        process.communicate()
