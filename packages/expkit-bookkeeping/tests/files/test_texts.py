"""Text of anything: whatever an exception holds and does, what run.json gets is text."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_bookkeeping._files.texts import (
    MOST_MESSAGE,
    MOST_TRACEBACK,
    error_facts,
    printable,
    shortened,
    text_of,
)

# Halves of surrogate pairs among them, as in a file name that is no UTF-8.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=50)
BASES = st.sampled_from(
    [BaseException, Exception, ValueError, OSError, SystemExit, KeyboardInterrupt, GeneratorExit,
     KeyError, UnicodeError, StopIteration, RecursionError, MemoryError, asyncio.CancelledError]
)  # fmt: skip
REFUSALS = st.sampled_from([None, ValueError, SystemExit, KeyboardInterrupt, RecursionError])


def raising(kind):
    def method(self, *arguments):
        raise kind("no text")

    return method


@st.composite
def exceptions(draw):
    """An exception of any class, whose methods may raise, and with causes that may be cycles."""
    members = {}
    for method in ("__str__", "__repr__", "__bool__", "__eq__", "__hash__", "__len__"):
        refusal = draw(REFUSALS)
        if refusal is not None:
            members[method] = raising(refusal)
    base = draw(BASES)
    name = draw(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")))
    error = type(name, (base,), members)(draw(ANY_TEXT))
    linked = draw(st.sampled_from(["alone", "cycle", "cause", "group", "notes"]))
    if linked == "cycle":
        other = ValueError(draw(ANY_TEXT))
        error.__cause__, other.__cause__ = other, error
        error.__context__ = other.__context__ = error
    elif linked == "cause":
        error.__cause__ = type("Cause", (Exception,), members)(draw(ANY_TEXT))
    elif linked == "group":
        error = BaseExceptionGroup(draw(ANY_TEXT), [error, error])
    elif linked == "notes":
        error.__notes__ = draw(st.sampled_from([None, [1, draw(ANY_TEXT)], "text", 3]))
    return error


@given(exceptions())
def test_every_exception_becomes_facts_that_json_and_utf_8_hold(error):
    facts = error_facts(error)

    assert json.loads(json.dumps(facts, ensure_ascii=False).encode()) == facts
    assert facts["type"] == type(error).__name__


@given(ANY_TEXT)
def test_a_message_that_is_text_is_kept_as_it_is(text):
    message = error_facts(ValueError(text))["message"]

    if text.isprintable():
        assert message == text
    assert message.encode().decode() == message


def test_a_message_of_ten_megabytes_is_cut_with_a_mark_and_the_frames_stay():
    def innermost_function():
        raise ValueError("x" * 10_000_000)

    with pytest.raises(ValueError, match="xxx") as caught:
        innermost_function()
    facts = error_facts(caught.value)

    assert facts["message"].startswith("xxx")
    assert facts["message"].endswith("… (9,990,000 characters left out)")
    assert len(facts["message"]) < MOST_MESSAGE + 50
    assert "innermost_function" in facts["traceback"]
    assert len(facts["traceback"]) < MOST_TRACEBACK + 50


def test_an_exception_that_refuses_its_text_is_named():
    refusing = type("Refusing", (Exception,), {"__str__": raising(KeyError)})
    facts = error_facts(refusing())

    assert facts["type"] == "Refusing"
    assert "Refusing" in facts["message"]
    assert "KeyError" in facts["message"]


def test_an_exception_whose_traceback_cannot_be_formatted_keeps_type_and_message():
    class Loader:
        def get_source(self, name):
            raise SystemExit("no source")

    code = compile("def fail():\n    raise ValueError('why')\n", "<elsewhere>", "exec")
    names = {"__name__": "elsewhere", "__loader__": Loader()}
    exec(code, names)
    with pytest.raises(ValueError, match="why") as caught:
        names["fail"]()
    facts = error_facts(caught.value)

    assert (facts["type"], facts["message"]) == ("ValueError", "why")
    assert "ValueError: why" in facts["traceback"]


def test_a_deep_recursion_and_a_long_chain_of_causes_become_facts():
    def recurse():
        recurse()

    with pytest.raises(RecursionError) as caught:
        recurse()
    assert error_facts(caught.value)["type"] == "RecursionError"
    error = ValueError("first")
    for number in range(5000):
        cause, error = error, ValueError(str(number))
        error.__cause__ = cause
    assert error_facts(error)["message"] == "4999"


@given(ANY_TEXT)
def test_what_a_terminal_would_obey_is_shown_and_the_rest_stays(text):
    shown = printable(text)

    assert shown.encode().decode() == shown
    assert not any(mark in shown for mark in "\x1b\x07\r\x9b\x00\x7f\u202e\u2066")
    if text.isprintable():
        assert shown == text


@given(ANY_TEXT, st.integers(0, 20))
def test_shortened_text_says_how_much_is_missing(text, most):
    short = shortened(text, most)

    assert short == text if len(text) <= most else f"({len(text) - most} " in short


def test_a_class_derived_from_text_does_what_text_does():
    class Odd(str):
        def encode(self, *arguments):
            raise ValueError("no")

    assert type(text_of(Odd("a"))) is str
