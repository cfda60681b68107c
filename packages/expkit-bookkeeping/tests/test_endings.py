"""Bookkeeping alone: whatever leaves the block is recorded, and goes on as it is."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_bookkeeping import Bookkeeping, read_run


class Odd(BaseException):
    """Refuses to be judged or shown."""

    def __bool__(self):
        raise self

    def __str__(self):
        raise self

    def add_note(self, note):
        raise self


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Odd(), "failed"),
        (asyncio.CancelledError(), "failed"),
        (GeneratorExit(), "failed"),
        (SystemExit([0]), "failed"),
        (SystemExit("no data"), "failed"),
        (SystemExit(3), "failed"),
        (SystemExit(0), "completed"),
        (SystemExit(None), "completed"),
        (SystemExit(143), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (BaseExceptionGroup("both", [GeneratorExit(), ValueError("a")]), "failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_whatever_leaves_the_block_is_recorded_and_raised(tmp_path, error, state):
    with pytest.raises(type(error)) as caught, Bookkeeping(tmp_path / "a", console=False):
        raise error
    record = read_run(tmp_path / "a")

    assert caught.value is error
    assert record.state == state
    assert (record.error is None) == (state == "completed")
    assert record.error is None or record.error["type"] == type(error).__name__


@given(text=st.text(st.characters(exclude_categories=())))
def test_any_text_is_logged_and_recorded(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("run")
    run = Bookkeeping(folder, console=False).open()
    run.log(text)
    run.close(error=ValueError(text))

    assert read_run(folder).state == "failed"
    assert (folder / "training.log").read_bytes().decode()


def test_a_message_that_cannot_be_shown_is_logged_as_such(tmp_path, capsys):
    with Bookkeeping(tmp_path / "a") as run:
        run.log(Odd())
    printed = capsys.readouterr()

    assert "Odd, whose text raises Odd" in printed.out
    assert "Logging error" not in printed.err
