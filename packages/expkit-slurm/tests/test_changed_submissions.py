"""What waits in the queue runs what was submitted, whatever others write into its folder."""

import json
import shutil

import pytest

LATER = "+hydra.launcher.additional_parameters.begin=now+1hour"
EVIL = "from pathlib import Path\n\nPath('proof').touch()\n\n\ndef main(cfg):\n    pass\n"


def _name_another_script(submission, evil):
    path = submission / "submission.json"
    record = json.loads(path.read_text())
    record["program"] |= {"script": str(evil)}
    path.write_text(json.dumps(record))


def _name_another_folder_of_modules(submission, evil):
    path = submission / "submission.json"
    record = json.loads(path.read_text())
    record["program"]["path"] = [str(evil.parent), *record["program"]["path"]]
    path.write_text(json.dumps(record))


def _take_the_record_away(submission, evil):
    """A folder without a record could be that of a grid, whose description names a script."""
    shutil.copytree(next((submission.parent.parent / "grids").iterdir()), submission / "copy")
    for path in (submission / "copy").iterdir():
        path.rename(submission / path.name)
    description = submission / "grid_search.yaml"
    lines = description.read_text().splitlines()
    task = next(line for line in lines if "train.py" in line and "script" in line)
    changed = [line.replace("train.py", str(evil)) if line is task else line for line in lines]
    description.write_text("\n".join(changed) + "\n")
    (submission / "submission.json").unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_name_another_script, "names another program than the one that was submitted"),
        (_name_another_folder_of_modules, "names another program than the one that was submitted"),
        (_take_the_record_away, "submission.json"),
    ],
)
def test_a_task_runs_no_other_program_than_the_one_that_was_submitted(app, change, said):
    evil = app.write("evil/train.py", EVIL)
    app.submit("x=0", LATER)
    (submission,) = (app.experiment / "slurm").iterdir()
    change(submission, evil)
    (job,) = app.cluster.jobs()
    app.cluster.run("scontrol", "update", f"jobid={job.id}", "starttime=now")
    app.cluster.wait_idle()

    (log,) = (submission / "logs").iterdir()
    assert said in log.read_text()
    assert not (app.folder / "proof").exists()
    assert app.calls() == []
    shutil.rmtree(submission)
    assert "1 completed" in app.sweep("x=0")
