"""Names and values that a shell, Slurm or a terminal would take for something else."""

import json
import signal

from slurm_app import CONFIG, LAUNCHER

EVERYTHING = (
    "--wrap=x 'q\" $(touch pwned)`touch pwned`;touch pwned& %j%% Größe 中\n,a=[1-3]*? #\t\x1b[31m"
).ljust(200, "n")


def test_a_name_is_the_same_for_sbatch_the_logs_status_and_retry_and_runs_nothing(app):
    name = EVERYTHING
    app.experiment_id = name
    experiment_id = json.dumps(name)
    app.write(
        "conf/config.yaml",
        CONFIG.replace("experiment_id: first", f"experiment_id: {experiment_id}").replace(
            "{x: [0, 1, 2]}", f"{{x: [0, 1], note: [{experiment_id}]}}"
        ),
    )
    comment = f"+hydra.launcher.additional_parameters={{comment: {json.dumps(name[:60])}}}"
    # Killed when Slurm has accepted the array, which is then found by its name.
    real = app.cluster.run("which", "sbatch").strip()
    app.write("bin/sbatch", f'#!/bin/bash\n{real} "$@"\nkill -KILL "$PPID"\n').chmod(0o755)
    path = f"{app.folder / 'bin'}:{app.environ['PATH']}"
    app.touch("fail1", "hold")
    sweep = app.start("train.py", "-m", *LAUNCHER, comment, PATH=path)
    output, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == -signal.SIGKILL, output
    app.wait_for_calls(2)
    app.remove("hold")
    states = sorted(status.state for status in app.wait().values())

    assert states == ["completed", "failed"]
    (one,) = [status for status in app.statuses().values() if status.state == "failed"]
    app.cluster.wait_idle()  # the task prints its traceback when the run's end is recorded
    assert "1 is too much" in one.log.read_text()
    assert "1 completed, 1 failed" in app.expkit("status", code=1)
    shown = app.expkit("logs", one.run_name)
    assert "printed by 1" in shown
    assert "\x1b" not in shown
    assert app.cluster.run("squeue", "--states=all", "--noheader", "--format=%k").count(name[:60])
    app.remove("fail1")
    assert "submitted 1 run" in app.expkit("retry")
    assert {status.state for status in app.wait().values()} == {"completed"}
    calls = (app.folder / "calls.txt").read_text()
    assert calls.count(f" {name}\n") == 3
    assert not list(app.folder.rglob("pwned"))


def test_a_path_with_a_backslash_is_refused_before_anything_is_submitted(app):
    output = app.sweep("experiment_id='a\\b'", code=1)

    assert "no log into a folder with a backslash in its path" in output
    assert "Choose another name with experiment_id=… or results_dir=…" in output
    assert "Traceback" not in output
    assert app.cluster.jobs() == []
