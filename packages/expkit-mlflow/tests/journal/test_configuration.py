from hypothesis import given
from hypothesis import strategies as st

from expkit_mlflow._journal.configuration import flatten

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
CONFIGS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab_", min_size=1), inner),
    max_leaves=12,
).map(lambda value: {"root": value})


@given(CONFIGS)
def test_every_configuration_becomes_flat_text(config):
    flat = flatten(config)

    assert flat
    assert all(type(key) is str and type(value) is str for key, value in flat.items())


def test_two_values_of_one_name_are_told(caplog):
    assert flatten({"a.b": 1, "a": {"b": 2, "c": 3}}) == {"a.b": "1", "a.c": "3"}

    assert "two values called a.b; MLflow gets the first" in caplog.text
