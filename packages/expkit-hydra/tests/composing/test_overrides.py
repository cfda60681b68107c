"""Overrides are written so that Hydra reads back what was meant."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from expkit_hydra._composing.overrides import to_override

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abcXYZ_", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_hydra_reads_back_any_value(value):
    (override,) = OverridesParser.create().parse_overrides([to_override("key", value)])

    assert override.value() == value
    assert type(override.value()) is type(value)
