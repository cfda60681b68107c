import subprocess
import sys

import pytest

from expkit_mlflow import MLFlowLogger, TrackingError, sync

CFG = {"experiment_id": "digits", "mlflow": {"mode": "offline"}}


def config(**node):
    return lambda: MLFlowLogger.from_config({**CFG, "mlflow": node})


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (config(mode="onlin"), ValueError, "Unknown mode: 'onlin'. Did you mean 'online'?"),
        (
            config(tracking_url="x"),
            ValueError,
            "Did you mean 'tracking_uri'? Allowed: tracking_uri",
        ),
        (config(mode="online"), ValueError, "tracking_uri is None. Set it to a server (http://…)"),
        (config(tracking_uri="./mlruns"), ValueError, "removed its file store"),
        (config(tracking_uri="file:///mlruns"), ValueError, "mlflow migrate-filestore"),
        (
            config(tracking_uri="me:secret@localhost:5000"),
            ValueError,
            "'localhost:5000' has no scheme. Did you mean 'http://localhost:5000'?",
        ),
        (
            config(mode="online", tracking_uri="postgresql://me:secret@host/db"),
            ValueError,
            "tracking_uri is 'postgresql://me:***@host/db'",
        ),
        (config(tags=["a"]), TypeError, "cfg.mlflow.tags must be a mapping, got ['a']"),
        (
            lambda: MLFlowLogger.from_config({"experiment_id": "a", "mlflow": "online"}),
            TypeError,
            "cfg.mlflow must be a mapping with tracking_uri, mode, tags, got 'online'",
        ),
        (
            lambda: MLFlowLogger.from_config({}),
            ValueError,
            "from expkit-hydra with `defaults: [expkit, …, _self_]`",
        ),
        (lambda: MLFlowLogger.from_config("digits"), TypeError, "a mapping or a DictConfig"),
        (lambda: MLFlowLogger("digits", "../other"), ValueError, "'../other' cannot name a folder"),
        (lambda: MLFlowLogger(3), TypeError, "experiment must be a name or a folder, got 3"),
        (
            lambda: MLFlowLogger().log_metrics({"loss": 1.0}),
            ValueError,
            "no experiment: give it one (`MLFlowLogger('digits')`)",
        ),
        (lambda: MLFlowLogger().open({"id": "x"}, {}), ValueError, "run lacks folder, run_name"),
        (lambda: sync("results/digit"), FileNotFoundError, "Did you mean"),
        (
            lambda: sync("results/mnist"),
            FileNotFoundError,
            "Name one of the experiments there: digits",
        ),
        (lambda: sync("results"), FileNotFoundError, "Name one of the experiments there: digits"),
        (
            lambda: sync("results/digits/training/r"),
            FileNotFoundError,
            "It is a run; its experiment is",
        ),
        (
            lambda: sync("results/digits", tracking_uri="mlruns"),
            TrackingError,
            "Tracking URI 'mlruns' is a folder",
        ),
    ],
)
def test_bad_input_says_what_where_and_what_instead(call, error, text, tmp_path, monkeypatch):
    (tmp_path / "results/digits/training/r").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(error) as raised:
        call()

    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda run: run.log_metrics({"a": "x"}, 0), TypeError, "'a' must be one number, got str"),
        (lambda run: run.log_metrics({"a": [1]}, 0), TypeError, "'a' must be one number, got list"),
        (lambda run: run.log_metrics({"a": {"b": None}}, 0), TypeError, "'a.b' must be one number"),
        (lambda run: run.log_metrics({"a": 1}, 0.5), TypeError, "whole number, got 0.5"),
        (lambda run: run.log_metrics({"a": 1}, "3"), TypeError, "whole number, got '3'"),
        (lambda run: run.log_artifact("no.png"), FileNotFoundError, "There is no artifact"),
        (
            lambda run: run.log_artifact(__file__, "../.."),
            ValueError,
            "is outside the run's artifacts",
        ),
        (
            lambda run: run.log_artifact(__file__, str(run.run_folder.parents[3])),
            ValueError,
            "is outside the run's artifacts",
        ),
        (lambda run: run.log_timer("epoch"), TypeError, "or a name and statistics; got 'epoch'"),
        (lambda run: run.log_params([1]), TypeError, "log_params needs a mapping, got list"),
        (lambda run: run.close("done"), ValueError, "Unknown state: 'done'. Allowed: completed"),
    ],
)
def test_bad_input_to_an_open_run_costs_none_of_its_data(call, error, text, tmp_path, kit):
    with MLFlowLogger(tmp_path / "digits", "r", mode="offline") as run:
        run.log_metrics({"loss": 1.0}, 0)
        with pytest.raises(error) as raised:
            call(run)
        run.log_metrics({"loss": 0.5}, 1)

    assert text in str(raised.value)
    lines = kit.lines(tmp_path / "digits/training/r/tracking.jsonl")
    assert [line.get("step") for line in lines if line["kind"] == "metrics"] == [0, 1]
    assert lines[-1]["status"] == "FINISHED"


@pytest.mark.parametrize(
    "metrics", [{"a.b": 1.0, "a": {"b": 2.0}}, {"a": {"b": 1.0}, "a.b": 2.0}, {1: 1.0, "1": 2.0}]
)
def test_two_metrics_of_one_name_are_told(metrics, tmp_path, kit):
    text = r"Two metrics are called '(a\.b|1)'; the first was logged"
    with (
        MLFlowLogger(tmp_path / "digits", "r", mode="offline") as run,
        pytest.raises(TypeError, match=text),
    ):
        run.log_metrics({**metrics, "loss": 3.0}, 0)

    lines = kit.lines(tmp_path / "digits/training/r/tracking.jsonl")
    (values,) = [line["metrics"] for line in lines if line["kind"] == "metrics"]
    assert sorted(values.values()) == [1.0, 3.0]


def test_a_tensor_of_several_elements_is_named_with_its_shape(tmp_path):
    numpy = pytest.importorskip("numpy")
    text = r"'loss' must be one number, got ndarray of shape \(2, 3\)"
    with (
        MLFlowLogger(tmp_path / "digits", "r", mode="offline") as run,
        pytest.raises(TypeError, match=text),
    ):
        run.log_metrics({"loss": numpy.ones((2, 3))}, 0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["sync", "nowhere"], "There is no folder"),
        (["ui", "nowhere"], "There is no folder"),
        (["sync", "."], "is not an experiment"),
        (["sink", "results"], "python -m expkit_mlflow sync"),
        (["sync"], "the following arguments are required: results/EXPERIMENT"),
    ],
)
def test_the_command_complains_on_stderr_and_fails(arguments, text, tmp_path):
    command = [sys.executable, "-m", "expkit_mlflow", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert text in done.stderr
    assert "Traceback" not in done.stderr
