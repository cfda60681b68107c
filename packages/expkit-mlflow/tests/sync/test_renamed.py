"""An experiment whose folder was renamed: `mv results/a results/b`."""

import pytest

from expkit_mlflow import MLFlowLogger, sync


def log(experiment, name, uri=None):
    with MLFlowLogger(experiment, name, tracking_uri=uri, environ={}) as tracking:
        tracking.log_metrics({"loss": 1.0}, 0)


def names(uri):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = {}
    for stored in client.search_experiments():
        runs = client.search_runs([stored.experiment_id])
        found[stored.name] = sorted(run.info.run_name for run in runs)
    found.pop("Default", None)
    return found


def test_its_own_store_gets_the_new_name_and_all_runs_are_in_it(experiment):
    log(experiment, "r")
    renamed = experiment.rename(experiment.with_name("b"))
    log(renamed, "s")

    assert names(f"sqlite:///{renamed / 'mlflow.db'}") == {"b": ["r", "s"]}
    assert str(sync(renamed)).endswith("nothing missing")
    again = renamed.rename(renamed.with_name("c"))
    sync(again)
    assert names(f"sqlite:///{again / 'mlflow.db'}") == {"c": ["r", "s"]}


def test_a_name_that_another_experiment_has_is_not_taken(experiment, kit):
    log(experiment, "r")
    kit.client(experiment).create_experiment("b")
    renamed = experiment.rename(experiment.with_name("b"))

    assert sync(renamed).problems == []

    found = names(f"sqlite:///{renamed / 'mlflow.db'}")
    assert found == {"digits": ["r"], "b": []}


def test_an_experiment_that_never_had_its_folders_name_keeps_its_own(experiment, kit):
    tracking = MLFlowLogger(environ={})
    tracking.open(kit.record(experiment / "training/r", experiment_id="named"), {})
    tracking.close()
    renamed = experiment.rename(experiment.with_name("b"))

    sync(renamed)

    assert names(f"sqlite:///{renamed / 'mlflow.db'}") == {"named": ["r"]}


def test_a_server_that_others_share_keeps_the_name_and_the_command_is_told(
    tmp_path, server, caplog
):
    from mlflow import MlflowClient

    experiment = tmp_path / "results" / f"{tmp_path.name}-a"
    log(experiment, "r", server)
    log(experiment, "s", server)
    renamed = experiment.rename(experiment.with_name(f"{tmp_path.name}-b"))

    assert sync(renamed).problems == []

    (message,) = [record.getMessage() for record in caplog.records]
    client = MlflowClient(server)
    stored = client.get_experiment_by_name(experiment.name)
    command = f"mlflow experiments rename --experiment-id {stored.experiment_id}"
    assert f"`{command} --new-name {renamed.name}`" in message
    assert names(server)[experiment.name] == ["r", "s"]
    client.rename_experiment(stored.experiment_id, renamed.name)
    caplog.clear()
    log(renamed, "t", server)
    assert str(sync(renamed)).endswith("nothing missing")
    assert not caplog.records
    assert names(server)[renamed.name] == ["r", "s", "t"]


@pytest.mark.runs
def test_a_run_that_is_resumed_after_the_rename_stays_one_run(experiment, kit):
    folder = experiment / "training/r"
    for attempt in (1, 2):
        tracking = MLFlowLogger(environ={})
        tracking.open({**kit.record(folder, attempt=attempt)}, {})
        tracking.log_metrics({"loss": float(attempt)}, attempt)
        tracking.close("interrupted")
        experiment = experiment.rename(experiment.with_name(f"moved{attempt}"))
        folder = experiment / "training/r"

    sync(experiment)
    assert names(f"sqlite:///{experiment / 'mlflow.db'}") == {"moved2": ["r"]}
