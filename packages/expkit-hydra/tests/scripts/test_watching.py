"""`status --watch` beside a sweep, on a terminal and elsewhere."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest

from expkit_hydra.commands import status

COLUMNS, LINES = 80, 24
WATCH = ("-m", "expkit_hydra", "status", "results/first", "--watch", "--interval", "0.1")


class Terminal:
    """A process on a terminal of its own, and what it has printed there."""

    def __init__(self, app, *arguments):
        self._end, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm"}
        environment.pop("COLUMNS", None)
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=app.folder,
            env=environment,
            stdin=end,
            stdout=end,
            stderr=end,
            start_new_session=True,
        )
        os.close(end)
        self.text = ""

    def read_until(self, pattern):
        while not re.search(pattern, self.text):
            self.text += os.read(self._end, 100_000).decode()

    def finish(self):
        try:
            while data := os.read(self._end, 100_000):
                self.text += data.decode()
        except OSError:  # the other end is closed
            pass
        os.close(self._end)
        return self.process.wait(60)


@pytest.fixture
def sweep(app):
    """A sweep whose second run waits and then fails; the first has completed."""
    app.touch("hang2", "fail2")
    process = app.start("train.py", "-m", "expkit.after=[]")
    app.wait_for_call(2)
    yield process
    app.finish(process, signal.SIGKILL)


def test_elsewhere_there_is_one_line_for_each_run_that_starts_or_ends(app, sweep):
    watching = app.start(*WATCH)
    first = watching.stdout.readline()
    app.remove("hang2")
    output = app.finish(watching)

    assert first == "1 completed, 1 running, 1 pending\n"
    assert watching.returncode == 1
    lines, _, final = output.partition("run  state")
    ends = re.findall(r"\] (\d) +(completed|failed)(.*)", lines)
    assert [end[:2] for end in ends] == [("2", "failed"), ("3", "completed")]
    assert ends[0][2].endswith("ValueError: 2 is too much")
    assert "2 completed, 1 failed" in final


def test_on_a_terminal_the_table_is_drawn_again_in_its_place(app, sweep):
    terminal = Terminal(app, *WATCH)
    terminal.read_until(r"1 completed, 1 running, 1 pending[^$]*1 completed, 1 running, 1 pending")
    app.remove("hang2")

    assert terminal.finish() == 1

    up = "\x1b[1A\x1b[2K"  # by which a picture is taken away before the next one
    assert up in terminal.text
    left = terminal.text.rpartition(up)[2]
    assert left.count("2 completed, 1 failed") == 1
    assert "running" not in left
    assert all(len(line) <= COLUMNS for line in re.sub(r"\x1b\[[\d;?]*\w", "", left).splitlines())


def test_ctrl_c_ends_it_quietly(app, sweep):
    terminal = Terminal(app, *WATCH)
    terminal.read_until("1 completed, 1 running, 1 pending")
    os.killpg(terminal.process.pid, signal.SIGINT)

    assert terminal.finish() == 130
    assert "Traceback" not in terminal.text
    assert "\x1b[?25h" in terminal.text  # the cursor is shown again
    assert app.states() == {"1": "completed", "2": "running"}


def test_it_ends_at_once_with_0_where_all_runs_are_completed(app, capsys):
    app.train("-m", "x=1,2", "expkit.after=[]")

    assert status([str(app.experiment), "--watch"]) == 0

    assert "2 completed\n" in capsys.readouterr().out


@pytest.mark.parametrize("seconds", ["0", "soon", "-1", "nan"])
def test_an_interval_that_is_none_is_refused(capsys, seconds):
    with pytest.raises(SystemExit, match="2"):
        status(["results/first", "--watch", "--interval", seconds])

    assert "is not a number of seconds" in capsys.readouterr().err
