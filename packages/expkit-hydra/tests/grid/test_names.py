"""Names: readable, short, safe, and one for each run."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_hydra import GridError
from expkit_hydra._grid.names import clean, name_of, refuse_shared_names, swept_keys


@given(st.text())
def test_any_text_becomes_the_name_of_one_folder(text):
    name = clean(text)

    assert re.fullmatch(r"[A-Za-z0-9_=+][A-Za-z0-9._=+-]*", name)
    assert len(name.encode()) <= 100
    assert clean(name) == name


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
    assert name_of(values) == name


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


def test_one_name_for_two_runs_names_the_missing_key():
    with pytest.raises(GridError) as raised:
        refuse_shared_names(
            ["mlp", "mlp"],
            [{"model": "mlp", "seed": 1}, {"model": "mlp", "seed": 2}],
            ["a", "b"],
            template="${model.name}",
        )

    assert str(raised.value) == (
        "Runs 0 and 1 of the grid would both be named 'mlp'. They differ in seed (1 and 2), which "
        "the template run_name: ${model.name} does not tell apart. Add the key, e.g. run_name: "
        "${model.name}_${seed}"
    )


def test_names_that_are_equal_once_cleaned_are_refused():
    with pytest.raises(
        GridError, match=r"note \('a b' and 'a-b'\), which is the same once cleaned"
    ):
        refuse_shared_names(
            ["a-b", "a-b"], [{"note": "a b"}, {"note": "a-b"}], ["1", "2"], template=None
        )


def test_one_configuration_may_have_one_name():
    assert refuse_shared_names(["a", "a"], [{}, {}], ["1", "1"], template=None) is None
