"""The format of tracking.jsonl."""

import math

JOURNAL_NAME = "tracking.jsonl"
SCHEMA = 1  # of the `run` entries
# MLflow's status by the state in run.json.
STATUS = {"completed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}

Entry = dict[str, object]


def json_number(value: float) -> float | str:
    """The value in a form that strict JSON has.

    Examples:
        >>> json_number(0.5), json_number(float("nan")), json_number(float("-inf"))
        (0.5, 'NaN', '-Infinity')
    """
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def is_artifact_folder(artifact_path: str | None) -> bool:
    """Whether what a user or a journal gives as an artifact's folder is among the run's artifacts.

    Examples:
        >>> [is_artifact_folder(path) for path in (None, "plots/a", "/etc", "a/../..")]
        [True, True, False, False]
    """
    parts = str(artifact_path or "").replace("\\", "/").split("/")
    return ".." not in parts and (parts[0] != "" or not any(parts))
