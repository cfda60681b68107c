"""`status`, `show` and `cleanup` on what real runs left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from expkit_bookkeeping import Bookkeeping
from expkit_bookkeeping.launching import is_alive
from expkit_hydra import cleanup
from expkit_hydra.commands import cleanup as cleanup_command
from expkit_hydra.commands import show, status

LATER = datetime.now(UTC) + timedelta(days=3)


@pytest.fixture(scope="module")
def killed_sweep(make_app, tmp_path_factory):
    """Run 1 completed, run 2 failed with a checkpoint, run 3 killed; 4 was never started."""
    app = make_app(tmp_path_factory.mktemp("killed"))
    app.touch("fail2", "hang3")
    process = app.start("train.py", "-m", "x=1,2,3,4")
    app.wait_for_call(3)
    app.finish(process, signal.SIGKILL)
    states = app.experiment / "training" / "2" / "states"
    states.mkdir()
    (states / "epoch_0004.pt").write_bytes(b"0" * 2000)
    (states / "epoch_0003.pt").touch()  # copied later, and older in the training
    (app.experiment / "training" / "3" / "states").mkdir()
    (app.experiment / "training" / "3" / "states" / "model.pt").touch()  # not to resume from
    return app


@pytest.fixture
def mixed(killed_sweep, tmp_path):
    """A copy of its own, for tests that change it."""
    shutil.copytree(killed_sweep.folder, tmp_path / "copy")
    return replace(killed_sweep, folder=tmp_path / "copy")


@pytest.fixture(scope="module")
def two_runs(make_app, tmp_path_factory):
    """Run 1 completed, run 2 failed, where they were trained."""
    app = make_app(tmp_path_factory.mktemp("two"))
    app.touch("fail2")
    app.train("-m", "x=1,2", code=1)
    return app


def snapshot(folder) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def paste(command, folder, answer=""):
    """Run a printed command in a shell, and answer what it asks; returns what it printed."""
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        input=answer,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_status_lists_every_run_and_changes_nothing(mixed, capsys):
    before = snapshot(mixed.experiment)

    assert status([str(mixed.experiment)]) == 1

    output = capsys.readouterr().out
    assert "1 completed, 1 pending, 1 lost, 1 failed" in output
    assert "ValueError: 2 is too much" in output
    assert snapshot(mixed.experiment) == before


@pytest.mark.parametrize("verb", [["status"], ["status", "--json"], ["show", "2"], ["cleanup"]])
def test_a_reader_that_has_gone_ends_a_verb_quietly(killed_sweep, verb):
    read, write = os.pipe()
    os.close(read)
    name, *rest = verb
    arguments = ("-m", "expkit_hydra", name, "results/first", *rest)
    process = killed_sweep.start(*arguments, stdout=write)
    os.close(write)

    _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (1, "")


def test_status_as_json_can_be_read_by_programs(mixed, capsys):
    assert status([str(mixed.experiment), "--json"]) == 1

    runs = json.loads(capsys.readouterr().out)["runs"]
    assert {run["run_name"]: run["state"] for run in runs} == {
        "1": "completed",
        "2": "failed",
        "3": "lost",
        "4": "pending",
    }


@pytest.mark.parametrize("run", ["2", "1"], ids=["by name", "by name before number"])
def test_show_tells_what_a_run_was(mixed, capsys, run):
    assert show([str(mixed.experiment), run]) == 0

    assert capsys.readouterr().out.startswith(f"{run}: ")


def test_show_leaves_out_what_only_steers_the_kit(mixed, capsys):
    show([str(mixed.experiment), "2"])
    short = capsys.readouterr().out.partition("--- configuration")[2].partition("---")[0]
    show([str(mixed.experiment), "2", "--all"])
    long = capsys.readouterr().out

    assert yaml.safe_load(short) == {
        "experiment_id": "first",
        "run_name": "2",
        "x": 2,
        "epochs": 10,
    }
    for line in ("results_dir: results", "mlflow:", "_filters: []"):
        assert line in long


def test_show_ends_with_the_command_that_repeats_the_run_in_a_debugger(mixed, capsys):
    show([str(mixed.experiment), "2"])

    output = capsys.readouterr().out
    assert "epochs: 10" in output
    assert 'raise ValueError(f"{cfg.x} is too much")' in output
    assert "training.log" in output
    assert output.rstrip().endswith("python -m pdb -c continue train.py x=2")


def test_the_command_that_show_prints_leaves_a_completed_run_as_it_is(two_runs, capsys):
    show([str(two_runs.experiment), "1"])
    command = capsys.readouterr().out.rstrip().splitlines()[-1]
    before = snapshot(two_runs.experiment)

    output = paste(command, "/", answer="q\n")

    assert "printed by 1" in output
    assert snapshot(two_runs.experiment) == before
    assert (two_runs.folder / "debug" / "first" / "training" / "1" / "run.json").is_file()


@pytest.mark.parametrize(("run", "code"), [("1", 0), ("2", 1)])
def test_show_prints_a_launch_configuration_for_vscode_that_repeats_the_run(
    two_runs, capsys, run, code
):
    show([str(two_runs.experiment), run, "--vscode"])
    (launch,) = json.loads(capsys.readouterr().out)["configurations"]
    before = snapshot(two_runs.experiment / "training" / "1")

    assert (launch["type"], launch["request"]) == ("debugpy", "launch")
    done = subprocess.run(  # as the debugger does
        [launch["python"], launch["program"], *launch["args"]],
        cwd=launch["cwd"],
        env={**os.environ, **launch["env"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert f"printed by {run}" in done.stdout
    # Hydra lets the error through to the debugger, which shows where it was raised.
    assert done.stderr.count("in run_and_report") >= code
    assert snapshot(two_runs.experiment / "training" / "1") == before


def test_show_has_no_launch_configuration_where_the_program_is_gone(two_runs, capsys):
    (two_runs.folder / "train.py").rename(two_runs.folder / "moved.py")
    try:
        assert show([str(two_runs.experiment), "1", "--vscode"]) == 2
    finally:
        (two_runs.folder / "moved.py").rename(two_runs.folder / "train.py")

    assert "Nothing says how 1 was started, or its program" in capsys.readouterr().err


def test_the_command_that_show_prints_names_the_configuration_that_was_chosen(app, capsys):
    (app.folder / "config.yaml").rename(app.folder / "big.yaml")
    app.train("--config-name", "big", "-m", "x=5")
    show([str(app.experiment), "5"])

    output = paste(capsys.readouterr().out.rstrip().splitlines()[-1], "/", answer="q\n")

    assert "printed by 5" in output


def test_status_and_show_tell_that_a_first_stage_was_trained_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def train_first_stage(weights):
        with Bookkeeping("results/digits/training/cnn_1", console=False) as run:
            run.log_metrics({"acc": 0.9}, step=0)
            run.create_folder("states").joinpath("best.pt").write_bytes(weights)
        return run

    with Bookkeeping("results/distilled/training/small_1", console=False) as run:
        run.uses(train_first_stage(b"weights"))
    status(["results/distilled"])
    show(["results/distilled", "small_1"])
    before = capsys.readouterr().out
    train_first_stage(b"other weights")

    status(["results/distilled"])
    listed = capsys.readouterr().out
    show(["results/distilled", "small_1"])

    assert "built on digits/cnn_1, attempt 1, best.pt\n" in before
    assert "trained anew" not in before
    assert "digits/cnn_1: trained anew since" in listed
    assert "attempt 1, best.pt: trained anew since" in capsys.readouterr().out


def test_show_knows_a_run_that_has_not_started(mixed, capsys):
    show([str(mixed.experiment), "4"])

    output = capsys.readouterr().out
    assert output.startswith("4: pending")
    assert "x: 4" in output


def test_status_lists_the_runs_of_an_experiment_whose_grid_is_damaged(mixed, capsys):
    (mixed.experiment / "grid_search.yaml").write_text("{")

    assert status([str(mixed.experiment)]) == 1

    printed = capsys.readouterr()
    assert "1 completed, 1 lost, 1 failed" in printed.out
    assert "grid_search.yaml is damaged" in printed.err


def test_status_as_json_is_strict_where_a_metric_is_nan(app, capsys):
    from expkit_bookkeeping.launching import claim_run

    best = {"metric": "loss", "direction": "minimize", "value": "NaN", "step": 0}
    claim_run(app.experiment / "training" / "1").finish("completed", best=best)

    assert status([str(app.experiment), "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["runs"][0]["best"] == "NaN"


def test_cleanup_says_what_it_would_do_and_does_nothing(mixed, capsys):
    before = snapshot(mixed.experiment)

    assert cleanup_command([str(mixed.experiment)]) == 0

    output = capsys.readouterr().out
    assert "2 to remove" in output
    assert "epoch_0004.pt" in output
    assert "model.pt" not in output
    assert "left alone: 1 completed" in output
    assert "--yes" in output
    assert snapshot(mixed.experiment) == before


def test_cleanup_moves_what_was_not_completed_and_leaves_tombstones(mixed):
    done = cleanup(mixed.experiment, dry_run=False)

    assert [removal.record.run_name for removal in done.removals] == ["2", "3"]
    assert mixed.states() == {"1": "completed"}
    assert all(removal.trash.is_dir() for removal in done.removals)
    removed = (mixed.experiment / ".trash" / "removed.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in removed] == ["cleanup", "cleanup"]
    assert len((mixed.experiment / "results.csv").read_text().splitlines()) == 2


def test_cleanup_of_named_runs_takes_completed_ones_and_no_others(mixed, capsys):
    experiment = str(mixed.experiment)
    before = snapshot(mixed.experiment)
    assert cleanup_command([experiment, "1"]) == 0
    output = capsys.readouterr().out
    assert "1 to remove" in output
    assert f"cleanup {experiment} 1 --yes" in output
    assert "trains completed runs that are removed anew" in output
    assert snapshot(mixed.experiment) == before

    assert cleanup_command([experiment, "--yes", "1"]) == 0

    assert mixed.states() == {"2": "failed", "3": "running"}  # 3 is lost
    (line,) = (mixed.experiment / ".trash" / "removed.jsonl").read_text().splitlines()
    assert (json.loads(line)["run_name"], json.loads(line)["state"]) == ("1", "completed")
    assert "completed" not in (mixed.experiment / "results.csv").read_text()


def test_cleanup_of_a_name_that_is_not_there_removes_nothing(mixed, capsys):
    before = snapshot(mixed.experiment)

    for name in ("4", "x", "../training/1", "1/", ""):  # 4 was never started
        assert cleanup_command([str(mixed.experiment), "1", name, "--yes"]) == 2
        error = capsys.readouterr().err
        assert f"No run {name!r}" in error
        assert "nothing is removed" in error

    assert snapshot(mixed.experiment) == before


def test_cleanup_of_a_named_run_that_is_running_or_unknown_is_refused(app, capsys):
    app.touch("hang2")
    process = app.start("train.py", "x=2")
    app.wait_for_call(2)
    training = app.experiment / "training"
    (training / "damaged").mkdir()
    (training / "damaged" / "run.json").write_text("{")

    assert cleanup_command([str(app.experiment), "2", "damaged", "--yes"]) == 1

    output = capsys.readouterr().out
    assert "stays: it is running" in output
    assert "0 of 2 moved" in output
    assert len(list(training.iterdir())) == 2
    app.remove("hang2")
    app.finish(process)
    assert process.returncode == 0


def test_cleanup_leaves_a_completed_run_that_somebody_trains_again_meanwhile(mixed):
    mixed.touch("hang1")
    started = []

    def start_then_tell(record):
        if not started:
            started.append(mixed.start("train.py", "x=1", "expkit.fresh=true"))
            mixed.wait_until(lambda: mixed.states().get("1") == "running")
        return is_alive(record)

    (removal,) = cleanup(mixed.experiment, ["1"], dry_run=False, is_alive=start_then_tell).removals

    assert removal.trash is None
    assert mixed.states()["1"] == "running"
    mixed.remove("hang1")
    mixed.finish(started[0])
    assert mixed.states()["1"] == "completed"


def test_cleanup_keeps_runs_that_can_be_resumed(mixed):
    done = cleanup(mixed.experiment, keep_resumable=True)

    assert [removal.record.run_name for removal in done.removals] == ["3"]


def test_cleanup_keeps_runs_that_ended_lately(mixed):
    two_days = timedelta(days=2)

    assert cleanup(mixed.experiment, older_than=two_days).removals == ()
    assert len(cleanup(mixed.experiment, older_than=two_days, now=LATER).removals) == 2


def test_purge_frees_the_trash_and_keeps_the_tombstones(mixed):
    cleanup(mixed.experiment, dry_run=False)
    dry = cleanup(mixed.experiment, purge=True)
    assert dry.trash_bytes > 2000
    assert not dry.purged

    done = cleanup(mixed.experiment, dry_run=False, purge=True)

    assert done.purged
    assert [path.name for path in (mixed.experiment / ".trash").iterdir()] == ["removed.jsonl"]


def test_purge_deletes_only_what_the_tombstones_name(mixed):
    cleanup(mixed.experiment, dry_run=False)
    trash = mixed.experiment / ".trash"
    (trash / "dataset").mkdir()
    (trash / "dataset" / "images").touch()
    outside = mixed.folder / "outside"
    outside.mkdir()
    (trash / "link").symlink_to(outside)
    with (trash / "removed.jsonl").open("a") as file:
        for name in ("../training/1", ".trash/../training/1", ".trash/link", ".trash/", "/", 7):
            file.write(json.dumps({"trash": name}) + "\n")
        file.write("[" * 100_000 + "\n{\n")

    cleanup(mixed.experiment, dry_run=False, purge=True)

    assert sorted(path.name for path in trash.iterdir()) == ["dataset", "link", "removed.jsonl"]
    assert (trash / "dataset" / "images").exists()
    assert outside.is_dir()
    assert mixed.states() == {"1": "completed"}


def test_purge_refuses_a_trash_that_is_a_link(mixed, capsys):
    scratch = mixed.folder / "scratch"
    (scratch / "dataset").mkdir(parents=True)
    (mixed.experiment / ".trash").symlink_to(scratch)
    (scratch / "removed.jsonl").write_text(json.dumps({"trash": ".trash/dataset"}) + "\n")
    before = snapshot(mixed.experiment)

    assert cleanup_command([str(mixed.experiment), "--purge", "--yes"]) == 2

    assert "is a link to" in capsys.readouterr().err
    assert (scratch / "dataset").is_dir()
    assert snapshot(mixed.experiment) == before


def test_cleanup_never_touches_running_or_unknown_runs(app):
    app.touch("hang2")
    process = app.start("train.py", "x=2")
    app.wait_for_call(2)
    training = app.experiment / "training"
    (training / "damaged").mkdir()
    (training / "damaged" / "run.json").write_text("{")
    (training / "of somebody else").mkdir()

    done = cleanup(app.experiment, dry_run=False)

    assert done.removals == ()
    assert done.left_alone == {"running": 1, "unknown": 1}
    assert len(list(training.iterdir())) == 3
    app.remove("hang2")
    app.finish(process)
    assert process.returncode == 0


def test_cleanup_leaves_a_run_that_somebody_resumes_meanwhile(mixed):
    mixed.remove("fail2")
    mixed.touch("hang2")
    started = []

    def resume_then_tell(record):
        if not started:
            started.append(mixed.start("train.py", "x=2"))
            mixed.wait_until(lambda: mixed.states()["2"] == "running")
        return is_alive(record)

    done = cleanup(mixed.experiment, dry_run=False, is_alive=resume_then_tell)

    # Run 2 was read as failed or as running, in whatever order the folders were found.
    assert mixed.states()["2"] == "running"
    moved = [removal for removal in done.removals if removal.trash is not None]
    assert [removal.record.run_name for removal in moved] == ["3"]
    mixed.remove("hang2")
    mixed.finish(started[0])
    assert mixed.states()["2"] == "completed"


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [
        (status, ["results/frist"], "Did you mean results/first?"),
        (status, ["results"], "is not an experiment, but holds some: results/first"),
        (status, ["results/first/training/1"], "is a run. Give the folder of its experiment"),
        (status, ["nothing/here"], "does not exist, so it is no experiment"),
        (show, ["results/first", "7"], "a number from 0 to 3; `expkit status` lists the 4 runs"),
        (show, ["results/first", ""], "'' is part of 4 runs: 1, 2, 3, 4. Give more of one."),
        (show, ["results/first", "../1"], "No run '../1'"),
        (cleanup_command, ["elsewhere", "--yes"], "does not exist, so it is no experiment"),
    ],
)
def test_bad_input_is_answered_with_what_was_meant(
    app, capsys, monkeypatch, command, arguments, says
):
    for name in ("1", "2", "3", "4"):
        folder = app.experiment / "training" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text('{"state": "completed"}')
    grid = app.experiment / "grids" / "abc"
    grid.mkdir(parents=True)
    (grid / "grid_search.yaml").write_text("grid_id: abc\n")
    (app.experiment / "grid_search.yaml").write_text("grid_id: abc\n")
    lines = [
        json.dumps(
            {
                "index": index,
                "run_name": str(index + 1),
                "overrides": [],
                "values": {},
                "config_hash": str(index),
                "skipped_by": None,
            }
        )
        for index in range(4)
    ]
    (grid / "grid_search.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(app.folder)

    assert command(arguments) == 2

    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["results/first", "--older-than", "2 fortnights"], "is not an age. Write a number"),
        (["results/first", "--older-than", "-1d"], "is not an age"),
        (["results/first", "1", "--older-than", "1d"], "choose among all runs: name none"),
        ([], "the following arguments are required: results/EXPERIMENT"),
    ],
)
def test_bad_options_are_refused_before_anything_is_read(capsys, arguments, says):
    with pytest.raises(SystemExit, match="2"):
        cleanup_command(arguments)

    error = capsys.readouterr().err
    assert says in error or "expected one argument" in error


def test_status_of_a_thousand_runs_takes_a_moment(app, capsys):
    for number in range(1000):
        folder = app.experiment / "training" / f"run_{number}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"state": "completed", "attempt": 1}))
    started = time.perf_counter()

    status([str(app.experiment)])

    output = capsys.readouterr().out
    assert "… and 960 more (--all)" in output
    assert "1000 completed" in output
    # Measured 0.4 s on two cores; a table that is quadratic would take minutes.
    assert time.perf_counter() - started < 10 * max(1, os.getloadavg()[0])

    status([str(app.experiment), "--all"])

    assert capsys.readouterr().out.count("run_") == 1000
