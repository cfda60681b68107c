"""Tagged JSON: what goes in comes out, types included; anything else is refused by name."""

import enum
import json
import math
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_bookkeeping._files.tagged_json import from_tagged, to_tagged

TEXTS = st.text(st.characters(exclude_categories=[])) | st.sampled_from(["$tuple", "$", "$float"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | st.floats() | TEXTS
)
KEYS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(TEXTS, inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=20,
)


def same(one: object, other: object) -> bool:
    """Whether two values are equal and of the same types, NaN and the sign of zero included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or repr(one) == repr(other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(key, other_key) and same(item, other_item)
            for (key, item), (other_key, other_item) in zip(one.items(), other.items(), strict=True)
        )
    return one == other


def written(value: object) -> object:
    """A value after it was in a file, as run.json is written and read."""
    text = json.dumps(to_tagged(value), ensure_ascii=False, allow_nan=False)
    return from_tagged(json.loads(text.encode()))


@given(VALUES)
def test_what_goes_in_comes_out_types_included(value):
    assert same(written(value), value)


def test_an_int_with_more_digits_than_python_prints_comes_out():
    assert written({-(10**5000): 10**5000}) == {-(10**5000): 10**5000}


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0.5, 0.5),
        ((1, 2.0), {"$tuple": [1, 2.0]}),
        (float("-inf"), {"$float": "-Infinity"}),
        ({"a": [None]}, {"a": [None]}),
        ({1: "one"}, {"$dict": [[1, "one"]]}),
        ({"$tuple": [1]}, {"$dict": [["$tuple", [1]]]}),
        (-(2**63), -(2**63)),
        (2**63, {"$int": "0x8000000000000000"}),
    ],
)
def test_what_json_has_is_written_as_it_is_and_the_rest_tagged(value, data):
    assert to_tagged(value) == data


@pytest.mark.parametrize(
    ("scalar", "number"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.1), 0.10000000149011612),
        (np.float16("nan"), math.nan),
        (np.longdouble(0.5), 0.5),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.array(7), 7),
    ],
)
def test_numpy_scalars_become_numbers(scalar, number):
    assert same(written([scalar]), [number])


def test_torch_scalars_become_numbers():
    torch = pytest.importorskip("torch")
    values = (
        torch.tensor(0.5, requires_grad=True),
        torch.tensor(7),
        torch.tensor(True),
        torch.tensor(0.5, dtype=torch.bfloat16),
    )

    assert same(written(values), (0.5, 7, True, 0.5))
    for tensor in (torch.ones(1), torch.tensor(1j), torch.empty((), device="meta")):
        with pytest.raises(TypeError, match="torch"):
            to_tagged(tensor)


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Color(enum.IntEnum):
    RED = 1


LOOP: list[object] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (object(), "It is a builtins.object"),
        ({"a": [1, {2}]}, r"a\[1\] is a builtins.set"),
        (Unprintable(), "Unprintable"),
        ({(Unprintable(), 10**5000): 1}, "Unprintable"),
        ({Color.RED: 1}, "The key .* of it is a .*Color"),
        (Color.RED, "Color"),
        (namedtuple("Pair", "a b")(1, 2), "Pair"),
        (OrderedDict(a=1), "OrderedDict"),
        (b"bytes", "bytes"),
        (1j, "complex"),
        (np.ones(1), "ndarray"),
        (np.complex64(1), "complex64"),
        (np.datetime64(0, "ns"), "datetime64"),
        (np.str_("a"), "str_"),
        (LOOP, "more than 100 lists"),
    ],
)
def test_anything_else_is_refused_with_its_place_and_type(value, where):
    with pytest.raises(TypeError, match=where):
        to_tagged(value)


@pytest.mark.parametrize(
    "data",
    [
        {"$set": [1]},
        {"$tuple": [1], "a": 2},
        {"$tuple": 1},
        {"$dict": [[1]]},
        {"$dict": [[[], 1]]},
        {"$float": "0x1"},
        {"$int": 1},
        {"$str": "zz"},
        [{"a": {"$int": None}}],
    ],
)
def test_tags_of_others_are_refused(data):
    with pytest.raises(ValueError, match="no tagged JSON"):
        from_tagged(data)
