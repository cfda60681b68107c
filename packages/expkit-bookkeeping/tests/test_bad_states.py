"""Bad input to states, checkpoints and results: each error says what, where and what instead."""

import datetime
import os

import numpy as np
import pandas as pd
import pytest

from expkit_bookkeeping import Bookkeeping, find_checkpoints

if "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
    import torch
else:
    try:
        import torch
    except ImportError:
        torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="torch is not installed")


@pytest.fixture
def run(tmp_path):
    with Bookkeeping(tmp_path / "exp" / "training" / "run", console=False) as run:
        yield run


def contents(folder):
    return sorted(
        path.name
        for part in ("states", "results")
        for path in (folder / part).rglob("*")
        if path.is_file()
    )


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../../other/run", "leaves the run folder"),
        ("a/../../../b", "leaves the run folder"),
        ("/etc/passwd", "is absolute"),
        ("C:/windows", "is absolute"),
        ("a\\b", "has a character"),
        ("a\0b", "has a character"),
        ("", "is empty"),
        (".hidden", "is hidden"),
        ("a/.b.tmp", "is hidden"),
    ],
)
def test_a_name_that_leaves_the_folder_is_refused(run, name, fault):
    for save in (run.save_results, run.save_encoder):
        with pytest.raises(ValueError, match=f"{fault}.*Give a name below .*results|states"):
            save({"a": 1}, name)
    with pytest.raises(ValueError, match=fault):
        run.load_results(name)

    assert contents(run.folder) == []


def test_a_link_that_leads_out_of_the_folder_is_refused(run, tmp_path):
    run.create_folder("results")
    (tmp_path / "elsewhere").mkdir()
    (run.folder / "results" / "link").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ValueError, match="leads out of the run folder through a link"):
        run.save_results({"a": 1}, "link/test")


def test_a_name_that_is_no_text_is_refused(run):
    with pytest.raises(TypeError, match="A name must be text such as 'predictions', not 3"):
        run.save_results({"a": 1}, 3)


# --- results ---------------------------------------------------------------------------------


class Thing:
    pass


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        ({"a": [1, {"b": Thing()}]}, "x", r"results\.a\[1\]\.b is a .*Thing.*convert it"),
        ({"day": datetime.date(2020, 1, 1)}, "x", r"results\.day is a datetime\.date"),
        ({"a": {1, 2}}, "x", r"results\.a is a set"),
        ({("a", 1): 2}, "x", r"The key \('a', 1\) of results is a tuple"),
        ({1: 2}, "x.json", r"The key 1 of results is not text.*Save it as \.yaml"),
        ({"a": "NaN"}, "x.json", r"results\.a is the text 'NaN'.*Save it as \.yaml"),
        ({"a": np.longdouble(1)}, "x", r"results\.a is a numpy\.longdouble"),
        ({"a": 1}, "x.csv", r"dict is not written as \.csv.*: \.yaml, \.yml, \.json"),
        (np.ones(2), "x.yaml", r"ndarray is not written as \.yaml.*: \.npy"),
        (pd.DataFrame({"a": [1]}), "x.npy", r"DataFrame is not written as \.npy.*: \.csv"),
        (pd.Series([1]), "x", r"not pandas\..*Series: call \.to_frame\(\) first"),
        (0.5, "x", "not float: put it into a dict under a name"),
        (np.array([Thing()]), "x", r"stored by pickle only.*\.astype\(str\)"),
        (np.ma.masked_array([1], [True]), "x", r"would lose its mask: save \.filled\(\)"),
        (pd.DataFrame({"a": [1, "x"]}), "x.csv", r"column 'a' holds 1 \(int\) beside.*\.parquet"),
        (pd.DataFrame({"a": [Thing()]}), "x.csv", r"column 'a' holds .*Thing"),
        (pd.DataFrame({"a": pd.period_range("2020", periods=1)}), "x.csv", r"dtype period\[D\]"),
        (pd.DataFrame({("a", "b"): [1]}), "x.csv", "one row of column names"),
        (pd.DataFrame({"a": [1, "x"]}), "x.parquet", "Parquet cannot hold this table"),
        (pd.DataFrame({"a": [1], 1: [2]}), "x.parquet", "names of one type.* int, str"),
    ],
)
def test_results_that_would_not_be_read_back_equal_are_refused(run, data, name, message):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises((TypeError, ValueError), match=message):
        run.save_results(data, name)

    assert contents(run.folder) == []


def test_results_that_hold_themselves_are_refused(run):
    data = {}
    data["self"] = data

    with pytest.raises(TypeError, match="holds itself or is nested too deeply"):
        run.save_results(data, "x")


def test_missing_results_name_what_exists(run):
    run.save_results({"a": 1}, "test_scores")

    with pytest.raises(FileNotFoundError, match=r"Did you mean 'test_scores\.yaml'\? There are"):
        run.load_results("test_score.yaml")


def test_an_ambiguous_name_asks_for_the_suffix(run):
    run.save_results({"a": 1}, "test")
    run.save_results(np.ones(2), "test")

    with pytest.raises(ValueError, match=r"'test\.yaml', 'test\.npy'\. Give the suffix"):
        run.load_results("test")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", b'{"a": '),
        ("x.yaml", b"a: [1"),
        ("x.yaml", b"a: !!python/object/apply:os.getcwd []"),
        ("x.npy", b"\x93NUMPY\x01"),
        ("x.parquet", b"PAR1"),
        ("x.json", b"\xff"),
    ],
)
def test_a_damaged_results_file_is_named(run, name, content):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    run.create_folder("results")
    (run.folder / "results" / name).write_bytes(content)

    with pytest.raises(ValueError, match=rf"results.{name} cannot be read"):
        run.load_results(name)


def test_a_table_that_lost_a_column_is_refused(run):
    path = run.save_results(pd.DataFrame({"a": [1], "b": [2]}), "table")
    path.write_text("a\n1\n")

    with pytest.raises(ValueError, match="it has 1 columns, its schema 2"):
        run.load_results("table")


# --- encoders --------------------------------------------------------------------------------


class Labels:
    def __init__(self, labels=()):
        self.labels = labels

    def to_dict(self):
        return {"labels": self.labels}

    @classmethod
    def from_dict(cls, data):
        return cls(data["labels"])


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (Thing(), r"encoder is a .*Thing, which has no state_dict.*pickle=True"),
        (Labels, r"encoder is the class .*Labels; save an object of it"),
        (Labels([lambda: None]), r"encoder\.labels\[0\] is a function.*pickle=True"),
        (Labels({"a": datetime.date(2020, 1, 1)}), r"encoder\.labels\.a is a datetime\.date"),
        (Labels(np.zeros(1, "i4,f8")), r"encoder\.labels is an array of dtype \[\('f0'"),
    ],
)
def test_an_encoder_that_needs_pickle_is_refused(run, encoder, message):
    with pytest.raises(TypeError, match=message):
        run.save_encoder(encoder)

    assert contents(run.folder) == []


def test_an_encoder_of_another_class_is_refused(run):
    run.save_encoder(Labels([1]))

    with pytest.raises(TypeError, match=r"encoder\.json holds a .*Labels, not a .*Thing"):
        run.load_encoder(Thing)


def test_a_pickled_encoder_is_not_loaded_unasked(run):
    run.save_encoder(Labels([1]), pickle=True)

    with pytest.raises(ValueError, match=r"encoder\.pkl is a pickle.*pass pickle=True"):
        run.load_encoder(Labels)


def test_a_missing_encoder_names_what_exists(run):
    run.save_encoder(Labels([1]), "labels")

    with pytest.raises(FileNotFoundError, match=r"Did you mean 'labels\.json'\?"):
        run.load_encoder(Labels, "label")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": "other"}',
        '{"format": "expkit-encoder", "class": "CLASS", "made_by": "to_dict", "content": '
        '{"labels": {"$array": {"dtype": "<f8", "shape": [2], "base64": "AAAA"}}}}',
        '{"format": "expkit-encoder", "class": "CLASS", "made_by": "to_dict", "content": '
        '{"labels": {"$estimator": ["os.path.join", {}]}}}',
        '{"format": "expkit-encoder", "class": "CLASS", "made_by": "to_dict", "content": '
        '{"labels": {"$unknown": 1}}}',
    ],
)
def test_a_damaged_encoder_file_is_named(run, text):
    path = run.save_encoder(Labels([1]))
    path.write_text(text.replace("CLASS", f"{Labels.__module__}.{Labels.__qualname__}"))

    with pytest.raises(ValueError, match=r"encoder\.json (is damaged|cannot be read back)"):
        run.load_encoder(Labels)


# --- states and checkpoints ------------------------------------------------------------------


TOO_LONG = 1 << 2032


class LongNumber(int):
    pass


def model():
    return torch.nn.Linear(2, 2)


@needs_torch
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [0, {"b": Thing()}]}, r"teacher\.a\[1\]\.b is a .*Thing"),
        ({"f": len}, r"teacher\.f is a builtin_function_or_method.*leave it out"),
        ({"words": np.array(["a"])}, r"teacher\.words is a numpy array of dtype <U1"),
        ({"day": np.datetime64("2020")}, r"teacher\.day is a numpy\.datetime64"),
        ({Thing(): 1}, r"The key <.*Thing.*> of teacher is a"),
        ({"path": os}, r"teacher\.path is a module"),
        ({"at": np.datetime64("2020", "ns")}, r"teacher\.at is a numpy\.datetime64"),
        ({"at": np.datetime64("NaT")}, r"teacher\.at is a numpy\.datetime64"),
        ({"took": [np.timedelta64(1, "ns")]}, r"teacher\.took\[0\] is a numpy\.timedelta64"),
        ({"took": np.timedelta64("NaT")}, r"teacher\.took is a numpy\.timedelta64"),
        ({np.datetime64("2020", "ns"): 1}, r"The key .* of teacher is a numpy\.datetime64"),
        ({"x": np.ma.masked_array([1.0], [True])}, r"teacher\.x is a masked.*lose its mask.*fill"),
        ({"n": {"m": TOO_LONG}}, r"teacher\.n\.m is a number of 2033 bits.*as text or bytes"),
        ({"n": -TOO_LONG}, r"teacher\.n is a number of 2033 bits; more than 2032 cannot be read"),
        ({"n": [1, TOO_LONG]}, r"teacher\.n\[1\] is a number of 2033 bits"),
        ({"n": ("a", None, TOO_LONG)}, r"teacher\.n\[2\] is a number of 2033 bits"),
        ({"n": {TOO_LONG}}, r"key of teacher\.n is a number of 2033 bits"),
        ({"n": {TOO_LONG: 1}}, r"key of teacher\.n is a number of 2033 bits"),
        ({("a", TOO_LONG): 1}, r"key of teacher is a number of 2033 bits"),
        ({"n": LongNumber(TOO_LONG)}, r"teacher\.n is a number of 2033 bits"),
    ],
    ids=[
        *("object", "function", "text array", "date", "key", "module"),
        *("date in ns", "no date", "duration", "no duration", "key in ns", "masked array"),
        *("long", "long negative", "long in list", "long in mixed tuple", "long in set"),
        *("long key", "long in key", "long of a class"),
    ],
)
def test_a_state_that_needs_pickle_is_refused_with_its_key_path(run, state, message):
    class Teacher:
        def state_dict(self):
            return state

        def load_state_dict(self, state):
            raise AssertionError

    with pytest.raises(TypeError, match=message):
        run.save_checkpoint(0, teacher=Teacher())
    with pytest.raises(TypeError, match=message):
        run.save_model(Teacher(), "teacher")

    assert contents(run.folder) == []


@needs_torch
@pytest.mark.parametrize("background", [False, True])
def test_a_tensor_of_a_class_that_is_not_torchs_is_refused(run, background):
    kind = type("EdgeIndex", (torch.Tensor,), {"__module__": "torchlike"})
    network = model()
    network.register_buffer("edges", torch.ones(2, 3).as_subclass(kind))

    with pytest.raises(TypeError, match=r"model\.edges is a torchlike\.EdgeIndex"):
        run.save_checkpoint(0, model=network, background=background)
    with pytest.raises(TypeError, match=r"graph\[0\]\.edges is a torchlike\.EdgeIndex"):
        run.save_checkpoint(0, graph=[{"edges": network.edges}], background=background)

    assert contents(run.folder) == []


@needs_torch
def test_what_a_module_keeps_beside_its_versions_is_refused_with_its_key_path(run):
    class Noted(torch.nn.Linear):
        def _save_to_state_dict(self, destination, prefix, keep_vars):
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination._metadata[prefix[:-1]]["note"] = Thing()

    with pytest.raises(TypeError, match=r"model\._metadata\.0\.note is a .*Thing"):
        run.save_checkpoint(0, model=torch.nn.Sequential(Noted(2, 2)))


@needs_torch
def test_a_value_that_needs_pickle_is_refused(run):
    with pytest.raises(TypeError, match=r"note is a .*Thing.*tensors, arrays of numbers"):
        run.save_checkpoint(0, note=Thing())


@needs_torch
@pytest.mark.parametrize(
    ("epoch", "options", "error", "message"),
    [
        (-1, {}, ValueError, "epoch must be 0 or more, not -1"),
        (1.5, {}, TypeError, r"epoch must be a whole number, not 1\.5"),
        (True, {}, TypeError, "epoch must be a whole number, not True"),
        ("3", {}, TypeError, "epoch must be a whole number, not '3'"),
        (0, {"batch": 0}, ValueError, "batch must be 1 or more, not 0"),
    ],
)
def test_a_checkpoint_of_no_epoch_is_refused(run, epoch, options, error, message):
    with pytest.raises(error, match=message):
        run.save_checkpoint(epoch, **options)

    assert contents(run.folder) == []


@needs_torch
def test_a_checkpoint_inside_an_epoch_needs_a_loader_that_can_continue(run):
    loader = torch.utils.data.DataLoader([1, 2])

    with pytest.raises(ValueError, match=r"has no state_dict\(\).*leave out batch.*Stateful"):
        run.save_checkpoint(0, batch=1, loader=loader)


@needs_torch
def test_a_state_that_was_not_saved_cannot_be_resumed(run):
    run.save_checkpoint(0, model=model())

    with pytest.raises(ValueError, match=r"has no state of optimizer; it has model\. Give save_"):
        run.resume(model=model(), optimizer=torch.optim.SGD(model().parameters(), lr=0.1))


@needs_torch
def test_what_cannot_be_loaded_into_is_refused(run):
    run.save_model(model())

    with pytest.raises(TypeError, match=r"model is a .*Thing, which lacks state_dict\(\)"):
        run.load_model(Thing())


@needs_torch
def test_a_missing_state_names_what_exists(run):
    run.save_model(model(), "teacher")

    with pytest.raises(FileNotFoundError, match=r"Did you mean 'teacher\.pt'\?"):
        run.load_model(model(), "techer")


@needs_torch
def test_a_state_of_another_model_is_named(run):
    path = run.save_model(model())

    with pytest.raises(RuntimeError) as caught:
        run.load_model(torch.nn.Linear(7, 7))
    assert str(caught.value).startswith(f"{path} was not loaded: Error(s) in loading state_dict")


@needs_torch
def test_an_error_with_a_text_of_its_own_gets_a_note(run):
    class Picky(torch.nn.Linear):
        def load_state_dict(self, *args, **kwargs):
            raise KeyError("scale")

    path = run.save_model(model())

    with pytest.raises(KeyError, match=r"^'scale'") as caught:
        run.load_model(Picky(2, 2))
    assert caught.value.__notes__ == [f"{path} was not loaded."]


@needs_torch
def test_a_damaged_state_is_named(run):
    path = run.save_model(model())
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(ValueError, match=r"model\.pt is damaged"):
        run.load_model(model())


@needs_torch
def test_a_checkpoint_that_needs_unpickling_is_named_and_stays(run):
    path = run.save_checkpoint(0)
    content = torch.load(path, weights_only=True)
    newest = path.with_name("epoch_0001.pt")
    torch.save({**content, "epoch": 1, "extra": {"note": Thing()}}, newest)

    with pytest.raises(ValueError, match=r"epoch_0001\.pt holds.*Thing.*add_safe_globals"):
        run.resume()

    assert contents(run.folder) == ["epoch_0000.pt", "epoch_0001.pt"]
    if hasattr(torch.serialization, "safe_globals"):  # since torch 2.5
        with torch.serialization.safe_globals([Thing]):
            assert run.resume() == 2


@needs_torch
def test_a_checkpoint_of_a_newer_version_asks_for_an_update(run):
    path = run.save_checkpoint(0)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "schema": 99}, path)

    with pytest.raises(ValueError, match=r"schema 99.*pip install -U expkit-bookkeeping"):
        run.resume()

    assert contents(run.folder) == ["epoch_0000.pt"]


def test_saving_needs_an_open_run(tmp_path):
    closed = Bookkeeping(tmp_path / "run")

    for save in (
        lambda: closed.save_checkpoint(0),
        lambda: closed.save_model(None),
        lambda: closed.save_results({}, "x"),
        closed.resume,
    ):
        with pytest.raises(RuntimeError, match=r"is not open\. Use `with Bookkeeping"):
            save()


@needs_torch
@pytest.mark.parametrize("name", ["epoch_0003", "epoch_0003.pt", "epoch_3_batch_20", "best"])
def test_a_state_may_not_have_a_checkpoints_name_as_those_are_removed(run, name):
    with pytest.raises(ValueError, match=r"is the name of a checkpoint, .*such as 'model_"):
        run.save_model(torch.nn.Linear(1, 1), name)

    assert contents(run.folder) == []


STRUCTURES = {
    "without epoch": lambda content: content.pop("epoch"),
    "without states": lambda content: content.pop("states"),
    "without rng": lambda content: content.pop("rng"),
    "an epoch of text": lambda content: content.update(epoch="3"),
    "states in a list": lambda content: content.update(states=[]),
    "a number of generators": lambda content: content.update(generators=3),
    "timers as a mapping": lambda content: content.update(timers={}),
    "a schema of text": lambda content: content.update(schema="1"),
}


@needs_torch
@pytest.mark.parametrize("change", STRUCTURES.values(), ids=STRUCTURES)
def test_a_checkpoint_of_right_bytes_and_wrong_structure_is_passed_over(tmp_path, change, caplog):
    with Bookkeeping(tmp_path / "run", console=False) as run:
        run.save_checkpoint(0, note="the older one")
        run.save_checkpoint(1, note="the newer one")
    path = tmp_path / "run" / "states" / "epoch_0001.pt"
    content = torch.load(path)
    change(content)
    torch.save(content, path)
    before = path.read_bytes()

    with Bookkeeping(tmp_path / "run", console=False) as run:
        start = run.resume(note="none")

        assert (start, start.extra["note"]) == (1, "the older one")
        log = (tmp_path / "run" / "training.log").read_text()
        assert f"{path} is" in log
        assert "passed over" in log
    assert path.read_bytes() == before


@needs_torch
def test_a_folder_by_the_name_of_a_checkpoint_does_not_stop_resuming(tmp_path):
    with Bookkeeping(tmp_path / "run", console=False) as run:
        run.save_checkpoint(0, note="kept")
    (tmp_path / "run" / "states" / "epoch_0007.pt").mkdir()

    with Bookkeeping(tmp_path / "run", console=False) as run:
        assert run.resume(note="none").extra["note"] == "kept"
    assert [file.epoch for file in find_checkpoints(tmp_path / "run")] == [0]
