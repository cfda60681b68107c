"""Without expkit-bookkeeping: all that journals say is sent, the rest says what to install."""

import json
import shutil
import subprocess
import sys

HIDE = """if True:
    import sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "expkit_bookkeeping":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Hidden())
"""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code where expkit-bookkeeping cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", f"{HIDE}\n{code}", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


LOG = """if True:
    from pathlib import Path
    from expkit_mlflow import MLFlowLogger
    tracking = MLFlowLogger(environ={"EXPKIT_GRID": "grid"})
    tracking.open(__import__("json").loads(sys.argv[1]), {"model": "cnn"})
    tracking.log_metrics({"loss": 0.5}, 0)
    tracking.close("completed") if sys.argv[2] == "ended" else tracking._journal.close()
"""
SYNC = "from expkit_mlflow.commands import sync; sys.exit(sync([sys.argv[1]]))"


def test_a_lone_logger_and_its_sync_need_no_other_package(experiment, kit):
    code = """if True:
        from pathlib import Path
        from expkit_mlflow import MLFlowLogger, sync
        with MLFlowLogger(Path(sys.argv[1]), "r") as tracking:
            tracking.log_metrics({"loss": 0.5}, 0)
        print(sync(sys.argv[1]).problems)
    """

    done = python(code, experiment)

    assert done.stdout == "[]\n", done.stderr
    assert kit.runs(experiment)["r"].info.status == "FINISHED"


def test_what_journals_say_is_sent_and_the_rest_names_the_command_once(experiment, kit):
    for name, end in (("ended", "ended"), ("killed", "killed"), ("killed_too", "killed")):
        run = kit.record(experiment / "training" / name)
        assert python(LOG, json.dumps(run), end).returncode == 0
    (experiment / ".trash").mkdir()
    shutil.copy(experiment / "training/ended/run.json", experiment / ".trash/removed.jsonl")

    done = python(SYNC, experiment)

    problems = done.stderr.splitlines()
    assert done.returncode == 1
    assert [line.partition(" needs ")[0] for line in problems] == [
        "Marking removed runs as deleted",
        "How a run ended whose journal does not say it",
    ]
    assert all("needs expkit-bookkeeping>=" in line for line in problems)
    assert all(line.endswith("pip install --upgrade 'expkit-mlflow[runs]'") for line in problems)
    runs = kit.runs(experiment)
    assert {name: run.data.metrics for name, run in runs.items()} == {
        name: {"loss": 0.5} for name in ("ended", "killed", "killed_too")
    }
    assert runs["ended"].info.status == "FINISHED"
