"""The folder of a submission, `<experiment>/slurm/<id>/`: the names of what lies in it."""

from __future__ import annotations

from pathlib import Path

FOLDER = "slurm"  # in an experiment's folder: its submissions
RECORD = "submission.json"
RUNS = "runs.jsonl"
LOGS = "logs"
CODE = "code"
PRIVATE = "private"  # for the owner of the submission alone
PICKLE = "task.pkl"  # in it


def has_submissions(experiment: Path) -> bool:
    """Whether anything of an experiment was handed to Slurm."""
    return (experiment / FOLDER).is_dir()
