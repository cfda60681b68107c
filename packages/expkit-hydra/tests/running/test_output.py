"""A run's output goes to its own file, in the sweep's process."""

import io
import sys

from expkit_hydra._running.output import StreamOutput


def test_a_handler_that_keeps_the_stream_of_one_run_writes_to_the_next(tmp_path, monkeypatch):
    own = io.StringIO()
    monkeypatch.setattr(sys, "stdout", own)
    with StreamOutput() as output:
        with output.to(tmp_path / "first"):
            kept = sys.stdout
            print("one")
        with output.to(tmp_path / "second"):
            kept.write("two\n")
        kept.write("between\n")

    assert (tmp_path / "first").read_text() == "one\n"
    assert (tmp_path / "second").read_text() == "two\n"
    assert own.getvalue() == "between\n"
    assert sys.stdout is own


def test_a_breakpoint_in_a_run_talks_to_the_terminal(tmp_path, monkeypatch):
    own = io.StringIO()
    monkeypatch.setattr(sys, "stdout", own)
    monkeypatch.setattr(sys, "breakpointhook", lambda: print("(Pdb)"))

    with StreamOutput() as output, output.to(tmp_path / "run"):
        breakpoint()

    assert own.getvalue() == "(Pdb)\n"
