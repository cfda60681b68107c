import contextlib
import json
import math
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from hypothesis.extra import pandas as st_pandas

from expkit_bookkeeping import Bookkeeping
from expkit_bookkeeping._files.plain_data import SPECIAL_NUMBERS
from expkit_bookkeeping._results.values import load_results, save_results


@pytest.fixture
def run(tmp_path):
    with Bookkeeping(tmp_path / "exp" / "training" / "run", console=False) as run:
        yield run


def assert_same_table(back, frame):
    pd.testing.assert_frame_equal(
        back, frame, check_exact=True, check_index_type="exact", check_column_type="exact"
    )


# --- dict and list ---------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # no lone surrogates, UTF-8 has none
NUMBERS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)


def trees(text):
    def around(inner):
        return st.lists(inner) | st.dictionaries(TEXT, inner)

    return st.recursive(NUMBERS | text, around, max_leaves=12)


TREES = trees(TEXT)
JSON_TREES = trees(
    TEXT.filter(lambda text: text not in SPECIAL_NUMBERS)
)  # a test of bad input has those


@given(data=st.dictionaries(TEXT | st.integers() | st.booleans(), TREES) | st.lists(TREES))
@settings(max_examples=60, deadline=None)
def test_yaml_gives_back_what_was_saved(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("yaml")
    save_results(folder, data, "data.yaml")

    assert repr(load_results(folder, "data")) == repr(data)


@given(data=st.dictionaries(TEXT, JSON_TREES) | st.lists(JSON_TREES))
@settings(max_examples=60, deadline=None)
def test_json_gives_back_what_was_saved(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("json")
    save_results(folder, data, "data.json")

    assert repr(load_results(folder, "data")) == repr(data)


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_numpy_scalars_become_plain_numbers(run, suffix):
    results = {
        "accuracy": np.float32(0.5),
        "epochs": np.int64(3),
        "done": np.bool_(True),
        "confusion": np.eye(2, dtype=int),
        "shape": (1, 2),
        "loss": np.float64("nan"),
        "bound": -math.inf,
    }
    path = run.save_results(results, f"test{suffix}")
    back = run.load_results("test")

    assert math.isnan(back.pop("loss"))
    assert back == {
        "accuracy": 0.5,
        "epochs": 3,
        "done": True,
        "confusion": [[1, 0], [0, 1]],
        "shape": [1, 2],
        "bound": -math.inf,
    }
    assert {type(value) for value in back.values()} == {float, int, bool, list}
    assert path == run.folder / "results" / f"test{suffix}"


def test_other_programs_can_read_the_files(run):
    results = {"accuracy": np.float64(0.25), "labels": ["Katze", "Größe"]}
    as_yaml, as_json = run.save_results(results, "a.yaml"), run.save_results(results, "b.json")

    assert yaml.safe_load(as_yaml.read_text()) == json.loads(as_json.read_text()) == results
    assert "Größe" in as_yaml.read_text()
    assert "Größe" in as_json.read_text()


def test_json_stays_strict_with_nan(run):
    path = run.save_results({"loss": math.nan, "bound": [math.inf]}, "test.json")

    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {
        "loss": "NaN",
        "bound": ["Infinity"],
    }


def test_a_hydra_configuration_can_be_saved(run):
    omegaconf = pytest.importorskip("omegaconf")
    run.save_results(omegaconf.OmegaConf.create({"lr": 0.1, "twice": "${lr}"}), "config")

    assert run.load_results("config") == {"lr": 0.1, "twice": 0.1}


def test_torch_scalars_become_plain_numbers(run):
    torch = pytest.importorskip("torch")
    run.save_results({"loss": torch.tensor(0.5), "all": torch.arange(3)}, "test")

    assert run.load_results("test") == {"loss": 0.5, "all": [0, 1, 2]}


# --- arrays ----------------------------------------------------------------------------------


@given(
    array=st_numpy.arrays(
        st_numpy.scalar_dtypes(), st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0)
    )
)
@settings(max_examples=60, deadline=None)
def test_arrays_keep_their_dtype_shape_and_bytes(tmp_path_factory, array):
    folder = tmp_path_factory.mktemp("npy")
    save_results(folder, array, "array")
    back = load_results(folder, "array")

    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


# --- DataFrames ------------------------------------------------------------------------------

COLUMNS = {
    "int8": np.array([1, 2, 3], "int8"),
    "uint64": np.array([2**64 - 1, 0, 1], "uint64"),
    "float64": [0.1, math.nan, -math.inf],
    "float32": np.array([0.1, 1e-40, 3], "float32"),
    "bool": [True, False, True],
    "text": ["a", "", "NA"],
    "special text": ['x,y\n"q"\r\n', None, " z "],
    "object": np.array(["a", None, "b"], object),
    "category": pd.Categorical(["lo", "hi", None], categories=["lo", "hi", "no"], ordered=True),
    "category of int": pd.Categorical([3, 1, 3]),
    "date": pd.to_datetime(["2020-01-01", "2020-01-02 03:04:05.123456789", None], format="ISO8601"),
    "zoned date": pd.to_datetime([1603585800, 1603589400, 0], unit="s", utc=True).tz_convert(
        "Europe/Berlin"
    ),
    "duration": pd.to_timedelta(["1s", "2 days", None]),
    "Int64": pd.array([1, None, 3], dtype="Int64"),
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "Float32": pd.array([0.1, None, 3.0], dtype="Float32"),
    "string": pd.array(["q", None, "w"], dtype="string"),
}
INDEXES = {
    "range": pd.RangeIndex(5, 11, 2, name="step"),
    "text": pd.Index(["a", "b", "c"], name="sample"),
    "numbers": pd.Index([1.5, math.nan, 2.0]),
    "dates": pd.date_range("2020", periods=3, freq="D"),
    "several": pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["fold", None]),
}
SHAPES = {
    "empty": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": np.array([], "int32"), "b": np.array([], "str")}),
    "no columns": pd.DataFrame(index=["a", "b"]),
    "unnamed columns": pd.DataFrame(np.ones((2, 2))),
    "numbered columns": pd.DataFrame({3: [1.0], 1: [2.0]}),
    "named columns": pd.DataFrame({"a": [1.0]}).rename_axis(columns="metric"),
    "empty name": pd.DataFrame({"": [None, 1.0]}),
}
parquet = pytest.param(".parquet", id="parquet")
suffixes = pytest.mark.parametrize("suffix", [pytest.param(".csv", id="csv"), parquet])


def check(folder, frame, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    save_results(folder, frame, f"table{suffix}")
    assert_same_table(load_results(folder, "table"), frame)


@suffixes
@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.filterwarnings("ignore:Series.values")  # of pyarrow, on dates with a zone
def test_columns_keep_their_dtype(tmp_path, name, suffix):
    check(tmp_path, pd.DataFrame({name: COLUMNS[name]}), suffix)


@suffixes
@pytest.mark.parametrize("name", INDEXES)
def test_the_index_is_given_back(tmp_path, name, suffix):
    check(tmp_path, pd.DataFrame({"score": [1, 2, 3]}, index=INDEXES[name]), suffix)


@suffixes
@pytest.mark.parametrize("name", SHAPES)
def test_unusual_shapes_are_given_back(tmp_path, name, suffix):
    check(tmp_path, SHAPES[name], suffix)


@given(
    frame=st_pandas.data_frames(
        [
            st_pandas.column("a", dtype=int),
            st_pandas.column("b", dtype=float),
            st_pandas.column("c", elements=TEXT, dtype=object),
        ]
    )
)
@settings(max_examples=40, deadline=None)
def test_csv_gives_a_table_back_or_refuses_it(tmp_path_factory, frame):
    folder = tmp_path_factory.mktemp("csv")
    with contextlib.suppress(TypeError):
        save_results(folder, frame, "table")
        assert_same_table(load_results(folder, "table"), frame)


@pytest.mark.parametrize("text", ["\r", "a\r\nb", "\0", '"', "\u2028", ",", "'"])
def test_special_characters_are_given_back_or_refused(tmp_path, text):
    frame = pd.DataFrame({"text": [text, "x"], text: [1, 2]})
    try:
        save_results(tmp_path, frame, "table")
    except TypeError:
        assert text == "\0"
    else:
        assert_same_table(load_results(tmp_path, "table"), frame)


def test_a_csv_file_opens_without_expkit(run):
    frame = pd.DataFrame({"label": ["a", "b"], "score": [0.1, 0.25]}, index=[7, 9])
    frame.index.name = "sample"
    path = run.save_results(frame, "predictions")

    assert path.read_text() == "sample,label,score\n7,a,0.1\n9,b,0.25\n"
    assert path.with_name("predictions.csv.schema.json").is_file()


def test_a_csv_file_of_another_program_is_read_as_pandas_does(run):
    run.create_folder("results")
    (run.folder / "results" / "other.csv").write_text("a,b\n1,x\n")

    assert_same_table(run.load_results("other"), pd.DataFrame({"a": [1], "b": ["x"]}))


# --- names -----------------------------------------------------------------------------------


def test_a_name_may_have_folders(run):
    path = run.save_results({"a": 1}, "fold1/scores")

    assert path == run.folder / "results" / "fold1" / "scores.yaml"
    assert run.load_results("fold1/scores.yaml") == {"a": 1}


def test_a_dot_in_a_name_is_no_suffix(run):
    path = run.save_results({"a": 1}, "lr_0.1")

    assert path.name == "lr_0.1.yaml"
    assert run.load_results("lr_0.1") == {"a": 1}


def test_another_rank_writes_no_results(tmp_path):
    with Bookkeeping(tmp_path / "run", rank=1) as run:
        path = run.save_results({"a": 1}, "test")

    assert path.name == "test.yaml"
    assert not path.exists()


def test_saving_again_replaces(run):
    run.save_results({"a": 1}, "test")
    run.save_results({"a": 2}, "test")

    assert run.load_results("test") == {"a": 2}


def test_parquet_without_pyarrow_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ImportError, match=r'pip install "expkit-bookkeeping\[parquet\]"'):
        run.save_results(pd.DataFrame({"a": [1]}), "table.parquet")
