"""A grid on a real cluster, when all goes well."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from slurm_app import RESUMABLE

from expkit_bookkeeping import read_run
from expkit_bookkeeping.launching import recorded_sources

# Whether Hydra's plugins were looked for: that import is what a task must not pay.
PLUGINS = """
import sys
import hydra
from hydra.core.plugins import Plugins
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    from hydra.core.singleton import Singleton
    print("scanned", Plugins in Singleton._instances)
    print("job", HydraConfig.get().job.num, HydraConfig.get().job.name, HydraConfig.get().mode)
    print("main", main.__module__, __name__)
    from hydra import compose
    print("composed", compose("config", ["x=9"]).x)

if __name__ == "__main__":
    main()
"""


def test_a_grid_is_one_array_and_the_command_ends_with_its_table(app):
    output = app.sweep()

    assert "submitted 3 runs: job " in output
    assert "3 completed" in output
    assert sorted(app.calls()) == ["0 first", "1 first", "2 first"]
    (submission,) = (app.experiment / "slurm").iterdir()
    assert len(list((submission / "logs").iterdir())) == 3
    assert {app.record(x)["slurm"]["array_task_id"] for x in range(3)} == {"0", "1", "2"}


def test_the_same_command_again_submits_only_what_is_missing(app):
    app.sweep()
    output = app.sweep("x=0,1,2,3")

    assert "submitted 1 run:" in output
    assert sorted(app.calls()) == ["0 first", "1 first", "2 first", "3 first"]
    assert "nothing to do" in app.sweep("x=0,1,2,3")


def test_tasks_prolong_completed_runs_from_their_checkpoints(app):
    app.write("train.py", RESUMABLE)
    app.sweep("epochs=2", "x=0,1")
    output = app.sweep("epochs=4", "x=0,1", "expkit.on_change=continue")

    assert "2 continue with another configuration: ~ epochs=2 → 4 (2 runs)" in output
    for x in (0, 1):
        record = app.record(x)
        assert (record["state"], record["attempt"]) == ("completed", 2)
        (entry,) = record["continued"]
        assert (entry["epoch"], [change["key"] for change in entry["changes"]]) == (2, ["epochs"])
        lines = app.log(x, "metrics.jsonl").splitlines()
        assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3]


def test_what_is_in_the_queue_is_not_submitted_again_but_waited_for(app):
    app.touch("hold")
    app.submit()
    app.wait_for_calls(3)
    second = app.start("train.py", "-m", "hydra/launcher=expkit_slurm", "x=0,1,2,3")
    app.wait_for_calls(4)
    app.remove("hold")
    output, _ = second.communicate(timeout=60)

    assert second.returncode == 0, output
    assert "submitted 1 run:" in output
    assert len(app.calls()) == 4


def test_waiting_and_pending_runs_have_the_states_that_people_expect(app):
    app.touch("hold")
    app.submit("hydra.launcher.array_parallelism=1")
    app.wait_for_calls(1)

    states = sorted(app.states().values())
    listed = app.expkit("status")

    assert states == ["pending", "pending", "running"]
    assert "PENDING (JobArrayTaskLimit)" in listed
    assert " on node" in listed
    app.remove("hold")
    assert {status.state for status in app.wait().values()} == {"completed"}
    assert app.expkit("wait").count("completed") >= 3


def test_a_dry_run_shows_the_whole_command_and_submits_nothing(app):
    output = app.sweep("expkit.dry_run=true", "hydra.launcher.time='01:00:00'")

    (line,) = [line for line in output.splitlines() if "sbatch --array=0-2" in line]
    for part in ("--job-name=first-", "--signal=B:USR1@120", "--time=01:00:00", "gpu_scripts/"):
        assert part in line
    assert "expkit_slurm.training" in line
    assert "3 runs, 0 to 2" in output
    assert app.cluster.jobs() == []
    assert not app.experiment.exists()


def test_a_task_composes_nothing_and_looks_for_no_plugins(app):
    app.write("train.py", PLUGINS)
    app.sweep("x=0,1")

    log = app.log(1)
    assert "scanned False" in log
    assert "job 1 train RunMode.MULTIRUN" in log
    assert "main __main__ __main__" in log
    assert "composed 9" in log  # for those who ask


def test_editing_conf_changes_nothing_that_waits(app):
    app.touch("hold")
    app.submit("hydra.launcher.array_parallelism=1")
    app.wait_for_calls(1)
    config = app.folder / "conf/config.yaml"
    config.write_text(config.read_text().replace("note: first", "note: second"))
    app.remove("hold")
    app.wait()

    assert sorted(app.calls()) == ["0 first", "1 first", "2 first"]


def test_a_copy_of_the_code_runs_as_it_was_at_submission(app):
    app.write("project/__init__.py", "")
    app.write("project/values.py", "VALUE = 'old'\n")
    script = app.folder / "train.py"
    script.write_text(
        script.read_text()
        .replace("import hydra\n", "import hydra\n\nfrom project.values import VALUE\n", 1)
        .replace('print(f"printed', 'print(VALUE, f"printed')
    )
    app.touch("hold")
    said = app.submit("hydra.launcher.array_parallelism=1", "hydra.launcher.snapshot=copy")
    app.wait_for_calls(1)
    app.write("project/values.py", "VALUE = 'new'\n")
    app.remove("hold")
    statuses = app.wait()

    assert "config: frozen; code: copied (snapshot=copy)" in said
    assert [app.log(x).split()[0] for x in range(3)] == ["old", "old", "old"]
    assert "as copied at submission" in statuses["2"].log.read_text()
    assert set(recorded_sources(read_run(app.experiment / "training" / "2"))) == {
        "project/__init__.py",
        "project/values.py",
        "train.py",
    }


def test_a_rule_about_what_is_done_is_asked_again_when_a_run_starts(app):
    app.touch("hold")
    app.submit("hydra.launcher.array_parallelism=1", "_filters=[{exists: model.bin}]")
    app.wait_for_calls(1)
    folder = app.experiment / "training" / "2"
    folder.mkdir(parents=True)
    (folder / "model.bin").touch()
    app.remove("hold")
    statuses = app.wait()

    assert [status.state for status in statuses.values()] == ["completed", "completed", "skipped"]
    assert "rule 1" in statuses["2"].reason
    assert sorted(app.calls()) == ["0 first", "1 first"]


def test_120_runs_go_beyond_the_longest_array_of_51(app):
    output = app.sweep("x=range(120)", "hydra.launcher.array_parallelism=100")

    assert "submitted 120 runs: jobs " in output
    assert "120 completed" in output
    record = json.loads(next((app.experiment / "slurm").glob("*/submission.json")).read_text())
    assert [array["runs"] for array in record["arrays"]] == [51, 51, 18]
    assert len({array["job_id"] for array in record["arrays"]}) == 3


def test_each_set_of_resources_is_an_array_of_its_own(app):
    app.write("conf/model/small.yaml", "name: small\n")
    app.write(
        "conf/model/big.yaml",
        """
        # @package _global_
        model: {name: big}
        hydra: {launcher: {mem: 300M, cpus_per_task: 2}}
        """,
    )
    config = app.folder / "conf/config.yaml"
    config.write_text(
        config.read_text().replace(
            "defaults: [expkit, _self_]", "defaults: [expkit, model: small, _self_]"
        )
    )
    output = app.sweep("model=small,big", "hydra.launcher.comment=x${x}")

    assert "--mem 300M, overrides line 3 of gpu_scripts/grid_search_array.sh (100M)" in output
    record = json.loads(next((app.experiment / "slurm").glob("*/submission.json")).read_text())
    asked = [dict(array["options"]) for array in record["arrays"]]
    assert len(asked) == 6  # two models, three comments
    assert [options.get("mem") for options in asked].count("300M") == 3
    assert {options["comment"] for options in asked} == {"x0", "x1", "x2"}


def test_by_hand_the_same_script_runs_the_runs_of_a_grid(app):
    app.run("train.py", "-m", "expkit.rerun=all", "x=0,1,2")
    (app.folder / "calls.txt").unlink()
    for x in range(3):
        subprocess.run(["rm", "-r", str(app.experiment / "training" / str(x))], check=True)
    app.cluster.run(
        "sbatch", "--array=0-1", f"--chdir={app.folder}", f"--output={app.folder}/%a.log",
        str(app.folder / "gpu_scripts/grid_search_array.sh"),
        sys.executable, "-m", "expkit_slurm.training", str(app.experiment),
    )  # fmt: skip
    app.cluster.wait_idle()

    assert sorted(app.calls()) == ["0 first", "1 first"]


def test_a_run_of_the_grid_is_debugged_here_without_slurm(app):
    app.touch("fail1")
    app.sweep(code=1)
    output = app.expkit("train", "1", code=1)

    assert "printed by 1" in output
    assert "ValueError: 1 is too much" in output
    assert app.record(1)["attempt"] == 2
    app.remove("fail1")
    app.expkit("train", "1")
    assert app.record(1)["state"] == "completed"
    assert app.record(1)["slurm"] is None


def test_a_run_that_is_completed_is_not_debugged_on_top_of_it(app):
    app.sweep()

    output = app.expkit("train", "1", code=1)

    assert f"1 is completed already, since {app.record(1)['ended_at']}." in output
    assert output.splitlines()[-1].endswith("train.py x=1 results_dir=debug")
    assert app.record(1)["attempt"] == 1


def test_the_manager_in_python_submits_and_waits(app):
    app.run("train.py", "-m", "x=7,8")
    from expkit_hydra import Grid

    code = """
        from expkit_hydra import Grid
        from expkit_slurm import SlurmManager

        grid = Grid.load("results/first")
        manager = SlurmManager(grid, script="gpu_scripts/grid_search_array.sh", mem="200M")
        manager.submit()
        for status in manager.wait():
            print(status.run_name, status.state, status.job)
    """
    app.write("submit.py", code)
    subprocess.run(["rm", "-r", str(app.experiment / "training" / "7")], check=True)
    output = app.run("submit.py")

    assert "7 completed" in output
    assert "8 completed None" in output
    assert [status.state for status in app.manager().status()] == ["completed", "completed"]
    assert Grid.load(app.experiment).pending == []


@pytest.mark.parametrize(
    ("ending", "signal"),
    [('exec "$@"', "B:USR1"), ('"$@"', "USR1"), ('srun "$@"', "USR1"), ('exec srun "$@"', "USR1")],
)
def test_each_ending_of_the_script_runs_the_grid(app, ending, signal):
    app.array_script(ending, "--cpus-per-task=1", "--mem=100M")
    app.touch("fail1")
    output = app.sweep(code=1)

    assert "2 completed, 1 failed" in output
    assert f"--signal={signal}@120" in app.sweep("expkit.dry_run=true", "expkit.rerun=all")
    exit_codes = {status.run_name: status.exit_code for status in app.statuses().values()}
    assert exit_codes["1"] == 1  # Slurm knows that it failed


def test_the_packaged_script_serves_where_there_is_none_and_can_be_copied(app):
    script = app.folder / "gpu_scripts/grid_search_array.sh"
    script.unlink()
    output = app.sweep("hydra.launcher.mem=100M")

    assert "3 completed" in output
    text = app.run("-m", "expkit_slurm", "slurm-script")
    assert text.rstrip().endswith('exec "$@"')


def test_results_in_csv_and_the_log_of_a_run(app):
    app.sweep()

    assert "printed by 2" in app.expkit("logs", "2")
    assert "Slurm job" in app.expkit("logs", "2")
    assert (app.experiment / "results.csv").read_text().count("completed") == 3


def test_folders_with_blanks_and_percent_signs_and_results_elsewhere(app, tmp_path):
    odd = replace(app, folder=tmp_path / "a b %j 'c'")
    (app.folder / "conf").rename(odd.folder.mkdir() or odd.folder / "conf")
    for name in ("train.py", "gpu_scripts"):
        (app.folder / name).rename(odd.folder / name)
    results = tmp_path / "re sults %a"
    output = odd.sweep(f"results_dir='{results}'", "hydra.sweeper.params.x=[0,1]")

    assert "2 completed" in output
    statuses = app.manager(results / "first").status()
    assert all("Slurm job" in status.log.read_text() for status in statuses)


def test_a_task_keeps_what_its_function_returned_and_the_choices(app):
    script = app.folder / "train.py"
    script.write_text(
        script.read_text().replace(
            '\n\nif __name__ == "__main__":',
            '    return (cfg.x, float("inf"))\n\n\nif __name__ == "__main__":',
        )
    )

    app.submit()
    app.wait()

    record = read_run(app.experiment / "training" / "1")
    assert record.returned == (1, float("inf"))
    assert record.data["choices"] == record.choices
    assert record.data["unresolved"] == {}


def test_the_options_of_both_launchers_may_stand_in_one_configuration(app):
    config = app.folder / "conf" / "config.yaml"
    config.write_text(config.read_text().replace("hydra: {", "hydra: {launcher: {n_jobs: 2}, "))

    submitted = app.sweep("x=1", "+hydra.launcher.show_output=true")
    here = app.run("train.py", "-m", "x=2", "+hydra.launcher.mem=100M", "hydra.launcher.wait=false")

    assert "3 completed" not in submitted
    assert (
        "hydra.launcher.n_jobs, show_output: for expkit; the launcher expkit_slurm does not need "
        "them" in submitted
    )
    assert (
        "hydra.launcher.mem, wait: for expkit_slurm; the launcher expkit does not need them" in here
    )
    assert {name: app.record(name)["state"] for name in "12"} == dict.fromkeys("12", "completed")


@pytest.mark.parametrize(
    ("launcher", "option", "message"),
    [
        ("expkit", "n_job=2", "hydra.launcher.n_job is not known to the launcher expkit.*n_jobs?"),
        ("expkit_slurm", "memm=1G", "The resource 'memm' is not known. Did you mean mem?"),
        ("expkit_slurm", "timeout_min=5", "Write time: 90, in minutes"),
    ],
)
def test_an_option_of_no_launcher_is_refused_before_anything_starts(app, launcher, option, message):
    words = ["train.py", "-m", f"hydra/launcher={launcher}", f"hydra.launcher.{option}"]

    assert re.search(message, app.run(*words, code=1))
    assert app.calls() == []
