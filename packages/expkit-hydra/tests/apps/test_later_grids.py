"""A grid that follows others of its experiment: more axes, other keys to ignore."""

import json

import pytest

from expkit_bookkeeping import find_runs, result_rows
from expkit_hydra import GridError
from expkit_hydra.commands import status


@pytest.fixture
def small(app, monkeypatch):
    """An app that sweeps two seeds, and has a key of each kind."""
    monkeypatch.setenv("TOKEN", "first")
    app.write(
        "conf/config.yaml",
        """
        defaults: [expkit, server/site: [fb], _self_]
        experiment_id: digits
        seed: 1
        note: x
        data: digits
        device: ${oc.env:DEVICE,cpu}
        root: ${oc.env:ROOT,/data}/${data}
        token: ${oc.env:TOKEN}
        expkit: {after: []}
        hydra: {sweeper: {params: {seed: [1, 2]}}}
        """,
    )
    for site in ("fb", "google"):
        app.write(f"conf/server/site/{site}.yaml", f"{site}: {{domain: {site}}}\n")
    return app


def column(app, key):
    return {row["run_name"]: row[key] for row in result_rows(app.experiment)}


def test_several_options_of_a_group_are_one_value_as_written(small):
    small.sweep("server/site=[fb],[fb,google],google", "seed=1")

    assert column(small, "server/site") == {
        "1_fb": ["fb"],
        "1_fb-google": ["fb", "google"],
        "1_google": "google",
    }
    assert [run.choices["server/site"] for run in find_runs(small.experiment)] == [
        ["fb"], ["fb", "google"], "google",
    ]  # fmt: skip
    with pytest.raises(
        GridError,
        match=r"differ in server/site \(\['fb'\] and \['fb', 'google'\]\).*Leave run_name out",
    ):
        small.sweep("server/site=[fb],[fb,google]", "seed=1", "run_name=r_${seed}")


def test_a_single_run_is_named_by_the_options_of_the_defaults_list(small):
    small.edit("server/site: [fb]", "server/site: [fb], server/site@mirror: [google]")
    small.edit(
        "params: {seed: [1, 2]}",
        "params: {seed: [1, 2], server/site: '[fb],[fb,google]', "
        "server/site@mirror: '[google],[fb]'}",
    )

    small.run()
    small.sweep("seed=1")

    assert column(small, "server/site@mirror") == {
        "1_fb_google": ["google"],
        "1_fb_fb": ["fb"],
        "1_fb-google_google": ["google"],
        "1_fb-google_fb": ["fb"],
    }
    assert len(small.seen) == 4


def test_a_swept_key_that_another_override_removes_is_an_error(small):
    small.add("model: {width: 1}\n")

    with pytest.raises(GridError, match=r"model\.width is swept, but the configuration"):
        small.sweep("model.width=1,2", "~model.width")

    assert small.seen == []


def test_grids_of_a_union_may_lack_each_others_keys(small):
    small.edit("params: {seed: [1, 2]}", "params: [{seed: [1, 2]}, {+extra: [5, 6]}]")

    small.sweep()

    assert column(small, "extra") == {"1_None": None, "2_None": None, "1_5": 5, "1_6": 6}
    assert "extra" not in small.grid().runs[0].values


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[device, num_workers]", "[device, num_workers, note]"),
        ("[device, num_workers]", "[]"),
        ("[root]", "[note]"),
    ],
)
def test_runs_stay_done_when_other_keys_are_ignored(small, monkeypatch, before, after):
    small.sweep(f"expkit.ignore={before}")
    monkeypatch.setenv("DEVICE", "cuda")
    monkeypatch.setenv("ROOT", "/elsewhere")
    monkeypatch.setenv("TOKEN", "other")

    small.sweep(f"expkit.ignore={after}")
    small.sweep(f"expkit.ignore={after}", "data=digits,tones")

    assert small.names() == ["1", "2", "1_tones", "2_tones"]
    assert small.grid().pending == []


def test_status_knows_runs_by_what_the_latest_grid_ignores(small, capsys):
    small.sweep()
    small.sweep("expkit.ignore=[note]", "data=digits,tones", "expkit.dry_run=true")
    small.sweep("expkit.ignore=[note]", "data=digits,tones", "seed=1")

    capsys.readouterr()
    status([str(small.experiment), "--json"])

    runs = json.loads(capsys.readouterr().out)["runs"]
    assert {run["run_name"]: run["state"] for run in runs} == {
        "1": "completed",
        "1_tones": "completed",
        "2": "completed",
    }


def test_an_ignored_key_that_differs_makes_another_run_once_it_counts(small):
    small.sweep("expkit.ignore=[note]", "note=x")
    small.sweep("expkit.ignore=[note]", "note=y")
    assert small.names() == ["1", "2"]

    with pytest.raises(GridError, match=r"~ note=x → y \(2 runs\)"):
        small.sweep("expkit.ignore=[]", "note=y")


def test_older_runs_that_do_not_say_what_was_ignored_stay_done(small):
    small.sweep()
    for record in find_runs(small.experiment):
        facts = json.loads((record.folder / "run.json").read_text())
        del facts["ignored"]
        (record.folder / "run.json").write_text(json.dumps(facts))

    small.sweep("expkit.ignore=[note]")

    assert small.names() == ["1", "2"]


def test_a_run_whose_stored_configuration_was_changed_is_not_guessed_about(small):
    small.sweep("seed=1")
    (record,) = find_runs(small.experiment)
    stored = record.folder / "config.yaml"
    stored.write_text(stored.read_text().replace("data: digits", "data: tones"))

    with pytest.raises(GridError, match="another configuration"):
        small.sweep("seed=1", "expkit.ignore=[note]")
