"""Bad input: the error says what, where, and what to do instead; nothing is lost."""

from pathlib import Path

import numpy as np
import pytest

from expkit_bookkeeping import (
    Bookkeeping,
    RunSettings,
    config_hash,
    load_metrics,
    read_run,
    results,
)
from expkit_bookkeeping.launching import claim_run, move_to_trash, write_file

HERE = Path("results")
BASE = {"experiment_id": "digits", "run_name": "a"}


def log(metrics, step=0):
    with Bookkeeping("run", console=False) as run:
        run.log_metrics(metrics, step)


def opened(call):
    with Bookkeeping("run", console=False) as run:
        call(run)


def from_config(**changes):
    return Bookkeeping.from_config({**BASE, **changes})


def two_runs():
    for seed in (1, 2):
        claim = claim_run(HERE / "digits/training" / f"a_{seed}", swept={"seed": seed})
        claim.finish("completed", metrics={"loss": 0.5})
    return results(HERE / "digits")


CASES = {
    "a word as metric": (
        lambda: log({"note": "good"}),
        TypeError,
        r"Metric 'note' is a str.*one number: 'good'.*save_results",
    ),
    "an array as metric": (
        lambda: log({"losses": np.zeros(3)}),
        TypeError,
        r"'losses' is an array of shape \(3,\).*mean",
    ),
    "None as metric": (lambda: log({"loss": None}), TypeError, "'loss' is a NoneType"),
    "a list as metric": (lambda: log({"loss": [1.0]}), TypeError, "'loss' is a list"),
    "a complex metric": (lambda: log({"loss": 1j}), TypeError, "'loss' is a complex"),
    "a metric named by a number": (lambda: log({1: 0.5}), TypeError, "name is a string, not int"),
    "a metric without a name": (lambda: log({"": 1}), ValueError, "needs a name.*value 1 has none"),
    "metrics that are a number": (lambda: log(0.5), TypeError, r"mapping of names.*\"loss\": 0.5"),
    "half a step": (lambda: log({}, 0.5), TypeError, "step is a whole number.*not float: 0.5"),
    "a negative step": (lambda: log({}, -1), ValueError, "counts from 0, got -1"),
    "a log level that is none": (
        lambda: opened(lambda run: run.log("hello", "loud")),
        ValueError,
        "no logging level 'loud'. Known: .*warning",
    ),
    "a folder outside": (
        lambda: opened(lambda run: run.create_folder("../other")),
        ValueError,
        r"'\.\./other' leaves the run folder",
    ),
    "an absolute folder": (
        lambda: opened(lambda run: run.create_folder("/etc")),
        ValueError,
        "'/etc' is absolute",
    ),
    "an artifact that is not there": (
        lambda: opened(lambda run: run.log_artifact("nothing.png")),
        FileNotFoundError,
        "no .*nothing.png",
    ),
    "a number as timer": (
        lambda: opened(lambda run: run.save_timer(3.5)),
        TypeError,
        r"save\(path\), not float: 3.5",
    ),
    "no experiment_id": (
        lambda: Bookkeeping.from_config({"run_name": "a"}),
        ValueError,
        "no experiment_id; .*expkit-hydra.*Bookkeeping\\(folder\\)",
    ),
    "a run_name still missing": (lambda: from_config(run_name="???"), ValueError, "no run_name"),
    "a run_name that climbs": (
        lambda: from_config(run_name="../b"),
        ValueError,
        r"run_name is '\.\./b'.*one folder",
    ),
    "an empty experiment_id": (lambda: from_config(experiment_id=""), ValueError, "is ''.*empty"),
    "a configuration that is a list": (
        lambda: Bookkeeping("run", config=["a"]),
        TypeError,
        r"DictConfig or a mapping, not list",
    ),
    "a configuration with an object": (
        lambda: from_config(model={"layers": [1, object()]}),
        TypeError,
        r"model\.layers\[1\] of the configuration is a object.*not data",
    ),
    "expkit that is no mapping": (lambda: from_config(expkit="loss"), TypeError, "not 'loss'"),
    "a misspelt direction": (
        lambda: from_config(expkit={"direction": "maximise"}),
        ValueError,
        "'maximise'. Did you mean 'maximize'",
    ),
    "no checkpoint to keep": (
        lambda: from_config(expkit={"keep_last": 0}),
        ValueError,
        "keep_last is 0; .*from 1",
    ),
    "a metric that is a list": (lambda: RunSettings(metric=["a"]), TypeError, "metric's name"),
    "a rank that is a word": (lambda: Bookkeeping("run", rank="two"), ValueError, "rank is 'two'"),
    "a negative rank": (lambda: Bookkeeping("run", rank=-1), ValueError, "rank is -1"),
    "a sink without methods": (
        lambda: Bookkeeping("run", sinks=[print]),
        TypeError,
        "not a sink: it has no method open, log_metrics",
    ),
    "a run that is not open": (
        lambda: Bookkeeping("run").log("hello"),
        RuntimeError,
        r"'run' is not open. Use `with Bookkeeping",
    ),
    "an end that is none": (
        lambda: opened(lambda run: run.close("done")),
        ValueError,
        "cannot end as 'done'. Known: completed, failed, interrupted",
    ),
    "a claim that ends as lost": (
        lambda: claim_run(Path("run")).finish("lost"),
        ValueError,
        "cannot end as 'lost'",
    ),
    "a claim with an object": (
        lambda: claim_run(Path("run")).update(metrics={"model": object()}),
        TypeError,
        r"metrics\.model is a object, which is not data",
    ),
    "a swept value that is a function": (
        lambda: Bookkeeping("run", swept={"act": print}).open(),
        TypeError,
        r"swept\.act is a builtin_function_or_method",
    ),
    "a hash of an object": (
        lambda: config_hash({"model": {"act": print}}),
        TypeError,
        r"model\.act is a builtin_function_or_method, which is not data",
    ),
    "a hash of a set": (lambda: config_hash({"a": [{1}]}), TypeError, r"a\[0\] is a set"),
    "a hash of a key": (
        lambda: config_hash({"a": {(1, 2): 3}}),
        TypeError,
        r"a has the key \(1, 2\) of type tuple",
    ),
    "a hash of a word": (lambda: config_hash("cnn"), TypeError, "mapping, not str: 'cnn'"),
    "trash without folder": (
        lambda: move_to_trash(Path("nothing"), reason="x"),
        FileNotFoundError,
        "no run folder nothing",
    ),
    "results of no experiment": (
        lambda: results(Path("nothing")),
        FileNotFoundError,
        "no nothing/training. Give the experiment's folder",
    ),
    "results in a state that is none": (
        lambda: results(HERE, "done"),
        ValueError,
        "no state 'done'. Known: completed",
    ),
    "metrics of nothing": (lambda: load_metrics(Path("nothing")), FileNotFoundError, "nothing"),
    "a table by a misspelt column": (
        lambda: two_runs().table(group_by="sed"),
        KeyError,
        "no column 'sed'. Did you mean 'seed'",
    ),
    "a table of a metric that is none": (
        lambda: two_runs().table(metrics="los"),
        KeyError,
        "Did you mean 'loss'",
    ),
    "a table of no run": (
        lambda: two_runs().table(state="failed"),
        ValueError,
        "No failed run to summarise; there are: 2 completed",
    ),
    "bold that is no column": (
        lambda: two_runs().table().to_latex(bold={"acc": "maximize"}),
        KeyError,
        "no column 'acc'",
    ),
    "a file in no folder": (lambda: write_file(Path("no/file"), "x"), FileNotFoundError, "no"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_an_error_that_helps(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    call, kind, message = CASES[name]

    with pytest.raises(kind, match=f"(?s){message}"):
        call()


def test_a_bad_metric_leaves_the_good_ones_and_is_not_logged_itself(tmp_path):
    with Bookkeeping(tmp_path / "a", console=False) as run:
        run.log_metrics({"loss": 0.5}, step=0)
        with pytest.raises(TypeError):
            run.log_metrics({"loss": 0.1, "note": "good"}, step=1)

    assert read_run(tmp_path / "a").metrics == {"loss": 0.5}
    assert (tmp_path / "a" / "metrics.jsonl").read_text().count("\n") == 1


def test_a_bad_update_leaves_run_json_as_it_was(tmp_path):
    claim = claim_run(tmp_path / "a")
    before = (tmp_path / "a" / "run.json").read_bytes()

    with pytest.raises(TypeError):
        claim.update(metrics={"model": object()})

    assert (tmp_path / "a" / "run.json").read_bytes() == before
