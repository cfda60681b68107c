"""Verbs where the file system refuses them, and on records that would command a terminal."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from expkit_bookkeeping import Bookkeeping, read_run

ESCAPE = "\x1b[2J\x1b]0;title\x07\r\x9b31m\u202e"
VERBS = [
    "expkit_hydra status",
    "expkit_hydra show RUN",
    "expkit_hydra cleanup",
    "expkit_hydra cleanup --yes",
    "expkit_slurm logs RUN",
    "expkit_slurm wait",
    "expkit_slurm retry",
    "expkit_mlflow sync",
    "expkit_plotting plot",
]
# Root without its right to ignore permissions.
BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.fixture
def experiment(tmp_path: Path) -> Iterator[Path]:
    """An experiment of one failed run."""
    folder = tmp_path / "results" / "first"
    with Bookkeeping(folder / "training" / "a", console=False) as run:
        run.log_metrics({"loss": 0.5}, 0)
        run.log("logged")
        run.close(error=ValueError("why"))
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)


def run_verb(verb: str, experiment: Path, *prefix: str) -> tuple[int, str]:
    package, name, *words = verb.replace("RUN", "a").split()
    command = [*prefix, sys.executable, "-m", package, name, str(experiment), *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def bounded() -> list[str]:
    """What to put before a command, so that permissions hold for it."""
    if os.geteuid() != 0:
        return []
    command = [*BOUND, "true"]
    try:
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return BOUND
    except FileNotFoundError:
        pass
    pytest.skip("permissions cannot be made to hold for root here")


@pytest.mark.faults("a folder that refuses, or is gone, is answered in a sentence")
@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_without_permission_is_answered_in_a_sentence(experiment, verb):
    experiment.chmod(0o000)
    code, output = run_verb(verb, experiment, *bounded())

    assert code in (1, 2), output
    assert "Permission denied" in output
    assert str(experiment) in output
    assert len(output.strip().splitlines()) == 1, output


@pytest.mark.faults("a folder that refuses, or is gone, is answered in a sentence")
@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_can_only_be_read_is_answered_without_a_traceback(experiment, verb):
    for path in [*experiment.rglob("*"), experiment]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    _, output = run_verb(verb, experiment, *bounded())

    assert "Traceback" not in output
    if verb.endswith("plot"):
        assert "Permission denied" in output
        assert "--out" in output


@pytest.mark.parametrize("verb", VERBS)
def test_no_terminal_obeys_what_a_record_holds(experiment, verb):
    path = experiment / "training" / "a" / "run.json"
    record = json.loads(path.read_text())
    for key in ("run_name", "experiment_id", "host", "started_at", "ended_at", "config_hash"):
        record[key] = f"a{ESCAPE}b"
    record["swept"] = {f"k{ESCAPE}": f"v{ESCAPE}"}
    record["error"] = {key: ESCAPE for key in ("type", "message", "traceback")}
    record["best"] = {"metric": ESCAPE, "direction": "minimize", "value": 1.0, "step": 0}
    record["metrics"] = {ESCAPE: 1.0}
    record["slurm"] = {"job_id": ESCAPE}
    path.write_text(json.dumps(record))
    (path.parent / "training.log").write_text(f"\x1b[32mgreen\x1b[0m {ESCAPE}\n")
    assert read_run(path.parent) is not None
    _, output = run_verb(verb, experiment)

    assert not set(output) & set("\x1b\x07\r\x9b\u202e"), output
    assert "Traceback" not in output
