import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_mlflow._store.limits import clean_key, shorten

validation = pytest.importorskip("mlflow.utils.validation")


@given(st.text(max_size=400), st.integers(min_value=20, max_value=250))
def test_every_cleaned_key_is_one_that_mlflow_accepts(key, limit):
    validation._validate_metric_name(clean_key(key, limit))
    assert len(clean_key(key, limit)) <= limit
    assert clean_key(clean_key(key, limit), limit) == clean_key(key, limit)


def test_different_keys_stay_different_when_cleaned():
    assert len({clean_key(key) for key in ("acc@1", "acc#1", "acc_1", "acc 1")}) == 4


@given(st.text(max_size=400), st.integers(min_value=120, max_value=300))
def test_a_shortened_value_fits_and_begins_like_the_value(value, limit):
    short = shorten(value, limit)

    assert len(short) <= limit
    assert value.startswith(short.partition("… (")[0]) or short == value


def test_shortened_values_that_differ_at_the_end_stay_different():
    assert shorten("x" * 7000 + "a", 6000) != shorten("x" * 7000 + "b", 6000)
