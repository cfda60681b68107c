"""Names: readable, short, safe, and one for each run."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_hydra._grid.names import clean, name_from, name_of, swept_keys


@given(st.text())
def test_any_text_becomes_the_name_of_one_folder(text):
    name = clean(text)

    assert name == name_from(text).plain == clean(name) == unicodedata.normalize("NFC", name)
    assert name == clean(unicodedata.normalize("NFD", text))
    assert 0 < len(name.encode()) <= 100
    assert len(name_from(text).suffixed.encode()) <= 100
    assert name.isprintable()
    assert all(c in "._=+-" or unicodedata.category(c)[0] in "LMN" for c in name)
    assert name[0] not in ".-"


@given(st.text(st.characters(codec="ascii")))
def test_names_without_letters_beyond_ascii_are_those_of_version_0_1(text):
    assert name_from(text).of_version_0_1 == clean(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("naïve 中文", "naïve-中文"),
        ("Ünï", "Ünï"),
        ("İ", "İ"),
        ("हिन्दी", "हिन्दी"),  # vowel signs are marks
        ("x²", "x²"),
        ("שלום\u200f", "שלום-"),  # a mark of direction
        ("a\u200bb", "a-b"),  # a space of no width
        ("a\u3164b", "a-b"),  # a letter that is shown as nothing
        ("1\ufe0f\u20e3 🙂", "1-"),
        ("\x1b[2J", "_-2J"),
        ("caf\udce9", "caf-"),  # half a surrogate pair
    ],
)
def test_letters_and_digits_of_all_languages_stay_and_what_cannot_be_seen_goes(text, name):
    assert clean(text) == name


@given(st.text("abc_", min_size=101), st.text("abc_", min_size=101))
def test_long_names_stay_different(one, other):
    assert (clean(one) == clean(other)) == (one == other)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (
            {"model": "cnn", "optimizer": "adam", "lr": 0.001, "beta": None, "seed": 1},
            "cnn_adam_0.001_None_1",
        ),
        ({"model": "vision/resnet/18"}, "18"),
        ({"layers": [64, [1, 2]], "on": True}, "64-1-2_True"),
        ({"scheduler": {"name": "cosine", "warmup": 3}}, "name=cosine-warmup=3"),
        ({"lr": 1e-5, "x": 1.0}, "1e-05_1.0"),
        ({"path": "../../etc"}, "etc"),
        ({"path": "../.."}, "run"),
        ({"note": "a b, c"}, "a-b-c"),
        ({"x": -1.5, "seed": 1}, "_-1.5_1"),
        ({}, "run"),
        ({"x": ""}, "run"),
    ],
)
def test_names_are_the_values_of_the_swept_keys(values, name):
    assert name_of(values).plain == name


@pytest.mark.parametrize(
    ("params", "keys"),
    [
        (None, []),
        (
            {"a": [1], "b": "1,2", "c": "range(3)", "d": "x", "e": 4, "+f": [1]},
            ["a", "b", "c", "f"],
        ),
        ({"a": "[1,2]", "b": "'x,y'", "c": "[1],[2]", "d": "choice(1"}, ["c"]),
        ([{"a": [1]}, {"b": [2], "a": [3]}], ["a", "b"]),
    ],
)
def test_keys_that_params_sweep(params, keys):
    assert swept_keys(params) == keys
