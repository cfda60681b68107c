"""How a grid is submitted: what is refused, and what holds for the whole grid."""

import json
import subprocess
import sys

import pytest

from expkit_slurm import SlurmError
from expkit_slurm._submissions.settings import SubmissionSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runs_per_task": 0}, "runs_per_task=0 must be a whole number, 1 or more"),
        ({"runs_per_task": 2, "parallel_per_task": 3}, "more than runs_per_task=2"),
        ({"runs_per_task": 2, "tasks_per_run": 2}, "Set one of them to 1"),
        ({"array_parallelism": -1}, "array_parallelism=-1 must be a whole number, 1 or more"),
        ({"snapshot": "copi"}, "Did you mean 'copy'"),
        ({"poll_s": 0}, "number of seconds above 0"),
        ({"max_requeues_timeout": True}, "must be a whole number, 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(SlurmError, match=message):
        SubmissionSettings(**settings)


def test_a_swept_file_that_says_how_to_submit_is_warned_of_and_resources_are_each_runs_own(
    tmp_path,
):
    (tmp_path / "train.py").write_text(
        "import hydra\n\n\n"
        "@hydra.main(version_base='1.3', config_path='.', config_name='config')\n"
        "def main(cfg):\n    pass\n\n\nmain()\n"
    )
    launcher = "{override /hydra/launcher: expkit_slurm}"
    (tmp_path / "config.yaml").write_text(f"defaults: [expkit, _self_, {launcher}]\nx: 1\n")
    for name, options in {"small": "mem: 8GB", "large": "mem: 64GB, runs_per_task: 4"}.items():
        (tmp_path / "size").mkdir(exist_ok=True)
        text = f"# @package _global_\nhydra: {{launcher: {{{options}}}}}\nx: {len(options)}\n"
        (tmp_path / "size" / f"{name}.yaml").write_text(text)

    command = [sys.executable, "-m", "expkit_hydra", "check", "+size=small,large", "--json"]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    (finding,) = json.loads(output.stdout)["findings"]
    assert finding["subject"] == "no effect"
    assert finding["text"].startswith("+size=large sets hydra.launcher.runs_per_task to 4, but")
