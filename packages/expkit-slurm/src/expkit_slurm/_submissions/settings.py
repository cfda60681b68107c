"""How a grid is submitted: the manager's own settings, beside the resources of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches

from .._cluster.errors import SlurmError

SNAPSHOTS = ("none", "copy")
DEFAULT_DELAY_S = 120.0  # submitit's is 90; a checkpoint of some GB takes a while


@dataclass(frozen=True)
class SubmissionSettings:
    """What a user chooses about a submission.

    `script`: the batch script; None takes gpu_scripts/grid_search_array.sh where it exists, else
        the one of this package.
    `array_parallelism`: most tasks of an array that run at once; None sets no limit.
    `runs_per_task`: short runs that share an array task, one after another.
    `parallel_per_task`: how many of them at a time.
    `tasks_per_run`: processes of one distributed run.
    `signal_delay_s`: seconds before the time limit at which a run is asked to stop; None takes
        the script's `--signal`, else 120, or a quarter of a shorter time limit.
    `max_requeues_timeout`, `max_requeues_preempt`: how often a run that saved its state at the
        time limit, or when it was preempted, is put back into the queue.
    `requeue_without_checkpoint`: whether that holds for a run, too, that saved no checkpoint in
        this attempt, and so does the same again: for scripts that keep a state of their own.
    `snapshot`: with `none` tasks run the code as it is when they start, with `copy` as it is at
        submission.
    `stop_after_failures`: after this many failed runs the others are cancelled; None never does.
    `poll_s`: seconds between two questions to the queue while waiting; None asks often at first,
        then rarely.
    """

    script: str | None = None
    array_parallelism: int | None = None
    runs_per_task: int = 1
    parallel_per_task: int = 1
    tasks_per_run: int = 1
    signal_delay_s: int | None = None
    max_requeues_timeout: int = 0
    max_requeues_preempt: int = 3
    requeue_without_checkpoint: bool = False
    snapshot: str = "none"
    stop_after_failures: int | None = None
    poll_s: float | None = None

    def __post_init__(self) -> None:
        for name, least in _LEAST_VALUES.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SlurmError(
                    f"{name}={value!r} must be a whole number, {least} or more"
                    f"{', or null' if name in _OPTIONAL else ''}."
                )
        if self.poll_s is not None and not self.poll_s > 0:
            raise SlurmError(f"poll_s={self.poll_s!r} must be a number of seconds above 0.")
        if not isinstance(self.requeue_without_checkpoint, bool):
            raise SlurmError(
                f"requeue_without_checkpoint={self.requeue_without_checkpoint!r} must be true or "
                "false."
            )
        if self.snapshot not in SNAPSHOTS:
            near = get_close_matches(str(self.snapshot), SNAPSHOTS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SlurmError(
                f"snapshot={self.snapshot!r} is not known.{hint} Allowed: {', '.join(SNAPSHOTS)}."
            )
        if self.parallel_per_task > self.runs_per_task:
            raise SlurmError(
                f"parallel_per_task={self.parallel_per_task} is more than "
                f"runs_per_task={self.runs_per_task}: a task cannot run more at a time than it "
                f"has. Set runs_per_task={self.parallel_per_task} or more."
            )
        if self.tasks_per_run > 1 and self.runs_per_task > 1:
            raise SlurmError(
                f"runs_per_task={self.runs_per_task} packs runs of one process, and "
                f"tasks_per_run={self.tasks_per_run} gives each several. Set one of them to 1."
            )

    @classmethod
    def split(cls, values: Mapping[str, object]) -> "tuple[SubmissionSettings, dict[str, object]]":
        """The settings among these values, and the others: a run's resources."""
        settings = {key: value for key, value in values.items() if key in SETTINGS}
        resources = {key: value for key, value in values.items() if key not in SETTINGS}
        return cls(**settings), resources  # type: ignore[arg-type]


_LEAST_VALUES = {
    "array_parallelism": 1,
    "runs_per_task": 1,
    "parallel_per_task": 1,
    "tasks_per_run": 1,
    "signal_delay_s": 1,
    "max_requeues_timeout": 0,
    "max_requeues_preempt": 0,
    "stop_after_failures": 1,
}
_OPTIONAL = ("array_parallelism", "signal_delay_s", "stop_after_failures")
SETTINGS = tuple(field.name for field in fields(SubmissionSettings))
