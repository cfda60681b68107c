"""A line in an append file is whole, or an error is raised and nothing of it is left."""

import errno
import json
import os
import subprocess
import sys
import threading

import pytest

from expkit_bookkeeping import Bookkeeping
from expkit_bookkeeping.launching import append_line, claim_run, move_to_trash

# A limit on a file's size ends a write within a line, as a full disk does.
LIMITED = """
import resource, signal, sys
from pathlib import Path
from expkit_bookkeeping.launching import append_line
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
append_line(Path(sys.argv[1]), "x" * 100)
"""


@pytest.mark.parametrize("room", range(0, 101, 20))
def test_a_line_that_does_not_fit_raises_and_leaves_nothing(tmp_path, room):
    path = tmp_path / "lines.jsonl"
    append_line(path, "the first")
    size = path.stat().st_size

    command = [sys.executable, "-c", LIMITED, str(path), str(size + room)]
    process = subprocess.run(command, capture_output=True, text=True)

    assert process.returncode == 1
    assert "OSError" in process.stderr or "File too large" in process.stderr
    assert path.read_text() == "the first\n"
    append_line(path, "the next")
    assert path.read_text() == "the first\nthe next\n"


def test_a_line_after_half_a_line_begins_on_its_own(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"whole": 1}\n{"torn": ')

    append_line(path, '{"next": 2}')

    assert path.read_text().splitlines() == ['{"whole": 1}', '{"torn": ', '{"next": 2}']


def test_lines_of_several_threads_stay_whole(tmp_path):
    path = tmp_path / "lines.jsonl"

    def append(letter):
        for _ in range(50):
            append_line(path, letter * 200)

    threads = [threading.Thread(target=append, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(letter * 200 for letter in "abcd" for _ in range(50))


def short_writes(monkeypatch, sizes):
    """Let os.write take only so many bytes at each call, as a full disk does; 0 refuses."""
    write, left = os.write, list(sizes)

    def short(fd, data):
        if not left:
            return write(fd, data)
        size = left.pop(0)
        if size == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, bytes(data)[:size])

    monkeypatch.setattr(os, "write", short)


def test_a_run_whose_move_is_half_noted_stays_where_it_was(tmp_path, monkeypatch):
    experiment = tmp_path / "digits"
    for name in "ab":
        claim_run(experiment / "training" / name).finish("failed")
    move_to_trash(experiment / "training" / "a", reason="cleanup")
    short_writes(monkeypatch, [60])

    with pytest.raises(OSError, match="60 of") as raised:
        move_to_trash(experiment / "training" / "b", reason="cleanup")

    assert raised.value.errno == errno.ENOSPC
    assert (experiment / "training" / "b" / "run.json").is_file()
    move_to_trash(experiment / "training" / "b", reason="cleanup")
    lines = (experiment / ".trash" / "removed.jsonl").read_text().splitlines()
    assert [json.loads(line)["run_name"] for line in lines] == ["a", "b"]


@pytest.mark.parametrize("sizes", [[10], [10, 0], [10, 10, 0], [0]], ids=str)
def test_metrics_survive_short_writes_without_half_a_line(tmp_path, monkeypatch, sizes):
    path = tmp_path / "run" / "metrics.jsonl"

    def train():
        with Bookkeeping(tmp_path / "run", console=False) as run:
            run.log_metrics({"loss": 2.0}, 0)
            run.log_metrics({"loss": 1.0}, 1)

    short_writes(monkeypatch, sizes)
    if 0 in sizes:  # the disk is full until the end
        with pytest.raises(OSError, match="No space"):
            train()
        assert path.read_bytes() == b""
    train()

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["metrics"]["loss"] for line in lines] == [2.0, 1.0]
