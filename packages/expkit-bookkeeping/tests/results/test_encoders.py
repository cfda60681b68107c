import datetime
import json
import sys

import numpy as np
import pytest

from expkit_bookkeeping import Bookkeeping


@pytest.fixture
def run(tmp_path):
    with Bookkeeping(tmp_path / "exp" / "training" / "run", console=False) as run:
        yield run


class Vocabulary:
    """An encoder with to_dict and from_dict."""

    def __init__(self, words):
        self.words = words

    def to_dict(self):
        return {"words": self.words}

    @classmethod
    def from_dict(cls, data):
        return cls(data["words"])


class Scaler:
    """An encoder whose from_dict fills it."""

    mean = None

    def to_dict(self):
        return {"mean": self.mean}

    def from_dict(self, data):
        self.mean = data["mean"]


class Codes:
    """An encoder in the style of torch."""

    def __init__(self, codes=()):
        self.codes = dict(codes)

    def state_dict(self):
        return {"codes": self.codes}

    def load_state_dict(self, state):
        self.codes = state["codes"]


class Estimator:
    """An estimator in the style of scikit-learn, without scikit-learn."""

    def __init__(self, unknown="error"):
        self.unknown = unknown

    def get_params(self, deep=True):
        return {"unknown": self.unknown}

    def fit(self, values):
        self.classes_ = np.unique(values)
        self.index_ = {value: i for i, value in enumerate(self.classes_.tolist())}
        return self


@pytest.mark.parametrize(
    "words",
    [
        {"cat": 0},
        {0: "cat", 1: "dog"},
        [("a", 1), ("b", 2.5)],
        {"$array": 1},
        {"x": {"$float": "nan"}},
        [float("inf"), -0.0],
        {"set": {1, 2}, "none": None, "text": "Grüße"},
        {True: 1, None: 2, ("a", 1): 3},
        slice(1, None),
    ],
    ids=repr,
)
def test_to_dict_is_given_back_exactly(run, words):
    path = run.save_encoder(Vocabulary(words))
    json.loads(path.read_text(), parse_constant=pytest.fail)  # strict JSON
    back = run.load_encoder(Vocabulary)

    assert repr(back.words) == repr(words)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.5, np.nan, -0.0]),
        np.arange(6, dtype="int8").reshape(2, 3),
        np.array(["a", "Grüße"]),
        np.array(["a", None, 3, (1, 2)], dtype=object),
        np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"),
        np.array(5, dtype=">u4"),
        np.zeros((0, 3), dtype="complex64"),
        np.array([np.longdouble("0.1")]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_are_given_back_with_dtype_and_shape(run, array):
    run.save_encoder(Vocabulary({"array": array, "scalar": array.dtype}))
    back = run.load_encoder(Vocabulary).words["array"]

    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert repr(back.tolist()) == repr(array.tolist())


def test_numpy_scalars_keep_their_type(run):
    run.save_encoder(Vocabulary([np.float32(0.1), np.int64(3), np.float64]))

    assert repr(run.load_encoder(Vocabulary).words) == repr(
        [np.float32(0.1), np.int64(3), np.float64]
    )


def test_from_dict_may_fill_the_given_object(run):
    scaler = Scaler()
    scaler.mean = 0.5
    run.save_encoder(scaler, "scaler")
    other = Scaler()

    assert run.load_encoder(other, "scaler") is other
    assert other.mean == 0.5


def test_an_encoder_with_a_state_dict_is_saved_as_one(run):
    pytest.importorskip("torch")
    path = run.save_encoder(Codes({"cat": 1}))

    assert path.name == "encoder.pt"
    assert run.load_encoder(Codes).codes == {"cat": 1}


def test_an_estimator_is_given_back_without_pickle(run):
    path = run.save_encoder(Estimator(unknown="ignore").fit(["cat", "dog"]), "labels")
    back = run.load_encoder(Estimator, "labels")

    assert path == run.folder / "states" / "labels.json"
    assert back.unknown == "ignore"
    assert back.classes_.tolist() == ["cat", "dog"]
    assert back.index_ == {"cat": 0, "dog": 1}


def test_an_object_given_is_filled_and_keeps_nothing_of_its_own(run):
    run.save_encoder(Estimator().fit(["cat"]))
    other = Estimator().fit(["dog", "emu"])
    other.extra_ = 1

    assert run.load_encoder(other) is other
    assert other.classes_.tolist() == ["cat"]
    assert not hasattr(other, "extra_")


def test_another_version_of_the_library_warns(run, monkeypatch):
    module = sys.modules[Estimator.__module__.partition(".")[0]]
    monkeypatch.setattr(module, "__version__", "1.0", raising=False)
    run.save_encoder(Estimator())
    monkeypatch.setattr(module, "__version__", "2.0")

    with pytest.warns(UserWarning, match=r"written by version 1\.0 .* this is 2\.0"):
        run.load_encoder(Estimator)


def test_pickle_is_written_and_read_on_request(run):
    day = datetime.date(2020, 1, 1)
    run.save_encoder(day, "day", pickle=True)

    assert run.load_encoder(datetime.date, "day", pickle=True) == day


def test_one_name_is_one_encoder(run):
    run.save_encoder(Vocabulary([1]), pickle=True)
    run.save_encoder(Vocabulary([2]))

    assert run.load_encoder(Vocabulary).words == [2]
    assert [path.name for path in (run.folder / "states").iterdir()] == ["encoder.json"]


def sklearn_cases():
    try:
        from sklearn import compose, decomposition, feature_extraction, pipeline, preprocessing
    except ImportError:
        return []
    numbers = np.random.default_rng(1).random((20, 3))
    words = np.array([["a", "x"], ["b", "y"], ["a", "z"]])
    texts = ["hello world", "foo bar"]
    scale_and_rotate = pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(2))
    both = compose.make_column_transformer((preprocessing.StandardScaler(), [0, 2]))
    return [
        (preprocessing.LabelEncoder(), ["cat", "dog", "cat"]),
        (preprocessing.LabelEncoder(), [3, 1, 2]),
        (preprocessing.StandardScaler(), numbers),
        (preprocessing.OneHotEncoder(min_frequency=2, handle_unknown="ignore"), words),
        (preprocessing.OrdinalEncoder(), words),
        (preprocessing.QuantileTransformer(n_quantiles=5), numbers),
        (feature_extraction.text.TfidfVectorizer(), texts),
        (scale_and_rotate, numbers),
        (both, numbers),
    ]


@pytest.mark.parametrize(
    ("encoder", "data"), sklearn_cases(), ids=lambda value: type(value).__name__
)
def test_scikit_learns_encoders_transform_as_before(run, encoder, data):
    encoder.fit(data)
    run.save_encoder(encoder)
    back = run.load_encoder(type(encoder))

    expected, result = encoder.transform(data), back.transform(data)
    if hasattr(expected, "toarray"):
        expected, result = expected.toarray(), result.toarray()
    assert result.dtype == expected.dtype
    assert np.array_equal(result, expected)
    assert back.get_params().keys() == encoder.get_params().keys()
