import pytest

from expkit_bookkeeping.launching import claim_run
from expkit_filter import RunFilter

CONFIG = {"model": {"name": "cnn", "dropout": 0.0}, "lr": 0.1}
OLD_CONFIG = "model: {name: cnn}\nlr: 0.2\nhydra: {job: 1}\n"


def decide(experiment, alive=None, name="a", config_hash="hash", **options):
    return RunFilter(runs=experiment.runs(alive), **options).decide(
        CONFIG, run_name=name, folder=experiment.path / "training" / name, config_hash=config_hash
    )


def test_a_run_without_a_record_runs(experiment):
    decision = decide(experiment)

    assert (decision.skip, decision.kind, decision.reason) == (False, "run", "new")


def test_a_real_completed_run_is_recognized(experiment):
    folder = experiment.path / "training" / "a"
    claim_run(folder, run_name="a", config_hash="hash").finish("completed")

    decision = decide(experiment)

    assert (decision.skip, decision.kind) == (True, "completed")
    assert decision.record.folder == folder


def test_a_completed_run_counts_under_any_name(experiment):
    experiment.add("older_name", "completed")

    decision = decide(experiment, name="new_name")

    assert (decision.skip, decision.kind) == (True, "completed")
    assert decision.reason == "completed as older_name"


def test_a_completed_run_with_another_configuration_does_not_count(experiment):
    experiment.add("older_name", "completed", config_hash="other")

    assert decide(experiment, name="new_name").kind == "run"


@pytest.mark.parametrize("alive", [True, None])
@pytest.mark.parametrize("rerun", ["missing", "failed", "changed", "all"])
def test_a_run_that_may_be_running_is_left_alone(experiment, alive, rerun):
    experiment.add("a", "running", host="node1")

    decision = decide(experiment, alive, rerun=rerun)

    assert (decision.skip, decision.kind) == (True, "running")
    assert "node1" in decision.reason


def test_a_run_whose_process_is_gone_runs_again(experiment):
    experiment.add("a", "running")

    decision = decide(experiment, alive=False)

    assert not decision.skip
    assert decision.reason == "lost (its process is gone), resumes"


def test_an_interrupted_run_resumes_however_often(experiment):
    experiment.add("a", "interrupted", attempt=9)

    assert decide(experiment).reason == "interrupted, resumes"


def test_a_failed_run_is_tried_again_until_it_is_given_up(experiment):
    experiment.add("second", "failed", "hash2", attempt=2)
    error = {"type": "ValueError", "message": "lr is negative", "traceback": "…"}
    experiment.add("third", "failed", "hash3", attempt=3, error=error)

    second = decide(experiment, name="second", config_hash="hash2")
    third = decide(experiment, name="third", config_hash="hash3")

    assert (second.skip, second.reason) == (False, "failed, attempt 3 of 3")
    assert (third.skip, third.kind) == (True, "given_up")
    assert third.reason.startswith("failed 3 times, last with ValueError: lr is negative")
    assert "expkit.rerun=failed" in third.reason


def test_attempts_can_be_raised_and_rerun_asks_for_failed_ones(experiment):
    experiment.add("a", "failed", attempt=3)

    assert not decide(experiment, attempts=4).skip
    assert not decide(experiment, rerun="failed").skip
    assert not decide(experiment, rerun="all").skip
    assert decide(experiment, rerun="changed").kind == "given_up"


def test_a_failure_counts_under_any_name(experiment):
    experiment.add("older_name", "failed", attempt=3)

    assert decide(experiment, name="new_name").kind == "given_up"


def test_changed_code_retrains_nothing_unless_asked(experiment):
    experiment.add("a", "completed")

    kept = decide(experiment, code_changes=lambda record: ["models.py"])
    rerun = decide(experiment, code_changes=lambda record: ["models.py"], rerun="changed")
    same = decide(experiment, code_changes=lambda record: [], rerun="changed")

    assert (kept.skip, same.skip) == (True, True)
    assert (rerun.skip, rerun.to_trash) == (False, True)
    assert rerun.reason == "completed, again because models.py changed"


def test_rerun_all_moves_a_completed_folder_to_the_trash_first(experiment):
    experiment.add("a", "completed")
    experiment.add("b", "failed", "hash_b")

    completed = decide(experiment, rerun="all")
    failed = decide(experiment, name="b", config_hash="hash_b", rerun="all")

    assert (completed.skip, completed.to_trash) == (False, True)
    assert (failed.skip, failed.to_trash) == (False, False)


@pytest.mark.parametrize("state", ["completed", "failed", "interrupted"])
def test_a_folder_with_another_configuration_stops_with_the_difference(experiment, state):
    experiment.add("a", state, "other", config_yaml=OLD_CONFIG)

    decision = decide(experiment)

    assert (decision.skip, decision.kind) == (True, "changed")
    assert decision.reason.split("\n")[1:] == ["~ lr=0.2 → 0.1", "+ model.dropout=0.0"]


def test_a_difference_in_type_alone_is_shown(experiment):
    old = "model: {name: cnn, dropout: 0}\nlr: 0.1\nhydra: {job: 1}\n"
    experiment.add("a", "completed", "other", config_yaml=old)

    assert decide(experiment).reason.split("\n")[1:] == ["~ model.dropout=0 → 0.0"]


def test_on_change_decides_what_happens_to_the_folder(experiment):
    folder = experiment.add("a", "interrupted", "other", config_yaml=OLD_CONFIG)
    (folder / "states").mkdir()
    (folder / "states" / "epoch_0019.pt").touch()

    keep = decide(experiment, on_change="keep")
    go_on = decide(experiment, on_change="continue")
    rerun = decide(experiment, on_change="rerun")

    assert (keep.skip, keep.to_trash) == (True, False)
    assert (go_on.skip, go_on.to_trash) == (False, False)
    assert (rerun.skip, rerun.to_trash) == (False, True)
    assert rerun.record.run_name == "a"


@pytest.mark.parametrize(
    ("epochs", "checkpoint", "reason"),
    [
        (40, "epoch_0019.pt", None),
        (40, "epoch_0017.pt", None),
        (40, None, "no checkpoint to continue from"),
        (20, "epoch_0019.pt", "trained for 20 epochs, and this configuration has epochs=20"),
        (19, "epoch_0017.pt", "trained for 20 epochs, and this configuration has epochs=19"),
        (None, "epoch_0019.pt", "give the configuration a key epochs"),
    ],
)
def test_a_completed_run_continues_only_to_more_epochs_than_it_has(
    experiment, epochs, checkpoint, reason
):
    folder = experiment.add("a", "completed", "other", config_yaml="epochs: 20\nlr: 0.2\n")
    if checkpoint is not None:
        (folder / "states").mkdir()
        (folder / "states" / checkpoint).touch()
    config = {"lr": 0.1} | ({} if epochs is None else {"epochs": epochs})

    decision = RunFilter(runs=experiment.runs(), on_change="continue").decide(
        config, run_name="a", config_hash="hash"
    )

    if reason is None:
        assert (decision.skip, decision.kind, decision.to_trash) == (False, "changed", False)
        assert "~ epochs=20 → 40" in decision.reason
    else:
        assert (decision.skip, decision.kind) == (True, "cannot_continue")
        assert reason in decision.reason


def test_a_continued_run_that_fails_has_all_its_attempts_again(experiment):
    continued = [{"attempt": 3, "epoch": 20, "changes": [{"key": "epochs"}]}]
    experiment.add("a", "failed", "hash_a", attempt=4, continued=continued)

    decision = decide(experiment, config_hash="hash_a")

    assert (decision.skip, decision.reason) == (False, "failed, attempt 3 of 3")


@pytest.mark.parametrize("on_change", [None, "continue", "rerun"])
def test_a_running_run_with_another_configuration_is_never_touched(experiment, on_change):
    experiment.add("a", "running", "other", config_yaml=OLD_CONFIG)

    decision = decide(experiment, on_change=on_change)

    assert (decision.skip, decision.to_trash) == (True, False)
    assert decision.reason.startswith("running as a")


def test_without_a_hash_the_name_decides(experiment):
    experiment.add("a", "completed", None)
    experiment.add("b", "completed", "hash_b")

    assert decide(experiment, config_hash="hash").kind == "completed"
    assert decide(experiment, name="b", config_hash=None).kind == "completed"


def test_a_damaged_run_json_is_neither_done_nor_overwritten(experiment):
    folder = experiment.add("a", "completed")
    (folder / "run.json").write_text("{")

    decision = decide(experiment, rerun="all")

    assert (decision.skip, decision.kind) == (True, "unknown")
    assert "run.json is damaged" in decision.reason


@pytest.mark.parametrize("config_yaml", [None, "a: [", "3"])
def test_a_difference_that_cannot_be_shown_is_still_a_difference(experiment, config_yaml):
    experiment.add("a", "completed", "other", config_yaml=config_yaml)

    decision = decide(experiment)

    assert decision.kind == "changed"
    assert "config.yaml of the earlier run is missing or damaged" in decision.reason


def test_rules_come_before_states(experiment):
    experiment.add("a", "completed")

    decision = RunFilter(["lr > 0.01"], runs=experiment.runs()).decide(
        CONFIG, run_name="a", config_hash="hash"
    )

    assert decision.kind == "rule"
