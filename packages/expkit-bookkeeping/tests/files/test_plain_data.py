"""One walk from values to plain data; what each kind of file makes of the rest."""

import enum
import json
import math
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_bookkeeping import Bookkeeping, config_hash
from expkit_bookkeeping._files.plain_data import SPECIAL_NUMBERS
from expkit_bookkeeping.launching import json_data, read_yaml


class Optimizer(enum.Enum):
    ADAM = "adam"


class Schedule(enum.StrEnum):
    COSINE = "cos"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(), part, max_size=4),
    max_leaves=12,
)


def numbers(value):
    """The numbers that JSON lacks, back from their text."""
    if isinstance(value, dict):
        return {key: numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return list(map(numbers, value))
    return SPECIAL_NUMBERS.get(value, value) if isinstance(value, str) else value


@given(VALUES)
def test_data_in_json_is_strict_and_read_back_equal(value):
    text = json.dumps(json_data(value), allow_nan=False)

    assert repr(numbers(json.loads(text))) == repr(numbers(value))


def test_what_is_not_quite_plain_becomes_the_same_in_a_configuration_and_in_its_hash(tmp_path):
    kit = {"experiment_id": "e", "run_name": "r", "results_dir": str(tmp_path)}
    written = {
        "optimizer": Optimizer.ADAM,
        "schedule": Schedule.COSINE,
        "by_kind": {Optimizer.ADAM: 1, Schedule.COSINE: 2},
        "lr": np.float32(0.5),
        "seed": np.int64(3),
        "sizes": (8, np.bool_(True)),
        "data": Path("a/b"),
        "eps": math.inf,
    }

    with Bookkeeping.from_config(kit | written, console=False) as run:
        pass

    read = read_yaml(run.folder / "config.yaml")
    assert read == kit | {
        "optimizer": "ADAM",
        "schedule": "COSINE",
        "by_kind": {"ADAM": 1, "COSINE": 2},
        "lr": 0.5,
        "seed": 3,
        "sizes": [8, True],
        "data": "a/b",
        "eps": math.inf,
    }
    assert config_hash(read) == config_hash(kit | written)


@pytest.mark.parametrize(
    "value", [date(2026, 11, 30), np.datetime64("2026-11-30"), {1}, np.zeros(2), 1j, object()]
)
def test_what_is_no_data_is_refused_with_its_path(value, tmp_path):
    with pytest.raises(TypeError, match=r"^model\.sizes\[1\] is a .* not data"):
        json_data({"model": {"sizes": [0, value]}})
    with pytest.raises(
        TypeError, match=r"^model\.sizes\[1\] of the configuration is a .* not data"
    ):
        Bookkeeping(tmp_path, config={"model": {"sizes": [0, value]}})


def test_data_that_holds_itself_is_refused():
    circle: dict[str, object] = {}
    circle["a"] = [circle]

    with pytest.raises(TypeError, match="holds itself"):
        json_data(circle)
