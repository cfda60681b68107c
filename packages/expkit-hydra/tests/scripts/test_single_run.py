"""Runs without `-m`: never skipped, resumed when unfinished, never on top of somebody else's."""

import json
import pickle
import signal

import pytest

from expkit_hydra import RunCallback


def trashed(app) -> list[dict[str, object]]:
    path = app.experiment / ".trash" / "removed.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_single_run_lands_where_the_grid_looks_for_it(app):
    app.train("x=2")

    assert app.states() == {"2": "completed"}
    assert app.records()["2"]["swept"] == {"x": 2}
    app.train("-m")
    assert app.calls() == ["2", "1", "3"]


def test_what_refers_to_the_scripts_name_makes_no_other_run_of_a_single_one(app):
    config = app.folder / "config.yaml"
    text = config.read_text().replace("experiment_id: first\n", "")
    config.write_text(f"{text}\nnamed: ${{experiment_id}}\n")

    app.train("x=2")
    app.train("-m")

    assert app.calls() == ["2", "1", "3"]


def test_a_single_run_ends_by_saying_where_it_is(app):
    output = app.train("x=2")

    assert output.splitlines()[-1] == "Run 2 is completed: results/first/training/2"


def test_a_run_that_fails_says_below_its_traceback_how_to_go_on(app):
    app.touch("fail2")

    output = app.train("x=2", code=1)

    assert "ValueError: 2 is too much" in output
    where = "Run 2 failed: results/first/training/2."
    again = "The same command tries again; there is no checkpoint."
    assert output.splitlines()[-1] == f"{where} {again}"

    states = app.experiment / "training" / "2" / "states"
    states.mkdir()
    (states / "epoch_0003.pt").touch()
    output = app.train("x=2", code=1)
    again = "The same command continues from its checkpoint epoch_0003.pt."
    assert output.splitlines()[-1] == f"{where} {again}"
    # What is there now goes to the trash.
    output = app.train("x=2", "expkit.fresh=true", code=1)
    assert "The same command without expkit.fresh tries again" in output.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["-m"], ["-m", "hydra/launcher=basic"]])
def test_a_grid_says_nothing_of_single_runs(app, arguments):
    output = app.train(*arguments)

    assert "is completed" not in output


def test_a_finished_run_makes_room_and_says_so(app):
    app.train("x=2")

    output = app.train("x=2")

    assert app.calls() == ["2", "2"]
    assert "Run 2 was completed; it moved to results/first/.trash/2." in output
    assert app.records()["2"]["attempt"] == 1
    assert [line["reason"] for line in trashed(app)] == ["rerun"]


def test_an_unfinished_run_goes_on(app):
    app.touch("fail2")
    app.train("x=2", code=1)
    app.remove("fail2")

    output = app.train("x=2")

    assert "Run 2 is tried again (failed, attempt 2); there is no checkpoint." in output
    assert app.records()["2"]["attempt"] == 2
    assert app.states() == {"2": "completed"}
    assert trashed(app) == []


def test_an_unfinished_run_starts_over_where_the_user_wants_it(app):
    app.touch("fail2")
    app.train("x=2", code=1)
    app.remove("fail2")

    output = app.train("x=2", "expkit.fresh=true")

    assert "starts over (expkit.fresh=true)" in output
    assert app.records()["2"]["attempt"] == 1
    assert [line["reason"] for line in trashed(app)] == ["fresh"]


def test_a_checkpoint_of_another_configuration_is_not_resumed_unasked(app):
    app.touch("fail2")
    app.train("x=2", code=1)
    app.remove("fail2")
    states = app.experiment / "training" / "2" / "states"
    states.mkdir()
    (states / "epoch_3.pt").touch()

    output = app.train("x=2", "epochs=20", code=1)

    assert app.calls() == ["2"]
    assert "epochs 10 → 20" in output
    assert "expkit.on_change=continue" in output
    assert "expkit.fresh=true" in output
    app.train("x=2", "epochs=20", "expkit.on_change=continue")
    assert app.records()["2"]["attempt"] == 2


def test_an_unfinished_run_of_another_configuration_without_checkpoint_makes_room(app):
    app.touch("fail2")
    app.train("x=2", code=1)
    app.remove("fail2")
    states = app.experiment / "training" / "2" / "states"
    states.mkdir()
    (states / "model.pt").touch()  # saved, but no checkpoint to resume from

    output = app.train("x=2", "epochs=20")

    assert "Run 2 (failed) had another configuration; it moved to" in output
    assert app.states() == {"2": "completed"}


def test_a_run_that_another_process_has_is_refused_before_anything_is_written(app):
    app.touch("hang2")
    holder = app.start("train.py", "x=2")
    app.wait_for_call(2)

    output = app.train("x=2", code=1)

    assert f"process {holder.pid}" in output
    assert app.calls() == ["2"]
    app.remove("hang2")
    app.finish(holder)
    assert app.records()["2"]["attempt"] == 1


def test_a_killed_run_is_resumed(app):
    app.touch("hang2")
    process = app.start("train.py", "x=2")
    app.wait_for_call(2)
    app.finish(process, signal.SIGKILL)
    app.remove("hang2")

    output = app.train("x=2")

    assert "Run 2 is tried again (lost, attempt 2); there is no checkpoint." in output
    assert app.states() == {"2": "completed"}


def test_ctrl_c_is_recorded(app):
    app.touch("hang2")
    process = app.start("train.py", "x=2")
    app.wait_for_call(2)

    output = app.finish(process, signal.SIGINT)

    assert app.states() == {"2": "interrupted"}
    assert output.splitlines()[-1].startswith("Run 2 was interrupted: results/first/training/2. ")


def test_a_rule_that_would_skip_the_run_is_named_and_the_run_runs(app):
    config = app.folder / "config.yaml"
    config.write_text(config.read_text() + "_filters: [{exists: results/a.txt}, 'x == 2']\n")

    output = app.train("x=2")

    assert "A grid would skip this run: rule 2: x == 2" in output
    assert app.calls() == ["2"]


def test_an_unknown_setting_is_refused_with_what_is_allowed(app):
    output = app.train("x=2", "expkit.on_change=contine", code=1)

    assert "Did you mean 'continue'? Allowed: keep, continue, rerun." in output
    assert app.calls() == []


def test_only_rank_0_of_a_distributed_run_claims_it(app):
    app.touch("hang2")
    ranks = [app.start("train.py", "x=2", RANK=rank) for rank in ("0", "1")]
    app.wait_until(lambda: app.calls() == ["2", "2"])
    app.remove("hang2")

    for process in ranks:
        app.finish(process)

    assert [process.returncode for process in ranks] == [0, 0]
    assert app.records()["2"]["attempt"] == 1
    assert app.records()["2"]["pid"] == ranks[0].pid


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiment_id=.."], "experiment_id is the name of one folder"),
        (["experiment_id=null"], "experiment_id is the name of one folder"),
        (["results_dir=null"], "results_dir is the folder of all experiments"),
        (["run_name='${no_such_key}'"], "run_name: Interpolation key 'no_such_key' not found"),
        (["results_dir=/dev/null/results"], "Run 1 cannot start, its folder refuses:"),
        (["+expkit.metrc=loss"], "expkit.metrc is not known. Did you mean expkit.metric?"),
    ],
)
def test_what_cannot_start_is_said_in_a_sentence_and_writes_nothing(app, arguments, message):
    before = sorted(path.name for path in app.folder.iterdir())

    output = app.train(*arguments, code=1)

    assert output.startswith(message), output
    assert "Traceback" not in output
    assert app.calls() == []
    assert sorted(path.name for path in app.folder.iterdir() if path.name[0] != "_") == before


@pytest.mark.parametrize("folder", [".", "..", "data", "${oc.env:PWD}"])
def test_a_folder_with_files_of_the_user_is_neither_written_nor_moved(app, folder):
    (app.folder / "data").mkdir()
    (app.folder / "data" / "config.yaml").write_text("mine: true\n")
    before = files_of(app.folder)

    for _ in range(2):  # the second one would move what the first one took
        output = app.train(f"hydra.run.dir={folder}", code=1)
        assert f"Delete hydra.run.dir={folder} from" in output

    assert files_of(app.folder) == before
    assert app.calls() == []


def test_a_run_may_lie_in_a_folder_that_holds_only_what_hydra_wrote(app):
    folder = app.folder / "mine"
    (folder / ".hydra").mkdir(parents=True)
    (folder / "train.log").touch()
    (folder / ".gitkeep").touch()

    app.train("hydra.run.dir=mine", "x=2")
    output = app.train("hydra.run.dir=mine", "x=2")

    assert json.loads((folder / "run.json").read_text())["state"] == "completed"
    assert "Run 2 was completed; it moved to" in output


PLAIN = """
import hydra
@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    pass
main()
"""
KILLED_BEFORE_RUN_JSON = """
import os, runpy, signal, sys
from expkit_bookkeeping._runs.claims import Claim
Claim.start = lambda *facts, **more: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = sys.argv[1:]
sys.path.insert(0, os.getcwd())
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_run_may_lie_where_a_plain_app_of_another_name_ran_before(app):
    (app.folder / "plain.py").write_text(PLAIN)
    app.run("plain.py", "hydra.run.dir=mine", "hydra.job.name=other")
    assert (app.folder / "mine" / "other.log").exists()

    output = app.train("hydra.run.dir=mine", "x=2")

    assert output.splitlines()[1:] == ["printed by 2", "Run 2 is completed: mine"]


@pytest.mark.parametrize("arguments", [["x=2"], ["-m", "x=2"]])
def test_a_run_killed_between_its_claim_and_its_run_json_starts_again(app, arguments):
    process = app.start("-c", KILLED_BEFORE_RUN_JSON, "train.py", *arguments)
    app.finish(process)
    assert process.returncode == -signal.SIGKILL
    assert list(app.experiment.glob("training/2/claims/0001.json"))
    assert app.records() == {}

    app.train(*arguments)

    assert app.states() == {"2": "completed"}
    assert app.calls() == ["2"]


@pytest.mark.parametrize("folder", ["pkg", "elsewhere"])
def test_a_module_started_from_another_directory_protects_both_folders(app, folder):
    package = app.folder / "pkg"
    package.mkdir()
    for name in ("train.py", "config.yaml"):
        (app.folder / name).rename(package / name)
    (package / "__init__.py").touch()
    elsewhere = app.folder / "elsewhere"
    elsewhere.mkdir()
    before = files_of(app.folder)

    process = app.start(
        "-c",
        "import os, runpy, sys; os.chdir('elsewhere'); sys.argv[0] = 'x';"
        "runpy.run_module('pkg.train', run_name='__main__', alter_sys=True)",
        f"hydra.run.dir={app.folder / folder}",
        PYTHONPATH=str(app.folder),
    )
    output = app.finish(process)

    assert process.returncode == 1, output
    assert f"is or contains {app.folder / folder}" in output
    assert files_of(app.folder) == before


def files_of(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_pickled_callback_takes_no_claim_with_it():
    callback = RunCallback()
    callback._claim = object()

    assert pickle.loads(pickle.dumps(callback))._claim is None
