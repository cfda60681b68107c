"""Jobs of sweepers that know no grid: what they return, and what becomes of those that do not."""

import json
import os
import pickle
import signal
import stat
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf
from slurm_app import CONFIG, LAUNCHER, RESUMABLE

from expkit_hydra import GridError

PLAIN = """
hydra: {job: {name: app, chdir: false}}
x: 1
note: first
"""
# As an app without the kit's line selects the launcher.
BASIC = ("hydra/sweeper=basic", "hydra.launcher.poll_s=0.1", "hydra/launcher=expkit_slurm")


class Evil:
    """Leaves a file when it is loaded."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


# Code of `python -c`, which no other process can start or import.
TYPED = """
from pathlib import Path

import hydra
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("twice", lambda x: 2 * x)


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(cfg):
    Path(f"called{cfg.x}").write_text(f"typed, {cfg.doubled}")


main()
"""


@pytest.fixture
def plain(app, monkeypatch):
    """An app without the kit's keys, whose jobs are launched from this process."""
    app.write("conf/config.yaml", PLAIN)
    monkeypatch.chdir(app.folder)
    for name, value in app.cluster.environment.items():
        monkeypatch.setenv(name, value)
    return app


@pytest.fixture
def launch(plain, hydra_restore_singletons):
    """Give override lists to the launcher, as a sweeper does; returns what came back."""

    def launch(function, *jobs, first=0, overrides=(), config_name="config"):
        with initialize_config_dir(str(plain.folder / "conf"), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            config = loader.load_configuration(
                config_name, [*BASIC, *overrides], run_mode=RunMode.MULTIRUN
            )
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=HydraContext(config_loader=loader, callbacks=Callbacks(config)),
                task_function=function,
                config=config,
            )
            return launcher.launch([list(overrides) for overrides in jobs], initial_job_idx=first)

    return launch


def _submissions(sweep_dir: Path) -> list[Path]:
    return list((sweep_dir / ".expkit" / "slurm").iterdir())


def test_a_job_is_as_under_hydras_own_launcher(plain, launch, monkeypatch):
    monkeypatch.setenv("COPIED", "from the shell")

    def function(cfg):
        import torch

        hydra = HydraConfig.get()
        return {
            "x": cfg.x,
            "num": hydra.job.num,
            "id": hydra.job.id,
            "cwd": str(Path.cwd()),
            "original": hydra.runtime.cwd,
            "output": hydra.runtime.output_dir,
            "environment": (os.environ["SET"], os.environ["COPIED"]),
            "scalars": (torch.tensor(1.5), {"a": ()}),
            "launcher": hydra.runtime.choices["hydra/launcher"],
        }

    overrides = [
        "hydra.sweep.dir=sweeps/${now:%H-%M-%S-%f}",  # the same moment in all of them
        "hydra.sweep.subdir=${hydra.job.num}_${x}",
        "hydra.job.chdir=true",
        "+hydra.job.env_set.SET=set",
        "hydra.job.env_copy=[COPIED]",
        "hydra.launcher.comment=comment-${note}",  # so two arrays, and their jobs mixed
    ]
    jobs = [["x=5", "note=a"], ["x=6", "note=b"], ["x=7", "note=a"]]
    returned = launch(function, *jobs, first=10, overrides=overrides)

    (sweep_dir,) = (plain.folder / "sweeps").iterdir()
    for number, (job, x) in enumerate(zip(returned, (5, 6, 7), strict=True), start=10):
        folder = str(sweep_dir / f"{number}_{x}")
        assert job.hydra_cfg.hydra.job.id == str(number)
        assert job.hydra_cfg.hydra.runtime.output_dir == folder
        assert (job.cfg.x, job.working_dir) == (x, os.path.relpath(folder))
        assert job.return_value == {
            "x": x,
            "num": number,
            "id": str(number),
            "cwd": folder,
            "original": str(plain.folder),
            "output": folder,
            "environment": ("set", "from the shell"),
            "scalars": (1.5, {"a": ()}),
            "launcher": "expkit_slurm",
        }
        assert job.overrides == jobs[number - 10]
    comments = plain.cluster.run("squeue", "--states=all", "--noheader", "--format=%k")
    assert {"comment-a", "comment-b"} <= set(comments.split())
    statuses = plain.run("-m", "expkit_hydra", "status", str(sweep_dir))
    assert "3 completed" in statuses


def test_what_goes_wrong_in_a_job_is_that_jobs_result(plain, launch, capsys):
    class TwoArgumentsError(Exception):
        def __init__(self, first, second):
            super().__init__(f"{first} and {second}")

    def function(cfg):
        match cfg.x:
            case 1:
                raise ValueError("1 is too much")
            case 2:
                raise TwoArgumentsError("one", "another")
            case 3:
                return threading.Lock()
            case 4:
                sys.exit("enough")
            case 5:
                print("the last words", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
        return cfg.x

    jobs = [[f"x={x}"] for x in range(7)]
    returned = launch(function, *jobs, overrides=["hydra.sweep.dir=sweep"])
    output = capsys.readouterr().out

    states = [job.status for job in returned]
    assert states == [JobStatus.COMPLETED, *[JobStatus.FAILED] * 5, JobStatus.COMPLETED]
    assert [job.overrides for job in returned] == jobs
    assert [returned[x].return_value for x in (0, 6)] == [0, 6]
    with pytest.raises(RuntimeError, match="ValueError: 1 is too much") as raised:
        _ = returned[1].return_value
    assert raised.value.__notes__[0].endswith("in function\nValueError: 1 is too much")
    for x, why in (
        (2, "TwoArgumentsError: one and another"),
        (3, "does not keep what the function returned. It is a _thread.lock: .* Return a number"),
        (4, "SystemExit: enough"),
        (5, "Run 5 did not complete: lost: .*SIGKILL"),
    ):
        with pytest.raises(RuntimeError, match=why):
            _ = returned[x].return_value
    assert "5 lost: " in output
    console_log = plain.folder / "sweep" / ".expkit" / "training" / "5" / "console.log"
    assert console_log.read_text() == "the last words\n"
    # What is left is nobody else's to read or change.
    (submission,) = _submissions(plain.folder / "sweep")
    private = submission / "private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in private.iterdir()} == {0o600}
    assert [path for path in plain.folder.rglob("*.pkl")] == [private / "task.pkl"]


def test_a_configuration_with_objects_comes_in_the_pickle(plain, launch):
    class Thing:
        pass

    @dataclass
    class Schema:
        x: int = 1

    content = {"x": 1, "thing": Thing()}
    for name, node in (
        ("objects", OmegaConf.create(content, flags={"allow_objects": True})),
        ("schema", Schema),
    ):
        ConfigStore.instance().store(name, node=node)

    def function(cfg):
        return type(cfg.get("thing")).__name__, OmegaConf.get_type(cfg).__name__, cfg.x

    jobs = [["x=2"], ["x=3"]]
    packed = ["hydra.launcher.runs_per_task=2"]
    objects = launch(function, *jobs, config_name="objects", overrides=packed)
    typed = launch(function, *jobs, config_name="schema")

    assert [job.return_value for job in objects] == [("Thing", "dict", 2), ("Thing", "dict", 3)]
    assert [job.return_value[1:] for job in typed] == [("Schema", 2), ("Schema", 3)]


def test_jobs_that_are_cancelled_are_told_apart_from_those_that_return(plain, launch):
    def function(cfg):
        Path(f"started{cfg.x}").touch()
        while Path(f"hold{cfg.x}").exists():
            time.sleep(0.02)
        return cfg.x

    plain.touch("hold1")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(launch, function, ["x=0"], ["x=1"])
        plain.wait_for(lambda: (plain.folder / "started1").exists())
        (job,) = {task.split("_")[0] for task in _queued(plain)}
        plain.cluster.run("scancel", f"{job}_1")
        first, second = future.result(timeout=60)

    assert first.return_value == 0
    with pytest.raises(RuntimeError, match=r"Run 1 did not complete: interrupted: cancelled"):
        _ = second.return_value


def _runs(app) -> list[str]:
    return sorted(path.parent.name for path in app.experiment.glob("training/*/run.json"))


def _queued(app) -> list[str]:
    return app.cluster.run("squeue", "--noheader", "--array", "--format=%i").split()


def test_jobs_that_share_a_task_are_jobs_of_their_own(launch):
    def function(cfg):
        if cfg.x == 1:
            raise ValueError("no")
        return cfg.x, HydraConfig.get().job.num

    jobs = [[f"x={x}"] for x in range(5)]
    returned = launch(function, *jobs, overrides=["hydra.launcher.runs_per_task=3"])

    good = [job.return_value for job in returned if job.status == JobStatus.COMPLETED]
    assert good == [(0, 0), (2, 2), (3, 3), (4, 4)]


def test_what_cannot_be_pickled_is_refused_before_anything_is_submitted(plain, launch):
    lock = threading.Lock()

    with pytest.raises(GridError, match=r"cannot pickle .* Nothing has been submitted"):
        launch(lambda cfg: lock, ["x=0"], overrides=["hydra.sweep.dir=sweep"])

    assert not (plain.folder / "sweep" / ".expkit" / "slurm").exists()
    assert _queued(plain) == []


def test_a_sweeper_that_needs_results_is_not_left_without_them(plain):
    output = plain.run("train.py", "-m", *BASIC, "hydra.launcher.wait=false", code=1)

    assert "needs what they return. Set hydra.launcher.wait=true" in output
    assert "hydra/sweeper=expkit" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_jobs_whose_sweeper_leaves_are_cancelled(plain, number, code):
    plain.touch("hold")
    process = plain.start("train.py", "-m", *BASIC, "x=0,1", "hydra.sweep.dir=sweep")
    plain.wait_for_calls(2)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == code, output
    assert "nobody is left to take what they return" in output
    assert "Traceback" not in output
    plain.cluster.wait_idle()
    states = {json.loads(path.read_text())["state"] for path in plain.folder.rglob("run.json")}
    assert states == {"interrupted"}


def test_hydras_basic_sweeper_in_an_app_of_the_kit(app):
    output = app.run("train.py", "-m", *BASIC, "x=0,1")

    assert "submitted 2 runs: job " in output
    assert "2 completed" in output
    assert sorted(app.calls()) == ["0 first", "1 first"]
    records = [app.record(run_name) for run_name in _runs(app)]
    assert [record["state"] for record in records] == ["completed", "completed"]
    assert {record["slurm"]["array_task_id"] for record in records} == {"0", "1"}


def test_a_preempted_job_of_another_sweeper_goes_on_and_returns(app):
    app.write("train.py", RESUMABLE)
    process = app.start("train.py", "-m", *BASIC, "x=0", "epochs=4", "pause_s=1.0")
    app.wait_for(lambda: (app.folder / "epoch0").exists())
    (job,) = _queued(app)
    app.cluster.run("scancel", "--signal=USR1", "--full", job)
    output, _ = process.communicate(timeout=90)

    assert process.returncode == 0, output
    (record,) = [app.record(run_name) for run_name in _runs(app)]
    assert (record["state"], record["attempt"]) == ("completed", 2)


def test_our_sweeper_in_an_app_without_the_kits_line(plain):
    overrides = ["hydra/sweeper=expkit", *BASIC[1:], "x=0,1", "hydra.sweep.dir=sweep"]
    plain.run("train.py", "-m", *overrides)

    assert sorted(plain.calls()) == ["0 first", "1 first"]
    assert {path.name for path in (plain.folder / "sweep").iterdir()} == {
        ".expkit", "0", "1", "multirun.yaml"
    }  # fmt: skip


def test_a_function_that_no_process_could_import_is_pickled_once_a_grid_with_a_warning(app):
    app.write("conf/config.yaml", CONFIG + "doubled: ${twice:${x}}\n")
    output = app.run("-c", TYPED, "--config-dir=conf", "-m", *LAUNCHER)

    assert "It is pickled for the tasks of this grid, as it is now." in output
    texts = [(app.folder / f"called{x}").read_text() for x in range(3)]
    assert texts == [f"typed, {2 * x}" for x in range(3)]
    (submission,) = (app.experiment / "slurm").iterdir()
    (pickled,) = submission.rglob("*.pkl")
    assert pickled.parent == submission / "private"
    assert stat.S_IMODE(pickled.stat().st_mode) == 0o600
    assert stat.S_IMODE(pickled.parent.stat().st_mode) == 0o700


def test_a_pickle_that_somebody_replaces_in_the_queue_is_neither_run_nor_submitted_again(app):
    app.write("conf/config.yaml", CONFIG + "doubled: ${twice:${x}}\n")
    later = "+hydra.launcher.additional_parameters.begin=now+1hour"
    words = ["-m", *LAUNCHER, "hydra.launcher.wait=false", "x=0", later]
    app.run("-c", TYPED, "--config-dir=conf", *words)
    (submission,) = (app.experiment / "slurm").iterdir()
    private = submission / "private"
    private.rename(submission / "aside")
    private.mkdir()
    private.chmod(0o2775)
    (private / "task.pkl").write_bytes(pickle.dumps(Evil(app.folder / "proof")))
    (job,) = app.cluster.jobs()
    app.cluster.run("scontrol", "update", f"jobid={job.id}", "starttime=now")
    status = app.wait()["0"]

    why = f"{private} is open to others (mode 2775). Reading it would run what somebody else"
    assert (status.state, status.exit_code) == ("lost", 1)
    assert why in "\n".join(status.last_lines)
    assert why in app.expkit("retry", code=2)
    assert len(list((app.experiment / "slurm").iterdir())) == 1
    assert not (app.folder / "proof").exists()
    assert not (app.folder / "called0").exists()
