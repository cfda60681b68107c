"""What an error or a warning says to write does what it says."""

import json
import re

import pytest

from expkit_hydra import GridError

ONE = ("model=cnn", "optimizer.lr=0.1", "seed=1")
PARAMS = "{model: [mlp, cnn], optimizer: [sgd], optimizer.lr: [0.1, 0.001], seed: [1, 2]}"
# By what it is about: overrides that are refused, and where the refusal says what to write.
WRITE = r"(?P<key>[\w.]+)(?:: |=)(?P<value>\S+?)\.?(?:$|\n)"
REFUSED_OVERRIDES = {
    "a template without a group": (["run_name=x", "_filters=[]"], rf"Add the key, e\.g\. {WRITE}"),
    "a template without keys": (["run_name=x", "model=cnn"], rf"Add the key, e\.g\. {WRITE}"),
    "a key for a list of keys": (["expkit.ignore=device"], f"Write {WRITE}"),
    "a key for a list of repeats": (["expkit.repeat=seed"], f"Write {WRITE}"),
    "an experiment for each run": (
        ["hydra.job.name='n_${seed}'", "experiment_id='${hydra:job.name}'", "_filters=[]"],
        r"Write (?P<key>experiment_id): (?P<value>NAME), the same",
    ),
    "a folder": (["hydra.sweep.dir=out"], r"(?P<key>hydra\.sweep\.dir)=(?P<value>)(?s:.*)Leave"),
}
REFUSED_PARAMS = {
    "a mapping": ("{optimizer: {lr: [0.1]}}", r"e\.g\. (optimizer\.lr: \[)\.\.\.\]", "{%s0.1]}"),
    "a function in a list": ("{seed: ['range(1,3)']}", r"write (seed: \"range\(1,3\)\");", "{%s}"),
    "text like a function": (
        "{note: ['range(1,3)']}",
        r"write (note: \"'range\(1,3\)'\")",
        "{%s, seed: [1]}",
    ),
    "no values": ("{seed: [], model: [cnn]}", r"or (remove the key)", "{model: [cnn]}"),
    "a text": ("cnn", r"e\.g\. params: (\{.*\})\.", "%s"),
}


@pytest.mark.parametrize(("overrides", "advice"), REFUSED_OVERRIDES.values(), ids=REFUSED_OVERRIDES)
def test_a_refused_grid_starts_once_its_advice_is_followed(app, overrides, advice):
    for _ in range(4):  # a template may lack several keys, each of which is named in its turn
        with pytest.raises(GridError) as refused:
            app.sweep("expkit.dry_run=true", *overrides)
        written = re.search(advice, str(refused.value), re.MULTILINE)
        assert written is not None, refused.value
        overrides = [text for text in overrides if written["key"] != text.partition("=")[0]]
        if written["value"]:
            overrides.append(f"{written['key']}={written['value']}")
        if not _is_refused(app, overrides):
            return
    raise AssertionError(overrides)


def _is_refused(app, overrides) -> bool:
    try:
        app.sweep("expkit.dry_run=true", *overrides)
    except GridError:
        return True
    return False


@pytest.mark.parametrize(("params", "advice", "form"), REFUSED_PARAMS.values(), ids=REFUSED_PARAMS)
def test_refused_params_are_swept_once_their_advice_is_followed(app, params, advice, form):
    app.add('note: ""\n')
    app.edit(PARAMS, params)
    with pytest.raises(GridError) as refused:
        app.sweep("expkit.dry_run=true", "_filters=[]")
    written = re.search(advice, str(refused.value))
    assert written is not None, refused.value
    app.edit(f"params: {params}", f"params: {form % written[1] if '%s' in form else form}")

    app.sweep("expkit.dry_run=true", "_filters=[]")

    assert any("to run" in line for line in app.log)


def test_a_single_run_starts_once_the_line_that_it_names_is_deleted(app):
    with pytest.raises(SystemExit) as refused:
        app.run("hydra.run.dir=.", *ONE)

    assert "Delete hydra.run.dir=. from" in str(refused.value)
    app.run(*ONE)
    assert (app.experiment / "training/cnn_adam_0.1_1/run.json").exists()


def test_a_run_that_was_placed_elsewhere_is_found_once_that_is_left_out(app, capfd):
    app.run("hydra.run.dir=out", *ONE)
    assert "results/digits/training, where it goes without that" in capfd.readouterr().err

    app.run(*ONE)

    (record,) = app.experiment.glob("training/*/run.json")
    assert json.loads(record.read_text())["state"] == "completed"


def test_a_secret_that_is_written_as_advised_is_warned_of_no_more(app, monkeypatch):
    app.add("api_key: hunter2\n")
    app.sweep("expkit.dry_run=true")
    (warning,) = [line for line in app.log if "api_key" in line]
    written = re.search(r"Write (api_key: \$\{oc\.env:(\w+)\})", warning)
    assert written is not None, warning
    app.edit("api_key: hunter2", written[1])
    monkeypatch.setenv(written[2], "hunter2")
    app.log.clear()

    app.sweep("expkit.dry_run=true")

    assert not any("api_key" in line for line in app.log)
