"""The launcher `expkit`: real scripts in real processes, killed for real."""

import os
import platform
import re
import shutil
import signal
import time

import pytest
from omegaconf import OmegaConf

from expkit_bookkeeping.launching import claim_run
from expkit_hydra import GridError
from expkit_hydra.launching import grid_settings
from hydra_plugins.expkit_launcher import ExpkitLauncher


def test_a_failing_run_stops_no_other_and_is_explained_at_once_and_at_the_end(app):
    app.touch("fail2")

    output = app.train("-m", code=1)

    assert app.states() == {"1": "completed", "2": "failed", "3": "completed"}
    at_once = output.partition("[3/3]")[0]
    assert "ValueError: 2 is too much" in at_once
    assert "train.py:24 in main" in at_once
    assert "results/first/training/2" in at_once
    error = app.records()["2"]["error"]
    assert error["message"] == "2 is too much"
    log = (app.experiment / "training" / "2" / "training.log").read_text()
    assert "ValueError: 2 is too much" in log
    assert "2 completed, 1 failed" in output
    assert "results/first/results.csv" in output
    assert "python train.py -m" in output
    assert len((app.experiment / "results.csv").read_text().splitlines()) == 4


def test_a_sweep_killed_half_way_goes_on_with_exactly_what_is_missing(app):
    app.touch("hang2")
    process = app.start("train.py", "-m")
    app.wait_for_call(2)
    app.finish(process, signal.SIGKILL)
    assert app.states() == {"1": "completed", "2": "running"}
    assert "1 completed, 1 pending, 1 lost" in app.command("status", "results/first", code=1)
    app.remove("hang2")

    app.train("-m")

    assert app.calls() == ["1", "2", "2", "3"]
    assert set(app.states().values()) == {"completed"}
    assert app.records()["2"]["attempt"] == 2


def test_only_a_deleted_run_runs_again(app):
    app.train("-m")
    shutil.rmtree(app.experiment / "training" / "3")

    output = app.train("-m")

    assert app.calls() == ["1", "2", "3", "3"]
    # The only run of a sweep may use the console.
    assert "printed by 3" in output


def test_what_runs_print_goes_to_their_own_files_and_the_grid_is_in_their_environment(app):
    output = app.train("-m")

    assert "printed by" not in output
    assert (app.experiment / "training" / "2" / "console.log").read_text() == "printed by 2\n"
    (grid,) = (app.experiment / "grids").iterdir()
    assert (app.folder / "environment1").read_text().split()[0] == str(grid)


def test_what_runs_print_is_shown_where_the_user_wants_it(app):
    output = app.train("-m", "hydra.launcher.show_output=true")

    assert [f"printed by {x}" in output for x in (1, 2, 3)] == [True, True, True]


def test_ctrl_c_records_the_run_and_says_how_to_go_on(app):
    app.touch("hang2")
    process = app.start("train.py", "-m")
    app.wait_for_call(2)

    output = app.finish(process, signal.SIGINT)

    assert process.returncode == 130
    assert app.states() == {"1": "completed", "2": "interrupted"}
    assert "1 completed, 1 pending, 1 interrupted" in output
    assert "python train.py -m" in output
    assert "Traceback" not in output


def test_a_warning_while_the_end_of_a_run_is_recorded_loses_nothing(app):
    app.touch("slow_end")
    process = app.start("train.py", "-m", "hydra.launcher.n_jobs=2")
    app.wait_until((app.folder / "ending").exists)
    process.send_signal(signal.SIGUSR1)
    time.sleep(2.5)  # the sweep looks about once a second, and passes it on
    app.remove("slow_end")

    output = app.finish(process)

    assert process.returncode == 130, output
    assert "1 pending, 2 failed" in output


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_warning_before_the_time_limit_starts_no_further_run(app, n_jobs):
    """As Slurm sends it; the runs at hand do not ask for it, and end by themselves."""
    running = [str(x + 1) for x in range(n_jobs)]
    app.touch(*(f"hang{x}" for x in running))
    process = app.start("train.py", "-m", f"hydra.launcher.n_jobs={n_jobs}")
    app.wait_until(lambda: set(running) <= set(app.calls()))
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.1)  # Python handles it between two instructions of the loop that waits
    app.remove(*(f"hang{x}" for x in running))

    output = app.finish(process)

    assert process.returncode == 130, output
    assert app.states() == dict.fromkeys(running, "completed")
    assert f"{n_jobs} completed, {3 - n_jobs} pending" in output


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_sigterm_records_the_runs_of_scripts_that_do_not_handle_it(app, n_jobs):
    running = [str(x + 1) for x in range(n_jobs)]
    app.touch(*(f"hang{x}" for x in running))
    process = app.start("train.py", "-m", f"hydra.launcher.n_jobs={n_jobs}")
    app.wait_until(lambda: set(running) <= set(app.calls()))

    output = app.finish(process, signal.SIGTERM)

    assert process.returncode == 143, output
    assert app.states() == dict.fromkeys(running, "interrupted")
    assert "python train.py -m" in output


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_run_that_calls_exit_says_with_the_code_how_it_ended_and_the_others_run(app, n_jobs):
    app.touch("exit2")

    output = app.train("-m", f"hydra.launcher.n_jobs={n_jobs}", code=1)

    assert app.states() == {"1": "completed", "2": "failed", "3": "completed"}
    assert "SystemExit: 3" in output
    (app.folder / "exit2").write_text("0")
    app.train("-m", f"hydra.launcher.n_jobs={n_jobs}")
    assert app.states() == {"1": "completed", "2": "completed", "3": "completed"}


def test_two_sweeps_of_one_grid_share_its_runs(app):
    app.touch("hang1")
    first = app.start("train.py", "-m")
    app.wait_for_call(1)

    second = app.train("-m")
    app.remove("hang1")
    output = app.finish(first)

    assert first.returncode == 0
    assert app.calls() == ["1", "2", "3"]
    assert "1 is not started" in second
    assert output.count("was completed by another process meanwhile") == 2


def test_runs_that_another_process_has_are_told_with_it_once(app):
    """They are claimed between the sweep's look and their turn."""
    app.touch("hang1")
    sweep = app.start("train.py", "-m")
    app.wait_for_call(1)
    for name in ("2", "3"):
        claim_run(app.experiment / "training" / name)
    app.remove("hang1")

    output = app.finish(sweep)

    assert sweep.returncode == 0
    here = f"process {os.getpid()} on {platform.node()}"
    assert output.count(f"{here} has it") == 2
    assert f"2 runs left to {here}. Wait for it, or stop it: kill {os.getpid()}." in output
    assert output.count("kill") == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_reader_that_goes_stops_no_run(app, n_jobs, unbuffered):
    app.touch("hang1")
    read, write = os.pipe()
    arguments = ("train.py", "-m", f"hydra.launcher.n_jobs={n_jobs}")
    sweep = app.start(*arguments, stdout=write, PYTHONUNBUFFERED=unbuffered)
    os.close(write)
    app.wait_for_call(1)
    os.close(read)
    app.remove("hang1")

    _, errors = sweep.communicate(timeout=60)

    assert sweep.returncode == 0, errors
    assert set(app.states().values()) == {"completed"}
    assert len(app.states()) == 3
    status = "expkit_hydra status results/first"
    assert errors.startswith("Standard output is lost (Broken pipe). The grid goes on; ")
    assert errors.count(status if "expkit_hydra" in errors else "expkit status") == 1
    assert "Traceback" not in errors


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
def test_a_full_disk_behind_standard_output_stops_no_run(app):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        sweep = app.start("train.py", "-m", stdout=full.fileno())

        _, errors = sweep.communicate(timeout=60)

    assert sweep.returncode == 0, errors
    assert app.states() == dict.fromkeys("123", "completed")
    assert "Standard output is lost (No space left on device)." in errors


def test_processes_run_side_by_side_each_with_its_share_of_threads(app):
    app.touch("hang1", "hang2")
    process = app.start("train.py", "-m", "hydra.launcher.n_jobs=2")
    app.wait_until(lambda: {"1", "2"} <= set(app.calls()))
    app.remove("hang1", "hang2")

    output = app.finish(process)

    assert process.returncode == 0, output
    assert set(app.states().values()) == {"completed"}
    seen = [(app.folder / f"environment{x}").read_text().split() for x in (1, 2, 3)]
    assert len({pid for *_, pid in seen} | {str(process.pid)}) == 4
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert {values[1] for values in seen} == {str(threads)}
    assert (app.experiment / "training" / "2" / "console.log").read_text() == "printed by 2\n"


def test_a_process_that_is_killed_loses_only_its_own_run(app):
    app.touch("hang2")
    process = app.start("train.py", "-m", "hydra.launcher.n_jobs=2")
    app.wait_for_call(2)
    app.wait_until(lambda: app.states().get("3") == "completed")
    os.kill(int(str(app.records()["2"]["pid"])), signal.SIGKILL)

    output = app.finish(process)

    assert process.returncode == 1
    assert "was killed by SIGKILL" in output
    assert "2 completed, 1 lost" in output
    app.remove("hang2")
    app.train("-m", "hydra.launcher.n_jobs=2")
    assert sorted(app.calls()) == ["1", "2", "2", "3"]
    assert set(app.states().values()) == {"completed"}


def test_a_failing_process_reports_its_error(app):
    app.touch("fail2")

    output = app.train("-m", "hydra.launcher.n_jobs=3", code=1)

    assert "ValueError: 2 is too much" in output
    assert app.states() == {"1": "completed", "2": "failed", "3": "completed"}


def test_ctrl_c_stops_the_processes_and_records_their_runs(app):
    app.touch("hang1", "hang2")
    process = app.start("train.py", "-m", "hydra.launcher.n_jobs=2")
    app.wait_until(lambda: {"1", "2"} <= set(app.calls()))

    output = app.finish(process, signal.SIGINT)

    assert process.returncode == 130
    assert app.states() == {"1": "interrupted", "2": "interrupted"}
    assert "1 pending, 2 interrupted" in output


def test_ctrl_c_while_processes_start_leaves_no_tracebacks_and_no_runs(app):
    script = app.folder / "train.py"
    # As heavy as importing PyTorch, in all processes but the sweep's, which comes first.
    slow = (
        'if Path("sweeping").exists():\n    Path("importing").touch()\n    time.sleep(1)\n'
        'Path("sweeping").touch()\n'
    )
    script.write_text(script.read_text().replace("\n\n@hydra", f"\n{slow}\n\n@hydra"))
    process = app.start("train.py", "-m", "hydra.launcher.n_jobs=2")
    app.wait_until((app.folder / "importing").exists)
    os.killpg(process.pid, signal.SIGINT)

    output = app.finish(process)

    assert process.returncode == 130
    assert "Traceback" not in output
    assert "Stopped: 3 pending" in output
    assert app.calls() == []


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="uses Linux's prctl")
def test_processes_end_when_the_sweep_is_killed(app):
    app.touch("hang1", "hang2")
    process = app.start("train.py", "-m", "hydra.launcher.n_jobs=2")
    app.wait_until(lambda: {"1", "2"} <= set(app.calls()))

    app.finish(process, signal.SIGKILL)

    app.wait_until(lambda: set(app.states().values()) == {"interrupted"})
    assert sorted(app.calls()) == ["1", "2"]  # and the third never starts


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="uses Linux's prctl")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_of_a_sweep_in_the_background_of_a_script_end_with_it(app, number):
    app.touch("hang1", "hang2")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for `command &`
    try:
        process = app.start("train.py", "-m", "hydra.launcher.n_jobs=2")
    finally:
        signal.signal(signal.SIGINT, before)
    app.wait_until(lambda: {"1", "2"} <= set(app.calls()))

    app.finish(process, number)

    app.wait_until(lambda: set(app.states().values()) == {"interrupted"})
    assert sorted(app.calls()) == ["1", "2"]


def test_under_hydras_own_launcher_runs_have_states_and_are_not_repeated(app):
    app.touch("fail2")
    basic = ["-m", "hydra/launcher=basic"]

    app.train(*basic, code=1)
    app.remove("fail2")
    output = app.train(*basic)

    assert app.calls() == ["1", "2", "3", "2"]
    assert set(app.states().values()) == {"completed"}
    assert app.records()["2"]["attempt"] == 2
    assert "3 completed" in output
    assert (app.experiment / "grids" / str(app.records()["1"]["grid_id"])).is_dir()


def test_under_hydras_own_sweeper_runs_have_states_and_a_table(app):
    output = app.train("-m", "hydra/sweeper=basic", "x=1,2")

    assert app.states() == {"1": "completed", "2": "completed"}
    assert "2 completed" in output
    assert (app.experiment / "results.csv").is_file()


def test_editing_the_configuration_changes_no_run_that_waits(app):
    app.touch("edit1")

    app.train("-m")

    assert (app.folder / "epochs.txt").read_text().split() == ["10", "10", "10"]


def test_under_hydras_own_launcher_an_edited_configuration_is_noticed(app):
    app.touch("edit1")

    output = app.train("-m", "hydra/launcher=basic")

    assert (app.folder / "epochs.txt").read_text().split() == ["10", "20", "20"]
    assert "This launcher composed run 2 again" in output


def test_a_bad_setting_is_refused_before_anything_is_written(app):
    output = app.train("-m", "expkit.after=[plots]", code=1)

    assert "Did you mean 'plot'? Allowed: sync, plot, report." in output
    assert "Traceback" not in output
    assert not app.experiment.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": "maximise"}, "expkit.direction='maximise' is not known. Did you mean 'max"),
        ({"on_change": "redo"}, "Allowed: keep, continue, rerun."),
        ({"rerun": "everything"}, "Allowed: missing, failed, changed, all."),
        ({"after": "plots"}, "expkit.after='plots' is not known. Did you mean 'plot'?"),
        ({"after": [3]}, "expkit.after=3 is not known."),
    ],
)
def test_a_setting_that_is_misspelt_is_named_with_what_is_allowed(settings, message):
    with pytest.raises(GridError, match=re.escape(message)):
        grid_settings(OmegaConf.create({"expkit": settings}))


@pytest.mark.parametrize("n_jobs", [0, -1, True, 2.0, "2", None])
def test_a_number_of_processes_that_makes_no_sense_is_refused(n_jobs):
    launcher = ExpkitLauncher(n_jobs)

    with pytest.raises(GridError, match="must be a whole number of processes, 1 or more"):
        launcher.setup(hydra_context=None, task_function=None, config=OmegaConf.create())


def test_a_function_that_no_new_process_can_find_is_refused(app):
    script = (app.folder / "train.py").read_text().replace('config_path="."', "config_path=None")
    arguments = ["-m", "hydra.launcher.n_jobs=2", f"--config-dir={app.folder}"]

    output = app.run("-c", script, *arguments, code=1)

    assert "'main' was defined in an interactive session" in output
    assert app.calls() == []
    app.run("-c", script, *arguments[::2])
    assert app.calls() == ["1", "2", "3"]


def test_a_grid_in_every_process_of_a_distributed_run_is_refused(app):
    process = app.start("train.py", "-m", RANK="1")

    output = app.finish(process)

    assert process.returncode == 1
    assert "this one has rank 1 of a distributed run" in output
    assert app.calls() == []


def test_a_metric_that_no_run_logs_is_said_after_the_first_run(app):
    script = app.folder / "train.py"
    text = script.read_text().replace(
        'print(f"printed', 'run = Bookkeeping.from_config(cfg)\n    print(f"printed'
    )
    text = text.replace(
        "import hydra\n", "import hydra\nfrom expkit_bookkeeping import Bookkeeping\n"
    )
    script.write_text(
        text.replace(
            "    hang = Path(",
            '    with run:\n        run.log_metrics({"loss": 1}, 0)\n    hang = Path(',
        )
    )

    output = app.train("-m", "expkit.metric=los", "expkit.after=[]")

    assert "Did you mean 'loss'? Logged: loss." in output.partition("[2/3]")[0]
    assert output.count("expkit.metric is 'los', which no completed run has logged") == 2
    assert "no completed run" not in app.train("-m", "expkit.metric=loss", "expkit.after=[]")


def test_a_run_whose_folder_vanished_fails_the_sweep(app):
    app.touch("hang2")
    process = app.start("train.py", "-m")
    app.wait_for_call(2)
    shutil.rmtree(app.experiment / "training" / "2")
    app.remove("hang2")

    output = app.finish(process)

    assert process.returncode == 1, output
    assert "2  failed" in output
    assert app.calls() == ["1", "2", "3"]


def test_runs_that_fail_alike_are_listed_in_one_line(app):
    app.touch("exit1", "exit3")

    output = app.train("-m", code=1)

    assert "  1, 3: SystemExit: 3" in output.splitlines()


def test_another_sweeper_with_a_folder_of_its_own_ends_as_hydra_would(app):
    (app.folder / "config.yaml").write_text(
        "defaults: [expkit, _self_]\nexperiment_id: first\nx: 1\nepochs: 10\n"
    )
    words = ["-m", "hydra/sweeper=basic", "x=1,2"]

    own = ["hydra.sweep.dir=mine", "hydra.sweep.subdir=${hydra.job.num}"]

    first = app.train(*words)
    second = app.train(*words, *own)
    third = app.train(*words, *own, "hydra/launcher=basic")

    assert "2 completed" in first
    assert "4 completed" in second
    assert "run again" in second
    assert app.states() == dict.fromkeys(["1", "1-2", "2", "2-2"], "completed")
    assert app.calls() == ["1", "2"] * 3
    assert third.splitlines()[-1] == "printed by 2"
    assert (app.folder / "mine" / "1" / "run.json").is_file()
