"""`Run`: a run read from its folder, which stays as it is."""

import math
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expkit_bookkeeping import Bookkeeping, Run, find_runs
from expkit_bookkeeping.launching import claim_run

CONFIG = {
    "epochs": 3,
    "model": {"name": "cnn", "sizes": [8, 16]},
    "expkit": {"metric": "acc", "direction": "maximize"},
}
needs_torch = pytest.mark.skipif(
    find_spec("torch") is None and "torch" not in os.environ.get("EXPKIT_REQUIRE", ""),
    reason="torch is not installed",
)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "results" / "digits" / "training" / "cnn_1"
    with Bookkeeping(folder, config=CONFIG, swept={"seed": 1}, console=False) as run:
        for step, accuracy in enumerate((0.1, 0.9, 0.3)):
            run.log_metrics({"acc": accuracy}, step=step)
        run.log_metrics({"loss": math.nan}, step=2)
        run.save_results({"test_acc": 0.88}, "test")
        run.save_results([1, 2], "fold1/sizes")
    return folder


def contents(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_run_says_what_it_was_and_changes_nothing(folder):
    before = contents(folder.parents[1])

    run = Run(folder)

    assert (run.name, run.state, run.attempt) == ("cnn_1", "completed", 1)
    assert run.best == {"metric": "acc", "direction": "maximize", "value": 0.9, "step": 1}
    assert run.config == CONFIG
    assert run.swept == {"seed": 1}
    assert run.elapsed_s > 0
    assert dict(run.results) == {"fold1/sizes": [1, 2], "test": {"test_acc": 0.88}}
    assert run.path == folder
    assert "completed" in repr(run)
    assert "0.9" in run._repr_html_()
    assert contents(folder.parents[1]) == before


def test_a_run_is_opened_by_path_by_name_or_by_its_record(folder, monkeypatch):
    monkeypatch.chdir(folder.parents[3])
    (record,) = find_runs("results/digits")

    runs = [Run("results/digits/training/cnn_1"), Run("results/digits", "cnn_1"), Run(record)]
    monkeypatch.chdir("/")

    assert {run.path for run in runs} == {folder}
    assert [run.config for run in runs] == [CONFIG] * 3


def test_metrics_are_a_frame_of_steps_and_also_come_without_pandas(folder):
    pd = pytest.importorskip("pandas")

    run = Run(folder)

    expected = pd.DataFrame({"acc": [0.1, 0.9, 0.3], "loss": [math.nan] * 3})
    pd.testing.assert_frame_equal(run.metrics, expected.rename_axis(index="step"))
    assert list(run.curves["acc"].steps) == [0, 1, 2]
    assert list(run.curves["acc"].values) == [0.1, 0.9, 0.3]


def test_a_missing_pandas_is_named_with_what_does_without(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.delitem(sys.modules, "expkit_bookkeeping._results.frames", raising=False)

    with pytest.raises(ImportError, match=r"expkit-bookkeeping\[pandas\].*Run\.curves"):
        _ = Run(folder).metrics


def test_a_run_that_logged_nothing_and_had_no_configuration_is_empty(tmp_path):
    with Bookkeeping(tmp_path / "a", console=False):
        pass

    run = Run(tmp_path / "a")

    assert run.config == {}
    assert run.best is None
    assert run.curves == {}
    assert len(run.results) == 0
    assert "test" not in run.results


def test_a_run_in_another_process_is_running_and_one_that_was_killed_is_lost(tmp_path):
    claim_run(tmp_path / "a")

    assert Run(tmp_path / "a").state == "running"
    assert Run(tmp_path / "a", is_alive=lambda record: False).state == "lost"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("digits", "cnn_2"), "There is no run .*cnn_2.*Did you mean 'cnn_1'"),
        (("digits/training/cn_1",), "Did you mean 'cnn_1'"),
        (("digits",), "is an experiment: name one of its runs.*cnn_1"),
        (("digits/training",), "is no run"),
        (("elsewhere/a",), "There is no run"),
    ],
)
def test_a_missing_run_is_named_with_a_near_one(folder, monkeypatch, arguments, says):
    monkeypatch.chdir(folder.parents[2])

    with pytest.raises(FileNotFoundError, match=says):
        Run(*arguments)


def test_a_name_does_not_lead_out_of_the_experiment(folder):
    with pytest.raises(ValueError, match="names one folder"):
        Run(folder.parents[1], "../../elsewhere")


def test_nothing_in_a_run_becomes_markup_of_the_notebook(tmp_path):
    evil = "<script>alert(1)</script>\x1b[2J"
    folder = tmp_path / "training" / "<b>run"
    run = Bookkeeping(folder, swept={evil: evil}, console=False).open()
    run.log_metrics({evil: 1.0}, step=0)
    run.save_results({evil: 1}, "<i>results")
    run.close("failed", RuntimeError(evil))

    html = Run(folder)._repr_html_()

    assert html.count("&lt;script&gt;") == 4
    assert "<script" not in html
    assert "<b>run" not in html
    assert "<i>" not in html
    assert "\x1b" not in html


def test_a_run_that_cannot_be_read_is_shown_too(folder):
    (folder / "run.json").write_text('{"schema": 99}')
    (folder / "config.yaml").write_text("a: [")

    run = Run(folder)

    assert run.state == "unknown"
    assert "newer version" in run._repr_html_()
    with pytest.raises(ValueError, match=r"config\.yaml"):
        _ = run.config


def test_opening_a_run_reads_run_json_and_nothing_else(folder):
    (folder / "states").mkdir()
    (folder / "states" / "best.pt").write_bytes(b"0" * 1000)
    code = """if True:
        import sys
        from expkit_bookkeeping import Run
        Run(sys.argv[1]).state
        opened = []
        sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
        run = Run(sys.argv[1])
        run.state, run.best, run.attempt, repr(run)
        print([path for path in opened if path.startswith(sys.argv[1])])
    """

    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == str([f"{folder}/run.json"])


def test_the_configuration_as_dictconfig_follows_no_reference(tmp_path, monkeypatch):
    omegaconf = pytest.importorskip("omegaconf")
    monkeypatch.setenv("HF_TOKEN", "secret")
    config = omegaconf.OmegaConf.create({"hf_token": "${oc.env:HF_TOKEN}", "lr": 0.1})
    with Bookkeeping(tmp_path / "a", config=config, console=False):
        pass

    run = Run(tmp_path / "a")

    assert run.dict_config().hf_token == run.config["hf_token"] == "${oc.env:HF_TOKEN}"
    assert run.dict_config().lr == 0.1


@settings(max_examples=50, deadline=None)
@given(st.text("\\${}:a ", max_size=8))
def test_any_text_is_the_same_in_the_dictconfig(text):
    omegaconf = pytest.importorskip("omegaconf")
    from expkit_bookkeeping._run import _literal

    config = omegaconf.OmegaConf.create({"text": _literal(text), "list": [_literal(text)]})

    assert config.text == text
    assert list(config["list"]) == [text]


@needs_torch
def test_a_model_is_loaded_from_the_best_the_last_or_any_checkpoint(tmp_path):
    import torch

    model = torch.nn.Linear(1, 1)
    config = {"expkit": {"metric": "acc", "keep_last": None}}
    with Bookkeeping(tmp_path / "a", config=config, console=False) as run:
        for epoch, accuracy in enumerate((0.1, 0.9, 0.3)):
            torch.nn.init.constant_(model.weight, epoch)
            run.log_metrics({"acc": accuracy}, step=epoch)
            run.save_checkpoint(epoch, model=model)
        run.save_model(model, "final")
    before = contents(tmp_path)
    run = Run(tmp_path / "a")

    def weight(name):
        return run.load_model(torch.nn.Linear(1, 1), name).weight.item()

    names = ["best", "last", 0, "epoch_0001", "final"]
    assert [weight(name) for name in names] == [1, 2, 0, 1, 2]
    assert run.load_state("best")["weight"].item() == 1
    with pytest.raises(FileNotFoundError, match="epoch_0002"):
        weight(7)
    with pytest.raises(ValueError, match="without a state of optimizer; it has model"):
        run.load_state("last", "optimizer")
    assert contents(tmp_path) == before


@needs_torch
def test_a_state_that_was_saved_as_last_is_that_one(tmp_path):
    import torch

    model = torch.nn.Linear(1, 1)
    with Bookkeeping(tmp_path / "a", console=False) as run:
        torch.nn.init.constant_(model.weight, 1)
        run.save_model(model, "last")
        torch.nn.init.constant_(model.weight, 2)
        run.save_checkpoint(0, model=model)

    assert Run(tmp_path / "a").load_state("last")["weight"].item() == 1


def test_a_run_without_a_best_checkpoint_says_why(folder):
    pytest.importorskip("torch")

    with pytest.raises(FileNotFoundError, match="No checkpoint has a value of the metric 'acc'"):
        Run(folder).load_state("best")
